//! A run as Markdown, for the page of a CI job: what came of it, by what it was judged, what it cost, what is in the way.

use std::fmt::Write as _;
use std::path::Path;

use c10k_record::{
    Ceiling, Host, Record, Severity, UNKNOWN, Verdict, clean, headline, human_count, latency, verdict_value,
    with_unit, worked,
};

/// So many warnings are shown.
const MOST_WARNINGS: usize = 8;

/// A run as GitHub-flavoured Markdown; `path` is the run's folder. Every text of the record stands in it as text.
#[must_use]
pub fn markdown(record: &Record, path: Option<&Path>) -> String {
    let mut out = format!("### {}\n\n", plain(&headline(record).1));
    verdicts(&mut out, record);
    if let Some(baseline) = &record.baseline {
        let _ = writeln!(out, "Compared with {}.\n", plain(&baseline.run_id));
    }
    if let Some(ceiling) = &record.ceiling {
        wall(&mut out, ceiling);
    }
    figures(&mut out, record);
    warnings(&mut out, record);
    if let Some(path) = path {
        let _ = writeln!(out, "Record: {}\n", plain(&path.display().to_string()));
    }
    out
}

fn verdicts(out: &mut String, record: &Record) {
    if record.verdicts.is_empty() {
        return;
    }
    out.push_str("| verdict | | measured |\n|---|---|---|\n");
    for verdict in &record.verdicts {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            plain(&verdict.expr),
            word(verdict),
            plain(&verdict_value(verdict))
        );
    }
    out.push('\n');
}

fn word(verdict: &Verdict) -> &'static str {
    match (verdict.passed, verdict.severity) {
        (Some(true), _) => "holds",
        (Some(false), Severity::Fail) => "**does not hold**",
        (Some(false), Severity::Warn) => "warning: does not hold",
        (None, _) => "**not judged**",
    }
}

fn wall(out: &mut String, ceiling: &Ceiling) {
    let title = ceiling.walls.first().map_or_else(String::new, |wall| format!(": {}", plain(&wall.title)));
    let _ = writeln!(out, "**Wall: {}**{title}\n", plain(&ceiling.wall));
    let evidence = ceiling.walls.first().map_or(&ceiling.evidence, |wall| &wall.evidence);
    for one in evidence {
        let after = one.after.map_or_else(String::new, |after| format!(" {}", human_count(after)));
        let _ = writeln!(out, "- {}{after}: {}", plain(&one.source), plain(&one.text));
    }
    let Some(remedy) = &ceiling.remedy else { return out.push('\n') };
    let _ = writeln!(out, "\n{}\n", plain(&remedy.summary));
    if !remedy.commands.is_empty() {
        let lines: Vec<String> = remedy.commands.iter().map(|command| clean(command)).collect();
        let text = lines.join("\n");
        let fence = fence(&text);
        let _ = writeln!(out, "{fence}sh\n{text}\n{fence}\n");
    }
}

fn figures(out: &mut String, record: &Record) {
    let c = &record.connections;
    let m = &record.memory_per_connection;
    let sum = |user: Option<f64>, kernel: Option<f64>| with_unit(user.zip(kernel).map(|(a, b)| a + b), "B");
    let of_p50_and_p99 = |summary: &c10k_record::LatencySummary| {
        format!("{} p50, {} p99", latency(summary.p50), latency(summary.p99))
    };
    let mut rows = vec![
        ("held of the target", format!("{} of {}", human_count(c.held), human_count(c.target))),
        ("lost", human_count(c.failed_total())),
        ("server, a connection", sum(m.server_user_bytes, m.server_kernel_bytes)),
        ("client, a connection", sum(m.client_user_bytes, m.client_kernel_bytes)),
        ("connects", with_unit(record.rate.connects_per_second.mean, "/s")),
        ("connect", of_p50_and_p99(&record.latency_us.connect)),
        ("echo", of_p50_and_p99(&record.latency_us.echo)),
    ];
    rows.retain(|(_, text)| !text.starts_with(UNKNOWN));
    out.push_str("| | |\n|---|---|\n");
    for (name, text) in rows {
        let _ = writeln!(out, "| {name} | {} |", plain(&text));
    }
    for work in &record.work {
        let _ = writeln!(out, "| {} | {} |", plain(&work.name), plain(&worked(work).join("; ")));
    }
    let what = format!("{} {} over {}", record.protocol, record.workload, record.topology);
    let _ = writeln!(out, "| what | {}, profile {} |", plain(&what), plain(&record.profile.name));
    let mut host = |whose: &str, name: Option<&str>, host: &Host| {
        let or_unknown = |text: &Option<String>| plain(text.as_deref().unwrap_or(UNKNOWN));
        let (os, kernel) = (or_unknown(&host.os), or_unknown(&host.kernel));
        let name = name.map_or_else(String::new, |name| format!("{}: ", plain(name)));
        let _ = writeln!(out, "| {whose} | {name}{os}, Linux {kernel}, {} processors |", host.cpus);
    };
    match (&record.two_hosts, &record.host) {
        (Some(two), _) => {
            for (whose, end) in [("server's host", &two.server), ("clients' host", &two.client)] {
                end.host.iter().for_each(|machine| host(whose, end.name.as_deref(), machine));
            }
        }
        (None, Some(machine)) => host("host", None, machine),
        (None, None) => {}
    }
    out.push('\n');
}

fn warnings(out: &mut String, record: &Record) {
    for warning in record.warnings.iter().take(MOST_WARNINGS) {
        let _ = writeln!(out, "- {}: {}", plain(&warning.id), plain(&warning.text));
    }
    if let Some(more) = record.warnings.len().checked_sub(MOST_WARNINGS).filter(|more| *more > 0) {
        let _ = writeln!(out, "- and {more} more");
    }
    if !record.warnings.is_empty() {
        out.push('\n');
    }
}

/// A text that Markdown shows as it is: each sign that means something within a line is escaped (CommonMark 0.31, 2.4),
/// and what would begin another line is not in it.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '|' | '~' | '&' | '$' => out.extend(['\\', c]),
            // A name behind it would be told of the page.
            '@' => out.push_str("&#64;"),
            c => out.push(c),
        }
    }
    out
}

/// A fence that is longer than any in the text.
fn fence(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_run_that_held_is_a_page_of_two_tables() {
        assert_snapshot!(markdown(&fixtures::held(), Some(Path::new("results/a"))), @r"
        ### HELD 100,000 of 100,000 connections

        | verdict | | measured |
        |---|---|---|
        | held = target | holds | 100,000 |
        | failed \<= 1% | holds | 0 % |
        | echo\_p95 \<= 100ms | holds | 1.9 ms |

        | | |
        |---|---|
        | held of the target | 100,000 of 100,000 |
        | lost | 0 |
        | server, a connection | 4,028 B |
        | client, a connection | 4,234 B |
        | connects | 38,412 /s |
        | connect | 410 µs p50, 2.6 ms p99 |
        | echo | 510 µs p50, 2.5 ms p99 |
        | what | raw hold over loopback, profile tuned |
        | host | Debian 13, Linux 6.18.0, 2 processors |

        Record: results/a
        ");
    }

    #[test]
    fn a_run_that_fell_short_names_its_wall_and_what_lifts_it() {
        assert_snapshot!(markdown(&fixtures::short(), None), @r"
        ### SHORT: held 59,980 of 100,000; wall: ports-exhausted (proven)

        | verdict | | measured |
        |---|---|---|
        | held = target | **does not hold** | 59,980 |
        | failed \<= 1% | holds | 0.88 % |
        | echo\_p95 \<= 100ms | **does not hold** | nothing was measured |

        **Wall: ports-exhausted**: no source port is left to this destination

        - EADDRNOTAVAIL 512: 512 connections lost: cannot assign requested address
        - source ports 60,000: the sources allow 60,000 connections

        Use 4 source addresses, or let the server listen on more ports or addresses.

        ```sh
        c10k-swarm --ips 127.0.0.1-127.0.0.4 --target 100000
        ```

        | | |
        |---|---|
        | held of the target | 59,980 of 100,000 |
        | lost | 532 |
        | connects | 38,412 /s |
        | connect | 410 µs p50, 2.6 ms p99 |
        | echo | 510 µs p50, 2.5 ms p99 |
        | what | raw hold over loopback, profile stock |
        | host | Debian 13, Linux 6.18.0, 2 processors |

        - not-isolated: no network namespace could be made: EPERM
        ");
    }

    #[test]
    fn what_is_not_known_has_no_row() {
        let text = markdown(&fixtures::unfinished(), None);
        assert!(!text.contains(UNKNOWN) && text.contains("| what |"), "{text}");
    }

    #[test]
    fn no_text_of_a_stranger_is_more_than_text() {
        let strange = "x|y\n# <img src=a onerror=b> `c` [d](e) @all ![f](g) &lt; \u{1b}[31m";
        let mut record = fixtures::short();
        record.run_id = strange.to_owned();
        record.profile.name = strange.to_owned();
        record.verdicts[0].expr = strange.to_owned();
        record.warnings[0].text = strange.to_owned();
        let ceiling = record.ceiling.as_mut().expect("one");
        ceiling.walls[0].title = strange.to_owned();
        ceiling.remedy.as_mut().expect("one").commands = vec!["echo ```\n```".to_owned()];
        let text = markdown(&record, Some(Path::new(strange)));
        let parts: Vec<&str> = text.split("\n````").collect();
        assert_eq!((parts.len(), parts[1]), (3, "sh\necho ```\u{fffd}```"), "{text}");
        let outside = [parts[0], parts[2]].concat();
        for (at, found) in outside.match_indices(['<', '[', '`', '&']) {
            let is_escaped = outside[..at].ends_with('\\');
            assert!(is_escaped || outside[at..].starts_with("&#64;"), "{found} in {outside}");
        }
        assert!(!text.contains('@') && !text.contains('\u{1b}'), "{text}");
        let row = text.lines().find(|line| line.starts_with("| x")).expect("the verdict's row");
        assert_eq!(row.replace("\\|", "").matches('|').count(), 4, "{row}");
    }
}
