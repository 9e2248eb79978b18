use c10k_record::{Exit, Topology};

use crate::args::RunArgs;
use crate::resolve::resolve;

/// What is said of a plan of that text; nothing where it can be carried out.
fn told(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).expect("written");
    let refusal = resolve(&RunArgs { plan: Some(path), ..RunArgs::default() }).err()?;
    assert_eq!(refusal.exit, Exit::BadText);
    Some(format!("{}; {}", refusal.message, refusal.hint.unwrap_or_default()))
}

const UP: &str = "[[phase]]\nname = \"up\"\nkind = \"ramp\"\n";

/// A plan with a ramp and a phase 'b' of this kind that says `own`, below what the plan says itself.
fn phase(kind: &str, own: &str, plan: &str) -> String {
    format!("{plan}{UP}[[phase]]\nname = \"b\"\nkind = \"{kind}\"\n{own}")
}

#[test]
fn plans_that_nobody_can_carry_out_are_told_before_the_run() {
    for (text, words) in [
        (format!("{UP}{UP}"), "two phases are called 'up'"),
        (format!("{UP}[[phase]]\nname = \"a b\"\nkind = \"hold\"\n"), "'a b' is none"),
        (format!("{UP}rate = \"100/s\"\nduration = \"10s\"\n"), "100000 at 100/s take 1000.0 s"),
        (format!("{UP}target = 200000\n"), "above the plan's target 100000"),
        (format!("{UP}[[phase]]\nname = \"more\"\nkind = \"ramp\"\n"), "goes to 100000, and 100000 are open"),
        ("[[phase]]\nkind = \"echo\"\n".to_owned(), "nobody connected"),
        (format!("{UP}[[phase]]\nkind = \"echo\"\nrate = 5\n"), "opens and closes nothing"),
        (format!("steps = \"5x4\"\n{UP}"), "phases and steps contradict"),
        (format!("workload = \"echo\"\n{UP}"), "leave out the workload"),
        (
            format!("{UP}[[phase]]\nkind = \"stream\"\nbitrate = \"1Mbit/s\"\nmessages = 3\n"),
            "messages belongs to the workload echo",
        ),
        (
            "workload = \"stream\"\nbitrate = \"1Mbit/s\"\nmessages = 1\n".to_owned(),
            "messages belongs to the workload echo",
        ),
        ("messages = 1\n".to_owned(), "and the plan does hold"),
        ("workload = \"stream\"\n".to_owned(), "has no bit rate"),
        ("workload = \"echo\"\nprobe = false\n".to_owned(), "--no-probe and 'echo' contradict"),
        ("beat = \"1s\"\nprobe = false\n".to_owned(), "--no-probe and a beat contradict"),
        ("workload = \"fanout\"\nprobe = false\nmode = \"hold\"\n".to_owned(), "mode hold discards"),
        (
            format!("{UP}[[phase]]\nkind = \"stream\"\nbitrate = 800\n[[phase]]\nkind = \"fanout\"\n"),
            "serves one of them",
        ),
        (phase("echo", "", "probe = false\n"), "--no-probe and 'echo' in the phase 'b' contradict"),
        (phase("churn", "", "probe = false\n"), "--no-probe and 'churn' in the phase 'b' contradict"),
        (phase("hold", "beat = \"1s\"\n", "probe = false\n"), "--no-probe and a beat in the phase 'b'"),
        (
            phase("echo", "", "probe = false\nmode = \"hold\"\n"),
            "'echo' in the phase 'b' lives by their echo",
        ),
        (
            phase("hold", "beat = \"1s\"\n", "probe = false\nmode = \"hold\"\n"),
            "a beat in the phase 'b' lives",
        ),
        (phase("fanout", "", "probe = false\nmode = \"hold\"\n"), "mode hold discards what asks for it"),
        (phase("churn", "churn_close = \"server\"\n", ""), "--churn-close server in the phase 'b' asks"),
        (
            phase("churn", "", "[work]\nchurn_close = \"server\"\n"),
            "--churn-close server in the phase 'b' asks",
        ),
        (phase("churn", "churn_close = \"server\"\n", "[server]\nforeign = true\n"), "raw echo has no word"),
        ("workload = \"churn\"\nchurn_close = \"server\"\n".to_owned(), "--churn-close server asks"),
        (phase("echo", "messages = 2000000\n", ""), "the phase 'b' sends 200000000000 messages a second"),
        ("workload = \"echo\"\ntarget = 5\nmessage_rate = \"6M/s\"\n".to_owned(), "the plan sends 6000000"),
        (phase("fanout", "fanout_every = \"2s\"\nduration = \"1s\"\n", ""), "none in its time"),
        (phase("echo", "messages = 1\nin_flight_messages = 3\n", ""), "contradict each other"),
        (
            phase("echo", "bitrate = \"1Mbit/s\"\n", ""),
            "bitrate belongs to the workload stream, and the phase 'b' does echo",
        ),
        (
            phase(
                "stream",
                "bitrate = 800\n",
                "verdicts = [\"b.echo_p99 < 1s\", \"b.receipts_missing = 0\"]\n",
            ),
            "what only fanout measures",
        ),
        ("arrivals = \"poisson\"\n".to_owned(), "needs a mean"),
        ("arrivals = \"burst\"\nrate = 5\n".to_owned(), "contradict each other"),
        (
            format!(
                "{UP}[[phase]]\nkind = \"fanout\"\n[[phase]]\nname = \"b\"\nkind = \"fanout\"\npayload = 99\n"
            ),
            "different things of one server",
        ),
        (
            format!("verdicts = [\"peek.echo_p99 < 1s\"]\n{UP}[[phase]]\nname = \"peak\"\nkind = \"echo\"\n"),
            "did you mean peak?",
        ),
    ] {
        let told = told(&text).unwrap_or_else(|| panic!("it is taken:\n{text}"));
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn what_nothing_in_the_plan_draws_or_measures_is_told_before_the_run() {
    for (text, words) in [
        (format!("verdicts = [\"up.connect_p99 < 1s\"]\n{UP}"), "asks for connect_p99 of one phase"),
        ("verdicts = [\"stalled_viewers = 0\"]\n".to_owned(), "what only stream measures"),
        ("seed = 7\n".to_owned(), "load.seed = 7 and nothing is drawn"),
        ("verdicts = [\"handshake_p99 < 1s\"]\n".to_owned(), "the plan is raw"),
        ("verdicts = [\"lateness_p99 < 1ms\"]\n".to_owned(), "nothing has an intended time"),
        (
            "verdicts = [\"lateness_p99 < 1ms\"]\narrivals = \"burst\"\n".to_owned(),
            "nothing has an intended time",
        ),
        (
            "verdicts = [\"lateness_p99 < 1ms\"]\nworkload = \"churn\"\n".to_owned(),
            "nothing has an intended time",
        ),
        (
            format!("verdicts = [\"lateness_p99 < 1ms\"]\n{UP}rate = \"20k/s\"\nduration = \"10s\"\n"),
            "nothing has an intended time",
        ),
        (
            "verdicts = [\"connect_response_p99 < 1s\"]\narrivals = \"burst\"\n".to_owned(),
            "from their intended time, and they have none",
        ),
        (
            "verdicts = [\"lateness_p99 < 1ms\"]\nworkload = \"echo\"\n[work]\nin_flight_messages = 9\n"
                .to_owned(),
            "nothing has an intended time",
        ),
        ("verdicts = [\"hold.echo_p99 < 1s\"]\n".to_owned(), "a phase in which nothing is said"),
    ] {
        let told = told(&text).unwrap_or_else(|| panic!("it is taken:\n{text}"));
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn plans_that_somebody_can_carry_out_are_taken() {
    for text in [
        UP.to_owned(),
        format!("{UP}rate = \"20k/s\"\nduration = \"10s\"\n"),
        format!("{UP}[[phase]]\nkind = \"echo\"\nmessages = 3\n[[phase]]\nkind = \"drain\"\n"),
        "workload = \"echo\"\nverdicts = [\"echo.echo_p99 < 1s\"]\n".to_owned(),
        "rate = 5\narrivals = \"poisson\"\nseed = 3\n".to_owned(),
        "seed = 3\nworkload = \"echo\"\n[work]\npayload = \"32..64\"\n".to_owned(),
        "protocol = \"ws\"\nverdicts = [\"handshake_p99 < 1s\"]\n".to_owned(),
        "rate = 5\nverdicts = [\"lateness_p99 < 1ms\"]\n".to_owned(),
        "workload = \"echo\"\nverdicts = [\"lateness_p99 < 1ms\"]\n".to_owned(),
        "rate = 5\nverdicts = [\"connect_response_p99 < 1s\"]\n".to_owned(),
        "verdicts = [\"hold.echo_p99 < 1s\", \"lateness_p99 < 1ms\"]\n[work]\nbeat = \"1m\"\n".to_owned(),
        phase("churn", "churn_close = \"server\"\n", "protocol = \"ws\"\n"),
        phase("fanout", "fanout_every = \"1s\"\nduration = \"1s\"\n", ""),
        phase("hold", "beat = \"1m\"\nduration = \"1s\"\n", ""),
        phase("stream", "bitrate = 800\n", "probe = false\n"),
    ] {
        assert_eq!(told(&text), None, "{text}");
    }
}

/// The plans of the repository's own.
#[test]
fn the_plans_that_ship_can_be_carried_out_and_say_what_they_are_called() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/plans");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder of the plans") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let args = RunArgs { plan: Some(path), ..RunArgs::default() };
        let plan = resolve(&args).unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message));
        assert_eq!(plan.topology, Topology::Loopback);
        seen.push((name, plan.workload.to_string(), plan.target));
    }
    seen.sort();
    let seen: Vec<String> =
        seen.iter().map(|(name, work, target)| format!("{name} {work} {target}")).collect();
    let expected = [
        "burst-20k hold 20000",
        "echo-10k echo 10000",
        "echo-20k echo 20000",
        "echo-30k echo 30000",
        "goal fanout 100000",
        "hold-10s hold 20000",
        "steps-5000x4 hold 20000",
        "video stream 10000",
    ];
    assert_eq!(seen, expected);
}
