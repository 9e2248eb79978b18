//! Files of `/proc` and `/sys`, opened once and read again and again from their beginning.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Bytes first offered to a read; doubled when a file is larger.
const FIRST_BUFFER_BYTES: usize = 64 * 1024;

/// The directory under which `proc/` and `sys/` stand: `/` on a live host, any folder for a recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot(PathBuf);

impl ProcRoot {
    /// A recorded host: `folder/proc/…` and `folder/sys/…` are read instead of the kernel's own.
    #[must_use]
    pub fn recorded(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Whether this is the running kernel and not a recording.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The path of a file below the root, such as `proc/meminfo`.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.join(below)
    }

    /// The path of a file of one process, such as `stat`; without a pid, of the calling process.
    #[must_use]
    pub fn process_path(&self, pid: Option<u32>, below: &str) -> PathBuf {
        match pid {
            Some(pid) => self.0.join(format!("proc/{pid}/{below}")),
            None => self.0.join(format!("proc/self/{below}")),
        }
    }

    /// The same by way of a thread that has not ended. It is another path only where the first thread has ended and
    /// others go on: `/proc/PID` then shows no memory, no descriptors and no namespaces, and each thread's own folder
    /// does.
    #[must_use]
    pub fn living_path(&self, pid: Option<u32>, below: &str) -> PathBuf {
        match pid.and_then(|pid| Some((pid, self.thread_that_goes_on(pid)?))) {
            Some((pid, thread)) => self.process_path(Some(pid), &format!("task/{thread}/{below}")),
            None => self.process_path(pid, below),
        }
    }

    /// Whether process `pid` stands in the network namespace of the calling process; `None` where that cannot be seen. In a
    /// recording there is one namespace.
    #[must_use]
    pub fn shares_network_namespace(&self, pid: u32) -> Option<bool> {
        if !self.is_live() {
            return Some(true);
        }
        self.shares_by_link(pid).or_else(|| self.shares_by_files(pid))
    }

    fn shares_by_link(&self, pid: u32) -> Option<bool> {
        let link = |pid| fs::read_link(self.living_path(pid, "ns/net")).ok();
        Some(link(None)? == link(Some(pid))?)
    }

    /// Of another user's process the link may not be read. Its counters' files may be looked at: each namespace has its
    /// own, with an inode that no other one has meanwhile (fs/proc/generic.c, `proc_register`).
    pub(crate) fn shares_by_files(&self, pid: u32) -> Option<bool> {
        let file = |pid| fs::metadata(self.living_path(pid, "net/sockstat")).ok();
        let (own, other) = (file(None)?, file(Some(pid))?);
        Some((own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    /// A thread of a process whose first one has ended; `None` while that lives, and when all have ended.
    pub(crate) fn thread_that_goes_on(&self, pid: u32) -> Option<u32> {
        let first = fs::read(self.process_path(Some(pid), "stat")).ok()?;
        if !ThreadState::parse(&first)?.has_ended() {
            return None;
        }
        let threads = fs::read_dir(self.process_path(Some(pid), "task")).ok()?;
        threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(|thread| {
            let stat = self.process_path(Some(pid), &format!("task/{thread}/stat"));
            let state = fs::read(stat).ok().and_then(|text| ThreadState::parse(&text));
            state.is_some_and(|state| !state.has_ended())
        })
    }
}

/// The letter of a thread's state (proc_pid_stat(5), field 3): Z and X have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadState(pub(crate) u8);

impl ThreadState {
    /// The name stands in parentheses and may itself hold blanks and parentheses: the fields begin after the last one.
    pub(crate) fn parse(stat: &[u8]) -> Option<Self> {
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        words(stat.get(close + 1..)?).next()?.first().copied().map(Self)
    }

    pub(crate) fn has_ended(self) -> bool {
        matches!(self.0, b'Z' | b'X')
    }
}

impl Default for ProcRoot {
    /// The running kernel: `/`.
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

/// One file of `/proc` or `/sys`, kept open.
///
/// A file of a process stays bound to *that* process: after it ended a read gives ESRCH, even when its pid has
/// been given to another one. A file that could not be opened is tried again at the next read only when it was
/// made by [`ProcFile::appearing`].
#[derive(Debug)]
pub struct ProcFile {
    path: PathBuf,
    state: State,
    tries_again: bool,
}

#[derive(Debug)]
enum State {
    Open(File),
    Failed(i32),
}

impl ProcFile {
    /// Opens a file that exists for as long as its owner does. A failure is kept and told by each read.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let state = State::open(&path);
        Self { path, state, tries_again: false }
    }

    /// Opens a file that may appear later, as those of a kernel module do.
    #[must_use]
    pub fn appearing(path: PathBuf) -> Self {
        Self { tries_again: true, ..Self::open(path) }
    }

    /// Where the file stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The errno with which the file could not be opened, if so.
    #[must_use]
    pub fn open_errno(&self) -> Option<i32> {
        match self.state {
            State::Open(_) => None,
            State::Failed(errno) => Some(errno),
        }
    }

    /// Reads the whole file into `buffer`, which grows when it must and is never shrunk.
    ///
    /// # Errors
    /// The errno of open(2) or pread(2): ENOENT when this kernel has no such file, EACCES when this user may
    /// not read it, ESRCH when the process is gone.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        if self.tries_again && matches!(self.state, State::Failed(_)) {
            self.state = State::open(&self.path);
        }
        let file = match &self.state {
            State::Open(file) => file,
            State::Failed(errno) => return Err(io::Error::from_raw_os_error(*errno)),
        };
        if buffer.len() < FIRST_BUFFER_BYTES {
            buffer.resize(FIRST_BUFFER_BYTES, 0);
        }
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
            match file.read_at(&mut buffer[filled..], filled as u64) {
                Ok(0) => return Ok(&buffer[..filled]),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl State {
    fn open(path: &Path) -> Self {
        match File::open(path) {
            Ok(file) => Self::Open(file),
            Err(error) => Self::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// Whether an error of a file below `/proc/PID` means that the process is no more: ESRCH from a file that was open
/// already, ENOENT from one that was not.
#[must_use]
pub fn process_is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
}

/// Unsigned decimal digits at the start of `text`, after blanks; `None` when there are none, when a minus stands
/// before them, or when they do not fit.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    text[..digits]
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// The words of a line, split at blanks.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The lines of a file, without the empty ones.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The value of a `Key: value kB` line in bytes.
pub(crate) fn kilobyte_line(line: &[u8]) -> Option<(&[u8], u64)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let rest = &line[colon + 1..];
    let value = number(rest)?;
    let scale = if rest.trim_ascii_end().ends_with(b"kB") { 1024 } else { 1 };
    Some((&line[..colon], value.checked_mul(scale)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole_and_again_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        let bytes: Vec<u8> = (0..3 * FIRST_BUFFER_BYTES + 7).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut file = ProcFile::open(path);
        let mut buffer = Vec::new();
        assert_eq!(file.read(&mut buffer).unwrap(), bytes);
        assert_eq!(file.read(&mut buffer).unwrap(), bytes);
    }

    #[test]
    fn a_file_that_is_not_there_is_tried_again_only_when_it_may_appear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later");
        let mut buffer = Vec::new();
        let mut fixed = ProcFile::open(path.clone());
        let mut appearing = ProcFile::appearing(path.clone());
        assert_eq!(fixed.open_errno(), Some(libc::ENOENT));
        assert!(appearing.read(&mut buffer).is_err());
        std::fs::write(&path, "now").unwrap();
        assert!(fixed.read(&mut buffer).is_err());
        assert_eq!(appearing.read(&mut buffer).unwrap(), b"now");
    }

    #[test]
    fn numbers_are_unsigned_decimal_and_never_wrap() {
        assert_eq!(number(b"  42 kB"), Some(42));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(kilobyte_line(b"Slab:   80832 kB"), Some((&b"Slab"[..], 80832 * 1024)));
        assert_eq!(kilobyte_line(b"Threads:\t3"), Some((&b"Threads"[..], 3)));
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_there_with_all_it_has() {
        let pid = crate::sys::raw_fork::fork_without_first_thread().unwrap();
        let root = ProcRoot::default();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while root.thread_that_goes_on(pid).is_none() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        let since = crate::process::start_time(pid).unwrap();
        let cpu = crate::cpu::ProcessCpuReader::open(&root, pid).read_with_state().map(|(_, state)| state);
        let memory = crate::memory::ProcessMemoryReader::open(&root, Some(pid)).read();
        let exact = crate::memory::ProcessMemoryReader::open(&root, Some(pid)).read_exact();
        let tables = crate::tables::TablesReader::new(&root, pid)
            .read()
            .map(|seen| (seen.tables, seen.open > 0, seen.exact));
        let namespace = fs::read_link(root.living_path(Some(pid), "ns/net"));
        let net = super::super::NetCounters::open(&root, Some(pid)).read();
        let runs = crate::process::runs_since(pid, since);
        let child = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        let mut reader = crate::cpu::ProcessCpuReader::open(&root, pid);
        while reader.read().is_ok() {
            std::thread::yield_now();
        }
        assert!(!crate::process::runs_since(pid, since), "now all of it has ended");
        nix::sys::wait::waitpid(child, None).unwrap();
        assert!(matches!(cpu, Ok('S' | 'R')), "{cpu:?}");
        assert!(memory.unwrap().rss_bytes > Some(0) && exact.unwrap().anon_bytes > Some(0));
        assert!(runs);
        // What asks ptrace(2)'s leave is root's alone where the first thread has no memory left.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        assert_eq!(tables.unwrap(), (1, true, true));
        assert_eq!(namespace.unwrap(), fs::read_link("/proc/self/ns/net").unwrap());
        assert!(net.sockstat.is_some() && net.tcp_ext.is_some());
    }
}
