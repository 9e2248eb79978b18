//! docs/record.md names every field of a record and every column of samples.csv, and its last part is made from the
//! schema.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use c10k_record::Sample;
use serde_json::{Map, Value};

/// Where the part begins that is made.
const HEADING: &str = "\n## Every field\n";
/// Of the places of a type so many are named.
const MOST_PLACES: usize = 4;

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/record.md")
}

/// What is written by hand, and what is made.
fn parts() -> (String, String) {
    let text = std::fs::read_to_string(document()).expect("docs/record.md");
    let (written, made) = text.split_once(HEADING).expect("the heading of the part that is made");
    (written.to_owned(), made.to_owned())
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../schema/record-v1.schema.json")).expect("the schema is JSON")
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn text_of<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The name of the type that a schema refers to, and what stands behind the name of a field that has it.
fn referred(schema: &Value) -> Option<(String, &'static str)> {
    let name = |schema: &Value| text_of(schema, "$ref").strip_prefix("#/$defs/").map(str::to_owned);
    let inner = |key: &str, behind| Some((referred(schema.get(key)?)?.0, behind));
    name(schema)
        .map(|name| (name, ""))
        .or_else(|| Some((name(schema.pointer("/anyOf/0")?)?, "")))
        .or_else(|| inner("items", "[]"))
        .or_else(|| inner("additionalProperties", "{}"))
}

/// What a value may be, in words.
fn kind(schema: &Value) -> String {
    if let Some((name, behind)) = referred(schema) {
        let may_be_null = schema.get("anyOf").is_some() || schema["type"][1] == "null";
        let null = if may_be_null { " or null" } else { "" };
        let link = format!("[{name}](#{})", name.to_lowercase());
        return match behind {
            "[]" => format!("list of {link}{null}"),
            "{}" => format!("{link} by name{null}"),
            _ => format!("{link}{null}"),
        };
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => vec!["number"],
    };
    let inner = |key| schema.get(key).filter(|inner| inner.is_object()).map(kind).unwrap_or_default();
    let words = types.into_iter().map(|word| match word {
        "array" => format!("list of {}", inner("items")),
        "object" => format!("{} by name", inner("additionalProperties")),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// The types in the order in which a reader meets them, each with the places at which it stands.
fn types(schema: &Value) -> Vec<(String, Vec<String>)> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut next = VecDeque::from([(String::new(), schema.clone())]);
    while let Some((path, of)) = next.pop_front() {
        for (field, rule) in properties(&of) {
            let Some((name, behind)) = referred(&rule) else { continue };
            let at = format!("{path}{field}{behind}");
            if !places.contains_key(&name) {
                order.push(name.clone());
                next.push_back((format!("{at}."), schema["$defs"][&name].clone()));
            }
            places.entry(name).or_default().push(at);
        }
    }
    order.into_iter().map(|name| (name.clone(), places.remove(&name).unwrap_or_default())).collect()
}

fn fields(of: &Value) -> String {
    let mut text = String::new();
    for (name, rule) in properties(of) {
        let _ = writeln!(text, "- `{name}` ({}): {}", kind(&rule), text_of(&rule, "description"));
    }
    let variants = of.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    for variant in variants {
        let _ = writeln!(text, "- `\"{}\"`: {}", text_of(variant, "const"), text_of(variant, "description"));
    }
    text
}

/// The last part of the document as it should be.
fn made(schema: &Value) -> String {
    let mut text = format!(
        "\nMade from the schema: `C10K_WRITE_DOCS=1 cargo test -p c10k-record --test document` writes it anew.\n\n\
         ### Record\n\n{}",
        fields(schema)
    );
    for (name, places) in types(schema) {
        let of = &schema["$defs"][&name];
        let shown: Vec<String> = places.iter().take(MOST_PLACES).map(|place| format!("`{place}`")).collect();
        let more = places.len().saturating_sub(MOST_PLACES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let _ =
            write!(text, "\n### {name}\n\nAt {}{more}. {}\n", shown.join(", "), text_of(of, "description"));
        let fields = fields(of);
        if !fields.is_empty() {
            let _ = write!(text, "\n{fields}");
        }
    }
    text
}

/// The names that a text has between backticks.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(|code| code.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    words.map(str::to_owned).collect()
}

#[test]
fn the_fields_of_the_document_are_those_of_the_schema() {
    let (written, found) = parts();
    let expected = made(&schema());
    if std::env::var_os("C10K_WRITE_DOCS").is_some() {
        std::fs::write(document(), format!("{written}{HEADING}{expected}")).expect("written");
        return;
    }
    assert!(
        found == expected,
        "docs/record.md is stale: C10K_WRITE_DOCS=1 cargo test -p c10k-record --test document"
    );
}

#[test]
fn every_property_of_the_schema_is_named_in_the_document() {
    let schema = schema();
    let names = named(&parts().1);
    let definitions = schema["$defs"].as_object().expect("definitions").values();
    let all: BTreeSet<String> = definitions
        .chain([&schema])
        .flat_map(|of| properties(of).into_iter().map(|(name, _)| name))
        .collect();
    assert!(all.len() > 200, "{}", all.len());
    let missing: Vec<&String> = all.difference(&names).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_table_by_hand_names_every_field_of_the_first_level_and_every_column() {
    let names = named(&parts().0);
    let columns = Sample::csv_header();
    let columns = columns.split(',').map(str::to_owned);
    let all = properties(&schema()).into_iter().map(|(name, _)| name).chain(columns);
    let missing: Vec<String> = all.filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
