//! Where memory is: of the host by kind, of a process, and in the kernel's slabs.
//!
//! All amounts are bytes. What the kernel does not say, or not to this user, is `None`, never 0.

use std::io;

use crate::counters::{ProcFile, ProcRoot, kilobyte_line, lines, number};

mod slab;

pub use slab::{Slab, SlabNames, SlabReader};

macro_rules! memory_lines {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident = $kernel:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = concat!("`", $kernel, "`: ")] $(#[$doc])* pub $field: Option<u64>,)*
        }

        impl $name {
            /// Takes the known lines out of `Key: value kB` text; `None` when there is not one of them.
            fn parse(text: &[u8]) -> Option<Self> {
                let mut parsed = Self::default();
                for line in lines(text) {
                    let Some((key, value)) = kilobyte_line(line) else { continue };
                    $(if key == $kernel.as_bytes() { parsed.$field = Some(value); continue; })*
                }
                (parsed != Self::default()).then_some(parsed)
            }
        }
    };
}

memory_lines! {
    /// `/proc/meminfo` (proc_meminfo(5)).
    pub struct MemInfo {
        /// memory the kernel manages.
        total_bytes = "MemTotal",
        /// free pages, those kept ready by each CPU left out.
        free_bytes = "MemFree",
        /// what could be had without swapping; counts socket inodes and dentries as reclaimable, wrongly here.
        available_bytes = "MemAvailable",
        /// page cache of block devices.
        buffers_bytes = "Buffers",
        /// page cache of files, shared memory included.
        cached_bytes = "Cached",
        /// page cache in use lately, shared memory left out.
        active_file_bytes = "Active(file)",
        /// page cache that is given up first, shared memory left out.
        inactive_file_bytes = "Inactive(file)",
        /// swap cache.
        swap_cached_bytes = "SwapCached",
        /// anonymous pages of all processes.
        anon_bytes = "AnonPages",
        /// shared memory and tmpfs.
        shmem_bytes = "Shmem",
        /// all slabs, large kmallocs included.
        slab_bytes = "Slab",
        /// slabs counted as reclaimable.
        slab_reclaimable_bytes = "SReclaimable",
        /// slabs counted as not reclaimable.
        slab_unreclaimable_bytes = "SUnreclaim",
        /// stacks of kernel threads and of system calls; part of `VmallocUsed` where stacks are mapped.
        kernel_stack_bytes = "KernelStack",
        /// page tables of all processes.
        page_tables_bytes = "PageTables",
        /// pages allocated by vmalloc: hash tables and large descriptor tables.
        vmalloc_bytes = "VmallocUsed",
        /// memory of per-CPU variables.
        percpu_bytes = "Percpu",
    }
}

memory_lines! {
    /// The memory lines of `/proc/PID/status` (proc_pid_status(5)). Resident figures may be off by some hundred KiB:
    /// the kernel keeps them in per-CPU batches.
    pub struct ProcessMemory {
        /// resident memory.
        rss_bytes = "VmRSS",
        /// its anonymous part: heap and stacks.
        rss_anon_bytes = "RssAnon",
        /// its part mapped from files, shared with other processes of the same program.
        rss_file_bytes = "RssFile",
        /// its part in shared memory.
        rss_shmem_bytes = "RssShmem",
        /// what is swapped out.
        swap_bytes = "VmSwap",
        /// its page tables.
        pte_bytes = "VmPTE",
        /// threads (a count).
        threads = "Threads",
        /// slots in the descriptor table of its first thread (a count).
        descriptor_slots = "FDSize",
    }
}

memory_lines! {
    /// `/proc/PID/smaps_rollup` (proc_pid_smaps(5)): exact, and dear to read, since every page table is walked.
    pub struct ExactMemory {
        /// resident memory.
        rss_bytes = "Rss",
        /// resident memory, shared pages divided among those who share them.
        pss_bytes = "Pss",
        /// anonymous resident memory.
        anon_bytes = "Anonymous",
    }
}

/// Reads `/proc/meminfo`, opened once, and the pages that each CPU keeps ready from `/proc/zoneinfo`.
#[derive(Debug)]
pub struct MemInfoReader {
    meminfo: ProcFile,
    zoneinfo: ProcFile,
    buffer: Vec<u8>,
}

impl MemInfoReader {
    /// Opens the host's memory figures.
    #[must_use]
    pub fn open(root: &ProcRoot) -> Self {
        Self {
            meminfo: ProcFile::open(root.path("proc/meminfo")),
            zoneinfo: ProcFile::open(root.path("proc/zoneinfo")),
            buffer: Vec::new(),
        }
    }

    /// The file that [`MemInfoReader::read`] reads.
    #[must_use]
    pub fn file(&self) -> &ProcFile {
        &self.meminfo
    }

    /// Reads `/proc/meminfo` now.
    ///
    /// # Errors
    /// As [`ProcFile::read`]; EBADMSG when the file has no known line.
    pub fn read(&mut self) -> io::Result<MemInfo> {
        MemInfo::parse(self.meminfo.read(&mut self.buffer)?).ok_or_else(bad_message)
    }

    /// Free pages that the CPUs keep ready for themselves, in bytes: they are free, but not in `MemFree`
    /// (mm/page_alloc.c, per-CPU page lists; mm/vmstat.c, `zoneinfo_show_print`).
    ///
    /// # Errors
    /// As [`ProcFile::read`].
    pub fn read_percpu_free_bytes(&mut self) -> io::Result<u64> {
        let text = self.zoneinfo.read(&mut self.buffer)?;
        Ok(parse_percpu_pages(text) * page_bytes())
    }
}

/// Reads the memory of one process: `status` cheaply, `smaps_rollup` where it is allowed.
#[derive(Debug)]
pub struct ProcessMemoryReader {
    root: ProcRoot,
    pid: Option<u32>,
    status: ProcFile,
    smaps_rollup: ProcFile,
    buffer: Vec<u8>,
}

impl ProcessMemoryReader {
    /// Opens the memory figures of process `pid`, or of the calling process.
    #[must_use]
    pub fn open(root: &ProcRoot, pid: Option<u32>) -> Self {
        Self {
            root: root.clone(),
            pid,
            status: ProcFile::open(root.process_path(pid, "status")),
            smaps_rollup: ProcFile::open(root.living_path(pid, "smaps_rollup")),
            buffer: Vec::new(),
        }
    }

    /// The file that [`ProcessMemoryReader::read`] reads.
    #[must_use]
    pub fn file(&self) -> &ProcFile {
        &self.status
    }

    /// The file that [`ProcessMemoryReader::read_exact`] reads.
    #[must_use]
    pub fn exact_file(&self) -> &ProcFile {
        &self.smaps_rollup
    }

    /// Reads `/proc/PID/status`.
    ///
    /// # Errors
    /// ESRCH or ENOENT when the process is gone; ESRCH also where all its threads have ended and its memory is given
    /// back.
    pub fn read(&mut self) -> io::Result<ProcessMemory> {
        let memory = ProcessMemory::parse(self.status.read(&mut self.buffer)?).ok_or_else(bad_message)?;
        if memory.rss_bytes.is_some() {
            return Ok(memory);
        }
        // A thread that has ended has no memory any more; those that go on have all of it.
        let status = self.root.living_path(self.pid, "status");
        let of_another = std::fs::read(status).ok().and_then(|text| ProcessMemory::parse(&text));
        of_another
            .filter(|memory| memory.rss_bytes.is_some())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// Reads `/proc/PID/smaps_rollup`: exact, and costs time in proportion to the process's memory.
    ///
    /// # Errors
    /// EACCES for another user's process, ESRCH when it is gone.
    pub fn read_exact(&mut self) -> io::Result<ExactMemory> {
        ExactMemory::parse(self.smaps_rollup.read(&mut self.buffer)?).ok_or_else(bad_message)
    }
}

/// The slots of every descriptor table that the threads of a process use. Threads that share a table cannot be told
/// apart without privilege, so tables of one size are reported once for each thread: an upper bound.
///
/// # Errors
/// ENOENT when there is no such process.
pub fn descriptor_slots_by_thread(root: &ProcRoot, pid: u32) -> io::Result<Vec<u64>> {
    let mut slots = Vec::new();
    for entry in std::fs::read_dir(root.process_path(Some(pid), "task"))? {
        let Ok(text) = std::fs::read(entry?.path().join("status")) else { continue };
        slots.extend(ProcessMemory::parse(&text).and_then(|memory| memory.descriptor_slots));
    }
    Ok(slots)
}

/// The size of a page in bytes: `sysconf(_SC_PAGESIZE)`.
#[must_use]
pub fn page_bytes() -> u64 {
    let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

fn bad_message() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADMSG)
}

/// Sums the `count:` lines that follow `cpu:` lines. `count:` stands nowhere else in the file.
fn parse_percpu_pages(text: &[u8]) -> u64 {
    lines(text)
        .filter_map(|line| number(line.trim_ascii_start().strip_prefix(b"count:")?))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_lines_become_bytes_and_missing_ones_stay_unknown() {
        let text = b"MemTotal:       24684092 kB\nMemFree:        24044176 kB\nSlab:              80832 kB\n\
                     HugePages_Total:       0\nFutureLine:  9 kB\n";
        let memory = MemInfo::parse(text).unwrap();
        assert_eq!(memory.total_bytes, Some(24_684_092 * 1024));
        assert_eq!(memory.slab_bytes, Some(80_832 * 1024));
        assert_eq!(memory.percpu_bytes, None);
        assert_eq!(MemInfo::parse(b"nothing known\n"), None);
    }

    #[test]
    fn status_gives_bytes_and_counts() {
        let text = b"Name:\tserver\nFDSize:\t16384\nVmRSS:\t    1760 kB\nRssAnon:\t     112 kB\nVmPTE:\t      52 kB\n\
                     Threads:\t5\n";
        let memory = ProcessMemory::parse(text).unwrap();
        assert_eq!(memory.rss_bytes, Some(1760 * 1024));
        assert_eq!((memory.threads, memory.descriptor_slots), (Some(5), Some(16_384)));
        assert_eq!(memory.swap_bytes, None);
    }

    #[test]
    fn the_pages_kept_by_each_cpu_are_summed_over_zones() {
        let text = b"Node 0, zone      DMA\n  pages free     3840\n  pagesets\n    cpu: 0\n              count:    12\n\
                     \x20             high:     28\n    cpu: 1\n              count:    30\nNode 0, zone   Normal\n\
                     \x20   cpu: 0\n              count:    100\n              high_min: 5\n";
        assert_eq!(parse_percpu_pages(text), 142);
    }

    #[test]
    fn memory_that_is_touched_shows_in_the_exact_reading() {
        let mut reader = ProcessMemoryReader::open(&ProcRoot::default(), None);
        let before = reader.read_exact().unwrap();
        let touched = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = reader.read_exact().unwrap();
        let grown = after.anon_bytes.unwrap().saturating_sub(before.anon_bytes.unwrap());
        assert!(grown >= 60 << 20, "grew by {grown} of {}", touched.len());
        assert!(reader.read().unwrap().rss_bytes.unwrap() >= 60 << 20);
    }

    #[test]
    fn the_running_kernel_tells_what_the_account_needs() {
        let mut reader = MemInfoReader::open(&ProcRoot::default());
        let memory = reader.read().unwrap();
        assert!(memory.slab_bytes.unwrap() > 0 && memory.free_bytes < memory.total_bytes);
        reader.read_percpu_free_bytes().unwrap();
        assert!(page_bytes().is_power_of_two());
        let slots = descriptor_slots_by_thread(&ProcRoot::default(), std::process::id()).unwrap();
        assert!(slots.iter().all(|slots| *slots >= 64), "{slots:?}");
    }
}
