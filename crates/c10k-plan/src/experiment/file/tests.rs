//! Files of sweeps: what is right, what is refused and where.

use super::*;

const BASE: &str = "[base]\nprofile = \"stock\"\ntarget = 50\nhold = \"0s\"\n";

/// A file of this text, read.
fn read(text: &str) -> Result<Sweep, Refusal> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my sweep.toml");
    std::fs::write(&path, text).expect("written");
    Sweep::read(&path)
}

/// A sweep over the base with these lines above it and below it.
fn with(above: &str, below: &str) -> Result<Sweep, Refusal> {
    read(&format!("metrics = [\"held\"]\npairs = 1\n{above}\n{BASE}{below}\n"))
}

#[track_caller]
fn refused(result: Result<Sweep, Refusal>, message: &str, marked: &str) {
    let refusal = result.expect_err(message);
    assert_eq!(refusal.exit, c10k_record::Exit::BadText, "{refusal:?}");
    assert!(refusal.message.contains(message), "no '{message}' in: {}", refusal.message);
    let mut lines = refusal.message.lines().rev();
    let (caret, line) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = caret.find('^').unwrap_or_else(|| panic!("no caret: {}", refusal.message));
    assert!(line.get(at..).is_some_and(|rest| rest.starts_with(marked)), "{}", refusal.message);
    assert!(refusal.hint.is_some_and(|hint| !hint.is_empty()));
}

#[test]
fn each_value_is_one_side_beside_the_base_and_a_grid_has_every_choice() {
    let vary = "[vary]\n\"net.core.somaxconn\" = [128, 4096]\nnet.ipv4.tcp_rmem = [[4096, 8192, 16384]]\n\
                server.cpus = [0.5]";
    let sweep = with("", vary).expect("a sweep");
    let labels: Vec<String> = sweep.arms.iter().map(Arm::label).collect();
    let expected = [
        "base",
        "net.core.somaxconn = 128",
        "net.core.somaxconn = 4096",
        "net.ipv4.tcp_rmem = 4096 8192 16384",
        "server.cpus = 0.5",
    ];
    assert_eq!(labels, expected);
    assert_eq!((sweep.name.as_str(), sweep.keys().len()), ("my-sweep", 3));
    let grid = with("grid = true", vary).expect("a sweep");
    assert_eq!(grid.arms.len(), 1 + 2);
    assert_eq!(grid.arms[2].settings.len(), 3);
}

#[test]
fn what_all_sides_have_is_set_in_the_base_too() {
    let sweep =
        with("", "[set]\nnet.core.somaxconn = 64\n[vary]\nload.in_flight = [16, 32]").expect("a sweep");
    for arm in &sweep.arms {
        let profile = c10k_profile::Profile::from_text(&arm.profile).expect("a profile");
        assert_eq!(profile.sysctl["net.core.somaxconn"].value.to_string(), "64");
    }
    assert_eq!(sweep.arms.iter().map(|arm| arm.plan.load.in_flight).collect::<Vec<_>>(), [512, 16, 32]);
    assert_eq!(sweep.arms[0].label(), "base");
}

#[test]
fn settings_of_a_case_are_changed_together() {
    let case = "[[case]]\nname = \"small\"\nset = { server.cpus = 0.5, load.in_flight = 16 }";
    let sweep = with("", case).expect("a sweep");
    assert_eq!((sweep.arms.len(), sweep.arms[1].label().as_str()), (2, "small"));
    assert_eq!((sweep.arms[1].groups().len(), sweep.arms[1].plan.load.in_flight), (1, 16));
}

#[test]
fn a_prediction_is_of_the_sides_that_it_names() {
    let below = "[vary]\nload.in_flight = [16, 32]\n[[expect]]\nthat = \"held = 50\"\n[[expect]]\nvalue = 32\n\
                 that = [\"held: no difference\"]\n[[expect]]\ncase = \"base\"\nthat = \"held = 50\"";
    let sweep = with("", below).expect("a sweep");
    let of: Vec<&[usize]> = sweep.predictions.iter().map(|prediction| prediction.arms.as_slice()).collect();
    assert_eq!(of, [&[1, 2][..], &[2], &[0]]);
    // A side that has the setting beside others is another matter, where the setting is tried alone.
    let alone = "[vary]\nload.in_flight = [16]\n[[case]]\nname = \"both\"\nset = { load.in_flight = 16, sources = 2 }\n\
                 [[expect]]\nsetting = \"load.in_flight\"\nthat = \"held = 50\"\n[[expect]]\nsetting = \"sources\"\n\
                 that = \"held = 50\"";
    let sweep = with("", alone).expect("a sweep");
    let of: Vec<&[usize]> = sweep.predictions.iter().map(|prediction| prediction.arms.as_slice()).collect();
    assert_eq!(of, [&[1][..], &[2]]);
    let short = with("expect = [\"held = 50\"]", "[vary]\nload.in_flight = [16]").expect("a sweep");
    assert_eq!(short.predictions[0].arms, [1]);
}

#[test]
fn topologies_move_the_addresses_and_sources_stand_on_them() {
    let sweep =
        with("", "[[case]]\nname = \"far\"\nset = { sources = 2, topology = \"veth\" }").expect("a sweep");
    let plan = &sweep.arms[1].plan;
    assert_eq!(plan.load.ips.as_deref(), Some("192.168.1.200-192.168.1.201"));
    assert_eq!(plan.server.listen, [([192, 168, 1, 10], 9000).into()]);
}

#[test]
fn what_is_wrong_is_shown_with_its_line_and_a_caret() {
    let vary = |line: &str| with("", &format!("[vary]\n{line}"));
    refused(with("colour = 1", "[vary]\nsources = [2]"), "unknown key `colour`", "colour");
    refused(vary("load.colour = [1]"), "unknown setting `load.colour`", "colour");
    refused(vary("colour = [1]"), "unknown setting `colour`", "colour");
    refused(vary("limits.nofiles = [1]"), "unknown field `nofiles`", "nofiles");
    refused(vary("sources = []"), "a list without a value", "[]");
    refused(vary("sources = 2"), "expected a list of values", "2");
    refused(vary("target = [0]"), "target = 0 holds nothing", "0]");
    refused(vary("topology = [\"remote\"]"), "both ends of each run on this machine", "\"remote\"");
    refused(vary("sources = [2, 3, 2]"), "sources: 2 stands twice", "2]");
    refused(vary("server.workers = [0]"), "line 9: server.workers = 0: expected", "0]");
    refused(vary("sources = [2, 0]"), "0 sources", "0]");
    refused(vary("topology = [\"\"]"), "a value without anything in it", "\"\"");
    refused(vary("topology = [\"moon\"]"), "topology = moon", "\"moon\"");
    refused(vary("net.ipv4.tcp_rmem = [[1, 2]]"), "net.ipv4.tcp_rmem", "[1, 2]");
    refused(vary("server.memory = [\"much\"]"), "expected bytes", "\"much\"");
    refused(vary("load.rate = [\"fast\"]"), "so many a second", "\"fast\"");
    let metrics = |names: &str| read(&format!("metrics = {names}\n{BASE}[vary]\nsources = [2]\n"));
    refused(metrics("[\"speed\"]"), "unknown metric `speed`", "\"speed\"");
    refused(metrics("[\"cycles_per_second\"]"), "is measured in churn", "\"cycles_per_second\"");
    refused(metrics("[\"handshake_p99\"]"), "handshake_p99 is measured over WebSocket", "\"handshake_p99\"");
    let silent =
        format!("metrics = [\"echo_p99\"]\n{BASE}[base.load]\nprobe = false\n[vary]\nsources = [2]\n");
    refused(read(&silent), "echo_p99 is measured with a probe, and base is without one", "\"echo_p99\"");
    let timed = "lateness_p99 is measured where connects or messages have an intended time";
    refused(metrics("[\"lateness_p99\"]"), timed, "\"lateness_p99\"");
    let response = "[\"connect_response_p99\"]";
    refused(metrics(response), "connect_response_p99 is measured at a rate", "\"connect_response_p99\"");
    let open_loop =
        format!("metrics = [\"lateness_p99\"]\n{BASE}[base.load]\nrate = 100\n[vary]\nsources = [2]\n");
    assert!(read(&open_loop).is_ok());
    refused(metrics("[]"), "a sweep without metrics", "metrics");
    refused(metrics("[\"\"]"), "a text without a word", "\"\"");
    for measured in ["connects_per_second", "failed", "ghosts", "time_wait_peak"] {
        let five = format!("metrics = [\"{measured}\"]\npairs = 5\n{BASE}[vary]\nsources = [2]\n");
        refused(read(&five), "5 pairs prove nothing of what differs from run to run", "5");
    }
    let expect = |line: &str| with("", &format!("[vary]\nsources = [2]\n[[expect]]\n{line}"));
    refused(expect("that = \"held: quicker\""), "held: quicker", "\"held: quicker\"");
    refused(expect("value = 3\nthat = \"held = 50\""), "no side of the sweep is meant", "3");
    refused(expect("that = \"failed = 0\""), "failed is not among the metrics", "\"failed = 0\"");
    refused(
        expect("case = \"base\"\nthat = \"held: more\""),
        "the base differs from nothing",
        "\"held: more\"",
    );
    refused(expect("case = \"base\"\nvalue = 2\nthat = \"held = 50\""), "a case is named whole", "\"base\"");
    refused(expect("that = []"), "that: a list without a text", "[]");
    refused(expect("sayd = 1\nthat = \"held = 5\""), "unknown key of [[expect]] `sayd`", "sayd");
    refused(with("control = \"spin\"", "[vary]\nsources = [2]"), "unknown metric `spin`", "\"spin\"");
    refused(with("title = \" \"", "[vary]\nsources = [2]"), "title says nothing", "\" \"");
    refused(read("metrics = [\"held\"]\nbase = \"none.toml\"\n"), "there is no plan", "\"none.toml\"");
    let twice = "[vary]\nsources = [2]\n[[case]]\nname = \"sources = 2\"\nset = { sources = 3 }";
    refused(with("", twice), "two sides are called 'sources = 2'", "");
    refused(with("", "[[case]]\nname = \"a\"\nset = {}"), "a case that sets nothing", "[[case]]");
    refused(read("metrics = [\n"), "is not right", "");
}

#[test]
fn a_sweep_without_a_base_or_without_anything_varied_is_refused() {
    for (text, words) in [("metrics = [\"held\"]", "without a base"), (BASE, "nothing is varied")] {
        let message = read(text).expect_err(words).message;
        assert!(message.contains(words), "{message}");
    }
}
