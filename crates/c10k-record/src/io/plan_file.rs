//! Reading `plan.toml`.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::{Plan, SCHEMA_VERSION};

/// Why a plan file cannot be used.
#[derive(Debug, Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("cannot read the plan '{path}': {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its text is wrong; the message shows line and column.
    #[error("the plan '{path}' is not right:\n{message}")]
    Text {
        /// Its path.
        path: String,
        /// What is wrong, with line and caret.
        message: String,
    },
    /// It was written by another version.
    #[error("the plan '{path}' has schema_version {found}, this program reads {expected}")]
    Version {
        /// Its path.
        path: String,
        /// The version in the file.
        found: u32,
        /// The version this program knows.
        expected: u32,
    },
}

impl Plan {
    /// The text of its `plan.toml`.
    ///
    /// # Errors
    /// A number that TOML has no room for: above 2^63 − 1.
    pub fn to_toml(&self) -> Result<String, impl std::error::Error + Send + Sync + 'static> {
        toml::to_string(self)
    }

    /// Reads a `plan.toml`.
    ///
    /// # Errors
    /// [`PlanError`] says which of reading, text or version was wrong.
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| PlanError::Read { path: name(), source })?;
        // First of all: a plan of another version has other keys.
        if let Ok(Versioned { schema_version: found }) = toml::from_str(&text)
            && found != SCHEMA_VERSION
        {
            return Err(PlanError::Version { path: name(), found, expected: SCHEMA_VERSION });
        }
        let plan: Self = toml::from_str(&text)
            .map_err(|error| PlanError::Text { path: name(), message: error.to_string() })?;
        plan.check().map_err(|message| PlanError::Text { path: name(), message })?;
        Ok(plan)
    }
}

/// What plans of all versions have.
#[derive(Deserialize)]
struct Versioned {
    schema_version: u32,
}
