//! The profile that a tuning leaves: what is kept, each line with its proof above it, and what was left out.

use std::path::Path;

use c10k_profile::Profile;
use toml_edit::{DocumentMut, Item, Value, value};

use super::asked::Asked;
use super::kept::{Kept, LeftOut, Outcome};

/// Its text. `headline` says what came of the goal.
pub(super) fn text(asked: &Asked, outcome: &Outcome, path: &Path, headline: &str) -> Result<String, String> {
    let mut document = DocumentMut::new();
    document["name"] = value(name_of(path));
    document["summary"] = value(summary(asked));
    if asked.begins_with != "stock" {
        document["extends"] = value(asked.begins_with.as_str());
    }
    for kept in &outcome.kept {
        let Some((table, key, wanted)) = kept.lift.of_profile() else { continue };
        add(&mut document, (table, key, wanted), &reason(kept));
    }
    let mut lines = vec![
        format!("# Written by c10k-lab tune {}. {headline}", env!("CARGO_PKG_VERSION")),
        "# Above each setting stands what proves it: with it against without it, nothing else changed."
            .to_owned(),
    ];
    lines.push(document.to_string());
    lines.extend(beside(outcome));
    lines.extend(left_out("Tried, and not kept", &outcome.tried));
    lines.extend(left_out("Not tried", &outcome.not_tried));
    let text = lines.join("\n") + "\n";
    Profile::from_text(&text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn add(document: &mut DocumentMut, (table, key, wanted): (&str, &str, Value), reason: &str) {
    let table = document.entry(table).or_insert_with(toml_edit::table);
    let Some(table) = table.as_table_mut() else { return };
    table.insert(key, Item::Value(wanted));
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(format!("# {reason}\n"));
    }
}

/// Why it is kept.
pub(super) fn reason(kept: &Kept) -> String {
    one_line(&format!("{}; named by {}", kept.proof.line(), kept.lift.named_by))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is kept and no profile carries, as comments.
fn beside(outcome: &Outcome) -> Vec<String> {
    let beside = outcome.kept.iter().filter(|kept| kept.lift.of_profile().is_none());
    let lines: Vec<String> =
        beside.map(|kept| format!("#   {} {}: {}", kept.lift.key, kept.lift.value, reason(kept))).collect();
    with_heading("No profile carries these; give them to the run", lines)
}

fn left_out(heading: &str, all: &[LeftOut]) -> Vec<String> {
    let line = |left: &LeftOut| format!("#   {}", one_line(&format!("{}: {}", left.lift.name(), left.why)));
    with_heading(heading, all.iter().map(line).collect())
}

fn with_heading(heading: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return Vec::new();
    }
    [vec![String::new(), format!("# {heading}:")], lines].concat()
}

/// What it is for, in a line.
fn summary(asked: &Asked) -> String {
    let plan = &asked.plan;
    format!(
        "for {} connections, {} {} over {}: what helped on this host",
        plan.target, plan.protocol, plan.workload, plan.topology
    )
}

/// A file's name as a profile's: a letter or digit first, then those, `-`, `_` and `.`.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(fit).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    if name.is_empty() { "tuned-here".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use c10k_profile::NofileLimit;
    use c10k_record::Quantity;
    use c10k_swarm::LoadArgs;

    use super::super::kept::tests::proof;
    use super::super::lift::Lift;
    use super::*;
    use c10k_plan::args::RunArgs;

    fn lift(key: &str, value: &str) -> Lift {
        Lift { key: key.to_owned(), value: value.to_owned(), named_by: "ports-exhausted".to_owned() }
    }

    fn asked(profile: &str) -> Asked {
        let load = LoadArgs { target: Some(Quantity(300)), ..LoadArgs::default() };
        let args = RunArgs { profile: Some(profile.to_owned()), load, ..RunArgs::default() };
        Asked::of(&args, (false, Vec::new(), 6)).expect("a goal")
    }

    fn outcome() -> Outcome {
        let proof = proof();
        let mut outcome = Outcome::default();
        for (key, value) in [
            ("net.ipv4.ip_local_port_range", "1024 65535"),
            ("limits.nofile", "5000"),
            ("socket.backlog", "4096"),
            ("--ips", "127.0.0.1-127.0.0.2"),
        ] {
            outcome.keep(&lift(key, value), proof.clone());
        }
        outcome.leave_out(&lift("net.core.somaxconn", "9"), "no difference\nseen");
        outcome.do_not_try(lift("fs.file-max", "9"), "root alone");
        outcome
    }

    #[test]
    fn each_line_of_the_profile_has_its_proof_above_it_and_it_can_be_read() {
        let text = text(&asked("stock"), &outcome(), Path::new("/x/my box.toml"), "The goal is held.")
            .expect("a profile");
        let profile = Profile::from_text(&text).expect("a profile");
        assert_eq!((profile.name.as_str(), profile.socket.backlog), ("my-box", Some(4096)));
        assert_eq!(profile.limits.nofile, Some(NofileLimit::AtLeast(5000)));
        assert_eq!(profile.keys(), ["net.ipv4.ip_local_port_range"], "nothing without a proof");
        let lines: Vec<&str> = text.lines().collect();
        for key in ["\"net.ipv4.ip_local_port_range\" = ", "nofile = ", "backlog = "] {
            let at = lines.iter().position(|line| line.starts_with(key)).expect(key);
            assert!(
                lines[at - 1]
                    .starts_with("# held: 500 → 3000, 6.00×, one run each: better (1 pair, 2026-11-29")
            );
        }
        assert!(text.contains("#   --ips 127.0.0.1-127.0.0.2: held"), "{text}");
        assert!(
            text.contains("# Tried, and not kept:\n#   net.core.somaxconn = 9: no difference seen\n"),
            "{text}"
        );
        assert!(text.contains("# Not tried:\n#   fs.file-max = 9: root alone\n"), "{text}");
        assert!(!text.contains("extends"), "stock sets nothing");
    }

    #[test]
    fn another_profile_below_it_is_extended_and_none_of_its_lines_are_copied() {
        let text = text(&asked("tuned"), &Outcome::default(), Path::new("--.toml"), "").expect("a profile");
        let profile = Profile::from_text(&text).expect("a profile");
        assert_eq!(
            (profile.name.as_str(), profile.extends.as_slice()),
            ("tuned-here", &["tuned".to_owned()][..])
        );
        assert!(!text.contains("[sysctl]"), "{text}");
    }
}
