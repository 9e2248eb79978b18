//! What connections leave behind of the messages they have brought: nothing.

mod common;
mod ws_support;

use std::io::Write;
use std::time::{Duration, Instant};

use c10k_wire::conformance::first;
use common::{PATIENCE, pattern, reset};
use ws_support::{Client, frame, start};

#[test]
fn a_thousand_connections_keep_nothing_of_the_64_kib_each_has_received() {
    let server = start(&[]);
    let clients: Vec<_> = (0..1000).map(|_| Client::open(server.address)).collect();
    let message = pattern(64 << 10);
    // The buffers of every worker are at their size.
    for client in &clients[..50] {
        client.expect_echo(&message);
    }
    clients.iter().for_each(|client| client.expect_echo(b"small"));
    let before = server.rss();
    for _ in 0..2 {
        clients.iter().for_each(|client| client.expect_echo(&message));
        let after = server.rss();
        let grown = after.saturating_sub(before) / 1000;
        assert!(grown < 1024, "{grown} B a connection: {before} B before, {after} B after");
    }
    clients.into_iter().for_each(Client::close);
    assert_eq!(server.stop().report.closed, 1000);
}

#[test]
fn memory_of_messages_that_were_all_in_the_middle_at_one_time_goes_back_to_the_kernel() {
    let server = start(&[]);
    let clients: Vec<_> = (0..1000).map(|_| Client::open(server.address)).collect();
    let message = pattern(64 << 10);
    for client in &clients {
        client.expect_echo(&message[..100]);
    }
    let before = server.rss();
    let bytes = frame(first::BINARY, &message);
    for client in &clients {
        (&client.stream).write_all(&bytes[..40_000]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    let within = server.rss();
    assert!(within > before + 1000 * 38_000, "{before} B before, {within} B within: it does not read");
    for client in &clients {
        (&client.stream).write_all(&bytes[40_000..]).unwrap();
        assert!(client.next().payload == message);
    }
    // Not to the last page: where pieces lie free is the C library's affair.
    let most = before + (within - before) / 2;
    let begun = Instant::now();
    while server.rss() > most {
        let now = server.rss();
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{before} B before, {within} B within, {now} B after"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    clients.into_iter().for_each(Client::close);
    assert_eq!(server.stop().report.closed, 1000);
}

/// What a worker gives back is on its own heap, whose end malloc_trim(3) leaves alone.
#[cfg(target_env = "gnu")]
#[test]
fn what_was_half_a_message_when_its_connection_was_reset_goes_back_to_the_kernel() {
    for half_bytes in [20_000, 60_000, 200_000] {
        let server = start(&["--workers", "2"]);
        for client in (0..50).map(|_| Client::open(server.address)) {
            client.expect_echo(&pattern(64 << 10));
            client.close();
        }
        let before = server.rss();
        let clients: Vec<_> = (0..1000).map(|_| Client::open(server.address)).collect();
        let bytes = frame(first::BINARY, &pattern(half_bytes + 1));
        for client in &clients {
            (&client.stream).write_all(&bytes[..half_bytes]).unwrap();
        }
        let begun = Instant::now();
        while server.rss() < before + 900 * half_bytes as u64 {
            assert!(begun.elapsed() < PATIENCE, "{} B of {before} B: it does not read", server.rss());
            std::thread::sleep(Duration::from_millis(50));
        }
        clients.into_iter().for_each(|client| reset(client.stream));
        let begun = Instant::now();
        while server.rss() > before + (2 << 20) {
            let kept = server.rss() - before;
            assert!(begun.elapsed() < PATIENCE, "{kept} B are kept of 1,000 times {half_bytes} B");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(server.stop().report.failed.get("ECONNRESET"), Some(&1000));
    }
}
