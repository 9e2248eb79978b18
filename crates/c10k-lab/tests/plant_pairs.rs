//! Two walls in one run: both named, in their order, or refused with the reason why they cannot be.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use common::{Ended, Lab, lab, namespaces_allowed, plantable};
use serde_json::Value;

fn plant(one: &str, two: &str) -> Ended {
    Lab::new().command(&["walls", "plant", one, two, "--json"]).wait()
}

/// What is wrong with two walls in one run; nothing, when exactly they are named, in the order in which they were put,
/// or when they are refused with a reason.
fn fault(one: &str, two: &str) -> Option<String> {
    let ended = plant(one, two);
    match ended.status.code() {
        Some(2) => {
            let reason = format!("{one} and {two} cannot be met in one run: ");
            let is_told = ended.stderr.lines().any(|line| {
                line.strip_prefix("error: ")
                    .and_then(|line| line.strip_prefix(&reason))
                    .is_some_and(|why| why.len() > 20)
            });
            (!is_told || !ended.stdout.is_empty()).then(|| format!("{one} {two}: {}", ended.stderr))
        }
        Some(3)
            if ["not on this kernel", "beside another group"]
                .iter()
                .any(|why| ended.stderr.contains(why)) =>
        {
            eprintln!("SKIPPED {one} {two}: {}", ended.stderr);
            None
        }
        code => {
            let document: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
            let walls = document["ceiling"]["walls"].as_array().cloned().unwrap_or_default();
            let named: Vec<&str> = walls.iter().filter_map(|wall| wall["name"].as_str()).collect();
            let order = [&document["name"], &document["with"]].map(|name| name.as_str().unwrap_or_default());
            let is_right = code == Some(0) && named == order && document["in_order"] == true;
            let both = [one, two].iter().all(|name| order.contains(name));
            (!is_right || !both)
                .then(|| format!("{one} {two}: {code:?}, {named:?} for {order:?}: {}", ended.stderr))
        }
    }
}

#[test]
fn two_walls_in_one_run_are_both_named_in_the_order_in_which_they_bit() {
    if !namespaces_allowed("two walls in one run") {
        return;
    }
    // Which one is named first on the command line makes no difference.
    for (one, two) in [
        ("accept-queue", "nofile-swarm"),
        ("server-died", "server-max-connections"),
        ("ports-reserved", "nofile-server"),
        ("error-verdict", "latency-verdict"),
    ] {
        assert_eq!(fault(one, two), None);
    }
    let ended = plant("server-died", "ports-exhausted");
    assert_eq!(ended.document()["name"], "ports-exhausted", "the server is killed in the hold");
    let banner = ended.line("planting ports-exhausted and server-died: ");
    assert!(
        banner.contains("a window of a few hundred ports") && banner.contains("a server that is killed"),
        "{banner}"
    );
}

#[test]
fn two_walls_that_cannot_bite_in_one_run_are_refused_with_the_reason() {
    for (one, two, reason) in [
        ("nofile-swarm", "nofile-swarm", "planted once"),
        ("refused", "no-route", "keeps every connection from the server"),
        ("ports-exhausted", "ports-reserved", "the swarm stops at the first"),
        ("firewall-drop", "accept-queue", "firewall-drop lets no connection come about"),
        ("syn-queue", "accept-queue", "syn-queue lets no connection come about"),
        ("latency-verdict", "nofile-swarm", "latency-verdict is named only where no other wall is proven"),
        ("error-verdict", "nofile-swarm", "error-verdict is named only where"),
        ("time-wait-buckets", "ports-exhausted", "time-wait-buckets"),
        ("nofile-server", "server-max-connections", "the server takes no more at the first"),
        ("accept-queue", "nofile-server", "the doing of nofile-server"),
    ] {
        for (one, two) in [(one, two), (two, one)] {
            let ended = lab(&["walls", "plant", one, two]);
            ended.expect_exit(2);
            let line = ended.line(&format!("error: {one} and {two} cannot be met in one run: "));
            assert!(line.contains(reason), "{line}");
            ended.line("hint: plant each by itself: c10k-lab walls plant ");
        }
    }
}

#[test]
#[ignore = "all pairs of walls: those that are run take minutes"]
fn stress_every_pair_of_walls_is_named_in_its_order_or_refused_with_a_reason() {
    if !namespaces_allowed("every pair of walls") {
        return;
    }
    let names = plantable();
    let pairs = names.iter().enumerate().flat_map(|(at, one)| names[at..].iter().map(move |two| (one, two)));
    let faults: Vec<String> = pairs.filter_map(|(one, two)| fault(one, two)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
