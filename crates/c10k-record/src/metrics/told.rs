//! What server and swarm know of themselves, as figures.

use std::collections::BTreeMap;

use super::buckets::LatencyFigures;
use super::family;
use super::figures::Figures;
use crate::{LiveCounts, Outcome, PhaseName, ServerReport};

/// The end that accepts.
pub const SERVER: &str = "server";
/// The end that connects.
pub const SWARM: &str = "swarm";

const PHASES: [PhaseName; 4] = [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close];

impl Figures {
    /// What a server counts.
    pub fn tell_server(&mut self, report: &ServerReport) {
        let end: &[&str] = &[SERVER];
        self.count(&family::CONNECTIONS, &[SERVER, "open"], report.open);
        self.count(&family::PEAK, end, report.peak);
        self.count(&family::BACK_PRESSURED, end, report.back_pressured);
        self.count(&family::ACCEPTED, end, report.accepted);
        self.count(&family::HANDSHAKES, end, report.opened);
        self.count(&family::FAILED, end, report.failed.values().sum::<u64>());
        for (outcome, count) in &report.failed {
            self.count(&family::FAILED_BY, &[SERVER, outcome], *count);
        }
        self.count(&family::CLOSED, &[SERVER, "by_peer"], report.closed);
        self.count(&family::CLOSED, &[SERVER, "drained"], report.drained);
        for (errno, count) in &report.accept_errors {
            self.count(&family::ACCEPT_ERRORS, &[SERVER, errno], *count);
        }
        self.count(&family::ACCEPT_PAUSES, end, report.paused);
        self.count(&family::RECEIVED, end, report.bytes_in);
        self.count(&family::SENT, end, report.bytes_out);
        self.count(&family::TABLES, end, report.tables);
    }

    /// What a swarm counts. `lost` are those that it lost, by cause; `target` is what it is to hold.
    pub fn tell_swarm(
        &mut self,
        phase: Option<PhaseName>,
        counts: &LiveCounts,
        lost: &BTreeMap<Outcome, u64>,
        target: u64,
    ) {
        let end: &[&str] = &[SWARM];
        for each in PHASES {
            self.count(&family::PHASE, &[&each.to_string()], u64::from(phase == Some(each)));
        }
        self.count(&family::TARGET, &[], target);
        let settled = counts.open + counts.failed + counts.released + counts.closed;
        self.count(&family::CONNECTIONS, &[SWARM, "open"], counts.open);
        self.count(&family::CONNECTIONS, &[SWARM, "connecting"], counts.attempted.saturating_sub(settled));
        self.count(&family::ATTEMPTED, end, counts.attempted);
        self.count(&family::ESTABLISHED, end, counts.established);
        self.count(&family::VERIFIED, end, counts.verified);
        self.count(&family::FAILED, end, counts.failed);
        for (outcome, count) in lost {
            self.count(&family::FAILED_BY, &[SWARM, outcome.name()], *count);
        }
        self.count(&family::CLOSED, &[SWARM, "released"], counts.released);
        self.count(&family::CLOSED, &[SWARM, "at_end"], counts.closed);
        self.count(&family::MESSAGES, end, counts.messages);
    }

    /// What a swarm has measured.
    pub fn tell_latencies(&mut self, latencies: &LatencyFigures) {
        self.buckets(&family::CONNECT_LATENCY, &[], &latencies.connect);
        for (kind, buckets) in [
            ("first_echo", &latencies.first_echo),
            ("echo", &latencies.echo),
            ("response", &latencies.response),
            ("beat", &latencies.beat),
        ] {
            self.buckets(&family::ECHO_LATENCY, &[kind], buckets);
        }
    }

    /// What an end's own process takes of memory, bytes, and has taken of processor time, seconds.
    pub fn tell_process(&mut self, end: &str, rss_bytes: Option<u64>, cpu_seconds: Option<f64>) {
        self.count(&family::RSS, &[end], rss_bytes);
        self.measure(&family::CPU, &[end], cpu_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_that_a_swarm_began_is_in_one_state_or_has_ended_once() {
        let counts = LiveCounts {
            attempted: 100,
            established: 90,
            open: 70,
            failed: 8,
            released: 5,
            closed: 7,
            ..LiveCounts::default()
        };
        let mut figures = Figures::default();
        figures.tell_swarm(Some(PhaseName::Hold), &counts, &BTreeMap::new(), 100);
        let text = figures.text();
        for line in [
            "c10k_connections{end=\"swarm\",state=\"connecting\"} 10",
            "c10k_connections_failed_total{end=\"swarm\"} 8",
            "c10k_phase{phase=\"hold\"} 1",
            "c10k_phase{phase=\"ramp\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
    }
}
