//! One watched process: its memory and its processor time, and whether it is still there.

use std::io;

use c10k_kernel::counters::{ProcRoot, process_is_gone};
use c10k_kernel::cpu::{ProcessCpuReader, cores_used};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::memory::{ProcessMemoryReader, descriptor_slots_by_thread};
use c10k_kernel::tables::TablesReader;

use crate::observation::{DescriptorsSeen, ProcessSeen};
use crate::snapshot::ProcessSnapshot;
use crate::unreadable::UnreadableList;

/// A process that is watched by its kept descriptors: a later process with the same pid is never mistaken for it.
#[derive(Debug)]
pub(crate) struct Watched {
    pid: u32,
    root: ProcRoot,
    cpu: ProcessCpuReader,
    memory: ProcessMemoryReader,
    tables: TablesReader,
    first_seconds: f64,
    last_seconds: f64,
    last_elapsed_seconds: f64,
    gone: bool,
}

impl Watched {
    /// Begins to watch. The error is that of the first reading: ENOENT or ESRCH when there is no such process.
    pub(crate) fn new(root: &ProcRoot, pid: u32, elapsed_seconds: f64) -> io::Result<Self> {
        let mut cpu = ProcessCpuReader::open(root, pid);
        let seconds = cpu.read()?.seconds();
        let mut memory = ProcessMemoryReader::open(root, Some(pid));
        memory.read()?;
        Ok(Self {
            pid,
            root: root.clone(),
            cpu,
            memory,
            tables: TablesReader::new(root, pid),
            first_seconds: seconds,
            last_seconds: seconds,
            last_elapsed_seconds: elapsed_seconds,
            gone: false,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Counts its processor time from when it had so much.
    pub(crate) fn count_from(&mut self, seconds: f64) {
        self.first_seconds = seconds;
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// What can be seen now. Sets `partial` when the process vanished since the last look.
    pub(crate) fn see(
        &mut self,
        elapsed_seconds: f64,
        partial: &mut bool,
        unreadable: &mut UnreadableList,
    ) -> ProcessSeen {
        if self.gone {
            return ProcessSeen::default();
        }
        let (cpu, memory) = (self.cpu.read_with_state(), self.memory.read());
        let mut seen = ProcessSeen::default();
        match cpu {
            Ok((cpu, state)) => {
                seen.state = Some(state);
                let elapsed = elapsed_seconds - self.last_elapsed_seconds;
                seen.cores = cores_used(self.last_seconds, cpu.seconds(), elapsed);
                seen.cpu_seconds = Some((cpu.seconds() - self.first_seconds).max(0.0));
                self.last_seconds = cpu.seconds();
                self.last_elapsed_seconds = elapsed_seconds;
            }
            Err(error) => self.lost(&error, partial),
        }
        match memory {
            Ok(memory) => {
                seen.rss_bytes = memory.rss_bytes;
                seen.rss_anon_bytes = memory.rss_anon_bytes;
                seen.page_table_bytes = memory.pte_bytes;
                seen.threads = memory.threads;
            }
            Err(error) => self.lost(&error, partial),
        }
        if !self.gone {
            seen.descriptors = self.descriptors(unreadable);
        }
        seen
    }

    fn descriptors(&mut self, unreadable: &mut UnreadableList) -> Option<DescriptorsSeen> {
        let limit = || limits::of_process(self.pid, Resource::OpenFiles).ok().map(|limit| limit.soft);
        match self.tables.read() {
            Ok(seen) => Some(DescriptorsSeen {
                open: seen.open,
                tables: seen.tables,
                fullest: seen.fullest,
                limit: if self.root.is_live() { limit() } else { None },
                exact: seen.exact,
            }),
            Err(error) if process_is_gone(&error) => None,
            Err(error) => {
                let folder = self.root.process_path(Some(self.pid), "task/*/fd").display().to_string();
                unreadable.note(folder, error.raw_os_error(), "how many descriptors this process has open");
                None
            }
        }
    }

    /// Its memory as exactly as this user may know it: at the ends of phases.
    pub(crate) fn snapshot(&mut self, unreadable: Option<&mut UnreadableList>) -> Option<ProcessSnapshot> {
        snapshot(&self.root, self.pid, &mut self.memory, unreadable)
    }

    fn lost(&mut self, error: &io::Error, partial: &mut bool) {
        *partial = true;
        self.gone |= process_is_gone(error);
    }
}

/// The memory of a process that is not watched; `None` when it is gone.
pub(crate) fn memory_of(root: &ProcRoot, pid: u32) -> Option<ProcessSnapshot> {
    snapshot(root, pid, &mut ProcessMemoryReader::open(root, Some(pid)), None)
}

fn snapshot(
    root: &ProcRoot,
    pid: u32,
    reader: &mut ProcessMemoryReader,
    unreadable: Option<&mut UnreadableList>,
) -> Option<ProcessSnapshot> {
    let memory = reader.read().ok()?;
    let exact = reader.read_exact();
    if let Err(error) = &exact
        && !process_is_gone(error)
        && let Some(unreadable) = unreadable
    {
        unreadable.note(
            reader.exact_file().path().display().to_string(),
            error.raw_os_error(),
            "the proportional share (PSS) of this process; its resident memory is known to some hundred KiB only",
        );
    }
    let exact = exact.ok();
    Some(ProcessSnapshot {
        rss_bytes: memory.rss_bytes,
        anon_bytes: memory.rss_anon_bytes,
        exact_rss_bytes: exact.and_then(|exact| exact.rss_bytes),
        exact_anon_bytes: exact.and_then(|exact| exact.anon_bytes),
        pss_bytes: exact.and_then(|exact| exact.pss_bytes),
        page_table_bytes: memory.pte_bytes,
        descriptor_slots: descriptor_slots_by_thread(root, pid).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_is_over_is_gone_though_its_parent_has_not_looked() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut watched = Watched::new(&ProcRoot::default(), child.id(), 0.0).unwrap();
        let (mut partial, mut list) = (false, UnreadableList::default());
        watched.see(1.0, &mut partial, &mut list);
        assert!(!watched.is_gone());
        child.kill().unwrap();
        let gone = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            watched.see(2.0, &mut partial, &mut list);
            watched.is_gone()
        });
        assert!(gone, "nobody has waited for it");
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ends_gives_one_partial_tick_and_is_then_known_to_be_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut watched = Watched::new(&ProcRoot::default(), child.id(), 0.0).unwrap();
        let (mut partial, mut list) = (false, UnreadableList::default());
        let seen = watched.see(1.0, &mut partial, &mut list);
        assert!(!partial && seen.rss_bytes.is_some() && seen.cores.is_some());
        let descriptors = seen.descriptors.unwrap();
        assert!(
            descriptors.open >= 3 && descriptors.tables == 1 && descriptors.limit.is_some(),
            "{descriptors:?}"
        );
        assert!(seen.state.is_some() && list.all().is_empty(), "{:?}", list.all());
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = watched.see(2.0, &mut partial, &mut list);
        assert!(partial && watched.is_gone());
        assert_eq!(seen, ProcessSeen::default());
        partial = false;
        watched.see(3.0, &mut partial, &mut list);
        assert!(!partial, "said once");
    }

    #[test]
    fn a_pid_that_is_nobodys_is_an_error_at_once() {
        let error = Watched::new(&ProcRoot::default(), 0, 0.0).unwrap_err();
        assert!(process_is_gone(&error), "{error}");
    }
}
