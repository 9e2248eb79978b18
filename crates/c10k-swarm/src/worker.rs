//! One worker: a thread with a descriptor table, an event loop and the connections it holds.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use c10k_wire::raw::{Echo, ProbeId};

use crate::arrivals::Claim;
use crate::maker::{BeginError, Begun, Maker, Ready};
use crate::shared::{GrowthStop, Measured, Note, Shared, Stage, TableControl};
use crate::table::{State, Table, token};
use crate::tally::Loss;

/// Connects, probes or closes between two looks at what has become ready.
const BATCH: u32 = 32;
/// The shared buffer of a worker, bytes; only pages that are used are ever touched.
const BUFFER_BYTES: usize = 64 * 1024;
/// After so many first sends that found the connect still under way, sending waits for epoll's word.
const OPTIMISM: u32 = 8;

/// How many latencies a worker keeps to itself before it adds them to the run's.
const UNSHARED_LATENCIES: u64 = 4096;

/// Steps under way (token, and when it began in µs as in the slot), in the order in which they were begun, so
/// that only the front is ever looked at.
type Deadlines = VecDeque<(u64, u32)>;

/// Counts kept as plain numbers and published once a turn of the loop.
#[derive(Default)]
struct Counts {
    attempted: u64,
    established: u64,
    verified: u64,
    open: u64,
    failed: u64,
    in_flight: u64,
    messages: u64,
    /// Connections that stand in [`State::Proven`].
    held: u64,
    released: u64,
    tuples_skipped: u64,
}

pub(crate) struct Worker<M: Maker> {
    maker: M,
    shared: Arc<Shared>,
    control: Arc<TableControl>,
    table: Table<M::Connection>,
    /// Most slots this worker's descriptor table has room for.
    capacity: u32,
    /// Tokens of connections whose connect is under way.
    connecting: Deadlines,
    /// Tokens of connections whose echo is awaited.
    probing: Deadlines,
    /// Claimed connections not yet begun: first number and how many.
    claimed: (u64, u64),
    /// How far the walk of the present stage has come, and which stage that is.
    walk: (u32, u32),
    /// What was under way when the present stage began: it takes no place from what the stage begins itself.
    under_way_before: u64,
    /// Nothing can be begun before this time, µs.
    wait_until_us: Option<u64>,
    optimism: u32,
    counts: Counts,
    measured: Option<Box<Measured>>,
    buffer: Box<[u8]>,
    scratch: Box<[u8]>,
}

impl<M: Maker> Worker<M> {
    pub(crate) fn new(maker: M, shared: Arc<Shared>, control: Arc<TableControl>, capacity: u32) -> Self {
        let probe_bytes = shared.fixed.probes.map_or(0, |probes| usize::from(probes.size()));
        control.room.store(capacity, Relaxed);
        Self {
            maker,
            shared,
            control,
            table: Table::new(),
            capacity,
            connecting: Deadlines::new(),
            probing: Deadlines::new(),
            claimed: (0, 0),
            walk: (0, 0),
            under_way_before: 0,
            wait_until_us: None,
            optimism: OPTIMISM,
            counts: Counts::default(),
            measured: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            scratch: vec![0; probe_bytes].into_boxed_slice(),
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
            self.publish();
            let timeout = if more { Some(Duration::ZERO) } else { self.timeout() };
            ready.clear();
            self.maker.wait(timeout, &mut ready)?;
            let now_us = self.shared.now_us();
            let (stage, _) = self.shared.stage();
            for event in &ready {
                self.on_ready(stage, event, now_us);
            }
            self.expire(stage, now_us);
            self.share_measured();
        }
    }

    /// Does a batch of what the stage asks for; true when there is more to do at once.
    fn work(&mut self, stage: Stage, sequence: u32) -> bool {
        if self.walk.1 != sequence {
            self.walk = (0, sequence);
            self.under_way_before = self.counts.in_flight;
        }
        if stage != Stage::Ramp {
            self.shared.arrivals.forget(std::mem::take(&mut self.claimed.1));
        }
        self.wait_until_us = None;
        self.release_some();
        let turn = self.control.turn.load(Acquire);
        match stage {
            Stage::Ramp => {
                let more = turn && self.connect_some();
                self.settle_ramp(turn);
                more
            }
            Stage::Hold | Stage::End => {
                self.flush_measured();
                false
            }
            Stage::Verify => {
                let more = turn && self.probe_some(stage, sequence);
                if self.control.walked.load(Relaxed) == sequence && self.counts.in_flight == 0 {
                    self.finish(sequence);
                }
                more
            }
            Stage::Cut => {
                self.cut(stage);
                self.finish(sequence);
                false
            }
            Stage::Close => turn && self.close_some(sequence),
        }
    }

    fn finish(&mut self, sequence: u32) {
        if self.control.done.load(Relaxed) != sequence {
            self.flush_measured();
            self.publish();
            self.control.done.store(sequence, Release);
            self.shared.note(Note::LookAgain);
        }
    }

    // Connecting ---------------------------------------------------------------------------------------

    fn connect_some(&mut self) -> bool {
        let now_us = self.shared.now_us();
        for _ in 0..BATCH {
            if !self.shared.fixed.open_loop
                && self.counts.in_flight >= u64::from(self.shared.fixed.in_flight_per_turn)
            {
                return false;
            }
            if self.room() == 0 {
                self.hand_over();
                return false;
            }
            let Some(number) = self.next_number(now_us) else { return false };
            self.connect_one(number);
            if !self.control.turn.load(Relaxed) {
                return false;
            }
        }
        true
    }

    /// Slots and descriptors still free.
    fn room(&self) -> u32 {
        self.capacity.saturating_sub(self.table.used())
    }

    /// Gives the turn to another worker, and with it the claims not yet begun.
    fn hand_over(&mut self) {
        self.give_back_claims();
        if self.control.turn.swap(false, AcqRel) {
            self.publish();
            self.shared.note(Note::TurnFree);
        }
    }

    fn give_back_claims(&mut self) {
        let (first, count) = std::mem::take(&mut self.claimed);
        self.shared.arrivals.give_back(first, count);
    }

    fn next_number(&mut self, now_us: u64) -> Option<u64> {
        if self.claimed.1 == 0 {
            let most = u64::from(BATCH).min(u64::from(self.room()));
            match self.shared.arrivals.claim(most, now_us) {
                Claim::Some { first, count } => self.claimed = (first, count),
                Claim::NotBefore(at_us) => {
                    self.wait_until_us = Some(at_us);
                    return None;
                }
                Claim::Nothing => return None,
            }
        }
        if self.shared.arrivals.is_stopped() {
            self.shared.arrivals.forget(self.claimed.1);
            self.claimed = (0, 0);
            return None;
        }
        let number = self.claimed.0;
        self.claimed = (number + 1, self.claimed.1 - 1);
        Some(number)
    }

    fn connect_one(&mut self, number: u64) {
        let begun_us = self.shared.now_us();
        self.shared.connecting_since(begun_us);
        self.counts.attempted += 1;
        let begun = loop {
            let Some(tuple) = self.shared.next_tuple() else {
                self.shared.stop_growing(GrowthStop::NoTuples);
                return self.failed_to_begin(Loss::Errno(libc::EADDRNOTAVAIL));
            };
            match self.maker.begin(&tuple) {
                Err(BeginError::TupleTaken(_)) => self.counts.tuples_skipped += 1,
                // Fuller than thought: what is left is for other tables.
                Err(BeginError::TableFull(_)) if self.table.used() > 0 => {
                    self.capacity = self.table.used();
                    self.counts.attempted -= 1;
                    self.shared.give_back_tuple(tuple);
                    return self.shared.arrivals.give_back(number, 1);
                }
                other => break other,
            }
        };
        let (connection, begun) = match begun {
            Ok(made) => made,
            Err(BeginError::Failed(error) | BeginError::TupleTaken(error)) => {
                return self.failed_to_begin(Loss::from_error(&error));
            }
            Err(BeginError::TableFull(error) | BeginError::NoDescriptor(error)) => {
                self.failed_to_begin(Loss::from_error(&error));
                return self.shared.stop_growing(GrowthStop::NoDescriptors);
            }
        };
        self.counts.in_flight += 1;
        let since_us = self.shared.arrivals.intended_us(number, begun_us).min(begun_us);
        let (index, token) = self.table.insert(connection, number as u32, since_us as u32);
        let established = match begun {
            Begun::Completed => {
                self.established(Stage::Ramp, index, self.shared.now_us());
                true
            }
            Begun::UnderWay => self.send_early(index),
        };
        if self.table.find(token).is_none() {
            return;
        }
        if !established {
            self.connecting.push_back((token, begun_us as u32));
        }
        let writable = !self.probe_is_out(index);
        self.watch(index, token, writable);
    }

    /// Tries to send the probe right behind the connect; true when the connect has completed.
    ///
    /// On loopback the handshake is over before connect(2) returns, so a wake-up is saved. Over a real way the
    /// first sends find EAGAIN, and then nobody tries any more.
    fn send_early(&mut self, index: u32) -> bool {
        let Some(probes) = self.shared.fixed.probes else { return false };
        if self.optimism == 0 {
            return false;
        }
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return false };
        let id = ProbeId { connection: u64::from(slot.number), round: 0 };
        match self.maker.send(connection, probes.fill(id, &mut self.buffer)) {
            Ok(sent) => {
                self.optimism = OPTIMISM;
                let now_us = self.shared.now_us();
                self.mark_established(index, now_us);
                self.start_probe(index, 0, now_us);
                self.table.get(index).sent = sent as u16;
                true
            }
            Err(error) if would_block(&error) => {
                self.optimism -= 1;
                false
            }
            Err(error) => {
                self.lose(Stage::Ramp, index, Loss::from_error(&error));
                true
            }
        }
    }

    /// Whether nothing is left to be written: the probe is out, or there is none to come.
    fn probe_is_out(&mut self, index: u32) -> bool {
        let size = self.shared.fixed.probes.map_or(0, |probes| probes.size());
        let slot = self.table.get(index);
        match slot.state {
            State::Probing => slot.sent >= size,
            State::Idle | State::Proven => true,
            State::Connecting | State::Free => false,
        }
    }

    fn watch(&mut self, index: u32, token: u64, writable: bool) {
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return };
        if let Err(error) = self.maker.watch(connection, token, writable) {
            self.lose(Stage::Ramp, index, Loss::from_error(&error));
        }
    }

    fn failed_to_begin(&mut self, loss: Loss) {
        self.counts.failed += 1;
        self.shared.lost(Stage::Ramp, loss, self.shared.now_us());
    }

    fn mark_established(&mut self, index: u32, now_us: u64) {
        let slot = self.table.get(index);
        let took_us = (now_us as u32).wrapping_sub(slot.since_us);
        self.counts.established += 1;
        self.counts.open += 1;
        self.measured().connect.record_us(u64::from(took_us));
    }

    /// The connect has completed: the probe goes out, or the connection is done when there is none.
    fn established(&mut self, stage: Stage, index: u32, now_us: u64) {
        self.mark_established(index, now_us);
        if self.shared.fixed.probes.is_some() {
            self.start_probe(index, 0, now_us);
            self.send_probe(stage, index);
        } else {
            self.rest(stage, index);
            self.counts.in_flight -= 1;
            self.shared.succeeded(now_us);
        }
    }

    /// Tells the conductor when this worker has nothing under way and nothing to begin.
    fn settle_ramp(&mut self, turn: bool) {
        if self.counts.in_flight == 0 {
            if self.shared.arrivals.is_exhausted() {
                self.flush_measured();
                if self.control.in_flight.load(Relaxed) != 0 {
                    self.publish();
                    self.shared.note(Note::LookAgain);
                }
            } else if !turn {
                self.flush_measured();
            }
        }
    }

    // Probing ------------------------------------------------------------------------------------------

    fn start_probe(&mut self, index: u32, round: u16, now_us: u64) {
        let slot = self.table.get(index);
        self.counts.held -= u64::from(slot.state == State::Proven);
        slot.sent = 0;
        slot.got = 0;
        slot.round = round;
        slot.state = State::Probing;
        slot.since_us = now_us as u32;
        self.probing.push_back((token(index, slot.number), slot.since_us));
    }

    /// Sends what is left of a probe.
    fn send_probe(&mut self, stage: Stage, index: u32) {
        let Some(probes) = self.shared.fixed.probes else { return };
        let slot = self.table.get(index);
        let id = ProbeId { connection: u64::from(slot.number), round: u32::from(slot.round) };
        let Some(connection) = &slot.connection else { return };
        let rest = &probes.fill(id, &mut self.buffer)[usize::from(slot.sent)..];
        match self.maker.send(connection, rest) {
            Ok(sent) => slot.sent += sent as u16,
            Err(error) if would_block(&error) => {}
            Err(error) => self.lose(stage, index, Loss::from_error(&error)),
        }
    }

    /// Proves a batch of connections once more; true when there is more to do at once.
    fn probe_some(&mut self, stage: Stage, sequence: u32) -> bool {
        let round = self.shared.round();
        for _ in 0..BATCH {
            if self.walk.0 >= self.table.len() {
                self.walked(sequence);
                return false;
            }
            let most = u64::from(self.shared.fixed.in_flight_per_turn) + self.under_way_before;
            if self.counts.in_flight >= most {
                return false;
            }
            let index = self.walk.0;
            self.walk.0 += 1;
            let slot = self.table.get(index);
            let waits = match slot.state {
                State::Idle => true,
                State::Proven => slot.round != round,
                State::Free | State::Connecting | State::Probing => false,
            };
            if !waits {
                continue;
            }
            let number = slot.number;
            if self.shared.fixed.probes.is_none() {
                self.prove(index);
                continue;
            }
            let now_us = self.shared.now_us();
            self.start_probe(index, round, now_us);
            self.counts.in_flight += 1;
            self.send_probe(stage, index);
            if self.table.find(token(index, number)).is_some() && !self.probe_is_out(index) {
                let slot = self.table.get(index);
                let watched = slot
                    .connection
                    .as_ref()
                    .map(|connection| self.maker.watch_writable(connection, token(index, number)));
                if let Some(Err(error)) = watched {
                    self.lose(stage, index, Loss::from_error(&error));
                }
            }
        }
        true
    }

    fn walked(&mut self, sequence: u32) {
        if self.control.walked.swap(sequence, AcqRel) != sequence {
            self.control.turn.store(false, Release);
            self.shared.note(Note::TurnFree);
        }
    }

    // Readiness ----------------------------------------------------------------------------------------

    fn on_ready(&mut self, stage: Stage, event: &Ready, now_us: u64) {
        let Some(index) = self.table.find(event.token) else { return };
        if matches!(stage, Stage::Close | Stage::End) {
            return;
        }
        let state = self.table.get(index).state;
        if state == State::Connecting {
            if event.failed {
                return self.lose_by_failure(stage, index);
            }
            if !event.writable {
                return;
            }
            self.established(stage, index, now_us);
        } else if state == State::Probing && event.writable && !self.probe_is_out(index) {
            self.send_probe(stage, index);
        }
        if event.readable && self.table.find(event.token).is_some() {
            self.receive(stage, event, index);
        }
        if event.failed && self.table.find(event.token).is_some() {
            self.lose_by_failure(stage, index);
        }
    }

    fn lose_by_failure(&mut self, stage: Stage, index: u32) {
        let slot = self.table.get(index);
        let failure = slot.connection.as_ref().and_then(|connection| self.maker.failure(connection));
        let loss = failure.map_or(Loss::Errno(libc::ECONNRESET), |error| Loss::from_error(&error));
        self.lose(stage, index, loss);
    }

    fn receive(&mut self, stage: Stage, event: &Ready, index: u32) {
        while self.table.find(event.token).is_some() {
            let slot = self.table.get(index);
            let Some(connection) = &slot.connection else { return };
            match self.maker.receive(connection, &mut self.buffer) {
                Ok(0) => {
                    let within = slot.state == State::Probing && slot.got > 0;
                    let loss = if within { Loss::ShortEcho } else { Loss::ClosedByServer };
                    return self.lose(stage, index, loss);
                }
                Ok(length) => {
                    self.received(stage, index, length);
                    // Less than was asked for is all there was (epoll(7)), unless the end stands behind it.
                    if length < self.buffer.len() && !event.closed {
                        return;
                    }
                }
                Err(error) if would_block(&error) => return,
                Err(error) => return self.lose(stage, index, Loss::from_error(&error)),
            }
        }
    }

    fn received(&mut self, stage: Stage, index: u32, length: usize) {
        // Without probes a server may say what it likes: it is read and dropped.
        let Some(probes) = self.shared.fixed.probes else { return };
        let slot = self.table.get(index);
        if slot.state != State::Probing {
            return self.lose(stage, index, Loss::Corrupt);
        }
        let id = ProbeId { connection: u64::from(slot.number), round: u32::from(slot.round) };
        match probes.check(id, slot.got, &self.buffer[..length], &mut self.scratch) {
            Echo::Partial(got) => slot.got = got,
            // A whole echo before the whole probe went out is none of ours.
            Echo::Whole if slot.sent < probes.size() => self.lose(stage, index, Loss::Corrupt),
            Echo::Whole => self.proven(stage, index),
            Echo::Corrupt(_) => self.lose(stage, index, Loss::Corrupt),
        }
    }

    fn proven(&mut self, stage: Stage, index: u32) {
        let now_us = self.shared.now_us();
        let slot = self.table.get(index);
        let took_us = u64::from((now_us as u32).wrapping_sub(slot.since_us));
        self.counts.in_flight -= 1;
        self.counts.messages += 1;
        if slot.round == 0 {
            self.rest(stage, index);
            self.counts.verified += 1;
            self.measured().first_echo.record_us(took_us);
            self.shared.succeeded(now_us);
        } else {
            self.prove(index);
            self.shared.answered();
            self.measured().echo.record_us(took_us);
        }
    }

    /// A connection is up and nothing is under way. A first proof that comes within the verification is as good
    /// as a second one: the walk may have passed this connection already.
    fn rest(&mut self, stage: Stage, index: u32) {
        self.table.get(index).state = State::Idle;
        if matches!(stage, Stage::Verify | Stage::Cut) {
            self.prove(index);
        }
    }

    /// A connection is proven in the present round.
    fn prove(&mut self, index: u32) {
        let slot = self.table.get(index);
        self.counts.held += u64::from(slot.state != State::Proven);
        slot.state = State::Proven;
        slot.round = self.shared.round();
    }

    // Losing, expiring, closing ------------------------------------------------------------------------

    fn lose(&mut self, stage: Stage, index: u32, loss: Loss) {
        let state = self.table.get(index).state;
        let Some(connection) = self.table.remove(index) else { return };
        self.maker.end(connection, false);
        match state {
            State::Connecting => self.counts.in_flight -= 1,
            State::Probing => {
                self.counts.in_flight -= 1;
                self.counts.open -= 1;
            }
            State::Idle => self.counts.open -= 1,
            State::Proven => {
                self.counts.open -= 1;
                self.counts.held -= 1;
            }
            State::Free => return,
        }
        self.counts.failed += 1;
        self.shared.lost(stage, loss, self.shared.now_us());
    }

    /// Loses what has been under way for too long.
    fn expire(&mut self, stage: Stage, now_us: u64) {
        let limits = (self.shared.fixed.connect_timeout, self.shared.fixed.probe_timeout);
        while let Some(index) =
            overdue(&mut self.connecting, &mut self.table, State::Connecting, limits.0, now_us)
        {
            self.lose(stage, index, Loss::ConnectTimeout);
        }
        while let Some(index) = overdue(&mut self.probing, &mut self.table, State::Probing, limits.1, now_us)
        {
            self.lose(stage, index, Loss::ProbeTimeout);
        }
    }

    fn cut(&mut self, stage: Stage) {
        let round = self.shared.round();
        for index in 0..self.table.len() {
            let slot = self.table.get(index);
            // What was proven in an earlier round only is not proven.
            if slot.state != State::Free && (slot.state != State::Proven || slot.round != round) {
                let loss = self.shared.cut_as();
                self.lose(stage, index, loss);
            }
        }
    }

    fn release_some(&mut self) {
        let mut wanted = self.control.release.swap(0, AcqRel);
        let mut index = self.table.len();
        while wanted > 0 && index > 0 {
            index -= 1;
            let state = self.table.get(index).state;
            if matches!(state, State::Idle | State::Proven)
                && let Some(connection) = self.table.remove(index)
            {
                self.maker.end(connection, self.shared.fixed.reset_on_close);
                self.counts.open -= 1;
                self.counts.held -= u64::from(state == State::Proven);
                self.counts.released += 1;
                wanted -= 1;
            }
        }
    }

    fn close_some(&mut self, sequence: u32) -> bool {
        for _ in 0..BATCH {
            if self.walk.0 >= self.table.len() {
                self.walked(sequence);
                self.finish(sequence);
                return false;
            }
            let index = self.walk.0;
            self.walk.0 += 1;
            match self.table.get(index).state {
                State::Free => {}
                State::Proven => {
                    if let Some(connection) = self.table.remove(index) {
                        self.maker.end(connection, self.shared.fixed.reset_on_close);
                    }
                }
                // The end came before its proof did.
                State::Connecting | State::Probing | State::Idle => {
                    self.lose(Stage::Close, index, Loss::Aborted);
                }
            }
        }
        true
    }

    // Housekeeping -------------------------------------------------------------------------------------

    /// How long to sleep: until a deadline or an arrival, for ever when there is neither.
    fn timeout(&mut self) -> Option<Duration> {
        let now_us = self.shared.now_us();
        let arrival = self.wait_until_us.map(|at| Duration::from_micros(at.saturating_sub(now_us)));
        let deadline = (self.counts.in_flight > 0).then_some(Duration::from_millis(100));
        match (arrival, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn measured(&mut self) -> &mut Measured {
        self.measured.get_or_insert_default()
    }

    /// Adds this worker's latencies to the run's and gives the memory back.
    fn flush_measured(&mut self) {
        if let Some(mine) = self.measured.take() {
            self.shared.measured().add(&mine);
        }
    }

    /// Adds them and keeps the memory, when they have become many.
    fn share_measured(&mut self) {
        if let Some(mine) = &mut self.measured
            && mine.connect.count() + mine.echo.count() >= UNSHARED_LATENCIES
        {
            self.shared.measured().add(mine);
            mine.clear();
        }
    }

    fn publish(&self) {
        let to = &self.control;
        to.in_flight.store(self.counts.in_flight, Relaxed);
        to.established.store(self.counts.established, Relaxed);
        to.verified.store(self.counts.verified, Relaxed);
        to.open.store(self.counts.open, Relaxed);
        to.failed.store(self.counts.failed, Relaxed);
        to.messages.store(self.counts.messages, Relaxed);
        to.held.store(self.counts.held, Relaxed);
        to.released.store(self.counts.released, Relaxed);
        to.tuples_skipped.store(self.counts.tuples_skipped, Relaxed);
        to.room.store(self.room(), Relaxed);
        // Last: whoever sees these attempts sees what is under way of them.
        to.attempted.store(self.counts.attempted, Release);
    }
}

/// However a worker ends, by a panic too, what it has counted stands, and what it had claimed is begun by others.
impl<M: Maker> Drop for Worker<M> {
    fn drop(&mut self) {
        self.give_back_claims();
        self.flush_measured();
        self.publish();
    }
}

/// The slot at the front of `queue` if it is still in `state` and has been for `limit`; entries whose step is
/// over are dropped on the way.
fn overdue<C>(
    queue: &mut Deadlines,
    table: &mut Table<C>,
    state: State,
    limit: Duration,
    now_us: u64,
) -> Option<u32> {
    while let Some(&(token, since_us)) = queue.front() {
        // A connection that is probed again has an entry for each probe: only the one of the present probe
        // counts. A connect is due from its real start, even where its latency counts from the intended one.
        if let Some(index) = table.find(token)
            && table.get(index).state == state
            && (state == State::Connecting || table.get(index).since_us == since_us)
        {
            let age_us = (now_us as u32).wrapping_sub(since_us);
            // A step that began after `now_us` was read has an age that wrapped.
            let is_overdue = age_us < u32::MAX / 2 && u128::from(age_us) >= limit.as_micros();
            return is_overdue.then_some(index);
        }
        queue.pop_front();
    }
    None
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
