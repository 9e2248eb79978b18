//! Prometheus itself: its tool accepts the alerts, and each query of the dashboard gives data of a real run.

mod common;
mod metrics_support;

use std::process::Command;

use c10k_ceiling::walls;
use common::{Lab, Running};
use metrics_support::prometheus::Prometheus;
use metrics_support::{Page, after, has, metrics_of, top};
use serde_json::Value;

/// What promtool says; it must be content.
#[track_caller]
fn expect_accepted(words: &[&str], file: &str) -> String {
    let folder = top().join("docs/metrics");
    let output =
        Command::new("promtool").args(words).arg(file).current_dir(folder).output().expect("promtool");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {said}");
    said
}

fn document(name: &str) -> String {
    std::fs::read_to_string(top().join("docs").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn the_alerts_are_accepted_and_each_is_shown_to_fire_and_to_be_silent() {
    let (rules, tests, words) =
        (document("metrics/alerts.yml"), document("metrics/alerts_test.yml"), document("metrics.md"));
    let names = alerts(&rules);
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        let of_it: Vec<&str> =
            tests.split("  - name: ").filter(|test| test.starts_with(&format!("{name} "))).collect();
        let fires = of_it.iter().filter(|test| test.contains("exp_labels:")).count();
        let silent = of_it.iter().filter(|test| test.contains("exp_alerts: []")).count();
        assert!(
            fires > 0 && silent > 0,
            "{name}: {fires} tests in which it fires, {silent} in which it is silent"
        );
        assert!(words.contains(&format!("| `{name}` |")), "docs/metrics.md does not tell {name}");
    }
    let told: Vec<&str> =
        words.lines().filter_map(|line| line.strip_prefix("| `C10k")?.split('`').next()).collect();
    assert_eq!(told.len(), names.len(), "docs/metrics.md tells alerts that there are not: {told:?}");
    for named in rules.split("`c10k-lab walls ").skip(1).filter_map(|rest| rest.split('`').next()) {
        assert!(named == "NAME" || walls().any(|wall| wall.name == named), "there is no wall {named}");
    }
    if has("promtool") {
        let said = expect_accepted(&["check", "rules"], "alerts.yml");
        assert!(said.contains(&format!("SUCCESS: {} rules found", names.len())), "{said}");
        expect_accepted(&["test", "rules"], "alerts_test.yml");
        expect_accepted(&["check", "config"], "prometheus.yml");
    }
}

/// All queries of the dashboard, panels and variables.
fn queries() -> Vec<String> {
    let text = document("metrics/dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

#[test]
fn the_dashboard_names_no_data_source_of_its_own() {
    fn uids(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let (true, Some(uid)) = (name == "uid", value.as_str()) {
                        found.push(uid.to_owned());
                    }
                    uids(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| uids(value, found)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&document("metrics/dashboard.json")).expect("JSON");
    let mut found = Vec::new();
    uids(&dashboard, &mut found);
    assert!(found.len() > 20 && found.iter().all(|uid| uid == "${datasource}"), "{found:?}");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    assert_eq!(variables[0]["type"], "datasource");
    for query in queries() {
        for word in query.split('$').skip(1) {
            assert!(
                ["job", "instance", "__rate_interval"].iter().any(|known| word.starts_with(known)),
                "{query}"
            );
        }
    }
}

/// A server that takes fewer than a swarm wants, so that some are lost, and a swarm that talks on.
fn a_pair_that_loses_some() -> [Running; 2] {
    let server = Lab::new().command(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--max-connections",
        "40",
        "--metrics",
        "0",
    ]);
    server.wait_until_said("listening on ");
    let listens = after(&server.stderr(), "listening on ");
    let swarm = Lab::new().command(&[
        "swarm",
        "--server",
        &listens,
        "--target",
        "50",
        "--hold",
        "1h",
        "--workload",
        "echo",
        "--messages",
        "100/s",
        "--probe-timeout",
        "1s",
        "--metrics",
        "0",
    ]);
    [server, swarm]
}

#[test]
fn each_query_of_the_dashboard_gives_data_of_a_run() {
    if !has("prometheus") {
        return;
    }
    let run = Lab::new().start(&[
        "--target",
        "60",
        "--hold",
        "1h",
        "--workload",
        "echo",
        "--messages",
        "100/s",
        "--metrics",
        "0",
    ]);
    let pair = a_pair_that_loses_some();
    let targets: Vec<_> = pair.iter().chain([&run]).map(metrics_of).collect();
    let prometheus = Prometheus::start(&targets);
    for query in queries() {
        let query = query.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "30s");
        prometheus.expect_data(&query);
    }
    // What a scrape has seen is what is there.
    let mut open = prometheus.expect_data("c10k_connections{end=\"swarm\", state=\"open\"} > 0");
    open.sort_by(f64::total_cmp);
    assert_eq!(open, [40.0, 60.0]);
    assert_eq!(prometheus.expect_data("count(up == 1)"), [3.0]);
    Page::scrape(targets[2]).expect_checked();
}

#[test]
fn the_queries_of_the_dashboard_name_only_what_is_told() {
    let told = document("metrics.md");
    for text in queries().into_iter().chain([document("metrics/alerts.yml")]) {
        for name in text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("c10k_"))
        {
            let family = name.trim_end_matches("_bucket");
            assert!(told.contains(&format!("| `{family}` |")), "{name} is none of docs/metrics.md");
        }
    }
}
