//! One worker: a thread with a descriptor table, an event loop and the connections it holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use c10k_kernel::heap::FreedMemory;

use crate::control::TableControl;
use crate::maker::Maker;
use crate::shared::{Note, Shared, Stage};
use crate::speech::Speech;
use crate::table::Table;

mod closer;
mod connect;
mod connector;
mod end;
mod hear;
mod ledger;
mod output;
mod ping;
mod prober;
mod prove;
mod send;
mod waits;
mod walk;

use closer::Closer;
use connector::Connector;
use ledger::Ledger;
use output::Output;
use ping::Rounds;
use prober::Prober;
use waits::Waits;

/// Connects, probes or closes between two looks at what has become ready.
const BATCH: u32 = 32;
/// The shared buffer of a worker, bytes; only pages that are used are ever touched.
const BUFFER_BYTES: usize = 64 * 1024;
/// What one connection may bring at a time before the others have their turn.
const TURN_BYTES: usize = 256 * 1024;

/// Steps under way: the token, and when its time is over, µs since the run's epoch.
type Deadlines = c10k_wire::Deadlines<u64, u64>;

pub(crate) struct Worker<M: Maker, S: Speech> {
    maker: M,
    speech: S,
    /// What the speech keeps of each connection, by slot.
    states: Vec<S::State>,
    output: Output,
    shared: Arc<Shared>,
    control: Arc<TableControl>,
    table: Table<M::Connection>,
    connector: Connector,
    waits: Waits,
    /// Tokens of connections whose input was not read to its end: an edge does not come twice.
    leftovers: Vec<u64>,
    /// Rounds of pings in the hold; `None` = nobody is pinged.
    pings: Option<Rounds>,
    freed: FreedMemory,
    prober: Prober,
    closer: Closer,
    /// The stage that was begun last.
    begun: u32,
    /// Nothing can be begun before this time, µs.
    wait_until_us: Option<u64>,
    ledger: Ledger,
    buffer: Box<[u8]>,
}

impl<M: Maker, S: Speech> Worker<M, S> {
    pub(crate) fn new(
        maker: M,
        speech: S,
        shared: Arc<Shared>,
        control: Arc<TableControl>,
        capacity: u32,
    ) -> Self {
        control.room.store(capacity, Relaxed);
        let pings = shared.fixed.ping_every.map(|every| Rounds::new(every, shared.now_us()));
        Self {
            waits: Waits::new(&shared.fixed),
            ledger: Ledger::new(Arc::clone(&shared), Arc::clone(&control)),
            connector: Connector::new(Arc::clone(&shared), capacity),
            maker,
            speech,
            states: Vec::new(),
            output: Output::default(),
            shared,
            control,
            table: Table::new(),
            leftovers: Vec::new(),
            pings,
            freed: FreedMemory::default(),
            prober: Prober::default(),
            closer: Closer::default(),
            begun: 0,
            wait_until_us: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        }
    }

    /// Works until the stage is [`Stage::End`].
    ///
    /// # Errors
    /// When epoll itself fails; the connections are then counted as lost by the conductor.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            let (stage, sequence) = self.shared.stage();
            if stage == Stage::End {
                self.publish();
                return Ok(());
            }
            let more = self.work(stage, sequence);
            self.connector.settle_tuples(stage);
            self.publish();
            let timeout =
                if more || !self.leftovers.is_empty() { Some(Duration::ZERO) } else { self.timeout() };
            ready.clear();
            self.maker.wait(timeout, &mut ready)?;
            let now_us = self.shared.now_us();
            let (stage, _) = self.shared.stage();
            for event in &ready {
                self.on_ready(stage, event);
            }
            self.read_leftovers(stage);
            if !stage.hears_nothing() {
                self.expire(stage, now_us);
            }
            if self.freed.due_at().is_some() {
                self.freed.give_back(Instant::now());
            }
            self.ledger.share_measured();
        }
    }

    /// Does a batch of what the stage asks for; true when there is more to do at once.
    fn work(&mut self, stage: Stage, sequence: u32) -> bool {
        if self.begun != sequence {
            self.begun = sequence;
            self.begin_stage(stage);
        }
        if stage != Stage::Ramp {
            self.connector.forget_claims();
            self.connector.give_back_tuples();
        }
        self.wait_until_us = None;
        self.release_some(stage);
        if matches!(stage, Stage::Verify | Stage::Close | Stage::Abort) && self.table.used() == 0 {
            self.need_no_turn(sequence);
        }
        let turn = self.control.turn.load(Acquire);
        match stage {
            Stage::Ramp => {
                let more = turn && self.connect_some();
                self.settle_ramp(turn);
                more
            }
            Stage::Hold => {
                self.ledger.flush_measured();
                self.ping_some(stage);
                false
            }
            Stage::End => {
                self.ledger.flush_measured();
                false
            }
            Stage::Verify => {
                // Who has passed the turn on before all were asked goes on without it when somebody answers.
                let may_ask = turn || self.control.walked.load(Relaxed) == sequence;
                let more = may_ask && self.probe_some(stage, sequence);
                let is_walked = self.prober.is_over() || self.table.used() == 0;
                if is_walked && self.ledger.in_flight() == 0 {
                    self.finish(sequence);
                }
                more
            }
            Stage::Cut => {
                self.cut(stage, &self.shared.cut_as());
                self.finish(sequence);
                false
            }
            Stage::Close => {
                let more = turn && self.close_some(sequence);
                let is_walked = self.control.walked.load(Relaxed) == sequence;
                if is_walked && self.ledger.in_flight() == 0 && self.ledger.parting() == 0 {
                    self.finish(sequence);
                }
                more
            }
            Stage::Abort => {
                let more = turn && self.abort_some(sequence);
                if self.control.walked.load(Relaxed) == sequence {
                    self.finish(sequence);
                }
                more
            }
        }
    }

    fn begin_stage(&mut self, stage: Stage) {
        let slots = self.table.len();
        match stage {
            Stage::Hold => self.begin_to_ping(),
            Stage::Verify => self.prober = Prober::begin(slots),
            Stage::Close | Stage::Abort => self.closer.begin(slots),
            Stage::Ramp | Stage::Cut | Stage::End => {}
        }
    }

    fn finish(&mut self, sequence: u32) {
        if self.control.done.load(Relaxed) != sequence {
            self.ledger.flush_measured();
            self.publish();
            self.control.done.store(sequence, Release);
            self.shared.note(Note::LookAgain);
        }
    }

    /// How long to sleep: until a deadline or an arrival, for ever when there is neither.
    fn timeout(&mut self) -> Option<Duration> {
        let now_us = self.shared.now_us();
        let arrival = self.wait_until_us.map(|at| Duration::from_micros(at.saturating_sub(now_us)));
        let waits = self.ledger.in_flight() > 0 || self.ledger.parting() > 0 || !self.output.is_empty();
        let deadline = waits.then_some(Duration::from_millis(100));
        let freed = self.freed.due_at().map(|at| at.saturating_duration_since(Instant::now()));
        [arrival, deadline, freed].into_iter().flatten().min()
    }

    fn publish(&mut self) {
        let room = self.room();
        self.ledger.publish(room);
    }
}

/// However a worker ends, by a panic too, what it has counted stands, what it had claimed is begun by others, and its
/// tuples come back.
impl<M: Maker, S: Speech> Drop for Worker<M, S> {
    fn drop(&mut self) {
        if self.shared.stage().0 != Stage::End {
            // Its table goes with its thread, and all that is open in it is closed.
            for index in 0..self.table.len() {
                let slot = self.table.get(index);
                if slot.connection.is_some() {
                    self.connector.hand.waits(slot.tuple);
                }
            }
        }
        self.connector.give_back();
        self.ledger.flush_measured();
        self.publish();
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
