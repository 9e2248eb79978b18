//! `latency.hlog` read back: HdrHistogram interval logs, by their tag.

use std::collections::BTreeMap;

use c10k_record::LatencySummary;
use data_encoding::BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// The latencies of a run as its interval log has them, µs.
#[derive(Clone, Debug, Default)]
pub struct LatencyLog {
    pub(crate) tags: BTreeMap<String, Tagged>,
    /// Lines that could not be read.
    pub(crate) unreadable: u64,
}

/// What was logged under one tag.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    /// All of it.
    pub(crate) whole: Histogram<u64>,
    /// The same in at most [`MOST_SLICES`] parts.
    pub(crate) over_time: Vec<LoggedSlice>,
}

/// What was logged in one part of the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedSlice {
    /// Its middle, milliseconds since the log was begun.
    pub(crate) at_ms: u64,
    pub(crate) summary: LatencySummary,
}

/// Parts of the time that are kept apart.
const MOST_SLICES: u64 = 150;

/// One line of the log.
struct Interval<'a> {
    tag: &'a str,
    start_ms: u64,
    length_ms: u64,
    encoded: &'a str,
}

/// Reads the text of an interval log. What cannot be read, such as a last line whose writer was killed, is counted and left
/// out.
#[must_use]
pub fn read_latency_log(text: &str) -> LatencyLog {
    let mut log = LatencyLog::default();
    let mut intervals: Vec<Interval<'_>> = Vec::new();
    let mut unreadable = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        // The line of columns that the Java tools write.
        if line.starts_with('"') {
            continue;
        }
        match interval(line) {
            Some(interval) => intervals.push(interval),
            None => unreadable += 1,
        }
    }
    let end_ms = intervals.iter().map(|i| i.start_ms.saturating_add(i.length_ms)).max().unwrap_or(0);
    let width_ms = end_ms.div_ceil(MOST_SLICES).max(1);
    let mut parts: BTreeMap<&str, BTreeMap<u64, Histogram<u64>>> = BTreeMap::new();
    for interval in &intervals {
        let Some(histogram) = decoded(interval.encoded) else {
            unreadable += 1;
            continue;
        };
        let middle_ms = interval.start_ms.saturating_add(interval.length_ms / 2);
        let slices = parts.entry(interval.tag).or_default();
        match slices.get_mut(&(middle_ms / width_ms)) {
            Some(slice) => unreadable += u64::from(slice.add(&histogram).is_err()),
            None => {
                slices.insert(middle_ms / width_ms, histogram);
            }
        }
    }
    log.unreadable = unreadable;
    log.tags = parts
        .into_iter()
        .filter_map(|(tag, slices)| Some((tag.to_owned(), tagged(&slices, width_ms)?)))
        .collect();
    log
}

/// What an interval log has under one tag, in stretches of `step_ms` from `from_ms` on, milliseconds since the log was begun;
/// an interval belongs to the stretch in which its middle lies.
#[must_use]
pub fn latencies_over_time(
    text: &str,
    tag: &str,
    from_ms: u64,
    step_ms: u64,
    count: usize,
) -> Vec<LatencySummary> {
    let mut stretches: Vec<Option<Histogram<u64>>> = vec![None; count];
    let lines = text.lines().filter(|line| line.starts_with("Tag="));
    for interval in lines.filter_map(interval).filter(|interval| interval.tag == tag) {
        let middle_ms = interval.start_ms.saturating_add(interval.length_ms / 2);
        let Some(after_ms) = middle_ms.checked_sub(from_ms) else { continue };
        let place = usize::try_from(after_ms / step_ms.max(1)).unwrap_or(usize::MAX);
        let (Some(stretch), Some(own)) = (stretches.get_mut(place), decoded(interval.encoded)) else {
            continue;
        };
        match stretch {
            // Of other bounds: it is left out.
            Some(sum) => drop(sum.add(&own)),
            None => *stretch = Some(own),
        }
    }
    stretches.iter().map(|stretch| stretch.as_ref().map(summary).unwrap_or_default()).collect()
}

fn tagged(slices: &BTreeMap<u64, Histogram<u64>>, width_ms: u64) -> Option<Tagged> {
    let mut whole = slices.values().next()?.clone();
    whole.reset();
    let mut over_time = Vec::new();
    for (n, histogram) in slices {
        // Of other bounds: its own slice is told all the same.
        let _ = whole.add(histogram);
        let at_ms = n.saturating_mul(width_ms).saturating_add(width_ms / 2);
        over_time.push(LoggedSlice { at_ms, summary: summary(histogram) });
    }
    Some(Tagged { whole, over_time })
}

/// The figures of a histogram, µs.
pub(crate) fn summary(histogram: &Histogram<u64>) -> LatencySummary {
    let has_values = !histogram.is_empty();
    let quantile = |q: f64| has_values.then(|| histogram.value_at_quantile(q));
    LatencySummary {
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: has_values.then(|| histogram.max()),
        count: histogram.len(),
    }
}

/// `Tag=NAME,START,LENGTH,MAX,HISTOGRAM`: seconds since the log was begun, seconds, and base64 of what is compressed.
fn interval(line: &str) -> Option<Interval<'_>> {
    let (tag, rest) = match line.strip_prefix("Tag=") {
        Some(tagged) => tagged.split_once(',')?,
        None => ("", line),
    };
    let mut cells = rest.split(',');
    let mut milliseconds = || {
        let seconds: f64 = cells.next()?.trim().parse().ok()?;
        (0.0..1e9).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
    };
    let (start_ms, length_ms) = (milliseconds()?, milliseconds()?);
    let encoded = cells.nth(1)?.trim();
    Some(Interval { tag, start_ms, length_ms, encoded })
}

fn decoded(text: &str) -> Option<Histogram<u64>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn an_interval_log_is_read_by_its_tags_as_a_whole_and_over_time() {
        let log = read_latency_log(&fixtures::latency_log());
        assert_eq!(log.unreadable, 0);
        let tags: Vec<&str> = log.tags.keys().map(String::as_str).collect();
        assert_eq!(tags, ["connect", "echo.lateness", "echo.response"]);
        let connect = &log.tags["connect"];
        assert_eq!((connect.whole.len(), connect.over_time.len()), (300, 3));
        let medians: Vec<u64> = connect.over_time.iter().filter_map(|slice| slice.summary.p50).collect();
        assert!(medians[0] < medians[1] && medians[1] < medians[2], "{medians:?}");
    }

    #[test]
    fn latencies_over_time_are_those_of_the_intervals_in_each_stretch() {
        let text = fixtures::latency_log();
        let whole = read_latency_log(&text).tags["connect"].whole.len();
        let one = latencies_over_time(&text, "connect", 0, 3_600_000, 1);
        assert_eq!(one[0].count, whole);
        let many = latencies_over_time(&text, "connect", 0, 250, 100);
        assert_eq!(many.iter().map(|summary| summary.count).sum::<u64>(), whole);
        assert!(many.iter().any(|summary| *summary == LatencySummary::default()), "nothing is no 0 µs");
        assert_eq!(latencies_over_time(&text, "no such", 0, 250, 2), vec![LatencySummary::default(); 2]);
        assert_eq!(latencies_over_time(&text, "connect", 3_600_000, 250, 1), [LatencySummary::default()]);
    }

    #[test]
    fn a_log_that_is_cut_or_damaged_anywhere_gives_what_is_left() {
        let text = fixtures::latency_log();
        for cut in 0..text.len() {
            let _ = read_latency_log(&text[..cut]);
        }
        let lines = text.lines().filter(|line| line.starts_with("Tag=")).count() as u64;
        let damaged = read_latency_log(&text.replace("HISTF", "HISTX"));
        assert_eq!((damaged.tags.len(), damaged.unreadable), (0, lines));
        for no_log in ["", "x", "Tag=", "Tag=a,b,c,d,e", "Tag=a,1e300,0,0,HISTF", "Tag=a,NaN,0,0,AAAA"] {
            assert!(read_latency_log(no_log).tags.is_empty(), "{no_log}");
        }
    }
}
