//! The memory of the groups of a process: limits, what is charged, what was refused.

use std::io;
use std::path::{Path, PathBuf};

use super::{CgroupVersion, entry, place_of};
use crate::counters::{ProcFile, ProcRoot, number};

/// Version 1 writes "no limit" as the largest multiple of a page (mm/page_counter.c); nothing real comes near.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// What a group says of itself. What the kernel does not say is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupMemory {
    /// The limit at which memory is refused, bytes: `memory.max`, `memory.limit_in_bytes`.
    pub max_bytes: Option<u64>,
    /// The limit above which a process that asks for memory is put to sleep, bytes: `memory.high`; version 1 has none.
    pub high_bytes: Option<u64>,
    /// What is charged to it and to groups below it, bytes: `memory.current`, `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// Times its own `max_bytes` was hit: `memory.events.local` `max` (before Linux 5.2 `memory.events`, which has the
    /// groups below it too), `memory.failcnt`.
    pub failures: Option<u64>,
    /// Times somebody was held back at its own `high_bytes`: `memory.events.local` `high`.
    pub held_back: Option<u64>,
    /// Its part of kernel memory, bytes: `memory.stat` `kernel`, `memory.kmem.usage_in_bytes`.
    pub kernel_bytes: Option<u64>,
    /// Its part in slabs, bytes: `memory.stat` `slab`; version 1 does not say.
    pub slab_bytes: Option<u64>,
    /// Its part in socket buffers, bytes: `memory.stat` `sock`, `memory.kmem.tcp.usage_in_bytes`.
    pub socket_bytes: Option<u64>,
    /// Page cache charged to it and to groups below it, which is given up before anything is refused, bytes:
    /// `memory.stat` `active_file` + `inactive_file`, in version 1 with `total_` in front.
    pub file_bytes: Option<u64>,
    /// Processes of this group (version 2: and of those below it) that the OOM killer ended, whichever group's limit was
    /// hit: `memory.events` `oom_kill`, `memory.oom_control` `oom_kill`.
    pub oom_kills: Option<u64>,
}

impl GroupMemory {
    /// The lower of its limits, bytes, and the name of the file that has it; `None` without one.
    #[must_use]
    pub fn limit(&self, version: CgroupVersion) -> Option<(u64, &'static str)> {
        let max = self.max_bytes.map(|bytes| {
            (bytes, if version == CgroupVersion::V1 { "memory.limit_in_bytes" } else { "memory.max" })
        });
        let high = self.high_bytes.map(|bytes| (bytes, "memory.high"));
        [max, high].into_iter().flatten().min_by_key(|(bytes, _)| *bytes)
    }

    /// What is charged and cannot be given up, bytes: page cache left out.
    #[must_use]
    pub fn charged_bytes(&self) -> Option<u64> {
        Some(self.usage_bytes?.saturating_sub(self.file_bytes.unwrap_or(0)))
    }

    /// What its lower limit leaves, bytes; `None` without a limit.
    #[must_use]
    pub fn left_bytes(&self) -> Option<u64> {
        // The version changes the name alone.
        let (limit, _) = self.limit(CgroupVersion::V2)?;
        Some(limit.saturating_sub(self.charged_bytes()?))
    }
}

/// The groups that a process is in: its own and those above it, nearest first, their files opened once.
#[derive(Debug)]
pub struct MemoryGroups {
    version: CgroupVersion,
    groups: Vec<Group>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    files: Vec<(Part, ProcFile)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Max,
    High,
    Usage,
    Failures,
    Kernel,
    Sockets,
    OomControl,
    Stat,
    Events,
    LocalEvents,
}

impl MemoryGroups {
    /// The groups of process `pid`, or of the calling process; `None` where there is no such controller, or none of the
    /// groups has it.
    ///
    /// # Errors
    /// `NotFound` when the process is gone; what open(2) or read(2) say of `/proc/PID/cgroup` or of
    /// `/proc/self/mountinfo`; `Unsupported` when the process's group lies outside what is mounted here.
    pub fn of(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        let Some(place) = place_of(root, pid, "memory")? else { return Ok(None) };
        let version = place.version;
        // In version 2 the root group has no figures, and one to which the controller is not handed on has none either.
        let groups: Vec<Group> = place
            .way_up()
            .map(|folder| Group::open(version, folder))
            .filter(|group| group.has(Part::Usage) || group.has(Part::Max))
            .collect();
        Ok((!groups.is_empty()).then_some(Self { version, groups, buffer: Vec::new() }))
    }

    /// Their version.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// Their folders, nearest first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(|group| group.folder.as_path())
    }

    /// Reads all of them now, in the order of [`MemoryGroups::folders`]. A group that is gone is `None`; a file that is
    /// not there, or not readable, leaves its part `None`.
    pub fn read(&mut self) -> Vec<Option<GroupMemory>> {
        let (version, buffer) = (self.version, &mut self.buffer);
        self.groups.iter_mut().map(|group| group.read(version, buffer)).collect()
    }

    /// The group that has least left now, with its folder; `None` where none has a limit.
    pub fn scarcest(&mut self) -> Option<(GroupMemory, &Path)> {
        let seen = self.read();
        let (at, left) = scarcest_of(&seen)?;
        Some((left, self.groups[at].folder.as_path()))
    }
}

/// Which of some groups has least left, and its figures; of equal ones the nearer, which refuses first.
fn scarcest_of(seen: &[Option<GroupMemory>]) -> Option<(usize, GroupMemory)> {
    let limited = seen.iter().enumerate().filter_map(|(at, group)| Some((group.as_ref()?.left_bytes()?, at)));
    let (_, at) = limited.min()?;
    Some((at, seen[at]?))
}

impl Group {
    fn open(version: CgroupVersion, folder: &Path) -> Self {
        let parts: &[(Part, &str)] = match version {
            CgroupVersion::V1 => &[
                (Part::Max, "memory.limit_in_bytes"),
                (Part::Usage, "memory.usage_in_bytes"),
                (Part::Failures, "memory.failcnt"),
                (Part::Kernel, "memory.kmem.usage_in_bytes"),
                (Part::Sockets, "memory.kmem.tcp.usage_in_bytes"),
                (Part::OomControl, "memory.oom_control"),
                (Part::Stat, "memory.stat"),
            ],
            CgroupVersion::V2 => &[
                (Part::Max, "memory.max"),
                (Part::High, "memory.high"),
                (Part::Usage, "memory.current"),
                (Part::Stat, "memory.stat"),
                (Part::Events, "memory.events"),
                // After those that have the groups below too, in whose place it stands.
                (Part::LocalEvents, "memory.events.local"),
            ],
        };
        let files = parts.iter().map(|(part, name)| (*part, ProcFile::open(folder.join(name)))).collect();
        Self { folder: folder.to_owned(), files }
    }

    fn has(&self, wanted: Part) -> bool {
        self.files.iter().any(|(part, file)| *part == wanted && file.open_errno().is_none())
    }

    fn read(&mut self, version: CgroupVersion, buffer: &mut Vec<u8>) -> Option<GroupMemory> {
        let mut seen = GroupMemory::default();
        let limit = |text: &[u8]| number(text).filter(|limit| *limit < NO_LIMIT_BYTES);
        let mut is_read = false;
        for (part, file) in &mut self.files {
            // Of a group that is gone each file says ENODEV, or ENOENT where it was never opened.
            let Ok(text) = file.read(buffer) else { continue };
            is_read = true;
            match part {
                // Version 2 writes "max" where there is none, which is no number.
                Part::Max => seen.max_bytes = limit(text),
                Part::High => seen.high_bytes = limit(text),
                Part::Usage => seen.usage_bytes = number(text),
                Part::Failures => seen.failures = number(text),
                Part::Kernel => seen.kernel_bytes = number(text),
                Part::Sockets => seen.socket_bytes = number(text),
                Part::OomControl => seen.oom_kills = entry(text, b"oom_kill"),
                Part::Stat if version == CgroupVersion::V1 => {
                    seen.file_bytes = sum(text, b"total_active_file", b"total_inactive_file");
                }
                Part::Stat => {
                    seen.file_bytes = sum(text, b"active_file", b"inactive_file");
                    seen.kernel_bytes = entry(text, b"kernel");
                    seen.slab_bytes = entry(text, b"slab");
                    seen.socket_bytes = entry(text, b"sock");
                }
                Part::Events => {
                    (seen.failures, seen.held_back) = (entry(text, b"max"), entry(text, b"high"));
                    seen.oom_kills = entry(text, b"oom_kill");
                }
                Part::LocalEvents => {
                    (seen.failures, seen.held_back) = (entry(text, b"max"), entry(text, b"high"));
                }
            }
        }
        is_read.then_some(seen)
    }
}

fn sum(text: &[u8], one: &[u8], other: &[u8]) -> Option<u64> {
    Some(entry(text, one)?.saturating_add(entry(text, other)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::record;
    use super::*;

    const VERSION_2: &str = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

    fn groups(at: &Path, pid: Option<u32>) -> MemoryGroups {
        MemoryGroups::of(&ProcRoot::recorded(at), pid).unwrap().unwrap()
    }

    #[test]
    fn every_group_on_the_way_up_says_what_it_counted_itself() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "0::/shop/web\n");
        record(at, "proc/self/mountinfo", VERSION_2);
        record(at, "sys/fs/cgroup/memory.stat", "anon 5\n");
        record(at, "sys/fs/cgroup/shop/memory.max", "1000000\n");
        record(at, "sys/fs/cgroup/shop/memory.high", "max\n");
        record(at, "sys/fs/cgroup/shop/memory.current", "900000\n");
        record(
            at,
            "sys/fs/cgroup/shop/memory.stat",
            "anon 5\nkernel 700\nsock 40\nslab 600\ninactive_file 8\nactive_file 4\n",
        );
        record(at, "sys/fs/cgroup/shop/memory.events", "low 0\nhigh 9\nmax 12\noom 1\noom_kill 2\n");
        record(at, "sys/fs/cgroup/shop/memory.events.local", "low 0\nhigh 1\nmax 5\noom 1\noom_kill 0\n");
        record(at, "sys/fs/cgroup/shop/web/memory.max", "max\n");
        record(at, "sys/fs/cgroup/shop/web/memory.high", "2000000\n");
        record(at, "sys/fs/cgroup/shop/web/memory.current", "300000\n");
        let mut groups = groups(at, Some(7));
        let folders: Vec<_> = groups.folders().map(|folder| folder.file_name().unwrap().to_owned()).collect();
        assert_eq!((groups.version(), folders), (CgroupVersion::V2, vec!["web".into(), "shop".into()]));
        let [Some(web), Some(shop)] = groups.read()[..] else { panic!("two groups") };
        assert_eq!(
            shop,
            GroupMemory {
                max_bytes: Some(1_000_000),
                high_bytes: None,
                usage_bytes: Some(900_000),
                failures: Some(5),
                held_back: Some(1),
                kernel_bytes: Some(700),
                slab_bytes: Some(600),
                socket_bytes: Some(40),
                file_bytes: Some(12),
                oom_kills: Some(2),
            }
        );
        assert_eq!((web.max_bytes, web.high_bytes, web.oom_kills), (None, Some(2_000_000), None));
    }

    #[test]
    fn the_group_with_the_lowest_limit_is_not_the_one_that_has_least_left() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        let mib = |count: u64| format!("{}\n", count << 20);
        record(at, "proc/7/cgroup", "0::/slice/unit\n");
        record(at, "proc/self/mountinfo", VERSION_2);
        record(at, "sys/fs/cgroup/slice/memory.max", &mib(300));
        record(at, "sys/fs/cgroup/slice/memory.current", &mib(250));
        record(at, "sys/fs/cgroup/slice/unit/memory.max", &mib(200));
        record(at, "sys/fs/cgroup/slice/unit/memory.current", &mib(10));
        let mut groups = groups(at, Some(7));
        let scarcest = |groups: &mut MemoryGroups| {
            let (seen, folder) = groups.scarcest().unwrap();
            let (_, file) = seen.limit(CgroupVersion::V2).unwrap();
            (folder.file_name().unwrap().to_str().unwrap().to_owned(), seen.left_bytes().unwrap() >> 20, file)
        };
        assert_eq!(scarcest(&mut groups), ("slice".to_owned(), 50, "memory.max"));
        // The neighbour goes, and its pages with it.
        record(at, "sys/fs/cgroup/slice/memory.current", &mib(60));
        assert_eq!(scarcest(&mut groups), ("unit".to_owned(), 190, "memory.max"));
        // Page cache is given up first.
        record(at, "sys/fs/cgroup/slice/memory.current", &mib(290));
        record(at, "sys/fs/cgroup/slice/memory.stat", &format!("inactive_file {}active_file 0\n", mib(100)));
        let mut groups = self::groups(at, Some(7));
        assert_eq!(scarcest(&mut groups), ("slice".to_owned(), 110, "memory.max"));
        record(at, "sys/fs/cgroup/slice/unit/memory.high", &mib(40));
        let mut groups = self::groups(at, Some(7));
        assert_eq!(scarcest(&mut groups), ("unit".to_owned(), 30, "memory.high"));
        fs::remove_dir_all(at.join("sys/fs/cgroup/slice")).unwrap();
        assert_eq!(self::gone(at), None);
    }

    fn gone(at: &Path) -> Option<CgroupVersion> {
        MemoryGroups::of(&ProcRoot::recorded(at), Some(7)).unwrap().map(|groups| groups.version())
    }

    /// As on a machine with both hierarchies, memory in version 1.
    #[test]
    fn version_1_is_read_where_the_memory_controller_is() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/self/cgroup", "8:pids:/\n4:memory:/box/in\n0::/\n");
        record(
            at,
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        for (group, limit, usage) in [
            ("", "9223372036854771712", "900000000"),
            ("box/", "9223372036854771712", "4190208"),
            ("box/in/", "9223372036854771712", "4190000"),
        ] {
            record(at, &format!("sys/fs/cgroup/memory/{group}memory.limit_in_bytes"), limit);
            record(at, &format!("sys/fs/cgroup/memory/{group}memory.usage_in_bytes"), usage);
        }
        assert!(groups(at, None).scarcest().is_none(), "none has a limit");
        record(at, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "4194304\n");
        record(at, "sys/fs/cgroup/memory/box/memory.failcnt", "3\n");
        record(at, "sys/fs/cgroup/memory/box/memory.kmem.usage_in_bytes", "100\n");
        record(at, "sys/fs/cgroup/memory/box/memory.kmem.tcp.usage_in_bytes", "0\n");
        // A kill is counted where its process was, and not where the limit is.
        for (group, kills) in [("box", 0), ("box/in", 1)] {
            let text = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
            record(at, &format!("sys/fs/cgroup/memory/{group}/memory.oom_control"), &text);
        }
        let stat = "active_file 1\ntotal_inactive_file 300\ntotal_active_file 20\n";
        record(at, "sys/fs/cgroup/memory/box/memory.stat", stat);
        let mut groups = groups(at, None);
        let [Some(own), Some(seen), Some(top)] = groups.read()[..] else { panic!("three groups") };
        assert_eq!((own.oom_kills, seen.oom_kills, top.oom_kills), (Some(1), Some(0), None));
        assert_eq!(seen.limit(groups.version()), Some((4_194_304, "memory.limit_in_bytes")));
        assert_eq!(
            (seen.failures, seen.kernel_bytes, seen.usage_bytes),
            (Some(3), Some(100), Some(4_190_208))
        );
        assert_eq!((seen.slab_bytes, seen.socket_bytes, seen.file_bytes), (None, Some(0), Some(320)));
    }

    #[test]
    fn the_running_kernel_has_an_answer_for_this_process() {
        if let Ok(Some(mut groups)) = MemoryGroups::of(&ProcRoot::default(), None) {
            assert!(groups.read().iter().flatten().all(|group| group.usage_bytes.is_some()));
        }
    }
}
