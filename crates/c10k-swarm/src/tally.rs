//! How lost connections are counted: by phase and cause, each once.

use std::borrow::Cow;
use std::io;

use c10k_record::{Failure, Outcome, PhaseName};

/// Why a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A system call said so.
    Errno(i32),
    /// The run was stopped before it was finished.
    Aborted,
    /// The connect took longer than allowed.
    ConnectTimeout,
    /// The handshake of the protocol took longer than allowed.
    HandshakeTimeout,
    /// The protocol says how.
    Named(Cow<'static, str>),
    /// The echo took longer than allowed.
    ProbeTimeout,
    /// The echo was not what had been sent.
    Corrupt,
    /// The server closed it in good order.
    ClosedByServer,
    /// The server closed it within an echo.
    ShortEcho,
    /// The swarm had stopped proving before its turn came.
    Unproven,
    /// The worker that held it is gone.
    WorkerLost,
}

impl Loss {
    /// The loss that a failed call means: an errno only where a system call has returned one.
    pub(crate) fn from_error(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Named("no-errno".into()), Self::Errno)
    }

    /// Whether the server, or who stands in for it, has ended the connection.
    pub(crate) fn is_the_servers(&self) -> bool {
        match self {
            Self::Errno(_) | Self::ClosedByServer | Self::ShortEcho => true,
            Self::Named(name) => name.starts_with("close"),
            _ => false,
        }
    }

    /// The name it is counted under.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Errno(number) => Outcome::errno(*number),
            Self::HandshakeTimeout => Outcome::handshake_timeout(),
            Self::Named(name) => Outcome::named(name),
            Self::Aborted => Outcome::aborted(),
            Self::ConnectTimeout => Outcome::connect_timeout(),
            Self::ProbeTimeout => Outcome::probe_timeout(),
            Self::Corrupt => Outcome::corrupt(),
            Self::ClosedByServer => Outcome::closed_by_server(),
            Self::ShortEcho => Outcome::short_echo(),
            Self::Unproven => Outcome::unproven(),
            Self::WorkerLost => Outcome::worker_lost(),
        }
    }
}

/// Counts of lost connections. A handful of rows: looked through, not hashed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    phase: PhaseName,
    loss: Loss,
    count: u64,
    first_at_ms: u64,
}

impl Tally {
    /// Counts `count` connections lost at `at_ms` after the first connect.
    pub(crate) fn add(&mut self, phase: PhaseName, loss: Loss, count: u64, at_ms: u64) {
        match self.0.iter_mut().find(|row| row.phase == phase && row.loss == loss) {
            Some(row) => {
                row.count += count;
                row.first_at_ms = row.first_at_ms.min(at_ms);
            }
            None if count > 0 => self.0.push(Row { phase, loss, count, first_at_ms: at_ms }),
            None => {}
        }
    }

    /// Takes over all that `other` has counted.
    pub(crate) fn take_over(&mut self, other: &mut Self) {
        for row in other.0.drain(..) {
            self.add(row.phase, row.loss, row.count, row.first_at_ms);
        }
    }

    /// Whether nothing was lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows for the record, in the order in which they began.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let mut rows = self.0.clone();
        rows.sort_by_key(|row| (row.first_at_ms, row.phase));
        rows.iter()
            .map(|row| Failure {
                phase: row.phase,
                outcome: row.loss.outcome(),
                count: row.count,
                first_at_ms: row.first_at_ms,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_and_cause_has_its_own_row_with_its_first_time() {
        let mut tally = Tally::default();
        tally.add(PhaseName::Ramp, Loss::Errno(libc::ECONNREFUSED), 1, 9);
        tally.add(PhaseName::Ramp, Loss::Errno(libc::ECONNREFUSED), 2, 5);
        tally.add(PhaseName::Hold, Loss::ClosedByServer, 1, 3);
        tally.add(PhaseName::Hold, Loss::Aborted, 0, 1);
        let rows = tally.failures();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((rows[0].outcome.name(), rows[0].count), ("closed-by-server", 1));
        assert_eq!((rows[1].outcome.name(), rows[1].count, rows[1].first_at_ms), ("ECONNREFUSED", 3, 5));
    }
}
