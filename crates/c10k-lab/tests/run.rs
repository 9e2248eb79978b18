//! A run from plan to record, by the real program.

mod common;

use c10k_record::{PhaseName, Plan, ProfileInRun, Record, RunState, Sample};
use common::{Ended, Lab, lab, run_lab};

/// Settings of this host's own namespace that profiles want otherwise.
fn settings_of_the_host() -> Vec<(String, String)> {
    [
        "net/ipv4/ip_local_port_range",
        "net/core/somaxconn",
        "net/ipv4/tcp_max_syn_backlog",
        "net/ipv4/tcp_rmem",
        "net/ipv4/tcp_mem",
        "fs/nr_open",
        "fs/file-max",
    ]
    .iter()
    .map(|key| {
        let value = std::fs::read_to_string(format!("/proc/sys/{key}")).expect("a setting of every host");
        ((*key).to_owned(), value)
    })
    .collect()
}

#[track_caller]
fn applied(profile: &ProfileInRun, key: &str) -> String {
    let found = profile.applied.iter().find(|setting| setting.key == key);
    found.unwrap_or_else(|| panic!("{key} is not among {:?}", profile.applied)).after.clone()
}

#[test]
fn a_run_holds_its_target_and_writes_all_of_its_record() {
    let ended = run_lab(&["--target", "1500", "--hold", "600ms", "--json"]);
    let record = ended.expect_held(1500);
    assert_eq!(record.connections.verified, Some(1500));

    let on_stdout: Record = serde_json::from_value(ended.document()).expect("a record");
    common::expect_schema(&ended.document());
    assert_eq!(on_stdout, record, "the document on stdout is the record in the folder");

    let latency = &record.latency_us;
    for (tag, count) in [
        ("connect", latency.connect.count),
        ("first_echo", latency.first_echo.count),
        ("echo", latency.echo.count),
    ] {
        assert_eq!((tag, count, ended.logged(tag)), (tag, 1500, 1500));
    }

    let rows = ended.samples();
    assert!(rows.len() >= 4, "{rows:?}");
    assert!(rows.windows(2).all(|pair| pair[0].elapsed_ms <= pair[1].elapsed_ms), "{rows:?}");
    assert!(rows.iter().any(|row| row.phase == "hold" && row.open == Some(1500)), "{rows:?}");
    let last = rows.last().expect("rows");
    assert_eq!((last.attempted, last.accepted, last.verified), (Some(1500), Some(1500), Some(1500)));
    let text = std::fs::read_to_string(ended.folder().join("samples.csv")).expect("samples");
    assert_eq!(text.lines().next(), Some(Sample::csv_header().as_str()));

    let page = std::fs::read_to_string(ended.folder().join("report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains(&record.run_id), "the page has plots and the run's name");

    // The phases follow each other without a hole.
    let phases: Vec<String> = record.phases.iter().map(|phase| phase.phase.to_string()).collect();
    assert!(phases.starts_with(&["ramp".to_owned(), "hold".to_owned(), "verify".to_owned()]), "{phases:?}");
    assert!(
        record.phases.windows(2).all(|pair| pair[0].to_ms == Some(pair[1].from_ms)),
        "{:?}",
        record.phases
    );

    ended.line("HELD 1,500 of 1,500 connections");
    let told = ended.told().replace(" \\ ", " ");
    assert!(told.contains(&format!(" report {}/report.html ", ended.folder().display())), "{told}");
    assert!(told.contains(&format!(" c10k-lab report {} ", ended.folder().display())), "{told}");
}

#[test]
fn processors_in_the_ramp_are_of_the_ramp_however_long_the_run_holds() {
    for hold in ["0s", "1500ms"] {
        let record =
            run_lab(&["--target", "3000", "--hold", hold, "--verdict", "echo_p95 <= 1h"]).expect_held(3000);
        let (cpu, rate) = (record.cpu, record.rate.connects_per_second);
        let ramp_us = cpu.ramp_us.expect("a ramp");
        // From the first connect to the last proof: what the mean is over, in a run of one step without a loss.
        let over_us = 3000e6 / rate.mean.expect("a mean");
        assert!((ramp_us as f64 - over_us).abs() < 2.0, "{hold}: {cpu:?}, {rate:?}");
        assert_eq!(rate.without_pauses, rate.mean, "{hold}");
        for (cores, each_us) in
            [(cpu.server_cores, cpu.server_us_per_connection), (cpu.swarm_cores, cpu.swarm_us_per_connection)]
        {
            let (cores, each_us) = (cores.expect("readable"), each_us.expect("readable"));
            assert!((cores * ramp_us as f64 / 3000.0 - each_us).abs() < 0.01, "{hold}: {cpu:?}");
        }
        let hold_begins = record.phases.iter().find(|phase| phase.phase == PhaseName::Hold).expect("a hold");
        assert!(ramp_us / 1000 <= hold_begins.from_ms, "{hold}: {cpu:?}, {:?}", record.phases);
    }
}

#[test]
fn the_counts_of_a_row_are_of_one_moment_at_both_ends() {
    let ended =
        run_lab(&["--target", "8000", "--rate", "4000/s", "--hold", "0s", "--verdict", "echo_p95 <= 1h"]);
    ended.expect_held(8000);
    let rows = ended.samples();
    let in_ramp = rows.iter().filter(|row| row.phase == "ramp" && row.established.is_some_and(|n| n > 0));
    let apart: Vec<Option<u64>> = in_ramp.map(|row| Some(row.established?.abs_diff(row.accepted?))).collect();
    assert!(apart.len() >= 3, "{rows:?}");
    // A tenth of a second lies between the two at most, but for a row whose answer a busy machine held back.
    let near = apart.iter().filter(|apart| apart.is_some_and(|apart| apart <= 400)).count();
    assert!(near * 3 >= apart.len() * 2, "{apart:?}");
}

#[test]
fn a_record_tells_what_a_connection_costs() {
    let record = run_lab(&["--target", "2000", "--hold", "600ms"]).expect_held(2000);
    let memory = &record.memory_per_connection;
    // Few connections: what the processes themselves take shows in each one's share.
    let user = |bytes: Option<f64>| (-256.0..4096.0).contains(&bytes.expect("RSS can be read"));
    assert!(user(memory.server_user_bytes) && user(memory.client_user_bytes), "{memory:?}");
    // What the rest of the machine does meanwhile shows too, so only the order of magnitude is asked for.
    let kernel = memory.server_kernel_bytes.expect("known") + memory.client_kernel_bytes.expect("known");
    assert!(kernel.is_finite() && memory.parts.contains_key("socket"), "{memory:?}");
    let rate = record.rate.connects_per_second;
    let (mean, peak) = (rate.mean.expect("a mean"), rate.peak.expect("a peak"));
    assert!(mean > 0.0 && peak >= mean, "no interval can be slower than all together: {rate:?}");
    assert!(record.cpu.swarm_us_per_connection.is_some_and(|us| us >= 0.0), "{:?}", record.cpu);
    assert!(record.time_wait.at_end.is_some(), "{:?}", record.time_wait);
    let host = record.host.expect("a host");
    assert!(host.cpus > 0 && host.memory_bytes > 1 << 20 && host.limits.nofile_hard.is_some(), "{host:?}");
}

#[test]
fn the_processes_of_a_run_have_names_that_people_know() {
    // Whether they are started straight through /proc, or by a shell that lowers a limit first.
    for more in [&[][..], &["--stage", r#"{"server":{"nofile":200}}"#]] {
        let arguments = [&["--target", "50", "--hold", "300ms"], more].concat();
        let record = run_lab(&arguments).expect_held(50);
        let names: Vec<_> = record.processes.iter().filter_map(|process| process.name.as_deref()).collect();
        assert_eq!(names, ["c10k-server"], "{more:?}");
    }
}

#[test]
fn a_run_leaves_the_host_and_its_process_list_as_they_were() {
    let before = settings_of_the_host();
    let mut running = Lab::new().start(&["--target", "200", "--hold", "1s"]);
    running.wait_for_hold(200);
    let server = running.server();
    let here = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    let there = server.network.clone().expect("its namespace may be seen");
    // The end asserts that no process is left.
    let record = running.wait().expect_held(200);
    assert_eq!(settings_of_the_host(), before);
    if record.warnings.iter().any(|warning| warning.id == "not-isolated") {
        assert_eq!(here.to_string_lossy(), there);
        return;
    }
    assert_ne!(here.to_string_lossy(), there, "the run has a namespace of its own");
    server.expect_its_namespace_gone();
    assert_eq!(applied(&record.profile, "net.ipv4.ip_local_port_range"), "1024 65535");
    assert_ne!(before[0].1.split_whitespace().collect::<Vec<_>>(), ["1024", "65535"]);
}

#[test]
fn a_plan_repeats_its_run_and_flags_change_what_they_name() {
    let first = run_lab(&["--target", "120", "--hold", "200ms", "--in-flight", "7", "--ips", "127.0.0.3-5"]);
    first.expect_held(120);
    let plan = first.folder().join("plan.toml");
    let path = plan.display().to_string();
    let again = run_lab(&[&path]);
    let record = again.expect_held(120);
    let repeated = record.plan.expect("a plan");
    assert_eq!(repeated, Plan::load(&plan).expect("the plan"));
    assert_eq!((repeated.load.in_flight, repeated.load.ips.as_deref()), (7, Some("127.0.0.3-5")));
    let other = run_lab(&[&path, "--target", "80"]).expect_held(80).plan.expect("a plan");
    assert_eq!((other.target, other.load.in_flight), (80, 7));
}

#[test]
fn a_plan_with_a_profile_of_ones_own_is_repeated_from_anywhere() {
    let text = "name = \"mine\"\nsummary = \"small\"\n[sysctl]\n\"net.core.somaxconn\" = 777\n";
    let first = Lab::new().with_file("mine.toml", text).run(&[
        "--target",
        "20",
        "--hold",
        "100ms",
        "--profile",
        "mine.toml",
    ]);
    let record = first.expect_held(20);
    assert!(record.run_id.ends_with("-mine-raw-hold"), "{}", record.run_id);
    let path = first.folder().join("plan.toml").display().to_string();
    let again = run_lab(&[&path]).expect_held(20);
    assert_eq!(again.profile.name, "mine");
    assert_eq!(again.profile.applied, record.profile.applied);
}

#[test]
fn sources_that_only_the_runs_own_namespace_has_are_added_there() {
    let ended = run_lab(&["--target", "310", "--hold", "200ms", "--ips", "192.168.1.200-230"]);
    let record = ended.expect_held(310);
    assert_eq!(record.plan.expect("a plan").load.ips.as_deref(), Some("192.168.1.200-230"));
    let local = c10k_kernel::address::is_local("192.168.1.200".parse().expect("an address"));
    assert!(!local.expect("addresses can be read"), "the host has no such address");
}

#[test]
fn a_server_on_ipv6_is_met_from_ipv6() {
    let first = run_lab(&["--target", "30", "--hold", "100ms"]);
    first.expect_held(30);
    let plan = std::fs::read_to_string(first.folder().join("plan.toml")).expect("a plan");
    let plan = plan.replace("127.0.0.1:9000", "[::1]:9000");
    let ended = Lab::new().with_file("six.toml", &plan).run(&["six.toml"]);
    let record = ended.expect_held(30);
    assert!(record.plan.expect("a plan").server.listen[0].is_ipv6());
}

#[test]
fn steps_grow_one_after_the_other() {
    let ended = run_lab(&["--steps", "50x4", "--step-pause", "300ms", "--hold", "300ms"]);
    let record = ended.expect_held(200);
    let ramps = record.phases.iter().filter(|phase| phase.phase.to_string() == "ramp").count();
    assert_eq!(ramps, 4, "{:?}", record.phases);
    let seen: Vec<u64> = ended.samples().iter().filter_map(|row| row.open).collect();
    for step in [50, 100, 150, 200] {
        assert!(seen.contains(&step), "{step} is not among {seen:?}");
    }
    assert_eq!(record.plan.expect("a plan").load.steps.map(|steps| (steps.size, steps.count)), Some((50, 4)));
}

#[test]
fn a_rate_is_kept() {
    let record = run_lab(&["--target", "300", "--rate", "300/s", "--hold", "100ms"]).expect_held(300);
    let mean = record.rate.connects_per_second.mean.expect("a mean");
    assert!(mean <= 330.0, "asked for 300 a second, went at {mean}");
    assert_eq!(record.plan.expect("a plan").load.rate_per_second, Some(300.0));
}

#[test]
fn a_server_that_only_reads_is_held_without_probes() {
    let ended = run_lab(&["--target", "300", "--hold", "300ms", "--mode", "hold", "--no-probe", "--json"]);
    let record = ended.expect_held(300);
    assert_eq!(record.connections.verified, None, "without a probe nobody knows");
    assert_eq!(record.connections.at_server, Some(300), "but the kernel has them at the server's end");
    assert_eq!((record.latency_us.echo.count, record.latency_us.connect.count), (0, 300));
    assert_eq!(ended.document()["connections"]["verified"], serde_json::Value::Null);
    let exprs: Vec<&str> = record.verdicts.iter().map(|verdict| verdict.expr.as_str()).collect();
    assert_eq!(exprs, ["held = target", "failed <= 1%", "ghosts = 0"]);
}

#[test]
fn a_verdict_that_fails_is_told_first_and_by_the_exit_code() {
    let ended = run_lab(&["--target", "50", "--hold", "100ms", "--verdict", "connects_per_second > 10M"]);
    ended.expect_exit(1);
    let record = ended.record();
    assert_eq!((record.state, record.connections.held), (RunState::Complete, 50));
    let broken: Vec<_> = record.verdicts.iter().filter(|verdict| verdict.is_broken()).collect();
    assert!(broken.iter().any(|verdict| verdict.expr == "connects_per_second > 10M"), "{broken:?}");
    assert!(broken.iter().all(|verdict| verdict.value.is_some()), "{broken:?}");
    let (broken, all) = (broken.len(), record.verdicts.len());
    let do_not = if broken == 1 { "does not hold" } else { "do not hold" };
    ended.line(&format!("HELD 50 of 50 connections, but {broken} of {all} verdicts {do_not}"));
    assert!(ended.stdout.contains("✗ connects_per_second > 10M"), "{}", ended.stdout);
}

#[test]
fn a_run_that_is_short_never_ends_with_0_whatever_verdict_is_asked_for() {
    let few = ["--target", "300", "--max-connections", "100", "--hold", "100ms", "--connect-timeout", "1s"];
    let few = [&few[..], &["--probe-timeout", "1s", "--json"]].concat();
    for verdict in ["echo_p95 <= 1h", "failed <= 100%"] {
        let ended = run_lab(&[&few[..], &["--verdict", verdict]].concat());
        ended.expect_exit(1);
        let record = ended.record();
        let exprs: Vec<&str> = record.verdicts.iter().map(|verdict| verdict.expr.as_str()).collect();
        assert!(exprs.contains(&"held = target") && exprs.contains(&verdict), "{exprs:?}");
        assert!(ended.stderr.contains("SHORT: held"), "{}", ended.stderr);
    }
    let asked = ["--verdict", "held >= 10%", "--verdict", "failed <= 100%", "--verdict", "ghosts <= 100%"];
    let ended = run_lab(&[&few[..], &asked, &["--verdict", "echo_p95 <= 1h"]].concat());
    ended.expect_exit(0);
    assert!(
        ended.stderr.contains("HELD 100 of 300 connections, and `held >= 10%` holds"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_verdict_without_a_sample_fails() {
    let arguments = ["--target", "20", "--hold", "100ms", "--no-probe", "--verdict", "echo_p95 <= 10s"];
    let ended = run_lab(&arguments);
    ended.expect_exit(1);
    let verdicts = ended.record().verdicts;
    let verdict = verdicts.iter().find(|verdict| verdict.expr == "echo_p95 <= 10s").expect("asked for");
    assert_eq!((verdict.passed, verdict.value), (Some(false), None));
}

#[test]
fn a_server_that_takes_fewer_makes_the_run_short_and_is_named_as_the_wall() {
    let arguments =
        ["--target", "100", "--hold", "200ms", "--max-connections", "40", "--probe-timeout", "1s", "--json"];
    let ended = run_lab(&arguments);
    ended.expect_exit(1);
    let record = ended.record();
    let c = &record.connections;
    assert_eq!((c.attempted, c.held, c.failed_total()), (100, 40, 60), "{c:?}");
    let ceiling = record.ceiling.expect("a ceiling");
    assert_eq!((ceiling.connections, ceiling.wall.as_str()), (40, "server-max-connections"));
    assert!(ceiling.remedy.is_some() && !ceiling.evidence.is_empty(), "{ceiling:?}");
    let line = ended.line("SHORT: held 40 of 100");
    assert!(line.contains("server-max-connections"), "{line}");
    assert_eq!(ended.document()["ceiling"]["wall"], "server-max-connections");
}

#[test]
fn what_a_full_server_had_accepted_is_its_own_word_and_the_others_are_ghosts() {
    for more in [&["--probe-timeout", "1s"][..], &["--no-probe"]] {
        let arguments = ["--target", "100", "--hold", "100ms", "--max-connections", "40", "--json"];
        let record = run_lab(&[&arguments[..], more].concat()).record();
        let c = &record.connections;
        assert_eq!((c.established, c.accepted, c.ghosts), (100, Some(40), Some(60)), "{more:?}: {c:?}");
        assert_eq!((c.held, c.failed_total()), (40, 60), "{more:?}: {c:?}");
    }
}

#[test]
fn what_a_full_server_has_not_taken_is_not_held_without_a_probe() {
    for topology in ["loopback", "veth"] {
        let few = ["--target", "100", "--hold", "100ms", "--max-connections", "40", "--no-probe", "--json"];
        let ended = run_lab(&[&few[..], &["--topology", topology, "--mode", "hold"]].concat());
        ended.expect_exit(1);
        let record = ended.record();
        let c = &record.connections;
        assert_eq!((c.established, c.held, c.at_server), (100, 40, Some(40)), "{topology}: {c:?}");
        let names: Vec<&str> = c.failed.keys().map(c10k_record::Outcome::name).collect();
        assert_eq!((names, c.failed_total()), (vec!["not-accepted"], 60), "{topology}: {c:?}");
        let row = &record.failures[0];
        assert_eq!((row.phase, row.count), (c10k_record::PhaseName::Verify, 60), "{row:?}");
        assert_eq!(record.ceiling.expect("short").wall, "server-max-connections", "{topology}");
        ended.line("SHORT: held 40 of 100");
    }
}

#[test]
fn colours_are_used_only_where_they_are_asked_for() {
    let coloured = |ended: &Ended| {
        ended.expect_held(10);
        ended.stdout.contains('\x1b')
    };
    let arguments = ["--target", "10", "--hold", "50ms"];
    let with = |color| [&arguments[..], &["--color", color]].concat();
    assert!(!coloured(&run_lab(&arguments)), "a file is no terminal");
    assert!(coloured(&run_lab(&with("always"))));
    assert!(!coloured(&run_lab(&with("never"))));
    assert!(!coloured(&Lab::new().with_env("NO_COLOR", "1").run(&arguments)));
}

#[test]
fn records_are_shown_again_and_compared() {
    let one = run_lab(&["--target", "60", "--hold", "100ms"]);
    let two = run_lab(&["--target", "90", "--hold", "100ms"]);
    let record = one.expect_held(60);
    two.expect_held(90);
    let (one, two) = (one.folder().display().to_string(), two.folder().display().to_string());

    let shown = lab(&["report", &one]);
    shown.expect_exit(0);
    assert!(shown.stdout.starts_with("HELD 60 of 60 connections"), "{}", shown.stdout);
    assert!(shown.stdout.contains(&record.run_id) && !shown.stdout.contains('\x1b'), "{}", shown.stdout);

    let json = lab(&["report", &one, "--json"]);
    json.expect_exit(0);
    assert_eq!(serde_json::from_value::<Record>(json.document()).expect("a record"), record);
    let file = lab(&["report", &format!("{one}/record.json")]);
    file.expect_exit(0);
    assert!(file.stdout.starts_with("HELD 60 of 60 connections"), "{}", file.stdout);

    let compared = lab(&["report", &one, &two]);
    compared.expect_exit(0);
    let rows: Vec<Vec<&str>> = compared.stdout.lines().map(|row| row.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["held", "60", "90", "1.50"]), "{}", compared.stdout);

    let page = lab(&["report", &one, "--html", "page.html"]);
    page.expect_exit(0);
    let page = std::fs::read_to_string(page.home().join("page.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains(&record.run_id));
}

#[test]
fn the_schema_is_printed_as_published() {
    let ended = lab(&["schema"]);
    ended.expect_exit(0);
    assert!(ended.stdout.trim_end() == c10k_report::RECORD_SCHEMA.trim_end(), "{}", ended.stdout);
    assert!(serde_json::from_str::<serde_json::Value>(&ended.stdout).is_ok());
}

#[test]
fn two_runs_at_one_time_do_not_meet() {
    let one = Lab::new().start(&["--target", "100", "--hold", "500ms"]);
    let two = Lab::new().start(&["--target", "100", "--hold", "500ms"]);
    let ports: Vec<_> = [one.wait(), two.wait()]
        .iter()
        .map(|ended| ended.expect_held(100).plan.expect("a plan").server.listen)
        .collect();
    assert_eq!(ports[0], ports[1], "the same port, each in its own namespace");
}

/// Size by C10K_STRESS_TARGET.
fn stress_target() -> u64 {
    std::env::var("C10K_STRESS_TARGET").map_or(100_000, |text| text.parse().expect("a count"))
}

#[test]
#[ignore = "heavy: 100,000 connections, or C10K_STRESS_TARGET"]
fn stress_this_user_holds_many() {
    let target = stress_target();
    let text = target.to_string();
    let record = run_lab(&["--target", &text, "--hold", "2s", "--json"]).expect_held(target);
    let server = record.memory_per_connection.server_user_bytes.expect("known");
    let client = record.memory_per_connection.client_user_bytes.expect("known");
    if target >= 100_000 {
        assert!(server <= 32.0 && client <= 64.0, "{server} B and {client} B a connection");
    }
}

#[test]
#[ignore = "heavy: 100,000 connections, or C10K_STRESS_TARGET"]
fn stress_an_ordinary_user_with_few_descriptors_holds_many() {
    if !common::namespaces_allowed("stress_an_ordinary_user_with_few_descriptors_holds_many") {
        return;
    }
    let target = stress_target();
    let text = target.to_string();
    let user = Lab::new().by_ordinary_user().with_nofile(4096);
    let record = user.run(&["--target", &text, "--hold", "2s", "--json"]).expect_held(target);
    assert_eq!(record.host.expect("a host").limits.nofile_hard, Some(4096));
}

#[test]
fn a_run_that_holds_all_and_breaks_a_verdict_names_what_it_was() {
    let ended = run_lab(&["--target", "200", "--hold", "200ms", "--json", "--verdict", " echo_p95 <= 1us"]);
    ended.expect_exit(1);
    let record = ended.document();
    let (connections, ceiling) = (&record["connections"], &record["ceiling"]);
    assert_eq!(connections["held"], 200);
    assert_eq!(ceiling["wall"], "latency-verdict", "{ceiling}");
    assert_eq!((&ceiling["hard"], &ceiling["connections"]), (&false.into(), &200.into()));
    assert!(ended.told().contains("; wall: latency-verdict"), "{}", ended.stderr);
}

#[test]
fn the_record_names_the_port_that_was_listened_on_where_the_plan_leaves_it_to_the_kernel() {
    let few = ["--target", "300", "--max-connections", "100", "--hold", "100ms", "--connect-timeout", "1s"];
    let few = [&few[..], &["--probe-timeout", "1s", "--json"]].concat();
    let first = run_lab(&few);
    let plan = std::fs::read_to_string(first.folder().join("plan.toml")).expect("a plan");
    let lab = Lab::new().with_file("any-port.toml", &plan.replace("127.0.0.1:9000", "127.0.0.1:0"));
    let ended = lab.run(&["any-port.toml", "--json"]);
    ended.expect_exit(1);
    let listen = ended.record().plan.expect("a plan").server.listen;
    assert!(listen.len() == 1 && ![0, 9000].contains(&listen[0].port()), "{listen:?}");
    assert_ne!(first.record().plan.expect("a plan").server.listen, listen);
}
