//! Whose connections these are: which processes have the sockets of a server in their descriptor tables.
//!
//! # What is counted
//! The sockets come from sock_diag, by their inodes; a process holds one that is in any of its tables. One that several
//! hold, as a parent and its child may, counts for each.
//!
//! # What it costs
//! Of a table that has more descriptors than may be looked at, only so many are looked at, spread over all its numbers,
//! and the rest is taken to be alike: 1,024 tell the share to some 3 %, and where nearly all descriptors are connections,
//! as in a server that holds many, to far less. Its folder is not listed then, since the kernel makes an inode for each
//! entry. So the cost is bounded by [`LookThrough`] whatever number of connections there are.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::holder::{pids, socket_inode};
use crate::counters::{ProcRoot, kilobyte_line, lines};
use crate::tables::TablesReader;

/// How many descriptors are looked at, of one process and of all. Each costs some microseconds.
#[derive(Clone, Copy, Debug)]
pub struct LookThrough {
    /// Of one process.
    pub of_one: usize,
    /// Of all together.
    pub of_all: usize,
}

impl Default for LookThrough {
    fn default() -> Self {
        Self { of_one: 1 << 10, of_all: 1 << 16 }
    }
}

/// Descriptors that are looked at in a table of a process that has many of them.
const LEAST_OF_A_TABLE: usize = 64;

/// What of some sockets one process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The process.
    pub pid: u32,
    /// How many of the sockets it holds, at least 1.
    pub sockets: u64,
    /// It has more descriptors than were looked at: `sockets` is an estimate.
    pub estimated: bool,
}

/// Who holds the sockets of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The processes that hold any, in the order of their pids.
    pub by: Vec<Holding>,
    /// Sockets that no process was seen to hold: an estimate, where one of `by` is.
    pub unseen: u64,
    /// Processes whose descriptors this user may not see, among those that were looked at.
    pub closed_to_us: Vec<u32>,
}

/// Finds who holds the sockets with these inodes: first `likely` processes, then, as long as some are not found, all
/// others.
#[must_use]
pub fn who_holds(root: &ProcRoot, inodes: &[u32], likely: &[u32], most: LookThrough) -> Held {
    let mut wanted: Vec<u32> = inodes.iter().copied().filter(|inode| *inode > 0).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (held, found) = (Held::default(), HashSet::new());
    let mut search = Search { root, wanted: &wanted, most, held, found, beyond: 0 };
    for pid in likely {
        search.look_at(*pid);
    }
    if !search.is_over() {
        for pid in pids(root).into_iter().filter(|pid| !likely.contains(pid)) {
            search.look_at(pid);
            if search.is_over() {
                break;
            }
        }
    }
    let mut held = Held { unseen: search.unseen(), ..search.held };
    held.by.sort_by_key(|holding| holding.pid);
    held
}

struct Search<'a> {
    root: &'a ProcRoot,
    /// Sorted.
    wanted: &'a [u32],
    most: LookThrough,
    held: Held,
    found: HashSet<u32>,
    /// Sockets that are estimated to be held beside those that were found.
    beyond: u64,
}

impl Search<'_> {
    fn unseen(&self) -> u64 {
        (self.wanted.len() as u64).saturating_sub(self.found.len() as u64 + self.beyond)
    }

    /// Whether all are found, as far as estimates can tell.
    fn is_over(&self) -> bool {
        let unseen = self.unseen();
        unseen == 0 || self.beyond > 0 && unseen * 20 < self.wanted.len() as u64
    }

    fn look_at(&mut self, pid: u32) {
        let may = self.most.of_one.min(self.most.of_all);
        if may == 0 {
            return;
        }
        match sockets_of(self.root, pid, self.wanted, may) {
            Ok(seen) => {
                self.most.of_all -= seen.looked_at.min(self.most.of_all);
                if seen.sockets > 0 {
                    let estimated = seen.is_sampled;
                    self.held.by.push(Holding { pid, sockets: seen.sockets, estimated });
                }
                self.beyond += seen.sockets.saturating_sub(seen.inodes.len() as u64);
                self.found.extend(seen.inodes);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.held.closed_to_us.push(pid),
            // It ended meanwhile.
            Err(_) => {}
        }
    }
}

#[derive(Default)]
struct Seen {
    inodes: HashSet<u32>,
    /// At least as many as `inodes`.
    sockets: u64,
    looked_at: usize,
    is_sampled: bool,
}

/// What one process has in all its tables.
fn sockets_of(root: &ProcRoot, pid: u32, wanted: &[u32], may: usize) -> io::Result<Seen> {
    let threads = TablesReader::new(root, pid).one_thread_of_each()?;
    let folder = |tid: u32| root.process_path(Some(pid), &format!("task/{tid}"));
    let together: u64 = threads.iter().map(|tid| open_in(root, &folder(*tid).join("fd"))).sum();
    let each = match together <= may as u64 {
        true => may,
        false => (may / threads.len().max(1)).max(LEAST_OF_A_TABLE.min(may)),
    };
    let mut all = Seen::default();
    for tid in threads {
        let seen = match sockets_of_table(root, &folder(tid), wanted, each) {
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // The thread ended meanwhile.
            Err(_) => continue,
        };
        // A table begins as a copy of another: what both have is one.
        let twice = seen.inodes.iter().filter(|inode| all.inodes.contains(inode)).count() as u64;
        all.sockets += seen.sockets - twice;
        all.inodes.extend(seen.inodes);
        all.looked_at += seen.looked_at;
        all.is_sampled |= seen.is_sampled;
    }
    Ok(all)
}

/// How many descriptors a table has, by the size of its folder: 0 before Linux 6.2, which does not say
/// (fs/proc/fd.c, `proc_fd_getattr`).
fn open_in(root: &ProcRoot, folder: &Path) -> u64 {
    fs::metadata(folder).map_or(0, |about| if root.is_live() { about.len() } else { 0 })
}

/// What the table of one thread, whose folder this is, has.
fn sockets_of_table(root: &ProcRoot, thread: &Path, wanted: &[u32], may: usize) -> io::Result<Seen> {
    let folder = thread.join("fd");
    // To open it takes the right to look into it, which its size does not.
    let listing = fs::read_dir(&folder)?;
    let is_wanted = |target: &Path| {
        let inode = target.to_str().and_then(socket_inode)?;
        wanted.binary_search(&inode).is_ok().then_some(inode)
    };
    let open = open_in(root, &folder);
    if open <= may as u64 {
        let mut seen = Seen::default();
        for entry in listing {
            if seen.looked_at == may {
                // Before Linux 6.2: how many there are beyond is not known.
                seen.is_sampled = true;
                break;
            }
            seen.looked_at += 1;
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            seen.inodes.extend(is_wanted(&target));
        }
        seen.sockets = seen.inodes.len() as u64;
        return Ok(seen);
    }
    let status = fs::read(thread.join("status"))?;
    let slots = lines(&status).filter_map(kilobyte_line).find(|(key, _)| *key == b"FDSize");
    let slots = slots.map_or(open, |(_, slots)| slots.max(open));
    Ok(sample(open, slots, may, |number| match fs::read_link(folder.join(number.to_string())) {
        Ok(target) => Found::Open(is_wanted(&target)),
        Err(_) => Found::Nothing,
    }))
}

/// What a descriptor's number stands for.
enum Found {
    /// It is not open.
    Nothing,
    /// It is, and may be a wanted socket.
    Open(Option<u32>),
}

/// Estimates the wanted sockets in a table of so many slots, with so many descriptors open, by looking at some. The
/// kernel gives out the lowest free number, so most are below their count; only where many of those are closed it is
/// looked above too.
fn sample(open: u64, slots: u64, may: usize, mut look: impl FnMut(u64) -> Found) -> Seen {
    let mut seen = Seen { is_sampled: true, ..Seen::default() };
    // In descriptors that those looked at stand for.
    let (mut exist, mut fit) = (0_u64, 0_u64);
    let mut chance = Chance(open);
    for (from, to) in [(0, open), (open, slots)] {
        let step = (to - from).div_ceil(may as u64).max(1);
        for cell in (from..to).step_by(step as usize) {
            // One of each cell by chance: a proxy has its two ends in turn.
            let width = step.min(to - cell);
            seen.looked_at += 1;
            let Found::Open(inode) = look(cell + chance.below(width)) else { continue };
            exist += width;
            if let Some(inode) = inode {
                fit += width;
                seen.inodes.insert(inode);
            }
        }
        if exist * 20 >= open * 19 {
            break;
        }
    }
    let share = if exist > 0 { fit as f64 / exist as f64 } else { 0.0 };
    seen.sockets = ((open as f64 * share).round() as u64).max(seen.inodes.len() as u64);
    seen
}

/// Numbers by chance, the same in every run (Knuth's MMIX generator).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::super::holder::tests::host;
    use super::*;

    #[test]
    fn the_connections_of_a_server_are_counted_by_the_process_that_holds_them() {
        let host = host(&[
            (10, 10, &["socket:[1]"]),
            (11, 11, &["socket:[21]", "socket:[22]", "pipe:[23]"]),
            (11, 15, &["socket:[24]", "socket:[21]"]),
            (12, 12, &["socket:[25]", "socket:[99]"]),
        ]);
        let root = ProcRoot::recorded(host.path());
        let holding = |pid, sockets| Holding { pid, sockets, estimated: false };
        let all = who_holds(&root, &[21, 22, 23, 24, 25, 26, 0], &[10], LookThrough::default());
        assert_eq!(all.by, [holding(11, 3), holding(12, 1)], "a table of a thread's own too, and no pipe");
        assert_eq!((all.unseen, all.closed_to_us), (2, vec![]));
        // Where all are found nobody else is looked at.
        let few = who_holds(&root, &[25], &[12], LookThrough::default());
        assert_eq!((few.by, few.unseen), (vec![holding(12, 1)], 0));
        let bounded = who_holds(&root, &[25], &[], LookThrough { of_one: 9, of_all: 0 });
        assert_eq!((bounded.by, bounded.unseen), (vec![], 1));
    }

    /// A table with `open` descriptors below `slots`, of which those that `fits` says are wanted.
    fn table(open: &[u64], fits: impl Fn(u64) -> bool) -> impl FnMut(u64) -> Found {
        move |number| match open.binary_search(&number) {
            Ok(_) => Found::Open(fits(number).then_some(u32::try_from(number).unwrap())),
            Err(_) => Found::Nothing,
        }
    }

    #[test]
    fn a_large_table_is_estimated_from_a_few_of_its_descriptors() {
        let near = |seen: &Seen, truth: u64, percent: u64| {
            let off = seen.sockets.abs_diff(truth) * 100;
            assert!(off <= truth * percent, "{} for {truth}", seen.sockets);
            assert!(seen.is_sampled && seen.looked_at <= 2050, "{}", seen.looked_at);
        };
        let dense: Vec<u64> = (0..100_000).collect();
        near(&sample(100_000, 131_072, 1024, table(&dense, |number| number >= 20)), 99_980, 1);
        // A proxy's two ends in turn.
        near(&sample(100_000, 131_072, 1024, table(&dense, |number| number % 2 == 0)), 50_000, 10);
        // Most were closed, and what is open is spread; what is above is of another kind.
        let sparse: Vec<u64> = (0..100_000).filter(|number| number % 20 == 3).collect();
        near(&sample(5_000, 131_072, 1024, table(&sparse, |number| number < 50_000)), 2_500, 25);
        assert_eq!(sample(5_000, 5_000, 1024, |_| Found::Nothing).sockets, 0);
    }

    #[test]
    fn a_living_process_is_sampled_by_numbers_and_not_listed() {
        // A process of its own: what this one has open changes with every test beside this one.
        let holder = "import os, socket, sys\nown = [socket.socket() for _ in range(400)]\n\
                      print(*(os.fstat(one.fileno()).st_ino for one in own), flush=True)\nsys.stdin.read()";
        let mut command = Command::new("python3");
        let child = command.args(["-c", holder]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: no python3 here");
            }
            return;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let inodes: Vec<u32> = line.split_whitespace().map(|inode| inode.parse().unwrap()).collect();
        let (pid, root) = (child.id(), ProcRoot::default());
        let whole = who_holds(&root, &inodes, &[pid], LookThrough::default());
        let some = who_holds(&root, &inodes, &[pid], LookThrough { of_one: 256, of_all: 256 });
        drop(child.stdin.take());
        child.wait().unwrap();
        let of = |held: &Held| held.by.iter().find(|one| one.pid == pid).copied().unwrap();
        assert_eq!((of(&whole).sockets, of(&whole).estimated, whole.unseen), (400, false, 0));
        let Holding { sockets, estimated, .. } = of(&some);
        // Before Linux 6.2 it is a lower bound.
        assert!(estimated && (50..560).contains(&sockets), "{some:?}");
    }
}
