//! One worker: a thread with a descriptor table, an event loop and the connections it holds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use c10k_wire::raw::ProbeId;

use crate::arrivals::Claim;
use crate::maker::{BeginError, Begun, Maker, Ready};
use crate::shared::{GrowthStop, Measured, Note, Shared, Stage, TableControl};
use crate::speech::{Awaited, Progress, Speech};
use crate::table::{State, Table, token};
use crate::tally::Loss;

/// How long a server may take to answer the goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
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

pub(crate) struct Worker<M: Maker, S: Speech> {
    maker: M,
    speech: S,
    /// What the speech keeps of each connection, by slot.
    states: Vec<S::State>,
    /// What the speech wants to be sent.
    out: Vec<u8>,
    /// What the kernel had no room for yet, by slot.
    unsent: HashMap<u32, Vec<u8>>,
    shared: Arc<Shared>,
    control: Arc<TableControl>,
    table: Table<M::Connection>,
    /// Most slots this worker's descriptor table has room for.
    capacity: u32,
    /// Tokens of connections whose connect is under way.
    connecting: Deadlines,
    /// Tokens of connections whose handshake is under way.
    opening: Deadlines,
    /// Tokens of connections whose goodbye is awaited.
    closing: Deadlines,
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
        Self {
            maker,
            speech,
            states: Vec::new(),
            out: Vec::new(),
            unsent: HashMap::new(),
            shared,
            control,
            table: Table::new(),
            capacity,
            connecting: Deadlines::new(),
            opening: Deadlines::new(),
            closing: Deadlines::new(),
            probing: Deadlines::new(),
            claimed: (0, 0),
            walk: (0, 0),
            under_way_before: 0,
            wait_until_us: None,
            optimism: OPTIMISM,
            counts: Counts::default(),
            measured: None,
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
            Stage::Close => {
                let more = turn && self.close_some(sequence);
                if self.control.walked.load(Relaxed) == sequence && self.counts.in_flight == 0 {
                    self.finish(sequence);
                }
                more
            }
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
        if self.states.len() <= index as usize {
            self.states.resize_with(index as usize + 1, S::State::default);
        }
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
        let waits = !established || self.unsent.contains_key(&index);
        self.watch(index, token, waits);
    }

    /// Tries to send the first words right behind the connect; true when the connect has completed.
    ///
    /// On loopback the handshake is over before connect(2) returns, so a wake-up is saved. Over a real way the
    /// first sends find EAGAIN, and then nobody tries any more.
    fn send_early(&mut self, index: u32) -> bool {
        if self.optimism == 0 {
            return false;
        }
        let Some(state) = self.compose_first(index) else { return false };
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return false };
        match self.maker.send(connection, &self.out) {
            Ok(sent) => {
                self.optimism = OPTIMISM;
                let now_us = self.shared.now_us();
                self.mark_established(index, now_us);
                self.begin_step(index, state, 0, now_us);
                self.keep_unsent(index, sent);
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

    /// Writes what is said first, and says what is awaited then; `None` when nothing is said.
    fn compose_first(&mut self, index: u32) -> Option<State> {
        self.out.clear();
        if let Some(state) = self.speech.open(&mut self.out) {
            self.states[index as usize] = state;
            return Some(State::Opening);
        }
        self.shared.fixed.probes?;
        self.compose_probe(index, 0);
        Some(State::Probing)
    }

    fn compose_probe(&mut self, index: u32, round: u16) {
        let connection = u64::from(self.table.get(index).number);
        self.out.clear();
        self.speech.probe(ProbeId { connection, round: u32::from(round) }, &mut self.out);
    }

    /// Sends what the speech wrote, behind what has not gone out yet.
    fn send_out(&mut self, stage: Stage, index: u32) {
        if let Some(waiting) = self.unsent.get_mut(&index) {
            waiting.append(&mut self.out);
            return;
        }
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return };
        match self.maker.send(connection, &self.out) {
            Ok(sent) => self.keep_unsent(index, sent),
            Err(error) if would_block(&error) => self.keep_unsent(index, 0),
            Err(error) => self.lose(stage, index, Loss::from_error(&error)),
        }
    }

    fn keep_unsent(&mut self, index: u32, sent: usize) {
        if sent < self.out.len() {
            self.unsent.insert(index, self.out.split_off(sent));
        }
        self.out.clear();
    }

    /// Sends more of what had no room.
    fn flush(&mut self, stage: Stage, index: u32) {
        let slot = self.table.get(index);
        let (Some(connection), Some(waiting)) = (&slot.connection, self.unsent.get_mut(&index)) else {
            return;
        };
        match self.maker.send(connection, waiting) {
            Ok(sent) if sent >= waiting.len() => drop(self.unsent.remove(&index)),
            Ok(sent) => drop(waiting.drain(..sent)),
            Err(error) if would_block(&error) => {}
            Err(error) => self.lose(stage, index, Loss::from_error(&error)),
        }
    }

    /// What could not be sent at once waits for epoll's word.
    fn watch_if_unsent(&mut self, stage: Stage, index: u32) {
        if !self.unsent.contains_key(&index) {
            return;
        }
        let slot = self.table.get(index);
        let token = token(index, slot.number);
        let Some(connection) = &slot.connection else { return };
        if let Err(error) = self.maker.watch_writable(connection, token) {
            self.lose(stage, index, Loss::from_error(&error));
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

    /// The connect has completed: the first words go out, or the connection is done when there are none.
    fn established(&mut self, stage: Stage, index: u32, now_us: u64) {
        self.mark_established(index, now_us);
        match self.compose_first(index) {
            Some(state) => {
                self.begin_step(index, state, 0, now_us);
                self.send_out(stage, index);
            }
            None => self.settle(stage, index, now_us),
        }
    }

    /// A connection is up, and no probe is to prove it.
    fn settle(&mut self, stage: Stage, index: u32, now_us: u64) {
        self.rest(stage, index);
        self.counts.in_flight -= 1;
        self.shared.succeeded(now_us);
    }

    /// The handshake of the protocol is complete: the probe goes out, or the connection is done.
    fn opened(&mut self, stage: Stage, index: u32) {
        let now_us = self.shared.now_us();
        let took_us = (now_us as u32).wrapping_sub(self.table.get(index).since_us);
        self.measured().handshake.record_us(u64::from(took_us));
        if self.shared.fixed.probes.is_none() {
            return self.settle(stage, index, now_us);
        }
        self.compose_probe(index, 0);
        self.begin_step(index, State::Probing, 0, now_us);
        self.send_out(stage, index);
        self.watch_if_unsent(stage, index);
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

    /// A handshake, a probe or a goodbye begins: its answer is awaited from now on.
    fn begin_step(&mut self, index: u32, state: State, round: u16, now_us: u64) {
        let slot = self.table.get(index);
        self.counts.held -= u64::from(slot.state == State::Proven);
        slot.got = 0;
        slot.round = round;
        slot.state = state;
        slot.since_us = now_us as u32;
        let entry = (token(index, slot.number), slot.since_us);
        match state {
            State::Opening => self.opening.push_back(entry),
            State::Closing => self.closing.push_back(entry),
            _ => self.probing.push_back(entry),
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
            let most = u64::from(self.shared.fixed.proofs_per_turn) + self.under_way_before;
            if self.counts.in_flight >= most {
                return false;
            }
            let index = self.walk.0;
            self.walk.0 += 1;
            let slot = self.table.get(index);
            let waits = match slot.state {
                State::Idle => true,
                State::Proven => slot.round != round,
                State::Free | State::Connecting | State::Opening | State::Probing | State::Closing => false,
            };
            if !waits {
                continue;
            }
            if self.shared.fixed.probes.is_none() {
                self.prove(index);
                continue;
            }
            let now_us = self.shared.now_us();
            self.compose_probe(index, round);
            self.begin_step(index, State::Probing, round, now_us);
            self.counts.in_flight += 1;
            self.send_out(stage, index);
            self.watch_if_unsent(stage, index);
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
        let state = self.table.get(index).state;
        if stage == Stage::End || (stage == Stage::Close && state != State::Closing) {
            return;
        }
        if state == State::Connecting {
            if event.failed {
                return self.lose_by_failure(stage, index);
            }
            if !event.writable {
                return;
            }
            self.established(stage, index, now_us);
        } else if event.writable {
            self.flush(stage, index);
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
                    let loss = self.speech.end_of_input(&self.states[index as usize], within);
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
        let is_out = !self.unsent.contains_key(&index);
        let slot = self.table.get(index);
        let awaited = (slot.state == State::Probing).then(|| Awaited {
            id: ProbeId { connection: u64::from(slot.number), round: u32::from(slot.round) },
            got: slot.got,
            is_out,
        });
        let token = token(index, slot.number);
        let (state, input) = (&mut self.states[index as usize], &mut self.buffer[..length]);
        self.out.clear();
        let heard = self.speech.hear(state, awaited, input, &mut self.out);
        if !self.out.is_empty() {
            self.send_out(stage, index);
            self.watch_if_unsent(stage, index);
        }
        if self.table.find(token).is_none() {
            return;
        }
        if let Some(loss) = heard.lost {
            return self.lose(stage, index, loss);
        }
        match heard.echo {
            Progress::Same => {}
            Progress::Partial(got) => self.table.get(index).got = got,
            Progress::Whole => self.proven(stage, index),
        }
        if heard.opened {
            self.opened(stage, index);
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
        let Some(connection) = self.remove(index) else { return };
        self.maker.end(connection, false);
        match state {
            State::Connecting => self.counts.in_flight -= 1,
            // It was proven before, and the goodbye was the last that was wanted of it.
            State::Closing => return self.counts.in_flight -= 1,
            State::Opening | State::Probing => {
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

    /// Takes a connection out of the table, with all that is kept of it.
    fn remove(&mut self, index: u32) -> Option<M::Connection> {
        if !self.unsent.is_empty() {
            self.unsent.remove(&index);
        }
        self.states[index as usize] = S::State::default();
        self.table.remove(index)
    }

    /// Loses what has been under way for too long.
    fn expire(&mut self, stage: Stage, now_us: u64) {
        let limits = (self.shared.fixed.connect_timeout, self.shared.fixed.probe_timeout);
        while let Some(index) =
            overdue(&mut self.connecting, &mut self.table, State::Connecting, limits.0, now_us)
        {
            self.lose(stage, index, Loss::ConnectTimeout);
        }
        while let Some(index) = overdue(&mut self.opening, &mut self.table, State::Opening, limits.0, now_us)
        {
            self.lose(stage, index, Loss::HandshakeTimeout);
        }
        while let Some(index) = overdue(&mut self.closing, &mut self.table, State::Closing, GOODBYE, now_us) {
            self.lose(stage, index, Loss::ProbeTimeout);
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
                && let Some(connection) = self.remove(index)
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
                return false;
            }
            if self.counts.in_flight >= u64::from(self.shared.fixed.in_flight_per_turn) {
                return false;
            }
            let index = self.walk.0;
            self.walk.0 += 1;
            match self.table.get(index).state {
                State::Free | State::Closing => {}
                State::Proven => self.close_one(index),
                // The end came before its proof did.
                State::Connecting | State::Opening | State::Probing | State::Idle => {
                    self.lose(Stage::Close, index, Loss::Aborted);
                }
            }
        }
        true
    }

    /// Closes a connection, after the goodbye of the protocol where it has one and good order is wanted.
    fn close_one(&mut self, index: u32) {
        let reset = self.shared.fixed.reset_on_close;
        self.out.clear();
        if !reset && self.speech.goodbye(&mut self.states[index as usize], &mut self.out) {
            // What is held was counted before: the goodbye takes nothing from it.
            self.counts.held += 1;
            self.begin_step(index, State::Closing, 0, self.shared.now_us());
            self.counts.in_flight += 1;
            self.send_out(Stage::Close, index);
            self.watch_if_unsent(Stage::Close, index);
        } else if let Some(connection) = self.remove(index) {
            self.maker.end(connection, reset);
        }
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
impl<M: Maker, S: Speech> Drop for Worker<M, S> {
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
