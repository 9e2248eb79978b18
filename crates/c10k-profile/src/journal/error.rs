//! Why a journal cannot be kept, and what mends it.

use std::io;
use std::path::PathBuf;

/// A journal that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No folder to keep it in.
    #[error("there is no folder for the journal of settings: {}", tried.join("; "))]
    NoFolder {
        /// The folders tried and what was wrong with each.
        tried: Vec<String>,
    },
    /// Another process changes settings and does not come to an end.
    #[error("another process, {program} (pid {pid}), is changing settings and does not end ({})", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// The process.
        pid: u32,
        /// Its program.
        program: String,
    },
    /// The journal or its lock cannot be read or written.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
}

impl JournalError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoFolder { .. } => {
                "set XDG_RUNTIME_DIR to a folder of yours with mode 0700, or use --no-apply".to_owned()
            }
            Self::Busy { pid, .. } => format!("end process {pid}, or wait for it"),
            Self::Io { path, .. } => format!("ls -ld {}", path.display()),
        }
    }
}
