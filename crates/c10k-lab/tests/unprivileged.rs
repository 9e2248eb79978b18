//! An ordinary user, with few descriptors, and where namespaces are forbidden.

mod common;

use c10k_record::{RunState, Scope};
use common::{Lab, namespaces_allowed};

#[test]
fn a_user_with_256_descriptors_holds_2000_over_many_tables() {
    if !namespaces_allowed("a_user_with_256_descriptors_holds_2000_over_many_tables") {
        return;
    }
    let user = Lab::new().by_ordinary_user().with_nofile(256);
    let record = user.run(&["--target", "2000", "--hold", "500ms", "--json"]).expect_held(2000);
    let host = record.host.expect("a host");
    assert_eq!((host.root, host.limits.nofile_hard), (false, Some(256)));
    assert!(record.server.expect("its word").tables >= 8, "a table holds 256");
    assert!(record.profile.applied.iter().any(|setting| setting.key == "net.core.somaxconn"));
    assert!(!record.warnings.iter().any(|warning| warning.id == "not-isolated"), "{:?}", record.warnings);
}

#[test]
fn a_user_with_64_descriptors_and_an_inherited_one_at_the_top_holds_300() {
    if !namespaces_allowed("a_user_with_64_descriptors_and_an_inherited_one_at_the_top_holds_300") {
        return;
    }
    let user = Lab::new().by_ordinary_user().after("exec 9</dev/null").with_nofile(64);
    user.run(&["--target", "300", "--hold", "200ms"]).expect_held(300);
}

#[test]
fn an_ordinary_users_memory_account_is_estimated_and_says_so() {
    if !namespaces_allowed("an_ordinary_users_memory_account_is_estimated_and_says_so") {
        return;
    }
    let ended = Lab::new().by_ordinary_user().run(&["--target", "500", "--hold", "500ms"]);
    let record = ended.expect_held(500);
    let memory = record.memory_per_connection;
    assert!(memory.server_user_bytes.is_some() && memory.client_user_bytes.is_some(), "{memory:?}");
    if std::fs::metadata("/proc/slabinfo").is_ok() {
        assert!(memory.estimated, "{memory:?}");
        assert!(record.warnings.iter().any(|w| w.id == "unreadable" && w.text.contains("slabinfo")));
    }
}

#[test]
fn an_ordinary_user_may_do_what_the_diary_did() {
    if !namespaces_allowed("an_ordinary_user_may_do_what_the_diary_did") {
        return;
    }
    let arguments =
        ["--profile", "diary", "--ips", "192.168.1.200-230", "--target", "310", "--hold", "200ms"];
    let record = Lab::new().by_ordinary_user().run(&arguments).expect_held(310);
    let key = "net.ipv4.ip_local_port_range";
    let range = record.profile.applied.iter().find(|setting| setting.key == key);
    assert_eq!(range.expect("applied").after, "1024 61000");
}

/// As an ordinary user who may make no network namespace: one of the user's own forbids it.
fn without_namespaces() -> Lab {
    Lab::new()
        .by_ordinary_user()
        .under(&["unshare", "--user", "--map-root-user"])
        .after("echo 0 > /proc/sys/user/max_net_namespaces")
}

#[test]
fn where_namespaces_are_forbidden_the_run_goes_on_and_lists_what_it_could_not_set() {
    if !namespaces_allowed("where_namespaces_are_forbidden_the_run_goes_on_and_lists_what_it_could_not_set") {
        return;
    }
    let ended = without_namespaces().run(&["--target", "50", "--hold", "200ms", "--close", "rst", "--json"]);
    let record = ended.expect_held(50);
    let warning = record.warnings.iter().find(|warning| warning.id == "not-isolated").expect("it is said");
    assert!(
        warning.text.contains("127.0.0.0/8") && warning.text.contains("max_net_namespaces"),
        "{warning:?}"
    );
    assert_eq!(record.profile.applied, []);
    let listed = &record.profile.not_applied;
    for one in listed {
        let start = format!("{} is ", one.key);
        let kept = record.warnings.iter().filter(|warning| warning.text.starts_with(&start)).count();
        assert_eq!((kept, ended.stderr.matches(&one.key).count()), (1, 0), "{}: {}", one.key, ended.stderr);
    }
    let settings = format!("({} settings: c10k-lab profile diff tuned)", listed.len());
    assert!(ended.line("note: no network namespace here; using 127.0.0.0/8").ends_with(&settings));
    assert!(!ended.stderr.contains("warning"), "one note is enough: {}", ended.stderr);
    let range = listed.iter().find(|one| one.key == "net.ipv4.ip_local_port_range");
    let range = range.expect("listed");
    // Where no namespace can be looked into, a scope is guessed, and then it is the host's: nothing is lowered on it.
    assert_eq!((range.wanted.as_str(), range.scope), ("1024 65535", Scope::Host));
    let present = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the host's");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(range.present.as_deref().expect("it can be read")), words(&present));
    assert!(range.why.contains("is a guess"), "{range:?}");
    // A range has no higher one: what stands, what was wanted and the command, and nobody says that it is met.
    assert!(!range.why.contains("higher"), "{range:?}");
    let command = range.command.as_deref();
    assert_eq!(command, Some("sudo sysctl -w 'net.ipv4.ip_local_port_range=1024 65535'"), "{range:?}");
    assert_eq!(
        words(&present),
        words(&std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect(""))
    );
}

#[test]
fn where_namespaces_are_forbidden_a_success_is_told_in_twenty_lines() {
    if !namespaces_allowed("where_namespaces_are_forbidden_a_success_is_told_in_twenty_lines") {
        return;
    }
    let ended = without_namespaces().run(&["--target", "500", "--hold", "200ms", "--close", "rst"]);
    ended.expect_held(500);
    let all = [&ended.stderr[..], &ended.stdout].concat();
    assert!(all.lines().count() <= 20, "{} lines: {all}", all.lines().count());
    assert!(ended.stdout.starts_with("HELD 500 of 500 connections\n"), "{}", ended.stdout);
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 80 || line.contains("results/")));
}

#[test]
fn without_a_namespace_two_runs_at_one_time_take_free_ports() {
    if !namespaces_allowed("without_a_namespace_two_runs_at_one_time_take_free_ports") {
        return;
    }
    let arguments = ["--target", "30", "--hold", "500ms", "--close", "rst", "--profile", "stock"];
    let runs = [without_namespaces().start(&arguments), without_namespaces().start(&arguments)];
    for run in runs {
        let record = run.wait().expect_held(30);
        assert_eq!(record.state, RunState::Complete);
    }
}

#[test]
fn without_a_namespace_a_source_that_is_not_here_is_refused_with_the_command_that_adds_it() {
    if !namespaces_allowed("without_a_namespace_a_source_that_is_not_here_is_refused_with_the_command") {
        return;
    }
    let ended = without_namespaces().run(&["--target", "5", "--ips", "192.0.2.1-2", "--profile", "stock"]);
    ended.expect_refused(3, &["192.0.2.1", "not on this machine", "ip addr add 192.0.2"]);
}
