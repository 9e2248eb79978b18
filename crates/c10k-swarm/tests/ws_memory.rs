//! What servers leave behind of messages that they have not finished: nothing.
#![cfg(target_env = "gnu")]

mod common;
mod ws_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

use c10k_wire::conformance::first;
use common::{PATIENCE, Swarm};
use ws_support::{WsServer, frame};

const COUNT: u64 = 500;

const OPEN: u8 = 0;
const HALF: u8 = 1;
const CUT: u8 = 2;

#[test]
fn what_was_half_a_message_when_its_connection_was_reset_goes_back_to_the_kernel() {
    for half_bytes in [20_000, 60_000, 200_000] {
        let step = Arc::new(AtomicU8::new(OPEN));
        let of_server = Arc::clone(&step);
        let server = WsServer::start(move |number, peer| {
            peer.open();
            if number as u64 == COUNT {
                return peer.wait_for_end();
            }
            let wait_for = |wanted| {
                while of_server.load(SeqCst) < wanted {
                    peer.pause();
                }
            };
            wait_for(HALF);
            peer.write(&frame(first::BINARY, &vec![7; half_bytes + 1])[..half_bytes]);
            wait_for(CUT);
            peer.reset();
        });
        let target = (COUNT + 1).to_string();
        let swarm =
            Swarm::start(&["--url", &server.url(), "--target", &target, "--no-probe", "--hold", "5m"]);
        swarm.wait_for("all are open", |counts| counts.open > COUNT && counts.in_flight == 0);
        std::thread::sleep(Duration::from_millis(500));
        let before = swarm.rss();
        let wait_until = |what: &str, is_so: &dyn Fn(u64) -> bool| {
            let begun = Instant::now();
            while !is_so(swarm.rss()) {
                let now = swarm.rss();
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{what}: {before} B before, {now} B now, of {half_bytes} B each"
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        step.store(HALF, SeqCst);
        wait_until("it does not read", &|now| now > before + COUNT * half_bytes as u64 * 9 / 10);
        step.store(CUT, SeqCst);
        wait_until("it is kept", &|now| now < before + (2 << 20));
        drop(swarm);
        server.finish();
    }
}
