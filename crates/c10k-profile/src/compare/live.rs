//! The system that a profile is compared with.

use std::io;

use c10k_kernel::limits::{self, Cap, Limit};
use c10k_kernel::sysctl::{Scopes, SysctlRoot};

use crate::text::Profile;

/// The system that a profile is compared with.
#[derive(Clone, Debug)]
pub struct Live {
    /// The kernel's settings.
    pub root: SysctlRoot,
    /// How far each of the profile's keys reaches.
    pub scopes: Scopes,
    /// RLIMIT_NOFILE of this process.
    pub nofile: Limit,
    /// Whether this process may raise its hard limits (CAP_SYS_RESOURCE).
    pub may_raise_hard: bool,
}

impl Live {
    /// The system that this process stands in. The scopes are learned from a fresh child namespace.
    ///
    /// # Errors
    /// When the limits of this process cannot be read.
    pub fn here(profile: &Profile) -> io::Result<Self> {
        let root = SysctlRoot::default();
        let scopes = learn_scopes(profile, &root);
        Self::at(root, scopes)
    }

    /// This process before settings that lie elsewhere, for instance of a recorded host.
    ///
    /// # Errors
    /// When the limits of this process cannot be read.
    pub fn at(root: SysctlRoot, scopes: Scopes) -> io::Result<Self> {
        Ok(Self {
            root,
            scopes,
            nofile: limits::nofile()?,
            may_raise_hard: limits::has_capability(Cap::SysResource)?,
        })
    }

    /// True in the machine's first network namespace, the only one that shows host-wide network settings.
    #[must_use]
    pub fn is_first_namespace(&self) -> bool {
        is_first_namespace(&self.root)
    }

    pub(crate) fn nr_open(&self) -> Option<u64> {
        self.root.nr_open()
    }
}

pub(crate) fn is_first_namespace(root: &SysctlRoot) -> bool {
    FIRST_NAMESPACE_ONLY.iter().all(|key| root.exists(key))
}

/// How far the keys of a profile reach that is set in `root`: where no fresh namespace can be made to look into, one that
/// is not the machine's first shows it itself.
pub(crate) fn learn_scopes(profile: &Profile, root: &SysctlRoot) -> Scopes {
    let scopes = Scopes::learn(&profile.keys());
    if scopes.guessed() && !is_first_namespace(root) {
        return Scopes::of_this_namespace(&profile.keys(), root);
    }
    scopes
}

/// There in the machine's first network namespace only, of two tables of the kernel's: should a later kernel give each
/// namespace one of them, the other still tells (net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c).
const FIRST_NAMESPACE_ONLY: [&str; 2] = ["net.core.netdev_max_backlog", "net.ipv4.tcp_mem"];
