//! Reads an HdrHistogram interval log back.

use std::collections::BTreeMap;
use std::path::Path;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

/// The histograms of the whole log by their tag.
#[track_caller]
pub(crate) fn read(path: &Path) -> BTreeMap<String, Histogram<u64>> {
    let bytes = std::fs::read(path).expect("an interval log");
    let mut all: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.expect("every line can be read") else { continue };
        let tag = interval.tag().expect("every interval is tagged").as_str().to_owned();
        let encoded = from_base64(interval.encoded_histogram());
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut &encoded[..]).expect("a histogram");
        match all.entry(tag) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(histogram);
            }
            std::collections::btree_map::Entry::Occupied(mut sum) => {
                sum.get_mut().add(histogram).expect("of one kind");
            }
        }
    }
    all
}

/// RFC 4648, section 4.
fn from_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.bytes().filter(|byte| *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other} is not of base64"),
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    bytes
}
