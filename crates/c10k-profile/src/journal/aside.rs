//! Journals that cannot be acted upon: out of the way and not lost.

use std::path::{Path, PathBuf};

use c10k_kernel::files;

use super::file::{Useless, sync_folder_of};
use super::told::Recovery;

const ASIDE: &str = "journal-aside-";

/// Takes a journal out of the way without losing it. Where it cannot be renamed it stays where it is.
pub(crate) fn set_aside(path: &Path, useless: Useless) -> Recovery {
    let aside = (1u32..)
        .map(|count| path.with_extension(format!("{ASIDE}{count}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("journal-aside"));
    let Useless { mut why, may_stand } = useless;
    let lies = match files::rename(path, &aside) {
        Ok(()) => {
            // Should the machine crash now, it is found under its old name and set aside again.
            let _ = sync_folder_of(path);
            aside
        }
        Err(error) => {
            why = format!("{why} (it cannot be renamed: {error})");
            path.to_owned()
        }
    };
    Recovery::SetAside { path: lies, why, may_stand }
}

/// The journals of a network namespace that were set aside.
pub(crate) fn asides_in(folder: &Path, net_namespace: u64) -> Vec<PathBuf> {
    let prefix = format!("net-{net_namespace}.{ASIDE}");
    let is_one =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    files::list(folder).unwrap_or_default().into_iter().filter(is_one).collect()
}
