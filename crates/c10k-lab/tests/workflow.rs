//! The workflow of docs/ci.md: each of its shell lines is run as a runner of GitHub Actions would run it, with the debug
//! program and at a small scale.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use c10k_record::{Verdict, read_record};
use saphyr::{LoadableYamlNode as _, Yaml};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// Actions that the workflow may use; what they do is done by the runner, and is not tried here.
const ACTIONS: [&str; 4] = [
    "actions/checkout@v4",
    "actions/cache/restore@v4",
    "actions/cache/save@v4",
    "actions/upload-artifact@v4",
];

/// In the place of cargo: only the command line that the documentation has, and the program under test as what it built.
const CARGO: &str = r#"#!/bin/sh
[ "$*" = "build --release --locked -p c10k-lab" ] || { echo "cargo $*: not what is documented" >&2; exit 101; }
mkdir -p target/release && ln -sf "$C10K_PROGRAM" target/release/c10k-lab
"#;

fn workflow() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ci.md");
    let text = std::fs::read_to_string(path).expect("docs/ci.md");
    let block = text.split("```yaml\n").nth(1).expect("a block of YAML");
    block.split("\n```").next().expect("its end").to_owned()
}

/// A runner's folder and what it has put into the environment of the steps.
struct Runner {
    home: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Runner {
    fn new(environment: BTreeMap<String, String>) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let cargo = home.path().join("bin/cargo");
        std::fs::create_dir(home.path().join("bin")).expect("a folder");
        std::fs::write(&cargo, CARGO).expect("written");
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("permitted");
        Self { home, environment }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// A clean checkout: only what the cache brings is there from the run before.
    fn check_out(&self) {
        for name in ["runs", "target"] {
            let _ = std::fs::remove_dir_all(self.at(name));
        }
        for name in ["path", "summary.md", "summary.json", "junit.xml"] {
            let _ = std::fs::remove_file(self.at(name));
        }
    }

    /// Runs a step's lines as `shell: bash` of a runner does when nothing is said.
    #[track_caller]
    fn run(&self, name: &str, lines: &str) {
        std::fs::write(self.at("step.sh"), lines).expect("written");
        let mut path: Vec<String> = self.text("path").lines().map(str::to_owned).collect();
        path.push(self.at("bin").display().to_string());
        path.push(std::env::var("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-e", "step.sh"])
            .current_dir(self.home.path())
            .envs(&self.environment)
            .env("PATH", path.join(":"))
            .env("GITHUB_PATH", self.at("path"))
            .env("GITHUB_STEP_SUMMARY", self.at("summary.md"))
            .env("C10K_PROGRAM", PROGRAM)
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}: {}\n{}", output.status, String::from_utf8_lossy(&said));
    }
}

/// A value of a mapping.
#[track_caller]
fn get<'a>(node: &'a Yaml<'a>, key: &str) -> &'a Yaml<'a> {
    node.as_mapping_get(key).unwrap_or_else(|| panic!("no {key} in {node:?}"))
}

#[track_caller]
fn word<'a>(node: &'a Yaml<'a>) -> &'a str {
    node.as_str().unwrap_or_else(|| panic!("no text: {node:?}"))
}

/// What a test may have in the place of the sizes that the workflow names.
fn small(name: &str) -> &'static str {
    match name {
        "TARGET" => "40",
        "HOLD" => "50ms",
        // How late or slow a busy machine is, is not the workflow's fault.
        "ECHO" => "1h",
        "LATENCY_MAY_RISE" => "1000000%",
        "RATE_MAY_FALL" => "100%",
        other => panic!("{other}: a variable that this test does not know"),
    }
}

#[test]
fn the_workflow_s_steps_run_with_and_without_a_baseline() {
    let text = workflow();
    let documents = Yaml::load_from_str(&text).expect("YAML");
    assert_eq!(documents.len(), 1);
    let document = &documents[0];
    assert_eq!(word(get(get(document, "permissions"), "contents")), "read");
    let job = get(get(document, "jobs"), "hold");
    assert!(word(get(job, "runs-on")).starts_with("ubuntu-"));
    let variables = get(job, "env").as_mapping().expect("a mapping");
    let environment = variables.keys().map(|name| (word(name).to_owned(), small(word(name)).to_owned()));
    let runner = Runner::new(environment.collect());
    let steps = get(job, "steps").as_sequence().expect("a list");
    for turn in ["the first run", "one with a baseline"] {
        runner.check_out();
        let mut ran = 0;
        for step in steps {
            match (step.as_mapping_get("uses"), step.as_mapping_get("run")) {
                (Some(action), None) => assert!(ACTIONS.contains(&word(action)), "{action:?}"),
                (None, Some(lines)) => {
                    runner.run(&format!("{turn}, {}", word(get(step, "name"))), word(lines));
                    ran += 1;
                }
                _ => panic!("a step runs something or uses an action: {step:?}"),
            }
        }
        assert_eq!(ran, 3);
        let record = read_record(&runner.at("baseline")).expect("the run is the next baseline");
        assert!(record.succeeded() && record.verdicts.iter().all(Verdict::holds), "{:?}", record.verdicts);
        assert_eq!(record.baseline.is_some(), turn == "one with a baseline", "{turn}");
        assert!(runner.text("summary.md").starts_with("### HELD 40 of 40"), "{}", runner.text("summary.md"));
        assert!(runner.text("junit.xml").contains("<testcase "), "{}", runner.text("junit.xml"));
        assert_eq!(runner.text("junit.xml").contains("held &gt;= baseline - 0%"), record.baseline.is_some());
        assert!(runner.text("summary.json").contains("\"result\": \"done\""));
    }
}

#[test]
fn what_is_kept_and_cached_is_what_the_steps_write() {
    let text = workflow();
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let steps = get(get(get(&documents[0], "jobs"), "hold"), "steps").as_sequence().expect("a list");
    let of = |action: &str| -> Vec<&Yaml<'_>> {
        let is_meant =
            |step: &&Yaml<'_>| step.as_mapping_get("uses").is_some_and(|uses| word(uses) == action);
        steps.iter().filter(is_meant).map(|step| get(step, "with")).collect()
    };
    let kept = of("actions/upload-artifact@v4");
    let paths: Vec<&str> = word(get(kept[0], "path")).lines().collect();
    assert_eq!(paths, ["runs", "summary.json", "junit.xml"]);
    let lines: String =
        steps.iter().filter_map(|step| step.as_mapping_get("run")).map(word).collect::<Vec<_>>().join("\n");
    for path in paths {
        assert!(lines.contains(path), "no step writes {path}");
    }
    let caches = [of("actions/cache/restore@v4"), of("actions/cache/save@v4")].concat();
    assert_eq!(caches.len(), 2);
    assert!(caches.iter().all(|with| word(get(with, "path")) == "baseline"));
    assert_eq!(word(get(caches[0], "key")), word(get(caches[1], "key")));
}
