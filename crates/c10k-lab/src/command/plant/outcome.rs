//! What came of a plant: as data, and for people.

use c10k_ceiling::predict_rate;
use c10k_plan::view::plan_view;
use c10k_record::{Ceiling, Predicted, Record, Setting, counted, human_count};
use serde::Serialize;

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// Planted into the same run.
    pub(super) with: Option<String>,
    /// The first wall that the limits predicted; what is no number of connections is not predicted.
    pub(super) predicted: Option<Predicted>,
    /// How fast connections can be made, where a limit says it.
    pub(super) predicted_rate: Option<PredictedRate>,
    pub(super) ceiling: Option<Ceiling>,
    /// Whether the diagnosis names what was planted.
    pub(super) named: bool,
    /// Whether it names nothing else.
    pub(super) only: bool,
    /// Whether it names just that, in the order in which it bites.
    pub(super) in_order: bool,
    pub(super) lifted: Option<Lifted>,
}

/// A wall that bounds a rate.
#[derive(Debug, Serialize)]
pub(super) struct PredictedRate {
    pub(super) wall: String,
    pub(super) connections_per_second: u64,
    pub(super) uncertainty_percent: u8,
    /// Of what it is reckoned.
    pub(super) now: String,
}

/// The second run.
#[derive(Debug, Serialize)]
pub(super) struct Lifted {
    /// The settings of the wall's remedy that were applied; empty where none lifts it.
    pub(super) settings: Vec<Setting>,
    /// What was done, in words.
    pub(super) applied: String,
    pub(super) held: u64,
    pub(super) target: u64,
    /// The walls that this run names; none, when it is healthy.
    pub(super) walls: Vec<String>,
}

/// For people.
pub(super) fn page(outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    let planted = outcome.with.iter().fold(outcome.name.clone(), |all, with| format!("{all} and {with}"));
    lines.push(format!("planted    {planted}"));
    let rate = outcome.predicted_rate.as_ref();
    lines.extend(rate.map(|rate| {
        let PredictedRate { wall, connections_per_second, uncertainty_percent, now } = rate;
        format!(
            "predicted  {} a second, {wall} (± {uncertainty_percent} %: {now})",
            counted(*connections_per_second, "connection")
        )
    }));
    lines.push(match &outcome.predicted {
        Some(first) => format!("predicted  {}, {}", counted(first.connections, "connection"), first.wall),
        None => "predicted  nothing: no limit that is known before a run".to_owned(),
    });
    match &outcome.ceiling {
        None => lines.push("named      nothing: the run reached its target".to_owned()),
        Some(ceiling) => {
            let names: Vec<&str> = ceiling.walls.iter().map(|found| found.name.as_str()).collect();
            let names = if names.is_empty() { ceiling.wall.clone() } else { names.join(", ") };
            lines.push(format!("named      {names}, {} held", counted(ceiling.connections, "connection")));
            for evidence in ceiling.walls.iter().flat_map(|found| &found.evidence) {
                lines.push(format!("           {}: {}", evidence.source, evidence.text));
            }
            if let Some(remedy) = &ceiling.remedy {
                lines.push(format!("remedy     {}", remedy.summary));
                lines.extend(remedy.commands.iter().map(|command| format!("           {command}")));
            }
        }
    }
    lines.push(match &outcome.lifted {
        Some(lifted) => {
            let (held, target) = (human_count(lifted.held), human_count(lifted.target));
            format!("lifted     {}: {held} of {target} held", lifted.applied)
        }
        None => "lifted     not tried".to_owned(),
    });
    lines.join("\n")
}

/// From the limits at the start of the run.
pub(super) fn predicted_rate(record: &Record) -> Option<PredictedRate> {
    let limits = &record.host.as_ref()?.limits;
    let rate = predict_rate(limits, &plan_view(record.plan.as_ref()?, limits))?;
    Some(PredictedRate {
        wall: rate.wall,
        connections_per_second: rate.connections_per_second,
        uncertainty_percent: rate.uncertainty_percent,
        now: rate.now,
    })
}
