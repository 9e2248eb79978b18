//! A server on another host in the course of a run, as the lab holds it: told and heard like a process, by the control
//! port of its host.
//!
//! What is asked is asked by a thread of its own. Where the lab waits for an answer it says how long, and what did not come
//! by then is not known.

mod asking;
mod known;
mod laying;
mod patience;

use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use c10k_ceiling::ServerEnd;
use c10k_collector::far::{Mark, Moment, ServerEnded};
use c10k_plan::say::refusal::Refusal;
use c10k_record::control::{Client, Hello, Offset};
use c10k_record::{ClockAt, HostSnapshot, ProcessInRun};

pub(crate) use asking::TRIES;
use asking::{Ask, Asker};
pub(crate) use known::{Known, Sight};
use laying::Laying;
use patience::Patience;

use crate::processes::child::Heard;

/// The kernel there may take so long to take back what earlier connections had.
const SETTLE: Duration = Duration::from_millis(500);
/// Who gives a run up before its end waits so long for the far end to hear of it.
const GIVE_UP: Duration = Duration::from_secs(3);

/// The server of a run that stands on another host.
#[derive(Debug)]
pub(crate) struct Peer {
    asks: Option<Sender<Ask>>,
    pub(crate) sight: Sight,
    /// Who it said it was when the run began.
    pub(crate) hello: Hello,
    /// Both ends stand on one kernel.
    pub(crate) is_one_machine: bool,
    /// Connections of others that were open at its end when the run began.
    pub(crate) open_before: Option<u64>,
    patience: Patience,
}

/// A run that has begun there.
pub(crate) struct BegunThere {
    pub(crate) client: Client,
    pub(crate) run_id: String,
    pub(crate) hello: Hello,
    pub(crate) is_one_machine: bool,
    pub(crate) open_before: Option<u64>,
    pub(crate) offset: Offset,
}

impl Peer {
    /// Asks from now on; what the server says is sent to `to`.
    pub(crate) fn start(begun: BegunThere, to: Sender<Heard>) -> Result<Self, Refusal> {
        let BegunThere { client, run_id, hello, is_one_machine, open_before, offset } = begun;
        let (asks, asked) = channel();
        let sight = Sight::default();
        let patience = Patience::of_lease(Duration::from_secs(hello.lease_secs));
        let mut asker = Asker {
            client,
            run_id,
            boot_id: hello.boot_id.clone(),
            sight: sight.clone(),
            to,
            laying: Laying::default(),
            patience,
            failing: None,
        };
        asker.note_clock(ClockAt::Start, Some(offset));
        Builder::new()
            .name("ask-far-end".to_owned())
            .spawn(move || asker.go_on(&asked))
            .map_err(|error| Refusal::host(format!("no thread can be started: {error}"), ""))?;
        Ok(Self { asks: Some(asks), sight, hello, is_one_machine, open_before, patience })
    }

    /// Whether it says how many it has accepted.
    pub(crate) fn speaks(&self) -> bool {
        !self.hello.server.foreign
    }

    /// Its host's limits.
    pub(crate) fn limits(&self) -> &HostSnapshot {
        &self.hello.host.limits
    }

    /// As a process is told; false where it will say nothing.
    pub(crate) fn tell(&mut self, line: &str) -> bool {
        let asked = match line {
            "now" => self.ask(Ask::Look),
            "stop" => self.ask(Ask::End("the run is over".to_owned())),
            _ => false,
        };
        asked && self.speaks()
    }

    fn ask(&self, ask: Ask) -> bool {
        self.asks.as_ref().is_some_and(|asks| asks.send(ask).is_ok())
    }

    /// Has it looked at now; where it does not answer within a moment what was seen last stands.
    pub(crate) fn refresh(&self, longest: Duration) {
        let tried = |known: &Known| known.looks + known.missed;
        let before = tried(&self.sight.known());
        if self.ask(Ask::Look) {
            self.sight.await_that(longest, |known| tried(known) > before);
        }
    }

    /// Has it look closer, with so many connections opened since the run began. It is not waited for.
    pub(crate) fn mark(&self, moment: Moment, connections: u64) {
        let clients_here = if self.is_one_machine { connections } else { 0 };
        let settle_ms = match moment {
            Moment::Ready => SETTLE.as_millis() as u64,
            Moment::Hold | Moment::Proof => 0,
        };
        // One of an earlier phase is none of this moment.
        self.sight.note(|known| {
            known.marks.remove(&moment);
            known.unmarked.retain(|other| *other != moment);
        });
        self.ask(Ask::Mark(Mark { moment, connections, clients_here, settle_ms }));
    }

    /// Waits until that has come, or comes to nothing.
    pub(crate) fn await_mark(&self, moment: Moment) {
        let is_here = |known: &Known| {
            known.marks.contains_key(&moment) || known.unmarked.contains(&moment) || known.lost.is_some()
        };
        self.sight.await_that(self.patience.look + self.patience.mark, is_here);
    }

    /// Has the clocks compared; it is not waited for.
    pub(crate) fn compare_clocks(&self, part: ClockAt) {
        self.ask(Ask::Clock(part));
    }

    /// How long the end of a run may take there.
    pub(crate) fn longest_end(&self) -> Duration {
        // A look that is under way, the clocks, and the end twice.
        self.patience.look * 2 + self.patience.end * 2
    }

    /// The server's processes as they were in the hold.
    pub(crate) fn processes(&self) -> Vec<ProcessInRun> {
        self.sight.known().marks.get(&Moment::Hold).map(|marked| marked.processes.clone()).unwrap_or_default()
    }

    /// How its server's process ended, and in words.
    pub(crate) fn end(&self) -> Option<(ServerEnd, String)> {
        let known = self.sight.known();
        let of_look = known.look.as_ref().and_then(|(_, look)| look.server_end.clone());
        let ended = of_look.or_else(|| known.ended.as_ref()?.look.server_end.clone())?;
        let ServerEnded { words, signal, code } = ended;
        let end = match (signal, code) {
            (Some(signal), _) => ServerEnd::Killed(signal),
            (None, Some(code)) => ServerEnd::Exited(code),
            (None, None) => ServerEnd::Gone,
        };
        Some((end, words))
    }
}

impl Drop for Peer {
    /// A run that was given up is ended there too: the next one need not wait until the far end notices.
    fn drop(&mut self) {
        let until = Instant::now() + GIVE_UP;
        self.asks = None;
        self.sight.await_that(until.saturating_duration_since(Instant::now()), |known| known.is_over);
    }
}
