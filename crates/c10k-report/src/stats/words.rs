//! An answer in words.

use c10k_record::{Better, number};

use super::answer::{Answer, Doubt, Found, Ratio, Test};
use super::asked::{FEWEST_PAIRS, Wording};

impl Answer {
    /// The verdict in a line: "1.12× faster, 1.09–1.15, 12 of 12 pairs", "no difference seen: would have seen 3 %",
    /// "unproven: the machine drifted (…)", "one run each: no claim".
    #[must_use]
    pub fn words(&self) -> String {
        match &self.found {
            Found::Better | Found::Worse => self.difference(),
            Found::NoDifference => self.no_difference(),
            Found::NoClaim => self.no_claim(),
            Found::Unproven(doubts) => {
                let reasons: Vec<String> = doubts.iter().map(Doubt::words).collect();
                format!("unproven: {}", reasons.join("; "))
            }
        }
    }

    /// How far pairs of one and the same setting lie apart, in a line.
    #[must_use]
    pub fn spread_words(&self) -> String {
        let pairs = counted(self.runs[0], "pair");
        match self.ratio {
            None => format!("no ratio in {pairs}"),
            Some(ratio) => {
                let [least, most, median] = decimals([ratio.least, ratio.most, ratio.median]);
                format!("{least}–{most} in {pairs}, median {median}")
            }
        }
    }

    fn difference(&self) -> String {
        let how_sure = match self.test {
            Test::Exact => return self.exact_difference(),
            Test::Sign { up, down, .. } => format!("{} of {}", up.max(down), counted(self.runs[0], "pair")),
            Test::MannWhitney { .. } | Test::None => {
                format!("{} against {}", counted(self.runs[0], "run"), self.runs[1])
            }
        };
        match self.ratio {
            Some(ratio) => {
                let (said, [_, low, high]) = self.said(&ratio);
                format!("{said}, {low}–{high}, {how_sure}{}", self.judgement())
            }
            None => format!("{}, {how_sure}{}", self.medians_in_words(), self.judgement()),
        }
    }

    fn exact_difference(&self) -> String {
        let ratio =
            self.ratio.map_or_else(String::new, |ratio| format!(", {}×", decimals([ratio.median])[0]));
        let runs = if self.runs == [1, 1] { "one run each" } else { "the same in each run" };
        format!("{}{ratio}, {runs}{}", self.medians_in_words(), self.judgement())
    }

    /// What "more" or "less" of an amount is; of speed the word itself says it.
    fn judgement(&self) -> &'static str {
        let is_plain =
            self.asked.wording == Wording::Speed && self.ratio.is_some() && self.test != Test::Exact;
        match self.found {
            _ if is_plain => "",
            Found::Better => ": better",
            _ => ": worse",
        }
    }

    fn medians_in_words(&self) -> String {
        let [a, b] = self.medians.unwrap_or_default();
        format!("{} → {}", number(Some(a)), number(Some(b)))
    }

    /// The ratio as it is said, and the numbers in it: the ratio, and the ends of its interval.
    fn said(&self, ratio: &Ratio) -> (String, [String; 3]) {
        let numbers = |ratio: &Ratio| decimals([ratio.median, ratio.low, ratio.high]);
        if self.asked.wording == Wording::Amount {
            let numbers = numbers(ratio);
            return (format!("{}× as much", numbers[0]), numbers);
        }
        let faster = if self.asked.better == Better::More { *ratio } else { ratio.inverse() };
        let (shown, word) =
            if faster.median >= 1.0 { (faster, "faster") } else { (faster.inverse(), "slower") };
        let numbers = numbers(&shown);
        (format!("{}× {word}", numbers[0]), numbers)
    }

    fn no_difference(&self) -> String {
        if self.test == Test::Exact {
            let [a, _] = self.medians.unwrap_or_default();
            return format!("no difference: {} in each run", number(Some(a)));
        }
        if self.ratio.is_some_and(|ratio| ratio.least == 1.0 && ratio.most == 1.0) {
            let what = if matches!(self.test, Test::Sign { .. }) { "pair" } else { "run" };
            return format!("no difference: the same in each {what}");
        }
        match self.would_have_seen_ratio {
            Some(ratio) => format!("no difference seen: would have seen {}", percent(ratio)),
            None => "no difference seen".to_owned(),
        }
    }

    fn no_claim(&self) -> String {
        let missing = match self.runs {
            [0, 0] => Some("not measured"),
            [0, _] => Some("not measured in A"),
            [_, 0] => Some("not measured in B"),
            _ => None,
        };
        if let Some(missing) = missing {
            return missing.to_owned();
        }
        if self.runs == [1, 1] {
            return "one run each: no claim".to_owned();
        }
        let is_paired = matches!(self.test, Test::Sign { .. });
        let of = if is_paired {
            counted(self.runs[0], "pair")
        } else {
            format!("{} against {}", counted(self.runs[0], "run"), self.runs[1])
        };
        format!("{of}: no claim under {FEWEST_PAIRS}")
    }
}

impl Doubt {
    fn words(&self) -> String {
        let by = |ratio: &Option<f64>| {
            ratio.map_or_else(String::new, |ratio| format!(" by {}×", decimals([ratio])[0]))
        };
        match self {
            Self::ControlMoved { control, ratio } => {
                format!("the machine drifted ({control} moved{})", by(ratio))
            }
            Self::ControlUnknown { control } => {
                format!("whether the machine drifted is not known ({control} was not measured)")
            }
            Self::SameDiffered { ratio } => format!("A against itself differs{}", by(ratio)),
            Self::OneOrder => "the same side ran first in every pair".to_owned(),
        }
    }
}

/// "1 pair", "12 pairs".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Ratios with as many decimals, two to four, as tell them from 1 and the least from the most; none from 100 on.
fn decimals<const N: usize>(ratios: [f64; N]) -> [String; N] {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let distances = ratios.iter().map(|ratio| (ratio - 1.0).abs()).chain([most - least]);
    // What is no distance but an error of rounding is no reason for decimals.
    let closest = distances.filter(|distance| *distance > 1e-9).fold(f64::INFINITY, f64::min);
    let places = if closest >= 0.01 {
        2
    } else if closest >= 0.001 {
        3
    } else {
        4
    };
    ratios.map(|ratio| if ratio < 100.0 { format!("{ratio:.places$}") } else { number(Some(ratio)) })
}

/// A change in percent, to two digits.
fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let places = if percent >= 9.95 {
        0
    } else if percent >= 0.995 {
        1
    } else {
        2
    };
    let shown = format!("{percent:.places$}");
    let shown = if shown.contains('.') { shown.trim_end_matches('0').trim_end_matches('.') } else { &shown };
    if shown == "0" { "any".to_owned() } else { format!("{shown} %") }
}
