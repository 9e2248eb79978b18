//! The folder where what must outlive a process is written down: journals of settings and of addresses.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use c10k_kernel::files;

/// How often the folder may vanish between making and checking it.
const MOST_TRIES: u32 = 100;

/// Where it may stand, best first: `/run/c10k-lab` for root, else `$XDG_RUNTIME_DIR/c10k-lab` or
/// `/tmp/c10k-lab-UID`. Root of a user namespace may not write to `/run` and goes on to the next. Behind them stands
/// what XDG_RUNTIME_DIR usually is, so that a process without it finds what one with it has written.
#[must_use]
pub fn candidates(euid: u32) -> Vec<PathBuf> {
    let run = (euid == 0).then(|| PathBuf::from("/run/c10k-lab"));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("c10k-lab"));
    let tmp = PathBuf::from(format!("/tmp/c10k-lab-{euid}"));
    let usual = PathBuf::from(format!("/run/user/{euid}/c10k-lab"));
    let mut candidates: Vec<PathBuf> = run.into_iter().chain(runtime).chain([tmp]).collect();
    if !candidates.contains(&usual) {
        candidates.push(usual);
    }
    candidates
}

/// Makes it with mode 0700, or finds it there and this user's alone.
///
/// # Errors
/// As mkdir(2); `PermissionDenied` when it is somebody else's or open to others.
/// Another process that has just finished may take the empty folder away again between two of these calls.
pub fn make(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let checked = match files::make_folder(folder, 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => check(folder),
        };
        match checked {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MOST_TRIES => tries += 1,
            checked => return checked,
        }
    }
}

/// Whether it is there and this user's alone: a folder in `/tmp` may have been put there by anybody.
///
/// # Errors
/// As lstat(2); `PermissionDenied` says what is wrong with it.
pub fn check(folder: &Path) -> io::Result<()> {
    let metadata = files::symlink_metadata(folder)?;
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    if !metadata.is_dir() {
        return wrong("is no folder".to_owned());
    }
    if metadata.uid() != c10k_kernel::limits::euid() {
        return wrong(format!("belongs to user {}", metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        return wrong(format!("is open to others (mode {:o}), expected 700", metadata.mode() & 0o777));
    }
    Ok(())
}
