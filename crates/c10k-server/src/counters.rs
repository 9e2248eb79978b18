//! What one worker has counted: written by it alone, read by the keeper at any time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use c10k_record::{Outcome, ServerReport};
use nix::errno::Errno;

/// The errors that are counted under their own name, so that counting needs neither a map nor an allocation.
const ERRNOS: [Errno; 15] = [
    Errno::ECONNRESET,
    Errno::EPIPE,
    Errno::ETIMEDOUT,
    Errno::EHOSTUNREACH,
    Errno::ENETUNREACH,
    Errno::ECONNABORTED,
    Errno::ECONNREFUSED,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EPERM,
    Errno::EPROTO,
    Errno::ENETDOWN,
];

/// The name of all other errors.
const OTHER: &str = "other";
/// The name of a connection whose peer took nothing of its output for too long.
const STALLED: &str = "stalled";
/// The name of a connection that was still owed output when the drain's time was over.
const UNDELIVERED: &str = "undelivered";

/// One worker's counts, on cache lines of their own. Only the worker writes, so an increment is a load and a
/// store and no locked instruction.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    accepted: AtomicU64,
    closed: AtomicU64,
    drained: AtomicU64,
    stalled: AtomicU64,
    undelivered: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    paused: AtomicU64,
    pressured: AtomicU64,
    opened: AtomicU64,
    failed: ByErrno,
    /// Ends that the protocol names. Only a peer that breaks a rule or dies comes here.
    named: Mutex<BTreeMap<String, u64>>,
    accept_errors: ByErrno,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum EndedAs {
    /// The peer closed it in good order.
    Closed,
    /// The server closed it at its own end.
    Drained,
    /// The server closed it at its own end, with output that the peer had not taken.
    Undelivered,
    /// The peer took nothing of its output for too long.
    Stalled,
    /// An error of the kernel.
    Failed(io::Error),
    /// The protocol says how, such as `close-1009` or `handshake-timeout`.
    Named(Cow<'static, str>),
}

impl Counters {
    pub(crate) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn ended(&self, end: &EndedAs) {
        match end {
            EndedAs::Closed => add(&self.closed, 1),
            EndedAs::Drained => add(&self.drained, 1),
            EndedAs::Undelivered => add(&self.undelivered, 1),
            EndedAs::Stalled => add(&self.stalled, 1),
            EndedAs::Failed(error) => self.failed.count(error),
            EndedAs::Named(name) => {
                let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
                match named.get_mut(name.as_ref()) {
                    Some(count) => *count += 1,
                    None => drop(named.insert(name.clone().into_owned(), 1)),
                }
            }
        }
    }

    /// A handshake is complete.
    pub(crate) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn accept_error(&self, error: &io::Error) {
        self.accept_errors.count(error);
    }

    pub(crate) fn paused(&self) {
        add(&self.paused, 1);
    }

    pub(crate) fn read(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        add(&self.bytes_out, bytes as u64);
    }

    /// How many connections are under back-pressure now.
    pub(crate) fn set_pressured(&self, now: usize) {
        self.pressured.store(now as u64, Relaxed);
    }

    /// Adds these counts to a report. Ends are read before beginnings, so `open` is never below zero.
    pub(crate) fn add_to(&self, report: &mut ServerReport) {
        let mut ended = 0;
        for (name, counter) in [(STALLED, &self.stalled), (UNDELIVERED, &self.undelivered)] {
            ended += add_named(&mut report.failed, name, counter.load(Relaxed));
        }
        ended += self.failed.add_to(&mut report.failed);
        for (name, &count) in &*self.named.lock().unwrap_or_else(PoisonError::into_inner) {
            ended += add_named(&mut report.failed, name, count);
        }
        if let Some(opened) = &mut report.opened {
            *opened += self.opened.load(Relaxed);
        }
        for (total, counter) in [(&mut report.closed, &self.closed), (&mut report.drained, &self.drained)] {
            let count = counter.load(Relaxed);
            *total += count;
            ended += count;
        }
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        let accepted = self.accepted.load(Relaxed);
        report.accepted += accepted;
        report.open += accepted.saturating_sub(ended);
        self.accept_errors.add_to(&mut report.accept_errors);
        report.paused += self.paused.load(Relaxed);
        report.bytes_in += self.bytes_in.load(Relaxed);
        report.bytes_out += self.bytes_out.load(Relaxed);
        report.back_pressured += self.pressured.load(Relaxed);
    }
}

/// Errors by errno.
#[derive(Debug, Default)]
struct ByErrno {
    known: [AtomicU64; ERRNOS.len()],
    other: AtomicU64,
}

impl ByErrno {
    fn count(&self, error: &io::Error) {
        let known = ERRNOS.iter().position(|&errno| error.raw_os_error() == Some(errno as i32));
        add(known.map_or(&self.other, |place| &self.known[place]), 1);
    }

    fn add_to(&self, map: &mut BTreeMap<String, u64>) -> u64 {
        let known = ERRNOS.iter().zip(&self.known);
        let sum: u64 = known
            .map(|(&errno, counter)| {
                add_named(map, Outcome::errno(errno as i32).name(), counter.load(Relaxed))
            })
            .sum();
        sum + add_named(map, OTHER, self.other.load(Relaxed))
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

fn add_named(map: &mut BTreeMap<String, u64>, name: &str, count: u64) -> u64 {
    if count > 0 {
        *map.entry(name.to_owned()).or_default() += count;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_connection_is_open_or_ended_under_one_name() {
        let counters = [Counters::default(), Counters::default()];
        (0..10).for_each(|_| counters[0].accepted());
        counters[1].accepted();
        counters[0].ended(&EndedAs::Closed);
        counters[0].ended(&EndedAs::Stalled);
        counters[0].ended(&EndedAs::Undelivered);
        counters[0].ended(&EndedAs::Failed(Errno::ECONNRESET.into()));
        counters[0].ended(&EndedAs::Failed(Errno::EXDEV.into()));
        counters[1].ended(&EndedAs::Drained);
        counters[1].accept_error(&Errno::EMFILE.into());
        let mut report = ServerReport::default();
        counters.iter().for_each(|counters| counters.add_to(&mut report));
        let ended = report.closed + report.drained + report.failed.values().sum::<u64>();
        assert_eq!((report.accepted, report.open, ended), (11, 5, 6));
        assert_eq!(
            report.failed.keys().collect::<Vec<_>>(),
            ["ECONNRESET", "other", "stalled", "undelivered"]
        );
        assert_eq!(report.accept_errors.get("EMFILE"), Some(&1));
    }

    #[test]
    fn every_counted_errno_has_a_name_of_its_own() {
        let mut names: Vec<_> = ERRNOS.iter().map(|&errno| Outcome::errno(errno as i32)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ERRNOS.len());
    }
}
