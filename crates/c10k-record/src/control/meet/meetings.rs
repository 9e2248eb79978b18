//! The meetings of one control port: the one that goes on, and the last that have ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::meeting::Meeting;
use super::refusal;
use super::{Beat, Join, Joined, MOST_SHARDS, MeetEvent, MeetState, Moment, ResultHead};
use crate::control::path::{meet, methods};
use crate::control::{MOST_ANSWER_BYTES, Refusal, is_run_id};

/// Meetings that are remembered after their end.
const MOST_PAST: usize = 4;
/// The port should look at the time more often than this; where it did not, it did not run.
const GAP: Duration = Duration::from_secs(1);

/// The most bytes of results in one answer: the one who asks takes no longer one than [`MOST_ANSWER_BYTES`], and the rest of
/// it needs room too.
const MOST_RESULT_BYTES: usize = MOST_ANSWER_BYTES / 2;

/// Results of a meeting, as `GET /v1/meet/RUN/results` gives them, or `results/SHARD` from that shard on.
#[derive(Debug, Serialize)]
struct Results<'a> {
    meeting: &'a str,
    state: MeetState,
    results: Vec<serde_json::Value>,
    /// The first shard whose result did not fit into this answer.
    next: Option<u32>,
    /// What the port has written of it, once it has ended; with the last of the results.
    server: Option<&'a serde_json::Value>,
}

/// The meetings of one control port. Times are passed in.
#[derive(Debug)]
pub struct Meetings {
    /// Tells the meetings of this process from those of others.
    of_process: u64,
    /// A run that goes on here without a meeting, in words: nobody gathers meanwhile.
    busy: Option<String>,
    /// Why the port is being stopped; `None` while it serves.
    stopped: Option<String>,
    current: Option<Meeting>,
    past: VecDeque<Meeting>,
    /// Of each run and shard the number of its last try.
    attempts: BTreeMap<(String, u32), u32>,
    /// How many meetings there have been.
    count: u64,
    looked: Duration,
    /// The kernel's random id of this boot.
    boot_id: Option<String>,
    events: Vec<MeetEvent>,
}

impl Meetings {
    /// None yet. The kernel's id of this boot tells shards that stand on the same one.
    #[must_use]
    pub fn new(at: Moment, boot_id: Option<String>) -> Self {
        Self {
            of_process: at.unix_ns,
            busy: None,
            stopped: None,
            current: None,
            past: VecDeque::new(),
            attempts: BTreeMap::new(),
            count: 0,
            looked: at.mono,
            boot_id,
            events: Vec::new(),
        }
    }

    /// Says which run goes on here without a meeting, in words; `None` where none does.
    pub fn be_busy(&mut self, with: Option<String>) {
        self.busy = with;
    }

    /// Whether shards gather or go on here: the run, and how far it is in words.
    #[must_use]
    pub fn under_way(&self, at: Moment) -> Option<(&str, String)> {
        self.current.as_ref().map(|meeting| (meeting.run(), meeting.in_words(at.mono)))
    }

    /// Does what the time demands, and gives what has happened since this was last asked. To be called several times a
    /// second.
    pub fn tick(&mut self, at: Moment) -> Vec<MeetEvent> {
        self.current.iter_mut().for_each(|meeting| meeting.open_what_was_told(at));
        self.look(at);
        self.current.iter_mut().for_each(Meeting::was_told);
        std::mem::take(&mut self.events)
    }

    /// Ends the meeting that goes on, for all of its shards.
    pub fn call_off(&mut self, why: &str, at: Moment) {
        if let Some(meeting) = &mut self.current {
            meeting.call_off(why.to_owned(), at, &mut self.events);
        }
    }

    /// Ends the meeting that goes on, since the port is being stopped, and lets nobody gather any more. True once all who
    /// took part have heard why and have brought what they bring: it is to be called until then. With `is_last` nothing is
    /// waited for any more.
    pub fn give_up(&mut self, why: &str, is_last: bool, at: Moment) -> bool {
        self.stopped.get_or_insert_with(|| why.to_owned());
        self.call_off(why, at);
        self.current.iter_mut().filter(|_| is_last).for_each(Meeting::wait_no_more);
        self.look(at);
        let has_heard = |meeting: &Meeting| meeting.have_all_heard_its_end(at.mono);
        is_last || self.current.is_none() && self.past.front().is_none_or(has_heard)
    }

    /// Keeps what the port has written of a meeting, for those who ask for its results.
    pub fn keep_account(&mut self, meeting: &str, account: serde_json::Value) {
        let mut all = self.current.iter_mut().chain(&mut self.past);
        if let Some(meeting) = all.find(|other| other.id() == meeting) {
            meeting.account_of_port = Some(account);
        }
    }

    fn look(&mut self, at: Moment) {
        let passed = at.mono.saturating_sub(self.looked);
        self.looked = self.looked.max(at.mono);
        let Some(meeting) = &mut self.current else { return };
        if passed > GAP {
            meeting.excuse(passed);
        }
        meeting.go_on(at, &mut self.events, self.boot_id.as_deref());
        self.put_away();
    }

    /// A meeting that has ended makes room for the next.
    fn put_away(&mut self) {
        if let Some(meeting) = self.current.take_if(|meeting| meeting.has_ended()) {
            self.past.push_front(meeting);
            self.past.truncate(MOST_PAST);
            let past = &self.past;
            self.attempts.retain(|(run, _), _| past.iter().any(|meeting| meeting.run() == run));
        }
    }

    /// Answers a request for what stands at `path` below `/v1/meet/`, such as `RUN/join`, in JSON.
    ///
    /// # Errors
    /// [`Refusal`], in words for the shard that asks.
    pub fn answer(&mut self, method: &str, path: &str, body: &[u8], at: Moment) -> Result<String, Refusal> {
        const ROUTES: &str = "there are POST join, beat and result, and GET state and results";
        self.look(at);
        let (run, what) = path.split_once('/').unwrap_or((path, ""));
        if !is_run_id(run) {
            let error = format!("'{run}' is not the name of a run");
            return Err(Refusal::new(
                400,
                error,
                "a name has letters, digits, '-', '_' and '.', and no dot at first",
            ));
        }
        match (method, what) {
            ("POST", "join") => self.join(run, &read(body)?, at),
            ("POST", "beat") => self.beat(run, read(body)?, at),
            ("POST", "result") => self.result(run, body, at),
            ("GET", "state") => {
                let meeting = self.latest(run)?;
                Ok(json(&meeting.state(at)))
            }
            ("GET", "results") => self.results(run, 0, at),
            ("GET", what) if let Some(first) = what.strip_prefix("results/") => {
                let first = first.parse().map_err(|_| {
                    Refusal::new(400, format!("'{first}' is not the number of a shard"), "as in results/300")
                })?;
                self.results(run, first, at)
            }
            _ => Err(match methods(&meet(run, what)) {
                Some(allow) => {
                    Refusal::new(405, format!("{method} is not how to ask for '{what}': {allow} is"), ROUTES)
                }
                None => Refusal::new(404, format!("there is no '{what}' of a meeting"), ROUTES),
            }),
        }
    }

    fn join(&mut self, run: &str, join: &Join, at: Moment) -> Result<String, Refusal> {
        check(join)?;
        let joined = self.admit(run, join, at);
        if let Err(refusal) = &joined {
            let (process, why) = (join.attempt_token.clone(), refusal.why.error.clone());
            self.events.push(MeetEvent::Refused { run: run.to_owned(), process, why });
        }
        joined.map(|joined| json(&joined))
    }

    fn admit(&mut self, run: &str, join: &Join, at: Moment) -> Result<Joined, Refusal> {
        if let Some(why) = &self.stopped {
            return Err(refusal::stopped(why));
        }
        if let Some(busy) = &self.busy {
            return Err(refusal::another_name(busy, run));
        }
        let earlier =
            self.past.iter().find(|past| past.run() == run).and_then(|past| past.end_in_words(at.mono));
        if let Some(meeting) = &self.current {
            if meeting.run() != run {
                return Err(refusal::another_name(&meeting.in_words(at.mono), run));
            }
            if let Some(attempt) = meeting.has_joined(join) {
                return Ok(Joined { meeting: meeting.id().to_owned(), attempt, earlier });
            }
        }
        let meeting = self.current.get_or_insert_with(|| {
            self.count += 1;
            Meeting::of(run, format!("{run}.{:x}.{}", self.of_process, self.count), join.clone(), at)
        });
        let attempt = self.attempts.get(&(run.to_owned(), join.shard)).map_or(1, |last| last + 1);
        meeting.join(join, attempt, at)?;
        self.attempts.insert((run.to_owned(), join.shard), attempt);
        self.events.push(MeetEvent::Came {
            run: run.to_owned(),
            shard: join.shard,
            of: join.of,
            client: join.client.clone(),
            attempt,
            missing: meeting.missing(),
        });
        Ok(Joined { meeting: meeting.id().to_owned(), attempt, earlier })
    }

    fn beat(&mut self, run: &str, beat: Beat, at: Moment) -> Result<String, Refusal> {
        let (id, boot_id) = (beat.meeting.clone(), self.boot_id.clone());
        let (meeting, events) = self.of_id(run, &id)?;
        let state = meeting.beat(beat, at, events, boot_id.as_deref());
        self.put_away();
        Ok(json(&state))
    }

    fn result(&mut self, run: &str, body: &[u8], at: Moment) -> Result<String, Refusal> {
        let head: ResultHead = read(body)?;
        let body = String::from_utf8(body.to_vec()).map_err(|_| not_read(&"it is no UTF-8"))?;
        if head.run_id != run {
            let error = format!("this is a result of run '{}', and not of '{run}'", head.run_id);
            return Err(Refusal::new(422, error, "a result goes to the run that it is of"));
        }
        let (shard, attempt) = (head.shard.index(), head.attempt);
        let id = head.meeting.unwrap_or_default();
        let (meeting, _) = self.of_id(run, &id)?;
        meeting.result(shard, attempt, body, at)?;
        self.look(at);
        let (meeting, _) = self.of_id(run, &id)?;
        Ok(json(&meeting.state(at)))
    }

    /// The results from shard `first` on that fit into one answer, at least one.
    fn results(&self, run: &str, first: u32, at: Moment) -> Result<String, Refusal> {
        let meeting = self.latest(run)?;
        let (mut results, mut bytes, mut next) = (Vec::new(), 0, None);
        for (shard, body) in meeting.results().into_iter().filter(|(shard, _)| *shard >= first) {
            if !results.is_empty() && bytes + body.len() > MOST_RESULT_BYTES {
                next = Some(shard);
                break;
            }
            bytes += body.len();
            results.extend(serde_json::from_str(&body).ok());
        }
        Ok(json(&Results {
            meeting: meeting.id(),
            state: meeting.state(at),
            results,
            next,
            server: meeting.account_of_port.as_ref().filter(|_| next.is_none()),
        }))
    }

    /// The meeting of this run that goes on, else the last that has ended.
    fn latest(&self, run: &str) -> Result<&Meeting, Refusal> {
        let mut all = self.current.iter().chain(&self.past);
        all.find(|meeting| meeting.run() == run).ok_or_else(|| unknown(run, ""))
    }

    /// The one of this id, and where its events go.
    fn of_id(&mut self, run: &str, id: &str) -> Result<(&mut Meeting, &mut Vec<MeetEvent>), Refusal> {
        let mut all = self.current.iter_mut().chain(&mut self.past);
        let found = all.find(|meeting| meeting.run() == run && meeting.id() == id);
        found.map(|meeting| (meeting, &mut self.events)).ok_or_else(|| unknown(run, id))
    }
}

fn check(join: &Join) -> Result<(), Refusal> {
    let Join { shard, of, attempt_token, gates, .. } = join;
    let refused = |error: String, hint: &str| Err(Refusal::new(422, error, hint));
    if !(1..=MOST_SHARDS).contains(of) || !(1..=*of).contains(shard) {
        let error =
            format!("there is no shard {shard} of {of}: expected 1 to N of N, and N at most {MOST_SHARDS}");
        return refused(error, "--shard I/N counts from 1");
    }
    if attempt_token.is_empty() || *gates == 0 {
        let error =
            format!("attempt_token '{attempt_token}' and gates {gates}: expected a text, and at least 1");
        return refused(error, "docs/control.md says what a shard tells of itself");
    }
    Ok(())
}

fn unknown(run: &str, id: &str) -> Refusal {
    let which = if id.is_empty() { String::new() } else { format!(" '{id}'") };
    Refusal::new(
        404,
        format!("nothing is known here of a meeting{which} of run '{run}'"),
        "the control port was started again since, or the meeting ended long ago",
    )
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| not_read(&error))
}

fn not_read(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(400, format!("the body cannot be read: {error}"), "docs/control.md says what it has to hold")
}

fn json(value: &impl Serialize) -> String {
    // Plain data with string keys: there is nothing in it that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}
