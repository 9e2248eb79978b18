//! The first window of a run's connections: on the routes between its two ends, in its own namespaces.

use std::io;

use c10k_kernel::namespace::Beside;
use c10k_kernel::route::{initial_windows, set_initial_window};
use c10k_kernel::sysctl::Scope;
use c10k_profile::{NotSet, Profile, Why, note};
use c10k_record::{AppliedSetting, Plan, ProfileInRun};

use crate::isolate::veth;

const KEY: &str = "namespace.initcwnd";
/// `TCP_INIT_CWND`, include/net/tcp.h.
const OF_THE_KERNEL: u32 = 10;

/// Sets what the profile wants at both ends, and reads it back. What does not come of it is listed.
pub(crate) fn set(plan: &Plan, profile: &Profile, far: Option<&Beside>, in_run: &mut ProfileInRun) {
    let Some(wanted) = profile.namespace.initcwnd else { return };
    let mut before = None;
    for (device, namespace) in veth::devices(far) {
        let set = || change(&device, plan.is_ipv6(), wanted);
        let changed = match &namespace {
            None => set(),
            Some(namespace) => namespace.inside(set).flatten(),
        };
        match changed {
            Ok(was) => before = before.or(was),
            Err(error) => {
                let not_set = NotSet {
                    key: KEY.to_owned(),
                    wanted: wanted.to_string(),
                    present: before.map(|segments: u32| segments.to_string()),
                    scope: Scope::Namespace,
                    why: Why::Refused(format!("on the routes over {device}: {error}")),
                    command: None,
                    optional: false,
                };
                note(in_run, &[], &[not_set]);
                return;
            }
        }
    }
    in_run.applied.push(AppliedSetting {
        key: KEY.to_owned(),
        before: before.unwrap_or(OF_THE_KERNEL).to_string(),
        after: wanted.to_string(),
    });
}

/// Changes the routes over a device of this namespace; says what stood on the first of them.
fn change(device: &str, is_ipv6: bool, wanted: u32) -> io::Result<Option<u32>> {
    let before = initial_windows(device, is_ipv6)?;
    let changed = set_initial_window(device, is_ipv6, wanted)?;
    let after = initial_windows(device, is_ipv6)?;
    if changed == 0 || after.len() != changed || after.iter().any(|window| *window != Some(wanted)) {
        return Err(io::Error::other(format!("{wanted} was set on {changed}, and {after:?} was read back")));
    }
    Ok(before.first().copied().flatten())
}
