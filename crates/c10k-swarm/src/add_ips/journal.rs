//! The journal of added addresses: a line before each one is added, a lock for as long as its writer lives.
//!
//! Addresses do not outlive the machine's boot, so nothing needs to reach a disk: a line that was written is
//! there for whoever comes after a SIGKILL.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use c10k_kernel::{limits, namespace};
use c10k_profile::state_folder;
use serde::{Deserialize, Serialize};

use super::addresses;

const PREFIX: &str = "add-ips-";
const SUFFIX: &str = ".journal";
/// How often a folder that others take away is made again.
const MOST_TRIES: u32 = 100;

/// The first line: who, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    pid: u32,
    boot_id: String,
    network_inode: u64,
    /// `None` before Linux 5.14.
    network_cookie: Option<u64>,
    device: String,
    device_index: u32,
}

/// Every other line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// This address is about to be added.
    Add(IpAddr),
    /// It was not added, or has been removed.
    Not(IpAddr),
}

/// The journal of one process, locked by it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// Where the addresses of a dead process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In this network namespace.
    Here,
    /// In another one, which may be there still.
    Elsewhere,
    /// Gone, with the boot or with their namespace.
    Nowhere,
}

/// What a process left that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its pid.
    pub pid: u32,
    /// The device the addresses were added to.
    pub device: String,
    /// The device's number then.
    pub device_index: u32,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Where they are.
    pub found: Found,
    /// The inode of their network namespace.
    pub network_inode: u64,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.addresses.len();
        write!(
            f,
            "process {} was killed and left {count} source {} on {}",
            self.pid,
            addresses(count),
            self.device
        )?;
        if self.found == Found::Elsewhere {
            write!(f, " in the network namespace net:[{}]", self.network_inode)?;
        }
        f.write_str(": `c10k-swarm --remove-ips`, run there by the same user, takes them away")
    }
}

/// What killed processes left in this network namespace. Nothing is changed.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn left_behind() -> io::Result<Vec<LeftBehind>> {
    let found = of_the_dead()?.into_iter().map(|(left, _)| left);
    Ok(found.filter(|left| left.found == Found::Here && !left.addresses.is_empty()).collect())
}

/// The journals that nobody holds any more, locked.
pub(super) fn of_the_dead() -> io::Result<Vec<(LeftBehind, Journal)>> {
    let here = Here::now()?;
    let mut dead = Vec::new();
    for folder in state_folder::candidates(limits::euid())
        .into_iter()
        .filter(|folder| state_folder::check(folder).is_ok())
    {
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
                && let Some(mut journal) = Journal::take_over(entry.path())
                && let Some(left) = journal.read(&here)
            {
                dead.push((left, journal));
            }
        }
    }
    Ok(dead)
}

impl Journal {
    /// Makes a journal without addresses. It gets its name only when it is locked and has its first line, so
    /// that nobody takes it for a dead one's.
    pub(super) fn begin(device: &str, device_index: u32) -> Result<Self, (PathBuf, io::Error)> {
        let here = Here::now().map_err(|error| (PathBuf::from("/proc"), error))?;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let pid = std::process::id();
        let name = format!("{PREFIX}{pid}-{}{SUFFIX}", since.as_nanos());
        let head = Head {
            version: 1,
            pid,
            boot_id: here.boot_id,
            network_inode: here.inode,
            network_cookie: here.cookie,
            device: device.to_owned(),
            device_index,
        };
        let mut last = (PathBuf::from("/run/c10k-lab"), io::Error::from(io::ErrorKind::NotFound));
        for folder in state_folder::candidates(limits::euid()) {
            match Self::begin_in(&folder, &name, &head) {
                Ok(journal) => return Ok(journal),
                Err(error) => last = (folder, error),
            }
        }
        Err(last)
    }

    fn begin_in(folder: &Path, name: &str, head: &Head) -> io::Result<Self> {
        let unnamed = folder.join(format!(".{name}"));
        let mut tries = 0;
        let file = loop {
            state_folder::make(folder)?;
            let opened =
                OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&unnamed);
            match opened {
                // Another process took the empty folder away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MOST_TRIES => tries += 1,
                opened => break opened?,
            }
        };
        let path = folder.join(name);
        let mut journal = Self { path: path.clone(), file };
        let begun = journal
            .file
            .try_lock()
            .map_err(io::Error::from)
            .and_then(|()| journal.write(head))
            .and_then(|()| std::fs::rename(&unnamed, &path));
        if let Err(error) = begun {
            let _ = std::fs::remove_file(&unnamed);
            return Err(error);
        }
        Ok(journal)
    }

    /// Locks the journal of a process that has ended; `None` for one that lives, or that is gone by now.
    fn take_over(path: PathBuf) -> Option<Self> {
        let file = OpenOptions::new().read(true).append(true).open(&path).ok()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
        }
        // Its owner may have ended in good order between our open and our lock.
        let still_there = std::fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino();
        still_there.then_some(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn will_add(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Add(ip))
    }

    pub(super) fn is_not_ours(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Not(ip))
    }

    /// Removes the file, and the folder when nothing else is in it.
    pub(super) fn forget(&self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// One write(2) a line, so that a kill leaves it there or not.
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(line).map_err(io::Error::other)? + "\n";
        self.file.write_all(text.as_bytes())
    }

    /// `None` when the text is no journal of this version.
    fn read(&mut self, here: &Here) -> Option<LeftBehind> {
        let mut text = String::new();
        self.file.read_to_string(&mut text).ok()?;
        let (head, addresses) = parse(&text)?;
        Some(LeftBehind {
            pid: head.pid,
            found: here.find(&head),
            device: head.device,
            device_index: head.device_index,
            addresses,
            network_inode: head.network_inode,
        })
    }
}

/// A last line that was cut short was not followed by its address.
fn parse(text: &str) -> Option<(Head, Vec<IpAddr>)> {
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let mut addresses = Vec::new();
    for line in lines {
        match serde_json::from_str(line) {
            Ok(Line::Add(ip)) => addresses.push(ip),
            Ok(Line::Not(ip)) => addresses.retain(|known| *known != ip),
            Err(_) => break,
        }
    }
    (head.version == 1).then_some((head, addresses))
}

/// Where this process stands.
struct Here {
    boot_id: String,
    inode: u64,
    cookie: Option<u64>,
}

impl Here {
    fn now() -> io::Result<Self> {
        Ok(Self {
            boot_id: namespace::boot_id()?,
            inode: namespace::network_inode()?,
            cookie: namespace::network_cookie().ok(),
        })
    }

    /// A later namespace may have an earlier one's inode, and never its cookie.
    fn find(&self, head: &Head) -> Found {
        let cookies = head.network_cookie.zip(self.cookie);
        let same_inode = head.network_inode == self.inode;
        match cookies {
            _ if head.boot_id != self.boot_id => Found::Nowhere,
            Some((theirs, ours)) if theirs == ours => Found::Here,
            Some(_) if same_inode => Found::Nowhere,
            None if same_inode => Found::Here,
            _ if namespace::may_exist(head.network_inode) => Found::Elsewhere,
            _ => Found::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(boot_id: &str, inode: u64, cookie: Option<u64>) -> Head {
        Head {
            version: 1,
            pid: 7,
            boot_id: boot_id.to_owned(),
            network_inode: inode,
            network_cookie: cookie,
            device: "lo".to_owned(),
            device_index: 1,
        }
    }

    #[test]
    fn what_was_added_and_not_removed_is_left_and_a_torn_line_was_never_added() {
        let head = serde_json::to_string(&head("b", 1, None)).expect("plain data");
        let text = format!(
            "{head}\n{{\"add\":\"192.168.1.200\"}}\n{{\"add\":\"192.168.1.201\"}}\n{{\"not\":\"192.168.1.200\"}}\n{{\"add\":\"fd00::1\"}}\n{{\"add\":\"192.1"
        );
        let (_, left) = parse(&text).expect("a journal");
        assert_eq!(left, ["192.168.1.201".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert!(parse("").is_none() && parse("{}\n").is_none());
    }

    #[test]
    fn a_namespace_is_known_by_its_cookie_and_a_boot_by_its_id() {
        let here = Here { boot_id: "b".to_owned(), inode: 5, cookie: Some(9) };
        assert_eq!(here.find(&head("b", 5, Some(9))), Found::Here);
        assert_eq!(here.find(&head("b", 5, Some(8))), Found::Nowhere, "an inode that was used again");
        assert_eq!(here.find(&head("a", 5, Some(9))), Found::Nowhere, "another boot");
        assert_eq!(here.find(&head("b", 5, None)), Found::Here);
        let own = namespace::network_inode().expect("/proc");
        assert_eq!(here.find(&head("b", own, Some(8))), Found::Elsewhere);
    }
}
