//! Where workers get their makers: how many connections one has room for, and the bell that wakes it.
//!
//! A crew starts threads and knows no descriptors: what a worker's connections are made of decides how many fit, and
//! where another worker would find room for more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use c10k_kernel::bell::Bell;
use c10k_kernel::{descriptors, limits};
use c10k_profile::SocketOptions;

use crate::maker::{KernelSockets, Maker};
use crate::shared::Shared;
use crate::sources::PortChoice;

/// Descriptors of a shared table that stay free for what is not a connection: epoll, files read in passing.
const RESERVE: u64 = 24;
/// Descriptors of a worker's own table that stay free: only its epoll instance is opened in it.
const OWN_RESERVE: u64 = 4;
/// Looks at how much is open in a shared table, and the time between them.
const LOOKS: u32 = 5;
const LOOK_NAP: Duration = Duration::from_millis(1);

/// Descriptors of a table for each bell, and the most bells. A table has a copy of each that was made before it: one for
/// each worker would fill small tables, and one for all of very many would wake them all for each of them.
const TABLE_FOR_A_BELL: u64 = 32;
const MOST_BELLS: u64 = 32;

/// What the next worker is given.
pub(crate) struct Next<M> {
    /// What ends its waits; others may hear the same one.
    pub(crate) bell: Arc<Bell>,
    /// Makes its maker in the worker's own thread, and says how many connections that has room for.
    pub(crate) make: Box<dyn FnOnce() -> io::Result<(M, u32)> + Send>,
}

/// Makes makers, one for each worker.
pub(crate) trait Makers {
    /// What makes connections.
    type Maker: Maker + 'static;

    /// About how many connections one worker has room for.
    fn connections_of_one(&self) -> u64;

    /// How many one has room for beside what is there now.
    fn connections_now(&self) -> u64;

    /// Whether one more worker has room for more connections.
    fn may_grow(&self) -> bool;

    /// What the next worker is given.
    ///
    /// # Errors
    /// As eventfd(2).
    fn next(&mut self) -> io::Result<Next<Self::Maker>>;
}

/// Makers of kernel sockets: room is what a descriptor table has, and each worker may have a table of its own.
pub(crate) struct KernelMakers {
    /// The workers share them in turn.
    bells: Vec<Arc<Bell>>,
    /// Workers that have one.
    given: usize,
    soft_nofile: u64,
    own_tables: bool,
    choice: PortChoice,
    options: SocketOptions,
}

impl KernelMakers {
    /// Makers of what this swarm has planned, under the limit of this process.
    ///
    /// # Errors
    /// As getrlimit(2).
    pub(crate) fn new(shared: &Shared, own_tables: bool) -> io::Result<Self> {
        let soft_nofile = limits::nofile()?.soft;
        let (choice, options) = (shared.plan.choice(), shared.settings.socket_options);
        Ok(Self { bells: Vec::new(), given: 0, soft_nofile, own_tables, choice, options })
    }

    /// The bell of the next worker: made before its thread, so that it stands in its table; the first ones have one of
    /// their own.
    fn bell_for_next(&mut self) -> io::Result<Arc<Bell>> {
        if (self.bells.len() as u64) < bells_for(self.soft_nofile) {
            self.bells.push(Arc::new(Bell::new()?));
        }
        let bell = Arc::clone(&self.bells[self.given % self.bells.len()]);
        self.given += 1;
        Ok(bell)
    }
}

impl Makers for KernelMakers {
    type Maker = KernelSockets;

    fn connections_of_one(&self) -> u64 {
        u64::from(per_table(self.soft_nofile, RESERVE))
    }

    /// Exact for the one table that all workers share, where the kernel says when it is full.
    fn connections_now(&self) -> u64 {
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

    fn may_grow(&self) -> bool {
        self.own_tables
    }

    fn next(&mut self) -> io::Result<Next<KernelSockets>> {
        let bell = self.bell_for_next()?;
        let (number, soft_nofile, own_table) = (bell.number(), self.soft_nofile, self.own_tables);
        let (choice, options) = (self.choice, self.options);
        let make = move || {
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
            Ok((KernelSockets::new(choice, options, number, own_table)?, capacity))
        };
        Ok(Next { bell, make: Box::new(make) })
    }
}

#[cfg(test)]
impl KernelMakers {
    /// Makers of which all share a table with this limit.
    pub(crate) fn of_one_table(soft_nofile: u64) -> Self {
        let (choice, options) = (PortChoice::Explicit, SocketOptions::default());
        Self { bells: Vec::new(), given: 0, soft_nofile, own_tables: false, choice, options }
    }
}

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
