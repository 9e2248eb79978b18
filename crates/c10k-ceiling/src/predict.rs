//! Which wall stands first, before any load.

use c10k_record::{HostSnapshot, Predicted, Remedy};
use serde::{Deserialize, Serialize};

use crate::plan_view::PlanView;
use crate::wall::Wall;
use crate::walls::{LINK_UNCERTAINTY, link_rate, wall, walls};

/// One wall under a plan, with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// Its name.
    pub wall: String,
    /// How many connections it allows.
    pub connections: u64,
    /// The setting and what it is now.
    pub now: String,
    /// What lifts it.
    pub lift: Remedy,
    /// How far the number may be off either way, percent; 0 where it is a count.
    pub uncertainty_percent: u8,
}

/// One wall that bounds how fast connections are made, and not how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePrediction {
    /// Its name.
    pub wall: String,
    /// Connections a second that it lets through.
    pub connections_per_second: u64,
    /// The setting and what it is now.
    pub now: String,
    /// What lifts it.
    pub lift: Remedy,
    /// How far the number may be off either way, percent.
    pub uncertainty_percent: u8,
}

/// How fast connections of this plan can be made, as far as limits say it; `None` where none is known. What processor
/// time says is a calibration's.
#[must_use]
pub fn predict_rate(host: &HostSnapshot, plan: &PlanView) -> Option<RatePrediction> {
    let bandwidth = wall("bandwidth")?;
    let (connections_per_second, now) = link_rate(host, plan)?;
    Some(RatePrediction {
        wall: bandwidth.name.to_owned(),
        connections_per_second,
        now,
        lift: (bandwidth.lift)(host, plan),
        uncertainty_percent: LINK_UNCERTAINTY,
    })
}

/// The walls of this host under this plan, the one that bites first in front. A limit that could not be read
/// is not in the list.
#[must_use]
pub fn predict(host: &HostSnapshot, plan: &PlanView) -> Vec<Prediction> {
    let mut predictions: Vec<Prediction> = walls().filter_map(|wall| predicted(wall, host, plan)).collect();
    predictions.sort_by_key(|prediction| prediction.connections);
    predictions
}

/// What one wall allows.
pub(crate) fn predicted(wall: &Wall, host: &HostSnapshot, plan: &PlanView) -> Option<Prediction> {
    let forecast = (wall.predict)(host, plan)?;
    Some(Prediction {
        wall: wall.name.to_owned(),
        connections: forecast.connections,
        now: forecast.now,
        lift: (wall.lift)(host, plan),
        uncertainty_percent: forecast.uncertainty_percent,
    })
}

/// The first wall and its number; `None` where no limit could be read.
#[must_use]
pub fn predicted_ceiling(host: &HostSnapshot, plan: &PlanView) -> Option<Predicted> {
    first_above(&predict(host, plan), None)
}

/// The first of these walls, the lowest of which stands in front, above so many connections; `None` where no limit is known to
/// lie there.
#[must_use]
pub fn first_above(predictions: &[Prediction], above: Option<u64>) -> Option<Predicted> {
    let lies_above = |prediction: &&Prediction| Some(prediction.connections) > above;
    predictions.iter().find(lies_above).map(|first| Predicted {
        connections: first.connections,
        wall: first.wall.clone(),
        uncertainty_percent: first.uncertainty_percent,
    })
}
