//! Why a profile cannot be used, and what mends it.

use c10k_record::nearest;
use std::io;
use std::path::PathBuf;

/// A profile that cannot be used: the text is at fault, not this machine.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No such name.
    #[error("there is no profile `{name}`; expected {} or the path of a file (with a `/`, or ending in .toml)", shipped.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        shipped: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error("cannot read the profile {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The text is no profile: the message has line, column, the line with a caret, and what was expected.
    #[error("the profile {origin} is not understood: {}", message.trim_end())]
    Text {
        /// Name or path of the profile.
        origin: String,
        /// What is wrong, and where.
        message: String,
    },
    /// `extends` names no shipped profile.
    #[error("`extends` names `{name}`, which is no shipped profile and no path: {chain}")]
    ExtendsUnknown {
        /// The name.
        name: String,
        /// Who extends whom.
        chain: String,
    },
    /// `extends` names a file that cannot be read.
    #[error("`extends` leads to {}, which cannot be read ({error}): {chain}", path.display())]
    ExtendsUnreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
        /// Who extends whom.
        chain: String,
    },
    /// Profiles extend each other in a circle.
    #[error("profiles extend each other in a circle: {chain}")]
    Circular {
        /// Who extends whom.
        chain: String,
    },
}

impl ProfileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { name, shipped } => match nearest(name, shipped.iter().copied()) {
                Some(near) => {
                    format!("did you mean {near}? `c10k-lab profile list` shows the shipped profiles")
                }
                None => "`c10k-lab profile list` shows the shipped profiles".to_owned(),
            },
            Self::Unreadable { path, .. } | Self::ExtendsUnreadable { path, .. } => {
                format!("ls -l {}", path.display())
            }
            Self::Text { .. } => "`c10k-lab profile show tuned` prints a profile to copy from".to_owned(),
            Self::ExtendsUnknown { .. } => {
                "write the path with a `/` or with .toml at its end, relative to the file it stands in"
                    .to_owned()
            }
            Self::Circular { .. } => "take one `extends` line out".to_owned(),
        }
    }
}
