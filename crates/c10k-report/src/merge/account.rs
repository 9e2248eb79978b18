//! The server's end: what it counted itself, against the sum of what the shards say.

use std::path::Path;

use c10k_record::{Record, RunState, SERVER_ACCOUNT, ServerReport, Warning, human_count};
use serde_json::Value;

use super::fault::Fault;
use super::set::Set;

/// What the server's end says of a run.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The server's last word.
    report: Option<ServerReport>,
    /// Connections open at the server when all shards had proven theirs and none had begun to close.
    open_when_proven: Option<u64>,
    /// Shards that were lost, as seen from there, and why.
    lost: Vec<(u32, String)>,
    /// Why the run ended for all before its end.
    failed: Option<String>,
}

/// Reads the server's account of this run from the folder of its results: that of a meeting, or the document of
/// `c10k-server --json` alone.
///
/// # Errors
/// [`Fault::Account`] where it cannot be read, or is of another run.
pub(crate) fn read(folder: &Path, set: &Set) -> Result<Option<Account>, Fault> {
    let path = folder.join(SERVER_ACCOUNT);
    let fault = |why: String| Fault::Account { path: path.clone(), why };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(format!("it cannot be read: {error}"))),
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| fault(format!("it is no account of a server: {error}")))?;
    if let Some(other) = value["run_id"].as_str().filter(|run_id| *run_id != set.run_id) {
        return Err(fault(format!("it is of the run '{other}', and the results are of '{}'", set.run_id)));
    }
    if let Some(other) = value["of"].as_u64().filter(|of| *of != u64::from(set.of)) {
        return Err(fault(format!("it is of {other} shards, and the results are of {}", set.of)));
    }
    let meeting = set.entries.iter().find_map(|entry| entry.result.meeting.as_deref());
    if let (Some(other), Some(own)) = (value["meeting"].as_str(), meeting)
        && other != own
    {
        return Err(fault(format!("it is of the meeting {other}, and the shards met at {own}")));
    }
    let account = Account {
        report: report(&value),
        open_when_proven: open_when_proven(&value),
        lost: lost(&value),
        failed: value["failed"].as_str().map(str::to_owned),
    };
    if account.report.is_none() && value.get("run_id").is_none() {
        return Err(fault("it is no account of a server: expected the counts of one".to_owned()));
    }
    Ok(Some(account))
}

/// The last report in it.
fn report(value: &Value) -> Option<ServerReport> {
    // At the start nothing has come yet.
    let looks = value["looks"].as_array().into_iter().flatten().rev().filter(|look| look["at"] != "start");
    let looks = looks.map(|look| &look["look"]["report"]);
    let places = [&value["server"]["report"], &value["report"], value].into_iter().chain(looks);
    places
        .filter(|place| place.get("accepted").is_some())
        .find_map(|place| serde_json::from_value(place.clone()).ok())
}

fn open_when_proven(value: &Value) -> Option<u64> {
    let mut looks = value["looks"].as_array()?.iter();
    looks.find(|look| look["at"] == "all-proven")?["look"]["report"]["open"].as_u64()
}

fn lost(value: &Value) -> Vec<(u32, String)> {
    let told = |lost: &Value| {
        let shard = u32::try_from(lost["shard"].as_u64()?).ok()?;
        Some((shard, lost["why"].as_str()?.to_owned()))
    };
    value["lost"].as_array().into_iter().flatten().filter_map(told).collect()
}

impl Account {
    /// Whether the others were told that this shard is lost.
    pub(crate) fn has_lost(&self, shard: u32) -> bool {
        self.lost.iter().any(|(lost, _)| *lost == shard)
    }

    /// Holds the sum of the shards against it.
    pub(crate) fn note(self, record: &mut Record) {
        self.note_lost(record);
        if let Some(why) = self.failed.filter(|_| record.state != RunState::Complete) {
            record.ended_because = Some(why);
        }
        if self.report.is_none() {
            let text = "the server's account has no counts of after the beginning: accepted and ghosts are not known";
            record.warnings.push(Warning::new("ghosts-unknown", text));
        }
        let (held, established) = (record.connections.held, record.connections.established);
        if let Some(report) = &self.report {
            let c = &mut record.connections;
            c.accepted = Some(report.accepted);
            c.settle_ghosts();
            if report.accepted > established {
                let text = format!(
                    "ghosts are not known: the server accepted {}, and the shards that left a result established {}",
                    human_count(report.accepted),
                    human_count(established)
                );
                record.warnings.push(Warning::new("ghosts-unknown", text));
            }
        }
        let most = self.open_when_proven.or(self.report.as_ref().map(|report| report.peak));
        if let Some(most) = most.filter(|most| *most < held) {
            // Somebody counts wrong: this is no result.
            record.state = RunState::Broken;
            record.ended_because = Some(format!(
                "the shards say that they held {}, and the server never had more than {} open at that time",
                human_count(held),
                human_count(most)
            ));
        }
        if let Some(open) = self.open_when_proven.filter(|open| *open > held) {
            let text = format!(
                "when all shards had proven their connections the server had {} open, {} more than they held",
                human_count(open),
                human_count(open - held)
            );
            record.warnings.push(Warning::new("server-count", text));
        }
        record.server = self.report;
    }

    /// What the server's end knows of the shards that are not counted.
    fn note_lost(&self, record: &mut Record) {
        let Some(shards) = &mut record.shards else { return };
        for lost in &mut shards.lost {
            if let Some((_, why)) = self.lost.iter().find(|(shard, _)| *shard == lost.shard) {
                lost.why = format!("{}; {why}", lost.why);
            }
        }
        record.ended_because = shards.lost_in_words();
    }
}
