//! The record's JSON Schema, derived from its types: what `schema/record-v1.schema.json` has to say. And that the events
//! of the programs, and what each carries, are in docs/programs.md.
//!
//! `RENEW_SCHEMA=1 cargo test -p c10k-record --lib schema` writes that file anew.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::{
    BitRate, Command, Condition, Payload, Record, SCHEMA_VERSION, ServerEvent, Span, Steps, SwarmEvent,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/record-v1.schema.json");

/// What is written as a text, and how it looks.
macro_rules! texts {
    ($($kind:ty, $name:literal, $text:literal;)*) => {$(
        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $text })
            }
        }
    )*};
}

texts! {
    BitRate, "BitRate", "Bits a second, such as 500kbit/s.";
    Condition, "Condition", "A condition on the record, such as failed <= 1%.";
    Payload, "Payload", "Bytes of a message: 64, 1024, or a range such as 32..1024.";
    Span, "Span", "A duration such as 500ms, 10s or 1m30s.";
    Steps, "Steps", "Steps of growth, SIZExCOUNT.";
}

/// Nothing that the schema does not know is in a record, and the size of an integer is the writer's own matter.
fn close(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("format");
    object.remove("default");
    // All items of a pair have one type.
    if let Some(Value::Array(items)) = object.remove("prefixItems") {
        assert!(items.windows(2).all(|pair| pair[0] == pair[1]), "a pair of two types: {items:?}");
        object.insert("items".to_owned(), items[0].clone());
    }
    if object.contains_key("properties") {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    // Lines of a comment are broken where the source is, and speak of the source's values.
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        *text = text.replace("`None`", "null").replace("[`", "`").replace("`]", "`");
    }
}

/// The schema as the types say it.
fn derived() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Record>();
    RecursiveTransform(close).transform(&mut schema);
    let mut schema = schema.to_value();
    schema["title"] = json!(format!("Record of a run, version {SCHEMA_VERSION}"));
    schema["description"] = json!(format!(
        "record.json of the connection-capacity lab, version {SCHEMA_VERSION}. What could not be known is null, never 0. \
         Units are in the names."
    ));
    let version = &mut schema["properties"]["schema_version"];
    *version = json!({ "description": version["description"], "enum": [SCHEMA_VERSION] });
    schema
}

#[test]
fn the_schema_that_is_published_is_the_one_of_the_types() {
    let text = serde_json::to_string_pretty(&derived()).expect("plain data") + "\n";
    if std::env::var_os("RENEW_SCHEMA").is_some() {
        std::fs::write(FILE, &text).expect("the schema's folder is there");
    }
    let published = std::fs::read_to_string(FILE).expect("the schema is there");
    assert!(
        text == published,
        "the schema is not that of the types: RENEW_SCHEMA=1 cargo test -p c10k-record --lib schema"
    );
}

/// The names that docs/programs.md has between backticks.
fn named_in_programs() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/programs.md");
    let text = std::fs::read_to_string(path).expect("docs/programs.md");
    // Blocks of commands are no names.
    let prose: String = text.split("```").step_by(2).collect();
    let code = prose.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .map(str::to_owned)
        .collect()
}

/// The events of `T`, and the fields of each.
fn names_of<T: JsonSchema>() -> BTreeSet<String> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<T>().to_value();
    let variants = schema["oneOf"].as_array().expect("events").iter();
    let counts = ["LiveCounts", "WorkTick"].into_iter().filter_map(|name| schema["$defs"].get(name));
    let all: Vec<&Value> = variants.chain(counts).collect();
    let fields =
        all.iter().filter_map(|of| of["properties"].as_object()).flat_map(|fields| fields.keys().cloned());
    let events = all.iter().filter_map(|of| of["properties"]["event"]["const"].as_str().map(str::to_owned));
    fields.chain(events).collect()
}

#[test]
fn every_event_with_its_fields_and_every_command_is_named_in_the_document_of_the_programs() {
    let named = named_in_programs();
    // The answer to a line that is no command has all of them.
    let answer = "x".parse::<Command>().expect_err("no command");
    let (_, commands) = answer.split_once("expected ").expect("a list");
    let commands = commands.replace(" or ", ", ");
    let commands = commands.split(", ").filter_map(|command| command.split(' ').next()).map(str::to_owned);
    let all = names_of::<SwarmEvent>().into_iter().chain(names_of::<ServerEvent>()).chain(commands);
    let missing: Vec<String> = all.filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(names_of::<SwarmEvent>().contains("lost") && names_of::<ServerEvent>().contains("backlog"));
}
