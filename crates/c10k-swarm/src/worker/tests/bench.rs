//! Connections that are made of nothing, and one worker over them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::Receiver;

use c10k_wire::raw::Probes;

use super::super::*;
use crate::maker::{BeginError, Begun, Ready};
use crate::measured::Measured;
use crate::settings::RunSettings;
use crate::shared::testing::{shared_but, shared_of};
use crate::sources::Tuple;
use crate::speech::{Raw, Speech};

/// More than a test takes on any machine.
pub(super) const MARGIN: Duration = Duration::from_secs(10);
pub(super) const PROBE_BYTES: u16 = 20;

/// What the next call of [`Maker::begin`] comes to; with nothing planned a connection completes at once.
pub(super) enum Begin {
    UnderWay,
    Taken,
    TableFull,
    NoDescriptor,
    Fails(i32),
    Panics,
}

/// What the next call of [`Maker::send`] comes to; with nothing planned all is sent.
pub(super) enum Send {
    Some(usize),
    Blocks,
    Fails(i32),
}

/// What the next call of [`Maker::receive`] comes to; with nothing planned it would block.
pub(super) enum Receive {
    Bytes(Vec<u8>),
    End,
    Fails(i32),
}

#[derive(Default)]
pub(super) struct World {
    /// The run whose time passes by what calls take.
    clock: Option<Arc<Shared>>,
    pub(super) begin_takes: Duration,
    pub(super) send_takes: Duration,
    pub(super) begins: VecDeque<Begin>,
    pub(super) sends: VecDeque<Send>,
    pub(super) receives: VecDeque<Receive>,
    pub(super) watch_fails: Option<i32>,
    pub(super) watch_writable_fails: Option<i32>,
    pub(super) failure: Option<i32>,
    pub(super) tuples: Vec<u16>,
    /// The connections that were ended, and whether by RST.
    pub(super) ended: Vec<(u32, bool)>,
    /// The connections on which no more is sent.
    pub(super) shut: Vec<u32>,
    /// All that was sent, by connection.
    pub(super) sent: BTreeMap<u32, Vec<u8>>,
    /// The tokens under which connections are watched, and whether for writing too.
    pub(super) watched: BTreeMap<u32, (u64, bool)>,
    /// The connections of which it was said that they will not answer what they await.
    pub(super) will_not_answer: Vec<u32>,
    pub(super) open: usize,
    pub(super) made: u32,
}

impl World {
    fn pass(&self, long: Duration) {
        self.clock.iter().for_each(|clock| clock.skip(long));
    }
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Rc<RefCell<World>>);

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Maker for Fake {
    type Connection = u32;

    fn begin(&mut self, tuple: &Tuple) -> Result<(u32, Begun), BeginError> {
        let mut world = self.0.borrow_mut();
        world.pass(world.begin_takes);
        world.tuples.push(tuple.port);
        let begun = match world.begins.pop_front() {
            None => Begun::Completed,
            Some(Begin::UnderWay) => Begun::UnderWay,
            Some(Begin::Taken) => return Err(BeginError::TupleTaken(errno(libc::EADDRNOTAVAIL))),
            Some(Begin::TableFull) => return Err(BeginError::TableFull(errno(libc::EMFILE))),
            Some(Begin::NoDescriptor) => return Err(BeginError::NoDescriptor(errno(libc::ENFILE))),
            Some(Begin::Fails(number)) => return Err(BeginError::Failed(errno(number))),
            Some(Begin::Panics) => panic!("as the test wants it"),
        };
        world.made += 1;
        world.open += 1;
        Ok((world.made, begun))
    }

    fn watch(&mut self, connection: &u32, token: u64, writable: bool) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.watched.insert(*connection, (token, writable));
        world.watch_fails.take().map_or(Ok(()), |number| Err(errno(number)))
    }

    fn watch_writable(&mut self, connection: &u32, token: u64) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.watched.insert(*connection, (token, true));
        world.watch_writable_fails.take().map_or(Ok(()), |number| Err(errno(number)))
    }

    fn send(&mut self, connection: &u32, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        world.pass(world.send_takes);
        let length = match world.sends.pop_front() {
            None => bytes.len(),
            Some(Send::Some(length)) => length.min(bytes.len()),
            Some(Send::Blocks) => return Err(errno(libc::EAGAIN)),
            Some(Send::Fails(number)) => return Err(errno(number)),
        };
        world.sent.entry(*connection).or_default().extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn will_not_answer(&mut self, connection: &u32) {
        self.0.borrow_mut().will_not_answer.push(*connection);
    }

    fn receive(&mut self, _: &u32, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.borrow_mut().receives.pop_front() {
            None => Err(errno(libc::EAGAIN)),
            Some(Receive::End) => Ok(0),
            Some(Receive::Fails(number)) => Err(errno(number)),
            Some(Receive::Bytes(bytes)) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
        }
    }

    fn failure(&mut self, _: &u32) -> Option<io::Error> {
        self.0.borrow_mut().failure.take().map(errno)
    }

    fn send_last(&mut self, connection: &u32, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.send(connection, bytes)?;
        if sent == bytes.len() {
            self.0.borrow_mut().shut.push(*connection);
        }
        Ok(sent)
    }

    fn end(&mut self, connection: u32, reset: bool) {
        let mut world = self.0.borrow_mut();
        world.open -= 1;
        world.ended.push((connection, reset));
    }

    fn wait(&mut self, _: Option<Duration>, _: &mut Vec<Ready>) -> io::Result<()> {
        Ok(())
    }
}

/// One worker with its turn, and what the test needs of its world.
pub(super) struct Bench<S: Speech = Raw> {
    pub(super) worker: Worker<Fake, S>,
    pub(super) shared: Arc<Shared>,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) notes: Receiver<Note>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Probes::new(7, PROBE_BYTES), 100)
    }

    pub(super) fn with(probes: Option<Probes>, capacity: u32) -> Self {
        Self::build(probes, capacity, 50, None)
    }

    pub(super) fn open_loop(rate: f64) -> Self {
        Self::build(Probes::new(7, PROBE_BYTES), 100, 50, Some(rate))
    }

    pub(super) fn limited_to(in_flight: u32) -> Self {
        Self::build(Probes::new(7, PROBE_BYTES), 100, in_flight, None)
    }

    pub(super) fn build(probes: Option<Probes>, capacity: u32, in_flight: u32, rate: Option<f64>) -> Self {
        Self::speaking(Raw::new(probes), probes, capacity, in_flight, rate)
    }

    /// As [`Bench::new`], with what `change` changes.
    pub(super) fn but(change: impl FnOnce(&mut RunSettings)) -> Self {
        let probes = Probes::new(7, PROBE_BYTES);
        Self::over(shared_but(probes, 50, None, change), Raw::new(probes), 100)
    }

    /// Connects and verifies so many.
    pub(super) fn verified(count: u32) -> Self {
        let mut bench = Self::new();
        bench.ramp(u64::from(count));
        for connection in 1..=count {
            bench.echo(connection, 0);
        }
        bench.expect(&[("open", u64::from(count)), ("verified", u64::from(count)), ("in_flight", 0)]);
        bench
    }
}

impl<S: Speech> Bench<S> {
    pub(super) fn speaking(
        speech: S,
        probes: Option<Probes>,
        capacity: u32,
        in_flight: u32,
        rate: Option<f64>,
    ) -> Self {
        Self::over(shared_of(probes, in_flight, rate), speech, capacity)
    }

    fn over((shared, notes): (Arc<Shared>, Receiver<Note>), speech: S, capacity: u32) -> Self {
        let control = Arc::new(TableControl::alone());
        control.alive.store(true, Relaxed);
        shared.add_table(Arc::clone(&control));
        let maker = Fake::default();
        let world = Rc::clone(&maker.0);
        world.borrow_mut().clock = Some(Arc::clone(&shared));
        Self {
            worker: Worker::new(maker, speech, Arc::clone(&shared), control, capacity),
            shared,
            world,
            notes,
        }
    }

    /// Has one task carried out, with the turn for it.
    pub(super) fn stage(&mut self, task: Task) {
        self.shared.enter(task);
        self.give_turns();
        self.go_on();
    }

    /// Gives the worker every turn that it can use.
    pub(super) fn give_turns(&self) {
        for turn in [Turn::Connect, Turn::Walk] {
            self.shared.pass_on(turn);
        }
    }

    pub(super) fn go_on(&mut self) {
        let orders = self.shared.orders();
        while self.worker.work(orders) {}
        self.worker.connector.settle_tuples(orders);
        self.worker.publish();
    }

    pub(super) fn ramp(&mut self, count: u64) {
        self.shared.arrivals.grow(count, self.shared.now_us());
        self.stage(Task::Connect);
    }

    /// Reports a connection as ready.
    pub(super) fn ready(&mut self, connection: u32, change: impl Fn(&mut Ready)) {
        let token = self.world.borrow().watched[&connection].0;
        self.ready_token(token, change);
    }

    pub(super) fn ready_token(&mut self, token: u64, change: impl Fn(&mut Ready)) {
        let mut event = Ready { token, readable: false, writable: false, until_empty: false, failed: false };
        change(&mut event);
        self.worker.on_ready(self.shared.orders(), &event);
        self.worker.publish();
    }

    /// Lets bytes arrive.
    pub(super) fn arrive(&mut self, connection: u32, bytes: &[u8]) {
        self.world.borrow_mut().receives.push_back(Receive::Bytes(bytes.to_vec()));
        self.ready(connection, |event| event.readable = true);
    }

    /// Sends all that a connection has sent since `from` back to it.
    pub(super) fn echo(&mut self, connection: u32, from: usize) {
        let bytes = self.world.borrow().sent[&connection][from..].to_vec();
        self.arrive(connection, &bytes);
    }

    /// Lets a connection be reset by its peer.
    pub(super) fn reset(&mut self, connection: u32) {
        self.plan(|world| world.failure = Some(libc::ECONNRESET));
        self.ready(connection, |event| event.failed = true);
    }

    pub(super) fn expire(&mut self) {
        self.worker.expire(self.shared.orders(), self.shared.now_us());
        self.worker.publish();
    }

    /// What was measured.
    pub(super) fn measured(&self) -> Measured {
        self.worker.ledger.unshared().cloned().unwrap_or_default()
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        let control = &self.worker.control;
        let counter = match name {
            "attempted" => &control.attempted,
            "established" => &control.established,
            "verified" => &control.verified,
            "open" => &control.open,
            "failed" => &control.failed,
            "in_flight" => &control.in_flight,
            "held" => &control.held,
            "released" => &control.released,
            "closed" => &control.closed,
            "aborted" => &control.aborted,
            "tuples_skipped" => &control.tuples_skipped,
            other => panic!("no count {other}"),
        };
        counter.load(Relaxed)
    }

    #[track_caller]
    pub(super) fn expect(&self, counts: &[(&str, u64)]) {
        for (name, expected) in counts {
            assert_eq!(self.count(name), *expected, "{name}");
        }
        let (open, in_flight) = (self.count("open"), self.count("in_flight"));
        assert!(open <= self.count("attempted") && in_flight <= self.count("attempted"), "an underflow");
        assert_eq!(u64::from(self.worker.table.used()), self.world.borrow().open as u64, "a leak");
    }

    /// Asserts that one connection was begun and lost, once, under this name.
    #[track_caller]
    pub(super) fn expect_one_loss(&self, name: &str) {
        self.expect(&[("attempted", 1), ("failed", 1), ("open", 0), ("in_flight", 0), ("held", 0)]);
        self.expect_losses(&[(name, 1)]);
        assert_eq!(self.world.borrow().open, 0, "its socket stayed open");
    }

    #[track_caller]
    pub(super) fn expect_losses(&self, expected: &[(&str, u64)]) {
        let failures = self.shared.tally().failures();
        let found: Vec<(&str, u64)> = failures.iter().map(|row| (row.outcome.name(), row.count)).collect();
        assert_eq!(found, expected);
    }

    pub(super) fn plan(&self, plan: impl FnOnce(&mut World)) {
        plan(&mut self.world.borrow_mut());
    }

    pub(super) fn was_noted(&self, wanted: fn(&Note) -> bool) -> bool {
        self.notes.try_iter().any(|note| wanted(&note))
    }
}
