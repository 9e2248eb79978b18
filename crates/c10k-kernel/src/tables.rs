//! The descriptor tables of a process: threads may share one, or have one each, and RLIMIT_NOFILE bounds each of
//! them on its own. `/proc/PID/fd` shows the first thread's only.

use std::cmp::Ordering;
use std::fs;
use std::io;

use crate::counters::{ProcRoot, kilobyte_line, lines};
use crate::sys::raw_kcmp::compare_tables;

/// Threads up to which the tables are told apart anew at every look; with more of them, at every
/// [`LOOKS_BETWEEN`]th, or when threads came or went.
const FEW_THREADS: usize = 64;
const LOOKS_BETWEEN: u32 = 8;

/// What the descriptor tables of a process hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TablesInUse {
    /// Descriptors open in all tables together.
    pub open: u64,
    /// How many tables there are.
    pub tables: u64,
    /// Descriptors open in the fullest one, which is what meets RLIMIT_NOFILE first.
    pub fullest: u64,
    /// Whether the kernel said which threads share a table. Otherwise threads whose tables have the same size and the
    /// same number of open descriptors were taken to share one: then `open` and `tables` are lower bounds.
    pub exact: bool,
}

/// Counts the descriptors in every table of one process.
#[derive(Debug)]
pub struct TablesReader {
    root: ProcRoot,
    pid: u32,
    threads: Vec<u32>,
    /// One thread of each table.
    chosen: Vec<u32>,
    exact: bool,
    looks: u32,
}

impl TablesReader {
    /// Prepares to look at process `pid`; nothing is read yet.
    #[must_use]
    pub fn new(root: &ProcRoot, pid: u32) -> Self {
        Self { root: root.clone(), pid, threads: Vec::new(), chosen: Vec::new(), exact: false, looks: 0 }
    }

    /// Counts now. Costs a stat(2) a table, and with few threads a kcmp(2) or some a thread.
    ///
    /// # Errors
    /// `NotFound` or ESRCH when the process is gone; EACCES for another user's process before Linux 6.2, which has no
    /// count in the folder's size.
    pub fn read(&mut self) -> io::Result<TablesInUse> {
        let threads = self.list_threads()?;
        let changed = threads != self.threads;
        self.looks += 1;
        if changed || threads.len() <= FEW_THREADS || self.looks >= LOOKS_BETWEEN {
            self.looks = 0;
            self.threads = threads;
            self.tell_apart()?;
        }
        let mut seen = TablesInUse { exact: self.exact, ..TablesInUse::default() };
        let mut is_there = false;
        for tid in &self.chosen {
            // A thread that ended meanwhile has no table.
            let Some(open) = self.open_of(*tid)? else { continue };
            is_there = true;
            // A thread that has ended and that its process outlives has no table either, which looks like an empty one.
            seen.open += open;
            seen.tables += u64::from(open > 0);
            seen.fullest = seen.fullest.max(open);
        }
        if !is_there {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        seen.tables = seen.tables.max(1);
        Ok(seen)
    }

    /// One thread of each table.
    ///
    /// # Errors
    /// As [`TablesReader::read`].
    pub(crate) fn one_thread_of_each(&mut self) -> io::Result<Vec<u32>> {
        self.threads = self.list_threads()?;
        self.tell_apart()?;
        Ok(self.chosen.clone())
    }

    fn list_threads(&self) -> io::Result<Vec<u32>> {
        let entries = fs::read_dir(self.root.process_path(Some(self.pid), "task"))?;
        let mut threads: Vec<u32> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        threads.sort_unstable();
        Ok(threads)
    }

    /// Chooses one thread of each table.
    fn tell_apart(&mut self) -> io::Result<()> {
        if self.root.is_live()
            && let Some(chosen) = one_of_each(&self.threads)
        {
            (self.chosen, self.exact) = (chosen, true);
            return Ok(());
        }
        self.exact = self.threads.len() <= 1;
        let mut known: Vec<(u64, u64)> = Vec::new();
        self.chosen.clear();
        for tid in self.threads.clone() {
            let Some(open) = self.open_of(tid)? else { continue };
            let look = (open, self.slots_of(tid));
            if !known.contains(&look) {
                known.push(look);
                self.chosen.push(tid);
            }
        }
        Ok(())
    }

    /// Descriptors open in the table of a thread; `None` when the thread is gone.
    fn open_of(&self, tid: u32) -> io::Result<Option<u64>> {
        let folder = self.root.process_path(Some(self.pid), &format!("task/{tid}/fd"));
        let gone = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
        // Since Linux 6.2 the folder's size is the count, and stat(2) needs no permission to list it
        // (fs/proc/fd.c, `proc_fd_getattr`).
        match fs::metadata(&folder) {
            Ok(about) if about.len() > 0 && self.root.is_live() => return Ok(Some(about.len())),
            Ok(_) => {}
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        match fs::read_dir(&folder) {
            Ok(entries) => Ok(Some(entries.count() as u64)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `FDSize` of a thread: slots of its table; 0 where it cannot be read.
    fn slots_of(&self, tid: u32) -> u64 {
        let status = self.root.process_path(Some(self.pid), &format!("task/{tid}/status"));
        let Ok(text) = fs::read(status) else { return 0 };
        let slots = lines(&text).filter_map(kilobyte_line).find(|(key, _)| *key == b"FDSize");
        slots.map_or(0, |(_, slots)| slots)
    }
}

/// One thread of each descriptor table among `threads`; `None` where the kernel does not tell.
fn one_of_each(threads: &[u32]) -> Option<Vec<u32>> {
    let mut tables: Vec<u32> = Vec::new();
    for tid in threads {
        let mut refused = false;
        let place = tables.binary_search_by(|table| {
            compare_tables(*table, *tid).unwrap_or_else(|error| {
                // A thread that is gone by now is passed over when it is counted.
                refused |= error.raw_os_error() != Some(libc::ESRCH);
                Ordering::Equal
            })
        });
        if refused {
            return None;
        }
        if let Err(place) = place {
            tables.insert(place, *tid);
        }
    }
    // A single thread is compared with nobody: ask whether the kernel would have answered.
    (tables.len() != 1 || threads.len() != 1 || compare_tables(threads[0], threads[0]).is_ok())
        .then_some(tables)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::descriptors::unshare_table;

    #[test]
    fn a_thread_with_a_table_of_its_own_is_counted_beside_the_shared_one() {
        let pid = std::process::id();
        let (ready, is_ready) = channel();
        let (end, must_end) = channel::<()>();
        let thread = std::thread::spawn(move || {
            unshare_table().unwrap();
            let files: Vec<File> = (0..3000).map_while(|_| File::open("/dev/null").ok()).collect();
            ready.send(files.len() as u64).unwrap();
            let _ = must_end.recv();
        });
        let opened = is_ready.recv().unwrap();
        let seen = TablesReader::new(&ProcRoot::default(), pid).read().unwrap();
        end.send(()).unwrap();
        thread.join().unwrap();
        assert!(seen.tables >= 2, "{seen:?}");
        assert!(seen.fullest >= opened && seen.open > seen.fullest, "{seen:?}");
    }

    #[test]
    fn threads_that_share_a_table_are_counted_once() {
        let mut child = Command::new("python3")
            .args([
                "-c",
                "import threading,sys\nfiles=[open('/dev/null') for _ in range(40)]\n\
                 gate=threading.Event()\n[threading.Thread(target=gate.wait,daemon=True).start() for _ in range(5)]\n\
                 print('up',flush=True)\nsys.stdin.read()",
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(child) = &mut child else {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: no python3 here");
            }
            return;
        };
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        let seen = TablesReader::new(&ProcRoot::default(), child.id()).read().unwrap();
        let alone = crate::descriptors::open_count(child.id()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((seen.tables, seen.open, seen.fullest), (1, alone, alone));
        assert!(seen.exact, "a process of one's own may be asked");
        assert!(seen.open >= 43);
    }

    #[test]
    fn without_the_kernels_word_tables_are_told_apart_by_size_and_marked() {
        let host = tempfile::tempdir().unwrap();
        for (tid, open) in [(7, 5), (8, 5), (9, 2)] {
            let task = host.path().join(format!("proc/7/task/{tid}"));
            fs::create_dir_all(task.join("fd")).unwrap();
            fs::write(task.join("status"), "FDSize:\t64\n").unwrap();
            for fd in 0..open {
                fs::write(task.join(format!("fd/{fd}")), "").unwrap();
            }
        }
        let seen = TablesReader::new(&ProcRoot::recorded(host.path()), 7).read().unwrap();
        assert_eq!(seen, TablesInUse { open: 7, tables: 2, fullest: 5, exact: false });
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(TablesReader::new(&ProcRoot::default(), child.id()).read().is_err());
    }
}
