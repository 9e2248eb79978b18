//! The image. It is built where a Docker daemon answers; its file is read against the programs everywhere.

use std::process::{Command, Stdio};

use super::{known_flags, text, top, value};

/// The instructions, with lines that go on put together: the word, and what follows it.
fn instructions() -> Vec<(String, String)> {
    let file = text("packaging/Dockerfile");
    let lines: Vec<&str> = file.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let whole = lines.join("\n").replace("\\\n", " ");
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

fn all(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(is, _)| is == word).map(|(_, rest)| rest).collect()
}

/// The words of an instruction in the form of JSON.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_instruction_is_one_and_the_last_stage_is_for_an_ordinary_user() {
    let known = ["FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    let instructions = instructions();
    for (word, rest) in &instructions {
        assert!(known.contains(&word.as_str()) && !rest.is_empty(), "{word} {rest}");
    }
    let stages = all("FROM");
    assert_eq!(stages.len(), 2);
    for stage in &stages {
        let image = stage.split(' ').next().expect("an image");
        let tag = image.split(':').nth(1).unwrap_or_default();
        assert!(!tag.is_empty() && tag != "latest", "{stage}: an image without a version");
    }
    let manifest = text("Cargo.toml");
    let least =
        manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("it");
    assert!(stages[0].starts_with(&format!("rust:{least}-slim")), "{}: rust-version is {least}", stages[0]);
    // Both of one Debian: the program is linked with the C library of the first.
    let debian =
        stages[1].strip_prefix("debian:").and_then(|rest| rest.strip_suffix("-slim")).expect("Debian");
    assert!(stages[0].contains(&format!("-slim-{debian}")), "{stages:?}");
    let last = instructions.iter().rposition(|(word, _)| word == "FROM").expect("a stage");
    let user =
        instructions[last..].iter().rfind(|(word, _)| word == "USER").expect("no user: it would be root");
    assert!(user.1.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{}", user.1);
}

#[test]
fn what_is_copied_is_there_and_is_let_in() {
    let ignored = text("packaging/Dockerfile.dockerignore");
    let let_in: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*"));
    let mut copied = Vec::new();
    for line in all("COPY") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, sources) = words.split_last().expect("a destination");
        if words[0].starts_with("--from=") {
            assert_eq!(words[0], "--from=build");
            assert!(words[1].ends_with("/target/release/c10k-lab"), "{line}");
            continue;
        }
        for source in sources {
            assert!(top().join(source).exists(), "{source} is not there");
            assert!(let_in.contains(source), "{source} is kept out by packaging/Dockerfile.dockerignore");
            copied.push((*source).to_owned());
        }
    }
    assert_eq!(copied.len(), let_in.len(), "{let_in:?}");
    // What the sources read from outside of crates/ at compile time is copied too.
    assert!(copied.iter().any(|source| source == "profiles"));
}

#[test]
fn it_starts_the_server_with_flags_that_it_knows_on_a_port_that_is_exposed() {
    assert_eq!(words(&all("ENTRYPOINT")[0]), ["/usr/local/bin/c10k-lab"]);
    let command = words(&all("CMD")[0]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    known_flags(&command[..1], &command[1..]);
    let port = value(&command, "--listen").and_then(|listen| listen.rsplit(':').next()).expect("a port");
    assert!(all("EXPOSE")[0].split(' ').any(|exposed| exposed == port), "{port}");
    let built = all("RUN").remove(0);
    assert!(built.contains("--locked") && built.contains("-p c10k-lab --bin c10k-lab"), "{built}");
}

#[test]
fn it_is_built_where_a_daemon_answers() {
    let quiet = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let answers =
        quiet(Command::new("timeout").args(["20", "docker", "info"])).is_ok_and(|status| status.success());
    if !answers {
        eprintln!(
            "SKIPPED it_is_built_where_a_daemon_answers: no Docker daemon answers here, the image is only read"
        );
        return;
    }
    let output = Command::new("docker")
        .args(["build", "-q", "-f", "packaging/Dockerfile", "."])
        .current_dir(top())
        .stdin(Stdio::null())
        .output()
        .expect("docker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = Command::new("docker").args(["run", "--rm", &image, "--version"]).output().expect("docker");
    let _ = quiet(Command::new("docker").args(["image", "rm", &image]));
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}
