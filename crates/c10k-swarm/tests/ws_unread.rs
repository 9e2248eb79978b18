//! Servers that talk and do not read: what they are owed is bounded, and so is the time that it may wait.

mod common;
mod ws_support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use c10k_record::SwarmEvent;
use c10k_wire::conformance::first;
use common::{PATIENCE, Swarm, run};
use nix::sys::socket::{setsockopt, sockopt};
use ws_support::{Peer, WsServer, frame};

/// So little that the swarm soon finds no room for a Pong.
fn take_little(stream: &TcpStream) {
    setsockopt(stream, sockopt::RcvBuf, &4096).unwrap();
}

#[test]
fn a_server_that_pings_and_never_reads_costs_no_memory_and_is_given_up() {
    let server = WsServer::start(|_, peer| {
        take_little(&peer.stream);
        peer.open();
        let pings = frame(first::PING, &[b'p'; 125]).repeat(64);
        while peer.write(&pings) {}
    });
    // It does not end by itself when nothing is left to hold.
    let flags = ["--target", "20", "--no-probe", "--probe-timeout", "3s"];
    let mut swarm = Swarm::commanded(&[&["--url", &server.url()], &flags[..]].concat());
    let before = swarm.rss();
    swarm.command("grow 20");
    let (begun, mut most) = (Instant::now(), 0);
    loop {
        assert!(begun.elapsed() < PATIENCE, "nobody gives them up");
        most = most.max(swarm.rss().saturating_sub(before));
        if let SwarmEvent::Tick { counts, .. } = swarm.next()
            && counts.failed == 20
        {
            break;
        }
    }
    assert!(most < 6 << 20, "{most} B for 20 connections");
    swarm.command("stop");
    swarm.wait_for_end().expect_failed(&[("stalled", 20)]);
    server.finish();
}

#[test]
fn a_server_that_reads_late_gets_its_pongs_and_its_echo_is_right() {
    let server = WsServer::start(|_, peer| {
        take_little(&peer.stream);
        peer.open();
        let Some(probe) = peer.next() else { return };
        let pings: Vec<u8> = (0..40_000_u32).flat_map(|n| frame(first::PING, &n.to_be_bytes())).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                peer.write(&pings);
                peer.send(first::BINARY, &probe.payload);
            });
            std::thread::sleep(Duration::from_millis(700));
            read_on(peer);
        });
    });
    let ended = run(&["--url", &server.url(), "--target", "10", "--hold", "1s", "--close", "fin"]);
    ended.expect_code(0).expect_counts(10, 10).expect_failed(&[]);
    server.finish();
}

/// Takes Pongs, of which the last must be there, then echoes as ever.
fn read_on(peer: &Peer) {
    let mut last = 0;
    while let Some(frame) = peer.next() {
        match frame.first {
            first::PONG => last = u32::from_be_bytes(frame.payload.try_into().unwrap()),
            first::BINARY => drop(peer.send(first::BINARY, &frame.payload)),
            _ => {
                peer.send(first::CLOSE, &frame.payload);
                break;
            }
        }
    }
    peer.expect(last == 39_999, || format!("the last Pong was for Ping {last}"));
}
