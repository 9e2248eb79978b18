//! Shards that meet at the control port: what is said of them, what the far end looks at for them, and the folder that
//! is left of each meeting, which `c10k-lab merge` reads.

use std::path::{Path, PathBuf};

use c10k_kernel::files;
use c10k_record::control::meet::{MeetEvent, MeetingAccount, Meetings, Moment, OnLost, shards_in_words};
use c10k_record::control::path;
use c10k_record::serve::{Answer, Method, Request};
use c10k_record::write_meeting;
use serde::Serialize;

use super::end::{BY_SHARDS, FarEnd};
use super::routes::{At, Below};
use super::said::{Ended, Look, Mark, Moment as Kept};

/// Where the folders of meetings go when nothing else is said.
const RESULTS: &str = "results";
/// The name of the shape of what is written of a meeting.
const FORMAT: &str = "c10k-meeting/1";

/// What the far end saw at one moment.
#[derive(Debug, Serialize)]
struct LookAt {
    at: &'static str,
    look: Look,
}

/// The account of the server's box, [`c10k_record::SERVER_ACCOUNT`].
#[derive(Debug, Serialize)]
struct Account<'a> {
    format: &'static str,
    #[serde(flatten)]
    meeting: &'a MeetingAccount,
    looks: &'a [LookAt],
    server: Option<Ended>,
}

/// The meetings of this control port.
pub struct Meet {
    meetings: Meetings,
    /// Where the folders of meetings go.
    results: PathBuf,
    /// The run that the far end has begun for the meeting under way.
    run: Option<String>,
    looks: Vec<LookAt>,
    /// The process that was refused last.
    refused: Option<String>,
    /// The results of a meeting could not be written.
    has_failed: bool,
}

/// Where results of shards go: the folder that was named, or else one of ours. Of that it is only said, in a line for people,
/// that it cannot be written: perhaps no shards meet here.
///
/// # Errors
/// Why the one that was named cannot be written, and what mends it.
pub fn results(named: Option<&Path>) -> Result<(&Path, Option<String>), (String, &'static str)> {
    let results = named.unwrap_or(Path::new(RESULTS));
    match unwritable(results) {
        Some(why) if named.is_some() => Err((why, "name a folder that can be written with --results")),
        why => {
            let note = |why| {
                format!("note: {why}; shards that meet here would leave nothing: --results names another")
            };
            Ok((results, why.map(note)))
        }
    }
}

/// Why results could not be written into this folder, which need not be there yet; `None` where they could.
fn unwritable(results: &Path) -> Option<String> {
    let named = |path| if path == Path::new("") { Path::new(".") } else { path };
    let there = results.ancestors().map(named).find(|path| path.exists()).unwrap_or(Path::new("/"));
    let why = match there.is_dir() {
        true => files::may_write(there).err()?.to_string(),
        false => format!("'{}' is a file", there.display()),
    };
    Some(format!("results cannot be written into '{}': {why}", results.display()))
}

fn moment(at: At) -> Moment {
    Moment { mono: at.since, unix_ns: at.unix_ns }
}

impl Meet {
    /// None yet; what is left of each goes into a folder of its own below `results`.
    #[must_use]
    pub fn new(results: &Path, far: &FarEnd) -> Self {
        let boot_id = c10k_kernel::namespace::boot_id().ok();
        let meetings = Meetings::new(moment(At::now(far)), boot_id);
        Self {
            meetings,
            results: results.to_owned(),
            run: None,
            looks: Vec::new(),
            refused: None,
            has_failed: false,
        }
    }

    fn take_in(&mut self, event: MeetEvent, far: &mut FarEnd, at: At, said: &mut Vec<String>) {
        match event {
            MeetEvent::Came { run, shard, of, client, attempt, missing } => {
                let nth = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let missing = match missing.is_empty() {
                    true => "all are there".to_owned(),
                    false => format!("missing: {}", shards_in_words(&missing, of)),
                };
                let (host, pid) = (c10k_record::clean(&client.host), client.pid);
                said.push(format!(
                    "the run {run}: {} has come from host {host}, process {pid}{nth}; {missing}",
                    shards_in_words(&[shard], of)
                ));
            }
            MeetEvent::Left { run, shard, of } => {
                said.push(format!("the run {run}: {} is gone again", shards_in_words(&[shard], of)));
            }
            // One process may try again and again.
            MeetEvent::Refused { process, .. } if self.refused.as_ref() == Some(&process) => {}
            MeetEvent::Refused { run, process, why } => {
                said.push(format!("the run {run}: a shard was refused: {}", c10k_record::clean(&why)));
                self.refused = Some(process);
            }
            MeetEvent::AllThere { run, .. } => self.begin(&run, far, at, said),
            MeetEvent::Begun { run, of } => {
                said.push(format!("the run {run}: all {of} shards begin"));
                self.look("start", far);
            }
            MeetEvent::AllAt { gate, gates, open, open_here, .. } => {
                self.keep(gate, gates, open, open_here, far);
            }
            MeetEvent::Lost { run, of, lost, on_lost } => {
                let then = match on_lost {
                    OnLost::Fail => "the run ends",
                    OnLost::Degrade => "the others go on",
                };
                let (name, why) = (shards_in_words(&[lost.shard], of), c10k_record::clean(&lost.why));
                said.push(format!("the run {run}: {name} was lost: {why}; {then}"));
            }
            MeetEvent::Failed { run, why } => {
                said.push(format!("the run {run} has failed: {}", c10k_record::clean(&why)));
            }
            MeetEvent::Ended(account) => self.end(&account, far, said),
        }
    }

    /// All are there: the far end begins to count for them.
    fn begin(&mut self, run: &str, far: &mut FarEnd, at: At, said: &mut Vec<String>) {
        said.push(format!("the run {run}: all shards are there, and begin in a moment"));
        self.looks.clear();
        match far.begin_by(run, BY_SHARDS) {
            Ok(_) => self.run = Some(run.to_owned()),
            Err(refusal) => self.meetings.call_off(&refusal.why.error, moment(at)),
        }
    }

    fn look(&mut self, name: &'static str, far: &mut FarEnd) {
        let look = self.run.as_deref().and_then(|run| far.look(run).ok());
        self.looks.extend(look.map(|look| LookAt { at: name, look }));
    }

    /// All hold still at a gate: before the last two of them the far end looks closer.
    fn keep(&mut self, gate: u32, gates: u32, connections: u64, clients_here: u64, far: &mut FarEnd) {
        let Some(run) = self.run.clone() else { return };
        let (kept, name) = match gates.saturating_sub(gate) {
            0 => (Kept::Proof, "all-proven"),
            1 => (Kept::Hold, "all-hold"),
            _ => return,
        };
        if let Ok(marked) = far.mark(&run, &Mark { moment: kept, connections, clients_here, settle_ms: 0 }) {
            self.looks.push(LookAt { at: name, look: marked.look });
        }
    }

    fn end(&mut self, account: &MeetingAccount, far: &mut FarEnd, said: &mut Vec<String>) {
        let run = &account.run_id;
        self.look("end", far);
        let reason = account.failed.clone().unwrap_or_else(|| "done".to_owned());
        let ended = self.run.take().and_then(|run| far.end(&run, &c10k_record::clean(&reason)).ok());
        let looks = std::mem::take(&mut self.looks);
        if account.start_unix_ns.is_none() {
            return;
        }
        let came = account.results.len();
        let lost: Vec<u32> = account.lost.iter().map(|lost| lost.shard).collect();
        let lost = match lost.is_empty() {
            true => String::new(),
            false => format!(", {} lost", shards_in_words(&lost, account.of)),
        };
        let of = account.of;
        let document = Account { format: FORMAT, meeting: account, looks: &looks, server: ended };
        self.meetings.keep_account(&account.meeting, serde_json::to_value(&document).unwrap_or_default());
        let written = write_meeting(&self.results, account, &document);
        self.has_failed |= written.is_err();
        said.push(match written {
            Ok(folder) => format!(
                "the run {run}: {came} of {of} results{lost}; c10k-lab merge {} adds them up",
                folder.display()
            ),
            Err((folder, error)) => format!(
                "error: the results of the run {run} cannot be written into {}: {error}; the shards have theirs where \
                 --result says",
                folder.display()
            ),
        });
    }
}

impl Below for Meet {
    fn answer(&mut self, request: &Request<'_>, far: &mut FarEnd, at: At) -> Answer {
        let method = match request.method {
            Method::Post => "POST",
            // The path takes the method: that is known before.
            _ => "GET",
        };
        let another = far.running().filter(|running| self.run.as_deref() != Some(&running.run_id));
        self.meetings.be_busy(another.map(|it| format!("the run {} of {} is under way", it.run_id, it.by)));
        let below = request.path.strip_prefix(path::MEET).unwrap_or_default();
        match self.meetings.answer(method, below, request.body, moment(at)) {
            // By a shard that takes part.
            Ok(json) if method == "POST" => Answer::json_text(json).keeping_its_place(),
            Ok(json) => Answer::json_text(json),
            Err(no) => Answer::refused(no.status, &no.why),
        }
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn give_up(&mut self, by: &str, is_last: bool, at: At) -> bool {
        let why = format!("the host of this meeting was stopped: {by}");
        self.meetings.give_up(&why, is_last, moment(at))
    }

    fn tick(&mut self, far: &mut FarEnd, at: At) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(run) = &self.run {
            // Shards are heard here, and not by the lease; where it is gone somebody else has ended it.
            if far.renew(run).is_err() {
                self.run = None;
            }
        }
        for event in self.meetings.tick(moment(at)) {
            self.take_in(event, far, at, &mut said);
        }
        said
    }
}
