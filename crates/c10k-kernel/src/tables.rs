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
/// How often one count is begun anew because a thread ended in the middle of it.
const MOST_LOOKS: u32 = 4;

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

    /// Counts now. Costs a stat(2) a table, and with few threads a kcmp(2) or some a thread. Where threads end while they
    /// are looked at, another one of the same table may be the one to look at: then the look is done again, and after
    /// [`MOST_LOOKS`] of them the count is not [exact](TablesInUse::exact).
    ///
    /// # Errors
    /// `NotFound` or ESRCH when the process is gone; EACCES for another user's process before Linux 6.2, which has no
    /// count in the folder's size.
    pub fn read(&mut self) -> io::Result<TablesInUse> {
        let mut last = None;
        for _ in 0..MOST_LOOKS {
            let threads = self.list_threads()?;
            let changed = threads != self.threads;
            self.looks += 1;
            if changed || threads.len() <= FEW_THREADS || self.looks >= LOOKS_BETWEEN {
                self.looks = 0;
                self.threads = threads;
                self.tell_apart()?;
            }
            let (seen, has_lost_one) = self.count()?;
            if !has_lost_one {
                return seen.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH));
            }
            // The thread is listed no more, so that the next look chooses anew.
            last = seen;
        }
        last.map(|seen| TablesInUse { exact: false, ..seen })
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
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

    /// What the chosen threads show; `None` when not one of them is there. Whether one of them was gone: its table may live
    /// on in others.
    fn count(&self) -> io::Result<(Option<TablesInUse>, bool)> {
        let mut seen = TablesInUse { exact: self.exact, ..TablesInUse::default() };
        let (mut is_there, mut has_lost_one) = (false, false);
        for tid in &self.chosen {
            let Some(open) = self.open_of(*tid)? else {
                has_lost_one = true;
                continue;
            };
            is_there = true;
            // A thread that has ended and that its process outlives has no table either, which looks like an empty one.
            seen.open += open;
            seen.tables += u64::from(open > 0);
            seen.fullest = seen.fullest.max(open);
        }
        seen.tables = seen.tables.max(1);
        Ok((is_there.then_some(seen), has_lost_one))
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
            && let Some(chosen) = one_of_each(&self.threads, compare_tables)
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

/// One thread of each descriptor table among `threads`; `None` where the kernel does not tell. A thread that is gone has
/// no table. One that goes after it was chosen may have left its table to others, which were passed over for its sake:
/// then all are compared again without it.
fn one_of_each(threads: &[u32], compare: impl Fn(u32, u32) -> io::Result<Ordering>) -> Option<Vec<u32>> {
    let mut living = threads.to_vec();
    'anew: loop {
        let mut tables: Vec<u32> = Vec::new();
        for tid in living.clone() {
            let mut failed = None;
            let place = tables.binary_search_by(|table| {
                compare(*table, tid).unwrap_or_else(|error| {
                    failed.get_or_insert((*table, error));
                    Ordering::Equal
                })
            });
            match (failed, place) {
                (None, Err(place)) => tables.insert(place, tid),
                (None, Ok(_)) => {}
                (Some((_, error)), _) if error.raw_os_error() != Some(libc::ESRCH) => return None,
                (Some((table, _)), _) if is_gone(table, &compare) => {
                    living.retain(|thread| *thread != table);
                    continue 'anew;
                }
                (Some(_), _) => {}
            }
        }
        // A single thread is compared with nobody: ask whether the kernel would have answered.
        let is_answered = match living[..] {
            [only] => compare(only, only).is_ok(),
            _ => !tables.is_empty(),
        };
        return is_answered.then_some(tables);
    }
}

fn is_gone(thread: u32, compare: impl Fn(u32, u32) -> io::Result<Ordering>) -> bool {
    compare(thread, thread).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
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

    /// Threads with the table of each; each goes once it has been asked about so many times.
    fn dying(of: &[(u32, u32, u32)]) -> impl Fn(u32, u32) -> io::Result<Ordering> {
        let left: std::collections::BTreeMap<u32, (u32, std::cell::Cell<u32>)> =
            of.iter().map(|(tid, table, lives)| (*tid, (*table, std::cell::Cell::new(*lives)))).collect();
        move |one, other| {
            let table = |tid: u32| {
                let (table, lives) = &left[&tid];
                lives.set(
                    lives.get().checked_sub(1).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?,
                );
                Ok::<u32, io::Error>(*table)
            };
            Ok(table(one)?.cmp(&table(other)?))
        }
    }

    #[test]
    fn a_chosen_thread_that_ends_hides_neither_its_own_table_nor_one_compared_with_it() {
        const EVER: u32 = u32::MAX;
        // Thread 7 stands for table 1 and then goes: 8 has the same table, 9 another one.
        for lives in 0..6 {
            let found = one_of_each(&[7, 8, 9], dying(&[(7, 1, lives), (8, 1, EVER), (9, 2, EVER)])).unwrap();
            let stands_for = |table: &[u32]| found.iter().filter(|tid| table.contains(tid)).count();
            assert_eq!(stands_for(&[9]), 1, "{lives}: {found:?}");
            assert_eq!(stands_for(&[7, 8]), 1, "{lives}: {found:?}");
        }
        // One that is no more when it is compared has no table.
        assert_eq!(one_of_each(&[7, 8], dying(&[(7, 1, EVER), (8, 2, 0)])).unwrap(), [7]);
        assert_eq!(one_of_each(&[7], dying(&[(7, 1, 0)])), None, "nobody is left to ask about");
        assert_eq!(one_of_each(&[7, 8], |_, _| Err(io::Error::from_raw_os_error(libc::EPERM))), None);
    }

    #[test]
    fn a_chosen_thread_that_is_gone_when_it_is_counted_is_told() {
        let host = tempfile::tempdir().unwrap();
        for (tid, open) in [(7, 5), (8, 2)] {
            let task = host.path().join(format!("proc/7/task/{tid}"));
            // A thread that is listed and shows no descriptors any more.
            if tid == 7 {
                fs::create_dir_all(task.join("fd")).unwrap();
            } else {
                fs::create_dir_all(&task).unwrap();
            }
            for fd in (0..open).filter(|_| tid == 7) {
                fs::write(task.join(format!("fd/{fd}")), "").unwrap();
            }
        }
        let mut reader = TablesReader::new(&ProcRoot::recorded(host.path()), 7);
        (reader.threads, reader.chosen, reader.exact) = (vec![7, 8], vec![7, 8], true);
        let (seen, has_lost_one) = reader.count().unwrap();
        assert!(has_lost_one && seen.unwrap().open == 5, "{seen:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(TablesReader::new(&ProcRoot::default(), child.id()).read().is_err());
    }
}
