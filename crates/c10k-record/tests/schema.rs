//! Every record is what its published schema says, and the schema says nothing that no record has.

use c10k_record::{Host, Record};
use serde_json::{Map, Value, json};

#[path = "common/samples.rs"]
mod samples;
#[path = "common/validator.rs"]
mod validator;

use samples::{bare, full};
use validator::faults;

fn schema() -> Value {
    serde_json::from_str(include_str!("../schema/record-v1.schema.json")).expect("the schema is JSON")
}

fn check(value: &Value) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    faults(&schema, &schema, value, "record", &mut found);
    found
}

#[track_caller]
fn json_of(record: &Record) -> Value {
    serde_json::to_value(record).expect("a record is plain data")
}

#[test]
fn a_full_record_and_one_of_nulls_are_what_the_schema_says() {
    assert_eq!(check(&json_of(&full())), [] as [String; 0]);
    assert_eq!(check(&json_of(&bare())), [] as [String; 0]);
    let mut host = bare();
    host.host = Some(Host::default());
    assert_eq!(check(&json_of(&host)), [] as [String; 0]);
}

#[test]
fn a_value_that_is_no_number_any_more_is_null() {
    let mut record = full();
    record.memory_per_connection.unexplained_ratio = Some(f64::NAN);
    record.verdicts[0].value = Some(f64::INFINITY);
    assert_eq!(check(&json_of(&record)), [] as [String; 0]);
}

#[test]
fn a_missing_field_is_refused_wherever_it_is_missing() {
    let whole = json_of(&full());
    let members = |place: &str| -> Vec<String> {
        let object = whole.pointer(place).and_then(Value::as_object).expect("an object");
        object.keys().cloned().collect()
    };
    for place in [
        "",
        "/connections",
        "/latency_us/echo",
        "/host/limits",
        "/ceiling",
        "/ceiling/predicted",
        "/ceiling/walls/0",
        "/met_on_the_way/0",
        "/met_on_the_way/0/cost",
        "/gaps/0",
        "/cpu",
    ] {
        for name in members(place) {
            let mut record = whole.clone();
            record.pointer_mut(place).and_then(Value::as_object_mut).expect("an object").remove(&name);
            assert!(!check(&record).is_empty(), "{place}/{name} may be missing");
        }
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let wrong = [
        ("/schema_version", json!(2)),
        ("/state", json!("done")),
        ("/connections/held", json!("7")),
        ("/connections/held", json!(null)),
        ("/connections/held", json!(-1)),
        ("/connections/held", json!(1.5)),
        ("/connections/failed/aborted", json!("2")),
        ("/latency_us/echo/p95", json!(1.5)),
        ("/verdicts/0/passed", json!(1)),
        ("/ceiling/walls/0/side", json!("client")),
        ("/ceiling", json!([])),
        ("/host/limits/port_range", json!([1024])),
        ("/host/limits/port_range", json!([1024, 70_000])),
        ("/warnings", json!({})),
        ("/memory_per_connection/parts/socket", json!(2520)),
    ];
    for (place, value) in wrong {
        let mut record = json_of(&full());
        *record.pointer_mut(place).unwrap_or_else(|| panic!("{place} leads nowhere")) = value.clone();
        assert!(!check(&record).is_empty(), "{place} may be {value}");
    }
}

#[test]
fn a_field_the_schema_does_not_know_is_refused() {
    let mut record = json_of(&full());
    record["connections"]["lost"] = json!(1);
    assert_eq!(check(&record), ["record.connections.lost is not in the schema"]);
}

#[test]
fn every_field_is_described_and_every_definition_is_used_by_a_full_record() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let text = schema.to_string();
    for (name, definition) in definitions {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name} is used by nobody");
        described(definition, name);
    }
    described(&schema, "record");
    let mut unseen = Vec::new();
    covered(&schema, &schema, &json_of(&full()), "record", &mut unseen);
    assert_eq!(unseen, [] as [String; 0], "the schema has what no record has");
}

fn described(schema: &Value, place: &str) {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    assert!(!text.is_empty(), "{place} has no description");
    let empty = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        described(property, &format!("{place}.{name}"));
    }
}

/// Properties of the schema that `value` does not have.
fn covered(root: &Value, schema: &Value, value: &Value, place: &str, unseen: &mut Vec<String>) {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(path.trim_start_matches('#')).expect("a definition");
        covered(root, target, value, place, unseen);
    }
    if let Some(first) = schema.pointer("/anyOf/0") {
        covered(root, first, value, place, unseen);
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        list.iter().for_each(|item| covered(root, items, item, place, unseen));
    }
    for (name, rule) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("{place}.{name}");
        match value.get(name) {
            Some(member) if !member.is_null() => covered(root, rule, member, &place, unseen),
            _ => unseen.push(place),
        }
    }
}
