//! Telling: phases, ticks and what was measured.

use std::time::Instant;

use c10k_record::{
    Connections, Failure, LatencyHistogram, LiveCounts, PhaseName, PhaseTimes, SwarmEvent, human_count,
};

use super::{Conductor, TICK};
use crate::shared::Counted;
use crate::tasks::Task;

impl Conductor<'_> {
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.shared.since_first_connect_ms(self.shared.now_us())
    }

    pub(super) fn enter(&mut self, task: Task) {
        self.begin_phase(task.phase());
        self.shared.enter(task);
        let counts = self.shared.counts();
        self.say_phase(task.phase(), counts);
    }

    pub(super) fn begin_phase(&mut self, phase: PhaseName) {
        let elapsed_ms = self.elapsed_ms();
        if self.phases.last().is_none_or(|last| last.phase != phase || last.to_ms.is_some()) {
            self.end_phase(elapsed_ms);
            self.phases.push(PhaseTimes { phase, from_ms: elapsed_ms, to_ms: None });
        }
    }

    pub(super) fn say_phase(&self, phase: PhaseName, counts: LiveCounts) {
        self.output.event(&SwarmEvent::Phase { phase, elapsed_ms: self.elapsed_ms(), counts });
    }

    /// To whoever has sent the signal, at once: closing takes its time.
    pub(super) fn say_stopped(&mut self, open: u64) {
        if let Some(signal) = self.signals.came() {
            let who = if signal == signal_hook::consts::SIGINT { "Ctrl-C" } else { "a signal" };
            let open = human_count(open);
            let text =
                format!("stopped by {who} with {open} open; closing them. A second one ends it at once");
            self.output.say_to_people(&text);
        }
    }

    pub(super) fn end_phase(&mut self, at_ms: u64) {
        if let Some(last) = self.phases.last_mut() {
            last.to_ms.get_or_insert(at_ms);
        }
    }

    pub(super) fn tick_if_due(&mut self, now: Instant) {
        let (last, before) = self.last_tick;
        if now.duration_since(last) < TICK {
            return;
        }
        let counts = self.shared.counts();
        if let Some(beside) = &mut self.beside {
            beside.look_if_due(now, &counts, self.course.probe);
        }
        self.link.look();
        let seconds = now.duration_since(last).as_secs_f64();
        let per_second = self.settled(&counts).saturating_sub(self.settled(&before)) as f64 / seconds;
        if per_second > 0.0 {
            self.peak_per_second = Some(self.peak_per_second.map_or(per_second, |peak| peak.max(per_second)));
        }
        self.last_tick = (now, counts);
        self.take_measured();
        let (phase, elapsed_ms) = (self.shared.orders().phase, self.elapsed_ms());
        self.output.progress(phase, elapsed_ms, &counts, self.target, per_second, self.course.probe);
        self.output.event(&SwarmEvent::Tick { phase, elapsed_ms, counts });
    }

    /// Answers whoever asked how it stands.
    pub(super) fn say_now(&mut self) {
        let counts = self.shared.counts();
        let (phase, elapsed_ms) = (self.shared.orders().phase, self.elapsed_ms());
        self.output.event(&SwarmEvent::Now { phase, elapsed_ms, counts });
    }

    /// Moves the latencies of the interval into the run's, and into the interval log.
    pub(super) fn take_measured(&mut self) {
        let interval = std::mem::take(&mut *self.shared.measured());
        let mut kinds: Vec<(&str, &LatencyHistogram)> = vec![
            ("connect", &interval.connect),
            ("handshake", &interval.handshake),
            ("first_echo", &interval.first_echo),
            ("echo", &interval.echo),
        ];
        if let Some(from_intended) = &interval.from_intended {
            kinds.push(("connect_response", &from_intended.connect_response));
            kinds.push(("lateness", &from_intended.lateness));
        }
        self.output.interval(&kinds);
        self.measured.add(&interval);
    }

    /// How it stands, all of it at one moment, and what was lost of it.
    pub(super) fn connections(&self) -> (Connections, Vec<Failure>) {
        let Counted { live: counts, held, failures } = self.shared.counted();
        let mut connections = Connections {
            target: self.target,
            attempted: counts.attempted,
            established: counts.established,
            accepted: None,
            verified: self.course.probe.then_some(counts.verified),
            held,
            at_server: None,
            ghosts: None,
            released: counts.released,
            open: None,
            failed: std::collections::BTreeMap::new(),
        };
        for failure in &failures {
            connections.add_failed(failure.outcome.clone(), failure.count);
        }
        (connections, failures)
    }
}
