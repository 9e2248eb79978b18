//! Why a command does not begin what it was asked for.

use std::io;
use std::path::Path;

use c10k_record::control::{ControlError, TokenError};
use c10k_record::{Exit, what_makes_room};
use c10k_report::merge::Fault;

use crate::say::printer::Printer;

/// Why a run does not begin.
#[derive(Debug)]
pub struct Refusal {
    /// Empty when a process of the lab has said it on stderr already.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
    /// What the program ends with.
    pub exit: Exit,
}

impl Refusal {
    /// What was asked for is not right.
    pub fn text(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::BadText }
    }

    /// This host cannot do it.
    pub fn host(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit: Exit::HostCannot }
    }

    /// A file or folder that cannot be written: no room breaks what was begun, and anything else was so before.
    pub fn not_written(path: &Path, error: &io::Error, otherwise: &str) -> Self {
        let room = what_makes_room(error);
        Self {
            message: format!("cannot write '{}': {error}", path.display()),
            hint: Some(room.unwrap_or(otherwise).to_owned()),
            exit: if room.is_some() { Exit::Broke } else { Exit::HostCannot },
        }
    }

    /// Says it where nobody has yet; what the program ends with.
    pub fn tell(&self, printer: &mut Printer) -> Exit {
        if !self.message.is_empty() {
            printer.error(&self.message, self.hint.as_deref());
        }
        self.exit
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { message: fault.to_string(), hint: Some(fault.hint()), exit: fault.exit() }
    }
}
