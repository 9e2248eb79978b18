//! The cgroups of a process, versions 1 and 2: of memory the limits, what is charged, and what was refused; the threads
//! and the processor time that it may have.
//!
//! # Which group
//! A process is bound by its own group and by every group above it. Which of them refuses first is not the one with the
//! lowest limit but the one of which least is left, and that may change: others are charged to a group above too. So all
//! of them are read, nearest first, and each says what it counted itself.
//!
//! # What cannot be seen
//! Groups above the mount of the cgroup file system, as in a container: a limit up there is not known.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::counters::{ProcRoot, lines, number, words};

mod cpu;
mod memory;
mod pids;

pub use cpu::{CpuGroup, Throttled};
pub use memory::{GroupMemory, MemoryGroups};
pub use pids::{PidsGroup, PidsSeen, Refusals};

/// Which interface a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy for each controller (cgroups(7); Documentation/admin-guide/cgroup-v1).
    V1,
    /// One for all (Documentation/admin-guide/cgroup-v2.rst).
    V2,
}

/// Where the group of a process under a controller is.
#[derive(Clone, Debug)]
struct Place {
    version: CgroupVersion,
    /// The folder of the mount.
    top: PathBuf,
    own: PathBuf,
}

impl Place {
    /// Its own folder and those above it, nearest first.
    fn way_up(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|folder| folder.starts_with(&self.top))
    }
}

fn place_of(root: &ProcRoot, pid: Option<u32>, controller: &str) -> io::Result<Option<Place>> {
    let membership = fs::read_to_string(root.living_path(pid, "cgroup"))?;
    let mounts = fs::read(root.process_path(None, "mountinfo"))?;
    let Some((version, below, mount)) = find(&membership, &mounts, controller) else { return Ok(None) };
    let Some(inside) = below_mount(&below, &mount.root) else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the group {below} lies outside of what is mounted at {}", mount.point.display()),
        ));
    };
    let top = root.path(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    let own = top.join(inside);
    Ok(Some(Place { version, top, own }))
}

/// A mounted cgroup file system.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

/// Where a controller is: its version, the process's path in it, and its mount.
fn find(membership: &str, mounts: &[u8], controller: &str) -> Option<(CgroupVersion, String, Mount)> {
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
/// (proc_pid_mountinfo(5)). Paths are bytes that need not be text.
fn mount_of(mounts: &[u8], kind: &str, controller: Option<&str>) -> Option<Mount> {
    lines(mounts).find_map(|line| {
        let mut fields = words(line);
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
        let (found, _, options) = (behind.next()?, behind.next()?, behind.next().unwrap_or(b""));
        let has = |name: &str| options.split(|byte| *byte == b',').any(|option| option == name.as_bytes());
        let fits = found == kind.as_bytes() && controller.is_none_or(has);
        fits.then(|| Mount { root: unescaped(root), point: unescaped(point) })
    })
}

/// Blanks, tabs, newlines and backslashes in the paths of mountinfo are written as a backslash and three octal digits
/// (fs/seq_file.c, `mangle_path`).
fn unescaped(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The part of `path` below the mounted root; `None` when it lies elsewhere.
fn below_mount(path: &str, mounted: &Path) -> Option<PathBuf> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let inside = Path::new(path).strip_prefix(mounted).ok()?;
    Some(inside.to_owned())
}

/// The number on the line `key number`.
fn entry(text: &[u8], key: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| {
        let mut line = words(line);
        (line.next()? == key).then(|| number(line.next()?))?
    })
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
    fn a_group_outside_of_what_is_mounted_is_said_to_be_out_of_sight() {
        assert_eq!(below_mount("/a/b", Path::new("/")), Some("a/b".into()));
        assert_eq!(below_mount("/docker/x/y", Path::new("/docker/x")), Some("y".into()));
        assert_eq!(below_mount("/../other", Path::new("/")), None);
        assert_eq!(below_mount("/elsewhere", Path::new("/docker/x")), None);
    }

    #[test]
    fn a_mount_is_found_whatever_bytes_its_path_is_made_of() {
        for (written, meant) in [
            (&br"/my\040groups"[..], &b"/my groups"[..]),
            (br"/a\011b\012c\134d", b"/a\tb\nc\\d"),
            (br"/caf\303\251", "/café".as_bytes()),
            (b"/caf\xe9", b"/caf\xe9"),
            (br"/no\9code\7", br"/no\9code\7"),
        ] {
            let line = [b"35 24 0:30 / ", written, b" rw shared:9 - cgroup2 cgroup2 rw\n"].concat();
            let mount = mount_of(&line, "cgroup2", None).unwrap();
            assert_eq!(mount.point, PathBuf::from(OsString::from_vec(meant.to_vec())));
        }
    }
}
