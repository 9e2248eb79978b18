//! A record that an older version wrote is still shown and compared.

mod common;

use common::{Lab, expect_schema, lab};
use serde_json::Value;

/// What version 1 did not have from the start, by the object that it stands in.
const CAME_LATER: [(&str, &[&str]); 7] = [
    ("", &["growth_stopped", "growth_evidence", "processes"]),
    ("/connections", &["released", "open", "at_server"]),
    ("/memory_per_connection", &["connections"]),
    ("/ceiling", &["off_by"]),
    ("/ceiling/predicted", &["uncertainty_percent"]),
    ("/server", &["opened"]),
    (
        "/host/limits",
        &[
            "threads_left",
            "neighbours_max",
            "link_bits_per_second",
            "server_per_table",
            "server_processes",
            "server_room",
            "swarm_per_table",
            "memory_total_bytes",
            "conntrack_entries",
        ],
    ),
];

#[test]
fn a_record_without_the_fields_that_came_later_is_shown_and_compared() {
    // Short of its target, so that it has a ceiling.
    let ended = Lab::new().run(&[
        "--target",
        "300",
        "--max-connections",
        "200",
        "--hold",
        "200ms",
        "--probe-timeout",
        "1s",
    ]);
    ended.expect_exit(1);
    let whole = ended.folder().join("record.json");
    let mut record: Value =
        serde_json::from_str(&std::fs::read_to_string(&whole).expect("read")).expect("JSON");
    expect_schema(&record);
    for (place, fields) in CAME_LATER {
        let object = record.pointer_mut(place).and_then(Value::as_object_mut);
        let object = object.unwrap_or_else(|| panic!("the record has no {place}"));
        for field in fields {
            assert!(object.remove(*field).is_some(), "{place} has no {field}");
        }
    }
    // And its handshakes had no time of their own.
    let load = record.pointer_mut("/plan/load").and_then(Value::as_object_mut).expect("a plan");
    assert!(load.remove("handshake_timeout").is_some());
    let older = ended.home().join("older.json");
    std::fs::write(&older, record.to_string()).expect("written");
    let (older, whole) = (older.display().to_string(), whole.display().to_string());

    let shown = lab(&["report", &older]);
    shown.expect_exit(0);
    assert!(shown.stdout.contains("server-max-connections"), "{}", shown.stdout);
    let json = lab(&["report", &older, "--json"]);
    json.expect_exit(0);
    expect_schema(&json.document());
    for pair in [[&older, &whole], [&whole, &older]] {
        let compared = lab(&["report", pair[0], pair[1]]);
        compared.expect_exit(0);
        assert!(compared.stdout.contains("held"), "{}", compared.stdout);
    }
    let page = Lab::new().command(&["report", &older, "--html", "page.html"]).wait();
    page.expect_exit(0);
    assert!(std::fs::read_to_string(page.home().join("page.html")).expect("a page").contains("<html"));
}
