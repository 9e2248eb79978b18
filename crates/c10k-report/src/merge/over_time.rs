//! Counts and latencies over time of several boxes, laid on one time.

use std::path::Path;

use c10k_record::{Connections, PhaseName, Record, Sample};

use crate::{latencies_over_time, read_what_can_be_read};

use super::clock::Times;
use super::part::Part;
use super::set::Set;
use super::work::SLICE_MS;

/// From one row to the next, ms.
const STEP_MS: u64 = 250;
/// How an interval log tells when it was begun.
const BEGUN: &str = "#[StartTime: ";

/// What was kept over time.
#[derive(Debug, Default)]
pub struct OverTime {
    /// Rows of all shards together.
    pub samples: Vec<Sample>,
    /// The lines of all interval logs in one.
    pub latencies: String,
    /// What is missing, each in a sentence.
    pub missing: Vec<String>,
}

/// Reads what lies beside the results of these shards, and puts it together.
pub(crate) fn read(set: &Set, times: &Times, parts: &[Part<'_>]) -> OverTime {
    let mut over_time = OverTime::default();
    let mut rows: Vec<Vec<Sample>> = Vec::new();
    let mut lines: Vec<(f64, String)> = Vec::new();
    for part in parts {
        let beside = |kind: &str| part.entry.path.with_extension(kind);
        match samples(&beside("csv"), part.begun_ms) {
            Ok(own) => rows.push(own),
            Err(why) => over_time.missing.push(format!("shard {}: {why}.", part.entry.result.shard)),
        }
        match std::fs::read_to_string(beside("hlog")) {
            Ok(text) => lines.extend(shifted(&text, |seconds| times.after_first_seconds(part.n, seconds))),
            Err(_) => over_time.missing.push(format!(
                "shard {}: '{}' cannot be read: the latencies over time are those of the others.",
                part.entry.result.shard,
                beside("hlog").display()
            )),
        }
    }
    for shard in set.missing() {
        over_time.missing.push(format!("shard {shard}/{} left no result.", set.of));
    }
    // What one of them had at a time is missing in every sum of that time.
    if rows.len() == parts.len() {
        over_time.samples = added(&rows);
    }
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    if !lines.is_empty() {
        let head = format!("#[Histogram log format version 1.3]\n{BEGUN}0.000 (seconds since epoch)]\n");
        over_time.latencies = head;
        over_time.latencies.extend(lines.into_iter().map(|(_, line)| line));
    }
    over_time
}

/// The rows of one shard, by the time of all.
fn samples(path: &Path, begun_ms: u64) -> Result<Vec<Sample>, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("'{name}' cannot be read: {error}"))?;
    let (mut rows, error) = read_what_can_be_read(&text);
    if let Some(error) = error {
        return Err(format!("'{name}' cannot be read: {error}"));
    }
    rows.iter_mut().for_each(|row| row.elapsed_ms += begun_ms);
    Ok(rows)
}

/// The lines of an interval log with their times by another clock, which is given seconds since 1970.
fn shifted(text: &str, by: impl Fn(f64) -> f64) -> Vec<(f64, String)> {
    let begun = text.lines().find_map(|line| {
        let rest = line.strip_prefix(BEGUN)?;
        rest.split(' ').next()?.parse::<f64>().ok()
    });
    let Some(begun) = begun else { return Vec::new() };
    let line = |line: &str| {
        let (tag, rest) = line.strip_prefix("Tag=")?.split_once(',')?;
        let (start, rest) = rest.split_once(',')?;
        let start = by(begun + start.parse::<f64>().ok()?).max(0.0);
        Some((start, format!("Tag={tag},{start:.3},{rest}\n")))
    };
    // A last line whose writer was killed has no end.
    text.split_inclusive('\n').filter_map(|text| text.strip_suffix('\n')).filter_map(line).collect()
}

/// The rows of all shards together: counts between two rows of a shard lie on the line between them.
fn added(shards: &[Vec<Sample>]) -> Vec<Sample> {
    let last_ms = shards.iter().filter_map(|rows| rows.last()).map(|row| row.elapsed_ms).max();
    let Some(last_ms) = last_ms else { return Vec::new() };
    let mut all: Vec<Sample> = Vec::new();
    for at_ms in (0..=last_ms.next_multiple_of(STEP_MS)).step_by(STEP_MS as usize) {
        let mut row = added_at(shards, at_ms);
        let before = all.last().and_then(|before| before.established).unwrap_or(0);
        let since = row.established.map(|now| now.saturating_sub(before));
        row.connects_per_second =
            since.filter(|_| at_ms > 0).map(|since| since as f64 * 1000.0 / STEP_MS as f64);
        all.push(row);
    }
    all
}

fn added_at(shards: &[Vec<Sample>], at_ms: u64) -> Sample {
    let sum = |of: &dyn Fn(&Sample) -> Option<u64>, is_gone_at_end: bool| {
        let values = shards.iter().map(|rows| value_at(rows, at_ms, of, is_gone_at_end));
        values.sum::<Option<f64>>().map(|sum| sum.round() as u64)
    };
    let now: Vec<Option<&Sample>> = shards.iter().map(|rows| row_at(rows, at_ms)).collect();
    let messages: Vec<f64> = now.iter().flatten().filter_map(|row| row.messages_per_second).collect();
    Sample {
        elapsed_ms: at_ms,
        phase: phase_of(&now),
        attempted: sum(&|row| row.attempted, false),
        established: sum(&|row| row.established, false),
        verified: sum(&|row| row.verified, false),
        open: sum(&|row| row.open, true),
        failed: sum(&|row| row.failed, false),
        messages_per_second: (!messages.is_empty()).then(|| messages.iter().sum()),
        swarm_rss_bytes: sum(&|row| row.swarm_rss_bytes, true),
        ..Sample::default()
    }
}

/// The last row up to a time.
fn row_at(rows: &[Sample], at_ms: u64) -> Option<&Sample> {
    rows[..rows.partition_point(|row| row.elapsed_ms <= at_ms)].last()
}

/// The phase of the shard that is behind the others.
fn phase_of(now: &[Option<&Sample>]) -> String {
    let order = [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close];
    let place = |row: &Option<&Sample>| {
        let row = (*row)?;
        order.iter().position(|phase| phase.to_string() == row.phase)
    };
    let first = now.iter().map(|row| place(row).unwrap_or(0)).min().unwrap_or(0);
    order[first].to_string()
}

/// What a shard had at a time: nothing before its first row, and what its last row says behind that.
fn value_at(
    rows: &[Sample],
    at_ms: u64,
    of: &dyn Fn(&Sample) -> Option<u64>,
    is_gone_at_end: bool,
) -> Option<f64> {
    let next = rows.partition_point(|row| row.elapsed_ms <= at_ms);
    let value = |n: usize| of(&rows[n]).map(|value| value as f64);
    match (next.checked_sub(1), rows.get(next)) {
        (None, None) => None,
        // A count that a shard never has is not known at any time.
        (None, Some(_)) => value(0).map(|_| 0.0),
        (Some(last), None) if is_gone_at_end && rows[last].elapsed_ms < at_ms => value(last).map(|_| 0.0),
        (Some(last), None) => value(last),
        (Some(before), Some(after)) => {
            let (from, to) = (value(before)?, value(next)?);
            let long = (after.elapsed_ms - rows[before].elapsed_ms) as f64;
            let share = (at_ms - rows[before].elapsed_ms) as f64 / long;
            Some(from + (to - from) * share)
        }
    }
}

/// The best stretch of the ramp, connections a second.
pub(crate) fn peak_per_second(samples: &[Sample], connections: &Connections) -> Option<f64> {
    let of = |row: &Sample| if connections.verified.is_some() { row.verified } else { row.established };
    let gained = |pair: &[Sample]| Some(of(&pair[1])?.saturating_sub(of(&pair[0])?));
    let most = samples.windows(2).filter_map(gained).max()?;
    Some(most as f64 * 1000.0 / STEP_MS as f64)
}

/// Puts the percentiles of each stretch of a workload's time into the record.
pub(crate) fn note_work(record: &mut Record, latencies: &str) {
    for work in &mut record.work {
        let of = |kind: &str| {
            let tag = format!("{}.{kind}", work.name);
            latencies_over_time(latencies, &tag, work.from_ms, SLICE_MS, work.over_time.len())
        };
        let (responses, lateness) = (of("response"), of("lateness"));
        for (slice, (response, late)) in work.over_time.iter_mut().zip(responses.iter().zip(&lateness)) {
            (slice.response_p50_us, slice.response_p99_us) = (response.p50, response.p99);
            slice.lateness_p99_us = late.p99;
        }
    }
}

/// Puts the peak into the record.
pub(crate) fn note_peak(record: &mut Record, samples: &[Sample]) {
    let peak = peak_per_second(samples, &record.connections);
    let rate = &mut record.rate.connects_per_second;
    // A ramp shorter than a row has its peak within one.
    rate.peak = [peak, rate.mean].into_iter().flatten().reduce(f64::max);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(elapsed_ms: u64, phase: &str, established: u64) -> Sample {
        Sample {
            elapsed_ms,
            phase: phase.to_owned(),
            established: Some(established),
            open: Some(established),
            ..Sample::default()
        }
    }

    #[test]
    fn counts_of_shards_that_tick_at_other_times_are_added_at_one_time() {
        let one =
            vec![row(0, "ramp", 0), row(300, "ramp", 300), row(600, "hold", 300), row(1000, "close", 300)];
        let other = vec![row(500, "ramp", 0), row(1000, "ramp", 1000), row(1500, "hold", 1000)];
        let all = added(&[one, other]);
        let told: Vec<_> = all.iter().map(|row| (row.elapsed_ms, row.established, row.open)).collect();
        let expected = [
            (0, 0, 0),
            (250, 250, 250),
            (500, 300, 300),
            (750, 800, 800),
            (1000, 1300, 1300),
            (1250, 1300, 1000),
            (1500, 1300, 1000),
        ]
        .map(|(ms, established, open)| (ms, Some(established), Some(open)));
        assert_eq!(told, expected);
        assert_eq!(all[3].connects_per_second, Some(2000.0));
        let phases: Vec<&str> = all.iter().map(|row| row.phase.as_str()).collect();
        assert_eq!(phases, ["ramp", "ramp", "ramp", "ramp", "ramp", "ramp", "hold"]);
        assert!(all.iter().all(|row| row.verified.is_none()), "what no shard knows is not 0");
        let connections = Connections::default();
        assert_eq!(peak_per_second(&all, &connections), Some(2000.0));
    }

    #[test]
    fn the_lines_of_a_log_are_laid_on_another_time_and_a_torn_one_is_left_out() {
        let text = "#[Histogram log format version 1.3]\n#[StartTime: 1000.500 (seconds since epoch)]\n\
                    \"StartTimestamp\",\"Interval_Length\"\n\
                    Tag=connect,0.250,0.250,1.5,HISTF\nTag=echo,9.000,0.250,1.5,HISTG\nTag=echo,9.2";
        let lines = shifted(text, |seconds| seconds - 1000.0 + 2.0);
        let told: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(told, ["Tag=connect,2.750,0.250,1.5,HISTF\n", "Tag=echo,11.500,0.250,1.5,HISTG\n"]);
        assert!(shifted("Tag=connect,0.250,0.250,1.5,HISTF\n", |seconds| seconds).is_empty());
    }
}
