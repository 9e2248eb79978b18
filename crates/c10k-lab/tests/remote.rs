//! Runs against a server on another host, with control ports that are made up: what they say, and each way in which they
//! fail.

mod remote_support;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use c10k_collector::far::Moment;
use c10k_record::{ClockAt, Protocol, RunState, ServerMode, Topology};
use remote_support::{LAB, Manner, Port, Ran, Server, TOKEN};

const TARGET: u64 = 300;
const HELD: [&str; 2] = ["--target", "300"];
const SECOND: i64 = 1_000_000_000;

fn port() -> (Server, Port) {
    let server = Server::start();
    let port = Port::beside(server.at);
    port.says().accepted = TARGET;
    (server, port)
}

/// Every file below a folder, as text.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            all.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    all
}

fn run_folder(ran: &Ran) -> std::path::PathBuf {
    let results = ran.results.path().join("results");
    let mut runs = std::fs::read_dir(results).expect("results").map_while(Result::ok);
    runs.next().expect("a run").path()
}

/// Another command of the lab beside the results of a run, with the token in the environment: its exit code, and all that
/// it says.
fn lab(beside: &Ran, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(LAB);
    command.args(words).stdin(Stdio::null()).env("C10K_TOKEN", TOKEN).current_dir(beside.results.path());
    let output = command.output().expect("the lab runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn one_record_has_both_hosts_and_what_only_the_far_end_knows() {
    let (_server, port) = port();
    port.says().overflows = 3;
    let ran = port.run(&HELD);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let record = ran.record();
    let c = &record.connections;
    assert_eq!((c.held, c.accepted, c.ghosts), (TARGET, Some(TARGET), Some(0)));
    assert_eq!(record.topology, Topology::Remote);
    let two = record.two_hosts.as_ref().expect("two hosts");
    assert_eq!(
        (two.control.as_str(), two.foreign, two.one_machine),
        (port.at.to_string().as_str(), false, false)
    );
    assert_eq!(two.server.name.as_deref(), Some("serverbox"));
    let kernel = |host: &Option<c10k_record::Host>| host.as_ref().and_then(|host| host.kernel.clone());
    assert_eq!(kernel(&two.server.host).as_deref(), Some("6.1.0-far"));
    assert!(kernel(&two.client.host).is_some() && kernel(&two.client.host) != kernel(&two.server.host));
    assert_eq!(two.server.profile.name, "tuned");
    // The server's part is what its own host says, and is not halved.
    let memory = &record.memory_per_connection;
    assert_eq!((memory.server_user_bytes, memory.server_kernel_bytes), (Some(17.0), Some(4_013.0)));
    assert!(memory.client_user_bytes.is_some(), "{memory:?}");
    assert_eq!(two.server.memory_per_connection.unexplained_ratio, Some(0.015));
    assert_eq!(two.server.memory_per_connection.client_user_bytes, None);
    assert_eq!(two.client.memory_per_connection.server_user_bytes, None);
    assert_eq!((two.lost_at_ms, two.looks_missed), (None, 0));
    assert!(two.looks >= 4, "{} looks in a second of hold", two.looks);
    // Clocks were compared in each part, by several requests each.
    let parts: Vec<ClockAt> = record.clock.iter().map(|look| look.at).collect();
    assert_eq!(parts, [ClockAt::Start, ClockAt::Middle, ClockAt::End]);
    for look in &record.clock {
        let (offset, round_trip) = (look.offset_ns.expect("measured"), look.round_trip_ns.expect("measured"));
        assert!(offset.unsigned_abs() <= round_trip, "one clock: {look:?}");
        assert!(look.tries >= 8, "{look:?}");
    }
    let says = port.says();
    let moments: Vec<Moment> = says.marks.iter().map(|mark| mark.moment).collect();
    assert_eq!(moments, [Moment::Ready, Moment::Hold, Moment::Proof]);
    assert!(says.marks.iter().all(|mark| mark.clients_here == 0));
    assert_eq!(says.marks[1].connections, TARGET);
    assert_eq!(says.ended.as_deref(), Some("the run is over"));
    let begin = says.began.as_ref().expect("it began");
    assert_eq!((begin.plan.target, begin.run_id.as_str()), (TARGET, record.run_id.as_str()));
}

#[test]
fn rows_have_the_server_s_host_beside_the_clients_and_how_old_its_figures_are() {
    let (_server, port) = port();
    port.says().ahead_ns = -10 * SECOND;
    let ran = port.run(&HELD);
    let csv = std::fs::read_to_string(run_folder(&ran).join("samples.csv")).expect("samples.csv");
    let names: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    let column = |name: &str| names.iter().position(|known| *known == name).expect("a column");
    let (age, slab, phase) = (column("far_age_ms"), column("far_slab_bytes"), column("phase"));
    let (rss, accepted) = (column("server_rss_bytes"), column("accepted"));
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let held: Vec<&Vec<&str>> = rows.iter().filter(|row| row[phase] == "hold").collect();
    assert!(held.len() >= 2, "{csv}");
    assert!(held.iter().any(|row| row[accepted] == "300"), "{csv}");
    for row in held {
        assert_eq!((row[slab], row[rss]), ("104857600", "52428800"), "{row:?}");
        // A clock that is 10 s behind makes nothing 10 s old.
        let age_ms: u64 = row[age].parse().expect("an age");
        assert!(age_ms <= 1_500, "{row:?}");
    }
}

#[test]
fn the_record_shows_again_compares_and_repeats_and_the_token_is_nowhere() {
    let (_server, port) = port();
    let ran = port.run(&HELD);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run = run_folder(&ran);
    let run = run.to_str().expect("a path");
    let lab = |words: &[&str]| lab(&ran, words);
    let (code, told) = lab(&["report", run]);
    assert_eq!(code, Some(0), "{told}");
    for text in
        ["server's host", "serverbox", "6.1.0-far", "clients' host", "Server's host: free memory fell by"]
    {
        assert!(told.contains(text), "no '{text}' in {told}");
    }
    let page = std::fs::read_to_string(Path::new(run).join("report.html")).expect("a page");
    for text in
        ["serverbox", "6.1.0-far", "Limits of the server&#39;s host", "Limits of the clients&#39; host"]
    {
        let unescaped = text.replace("&#39;", "'");
        assert!(page.contains(text) || page.contains(&unescaped), "no '{text}' on the page");
    }
    let (code, plan) = lab(&["run", run, "--print-plan"]);
    assert_eq!(code, Some(0), "{plan}");
    assert!(plan.contains(&format!("control = \"{}\"", port.at)), "{plan}");
    // What a run's folder repeats needs no flag but the token, which is in the environment.
    let (code, again) = lab(&["run", run, "--results", "again"]);
    assert_eq!(code, Some(0), "{again}");
    let repeated =
        std::fs::read_dir(ran.results.path().join("again")).expect("results").map_while(Result::ok);
    let repeated = repeated.map(|entry| entry.path().display().to_string()).next().expect("a run");
    let (code, told) = lab(&["compare", run, &repeated]);
    assert_eq!(code, Some(0), "{told}");
    let again = texts(&ran.results.path().join("again"));
    assert!(again.iter().any(|(path, text)| path.ends_with("record.json") && text.contains("serverbox")));
    for (path, text) in texts(ran.results.path()) {
        assert!(!text.contains(TOKEN), "{path}");
    }
    assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN) && !told.contains(TOKEN));
    let says = port.says();
    assert!(
        says.tokens.iter().all(|token| *token == format!("Bearer {TOKEN}")),
        "it was sent where it belongs"
    );
}

#[test]
fn a_token_in_a_file_stands_above_the_environment() {
    let (_server, port) = port();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "another-token-of-a-file\n").expect("written");
    let ran = port.run(&["--target", "20", "--token-file", file.to_str().expect("a path")]);
    assert_eq!(ran.record().connections.held, 20);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!told.contains("another-token-of-a-file"), "{told}");
    assert!(port.says().tokens.iter().all(|token| token == "Bearer another-token-of-a-file"));
    std::fs::write(&file, "short").expect("written");
    let wrong = port.run(&["--target", "20", "--token-file", file.to_str().expect("a path")]);
    wrong.expect_refused(2, &["holds no token", "5 bytes", "16 to 256"]);
    let none = port.run(&["--target", "20", "--token-file", "/nowhere/token"]);
    none.expect_refused(3, &["/nowhere/token"]);
}

#[test]
fn a_clock_that_is_10_s_ahead_is_measured_and_told_and_one_that_is_set_in_the_middle_is_named() {
    let (_server, port) = port();
    {
        let mut says = port.says();
        (says.ahead_ns, says.jumps_by_ns) = (10 * SECOND, 3_600 * SECOND);
    }
    let ran = port.run(&HELD);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let record = ran.record();
    let offset = |part| {
        let look =
            record.clock.iter().find(|look| look.at == part).unwrap_or_else(|| panic!("{:?}", record.clock));
        (look.offset_ns.expect("measured"), look.round_trip_ns.expect("measured") as i64)
    };
    for (part, ahead) in
        [(ClockAt::Start, 10), (ClockAt::Jump, 3_610), (ClockAt::Middle, 3_610), (ClockAt::End, 3_610)]
    {
        let (offset, round_trip) = offset(part);
        assert!(
            (offset - ahead * SECOND).abs() <= round_trip,
            "{part}: {offset} ns, round trip {round_trip} ns"
        );
    }
    let far_off = ran.has_warning("clock-offset");
    let seconds = far_off.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(seconds.is_some_and(|seconds| (9.0..11.0).contains(&seconds)), "{far_off}");
    assert!(far_off.contains("ahead of"), "{far_off}");
    let jumped = ran.has_warning("clock-jumped");
    assert!(jumped.contains("3600.") || jumped.contains("3599.9"), "{jumped}");
    let jumps = record.warnings.iter().filter(|warning| warning.id == "clock-jumped").count();
    assert_eq!(jumps, 1, "{:?}", record.warnings);
    assert_eq!(record.connections.accepted, Some(TARGET));
}

/// A run whose control port behaves so from that moment on: it goes on to its end, holds what it holds, and is broken.
#[track_caller]
fn lost_from(moment: Moment, manner: Manner) -> Ran {
    let (_server, port) = port();
    port.says().later = Some((moment, manner));
    let ran = port.run(&HELD);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    let record = ran.record();
    assert_eq!(record.state, RunState::Broken);
    let c = &record.connections;
    assert_eq!((c.held, c.verified), (TARGET, Some(TARGET)), "the connections live: {}", ran.stderr);
    assert_eq!((c.accepted, c.ghosts), (None, None), "nobody says how many it had accepted");
    let two = record.two_hosts.as_ref().expect("two hosts");
    assert!(two.lost_at_ms.is_some() && two.lost_because.is_some(), "{two:?}");
    let why = record.ended_because.clone().unwrap_or_default();
    assert!(why.contains("the server's host was lost"), "{why}");
    assert!(ran.took_secs < 100, "it waited for {} s", ran.took_secs);
    ran
}

#[test]
fn a_control_port_that_is_gone_in_mid_run_leaves_a_broken_record_with_what_was_known() {
    let ran = lost_from(Moment::Hold, Manner::Closes);
    let record = ran.record();
    assert_eq!(record.memory_per_connection.server_kernel_bytes, Some(4_013.0), "it was known by then");
    assert_eq!(record.clock.last().map(|look| (look.at, look.offset_ns)), Some((ClockAt::End, None)));
    let csv = std::fs::read_to_string(run_folder(&ran).join("samples.csv")).expect("samples.csv");
    let names: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    let slab = names.iter().position(|name| *name == "far_slab_bytes").expect("a column");
    let last = csv.lines().last().expect("rows").split(',').nth(slab).expect("a cell");
    assert_eq!(last, "", "what is not known is empty");
}

#[test]
fn a_far_end_that_knows_nothing_of_the_run_any_more_is_lost_at_once_and_told_apart_from_one_that_was_booted()
{
    let ran = lost_from(Moment::Ready, Manner::Forgot);
    let record = ran.record();
    assert_eq!(record.memory_per_connection.server_kernel_bytes, None, "the hold was not seen");
    assert!(record.memory_per_connection.client_user_bytes.is_some(), "this end was");
    assert!(ran.stderr.contains("the server's host is lost"), "{}", ran.stderr);
    let (_server, port) = port();
    {
        let mut says = port.says();
        (says.later, says.boots_anew) = (Some((Moment::Hold, Manner::Forgot)), true);
    }
    let ran = port.run(&HELD);
    let why = ran.record().ended_because.clone().unwrap_or_default();
    assert!(why.contains("its machine was started anew"), "{why}");
}

#[test]
fn a_far_end_that_never_answers_again_keeps_nobody() {
    lost_from(Moment::Hold, Manner::Silent);
}

#[test]
fn a_far_end_that_answers_garbage_from_some_moment_on_is_lost() {
    let ran = lost_from(Moment::Hold, Manner::Garbage);
    let why = ran.record().ended_because.clone().unwrap_or_default();
    assert!(why.contains("no control port of the lab"), "{why}");
}

#[test]
fn what_is_no_control_port_is_refused_before_anything_is_made() {
    let (_server, port) = port();
    for (manner, words) in [
        (Manner::Garbage, &["no control port of the lab"][..]),
        (Manner::OtherJson, &["no control port of the lab"]),
        (Manner::Closes, &["ended the connection before its answer was whole"]),
        (Manner::Silent, &["gave no answer in 5 s"]),
        (Manner::Refuses(401), &["does not take this token"]),
        (Manner::Refuses(429), &["too many wrong tokens"]),
        (Manner::Refuses(500), &["refuses (500)"]),
    ] {
        port.says().manner = manner;
        port.run(&HELD).expect_refused(3, words);
        assert!(port.says().began.is_none(), "{manner:?}");
    }
    port.says().manner = Manner::Silent;
    port.run(&[&HELD[..], &["--control-timeout", "1s"]].concat())
        .expect_refused(3, &["gave no answer in 1 s"]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let unreachable = Port { at: nobody, ..Port::beside(nobody) };
    unreachable.run(&HELD).expect_refused(3, &["cannot be reached", &nobody.to_string()]);
}

#[test]
fn a_second_client_is_refused_and_hears_who_the_first_is() {
    let (_server, port) = port();
    port.says().manner = Manner::Refuses(409);
    port.run(&HELD).expect_refused(3, &["is in use", "c10k-lab on elsewhere"]);
}

#[test]
fn another_build_is_named_and_refused_unless_it_is_to_be_risked() {
    let (_server, port) = port();
    port.says().hello.build.version = "9.9.9".to_owned();
    port.run(&HELD)
        .expect_refused(3, &["different builds", "9.9.9", env!("CARGO_PKG_VERSION"), "--any-build"]);
    let ran = port.run(&[&HELD[..], &["--any-build"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.has_warning("other-build").contains("9.9.9"));
    assert!(port.says().began.as_ref().expect("it began").any_build);
}

#[test]
fn a_server_that_is_not_what_the_plan_wants_is_told_in_what() {
    let (_server, port) = port();
    port.says().hello.server.protocol = Some(Protocol::Ws);
    port.run(&HELD).expect_refused(2, &["speaks ws", "--protocol ws"]);
    port.says().hello.server.protocol = Some(Protocol::Raw);
    port.says().hello.server.mode = Some(ServerMode::Hold);
    port.run(&HELD).expect_refused(2, &["discards bytes", "--no-probe"]);
    port.says().hello.server.mode = Some(ServerMode::Echo);
    port.run(&[&HELD[..], &["--workload", "fanout"]].concat()).expect_refused(2, &["--workload fanout"]);
    port.says().hello.listen = Vec::new();
    port.run(&HELD).expect_refused(3, &["listens nowhere", "--server"]);
    assert!(port.says().began.is_none());
}

#[test]
fn behind_a_tunnel_the_server_s_address_is_asked_for_and_taken() {
    let (server, port) = port();
    port.says().hello.listen = vec![([0, 0, 0, 0], server.at.port()).into()];
    port.run(&HELD).expect_refused(3, &["0.0.0.0", "tunnel", "--server ADDRESS:PORT"]);
    let ran = port.run(&[&HELD[..], &["--server", &server.at.to_string()]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let plan = ran.record().plan.clone().expect("a plan");
    assert_eq!(plan.server.listen, [server.at]);
    // The same again: by its plan alone, also where the far end now names an address that another one may have here.
    for listen in [([127, 0, 0, 1], 1), ([0, 0, 0, 0], server.at.port())] {
        port.says().hello.listen = vec![listen.into()];
        let again =
            lab(&ran, &["run", run_folder(&ran).to_str().expect("a path"), "--results", "again", "--json"]);
        assert_eq!(again.0, Some(0), "{}", again.1);
        let began = port.says().began.take().expect("it began");
        assert_eq!(began.plan.server.listen, [server.at]);
    }
    // A plan that does not say it may be told without its control port.
    let old = std::fs::read_to_string(run_folder(&ran).join("plan.toml")).expect("a plan");
    let old: String = old.split_inclusive('\n').filter(|line| !line.starts_with("reached_at")).collect();
    std::fs::write(ran.results.path().join("old.toml"), old).expect("written");
    let told = lab(&ran, &["run", "old.toml", "--results", "again"]);
    assert!(told.0 == Some(3) && told.1.contains("--server ADDRESS:PORT"), "{told:?}");
    let told = lab(&ran, &["run", "old.toml", "--results", "again", "--server", &server.at.to_string()]);
    assert_eq!(told.0, Some(0), "{}", told.1);
}

#[test]
fn flags_that_contradict_two_hosts_are_refused() {
    let (_server, port) = port();
    port.run(&["--topology", "loopback"]).expect_refused(2, &["--topology loopback", "--topology remote"]);
    let ran = |words: &[&str]| {
        let results = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(LAB);
        command.args(["run", "--results"]).arg(results.path().join("results")).args(words);
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output().expect("the lab runs");
        Ran::of(&output, results, began)
    };
    ran(&["--topology", "remote"]).expect_refused(2, &["--topology remote", "--control"]);
    for other in [&["--server-port", "9"][..], &["--max-connections", "9"], &["--server-workers", "2"]] {
        let refused = ran(&[&["--control", "127.0.0.1:9"], other].concat());
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("--control"), "{}", refused.stderr);
    }
    assert_eq!(ran(&["--control", "nowhere"]).code, Some(2));
    ran(&["--server", "10.0.0.1:9000"])
        .expect_refused(2, &["--server 10.0.0.1:9000", "--control ADDRESS:PORT"]);
    assert_eq!(ran(&["--ssh", "far", "--server", "10.0.0.1:9000"]).code, Some(2));
}

#[test]
fn counters_of_the_far_end_are_evidence_and_say_whose_they_are() {
    let server = Server::start();
    let port = Port::beside(server.at);
    {
        let mut says = port.says();
        // The server's host drops what the swarm then waits for: nobody has accepted the last ten.
        (says.accepted, says.overflows) = (TARGET, 40);
    }
    let ran = port.run(&HELD);
    let two = ran.record().two_hosts.clone().expect("two hosts");
    assert_eq!(two.server.counters.get("ListenOverflows"), Some(&0), "it stood at 40 from the first look on");
    assert!(two.client.counters.contains_key("ListenOverflows"), "{:?}", two.client.counters);
    assert_eq!(two.server.lowest_memory_available_bytes, Some(4 << 30));
    assert!(two.client.lowest_memory_available_bytes.is_some());
}
