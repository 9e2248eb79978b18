//! A record of which not all can be read: damaged, of another version, or of another program.

use c10k_record::{Protocol, Record, SCHEMA_VERSION, Tool, Topology, Workload};
use serde_json::{Map, Value};

/// Reads of a record's text whatever can be read, and says what cannot, each in a sentence. What is missing is as unknown as
/// in a run that has just begun.
///
/// # Errors
/// One line where the text is no record at all.
pub fn read_what_is_there(text: &str) -> Result<(Record, Vec<String>), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Object(given) = value else {
        return Err("it is JSON and no object, as a record is".to_owned());
    };
    let blank = blank().ok_or("a record cannot be written as JSON")?;
    if !["run_id", "connections", "state"].iter().any(|key| given.contains_key(*key)) {
        return Err("it has none of run_id, connections and state, as a record has".to_owned());
    }
    let mut missing = Vec::new();
    match given.get("schema_version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => missing.push(format!(
            "The record is of version {version}, and this program reads version {SCHEMA_VERSION}: what is the same in both is shown."
        )),
        None => missing.push("schema_version is missing: it is read as one of this version.".to_owned()),
    }
    let mut whole = blank.clone();
    for (key, fallback) in &blank {
        let Some(value) = given.get(key) else {
            if !may_be_missing(key) {
                missing.push(format!("{key} is missing."));
            }
            continue;
        };
        if key == "schema_version" {
            continue;
        }
        let mut lacking = Vec::new();
        let filled = filled(key, value, fallback, &mut lacking);
        match accepts(&blank, key, &filled) {
            Ok(()) => {
                missing.extend(lacking);
                whole.insert(key.clone(), filled);
            }
            Err(why) => missing.push(format!("{key} cannot be read: {why}.")),
        }
    }
    let record = serde_json::from_value(Value::Object(whole)).map_err(|error| error.to_string())?;
    Ok((record, missing))
}

/// What older records have not, and what is null in most.
fn may_be_missing(key: &str) -> bool {
    let Some(mut without) = blank() else { return false };
    without.remove(key);
    serde_json::from_value::<Record>(Value::Object(without)).is_ok()
}

fn blank() -> Option<Map<String, Value>> {
    let tool = Tool { name: "an unknown program".to_owned(), version: String::new() };
    let mut record =
        Record::begun(tool, "an unknown run".to_owned(), Topology::Loopback, Protocol::Raw, Workload::Hold);
    record.started_at = "an unknown time".to_owned();
    match serde_json::to_value(record) {
        Ok(Value::Object(entries)) => Some(entries),
        _ => None,
    }
}

/// Whether a record with that value can be read.
fn accepts(blank: &Map<String, Value>, key: &str, value: &Value) -> Result<(), String> {
    let mut entries = blank.clone();
    entries.insert(key.to_owned(), value.clone());
    serde_json::from_value::<Record>(Value::Object(entries)).map(|_| ()).map_err(|error| error.to_string())
}

/// The value, with what an object lacks of what a blank one has.
fn filled(path: &str, value: &Value, fallback: &Value, lacking: &mut Vec<String>) -> Value {
    let (Value::Object(given), Value::Object(blank)) = (value, fallback) else { return value.clone() };
    let mut whole = given.clone();
    for (key, fallback) in blank {
        let path = format!("{path}.{key}");
        match given.get(key) {
            Some(value) => {
                whole.insert(key.clone(), filled(&path, value, fallback, lacking));
            }
            None => {
                if !fallback.is_null() {
                    lacking.push(format!("{path} is missing."));
                }
                whole.insert(key.clone(), fallback.clone());
            }
        }
    }
    Value::Object(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_whole_record_is_read_as_it_is_with_nothing_missing() {
        for record in [fixtures::held(), fixtures::short(), fixtures::aborted(), fixtures::worked()] {
            let text = serde_json::to_string(&record).expect("plain data");
            assert_eq!(read_what_is_there(&text), Ok((record, Vec::new())));
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_named_and_the_rest_is_kept() {
        let mut value = serde_json::to_value(fixtures::short()).expect("plain data");
        value["connections"].as_object_mut().expect("counts").remove("target");
        value["host"] = serde_json::json!("a string");
        value["ceiling"]["walls"][0]["side"] = serde_json::json!("moon");
        value["schema_version"] = serde_json::json!(9);
        let (record, missing) = read_what_is_there(&value.to_string()).expect("a record");
        assert_eq!((record.connections.held, record.connections.target), (59_980, 0));
        assert!(record.host.is_none() && record.ceiling.is_none());
        for told in [
            "version 9",
            "connections.target is missing",
            "host cannot be read",
            "ceiling cannot be read: unknown",
        ] {
            assert!(missing.iter().any(|text| text.contains(told)), "{told}: {missing:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused_in_a_line() {
        for text in ["", "{", "[]", "7", "null", "{}", "{\"name\": \"k6\"}"] {
            let error = read_what_is_there(text).expect_err(text);
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}
