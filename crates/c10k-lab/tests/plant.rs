//! Every wall that can be planted, planted and named by the real program.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::sync::Mutex;

use common::{Lab, has_group, lab, namespaces_allowed, plantable};
use serde_json::Value;

/// The walls that a plant's diagnosis has, in its order.
fn names_of(document: &Value) -> Vec<String> {
    let walls = document["ceiling"]["walls"].as_array().cloned().unwrap_or_default();
    walls.iter().map(|wall| wall["name"].as_str().expect("a name").to_owned()).collect()
}

/// What is wrong with a wall planted alone; nothing, when it is the only one that is named and its lift holds all,
/// with no wall named.
fn fault(name: &str) -> Option<String> {
    let ended = Lab::new().command(&["walls", "plant", name, "--json"]).wait();
    if ended.status.code() == Some(3) && ended.stderr.contains("not on this kernel") {
        eprintln!("SKIPPED {name}: {}", ended.stderr);
        return None;
    }
    let document = ended.document();
    let named = names_of(&document);
    let lifted = &document["lifted"];
    let right = named == [name] && document["named"] == true && document["only"] == true;
    let healthy = lifted["walls"].as_array().is_some_and(Vec::is_empty);
    let holds = healthy && lifted["held"].is_u64() && lifted["held"] == lifted["target"];
    (!right || !holds).then(|| format!("{name}: named {named:?}, lifted {lifted}"))
}

/// The faults of all walls, two planted at a time.
fn faults(walls: Vec<String>) -> Vec<String> {
    let (to_do, found) = (Mutex::new(walls), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(name) = to_do.lock().expect("no panic with it").pop() else { return };
                    if let Some(fault) = fault(&name) {
                        found.lock().expect("no panic with it").push(fault);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panic with it")
}

#[test]
fn every_wall_that_can_be_planted_is_the_only_one_that_is_named_and_its_lift_lifts_it() {
    if !namespaces_allowed("every wall that can be planted") {
        return;
    }
    let walls = plantable();
    assert!(walls.len() >= 16, "{walls:?}");
    let faults = faults(walls);
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The line that lifts it is this user's own run with one flag more, and no folder of a plant is in it.
#[test]
fn the_lines_of_a_plant_s_remedy_are_there_wherever_its_folder_is_and_do_not_name_it() {
    if !namespaces_allowed("the lines of a plant's remedy") {
        return;
    }
    for name in ["plain", "with a blank", "it's"] {
        let temporary = tempfile::TempDir::new().expect("a folder");
        let folder = temporary.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        let lab = Lab::new().with_env("TMPDIR", &folder);
        let document = lab.command(&["walls", "plant", "accept-queue", "--json"]).wait().document();
        let commands = document["ceiling"]["remedy"]["commands"].as_array().expect("a list").clone();
        let [line] = &commands[..] else { panic!("{name}: {document:#}") };
        let line = line.as_str().expect("a line");
        assert!(
            line.starts_with("c10k-lab run --profile stock ") && line.contains("--in-flight 32"),
            "{line}"
        );
        assert!(!line.contains("c10k-plant-") && !line.contains("profile.toml"), "{line}");
    }
}

#[test]
fn a_wall_of_the_whole_host_is_not_planted_and_the_refusal_says_how_it_is_proven() {
    let ended = lab(&["walls", "plant", "tcp-mem"]);
    ended.expect_exit(3);
    assert!(ended.stderr.contains("replayed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`cargo test -p c10k-lab --lib what_the_whole_host"), "{}", ended.stderr);
    lab(&["walls", "plant", "the-great-one"]).expect_exit(2);
}

#[test]
fn a_healthy_run_names_no_wall() {
    healthy();
}

#[test]
fn the_room_that_is_left_in_the_table_of_tracked_connections_is_predicted_to_the_connection() {
    if !namespaces_allowed("the room in the table of tracked connections") {
        return;
    }
    let ended = Lab::new().command(&["walls", "plant", "conntrack", "--json"]).wait();
    if ended.status.code() == Some(3) && ended.stderr.contains("not on this kernel") {
        eprintln!("SKIPPED: {}", ended.stderr);
        return;
    }
    let document = ended.document();
    let predicted = &document["predicted"];
    assert_eq!((&predicted["wall"], &predicted["connections"]), (&"conntrack".into(), &400.into()));
    assert_eq!(document["ceiling"]["connections"], 400, "{document:#}");
    assert_eq!(document["ceiling"]["off_by"], 0, "{document:#}");
}

#[test]
fn a_narrow_link_is_predicted_as_connections_a_second() {
    if !namespaces_allowed("a narrow link") {
        return;
    }
    let ended = Lab::new().command(&["walls", "plant", "bandwidth", "--json"]).wait();
    if ended.status.code() == Some(3) && ended.stderr.contains("not on this kernel") {
        eprintln!("SKIPPED: {}", ended.stderr);
        return;
    }
    let document = ended.document();
    // 400,000 bits a second, of 606 bytes each.
    let rate = &document["predicted_rate"];
    assert_eq!((&rate["wall"], &rate["connections_per_second"]), (&"bandwidth".into(), &82.into()));
    let busiest = &document["ceiling"]["evidence"][0];
    assert_eq!(busiest["source"], "link_bits_per_second");
    assert!(busiest["after"].as_u64() >= Some(380_000), "{busiest}");
    assert!(
        document["ceiling"]["evidence"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|e| e["source"] == "link_dropped")
    );
}

#[test]
fn time_wait_that_a_run_leaves_behind_at_its_end_is_no_wall_that_it_met() {
    if !namespaces_allowed("a limit on TIME_WAIT") {
        return;
    }
    let lab = Lab::new();
    let profile = lab.home().join("few.toml");
    let text = "name = \"few\"\nsummary = \"few sockets in TIME_WAIT\"\n\n[sysctl]\n\"net.ipv4.tcp_max_tw_buckets\" = 50\n";
    std::fs::write(&profile, text).expect("written");
    let profile = profile.display().to_string();
    let ended =
        lab.run(&["--target", "600", "--hold", "300ms", "--close", "fin", "--profile", &profile, "--json"]);
    let record = ended.document();
    assert_eq!((&record["ceiling"], &record["connections"]["held"]), (&Value::Null, &600.into()));
    assert!(record["time_wait"]["at_end"].as_u64() <= Some(50), "{}", record["time_wait"]);
}

#[test]
fn where_no_group_can_be_made_root_plants_threads_without_one_and_says_what_the_others_lack() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED plants of root's where no group can be made: it takes root");
        return;
    }
    let without_groups = |names: &[&str]| {
        let lab = Lab::new().under(&["unshare", "--mount"]).after("mount -t tmpfs none /sys/fs/cgroup");
        lab.command(&[&["walls", "plant", "--json"], names].concat()).wait()
    };
    let ended = without_groups(&["threads"]);
    ended.expect_exit(0);
    let document = ended.document();
    expect_its_threads_lifted(&document, "RLIMIT_NPROC", "limits.nproc");
    assert_eq!(names_of(&document), ["threads"], "{}", ended.stderr);
    assert_eq!(document["lifted"]["held"], document["lifted"]["target"], "{}", ended.stderr);
    assert!(ended.stderr.contains("an ordinary user's process takes its place"), "{}", ended.stderr);
    let ended = without_groups(&["cpu-server"]);
    ended.expect_exit(3);
    assert!(ended.stderr.contains("there are no control groups with cpu"), "{}", ended.stderr);
    let ended = without_groups(&["threads", "cpu-swarm"]);
    ended.expect_exit(3);
    assert!(ended.stderr.contains("beside another group of the swarm"), "{}", ended.stderr);
}

#[test]
fn the_limit_on_threads_that_is_shown_is_the_one_that_the_remedy_raises() {
    if !namespaces_allowed("a limit on threads") {
        return;
    }
    let plant = ["walls", "plant", "threads", "--json"];
    let ended = Lab::new().by_ordinary_user().command(&plant).wait();
    ended.expect_exit(0);
    expect_its_threads_lifted(&ended.document(), "RLIMIT_NPROC", "limits.nproc");
    if nix::unistd::geteuid().is_root() && has_group("pids") {
        let ended = Lab::new().command(&plant).wait();
        ended.expect_exit(0);
        expect_its_threads_lifted(&ended.document(), "pids.max", "pids.max");
    }
}

/// Asserts that one limit on threads is shown, and that the remedy raises that one.
#[track_caller]
fn expect_its_threads_lifted(document: &Value, shown: &str, raised: &str) {
    let evidence = document["ceiling"]["evidence"].as_array().expect("a list");
    let limits = ["RLIMIT_NPROC", "pids.max", "kernel.threads-max"];
    let found: Vec<&str> = evidence.iter().filter_map(|piece| piece["source"].as_str()).collect();
    let found: Vec<&str> = found.into_iter().filter(|source| limits.contains(source)).collect();
    assert_eq!(found, [shown], "{document:#}");
    assert_eq!(document["ceiling"]["remedy"]["settings"][0]["key"], raised, "{document:#}");
}

/// A run of the size of a plant with nothing in its way.
#[track_caller]
fn healthy() {
    let ended =
        common::run_lab(&["--target", "600", "--hold", "300ms", "--verdict", "echo_p95 <= 1h", "--json"]);
    let record = ended.document();
    assert_eq!(record["ceiling"], Value::Null, "{}", ended.stderr);
    assert_eq!(record["connections"]["held"], 600);
    let limits = &record["host"]["limits"];
    assert!(limits["threads_left"].is_u64(), "{limits}");
    assert_eq!(limits["link_bits_per_second"], Value::Null, "lo carries what it is given");
}

#[test]
#[ignore = "heavy: 100,000 connections, or C10K_STRESS_TARGET"]
fn stress_a_healthy_run_of_the_default_size_names_no_wall() {
    let target = std::env::var("C10K_STRESS_TARGET").unwrap_or_else(|_| "100000".to_owned());
    // The verdicts are about numbers alone: how late a busy machine is proves nothing of it.
    let verdicts = ["--verdict", "echo_p95 <= 1h"];
    for topology in ["loopback", "veth"] {
        let plan = ["--target", &target, "--topology", topology, "--hold", "2s", "--json"];
        let ended = common::run_lab(&[&plan[..], &verdicts].concat());
        let record = ended.document();
        assert_eq!(record["ceiling"], Value::Null, "{topology}: {}", ended.stderr);
        assert_eq!(record["connections"]["held"].to_string(), target, "{topology}: {}", ended.stderr);
    }
}

#[test]
#[ignore = "ten rounds of all plants take minutes"]
fn stress_all_plants_are_named_right_ten_times() {
    if !namespaces_allowed("all plants ten times") {
        return;
    }
    for round in 1..=10 {
        let faults = faults(plantable());
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
}

#[test]
#[ignore = "twenty runs of 20,000 connections, or C10K_STRESS_TARGET"]
fn stress_twenty_healthy_runs_of_every_protocol_and_topology_name_no_wall() {
    if !namespaces_allowed("twenty healthy runs") {
        return;
    }
    let target = std::env::var("C10K_STRESS_TARGET").unwrap_or_else(|_| "20000".to_owned());
    let kinds = [("raw", "loopback"), ("ws", "loopback"), ("raw", "veth"), ("ws", "veth")];
    for (protocol, topology) in kinds.into_iter().cycle().take(20) {
        let ended = common::run_lab(&[
            "--target",
            &target,
            "--protocol",
            protocol,
            "--topology",
            topology,
            "--hold",
            "1s",
            "--json",
            "--verdict",
            "echo_p95 <= 1h",
            "--verdict",
            "failed <= 0%",
        ]);
        let record = ended.document();
        assert_eq!(record["ceiling"], Value::Null, "{protocol}, {topology}: {}", ended.stderr);
        assert_eq!(record["connections"]["held"].to_string(), target, "{protocol}, {topology}");
    }
}
