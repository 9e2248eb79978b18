//! What came of the settings: kept with a proof, tried in vain, not tried.

use c10k_report::stats::{Answer, Found};
use serde::{Deserialize, Serialize};

use super::lift::Lift;
use crate::command::sweep::made::Made;

/// A setting that helped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) lift: Lift,
    pub(super) proof: Proof,
}

/// What proves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) metric: String,
    /// The answer in words: the ratio, its interval, the pairs.
    pub(super) words: String,
    /// With ÷ without: the median of the pairs, and the ends of its interval; `None` where there is no ratio.
    pub(super) ratio: Option<[f64; 3]>,
    pub(super) pairs: u32,
    /// What an earlier sweep of the same setting said; `None` for what is counted, which needs one.
    pub(super) before: Option<String>,
    /// When the sweep ended, RFC 3339, UTC.
    pub(super) at: String,
    /// `uname -r`.
    pub(super) kernel: String,
    /// The sweep's folder, from that of the tuning.
    pub(super) sweep: String,
}

/// A setting that was tried and is not kept, or not tried at all, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) lift: Lift,
    pub(super) why: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) kept: Vec<Kept>,
    /// Tried, and of no use.
    pub(super) tried: Vec<LeftOut>,
    pub(super) not_tried: Vec<LeftOut>,
}

impl Outcome {
    /// The settings that are kept.
    pub(super) fn lifts(&self) -> Vec<Lift> {
        self.kept.iter().map(|kept| kept.lift.clone()).collect()
    }

    /// Whether a setting is settled: kept, or left out with this value.
    pub(super) fn knows(&self, lift: &Lift) -> bool {
        let is_left_out = |left: &LeftOut| left.lift.key == lift.key && left.lift.value == lift.value;
        self.kept.iter().any(|kept| kept.lift.key == lift.key)
            || self.tried.iter().chain(&self.not_tried).any(is_left_out)
    }

    /// Keeps a setting; an earlier value of the same one goes.
    pub(super) fn keep(&mut self, lift: &Lift, proof: Proof) {
        self.kept.retain(|kept| kept.lift.key != lift.key);
        self.kept.push(Kept { lift: lift.clone(), proof });
    }

    pub(super) fn leave_out(&mut self, lift: &Lift, why: impl Into<String>) {
        self.tried.push(LeftOut { lift: lift.clone(), why: why.into() });
    }

    /// What was asked for alone and never came up is told too.
    pub(super) fn note_unmet(&mut self, only: &[String]) {
        for key in only {
            let all = self.tried.iter().chain(&self.not_tried).map(|left| &left.lift);
            if self.kept.iter().map(|kept| &kept.lift).chain(all).all(|lift| lift.key != *key) {
                let why = "no wall that was met asks for it, and the workload does not";
                self.do_not_try(Lift::new(key, "", "--only"), why);
            }
        }
    }

    pub(super) fn do_not_try(&mut self, lift: Lift, why: impl Into<String>) {
        if !self.not_tried.iter().any(|left| left.lift == lift) {
            self.not_tried.push(LeftOut { lift, why: why.into() });
        }
    }
}

impl Proof {
    /// Of an answer of a sweep.
    pub(super) fn of(made: &Made, metric: &str, answer: &Answer, before: Option<String>) -> Self {
        let name = made.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let above = made.folder.parent().and_then(|path| path.file_name());
        let above = above.map(|name| name.to_string_lossy().into_owned());
        Self {
            metric: metric.to_owned(),
            words: answer.words(),
            ratio: answer.ratio.map(|ratio| [ratio.median, ratio.low, ratio.high]),
            pairs: made.pairs(),
            before,
            at: made.ended_at().to_owned(),
            kernel: made.kernel().to_owned(),
            sweep: [above, name].into_iter().flatten().collect::<Vec<_>>().join("/"),
        }
    }

    /// In a line, for a comment.
    pub(super) fn line(&self) -> String {
        let before =
            self.before.as_ref().map_or_else(String::new, |before| format!("; before that: {before}"));
        let date = self.at.split('T').next().unwrap_or_default();
        let pairs = if self.pairs == 1 { "1 pair".to_owned() } else { format!("{} pairs", self.pairs) };
        format!("{}: {}{before} ({pairs}, {date}, Linux {})", self.metric, self.words, self.kernel)
    }
}

/// Whether a metric of a side is better than that of the base, by more than the base differs from itself.
pub(super) fn is_better(made: &Made, side: usize, metric: &str) -> bool {
    if control_moved(made, metric) {
        return false;
    }
    let Some(answer) = made.of(side, metric).filter(|answer| answer.found == Found::Better) else {
        return false;
    };
    let (Some(ratio), Some(same)) = (answer.ratio, made.same(metric).and_then(|same| same.ratio)) else {
        // From or to nothing there is no ratio.
        return true;
    };
    ratio.median.ln().abs() > same.median.ln().abs()
}

/// Whether the setting that must not matter seems to: then the machine drifts, and nothing of that metric is proven.
pub(super) fn control_moved(made: &Made, metric: &str) -> bool {
    let control = made.side(&Lift::control().name());
    control.and_then(|side| made.of(side, metric)).is_some_and(Answer::is_real)
}

/// Whether a metric of a side is really worse than that of another.
pub(super) fn is_worse(made: &Made, side: usize, than: usize, metric: &str) -> bool {
    made.against(than, side, metric).is_some_and(|answer| answer.found == Found::Worse)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn lift(key: &str, value: &str) -> Lift {
        Lift { key: key.to_owned(), value: value.to_owned(), named_by: "x".to_owned() }
    }

    pub(in crate::command::tune) fn proof() -> Proof {
        Proof {
            metric: "held".to_owned(),
            words: "500 → 3000, 6.00×, one run each: better".to_owned(),
            ratio: Some([6.0, 6.0, 6.0]),
            pairs: 1,
            before: None,
            at: "2026-11-29T22:00:00Z".to_owned(),
            kernel: "6.18.1".to_owned(),
            sweep: "count-1/x".to_owned(),
        }
    }

    #[test]
    fn a_setting_is_kept_once_and_a_greater_value_takes_its_place() {
        let mut outcome = Outcome::default();
        outcome.keep(&lift("limits.nofile", "500"), proof());
        outcome.keep(&lift("limits.nofile", "5000"), proof());
        assert_eq!(outcome.lifts(), [lift("limits.nofile", "5000")]);
        assert!(outcome.knows(&lift("limits.nofile", "9")), "kept with another value");
        outcome.leave_out(&lift("net.core.somaxconn", "9"), "no difference seen");
        assert!(outcome.knows(&lift("net.core.somaxconn", "9")));
        assert!(!outcome.knows(&lift("net.core.somaxconn", "10")), "with another value it may help");
    }

    #[test]
    fn what_is_not_tried_is_listed_once() {
        let mut outcome = Outcome::default();
        for _ in 0..2 {
            outcome.do_not_try(lift("fs.file-max", "9"), "root alone");
        }
        assert_eq!(outcome.not_tried.len(), 1);
    }

    #[test]
    fn a_proof_is_a_line_with_pairs_date_and_kernel() {
        assert_eq!(
            proof().line(),
            "held: 500 → 3000, 6.00×, one run each: better (1 pair, 2026-11-29, Linux 6.18.1)"
        );
        let measured = Proof { pairs: 6, before: Some("1.4× faster".to_owned()), ..proof() };
        assert!(
            measured.line().contains("better; before that: 1.4× faster (6 pairs, "),
            "{}",
            measured.line()
        );
    }
}
