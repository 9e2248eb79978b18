//! What the connections do while they are held, behind one boundary.
//!
//! A [`Workload`] says which connection has something to say, and when that was intended. It owns no loop, no socket and
//! no clock: the worker asks it, says it, hears the answer and takes the times. What is under way on a connection is kept
//! in [`Talks`] while it is, and what came of it in [`Talked`].

mod backlog;
mod churn;
mod echo;
mod job;
mod pace;
mod push;
mod pushed;
mod receptions;
mod talked;
mod talks;

pub(crate) use backlog::{Backlog, Unsent};
pub(crate) use churn::Churn;
pub(crate) use echo::Echo;
pub(crate) use job::{Job, Share};
pub(crate) use push::Push;
pub(crate) use pushed::Pushed;
pub(crate) use receptions::{ReceptionEnd, Receptions};
pub(crate) use talked::{Churned, Talked};
pub(crate) use talks::{Answer, Kind, Message, Talks};

use c10k_record::PhaseKind;

/// A message that was due, or to be sent before the end, and was not sent within this time was not sent in time, µs.
pub(crate) const IN_TIME_US: u64 = 1_000_000;

/// What a connection is for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// There is none in this slot that a message could be sent on.
    Absent,
    /// Nothing is under way on it.
    Quiet,
    /// Its answer to an earlier message is awaited.
    Busy,
}

/// The connections of one worker, as a workload sees them.
pub(crate) trait Connections {
    /// Slots, free ones included.
    fn slots(&self) -> u32;
    /// What is in a slot.
    fn stands(&self, slot: u32) -> Stands;
}

/// Who has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The connection in this slot, and when it should have: `None` in a closed loop, which intends no time.
    Say { slot: u32, intended_us: Option<u64> },
    /// Nobody before this time, µs since the run's epoch.
    NotBefore(u64),
    /// Nobody before an answer comes.
    Nobody,
}

/// What one worker's connections do.
#[derive(Debug)]
pub(crate) enum Workload {
    /// Nothing by themselves.
    Hold,
    /// They send messages, which the server sends back.
    Echo(Echo),
    /// They come and go; who says something is closed.
    Churn(Churn),
    /// They ask once, and the server pushes.
    Push(Push),
}

impl Workload {
    /// The part of a worker in this job.
    pub(crate) fn of(job: &Job, share: &Share) -> Self {
        match job.kind {
            PhaseKind::Echo => Self::Echo(Echo::new(job, share)),
            PhaseKind::Churn => Self::Churn(Churn::new(job, share)),
            PhaseKind::Stream | PhaseKind::Fanout => Self::Push(Push::default()),
            _ => Self::Hold,
        }
    }

    /// This worker has another share of the connections now.
    pub(crate) fn has(&mut self, share: &Share, now_us: u64) {
        match self {
            Self::Hold | Self::Push(_) => {}
            Self::Echo(echo) => echo.has(share, now_us),
            Self::Churn(churn) => churn.has(share, now_us),
        }
    }

    /// Who has something to say by now, where so many messages are in flight.
    pub(crate) fn next(&mut self, now_us: u64, in_flight: u64, connections: &impl Connections) -> Due {
        match self {
            Self::Hold => Due::Nobody,
            Self::Echo(echo) => echo.next(now_us, in_flight, connections),
            Self::Churn(churn) => churn.next(now_us, connections),
            Self::Push(push) => push.next(connections),
        }
    }

    /// The answer on `slot` has come, and nothing waits on it: who has something to say at once.
    pub(crate) fn answered(
        &mut self,
        slot: u32,
        now_us: u64,
        in_flight: u64,
        connections: &impl Connections,
    ) -> Option<u32> {
        match self {
            Self::Hold | Self::Churn(_) | Self::Push(_) => None,
            Self::Echo(echo) => echo.answered(slot, now_us, in_flight, connections),
        }
    }

    /// Bytes of the next message.
    pub(crate) fn size(&mut self) -> u32 {
        match self {
            Self::Hold | Self::Churn(_) | Self::Push(_) => 0,
            Self::Echo(echo) => echo.size(),
        }
    }

    /// Messages that were due before the end and that nobody has asked for yet.
    pub(crate) fn left(&self, now_us: u64) -> Option<Unsent> {
        match self {
            Self::Hold | Self::Push(_) => None,
            Self::Echo(echo) => echo.left(now_us),
            Self::Churn(churn) => churn.left(now_us),
        }
    }
}
