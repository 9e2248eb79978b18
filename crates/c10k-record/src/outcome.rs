//! What became of a connection that did not end clean.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PhaseName;

/// The name under which a lost connection is counted: the kernel's errno name (`ECONNRESET`) or, where no
/// errno says it, a name of ours (`connect-timeout`).
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outcome(String);

/// Errno numbers of this platform, their names (errno(3)) and what they mean to somebody who connects.
const ERRNOS: &[(i32, &str, &str)] = &[
    (libc::EACCES, "EACCES", "permission denied: a firewall rule or a privileged port"),
    (libc::EADDRINUSE, "EADDRINUSE", "the local port is already taken (bind)"),
    (
        libc::EADDRNOTAVAIL,
        "EADDRNOTAVAIL",
        "cannot assign requested address: the source is not on this machine (bind), or no local port is free (connect)",
    ),
    (
        libc::EAGAIN,
        "EAGAIN",
        "a resource is exhausted for now (threads, or local ports of an AF_UNIX socket)",
    ),
    (libc::EBUSY, "EBUSY", "device or resource busy"),
    (libc::ECONNABORTED, "ECONNABORTED", "the connection was given up before it was accepted"),
    (
        libc::ECONNREFUSED,
        "ECONNREFUSED",
        "connection refused: nobody listens there, or a rule on the way refuses",
    ),
    (libc::ECONNRESET, "ECONNRESET", "connection reset by peer: the other end closed it hard"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH", "no route to host, or no answer from a neighbour"),
    (libc::EINVAL, "EINVAL", "invalid argument: the address does not fit the socket"),
    (libc::EMFILE, "EMFILE", "too many open files in this process's descriptor table (RLIMIT_NOFILE)"),
    (libc::ENETUNREACH, "ENETUNREACH", "network is unreachable: no route from this source"),
    (libc::ENFILE, "ENFILE", "too many open files in the whole system (fs.file-max)"),
    (libc::ENOBUFS, "ENOBUFS", "no buffer space: kernel memory for sockets or neighbours ran out"),
    (libc::ENOMEM, "ENOMEM", "out of memory in the kernel"),
    (libc::ENOSPC, "ENOSPC", "no space: fs.epoll.max_user_watches is reached, or the disk is full"),
    (libc::EPERM, "EPERM", "operation not permitted: a firewall rule refused it"),
    (libc::EPIPE, "EPIPE", "the other end had closed the connection before we wrote"),
    (libc::ETIMEDOUT, "ETIMEDOUT", "i/o timeout: the kernel gave up waiting for an answer"),
];

/// Names of ours, and what they mean.
const NAMED: &[(&str, &str)] = &[
    ("aborted", "open or under way when the run was stopped"),
    ("closed-by-server", "the server closed the connection in good order although it should have held it"),
    ("close-1006", "TCP ended without a Close frame: the server, or something on the way, cut it off"),
    ("closed-in-handshake", "the server closed the connection before the handshake was complete"),
    ("connect-timeout", "no answer to the connect within --connect-timeout"),
    ("corrupt", "the bytes that came back are not the bytes that were sent: this is not a faithful echo"),
    (
        "handshake-timeout",
        "connected, but the handshake of the protocol was not over within --handshake-timeout",
    ),
    ("not-recorded", "lost before the writer of the record was killed: under which name was never written"),
    ("no-errno", "a call failed and named no errno"),
    ("ping-timeout", "the peer did not answer a ping: it is dead or cut off"),
    (
        "not-accepted",
        "open at the client and in the accept queue at the server's end: no process has taken it",
    ),
    (
        "not-at-server",
        "open at the client alone: the kernel at the server's end has it half open (SYN_RECV) or not at all",
    ),
    ("probe-timeout", "connected, but the probe was not echoed in time: a ghost, or not an echo server"),
    ("message-timeout", "a message was not whole within --message-timeout of its first byte"),
    ("short-echo", "the server closed the connection in the middle of an echo"),
    ("stalled", "the peer took nothing of what it was sent for as long as is waited for that"),
    (
        "unproven",
        "open at the end, but so many others in a row had not been answered that it was not asked any more",
    ),
    ("worker-lost", "a worker of the swarm ended before it could say what became of this connection"),
];

/// Families of names that a protocol gives, by their beginning, and what they mean.
const FAMILIES: &[(&str, &str)] = &[
    ("handshake-status-", "the server answered the upgrade with this HTTP status and not with 101"),
    ("handshake-", "the handshake of the protocol was not completed"),
    ("close-", "a Close frame with this code ended it (RFC 6455 section 7.4.1)"),
    ("ws-", "the peer broke a rule of RFC 6455"),
];

impl Outcome {
    /// The outcome for an `errno` of the kernel.
    #[must_use]
    pub fn errno(number: i32) -> Self {
        ERRNOS
            .iter()
            .find(|(known, _, _)| *known == number)
            .map_or_else(|| Self(format!("errno-{number}")), |(_, name, _)| Self((*name).to_owned()))
    }

    /// The outcome of a failed call; an error without an errno is counted under its kind.
    #[must_use]
    pub fn from_error(error: &std::io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self(format!("{:?}", error.kind())), Self::errno)
    }

    /// `aborted`: the run was stopped before this connection was finished.
    #[must_use]
    pub fn aborted() -> Self {
        Self("aborted".to_owned())
    }

    /// `connect-timeout`.
    #[must_use]
    pub fn connect_timeout() -> Self {
        Self("connect-timeout".to_owned())
    }

    /// `probe-timeout`.
    #[must_use]
    pub fn probe_timeout() -> Self {
        Self("probe-timeout".to_owned())
    }

    /// `not-accepted`: at the end of a hold without probes it was in the server's accept queue.
    #[must_use]
    pub fn not_accepted() -> Self {
        Self("not-accepted".to_owned())
    }

    /// `not-at-server`: at the end of a hold without probes it was not ESTABLISHED at the server's end.
    #[must_use]
    pub fn not_at_server() -> Self {
        Self("not-at-server".to_owned())
    }

    /// `corrupt`.
    #[must_use]
    pub fn corrupt() -> Self {
        Self("corrupt".to_owned())
    }

    /// `closed-by-server`.
    #[must_use]
    pub fn closed_by_server() -> Self {
        Self("closed-by-server".to_owned())
    }

    /// `short-echo`.
    #[must_use]
    pub fn short_echo() -> Self {
        Self("short-echo".to_owned())
    }

    /// `not-recorded`: of a run whose writer was killed.
    #[must_use]
    pub fn not_recorded() -> Self {
        Self("not-recorded".to_owned())
    }

    /// `unproven`.
    #[must_use]
    pub fn unproven() -> Self {
        Self("unproven".to_owned())
    }

    /// `worker-lost`.
    #[must_use]
    pub fn worker_lost() -> Self {
        Self("worker-lost".to_owned())
    }

    /// `handshake-timeout`.
    #[must_use]
    pub fn handshake_timeout() -> Self {
        Self("handshake-timeout".to_owned())
    }

    /// An outcome that a protocol names, such as `close-1009` or `handshake-status-429`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name under which it is counted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What it means, in words for a newcomer.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        ERRNOS
            .iter()
            .map(|(_, name, meaning)| (*name, *meaning))
            .chain(NAMED.iter().copied())
            .find(|(name, _)| *name == self.0)
            .or_else(|| FAMILIES.iter().copied().find(|(prefix, _)| self.0.starts_with(prefix)))
            .map_or("see errno(3)", |(_, meaning)| meaning)
    }

    /// What it means for a connection that was lost in this phase: what was proven before is no ghost, and its server
    /// echoes.
    #[must_use]
    pub fn meaning_in(&self, phase: PhaseName) -> &'static str {
        match (self.name(), phase) {
            (_, PhaseName::Ramp) => self.meaning(),
            ("probe-timeout", _) => {
                "it was echoed to before, and is no more: the server stands still, or the way is lost"
            }
            ("ETIMEDOUT", _) => "it was open, and what was sent on it was not acknowledged for too long",
            _ => self.meaning(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_counted_under_its_kernel_name() {
        assert_eq!(Outcome::errno(libc::EADDRNOTAVAIL).name(), "EADDRNOTAVAIL");
        assert_eq!(Outcome::errno(4095).name(), "errno-4095");
    }

    #[test]
    fn who_was_echoed_to_before_is_no_ghost() {
        let lost = Outcome::probe_timeout();
        assert!(lost.meaning_in(PhaseName::Ramp).contains("ghost"));
        for phase in [PhaseName::Hold, PhaseName::Verify] {
            assert!(!lost.meaning_in(phase).contains("ghost"), "{phase}");
            assert_eq!(Outcome::unproven().meaning_in(phase), Outcome::unproven().meaning());
        }
    }

    #[test]
    fn every_name_of_ours_has_a_meaning() {
        for outcome in [
            Outcome::aborted(),
            Outcome::not_recorded(),
            Outcome::connect_timeout(),
            Outcome::probe_timeout(),
            Outcome::not_accepted(),
            Outcome::not_at_server(),
            Outcome::corrupt(),
            Outcome::closed_by_server(),
            Outcome::short_echo(),
            Outcome::unproven(),
            Outcome::worker_lost(),
            Outcome::handshake_timeout(),
            Outcome::named("no-errno"),
            Outcome::named("ping-timeout"),
            Outcome::named("message-timeout"),
            Outcome::named("stalled"),
            Outcome::named("close-1009"),
            Outcome::named("handshake-status-429"),
        ] {
            assert_ne!(outcome.meaning(), "see errno(3)", "{outcome}");
        }
    }
}
