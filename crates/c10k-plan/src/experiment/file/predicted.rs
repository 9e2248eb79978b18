//! What the author expects, and of which sides.

use toml_edit::{Item, Table};

use super::super::arm::Arm;
use super::super::expect::Expected;
use super::super::hint::HINT;
use super::super::measure::Measure;
use super::super::setting::told;
use super::{Place, Prediction, Reader, texts_of};
use crate::say::refusal::Refusal;

impl Reader<'_> {
    /// `expect`: texts about every side, or `[[expect]]` about some.
    pub(super) fn predictions(
        &self,
        arms: &[Arm],
        metrics: &[(Measure, Place)],
    ) -> Result<Vec<Prediction>, Refusal> {
        let mut all = Vec::new();
        let every: Vec<usize> = (1..arms.len()).collect();
        if let Some(Item::Value(_)) = self.table.get("expect") {
            let texts = self.texts("expect")?;
            if texts.is_empty() {
                return Err(self.wrong(
                    "expect",
                    "expect: a list without a text: leave it out where nothing is expected",
                ));
            }
            for (text, place) in texts {
                all.push(self.prediction(&text, &place, every.clone(), metrics)?);
            }
            return Ok(all);
        }
        for table in self.tables("expect")? {
            self.known(table, "[[expect]]", &["setting", "value", "case", "that"])?;
            let of = self.sides(table, arms)?;
            let wrong = |message: &str, place: Place| self.layer.file.wrong(message, place, HINT);
            let Some(that) = table.get("that").and_then(Item::as_value) else {
                return Err(wrong("[[expect]] without that = \"…\"", table.span()));
            };
            let texts =
                texts_of(that).map_err(|(message, place)| wrong(&format!("that: {message}"), place))?;
            if texts.is_empty() {
                return Err(wrong("that: a list without a text", that.span()));
            }
            for (text, place) in texts {
                all.push(self.prediction(&text, &place, of.clone(), metrics)?);
            }
        }
        Ok(all)
    }

    /// The sides that an `[[expect]]` is about.
    fn sides(&self, table: &Table, arms: &[Arm]) -> Result<Vec<usize>, Refusal> {
        let given = |key: &str| table.get(key).and_then(Item::as_value);
        let (setting, value, case) =
            (given("setting").map(told), given("value").map(told), given("case").map(told));
        if case.is_some() && (setting.is_some() || value.is_some()) {
            let place = table.get("case").and_then(Item::span);
            let message = "a case is named whole: expected no setting and no value beside it";
            return Err(self.layer.file.wrong(message, place, HINT));
        }
        let is_meant = |(at, arm): &(usize, &Arm)| {
            let has = |key: Option<&str>| {
                let all = arm.settings.iter().filter(|setting| key.is_none_or(|key| setting.key == key));
                all.filter(|setting| value.as_ref().is_none_or(|value| setting.told == *value)).count() > 0
            };
            match case.as_deref() {
                Some("base") => *at == 0,
                Some(case) => arm.case.as_deref() == Some(case),
                None if setting.is_none() && value.is_none() => *at > 0,
                None => has(setting.as_deref()),
            }
        };
        let mut of: Vec<usize> = arms.iter().enumerate().filter(is_meant).map(|(at, _)| at).collect();
        // What is said of one setting is not said of it beside others, where it is tried alone too.
        if case.is_none()
            && of.iter().any(|at| arms[*at].case.is_none())
            && (setting.is_some() || value.is_some())
        {
            of.retain(|at| arms[*at].case.is_none());
        }
        if of.is_empty() {
            let place = ["value", "case", "setting"].into_iter().find_map(|key| table.get(key)?.span());
            let labels: Vec<String> = arms.iter().skip(1).map(Arm::label).collect();
            let message = "no side of the sweep is meant by it";
            let hint = format!("the sides are: {}", labels.join("; "));
            return Err(self.layer.file.wrong(message, place.or_else(|| table.span()), hint));
        }
        Ok(of)
    }

    fn prediction(
        &self,
        text: &str,
        place: &Place,
        arms: Vec<usize>,
        metrics: &[(Measure, Place)],
    ) -> Result<Prediction, Refusal> {
        let wrong = |message: &str| self.layer.file.wrong(message, place.clone(), HINT);
        let expected = Expected::read(text).map_err(|message| wrong(&message))?;
        if !metrics.iter().any(|(measure, _)| *measure == expected.measure) {
            return Err(wrong(&format!("{} is not among the metrics of the sweep", expected.measure)));
        }
        if arms.contains(&0) && !expected.is_of_each_run() {
            return Err(wrong("the base differs from nothing: expected a value that each of its runs has"));
        }
        Ok(Prediction { arms, expected })
    }
}
