//! The journal of added addresses: a line before each one is added, a lock for as long as its writer lives.
//!
//! Addresses do not outlive the machine's boot, so nothing needs to reach a disk: a line that was written is
//! there for the next run after a SIGKILL.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use c10k_kernel::files::{self, OpenFile};
use c10k_kernel::{limits, namespace};
use c10k_profile::state_folder;
use serde::{Deserialize, Serialize};

use super::addresses;

const VERSION: u32 = 2;
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
    /// This address is about to be added, unless somebody else does it before.
    Add(IpAddr),
    /// It has been added.
    Ours(IpAddr),
    /// It is about to be removed.
    Off(IpAddr),
    /// It was not added, or has been removed.
    Not(IpAddr),
}

/// The journal of one process, locked by it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: OpenFile,
    /// Whether the last line may be cut short.
    is_torn: bool,
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
    /// Those it was adding or removing just then: they may be somebody else's.
    pub in_doubt: Vec<IpAddr>,
    /// Where they are.
    pub found: Found,
    /// The inode of their network namespace.
    pub network_inode: u64,
    /// Of a journal that cannot be read, what it is and why: the rest is not known then.
    pub unread: Option<String>,
}

impl LeftBehind {
    pub(super) fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.in_doubt).copied()
    }

    fn of_unread(unread: &Unread) -> Self {
        Self {
            pid: 0,
            device: String::new(),
            device_index: 0,
            addresses: Vec::new(),
            in_doubt: Vec::new(),
            found: Found::Here,
            network_inode: 0,
            unread: Some(unread.to_string()),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(f, "cannot read which addresses a killed swarm left, in {}: {error}", path.display())
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unread) = &self.unread {
            return write!(f, "{unread}; `c10k-swarm --remove-ips` tells what stands");
        }
        let count = self.all().count();
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

/// What killed processes left in this network namespace, and the journals that do not tell it. Nothing is changed.
///
/// # Errors
/// None: what cannot be read is among what is returned.
pub fn left_behind() -> io::Result<Vec<LeftBehind>> {
    let dead = match of_the_dead() {
        Ok(dead) => dead,
        Err(error) => {
            let unread = Unread { path: PathBuf::from("/proc"), error };
            return Ok(vec![LeftBehind::of_unread(&unread)]);
        }
    };
    let told = dead.left.into_iter().map(|(left, _)| left).filter(|left| left.found == Found::Here);
    let told = told.filter(|left| left.all().next().is_some());
    Ok(told.chain(dead.unread.iter().map(LeftBehind::of_unread)).collect())
}

/// A journal, or a folder of them, that cannot be read: nobody knows from it what stands.
#[derive(Debug)]
pub struct Unread {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

/// What dead processes left written down.
#[derive(Debug, Default)]
pub(super) struct Dead {
    /// The journals that nobody holds any more, locked.
    pub(super) left: Vec<(LeftBehind, Journal)>,
    pub(super) unread: Vec<Unread>,
    /// What the living have added or are about to.
    pub(super) of_the_living: Vec<IpAddr>,
}

pub(super) fn of_the_dead() -> io::Result<Dead> {
    let here = Here::now()?;
    let mut dead = Dead::default();
    for folder in folders(&mut dead.unread) {
        let paths = match files::list(&folder) {
            Ok(paths) => paths,
            Err(error) => {
                note(&mut dead.unread, folder, error);
                continue;
            }
        };
        for path in paths.into_iter().filter(|path| is_named(path, PREFIX)) {
            match Journal::take_over(&path) {
                Ok(Taken::Dead(mut journal)) => match journal.read(&here) {
                    Ok(left) => dead.left.push((left, journal)),
                    Err(error) => dead.unread.push(Unread { path, error }),
                },
                Ok(Taken::Alive(text)) => {
                    let claims = parse(&text).map(|(_, claims)| claims).unwrap_or_default();
                    dead.of_the_living.extend(claims.ours.into_iter().chain(claims.in_doubt));
                }
                Err(error) => note(&mut dead.unread, path, error),
            }
        }
    }
    Ok(dead)
}

/// Removes what processes left that were killed before their journal had a name, which is before their first address.
pub(super) fn sweep() {
    for folder in folders(&mut Vec::new()) {
        for path in files::list(&folder).unwrap_or_default() {
            if is_named(&path, &format!(".{PREFIX}"))
                && let Ok(file) = files::open(&path, OpenOptions::new().read(true))
                && file.try_lock().is_ok()
            {
                let _ = files::remove_file(&path);
            }
        }
        // Only an empty folder goes.
        let _ = files::remove_folder(&folder);
    }
}

/// The folders that are this user's. What is not there, or belongs to another user, has no journal of this one.
fn folders(unread: &mut Vec<Unread>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in state_folder::candidates(limits::euid()) {
        match state_folder::check(&folder) {
            Ok(()) => folders.push(folder),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => note(unread, folder, error),
        }
    }
    folders
}

/// What has gone meanwhile was removed by its owner.
fn note(unread: &mut Vec<Unread>, path: PathBuf, error: io::Error) {
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        unread.push(Unread { path, error });
    }
}

fn is_named(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(SUFFIX))
}

enum Taken {
    Dead(Journal),
    /// With what it has written so far.
    Alive(String),
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
            version: VERSION,
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
        let path = folder.join(name);
        let mut tries = 0;
        loop {
            state_folder::make(folder)?;
            let begun = Self::begin_as(&unnamed, &path, head);
            match begun {
                // Another process took the empty folder away meanwhile, or this file before it was locked.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MOST_TRIES => tries += 1,
                Err(error) => {
                    let _ = files::remove_file(&unnamed);
                    let _ = files::remove_file(&path);
                    let _ = files::remove_folder(folder);
                    return Err(error);
                }
                begun => return begun,
            }
        }
    }

    fn begin_as(unnamed: &Path, path: &Path, head: &Head) -> io::Result<Self> {
        let options = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).clone();
        let file = files::open(unnamed, &options)?;
        file.try_lock().map_err(io::Error::from)?;
        let mut journal = Self { path: path.to_owned(), file, is_torn: false };
        journal.write(head)?;
        files::rename(unnamed, path)?;
        Ok(journal)
    }

    /// Locks the journal of a process that has ended. The lock is the kernel's to release: it says that its holder lives
    /// in whatever pid namespace that is.
    fn take_over(path: &Path) -> io::Result<Taken> {
        // What cannot be written, such as on a disk that is read-only by now, can be read all the same.
        let mut file = files::open(path, OpenOptions::new().read(true).append(true))
            .or_else(|_| files::open(path, OpenOptions::new().read(true)))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Taken::Alive(file.read_to_string()?)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its owner may have ended in good order between our open and our lock.
        if files::metadata(path)?.ino() != file.metadata()?.ino() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Taken::Dead(Self { path: path.to_owned(), file, is_torn: true }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// To be written before `ip` is added. Until [`Self::is_ours`] or [`Self::is_not_ours`] nobody knows whose it is.
    pub(super) fn will_add(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Add(ip))
    }

    /// To be written when it has been added.
    pub(super) fn is_ours(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Ours(ip))
    }

    /// To be written before it is removed: from there on it may be somebody else's who adds it anew.
    pub(super) fn will_remove(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Off(ip))
    }

    /// To be written when it was not added, or has been removed.
    pub(super) fn is_not_ours(&mut self, ip: IpAddr) -> io::Result<()> {
        self.write(&Line::Not(ip))
    }

    /// Removes the file, and the folder when nothing else is in it.
    pub(super) fn forget(&self) -> io::Result<()> {
        let removed = files::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            let _ = files::remove_folder(folder);
        }
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// One write(2) a line. What is left of a line that was cut short is ended first, so that it hides no later one.
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let begin = if self.is_torn { "\n" } else { "" };
        let text = format!("{begin}{}\n", serde_json::to_string(line).map_err(io::Error::other)?);
        let written = self.file.write_all(text.as_bytes());
        self.is_torn = written.is_err();
        written
    }

    fn read(&mut self, here: &Here) -> io::Result<LeftBehind> {
        let text = self.file.read_to_string()?;
        let (head, claims) = parse(&text).ok_or_else(|| {
            let what = format!("its first line is no head of a journal of version {VERSION}");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        Ok(LeftBehind {
            pid: head.pid,
            found: here.find(&head),
            device: head.device,
            device_index: head.device_index,
            addresses: claims.ours,
            in_doubt: claims.in_doubt,
            network_inode: head.network_inode,
            unread: None,
        })
    }
}

/// What a journal says of addresses.
#[derive(Debug, Default)]
struct Claims {
    ours: Vec<IpAddr>,
    /// Being added or removed when its writer ended.
    in_doubt: Vec<IpAddr>,
}

/// A line that was cut short says nothing: what it would have said of an address leaves that one in doubt.
fn parse(text: &str) -> Option<(Head, Claims)> {
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let mut ours = BTreeMap::new();
    for line in lines {
        match serde_json::from_str(line) {
            Ok(Line::Add(ip) | Line::Off(ip)) => drop(ours.insert(ip, false)),
            Ok(Line::Ours(ip)) => drop(ours.insert(ip, true)),
            Ok(Line::Not(ip)) => drop(ours.remove(&ip)),
            Err(_) => {}
        }
    }
    let (ours, in_doubt): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(_, is_ours)| *is_ours);
    let only = |of: Vec<(IpAddr, bool)>| of.into_iter().map(|(ip, _)| ip).collect();
    (head.version == VERSION).then(|| (head, Claims { ours: only(ours), in_doubt: only(in_doubt) }))
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
            // Without it a later namespace with the same inode would be taken for this one.
            cookie: match namespace::network_cookie() {
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => None,
                cookie => Some(cookie?),
            },
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
            version: VERSION,
            pid: 7,
            boot_id: boot_id.to_owned(),
            network_inode: inode,
            network_cookie: cookie,
            device: "lo".to_owned(),
            device_index: 1,
        }
    }

    #[test]
    fn a_torn_line_hides_no_later_one_and_what_has_no_end_is_in_doubt() {
        let head = serde_json::to_string(&head("b", 1, None)).expect("plain data");
        let lines = [
            r#"{"add":"192.168.1.200"}"#,
            r#"{"ours":"192.168.1.200"}"#,
            r#"{"add":"192.168.1.201"}"#,
            r#"{"ours":"192.168.1.201"}"#,
            r#"{"not":"192.168.1.200"}"#,
            r#"{"add":"192.1"#,
            r#"{"add":"fd00::1"}"#,
            r#"{"ours":"fd00::1"}"#,
            r#"{"off":"192.168.1.201"}"#,
            r#"{"add":"192.168.1.202"}"#,
            r#"{"not":"192.168"#,
        ];
        let (_, claims) = parse(&format!("{head}\n{}", lines.join("\n"))).expect("a journal");
        let ips = |texts: &[&str]| texts.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(claims.ours, ips(&["fd00::1"]));
        assert_eq!(claims.in_doubt, ips(&["192.168.1.201", "192.168.1.202"]));
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
