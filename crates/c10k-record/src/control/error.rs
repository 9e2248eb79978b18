//! Why a client has no answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::{Build, Running};
use crate::Exit;

/// Why a client has no answer, or one that refuses.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nobody is there.
    #[error("the control port {address} cannot be reached: {source}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody is there and says nothing.
    #[error("the control port {address} gave no answer in {} s", .after.as_secs_f64())]
    Silent {
        /// Where.
        address: SocketAddr,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection ended before the answer was whole.
    #[error("the control port {address} ended the connection before its answer was whole: {source}")]
    Gone {
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// What was answered is none of this protocol.
    #[error("what answers on {address} is no control port of the lab: {what}")]
    Garbage {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
    /// The far end speaks another protocol.
    #[error("the control port {address} speaks protocol {theirs}, expected {}", super::PROTOCOL)]
    Protocol {
        /// Where.
        address: SocketAddr,
        /// Its number.
        theirs: u32,
        /// The version of its program.
        version: String,
    },
    /// 401.
    #[error("the control port {address} does not take {}", token_in_words(.had_one))]
    Token {
        /// Where.
        address: SocketAddr,
        /// Whether one was sent.
        had_one: bool,
    },
    /// 429.
    #[error(
        "the control port {address} was given too many wrong tokens from here, and looks at no other for 10 s"
    )]
    TooOften {
        /// Where.
        address: SocketAddr,
    },
    /// 409.
    #[error("the control port {address} is in use: {error}")]
    InUse {
        /// Where.
        address: SocketAddr,
        /// Its words.
        error: String,
        /// Who uses it, where that was said.
        running: Option<Box<Running>>,
        /// Its hint.
        hint: Option<String>,
    },
    /// 412.
    #[error("the control port {address} is of another build: {error}")]
    OtherBuild {
        /// Where.
        address: SocketAddr,
        /// Its words.
        error: String,
        /// Its build, where that was said.
        build: Option<Box<Build>>,
    },
    /// 413, or an answer that is longer than a client takes.
    #[error("{what} is longer than the control port {address} and its client agree on ({most} bytes)")]
    TooLong {
        /// Where.
        address: SocketAddr,
        /// The request or the answer.
        what: &'static str,
        /// The most, bytes.
        most: usize,
    },
    /// Anything else that refuses.
    #[error("the control port {address} refuses ({status}): {error}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// The status.
        status: u16,
        /// Its words.
        error: String,
        /// Its hint.
        hint: Option<String>,
    },
}

impl ControlError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { address, .. } | Self::Gone { address, .. } => format!(
                "on the server's machine: is `c10k-lab serve --control {address}` running there, and does a firewall let \
                 this machine reach it"
            ),
            Self::Silent { address, .. } => {
                format!("`curl -m 5 http://{address}/healthz` shows whether anything answers there")
            }
            Self::Garbage { .. } => {
                "the control port is the address of `c10k-lab serve --control`, not the one of its server".to_owned()
            }
            Self::Protocol { version, .. } => {
                format!("use one version at both ends: there it is {version}, here {}", env!("CARGO_PKG_VERSION"))
            }
            Self::Token { .. } => format!(
                "give the token of the far end with --token-file FILE or {}",
                super::TOKEN_VARIABLE
            ),
            Self::TooOften { .. } => {
                "the right token is taken at any time: check --token-file at both ends".to_owned()
            }
            Self::InUse { hint, .. } => {
                hint.clone().unwrap_or_else(|| "wait until that run has ended".to_owned())
            }
            Self::OtherBuild { .. } => {
                "use the same binary at both ends (--ssh HOST --push copies it), or take the risk with --any-build"
                    .to_owned()
            }
            Self::TooLong { .. } => "a run of fewer phases or a shorter one has a shorter account".to_owned(),
            Self::Refused { hint, .. } => {
                hint.clone().unwrap_or_else(|| "docs/control.md has the routes and what they take".to_owned())
            }
        }
    }

    /// The exit code that says whose fault it is.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { status: 400 | 422, .. } => Exit::BadText,
            _ => Exit::HostCannot,
        }
    }

    /// Whether the same may be answered a moment later: nobody there, no answer in time, or one that broke off.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. } | Self::Gone { .. })
    }
}

fn token_in_words(had_one: &bool) -> &'static str {
    if *had_one { "this token" } else { "requests without a token" }
}
