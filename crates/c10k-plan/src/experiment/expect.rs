//! What the author of a sweep predicts, and whether it is so.

use c10k_record::{Better, Quantity};
use c10k_report::stats::{Answer, Found};

use super::measure::Measure;

/// A prediction about one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// What it is about.
    pub measure: Measure,
    that: That,
    /// As the author wrote it.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum That {
    /// Each run has a value that fits.
    Each(Fits, f64),
    /// No difference is seen, or none as large as so many percent.
    NoDifference(Option<f64>),
    /// It goes up, or down; by a number that the interval has in it, or by at least so many percent.
    Moves { up: bool, by: By },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fits {
    Exactly,
    AtLeast,
    AtMost,
    Above,
    Below,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Any,
    About(f64),
    AtLeast(f64),
}

const HELP: &str = "expected \"held = 100\", \"echo_p99: no difference\", \"connects_per_second: faster by 5 %\" or \
                    \"echo_p99: slower by at least 10 %\"";

impl Expected {
    /// Reads a prediction such as `connects_per_second: faster by 5 %`.
    pub fn read(text: &str) -> Result<Self, String> {
        let measured = |name: &str| {
            let name = name.trim();
            Measure::named(name).ok_or_else(|| format!("unknown metric `{name}` in '{text}'"))
        };
        if let Some((name, words)) = text.split_once(':') {
            let measure = measured(name)?;
            let that = in_words(words.trim(), measure.better()).ok_or_else(|| format!("'{text}': {HELP}"))?;
            return Ok(Self { measure, that, text: text.to_owned() });
        }
        let signs = [
            ("<=", Fits::AtMost),
            (">=", Fits::AtLeast),
            ("=", Fits::Exactly),
            ("<", Fits::Below),
            (">", Fits::Above),
        ];
        let found = signs.iter().find_map(|(sign, fits)| Some((text.split_once(sign)?, *fits)));
        let Some(((name, number), fits)) = found else { return Err(format!("'{text}': {HELP}")) };
        let number = number.trim();
        let read = number.parse::<Quantity>().map(|Quantity(count)| count as f64);
        let value = read.or_else(|_| number.parse::<f64>()).ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| format!("'{number}' is no number: {HELP}"))?;
        Ok(Self { measure: measured(name)?, that: That::Each(fits, value), text: text.to_owned() })
    }

    /// Whether it is about every single run, and needs no comparison.
    pub fn is_of_each_run(&self) -> bool {
        matches!(self.that, That::Each(..))
    }

    /// Whether it is so: by the answer, and by the value of each run.
    pub fn is_met(&self, answer: &Answer, values: &[Option<f64>]) -> bool {
        match &self.that {
            That::Each(fits, wanted) => {
                let fit = |value: &Option<f64>| value.is_some_and(|value| fits.holds(value, *wanted));
                !values.is_empty() && values.iter().all(fit)
            }
            That::NoDifference(None) => answer.found == Found::NoDifference,
            That::NoDifference(Some(percent)) => {
                let part = percent / 100.0;
                let within = |low: f64, high: f64| low >= 1.0 - part && high <= 1.0 + part;
                let is_known = !matches!(answer.found, Found::NoClaim | Found::Unproven(_));
                is_known
                    && match &answer.ratio {
                        Some(ratio) => within(ratio.low, ratio.high),
                        None => answer.found == Found::NoDifference,
                    }
            }
            That::Moves { up, by } => answer.is_real() && moved(answer, *up, *by),
        }
    }
}

impl Fits {
    fn holds(self, value: f64, wanted: f64) -> bool {
        match self {
            Self::Exactly => value == wanted,
            Self::AtLeast => value >= wanted,
            Self::AtMost => value <= wanted,
            Self::Above => value > wanted,
            Self::Below => value < wanted,
        }
    }
}

/// Whether a real difference has this direction and this size.
fn moved(answer: &Answer, up: bool, by: By) -> bool {
    let Some(ratio) = &answer.ratio else {
        // From or to nothing there is no ratio.
        let [before, after] = answer.medians.unwrap_or([0.0, 0.0]);
        return by == By::Any && after != before && (after > before) == up;
    };
    let sign = if up { 1.0 } else { -1.0 };
    let is_that_way = (ratio.median - 1.0) * sign > 0.0;
    is_that_way
        && match by {
            By::Any => true,
            By::About(percent) => {
                let wanted = 1.0 + sign * percent / 100.0;
                ratio.low <= wanted && wanted <= ratio.high
            }
            By::AtLeast(percent) => (ratio.median - 1.0) * sign * 100.0 >= percent,
        }
}

/// `no difference`, `faster by 5 %`, `fewer`.
fn in_words(words: &str, better: Better) -> Option<That> {
    if let Some(rest) = words.strip_prefix("no difference") {
        return match rest.trim() {
            "" => Some(That::NoDifference(None)),
            rest => Some(That::NoDifference(Some(percent(rest.strip_prefix("beyond")?)?))),
        };
    }
    let (way, rest) = words.split_once(' ').unwrap_or((words, ""));
    // A rate is faster when it goes up, a latency when it goes down.
    let up = match way {
        "more" | "higher" => true,
        "less" | "fewer" | "lower" => false,
        "faster" => better == Better::More,
        "slower" => better == Better::Less,
        _ => return None,
    };
    let by = match rest.trim() {
        "" => By::Any,
        rest => {
            let rest = rest.strip_prefix("by")?.trim();
            match rest.strip_prefix("at least") {
                Some(rest) => By::AtLeast(percent(rest)?),
                None => By::About(percent(rest)?),
            }
        }
    };
    Some(That::Moves { up, by })
}

fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use c10k_report::stats::{Pair, PairSide, paired};

    use super::*;

    /// Six pairs in each of which the second is so many times the first.
    fn answer(name: &str, ratio: f64) -> Answer {
        let measure = Measure::named(name).expect("a metric");
        let pair = |at: u32| {
            let a = 1000.0 + f64::from(at);
            Pair::new(a, a * ratio, if at.is_multiple_of(2) { PairSide::A } else { PairSide::B })
        };
        paired(&(0..6).map(pair).collect::<Vec<_>>(), measure.asked(1))
    }

    #[track_caller]
    fn is_met(text: &str, ratio: f64) -> bool {
        let expected = Expected::read(text).expect("a prediction");
        expected.is_met(&answer(&expected.measure.to_string(), ratio), &[])
    }

    #[test]
    fn a_rate_is_faster_when_it_goes_up_and_a_latency_when_it_goes_down() {
        assert!(is_met("connects_per_second: faster", 1.1) && !is_met("connects_per_second: faster", 0.9));
        assert!(is_met("echo_p99: faster", 0.9) && is_met("echo_p99: slower", 1.1));
        assert!(is_met("echo_p99: lower", 0.9) && !is_met("echo_p99: higher", 0.9));
    }

    #[test]
    fn by_how_much_is_about_so_much_or_at_least() {
        assert!(is_met("connects_per_second: slower by 5 %", 0.95));
        assert!(!is_met("connects_per_second: slower by 5%", 0.80));
        assert!(is_met("connects_per_second: slower by at least 5 %", 0.80));
        assert!(!is_met("connects_per_second: slower by at least 30 %", 0.80));
    }

    #[test]
    fn no_difference_is_met_by_none_or_by_none_so_large() {
        assert!(!is_met("connects_per_second: no difference", 1.02));
        assert!(is_met("connects_per_second: no difference beyond 5 %", 1.02));
        assert!(!is_met("connects_per_second: no difference beyond 1 %", 1.02));
    }

    #[test]
    fn what_each_run_is_to_have_must_be_known_of_each() {
        let expected = Expected::read("held = 1k").expect("a prediction");
        let any = answer("held", 1.0);
        assert!(expected.is_of_each_run() && expected.is_met(&any, &[Some(1000.0), Some(1000.0)]));
        for values in [&[Some(1000.0), Some(999.0)][..], &[Some(1000.0), None], &[]] {
            assert!(!expected.is_met(&any, values), "{values:?}");
        }
        assert!(Expected::read("failed <= 3").expect("one").is_met(&any, &[Some(3.0)]));
    }

    #[test]
    fn what_is_no_prediction_is_told_with_what_was_expected() {
        for text in [
            "held",
            "speed = 3",
            "held: quicker",
            "held = many",
            "held: more by 5",
            "held: no difference at all",
        ] {
            assert!(Expected::read(text).is_err(), "{text}");
        }
    }
}
