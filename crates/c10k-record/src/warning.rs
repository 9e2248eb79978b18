//! Warnings as data: kept in the record, each with an id.

use serde::{Deserialize, Serialize};

/// Something the reader of a record should know although the run went on.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A short fixed name, such as `not-isolated` or `profile-not-applied`.
    pub id: String,
    /// The text, naming the setting and its present value.
    pub text: String,
}

impl Warning {
    /// A warning with its id and text.
    #[must_use]
    pub fn new(id: &str, text: impl Into<String>) -> Self {
        Self { id: id.to_owned(), text: text.into() }
    }
}
