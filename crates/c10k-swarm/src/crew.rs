//! The workers as threads: starting them, each with a maker of its own, and noticing their end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_kernel::{limits, process};

use c10k_wire::ws::{ClientEnd, Limits};

use crate::control::TableControl;
use crate::maker::Maker;
use crate::makers::{KernelMakers, Makers, Next};
use crate::shared::{Note, Shared};
use crate::speech::{Raw, Speech, WebSocket};
use crate::worker::Worker;

/// Stack of a worker; only pages that are used are ever touched.
const STACK_BYTES: usize = 256 * 1024;
/// How late the kernel may end a worker's wait for the next arrival.
const TIMER_SLACK: Duration = Duration::from_micros(1);
/// How long a worker may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Poll interval while waiting for a worker to start.
const START_NAP: Duration = Duration::from_millis(10);

/// The workers of a swarm, each with a maker of its own.
pub(crate) struct Crew<F: Makers = KernelMakers> {
    shared: Arc<Shared>,
    threads: Vec<(Arc<TableControl>, Option<JoinHandle<()>>)>,
    makers: F,
    most_workers: u64,
}

impl<F: Makers> Crew<F> {
    pub(crate) fn new(shared: Arc<Shared>, makers: F) -> Self {
        let most_workers =
            limits::mappings_left().map_or(u64::MAX, |left| left / limits::MAPPINGS_OF_A_THREAD);
        Self { shared, threads: Vec::new(), makers, most_workers }
    }

    /// The workers that the mappings of this process leave room for, and the connections that they hold.
    pub(crate) fn most_workers(&self) -> (u64, u64) {
        (self.most_workers, self.most_workers.saturating_mul(self.makers.connections_of_one()))
    }

    /// About how many workers hold `connections` when each fills its table.
    pub(crate) fn tables_for(&self, connections: u64) -> u64 {
        if self.makers.may_grow() { connections.div_ceil(self.makers.connections_of_one()) } else { 1 }
    }

    /// Connections that one table takes beside what is open in it now.
    pub(crate) fn connections_per_table(&self) -> u64 {
        self.makers.connections_now()
    }

    /// Whether one more worker could hold more connections.
    pub(crate) fn may_grow(&self) -> bool {
        self.makers.may_grow()
    }

    /// Starts one more worker, which makes itself known by a note.
    pub(crate) fn start_one(&mut self) -> io::Result<()> {
        if self.threads.len() as u64 >= self.most_workers {
            return Err(io::Error::other("vm.max_map_count leaves no room for the stack of one more worker"));
        }
        let Next { bell, make } = self.makers.next()?;
        let control = Arc::new(TableControl::hearing(bell));
        let (shared, mine) = (Arc::clone(&self.shared), Arc::clone(&control));
        let thread = std::thread::Builder::new()
            .name(format!("swarm-{}", self.threads.len()))
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&shared, &mine, make))?;
        self.threads.push((Arc::clone(&control), Some(thread)));
        self.shared.add_table(control);
        Ok(())
    }

    /// Waits until all workers started so far have made themselves known; other notes that come meanwhile are
    /// put into `deferred`.
    pub(crate) fn await_start(&self, notes: &Receiver<Note>, deferred: &mut Vec<Note>) -> io::Result<()> {
        let mut failed = None;
        let give_up = Instant::now() + START_TIMEOUT;
        let mut take = |note| match note {
            Note::Started | Note::LookAgain => {}
            Note::StartFailed(error) => failed = Some(error),
            other => deferred.push(other),
        };
        // A note of an earlier start may still be under way: what counts is who is there.
        while self.threads.iter().any(|(control, thread)| {
            !control.alive.load(Acquire) && thread.as_ref().is_some_and(|thread| !thread.is_finished())
        }) {
            if let Ok(note) = notes.recv_timeout(START_NAP) {
                take(note);
            } else if Instant::now() > give_up {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a worker did not come up"));
            }
        }
        notes.try_iter().for_each(take);
        failed.map_or(Ok(()), Err)
    }

    /// Whether at least one worker is up.
    pub(crate) fn is_anybody_there(&self) -> bool {
        self.threads.iter().any(|(control, _)| control.alive.load(Acquire))
    }

    /// Workers that have ended although nobody told them to.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &TableControl> {
        self.threads
            .iter()
            .filter(|(control, thread)| {
                thread.as_ref().is_some_and(JoinHandle::is_finished) && !control.alive.load(Acquire)
            })
            .map(|(control, _)| &**control)
    }

    /// Waits for all workers to end.
    pub(crate) fn join(&mut self) {
        for (_, thread) in &mut self.threads {
            if let Some(thread) = thread.take() {
                // A panic has been counted already as connections lost with their worker.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
impl Crew {
    /// A crew whose only worker came up, counted what `control` says, and ended on its own. No other can be
    /// started.
    pub(crate) fn of_one_dead(shared: Arc<Shared>, control: Arc<TableControl>) -> Self {
        let thread = std::thread::spawn(|| {});
        while !thread.is_finished() {
            std::thread::yield_now();
        }
        shared.add_table(Arc::clone(&control));
        Self {
            shared,
            threads: vec![(control, Some(thread))],
            makers: KernelMakers::of_one_table(100),
            most_workers: 1,
        }
    }
}

/// Tells the others when a worker's thread ends, however it ends.
struct EndOfThread {
    shared: Arc<Shared>,
    control: Arc<TableControl>,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        self.control.alive.store(false, Release);
        self.shared.note(Note::LookAgain);
    }
}

fn serve<M: Maker>(
    shared: &Arc<Shared>,
    control: &Arc<TableControl>,
    make: impl FnOnce() -> io::Result<(M, u32)>,
) {
    let _end = EndOfThread { shared: Arc::clone(shared), control: Arc::clone(control) };
    if shared.settings.is_timed {
        // Where it is refused arrivals are 50 µs late, which the run's lateness says.
        let _ = process::set_timer_slack(TIMER_SLACK);
    }
    match make() {
        Ok((maker, capacity)) => {
            let probes = shared.settings.probes;
            match shared.settings.upgrade.clone() {
                None => work(maker, Raw::new(probes), shared, control, capacity),
                Some(request) => {
                    let end = ClientEnd::new(Limits::default(), request);
                    work(maker, WebSocket::new(end, probes), shared, control, capacity);
                }
            }
        }
        Err(error) => shared.note(Note::StartFailed(error)),
    }
}

fn work<M: Maker, S: Speech>(
    maker: M,
    speech: S,
    shared: &Arc<Shared>,
    control: &Arc<TableControl>,
    capacity: u32,
) {
    let mut worker = Worker::new(maker, speech, Arc::clone(shared), Arc::clone(control), capacity);
    control.alive.store(true, Release);
    shared.note(Note::Started);
    // An error of epoll itself: what this worker held is counted as lost with it.
    let _ = worker.run();
}
