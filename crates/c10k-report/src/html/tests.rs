//! Pages of records of all kinds: whole, short, broken, cut, damaged.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{fixtures, read_latency_log, read_what_can_be_read, read_what_is_there};

/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "br", "hr"];

/// Whether every tag is closed in its order.
fn unbalanced(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let word = tag.trim_start_matches('/').split_whitespace().next().unwrap_or_default();
        if tag.starts_with('!') || VOID.contains(&word) {
            continue;
        }
        if !tag.starts_with('/') {
            open.push(word);
            if word == "script" || word == "style" {
                // What stands in them is no markup.
                rest = &rest[rest.find("</")?..];
            }
        } else if open.pop() != Some(word) {
            return Some(format!("</{word}> closes something else"));
        }
    }
    open.last().map(|tag| format!("<{tag}> is never closed"))
}

static LOG: LazyLock<LatencyLog> = LazyLock::new(|| read_latency_log(&fixtures::latency_log()));
static NO_LOG: LazyLock<LatencyLog> = LazyLock::new(LatencyLog::default);

struct Made {
    record: Record,
    samples: Vec<Sample>,
    ramp: Vec<RampRow>,
    latencies: &'static LatencyLog,
    missing: Vec<String>,
}

impl Made {
    fn of(record: Record, samples: Vec<Sample>) -> Self {
        let row = |n: u64| RampRow { elapsed_ms: n * 25, established: n * 900, ..RampRow::default() };
        Self { record, samples, ramp: (0..20).map(row).collect(), latencies: &LOG, missing: Vec::new() }
    }

    fn page(&self) -> String {
        let wall = |wall: &str, connections| Predicted {
            wall: wall.to_owned(),
            connections,
            uncertainty_percent: 0,
        };
        page_of_run(&Shown {
            record: &self.record,
            samples: &self.samples,
            ramp: &self.ramp,
            latencies: self.latencies,
            ladder: &[wall("ports-exhausted", 60_000), wall("ram", 2_500_000)],
            find: None,
            missing: &self.missing,
            files: &["record.json"],
        })
    }
}

fn page(record: Record) -> String {
    Made::of(record, fixtures::samples()).page()
}

fn records() -> Vec<Record> {
    vec![
        fixtures::held(),
        fixtures::short(),
        fixtures::aborted(),
        fixtures::unfinished(),
        fixtures::worked(),
        fixtures::at_a_rate(),
    ]
}

#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    for record in records() {
        for samples in [fixtures::samples(), Vec::new()] {
            let page = Made::of(record.clone(), samples).page();
            assert_eq!(unbalanced(&page), None, "{page}");
            for foreign in ["http://", "https://", "url(", "@import", "src=", " style=", " onclick="] {
                let of_namespaces = page.replace("http://www.w3.org/2000/svg", "");
                assert!(!of_namespaces.contains(foreign), "{foreign}");
            }
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let mut record = fixtures::short();
    let hostile = "\"><script>alert('&')</script>\u{1b}[31m";
    record.run_id = hostile.to_owned();
    record.command = vec![hostile.to_owned()];
    record.ended_because = Some(hostile.to_owned());
    record.profile.name = hostile.to_owned();
    record.verdicts[0].expr = hostile.to_owned();
    record.warnings.push(c10k_record::Warning::new(hostile, hostile));
    for wall in &mut record.ceiling.as_mut().expect("a short run").walls {
        wall.title = hostile.to_owned();
        wall.name = hostile.to_owned();
        wall.evidence[0].text = hostile.to_owned();
        wall.remedy.as_mut().expect("it has one").commands = vec![hostile.to_owned()];
    }
    let mut samples = fixtures::samples();
    samples[1].phase = hostile.to_owned();
    samples[2].lost = format!("{hostile}=7");
    let mut made = Made::of(record, samples);
    made.missing = vec![hostile.to_owned()];
    let page = made.page();
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(!page.contains('\u{1b}') && page.matches("&lt;script&gt;alert('&amp;')").count() >= 9, "{page}");
    assert_eq!(unbalanced(&page), None);
}

#[test]
fn the_page_of_a_short_run_says_which_wall_how_sure_and_what_to_type_before_any_plot() {
    let page = page(fixtures::short());
    let first = &page[page.find("<main>").expect("its main part")..page.find("<figure").expect("a plot")];
    for told in [
        "ports-exhausted",
        "no source port is left",
        "Proven",
        "cannot assign requested address",
        "--ips 127.0.0.1-127.0.0.4",
        "c10k-lab walls ports-exhausted",
    ] {
        assert!(first.contains(told), "{told}");
    }
    let order = [
        "<h1",
        "class=\"tiles\"",
        "What to type next",
        "Over time",
        "Where the bytes",
        "How latencies are spread",
    ];
    let places: Vec<usize> =
        order.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    for told in
        ["EADDRNOTAVAIL", "The walls, and what was reached", "Profile stock", "The same again", "accepted"]
    {
        assert!(page[places[3]..].contains(told), "{told}");
    }
}

#[test]
fn what_is_not_there_has_a_word_in_its_place() {
    let nothing = Made {
        record: fixtures::unfinished(),
        samples: Vec::new(),
        ramp: Vec::new(),
        latencies: &NO_LOG,
        missing: vec!["host is missing.".to_owned()],
    };
    let page = nothing.page();
    for told in [
        "There are no samples of this run",
        "There is no latency.hlog",
        "was not measured",
        "host is missing.",
        "The record has no plan",
        "The limits of the host are not in the record",
        "does not say by which command",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
}

#[test]
fn every_workload_has_plots_of_its_own() {
    let page = page(fixtures::worked());
    for told in [
        "Messages a second: talk",
        "Response over time: talk",
        "Stalls over viewers: play",
        "Receivers of each message: call",
        "Came, went and waited: come-and-go",
        "lateness of the swarm, p99",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn a_long_run_of_a_million_stays_below_a_megabyte() {
    let sample = |n: u64| Sample {
        elapsed_ms: n * 250,
        phase: if n < 100 { "ramp" } else { "hold" }.to_owned(),
        open: Some((n * 10_007).min(1_000_000)),
        messages_per_second: Some((n % 977) as f64 * 1.37),
        idle_cores: Some((n % 19) as f64 / 19.0),
        ..fixtures::samples()[(n % 5) as usize].clone()
    };
    let mut made = Made::of(fixtures::worked(), (0..4 * 3_600).map(sample).collect());
    made.ramp = (0..2_400)
        .map(|n| RampRow { elapsed_ms: n * 25, established: n * n % 7_919, ..RampRow::default() })
        .collect();
    let page = made.page();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

/// All places of a document, the deepest last.
fn places(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                into.push(path.clone());
                places(value, &path, into);
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                let path = format!("{path}/{n}");
                into.push(path.clone());
                places(value, &path, into);
            }
        }
        _ => {}
    }
}

fn removed(document: &Value, place: &str) -> Value {
    let mut document = document.clone();
    let (parent, key) = place.rsplit_once('/').expect("a path");
    let key = key.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(entries)) => {
            entries.remove(&key);
        }
        Some(Value::Array(values)) => {
            values.remove(key.parse().expect("an index"));
        }
        _ => {}
    }
    document
}

#[test]
fn a_record_without_any_one_of_its_fields_still_has_a_page() {
    let records = [fixtures::short(), fixtures::worked()];
    for document in records.iter().map(|record| serde_json::to_value(record).expect("plain data")) {
        let mut all = Vec::new();
        places(&document, "", &mut all);
        assert!(all.len() > 100, "{}", all.len());
        for place in all {
            let text = removed(&document, &place).to_string();
            let (record, missing) = read_what_is_there(&text).unwrap_or_else(|why| panic!("{place}: {why}"));
            let page = Made { missing, ..Made::of(record, fixtures::samples()) }.page();
            assert!(page.contains("</html>") && !page.contains("NaN"), "{place}");
        }
    }
}

fn table() -> String {
    let header = std::iter::once(Sample::csv_header());
    let rows = fixtures::samples();
    let lines: Vec<String> = header.chain(rows.iter().map(Sample::csv_row)).collect();
    lines.join("\n") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_cut_or_damaged_anywhere_still_make_a_page(cut in 0.0..1.0_f64, damage in 0.0..1.0_f64, with in "[,\n0-9a-z.-]{0,3}") {
        let whole = table();
        let at = |share: f64, of: &str| (share * of.len() as f64) as usize;
        let mut text = whole[..at(cut, &whole)].to_owned();
        let place = at(damage, &text);
        text.insert_str(place, &with);
        let (samples, _) = read_what_can_be_read(&text);
        let page = Made::of(fixtures::held(), samples).page();
        prop_assert!(page.contains("</html>") && !page.contains("NaN"));
    }

    #[test]
    fn any_value_in_any_place_of_a_record_still_makes_a_page_or_a_line(
        at in 0.0..1.0_f64,
        value in prop_oneof![
            Just(Value::Null), Just(Value::from("x")), Just(Value::from(-1)), Just(Value::from(u64::MAX)),
            Just(Value::from(1e300)), Just(Value::from(0)), Just(serde_json::json!([])), Just(serde_json::json!({})),
        ],
    ) {
        let mut document = serde_json::to_value(fixtures::short()).expect("plain data");
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let place = &all[(at * all.len() as f64) as usize];
        *document.pointer_mut(place).expect("it is there") = value;
        if let Ok((record, missing)) = read_what_is_there(&document.to_string()) {
            let page = Made { missing, ..Made::of(record, fixtures::samples()) }.page();
            prop_assert!(page.contains("</html>"), "{place}");
        }
    }

    #[test]
    fn a_climb_or_a_search_with_any_value_in_any_place_has_a_page(at in 0.0..1.0_f64, value in prop_oneof![
        Just(Value::Null), Just(Value::from("x")), Just(Value::from(u64::MAX)), Just(serde_json::json!([{}])),
    ]) {
        let mut document = climb();
        let mut all = Vec::new();
        places(&document, "", &mut all);
        *document.pointer_mut(&all[(at * all.len() as f64) as usize]).expect("it is there") = value;
        prop_assert!(page_of_climb("a climb", &document).contains("</html>"));
        prop_assert!(!tried::section(&document).into_string().is_empty());
    }
}

fn climb() -> Value {
    serde_json::json!({
        "start": "stock", "protocol": "raw", "connections": { "target": null, "held": 120_000 },
        "memory": { "connections": 2_500_000, "wall": "ram", "uncertainty_percent": 5 },
        "steps": [
            { "number": 1, "attempted": 28_240, "held": 28_232, "open": null, "wall": "ports-exhausted",
              "walls": ["ports-exhausted"],
              "evidence": [{ "source": "EADDRNOTAVAIL", "side": "swarm", "before": null, "after": 8, "text": "no port" }],
              "predicted": { "connections": 28_232, "wall": "ports-exhausted", "uncertainty_percent": 0 }, "off_by": 0,
              "lifted_with": { "settings": [], "how": "net.ipv4.ip_local_port_range = 1024 65535" },
              "next": null, "folder": "results/x/step-1" },
            { "number": 2, "attempted": 130_000, "held": 120_000, "open": null, "wall": "ram", "walls": ["ram"],
              "evidence": [], "predicted": null, "off_by": null, "lifted_with": null, "next": null, "folder": "x" }
        ],
        "ended_because": "120,000 are what the memory holds", "wall": "ram",
        "next": { "wall": "ram", "summary": "More memory.", "commands": ["free -h"], "any_suffices": false },
        "climbed": "results/x/climbed.toml", "check": { "target": 120_000, "held": 120_000, "folder": "x" },
        "warnings": [],
        "tried": [{ "search": 1, "connections": 100, "open": 100, "failed": 0, "holds": true,
            "verdicts": [{ "expr": "held = target", "passed": true, "value": 100.0 }] }],
        "most": 400, "searches": [100]
    })
}

#[test]
fn a_climb_s_page_has_its_stairs_with_wall_evidence_and_lift_and_what_comes_next() {
    let page = page_of_climb("20260102T030405Z-climb", &climb());
    assert_eq!(unbalanced(&page), None);
    for told in [
        "CLIMBED to 120,000 connections in 2 steps; wall: ram",
        "The staircase",
        "EADDRNOTAVAIL: no port",
        "Lifted with: net.ipv4.ip_local_port_range",
        "More memory.",
        "free -h",
        "120,000 of 120,000 held",
        "c10k-lab run --profile results/x/climbed.toml",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[test]
fn a_search_says_what_it_found_and_not_how_its_last_size_ended() {
    let mut find = climb();
    find["connections"] = serde_json::json!({ "median": 90, "lowest": 88, "highest": 92 });
    find["beyond"] = serde_json::json!({ "connections": 91, "verdict": "held = target", "wall": "ram" });
    let record = fixtures::short();
    let page = page_of_run(&Shown {
        record: &record,
        samples: &[],
        ramp: &[],
        latencies: &NO_LOG,
        ladder: &[],
        find: Some(&find),
        missing: &[],
        files: &[],
    });
    let sentence = "FOUND 90: the most connections at which the verdicts hold; held = target does not hold at 91 (wall: ram)";
    assert!(page.contains(sentence) && page.contains("88 to 92 in 1 search"), "{page}");
    find["connections"] = Value::Null;
    assert_eq!(tried::sentence(&find), None);
}
