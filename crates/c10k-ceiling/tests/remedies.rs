//! What lifts a wall: lines that can be pasted, and none that lowers what stands.

mod support;

use c10k_ceiling::{Findings, PlanView, counter, wall, walls};
use c10k_record::HostSnapshot;
use proptest::prelude::*;
use support::any::{any_host, any_plan};
use support::{change, host, moved, named, plan, planted};

/// What a line of a remedy sets: the setting and its values.
fn sets(line: &str) -> Vec<(String, Vec<u64>)> {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    };
    // A line that looks before it sets lowers nothing.
    if line.starts_with('[') || line.starts_with("g=") || line.contains("$(sysctl -n") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some((_, set)) = line.split_once("sysctl -w ")
        && let Some((key, value)) = set.split_once('=')
    {
        found.push((key.to_owned(), numbers(value)));
    }
    if let Some((_, value)) = line.split_once("ulimit -Sn ") {
        found.push(("soft".to_owned(), numbers(value)));
    }
    for (flag, name) in [("--nofile=", "nofile"), ("--nproc=", "nproc")] {
        if let Some((_, value)) = line.split_once(flag) {
            found.push((name.to_owned(), numbers(value)));
        }
    }
    if let Some((_, rest)) = line.split_once("echo ")
        && line.contains("tee")
    {
        let file = if line.contains("pids.max") { "pids.max" } else { "memory.max" };
        found.push((file.to_owned(), numbers(rest.split_whitespace().next().unwrap_or(""))));
    }
    if let Some((_, value)) = line.split_once("--max-connections ") {
        found.push(("max-connections".to_owned(), numbers(value.split_whitespace().next().unwrap_or(""))));
    }
    found
}

/// What stands, in the order of the values that a line would set in its place; empty where that is not known.
fn stands(setting: &str, host: &HostSnapshot, plan: &PlanView, server: bool) -> Vec<u64> {
    let of_server = server && plan.server_pid.is_some();
    let one = |value: Option<u64>| value.into_iter().collect();
    let both = |soft: Option<u64>, hard: Option<u64>| vec![soft.unwrap_or(0), hard.unwrap_or(0)];
    let end = if server { host.server_nofile } else { host.swarm_nofile };
    match setting {
        "fs.nr_open" => one(host.nr_open),
        "fs.file-max" => one(host.file_max),
        "fs.epoll.max_user_watches" => one(host.epoll_watches),
        "net.ipv4.tcp_max_orphans" => one(host.max_orphans),
        "net.ipv4.tcp_max_tw_buckets" => one(host.max_tw_buckets),
        "net.ipv4.tcp_max_syn_backlog" => one(host.max_syn_backlog),
        "net.core.somaxconn" => one(host.somaxconn),
        "net.core.netdev_max_backlog" => one(host.netdev_max_backlog),
        "net.netfilter.nf_conntrack_max" => one(host.conntrack_max),
        "net.ipv4.neigh.default.gc_thresh3" => one(host.neighbours_max),
        "net.ipv6.neigh.default.gc_thresh3" => one(host.neighbours_max_ipv6),
        "net.ipv4.tcp_mem" => host.tcp_mem_pages.map(Vec::from).unwrap_or_default(),
        "kernel.threads-max" => one(host.threads_max),
        "kernel.pid_max" => one(host.pid_max),
        "soft" => one(host.nofile_soft.max(end)),
        // The soft one, and the hard one where it is set too.
        "nofile" if of_server => both(host.server_nofile, plan.server_nofile_hard),
        "nofile" => both(host.nofile_soft.max(end), host.nofile_hard),
        "nproc" => both(host.nproc, host.nproc_hard),
        "pids.max" => one(host.pids_max),
        "memory.max" => one(host.cgroup_memory_bytes),
        "max-connections" => one(plan.server_max_connections),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_line_that_lifts_a_wall_lowers_what_stands(host in any_host(), plan in any_plan()) {
        // A soft limit is never above its hard one.
        let mut host = host;
        host.nofile_hard = host.nofile_hard.max(host.nofile_soft).max(host.server_nofile).max(host.swarm_nofile);
        host.nproc_hard = host.nproc_hard.max(host.nproc);
        let mut plan = plan;
        plan.server_nofile_hard = plan.server_nofile_hard.max(host.server_nofile);
        for wall in walls() {
            let remedy = (wall.lift)(&host, &plan);
            prop_assert!(!remedy.commands.is_empty(), "{}", wall.name);
            let server = wall.name != "nofile-swarm";
            for line in &remedy.commands {
                for (setting, values) in sets(line) {
                    for (value, present) in values.iter().zip(stands(&setting, &host, &plan, server)) {
                        prop_assert!(*value >= present, "{}: {line}: {present} stands", wall.name);
                    }
                }
            }
            for setting in &remedy.settings {
                let Some(key) = setting.key.strip_prefix("sysctl.") else { continue };
                let values = setting.value.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
                for (value, present) in values.zip(stands(key, &host, &plan, server)) {
                    prop_assert!(value >= present, "{}: {setting:?}: {present} stands", wall.name);
                }
            }
        }
    }
}

#[test]
fn a_group_that_is_gone_after_the_run_is_in_no_line_to_paste() {
    let named = |mut findings: c10k_ceiling::Findings, passing: &[&str]| {
        findings.host.cgroup_memory_folder = Some("/sys/fs/cgroup/memory/of the run".to_owned());
        findings.plan.passing_groups = passing.iter().map(|group| (*group).to_owned()).collect();
        let remedy = support::named(&findings).remedy.expect("there is one");
        remedy.commands.iter().any(|line| line.contains("of the run"))
    };
    let findings = || support::planted("cgroup-memory").expect("planted");
    assert!(named(findings(), &[]) && named(findings(), &["/sys/fs/cgroup/memory/of the"]));
    assert!(!named(findings(), &["/sys/fs/cgroup/memory/of the run"]));
}

#[test]
fn what_is_enough_already_is_said_and_doubled_for_more() {
    let mut host = host();
    host.nofile_soft = Some(20_000);
    host.nofile_hard = Some(1 << 20);
    let plan = PlanView { target: 5_000, ..plan() };
    let lift = |name: &str| (wall(name).expect("a wall").lift)(&host, &plan);
    let descriptors = lift("nofile-server");
    assert_eq!(descriptors.commands, ["ulimit -Sn 40000"]);
    assert!(descriptors.summary.starts_with("20,000 are enough for 5,000."), "{}", descriptors.summary);
    let nr_open = lift("nr-open").commands;
    assert_eq!(nr_open[0], "sudo sysctl -w fs.nr_open=2097152");
    assert_eq!(nr_open[1], "sudo prlimit --pid $$ --nofile=2097152:2097152");
    assert_eq!(lift("file-max").commands, ["sudo sysctl -w fs.file-max=4932354"]);
    // What cannot be seen from here is looked at by the line itself.
    let line = &lift("netdev-backlog").commands[0];
    assert_eq!(
        line,
        "[ \"$(sysctl -n net.core.netdev_max_backlog)\" -ge 10000 ] || sudo sysctl -w \
         net.core.netdev_max_backlog=10000"
    );
}

#[test]
fn an_end_that_was_started_with_less_than_the_shell_has_is_started_again() {
    let mut host = host();
    (host.server_tables, host.server_nofile) = (false, Some(300));
    (host.nofile_soft, host.nofile_hard) = (Some(20_000), Some(20_000));
    let plan = PlanView { target: 600, ..plan() };
    let lift = (wall("nofile-server").expect("a wall").lift)(&host, &plan);
    assert_eq!(lift.commands, ["c10k-server"]);
    assert!(lift.summary.contains("20,000: it had 300"), "{}", lift.summary);
}

#[test]
fn each_line_that_lifts_a_wall_of_ports_suffices_by_itself() {
    let host = HostSnapshot { reserved_ports: Some(14_116), ..host() };
    let of = |name: &str, plan: &PlanView| (wall(name).expect("a wall").lift)(&host, plan).commands;
    let one_source = PlanView { sources: 1, explicit_ports: false, source_ports: None, ..plan() };
    // The widest range alone has 64,512 ports, and 100,000 are wanted.
    assert_eq!(of("ports-exhausted", &one_source), ["c10k-swarm --ips 127.0.0.1-127.0.0.8 --target 100000"]);
    let fewer = PlanView { target: 60_000, ..one_source.clone() };
    assert_eq!(
        of("ports-exhausted", &fewer)[1],
        "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""
    );
    assert_eq!(of("ports-reserved", &one_source)[1], "c10k-swarm --ips 127.0.0.1-127.0.0.8 --target 100000");
    let tracked = of("conntrack", &one_source);
    assert!(tracked.len() == 2 && tracked[1].matches("sudo").count() == 1, "{tracked:?}");
    let host = HostSnapshot { may_raise_nofile: Some(false), ..host.clone() };
    assert_eq!((wall("nr-open").expect("a wall").lift)(&host, &one_source).commands, ["c10k-server"]);
}

#[test]
fn the_limit_on_threads_that_refused_is_named_and_lifted() {
    let lift = |findings: &Findings| {
        let ceiling = named(findings);
        let sources: Vec<String> = ceiling.evidence.iter().map(|e| e.source.clone()).collect();
        (sources, ceiling.remedy.expect("a remedy").commands)
    };
    let mut of_group = planted("threads").expect("planted");
    of_group.host.nproc_bypassed = true;
    (of_group.host.pids_max, of_group.host.pids_current) = (Some(5), Some(5));
    of_group.host.pids_folder = Some("/sys/fs/cgroup/pids/a b".to_owned());
    moved(&mut of_group, counter::SWARM_THREADS_REFUSED, 2);
    let (sources, commands) = lift(&of_group);
    assert_eq!(sources, ["EAGAIN", counter::SWARM_THREADS_REFUSED, "pids.max", "pids.current"]);
    assert_eq!(commands, ["echo 69 | sudo tee '/sys/fs/cgroup/pids/a b/pids.max'"]);
    // Of an ordinary user in the same group its refusals decide, whatever was left at the start.
    of_group.host.nproc_bypassed = false;
    for (current, left) in [(Some(5), None), (Some(4), Some(0)), (None, Some(70))] {
        (of_group.host.pids_current, of_group.host.threads_left) = (current, left);
        let (sources, commands) = lift(&of_group);
        assert_eq!(sources[2], "pids.max", "{current:?}, {left:?}");
        assert!(commands[0].contains("pids.max"), "{commands:?}");
    }
    of_group.counters.insert(counter::SWARM_THREADS_REFUSED.to_owned(), change(3, 3));
    let (sources, commands) = lift(&of_group);
    assert_eq!(sources, ["EAGAIN", "RLIMIT_NPROC"]);
    assert!(commands[0].contains("--nproc="), "{commands:?}");
    let mut of_user = planted("threads").expect("planted");
    of_user.host.nproc_hard = Some(90_000);
    let (sources, commands) = lift(&of_user);
    assert_eq!(sources, ["EAGAIN", "RLIMIT_NPROC"]);
    assert_eq!(commands, ["sudo prlimit --pid $$ --nproc=90064:90064"]);
    of_user.host.nproc_bypassed = true;
    of_user.host.threads_max = Some(190_000);
    let (sources, commands) = lift(&of_user);
    assert_eq!(sources, ["EAGAIN", "kernel.threads-max"], "it does not bind root");
    assert_eq!(commands, ["sudo sysctl -w kernel.threads-max=380000"]);
    (of_user.host.pids_max, of_user.host.pids_current) = (Some(9_000), Some(9));
    of_user.host.threads_left = Some(70);
    of_user.counters.remove(counter::SWARM_THREADS_REFUSED);
    let (sources, commands) = lift(&of_user);
    assert_eq!((sources.len(), commands.len()), (1, 1), "of two limits that count nothing none is proven");
    assert!(commands[0].contains("kernel.threads-max"), "{commands:?}");
}

#[test]
fn of_the_limits_on_threads_the_one_binds_of_which_least_is_left() {
    let of = |user: u64, threads: u64, numbers: u64| {
        let mut findings = planted("threads").expect("planted");
        let host = &mut findings.host;
        (host.nproc, host.nproc_hard) = (Some(1_000 + user), Some(u64::MAX));
        (host.threads_max, host.pid_max) = (Some(5_000 + threads), Some(5_000 + numbers));
        (host.user_threads, host.threads_in_use) = (Some(1_000), Some(5_000));
        host.threads_left = [user, threads, numbers].into_iter().min();
        let ceiling = named(&findings);
        let limit = ceiling.evidence[1].source.clone();
        (limit, ceiling.remedy.expect("a remedy").commands[0].clone())
    };
    let (limit, line) = of(3, 9_000, 9_000);
    assert_eq!(limit, "RLIMIT_NPROC");
    assert!(line.contains("--nproc="), "{line}");
    let (limit, line) = of(90_000, 3, 9_000);
    assert_eq!(limit, "kernel.threads-max");
    assert_eq!(line, "sudo sysctl -w kernel.threads-max=5064");
    let (limit, line) = of(90_000, 9_000, 3);
    assert_eq!(limit, "kernel.pid_max");
    assert_eq!(line, "sudo sysctl -w kernel.pid_max=5064");
}

#[test]
fn the_queue_of_a_program_that_asked_for_little_is_not_lifted_by_somaxconn() {
    let lift = |backlog, somaxconn| {
        let mut findings = planted("accept-queue").expect("planted");
        (findings.host.backlog, findings.host.somaxconn) = (Some(backlog), Some(somaxconn));
        named(&findings).remedy.expect("a remedy")
    };
    let by_program = lift(5, 4096);
    assert_eq!(by_program.commands, ["c10k-swarm --in-flight 5 --target 100000"]);
    assert!(by_program.summary.contains("asks listen() for 5"), "{}", by_program.summary);
    let by_host = lift(4096, 4096);
    assert_eq!(by_host.commands[1], "sudo sysctl -w net.core.somaxconn=16384");
}

#[test]
fn ports_that_are_not_to_be_tracked_are_the_servers_own() {
    let lines = |server_ports: &[u16]| {
        let plan = PlanView { server_ports: server_ports.to_vec(), ..plan() };
        (wall("conntrack").expect("a wall").lift)(&host(), &plan).commands.join("; ")
    };
    assert!(lines(&[8080]).contains("tcp dport 8080 notrack"), "{}", lines(&[8080]));
    assert!(lines(&[80, 81]).contains("tcp sport { 80, 81 } notrack") && !lines(&[80, 81]).contains("9000"));
}

#[test]
fn exhausted_ports_say_how_many_addresses_are_needed_and_which() {
    let ceiling = named(&planted("ports-exhausted").expect("planted"));
    let texts: Vec<&str> = ceiling.evidence.iter().map(|e| e.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("28,232 ports (32768-60999)")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("needed for 100,000: 4")), "{texts:?}");
    let remedy = ceiling.remedy.expect("it can be lifted");
    let ips = remedy.settings.iter().find(|setting| setting.key == "--ips").expect("addresses");
    assert_eq!(ips.value, "127.0.0.1-127.0.0.4");
    assert!(remedy.commands[0].contains("--ips 127.0.0.1-127.0.0.4"), "{remedy:?}");
}

#[test]
fn a_range_that_is_the_widest_is_not_to_be_widened() {
    let lift = |range| {
        let mut findings = planted("ports-exhausted").expect("planted");
        findings.host.port_range = Some(range);
        findings.plan.source_ports = None;
        // The server's own port lies in it.
        findings.plan.ports_left_out = Some(1);
        named(&findings).remedy.expect("it can be lifted").summary
    };
    assert!(lift((32768, 60999)).contains("widen the port range"));
    let widest = lift((1024, 65535));
    assert!(widest.starts_with("Use ") && !widest.contains("widen"), "{widest}");
}
