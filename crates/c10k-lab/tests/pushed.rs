//! The house's own two ends at `--workload stream` and `fanout`, raw and WebSocket.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use c10k_record::{Record, ServerEvent, Worked};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// A server of the house; it is killed when the test is done with it.
struct Server {
    child: Child,
    at: String,
    protocol: &'static str,
}

impl Server {
    fn start(protocol: &'static str, flags: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["server", "--listen", "127.0.0.1:0", "--no-apply", "--events", "--protocol", protocol]);
        command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a server");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        stdout.read_line(&mut line).expect("a line");
        let ready: ServerEvent = serde_json::from_str(&line).expect("an event");
        let ServerEvent::Ready { listen, .. } = ready else { panic!("{ready:?}") };
        // What it says later goes nowhere: it has to be read all the same.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { child, at: listen[0].to_string(), protocol }
    }

    /// A swarm of 100 connections against it: what it has worked, all held in the end.
    #[track_caller]
    fn work(&self, workload: &str, flags: &[&str]) -> Worked {
        let output = Command::new(PROGRAM)
            .args(["swarm", "--server", &self.at, "--protocol", self.protocol, "--target", "100", "--json"])
            .args(["--no-apply", "--close", "rst", "--workload", workload])
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .expect("a swarm");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let record: Record = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
        assert_eq!((record.connections.held, record.connections.failed.len()), (100, 0), "{stderr}");
        let [worked] = &record.work[..] else { panic!("{:?}\n{stderr}", record.work) };
        assert_eq!((worked.connections, worked.messages_sent, worked.messages_wrong), (100, 100, 0));
        worked.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn streams_come_whole_to_all_viewers_who_then_prove_themselves() {
    for protocol in ["raw", "ws"] {
        let flags = ["--workload", "stream", "--bitrate", "200kbit/s", "--stream-duration", "1s"];
        let server = Server::start(protocol, &flags);
        let worked = server.work("stream", &["--bitrate", "200kbit/s", "--hold", "1s"]);
        let seen = worked.stream.expect("what came of the streams");
        assert_eq!((seen.viewers, seen.whole, seen.wrong, seen.bytes), (100, 100, 0, 2_500_000), "{seen:?}");
        assert_eq!((seen.start_up_us.count, worked.messages_answered), (100, 1000), "{protocol}");
    }
}

#[test]
fn a_stream_that_is_longer_than_the_phase_is_left_in_good_order_and_is_not_whole() {
    for protocol in ["raw", "ws"] {
        let server = Server::start(protocol, &["--workload", "stream", "--stream-duration", "1000s"]);
        let seen = server.work("stream", &["--hold", "500ms"]).stream.expect("what came of the streams");
        assert_eq!((seen.viewers, seen.whole, seen.wrong), (100, 0, 0), "{protocol}: {seen:?}");
        assert!(seen.bytes > 0);
    }
}

#[test]
fn every_follower_gets_every_message_and_the_last_one_is_told() {
    for protocol in ["raw", "ws"] {
        let flags = ["--workload", "fanout", "--fanout-every", "100ms", "--payload", "32..2000"];
        let server = Server::start(protocol, &flags);
        let worked = server.work("fanout", &["--hold", "1500ms"]);
        let seen = worked.fanout.expect("what came of the messages");
        assert!(seen.rounds >= 3 && seen.receivers == 100 && seen.missing == 0, "{protocol}: {seen:?}");
        assert_eq!((seen.receipt_us.count, seen.last_receiver_us.count), (seen.rounds * 100, seen.rounds));
        let (first, last) = (seen.first_receiver_us.p50, seen.last_receiver_us.p50);
        assert!(first <= seen.median_receiver_us.p50 && seen.median_receiver_us.p50 <= last, "{seen:?}");
    }
}
