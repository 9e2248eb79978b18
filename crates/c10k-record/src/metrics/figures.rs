//! Figures of one moment, and their text (the text format of Prometheus, version 0.0.4). By hand, since what is told is
//! one whole moment and not a registry of counters that each go on by themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::buckets::{BOUNDS_US, LatencyBuckets};
use super::family::{ALL, Family};

/// What a program tells at one moment. What is unknown is not set, and so not told.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<Key, Value>);

/// The place of the family in the list, and the values of its labels.
type Key = (usize, Vec<String>);

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Buckets(Box<LatencyBuckets>),
}

impl Figures {
    /// Sets a count; what was set before for the same labels gives way. Nothing where it is unknown.
    pub fn count(&mut self, family: &Family, labels: &[&str], count: impl Into<Option<u64>>) {
        // Exact to 2^53, beyond which nothing here comes.
        self.measure(family, labels, count.into().map(|count| count as f64));
    }

    /// Sets a measured figure in the same way.
    pub fn measure(&mut self, family: &Family, labels: &[&str], value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.set(family, labels, Value::Number(value));
        }
    }

    /// Sets a histogram in the same way.
    pub(super) fn buckets(&mut self, family: &Family, labels: &[&str], buckets: &LatencyBuckets) {
        self.set(family, labels, Value::Buckets(Box::new(buckets.clone())));
    }

    fn set(&mut self, family: &Family, labels: &[&str], value: Value) {
        debug_assert_eq!(labels.len(), family.labels.len(), "the labels of {}", family.name);
        // Each family stands in the list of which it is made.
        if let Some(place) = ALL.iter().position(|known| known.name == family.name) {
            self.0.insert((place, labels.iter().map(|label| (*label).to_owned()).collect()), value);
        }
    }

    /// The page that is scraped.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for ((place, labels), value) in &self.0 {
            let family = &ALL[*place];
            if last.replace(*place) != Some(*place) {
                let Family { name, kind, help, .. } = family;
                let help = help.replace('\\', "\\\\").replace('\n', "\\n");
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            }
            let labels = family.labels.iter().copied().zip(labels.iter().map(String::as_str));
            let labels: Vec<(&str, &str)> = labels.collect();
            match value {
                Value::Number(number) => line(&mut text, family.name, &labels, *number),
                Value::Buckets(buckets) => of_buckets(&mut text, family.name, &labels, buckets),
            }
        }
        text
    }
}

fn of_buckets(text: &mut String, name: &str, labels: &[(&str, &str)], buckets: &LatencyBuckets) {
    let mut below = 0;
    for (place, count) in buckets.counts.iter().enumerate() {
        below += count;
        let bound = BOUNDS_US.get(place).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
        let labels = [labels, &[("le", bound.as_str())]].concat();
        line(text, &format!("{name}_bucket"), &labels, below as f64);
    }
    line(text, &format!("{name}_sum"), labels, buckets.sum_us as f64 / 1e6);
    line(text, &format!("{name}_count"), labels, buckets.count() as f64);
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels = labels.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    let labels: Vec<String> = labels.collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::super::family;
    use super::*;
    use crate::LatencyHistogram;

    #[test]
    fn a_family_has_its_head_once_and_what_is_unknown_is_not_told() {
        let mut figures = Figures::default();
        figures.count(&family::SLAB, &[], None);
        figures.measure(&family::LOOK, &[], 0.5);
        figures.count(&family::CONNECTIONS, &["swarm", "open"], 3);
        figures.count(&family::CONNECTIONS, &["server", "open"], 1);
        figures.count(&family::CONNECTIONS, &["server", "open"], 2);
        figures.count(&family::FAILED_BY, &["swarm", "a\"b\\c\nd"], 9_007_199_254_740_991);
        let text = figures.text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "c10k_connections{end=\"server\",state=\"open\"} 2",
                "c10k_connections{end=\"swarm\",state=\"open\"} 3",
                "c10k_connections_failed_by_outcome_total{end=\"swarm\",outcome=\"a\\\"b\\\\c\\nd\"} 9007199254740991",
                "c10k_look_seconds 0.5",
            ]
        );
        let heads: Vec<&str> = text.lines().filter(|line| line.contains("TYPE")).collect();
        assert_eq!(
            heads,
            [
                "# TYPE c10k_connections gauge",
                "# TYPE c10k_connections_failed_by_outcome_total counter",
                "# TYPE c10k_look_seconds gauge"
            ]
        );
        assert_eq!(text.matches("# HELP ").count(), 3, "{text}");
    }

    #[test]
    fn a_histogram_adds_up_to_its_count() {
        let (mut histogram, mut buckets) = (LatencyHistogram::default(), LatencyBuckets::default());
        [90, 90, 70_000, 30_000_000].iter().for_each(|us| histogram.record_us(*us));
        buckets.add(&histogram);
        let mut figures = Figures::default();
        figures.buckets(&family::ECHO_LATENCY, &["echo"], &buckets);
        let text = figures.text();
        for (bound, count) in [("0.0001", 2), ("0.05", 2), ("0.1", 3), ("10", 3), ("+Inf", 4)] {
            let wanted =
                format!("c10k_echo_latency_seconds_bucket{{kind=\"echo\",le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&wanted), "{wanted}{text}");
        }
        assert!(text.contains("c10k_echo_latency_seconds_count{kind=\"echo\"} 4\n"), "{text}");
    }
}
