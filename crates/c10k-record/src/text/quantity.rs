//! Numbers as people write them: `100k`, `1M`, `10s`, `1m30s`. By hand, since an error says what was expected in the words
//! of the flag, and what is read is written back in the same way.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Not a count.
    #[error("'{0}' is not a count: expected digits with an optional k, M or G, such as 5000, 100k or 1.5M")]
    Count(String),
    /// Not a duration.
    #[error(
        "'{0}' is not a duration: expected a number with a unit, such as 500ms, 10s or 1m30s, up to 10000h"
    )]
    Duration(String),
}

/// Reads whole numbers of this range, as a parser of the command line.
///
/// # Errors
/// One line with the text and the range, for any other text.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + fmt::Debug + Clone,
{
    move |text| match (text.parse::<T>(), text.parse::<i128>()) {
        (Ok(number), _) if range.contains(&number) => Ok(number),
        (_, Ok(number)) => Err(format!("{number} is not in {range:?}")),
        _ => Err(format!("'{text}' is not a whole number: expected one in {range:?}")),
    }
}

/// A count of connections: `5000`, `10,000`, `100k` = 100,000, `1M` = `1e6` = 1,000,000, `1.5M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(pub u64);

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || QuantityError::Count(text.to_owned());
        let digits = without_groups(&text.replace(['_', ' '], "")).ok_or_else(bad)?;
        if let Some((number, zeros)) = digits.split_once(['e', 'E']) {
            let scale = zeros.parse().ok().and_then(|zeros| 10_u64.checked_pow(zeros)).ok_or_else(bad)?;
            return number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(scale))
                .map(Self)
                .ok_or_else(bad);
        }
        let (number, scale) = match digits.chars().last().ok_or_else(bad)? {
            'k' | 'K' => (&digits[..digits.len() - 1], 1_000_u64),
            'm' | 'M' => (&digits[..digits.len() - 1], 1_000_000),
            'g' | 'G' => (&digits[..digits.len() - 1], 1_000_000_000),
            _ => (digits.as_str(), 1),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || number.ends_with('.') {
            return Err(bad());
        }
        let mut value = whole.parse::<u64>().ok().and_then(|w| w.checked_mul(scale)).ok_or_else(bad)?;
        let mut place = scale;
        for digit in fraction.bytes() {
            if place % 10 != 0 {
                return Err(bad());
            }
            place /= 10;
            value = value.checked_add(u64::from(digit - b'0') * place).ok_or_else(bad)?;
        }
        Ok(Self(value))
    }
}

/// `10,000` without its commas; `None` where they do not stand before groups of three.
fn without_groups(text: &str) -> Option<String> {
    let mut groups = text.split(',');
    let first = groups.next()?;
    let is_group = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    let has_groups = text.contains(',');
    let is_right = !has_groups || (1..=3).contains(&first.len()) && groups.all(is_group);
    is_right.then(|| text.replace(',', ""))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human_count(self.0))
    }
}

/// Longer than anybody waits; beyond it sums with the clock would overflow.
const LONGEST: Duration = Duration::from_secs(10_000 * 3600);

/// A duration that reads and writes as `10s`, `1m30s`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// That many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || QuantityError::Duration(text.to_owned());
        let text = text.trim();
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut total = Duration::ZERO;
        let mut rest = text;
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            let unit_secs = match unit {
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return Err(bad()),
            };
            let number: f64 = number.parse().map_err(|_| bad())?;
            let part = Duration::try_from_secs_f64(number * unit_secs).map_err(|_| bad())?;
            total = total.checked_add(part).ok_or_else(bad)?;
            rest = tail;
        }
        if total > LONGEST { Err(bad()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        if us == 0 {
            return f.write_str("0s");
        }
        if !us.is_multiple_of(1000) {
            return write!(f, "{us}us");
        }
        let ms = us / 1000;
        if !ms.is_multiple_of(1000) {
            return write!(f, "{ms}ms");
        }
        let secs = ms / 1000;
        match (secs / 3600, secs / 60 % 60, secs % 60) {
            (0, 0, s) => write!(f, "{s}s"),
            (0, m, 0) => write!(f, "{m}m"),
            (0, m, s) => write!(f, "{m}m{s}s"),
            (h, 0, 0) => write!(f, "{h}h"),
            (h, m, 0) => write!(f, "{h}h{m}m"),
            (h, m, s) => write!(f, "{h}h{m}m{s}s"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A count with thousands separated, as a reader wants it: `100,000`.
#[must_use]
pub fn human_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things by their name in the singular: `1 connection`, `2,000 connections`, `3 addresses`.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    let plural = match count {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {what}{plural}", human_count(count))
}

/// A count in two digits and a unit, rounded down, as [`Quantity`] reads it: `2.7M`, `50k`, `999`.
#[must_use]
pub fn short_count(count: u64) -> String {
    let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| count >= *unit) else {
        return count.to_string();
    };
    match (count / unit, count % unit * 10 / unit) {
        (whole @ 0..10, tenths @ 1..) => format!("{whole}.{tenths}{name}"),
        (whole, _) => format!("{whole}{name}"),
    }
}

/// Bytes with a fitting unit, powers of 1024: `7.9 GiB`, `4,213 B`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    UNITS.iter().find(|(_, shift)| bytes >= 10 << shift || (*shift > 10 && bytes >= 1 << shift)).map_or_else(
        || format!("{} B", human_count(bytes)),
        |(unit, shift)| format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_is_refused_with_its_range() {
        let read = whole(1..=1024_u32);
        assert_eq!((read("1"), read("1024")), (Ok(1), Ok(1024)));
        assert_eq!(read("0"), Err("0 is not in 1..=1024".to_owned()));
        assert_eq!(read("99999999999"), Err("99999999999 is not in 1..=1024".to_owned()));
        for text in ["x", "", "1.5", "4k"] {
            let expected = format!("'{text}' is not a whole number: expected one in 1..=1024");
            assert_eq!(read(text), Err(expected));
        }
    }

    #[test]
    fn counts_read_as_people_write_them() {
        for (text, count) in [
            ("5000", 5000),
            ("100k", 100_000),
            ("1M", 1_000_000),
            ("1.5M", 1_500_000),
            ("1_000", 1000),
            ("10,000", 10_000),
            ("1,048,576", 1_048_576),
            ("1e6", 1_000_000),
            ("5E3", 5000),
        ] {
            assert_eq!(text.parse(), Ok(Quantity(count)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_counts_are_refused() {
        for text in [
            "",
            "k",
            "-5",
            "1.2345k",
            "10x",
            "1e",
            "e6",
            "1e30",
            "1,00",
            "1,0000",
            ",100",
            "1.",
            "10,000,",
            ".5k",
            "99999999999999999999",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations_are_refused() {
        for text in ["", "10", "s", "10q", "1m30", "-1s", "1.2.3s", "10001h", "18000000000000000000s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_with_separators_and_units() {
        assert_eq!(human_count(1_234_567), "1,234,567");
        assert_eq!(human_count(12), "12");
        let told = [counted(1, "time"), counted(0, "address"), counted(2_000, "connection")];
        assert_eq!(told, ["1 time", "0 addresses", "2,000 connections"]);
        assert_eq!(human_bytes(4213), "4,213 B");
        assert_eq!(human_bytes(1 << 30), "1.0 GiB");
    }

    proptest! {
        #[test]
        fn a_short_count_reads_back_as_no_more_than_it_was(count in 0_u64..u64::MAX / 2) {
            let Quantity(read) = short_count(count).parse().expect("a count");
            prop_assert!(read <= count && count - read <= count / 10, "{count}: {read}");
        }

        #[test]
        fn a_duration_reads_back_as_it_was_written(ms in 0_u64..100_000_000) {
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
