//! The sweeps that ship.

use c10k_plan::experiment::file::Sweep;

use super::one_run::refuse_unknown;
use super::runner::sweep_seconds;

/// Those that ship, by their names.
fn shipped() -> Vec<(String, Sweep)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../profiles/sweeps");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| match Sweep::read(path) {
        Ok(sweep) => (path.display().to_string(), sweep),
        Err(refusal) => panic!("{}", refusal.message),
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_sweep_that_ships_asks_a_question_expects_an_answer_and_takes_at_most_ten_minutes() {
    let all = shipped();
    assert!(all.len() >= 14, "{}", all.len());
    for (path, sweep) in &all {
        let texts = [&sweep.question, &sweep.believed, &sweep.title];
        assert!(texts.iter().all(|text| text.len() > 15), "{path}");
        assert!(!sweep.predictions.is_empty(), "{path}");
        let says_why = sweep.text.lines().any(|line| line.starts_with("control = \"none\" # "));
        assert!(sweep.control.is_some() || says_why, "{path}");
        let seconds = sweep_seconds(sweep);
        assert!(seconds <= 600.0, "{path}: {seconds} s");
        if let Err(refusal) = refuse_unknown(&sweep.arms) {
            panic!("{path}: {}", refusal.message);
        }
    }
}

#[test]
fn the_ceilings_that_ship_are_the_computed_numbers_of_ports() {
    let all = shipped();
    let named = |name: &str| all.iter().find(|(_, sweep)| sweep.name == name).map(|(_, sweep)| sweep);
    for name in ["port-range", "source-ips", "listen-ports"] {
        let sweep = named(name).expect(name);
        for prediction in &sweep.predictions {
            let arm = &sweep.arms[prediction.arms[0]];
            let profile = c10k_profile::Profile::from_text(&arm.profile).expect("a profile");
            let range =
                profile.sysctl.get("net.ipv4.ip_local_port_range").map(|range| range.value.to_string());
            let range = range.unwrap_or_else(|| "32768 60999".to_owned());
            let (first, last) = range.split_once([' ', '\t']).expect("two ports");
            let ports =
                last.trim().parse::<u64>().expect("a port") - first.parse::<u64>().expect("a port") + 1;
            let sources: c10k_swarm::ips::IpList =
                arm.plan.load.ips.as_deref().expect("sources").parse().expect("sources");
            let tuples = ports * sources.addresses().len() as u64 * arm.plan.server.listen.len() as u64;
            let computed = tuples.min(arm.plan.target);
            assert_eq!(prediction.expected.text, format!("held = {computed}"), "{name}: {}", arm.label());
        }
    }
}
