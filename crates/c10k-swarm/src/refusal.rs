//! Why a swarm does not start, as it is told.

use std::io;

use c10k_record::{Exit, ListenError, PlanError};

use crate::add_ips::AddError;
use crate::setup::SetupError;

/// Why a swarm did not start.
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Self {
        let hint = Some("every run's folder holds a plan.toml that can be carried out".to_owned());
        Self { message: error.to_string(), hint, exit: Exit::BadText }
    }
}

impl From<ListenError> for Refusal {
    fn from(error: ListenError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: Exit::HostCannot }
    }
}

impl Refusal {
    /// The host does not let the swarm do `what`.
    pub(crate) fn of_host(what: &str) -> impl Fn(io::Error) -> Self {
        let what = format!("cannot {what}");
        move |error| SetupError::Host { what: what.clone(), error }.into()
    }
}
