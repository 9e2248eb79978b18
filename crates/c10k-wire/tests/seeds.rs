//! The seeds of the fuzz targets, without a fuzzer; and how they come to be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use c10k_wire::conformance::{self, fuzzing};
use c10k_wire::ws::Role;

#[test]
fn the_seeds_pass_at_both_ends_whatever_end_they_were_made_for() {
    for role in [Role::Server, Role::Client] {
        let mut run = 0;
        for entry in fs::read_dir(folder(role)).expect("the seeds are part of the repository") {
            let data = fs::read(entry.unwrap().path()).unwrap();
            fuzzing::server(&data);
            fuzzing::client(&data);
            run += 1;
        }
        assert!(run >= 40, "only {run} seeds for the {role:?}");
    }
}

#[test]
fn each_broken_rule_and_each_refused_handshake_is_among_the_seeds() {
    for role in [Role::Server, Role::Client] {
        let there: BTreeSet<Vec<u8>> = fs::read_dir(folder(role))
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        for (name, seed) in seeds(role) {
            assert!(there.contains(&seed), "missing for the {role:?}: {name}; run write_the_seeds");
        }
    }
}

/// After a change of the conformance table: `cargo test -p c10k-wire --test seeds -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    for role in [Role::Server, Role::Client] {
        fs::create_dir_all(folder(role)).unwrap();
        for (name, seed) in seeds(role) {
            fs::write(folder(role).join(name), seed).unwrap();
        }
    }
}

/// One small case of the conformance table for each way to end, and every handshake.
fn seeds(role: Role) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut ends = BTreeSet::new();
    for case in conformance::cases().iter().filter(|case| case.is_for(role)) {
        let bytes = case.bytes_to(role);
        let shape = format!("{:?} {}", case.end, case.sent.len().min(4));
        if bytes.len() <= 300 && ends.insert(shape) {
            let how = [0x7f, 0, 2, 6][seeds.len() % 4];
            seeds.push((slug(&case.name), [&[how, 0][..], &bytes].concat()));
        }
    }
    let handshakes: Vec<_> = match role {
        Role::Server => conformance::requests().into_iter().map(|case| (case.name, case.bytes)).collect(),
        Role::Client => conformance::responses(conformance::SAMPLE_ACCEPT)
            .into_iter()
            .map(|case| (case.name, case.bytes))
            .collect(),
    };
    for (name, bytes) in handshakes.into_iter().filter(|(_, bytes)| bytes.len() <= 1000) {
        // The highest bit: no handshake in front of this one.
        seeds.push((slug(&format!("handshake {name}")), [&[0xff, 0][..], &bytes].concat()));
    }
    seeds
}

fn folder(role: Role) -> PathBuf {
    let name = if role == Role::Server { "ws_server" } else { "ws_client" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name)
}

fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}
