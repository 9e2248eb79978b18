//! What README.md and docs/ say is so: every command line of a `sh` block is run, the field guide is what the table of
//! walls says, and links lead somewhere.
//!
//! A block that cannot be run has a comment before it, `<!-- not run: REASON -->`. The others are run in a network
//! namespace of the test's own, with small numbers in the place of large ones.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use c10k_ceiling::{MYTHS, Wall, walls};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// README.md and docs/*.md, with their text.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec![top().join("README.md")];
    let docs =
        std::fs::read_dir(top().join("docs")).expect("docs/").map(|entry| entry.expect("listed").path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths.sort();
    let name = |path: &Path| path.strip_prefix(top()).expect("below it").display().to_string();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a text"))).collect()
}

/// A block between fences.
struct Block {
    place: String,
    language: String,
    lines: Vec<String>,
    /// Why it is not run.
    reason: Option<String>,
}

fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(language), None) => {
                let reason = before.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
                let place = format!("{document}:{}", number + 1);
                let reason = reason.map(str::to_owned);
                open = Some(Block { place, language: language.to_owned(), lines: Vec::new(), reason });
            }
            (None, Some(mut block)) => {
                block.lines.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
        before = line;
    }
    found
}

/// A line without its comment; nothing where nothing else is in it.
fn command_of(line: &str) -> Option<String> {
    let line = if line.starts_with('#') { "" } else { line.split("  #").next().unwrap_or_default() };
    let line = line.trim().trim_start_matches("sudo ");
    (!line.is_empty()).then(|| line.to_owned())
}

/// The same command at a size that a test may have.
fn small(command: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut before = "";
    for word in command.split(' ') {
        let is_large = word.trim_end_matches(['k', 'M']).bytes().all(|byte| byte.is_ascii_digit())
            && (word.ends_with(['k', 'M']) || before == "--target")
            && !word.is_empty();
        words.push(match word {
            _ if before == "--hold" => "50ms".to_owned(),
            _ if before == "--duration" => "300ms".to_owned(),
            "5000x4" => "10x4".to_owned(),
            "20ms'" => "1h'".to_owned(),
            "10%'" => "1000000%'".to_owned(),
            _ if is_large => "60".to_owned(),
            word => word.replace("HOST:80", "127.0.0.1:9000").replace("PID", "$server"),
        });
        before = word;
    }
    let mut small = words.join(" ");
    let begins = |start: &str| command == start || command.starts_with(&format!("{start} "));
    let mut add = |flag: &str, value: &str| {
        if !command.contains(flag) {
            let _ = write!(small, " {flag} {value}");
        }
    };
    if begins("c10k-lab run") || begins("c10k-swarm") {
        add("--hold", "50ms");
    }
    if command == "c10k-lab climb" || command == "c10k-lab run" || command == "c10k-swarm" {
        add("--target", "60");
    }
    if begins("c10k-collector") {
        add("--duration", "300ms");
    }
    if begins("c10k-lab doctor") {
        small.push_str(" --no-calibration");
    }
    if begins("c10k-lab run") {
        small.push_str(" --verdict 'echo_p95 <= 1h'");
    }
    small
}

/// The shell's lines for one command, which write its exit code.
fn steps(number: usize, command: &str) -> String {
    let line = small(command).replace('\'', "'\\''").replace("$server", "'\"$server\"'");
    let begin = format!("echo \"begin {number}\" >> codes\n");
    if command.starts_with("c10k-server") {
        // It listens until it is asked to end.
        return format!(
            "{begin}sh -c 'exec {line}' > out.{number} 2>&1 &\npid=$!\nlistening\nkill -TERM $pid\nwait $pid\necho \"{number} $?\" >> codes\n"
        );
    }
    let needs = ["c10k-swarm", "c10k-collector", "--server-port"].iter().any(|word| command.contains(word));
    let start = if needs { "start_server\n" } else { "" };
    let stop = if needs { "stop_server\n" } else { "" };
    format!(
        "{begin}{start}sh -c '{line}' > out.{number} 2>&1 < /dev/null\necho \"{number} $?\" >> codes\n{stop}"
    )
}

/// What stands before all of them: addresses of the examples, a server for those that need one, three runs.
const PROLOGUE: &str = r#"
ip link set lo up
for last in 10 $(seq 200 230); do ip addr add 192.168.1.$last/32 dev lo; done
for address in 10.0.0.5 10.0.2.7 $(seq -f 10.0.1.%g 1 14); do ip addr add $address/32 dev lo; done
listening() {
  tries=0
  until grep -q ':2328 .* 0A ' /proc/net/tcp; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || return 1
    sleep 0.05
  done
}
start_server() { c10k-server --listen ':9000-9009,[::1]:9000' > server.out 2>&1 & server=$!; listening; }
stop_server() { kill -TERM $server; wait $server; }
c10k-lab run 20 --hold 50ms --verdict 'echo_p95 <= 1h' > first.out 2>&1
run=$(echo results/*)
for name in RUN RUN_A RUN_B; do
  cp -r "$run" results/$name
  # Each is a run of its own, of which no two have the same name.
  sed -i "s/\"run_id\": *\"/&$name-/" results/$name/record.json
done
"#;

#[test]
fn every_command_line_of_the_documents_runs() {
    let commands: Vec<(String, String)> = documents()
        .iter()
        .flat_map(|(name, text)| blocks(name, text))
        .filter(|block| block.language == "sh" && block.reason.is_none())
        .flat_map(|block| {
            let lines: Vec<String> = block.lines.iter().filter_map(|line| command_of(line)).collect();
            lines.into_iter().map(move |line| (block.place.clone(), line))
        })
        .collect();
    assert!(commands.len() > 40, "{}", commands.len());
    let root = nix::unistd::geteuid().is_root();
    let enter: &[&str] = if root { &["--net"] } else { &["-rn"] };
    let may = Command::new("unshare").args(enter).arg("true").status().is_ok_and(|status| status.success());
    if !may {
        eprintln!(
            "SKIPPED: no network namespace may be made here, and the commands of the documents are run in one"
        );
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for name in ["c10k-lab", "c10k-server", "c10k-swarm", "c10k-collector"] {
        symlink(PROGRAM, bin.join(name)).expect("a link");
    }
    let mut script = PROLOGUE.to_owned();
    for (number, (_, command)) in commands.iter().enumerate() {
        script.push_str(&steps(number, command));
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("unshare")
        .args(enter)
        .args(["sh", "-c", &script])
        .current_dir(home.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    let codes = std::fs::read_to_string(home.path().join("codes")).expect("codes");
    let mut wrong = Vec::new();
    for (number, (place, command)) in commands.iter().enumerate() {
        let code = codes.lines().find_map(|line| line.strip_prefix(&format!("{number} ")));
        if code != Some("0") {
            let said = std::fs::read_to_string(home.path().join(format!("out.{number}"))).unwrap_or_default();
            // How late a busy machine is, is not the documents' fault.
            let is_late = code == Some("1") && said.contains("echo_p95") && !command.contains("--verdict");
            if !is_late {
                wrong.push(format!("{place}: `{command}` as `{}`: {code:?}\n{said}", small(command)));
            }
        }
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(wrong.is_empty(), "{}\n{stderr}", wrong.join("\n"));
}

#[test]
fn a_block_of_commands_is_run_or_says_why_not() {
    for (name, text) in documents() {
        for block in blocks(&name, &text) {
            let place = &block.place;
            if let Some(reason) = &block.reason {
                assert!(block.language == "sh" && reason.len() > 20, "{place}: {reason}");
            }
            let has_commands = block
                .lines
                .iter()
                .any(|line| ["c10k-", "cargo ", "sudo "].iter().any(|word| line.starts_with(word)));
            assert!(!has_commands || block.language == "sh", "{place}: a block with commands is one of sh");
        }
    }
}

/// What links to the headings of a text are called: small letters, digits and hyphens, one for each blank.
fn anchors(text: &str) -> Vec<String> {
    let of = |heading: &str| -> String {
        let kept = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| of(line.trim_start_matches('#'))).collect()
}

#[test]
fn what_links_name_is_there_and_the_readme_is_short() {
    for (name, text) in documents() {
        let folder = top().join(&name).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            if path.starts_with("http") {
                continue;
            }
            let named = if path.is_empty() { top().join(&name) } else { folder.join(path) };
            assert!(named.exists(), "{name}: {link}");
            let sections = || anchors(&std::fs::read_to_string(&named).expect("a document"));
            assert!(section.is_empty() || sections().iter().any(|known| known == section), "{name}: {link}");
        }
    }
    let readme = std::fs::read_to_string(top().join("README.md")).expect("it");
    assert!(readme.len() < 12_000, "{}", readme.len());
    for other in documents().iter().filter(|(name, _)| name.starts_with("docs/")) {
        assert!(readme.contains(&other.0), "the README does not name {}", other.0);
    }
}

#[test]
fn every_metric_that_a_verdict_may_be_on_is_in_the_table_of_metrics() {
    let text = std::fs::read_to_string(top().join("docs/workloads.md")).expect("it");
    let table = text.split("\n## Verdicts\n").nth(1).expect("a section");
    for metric in c10k_record::Metric::all() {
        let name = metric.to_string();
        let written = match metric {
            c10k_record::Metric::Latency(..) => name.rsplit_once('_').map(|(kind, _)| format!("`{kind}_`")),
            _ => Some(format!("`{name}`")),
        };
        assert!(table.contains(&written.expect("a kind")), "{name}");
    }
}

/// The figures of a text: numbers with a comma or a point in them.
fn figures(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.'));
    let words = words.map(|word| word.trim_matches([',', '.']));
    words.filter(|word| word.contains([',', '.'])).collect()
}

#[test]
fn every_figure_of_the_readme_stands_where_it_was_measured_or_explained() {
    let readme = std::fs::read_to_string(top().join("README.md")).expect("it");
    let section = readme.split("\n## What you get\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let picture = std::fs::read_to_string(top().join("docs/run.svg")).expect("a picture");
    let docs = documents().into_iter().filter(|(name, _)| name.starts_with("docs/")).map(|(_, text)| text);
    let known = docs.fold(picture, |all, text| all + &text);
    let known = figures(&known);
    let figures = figures(section.expect("a section"));
    assert!(figures.len() > 5, "{figures:?}");
    // A number that a limit leaves is explained by the program itself.
    let is_explained = |figure: &str| common::lab(&["walls", figure]).status.success();
    let unknown: Vec<&&str> =
        figures.iter().filter(|figure| !known.contains(figure) && !is_explained(figure)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// docs/walls.md as it should be.
fn field_guide() -> String {
    let mut text = "# The walls\n\nWhat stops a box from holding one more connection. `c10k-lab walls NAME` says it with \
                    the limits of the host at hand and the commands that lift it there. This page is made from the same \
                    table: `C10K_WRITE_DOCS=1 cargo test -p c10k-lab --test documents` writes it, and without that \
                    variable the test fails where it is stale.\n\n| wall | stands at | what it is |\n|---|---|---|\n"
        .to_owned();
    for wall in walls() {
        let _ = writeln!(text, "| [{0}](#{0}) | {1} | {2} |", wall.name, side(wall), cell(wall.title));
    }
    for wall in walls() {
        let guide = &wall.guide;
        let _ = write!(text, "\n## {}\n\n{}.\n\n", wall.name, sentence(wall.title));
        for (label, said) in [
            ("What it is", guide.what_it_is),
            ("What you see", guide.what_you_see),
            ("How to prove it", guide.how_to_prove),
            ("Must be absent", wall.not_there),
            ("It allows", wall.formula),
            ("How to lift it", guide.how_to_lift),
            ("What not to do", guide.what_not_to_do),
            ("Source", guide.kernel_source),
        ] {
            if !said.is_empty() {
                let _ = writeln!(text, "- **{label}.** {}", plain(said));
            }
        }
    }
    text.push_str("\n## Myths\n\nPopular settings that do nothing for the number of connections, or harm.\n");
    for myth in MYTHS {
        let _ = write!(text, "\n- **{}** \"{}\" {}\n", myth.name, plain(myth.claim), plain(myth.truth));
    }
    text
}

fn side(wall: &Wall) -> String {
    format!("{:?}", wall.side).to_lowercase()
}

fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// One line, and nothing in it that Markdown would take for its own.
fn plain(said: &str) -> String {
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let escaped = |text: &str| text.replace('*', "\\*").replace('<', "\\<");
    let parts = line.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 1 { part.to_owned() } else { escaped(part) });
    parts.collect::<Vec<_>>().join("`")
}

fn cell(said: &str) -> String {
    plain(said).replace('|', "\\|")
}

#[test]
fn the_field_guide_is_what_the_table_of_walls_says() {
    let path = top().join("docs/walls.md");
    if std::env::var_os("C10K_WRITE_DOCS").is_some() {
        std::fs::write(&path, field_guide()).expect("written");
    }
    let there = std::fs::read_to_string(&path).expect("docs/walls.md");
    assert!(
        there == field_guide(),
        "docs/walls.md is stale: C10K_WRITE_DOCS=1 cargo test -p c10k-lab --test documents"
    );
}
