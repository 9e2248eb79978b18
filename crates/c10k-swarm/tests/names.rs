//! Names of servers with several addresses, as an /etc/hosts of the test's own has them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use c10k_record::Record;

/// An echo server on this address; it ends with the test. `None` where this machine has no such address.
fn echo(at: &str) -> Option<u16> {
    let listener = TcpListener::bind(at).ok()?;
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Some(port)
}

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn skipped(why: &str) -> Option<Record> {
    eprintln!("SKIPPED: {why}");
    None
}

/// A swarm of five against `twofold.test`, which is 127.0.0.1 and ::1, in a mount namespace of its own.
fn swarm(port: u16) -> Option<Record> {
    swarm_from(port, &[])
}

/// The same with these arguments.
fn swarm_from(port: u16, arguments: &[&str]) -> Option<Record> {
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "::1 twofold.test\n127.0.0.1 twofold.test\n").expect("written");
    let script = "mount --bind \"$1\" /etc/hosts || exit 99; shift; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&hosts)
        .args([env!("CARGO_BIN_EXE_c10k-swarm"), "--json", "--target", "5", "--hold", "0s", "--close", "rst"])
        .args(["--server", &format!("twofold.test:{port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(99) && !output.stdout.is_empty() => output,
        Ok(output) => return skipped(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skipped(&format!("unshare does not run here: {error}")),
    };
    Some(serde_json::from_slice(&output.stdout).expect("a record"))
}

fn told<'a>(record: &'a Record, id: &str) -> Option<&'a str> {
    record.warnings.iter().find(|warning| warning.id == id).map(|warning| warning.text.as_str())
}

#[test]
fn a_server_that_listens_on_one_address_of_its_name_is_reached_whichever_that_is() {
    let (Some(four), Some(six)) = (echo("127.0.0.1:0"), echo("[::1]:0")) else {
        skipped("no IPv6 here");
        return;
    };
    let Some(record) = swarm(four) else { return };
    assert_eq!((record.connections.held, told(&record, "server-address")), (5, None));
    let record = swarm(six).expect("as before");
    assert_eq!(record.connections.held, 5);
    let note = told(&record, "server-address").expect("it is told");
    assert!(note.contains("127.0.0.1 and ::1: ::1 is used; 127.0.0.1 does not answer"), "{note}");
    let both = echo("[::]:0").expect("IPv6 is here");
    let record = swarm(both).expect("as before");
    assert_eq!(record.connections.held, 5);
}

#[test]
fn a_name_of_two_families_means_that_of_the_sources() {
    let Some(both) = echo("[::]:0") else {
        skipped("no IPv6 here");
        return;
    };
    for source in ["::1", "127.0.0.9"] {
        let Some(record) = swarm_from(both, &["--ips", source]) else { return };
        assert_eq!((record.connections.held, told(&record, "server-address")), (5, None), "{source}");
    }
    // Somebody answers at the other address, which these sources do not reach.
    let four = echo("127.0.0.1:0").expect("IPv4");
    let record = swarm_from(four, &["--ips", "::1"]).expect("as before");
    assert_eq!(record.connections.held, 0);
    let elsewhere = told(&record, "server-elsewhere").expect("it is told");
    let at = format!("nobody listens on [::1]:{four}");
    assert!(elsewhere.starts_with(&at) && elsewhere.contains(&format!("127.0.0.1:{four}")), "{elsewhere}");
}

#[test]
fn where_nobody_listens_all_addresses_that_were_tried_are_told() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let Some(record) = swarm(port) else { return };
    assert_eq!(record.connections.held, 0);
    let note = told(&record, "server-address").expect("it is told");
    let tried = format!("127.0.0.1 does not answer on port {port} (Connection refused");
    assert!(note.contains(&tried) && note.contains(", ::1 does not answer"), "{note}");
}
