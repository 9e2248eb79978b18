//! Applying: in which order, and how one value is written, read back and, when it did not stand, put back.

use std::io;

use c10k_kernel::sysctl::{Scope, SysctlRoot};

use crate::compare::{Change, Ground, Judgement, Live, NotSet, Why, judge, learn_scopes};
use crate::text::{Comparison, Profile, SysctlValue, one_line};

/// What came of applying a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What was changed, in the order of the writes.
    pub set: Vec<Change>,
    /// What the profile wants and was not set.
    pub not_set: Vec<NotSet>,
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) key: String,
    pub(crate) before: String,
    pub(crate) wanted: SysctlValue,
    pub(crate) scope: Scope,
    pub(crate) optional: bool,
}

/// The writes in their order, and what cannot be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Planned>,
    pub(crate) not_set: Vec<NotSet>,
}

/// Why a value does not stand after a write.
#[derive(Debug)]
pub(crate) enum WriteFault {
    /// The kernel refused it; what stood before stands.
    Refused(io::Error),
    /// The kernel keeps another value; what stood before was put back.
    NotKept { after: String },
    /// Neither stands.
    Torn { fault: String, now: Option<String> },
}

/// Applies the sysctls of `profile` to a network namespace of our own, which dies with the run, so nothing is
/// journalled. Only what belongs to the namespace is touched: `fs.*`, `kernel.*`, `vm.*` and the host-wide
/// `net.*` keys are listed with the command that would set them. In the machine's first network namespace
/// nothing is touched at all.
#[must_use]
pub fn apply_in_own_namespace(profile: &Profile, root: &SysctlRoot) -> Applied {
    let scopes = learn_scopes(profile, root);
    match Live::at(root.clone(), scopes) {
        Ok(live) => apply_to_namespace(profile, &live),
        Err(error) => {
            let not_set = profile.sysctl.iter().map(|(key, wanted)| NotSet {
                key: key.clone(),
                wanted: wanted.value.to_string(),
                present: None,
                scope: Scope::Namespace,
                why: Why::Unreadable(error.to_string()),
                command: None,
                optional: wanted.optional,
            });
            Applied { set: Vec::new(), not_set: not_set.collect() }
        }
    }
}

pub(crate) fn apply_to_namespace(profile: &Profile, live: &Live) -> Applied {
    let plan = plan(profile, live, Ground::OwnNamespace);
    let mut applied = Applied { set: Vec::new(), not_set: plan.not_set };
    for write in plan.writes {
        match set_and_verify(&live.root, &write) {
            Ok(after) => applied.set.push(Change {
                before: one_line(&write.before),
                after: one_line(&after),
                key: write.key,
            }),
            Err(fault) => applied.not_set.push(write.not_set(fault.why(), None)),
        }
    }
    applied
}

/// Judges every key and puts the writes in an order in which each one is allowed; the reverse order allows
/// each one to be undone.
pub(crate) fn plan(profile: &Profile, live: &Live, ground: Ground) -> Plan {
    let mut plan = Plan::default();
    for (key, wanted) in &profile.sysctl {
        match judge(key, wanted, live, ground) {
            Judgement::AlreadySo => {}
            Judgement::No(not_set) => plan.not_set.push(not_set),
            Judgement::Change { present } => plan.writes.push(Planned {
                key: key.clone(),
                before: present,
                wanted: wanted.value.clone(),
                scope: live.scopes.of(key),
                optional: wanted.optional,
            }),
        }
    }
    put_in_order(&mut plan.writes);
    plan
}

/// Writes a value, reads it back, and puts the old one back when the new one does not stand: a refused write
/// may have changed the first field of a vector, and an accepted one may have been taken in part.
pub(crate) fn set_and_verify(root: &SysctlRoot, write: &Planned) -> Result<String, WriteFault> {
    let written = root.write(&write.key, &write.wanted.to_string());
    let after = root.read(&write.key);
    if let (Ok(()), Ok(after)) = (&written, &after)
        && write.wanted.compare(after) == Comparison::Same
    {
        return Ok(after.clone());
    }
    if after.as_ref().ok() != Some(&write.before) {
        // The error of this write says nothing that reading back does not say better.
        let _ = root.write(&write.key, &write.before);
        let now = root.read(&write.key).ok();
        if now.as_ref() != Some(&write.before) {
            let fault = match (written, after) {
                (Err(error), _) | (Ok(()), Err(error)) => error.to_string(),
                (Ok(()), Ok(after)) => format!("the kernel made {} of it", one_line(&after)),
            };
            return Err(WriteFault::Torn { fault, now });
        }
    }
    match (written, after) {
        (Err(error), _) | (Ok(()), Err(error)) => Err(WriteFault::Refused(error)),
        (Ok(()), Ok(after)) => Err(WriteFault::NotKept { after: one_line(&after) }),
    }
}

impl WriteFault {
    pub(crate) fn why(&self) -> Why {
        match self {
            Self::Refused(error) if error.kind() == io::ErrorKind::NotFound => {
                Why::Refused("it names something that this kernel does not have".to_owned())
            }
            Self::Refused(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Why::Refused("the value is out of its range (EINVAL)".to_owned())
            }
            Self::Refused(error) => Why::Refused(error.to_string()),
            Self::NotKept { after } => Why::NotKept { after: after.clone() },
            Self::Torn { fault, now } => {
                Why::Torn { fault: fault.clone(), now: now.as_deref().map(one_line) }
            }
        }
    }

    /// True when it speaks of this user and not of the value.
    pub(crate) fn is_about_permission(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::Refused(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem))
    }
}

impl Planned {
    pub(crate) fn not_set(self, why: Why, command: Option<String>) -> NotSet {
        let present = match &why {
            Why::Torn { now, .. } => now.clone(),
            _ => Some(one_line(&self.before)),
        };
        NotSet {
            key: self.key,
            wanted: self.wanted.to_string(),
            present,
            scope: self.scope,
            why,
            command,
            optional: self.optional,
        }
    }
}

const PRIVILEGED_PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// The kernel refuses a port range that begins below the first unprivileged port, whichever of the two is
/// written (net/ipv4/sysctl_net_ipv4.c): so that one goes first that makes room for the other. Ceilings go
/// before what they bound.
fn put_in_order(writes: &mut [Planned]) {
    let raises_privileged =
        writes.iter().any(|write| write.key == PRIVILEGED_PORTS && !write.wanted.lowers(&write.before));
    let rank = |key: &str| match key {
        "fs.nr_open" | "fs.file-max" => 0,
        PRIVILEGED_PORTS if raises_privileged => 3,
        PRIVILEGED_PORTS => 1,
        PORT_RANGE => 2,
        _ => 4,
    };
    writes.sort_by(|one, other| (rank(&one.key), &one.key).cmp(&(rank(&other.key), &other.key)));
}
