//! An answer for programs: as JSON, and as fields of a CSV file.

use serde_json::{Value, json};

use super::answer::{Answer, Found, Ratio, Test};

/// The names of what [`Answer::csv_fields`] has.
pub const CSV_COLUMNS: [&str; 19] = [
    "runs_a",
    "runs_b",
    "median_a",
    "median_b",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_least",
    "ratio_most",
    "second_by_first",
    "test",
    "p",
    "up",
    "down",
    "same",
    "u",
    "would_have_seen_ratio",
    "found",
    "words",
];

impl Answer {
    /// A row's fields, in the order of [`CSV_COLUMNS`]; what is not known is empty.
    #[must_use]
    pub fn csv_fields(&self) -> Vec<String> {
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        let count = |count: Option<usize>| count.map_or_else(String::new, |count| count.to_string());
        let ratio = |part: fn(&Ratio) -> f64| number(self.ratio.as_ref().map(part));
        let signs = match self.test {
            Test::Sign { up, down, same, .. } => [Some(up), Some(down), Some(same)],
            _ => [None; 3],
        };
        let mut fields: Vec<String> = self.runs.iter().map(ToString::to_string).collect();
        fields.extend([0, 1].map(|side| number(self.medians.map(|medians| medians[side]))));
        fields.extend([
            ratio(|ratio| ratio.median),
            ratio(|ratio| ratio.low),
            ratio(|ratio| ratio.high),
            ratio(|ratio| ratio.least),
            ratio(|ratio| ratio.most),
        ]);
        fields.push(number(self.order.map(|order| order.median)));
        fields.extend([self.test.name().to_owned(), number(self.test.p())]);
        fields.extend(signs.map(count));
        fields.push(number(match self.test {
            Test::MannWhitney { u, .. } => Some(u),
            _ => None,
        }));
        fields.push(number(self.would_have_seen_ratio));
        fields.extend([self.found.name().to_owned(), self.words()]);
        fields
    }

    /// All of it as one JSON object; what is not known is null.
    #[must_use]
    pub fn json(&self) -> Value {
        let ratio = |ratio: Option<Ratio>| {
            ratio.map(|ratio| {
                json!({ "median": ratio.median, "low": ratio.low, "high": ratio.high, "least": ratio.least,
                        "most": ratio.most })
            })
        };
        let mut test = json!({ "name": self.test.name(), "p": self.test.p() });
        match self.test {
            Test::Sign { up, down, same, .. } => {
                (test["up"], test["down"], test["same"]) = (json!(up), json!(down), json!(same));
            }
            Test::MannWhitney { u, .. } => test["u"] = json!(u),
            Test::None | Test::Exact => {}
        }
        json!({
            "runs": self.runs,
            "medians": self.medians,
            "ratio": ratio(self.ratio),
            "test": test,
            "second_by_first": ratio(self.order),
            "would_have_seen_ratio": self.would_have_seen_ratio,
            "found": self.found.name(),
            "words": self.words(),
            "seed": self.asked.seed,
        })
    }
}

impl Test {
    fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Exact => "exact",
            Self::Sign { .. } => "sign",
            Self::MannWhitney { .. } => "mann-whitney",
        }
    }

    fn p(&self) -> Option<f64> {
        match self {
            Self::None | Self::Exact => None,
            Self::Sign { p, .. } | Self::MannWhitney { p, .. } => Some(*p),
        }
    }
}

impl Found {
    /// The verdict in a word for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifference => "no-difference",
            Self::NoClaim => "no-claim",
            Self::Unproven(_) => "unproven",
        }
    }
}
