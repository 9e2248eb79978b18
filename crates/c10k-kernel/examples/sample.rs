//! What it costs to look at a sample of connections by TCP_INFO, beside a census of all and beside what goes out.
//!
//! `sample SERVER:PORT OPEN [MOST]` in the network namespace of the clients (`nsenter -t PID -n`), where OPEN connections to
//! SERVER:PORT are held.

#![allow(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::net::SocketAddr;
use std::time::Instant;

use c10k_kernel::census::{PortSet, SockDiag, State, States};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|text| text.parse::<u64>().ok());
    let server = words.first().and_then(|text| text.parse::<SocketAddr>().ok());
    let (Some(server), Some(open)) = (server, number(1)) else {
        println!("usage: sample SERVER:PORT OPEN [MOST]");
        return Ok(());
    };
    let (port, most) = (server.port(), number(2).unwrap_or(256) as usize);
    let mut diag = SockDiag::open()?;
    for _ in 0..5 {
        let begun = Instant::now();
        let sampled = diag.sample_clients(server, open, most)?.len();
        let sample_ms = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let all = diag.sample_clients(server, open, open as usize)?.len();
        let all_ms = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let census = diag.census(States::of(&[State::Established]), &PortSet::of(&[port]))?;
        let census_ms = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let destinations = diag.outgoing()?.len();
        let outgoing_ms = begun.elapsed().as_secs_f64() * 1e3;
        println!(
            "sample {sampled} in {sample_ms:.1} ms; TCP_INFO of all {all} in {all_ms:.1} ms; census of {} in {census_ms:.1} \
             ms; {destinations} destinations in {outgoing_ms:.1} ms",
            census.client_side
        );
    }
    Ok(())
}
