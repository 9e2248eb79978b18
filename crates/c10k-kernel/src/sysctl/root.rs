//! The folder of the kernel's settings: what they are, and whether they may be written.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files;

/// The folder of the kernel's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlRoot {
    root: PathBuf,
}

impl Default for SysctlRoot {
    /// `/proc/sys`.
    fn default() -> Self {
        Self::at("/proc/sys")
    }
}

/// What this process may do with a key here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A write may be tried.
    ReadWrite,
    /// The key is here, but its mode, this user or a read-only mount forbids writing.
    ReadOnly,
    /// There is no such key here.
    Absent,
}

impl SysctlRoot {
    /// Settings that lie in another folder, for instance a recorded host.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The file of a key: `net.ipv4.tcp_rmem` is `net/ipv4/tcp_rmem`. Device names with dots are not provided for.
    ///
    /// # Errors
    /// `InvalidInput` for a key that is not dot-separated words.
    pub fn path(&self, key: &str) -> io::Result<PathBuf> {
        let word_is_sound = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b))
        };
        if !key.contains('.') || !key.split('.').all(word_is_sound) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "`{key}` is no sysctl key: expected words with dots between them, as in net.core.somaxconn"
                ),
            ));
        }
        Ok(self.root.join(key.replace('.', "/")))
    }

    /// Whether the key is here. A key can be absent in one network namespace and present in another.
    #[must_use]
    pub fn exists(&self, key: &str) -> bool {
        self.path(key).is_ok_and(|path| files::metadata(&path).is_ok_and(|found| found.is_file()))
    }

    /// The present value, without the newline at its end; fields of a vector are apart by tabs.
    ///
    /// # Errors
    /// `NotFound` when the key is not here; `PermissionDenied` for a few keys that only root reads.
    pub fn read(&self, key: &str) -> io::Result<String> {
        let mut value = files::read_to_string(&self.path(key)?)?;
        value.truncate(value.trim_end_matches('\n').len());
        Ok(value)
    }

    /// The present value as numbers; `None` when the key is not here, may not be read, or holds anything else.
    #[must_use]
    pub fn numbers(&self, key: &str) -> Option<Vec<u64>> {
        self.read(key).ok()?.split_whitespace().map(|word| word.parse().ok()).collect()
    }

    /// `net.ipv4.ip_local_port_range`: the first and the last port that the kernel chooses from.
    #[must_use]
    pub fn local_port_range(&self) -> Option<(u16, u16)> {
        match self.numbers("net.ipv4.ip_local_port_range")?[..] {
            [first, last] => Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?)),
            _ => None,
        }
    }

    /// `fs.nr_open`: how far a hard RLIMIT_NOFILE can be raised.
    #[must_use]
    pub fn nr_open(&self) -> Option<u64> {
        self.numbers("fs.nr_open")?.first().copied()
    }

    /// Writes a value in one write(2).
    ///
    /// An error does not mean that nothing changed: a vector refused with EINVAL may have lost its first field,
    /// and success does not mean that all fields were taken. Read back after either.
    ///
    /// # Errors
    /// ENOENT when the key is not here, *or* for a few keys when the value names what is not here
    /// (`tcp_congestion_control`); EINVAL out of range; EACCES, EPERM or EROFS when it may not be written.
    pub fn write(&self, key: &str, value: &str) -> io::Result<()> {
        let mut file = files::open(&self.path(key)?, OpenOptions::new().write(true).truncate(true))?;
        file.write_all(format!("{value}\n").as_bytes())
    }

    /// What this process may do with the key: its mode must have a write bit, and the kernel must let this
    /// process use it (faccessat(2) with effective ids), which a read-only mount or another owner does not.
    #[must_use]
    pub fn access(&self, key: &str) -> Access {
        let Ok(path) = self.path(key) else { return Access::Absent };
        let Ok(metadata) = files::metadata(&path) else { return Access::Absent };
        if !metadata.is_file() {
            return Access::Absent;
        }
        let mode_allows = metadata.permissions().mode() & 0o222 != 0;
        if mode_allows && files::may_write(&path).is_ok() { Access::ReadWrite } else { Access::ReadOnly }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = SysctlRoot::at(folder.path());
        let set = |key: &str, value: &str| {
            let path = root.path(key).unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        };
        assert_eq!((root.local_port_range(), root.nr_open()), (None, None));
        set("net.ipv4.ip_local_port_range", "1024\t65535\n");
        set("fs.nr_open", "1048576\n");
        assert_eq!((root.local_port_range(), root.nr_open()), (Some((1024, 65535)), Some(1_048_576)));
        for odd in ["1024\n", "1024 65536\n", "1024 many\n", ""] {
            set("net.ipv4.ip_local_port_range", odd);
            assert_eq!(root.local_port_range(), None, "{odd:?}");
        }
    }

    fn root_with(key: &str, value: &str, mode: u32) -> (tempfile::TempDir, SysctlRoot) {
        let folder = tempfile::tempdir().unwrap();
        let root = SysctlRoot::at(folder.path());
        let path = root.path(key).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, root)
    }

    #[test]
    fn a_value_is_read_without_its_newline_and_written_with_one() {
        let (_folder, root) = root_with("net.ipv4.tcp_rmem", "4096\t131072\t6291456\n", 0o644);
        assert_eq!(root.read("net.ipv4.tcp_rmem").unwrap(), "4096\t131072\t6291456");
        root.write("net.ipv4.tcp_rmem", "1 2 3").unwrap();
        assert_eq!(std::fs::read(root.path("net.ipv4.tcp_rmem").unwrap()).unwrap(), b"1 2 3\n");
    }

    #[test]
    fn a_key_cannot_lead_out_of_the_folder() {
        let (_folder, root) = root_with("net.core.somaxconn", "4096\n", 0o644);
        for key in ["net..core", "net/core/somaxconn", "../etc/passwd", "net.core.", ".net", "", "somaxconn"]
        {
            assert_eq!(root.read(key).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{key}");
            assert!(!root.exists(key), "{key}");
        }
        assert!(!root.exists("net.core"), "a folder is no key");
        assert_eq!(root.access("net.core"), Access::Absent);
    }

    #[test]
    fn a_mode_without_a_write_bit_is_read_only_for_root_too() {
        let (_folder, root) = root_with("net.core.rmem_max", "212992\n", 0o444);
        assert_eq!(root.access("net.core.rmem_max"), Access::ReadOnly);
        let (_folder, root) = root_with("net.core.rmem_max", "212992\n", 0o644);
        assert_eq!(root.access("net.core.rmem_max"), Access::ReadWrite);
        assert_eq!(root.access("net.core.nosuch"), Access::Absent);
    }
}
