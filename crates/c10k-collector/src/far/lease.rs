//! Who has the far end, and for how long without a word. No clock and no socket: times are passed in.

use std::time::Duration;

use c10k_record::control::{FarState, Running};

/// The far end's one place for a run.
#[derive(Debug)]
pub(super) struct Lease {
    /// So long may nothing be heard.
    length: Duration,
    held: Option<Held>,
    /// The run before, and why it ended.
    last: Option<(String, String)>,
    /// When it was last asked whether a run is over.
    asked: Duration,
}

/// It is asked several times a second: where so long nobody did, this program has not run.
const STOOD_STILL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Held {
    run_id: String,
    by: String,
    begun: Duration,
    heard: Duration,
}

/// How a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Began {
    /// Just now.
    New,
    /// Before: the same client says so again.
    Again,
}

impl Lease {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, held: None, last: None, asked: Duration::ZERO }
    }

    /// So long may nothing be heard.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Gives the place to a run; where another has it, who that is.
    pub(super) fn begin(&mut self, run_id: &str, by: &str, now: Duration) -> Result<Began, Running> {
        if let Some(held) = &mut self.held {
            if held.run_id == run_id && held.by == by {
                held.heard = now;
                return Ok(Began::Again);
            }
            return Err(held.running(now));
        }
        self.held = Some(Held { run_id: run_id.to_owned(), by: by.to_owned(), begun: now, heard: now });
        Ok(Began::New)
    }

    /// Something was heard of this run; false where it has not the place.
    pub(super) fn renew(&mut self, run_id: &str, now: Duration) -> bool {
        let held = self.held.as_mut().filter(|held| held.run_id == run_id);
        held.map(|held| held.heard = now).is_some()
    }

    /// Why the run that has the place is to be ended; `None` while it is not. Time in which nobody asked, as this program did
    /// not run, is nobody's silence.
    pub(super) fn is_over(&mut self, now: Duration) -> Option<(String, String)> {
        let since = now.saturating_sub(std::mem::replace(&mut self.asked, now));
        let held = self.held.as_mut()?;
        if since > STOOD_STILL {
            held.heard = (held.heard + since).min(now);
        }
        let silent = now.saturating_sub(held.heard);
        let why = || format!("nothing was heard of its client for {} s", self.length.as_secs_f64());
        (silent >= self.length).then(|| (held.run_id.clone(), why()))
    }

    /// Takes the place back.
    pub(super) fn end(&mut self, reason: &str) {
        if let Some(held) = self.held.take() {
            self.last = Some((held.run_id, reason.to_owned()));
        }
    }

    /// As nothing had been given: what was to begin could not.
    pub(super) fn take_back(&mut self) {
        self.held = None;
    }

    /// Who has it.
    pub(super) fn running(&self, now: Duration) -> Option<Running> {
        self.held.as_ref().map(|held| held.running(now))
    }

    pub(super) fn state(&self, now: Duration) -> FarState {
        match (self.running(now), &self.last) {
            (Some(running), _) => FarState::Running(running),
            (None, Some((run_id, reason))) => {
                FarState::Ended { run_id: run_id.clone(), reason: reason.clone() }
            }
            (None, None) => FarState::Idle,
        }
    }
}

impl Held {
    fn running(&self, now: Duration) -> Running {
        let since_ms = now.saturating_sub(self.begun).as_millis() as u64;
        Running { run_id: self.run_id.clone(), by: self.by.clone(), since_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn lease() -> Lease {
        Lease::new(at(15))
    }

    /// Asked in each of these seconds, whether the run is over.
    fn asked(lease: &mut Lease, seconds: std::ops::RangeInclusive<u64>) -> Option<(String, String)> {
        seconds.filter_map(|second| lease.is_over(at(second))).last()
    }

    #[test]
    fn a_second_client_is_told_who_has_it_and_the_first_may_say_it_again() {
        let mut lease = lease();
        assert_eq!(lease.state(at(0)), FarState::Idle);
        assert_eq!(lease.begin("r1", "one", at(1)), Ok(Began::New));
        assert_eq!(lease.begin("r1", "one", at(2)), Ok(Began::Again));
        for (run_id, by) in [("r2", "two"), ("r1", "two"), ("r2", "one")] {
            let running = lease.begin(run_id, by, at(5)).expect_err("it is held");
            assert_eq!(
                (running.run_id.as_str(), running.by.as_str(), running.since_ms),
                ("r1", "one", 4_000)
            );
        }
        lease.end("done");
        let ended = FarState::Ended { run_id: "r1".to_owned(), reason: "done".to_owned() };
        assert_eq!(lease.state(at(6)), ended);
        assert_eq!(lease.begin("r2", "two", at(6)), Ok(Began::New));
    }

    #[test]
    fn a_run_of_which_nothing_is_heard_loses_its_place_and_one_that_is_heard_keeps_it() {
        let mut lease = lease();
        assert_eq!(lease.is_over(at(0)), None, "nobody has it");
        lease.begin("r1", "one", at(0)).expect("free");
        assert!(!lease.renew("r2", at(14)), "that was another's word");
        assert_eq!(asked(&mut lease, 1..=14), None);
        assert!(lease.renew("r1", at(14)));
        assert_eq!(asked(&mut lease, 15..=28), None);
        let (run_id, why) = lease.is_over(at(29)).expect("silent for 15 s");
        assert_eq!((run_id.as_str(), why.as_str()), ("r1", "nothing was heard of its client for 15 s"));
        lease.end(&why);
        assert!(!lease.renew("r1", at(30)), "it comes too late");
        assert!(matches!(lease.state(at(30)), FarState::Ended { reason, .. } if reason == why));
        assert_eq!(lease.begin("r2", "two", at(30)), Ok(Began::New));
    }

    #[test]
    fn a_time_in_which_this_program_did_not_run_is_nobodys_silence() {
        let mut lease = lease();
        lease.begin("r1", "one", at(0)).expect("free");
        assert_eq!(asked(&mut lease, 0..=10), None);
        // It stood still for 100 s; what was said meanwhile is heard next.
        assert_eq!(asked(&mut lease, 110..=114), None);
        assert!(lease.is_over(at(115)).is_some(), "15 s of silence, the pause not among them");
    }

    #[test]
    fn what_could_not_begin_was_never_there() {
        let mut lease = lease();
        lease.begin("r1", "one", at(0)).expect("free");
        lease.take_back();
        assert_eq!((lease.state(at(0)), lease.running(at(0))), (FarState::Idle, None));
    }
}
