//! Each workload by one command, raw and WebSocket: record, summary, verdicts, and what is said when it is stopped.

mod common;

use std::process::{Command, Stdio};

use c10k_record::{Record, RunState, Worked};
use common::{Ended, Lab, expect_schema};
use nix::sys::signal::Signal;

const TARGET: u64 = 500;

/// What each is started with, for its two seconds.
const WORKLOADS: [&[&str]; 4] = [
    &["--workload", "echo", "--messages", "2/s", "--payload", "32..1KiB"],
    &["--workload", "churn", "--churn", "200/s", "--churn-close", "rst"],
    &["--workload", "stream", "--bitrate", "80kbit/s"],
    &["--workload", "fanout", "--fanout-every", "250ms", "--payload", "99"],
];

fn start(lab: Lab, protocol: &str, workload: &[&str], more: &[&str]) -> common::Running {
    let all = ["--target", "500", "--profile", "stock", "--protocol", protocol, "--in-flight", "64"];
    lab.start(&[&all, workload, more].concat())
}

/// Its only work, which all of the record has to agree with.
#[track_caller]
fn worked(record: &Record) -> &Worked {
    let [worked] = &record.work[..] else { panic!("{:?}", record.work) };
    assert_eq!((worked.name.clone(), worked.messages_wrong), (record.workload.to_string(), 0), "{worked:?}");
    worked
}

/// Asserts that what a person sees at the end fits a small terminal; gives the row of this name.
#[track_caller]
fn summary_row(ended: &Ended, name: &str) -> String {
    let lines: Vec<&str> = ended.stdout.lines().skip_while(|line| !line.starts_with("HELD")).collect();
    // A busy machine adds a warning or two, which are no part of every run.
    let is_warning =
        |line: &&&str| line.trim_start().starts_with("warning") || line.starts_with("              ");
    let own = lines.iter().filter(|line| !is_warning(line)).count();
    assert!(
        own <= 24
            && lines
                .iter()
                .all(|line| line.contains('/') && line.contains("results") || line.chars().count() <= 80),
        "{}",
        ended.stdout
    );
    let told = ended.stdout.lines().find(|line| line.starts_with(&format!("  {name} ")));
    told.unwrap_or_else(|| panic!("no {name} in: {}", ended.stdout)).to_owned()
}

fn all_run(protocol: &str) {
    for workload in WORKLOADS {
        let ended = start(Lab::new(), protocol, workload, &["--hold", "2s"]).wait();
        ended.expect_exit(0);
        let record = ended.record();
        let work = worked(&record);
        assert!(record.verdicts.iter().all(c10k_record::Verdict::holds), "{:?}", record.verdicts);
        assert_eq!((record.connections.held, work.connections), (TARGET, TARGET), "{}", ended.stderr);
        assert!(work.server_cores.is_some() && work.swarm_cores.is_some_and(|cores| cores > 0.0), "{work:?}");
        assert!(!work.over_time.is_empty() && work.to_ms >= work.from_ms + 2000, "{work:?}");
        let row = summary_row(&ended, workload[1]);
        match workload[1] {
            "echo" => {
                assert!(row.contains("messages/s; ") && work.messages_intended >= Some(1999), "{row}");
                assert_eq!(work.messages_answered, work.messages_sent, "{work:?}");
                // The few that a busy machine does not come to before the end count with their age.
                let told = work.messages_answered + work.messages_never_sent;
                assert_eq!(
                    (work.messages_intended, ended.logged("echo.response")),
                    (Some(told), told),
                    "{work:?}"
                );
                assert!(work.messages_never_sent <= told / 100, "{work:?}");
            }
            "churn" => {
                let churn = work.churn.as_ref().expect("what came and went");
                assert!(row.contains("cycles/s; ") && churn.reopened > 0 && churn.failed == 0, "{churn:?}");
                assert_eq!(churn.latency_us.first_echo.count, churn.reopened, "{churn:?}");
                assert_eq!(record.connections.attempted, TARGET + churn.reopened, "{churn:?}");
            }
            "stream" => {
                let stream = work.stream.as_ref().expect("what was played");
                assert_eq!((stream.viewers, stream.whole, stream.wrong), (TARGET, TARGET, 0), "{stream:?}");
                assert_eq!(stream.bytes, TARGET * 20_000, "80 kbit/s for two seconds");
                assert!(row.contains("500 of 500 streams whole"), "{row}");
            }
            _ => {
                let fanout = work.fanout.as_ref().expect("how it went to all");
                assert_eq!((fanout.receivers, fanout.missing), (TARGET, 0), "{fanout:?}");
                assert!(fanout.rounds > 2 && row.contains("rounds to 500 receivers"), "{row}: {fanout:?}");
            }
        }
    }
}

#[test]
fn every_workload_runs_over_raw_tcp() {
    all_run("raw");
}

#[test]
fn every_workload_runs_over_websocket() {
    all_run("ws");
}

#[test]
fn held_connections_prove_themselves_again_and_again_alone_and_beside_a_workload() {
    for protocol in ["raw", "ws"] {
        let beat = ["--beat", "500ms", "--hold", "2s"];
        let ended = start(Lab::new(), protocol, &[], &beat).wait();
        ended.expect_exit(0);
        let record = ended.record();
        // Behind the last proof it holds, and beats, for a moment more.
        let beats = record.work.first().expect("what came of them");
        assert_eq!((beats.name.as_str(), beats.messages_wrong), ("hold", 0), "{beats:?}");
        assert_eq!(beats.messages_answered, beats.messages_sent, "{beats:?}");
        assert!(beats.messages_answered >= 3 * TARGET && record.connections.held == TARGET, "{beats:?}");
        assert!(summary_row(&ended, "hold").contains(" beats/s; "), "{}", ended.stdout);
        let ended = start(Lab::new(), protocol, WORKLOADS[0], &beat).wait();
        ended.expect_exit(0);
        let record = ended.record();
        let echo = record.work.iter().find(|work| work.kind == c10k_record::PhaseKind::Echo);
        let echo = echo.expect("the workload beside them");
        assert!(echo.messages_answered > TARGET && echo.messages_wrong == 0, "{echo:?}");
        assert_eq!(record.connections.held, TARGET, "{}", ended.stderr);
        assert!(ended.logged("echo.beat") > 0, "{}", ended.stderr);
    }
}

#[test]
fn a_verdict_on_a_workload_that_does_not_hold_is_exit_code_1_and_so_is_a_run_that_is_short() {
    for (workload, verdict) in WORKLOADS.iter().zip([
        "echo_p50 < 0.001ms",
        "cycles_per_second > 100M",
        "start_up_p50 < 0.001ms",
        "last_receiver_p50 < 0.001ms",
    ]) {
        let ended = start(Lab::new(), "raw", workload, &["--hold", "500ms", "--verdict", verdict]).wait();
        ended.expect_exit(1);
        let record = ended.record();
        let broken: Vec<&str> =
            record.verdicts.iter().filter(|it| !it.holds()).map(|it| it.expr.as_str()).collect();
        assert!(broken.contains(&verdict), "{verdict}: {broken:?}");
        assert_eq!((record.state, record.connections.held), (RunState::Complete, TARGET));
    }
    let few = ["--hold", "500ms", "--max-connections", "400", "--verdict", "failed <= 100%"];
    let ended = start(Lab::new(), "raw", WORKLOADS[0], &few).wait();
    ended.expect_exit(1);
    assert!(ended.line("SHORT").contains("400"), "{}", ended.stderr);
}

#[test]
fn a_workload_that_is_stopped_says_what_was_open_and_proven_and_judges_nothing() {
    for (protocol, workload) in ["raw", "ws", "raw", "ws"].into_iter().zip(WORKLOADS) {
        let mut running = start(Lab::new(), protocol, workload, &["--hold", "10m"]);
        let first = running.wait_for("hold", |row| row.open == Some(TARGET)).elapsed_ms;
        // The workload begins when what the ramp left behind is given back.
        running.wait_for("hold", |row| row.elapsed_ms >= first + 3000);
        running.signal(Signal::SIGINT);
        let ended = running.wait();
        ended.expect_exit(130);
        let record = ended.record();
        let c = &record.connections;
        assert_eq!(
            (record.state, record.ended_because.as_deref()),
            (RunState::Aborted, Some("stopped by SIGINT"))
        );
        // One that comes and goes may be on its way.
        assert!(c.open.is_some_and(|open| open + 64 >= TARGET) && c.verified >= Some(TARGET), "{c:?}");
        assert!(record.verdicts.iter().all(|verdict| verdict.passed.is_none()), "{:?}", record.verdicts);
        let work = worked(&record);
        assert!(
            work.messages_answered > 0 || work.churn.as_ref().is_some_and(|it| it.reopened > 0),
            "{work:?}"
        );
    }
}

/// In whichever phase of its own a run is stopped: what was open and proven is told, and nothing is judged.
#[test]
fn a_plan_that_is_stopped_in_any_of_its_phases_says_what_was_open_and_proven_and_judges_nothing() {
    let up = "[[phase]]\nname = \"up\"\nkind = \"ramp\"\n";
    for (kind, own) in [
        ("ramp", "rate = \"20/s\"\n"),
        ("hold", "duration = \"10m\"\n"),
        ("echo", "duration = \"10m\"\nmessages = \"5/s\"\n"),
        ("churn", "duration = \"10m\"\nchurn = \"50/s\"\nchurn_close = \"rst\"\n"),
        ("stream", "duration = \"10m\"\nbitrate = \"80kbit/s\"\n"),
        ("fanout", "duration = \"10m\"\nfanout_every = \"100ms\"\n"),
        ("drain", "rate = \"10/s\"\n"),
    ] {
        let first = if kind == "ramp" { format!("{up}target = 100\n") } else { up.to_owned() };
        let plan = format!(
            "target = 200\nprofile = \"stock\"\nverdicts = [\"echo_p95 <= 1h\"]\n\
             {first}[[phase]]\nname = \"long\"\nkind = \"{kind}\"\n{own}"
        );
        let mut running = Lab::new().with_file("my.toml", &plan).start(&["my.toml"]);
        let swarms = if kind == "ramp" { "ramp" } else { "hold" };
        let begun = running.wait_for(swarms, |row| row.phase_name == "long").elapsed_ms;
        running.wait_for(swarms, |row| row.elapsed_ms >= begun + 1000);
        running.signal(Signal::SIGINT);
        let ended = running.wait();
        ended.expect_exit(130);
        let record = ended.record();
        let c = &record.connections;
        assert_eq!(record.state, RunState::Aborted, "{kind}: {}", ended.stderr);
        let (least, most) = match kind {
            "ramp" => (100, 199),
            "drain" => (1, 199),
            // Some may be on their way.
            "churn" => (136, 200),
            _ => (200, 200),
        };
        let open = c.open.expect("how many were open");
        assert!((least..=most).contains(&open) && c.verified >= Some(open), "{kind}: {c:?}");
        assert_eq!((c.held, c.failed_total()), (0, c.stopped_total()), "{kind}: {c:?}");
        assert!(record.verdicts.iter().all(|verdict| verdict.passed.is_none()), "{:?}", record.verdicts);
        assert_eq!((record.broken_identity(), &record.ceiling), (None, &None), "{kind}");
        let told: Vec<&str> = record.named_phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(told, ["up", "long"], "{kind}");
        assert!(ended.line("ABORTED by Ctrl-C").contains(&open.to_string()), "{kind}: {}", ended.stdout);
    }
}

#[test]
fn phases_that_one_server_cannot_serve_are_refused_before_the_run() {
    let plan = "target = 100\n[work]\nbitrate = \"80kbit/s\"\n[[phase]]\nname = \"up\"\nkind = \"ramp\"\n\
                [[phase]]\nname = \"a\"\nkind = \"stream\"\nduration = \"1s\"\n[[phase]]\nname = \"b\"\n";
    for (second, words) in [
        ("kind = \"fanout\"\n", "phases of stream and of fanout"),
        ("kind = \"stream\"\nduration = \"2s\"\n", "'a' and 'b' want different things of one server"),
    ] {
        let ended = Lab::new().with_file("my.toml", &format!("{plan}{second}")).run(&["my.toml"]);
        ended.expect_refused(2, &[words]);
    }
}

#[test]
fn a_phase_plan_with_a_stream_and_a_churn_runs_and_a_swarm_alone_goes_the_same_way() {
    let plan = "target = 300\nprofile = \"stock\"\nverdicts = [\"talk.echo_p50 < 10m\"]\n\
                [work]\nbitrate = \"80kbit/s\"\nchurn = \"100/s\"\nchurn_close = \"rst\"\n\
                [[phase]]\nname = \"up\"\nkind = \"ramp\"\ntarget = 200\n\
                [[phase]]\nname = \"talk\"\nkind = \"echo\"\nduration = \"500ms\"\nmessages = \"4/s\"\n\
                [[phase]]\nname = \"waves\"\nkind = \"churn\"\nduration = \"500ms\"\n\
                [[phase]]\nname = \"film\"\nkind = \"stream\"\nduration = \"1s\"\n\
                [[phase]]\nname = \"more\"\nkind = \"ramp\"\n\
                [[phase]]\nname = \"down\"\nkind = \"drain\"\ntarget = 50\nrate = \"1000/s\"\n";
    let ended = Lab::new().with_file("my.toml", plan).run(&["my.toml"]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    expect_gone_through(&ended.record(), true);
    let plan = ended.folder().join("plan.toml");
    let server = Server::start(&plan);
    let output = Command::new(env!("CARGO_BIN_EXE_c10k-lab"))
        .args(["swarm", "--json", "--no-apply", "--server", &server.at, "--plan"])
        .arg(&plan)
        .stdin(Stdio::null())
        .output()
        .expect("a swarm");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    expect_schema(&serde_json::from_slice(&output.stdout).expect("JSON"));
    let record: Record = serde_json::from_slice(&output.stdout).expect("a record");
    expect_gone_through(&record, false);
    assert!(record.verdicts.iter().any(|it| it.expr == "talk.echo_p50 < 10m" && it.holds()), "{stderr}");
}

#[track_caller]
fn expect_gone_through(record: &Record, knows_server: bool) {
    let told: Vec<(&str, u64)> =
        record.named_phases.iter().map(|phase| (phase.name.as_str(), phase.open)).collect();
    let all = [("up", 200), ("talk", 200), ("waves", 200), ("film", 200), ("more", 300), ("down", 50)];
    assert_eq!(told, all);
    assert_eq!(record.broken_identity(), None);
    assert_eq!((record.connections.held, record.connections.failed.len()), (50, 0));
    let names: Vec<&str> = record.work.iter().map(|work| work.name.as_str()).collect();
    assert_eq!(names, ["talk", "waves", "film"]);
    assert!(record.work.iter().all(|work| work.server_cores.is_some() == knows_server), "{:?}", record.work);
    let film = record.work[2].stream.as_ref().expect("what was played");
    assert_eq!((film.viewers, film.whole, film.wrong), (200, 200, 0), "{film:?}");
    let rates: Vec<bool> =
        record.named_phases.iter().map(|phase| phase.connects_per_second.is_some()).collect();
    assert!(rates[0] && !rates[1] && rates[4] && !rates[5], "{:?}", record.named_phases);
}

/// A server by a plan; it is killed when the test is done with it.
struct Server {
    child: std::process::Child,
    at: String,
}

impl Server {
    fn start(plan: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-lab"));
        command.args(["server", "--listen", "127.0.0.1:0", "--no-apply", "--events", "--plan"]).arg(plan);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a server");
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let event: c10k_record::ServerEvent = serde_json::from_str(&line).expect("an event");
        let c10k_record::ServerEvent::Ready { listen, .. } = event else { panic!("{event:?}") };
        Self { child, at: listen[0].to_string() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_shipped_plan_runs_on_a_smaller_scale() {
    let plans = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/plans");
    let mut count = 0;
    for entry in std::fs::read_dir(plans).expect("the plans") {
        let path = entry.expect("listed").path();
        let text = std::fs::read_to_string(&path).expect("a plan");
        let smaller: &[&str] = if text.contains("steps =") {
            &["--steps", "50x4", "--step-pause", "100ms"]
        } else {
            &["--target", "200"]
        };
        let file = path.display().to_string();
        // What the plan says of times is of its own scale and of a machine that is its own.
        let easy = ["--verdict", "echo_p95 <= 1h", "--profile", "stock", "--hold", "1s"];
        let metrics = ["echo_p99 < 1h", "last_receiver_p99 < 1h", "stalled_viewers <= 200"];
        let own =
            metrics.iter().filter(|it| it.split(' ').next().is_some_and(|metric| text.contains(metric)));
        let own: Vec<&str> = own.flat_map(|verdict| ["--verdict", verdict]).collect();
        let all = [&[file.as_str()], smaller, &easy, &own].concat();
        let ended = Lab::new().run(&all);
        ended.expect_exit(0);
        assert_eq!(ended.record().connections.held, 200, "{file}");
        count += 1;
    }
    assert!(count >= 8, "{count} plans");
}
