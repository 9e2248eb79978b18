//! A worker: one thread, one descriptor table, one epoll.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use c10k_kernel::{clock, descriptors, epoll, process, socket};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::counters::Counters;
use crate::lane::{Lane, LaneTable, Next};
use crate::push::Pushes;
use crate::refusal::Refusal;
use crate::reserve::Reserve;
use crate::shared::{Language, Note, Shared, WorkerPart};
use crate::speech::{Raw, Speech, WebSocket};
use crate::stream::{Behind, ServedConnections};
use crate::table::key_of;

/// Connections accepted in one round before those that are there are served again.
const ACCEPT_BATCH: u32 = 64;
/// Events fetched in one round.
const EVENT_BATCH: usize = 512;
/// Descriptors of a table that stay free, so that accept(2) does not run into EMFILE.
const RESERVE: u32 = 8;
/// How long to wait after accept(2) found no descriptor or no memory, unless a connection closes before.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The longest time between two looks at outputs that do not move.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// Tokens from here on are not connections; descriptor numbers are below.
const FIRST_OTHER: u32 = 1 << 31;
const BELL: Token = Token(u32::MAX as usize);
const SLOT_BELL: Token = Token(u32::MAX as usize - 1);

/// A thread's work from its start to its end; `notes` hears of both.
pub(crate) fn run(lane: usize, shared: &Arc<Shared>, part: WorkerPart, notes: &Sender<Note>) {
    let pushes = shared.push.as_ref().map(|push| push.plan.kind());
    match &shared.language {
        Language::Raw(answer) => run_with(Raw { answer: *answer, pushes }, lane, shared, part, notes),
        Language::Ws(settings, answer) => {
            run_with(WebSocket::new(Arc::clone(settings), *answer, pushes), lane, shared, part, notes);
        }
    }
}

fn run_with<S: Speech>(speech: S, lane: usize, shared: &Arc<Shared>, part: WorkerPart, notes: &Sender<Note>) {
    let mut farewell = Farewell { notes: notes.clone(), error: None };
    match Worker::new(speech, lane, Arc::clone(shared), part.clone(), notes.clone()) {
        Ok(worker) => {
            // The keeper outlives its workers; were it gone there would be nobody to tell.
            let _ = notes.send(Note::Started { capacity: worker.lane_table.capacity() });
            farewell.error = worker.serve().err().map(|error| format!("epoll failed: {error}"));
        }
        Err(error) => {
            let _ = notes.send(Note::StartFailed { lane, part, error });
        }
    }
}

/// Tells the keeper that a worker is gone, by a panic too.
struct Farewell {
    notes: Sender<Note>,
    error: Option<String>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let error =
            if std::thread::panicking() { Some("a worker panicked".to_owned()) } else { self.error.take() };
        let _ = self.notes.send(Note::Ended { error });
    }
}

/// Whether this table accepts.
///
/// ```text
/// Idle       -> Accepting   begin_to_accept: the lane's turn is this table's
/// Accepting  -> Idle        pass_turn: the table is full
/// Accepting  -> NoSlot      pause_for_slot: --max-connections are open
/// NoSlot     -> Accepting   look_for_slot: one of them has ended
/// (any)      -> NoResource  pause_for_resource: no descriptor, no memory, no room in epoll
/// NoResource -> Accepting   begin_to_accept: some time later, or when a connection has ended
/// (any)      -> Idle        begin_to_end: the server ends
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Another table of the lane does.
    Idle,
    /// It does.
    Accepting,
    /// It would, but `--max-connections` are open. The listeners stay watched: edge-triggered they cost a wake for each
    /// connection that comes, and none has to be watched anew when there is room.
    NoSlot,
    /// It would, but there is no descriptor, no memory, or no room in epoll.
    NoResource { retry_at: Instant },
}

struct Worker<S: Speech> {
    shared: Arc<Shared>,
    lane: usize,
    lane_table: Arc<LaneTable>,
    counters: Arc<Counters>,
    notes: Sender<Note>,
    poll: Poll,
    /// A watch of the slot bell: while it is not held nothing is accepted.
    reserve: Reserve,
    connections: ServedConnections<S>,
    turn: Turn,
    /// When what is still owed at the end will be given up; `None` = the end has not come.
    drain_until: Option<Instant>,
    /// Whether a listener may have more in its queue: an edge does not come twice.
    ready: Box<[bool]>,
    next_listener: usize,
    /// Connections accepted in this round.
    opened: u32,
    /// Those of them that epoll had no room for, which were closed at once.
    refused: u32,
    /// The present pause has been counted.
    pause_counted: bool,
    /// The keeper has heard that epoll had no room.
    lack_told: bool,
    stall_check_at: Option<Instant>,
}

impl<S: Speech> Worker<S> {
    /// Makes the table first and opens afterwards: what is opened before would be copied.
    fn new(
        speech: S,
        lane: usize,
        shared: Arc<Shared>,
        WorkerPart { lane_table, counters }: WorkerPart,
        notes: Sender<Note>,
    ) -> io::Result<Self> {
        let settings = shared.settings;
        if settings.waits_for_turn {
            // Where it may not be, the worker is woken more often.
            let _ = process::wait_for_turn_when_woken();
        }
        if settings.own_tables {
            descriptors::unshare_table()?;
            descriptors::grow_table_to(settings.table_limit - 1)?;
        }
        let poll = Poll::new()?;
        let bell = shared.lanes[lane].bell.number();
        poll.registry().register(&mut SourceFd(&bell), BELL, Interest::READABLE)?;
        let reserve = Reserve::of(shared.lanes[lane].slot_bell.number(), SLOT_BELL);
        let capacity = if settings.own_tables { room_of_this_table(settings.table_limit)? } else { u32::MAX };
        lane_table.set_capacity(capacity);
        let pushes = shared.push.as_ref();
        let pushes = pushes.map(|push| Pushes::new(push.plan, &push.content, &push.fanout));
        let mut worker = Self {
            connections: ServedConnections::new(speech, settings.table_limit, Arc::clone(&counters), pushes),
            ready: vec![false; shared.lanes[lane].listeners.len()].into_boxed_slice(),
            shared,
            lane,
            lane_table,
            counters,
            notes,
            poll,
            reserve,
            turn: Turn::Idle,
            drain_until: None,
            next_listener: 0,
            opened: 0,
            refused: 0,
            pause_counted: false,
            lack_told: false,
            stall_check_at: None,
        };
        if worker.lane().take_waiting_turn(&worker.lane_table) {
            worker.begin_to_accept();
        }
        Ok(worker)
    }

    /// The event loop. Events of connections come before accepting, so a storm of new ones starves nobody.
    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENT_BATCH);
        loop {
            let timeout = self.wait_finely()?;
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let token = event.token();
                if (token.0 as u32) < FIRST_OTHER {
                    let key = key_of(token);
                    self.connections.serve(self.poll.registry(), key, Behind::of(event));
                } else {
                    self.rung(token);
                }
            }
            self.connections.serve_leftovers(self.poll.registry());
            if self.connections.has_messages() {
                self.connections.carry(self.poll.registry());
            }
            if self.turn == Turn::Accepting {
                self.accept_round();
            }
            self.look_at_clock();
            self.end_round();
            if self.has_ended() {
                return Ok(());
            }
        }
    }

    fn rung(&mut self, token: Token) {
        match token {
            BELL if self.shared.is_ending() => self.begin_to_end(),
            BELL => {
                self.connections.hear_messages();
                if self.turn == Turn::Idle && self.lane().takes_turn_at_bell(&self.lane_table) {
                    self.begin_to_accept();
                }
            }
            SLOT_BELL => self.look_for_slot(),
            Token(listener) => {
                if let Some(ready) = self.ready.get_mut(listener - FIRST_OTHER as usize) {
                    *ready = true;
                }
            }
        }
    }

    /// Takes up to a batch of connections from the listeners in turn.
    fn accept_round(&mut self) {
        if !self.ready.contains(&true) {
            return;
        }
        let room = self.lane_table.capacity().saturating_sub(self.connections.open_count());
        if room == 0 {
            return self.pass_turn();
        }
        let slots = self.shared.slots.take(room.min(ACCEPT_BATCH));
        if slots == 0 {
            return self.pause_for_slot();
        }
        let taken = self.accept_up_to(slots);
        self.opened += taken;
        self.shared.slots.give_back(slots - taken, &self.shared.lanes);
    }

    fn accept_up_to(&mut self, slots: u32) -> u32 {
        let shared = Arc::clone(&self.shared);
        let listeners = &shared.lanes[self.lane].listeners;
        let mut taken = 0;
        for step in 0..listeners.len() {
            if taken == slots {
                break;
            }
            let at = (self.next_listener + step) % listeners.len();
            // Connections that were given up in the queue must not keep a round going for ever.
            let mut tries = slots + ACCEPT_BATCH;
            while self.ready[at] && taken < slots && tries > 0 {
                tries -= 1;
                match socket::accept(listeners[at].as_fd()) {
                    Ok(socket) => {
                        taken += 1;
                        if let Some(long) = shared.settings.burn {
                            burn(long);
                        }
                        let admitted =
                            self.connections.admit(self.poll.registry(), socket, &mut self.reserve);
                        self.refused += u32::from(admitted.is_err());
                        if let Some(lack) = self.reserve.take_lack().or(admitted.err()) {
                            self.pause_for_watches(&lack);
                            return taken;
                        }
                        self.pause_counted = false;
                    }
                    Err(error) => match Refusal::of(&error) {
                        Refusal::Empty => self.ready[at] = false,
                        Refusal::Interrupted => {}
                        Refusal::GivenUp => self.counters.accept_error(&error),
                        Refusal::Exhausted => {
                            self.counters.accept_error(&error);
                            self.pause_for_resource();
                            return taken;
                        }
                    },
                }
            }
        }
        self.next_listener = (self.next_listener + 1) % listeners.len();
        taken
    }

    fn begin_to_accept(&mut self) {
        if let Err(lack) = self.reserve.take(self.poll.registry()) {
            return self.pause_for_watches(&lack);
        }
        self.turn = Turn::Accepting;
        // Watching a listener anew brings an edge if its queue holds anything, so nothing is tried in vain.
        self.ready.fill(false);
        let shared = Arc::clone(&self.shared);
        for (at, listener) in shared.lanes[self.lane].listeners.iter().enumerate() {
            let token = Token(FIRST_OTHER as usize + at);
            let number = listener.as_fd().as_raw_fd();
            if let Err(lack) =
                self.poll.registry().register(&mut SourceFd(&number), token, Interest::READABLE)
            {
                return self.pause_for_watches(&lack);
            }
        }
    }

    fn leave_listeners(&mut self) {
        for listener in &self.lane().listeners {
            // ENOENT when it was not watched.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.as_fd().as_raw_fd()));
        }
        self.ready.fill(false);
    }

    fn pass_turn(&mut self) {
        self.leave_listeners();
        self.turn = Turn::Idle;
        self.lane_table.set_open(self.connections.open_count());
        if self.lane().pass_turn() == Next::New {
            let _ = self.notes.send(Note::TableWanted { lane: self.lane });
        }
    }

    /// Every connection that `--max-connections` allows is open. What is queued stays there, and which listeners may
    /// have something in their queues stays noted: their edges do not come twice.
    fn pause_for_slot(&mut self) {
        self.count_pause();
        self.turn = Turn::NoSlot;
        if let Err(lack) = self.reserve.listen(self.poll.registry()) {
            return self.pause_for_watches(&lack);
        }
        self.look_for_slot();
    }

    fn look_for_slot(&mut self) {
        if self.turn != Turn::NoSlot {
            return;
        }
        self.lane().wait_for_slot();
        if self.shared.slots.any() {
            match self.reserve.take(self.poll.registry()) {
                Ok(()) => self.turn = Turn::Accepting,
                Err(lack) => self.pause_for_watches(&lack),
            }
        }
    }

    /// The kernel has no descriptor or no memory for another connection.
    fn pause_for_resource(&mut self) {
        self.leave_listeners();
        self.count_pause();
        self.turn = Turn::NoResource { retry_at: Instant::now() + RETRY_AFTER };
    }

    /// Epoll has no room: accept(2) would give a connection that cannot be served.
    fn pause_for_watches(&mut self, lack: &io::Error) {
        self.counters.accept_error(lack);
        if !std::mem::replace(&mut self.lack_told, true) {
            let _ = self.notes.send(Note::NoWatch { error: crate::stream::copy_of(lack) });
        }
        self.pause_for_resource();
    }

    fn count_pause(&mut self) {
        if !std::mem::replace(&mut self.pause_counted, true) {
            self.counters.paused();
        }
    }

    /// Publishes what this round has changed, and uses the room that closed connections have left.
    fn end_round(&mut self) {
        let (opened, ended) = (std::mem::take(&mut self.opened), self.connections.take_ended());
        let refused = std::mem::take(&mut self.refused);
        if opened == 0 && ended == 0 {
            return;
        }
        self.lane_table.set_open(self.connections.open_count());
        self.shared.gauge.change(opened, ended);
        self.shared.slots.give_back(ended, &self.shared.lanes);
        // One that was closed because there was no room for it has left none.
        if ended > refused && self.drain_until.is_none() {
            match self.turn {
                Turn::NoResource { .. } => self.begin_to_accept(),
                Turn::Idle if self.lane().take_free_turn(&self.lane_table) => self.begin_to_accept(),
                _ => {}
            }
        }
    }

    /// Reads the clock only when something waits for it.
    fn look_at_clock(&mut self) {
        if self.connections.next_deadline().is_some_and(|at| at <= Instant::now()) {
            self.connections.look_at_deadlines(self.poll.registry(), Instant::now());
        }
        // Behind all by which output has come to wait.
        self.look_at_outputs();
        if let Turn::NoResource { retry_at } = self.turn
            && Instant::now() >= retry_at
        {
            self.begin_to_accept();
        }
        if self.drain_until.is_some_and(|until| Instant::now() >= until) {
            self.connections.abort_all();
        }
    }

    /// Looks now and then for outputs that do not move, while there are outputs at all.
    fn look_at_outputs(&mut self) {
        let Some(limit) = self.shared.settings.stall_timeout else { return };
        if !self.connections.has_waiting() {
            self.stall_check_at = None;
            return;
        }
        let now = Instant::now();
        let interval = STALL_CHECK.min(limit / 4).max(Duration::from_millis(1));
        if *self.stall_check_at.get_or_insert(now + interval) <= now {
            self.connections.close_stalled(now, limit);
            self.stall_check_at = Some(now + interval);
        }
    }

    fn begin_to_end(&mut self) {
        if self.drain_until.is_none() {
            self.leave_listeners();
            self.turn = Turn::Idle;
            self.drain_until = Some(Instant::now() + self.shared.settings.drain);
            self.connections.drain(self.poll.registry());
        }
    }

    fn has_ended(&self) -> bool {
        self.drain_until.is_some() && self.connections.open_count() == 0
    }

    /// Where viewers are paced, waits as exactly as they are timed; says how long epoll may still sleep.
    fn wait_finely(&mut self) -> io::Result<Option<Duration>> {
        let timeout = self.timeout();
        match timeout.filter(|timeout| !timeout.is_zero() && self.connections.is_pacing()) {
            None => Ok(timeout),
            Some(timeout) => {
                epoll::wait_finely(&self.poll, timeout)?;
                Ok(Some(Duration::ZERO))
            }
        }
    }

    /// How long epoll may sleep; `None` = until something happens.
    fn timeout(&mut self) -> Option<Duration> {
        let more_to_accept = self.turn == Turn::Accepting && self.ready.contains(&true);
        if more_to_accept || self.connections.has_leftovers() || self.connections.has_messages() {
            return Some(Duration::ZERO);
        }
        let retry = if let Turn::NoResource { retry_at } = self.turn { Some(retry_at) } else { None };
        let deadline = self.connections.next_deadline();
        let next = [retry, self.drain_until, self.stall_check_at, deadline].into_iter().flatten().min()?;
        // epoll_wait(2) counts in milliseconds and mio rounds up, so nobody wakes too early and spins.
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn lane(&self) -> &Lane {
        &self.shared.lanes[self.lane]
    }
}

/// Takes so much processor time: what others have of the processor meanwhile is none of it.
fn burn(long: Duration) {
    let begun = clock::thread_cpu_time();
    while clock::thread_cpu_time().saturating_sub(begun) < long {
        std::hint::spin_loop();
    }
}

/// Connections that still fit into the calling thread's table.
fn room_of_this_table(limit: u32) -> io::Result<u32> {
    let thread = nix::unistd::gettid().as_raw().cast_unsigned();
    let used = descriptors::open_count_of_thread(std::process::id(), thread)?;
    let used = u32::try_from(used).unwrap_or(u32::MAX).saturating_add(RESERVE);
    match limit.saturating_sub(used) {
        0 => Err(io::Error::other(format!(
            "a table of {limit} descriptors has no room: {used} are in use or in reserve"
        ))),
        room => Ok(room),
    }
}
