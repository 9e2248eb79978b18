//! `c10k-lab serve` as its clients find it: run after run, refusals, and an end that leaves nothing behind.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
mod served;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use c10k_collector::far::{Look, Mark, Marked, Moment, Snapshot};
use c10k_record::control::{Begun, Client, ControlError, FarState, Refused, path};
use c10k_record::{Protocol, ServerMode, Workload};
use common::{Lab, PATIENCE, send};
use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};
use served::{Served, TOKEN, accepted, begin, begun, build, end, look_until, plan};

#[test]
fn one_server_carries_run_after_run_and_counts_each_from_nothing() {
    let served = Served::with_token(&[]);
    let mut client = served.client();
    let hello = client.hello().expect("it is there");
    assert_eq!((hello.listen.as_slice(), hello.server.foreign), (&[served.server][..], false));
    assert_eq!((hello.server.protocol, hello.server.mode), (Some(Protocol::Raw), Some(ServerMode::Echo)));
    assert_eq!((hello.state, hello.lease_secs), (FarState::Idle, 15));
    assert!(hello.boot_id.is_some() && hello.host.cpus > 0, "{:?}", hello.host);
    assert!(hello.host.limits.server_nofile.is_some() && hello.host.limits.backlog.is_some());
    assert_eq!(hello.build, build());
    for (run_id, count) in [("first", 50), ("second", 30)] {
        let begun = begun(&mut client, run_id);
        assert_eq!((begun.run_id.as_str(), begun.open_before), (run_id, Some(0)));
        let held = served.connect(count);
        let look = look_until(&mut client, run_id, |look| accepted(look) == Some(count as u64));
        let report = look.report.as_ref().expect("it spoke");
        assert_eq!((report.open, report.peak, look.server_end), (count as u64, count as u64, None));
        let mark =
            |moment| Mark { moment, connections: count as u64, clients_here: count as u64, settle_ms: 0 };
        let hold: Marked = client.post(&path::mark(run_id), &mark(Moment::Hold)).expect("marked");
        assert_eq!((hold.established, hold.not_accepted), (Some(count as u64), Some(0)));
        let memory = hold.memory.expect("memory is looked at in the hold");
        assert_eq!(memory.connections, Some(count as u64));
        assert!(hold.processes.iter().any(|process| process.pid == hello.server.pid.unwrap_or_default()));
        let proof: Marked = client.post(&path::mark(run_id), &mark(Moment::Proof)).expect("marked");
        assert_eq!(proof.evidence.listeners.map(|seen| seen.waited_at), Some(0));
        assert!(proof.memory.is_none());
        drop(held);
        look_until(&mut client, run_id, |look| look.report.as_ref().is_some_and(|report| report.open == 0));
        let account = end(&mut client, run_id);
        let report = account.look.report.as_ref().expect("it spoke");
        assert_eq!((report.accepted, report.closed, report.peak), (count as u64, count as u64, count as u64));
        assert_eq!((account.reason.as_str(), account.marks.len()), ("done", 2));
        assert!(!account.samples.is_empty() && account.samples_every_ms == 250);
        assert!(account.counters.contains_key("ListenOverflows"), "{:?}", account.counters);
        // Who did not hear the answer asks again.
        assert_eq!(end(&mut client, run_id), account);
        assert!(
            matches!(client.hello().expect("hello").state, FarState::Ended { run_id: last, .. } if last == run_id)
        );
    }
    served.running.signal(SIGTERM);
    let ended = served.running.wait();
    ended.expect_exit(0);
    for said in ["the run first has begun, for a test", "the run second has ended: done"] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
}

#[test]
fn a_second_client_is_told_who_has_the_server() {
    let served = Served::with_token(&["--lease", "1h"]);
    let (mut first, mut second) = (served.client(), served.client());
    begun(&mut first, "mine");
    match second.post::<Begun>(path::RUNS, &begin("other", "another test")) {
        Err(ControlError::InUse { running: Some(running), hint, .. }) => {
            assert_eq!((running.run_id.as_str(), running.by.as_str()), ("mine", "a test"));
            assert!(hint.is_some_and(|hint| hint.contains("3600 s")));
        }
        other => panic!("{other:?}"),
    }
    // A client that lost the answer says it again.
    begun(&mut first, "mine");
    let unknown = second.get::<Look>(&path::look("other")).expect_err("it is none");
    assert!(unknown.to_string().contains("mine is under way"), "{unknown}");
    served.running.signal(SIGINT);
    let ended = served.running.wait();
    ended.expect_exit(0);
    assert!(ended.stderr.contains("the run mine has ended: serve was ended by Ctrl-C"), "{}", ended.stderr);
}

#[test]
fn a_run_whose_client_is_silent_for_too_long_is_ended_and_the_next_may_begin() {
    let served = Served::with_token(&["--lease", "1s"]);
    let (mut first, mut second) = (served.client(), served.client());
    begun(&mut first, "mine");
    // Its client is gone: looks at nobody's run are no word of it.
    let give_up = Instant::now() + PATIENCE;
    loop {
        match second.hello().expect("hello").state {
            FarState::Ended { run_id, reason } => {
                assert_eq!(run_id, "mine");
                assert_eq!(reason, "nothing was heard of its client for 1 s");
                break;
            }
            state => assert!(Instant::now() < give_up, "{state:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let late = first.get::<Look>(&path::look("mine")).expect_err("it is over");
    assert!(late.to_string().contains("refuses (404): the run mine has ended: nothing was heard"), "{late}");
    // What it saw until then is not lost.
    assert_eq!(end(&mut first, "mine").reason, "nothing was heard of its client for 1 s");
    let other: Begun = second.post(path::RUNS, &begin("other", "another test")).expect("it is free");
    assert_eq!(other.run_id, "other");
}

#[test]
fn who_does_not_know_the_token_learns_nothing_and_is_looked_at_no_more_after_five_tries() {
    let served = Served::with_token(&[]);
    let ask = |path: &str, token: &str| {
        let said = served.raw(format!("GET {path} HTTP/1.1\r\n{token}Connection: close\r\n\r\n").as_bytes());
        assert!(!said.contains("serve") && !said.contains("127.0.0.1"), "{said}");
        said
    };
    for path in ["/", "/healthz"] {
        assert!(ask(path, "").starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let overlong = format!("Authorization: Bearer {}\r\n", "x".repeat(2000));
    let answers = [
        ask("/v1/hello", ""),
        ask("/nothing/is/here", "Authorization: Bearer 0123456789abcdefghik\r\n"),
        ask("/snapshot", &overlong),
        ask("/metrics", "Authorization: Basic Og==\r\n"),
        ask("/v1/runs/x/look", "Authorization: Bearer \r\n"),
    ];
    assert!(answers[0].starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // Five in ten seconds are enough; a busy machine may take longer over the first of them.
    let is_too_often = |_| ask("/v1/hello", "").starts_with("HTTP/1.1 429 Too Many Requests\r\n");
    assert!((0..500).any(is_too_often));
    assert!(served.client().hello().is_ok(), "the right one is always taken");
    let mut without = Client::new(served.control, None).with_patience(PATIENCE);
    assert!((0..500).any(|_| matches!(without.hello(), Err(ControlError::TooOften { .. }))));
    // Larger than a head may be.
    let huge = format!("GET / HTTP/1.1\r\nAuthorization: Bearer {}\r\n\r\n", "x".repeat(20_000));
    assert!(served.raw(huge.as_bytes()).starts_with("HTTP/1.1 431 "));
}

/// A refusal, which is always a document.
#[track_caller]
fn refused(said: &str) -> Refused {
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{said}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn a_path_that_takes_another_method_says_which() {
    let served = Served::with_token(&[]);
    let head = format!("Authorization: Bearer {TOKEN}\r\nConnection: close\r\n");
    for (method, path, allow) in [
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", path::HELLO, "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
        ("DELETE", path::RUNS, "POST"),
        ("GET", path::RUNS, "POST"),
        ("POST", "/v1/runs/x/look", "GET, HEAD"),
        ("GET", "/v1/meet/noon/join", "POST"),
        ("POST", "/v1/meet/noon/results/3", "GET, HEAD"),
    ] {
        let said = served.raw(format!("{method} {path} HTTP/1.1\r\n{head}\r\n").as_bytes());
        assert!(said.starts_with("HTTP/1.1 405 "), "{method} {path}: {said}");
        assert!(said.contains(&format!("\r\nAllow: {allow}\r\n")), "{method} {path}: {said}");
        let error = refused(&said).error;
        assert!(error.contains(path) && error.contains(allow), "{error}");
    }
    // An answer to HEAD has no body (RFC 9110, section 9.3.2).
    let said = served.raw(format!("HEAD {} HTTP/1.1\r\n{head}\r\n", path::RUNS).as_bytes());
    assert!(said.starts_with("HTTP/1.1 405 ") && said.ends_with("\r\n\r\n"), "{said}");
}

#[test]
fn a_build_is_of_the_program_whatever_its_file_is_called() {
    let home = tempfile::tempdir().expect("a folder");
    let copy = home.path().join("lab-of-yesterday");
    std::fs::copy(env!("CARGO_BIN_EXE_c10k-lab"), &copy).expect("copied");
    let output = std::process::Command::new(copy).args(["serve", "--print-build"]).output().expect("it runs");
    let printed: c10k_record::control::Build = serde_json::from_slice(&output.stdout).expect("a build");
    assert_eq!((printed.program.as_str(), printed.clone()), ("c10k-lab", build()));
}

#[test]
fn a_folder_of_results_that_nobody_named_and_that_cannot_be_written_is_only_said() {
    let served = Served::start(Lab::new().with_file("results", ""), &[]);
    let said = served.running.stderr();
    assert!(said.contains("note: results cannot be written into 'results': 'results' is a file"), "{said}");
    served.running.signal(SIGTERM);
    served.running.wait().expect_exit(0);
}

#[test]
fn garbage_slow_clients_and_wrong_bodies_disturb_nobody() {
    let served = Served::with_token(&[]);
    let head = format!("Authorization: Bearer {TOKEN}\r\n");
    for (request, status) in [
        ("hello\n".to_owned(), "400"),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{7f}".to_owned(), "400"),
        (format!("GET /v2 HTTP/1.1\r\n{head}Connection: close\r\n\r\n"), "404"),
        (format!("DELETE /v1/runs/x/y HTTP/1.1\r\n{head}\r\n"), "404"),
        (format!("GET /v1/runs/x/look HTTP/1.1\r\n{head}Connection: close\r\n\r\n"), "404"),
        (format!("POST /v1/runs HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n"), "411"),
        (format!("POST /v1/runs HTTP/1.1\r\n{head}Content-Length: 1048577\r\n\r\n"), "413"),
        (
            format!("POST /v1/runs HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"),
            "400",
        ),
        (format!("POST /v1/runs HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: 3\r\n\r\nabc"), "400"),
    ] {
        let said = served.raw(request.as_bytes());
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {said}");
        refused(&said);
    }
    let missing =
        format!("POST /v1/runs HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    assert!(served.raw(missing.as_bytes()).contains("missing field `run_id`"));
    // Heads and bodies that never come to their end.
    let slow = |bytes: String| {
        let mut stream = TcpStream::connect(served.control).expect("connected");
        stream.write_all(bytes.as_bytes()).expect("sent");
        stream
    };
    let heads: Vec<TcpStream> = (0..100).map(|_| slow("GET /v1/hel".to_owned())).collect();
    let body = format!("POST /v1/runs HTTP/1.1\r\n{head}Content-Length: 500000\r\n\r\n{{");
    let bodies: Vec<TcpStream> = (0..100).map(|_| slow(body.clone())).collect();
    let mut client = served.client();
    begun(&mut client, "in-spite-of-them");
    assert_eq!(end(&mut client, "in-spite-of-them").reason, "done");
    drop((heads, bodies));
    let mut named = begin("../../etc", "a test");
    let error = client.post::<Begun>(path::RUNS, &named).expect_err("no name");
    assert!(error.to_string().contains("'../../etc' is no name of a run"), "{error}");
    named.run_id = "long".to_owned();
    named.client = "x".repeat(2 << 20);
    let error = client.post::<Begun>(path::RUNS, &named).expect_err("too long");
    assert!(matches!(error, ControlError::TooLong { .. }), "{error}");
}

#[test]
fn another_build_and_a_plan_that_the_server_cannot_serve_are_named() {
    let served = Served::with_token(&[]);
    let mut client = served.client();
    let mut other = begin("r", "a test");
    other.build.hash = "0".repeat(16);
    match client.post::<Begun>(path::RUNS, &other) {
        Err(ControlError::OtherBuild { error, build: Some(there), .. }) => {
            assert!(error.contains(&there.hash) && error.contains(&other.build.hash), "{error}");
        }
        said => panic!("{said:?}"),
    }
    other.any_build = true;
    client.post::<Begun>(path::RUNS, &other).expect("any build will do");
    end(&mut client, "r");
    let mut plans = begin("r2", "a test");
    plans.plan = plan(Protocol::Ws);
    let error = client.post::<Begun>(path::RUNS, &plans).expect_err("it speaks raw");
    assert!(error.to_string().contains("(422): the server's protocol is raw, and the plan's ws"), "{error}");
    plans.plan = plan(Protocol::Raw);
    plans.plan.workload = Workload::Stream;
    let error = client.post::<Begun>(path::RUNS, &plans).expect_err("it pushes nothing");
    assert!(error.to_string().contains("workload is none, and the plan's stream"), "{error}");
}

#[test]
fn a_snapshot_and_the_figures_are_those_of_the_server_that_stands_there() {
    let served = Served::with_token(&[]);
    let held = served.connect(7);
    let mut client = served.client();
    let give_up = Instant::now() + PATIENCE;
    let open = |snapshot: &Snapshot| snapshot.look.report.as_ref().map(|report| report.open);
    loop {
        let snapshot: Snapshot = client.get(path::SNAPSHOT).expect("a snapshot");
        if open(&snapshot) == Some(7) {
            assert!(snapshot.look.seen.server.rss_bytes.is_some());
            break;
        }
        assert!(Instant::now() < give_up, "{snapshot:?}");
    }
    let head = format!("Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
    let page = served.raw(format!("GET /metrics HTTP/1.1\r\n{head}").as_bytes());
    assert!(page.contains("c10k_build_info{program=\"c10k-lab\""), "{page}");
    assert!(page.contains("\nc10k_connections{end=\"server\",state=\"open\"} 7\n"), "{page}");
    drop(held);
}

#[test]
fn a_server_that_is_killed_is_told_to_its_client_and_ends_serving_after_the_run() {
    let served = Served::with_token(&[]);
    let mut client = served.client();
    begun(&mut client, "r");
    send(served.running.server().pid, SIGKILL);
    let look = look_until(&mut client, "r", |look| look.server_end.is_some());
    let how = look.server_end.expect("it ended");
    assert_eq!((how.signal, how.code), (Some(9), None));
    assert_eq!(end(&mut client, "r").look.server_end, Some(how.clone()));
    let ended = served.running.wait();
    ended.expect_exit(4);
    assert!(ended.stderr.contains(&how.words), "{}", ended.stderr);
}

#[test]
fn killed_it_leaves_no_process_and_a_client_that_asks_is_told_that_nobody_is_there() {
    let served = Served::with_token(&[]);
    let mut client = served.client();
    begun(&mut client, "r");
    served.running.signal(SIGKILL);
    // Its server ends with it: no process is left.
    served.running.wait();
    let gone = client.get::<Look>(&path::look("r")).expect_err("nobody answers");
    assert!(gone.may_pass() && gone.hint().contains("c10k-lab serve"), "{gone}");
}

#[test]
fn what_cannot_be_served_is_refused_with_what_mends_it_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("bound").to_string();
    let lab = || {
        let short = Lab::new().with_file("short", "secret\n").with_file("token", TOKEN);
        short.with_file(
            "mine.toml",
            "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 'many words'\n",
        )
    };
    for (arguments, exit, words) in [
        (&["--control", at.as_str()][..], 3, &["port is taken", "another port with --control"][..]),
        (&["--control", "0.0.0.0:0"], 2, &["can be reached from other machines", "--token-file"]),
        (&["--token-file", "short"], 2, &["short holds no token: it has 6 bytes", "both ends need the same"]),
        (&["--token-file", "none"], 3, &["cannot read the token file none"]),
        (&["--control", "here"], 2, &["'here' is not an address with a port"]),
        (&["--lease", "0s"], 2, &["'0s' is no lease: expected 1s to 1h"]),
        (
            &["--control", "127.0.0.1:0", "--results", "token/x"],
            3,
            &["results cannot be written into 'token/x'", "is a file"],
        ),
        (&["--json"], 2, &["--json has no place here"]),
        (&["--control", "127.0.0.1:0", "--profile", "no-such"], 2, &["no-such"]),
        (&["--control", "127.0.0.1:0", "--path", "/x"], 2, &["--protocol ws"]),
        (&["--control", "127.0.0.1:0", "--listen", at.as_str()], 3, &["the port is taken"]),
    ] {
        let mut all = vec!["serve"];
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(arguments);
        let ended = lab().command(&all).wait();
        ended.expect_exit(exit);
        for said in words {
            assert!(ended.stderr.contains(said), "{arguments:?}: {said}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn with_events_it_says_where_it_is_and_ends_with_its_stdin() {
    // The stdin of a test's lab is at its end from the beginning.
    let lab = Lab::new();
    let words =
        ["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--events", "--profile", "stock"];
    let ended = lab.command(&words).wait();
    ended.expect_exit(0);
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&"ready".into(), &"done".into()),
        "{}",
        ended.stdout
    );
    let control: SocketAddr = lines[0]["control"].as_str().expect("where").parse().expect("an address");
    assert!(control.ip().is_loopback() && control.port() != 0);
    assert_eq!(lines[0]["listen"].as_array().map(Vec::len), Some(1));
    assert_eq!(lines[1]["put_back"], true);
}

/// An address that others could reach, in a network namespace where nobody else is.
#[test]
fn where_other_machines_can_reach_it_a_token_is_asked_for() {
    if !common::namespaces_allowed("serve on an address of a network") {
        return;
    }
    let code = format!(
        "ip link set lo up; ip addr add 192.0.2.1/32 dev lo; printf %s {TOKEN} > token
        $0 serve --listen 192.0.2.1:0 --control 192.0.2.1:0 2>err; echo exit $?
        C10K_TOKEN={TOKEN} $0 serve --listen 192.0.2.1:0 --control 192.0.2.1:9900 2>err & pid=$!
        until grep -q 'run --topology remote --control 192.0.2.1:9900 --token-file FILE' err; do sleep 0.05; done
        $0 serve --listen 192.0.2.1:0 --control 192.0.2.1:9900 --token-file token 2>again; echo exit $?
        kill -TERM $pid; wait $pid; echo exit $?; cat again >&2"
    );
    let (said, heard) = inside(&code);
    assert_eq!(said, "exit 2\nexit 3\nexit 0\n", "{heard}");
    assert!(heard.contains("cannot serve control on 192.0.2.1:9900: the port is taken"), "{heard}");
}

#[test]
fn a_profile_is_in_force_while_it_serves_and_put_back_at_its_end_or_by_the_next_start_after_a_kill() {
    if !common::namespaces_allowed("serve with a profile") {
        return;
    }
    let (said, heard) = inside(
        "ip link set lo up; mount -t tmpfs tmpfs /run
        now() { echo $1 $(cat /proc/sys/net/core/somaxconn); }
        up() { : > err; $0 serve --profile ./mine.toml --listen 127.0.0.1:0 --control 127.0.0.1:0 2>err & pid=$!
            until grep -q 'topology remote' err; do sleep 0.05; done; cat err >&2; }
        now before; up; now serving; kill -TERM $pid; wait $pid; echo exit $?; now ended
        up; now again; kill -KILL $pid; wait $pid; echo exit $?; now killed
        up; now next; kill -INT $pid; wait $pid; echo exit $?; now after; cat err >&2",
    );
    let expected = "before 4096\nserving 999\nexit 0\nended 4096\nagain 999\nexit 137\nkilled 999\nnext 999\nexit 0\nafter 4096\n";
    assert_eq!(said, expected, "{heard}");
    assert!(
        heard.contains("which died: 1 setting put back") && heard.contains("\n1 setting put back"),
        "{heard}"
    );
}

#[test]
fn on_a_disk_that_is_full_nothing_is_set_and_output_that_is_lost_is_told() {
    if !common::namespaces_allowed("serve on a full disk") {
        return;
    }
    let (said, heard) = inside(
        "ip link set lo up; mount -t tmpfs -o size=4k tmpfs /run; cat /dev/zero > /run/fill 2>/dev/null
        serve() { $0 serve --listen 127.0.0.1:0 --control 127.0.0.1:0 \"$@\"; }
        serve --profile ./mine.toml; echo exit $? $(cat /proc/sys/net/core/somaxconn)
        serve --events < /dev/null > /dev/full; echo exit $?",
    );
    assert_eq!(said, "exit 3 4096\nexit 4\n", "{heard}");
    assert!(heard.contains("No space left on device"), "{heard}");
    assert!(heard.contains("the output cannot be written"), "{heard}");
}

/// Runs shell code as root of a user, network and mount namespace of its own, with `$0` the program; what it wrote on
/// stdout, and on stderr.
#[track_caller]
fn inside(code: &str) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = "name = 'mine'\nsummary = 'of a test'\n[sysctl]\n'net.core.somaxconn' = 999\n";
    std::fs::write(folder.path().join("mine.toml"), profile).expect("written");
    let output = std::process::Command::new("env")
        .args(["--default-signal=HUP,INT,QUIT", "timeout", "170", "unshare", "-Urnm", "sh", "-c", code])
        .arg(env!("CARGO_BIN_EXE_c10k-lab"))
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("unshare(1)");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}
