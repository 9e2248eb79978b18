//! Files of `/proc` and `/sys`, opened once and read again and again from their beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
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
    pub fn path(&self, below: &str) -> PathBuf {
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
}
