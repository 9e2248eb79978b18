//! What a number may come from.

/// One guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Names of walls of the field guide, the likeliest first; empty where it is none of them.
    pub walls: &'static [&'static str],
    /// The limit with its value, and what the number is of it.
    pub is: String,
    /// How to prove it: a command and what it shows.
    pub prove: String,
    /// Whether a limit of this host gives the number.
    pub of_this_host: bool,
}
