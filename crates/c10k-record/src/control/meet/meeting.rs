//! One meeting, from its first shard to its account.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::Member;
use super::refusal;
use super::words::shards_in_words;
use super::{Beat, Join, LEAD, LostShard, MeetEvent, MeetState, MeetingAccount, Moment, OnLost, SILENCE};
use crate::control::Refusal;
use crate::human_count;

/// How long results are waited for once the last gate is open: closing a million connections takes a minute.
const RESULTS: Duration = Duration::from_secs(300);
/// How long the results of those who were told to end are waited for.
const LAST_RESULTS: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Until all are there.
    Gathering,
    /// All are there, and this is the start: by the monotonic clock and by the wall clock, ns since 1970.
    Set(Duration, u64),
    Going,
    /// Why, and whom that concerns.
    Failed(String, Vec<u32>),
    Over,
}

/// One meeting.
#[derive(Clone, Debug)]
pub(super) struct Meeting {
    run: String,
    id: String,
    /// What all have to agree with.
    first: Join,
    opened: Moment,
    until: Duration,
    stage: Stage,
    members: BTreeMap<u32, Member>,
    /// When the last one came.
    last_came: Duration,
    lost: Vec<LostShard>,
    gate: u32,
    /// The next gate to open, and whether that was told.
    opening: Option<(u32, bool)>,
    /// Since when the last gate is open, or since when it has failed.
    waits_for_results_since: Option<Duration>,
    start_unix_ns: Option<u64>,
    ended: Option<Moment>,
    /// What the port has written of it at its end.
    pub(super) account_of_port: Option<serde_json::Value>,
}

impl Meeting {
    /// A meeting that agrees with its first shard, which has yet to [`Meeting::join`].
    pub(super) fn of(run: &str, id: String, first: Join, at: Moment) -> Self {
        Self {
            run: run.to_owned(),
            id,
            opened: at,
            until: at.mono + Duration::from_millis(first.timeout_ms),
            first,
            stage: Stage::Gathering,
            members: BTreeMap::new(),
            last_came: at.mono,
            lost: Vec::new(),
            gate: 0,
            opening: None,
            waits_for_results_since: None,
            start_unix_ns: None,
            ended: None,
            account_of_port: None,
        }
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether nothing more comes of it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it is told to end, and its last results are waited for.
    fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Failed(..))
    }

    /// Who is there and how far it is, for one who would like to be here instead.
    pub(super) fn in_words(&self, now: Duration) -> String {
        let (of, there) = (self.first.of, self.members.len());
        let since = now.saturating_sub(self.opened.mono).as_secs();
        match self.stage {
            Stage::Gathering => {
                format!("run '{}' gathers here since {since} s: {there} of {of} shards are there", self.run)
            }
            Stage::Set(..) | Stage::Going => {
                format!("run '{}' is being measured with {of} shards, since {since} s", self.run)
            }
            Stage::Failed(..) | Stage::Over => format!("run '{}' with {of} shards is ending", self.run),
        }
    }

    // Coming --------------------------------------------------------------------------------------------

    /// Whether this is the join of a shard that is there, sent again: its attempt.
    pub(super) fn has_joined(&self, join: &Join) -> Option<u32> {
        let member = self.members.get(&join.shard)?;
        (member.join.attempt_token == join.attempt_token && !member.is_lost).then_some(member.attempt)
    }

    /// Takes in one that comes, as its try of this number.
    pub(super) fn join(&mut self, join: &Join, attempt: u32, at: Moment) -> Result<(), Refusal> {
        if self.stage != Stage::Gathering {
            return Err(refusal::running(&self.in_words(at.mono), self.is_ending()));
        }
        refusal::another_run(&self.run, &self.first, join)?;
        if let Some(member) = self.members.get(&join.shard) {
            return Err(refusal::doubled(&self.run, &member.join, at.mono.saturating_sub(member.heard)));
        }
        let member = Member::come(join.clone(), attempt, at.mono);
        self.members.insert(join.shard, member);
        self.last_came = at.mono;
        Ok(())
    }

    pub(super) fn missing(&self) -> Vec<u32> {
        let mut there = self.members.keys().peekable();
        (1..=self.first.of).filter(|shard| there.next_if_eq(&shard).is_none()).collect()
    }

    // Going ---------------------------------------------------------------------------------------------

    /// Takes in a beat, and answers how it stands.
    pub(super) fn beat(
        &mut self,
        beat: Beat,
        at: Moment,
        events: &mut Vec<MeetEvent>,
        boot_id: Option<&str>,
    ) -> MeetState {
        let shard = beat.shard;
        let Some(member) = self.members.get_mut(&shard).filter(|member| member.attempt == beat.attempt)
        else {
            return self.state_for(shard, beat.attempt, at);
        };
        if !member.is_lost {
            member.heard = at.mono;
            let broke = beat.broke.clone();
            member.last = Beat { begun_unix_ns: beat.begun_unix_ns.or(member.last.begun_unix_ns), ..beat };
            if let Some(why) = broke {
                self.breaks(shard, &why, at, events);
            }
        }
        self.go_on(at, events, boot_id);
        let has_ended = self.is_ending() || self.ended.is_some();
        let attempt = self.members.get_mut(&shard).map_or(0, |member| {
            member.knows_the_end |= has_ended;
            member.attempt
        });
        self.state_for(shard, attempt, at)
    }

    /// One that says that it takes no part any more.
    fn breaks(&mut self, shard: u32, why: &str, at: Moment, events: &mut Vec<MeetEvent>) {
        match self.stage {
            Stage::Gathering => {
                self.members.remove(&shard);
                events.push(MeetEvent::Left { run: self.run.clone(), shard, of: self.first.of });
            }
            Stage::Set(..) | Stage::Going => self.lose(shard, why, at, events),
            // It ends, as it is to.
            Stage::Failed(..) | Stage::Over => self.give_up(shard),
        }
    }

    fn give_up(&mut self, shard: u32) {
        if let Some(member) = self.members.get_mut(&shard) {
            member.is_given_up = true;
        }
    }

    /// Keeps the result of a shard.
    pub(super) fn result(
        &mut self,
        shard: u32,
        attempt: u32,
        body: String,
        at: Moment,
    ) -> Result<(), Refusal> {
        let of = self.first.of;
        let refused =
            |error: String| Err(Refusal::new(409, error, "its own file stays where --result put it"));
        if let Some(why) = self.why_lost(shard) {
            return refused(format!(
                "shard {shard} of {of} was lost: {why}; its result is no part of the run"
            ));
        }
        let has_begun = !matches!(self.stage, Stage::Gathering | Stage::Set(..));
        let Some(member) =
            self.members.get_mut(&shard).filter(|member| member.attempt == attempt && has_begun)
        else {
            return refused(format!(
                "attempt {attempt} of shard {shard} of {of} has no part in meeting {}",
                self.id
            ));
        };
        if self.ended.is_some() && member.result.is_none() {
            return refused(format!(
                "the result of shard {shard} of {of} came too late: meeting {} has ended",
                self.id
            ));
        }
        member.heard = at.mono;
        member.result.get_or_insert(body);
        Ok(())
    }

    /// All results so far, by shard.
    pub(super) fn results(&self) -> Vec<(u32, String)> {
        let with = self.members.iter().filter(|(_, member)| !member.is_lost);
        with.filter_map(|(shard, member)| Some((*shard, member.result.clone()?))).collect()
    }

    /// A time in which the port did not run is nobody's silence.
    pub(super) fn excuse(&mut self, missed: Duration) {
        self.members.values_mut().for_each(|member| member.heard += missed);
        self.until += missed;
        self.last_came += missed;
        self.waits_for_results_since = self.waits_for_results_since.map(|since| since + missed);
    }

    /// Does what the time demands.
    pub(super) fn go_on(&mut self, at: Moment, events: &mut Vec<MeetEvent>, boot_id: Option<&str>) {
        if self.ended.is_some() {
            return;
        }
        if self.stage == Stage::Gathering {
            self.gather(at, events);
        }
        if let Stage::Set(begins, _) = self.stage
            && begins <= at.mono
        {
            self.stage = Stage::Going;
            events.push(MeetEvent::Begun { run: self.run.clone(), of: self.first.of });
        }
        if matches!(self.stage, Stage::Set(..) | Stage::Going) {
            self.lose_the_silent(at, events);
        }
        if self.stage == Stage::Going {
            self.come_to_gates(events, boot_id);
        }
        self.end_where_all_is_there(at, events);
    }

    fn gather(&mut self, at: Moment, events: &mut Vec<MeetEvent>) {
        let of = self.first.of;
        let silent: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, member)| member.is_silent(at.mono))
            .map(|(shard, _)| *shard)
            .collect();
        for shard in silent {
            self.members.remove(&shard);
            events.push(MeetEvent::Left { run: self.run.clone(), shard, of });
        }
        let missing = self.missing();
        // Each was heard since the last one came, so that nobody is taken for there who is gone by then.
        if missing.is_empty()
            && self.members.values().all(|member| member.heard >= self.last_came && member.last.attempt > 0)
        {
            let at_unix_ns = at.unix_ns + LEAD.as_nanos() as u64;
            self.stage = Stage::Set(at.mono + LEAD, at_unix_ns);
            self.start_unix_ns = Some(at_unix_ns);
            events.push(MeetEvent::AllThere { run: self.run.clone(), at_unix_ns });
        } else if self.until <= at.mono {
            let waited = Duration::from_millis(self.first.timeout_ms).as_secs_f64();
            let who = if missing.is_empty() {
                "not all shards stayed".to_owned()
            } else {
                shards_in_words(&missing, of)
            };
            self.fail(format!("{who} did not come within {waited} s"), missing, at, events);
        } else if self.members.is_empty() {
            self.fail("all that came are gone again".to_owned(), missing, at, events);
        }
    }

    fn lose_the_silent(&mut self, at: Moment, events: &mut Vec<MeetEvent>) {
        let silent: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_lost && member.result.is_none() && member.is_silent(at.mono))
            .map(|(shard, _)| *shard)
            .collect();
        for shard in silent {
            self.lose(shard, &format!("nothing was heard of it for {} s", SILENCE.as_secs()), at, events);
        }
        if self.waits_for_results_since.is_some_and(|since| since + RESULTS <= at.mono) {
            let late: Vec<u32> = self.unfinished().collect();
            for shard in late {
                let why = format!("its result did not come within {} s of the last proof", RESULTS.as_secs());
                self.lose(shard, &why, at, events);
            }
        }
    }

    fn lose(&mut self, shard: u32, why: &str, at: Moment, events: &mut Vec<MeetEvent>) {
        let Some(member) = self.members.get_mut(&shard).filter(|member| !member.is_lost) else { return };
        member.is_lost = true;
        let (of, on_lost) = (self.first.of, self.first.on_lost);
        let (open, client) = (human_count(member.last.open), &member.join.client);
        let why =
            format!("{why} ({}, {open} open; host {}, pid {})", member.doing(), client.host, client.pid);
        let lost = LostShard { shard, why, at_unix_ns: at.unix_ns };
        let text = format!("shard {shard} of {of} was lost: {}", lost.why);
        self.lost.push(lost.clone());
        events.push(MeetEvent::Lost { run: self.run.clone(), of, lost, on_lost });
        let is_over = self.members.values().all(|member| member.is_lost);
        if (on_lost == OnLost::Fail || is_over) && !self.is_ending() {
            self.fail(text, vec![shard], at, events);
        }
    }

    fn come_to_gates(&mut self, events: &mut Vec<MeetEvent>, boot_id: Option<&str>) {
        let gates = self.first.gates;
        let there = self.members.values().filter(|member| !member.is_lost);
        let come = there.clone().map(|member| match member.result {
            // It is through.
            Some(_) => gates,
            None => member.last.gate.min(gates),
        });
        let Some(gate) = come.min().filter(|gate| *gate > self.opening.map_or(self.gate, |(gate, _)| gate))
        else {
            return;
        };
        let is_here = |one: &&Member| boot_id.is_some() && one.join.client.boot_id.as_deref() == boot_id;
        let open = there.clone().map(|member| member.last.open).sum();
        let open_here = there.filter(is_here).map(|member| member.last.open).sum();
        self.opening = Some((gate, false));
        events.push(MeetEvent::AllAt { run: self.run.clone(), gate, gates, open, open_here });
    }

    /// Opens the gate of which was told that all are there.
    pub(super) fn open_what_was_told(&mut self, at: Moment) {
        if let Some((gate, _)) = self.opening.take_if(|(_, was_told)| *was_told) {
            self.gate = gate;
            if gate >= self.first.gates {
                self.waits_for_results_since.get_or_insert(at.mono);
            }
        }
    }

    /// What has happened is taken by the one who looks.
    pub(super) fn was_told(&mut self) {
        self.opening = self.opening.map(|(gate, _)| (gate, true));
    }

    /// Of one that was told to end no result is waited for any more.
    pub(super) fn wait_no_more(&mut self) {
        self.members.values_mut().for_each(|member| member.is_given_up = true);
    }

    /// Whether all who can still be told know that it has ended.
    pub(super) fn have_all_heard_its_end(&self, now: Duration) -> bool {
        self.members.values().all(|member| member.knows_the_end || member.is_lost || member.is_silent(now))
    }

    /// Ends it for all.
    pub(super) fn call_off(&mut self, why: String, at: Moment, events: &mut Vec<MeetEvent>) {
        if !self.is_ending() && self.ended.is_none() {
            self.fail(why, Vec::new(), at, events);
        }
    }

    fn fail(&mut self, why: String, shards: Vec<u32>, at: Moment, events: &mut Vec<MeetEvent>) {
        events.push(MeetEvent::Failed { run: self.run.clone(), why: why.clone() });
        self.stage = Stage::Failed(why, shards);
        self.waits_for_results_since = Some(at.mono);
    }

    /// Why a shard is lost; `None` where it is not.
    fn why_lost(&self, shard: u32) -> Option<&str> {
        self.lost.iter().find(|lost| lost.shard == shard).map(|lost| lost.why.as_str())
    }

    // Ending --------------------------------------------------------------------------------------------

    /// Those whose results are waited for.
    fn unfinished(&self) -> impl Iterator<Item = u32> {
        let waited_for = |member: &Member| !member.is_lost && !member.is_given_up && member.result.is_none();
        self.members.iter().filter(move |(_, member)| waited_for(member)).map(|(shard, _)| *shard)
    }

    fn end_where_all_is_there(&mut self, at: Moment, events: &mut Vec<MeetEvent>) {
        match self.stage {
            Stage::Going if self.unfinished().next().is_none() => self.stage = Stage::Over,
            Stage::Failed(..) if self.start_unix_ns.is_some() => {
                let is_late =
                    self.waits_for_results_since.is_some_and(|since| since + LAST_RESULTS <= at.mono);
                let members = self.members.iter_mut();
                members
                    .filter(|(_, member)| is_late || member.is_silent(at.mono))
                    .for_each(|(_, member)| member.is_given_up = true);
                if self.unfinished().next().is_some() {
                    return;
                }
            }
            // Of one that never began nothing comes.
            Stage::Failed(..) | Stage::Over => {}
            _ => return,
        }
        self.ended = Some(at);
        events.push(MeetEvent::Ended(Box::new(self.account(at))));
    }

    fn account(&self, at: Moment) -> MeetingAccount {
        let shards = self.members.iter().map(|(shard, member)| member.account(*shard));
        MeetingAccount {
            run_id: self.run.clone(),
            meeting: self.id.clone(),
            of: self.first.of,
            build: self.first.build.clone(),
            on_lost: self.first.on_lost,
            opened_unix_ns: self.opened.unix_ns,
            start_unix_ns: self.start_unix_ns,
            ended_unix_ns: at.unix_ns,
            failed: self.failure().map(str::to_owned),
            shards: shards.collect(),
            lost: self.lost.clone(),
            results: self.results(),
        }
    }

    fn failure(&self) -> Option<&str> {
        match &self.stage {
            Stage::Failed(why, _) => Some(why),
            _ => None,
        }
    }

    /// Its end, for one who comes after it.
    pub(super) fn end_in_words(&self, now: Duration) -> Option<String> {
        let ago = now.saturating_sub(self.ended?.mono).as_secs();
        Some(match self.failure() {
            Some(why) => format!("an earlier try of this run failed {ago} s ago: {why}"),
            None => format!("a run of this name ended {ago} s ago"),
        })
    }

    // Telling -------------------------------------------------------------------------------------------

    /// How it stands for all.
    pub(super) fn state(&self, at: Moment) -> MeetState {
        match &self.stage {
            Stage::Gathering => MeetState::Waiting {
                missing: self.missing(),
                left_ms: self.until.saturating_sub(at.mono).as_millis() as u64,
            },
            Stage::Set(begins, at_unix_ns) => MeetState::Start {
                at_unix_ns: *at_unix_ns,
                in_ns: begins.saturating_sub(at.mono).as_nanos() as u64,
            },
            Stage::Going => MeetState::Going { gate: self.gate, lost: self.lost.clone() },
            Stage::Failed(why, shards) => MeetState::Failed { why: why.clone(), shards: shards.clone() },
            Stage::Over => MeetState::Over { lost: self.lost.clone() },
        }
    }

    /// How it stands for one attempt of one shard.
    fn state_for(&self, shard: u32, attempt: u32, at: Moment) -> MeetState {
        let of = self.first.of;
        let out = |why: String| MeetState::Out { why };
        match self.members.get(&shard) {
            Some(member) if member.attempt > attempt => out(format!(
                "attempt {} of shard {shard} of {of} has taken the place of this one",
                member.attempt
            )),
            Some(member) if member.is_lost => {
                let why = self.why_lost(shard).unwrap_or_default();
                out(format!("this shard, {shard} of {of}, was taken for lost: {why}"))
            }
            Some(member) if member.attempt == attempt => self.state(at),
            // Its place was given up; where it has failed that is what there is to know.
            _ if matches!(self.stage, Stage::Failed(..)) => self.state(at),
            _ => out(format!(
                "shard {shard} of {of} was not heard for {} s, and lost its place",
                SILENCE.as_secs()
            )),
        }
    }
}
