//! Limits that were met on the way, what they cost and what lifts them.

use c10k_record::{Delayed, LatencySummary, Record, Tone, human_count, latency};

use super::ceiling::{end, evidence, remedy};
use super::{Row, Section, line};

/// `None` where none was met.
pub(super) fn section(record: &Record) -> Option<Section> {
    let mut rows = Vec::new();
    for met in &record.met_on_the_way {
        let times =
            if met.times == 1 { "once".to_owned() } else { format!("{} times", human_count(met.times)) };
        let text = format!("{} — {} ({}, {times})", met.wall, met.title, end(met.side));
        rows.push(Row::Text(Tone::Bad, text));
        rows.extend(met.evidence.iter().map(evidence));
        rows.push(line(met.cost.as_ref().map_or_else(
            || "What it cost: no connection waited for it.".to_owned(),
            |cost| format!("What it cost: {}.", words(cost, &record.latency_us.connect)),
        )));
        rows.extend(met.remedy.iter().flat_map(remedy));
    }
    (!rows.is_empty()).then(|| Section::new("Met on the way, without a connection lost", rows))
}

fn words(cost: &Delayed, connect: &LatencySummary) -> String {
    let longest = latency(cost.longest_connect_us);
    let half = latency(connect.p50);
    let connects = match cost.connects {
        0 => format!("no connect took a second, the longest {longest}"),
        count => format!("{} connects took a second or more, the longest {longest}", human_count(count)),
    };
    let echoes = match cost.first_echoes {
        0 => String::new(),
        count => format!(
            "; {} first echoes took a second or more, the longest {}",
            human_count(count),
            latency(cost.longest_first_echo_us)
        ),
    };
    format!("{connects} (half of all took {half}){echoes}")
}

#[cfg(test)]
mod tests {
    use c10k_record::{MetOnTheWay, Style};

    use super::*;
    use crate::{fixtures, summary};

    fn met(cost: Option<Delayed>) -> Record {
        let mut record = fixtures::held();
        let like = fixtures::short().ceiling.expect("a wall").walls.remove(0);
        record.met_on_the_way = vec![MetOnTheWay {
            wall: "accept-queue".to_owned(),
            title: "the accept queue overflows".to_owned(),
            side: c10k_record::Side::Server,
            times: 8_926,
            cost,
            evidence: like.evidence[..1].to_vec(),
            remedy: like.remedy,
        }];
        record
    }

    #[test]
    fn what_was_met_is_told_with_its_number_its_cost_and_what_lifts_it() {
        let cost = Delayed {
            connects: 1_203,
            connects_at_steps: 1_203,
            longest_connect_us: Some(4_110_000),
            first_echoes: 33,
            longest_first_echo_us: Some(3_510_000),
        };
        let record = met(Some(cost));
        let text = summary(&record, None, Style::default());
        let begin = text.find("Met on the way").expect("a section");
        let end = text.find("\n\nCost of a connection").expect("the next one");
        insta::assert_snapshot!(&text[begin..end], @r#"
        Met on the way, without a connection lost
          accept-queue — the accept queue overflows (at the server, 8,926 times)
          EADDRNOTAVAIL  512  512 connections lost: cannot assign requested address
          What it cost: 1,203 connects took a second or more, the longest 4.11 s (half of all took 410 µs);
          33 first echoes took a second or more, the longest 3.51 s.
          What lifts it: Use 4 source addresses, or let the server listen on more ports or addresses.
            $ c10k-swarm --ips 127.0.0.1-127.0.0.4 --target 100000
        "#);
        let page = fixtures::page(&record);
        for told in
            ["accept-queue — the accept queue overflows (at the server, 8,926 times)", "the longest 4.11 s"]
        {
            assert!(page.contains(told), "{told}");
        }
    }

    #[test]
    fn what_made_nobody_wait_cost_nothing() {
        let text = summary(&met(None), None, Style::default());
        assert!(text.contains("What it cost: no connection waited for it."), "{text}");
        assert!(!summary(&fixtures::held(), None, Style::default()).contains("Met on the way"));
    }

    #[test]
    fn a_verdict_that_could_not_be_judged_is_no_success_and_no_broken_one() {
        let first = |passed: [Option<bool>; 3]| {
            let mut record = fixtures::held();
            record.verdicts.iter_mut().zip(passed).for_each(|(verdict, passed)| verdict.passed = passed);
            let text = summary(&record, None, Style::default());
            text.lines().next().map(str::to_owned).unwrap_or_default()
        };
        let (yes, no) = (Some(true), Some(false));
        assert!(first([yes, yes, None]).ends_with("but 1 of 3 verdicts could not be judged"));
        assert!(
            first([yes, no, None]).ends_with("but 1 of 3 verdicts does not hold and 1 could not be judged")
        );
    }
}
