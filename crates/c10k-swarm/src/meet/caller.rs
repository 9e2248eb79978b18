//! The thread that asks the rendezvous: it comes, beats, and hears how the meeting stands.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use c10k_record::Exit;
use c10k_record::control::meet::{Beat, Join, Joined, LostShard, MeetState, OnLost, SILENCE};
use c10k_record::control::{Client, ControlError, path};

use super::clocks::{Anchor, start_of};
use super::{Appointment, Heard, MeetEnd, Shared, lock};
use crate::signals::Signals;

/// How long an answer to a beat may take.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// Between two beats of one that waits.
const WAITING: Duration = Duration::from_millis(250);
/// Between two looks at signals.
const NAP: Duration = Duration::from_millis(100);
/// Between two tries to come.
const AGAIN: Duration = Duration::from_millis(250);
/// How long a place that another one has is asked for: one that was killed a moment ago is not known to be gone yet.
const TAKEN: Duration = Duration::from_secs(4);
/// A start that is heard of so much behind its time is missed.
const LATE: Duration = Duration::from_millis(250);
/// A conductor of which nothing is heard for so long does not run any more, and neither does this shard.
const STUCK: Duration = Duration::from_secs(30);
/// Tries of a measurement of the clock.
const TRIES: u32 = 8;

pub(super) struct Caller {
    appointment: Arc<Appointment>,
    shared: Arc<Shared>,
    looks: Receiver<()>,
    signals: Signals,
    client: Client,
    anchor: Option<Anchor>,
    joined: Joined,
    /// Since when no beat is answered.
    failing_since: Option<Instant>,
    /// The gate before which the clock was measured again.
    measured_at: u32,
}

impl Caller {
    pub(super) fn new(
        appointment: Arc<Appointment>,
        shared: Arc<Shared>,
        looks: Receiver<()>,
        signals: Signals,
    ) -> Self {
        let client = Client::new(appointment.address, appointment.token.clone()).with_patience(ANSWER);
        let joined = Joined { meeting: String::new(), attempt: 0, earlier: None };
        Self {
            appointment,
            shared,
            looks,
            signals,
            client,
            anchor: None,
            joined,
            failing_since: None,
            measured_at: 0,
        }
    }

    /// From the first word to the last.
    pub(super) fn call(mut self) {
        match self.come() {
            Ok(joined) => {
                let mut met = lock(&self.shared.met);
                (met.meeting, met.attempt) = (joined.meeting.clone(), joined.attempt);
                drop(met);
                joined.earlier.iter().for_each(|earlier| self.shared.say(format!("note: {earlier}")));
                self.joined = joined;
                self.follow();
            }
            Err(Some(end)) => self.shared.end(end),
            Err(None) => {}
        }
    }

    // Coming --------------------------------------------------------------------------------------------

    /// Comes, as soon as it may; nothing where nobody waits for that any more.
    fn come(&mut self) -> Result<Joined, Option<MeetEnd>> {
        let timeout = Duration::from_millis(self.appointment.join.timeout_ms);
        let (begun, mut taken_since) = (Instant::now(), None);
        loop {
            let error = match self.try_to_come() {
                Ok(joined) => return Ok(joined),
                Err(error) => error,
            };
            let again = match &error {
                ControlError::InUse { .. } => taken_since.get_or_insert_with(Instant::now).elapsed() < TAKEN,
                error if error.may_pass() && begun.elapsed() >= timeout => {
                    let why = format!("no rendezvous within {} s: {error}", timeout.as_secs_f64());
                    return Err(Some(MeetEnd {
                        why,
                        hint: Some(error.hint()),
                        exit: error.exit(),
                        takes_result: false,
                    }));
                }
                error => error.may_pass(),
            };
            if !again {
                return Err(Some(refused(error)));
            }
            if self.signals.came().is_some()
                || self.looks.recv_timeout(AGAIN) == Err(RecvTimeoutError::Disconnected)
            {
                return Err(None);
            }
        }
    }

    fn try_to_come(&mut self) -> Result<Joined, ControlError> {
        if self.anchor.is_none() {
            self.client.hello()?;
            self.anchor = Some(self.measure()?);
        }
        let offset = self.anchor.map(|anchor| anchor.offset);
        let join = Join {
            offset_ns: offset.map(|offset| offset.offset_ns),
            round_trip_ns: offset.map(|offset| offset.round_trip_ns),
            ..self.appointment.join.clone()
        };
        self.client.post(&self.path("join"), &join)
    }

    /// Measures the clock, and keeps that.
    fn measure(&mut self) -> Result<Anchor, ControlError> {
        let offset = self.client.offset(TRIES)?;
        lock(&self.shared.clock).push(offset);
        Ok(Anchor::now(offset))
    }

    fn path(&self, what: &str) -> String {
        path::meet(&self.appointment.run_id, what)
    }

    // Following -----------------------------------------------------------------------------------------

    /// Beats until there is nothing more to hear.
    fn follow(&mut self) {
        let (mut next, mut gate, mut has_said) = (Instant::now(), 0, false);
        loop {
            let left = next.saturating_duration_since(Instant::now());
            match self.looks.recv_timeout(left.min(NAP)) {
                Ok(()) => next = Instant::now(),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.note_signals();
            let (beat, waits, is_stuck) = self.beat();
            if beat.broke.is_some() && !has_said || beat.gate != gate {
                next = Instant::now();
            }
            if Instant::now() < next || is_stuck {
                continue;
            }
            (gate, has_said) = (beat.gate, beat.broke.is_some());
            let asked = Instant::now();
            next = asked + if waits { WAITING } else { BEAT };
            let goes_on = match self.client.post::<MeetState>(&self.path("beat"), &beat) {
                Ok(state) => {
                    self.failing_since = None;
                    self.take_state(state, asked)
                }
                Err(error) => self.miss(&error, asked),
            };
            if !goes_on {
                return;
            }
            self.measure_again(beat.gate);
        }
    }

    /// One that a signal stops takes no part any more.
    fn note_signals(&self) {
        let Some(signal) = self.signals.came() else { return };
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        lock(&self.shared.told).broke.get_or_insert_with(|| format!("stopped by {name}"));
    }

    /// What to say, whether it waits for others, and whether the conductor does not run any more.
    fn beat(&self) -> (Beat, bool, bool) {
        let told = lock(&self.shared.told).clone();
        let begun = told.begun.zip(self.anchor).map(|(begun, anchor)| anchor.far_at(begun));
        let waits = told.phase.is_none() || told.at.is_none() || told.gate > self.shared.gate.load(Acquire);
        let is_stuck = told.at.is_some_and(|at| at.elapsed() > STUCK);
        let beat = Beat {
            shard: self.appointment.join.shard,
            attempt: self.joined.attempt,
            meeting: self.joined.meeting.clone(),
            phase: told.phase,
            gate: told.gate,
            open: told.open,
            failed: told.failed,
            begun_unix_ns: begun,
            broke: told.broke,
        };
        (beat, waits, is_stuck)
    }

    /// Takes in how it stands; false when there is nothing more to hear.
    fn take_state(&self, state: MeetState, asked: Instant) -> bool {
        let shared = &self.shared;
        match state {
            MeetState::Waiting { missing, .. } => {
                let mut heard = lock(&shared.heard);
                if matches!(*heard, Heard::Nothing | Heard::Missing(_)) {
                    *heard = Heard::Missing(missing);
                }
            }
            MeetState::Start { at_unix_ns, in_ns } => self.hear_the_start(at_unix_ns, in_ns, asked),
            MeetState::Going { gate, lost } => {
                self.lose(&lost);
                if matches!(*lock(&shared.heard), Heard::Start(_)) {
                    shared.gate.fetch_max(gate, Release);
                } else {
                    self.miss_the_start();
                }
            }
            MeetState::Failed { why, shards } => {
                let has_begun = lock(&shared.told).phase.is_some();
                let hint = if has_begun {
                    "the folder of the control port has the results of all shards, as far as they came"
                } else if shards.is_empty() {
                    "start all shards again once its control port serves again"
                } else {
                    "start all shards within --rendezvous-timeout of each other; what started them says why one did not come"
                };
                shared.end(MeetEnd {
                    why,
                    hint: Some(hint.to_owned()),
                    exit: Exit::Short,
                    takes_result: true,
                });
                // It is known to be there until its result is brought.
                return has_begun;
            }
            MeetState::Out { why } => {
                let hint = Some("start all shards again: one that is out is a new attempt".to_owned());
                shared.end(MeetEnd { why, hint, exit: Exit::Short, takes_result: false });
                return false;
            }
            MeetState::Over { lost } => {
                self.lose(&lost);
                let mut heard = lock(&shared.heard);
                if !matches!(*heard, Heard::Ended(_)) {
                    *heard = Heard::Over;
                }
                return false;
            }
        }
        true
    }

    fn lose(&self, lost: &[LostShard]) {
        self.shared.lose(lost, self.appointment.join.of);
    }

    fn hear_the_start(&self, at_unix_ns: u64, in_ns: u64, asked: Instant) {
        let Some(anchor) = self.anchor else { return };
        if matches!(*lock(&self.shared.heard), Heard::Start(_)) {
            return;
        }
        let answered = Instant::now();
        let start = start_of(&anchor, at_unix_ns, in_ns, asked, answered);
        if start.moment + LATE < answered {
            return self.miss_the_start();
        }
        let mut met = lock(&self.shared.met);
        met.start_unix_ns = Some(at_unix_ns);
        if let Some(jumped) = start.jumped {
            self.shared.say(format!("warning: {jumped}"));
            met.jumped.push(jumped);
        }
        drop(met);
        *lock(&self.shared.heard) = Heard::Start(start.moment);
    }

    fn miss_the_start(&self) {
        let why =
            "heard of the start when it was over: no beat was answered in the time before it".to_owned();
        lock(&self.shared.told).broke.get_or_insert_with(|| why.clone());
        let hint = Some("look at the load of this machine and at the way to the control port".to_owned());
        self.shared.end(MeetEnd { why, hint, exit: Exit::Short, takes_result: false });
    }

    /// No answer; false when the rendezvous is taken for gone.
    fn miss(&mut self, error: &ControlError, asked: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(asked);
        if error.may_pass() && since.elapsed() < SILENCE {
            return true;
        }
        let (address, shared) = (self.appointment.address, &self.shared);
        let has_begun = lock(&shared.told).phase.is_some();
        let why = format!("the rendezvous {address} is gone: {error}");
        lock(&shared.met).gone = Some(why.clone());
        if has_begun && self.appointment.join.on_lost == OnLost::Degrade {
            shared.say(format!("warning: {why}; this shard finishes its own part"));
        } else {
            if has_begun {
                shared.say(format!("warning: {why}; this shard ends"));
            }
            let exit = if has_begun { Exit::Broke } else { error.exit() };
            shared.end(MeetEnd { why, hint: Some(error.hint()), exit, takes_result: false });
        }
        shared.is_alone.store(true, Release);
        false
    }

    /// Measures the clock before the last gates as well, and names one that was set since.
    fn measure_again(&mut self, gate: u32) {
        let gates = self.appointment.join.gates;
        if gate + 1 < gates || gate == self.measured_at {
            return;
        }
        self.measured_at = gate;
        let (Some(first), Ok(later)) = (self.anchor, self.measure()) else { return };
        let mut met = lock(&self.shared.met);
        for jumped in first.set_since(&later) {
            if !met.jumped.contains(&jumped) {
                self.shared.say(format!("warning: {jumped}"));
                met.jumped.push(jumped);
            }
        }
    }
}

/// A refusal in the words of the rendezvous.
fn refused(error: ControlError) -> MeetEnd {
    let (mut hint, exit) = (error.hint(), error.exit());
    let why = match error {
        ControlError::OtherBuild { address, error, .. } => {
            hint = "put the same c10k-swarm on all client boxes".to_owned();
            format!("the rendezvous {address} refuses this shard: {error}")
        }
        ControlError::InUse { address, error, .. } | ControlError::Refused { address, error, .. } => {
            format!("the rendezvous {address} refuses this shard: {error}")
        }
        error => error.to_string(),
    };
    MeetEnd { why, hint: Some(hint), exit, takes_result: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_rendezvous() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9900));
        let words = "shard 2 of 3 of run 'a' is there already".to_owned();
        let end = refused(ControlError::InUse {
            address,
            error: words,
            running: None,
            hint: Some("do".to_owned()),
        });
        assert_eq!(
            end.why,
            "the rendezvous 127.0.0.1:9900 refuses this shard: shard 2 of 3 of run 'a' is there already"
        );
        assert_eq!((end.hint.as_deref(), end.exit), (Some("do"), Exit::HostCannot));
        let other = ControlError::OtherBuild { address, error: "it is build x".to_owned(), build: None };
        assert!(refused(other).hint.is_some_and(|hint| hint.contains("same c10k-swarm")));
    }
}
