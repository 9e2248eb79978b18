//! Work: which job is under way, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use c10k_collector::time_wait_by_end;
use c10k_kernel::clock;
use c10k_record::{Churned, Latencies, PhaseKind, PhasePlan, SwarmEvent, WorkTick, Worked, WorkedSlice};

use c10k_wire::push::Wrong;

use super::over_time::by_kind;
use super::{Conductor, Course, DRAIN, Woken};
use crate::measured::Measured;
use crate::own_cpu_seconds;
use crate::tasks::Task;
use crate::worker::GRACE_US;
use crate::workload::{Job, Talked};

/// What is told as one stretch of time.
const SLICE_MS: u64 = 1000;
/// Beside the time that an answer may take: for the last of them to be told.
const MARGIN: Duration = Duration::from_secs(1);

/// The job under way.
pub(super) struct Underway {
    job: Arc<Job>,
    /// When it ends; `None` = when something else begins.
    until: Option<Instant>,
    begun: Instant,
    /// The same in µs of CLOCK_MONOTONIC.
    begun_monotonic_us: u64,
    /// What was wrong with what a server pushed has been told.
    trouble_told: bool,
    from_ms: u64,
    connections: u64,
    cpu_seconds: Option<f64>,
    whole: Talked,
    slice: Talked,
    slice_from_ms: u64,
    over_time: Vec<WorkedSlice>,
    /// Of connections that are made within it.
    made: Measured,
    time_wait_peak: Option<(u64, u64)>,
    time_wait_seen_ms: u64,
}

impl Underway {
    /// What came of it since this was asked last goes to the rest.
    pub(super) fn take(&mut self, talked: &Talked, now_ms: u64) {
        self.slice.add(talked);
        if now_ms >= self.slice_from_ms + SLICE_MS {
            self.end_slice(now_ms);
        }
    }

    fn end_slice(&mut self, to_ms: u64) {
        let slice = std::mem::take(&mut self.slice);
        let (response, lateness) = (slice.response.summary(), slice.lateness.summary());
        let ms = to_ms.saturating_sub(self.slice_from_ms).max(1);
        self.over_time.push(WorkedSlice {
            from_ms: self.slice_from_ms,
            to_ms,
            messages_per_second: slice.messages() as f64 * 1000.0 / ms as f64,
            response_p50_us: response.p50,
            response_p99_us: response.p99,
            lateness_p99_us: lateness.p99,
        });
        self.slice_from_ms = to_ms;
        self.whole.add(&slice);
    }

    /// What is wrong with what the server pushes, the first time.
    pub(super) fn new_trouble(&mut self, talked: &Talked) -> Option<String> {
        let trouble = talked.pushed.as_ref()?.trouble.filter(|_| !self.trouble_told)?;
        self.trouble_told = true;
        Some(match trouble {
            Wrong::Echoed(_) => format!(
                "{trouble}\nhint: `c10k-server --workload {}` does, as do servers that speak its frames",
                self.job.kind
            ),
            other => format!("what the server pushes is wrong: {other}"),
        })
    }

    /// Keeps what connections took that are made within the job, where that is what it is for.
    pub(super) fn keep_made(&mut self, made: &Measured) -> bool {
        if self.job.is_churn() {
            self.made.add(made);
        }
        self.job.is_churn()
    }

    /// Looks at TIME_WAIT at both ends, once a second.
    fn look_at_time_wait(&mut self, ports: &[u16], now_ms: u64) {
        if !self.job.is_churn() || now_ms < self.time_wait_seen_ms + SLICE_MS {
            return;
        }
        self.time_wait_seen_ms = now_ms;
        let Some((clients, servers)) = time_wait_by_end(ports) else { return };
        let (most_clients, most_servers) = self.time_wait_peak.unwrap_or_default();
        self.time_wait_peak = Some((most_clients.max(clients), most_servers.max(servers)));
    }

    /// Whether its messages are beats.
    pub(super) fn is_hold(&self) -> bool {
        self.job.is_hold()
    }

    pub(super) fn name(&self) -> &str {
        &self.job.name
    }
}

impl Conductor<'_> {
    /// Looks at what a job leaves at both ends.
    pub(super) fn look_at_work(&mut self) {
        let now_ms = self.elapsed_ms();
        if let Some(underway) = &mut self.underway {
            underway.look_at_time_wait(&self.course.ports, now_ms);
        }
    }
}

impl Conductor<'_> {
    /// How the work of a moment stands.
    pub(super) fn work_tick(&self, talked: &Talked, seconds: f64) -> WorkTick {
        let response = talked.response.summary();
        let answered = talked.messages();
        WorkTick {
            kind: self.underway.as_ref().map(|underway| underway.job.kind),
            answered,
            messages_per_second: answered as f64 / seconds,
            p50_us: response.p50,
            p99_us: response.p99,
        }
    }

    /// Whether a job is under way that is more than holding.
    pub(super) fn is_working(&self) -> bool {
        self.underway.as_ref().is_some_and(|underway| !underway.job.is_hold())
    }

    /// Whether connections come and go.
    pub(super) fn is_exchanging(&self) -> bool {
        self.underway.as_ref().is_some_and(|underway| underway.job.is_churn())
    }

    /// When the job under way ends, where it does by itself.
    pub(super) fn work_until(&self) -> Option<Instant> {
        self.underway.as_ref().and_then(|underway| underway.until)
    }

    /// What a swarm does of its own accord while it holds: all of its workload, or beats where it is commanded.
    pub(super) fn begin_own_work(&mut self) {
        match self.course.own_work().filter(|_| !self.course.commanded) {
            Some(phase) => self.begin_job(&phase, Some(self.course.hold.0)),
            None => self.begin_to_beat(),
        }
    }

    /// Holds again: what was done beside, or in between, is over.
    pub(super) fn hold_on(&mut self) {
        if self.is_working() {
            return self.shared.order(self.shared.orders().without(Task::Connect));
        }
        self.enter_with(Task::Ping, self.beside());
        if self.underway.is_none() {
            self.begin_to_beat();
        }
    }

    /// Connects, beside what is under way.
    pub(super) fn begin_to_connect(&mut self) {
        if self.is_working() {
            return self.shared.order(self.shared.orders().with(Task::Connect));
        }
        self.enter_with(Task::Connect, self.beside());
    }

    /// Beats go on beside whatever is done.
    fn beside(&self) -> Option<Task> {
        self.underway.as_ref().map(|_| Task::Beat)
    }

    /// Begins to do nothing but beats, where some are wanted and somebody is there.
    fn begin_to_beat(&mut self) {
        if self.course.work.beat.is_some() && self.shared.counts().attempted > 0 {
            let hold = PhasePlan::of(PhaseKind::Hold);
            self.begin_job(&hold, None);
        }
    }

    /// Works as a command says.
    pub(super) fn work_as_told(&mut self, name: &str, per_second: Option<u64>) {
        let phase = self.course.phase(name);
        let at_rate = |phase| match per_second {
            Some(rate) => Course::at_rate(phase, rate),
            None => Some(phase),
        };
        match phase.map(at_rate) {
            Some(None) => {
                let rate = per_second.unwrap_or_default();
                self.output.warn(&format!("'work {name} {rate}/s': that work has no rate"));
            }
            Some(Some(phase)) => {
                self.end_work();
                let long = phase.duration.unwrap_or(self.course.hold);
                self.begin_job(&phase, Some(long.0));
            }
            None => {
                let known = self.course.phase_names().join(", ");
                self.output
                    .warn(&format!("'work {name}' names no work of this swarm: expected one of {known}"));
            }
        }
    }

    /// The time of what a command wanted is over.
    pub(super) fn end_work_as_told(&mut self) {
        if let Some(worked) = self.end_job() {
            self.worked.push(worked.clone());
            self.output.event(&SwarmEvent::Worked { worked: Box::new(worked) });
        }
        self.hold_on();
    }

    fn begin_job(&mut self, phase: &PhasePlan, long: Option<Duration>) {
        // What was measured before is none of it.
        self.take_measured();
        let from_us = self.shared.now_us();
        self.job_number += 1;
        let plan = self.course.work.with(&phase.work);
        let beat = plan.beat.is_some();
        let job = Arc::new(Job {
            number: self.job_number,
            name: phase.name.clone(),
            kind: phase.kind,
            plan,
            from_us,
            until_us: long.map_or(u64::MAX, |long| from_us + long.as_micros() as u64),
            seed: self.shared.settings.drawn_from,
        });
        let from_ms = self.elapsed_ms();
        self.underway = Some(Underway {
            until: long.map(|long| Instant::now() + long),
            begun: Instant::now(),
            begun_monotonic_us: clock::monotonic_us(),
            trouble_told: false,
            from_ms,
            connections: self.shared.counts().open,
            cpu_seconds: own_cpu_seconds(),
            whole: Talked::default(),
            slice: Talked::default(),
            slice_from_ms: from_ms,
            over_time: Vec::new(),
            made: Measured::default(),
            time_wait_peak: None,
            time_wait_seen_ms: from_ms,
            job: Arc::clone(&job),
        });
        let is_hold = job.is_hold();
        self.shared.set_job(job);
        let mut orders = self.shared.orders();
        if !is_hold {
            orders = orders.with(Task::Work);
        }
        if beat {
            orders = orders.with(Task::Beat);
        }
        self.shared.order(orders);
    }

    /// Ends the job under way, and keeps what came of it, if anything was to.
    pub(super) fn end_work(&mut self) {
        let worked = self.end_job();
        self.worked.extend(worked.filter(|it| it.kind != PhaseKind::Hold || it.messages_sent > 0));
    }

    /// How long what is under way at the end of a job may take. Of an exchange that is all the way of a connection.
    fn longest_end(&self, job: &Job) -> Duration {
        let settings = &self.shared.settings;
        let opening = settings.upgrade.as_ref().map_or(Duration::ZERO, |_| settings.handshake_timeout);
        let before_the_last_answer = match (job.pushes(), job.is_churn()) {
            (Some(_), _) => Duration::from_micros(GRACE_US),
            (None, true) => settings.connect_timeout + opening,
            (None, false) => Duration::ZERO,
        };
        before_the_last_answer + settings.probe_timeout + MARGIN
    }

    /// Nothing more is sent, and what is under way has its time.
    fn end_job(&mut self) -> Option<Worked> {
        let underway = self.underway.as_ref()?;
        let (number, seconds) = (underway.job.number, underway.begun.elapsed().as_secs_f64());
        let cpu_seconds = underway.cpu_seconds.zip(own_cpu_seconds()).map(|(before, after)| after - before);
        self.shared.order(self.shared.orders().without(Task::Work).without(Task::Beat));
        let stopping = self.must_stop();
        let patience = if stopping { DRAIN / 2 } else { self.longest_end(&underway.job) };
        let done = move |c: &Self| c.shared.everybody_has_worked(number);
        let is_aborted = move |c: &Self| c.is_aborted();
        let until = Some(Instant::now() + patience);
        if self.wait(until, stopping, move |c| done(c) || is_aborted(c)) == Woken::Stop {
            self.wait(Some(Instant::now() + DRAIN / 2), true, move |c| done(c) || is_aborted(c));
        }
        self.take_measured();
        let to_ms = self.elapsed_ms();
        let mut underway = self.underway.take()?;
        if !underway.slice.is_empty() {
            underway.end_slice(to_ms);
        } else {
            underway.whole.add(&underway.slice);
        }
        let until_us = underway.begun_monotonic_us + (seconds * 1e6) as u64;
        if self.course.is_shard {
            self.work_measured.extend(by_kind(&underway.job, &underway.whole, &underway.made, until_us));
        }
        Some(worked(underway, to_ms, seconds, cpu_seconds, until_us))
    }
}

/// `until_us` is the end of the phase, µs of CLOCK_MONOTONIC.
fn worked(underway: Underway, to_ms: u64, seconds: f64, cpu_seconds: Option<f64>, until_us: u64) -> Worked {
    let Underway { job, from_ms, connections, whole, over_time, made, time_wait_peak, .. } = underway;
    let is_timed = job.is_open_loop() && !job.is_churn();
    let churn = job.is_churn().then(|| Churned {
        closed: whole.churned.closed,
        reopened: whole.churned.reopened,
        failed: whole.churned.failed,
        not_begun: whole.not_sent_in_time,
        cycles_per_second: (seconds > 0.0).then(|| whole.churned.reopened as f64 / seconds),
        time_wait_client_peak: time_wait_peak.map(|(clients, _)| clients),
        time_wait_server_peak: time_wait_peak.map(|(_, servers)| servers),
        waits_for_a_port: whole.churned.waits_for_a_port,
        latency_us: Latencies {
            connect: made.connect.summary(),
            handshake: (made.handshake.count() > 0).then(|| made.handshake.summary()),
            first_echo: made.first_echo.summary(),
            ..Latencies::default()
        },
    });
    let pushed = whole.pushed.clone().unwrap_or_default();
    // What was pushed before the end still comes behind it.
    let told_seconds = match job.pushes() {
        Some(_) => to_ms.saturating_sub(from_ms) as f64 / 1e3,
        None => seconds,
    };
    Worked {
        name: job.name.clone(),
        kind: job.kind,
        from_ms,
        to_ms,
        connections,
        messages_intended: is_timed.then_some(whole.intended),
        messages_sent: whole.sent,
        messages_answered: whole.answered,
        messages_not_sent_in_time: if job.is_churn() { 0 } else { whole.not_sent_in_time },
        messages_never_sent: whole.never_sent,
        messages_wrong: whole.wrong,
        messages_per_second: (told_seconds > 0.0 && !job.is_churn())
            .then(|| whole.answered as f64 / told_seconds),
        response_us: whole.response.summary(),
        service_us: whole.service.summary(),
        lateness_us: is_timed.then(|| whole.lateness.summary()),
        over_time,
        churn,
        stream: (job.kind == PhaseKind::Stream).then(|| pushed.streamed()),
        fanout: (job.kind == PhaseKind::Fanout).then(|| pushed.fanned_out(until_us)),
        server_cores: None,
        swarm_cores: cpu_seconds.filter(|_| seconds > 0.0).map(|cpu| cpu / seconds),
    }
}
