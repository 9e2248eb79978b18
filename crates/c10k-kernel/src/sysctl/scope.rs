//! How far a write of a setting reaches, as the kernel itself shows it in a fresh network namespace.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::SysctlRoot;
use crate::files;
use crate::namespace::{Seen, scratch_listing};

/// How far a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This process and its children.
    Process,
    /// This network namespace.
    Namespace,
    /// The whole machine, whatever namespace the writer is in.
    Host,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Process => "process",
            Self::Namespace => "namespace",
            Self::Host => "host",
        })
    }
}

/// The scope of each of a set of keys, as the kernel itself shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    of_key: BTreeMap<String, Scope>,
    guessed: bool,
}

impl Scopes {
    /// Learns the scopes of `keys` by looking into a fresh child network namespace: a `net.*` key that is
    /// there and writable belongs to the namespace; one that is missing or read-only there is the host's.
    /// `fs.*`, `kernel.*`, `vm.*` and the rest have no namespace.
    ///
    /// Where such a namespace may not be made, every `net.*` key is taken for the host's, the careful side, and
    /// [`Scopes::guessed`] says so.
    #[must_use]
    pub fn learn(keys: &[&str]) -> Self {
        if !keys.iter().any(|key| key.starts_with("net.")) {
            return Self::from_listing(keys, Some(&[]));
        }
        Self::from_listing(keys, scratch_listing(keys).as_deref())
    }

    /// The scopes that follow from a listing of a fresh namespace, in the order of `keys`; None when there
    /// could be no such listing.
    #[must_use]
    pub fn from_listing(keys: &[&str], listing: Option<&[Seen]>) -> Self {
        let of_key = keys.iter().enumerate().map(|(at, &key)| {
            let in_scratch = listing.map(|seen| seen.get(at).copied().unwrap_or(Seen::Absent));
            let scope = match (key.starts_with("net."), in_scratch) {
                (true, Some(Seen::Writable)) => Scope::Namespace,
                _ => Scope::Host,
            };
            (key.to_owned(), scope)
        });
        Self { of_key: of_key.collect(), guessed: listing.is_none() }
    }

    /// The scopes as the namespace itself shows them that `root` is of, which must not be the machine's first one:
    /// there a key shows what it shows in a fresh one.
    #[must_use]
    pub fn of_this_namespace(keys: &[&str], root: &SysctlRoot) -> Self {
        let seen = keys.iter().map(|key| {
            let mode = root
                .path(key)
                .and_then(|path| files::metadata(&path))
                .map(|found| found.permissions().mode());
            match mode {
                Err(_) => Seen::Absent,
                Ok(mode) if mode & 0o222 == 0 => Seen::ReadOnly,
                Ok(_) => Seen::Writable,
            }
        });
        Self::from_listing(keys, Some(&seen.collect::<Vec<_>>()))
    }

    /// The scope of a key; what was not asked for when learning is taken for the host's, the careful side.
    #[must_use]
    pub fn of(&self, key: &str) -> Scope {
        self.of_key.get(key).copied().unwrap_or(Scope::Host)
    }

    /// True when no fresh namespace could be made, so that the scopes of `net.*` keys are not certain.
    #[must_use]
    pub fn guessed(&self) -> bool {
        self.guessed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_follow_from_what_a_fresh_namespace_shows() {
        let keys = ["net.core.somaxconn", "net.core.rmem_max", "net.ipv4.tcp_mem", "fs.nr_open"];
        let listing = [Seen::Writable, Seen::ReadOnly, Seen::Absent, Seen::Writable];
        let scopes = Scopes::from_listing(&keys, Some(&listing));
        assert_eq!(keys.map(|key| scopes.of(key)), [Scope::Namespace, Scope::Host, Scope::Host, Scope::Host]);
        assert!(!scopes.guessed());
        assert_eq!(scopes.of("net.core.never_asked"), Scope::Host);
    }

    #[test]
    fn without_a_fresh_namespace_the_scopes_are_marked_as_guessed() {
        let scopes = Scopes::from_listing(&["net.ipv4.tcp_mem", "fs.nr_open"], None);
        assert_eq!(scopes.of("net.ipv4.tcp_mem"), Scope::Host, "the careful side");
        assert_eq!(scopes.of("fs.nr_open"), Scope::Host);
        assert!(scopes.guessed());
    }

    #[test]
    fn the_kernel_itself_tells_which_keys_are_the_hosts() {
        let keys = [
            "net.core.somaxconn",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_mem",
            "net.core.rmem_max",
            "fs.nr_open",
        ];
        let scopes = Scopes::learn(&keys);
        if scopes.guessed() {
            #[allow(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: no network namespace may be made here");
            }
            return;
        }
        use Scope::{Host, Namespace};
        assert_eq!(keys.map(|key| scopes.of(key)), [Namespace, Namespace, Host, Host, Host]);
    }
}
