//! The doctor before any load, by the real program.

mod common;

use std::path::Path;

use common::{Lab, lab, namespaces_allowed};
use serde_json::Value;

/// The numbers of the walls in their order, with their names and whether they stand in the way of the plan.
fn numbered(document: &Value) -> Vec<(String, u64, bool)> {
    let walls = document["walls"].as_array().expect("walls");
    walls
        .iter()
        .filter_map(|wall| {
            let name = wall["wall"].as_str().expect("a name").to_owned();
            Some((name, wall["connections"].as_u64()?, wall["in_this_plan"].as_bool()?))
        })
        .collect()
}

#[track_caller]
fn number(document: &Value, name: &str) -> u64 {
    let walls = numbered(document);
    walls.iter().find(|wall| wall.0 == name).unwrap_or_else(|| panic!("no {name} in {walls:?}")).1
}

#[track_caller]
fn lift(document: &Value, name: &str) -> Vec<String> {
    let walls = document["walls"].as_array().expect("walls");
    let wall = walls.iter().find(|wall| wall["wall"] == name).unwrap_or_else(|| panic!("no {name}"));
    let commands = wall["lift"]["commands"].as_array().expect("commands");
    commands.iter().map(|command| command.as_str().expect("a line").to_owned()).collect()
}

#[test]
fn what_a_diagnosis_can_look_at_is_in_the_document_and_of_what_it_cannot_the_page_says_why() {
    let words = ["doctor", "--no-calibration", "--target", "1000"];
    let makers: [fn() -> Lab; 2] = [Lab::new, || Lab::new().by_ordinary_user()];
    for make in makers {
        let document = make().command(&[&words[..], &["--json"]].concat()).wait().document();
        let sources = document["evidence"].as_array().expect("a list");
        let page = make().command(&words).wait().stdout;
        let listed = page.split("What a diagnosis cannot look at here").nth(1).unwrap_or_default();
        // Without the ends of its lines.
        let listed = listed.split_whitespace().collect::<Vec<_>>().join(" ");
        for name in [
            "sock_diag",
            "TCP_INFO",
            "outgoing",
            "TcpExt",
            "drop reasons",
            "nftables",
            "conntrack",
            "cgroup",
            "slabinfo",
        ] {
            let source = sources.iter().find(|source| source["name"] == name).expect(name);
            let tells = source["tells"].as_str().expect("words");
            let why = source["why_not"].as_str();
            assert!(why.is_none_or(|why| !why.is_empty()), "{source}");
            let is_told = match why {
                Some(why) => listed.contains(&format!("{name}: not here ({why}): {tells}")),
                None => !listed.contains(&format!("{name}: ")),
            };
            assert!(is_told, "{source}: {listed}");
        }
    }
    // Nobody but root may read it, and that is said.
    let page = Lab::new().by_ordinary_user().command(&words).wait().stdout;
    assert!(page.contains("  slabinfo: not here (") && page.contains("  drop reasons: not here ("), "{page}");
    let page = lab(&[&words[..], &["--all"]].concat()).stdout;
    let list = page.split("What a diagnosis can look at here").nth(1).expect("a section");
    assert!(list.contains("TCP_INFO: whether what was sent is acknowledged"), "{list}");
}

#[test]
fn stock_lists_descriptors_and_ports_in_the_order_in_which_they_bite() {
    let ended = lab(&["doctor", "--profile", "stock", "--target", "100k", "--json"]);
    let document = ended.document();
    let walls = numbered(&document);
    let at = |name: &str| walls.iter().position(|wall| wall.0 == name).unwrap_or_else(|| panic!("{walls:?}"));
    assert!(walls.is_sorted_by_key(|wall| wall.1), "{walls:?}");
    assert!(at("nofile-server") < at("epoll-watches"), "{walls:?}");
    assert!(at("ports-exhausted") < at("epoll-watches"), "{walls:?}");
    for name in ["nofile-server", "nofile-swarm", "ports-exhausted"] {
        assert!(!lift(&document, name).is_empty(), "{name}");
    }
    // The exit code says what the document says.
    let reachable = document["reachable"].as_bool().expect("known");
    ended.expect_exit(if reachable { 0 } else { 3 });
    assert_eq!(document["predicted"].is_null(), reachable);
    let first_below = walls.iter().any(|wall| wall.2 && wall.1 < 100_000);
    assert_ne!(first_below, reachable, "{walls:?}");
    let sizes: Vec<u64> = document["machines"]
        .as_array()
        .expect("a table")
        .iter()
        .filter_map(|row| row["connections"].as_u64())
        .collect();
    assert_eq!(sizes, [10_000, 100_000, 1_000_000]);
    let million = &document["machines"][2];
    let bytes = million["server_bytes"].as_u64().expect("bytes") as f64;
    assert!((3e9..6e9).contains(&bytes) && million["source_addresses_by_default"] == 36, "{million}");
}

#[test]
fn the_calibration_is_short_and_says_how_far_it_may_be_off() {
    let document = lab(&["doctor", "--target", "1000", "--json"]).document();
    let calibration = &document["calibration"];
    assert!(calibration["connects_per_second"].as_u64().expect("a rate") > 0, "{calibration}");
    assert!(calibration["connections"].as_u64().expect("a number") <= 6_000);
    let walls = document["walls"].as_array().expect("walls");
    let of =
        |name: &str| walls.iter().find(|wall| wall["wall"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert!(of("ram")["uncertainty_percent"].as_u64().expect("percent") >= 5);
    assert!(of("cpu-server")["uncertainty_percent"].as_u64().expect("percent") >= 35);
    assert!(of("cpu-server")["connections"].is_null() && of("cpu-server")["rate_per_second"].is_u64());
    let quick = lab(&["doctor", "--target", "1000", "--no-calibration", "--json"]).document();
    assert!(quick["calibration"].is_null() && quick["machines"][0]["ramp_seconds"].is_null());
}

#[test]
fn an_ordinary_program_is_told_its_descriptor_limit_and_the_line_that_lifts_it_works() {
    let doctor =
        ["doctor", "--profile", "stock", "--plain", "--target", "3000", "--no-calibration", "--json"];
    let ended = Lab::new().after("ulimit -Sn 1024").command(&doctor).wait();
    ended.expect_exit(3);
    let document = ended.document();
    assert_eq!(document["predicted"]["wall"], "nofile-server", "{document}");
    assert_eq!(document["predicted"]["connections"], 1016);
    let line = lift(&document, "nofile-server").remove(0);
    let again = Lab::new().after("ulimit -Sn 1024").after(&line).command(&doctor).wait();
    again.expect_exit(0);
    assert!(number(&again.document(), "nofile-server") >= 3000);
}

#[test]
fn the_line_that_widens_the_ports_works_when_it_is_pasted() {
    if !namespaces_allowed("the_line_that_widens_the_ports_works_when_it_is_pasted") {
        return;
    }
    let doctor = ["doctor", "--profile", "stock", "--plain", "--target", "60k", "--no-calibration", "--json"];
    let document = Lab::new().under(&["unshare", "-Urn"]).command(&doctor).wait().document();
    assert_eq!(number(&document, "ports-exhausted"), 28_232);
    let line = lift(&document, "ports-exhausted").into_iter().find(|line| line.contains("sysctl"));
    let line = line.expect("a sysctl");
    assert!(!line.contains("sudo"), "root of its namespace needs none: {line}");
    let paste = format!("{line} > /dev/null");
    let after = Lab::new().under(&["unshare", "-Urn"]).after(&paste).command(&doctor).wait().document();
    // The server's own port, 9000, is within the wider window.
    assert_eq!(number(&after, "ports-exhausted"), 64_511);
}

#[test]
fn every_line_that_lifts_a_wall_of_stock_works_when_it_is_pasted() {
    if !namespaces_allowed("every_line_that_lifts_a_wall_of_stock_works_when_it_is_pasted") {
        return;
    }
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_c10k-lab")).parent().expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    // A small machine: few descriptors and few ports, and a namespace in which a setting harms nobody.
    let small = || {
        Lab::new()
            .under(&["unshare", "-Urn"])
            .with_env("PATH", path.clone())
            .after("ulimit -Sn 512")
            .after("ip link set lo up")
            .after("sysctl -qw net.ipv4.ip_local_port_range='40000 40499'")
    };
    let doctor = ["doctor", "--profile", "stock", "--target", "1200", "--no-calibration", "--json"];
    let ended = small().command(&doctor).wait();
    let document = ended.document();
    let mut pasted = Vec::new();
    for wall in document["walls"].as_array().expect("walls") {
        let name = wall["wall"].as_str().expect("a name");
        // What is the whole host's, or a group's that others are in, is not this test's to set.
        if wall["lift"]["scope"] == "host" || ["cgroup-memory", "threads"].contains(&name) {
            continue;
        }
        for line in wall["lift"]["commands"].as_array().expect("commands") {
            let line = line.as_str().expect("a line");
            if ["ulimit", "sysctl", "prlimit"].iter().any(|word| line.starts_with(word)) {
                let after = small().after(&format!("{line} > /dev/null")).command(&doctor).wait().document();
                let allows = |document: &Value| {
                    numbered(document).into_iter().find(|other| other.0 == name).map(|other| other.1)
                };
                // One that is not told any more is passed.
                let (before, now) = (allows(&document), allows(&after));
                assert!(now.is_none() || now > before, "{name}: {line}: {before:?}, then {now:?}");
                pasted.push(line.to_owned());
                continue;
            }
            let code = match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["c10k-lab", "run", ..] => {
                    format!("{line} --hold 200ms --verdict 'echo_p95 <= 1h' > /dev/null 2>&1")
                }
                // It serves until it is told to end.
                ["c10k-lab", "server", ..] => {
                    format!("timeout --preserve-status -s INT 2 {line} > /dev/null 2>&1")
                }
                _ => panic!("{name}: what does this lift? {line}"),
            };
            let after = small().after(&code).command(&["--help"]).wait();
            assert!(after.status.success(), "{name}: {line}\n{}", after.stderr);
            pasted.push(line.to_owned());
        }
    }
    for part in ["ulimit -Sn", "--ips 127.0.0.1-127.0.0.3 ", "sysctl -w net.ipv4.ip_local_port_range"] {
        assert!(pasted.iter().any(|line| line.contains(part)), "{part}: {pasted:?}");
    }
}

#[test]
fn ports_that_wait_are_foreseen_and_a_run_there_holds_what_was_foreseen() {
    if !namespaces_allowed("ports_that_wait_are_foreseen_and_a_run_there_holds_what_was_foreseen") {
        return;
    }
    // 300 connections closed from the client's side once the server listens, and then what is asked, all in one
    // namespace.
    let after_300 = |reuse: u32, then: &str| -> Value {
        let script = format!(
            "ip link set lo up; sysctl -qw net.ipv4.ip_local_port_range='40000 40399'; \
             sysctl -qw net.ipv4.tcp_tw_reuse={reuse}; \"$0\" server 2> /dev/null & s=$!; \
             for i in $(seq 600); do ss -ltn | grep -q ':9000 ' && break; sleep 0.1; done; \
             \"$0\" swarm --ips 127.0.0.1 --target 300 --hold 0s --close fin > /dev/null 2>&1; \
             \"$0\" {then} --json 2> /dev/null; kill $s"
        );
        let output = std::process::Command::new("unshare")
            .args(["-Urn", "sh", "-c", &script, env!("CARGO_BIN_EXE_c10k-lab")])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("unshare(1)");
        serde_json::from_slice(&output.stdout).expect("a document")
    };
    let doctor = "doctor --profile stock --plain --target 300 --no-calibration";
    let document = after_300(0, doctor);
    assert_eq!(document["predicted"]["wall"], "time-wait-ports", "{document}");
    assert_eq!(document["predicted"]["connections"], 100);
    let record = after_300(0, "swarm --ips 127.0.0.1 --target 300 --hold 0s");
    assert_eq!(record["connections"]["held"], 100, "{record}");
    assert_eq!(record["ceiling"]["wall"], "time-wait-ports");
    let foreseen = &record["ceiling"]["predicted"];
    assert_eq!((&foreseen["wall"], &foreseen["connections"]), (&"time-wait-ports".into(), &100.into()));
    let free = after_300(1, doctor);
    assert!(numbered(&free).iter().all(|wall| wall.0 != "time-wait-ports"), "a second later they are free");
}

#[test]
fn the_line_with_more_sources_holds_what_was_asked_for() {
    let ended = lab(&[
        "doctor",
        "--profile",
        "stock",
        "--plain",
        "--ports",
        "40000-40499",
        "--target",
        "1200",
        "--no-calibration",
        "--json",
    ]);
    ended.expect_exit(3);
    let document = ended.document();
    assert_eq!(document["predicted"]["wall"], "ports-exhausted", "{document}");
    assert_eq!(document["predicted"]["connections"], 500);
    let line = lift(&document, "ports-exhausted").remove(0);
    let words: Vec<&str> = line.split_whitespace().collect();
    let [program, command, rest @ ..] = &words[..] else { panic!("{line}") };
    assert_eq!([*program, *command], ["c10k-lab", "run"], "{line}");
    let mut arguments = rest.to_vec();
    arguments.extend(["--hold", "200ms"]);
    common::run_lab(&arguments).expect_held(1200);
}

#[test]
fn a_profile_is_seen_as_the_lab_would_apply_it_and_the_host_stays_as_it_is() {
    let host = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("readable");
    let before = host();
    let document =
        lab(&["doctor", "--profile", "tuned", "--target", "100k", "--no-calibration", "--json"]).document();
    assert_eq!(host(), before);
    let isolated =
        !document["warnings"].as_array().expect("warnings").iter().any(|w| w["id"] == "not-isolated");
    if isolated {
        assert_eq!(document["host"]["port_range"], serde_json::json!([1024, 65_535]));
        assert_eq!(number(&document, "ports-exhausted"), 64_511, "one source, less the server's port");
    }
}

#[test]
fn an_ordinary_user_gets_an_answer_too() {
    let ended = Lab::new()
        .by_ordinary_user()
        .command(&["doctor", "--profile", "stock", "--target", "2000", "--json"])
        .wait();
    ended.expect_exit(0);
    let document = ended.document();
    assert!(number(&document, "ram") > 2000);
    let lines: Vec<String> = lift(&document, "epoll-watches");
    assert!(lines.iter().all(|line| line.starts_with("sudo ")), "{lines:?}");
}

#[test]
fn a_limit_of_a_list_of_sources_is_this_plans_own_wall() {
    let ended = lab(&[
        "doctor",
        "--ips",
        "127.0.0.1-2",
        "--ports",
        "40000-40099",
        "--target",
        "1k",
        "--no-calibration",
        "--json",
    ]);
    ended.expect_exit(3);
    let document = ended.document();
    assert_eq!(document["predicted"]["wall"], "ports-exhausted");
    assert_eq!(document["predicted"]["connections"], 200);
}

#[test]
fn a_link_between_the_ends_and_the_servers_own_limit_are_walls_of_the_plan() {
    if !namespaces_allowed("a_link_between_the_ends_and_the_servers_own_limit_are_walls_of_the_plan") {
        return;
    }
    let ended = lab(&[
        "doctor",
        "--profile",
        "stock",
        "--topology",
        "veth",
        "--target",
        "3000",
        "--max-connections",
        "2000",
        "--no-calibration",
        "--json",
    ]);
    ended.expect_exit(3);
    let document = ended.document();
    assert_eq!(document["topology"], "veth");
    assert_eq!(document["predicted"]["wall"], "server-max-connections", "{document}");
    assert_eq!(document["predicted"]["connections"], 2000);
    assert_eq!(
        lift(&document, "server-max-connections"),
        [
            "c10k-lab run --profile stock --topology veth --ips 192.168.1.200-230 --max-connections 3000 --target 3000"
        ]
    );
    assert!(number(&document, "ports-exhausted") >= 3000, "the sources of a link are as many as it takes");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    lab(&["doctor", "--profile", "no-such-profile"]).expect_refused(2, &["no-such-profile"]);
    lab(&["doctor", "--target", "0"]).expect_refused(2, &["--target 0", "c10k-lab doctor --help"]);
    lab(&["doctor", "--ips", "here"]).expect_refused(2, &["here"]);
    lab(&["doctor", "--protocol", "quic"]).expect_exit(2);
}

#[test]
fn people_read_where_it_ends() {
    let ended = lab(&["doctor", "--profile", "stock", "--target", "1000", "--no-calibration"]);
    ended.expect_exit(0);
    for words in ["No wall lies below 3,000", "How much machine"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(ended.stdout.starts_with("REACHABLE"), "the answer comes first: {}", ended.stdout);
    let all = lab(&["doctor", "--profile", "stock", "--target", "1000", "--no-calibration", "--all"]);
    let walls = |text: &str| {
        text.lines().filter(|line| line.contains("lift: ") || line.contains("passed here")).count()
    };
    assert!(walls(&ended.stdout) < walls(&all.stdout), "what is far is left out: {}", ended.stdout);
    assert!(all.stdout.contains("in the order in which they are met"), "{}", all.stdout);
    for line in ended.stdout.lines().chain(all.stdout.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let ended = Lab::new()
        .after("ulimit -Sn 1024")
        .command(&["doctor", "--profile", "stock", "--plain", "--target", "3000", "--no-calibration"])
        .wait();
    ended.expect_exit(3);
    assert!(
        ended.stdout.contains("SHORT: nofile-server") && ended.stdout.contains("ulimit -Sn"),
        "{}",
        ended.stdout
    );
}
