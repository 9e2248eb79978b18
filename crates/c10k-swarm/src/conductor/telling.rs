//! Telling: phases, ticks and what was measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use c10k_record::{
    Connections, Failure, LatencyHistogram, Live, LiveCounts, Messages, Outcome, PhaseName, PhaseTimes,
    SwarmEvent, WorkTick, human_count, time_left, with_unit,
};

use super::works::Underway;
use super::{Conductor, TICK};
use crate::shared::Counted;
use crate::tasks::Task;
use crate::workload::Talked;

impl Conductor<'_> {
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.shared.since_first_connect_ms(self.shared.now_us())
    }

    pub(super) fn enter(&mut self, task: Task) {
        self.enter_with(task, None);
    }

    /// Enters the phase of this task, in which this one is carried out beside it.
    pub(super) fn enter_with(&mut self, task: Task, beside: Option<Task>) {
        self.begin_phase(task.phase());
        let orders = self.shared.orders().only(task);
        self.shared.order(beside.map_or(orders, |beside| orders.with(beside)));
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

    /// To the sender of the signal, at once: closing takes its time.
    pub(super) fn say_stopped(&mut self, open: u64) {
        if let Some(why) = self.called_off_because().filter(|_| self.signals.came().is_none()) {
            self.output
                .say_to_people(&format!("stopped with {} open, closing them: {why}", human_count(open)));
        }
        if let Some(signal) = self.signals.came() {
            let who = if signal == signal_hook::consts::SIGINT { "Ctrl-C" } else { "a signal" };
            let open = human_count(open);
            let text =
                format!("stopped by {who} with {open} open; closing them. A second one ends it at once");
            self.output.say_to_people(&text);
        }
    }

    /// The last line of how it stood.
    pub(super) fn say_closed(&mut self, open: u64, took: Duration) {
        let seconds = |time: Duration| with_unit(Some(time.as_secs_f64()), "s");
        let connections = if open == 1 { "connection" } else { "connections" };
        self.output.closing(&format!(
            "closed {} {connections} in {}; the run took {}",
            human_count(open),
            seconds(took),
            seconds(Duration::from_millis(self.elapsed_ms()))
        ));
    }

    pub(super) fn end_phase(&mut self, at_ms: u64) {
        if let Some(last) = self.phases.last_mut() {
            last.to_ms.get_or_insert(at_ms);
        }
    }

    pub(super) fn tick_if_due(&mut self, now: Instant) {
        self.look_for_a_peak(now);
        let (last, before) = self.last_tick;
        if now.duration_since(last) < TICK {
            return;
        }
        let counts = self.shared.counts();
        if let Some(beside) = &mut self.beside {
            beside.look_if_due(now, &counts, self.course.probe);
        }
        if let Some(own_end) = &mut self.own_end {
            own_end.look_if_due(now);
        }
        self.link.look();
        self.look_at_work();
        let seconds = now.duration_since(last).as_secs_f64();
        let per_second = self.arrived(&counts).saturating_sub(self.arrived(&before)) as f64 / seconds;
        self.last_tick = (now, counts);
        let work = self.take_measured().map(|talked| self.work_tick(&talked, seconds));
        let (phase, elapsed_ms) = (self.shared.orders().phase, self.elapsed_ms());
        self.tell_the_others(phase, &counts);
        let messages = work.as_ref().map(|work| work.messages_per_second);
        self.keep_row(phase, elapsed_ms, &counts, per_second, messages);
        let live = self.live(phase, elapsed_ms, &counts, per_second, work.as_ref());
        self.output.progress(&live);
        let lost = if counts.failed > 0 { self.lost() } else { BTreeMap::new() };
        self.output.publish(phase, &counts, &lost, self.target);
        let latencies = self.output.new_latencies();
        self.output.event(&SwarmEvent::Tick { phase, elapsed_ms, counts, lost, work, latencies });
    }

    /// Those lost so far, by cause.
    fn lost(&self) -> BTreeMap<Outcome, u64> {
        let mut lost = BTreeMap::new();
        for failure in self.shared.tally().failures() {
            *lost.entry(failure.outcome).or_default() += failure.count;
        }
        lost
    }

    /// How it stands, in the words of a line.
    fn live(
        &self,
        phase: PhaseName,
        elapsed_ms: u64,
        counts: &LiveCounts,
        per_second: f64,
        work: Option<&WorkTick>,
    ) -> Live<'static> {
        let since = self.phases.last().map_or(0, |last| elapsed_ms.saturating_sub(last.from_ms));
        let (elapsed, since) = (Duration::from_millis(elapsed_ms), Duration::from_millis(since));
        let is_ramp = phase == PhaseName::Ramp;
        let up = self.arrived(counts);
        let (phase, done, target, left) = match phase {
            PhaseName::Ramp => {
                // With steps the pauses between them are to come as well.
                let left = time_left(up, self.target, since).filter(|_| self.course.steps.is_none());
                ("ramp", up, self.target, left)
            }
            PhaseName::Hold => ("hold", counts.open, self.target, self.left(since)),
            PhaseName::Verify => ("verify", counts.open, self.target, None),
            PhaseName::Close => ("close", up.saturating_sub(counts.open), up, None),
        };
        let connects_per_second = is_ramp.then_some(per_second);
        Live {
            phase,
            done,
            target,
            connects_per_second,
            messages: work.map(|work| Messages {
                kind: work.kind,
                per_second: work.messages_per_second,
                p50_us: work.p50_us,
                p99_us: work.p99_us,
            }),
            failed: counts.failed,
            elapsed,
            left,
            ..Live::default()
        }
    }

    /// What is left of the hold, or of the work under way.
    fn left(&self, since: Duration) -> Option<Duration> {
        match self.work_until() {
            Some(until) => Some(until.saturating_duration_since(Instant::now())),
            None if self.course.has_phases() => None,
            None => self.course.hold.0.checked_sub(since),
        }
    }

    /// Answers the one who asked how it stands.
    pub(super) fn say_now(&mut self) {
        let counts = self.shared.counts();
        let (phase, elapsed_ms) = (self.shared.orders().phase, self.elapsed_ms());
        self.output.event(&SwarmEvent::Now { phase, elapsed_ms, counts });
    }

    /// Moves the latencies of the interval into the run's, and into the interval log. Gives what was said in it, where
    /// there is work.
    pub(super) fn take_measured(&mut self) -> Option<Talked> {
        let talked = std::mem::take(&mut *self.shared.talked());
        let interval = std::mem::take(&mut *self.shared.measured());
        let of_work =
            |what: &str| self.underway.as_ref().map(|underway| format!("{}.{what}", underway.name()));
        let tags = ["response", "service", "lateness", "beat"].map(of_work);
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
        let none = LatencyHistogram::default();
        let beats = talked.beats.as_deref().unwrap_or(&none);
        let of_work = [&talked.response, &talked.service, &talked.lateness, beats];
        kinds
            .extend(tags.iter().zip(of_work).filter_map(|(tag, measured)| Some((tag.as_deref()?, measured))));
        let is_hold = self.underway.as_ref().is_some_and(Underway::is_hold);
        self.output.interval(&kinds, is_hold);
        let now_ms = self.elapsed_ms();
        if !self.underway.as_mut().is_some_and(|underway| underway.keep_made(&interval)) {
            self.measured.add(&interval);
        }
        let underway = self.underway.as_mut()?;
        underway.take(&talked, now_ms);
        let trouble = underway.new_trouble(&talked);
        trouble.into_iter().for_each(|trouble| self.output.warn(&trouble));
        Some(talked)
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
