//! The place a process runs in, as far as settings go.

use std::fmt;
use std::path::PathBuf;

use c10k_kernel::sysctl::{Scopes, SysctlRoot};
use c10k_kernel::{limits, namespace};

use crate::journal::{Folders, Progress, Spot};

/// The place a process runs in, as far as settings go. All of it can be given for tests.
pub struct Here {
    pub(crate) root: SysctlRoot,
    pub(super) scopes: Option<Scopes>,
    pub(crate) folders: Folders,
    pub(crate) spot: Spot,
    /// Whether the settings are the network namespace's own, so that others are to see that somebody holds them.
    pub(crate) is_marked: bool,
    pub(crate) progress: Box<dyn FnMut(Progress) + Send>,
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here").field("root", &self.root).field("spot", &self.spot).finish_non_exhaustive()
    }
}

impl Here {
    /// Where this process runs.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now() -> std::io::Result<Self> {
        Ok(Self {
            root: SysctlRoot::default(),
            scopes: None,
            folders: Folders::of_user(limits::euid()),
            spot: Spot {
                boot_id: namespace::boot_id()?,
                net_namespace: namespace::network_inode()?,
                net_cookie: namespace::network_cookie().ok(),
            },
            is_marked: true,
            progress: Box::new(|_| {}),
        })
    }

    /// Settings in `root` that reach as far as `scopes` says, with a journal in `folder`.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn at(root: SysctlRoot, scopes: Scopes, folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folders = Folders::at(folder.into());
        Ok(Self { root, scopes: Some(scopes), folders, is_marked: false, ..Self::now()? })
    }

    /// Keeps the journal in `folder` and takes the rest as it is.
    #[must_use]
    pub fn with_journal_in(self, folder: impl Into<PathBuf>) -> Self {
        Self { folders: Folders::at(folder.into()), ..self }
    }

    /// Keeps the journal in the first of these folders that can be made, unless another one of them has it already.
    #[must_use]
    pub fn with_journal_in_one_of(self, folders: Vec<PathBuf>) -> Self {
        Self { folders: Folders::one_of(folders), ..self }
    }

    /// Calls `progress` after each step.
    #[must_use]
    pub fn with_progress(self, progress: impl FnMut(Progress) + Send + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }
}
