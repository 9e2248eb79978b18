//! What two machines of one run say to each other: the routes' types, the token, and the client.
//!
//! The far end serves HTTP/1.1 with JSON (docs/control.md); the types here are used at both ends. Unknown fields are
//! ignored, and one that is missing is named. What the far end sees of its host has types of the collector, and stands
//! there (`c10k_collector::far`).

mod begin;
mod build;
mod client;
mod clock;
mod error;
mod guard;
mod hello;
pub mod meet;
mod refusal;
mod token;

pub use begin::{Begin, Begun, EndRun, Refused};
pub use build::Build;
pub use client::Client;
pub use clock::{Clock, Offset, Reading, unix_ns};
pub use error::ControlError;
pub use guard::{Guard, NotLetIn};
pub use hello::{FarServer, FarState, Hello, Running};
pub use refusal::Refusal;
pub use token::{TOKEN_VARIABLE, Token, TokenError};

use crate::Span;

/// The number of this protocol. Ends with different numbers do not understand each other.
pub const PROTOCOL: u32 = 1;
/// The longest body of a request, bytes.
pub const MOST_BODY_BYTES: usize = 1 << 20;
/// The longest body of an answer that a client takes, bytes.
pub const MOST_ANSWER_BYTES: usize = 16 << 20;

/// The paths.
pub mod path {
    /// Who is there, what it is and in which state.
    pub const HELLO: &str = "/v1/hello";
    /// Its clock.
    pub const CLOCK: &str = "/v1/clock";
    /// Begins a run.
    pub const RUNS: &str = "/v1/runs";
    /// What is seen now, of no run.
    pub const SNAPSHOT: &str = "/snapshot";
    /// Below it stands all that belongs to a meeting of shards.
    pub const MEET: &str = "/v1/meet/";

    /// The methods that a path takes, as the header Allow names them (RFC 9110, section 10.2.1); `None` where nothing is.
    #[must_use]
    pub fn methods(path: &str) -> Option<&'static str> {
        const LOOK: &str = "GET, HEAD";
        const DO: &str = "POST";
        let below = |above| path.strip_prefix(above).and_then(|rest: &str| rest.split_once('/'));
        let of_run = || path.strip_prefix(RUNS).and_then(|rest| rest.strip_prefix('/'))?.split_once('/');
        match path {
            "/" | "/healthz" | "/metrics" | HELLO | CLOCK | SNAPSHOT => Some(LOOK),
            RUNS => Some(DO),
            _ => match (below(MEET), of_run()) {
                (Some((_, "join" | "beat" | "result")), _) | (_, Some((_, "mark" | "end"))) => Some(DO),
                (Some((_, "state" | "results")), _) | (_, Some((_, "look"))) => Some(LOOK),
                (Some((_, what)), _) if what.starts_with("results/") => Some(LOOK),
                _ => None,
            },
        }
    }

    /// What is seen now of a run.
    #[must_use]
    pub fn look(run_id: &str) -> String {
        format!("{RUNS}/{run_id}/look")
    }

    /// What `what` names of the meeting of a run: `join`, `beat`, `result`, `state`, `results`, `results/SHARD`.
    #[must_use]
    pub fn meet(run_id: &str, what: &str) -> String {
        format!("{MEET}{run_id}/{what}")
    }

    /// A moment of a run that is to be kept: memory, census, evidence.
    #[must_use]
    pub fn mark(run_id: &str) -> String {
        format!("{RUNS}/{run_id}/mark")
    }

    /// Ends a run.
    #[must_use]
    pub fn end(run_id: &str) -> String {
        format!("{RUNS}/{run_id}/end")
    }
}

/// So long a run may go on without a word from its client, where nothing else is said.
pub const LEASE: Span = Span::secs(15);

/// The parser of `--lease`: 1s to 1h.
///
/// # Errors
/// One line with the text and what was expected.
pub fn lease(text: &str) -> Result<Span, String> {
    span_from_1s_to(Span::secs(3600), text, "lease")
}

/// The parser of `--control-timeout`: 1s to 5m.
///
/// # Errors
/// One line with the text and what was expected.
pub fn control_timeout(text: &str) -> Result<Span, String> {
    span_from_1s_to(Span::secs(300), text, "time to wait for an answer")
}

fn span_from_1s_to(most: Span, text: &str, what: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::QuantityError| error.to_string())?;
    if (Span::secs(1)..=most).contains(&span) {
        return Ok(span);
    }
    Err(format!("'{text}' is no {what}: expected 1s to {most}"))
}

/// Whether this may be the name of a run: 1 to 128 letters, digits, `-`, `_` and `.`, and no dot at first, for it becomes
/// part of a path and of the name of a file.
#[must_use]
pub fn is_run_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain)
}

/// The parser of `--run-id`.
///
/// # Errors
/// What was expected, in words.
pub fn run_id(text: &str) -> Result<String, String> {
    let bad = || {
        format!(
            "'{text}' cannot name a run: expected 1 to 128 letters, digits, '.', '_' and '-', and no '.' first, such as \
             evening-1"
        )
    };
    if is_run_id(text) { Ok(text.to_owned()) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_between_a_second_and_an_hour_and_an_answer_within_five_minutes() {
        for bad in ["0s", "999ms", "61m", "x", ""] {
            assert!(lease(bad).is_err(), "{bad}");
        }
        assert_eq!((lease("1s"), lease("1h")), (Ok(Span::secs(1)), Ok(Span::secs(3600))));
        assert_eq!(lease("61m"), Err("'61m' is no lease: expected 1s to 1h".to_owned()));
        let told = "'301s' is no time to wait for an answer: expected 1s to 5m";
        assert_eq!(control_timeout("301s"), Err(told.to_owned()));
        assert_eq!(control_timeout("5m"), Ok(Span::secs(300)));
    }

    #[test]
    fn a_name_of_a_run_is_safe_in_a_path() {
        for good in ["20261129T215000-tuned-raw-hold", "a", "A_b.c-1"] {
            assert!(is_run_id(good), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a?b", "ä", "a\n", &long] {
            assert!(!is_run_id(bad), "{bad}");
        }
    }
}
