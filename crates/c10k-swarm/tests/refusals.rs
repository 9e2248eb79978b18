//! What a swarm does not start with, and what it says then.

mod common;

use c10k_record::Exit;
use common::server::Server;
use common::{Swarm, limited, run, run_limited, run_to_refusal};
use nix::sys::signal::Signal;

/// Asserts the code, one `error:` line first, and one line that says what mends it.
#[track_caller]
fn expect_refusal(arguments: &[&str], code: i32, reasons: &[&str]) {
    let (found, stdout, stderr) = run_to_refusal(arguments);
    assert_eq!((found, stdout.as_str()), (Some(code), ""), "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{arguments:?}: {stderr}");
    let starting = |word: &str| stderr.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(starting("error: "), 1, "{arguments:?}: {stderr}");
    // The parser of the command line has words of its own for it.
    let hints = starting("hint: ") + starting("For more information, try '--help'");
    assert_eq!(hints, 1, "{arguments:?}: {stderr}");
    for reason in reasons {
        assert!(stderr.contains(reason), "{arguments:?}: '{reason}' is not in: {stderr}");
    }
}

#[test]
fn bad_text_ends_with_code_two_and_says_what_is_wrong() {
    for (arguments, reasons) in [
        (&["--ips", "192.168.1.230-200"][..], &["reversed", "192.168.1.230"][..]),
        (&["--ips", "1.2.3"], &["'1.2.3' is not a list of addresses"]),
        (&["--ips", "127.0.0.1/33"], &["'127.0.0.1/33'"]),
        (&["--ips", "127.0.0.1,"], &["is not a list of addresses"]),
        (&["--ips", "10.0.0.0/8"], &["more than 65,536"]),
        (&["--ports", "9009-9000"], &["reversed", "9009"]),
        (&["--ports", "0-100"], &["'0-100' is not a range of ports"]),
        (&["--ports", "1024-70000"], &["'1024-70000' is not a range of ports"]),
        (&["ws://127.0.0.1:9/"], &["'ws://127.0.0.1:9/'", "expected --url ws://127.0.0.1:9/"]),
        (&["127.0.0.1:9"], &["'127.0.0.1:9'", "expected --server 127.0.0.1:9"]),
        (&["500"], &["'500'", "--target N"]),
        (&["--server", "127.0.0.1"], &["'127.0.0.1' is not a server"]),
        (&["--server", "127.0.0.1:0"], &["'0' is not a range of ports"]),
        (&["--server", "127.0.0.1:0-0"], &["'0-0' is not a range of ports"]),
        (&["--server", "127.0.0.1:9009-9000"], &["reversed"]),
        (&["--server", "::1:9000"], &["is not a server"]),
        (&["--server", "127.0.0.1:9000,[::1]:9000"], &["IPv4", "IPv6"]),
        (&["--server", "[::1]:9000", "--ips", "127.0.0.1"], &["127.0.0.1", "[::1]:9000", "IPv6"]),
        (&["--server", "127.0.0.1:9000", "--ips", "::1"], &["::1", "IPv6"]),
        (&["--target", "0"], &["--target 0 holds nothing"]),
        (&["--target", "5000000000"], &["4294967295"]),
        (&["--target", "many"], &["many"]),
        (&["--target", "100", "--steps", "50x4"], &["--target 100", "50x4", "200"]),
        (&["--steps", "50x0"], &["50x0", "SIZExCOUNT"]),
        (&["--steps", "50"], &["SIZExCOUNT"]),
        (&["--rate", "0/s"], &["'0/s' is not a rate"]),
        (&["--rate", "fast"], &["'fast' is not a rate"]),
        (&["--hold", "soon"], &["soon"]),
        (&["--probe-bytes", "7"], &["7 is not in 8..=32768"]),
        (&["--probe-bytes", "65536"], &["65536 is not in 8..=32768"]),
        (&["--in-flight", "0"], &["0 is not in 1..=1000000"]),
        (&["--workers", "0"], &["0 is not in 1..=1024"]),
        (&["--close", "politely"], &["fin, rst"]),
        (&["--profile", "nosuch"], &["nosuch"]),
        (&["--profile", "./no/such.toml"], &["no/such.toml"]),
        (&["--json", "--events"], &["--json", "--events"]),
        (&["--commanded"], &["--events"]),
        (&["--colour"], &["--colour"]),
    ] {
        expect_refusal(arguments, Exit::BadText as i32, reasons);
    }
}

#[test]
fn an_unknown_key_of_a_profile_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "name = 'mine'\nsummary = 'x'\n[socket]\nbakclog = 1\n").unwrap();
    expect_refusal(&["--profile", path.to_str().unwrap()], 2, &["bakclog", "line 4", "^"]);
}

#[test]
fn too_few_ports_are_told_with_how_many_more_it_takes() {
    let server = Server::echo();
    let few = ["--server", &server.at(), "--ips", "127.0.0.1", "--ports", "40000-40099"];
    let reasons = ["allow 100 connections, 1,000 are wanted", "1 source address", "9 more source addresses"];
    expect_refusal(&[&few[..], &["--target", "1000"]].concat(), 3, &reasons);
    let reasons = ["allow 100 connections, 101 are wanted", "1 more source address with --ips"];
    expect_refusal(&[&few[..], &["--target", "101"]].concat(), 3, &reasons);
    assert_eq!(server.accepted(), 0, "nothing was connected");
}

#[test]
fn a_server_on_ipv6_has_one_source_and_says_so() {
    expect_refusal(&["--server", "[::1]:9000", "--target", "100k"], 3, &["1 source address ", "are wanted"]);
}

#[test]
fn a_source_that_is_not_here_is_told_with_the_command_that_adds_it() {
    let reasons = ["192.0.2.7", "not on this machine", "ip addr add 192.0.2.7/32 dev lo"];
    expect_refusal(&["--ips", "192.0.2.7", "--target", "10"], 3, &reasons);
    let reasons =
        ["31 of 31 source addresses are not on this machine", "seq 200 230", "ip addr add 192.0.2.$i/32"];
    expect_refusal(&["--ips", "192.0.2.200-230", "--target", "10"], 3, &reasons);
    let reasons = ["1 of 2 source addresses is not", "ip addr add 2001:db8::7/128 dev lo"];
    expect_refusal(&["--server", "[::1]:9000", "--ips", "::1,2001:db8::7", "--target", "1"], 3, &reasons);
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    expect_refusal(
        &["--server", "no-such-host.invalid:9000"],
        3,
        &["'no-such-host.invalid' cannot be resolved"],
    );
}

#[test]
fn a_parent_that_is_gone_is_told() {
    expect_refusal(&["--parent", "4194304"], 3, &["parent process"]);
}

#[test]
fn a_named_server_is_resolved() {
    let server = Server::echo();
    let at = format!("localhost:{}", server.address.port());
    run(&["--server", &at, "--target", "20"]).expect_code(0).expect_counts(20, 20);
}

#[test]
fn a_target_that_this_machine_is_known_not_to_hold_is_refused_before_anything_is_connected() {
    let server = Server::echo();
    let (code, _, said) = run_to_refusal(&["--server", &server.at(), "--target", "1G"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("1G does not fit: about ") && said.contains("or --force"), "{said}");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_target_that_is_forced_has_workers_for_what_fits_and_says_so() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "1G", "--force", "--rate", "50/s"]);
    swarm.wait_for("the first connections", |counts| counts.verified >= 10);
    let (threads, table) = (swarm.threads(), swarm.connections_per_table);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    ended.expect_code(130);
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("does not fit")).collect();
    let [line] = said[..] else { panic!("{}", ended.stderr) };
    assert!(line.starts_with("warning: 1G does not fit: about "), "{line}");
    assert!(line.ends_with(": workers are started for that many, and more when they are needed"), "{line}");
    // In decimal units and rounded, so a little more or less.
    let fits = line.split(' ').skip_while(|word| *word != "about").nth(1).unwrap();
    let fits = fits.parse::<c10k_record::Quantity>().unwrap().0;
    assert!(threads * table <= fits + fits / 10 + 20 * table, "{threads} threads, {table} each: {line}");
}

#[test]
fn a_descriptor_limit_that_is_too_low_for_anything_is_refused_with_what_is_needed() {
    for nofile in [12, 20] {
        let output = limited(nofile).args(["--no-apply", "--server", "127.0.0.1:9"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        let [error, hint] = lines[..] else { panic!("{stderr}") };
        assert!(
            error.starts_with("error: ") && error.contains("descriptors are needed in one table"),
            "{error}"
        );
        assert!(error.contains(&format!("RLIMIT_NOFILE is soft {nofile}, hard {nofile}")), "{error}");
        assert!(hint.starts_with("hint: ") && hint.contains("prlimit --pid $$ --nofile="), "{hint}");
    }
}

#[test]
fn the_limit_that_a_refusal_asks_for_is_enough() {
    let server = Server::echo();
    let output = limited(12).args(["--no-apply", "--server", "127.0.0.1:9"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let needed = stderr.split("--nofile=").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    let ended = run_limited(needed.parse().unwrap(), &["--server", &server.at(), "--target", "100"]);
    ended.expect_code(0).expect_counts(100, 100);
}

#[test]
fn a_log_on_a_full_disk_is_refused_for_what_it_is() {
    let (code, _, stderr) = run_to_refusal(&["--server", "127.0.0.1:9", "--hlog", "/dev/full"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("error: cannot write '/dev/full': No space left on device"), "{stderr}");
    assert!(stderr.contains("hint: `df -h /dev/full`") && !stderr.contains("prlimit"), "{stderr}");
}
