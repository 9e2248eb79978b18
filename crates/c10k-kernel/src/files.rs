//! The file operations that settings and their journals are made of: as those of the standard library, and each of them
//! can be made to fail by a test, on the calling thread alone.

use std::cell::RefCell;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// open(2).
    Open,
    /// read(2) to the end.
    Read,
    /// write(2).
    Write,
    /// fsync(2).
    Sync,
    /// ftruncate(2).
    Truncate,
    /// rename(2).
    Rename,
    /// unlink(2).
    Unlink,
    /// mkdir(2).
    MakeFolder,
    /// rmdir(2).
    RemoveFolder,
    /// getdents64(2).
    List,
    /// stat(2), lstat(2) or fstat(2).
    Stat,
    /// flock(2).
    Lock,
    /// faccessat(2).
    Access,
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it says.
    pub errno: i32,
    /// How far it got.
    pub how_far: HowFar,
}

/// How far an operation gets that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowFar {
    /// Nothing of it is done.
    Nowhere,
    /// Half of the bytes are written; of what writes none, nothing is done.
    Halfway,
    /// All of it is done, and it fails all the same.
    ToTheEnd,
}

type Hook = Box<dyn FnMut(Operation, &Path) -> Option<Fault>>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Calls `work`, and asks `hook` before each operation of the calling thread whether it is to fail. For tests.
pub fn with_faults<T>(
    hook: impl FnMut(Operation, &Path) -> Option<Fault> + 'static,
    work: impl FnOnce() -> T,
) -> T {
    /// Takes the hook away on a panic too.
    struct Away;
    impl Drop for Away {
        fn drop(&mut self) {
            HOOK.with_borrow_mut(|hook| *hook = None);
        }
    }
    HOOK.with_borrow_mut(|place| *place = Some(Box::new(hook)));
    let _away = Away;
    work()
}

fn fault(operation: Operation, path: &Path) -> Option<Fault> {
    HOOK.with_borrow_mut(|hook| hook.as_mut()?(operation, path))
}

/// The operation as it is, unless a test has it fail.
fn unless_it_fails<T>(
    operation: Operation,
    path: &Path,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match fault(operation, path) {
        None => work(),
        Some(fault) => {
            if fault.how_far == HowFar::ToTheEnd {
                let _ = work();
            }
            Err(io::Error::from_raw_os_error(fault.errno))
        }
    }
}

/// A file that is open, with its path.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
}

/// Opens a file as `options` say.
///
/// # Errors
/// As open(2).
pub fn open(path: &Path, options: &OpenOptions) -> io::Result<OpenFile> {
    let file = unless_it_fails(Operation::Open, path, || options.open(path))?;
    Ok(OpenFile { file, path: path.to_owned() })
}

impl OpenFile {
    /// All of its text from where it stands.
    ///
    /// # Errors
    /// As read(2); `InvalidData` when it is no UTF-8.
    pub fn read_to_string(&mut self) -> io::Result<String> {
        let Self { file, path } = self;
        unless_it_fails(Operation::Read, path, || {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As write(2); a part may be written then.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(fault) = fault(Operation::Write, &self.path) else { return self.file.write_all(bytes) };
        let written = match fault.how_far {
            HowFar::Nowhere => 0,
            HowFar::Halfway => bytes.len() / 2,
            HowFar::ToTheEnd => bytes.len(),
        };
        self.file.write_all(&bytes[..written])?;
        Err(io::Error::from_raw_os_error(fault.errno))
    }

    /// Has it on the disk.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        unless_it_fails(Operation::Sync, &self.path, || self.file.sync_all())
    }

    /// Cuts it to nothing.
    ///
    /// # Errors
    /// As ftruncate(2).
    pub fn truncate(&self) -> io::Result<()> {
        unless_it_fails(Operation::Truncate, &self.path, || self.file.set_len(0))
    }

    /// # Errors
    /// As fstat(2).
    pub fn metadata(&self) -> io::Result<Metadata> {
        unless_it_fails(Operation::Stat, &self.path, || self.file.metadata())
    }

    /// Locks it for this one alone, which is the kernel's to end with the last descriptor of this open file (flock(2)).
    ///
    /// # Errors
    /// `WouldBlock` when another one has a lock on it.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        match unless_it_fails(Operation::Lock, &self.path, || Ok(self.file.try_lock())) {
            Ok(locked) => locked,
            Err(error) => Err(TryLockError::Error(error)),
        }
    }

    /// Locks it together with others who do the same.
    ///
    /// # Errors
    /// `WouldBlock` when another one has it alone.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        match unless_it_fails(Operation::Lock, &self.path, || Ok(self.file.try_lock_shared())) {
            Ok(locked) => locked,
            Err(error) => Err(TryLockError::Error(error)),
        }
    }

    /// Gives the lock back, copies of the descriptor included.
    ///
    /// # Errors
    /// As flock(2).
    pub fn unlock(&self) -> io::Result<()> {
        unless_it_fails(Operation::Lock, &self.path, || self.file.unlock())
    }
}

/// The text of a file.
///
/// # Errors
/// As open(2) and read(2); `InvalidData` when it is no UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    open(path, OpenOptions::new().read(true))?.read_to_string()
}

/// # Errors
/// As rename(2).
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    unless_it_fails(Operation::Rename, to, || std::fs::rename(from, to))
}

/// # Errors
/// As unlink(2).
pub fn remove_file(path: &Path) -> io::Result<()> {
    unless_it_fails(Operation::Unlink, path, || std::fs::remove_file(path))
}

/// Removes an empty folder.
///
/// # Errors
/// As rmdir(2).
pub fn remove_folder(path: &Path) -> io::Result<()> {
    unless_it_fails(Operation::RemoveFolder, path, || std::fs::remove_dir(path))
}

/// Makes a folder with this mode.
///
/// # Errors
/// As mkdir(2).
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    unless_it_fails(Operation::MakeFolder, path, || DirBuilder::new().mode(mode).create(path))
}

/// Has a folder's entries on the disk.
///
/// # Errors
/// As open(2) and fsync(2).
pub fn sync_folder(path: &Path) -> io::Result<()> {
    open(path, OpenOptions::new().read(true))?.sync()
}

/// The paths of what is in a folder, sorted.
///
/// # Errors
/// As open(2) and getdents64(2).
pub fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    unless_it_fails(Operation::List, path, || {
        let paths = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let mut paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
        paths.sort();
        Ok(paths)
    })
}

/// Of what is there, links followed.
///
/// # Errors
/// As stat(2).
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    unless_it_fails(Operation::Stat, path, || std::fs::metadata(path))
}

/// Of what is there, of a link itself.
///
/// # Errors
/// As lstat(2).
pub fn symlink_metadata(path: &Path) -> io::Result<Metadata> {
    unless_it_fails(Operation::Stat, path, || std::fs::symlink_metadata(path))
}

/// Whether this process may write there (faccessat(2) with effective ids).
///
/// # Errors
/// As faccessat(2).
pub fn may_write(path: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    use nix::unistd::{AccessFlags, faccessat};
    unless_it_fails(Operation::Access, path, || {
        Ok(faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_fails_where_a_test_wants_it_and_as_far_as_it_wants() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let write = |how_far| {
            let hook = move |operation, _: &Path| {
                (operation == Operation::Write).then_some(Fault { errno: libc::ENOSPC, how_far })
            };
            let written = with_faults(hook, || {
                open(&path, OpenOptions::new().create(true).write(true).truncate(true))?.write_all(b"four")
            });
            (written.unwrap_err().raw_os_error(), std::fs::read_to_string(&path).unwrap())
        };
        assert_eq!(write(HowFar::Nowhere), (Some(libc::ENOSPC), String::new()));
        assert_eq!(write(HowFar::Halfway), (Some(libc::ENOSPC), "fo".to_owned()));
        assert_eq!(write(HowFar::ToTheEnd), (Some(libc::ENOSPC), "four".to_owned()));
        assert_eq!(read_to_string(&path).unwrap(), "four", "nothing fails afterwards");
    }

    #[test]
    fn what_fails_at_its_end_is_done_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let hook = |_, _: &Path| Some(Fault { errno: libc::EIO, how_far: HowFar::ToTheEnd });
        assert!(with_faults(hook, || make_folder(&path, 0o700)).is_err() && path.is_dir());
        let hook = |_, _: &Path| Some(Fault { errno: libc::EIO, how_far: HowFar::Nowhere });
        assert!(with_faults(hook, || remove_folder(&path)).is_err() && path.is_dir());
    }
}
