//! Which processes are a server's, before it has a connection by which that could be told.

use std::collections::BTreeSet;

use c10k_kernel::processes::Processes;

/// Those that are likely to hold the connections of a server whose listeners these processes hold: they and what they
/// have started of the same program, as Node's cluster, nginx and servers that fork before do; but no parent of another
/// of them, which hands on its listener or what it accepts.
pub(crate) fn expected(all: &Processes, listening: &[u32]) -> Vec<u32> {
    let name = |pid: &u32| all.by_pid.get(pid).map(|line| line.name.as_str());
    let programs: BTreeSet<&str> = listening.iter().filter_map(name).collect();
    let started = all.descendants(listening, &[]);
    let alike = started.into_iter().filter(|pid| name(pid).is_some_and(|name| programs.contains(name)));
    let pool: BTreeSet<u32> = listening.iter().copied().chain(alike).collect();
    let parents: BTreeSet<u32> =
        pool.iter().filter_map(|pid| all.by_pid.get(pid).map(|line| line.parent)).collect();
    pool.into_iter().filter(|pid| !parents.contains(pid)).collect()
}

/// Those among which the holders of a server's connections are looked for first: what these processes have started, and
/// who is in a process group with one of them.
pub(crate) fn likely(all: &Processes, known: &[u32]) -> Vec<u32> {
    let groups: BTreeSet<u32> =
        known.iter().filter_map(|pid| all.by_pid.get(pid).map(|line| line.group)).collect();
    let mut found = known.to_vec();
    let beside = all.by_pid.iter().filter(|(_, line)| line.group > 0 && groups.contains(&line.group));
    for pid in all.descendants(known, &[]).into_iter().chain(beside.map(|(pid, _)| *pid)) {
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use c10k_kernel::processes::ProcessLine;

    use super::*;

    fn host(lines: &[(u32, u32, u32, &str)]) -> Processes {
        let line = |parent, group, name: &str| ProcessLine {
            parent,
            group,
            name: name.to_owned(),
            ..ProcessLine::default()
        };
        let by_pid = lines.iter().map(|(pid, parent, group, name)| (*pid, line(*parent, *group, name)));
        Processes { by_pid: by_pid.collect() }
    }

    #[test]
    fn the_workers_of_a_server_are_expected_to_hold_and_not_who_started_them() {
        // Node's cluster: the first process listens, and has a helper of another program.
        let node =
            host(&[(1, 0, 1, "init"), (10, 1, 10, "node"), (11, 10, 10, "node"), (12, 10, 10, "node")]);
        assert_eq!(expected(&node, &[10]), [11, 12]);
        let helped = host(&[(10, 1, 10, "node"), (11, 10, 10, "node"), (13, 10, 10, "esbuild")]);
        assert_eq!(expected(&helped, &[10]), [11]);
        let alone = host(&[(10, 1, 10, "server"), (13, 10, 10, "sh")]);
        assert_eq!(expected(&alone, &[10]), [10]);
        // nginx: all listen.
        assert_eq!(expected(&node, &[10, 11, 12]), [11, 12]);
        // SO_REUSEPORT: nobody is anybody's parent.
        assert_eq!(expected(&host(&[(10, 1, 5, "a"), (11, 1, 5, "a")]), &[10, 11]), [10, 11]);
        assert_eq!(expected(&host(&[]), &[10]), [10], "it ended meanwhile");
    }

    #[test]
    fn holders_are_looked_for_among_children_and_in_the_process_group_first() {
        let all = host(&[
            (10, 1, 10, "a"),
            (11, 10, 11, "a"),
            (12, 1, 10, "b"),
            (13, 1, 13, "c"),
            (2, 0, 0, "kthreadd"),
        ]);
        assert_eq!(likely(&all, &[10]), [10, 11, 12]);
        assert_eq!(likely(&all, &[2]), [2], "threads of the kernel have no group");
    }
}
