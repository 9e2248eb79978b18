//! The folders where journals lie, and what their files are called.

use std::io;
use std::path::{Path, PathBuf};

use c10k_kernel::files;

use super::error::JournalError;
use crate::state_folder;

/// The folders that may hold the journal, best first.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    candidates: Vec<PathBuf>,
}

impl Folders {
    /// The folders of this user.
    pub(crate) fn of_user(euid: u32) -> Self {
        Self { candidates: state_folder::candidates(euid) }
    }

    pub(crate) fn at(folder: PathBuf) -> Self {
        Self::one_of(vec![folder])
    }

    pub(crate) fn one_of(candidates: Vec<PathBuf>) -> Self {
        Self { candidates }
    }

    /// The folders that are there already and ours.
    ///
    /// # Errors
    /// When that cannot be told of one: what cannot be looked at is not absent.
    pub(crate) fn existing(&self) -> Result<Vec<PathBuf>, JournalError> {
        let mut existing = Vec::new();
        for folder in &self.candidates {
            match state_folder::check(folder) {
                Ok(()) => existing.push(folder.clone()),
                // Not there, not ours, or in a folder that is not ours to look into.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => {
                    let path = folder.clone();
                    return Err(JournalError::Io { doing: "look at the folder of journals", path, error });
                }
            }
        }
        Ok(existing)
    }

    /// The first folder that is there or can be made, ours alone.
    pub(crate) fn folder(&self) -> Result<PathBuf, JournalError> {
        let mut tried = Vec::new();
        for folder in &self.candidates {
            match state_folder::make(folder) {
                Ok(()) => return Ok(folder.clone()),
                Err(error) => tried.push(format!("{}: {error}", folder.display())),
            }
        }
        Err(JournalError::NoFolder { tried })
    }
}

pub(crate) fn journal_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.journal"))
}

pub(crate) fn lock_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.lock"))
}

/// The journals in a folder; none when the folder is gone.
pub(crate) fn journals_in(folder: &Path) -> Result<Vec<PathBuf>, JournalError> {
    // Others keep theirs here too.
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "journal")
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"net-"))
    };
    match files::list(folder) {
        Ok(paths) => Ok(paths.into_iter().filter(is_one).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(JournalError::Io { doing: "look for journals in", path: folder.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn the_folder_is_made_for_us_alone_and_one_that_others_may_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("c10k-lab");
        let folders = Folders::at(folder.clone());
        assert_eq!(folders.existing().unwrap(), [] as [PathBuf; 0]);
        assert_eq!(folders.folder().unwrap(), folder);
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = folders.folder().unwrap_err();
        assert!(error.to_string().contains("open to others (mode 755)"), "{error}");
        let link = parent.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(Folders::at(link).folder().is_err());
    }
}
