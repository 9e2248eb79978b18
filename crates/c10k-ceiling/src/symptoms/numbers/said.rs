//! A number as people write it: `28232`, `28,232`, `28 232`, `28k`, or in a sentence.

use c10k_record::human_count;

/// A number, or the numbers that one was rounded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    low: u64,
    high: u64,
}

impl Said {
    /// This very number.
    #[must_use]
    pub fn exactly(number: u64) -> Self {
        Self { low: number, high: number }
    }

    /// The number; the middle where it was rounded.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.low + (self.high - self.low) / 2
    }

    /// Whether it was written to the last digit.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }

    /// Whether one of its numbers lies from `first` to `last`.
    pub(super) fn touches(&self, first: u64, last: u64) -> bool {
        self.low <= last && first <= self.high
    }

    /// The number for people.
    #[must_use]
    pub fn words(&self) -> String {
        if self.is_exact() {
            return human_count(self.low);
        }
        format!("{} to {}", human_count(self.low), human_count(self.high))
    }
}

/// The number at which, as `said` has it, something stopped: the one behind `at`, else the first that is no errno and
/// no total. `None` where there is none; a duration, an address or a version is no such number.
#[must_use]
pub fn number_in(said: &str) -> Option<Said> {
    let mut first = None;
    let mut begins = true;
    let mut skip_to = 0;
    for (at, sign) in said.char_indices() {
        if at >= skip_to && begins && sign.is_ascii_digit() {
            let (number, length) = read(&said[at..]);
            skip_to = at + length;
            let before = said[..at].split_whitespace().next_back().unwrap_or_default().to_lowercase();
            let before = before.trim_end_matches(|c: char| !c.is_alphanumeric());
            match number {
                Some(number) if before == "at" => return Some(number),
                Some(number)
                    if ![
                        "of", "errno", "code", "status", "port", "pid", "line", "http", "response", "close",
                        "signal",
                    ]
                    .contains(&before) =>
                {
                    first = first.or(Some(number));
                }
                _ => {}
            }
        }
        begins = !(sign.is_alphanumeric() || "._:/-".contains(sign));
    }
    first
}

/// The number at the beginning of `text`, and how many bytes of it belong to what looks like one.
fn read(text: &str) -> (Option<Said>, usize) {
    let is_part = |c: char| c.is_ascii_digit() || ",._'’".contains(c);
    let mut length = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    // `28 232`: groups of three behind one to three digits.
    if length <= 3 {
        while let Some(group) = text.get(length..length + 4)
            && (group.starts_with(' ') && group[1..].bytes().all(|byte| byte.is_ascii_digit()))
            && !text[length + 4..].starts_with(is_part)
        {
            length += 4;
        }
    }
    let written = text[..length].trim_end_matches([',', '.', '\'', '’', '_']);
    let behind = &text[written.len()..];
    let unit_text: String = behind.chars().take_while(|c| c.is_alphanumeric()).collect();
    let whole = written.len() + unit_text.len();
    let unit: u64 = match unit_text.as_str() {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        _ => return (None, whole.max(length)),
    };
    // An address with a port, a time of day, a share.
    let mut next = text[whole..].chars();
    let is_other =
        matches!((next.next(), next.next()), (Some('%'), _) | (Some(':' | '/' | '-'), Some('0'..='9')));
    let number = if is_other { None } else { number(written, unit) };
    (number, whole.max(length))
}

fn number(written: &str, unit: u64) -> Option<Said> {
    if unit > 1
        && let Some((whole, fraction)) = written.split_once('.')
    {
        // Of `1.0485760M` the last digit says nothing; of `1.5000001M` it would say a part of a connection.
        let most = unit.ilog10() as usize;
        let (fraction, beyond) = fraction.split_at_checked(most).unwrap_or((fraction, ""));
        if beyond.bytes().any(|byte| byte != b'0') {
            return None;
        }
        let step = unit / 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let (whole, part): (u64, u64) = (whole.parse().ok()?, fraction.parse().ok()?);
        let number = whole.checked_mul(unit)?.checked_add(part.checked_mul(step)?)?;
        return Some(rounded(number, step));
    }
    let mut groups = written.split(|c: char| !c.is_ascii_digit());
    let first = groups.next()?;
    let mut digits = first.to_owned();
    for group in groups {
        if group.len() != 3 || first.len() > 3 {
            return None;
        }
        digits.push_str(group);
    }
    let number: u64 = digits.parse().ok()?;
    let number = number.checked_mul(unit)?;
    Some(match unit {
        1 => Said::exactly(number),
        // `4k` says more of itself than `28k` does of its last three digits.
        unit => rounded(number, if number < 10 * unit { unit / 10 } else { unit }),
    })
}

/// What is written as `number` in steps of `step`, by rounding or by leaving digits out.
fn rounded(number: u64, step: u64) -> Said {
    if step <= 1 {
        return Said::exactly(number);
    }
    Said { low: number.saturating_sub(step / 2), high: number.saturating_add(step - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_people_write_it() {
        for (said, number) in [
            ("28232", 28_232),
            ("28,232", 28_232),
            ("28.232", 28_232),
            ("28 232", 28_232),
            ("28'232", 28_232),
            ("28_232", 28_232),
            ("1,048,576", 1_048_576),
            ("stuck at 28,225", 28_225),
            ("stuck at 28,225.", 28_225),
            ("stops at 28,225 of 100,000 connections", 28_225),
            ("after 10s only 1017 of 5000", 1_017),
            ("of 100,000 it holds 28,225", 28_225),
            ("10.0.0.1:9000 stops at 1,017", 1_017),
            ("hangs at 524,273!", 524_273),
            ("1.048576M", 1_048_576),
            ("1.0485760M", 1_048_576),
        ] {
            assert_eq!(number_in(said), Some(Said::exactly(number)), "{said}");
        }
        for (said, low, high) in [
            ("28k", 27_500, 28_999),
            ("around 28k", 27_500, 28_999),
            ("64K connections", 63_500, 64_999),
            ("4k", 3_950, 4_099),
            ("28.2k", 28_150, 28_299),
            ("1M", 950_000, 1_099_999),
        ] {
            assert_eq!(number_in(said), Some(Said { low, high }), "{said}");
        }
        for said in [
            "",
            "stuck",
            "10.0.0.1",
            "99%",
            "10s",
            "v4",
            "errno 24",
            "close 1013",
            "response 503",
            "HTTP 503",
            "12:30",
            "9,99",
            "1,0000",
            "28.23456k",
            "28.23’k",
            "99999999999999999999",
        ] {
            assert_eq!(number_in(said), None, "{said}");
        }
    }
}
