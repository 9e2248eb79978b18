//! Checks JSON against a JSON Schema: just the keywords that the record's schema uses.

use serde_json::{Value, json};

/// What of `value` the schema does not allow, with its place. It knows just the keywords the schema uses, and
/// an unknown one is a fault of the schema.
pub(crate) fn faults(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let rules = schema.as_object().expect("a schema is an object");
    for (rule, operand) in rules {
        match rule.as_str() {
            "$schema" | "$defs" | "title" | "description" | "properties" => {}
            "$ref" => {
                let path =
                    operand.as_str().and_then(|path| path.strip_prefix('#')).expect("a local reference");
                let target = root.pointer(path).unwrap_or_else(|| panic!("{path} leads nowhere"));
                faults(root, target, value, place, found);
            }
            "type" => {
                let names: Vec<&Value> =
                    operand.as_array().map_or(vec![operand], |names| names.iter().collect());
                if !names.iter().any(|name| is(value, name.as_str().expect("a type is a name"))) {
                    found.push(format!("{place} is {value} and not of type {operand}"));
                }
            }
            "enum" => {
                if !operand.as_array().expect("a list").contains(value) {
                    found.push(format!("{place} is {value} and not one of {operand}"));
                }
            }
            "const" => {
                if operand != value {
                    found.push(format!("{place} is {value} and not {operand}"));
                }
            }
            "anyOf" | "oneOf" => {
                let fits = |one: &Value| {
                    let mut inner = Vec::new();
                    faults(root, one, value, place, &mut inner);
                    inner.is_empty()
                };
                if !operand.as_array().expect("a list").iter().any(fits) {
                    found.push(format!("{place} is {value} and fits none of {operand}"));
                }
            }
            "minimum" | "maximum" => {
                let (bound, number) = (operand.as_f64().expect("a number"), value.as_f64());
                let beyond = |number| if rule == "minimum" { number < bound } else { number > bound };
                if number.is_some_and(beyond) {
                    found.push(format!("{place} is {value}, {rule} {bound}"));
                }
            }
            "minItems" | "maxItems" => {
                let (bound, length) = (operand.as_u64().expect("a count"), value.as_array().map(Vec::len));
                let beyond =
                    |n: usize| if rule == "minItems" { (n as u64) < bound } else { n as u64 > bound };
                if length.is_some_and(beyond) {
                    found.push(format!("{place} has {length:?} items, {rule} {bound}"));
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(root, operand, item, &format!("{place}[{n}]"), found);
                }
            }
            "required" => {
                let names = operand.as_array().expect("a list").iter().filter_map(Value::as_str);
                let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                found.extend(missing.map(|name| format!("{place} lacks {name}")));
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, member) in value.as_object().into_iter().flatten() {
                    let place = format!("{place}.{name}");
                    match known.and_then(|known| known.get(name)) {
                        Some(rule) => faults(root, rule, member, &place, found),
                        None if operand == &json!(false) => {
                            found.push(format!("{place} is not in the schema"));
                        }
                        None => faults(root, operand, member, &place, found),
                    }
                }
            }
            other => panic!("the schema uses '{other}', which this test does not know"),
        }
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("'{other}' is no type"),
    }
}
