//! The file of a sweep: what is varied above which base, what is compared, what its author expects.

use std::ops::Range;
use std::path::Path;

use c10k_record::{Plan, Topology};
use toml_edit::{Item, Table, Value};

use super::arm::Arm;
use super::expect::Expected;
use super::hint::{HINT, SWEEP};
use super::measure::Measure;
use crate::contradictions::kinds;
use crate::file::{Given, Layer, Origins, Written, beside};
use crate::resolve::{default_plan, move_to};
use crate::say::refusal::Refusal;

mod predicted;
mod sides;

/// An experiment, read and checked.
#[derive(Debug)]
pub struct Sweep {
    /// Fit for a folder's name: that of the file.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// What was believed before.
    pub believed: String,
    /// The file's own text.
    pub text: String,
    /// The base first.
    pub arms: Vec<Arm>,
    /// What is compared.
    pub metrics: Vec<Measure>,
    /// What must not move.
    pub control: Option<Measure>,
    /// What its author expects.
    pub predictions: Vec<Prediction>,
    /// Pairs of each side with the base.
    pub pairs: u32,
    /// Pairs of the base against itself, before.
    pub same_pairs: u32,
    /// What the file says; nothing where each sweep draws its own.
    pub seed: Option<u64>,
}

/// What the author expects of some sides.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Numbers of sides; 0 is the base.
    pub arms: Vec<usize>,
    /// What they are to show.
    pub expected: Expected,
}

const KEYS: [&str; 14] = [
    "title",
    "question",
    "believed",
    "base",
    "set",
    "vary",
    "case",
    "grid",
    "metrics",
    "expect",
    "pairs",
    "same_pairs",
    "control",
    "seed",
];
/// Of what differs from run to run fewer pairs prove nothing.
const FEWEST_PAIRS: u32 = c10k_report::stats::FEWEST_PAIRS as u32;
const MOST_PAIRS: u32 = 100;
const PAIRS: u32 = 6;

impl Sweep {
    /// Reads a file. What is wrong in it is told with line and caret.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let layer = Layer::read_as(&SWEEP, path)?;
        let reader = Reader { layer: &layer, table: layer.document.as_table() };
        reader.refuse_strangers()?;
        let base = reader.base()?;
        let arms = reader.arms(&base)?;
        let metrics = reader.metrics(&arms)?;
        let control = reader.control(&arms)?;
        let predictions = reader.predictions(&arms, &metrics)?;
        let only_exact = metrics.iter().all(|(measure, _)| measure.is_exact());
        let metrics: Vec<Measure> = metrics.into_iter().map(|(measure, _)| measure).collect();
        let pairs = reader.pairs("pairs", PAIRS)?;
        if pairs < FEWEST_PAIRS && !only_exact {
            let message = format!(
                "{pairs} pairs prove nothing of what differs from run to run: expected at least {FEWEST_PAIRS}, or no \
                 metrics but held and verified"
            );
            return Err(reader.wrong("pairs", &message));
        }
        Ok(Self {
            name: name_of(path),
            title: reader.text("title")?.unwrap_or_else(|| name_of(path)),
            question: reader.text("question")?.unwrap_or_default(),
            believed: reader.text("believed")?.unwrap_or_default(),
            text: layer.file.text.clone(),
            arms,
            metrics,
            control,
            predictions,
            pairs,
            same_pairs: reader.pairs("same_pairs", pairs.min(FEWEST_PAIRS))?,
            seed: reader.number("seed")?,
        })
    }

    /// The names of what is set, for all sides or for one, in the order of the sides.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        for setting in self.arms.iter().flat_map(Arm::all) {
            if !keys.contains(&setting.key.as_str()) {
                keys.push(&setting.key);
            }
        }
        keys
    }

    /// What is measured in each run: the metrics, and the control.
    pub fn measures(&self) -> Vec<Measure> {
        let more = self.control.filter(|control| !self.metrics.contains(control));
        self.metrics.iter().copied().chain(more).collect()
    }
}

/// A file's name as a folder's.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    stem.chars().map(fit).collect()
}

type Place = Option<Range<usize>>;

struct Reader<'a> {
    layer: &'a Layer,
    table: &'a Table,
}

impl<'a> Reader<'a> {
    fn place(&self, key: &str) -> Place {
        self.table.key(key).and_then(toml_edit::Key::span)
    }

    fn wrong(&self, key: &str, message: &str) -> Refusal {
        let place = self.table.get(key).and_then(Item::span).or_else(|| self.place(key));
        self.layer.file.wrong(message, place, HINT)
    }

    fn refuse_strangers(&self) -> Result<(), Refusal> {
        let stranger = self.table.iter().find(|(name, _)| !KEYS.contains(name));
        match stranger {
            Some((name, _)) => Err(self.layer.file.unknown("key", name, self.place(name), KEYS)),
            None => Ok(()),
        }
    }

    fn value(&self, key: &str) -> Result<Option<&'a Value>, Refusal> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Item::Value(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, &format!("{key} is one value"))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let text = Given(value).text().map_err(|message| self.wrong(key, &format!("{key}: {message}")))?;
        if text.trim().is_empty() {
            return Err(self.wrong(key, &format!("{key} says nothing")));
        }
        Ok(Some(text.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        Given(value).count().map(Some).map_err(|message| self.wrong(key, &format!("{key}: {message}")))
    }

    fn pairs(&self, key: &str, default: u32) -> Result<u32, Refusal> {
        match self.number(key)? {
            None => Ok(default),
            Some(pairs) => u32::try_from(pairs)
                .ok()
                .filter(|pairs| (1..=MOST_PAIRS).contains(pairs))
                .ok_or_else(|| self.wrong(key, &format!("{key} = {pairs}: expected 1 to {MOST_PAIRS}"))),
        }
    }

    /// The plan above which everything is varied.
    fn base(&self) -> Result<Plan, Refusal> {
        let mut written = Written { plan: default_plan(), origins: Origins::new() };
        let file = &self.layer.file;
        let of_file = |named: &str, place: Place| {
            let path = beside(&file.path, named);
            if !path.is_file() {
                let message = format!("base: there is no plan '{}'", path.display());
                return Err(file.wrong(&message, place, "the path is relative to the sweep's file"));
            }
            Written::load(&path, default_plan())
        };
        match self.table.get("base") {
            None => return Err(file.wrong("a sweep without a base", None, HINT)),
            Some(Item::Value(value)) if value.as_str().is_some() => {
                written = of_file(value.as_str().unwrap_or_default(), value.span())?;
            }
            Some(Item::Table(table)) => {
                if let Some(extends) = table.get("extends") {
                    let Some(named) = extends.as_str() else {
                        return Err(file.wrong("base.extends names one plan", extends.span(), HINT));
                    };
                    written = of_file(named, extends.span())?;
                }
                written.apply_table(self.layer, table)?;
            }
            Some(_) => return Err(self.wrong("base", "base is the path of a plan, or a table [base]")),
        }
        let mut plan = written.plan;
        if plan.topology != Topology::Loopback && !written.origins.contains_key("server.listen") {
            move_to(plan.topology, &mut plan, written.origins.contains_key("load.ips"));
        }
        if plan.server.foreign || plan.topology == Topology::Remote {
            let message =
                "a sweep starts both ends of each run on this machine, and the base has one elsewhere";
            return Err(self.wrong("base", message));
        }
        Ok(plan)
    }

    fn tables(&self, key: &str) -> Result<Vec<&'a Table>, Refusal> {
        match self.table.get(key) {
            None => Ok(Vec::new()),
            Some(Item::ArrayOfTables(tables)) => Ok(tables.iter().collect()),
            Some(_) => Err(self.wrong(key, &format!("{key} is a list of tables [[{key}]]"))),
        }
    }

    fn known(&self, table: &Table, of: &str, keys: &[&'static str]) -> Result<(), Refusal> {
        let stranger = table.iter().find(|(name, _)| !keys.contains(name));
        match stranger {
            Some((name, item)) => {
                let place = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
                Err(self.layer.file.unknown(&format!("key of {of}"), name, place, keys.iter().copied()))
            }
            None => Ok(()),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<(String, Place)>, Refusal> {
        let Some(value) = self.value(key)? else { return Ok(Vec::new()) };
        texts_of(value).map_err(|(message, place)| {
            self.layer.file.wrong(&format!("{key}: {message}"), place.or_else(|| self.place(key)), HINT)
        })
    }

    fn metrics(&self, arms: &[Arm]) -> Result<Vec<(Measure, Place)>, Refusal> {
        let names = self.texts("metrics")?;
        if names.is_empty() {
            let message =
                "a sweep without metrics: expected what is to be compared, such as [\"connects_per_second\"]";
            return Err(self.layer.file.wrong(message, self.place("metrics"), HINT));
        }
        names
            .into_iter()
            .map(|(name, place)| Ok((self.measure(&name, place.clone(), arms)?, place)))
            .collect()
    }

    /// A metric that every side has.
    fn measure(&self, name: &str, place: Place, arms: &[Arm]) -> Result<Measure, Refusal> {
        let Some(measure) = Measure::named(name) else {
            return Err(self.layer.file.unknown(
                "metric",
                name,
                place,
                Measure::names().collect::<Vec<_>>().iter().map(String::as_str),
            ));
        };
        let wanted = measure.workloads();
        let lacks =
            |arm: &&Arm| !wanted.is_empty() && !kinds(&arm.plan).iter().any(|kind| wanted.contains(kind));
        match arms.iter().find(lacks) {
            Some(arm) => {
                let has: Vec<String> = kinds(&arm.plan).iter().map(ToString::to_string).collect();
                let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                let message = format!(
                    "{name} is measured in {}, and {} does {}",
                    wanted.join(" or "),
                    arm.label(),
                    has.join(", ")
                );
                Err(self.layer.file.wrong(&message, place, "name another metric, or another workload"))
            }
            None => {
                let lack = |arm: &Arm| Some((arm.label(), measure.lacking(&arm.plan)?));
                match arms.iter().find_map(lack) {
                    Some((side, (only, without))) => {
                        let message = format!("{name} is measured {only}, and {side} is {without}");
                        let hint = "name another metric, or change the plan";
                        Err(self.layer.file.wrong(&message, place, hint))
                    }
                    None => Ok(measure),
                }
            }
        }
    }

    fn control(&self, arms: &[Arm]) -> Result<Option<Measure>, Refusal> {
        match self.text("control")?.as_deref() {
            None => Ok(Some(Measure::KernelBytes)),
            Some("none") => Ok(None),
            Some(name) => {
                let place = self.table.get("control").and_then(Item::span);
                self.measure(name, place, arms).map(Some)
            }
        }
    }
}

/// A text, or a list of them.
fn texts_of(value: &Value) -> Result<Vec<(String, Place)>, (String, Place)> {
    let one = |value: &Value| match value.as_str().map(str::trim) {
        Some("") => Err(("a text without a word".to_owned(), value.span())),
        Some(text) => Ok((text.to_owned(), value.span())),
        None => Err(("expected texts in quotes".to_owned(), value.span())),
    };
    match value.as_array() {
        Some(all) => all.iter().map(one).collect(),
        None => one(value).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests;
