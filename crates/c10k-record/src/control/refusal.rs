//! Why something that was asked for is not done.

use super::Refused;

/// Why something that was asked for is not done: a status of HTTP, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// Why, and what mends it. Boxed: an error should be small.
    pub why: Box<Refused>,
}

impl Refusal {
    /// With these words; an empty hint is none.
    #[must_use]
    pub fn new(status: u16, error: impl Into<String>, hint: &str) -> Self {
        let hint = Some(hint).filter(|hint| !hint.is_empty()).map(str::to_owned);
        Self { status, why: Box::new(Refused { error: error.into(), hint, ..Refused::default() }) }
    }
}
