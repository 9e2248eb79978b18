//! `[[phase]]` of a plan file.

use std::ops::Range;

use c10k_record::{PhasePlan, Plan, WorkPlan};
use toml_edit::{Item, Table, TableLike};

use super::keys::Key;
use super::text::{HINT, Layer};
use super::value::Given;
use super::{Origin, Origins};
use crate::say::refusal::Refusal;

/// The keys of a phase beside those of `[work]`.
const KEYS: [&str; 7] = ["name", "kind", "target", "rate", "rate_per_second", "duration", "work"];

/// The phases of a file; they replace those of the file below. What `[work]` takes may stand in a phase, or in its own
/// table `work`. `scratch` is a plan whose work says nothing.
pub(super) fn list(
    layer: &Layer,
    item: &Item,
    place: Option<&Range<usize>>,
    scratch: &Plan,
    origins: &mut Origins,
) -> Result<Vec<PhasePlan>, Refusal> {
    let mut phases = Vec::new();
    origins.retain(|key, _| !key.starts_with("phase."));
    for entry in tables(layer, "phase", item, place)? {
        let phase = phase(layer, &entry, scratch)?;
        let line = layer.file.line(&entry.place.unwrap_or(0..0));
        origins.insert(format!("phase.{}", phase.name), Origin::Line(layer.file.name(), line));
        phases.push(phase);
    }
    Ok(phases)
}

fn phase(layer: &Layer, entry: &Entry<'_>, scratch: &Plan) -> Result<PhasePlan, Refusal> {
    let hint = "for example [[phase]] name = \"talk\", kind = \"echo\", duration = \"10s\"";
    let wrong = |message: String, place| layer.file.wrong(&message, place, hint);
    let given =
        |name: &str| entry.get(name).and_then(Item::as_value).map(|value| (Given(value), value.span()));
    let Some((kind, place)) = given("kind") else {
        return Err(wrong("a phase without a kind".to_owned(), entry.key_place()));
    };
    let kind: c10k_record::PhaseKind = kind.read().map_err(|message| wrong(message, place))?;
    // One that is called nothing is called what it does.
    let mut phase = PhasePlan::of(kind);
    if let Some((name, place)) = given("name") {
        name.text().map_err(|message| wrong(message, place))?.clone_into(&mut phase.name);
    }
    let mut own = Plan { work: WorkPlan::default(), ..scratch.clone() };
    for (name, item) in entry.table.iter() {
        let place = place_of(entry.table, name, item);
        let Some(value) = item.as_value() else {
            match (name, item.as_table_like()) {
                ("work", Some(table)) => work(layer, table, &mut own)?,
                _ => return Err(unknown(layer, name, place)),
            }
            continue;
        };
        let at = value.span();
        let refused = |message: String| wrong(message, at.clone());
        match name {
            "name" | "kind" => {}
            "target" => phase.target = Some(Given(value).count().map_err(refused)?),
            "rate" | "rate_per_second" => phase.rate_per_second = Some(Given(value).rate().map_err(refused)?),
            "duration" => phase.duration = Some(Given(value).span().map_err(refused)?),
            "work" => match value.as_inline_table() {
                Some(table) => work(layer, table, &mut own)?,
                None => return Err(refused("work is a table of keys".to_owned())),
            },
            _ => match Key::find(Some("work"), name) {
                Some(key) => (key.set)(&mut own, Given(value)).map_err(refused)?,
                None => return Err(unknown(layer, name, place)),
            },
        }
    }
    own.work
        .check()
        .map_err(|message| wrong(format!("phase {}: {message}", phase.name), entry.key_place()))?;
    phase.work = own.work;
    Ok(phase)
}

fn work(layer: &Layer, table: &dyn TableLike, own: &mut Plan) -> Result<(), Refusal> {
    for (name, item) in table.iter() {
        let place = place_of(table, name, item);
        match (Key::find(Some("work"), name), item.as_value()) {
            (Some(key), Some(value)) => (key.set)(own, Given(value))
                .map_err(|message| layer.file.wrong(&format!("{name}: {message}"), value.span(), HINT))?,
            _ => return Err(unknown(layer, name, place)),
        }
    }
    Ok(())
}

fn unknown(layer: &Layer, name: &str, place: Option<Range<usize>>) -> Refusal {
    layer.file.unknown("key of a phase", name, place, KEYS.into_iter().chain(Key::names(Some("work"))))
}

/// The tables of a list of tables, whichever way it is written.
pub(super) fn tables<'a>(
    layer: &Layer,
    name: &str,
    item: &'a Item,
    place: Option<&Range<usize>>,
) -> Result<Vec<Entry<'a>>, Refusal> {
    let none = || {
        layer.file.wrong(&format!("{name} is a list of tables"), place.cloned(), format!("write [[{name}]]"))
    };
    if let Some(all) = item.as_array_of_tables() {
        return Ok(all.iter().map(|table| Entry { table, place: Table::span(table) }).collect());
    }
    let all = item.as_array().ok_or_else(none)?;
    all.iter()
        .map(|value| {
            let table = value.as_inline_table().ok_or_else(none)?;
            Ok(Entry { table: table as &dyn TableLike, place: value.span() })
        })
        .collect()
}

/// One table of a list.
pub(super) struct Entry<'a> {
    table: &'a dyn TableLike,
    place: Option<Range<usize>>,
}

impl<'a> Entry<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Item> {
        self.table.get(name)
    }

    /// Where it begins.
    pub(super) fn key_place(&self) -> Option<Range<usize>> {
        self.place.clone()
    }
}

/// The first key that is none of `known`.
pub(super) fn stranger<'a>(entry: &Entry<'a>, known: &[&str]) -> Option<(&'a str, Option<Range<usize>>)> {
    let found = entry.table.iter().find(|(name, _)| !known.contains(name));
    found.map(|(name, item)| (name, place_of(entry.table, name, item)))
}

fn place_of(table: &dyn TableLike, name: &str, item: &Item) -> Option<Range<usize>> {
    table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span())
}
