//! A resolved plan as text, each value with where it comes from.

use c10k_record::Plan;
use toml_edit::{DocumentMut, Item, Table};

use crate::file::{Origins, Written};

/// `--print-plan`: a plan file that repeats the run, with comments.
pub fn print_plan(written: &Written) -> Result<String, String> {
    let mut plan = written.plan.clone();
    plan.work = plan.work.filled(plan.workload);
    let text = plan.to_toml().map_err(|error| error.to_string())?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    note(document.as_table_mut(), "", &written.origins);
    verdicts(&mut document, &written.plan, &written.origins);
    Ok(document.to_string())
}

/// Puts a comment behind each value of a table and of those in it.
fn note(table: &mut Table, prefix: &str, origins: &Origins) {
    for (name, item) in table.iter_mut() {
        let key = format!("{prefix}{}", name.get());
        match item {
            Item::Value(value) if key != "schema_version" => {
                let origin = origins.get(&key).map_or_else(|| "default".to_owned(), ToString::to_string);
                value.decor_mut().set_suffix(format!(" # {origin}"));
            }
            Item::Table(inner) => note(inner, &format!("{key}."), origins),
            Item::ArrayOfTables(all) => all.iter_mut().for_each(|inner| note_phase(inner, origins)),
            _ => {}
        }
    }
}

/// Of a phase its first line says where all of it is written.
fn note_phase(phase: &mut Table, origins: &Origins) {
    let name = phase.get("name").and_then(Item::as_str).unwrap_or_default().to_owned();
    let origin = origins.get(&format!("phase.{name}"));
    if let (Some(origin), Some(value)) = (origin, phase.get_mut("name").and_then(Item::as_value_mut)) {
        value.decor_mut().set_suffix(format!(" # {origin}, with all that follows"));
    }
}

/// Each verdict on a line of its own, below where it comes from.
fn verdicts(document: &mut DocumentMut, plan: &Plan, origins: &Origins) {
    let Some(value) = document.get_mut("verdicts").and_then(Item::as_value_mut) else { return };
    value.decor_mut().set_suffix("");
    let Some(all) = value.as_array_mut() else { return };
    for (one, condition) in all.iter_mut().zip(&plan.verdicts) {
        let origin = origins.get(&condition.to_string());
        let origin = origin.map_or_else(|| "default".to_owned(), ToString::to_string);
        one.decor_mut().set_prefix(format!("\n    # {origin}\n    "));
        one.decor_mut().set_suffix("");
    }
    all.set_trailing("\n");
    all.set_trailing_comma(true);
}
