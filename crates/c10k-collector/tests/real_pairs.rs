//! The memory account of real connections of another process.

mod common;

use std::time::Duration;

use c10k_collector::{Collector, CollectorConfig, account};
use c10k_record::MemoryPerConnection;
use common::{Holder, be_holder_if_asked};

const PAIRS: u64 = 4000;

#[test]
#[ignore = "the process that holds the connections, started by the test below"]
fn holder() {
    be_holder_if_asked();
}

/// One account of pairs opened by a new process, and what a tick cost with them.
fn measure() -> (u64, MemoryPerConnection, u64) {
    let mut holder = Holder::start("holder");
    let config = CollectorConfig {
        server_pid: Some(holder.pid()),
        ports: vec![holder.port],
        ..CollectorConfig::default()
    };
    let mut collector = Collector::new(config).unwrap();
    // What the round before left behind.
    collector.await_quiet(Duration::from_secs(5));
    let before = collector.snapshot();
    let opened = holder.open(PAIRS);
    let after = collector.snapshot();
    let census = collector.census().unwrap();
    assert_eq!((census.server_side, census.client_side), (opened, opened));
    let seen = collector.tick();
    assert!(seen.network.sockets.in_use.unwrap() >= 2 * opened);
    assert!(!seen.partial);
    (opened, account(&before, &after, opened, true), seen.tick_us)
}

#[test]
#[allow(clippy::print_stderr, reason = "figures for the log of a failure")]
fn a_pair_of_idle_sockets_costs_between_six_and_eleven_kilobytes_of_kernel_memory() {
    // Other programs take and give back memory meanwhile, so the middle one of five is judged.
    let mut pairs: Vec<f64> = (0..5)
        .map(|_| {
            let (opened, account, tick_us) = measure();
            let kernel = account.server_kernel_bytes.unwrap() + account.client_kernel_bytes.unwrap();
            eprintln!(
                "{opened} pairs: {kernel:.0} B of kernel memory each, unexplained {:?}, a tick {tick_us} us",
                account.unexplained_ratio
            );
            assert!(
                account.client_kernel_bytes > account.server_kernel_bytes,
                "the client has the bind bucket"
            );
            assert!(account.server_user_bytes.is_some(), "the holder was watched");
            kernel
        })
        .collect();
    pairs.sort_by(f64::total_cmp);
    assert!((6.0 * 1024.0..11.0 * 1024.0).contains(&pairs[2]), "{pairs:?}");
}
