//! Files of which nobody ever finds half.
//!
//! By hand and not by a crate for temporary files, of which none tells what a killed writer left from what a living one
//! is writing.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How many names are tried for the file that is written beside its place.
const MOST_NAMES: u32 = 16;
const SUFFIX: &str = ".tmp";
/// Hexadecimal digits of a random number.
const RANDOM_DIGITS: usize = 16;

/// What the kernel says where there is no room for what is to be written: the disk is full, the quota (quota(1)) or the
/// longest file that is allowed (RLIMIT_FSIZE) is reached.
pub const NO_ROOM: [i32; 3] = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];

/// What makes room where there is none for what is to be written; `None` for any other error.
#[must_use]
pub fn what_makes_room(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EFBIG => Some("let longer files be written: `ulimit -f` shows how long they may be"),
        errno => NO_ROOM.contains(&errno).then_some("make room on the disk"),
    }
}

/// Writes a file whole or not at all: beside its place, synced, then renamed (rename(2)) and the folder synced, so that
/// neither a reader nor a loss of power finds half of it, and what stood there before stays when it cannot be written. A
/// link is followed and permissions stay; what is no regular file, such as a terminal or a pipe, is written to as it is.
/// Of several writers at one time the last one's file stays. What a writer that was killed left beside it is removed.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2): ENOSPC when the disk is full, EACCES where the folder cannot be written.
/// Where only the folder could not be synced, the new file stands.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

/// The same without waiting for the disk: for what will soon be written again.
pub(crate) fn write_for_now(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

/// Has a folder's names on the disk: what was made or renamed in it.
///
/// # Errors
/// As fsync(2). A folder that this user may not read, or a file system that syncs no folders, is none.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(or_here(folder)).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

fn replace(path: &Path, bytes: &[u8], is_synced: bool) -> io::Result<()> {
    let present = fs::metadata(path).ok();
    if present.as_ref().is_some_and(|present| !present.is_file()) {
        return fs::write(path, bytes);
    }
    let place = if present.is_some() { path.canonicalize()? } else { path.to_owned() };
    remove_left_over(&place);
    let (beside, mut file) = make_beside(&place, present.as_ref())?;
    let written = file.write_all(bytes).and_then(|()| {
        if let Some(present) = present {
            file.set_permissions(present.permissions())?;
        }
        if is_synced { file.sync_all() } else { Ok(()) }
    });
    written.and_then(|()| fs::rename(&beside, &place)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })?;
    if is_synced { sync_folder(folder_of(&place)) } else { Ok(()) }
}

/// Makes a file in the same folder under a name that no file of anybody's has, and that nobody can foresee. It is locked
/// as long as it is open: so it is told from one that a killed writer left.
fn make_beside(place: &Path, present: Option<&Metadata>) -> io::Result<(PathBuf, File)> {
    let mode = present.map_or(0o666, |present| present.permissions().mode() & 0o777);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..MOST_NAMES {
        let random = RandomState::new().hash_one(std::process::id());
        let name = format!("{}{random:0width$x}{SUFFIX}", prefix(place)?, width = RANDOM_DIGITS);
        let beside = place.with_file_name(name);
        let file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                last = error;
                continue;
            }
            Err(error) => return Err(error),
        };
        // Another writer may have taken it for a dead one's before it was locked.
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            // A file system without locks: nobody else can lock it either, and nobody removes it.
            Ok(()) | Err(TryLockError::Error(_)) if is_at(&file, &beside) => return Ok((beside, file)),
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
    }
    Err(last)
}

/// Removes what writers of this file left that were killed before the rename. What cannot be removed stays.
fn remove_left_over(place: &Path) {
    let (Ok(prefix), Ok(entries)) = (prefix(place), fs::read_dir(folder_of(place))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(SUFFIX));
        let is_ours = random.is_some_and(|random| {
            random.len() == RANDOM_DIGITS && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() && is_at(&file, &entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |about: Metadata| (about.dev(), about.ino());
    file.metadata().ok().map(inode) == fs::symlink_metadata(path).ok().map(inode)
}

fn prefix(place: &Path) -> io::Result<String> {
    let name = place.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    Ok(format!(".{name}."))
}

fn folder_of(place: &Path) -> &Path {
    or_here(place.parent().unwrap_or(Path::new("/")))
}

/// The parent of a bare name is an empty path.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("listed")
            .map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_keeps_its_permissions_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("page.html");
        write_whole(&path, b"one").expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permitted");
        write_whole(&path, b"two").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(names(home.path()), ["page.html"]);
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_leads_to_is_written() {
        let home = tempfile::tempdir().expect("a folder");
        let (file, link) = (home.path().join("file"), home.path().join("link"));
        write_whole(&file, b"one").expect("made");
        symlink(&file, &link).expect("linked");
        write_whole(&link, b"two").expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&file).expect("read"), b"two");
    }

    #[test]
    fn what_is_no_regular_file_is_written_to_and_not_replaced() {
        write_whole(Path::new("/dev/null"), b"one").expect("written");
        assert!(!fs::metadata("/dev/null").expect("there").is_file());
    }

    #[test]
    fn what_cannot_be_written_leaves_what_stood_there() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("page.html");
        write_whole(&path, b"one").expect("made");
        // A file system that is full gives the same: what cannot be written beside is not renamed.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o500)).expect("closed");
        let closed = write_whole(&path, b"two");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("opened");
        // Root writes all the same.
        let stands: &[u8] = if closed.is_ok() { b"two" } else { b"one" };
        assert_eq!(fs::read(&path).expect("read"), stands);
        assert_eq!(names(home.path()), ["page.html"]);
        // A name too long for a file beside it.
        let long = home.path().join("x".repeat(250));
        fs::write(&long, "one").expect("made");
        write_whole(&long, b"two").expect_err("no name beside it");
        assert_eq!(fs::read(&long).expect("read"), b"one");
        let gone = home.path().join("gone").join("page.html");
        assert_eq!(write_whole(&gone, b"x").expect_err("no folder").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn writers_of_one_file_at_one_time_leave_the_whole_file_of_one_of_them() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("page.html");
        let texts: Vec<Vec<u8>> = (b'a'..b'e').map(|letter| vec![letter; 100_000]).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| {
                    for _ in 0..50 {
                        write_for_now(&path, text).expect("written");
                        let read = fs::read(&path).expect("read");
                        assert!(texts.contains(&read), "half of it, or of two: {} bytes", read.len());
                    }
                });
            }
        });
        assert_eq!(names(home.path()), ["page.html"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("page.html");
        let (living, file) = make_beside(&path, None).expect("made");
        let (dead, killed) = make_beside(&path, None).expect("made");
        drop(killed);
        let others = [".page.html.swp", ".page.html.0123.tmp", ".other.html.0123456789abcdef.tmp"];
        for other in others {
            fs::write(home.path().join(other), "theirs").expect("made");
        }
        symlink(home.path().join("page.html"), home.path().join(".page.html.0123456789abcdef.tmp"))
            .expect("linked");
        write_whole(&path, b"one").expect("written");
        assert!(living.exists() && !dead.exists());
        assert!(others.iter().all(|other| home.path().join(other).exists()));
        assert_eq!(names(home.path()).len(), 6, "a link under such a name is nobody's left-over");
        drop(file);
        write_whole(&path, b"two").expect("written");
        assert!(!living.exists());
    }

    #[test]
    fn a_file_that_only_its_owner_reads_is_never_open_to_others_while_it_is_written() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("page.html");
        fs::write(&path, "one").expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permitted");
        let (_, file) = make_beside(&path, fs::metadata(&path).ok().as_ref()).expect("made");
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o077, 0);
    }
}
