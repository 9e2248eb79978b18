//! One worker: a thread with a descriptor table, an event loop and the connections it holds.
//!
//! The loop and the calls are here; what is known stands apart: what to begin next in [`connector`], whom to ask in
//! [`prober`], whom to close in [`closer`], what is still to be said in [`output`], how long what is awaited may take in
//! [`waits`], and what has become of all of them in [`ledger`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use c10k_kernel::heap::FreedMemory;
use c10k_wire::Contents;

use crate::control::TableControl;
use crate::maker::Maker;
use crate::shared::{Note, Shared};
use crate::speech::Speech;
use crate::table::Table;
use crate::tasks::{Orders, Task, Turn};
use crate::workload::Talks;

mod beat;
mod churn;
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
mod receive;
mod send;
mod talk;
mod waits;
mod work;

use closer::Closer;
use connector::Connector;
use ledger::Ledger;
use output::{Output, STALL_CHECK_US};
use ping::Rounds;
use prober::Prober;
pub(crate) use receive::GRACE_US;
use waits::Waits;
use work::Working;

/// Connects, probes or closes between two looks at what has become ready.
const BATCH: u32 = 32;
/// The shared buffer of a worker, bytes; only pages that are used are ever touched.
const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) struct Worker<M: Maker, S: Speech> {
    shared: Arc<Shared>,
    control: Arc<TableControl>,
    maker: M,
    speech: S,
    table: Table<M::Connection>,
    /// What the speech keeps of each connection, by slot.
    states: Vec<S::State>,
    // Who knows what is next, for each task.
    connector: Connector,
    prober: Prober,
    closer: Closer,
    /// Rounds of pings; `None` = nobody is pinged.
    pings: Option<Rounds>,
    /// What this worker's connections do while they are held; `None` = nothing but that.
    working: Option<Box<Working>>,
    talks: Talks,
    /// The bytes of messages, from when the first is sent.
    contents: Option<Box<Contents>>,
    // What all of them use.
    output: Output,
    waits: Waits,
    ledger: Ledger,
    buffer: Box<[u8]>,
    /// Tokens of connections whose input was not read to its end: an edge does not come twice.
    leftovers: Vec<u64>,
    freed: FreedMemory,
    /// What was begun last.
    orders: Option<Orders>,
    /// When a task can go on that has to wait for a time, µs.
    wait_until_us: Option<u64>,
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
        let pings = shared.settings.ping_every.map(|every| Rounds::new(every, shared.now_us()));
        Self {
            waits: Waits::new(&shared.settings),
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
            working: None,
            talks: Talks::default(),
            contents: None,
            freed: FreedMemory::default(),
            prober: Prober::default(),
            closer: Closer::default(),
            orders: None,
            wait_until_us: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        }
    }

    /// Works until [`Task::End`] is ordered.
    ///
    /// # Errors
    /// When epoll itself fails; the connections are then counted as lost by the conductor.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            let orders = self.shared.orders();
            if orders.has(Task::End) {
                self.publish();
                return Ok(());
            }
            let more = self.work(orders);
            self.connector.settle_tuples(orders);
            self.publish();
            let timeout =
                if more || !self.leftovers.is_empty() { Some(Duration::ZERO) } else { self.timeout() };
            ready.clear();
            self.maker.wait(timeout, &mut ready)?;
            let now_us = self.shared.now_us();
            let orders = self.shared.orders();
            for event in &ready {
                self.on_ready(orders, event);
            }
            self.read_leftovers(orders);
            if !orders.hear_nothing() {
                self.expire(orders, now_us);
            }
            if self.freed.due_at().is_some() {
                self.freed.give_back(Instant::now());
            }
            self.ledger.share_measured();
        }
    }

    /// Does a batch of each task; true when there is more to do at once.
    fn work(&mut self, orders: Orders) -> bool {
        if self.orders != Some(orders) {
            self.begin(orders);
        }
        self.wait_until_us = None;
        self.release_some(orders);
        let mut more = false;
        if orders.has(Task::Connect) {
            let turn = self.control.turn(Turn::Connect).load(Acquire);
            more |= turn && self.connect_some(orders);
            self.settle_ramp(turn);
        } else {
            self.connector.forget_claims();
            self.connector.give_back_tuples();
        }
        if orders.has(Task::Ping) {
            // While there is work it is told now and then.
            if !orders.has(Task::Connect) && self.working.is_none() {
                self.ledger.flush_measured();
            }
            self.ping_some(orders);
        }
        if self.working.is_some() {
            more |= self.work_on(orders);
        }
        if orders.has(Task::Cut) {
            self.cut(orders, &self.shared.cut_as());
            self.finish(orders.walk);
        }
        if orders.need_a_walk() {
            more |= self.walk_on(orders);
        }
        if orders.has(Task::End) {
            self.ledger.flush_measured();
        }
        more
    }

    /// Goes over some of the connections that are there; true when there is more to do at once.
    fn walk_on(&mut self, orders: Orders) -> bool {
        let is_empty = self.table.used() == 0;
        if is_empty {
            self.need_no_turn(orders.walk);
        }
        let turn = self.control.turn(Turn::Walk).load(Acquire);
        let needs_none = self.control.walked.load(Relaxed) == orders.walk;
        let (more, is_over) = if orders.has(Task::Prove) {
            // Who has passed the turn on before all were asked goes on without it when somebody answers.
            let more = (turn || needs_none) && self.probe_some(orders);
            // A connection that is under way when no more are begun proves itself for the first time.
            let awaits = match orders.has(Task::Connect) {
                true => self.ledger.under_way(Task::Prove),
                false => self.ledger.in_flight(),
            };
            (more, (self.prober.is_over() || is_empty) && awaits == 0)
        } else if orders.has(Task::Close) {
            let more = turn && self.close_some(orders);
            let is_over = self.ledger.in_flight() == 0 && self.ledger.parting() == 0;
            (more, is_over && self.control.walked.load(Relaxed) == orders.walk)
        } else {
            let more = turn && self.abort_some(orders);
            (more, self.control.walked.load(Relaxed) == orders.walk)
        };
        if is_over {
            self.finish(orders.walk);
        }
        more
    }

    /// What was not done before begins.
    fn begin(&mut self, orders: Orders) {
        let before = self.orders.replace(orders);
        if orders.has(Task::Ping) && before.is_none_or(|before| !before.has(Task::Ping)) {
            self.begin_to_ping();
        }
        self.begin_to_work(orders);
        if before.is_some_and(|before| before.walk == orders.walk) {
            return;
        }
        let slots = self.table.len();
        if orders.has(Task::Prove) {
            self.prober = Prober::begin(slots);
        } else if orders.need_a_walk() {
            self.closer.begin(slots);
        }
    }

    fn finish(&mut self, walk: u32) {
        if self.control.done.load(Relaxed) != walk {
            self.ledger.flush_measured();
            self.publish();
            self.control.done.store(walk, Release);
            self.shared.note(Note::LookAgain);
        }
    }

    /// Some task can go on at this time, µs, and not before something happens otherwise.
    fn wait_until(&mut self, at_us: u64) {
        self.wait_until_us = Some(self.wait_until_us.map_or(at_us, |other_us| other_us.min(at_us)));
    }

    /// How long to sleep: until a deadline or an arrival, for ever when there is neither.
    fn timeout(&mut self) -> Option<Duration> {
        let now_us = self.shared.now_us();
        let stall_us = (!self.output.is_empty()).then_some(now_us + STALL_CHECK_US);
        let next_us = [self.wait_until_us, self.waits.next_look_us(&self.table), stall_us];
        let next_us = next_us.into_iter().flatten().min();
        let next = next_us.map(|at_us| Duration::from_micros(at_us.saturating_sub(now_us)));
        let freed = self.freed.due_at().map(|at| at.saturating_duration_since(Instant::now()));
        [next, freed].into_iter().flatten().min()
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
        if !self.shared.orders().has(Task::End) {
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
        self.ledger.flush_notes();
        self.tell();
        self.publish();
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
