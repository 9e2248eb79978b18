//! Why a command does not begin what it was asked for.

use c10k_record::Exit;

/// Why a run does not begin.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Empty when a process of the lab has said it on stderr already.
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
}

impl Refusal {
    pub(crate) fn text(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::BadText }
    }

    pub(crate) fn host(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::HostCannot }
    }
}
