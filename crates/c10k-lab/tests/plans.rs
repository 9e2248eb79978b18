//! Plans that people write, run: phases by name, workloads, verdicts that warn or end the run.

mod common;

use common::Lab;

const PHASES: &str = r#"
target = 400
profile = "stock"

[[phase]]
name = "up"
kind = "ramp"
target = 200

[[phase]]
name = "talk"
kind = "echo"
duration = "500ms"
message_rate = "400/s"

[[phase]]
name = "more"
kind = "ramp"

[[phase]]
name = "down"
kind = "drain"
target = 100

[[verdict]]
expr = "talk.echo_p99 < 10s"

[[verdict]]
expr = "more.held = target"

[[verdict]]
expr = "up.connects_per_second > 100M"
severity = "warn"
"#;

#[test]
fn named_phases_are_gone_through_and_stand_in_samples_record_and_verdicts() {
    let ended = Lab::new().with_file("my.toml", PHASES).run(&["my.toml", "--json"]);
    ended.expect_exit(0);
    let record = ended.document();
    let phases = record["named_phases"].as_array().expect("a list");
    let told: Vec<(&str, u64, u64)> = phases
        .iter()
        .map(|phase| {
            let number = |key: &str| phase[key].as_u64().expect("a number");
            (phase["name"].as_str().expect("a name"), number("arrivals"), number("open"))
        })
        .collect();
    assert_eq!(told, [("up", 200, 200), ("talk", 0, 200), ("more", 200, 400), ("down", 0, 100)]);
    let work = &record["work"][0];
    assert_eq!((work["name"].as_str(), work["messages_wrong"].as_u64()), (Some("talk"), Some(0)));
    assert!(work["messages_answered"].as_u64() > Some(0) && work["server_cores"].is_f64(), "{work}");
    let c = &record["connections"];
    assert_eq!(
        (c["held"].as_u64(), c["released"].as_u64(), c["attempted"].as_u64()),
        (Some(100), Some(300), Some(400))
    );
    let warned =
        record["warnings"].as_array().expect("a list").iter().any(|warning| warning["id"] == "verdict");
    assert!(warned, "{}", record["warnings"]);
    let broken: Vec<&serde_json::Value> = record["verdicts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|verdict| verdict["passed"] == false)
        .collect();
    assert_eq!(broken.len(), 1, "only the one that warns: {broken:?}");
}

#[test]
fn phases_that_contradict_the_plan_are_refused_before_anything_runs() {
    let plan = |own: &str, phase: &str| {
        format!("target = 50\n{own}[[phase]]\nkind = \"ramp\"\n[[phase]]\nname = \"b\"\n{phase}")
    };
    for (text, words) in [
        (plan("probe = false\n", "kind = \"echo\"\n"), "--no-probe and 'echo' in the phase 'b'"),
        (
            plan("probe = false\n", "kind = \"hold\"\nbeat = \"1s\"\n"),
            "--no-probe and a beat in the phase 'b'",
        ),
        (plan("", "kind = \"churn\"\nchurn_close = \"server\"\n"), "raw echo has no word"),
        (
            plan("", "kind = \"echo\"\nmessages = 2000000\n"),
            "the phase 'b' sends 100000000 messages a second",
        ),
        (plan("mode = \"hold\"\nprobe = false\n", "kind = \"fanout\"\n"), "mode hold discards"),
    ] {
        Lab::new().with_file("my.toml", &text).run(&["my.toml"]).expect_refused(2, &[words]);
    }
}

#[test]
fn a_verdict_with_abort_ends_the_run_by_its_name() {
    let arguments = ["--target", "100", "--profile", "stock", "--workload", "echo", "--messages", "5/s"];
    let more = ["--hold", "5m", "--verdict", "abort 200ms: echo_p99 < 1us", "--json"];
    let ended = Lab::new().run(&[&arguments[..], &more].concat());
    ended.expect_exit(1);
    let record = ended.document();
    assert_eq!(record["ended_because"], "ended early by its verdict `echo_p99 < 1us`");
    assert_eq!((&record["state"], &record["connections"]["held"]), (&"complete".into(), &100.into()));
}

#[test]
fn all_at_once_and_at_random_everybody_is_held() {
    for arguments in
        [&["--arrivals", "burst"][..], &["--arrivals", "poisson", "--rate", "2000/s", "--seed", "7"]]
    {
        let all = [
            &["--target", "300", "--profile", "stock", "--hold", "100ms", "--verdict", "arrivals = planned"],
            arguments,
        ];
        Lab::new().run(&all.concat()).expect_held(300);
    }
}

#[test]
fn a_plan_is_printed_with_where_its_values_come_from_and_nothing_runs() {
    let ended = Lab::new().with_file("my.toml", PHASES).run(&["my.toml", "--hold", "3s", "--print-plan"]);
    ended.expect_exit(0);
    for line in [
        "target = 400 # my.toml:2",
        "hold = \"3s\" # flag --hold",
        "name = \"up\" # my.toml:5",
        "mode = \"echo\" # default",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
    Lab::new()
        .run(&["--profile", "tuend", "--print-plan"])
        .expect_refused(2, &["`tuend`", "did you mean tuned?"]);
    for (arguments, lines) in [
        (&["1k"][..], &["target = 1000 # the word 1k", "profile = \"tuned\" # default"][..]),
        (
            &["--server-port", "9001"],
            &[
                "profile = \"stock\" # nobody asked for one",
                "listen = [\"127.0.0.1:9001\"] # flag --server-port",
                "foreign = true # flag --server-port",
            ],
        ),
        (&["--workload", "echo"], &["messages_per_second = 1.0 # default", "payload = \"64\" # default"]),
        (&["--workload", "echo", "--message-rate", "5k"], &["message_rate_per_second = 5000.0 # flag"]),
        (
            &["--workload", "churn"],
            &["churn_per_second = 1000.0 # default", "churn_close = \"client\" # default"],
        ),
        (&["--workload", "fanout"], &["fanout_every = \"1s\" # default"]),
    ] {
        let ended = Lab::new().run(&[arguments, &["--print-plan"]].concat());
        ended.expect_exit(0);
        for line in lines {
            assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
        }
        let says_more_than_one = ended.stdout.contains("\nmessages_per_second");
        assert!(!says_more_than_one || !ended.stdout.contains("message_rate"), "{}", ended.stdout);
    }
}
