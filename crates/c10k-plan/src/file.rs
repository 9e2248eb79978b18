//! Plan files that people write: only what differs from the defaults, each value with its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use c10k_record::{Condition, Plan, SCHEMA_VERSION, VerdictError};
use toml_edit::{Item, Table, TableLike, Value};

use crate::say::refusal::Refusal;

mod keys;
mod phase;
mod text;
mod value;

pub use keys::Key;
pub(crate) use keys::{KEYS, TABLES};
pub(crate) use text::{Kind, Layer, beside};
pub use value::Given;

use text::HINT;

/// Where a value of a plan comes from; a key without one has its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file and its line.
    Line(String, usize),
    /// A flag of the command line.
    Flag(String),
    /// A word of it without a flag.
    Word(String),
    /// What else is asked for: this is not what an ordinary run has.
    Because(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Word(word) => write!(f, "the word {word}"),
            Self::Because(why) => f.write_str(why),
        }
    }
}

/// By the keys of a resolved plan; `phase.NAME` for a phase, and the text of a verdict for a verdict.
pub type Origins = BTreeMap<String, Origin>;

/// What a plan file says, above the defaults.
#[derive(Debug)]
pub struct Written {
    /// The plan.
    pub plan: Plan,
    /// Where each of its values comes from.
    pub origins: Origins,
}

/// A chain of files that extend each other, by now no longer than this.
const MOST_FILES: usize = 32;

impl Written {
    /// Reads a plan file, and those that it extends, above `defaults`.
    pub fn load(path: &Path, defaults: Plan) -> Result<Self, Refusal> {
        let mut written = Self { plan: defaults, origins: Origins::new() };
        for layer in layers(path)?.iter().rev() {
            written.apply(layer)?;
        }
        let plan = &written.plan;
        plan.check().map_err(|message| written.refuse(path, &message))?;
        Ok(written)
    }

    /// A number that nobody takes, with the place of the one who gave it.
    fn refuse(&self, path: &Path, message: &str) -> Refusal {
        let key = message.split_once(" = ").map_or("", |(key, _)| key);
        let place = match self.origins.get(key) {
            Some(Origin::Line(file, line)) => format!(" ({file}:{line})"),
            _ => String::new(),
        };
        Refusal::text(format!("the plan '{}' is not right: {message}{place}", path.display()), HINT)
    }

    fn apply(&mut self, layer: &Layer) -> Result<(), Refusal> {
        self.apply_table(layer, layer.document.as_table())
    }

    /// Takes in what a table of a file says.
    pub(crate) fn apply_table(&mut self, layer: &Layer, table: &Table) -> Result<(), Refusal> {
        check_version(layer, table)?;
        let work_below = std::mem::take(&mut self.plan.work);
        let mut said: BTreeMap<&'static str, Range<usize>> = BTreeMap::new();
        for (name, item) in table {
            let place = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            match (name, item) {
                ("schema_version" | "extends", _) => {}
                ("phase", _) => {
                    self.plan.phases =
                        phase::list(layer, item, place.as_ref(), &self.plan, &mut self.origins)?;
                }
                ("verdict", _) => self.verdicts(layer, item, place.as_ref())?,
                ("verdicts", Item::Value(value)) => self.short_verdicts(layer, value, place)?,
                (table, item) if TABLES.contains(&table) => {
                    let Some(inner) = item.as_table_like() else {
                        return Err(layer.file.wrong(&format!("{table} is a table of keys"), place, HINT));
                    };
                    self.keys(layer, Some(table), inner, &mut said)?;
                }
                (name, Item::Value(value)) => self.key(layer, None, (name, place), value, &mut said)?,
                (name, _) => return Err(unknown(layer, None, name, place)),
            }
        }
        let own = std::mem::replace(&mut self.plan.work, work_below);
        own.check().map_err(|message| self.refuse(&layer.file.path, &format!("work.{message}")))?;
        self.plan.work = self.plan.work.with(&own);
        self.fit_target_and_steps(&said);
        Ok(())
    }

    fn keys(
        &mut self,
        layer: &Layer,
        table: Option<&str>,
        keys: &dyn TableLike,
        said: &mut BTreeMap<&'static str, Range<usize>>,
    ) -> Result<(), Refusal> {
        for (name, item) in keys.iter() {
            let place = keys.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            match item.as_value() {
                Some(value) => self.key(layer, table, (name, place), value, said)?,
                None => return Err(unknown(layer, table, name, place)),
            }
        }
        Ok(())
    }

    fn key(
        &mut self,
        layer: &Layer,
        table: Option<&str>,
        (name, place): (&str, Option<Range<usize>>),
        value: &Value,
        said: &mut BTreeMap<&'static str, Range<usize>>,
    ) -> Result<(), Refusal> {
        let Some(key) = Key::find(table, name) else { return Err(unknown(layer, table, name, place)) };
        let at = place.clone().unwrap_or(0..0);
        let line = layer.file.line(&at);
        if let Some(before) = said.insert(key.path, at) {
            let message = format!("{} is said already in line {}", key.path, layer.file.line(&before));
            return Err(layer.file.wrong(&message, place, "leave out one of them"));
        }
        (key.set)(&mut self.plan, Given(value)).map_err(|message| {
            let message = format!("{}: {message}", key.path);
            layer.file.wrong(&message, value.span().or(place), HINT)
        })?;
        if key.path == "profile" {
            self.plan.profile = profile_beside(&layer.file.path, &self.plan.profile);
        }
        self.origins.insert(key.path.to_owned(), Origin::Line(layer.file.name(), line));
        Ok(())
    }

    /// Who names only one of target and steps replaces the other.
    fn fit_target_and_steps(&mut self, said: &BTreeMap<&'static str, Range<usize>>) {
        match (said.contains_key("target"), self.plan.load.steps.filter(|_| said.contains_key("load.steps")))
        {
            (false, Some(steps)) => {
                self.plan.target = steps.total();
                if let Some(origin) = self.origins.get("load.steps").cloned() {
                    self.origins.insert("target".to_owned(), origin);
                }
            }
            (true, None) => {
                self.plan.load.steps = None;
                self.origins.remove("load.steps");
            }
            _ => {}
        }
    }

    /// `verdicts = ["held >= 90%"]`.
    fn short_verdicts(
        &mut self,
        layer: &Layer,
        value: &Value,
        place: Option<Range<usize>>,
    ) -> Result<(), Refusal> {
        let Some(all) = value.as_array() else {
            return Err(layer.file.wrong(
                "verdicts is a list of texts",
                place,
                "for example verdicts = [\"held >= 90%\"]",
            ));
        };
        let mut more = Vec::new();
        for one in all {
            let place = one.span();
            let text =
                Given(one).text().map_err(|message| layer.file.wrong(&message, place.clone(), HINT))?;
            more.push(self.condition(layer, text, place)?);
        }
        c10k_record::add_conditions(&mut self.plan.verdicts, &more);
        Ok(())
    }

    fn condition(
        &mut self,
        layer: &Layer,
        text: &str,
        place: Option<Range<usize>>,
    ) -> Result<Condition, Refusal> {
        let condition: Condition = text.parse().map_err(|error: VerdictError| {
            layer.file.wrong(&error.to_string(), place.clone(), error.hint())
        })?;
        let line = layer.file.line(&place.unwrap_or(0..0));
        self.origins.insert(condition.to_string(), Origin::Line(layer.file.name(), line));
        Ok(condition)
    }

    /// `[[verdict]]` with `expr`, `severity`, `abort` and `grace`.
    fn verdicts(&mut self, layer: &Layer, item: &Item, place: Option<&Range<usize>>) -> Result<(), Refusal> {
        const KNOWN: [&str; 4] = ["expr", "severity", "abort", "grace"];
        let mut more = Vec::new();
        for table in phase::tables(layer, "verdict", item, place)? {
            if let Some((name, place)) = phase::stranger(&table, &KNOWN) {
                return Err(layer.file.unknown("key of a verdict", name, place, KNOWN));
            }
            let given = |name: &str| {
                table.get(name).and_then(Item::as_value).map(|value| (Given(value), value.span()))
            };
            let wrong = |message: String, place| {
                layer.file.wrong(&message, place, "for example [[verdict]] expr = \"echo_p99 < 20ms\"")
            };
            let Some((expr, place)) = given("expr") else {
                return Err(wrong("a verdict without expr".to_owned(), table.key_place()));
            };
            let expr = expr.text().map_err(|message| wrong(message, place.clone()))?;
            let mut words = Vec::new();
            if let Some((severity, place)) = given("severity") {
                words.push(severity.text().map_err(|message| wrong(message, place))?.to_owned());
            }
            let grace = given("grace")
                .map(|(grace, place)| grace.span().map_err(|message| wrong(message, place)))
                .transpose()?;
            let aborts =
                given("abort").map(|(abort, place)| abort.boolean().map_err(|message| wrong(message, place)));
            if aborts.transpose()?.unwrap_or(false) {
                words.push(grace.map_or_else(|| "abort".to_owned(), |grace| format!("abort {grace}")));
            }
            let text =
                if words.is_empty() { expr.to_owned() } else { format!("{}: {expr}", words.join(", ")) };
            more.push(self.condition(layer, &text, place)?);
        }
        c10k_record::add_conditions(&mut self.plan.verdicts, &more);
        Ok(())
    }
}

fn unknown(layer: &Layer, table: Option<&str>, name: &str, place: Option<Range<usize>>) -> Refusal {
    let others = ["extends", "phase", "verdict", "verdicts"].into_iter().chain(TABLES);
    let others = others.filter(|_| table.is_none());
    let what = table.map_or_else(|| "key".to_owned(), |table| format!("key of [{table}]"));
    layer.file.unknown(&what, name, place, Key::names(table).chain(others))
}

fn check_version(layer: &Layer, table: &Table) -> Result<(), Refusal> {
    match table.get("schema_version") {
        Some(Item::Value(value)) if value.as_integer() != Some(SCHEMA_VERSION.into()) => {
            let found = value.to_string();
            let name = layer.file.name();
            Err(Refusal::text(
                format!(
                    "the plan '{name}' has schema_version {}, this program reads {SCHEMA_VERSION}",
                    found.trim()
                ),
                HINT,
            ))
        }
        _ => Ok(()),
    }
}

/// The file and those that it extends, each before the one that it stands above.
fn layers(path: &Path) -> Result<Vec<Layer>, Refusal> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = Some((path.to_owned(), None));
    while let Some((path, named)) = next.take() {
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        let refused = |message: String| match (layers.last(), &named) {
            (Some(layer), Some(place)) => layer.file.wrong(&message, Some(Range::clone(place)), HINT),
            _ => Refusal::text(message, HINT),
        };
        if seen.contains(&identity) || layers.len() >= MOST_FILES {
            let mut names: Vec<String> = layers.iter().map(|layer| layer.file.name()).collect();
            names.push(path.display().to_string());
            let names = names.join(" extends ");
            return Err(refused(if seen.contains(&identity) {
                format!("plans extend each other in a circle: {names}")
            } else {
                format!("{MOST_FILES} plans extend each other, expected fewer: {names}")
            }));
        }
        if named.is_some()
            && let Err(error) = std::fs::metadata(&path)
        {
            return Err(refused(format!(
                "the plan that it extends, '{}', cannot be read: {error}",
                path.display()
            )));
        }
        seen.push(identity);
        let layer = Layer::read(&path)?;
        next = match layer.document.as_table().get("extends") {
            None => None,
            Some(Item::Value(value)) if value.as_str().is_some() => {
                Some((beside(&path, value.as_str().unwrap_or_default()), value.span()))
            }
            Some(other) => {
                return Err(layer.file.wrong(
                    "extends names one file",
                    other.span(),
                    "extends = \"base.toml\"",
                ));
            }
        };
        layers.push(layer);
    }
    Ok(layers)
}

/// A profile's file is named from the plan that names it, where it is there.
pub(crate) fn profile_beside(plan: &Path, profile: &str) -> String {
    let file = beside(plan, profile);
    let is_a_path = profile.contains('/') || profile.ends_with(".toml");
    if is_a_path && file.is_file() { file.display().to_string() } else { profile.to_owned() }
}

#[cfg(test)]
mod tests;
