//! `--metrics`: what each program serves to Prometheus, and what that may not do to it.

mod common;
mod metrics_support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Lab, PATIENCE, Running, lab, run_lab};
use metrics_support::{Page, after, get, metrics_of, top};
use nix::sys::signal::Signal;

/// A server of the lab's that serves its figures, and where it listens.
fn server(flags: &[&str], lab: Lab) -> (Running, SocketAddr) {
    let all = [&["server", "--listen", "127.0.0.1:0", "--metrics", "0"], flags].concat();
    let server = lab.command(&all);
    server.wait_until_said("listening on ");
    let listens = after(&server.stderr(), "listening on ").parse().expect("an address");
    (server, listens)
}

/// A swarm that holds `target` connections to it until it is ended.
fn swarm(server: SocketAddr, target: u64) -> Running {
    let (server, target) = (server.to_string(), target.to_string());
    Lab::new().command(&[
        "swarm",
        "--server",
        &server,
        "--target",
        &target,
        "--hold",
        "1h",
        "--beat",
        "200ms",
        "--metrics",
        ":0",
    ])
}

fn is_held(page: &Page, count: f64) -> bool {
    page.get("c10k_connections{end=\"swarm\",state=\"open\"}") == Some(count)
        && page.get("c10k_phase{phase=\"hold\"}") == Some(1.0)
}

#[test]
fn a_run_serves_the_figures_of_both_ends_from_outside_of_its_namespace() {
    let mut run = Lab::new().start(&["--target", "50", "--hold", "1h", "--metrics", "0"]);
    let address = metrics_of(&run);
    run.wait_for_hold(50);
    let first_echoes = "c10k_echo_latency_seconds_count{kind=\"first_echo\"}";
    let page = Page::wait_for(address, |page| is_held(page, 50.0) && page.get(first_echoes) == Some(50.0));
    page.expect_checked();
    for (series, value) in [
        ("c10k_connections{end=\"server\",state=\"open\"}", 50.0),
        ("c10k_connections_accepted_total{end=\"server\"}", 50.0),
        ("c10k_connections_verified_total{end=\"swarm\"}", 50.0),
        ("c10k_connections_failed_total{end=\"swarm\"}", 0.0),
        ("c10k_target_connections", 50.0),
        ("c10k_connect_latency_seconds_count", 50.0),
    ] {
        assert_eq!(page.get(series), Some(value), "{series}\n{}", page.text);
    }
    for series in
        ["c10k_process_resident_memory_bytes{end=\"server\"}", "c10k_local_ports", "c10k_accept_queue_limit"]
    {
        assert!(page.get(series) > Some(0.0), "{series}\n{}", page.text);
    }
    let build = format!("c10k_build_info{{program=\"c10k-lab\",version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(page.get(&build), Some(1.0), "{}", page.text);
    // One that waits for its next scrape keeps nothing from ending.
    let mut waits = TcpStream::connect(address).expect("connected");
    waits.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("asked");
    run.signal(Signal::SIGINT);
    let ended = run.wait();
    ended.expect_exit(130);
    assert!(TcpStream::connect(address).is_err(), "it still listens");
    let mut rest = Vec::new();
    let _ = waits.read_to_end(&mut rest);
}

#[test]
fn an_ordinary_user_s_run_is_scraped_too_and_may_not_have_every_port() {
    let run =
        Lab::new().by_ordinary_user().start(&["--target", "20", "--hold", "1h", "--metrics", "localhost:0"]);
    let page = Page::wait_for(metrics_of(&run), |page| is_held(page, 20.0));
    assert_eq!(page.get("c10k_connections{end=\"server\",state=\"open\"}"), Some(20.0), "{}", page.text);
    run.signal(Signal::SIGTERM);
    run.wait().expect_exit(143);
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse::<u16>().is_ok_and(|first| first > 79) {
        let ended = Lab::new().by_ordinary_user().run(&["--target", "20", "--metrics", "79"]);
        ended.expect_exit(3);
        assert!(
            ended.stderr.contains("this user may not use that port (EACCES)\nhint: "),
            "{}",
            ended.stderr
        );
    }
}

/// Families that are there only where something happens, or this host has something.
const SELDOM: [&str; 5] = [
    "c10k_handshakes_total",
    "c10k_connections_failed_by_outcome_total",
    "c10k_accept_errors_total",
    "c10k_conntrack_entries",
    "c10k_conntrack_limit",
];

#[test]
fn each_program_serves_what_it_knows_and_the_document_has_all_of_it() {
    let (server, listens) = server(&[], Lab::new());
    let swarm = swarm(listens, 20);
    let port = listens.port().to_string();
    let collector =
        Lab::new().command(&["collector", "--port", &port, "--interval", "100ms", "--metrics", "0"]);
    let at_swarm = Page::wait_for(metrics_of(&swarm), |page| {
        is_held(page, 20.0) && page.get("c10k_echo_latency_seconds_count{kind=\"beat\"}") > Some(20.0)
    });
    let open = "c10k_connections{end=\"server\",state=\"open\"}";
    let at_server = Page::wait_for(metrics_of(&server), |page| page.get(open) == Some(20.0));
    let established = "c10k_connections{end=\"server\",state=\"established\"}";
    let at_collector = Page::wait_for(metrics_of(&collector), |page| page.get(established) == Some(20.0));
    let document = std::fs::read_to_string(top().join("docs/metrics.md")).expect("docs/metrics.md");
    let documented: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `c10k_")?.split('`').next()).collect();
    let mut told = BTreeSet::new();
    for page in [&at_swarm, &at_server, &at_collector] {
        page.expect_checked();
        told.extend(page.families());
    }
    let told: BTreeSet<&str> = told.iter().filter_map(|name| name.strip_prefix("c10k_")).collect();
    assert!(told.is_subset(&documented), "not in docs/metrics.md: {:?}", told.difference(&documented));
    let seldom: BTreeSet<&str> = SELDOM.iter().filter_map(|name| name.strip_prefix("c10k_")).collect();
    let missing: Vec<&&str> = documented.difference(&told).filter(|name| !seldom.contains(**name)).collect();
    assert!(missing.is_empty() && seldom.is_subset(&documented), "nobody tells {missing:?}");
    // Those who scrape are none of the server's connections.
    let accepted = "c10k_connections_accepted_total{end=\"server\"}";
    let beats = at_server.get("c10k_received_bytes_total{end=\"server\"}");
    let later = Page::wait_for(metrics_of(&server), |page| {
        page.get("c10k_received_bytes_total{end=\"server\"}") > beats
    });
    assert_eq!((later.get(open), later.get(accepted)), (Some(20.0), Some(20.0)), "{}", later.text);
    for (running, code) in [(collector, 0), (swarm, 130), (server, 0)] {
        running.signal(Signal::SIGINT);
        running.wait().expect_exit(code);
    }
}

#[test]
fn what_is_lost_is_told_by_its_cause_and_a_handshake_where_there_are_some() {
    let flags = ["--protocol", "ws", "--max-connections", "5"];
    let (server, listens) = server(&flags, Lab::new());
    let url = format!("ws://{listens}/");
    let swarm = Lab::new().command(&[
        "swarm",
        "--url",
        &url,
        "--target",
        "8",
        "--hold",
        "1h",
        "--handshake-timeout",
        "3s",
        "--metrics",
        "0",
    ]);
    let page = Page::wait_for(metrics_of(&swarm), |page| page.get("c10k_phase{phase=\"hold\"}") == Some(1.0));
    page.expect_checked();
    let lost = "c10k_connections_failed_by_outcome_total{end=\"swarm\",outcome=\"handshake-timeout\"}";
    assert_eq!(
        (page.get(lost), page.get("c10k_connections_failed_total{end=\"swarm\"}")),
        (Some(3.0), Some(3.0))
    );
    let opened = "c10k_handshakes_total{end=\"server\"}";
    Page::wait_for(metrics_of(&server), |page| page.get(opened) == Some(5.0)).expect_checked();
}

#[test]
fn a_full_descriptor_table_is_told_from_spare_ones() {
    let (server, listens) = server(&["--one-table", "--workers", "1"], Lab::new());
    let address = metrics_of(&server);
    let pid = server.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count();
    let limit = format!("--nofile={open}:{open}");
    let lowered = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(lowered.is_ok_and(|status| status.success()), "the limit of a process of ours may be lowered");
    // More than it has descriptors for: the others wait in the queue.
    let held: Vec<TcpStream> =
        (0..open + 10).map(|_| TcpStream::connect(listens).expect("connected")).collect();
    let full = "c10k_accept_errors_total{end=\"server\",errno=\"EMFILE\"}";
    Page::wait_for(address, |page| page.get(full) > Some(0.0)).expect_checked();
    for _ in 0..3 {
        Page::scrape(address);
    }
    drop(held);
}

#[test]
fn garbage_and_other_paths_are_answered_and_change_nothing() {
    let (server, _) = server(&[], Lab::new());
    let address = metrics_of(&server);
    let mut garbage = TcpStream::connect(address).expect("connected");
    garbage.set_read_timeout(Some(PATIENCE)).expect("set");
    garbage.write_all(&[0xff; 3000]).expect("sent");
    let mut said = String::new();
    garbage.read_to_string(&mut said).expect("answered");
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert_eq!(get(address, "/nothing").0, "HTTP/1.1 404 Not Found");
    assert!(get(address, "/").1.contains("/metrics"));
    Page::scrape(address);
}

#[test]
fn where_nobody_may_listen_is_told_before_anything_is_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("bound").to_string();
    let programs: [&[&str]; 5] = [
        &["run", "--results", "none"],
        &["climb", "--results", "none", "60"],
        &["server", "--listen", "127.0.0.1:0"],
        &["swarm", "--server", "127.0.0.1:1"],
        &["collector", "--port", "1"],
    ];
    for program in programs {
        for (address, code, words) in [
            ("x", 2, ["'x' is not an address with a port", "9464"]),
            ("127.0.0.1", 2, ["'127.0.0.1' is not an address with a port", "127.0.0.1:9464"]),
            ("70000", 2, ["'70000' is not an address with a port", "9464"]),
            ("192.0.2.1:9464", 3, ["the address is not on this machine (EADDRNOTAVAIL)", "hint: "]),
        ] {
            let ended = lab(&[program, &["--metrics", address]].concat());
            ended.expect_exit(code);
            assert!(words.iter().all(|word| ended.stderr.contains(word)), "{program:?}: {}", ended.stderr);
        }
    }
    for program in programs {
        let ended = lab(&[program, &["--metrics", &taken]].concat());
        ended.expect_exit(3);
        let wanted = format!("error: cannot serve metrics on {taken}: the port is taken (EADDRINUSE)\n");
        assert!(
            ended.stderr.contains(&wanted) && ended.stderr.contains("hint: "),
            "{program:?}: {}",
            ended.stderr
        );
        assert!(!ended.home.path().join("none").exists(), "{program:?} has begun");
    }
    drop(listener);
}

#[test]
fn a_climb_serves_all_its_steps_at_one_address() {
    let lab = Lab::new().with_nofile(200);
    let climb = lab.command(&["climb", "300", "--metrics", "0"]);
    let address = metrics_of(&climb);
    let (mut targets, give_up) = (0, Instant::now() + PATIENCE);
    // Between two steps a scrape waits; after the last nobody answers any more.
    while let Some(page) = try_scrape(address) {
        targets += u32::from(page.contains("\nc10k_target_connections 300\n"));
        assert!(Instant::now() < give_up, "{}", climb.stderr());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(targets > 0, "{}", climb.stderr());
    let ended = climb.wait();
    assert!(ended.stderr.contains("nofile"), "{}", ended.stderr);
}

/// The page; nothing once nobody listens, and an empty one where a step ended meanwhile.
fn try_scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut said = String::new();
    let _ = write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut said));
    Some(said)
}

#[test]
fn nothing_listens_without_the_flag() {
    let ended = run_lab(&["--target", "10", "--hold", "50ms"]);
    assert!(!ended.stderr.contains("metrics:"), "{}", ended.stderr);
}
