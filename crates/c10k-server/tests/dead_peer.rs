//! A peer that is gone without a word: its machine lost its power, or the cable was cut.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use c10k_kernel::namespace::Beside;
use c10k_kernel::{address, link};
use common::{PATIENCE, PROGRAM, Server, expect_echo};
use socket2::{Domain, Socket, Type};

const SERVER: &str = "10.77.0.1";
const LIVING: &str = "10.77.0.2";
const DYING: &str = "10.77.0.3";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two network namespaces, the server's and the peers', with a cable between them.
fn two_machines() -> std::io::Result<(Beside, Beside)> {
    let (here, there) = (Beside::new()?, Beside::new()?);
    here.inside(|| {
        link::add_veth_pair("here", "there", &there)?;
        address::add("here", ip(SERVER), 24)?;
        address::set_up("here")
    })??;
    let hardware_address = there.inside(|| {
        // The first address of a network takes the later ones along when it goes: the dying one comes second.
        address::add("there", ip(LIVING), 24)?;
        address::add("there", ip(DYING), 24)?;
        address::set_up("there")?;
        link::hardware_address("there")
    })??;
    here.inside(|| {
        // Known for good: else a neighbour that does not answer would be EHOSTUNREACH, and sometimes first.
        [LIVING, DYING]
            .iter()
            .try_for_each(|peer| link::add_permanent_neighbour("here", ip(peer), &hardware_address))
    })??;
    here.inside(|| link::carries(ip(SERVER), ip(DYING), &there, PATIENCE))??;
    Ok((here, there))
}

fn connect_from(peer: &str, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip(peer), 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// ETIMEDOUT is this server's name for a dead peer: nothing else gives an established connection that error than
/// probes or output that went unanswered for too long (tcp(7)).
#[test]
fn a_peer_that_vanishes_without_a_word_is_found_by_keepalive_and_counted_as_timed_out() {
    let (here, there) = match two_machines() {
        Ok(machines) => machines,
        Err(error) => {
            eprintln!("SKIPPED: no network namespaces with a cable between them may be made here: {error}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchful.toml");
    let text = "name = 'watchful'\nsummary = 'x'\n[socket]\n\
                keepalive = { idle_secs = 1, interval_secs = 1, probes = 2 }\n";
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(PROGRAM);
    here.start_in(&mut command).unwrap();
    let listen = format!("{SERVER}:0");
    let mut server = Server::start_on(&listen, command, &["--profile", path.to_str().unwrap()]);
    let address = server.address;
    let (living, dying) =
        there.inside(|| (connect_from(LIVING, address), connect_from(DYING, address))).unwrap();
    expect_echo(&living, b"I stay");
    expect_echo(&dying, b"I shall not be long");
    let report = server.wait_for("both", |report| report.open == 2);
    assert!(report.failed.is_empty(), "{report:?}");

    there.inside(|| address::remove("there", ip(DYING), 24)).unwrap().unwrap();
    let report = server.wait_for("the end of one", |report| report.open == 1);
    assert_eq!(report.failed.into_iter().collect::<Vec<_>>(), [("ETIMEDOUT".to_owned(), 1)]);
    assert_eq!(report.closed, 0);
    expect_echo(&living, b"still here");
    server.stop();
}
