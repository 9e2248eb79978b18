//! The place of a run: a network namespace of its own, with the profile's settings in it.

use std::net::SocketAddr;

use c10k_kernel::address;
use c10k_kernel::namespace::{Isolation, enter_new};
use c10k_kernel::sysctl::SysctlRoot;
use c10k_profile::{Profile, apply_in_own_namespace, not_applied_warning, note, unknown_keys};
use c10k_record::{NotApplied, Plan, ProfileInRun, Scope, Warning};
use c10k_swarm::ips::IpList;

use crate::plan::Refusal;

/// Where the run takes place and what was set there.
#[derive(Debug)]
pub(crate) struct Place {
    /// How it is isolated; `None` when it takes place where the lab was started.
    pub(crate) isolation: Option<Isolation>,
    pub(crate) profile: ProfileInRun,
    pub(crate) warnings: Vec<Warning>,
}

/// Moves this process, which must not have threads yet, into a namespace of its own and applies the profile
/// there. Where that is forbidden the run goes on in 127.0.0.0/8, nothing is set, and all of it is listed.
pub(crate) fn enter(profile: &Profile) -> Result<Place, Refusal> {
    let root = SysctlRoot::default();
    // Inside a namespace a host-wide key cannot be told from one that does not exist.
    let unknown = unknown_keys(profile, &root);
    if !unknown.is_empty() {
        return Err(Refusal::host(
            format!(
                "the profile '{}' wants settings that this kernel does not have: {}",
                profile.name,
                unknown.join(", ")
            ),
            "correct the names, or mark them { value = …, optional = true }",
        ));
    }
    let mut in_run = ProfileInRun { name: profile.name.clone(), ..ProfileInRun::default() };
    let mut warnings = Vec::new();
    let isolation = match enter_new() {
        Ok(isolation) => {
            let applied = apply_in_own_namespace(profile, &root);
            note(&mut in_run, &applied.set, &applied.not_set);
            Some(isolation)
        }
        Err(error) => {
            warnings.push(Warning::new(
                "not-isolated",
                format!(
                    "no network namespace of its own: {error}; the run uses 127.0.0.0/8 of this host and sets \
                     nothing (to isolate it: {})",
                    error.hint()
                ),
            ));
            in_run.not_applied =
                profile.sysctl.iter().map(|(key, wanted)| unset(&root, key, &wanted.value)).collect();
            None
        }
    };
    warnings.extend(in_run.not_applied.iter().map(not_applied_warning));
    Ok(Place { isolation, profile: in_run, warnings })
}

/// Adds the plan's sources and servers to `lo` of this namespace, where nothing but 127.0.0.0/8 and ::1 is there
/// from the start.
pub(crate) fn add_sources(plan: &Plan) -> Result<(), Refusal> {
    let sources = plan.load.ips.as_deref().and_then(|text| text.parse::<IpList>().ok());
    let servers = plan.server.listen.iter().map(SocketAddr::ip);
    for ip in sources.iter().flat_map(IpList::addresses).copied().chain(servers) {
        if address::is_local(ip).unwrap_or(false) {
            continue;
        }
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        address::add("lo", ip, prefix).map_err(|error| {
            Refusal::host(
                format!("the address {ip} cannot be added in the run's own namespace: {error}"),
                "name unicast addresses, such as 192.168.1.200-230",
            )
        })?;
    }
    Ok(())
}

fn unset(root: &SysctlRoot, key: &str, wanted: &impl ToString) -> NotApplied {
    NotApplied {
        key: key.to_owned(),
        wanted: wanted.to_string(),
        present: root.read(key).ok(),
        scope: if key.starts_with("net.") { Scope::Namespace } else { Scope::Host },
        why: "the run has no namespace of its own, and the host is not touched".to_owned(),
        command: Some(format!("sudo sysctl -w '{key}={}'", wanted.to_string())),
    }
}
