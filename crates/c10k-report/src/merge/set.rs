//! The results in a folder: which of them are one run, and whether they belong together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use c10k_record::shard::{ShardResult, common};
use c10k_record::{Plan, Warning, read_shard_result, shard_files};
use serde_json::Value;

use super::fault::Fault;

/// Names of other files that are told where there is no result.
const MOST_NAMES: usize = 5;

/// A result, and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) result: ShardResult,
    /// The others were told that it is lost, whatever it did afterwards.
    pub(crate) is_lost: bool,
}

impl Entry {
    pub(crate) fn index(&self) -> u32 {
        self.result.shard.index()
    }

    /// Whether it went its way to the end, so that what it holds counts.
    pub(crate) fn is_counted(&self) -> bool {
        !self.is_lost && self.came_to_its_end()
    }

    /// Whether it did what it was asked for, alone or with the others.
    pub(crate) fn came_to_its_end(&self) -> bool {
        self.result.end.came_to_its_end() && self.result.record.is_some()
    }

    fn process(&self) -> String {
        format!("process {} on {}", self.result.host.pid, self.result.host.name)
    }
}

/// The results of one attempt at one run, in the order of the shards.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) run_id: String,
    /// Into how many shards it was divided.
    pub(crate) of: u32,
    pub(crate) attempt: u32,
    pub(crate) entries: Vec<Entry>,
    /// The plan of the whole run.
    pub(crate) plan: Plan,
    pub(crate) warnings: Vec<Warning>,
}

impl Set {
    /// The shards that left no result.
    pub(crate) fn missing(&self) -> Vec<u32> {
        (1..=self.of).filter(|index| self.entries.iter().all(|entry| entry.index() != *index)).collect()
    }
}

/// Which results are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Of this run; `None` = of the one that there is.
    pub run_id: Option<&'a str>,
    /// Of whatever builds.
    pub any_build: bool,
}

/// Reads the results in a folder, and chooses and checks those of one attempt at one run.
///
/// # Errors
/// [`Fault`], which names what does not belong together.
pub(crate) fn gather(folder: &Path, wanted: Wanted<'_>) -> Result<Set, Fault> {
    let entries = of_run(folder, read(folder)?, wanted.run_id)?;
    let first = &entries[0];
    let (run_id, of) = (first.result.run_id.clone(), first.result.shard.count());
    if let Some(other) = entries.iter().find(|entry| entry.result.shard.count() != of) {
        return Err(Fault::OtherNumber {
            one: first.path.clone(),
            of_one: of,
            other: other.path.clone(),
            of_other: other.result.shard.count(),
        });
    }
    let mut warnings = Vec::new();
    let (attempt, entries) = choose(entries, of, &mut warnings)?;
    if !wanted.any_build {
        refuse_two_builds(&entries)?;
    } else if let Err(fault) = refuse_two_builds(&entries) {
        warnings.push(Warning::new("other-build", fault.to_string()));
    }
    let plan = one_plan(&entries)?;
    Ok(Set { run_id, of, attempt, entries, plan, warnings })
}

fn read(folder: &Path) -> Result<Vec<Entry>, Fault> {
    let files = shard_files(folder).map_err(Fault::Folder)?;
    if files.is_empty() {
        let names = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.truncate(MOST_NAMES);
        return Err(Fault::NoResult { path: folder.to_owned(), there: names });
    }
    let (mut entries, mut broken) = (Vec::new(), Vec::new());
    for path in files {
        match read_shard_result(&path) {
            Ok(result) => entries.push(Entry { path, result, is_lost: false }),
            Err(error) => broken.push(error),
        }
    }
    if broken.is_empty() { Ok(entries) } else { Err(Fault::Files(broken)) }
}

fn of_run(folder: &Path, entries: Vec<Entry>, wanted: Option<&str>) -> Result<Vec<Entry>, Fault> {
    let mut runs: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        runs.entry(entry.result.run_id.clone()).or_default().push(entry);
    }
    if let Some(asked) = wanted {
        return runs.remove(asked).ok_or_else(|| Fault::NoSuchRun {
            path: folder.to_owned(),
            asked: asked.to_owned(),
            there: runs.into_keys().collect(),
        });
    }
    if runs.len() > 1 {
        let told = |(run, entries): (&String, &Vec<Entry>)| {
            let files: Vec<String> = entries.iter().map(|entry| file_name(&entry.path)).collect();
            format!("'{run}' ({})", files.join(", "))
        };
        return Err(Fault::SeveralRuns { path: folder.to_owned(), runs: runs.iter().map(told).collect() });
    }
    Ok(runs.into_values().next().unwrap_or_default())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What results have to have in common to be of one attempt: where their shards met, or else the number of the attempt.
/// Of shards that met the numbers may differ: one may have been started again while the others waited.
type Common = (Option<String>, u32);

fn common_of(entry: &Entry) -> Common {
    let meeting = entry.result.meeting.clone();
    let attempt = if meeting.is_some() { 0 } else { entry.result.attempt };
    (meeting, attempt)
}

/// The attempt that counts: the last to which all shards belong; where there is none, that to which most do. What is not of
/// it is never added to it, and of shards that met at two places without one whole set nobody can tell which counts.
fn choose(entries: Vec<Entry>, of: u32, warnings: &mut Vec<Warning>) -> Result<(u32, Vec<Entry>), Fault> {
    let mut attempts: BTreeMap<Common, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        let attempt = attempts.entry(common_of(&entry)).or_default();
        if let Some(one) = attempt.iter().find(|one| one.index() == entry.index()) {
            return Err(Fault::Doubled {
                shard: entry.result.shard,
                attempt: entry.result.attempt,
                one: one.path.clone(),
                of_one: one.process(),
                of_other: entry.process(),
                other: entry.path,
            });
        }
        attempt.push(entry);
    }
    refuse_two_meetings(&attempts, of)?;
    let number = |entries: &[Entry]| entries.iter().map(|entry| entry.result.attempt).max().unwrap_or(1);
    let begun = |entries: &[Entry]| entries.iter().map(|entry| entry.result.started_unix_ns).max();
    // Of equally many the last.
    let chosen = attempts
        .iter()
        .max_by_key(|(_, entries)| (entries.len(), number(entries), begun(entries)))
        .map(|(common, _)| common.clone())
        .unwrap_or_default();
    let mut entries = attempts.remove(&chosen).unwrap_or_default();
    entries.sort_by_key(Entry::index);
    let attempt = number(&entries);
    for others in attempts.values() {
        let shards: Vec<String> = others.iter().map(|entry| entry.result.shard.to_string()).collect();
        let text = format!(
            "attempt {} left {} of {of} results ({}) and is not counted: attempt {attempt} is, and a shard that was started \
             again is no part of it",
            number(others),
            others.len(),
            shards.join(", ")
        );
        warnings.push(Warning::new("other-attempt", text));
    }
    Ok((attempt, entries))
}

/// Two runs of one name are told apart by where their shards met.
fn refuse_two_meetings(attempts: &BTreeMap<Common, Vec<Entry>>, of: u32) -> Result<(), Fault> {
    let is_whole = |entries: &Vec<Entry>| entries.len() as u64 == u64::from(of);
    let have_met = attempts.keys().any(|(meeting, _)| meeting.is_some());
    let mut all = attempts.iter().filter_map(|((meeting, _), entries)| Some((meeting, entries.first()?)));
    let (Some((at_one, one)), Some((at_other, other))) = (all.next(), all.next()) else { return Ok(()) };
    if !have_met || attempts.values().any(is_whole) {
        return Ok(());
    }
    let told = |meeting: &Option<String>| meeting.clone().unwrap_or_else(|| "none".to_owned());
    let meetings = format!("{} and {}", told(at_one), told(at_other));
    Err(Fault::OtherMeeting { one: one.path.clone(), other: other.path.clone(), meetings })
}

fn refuse_two_builds(entries: &[Entry]) -> Result<(), Fault> {
    let one = &entries[0];
    match entries.iter().find(|other| !one.result.build.is_like(&other.result.build)) {
        Some(other) => Err(Fault::OtherBuild {
            one: one.path.clone(),
            of_one: one.result.build.to_string(),
            other: other.path.clone(),
            of_other: other.result.build.to_string(),
        }),
        None => Ok(()),
    }
}

/// The plan that all have carried out.
fn one_plan(entries: &[Entry]) -> Result<Plan, Fault> {
    let mut plans = entries.iter().filter_map(|entry| Some((entry, entry.result.plan.as_ref()?)));
    let Some((one, plan)) = plans.next() else {
        let why = |entry: &Entry| {
            let why = entry.result.end.why.as_deref().unwrap_or("nothing is known of it");
            format!("shard {}: {why}", entry.result.shard)
        };
        return Err(Fault::NobodyBegan(entries.iter().map(why).collect()));
    };
    let in_common =
        |entry: &Entry, plan: &Plan| serde_json::to_value(common(plan, entry.result.ips)).unwrap_or_default();
    let expected = in_common(one, plan);
    for (other, its) in plans {
        if let Some(difference) = difference("", &expected, &in_common(other, its)) {
            return Err(Fault::OtherPlan { one: one.path.clone(), other: other.path.clone(), difference });
        }
    }
    Ok(plan.clone())
}

/// What differs first of two values, in words; `None` where nothing does.
fn difference(name: &str, one: &Value, other: &Value) -> Option<String> {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match (one, other) {
        (Value::Object(first), Value::Object(second)) => {
            let mut keys: Vec<&String> = first.keys().chain(second.keys()).collect();
            keys.sort();
            keys.dedup();
            let of =
                |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or_default();
            keys.into_iter().find_map(|key| difference(&below(key), &of(first, key), &of(second, key)))
        }
        (one, other) if one == other => None,
        (one, other) => Some(format!("{name} is {one} in one and {other} in the other")),
    }
}
