//! What the runs of a sweep say: of each side and metric, and of what its author expected.

use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::measure::Measure;
use c10k_plan::experiment::order::{Part, Slot};
use c10k_report::stats::{Answer, Doubt, Pair, PairSide, Test, paired};
use serde_json::{Value, json};

use super::read_back;
use super::state::{Done, State};

/// All that a sweep says.
pub(super) struct Answers {
    /// The base against itself, by the metric.
    pub(super) same: Vec<(Measure, Answer)>,
    /// Of each side its control; nothing where the sweep has none.
    pub(super) controls: Vec<(usize, Answer)>,
    pub(super) all: Vec<Answered>,
    pub(super) predictions: Vec<Predicted>,
}

/// One metric of one side.
pub(super) struct Answered {
    /// The side's number.
    pub(super) arm: usize,
    pub(super) measure: Measure,
    pub(super) answer: Answer,
}

/// Whether the author was right.
pub(super) struct Predicted {
    pub(super) arm: usize,
    /// As the author wrote it.
    pub(super) text: String,
    pub(super) is_met: bool,
}

impl Answers {
    /// What the runs that are done say.
    pub(super) fn of(sweep: &Sweep, state: &State) -> Self {
        let measures = sweep.measures();
        let same: Vec<(Measure, Answer)> = measures
            .iter()
            .map(|measure| {
                (*measure, paired(&pairs(state, Part::Same, (0, 1), *measure), measure.asked(state.seed)))
            })
            .collect();
        let mut answers = Self { same, controls: Vec::new(), all: Vec::new(), predictions: Vec::new() };
        for arm in 1..sweep.arms.len() {
            let of = |measure: Measure| {
                paired(&pairs(state, Part::Pairs, (0, arm), measure), measure.asked(state.seed))
            };
            let control = sweep.control.map(|control| (control, of(control)));
            let moved =
                control.as_ref().and_then(|(name, answer)| answer.doubt_as_control(&name.to_string()));
            answers.controls.extend(control.map(|(_, answer)| (arm, answer)));
            for measure in &sweep.metrics {
                let differed = answers.same_of(*measure).and_then(Answer::doubt_as_same);
                let answer = of(*measure);
                // A drift does not move what the kernel counts out.
                let is_certain = matches!(answer.test, Test::Exact);
                // The control itself is no doubt of its own.
                let moved = moved.clone().filter(|_| sweep.control != Some(*measure));
                let doubts: Vec<Doubt> = [moved, differed].into_iter().flatten().collect();
                let answer = if is_certain { answer } else { answer.under(&doubts) };
                answers.all.push(Answered { arm, measure: *measure, answer });
            }
        }
        answers.predictions = answers.predicted(sweep, state);
        answers
    }

    /// The base against itself.
    fn same_of(&self, measure: Measure) -> Option<&Answer> {
        self.same.iter().find(|(other, _)| *other == measure).map(|(_, answer)| answer)
    }

    fn predicted(&self, sweep: &Sweep, state: &State) -> Vec<Predicted> {
        let mut all = Vec::new();
        for prediction in &sweep.predictions {
            let expected = &prediction.expected;
            for arm in &prediction.arms {
                let values: Vec<Option<f64>> = values(state, *arm, expected.measure).collect();
                let answer = self.all.iter().find(|all| {
                    all.measure == expected.measure && (all.arm == *arm || expected.is_of_each_run())
                });
                let is_met = answer.is_some_and(|all| expected.is_met(&all.answer, &values));
                all.push(Predicted { arm: *arm, text: expected.text.clone(), is_met });
            }
        }
        all
    }

    /// Whether everything that was expected is so.
    pub(super) fn are_as_expected(&self) -> bool {
        self.predictions.iter().all(|predicted| predicted.is_met)
    }

    /// As a document.
    pub(super) fn json(&self, sweep: &Sweep, state: &State) -> Value {
        let label = |at: usize| sweep.arms.get(at).map(Arm::label);
        let params = |at: usize| -> Value {
            let settings = sweep.arms[at].settings.iter();
            settings
                .map(|setting| (setting.key.clone(), json!(setting.told)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let named = |measure: &Measure, answer: &Answer| {
            let mut document = answer.json();
            if let Some(map) = document.as_object_mut() {
                map.insert("metric".to_owned(), json!(measure.to_string()));
            }
            document
        };
        let with_side = |at: usize, mut document: Value| {
            if let Some(map) = document.as_object_mut() {
                map.insert("side".to_owned(), json!(label(at)));
                map.insert("params".to_owned(), params(at));
            }
            document
        };
        let controls = self
            .controls
            .iter()
            .filter_map(|(arm, answer)| Some(with_side(*arm, named(&sweep.control?, answer))));
        json!({
            "name": sweep.name,
            "title": sweep.title,
            "question": sweep.question,
            "believed": sweep.believed,
            "seed": state.seed,
            "started_at": state.started_at,
            "ended_at": state.ended_at,
            "host": state.host,
            "build": state.build,
            "runs": state.runs.len(),
            "broken": state.broken,
            "read_back": read_back::sources(sweep),
            "same": self.same.iter().map(|(measure, answer)| named(measure, answer)).collect::<Vec<_>>(),
            "controls": controls.collect::<Vec<_>>(),
            "answers": self.all.iter().map(|all| with_side(all.arm, named(&all.measure, &all.answer))).collect::<Vec<_>>(),
            "expected": self.predictions.iter().map(|predicted| json!({
                "side": label(predicted.arm), "that": predicted.text, "is_met": predicted.is_met,
            })).collect::<Vec<_>>(),
        })
    }
}

/// The values of one side in its rounds; nothing where a run measured none.
pub(super) fn values(state: &State, arm: usize, measure: Measure) -> impl Iterator<Item = Option<f64>> {
    let name = measure.to_string();
    let of_arm = move |slot: &Slot| slot.part == Part::Pairs && slot.side == arm;
    state.done().filter(move |(slot, _)| of_arm(slot)).map(move |(_, done)| value(done, &name))
}

fn value(done: &Done, name: &str) -> Option<f64> {
    done.values.get(name).copied().flatten()
}

/// The rounds in which both of two sides were measured; 0 is the base.
pub(super) fn pairs(state: &State, part: Part, (base, side): (usize, usize), measure: Measure) -> Vec<Pair> {
    let name = measure.to_string();
    let rounds = state.order.iter().filter(|slot| slot.part == part).map(|slot| slot.round + 1).max();
    let in_round = |round: u32, side: usize| {
        let mut all = state.done();
        all.find(|(slot, _)| slot.part == part && slot.round == round && slot.side == side)
    };
    let pair = |round: u32| {
        let ((base_slot, base), (slot, other)) = (in_round(round, base)?, in_round(round, side)?);
        let first = if base_slot.place < slot.place { PairSide::A } else { PairSide::B };
        Some(Pair::new(value(base, &name)?, value(other, &name)?, first))
    };
    (0..rounds.unwrap_or(0)).filter_map(pair).collect()
}

#[cfg(test)]
mod tests;
