//! For what reason the kernel drops packets: the tracepoint `skb:kfree_skb`, counted by its field `reason` (Linux 5.17).
//!
//! # What is counted
//! Every packet that is given up passes this tracepoint with the kernel's name of the reason, one that is delivered does
//! not (include/net/dropreason-core.h; net/core/skbuff.c, `kfree_skb_reason`). perf_event_open(2) counts it by a counter for
//! each processor and reason, with a filter on the reason; nothing is written and nobody is woken. What is counted is the
//! **whole host's**, of all network namespaces together, and of anybody's packets: of IPv4 and IPv6 alone, where the
//! event says the protocol.
//!
//! A SYN for which a queue of the listener has no room is dropped without a reason: its counters say it, this does not.
//!
//! Numbers of reasons differ from kernel to kernel. They are read from the text of the event's format.

mod format;
mod tracefs;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};

use thiserror::Error;

use crate::limits;
use crate::sys::raw_perf;
use format::Format;

/// More counters than that are not opened, nor more than one for each sixteen descriptors that the process may have,
/// however many processors there are: the last reasons are left out then.
const MOST_COUNTERS: usize = 512;

/// Why no reasons can be counted.
#[derive(Debug, Error)]
pub enum NoReasons {
    /// The text that says the numbers of the reasons cannot be read: the host's fault, or this user may not.
    #[error("{file}: {error}")]
    NoFormat {
        /// The file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// This kernel has the event, and it says no reason that was asked for.
    #[error("skb:kfree_skb of this kernel says no reason (Linux 5.17 and later do)")]
    Unsaid,
    /// No counter can be opened: perf events are closed to this user, or there are none.
    #[error("perf_event_open: {0}")]
    NoCounter(io::Error),
}

impl NoReasons {
    /// Whether it is this user who may not.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::NoFormat { error, .. } | Self::NoCounter(error) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Unsaid => false,
        }
    }
}

/// Counters of dropped packets by reason, from the moment at which they were opened. They are closed with this value.
#[derive(Debug)]
pub struct DropCounters {
    /// By the kernel's name, each with a counter a processor.
    reasons: Vec<(String, Vec<File>)>,
}

impl DropCounters {
    /// Opens counters for these reasons by the kernel's names, the most important first. Those that this kernel does not
    /// know are left out, and so are the last ones where counters would be too many, by a bound of this room's or by the
    /// process's limit on descriptors.
    ///
    /// # Errors
    /// See [`NoReasons`].
    pub fn open(wanted: &[&str]) -> Result<Self, NoReasons> {
        let (file, text) = tracefs::format_of_kfree_skb();
        let text = text.map_err(|error| NoReasons::NoFormat { file, error })?;
        let format = Format::parse(&text).ok_or(NoReasons::Unsaid)?;
        let processors = online().unwrap_or_else(|| vec![0]);
        // The descriptors are wanted for other things.
        let allowed = limits::nofile().map_or(MOST_COUNTERS, |limit| (limit.soft / 16) as usize);
        let most = (MOST_COUNTERS.min(allowed) / processors.len().max(1)).max(1);
        let known = wanted.iter().filter_map(|name| Some((*name, format.filter(name)?))).take(most);
        let mut reasons = Vec::new();
        for (name, filter) in known {
            match counters(format.id, &processors, &filter) {
                Ok(counters) => reasons.push((name.to_owned(), counters)),
                // Those before it are had; what is left of them is as good as none.
                Err(_) if !reasons.is_empty() => break,
                Err(error) => return Err(NoReasons::NoCounter(error)),
            }
        }
        if reasons.is_empty() { Err(NoReasons::Unsaid) } else { Ok(Self { reasons }) }
    }

    /// Packets dropped since the counters were opened, by the kernel's name of the reason; a reason that is not counted is
    /// not among them.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&mut self) -> io::Result<BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for (name, counters) in &mut self.reasons {
            let mut sum = 0_u64;
            for counter in counters {
                let mut count = [0; 8];
                counter.read_exact(&mut count)?;
                sum = sum.saturating_add(u64::from_ne_bytes(count));
            }
            all.insert(name.clone(), sum);
        }
        Ok(all)
    }
}

/// A counter on each of these processors; one that has gone offline drops nothing.
fn counters(tracepoint: u64, processors: &[u32], filter: &str) -> io::Result<Vec<File>> {
    let filter = CString::new(filter)?;
    let mut counters = Vec::with_capacity(processors.len());
    for processor in processors {
        match raw_perf::counter(tracepoint, *processor, &filter) {
            Ok(counter) => counters.push(File::from(counter)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    if counters.is_empty() { Err(io::Error::from_raw_os_error(libc::ENODEV)) } else { Ok(counters) }
}

/// The processors that are online.
fn online() -> Option<Vec<u32>> {
    parse_online(&std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// A list such as `0-3,8`.
fn parse_online(text: &str) -> Option<Vec<u32>> {
    let mut processors = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        processors.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::address;
    use crate::namespace::Beside;

    #[test]
    fn a_list_of_processors_has_ranges_and_single_ones() {
        assert_eq!(parse_online("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse_online("0\n"), Some(vec![0]));
        assert_eq!(parse_online("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!((parse_online("\n"), parse_online("a-b")), (None, None));
    }

    #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
    fn opened(wanted: &[&str]) -> Option<DropCounters> {
        match DropCounters::open(wanted) {
            Ok(counters) => Some(counters),
            Err(why) => {
                eprintln!("SKIPPED: no reasons of drops can be counted here: {why}");
                assert!(!why.to_string().is_empty());
                None
            }
        }
    }

    #[test]
    fn packets_that_nobody_takes_in_another_network_namespace_are_counted_by_their_reason() {
        const SENT: u64 = 60;
        // What this kernel does not know is left out.
        let Some(mut counters) = opened(&["NO_SOCKET", "NO_SUCH_REASON"]) else { return };
        let before = counters.read().expect("they are open");
        assert_eq!(before.keys().collect::<Vec<_>>(), ["NO_SOCKET"]);
        let beside = Beside::new().expect("who may count may make a namespace");
        beside
            .inside(|| {
                address::set_up("lo").expect("its own loopback");
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                for _ in 0..SENT {
                    // Nobody has the port; every second send is told so.
                    let _ = socket.send_to(b"x", "127.0.0.1:9");
                }
            })
            .expect("a thread inside");
        let grown = counters.read().expect("they are open")["NO_SOCKET"] - before["NO_SOCKET"];
        assert!(grown >= SENT, "{grown}");
    }

    #[test]
    fn who_may_not_count_is_told_why_in_a_line() {
        let why = [
            NoReasons::NoFormat {
                file: "/a/format".to_owned(),
                error: io::ErrorKind::PermissionDenied.into(),
            },
            NoReasons::Unsaid,
            NoReasons::NoCounter(io::Error::from_raw_os_error(libc::EACCES)),
        ];
        assert_eq!(why.each_ref().map(NoReasons::is_denied), [true, false, true]);
        let told = why.map(|why| why.to_string());
        assert_eq!(told[0], "/a/format: permission denied");
        assert!(told[1].contains("Linux 5.17") && told[2].starts_with("perf_event_open: Permission denied"));
    }
}
