//! The place of a run: a network namespace of its own, with the profile's settings in it.

use std::net::SocketAddr;

use c10k_kernel::address;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::counters::host_wide::NeighboursReader;
use c10k_kernel::namespace::{Beside, Isolation};
use c10k_kernel::sysctl::{Scopes, SysctlRoot};
use c10k_plan::say::refusal::Refusal;
use c10k_plan::veth::neighbour_warning;
use c10k_profile::{
    AppliedGuard, Live, Profile, apply_in_own_namespace, hint_for_unknown, not_applied_warning, not_in_force,
    note, unknown_keys,
};
use c10k_record::{NotApplied, Plan, ProfileInRun, Topology, Warning};
use c10k_swarm::ips::IpList;

use crate::isolate::first_window;
use crate::isolate::own_hash;
use crate::isolate::sample;
use crate::isolate::veth;

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
    /// What was set where the lab was started, which is put back with this value; `None` where nothing was.
    pub(crate) in_force: Option<AppliedGuard>,
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
            hint_for_unknown(&unknown, &root),
        ));
    }
    let mut in_run = ProfileInRun { name: profile.name.clone(), ..ProfileInRun::default() };
    let mut warnings: Vec<Warning> = neighbour_warning(plan, most_neighbours).into_iter().collect();
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
            first_window::set(plan, profile, far.as_ref(), &mut in_run);
            sample::look(profile, plan.is_ipv6(), &mut in_run);
            Some(isolation)
        }
        Err(error) if plan.topology == Topology::Veth => {
            return Err(Refusal::host(
                format!("--topology veth needs two network namespaces: {error}"),
                error.hint().replace("or go on in 127.0.0.0/8", "or use --topology loopback"),
            ));
        }
        Err(error) => {
            let text = format!(
                "{error}; the run uses 127.0.0.0/8 of this host and sets nothing (to isolate it: {})",
                error.hint()
            );
            warnings.push(Warning::new("not-isolated", text));
            in_run.not_applied = not_isolated(profile, &root)?;
            None
        }
    };
    warnings.extend(in_run.not_applied.iter().map(not_applied_warning));
    Ok(Place { isolation, profile: in_run, warnings, far, neighbours, in_force: None })
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

/// What of the profile is not in force where a run takes place that has no namespace of its own.
fn not_isolated(profile: &Profile, root: &SysctlRoot) -> Result<Vec<NotApplied>, Refusal> {
    let scopes = Scopes::learn(&profile.keys());
    let live = Live::at(root.clone(), scopes).map_err(|error| {
        Refusal::host(format!("cannot read what this process may do: {error}"), "mount /proc")
    })?;
    Ok(not_in_force_of(profile, &live))
}

fn not_in_force_of(profile: &Profile, live: &Live) -> Vec<NotApplied> {
    let mut missing = not_in_force(profile, live);
    for not in &mut missing {
        not.why = match not.command {
            Some(_) => "the run has no namespace of its own, and the host is not touched".to_owned(),
            None => std::mem::take(&mut not.why),
        };
        if live.scopes.guessed() && not.key.starts_with("net.") {
            not.why
                .push_str("; that it is the host's is a guess, since no namespace may be made to look into");
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use c10k_kernel::namespace::Seen;

    use c10k_record::Scope;

    use super::*;

    #[test]
    fn a_run_without_a_namespace_lists_what_is_not_in_force_and_says_of_a_guess_that_it_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = SysctlRoot::at(folder.path());
        let set = |key: &str, value: &str| {
            let path = root.path(key).expect("a key");
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, value).expect("written");
        };
        let keys = ["net.core.somaxconn", "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem"];
        for (key, value) in keys.iter().zip(["9\n", "9\t9\t9\n", "1\t2\t3\n"]) {
            set(key, value);
        }
        set("net.core.netdev_max_backlog", "1000\n");
        let text = "name = 'x'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 9\n\
                    'net.ipv4.tcp_mem' = [9, 9, 99]\n'net.ipv4.tcp_rmem' = [4, 5, 6]";
        let profile = Profile::from_text(text).expect("a profile");
        let of = |scopes| not_in_force_of(&profile, &Live::at(root.clone(), scopes).expect("/proc"));
        let seen = [Seen::Writable, Seen::Absent, Seen::Writable];
        let known = of(Scopes::from_listing(&keys, Some(&seen)));
        let told: Vec<_> =
            known.iter().map(|not| (not.key.as_str(), not.present.as_deref(), not.scope)).collect();
        assert_eq!(
            told,
            [
                ("net.ipv4.tcp_mem", Some("9 9 9"), Scope::Host),
                ("net.ipv4.tcp_rmem", Some("1 2 3"), Scope::Namespace),
            ],
            "in force already, and tabs are no part of a value"
        );
        assert!(known.iter().all(|not| !not.why.contains("guess") && not.command.is_some()), "{known:?}");
        let guessed = of(Scopes::from_listing(&keys, None));
        assert!(guessed.iter().all(|not| not.why.contains("is a guess") && not.scope == Scope::Host));
    }
}
