//! The workers as threads: starting them with descriptor tables of their own, and noticing their end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use c10k_kernel::{descriptors, limits};

use crate::maker::KernelSockets;
use crate::shared::{Note, Shared, TableControl};
use crate::worker::Worker;

/// Descriptors of a table that stay free for what is not a connection: epoll, waker, files read in passing.
const RESERVE: u64 = 24;
/// Stack of a worker; only pages that are used are ever touched.
const STACK_BYTES: usize = 256 * 1024;
/// How long a worker may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections fit one worker's table with this soft limit.
pub(crate) fn per_table(soft_nofile: u64) -> u32 {
    let open = descriptors::highest_open().ok().flatten().map_or(16, |top| u64::from(top) + 1);
    soft_nofile.saturating_sub(open + RESERVE).clamp(1, u64::from(u32::MAX >> 1)) as u32
}

/// Whether threads may have descriptor tables of their own here: tried on a thread that ends at once.
pub(crate) fn own_tables_possible() -> bool {
    std::thread::spawn(|| descriptors::unshare_table().is_ok()).join().unwrap_or(false)
}

/// The workers of a swarm.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<(Arc<TableControl>, Option<JoinHandle<()>>)>,
    /// Connections a table holds; without tables of their own the limit is the kernel's to say.
    capacity: u32,
    own_tables: bool,
}

impl Crew {
    pub(crate) fn new(shared: Arc<Shared>, own_tables: bool) -> io::Result<Self> {
        let soft = limits::nofile()?.soft;
        Ok(Self { shared, threads: Vec::new(), capacity: per_table(soft), own_tables })
    }

    /// How many workers hold `connections` when each fills its table.
    pub(crate) fn tables_for(&self, connections: u64) -> u64 {
        if self.own_tables { connections.div_ceil(u64::from(self.capacity)) } else { 1 }
    }

    /// Whether one more worker could hold more connections.
    pub(crate) fn may_grow(&self) -> bool {
        self.own_tables
    }

    /// Starts one more worker, which makes itself known by a note.
    pub(crate) fn start_one(&mut self) -> io::Result<()> {
        let control = Arc::new(TableControl::new()?);
        let (shared, mine) = (Arc::clone(&self.shared), Arc::clone(&control));
        let (capacity, own_table) = (self.capacity, self.own_tables);
        let thread = std::thread::Builder::new()
            .name(format!("swarm-{}", self.threads.len()))
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&shared, &mine, capacity, own_table))?;
        self.threads.push((Arc::clone(&control), Some(thread)));
        self.shared.add_table(control);
        Ok(())
    }

    /// Waits until all workers started so far have made themselves known; other notes that come meanwhile are
    /// put into `deferred`.
    pub(crate) fn await_start(&self, notes: &Receiver<Note>, deferred: &mut Vec<Note>) -> io::Result<()> {
        let mut waiting = self.threads.iter().filter(|(control, _)| !control.alive.load(Acquire)).count();
        while waiting > 0 {
            match notes.recv_timeout(START_TIMEOUT) {
                Ok(Note::Started) => waiting -= 1,
                Ok(Note::StartFailed(error)) => return Err(error),
                Ok(other) => deferred.push(other),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "a worker did not come up"));
                }
            }
        }
        Ok(())
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

fn serve(shared: &Arc<Shared>, control: &Arc<TableControl>, capacity: u32, own_table: bool) {
    let _end = EndOfThread { shared: Arc::clone(shared), control: Arc::clone(control) };
    let start = || {
        if own_table {
            descriptors::unshare_table()?;
            // Grown once, before anything is open: a table that doubles copies all it holds. A refusal only
            // means that it will grow by doubling.
            let _ = descriptors::grow_table_to(capacity);
        }
        KernelSockets::new(shared.plan.choice(), shared.fixed.socket_options, control.bell_number())
    };
    match start() {
        Ok(maker) => {
            let mut worker = Worker::new(maker, Arc::clone(shared), Arc::clone(control), capacity);
            control.alive.store(true, Release);
            shared.note(Note::Started);
            // An error of epoll itself: what this worker held is counted as lost with it.
            let _ = worker.run();
        }
        Err(error) => shared.note(Note::StartFailed(error)),
    }
}
