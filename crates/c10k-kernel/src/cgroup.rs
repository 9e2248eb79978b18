//! The cgroups of a process, versions 1 and 2: of memory its limit, what is charged to it, and what it refused; the
//! threads and the processor time that it may have.
//!
//! # Which group
//! A process is bound by its own group and by every group above it. The figures are those of the group with the lowest
//! limit on that way, since that is the one that refuses first: `failures` and `oom_kills` are counted there.
//!
//! # What cannot be seen
//! Groups above the mount of the cgroup file system, as in a container: a limit up there is not known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::counters::{ProcFile, ProcRoot, lines, number, words};

mod others;

pub use others::{CpuGroup, PidsGroup, PidsSeen};

/// Version 1 writes "no limit" as the largest multiple of a page (mm/page_counter.c); nothing real comes near.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Which interface a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// `memory.limit_in_bytes` (Documentation/admin-guide/cgroup-v1/memory.rst).
    V1,
    /// `memory.max` (Documentation/admin-guide/cgroup-v2.rst).
    V2,
}

/// What a limited group says of itself. What the kernel does not say is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupMemory {
    /// The limit, bytes: `memory.max`, `memory.limit_in_bytes`.
    pub limit_bytes: Option<u64>,
    /// What is charged to it, bytes: `memory.current`, `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// Times the limit was hit: `memory.events` `max`, `memory.failcnt`.
    pub failures: Option<u64>,
    /// Its part of kernel memory, bytes: `memory.stat` `kernel`, `memory.kmem.usage_in_bytes`.
    pub kernel_bytes: Option<u64>,
    /// Its part in slabs, bytes: `memory.stat` `slab`; version 1 does not say.
    pub slab_bytes: Option<u64>,
    /// Its part in socket buffers, bytes: `memory.stat` `sock`, `memory.kmem.tcp.usage_in_bytes`.
    pub socket_bytes: Option<u64>,
    /// Page cache charged to it and to groups below it, which is given up before anything is refused, bytes:
    /// `memory.stat` `active_file` + `inactive_file`, in version 1 with `total_` in front.
    pub file_bytes: Option<u64>,
    /// Processes the OOM killer ended in it: `memory.events` `oom_kill`, `memory.oom_control` `oom_kill`.
    pub oom_kills: Option<u64>,
}

/// The group that limits a process, its files opened once.
#[derive(Debug)]
pub struct MemoryGroup {
    version: CgroupVersion,
    folder: PathBuf,
    files: Vec<(Part, ProcFile)>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Limit,
    Usage,
    Failures,
    Kernel,
    Sockets,
    OomControl,
    Stat,
    Events,
}

impl MemoryGroup {
    /// The limited group of process `pid`, or of the calling process; `None` when no group that can be seen limits it.
    ///
    /// # Errors
    /// `NotFound` when the process is gone; what open(2) or read(2) say of `/proc/PID/cgroup` or of
    /// `/proc/self/mountinfo`; `Unsupported` when the process's group lies outside what is mounted here.
    pub fn limiting(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        let Some((version, top, own)) = place_of(root, pid, "memory")? else { return Ok(None) };
        let mut tightest: Option<(u64, &Path)> = None;
        for folder in own.ancestors().take_while(|folder| folder.starts_with(&top)) {
            let Some(limit) = limit_of(version, folder) else { continue };
            // With equal limits the nearer one: it refuses first.
            if tightest.is_none_or(|(known, _)| limit < known) {
                tightest = Some((limit, folder));
            }
        }
        Ok(tightest.map(|(_, folder)| Self::open(version, folder)))
    }

    fn open(version: CgroupVersion, folder: &Path) -> Self {
        let parts: &[(Part, &str)] = match version {
            CgroupVersion::V1 => &[
                (Part::Limit, "memory.limit_in_bytes"),
                (Part::Usage, "memory.usage_in_bytes"),
                (Part::Failures, "memory.failcnt"),
                (Part::Kernel, "memory.kmem.usage_in_bytes"),
                (Part::Sockets, "memory.kmem.tcp.usage_in_bytes"),
                (Part::OomControl, "memory.oom_control"),
                (Part::Stat, "memory.stat"),
            ],
            CgroupVersion::V2 => &[
                (Part::Limit, "memory.max"),
                (Part::Usage, "memory.current"),
                (Part::Stat, "memory.stat"),
                (Part::Events, "memory.events"),
            ],
        };
        let files = parts.iter().map(|(part, name)| (*part, ProcFile::open(folder.join(name)))).collect();
        Self { version, folder: folder.to_owned(), files, buffer: Vec::new() }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads its figures now; a file that is not there, or not readable, leaves its part `None`.
    ///
    /// # Errors
    /// ENODEV or ENOENT when the group is gone.
    pub fn read(&mut self) -> io::Result<GroupMemory> {
        let mut seen = GroupMemory::default();
        let mut lost = None;
        for (part, file) in &mut self.files {
            let text = match file.read(&mut self.buffer) {
                Ok(text) => text,
                Err(error) => {
                    if matches!(part, Part::Usage) {
                        lost = Some(error);
                    }
                    continue;
                }
            };
            match part {
                Part::Limit => seen.limit_bytes = number(text).filter(|limit| *limit < NO_LIMIT_BYTES),
                Part::Usage => seen.usage_bytes = number(text),
                Part::Failures => seen.failures = number(text),
                Part::Kernel => seen.kernel_bytes = number(text),
                Part::Sockets => seen.socket_bytes = number(text),
                Part::OomControl => seen.oom_kills = entry(text, b"oom_kill"),
                Part::Stat if self.version == CgroupVersion::V1 => {
                    seen.file_bytes = sum(text, b"total_active_file", b"total_inactive_file");
                }
                Part::Stat => {
                    seen.file_bytes = sum(text, b"active_file", b"inactive_file");
                    seen.kernel_bytes = entry(text, b"kernel");
                    seen.slab_bytes = entry(text, b"slab");
                    seen.socket_bytes = entry(text, b"sock");
                }
                Part::Events => {
                    seen.failures = entry(text, b"max");
                    seen.oom_kills = entry(text, b"oom_kill");
                }
            }
        }
        match lost {
            Some(error) => Err(error),
            None => Ok(seen),
        }
    }
}

/// Where the group of a process under a controller is: its version, the folder of the mount, its own folder.
fn place_of(
    root: &ProcRoot,
    pid: Option<u32>,
    controller: &str,
) -> io::Result<Option<(CgroupVersion, PathBuf, PathBuf)>> {
    let membership = fs::read_to_string(root.process_path(pid, "cgroup"))?;
    let mounts = fs::read_to_string(root.process_path(None, "mountinfo"))?;
    let Some((version, below, mount)) = find(&membership, &mounts, controller) else { return Ok(None) };
    let Some(inside) = below_mount(&below, &mount.root) else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the group {below} lies outside of what is mounted at {}", mount.point),
        ));
    };
    let top = root.path(mount.point.trim_start_matches('/'));
    let own = top.join(inside);
    Ok(Some((version, top, own)))
}

/// A mounted cgroup file system.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: String,
}

/// Where a controller is: its version, the process's path in it, and its mount.
fn find(membership: &str, mounts: &str, controller: &str) -> Option<(CgroupVersion, String, Mount)> {
    // `N:controllers:/path`; version 2 is `0::/path` (cgroups(7)).
    let path_of = |wanted: &dyn Fn(&str) -> bool| {
        membership.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let v1 = path_of(&|controllers| controllers.split(',').any(|other| other == controller));
    if let Some(path) = v1
        && let Some(mount) = mount_of(mounts, "cgroup", Some(controller))
    {
        return Some((CgroupVersion::V1, path, mount));
    }
    let path = path_of(&str::is_empty)?;
    Some((CgroupVersion::V2, path, mount_of(mounts, "cgroup2", None)?))
}

/// A line of mountinfo: `ID PARENT DEVICE ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE SUPER_OPTIONS`
/// (proc_pid_mountinfo(5)).
fn mount_of(mounts: &str, kind: &str, controller: Option<&str>) -> Option<Mount> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut behind = back.split(' ');
        let (found, _, options) = (behind.next()?, behind.next()?, behind.next().unwrap_or(""));
        let fits =
            found == kind && controller.is_none_or(|name| options.split(',').any(|option| option == name));
        let mut words = front.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        fits.then(|| Mount { root: unescape(root), point: unescape(point) })
    })
}

/// Blanks in mountinfo are written `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
}

/// The part of `path` below the mounted root; `None` when it lies elsewhere.
fn below_mount(path: &str, mounted: &str) -> Option<PathBuf> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let inside = Path::new(path).strip_prefix(mounted).ok()?;
    Some(inside.to_owned())
}

fn limit_of(version: CgroupVersion, folder: &Path) -> Option<u64> {
    let name = match version {
        CgroupVersion::V1 => "memory.limit_in_bytes",
        CgroupVersion::V2 => "memory.max",
    };
    // Version 2 writes "max" where there is none, which is no number.
    number(&fs::read(folder.join(name)).ok()?).filter(|limit| *limit < NO_LIMIT_BYTES)
}

/// The number on the line `key number`.
fn entry(text: &[u8], key: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| {
        let mut line = words(line);
        (line.next()? == key).then(|| number(line.next()?))?
    })
}

fn sum(text: &[u8], one: &[u8], other: &[u8]) -> Option<u64> {
    Some(entry(text, one)?.saturating_add(entry(text, other)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn record(folder: &Path, below: &str, text: &str) {
        let path = folder.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn version_2_is_read_from_the_group_that_limits_first() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "0::/shop/web\n");
        record(at, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
        record(at, "sys/fs/cgroup/shop/memory.max", "1000000\n");
        record(at, "sys/fs/cgroup/shop/memory.current", "900000\n");
        record(
            at,
            "sys/fs/cgroup/shop/memory.stat",
            "anon 5\nkernel 700\nsock 40\nslab 600\ninactive_file 8\nactive_file 4\n",
        );
        record(at, "sys/fs/cgroup/shop/memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\n");
        record(at, "sys/fs/cgroup/shop/web/memory.max", "max\n");
        let mut group = MemoryGroup::limiting(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap();
        assert_eq!(group.version(), CgroupVersion::V2);
        assert!(group.folder().ends_with("shop"));
        assert_eq!(
            group.read().unwrap(),
            GroupMemory {
                limit_bytes: Some(1_000_000),
                usage_bytes: Some(900_000),
                failures: Some(12),
                kernel_bytes: Some(700),
                slab_bytes: Some(600),
                socket_bytes: Some(40),
                file_bytes: Some(12),
                oom_kills: Some(2),
            }
        );
        fs::remove_file(at.join("sys/fs/cgroup/shop/memory.current")).unwrap();
        let mut again = MemoryGroup::limiting(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap();
        assert!(again.read().is_err(), "a group without its figure is gone");
    }

    /// As on a machine with both hierarchies, memory in version 1.
    #[test]
    fn version_1_is_read_where_the_memory_controller_is_and_without_a_limit_there_is_no_group() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/self/cgroup", "8:pids:/\n4:memory:/box\n0::/\n");
        record(
            at,
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        record(at, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
        let root = ProcRoot::recorded(at);
        assert!(MemoryGroup::limiting(&root, None).unwrap().is_none());
        record(at, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "4194304\n");
        record(at, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", "4190208\n");
        record(at, "sys/fs/cgroup/memory/box/memory.failcnt", "3\n");
        record(at, "sys/fs/cgroup/memory/box/memory.kmem.usage_in_bytes", "100\n");
        record(at, "sys/fs/cgroup/memory/box/memory.kmem.tcp.usage_in_bytes", "0\n");
        record(
            at,
            "sys/fs/cgroup/memory/box/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        );
        let stat = "active_file 1\ntotal_inactive_file 300\ntotal_active_file 20\n";
        record(at, "sys/fs/cgroup/memory/box/memory.stat", stat);
        let mut group = MemoryGroup::limiting(&root, None).unwrap().unwrap();
        assert_eq!(group.version(), CgroupVersion::V1);
        let seen = group.read().unwrap();
        assert_eq!((seen.limit_bytes, seen.usage_bytes), (Some(4_194_304), Some(4_190_208)));
        assert_eq!((seen.failures, seen.kernel_bytes, seen.oom_kills), (Some(3), Some(100), Some(1)));
        assert_eq!((seen.slab_bytes, seen.socket_bytes, seen.file_bytes), (None, Some(0), Some(320)));
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_is_said_to_be_out_of_sight() {
        assert_eq!(below_mount("/a/b", "/"), Some("a/b".into()));
        assert_eq!(below_mount("/docker/x/y", "/docker/x"), Some("y".into()));
        assert_eq!(below_mount("/../other", "/"), None);
        assert_eq!(below_mount("/elsewhere", "/docker/x"), None);
    }

    #[test]
    fn the_running_kernel_has_an_answer_for_this_process() {
        if let Ok(Some(mut group)) = MemoryGroup::limiting(&ProcRoot::default(), None) {
            assert!(group.read().unwrap().usage_bytes.is_some());
        }
    }
}
