//! The place of a run: a network namespace of its own, with the profile's settings in it.

use std::net::SocketAddr;

use c10k_kernel::address;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::counters::host_wide::NeighboursReader;
use c10k_kernel::namespace::{Beside, Isolation};
use c10k_kernel::sysctl::{Scopes, SysctlRoot};
use c10k_profile::{
    Profile, Wanted, apply_in_own_namespace, not_applied_warning, note, scope_of, unknown_keys,
};
use c10k_record::{NotApplied, Plan, ProfileInRun, Scope, Topology, Warning};
use c10k_swarm::ips::IpList;

use crate::own_hash;
use crate::plan::Refusal;
use crate::veth;

/// How many neighbours the kernel keeps, over all namespaces; shown in the first one only.
const NEIGHBOURS: &str = "net.ipv4.neigh.default.gc_thresh3";

/// Where the run takes place and what was set there.
#[derive(Debug)]
pub(crate) struct Place {
    /// How it is isolated; `None` when it takes place where the lab was started.
    pub(crate) isolation: Option<Isolation>,
    pub(crate) profile: ProfileInRun,
    pub(crate) warnings: Vec<Warning>,
    /// The swarm's own namespace; `None` when it stands in the server's.
    pub(crate) far: Option<Beside>,
    /// The tables of neighbours, opened where they are shown; `None` where the run did not leave that place.
    pub(crate) neighbours: Option<NeighboursReader>,
}

/// Moves this process, which must not have threads yet, into a namespace of its own and applies the profile
/// there. Where that is forbidden the run goes on in 127.0.0.0/8, nothing is set, and all of it is listed; a run
/// that wants two namespaces is refused.
pub(crate) fn enter(plan: &Plan, profile: &Profile) -> Result<Place, Refusal> {
    let root = SysctlRoot::default();
    let neighbours = Some(NeighboursReader::open(&ProcRoot::default()));
    let most_neighbours = root.read(NEIGHBOURS).ok().and_then(|text| text.parse().ok());
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
    let mut warnings: Vec<Warning> = veth::neighbour_warning(plan, most_neighbours).into_iter().collect();
    // Looked for before the namespace is left in which they would be.
    let left = c10k_swarm::add_ips::left_behind().unwrap_or_default();
    warnings.extend(left.iter().map(|left| Warning::new("ips-left-behind", left.to_string())));
    let mut far = None;
    let isolation = match own_hash::enter(profile, &mut in_run) {
        Ok(isolation) => {
            if plan.topology == Topology::Veth {
                far = Some(veth::join(plan)?);
            } else {
                add_sources(plan)?;
            }
            let applied = apply_in_own_namespace(profile, &root);
            note(&mut in_run, &applied.set, &applied.not_set);
            if let Some(far) = &far {
                apply_at_the_far_end(profile, far, &mut in_run)?;
            }
            Some(isolation)
        }
        Err(error) if plan.topology == Topology::Veth => {
            return Err(Refusal::host(
                format!("--topology veth needs two network namespaces: {error}"),
                error.hint().replace("or go on in 127.0.0.0/8", "or use --topology loopback"),
            ));
        }
        Err(error) => {
            warnings.push(Warning::new(
                "not-isolated",
                format!(
                    "{error}; the run uses 127.0.0.0/8 of this host and sets \
                     nothing (to isolate it: {})",
                    error.hint()
                ),
            ));
            let scopes = Scopes::learn(&profile.keys());
            let unset = |(key, wanted): (&String, &Wanted)| unset(&root, &scopes, key, &wanted.value);
            in_run.not_applied = profile.sysctl.iter().map(unset).collect();
            None
        }
    };
    warnings.extend(in_run.not_applied.iter().map(not_applied_warning));
    Ok(Place { isolation, profile: in_run, warnings, far, neighbours })
}

/// Sets in the swarm's namespace what was set in the server's, and lists what could be set there only.
fn apply_at_the_far_end(profile: &Profile, far: &Beside, in_run: &mut ProfileInRun) -> Result<(), Refusal> {
    let applied = far
        .inside(|| apply_in_own_namespace(profile, &SysctlRoot::default()))
        .map_err(|error| Refusal::host(format!("cannot enter the swarm's namespace: {error}"), ""))?;
    let mut there = ProfileInRun::default();
    note(&mut there, &applied.set, &applied.not_set);
    for mut not in there.not_applied {
        if !in_run.not_applied.iter().any(|known| known.key == not.key) {
            not.why = format!("in the swarm's namespace: {}", not.why);
            in_run.not_applied.push(not);
        }
    }
    for applied in there.applied {
        if !in_run.applied.iter().any(|known| known.key == applied.key) {
            in_run.applied.push(applied);
        }
    }
    Ok(())
}

/// Adds the plan's sources and servers to `lo` of this namespace, where nothing but 127.0.0.0/8 and ::1 is there
/// from the start.
fn add_sources(plan: &Plan) -> Result<(), Refusal> {
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

fn unset(root: &SysctlRoot, scopes: &Scopes, key: &str, wanted: &impl ToString) -> NotApplied {
    let scope = scope_of(scopes.of(key));
    let mut why = "the run has no namespace of its own, and the host is not touched".to_owned();
    if scopes.guessed() && scope == Scope::Namespace {
        why.push_str("; that it is a namespace's is a guess, since none may be made to look into");
    }
    NotApplied {
        key: key.to_owned(),
        wanted: wanted.to_string(),
        present: root.read(key).ok(),
        scope,
        why,
        command: Some(format!("sudo sysctl -w '{key}={}'", wanted.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use c10k_kernel::namespace::Seen;

    use super::*;

    #[test]
    fn how_far_a_setting_reaches_that_was_not_set_is_looked_at_and_a_guess_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = SysctlRoot::at(folder.path());
        let keys = ["net.core.somaxconn", "net.ipv4.tcp_mem"];
        let of = |scopes: &Scopes| keys.map(|key| unset(&root, scopes, key, &9));
        let [own, hosts] = of(&Scopes::from_listing(&keys, Some(&[Seen::Writable, Seen::Absent])));
        assert_eq!((own.scope, hosts.scope), (Scope::Namespace, Scope::Host));
        assert!(!own.why.contains("guess") && !hosts.why.contains("guess"));
        let [own, guessed] = of(&Scopes::from_listing(&keys, None));
        assert_eq!((own.scope, guessed.scope), (Scope::Namespace, Scope::Namespace));
        assert!(own.why.contains("is a guess") && guessed.why.contains("is a guess"), "{guessed:?}");
    }
}
