//! The workers as threads: starting them with descriptor tables of their own, and noticing their end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_kernel::bell::Bell;
use c10k_kernel::{descriptors, limits, process};

use c10k_wire::ws::{ClientEnd, Limits};

use crate::control::TableControl;
use crate::maker::KernelSockets;
use crate::shared::{Note, Shared};
use crate::speech::{Raw, Speech, WebSocket};
use crate::worker::Worker;

/// Descriptors of a shared table that stay free for what is not a connection: epoll, files read in passing.
const RESERVE: u64 = 24;
/// Descriptors of a worker's own table that stay free: only its epoll instance is opened in it.
const OWN_RESERVE: u64 = 4;
/// Stack of a worker; only pages that are used are ever touched.
const STACK_BYTES: usize = 256 * 1024;
/// How late the kernel may end a worker's wait for the next arrival.
const TIMER_SLACK: Duration = Duration::from_micros(1);
/// How long a worker may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Poll interval while waiting for a worker to start.
const START_NAP: Duration = Duration::from_millis(10);
/// Looks at how much is open in a shared table, and the time between them.
const LOOKS: u32 = 5;
const LOOK_NAP: Duration = Duration::from_millis(1);

/// Descriptors of a table for each bell, and the most bells. A table has a copy of each that was made before it: one for
/// each worker would fill small tables, and one for all of very many would wake them all for each of them.
const TABLE_FOR_A_BELL: u64 = 32;
const MOST_BELLS: u64 = 32;

/// How many connections fit the calling thread's table with this soft limit and so many kept free.
fn per_table(soft_nofile: u64, reserve: u64) -> u32 {
    // Counted and not told from the highest: what was inherited may have any number, even one above the limit.
    let open = descriptors::open_count_of_this_thread().unwrap_or(16);
    soft_nofile.saturating_sub(open + reserve).clamp(1, u64::from(u32::MAX >> 1)) as u32
}

/// How many bells the workers share where a table has so many descriptors.
fn bells_for(soft_nofile: u64) -> u64 {
    (soft_nofile / TABLE_FOR_A_BELL).clamp(1, MOST_BELLS)
}

/// Descriptors that a table needs to be of use: what is open before the first worker, the bells, what the conductor and
/// a worker open, and one connection.
pub(crate) fn descriptors_needed(soft_nofile: u64) -> u64 {
    let open = descriptors::open_below(soft_nofile).unwrap_or(16);
    open + bells_for(soft_nofile) + RESERVE + 1
}

/// The workers of a swarm.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<(Arc<TableControl>, Option<JoinHandle<()>>)>,
    /// The workers share them in turn.
    bells: Vec<Arc<Bell>>,
    most_workers: u64,
    soft_nofile: u64,
    own_tables: bool,
}

impl Crew {
    pub(crate) fn new(shared: Arc<Shared>, own_tables: bool) -> io::Result<Self> {
        let soft_nofile = limits::nofile()?.soft;
        let most_workers =
            limits::mappings_left().map_or(u64::MAX, |left| left / limits::MAPPINGS_OF_A_THREAD);
        Ok(Self { shared, threads: Vec::new(), bells: Vec::new(), most_workers, soft_nofile, own_tables })
    }

    /// The workers that the mappings of this process leave room for, and the connections that they hold.
    pub(crate) fn most_workers(&self) -> (u64, u64) {
        let each = u64::from(per_table(self.soft_nofile, RESERVE));
        (self.most_workers, self.most_workers.saturating_mul(each))
    }

    /// About how many workers hold `connections` when each fills its table.
    pub(crate) fn tables_for(&self, connections: u64) -> u64 {
        let each = u64::from(per_table(self.soft_nofile, RESERVE));
        if self.own_tables { connections.div_ceil(each) } else { 1 }
    }

    /// Connections that one table takes beside what is open in it now: exact for the one table that all workers
    /// share, where the kernel says when it is full.
    pub(crate) fn connections_per_table(&self) -> u64 {
        if self.own_tables {
            return u64::from(per_table(self.soft_nofile, OWN_RESERVE));
        }
        // A thread that has just started may have a file of the C library open for a moment.
        let look = |_| {
            std::thread::sleep(LOOK_NAP);
            self.soft_nofile.saturating_sub(descriptors::open_below(self.soft_nofile).unwrap_or(16))
        };
        (0..LOOKS).map(look).max().unwrap_or(0)
    }

    /// Whether one more worker could hold more connections.
    pub(crate) fn may_grow(&self) -> bool {
        self.own_tables
    }

    /// The bell of the next worker: made before its thread, so that it stands in its table; the first ones have one of
    /// their own.
    fn bell_for_next(&mut self) -> io::Result<Arc<Bell>> {
        if (self.bells.len() as u64) < bells_for(self.soft_nofile) {
            self.bells.push(Arc::new(Bell::new()?));
        }
        Ok(Arc::clone(&self.bells[self.threads.len() % self.bells.len()]))
    }

    /// Starts one more worker, which makes itself known by a note.
    pub(crate) fn start_one(&mut self) -> io::Result<()> {
        if self.threads.len() as u64 >= self.most_workers {
            return Err(io::Error::other("vm.max_map_count leaves no room for the stack of one more worker"));
        }
        let control = Arc::new(TableControl::hearing(self.bell_for_next()?));
        let (shared, mine) = (Arc::clone(&self.shared), Arc::clone(&control));
        let (soft_nofile, own_table) = (self.soft_nofile, self.own_tables);
        let thread = std::thread::Builder::new()
            .name(format!("swarm-{}", self.threads.len()))
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&shared, &mine, soft_nofile, own_table))?;
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
            bells: Vec::new(),
            most_workers: 1,
            soft_nofile: 100,
            own_tables: false,
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

fn serve(shared: &Arc<Shared>, control: &Arc<TableControl>, soft_nofile: u64, own_table: bool) {
    let _end = EndOfThread { shared: Arc::clone(shared), control: Arc::clone(control) };
    let start = || {
        // Without a table of its own the limit is the kernel's to say.
        let mut capacity = u32::MAX >> 1;
        if own_table {
            descriptors::unshare_table()?;
            // What is open in the conductor's table stands in this one too: it is measured as it is.
            capacity = per_table(soft_nofile, OWN_RESERVE);
            // Grown once, before anything is open: a table that doubles copies all it holds. A refusal only
            // means that it will grow by doubling.
            let _ = descriptors::grow_table_to(capacity);
        }
        if shared.settings.is_timed {
            // Where it is refused arrivals are 50 µs late, which the run's lateness says.
            let _ = process::set_timer_slack(TIMER_SLACK);
        }
        let (choice, options) = (shared.plan.choice(), shared.settings.socket_options);
        Ok((KernelSockets::new(choice, options, control.bell_number(), own_table)?, capacity))
    };
    match start() {
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

fn work<S: Speech>(
    maker: KernelSockets,
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
