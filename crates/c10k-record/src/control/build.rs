//! Which build of a program this is.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A build of a program, so that two ends can tell whether they are of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version of the workspace.
    pub version: String,
    /// Which of the programs it is, whatever its file is called.
    pub program: String,
    /// The processor's kind that it was built for.
    pub arch: String,
    /// A hash of the executable, 16 hex digits; empty where it cannot be read.
    pub hash: String,
}

/// Which program this process is.
static PROGRAM: OnceLock<&str> = OnceLock::new();

impl Build {
    /// Says which program this process is, before anybody asks; where nobody says it, it is called by its file.
    pub fn is_of(program: &'static str) {
        let _ = PROGRAM.set(program);
    }

    /// Of this process. Reads its executable, once.
    #[must_use]
    pub fn of_this() -> Self {
        static OWN: OnceLock<Build> = OnceLock::new();
        OWN.get_or_init(Self::read).clone()
    }

    fn read() -> Self {
        let file = || {
            let path = std::env::current_exe().ok()?;
            Some(path.file_name()?.to_string_lossy().into_owned())
        };
        let program = PROGRAM.get().map(|program| (*program).to_owned()).or_else(file);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: program.unwrap_or_default(),
            arch: std::env::consts::ARCH.to_owned(),
            hash: hash_of(Path::new("/proc/self/exe")).unwrap_or_default(),
        }
    }

    /// Whether both may be taken for one: the same version, and where both are the same program for the same kind of
    /// processor, the same bytes. Of two programs (`c10k-lab` and `c10k-collector`) the version alone can be compared.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let comparable = self.program == other.program
            && self.arch == other.arch
            && !self.hash.is_empty()
            && !other.hash.is_empty();
        self.version == other.version && (!comparable || self.hash == other.hash)
    }
}

/// `c10k-lab 0.1.0 (x86_64, 0123456789abcdef)`.
impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, program, arch, hash } = self;
        write!(f, "{program} {version} ({arch}, {hash})")
    }
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (DefaultHasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", hasher.finish())),
            length => hasher.write(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_of_other_bytes_is_another_build_and_another_program_is_compared_by_its_version() {
        let own = Build::of_this();
        assert!(own.hash.len() == 16 && own.is_like(&Build::of_this()), "{own}");
        let changed = |change: fn(&mut Build)| {
            let mut other = own.clone();
            change(&mut other);
            own.is_like(&other) && other.is_like(&own)
        };
        assert!(!changed(|other| other.hash = "0".repeat(16)));
        assert!(!changed(|other| other.version = "9.9.9".to_owned()));
        assert!(changed(|other| (other.program, other.hash) = ("other".to_owned(), "0".repeat(16))));
        assert!(changed(|other| (other.arch, other.hash) = ("riscv64".to_owned(), "0".repeat(16))));
        assert!(changed(|other| other.hash.clear()), "what could not be read differs from nothing");
    }
}
