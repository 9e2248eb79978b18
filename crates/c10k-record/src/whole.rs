//! Files of which nobody ever finds half.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file whole or not at all: beside its place, synced, then renamed (rename(2)), so that neither a reader nor
/// a loss of power finds half of it, and what stood there before stays when it cannot be written. A link is followed and
/// permissions stay; what is no regular file, such as a terminal or a pipe, is written to as it is.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2): ENOSPC when the disk is full, EACCES where the folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

/// The same without waiting for the disk: for what will soon be written again.
pub(crate) fn write_for_now(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
    let present = fs::metadata(path).ok();
    if present.as_ref().is_some_and(|present| !present.is_file()) {
        return fs::write(path, bytes);
    }
    let place = if present.is_some() { path.canonicalize()? } else { path.to_owned() };
    let beside = beside(&place)?;
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Some(present) = present {
            file.set_permissions(present.permissions())?;
        }
        if synced { file.sync_all() } else { Ok(()) }
    });
    written.and_then(|()| fs::rename(&beside, &place)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// A name in the same folder that no file of anybody's has.
fn beside(place: &Path) -> io::Result<PathBuf> {
    let name = place.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    Ok(place.with_file_name(format!(".{name}.{}.tmp", std::process::id())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

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
        // The name that it is written under first is taken by a folder.
        fs::create_dir(beside(&path).expect("a name")).expect("made");
        write_whole(&path, b"two").expect_err("no place beside it");
        assert_eq!(fs::read(&path).expect("read"), b"one");
        let gone = home.path().join("gone").join("page.html");
        assert_eq!(write_whole(&gone, b"x").expect_err("no folder").kind(), io::ErrorKind::NotFound);
    }
}
