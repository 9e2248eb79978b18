//! Measured numbers in the words of a reader: the same everywhere.

use std::borrow::Cow;

use super::{human_bytes, human_count};

/// What is shown where a number is not known.
pub const UNKNOWN: &str = "unknown";

/// A count, or `unknown`.
pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), human_count)
}

/// A number with as many digits as help: none from 100 on, one from 10 on, two below.
pub fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return UNKNOWN.to_owned() };
    let sign = if value < 0.0 { "-" } else { "" };
    let size = value.abs();
    // Beyond 2^53 an f64 is no count any more.
    if size >= 9e15 {
        return format!("{value:.3e}");
    }
    if size >= 99.95 {
        return format!("{sign}{}", human_count(size.round() as u64));
    }
    let text = if size >= 9.995 { format!("{size:.1}") } else { format!("{size:.2}") };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "0" { text.to_owned() } else { format!("{sign}{text}") }
}

/// A number with its unit, or `unknown` without one.
pub fn with_unit(value: Option<f64>, unit: &str) -> String {
    let text = number(value);
    if text == UNKNOWN { text } else { format!("{text} {unit}") }
}

/// A share from 0 to 1 as percent: what is not nothing is not called 0 %, and what is not all is not called 100 %.
pub fn percent(ratio: Option<f64>) -> String {
    match ratio {
        Some(ratio) if ratio > 0.0 && ratio < 5e-5 => "below 0.01 %".to_owned(),
        Some(ratio) if (0.9995..1.0).contains(&ratio) => "above 99.9 %".to_owned(),
        _ => with_unit(ratio.map(|ratio| ratio * 100.0), "%"),
    }
}

/// A latency given in µs, in the unit that fits.
pub fn latency(us: Option<u64>) -> String {
    let Some(us) = us else { return UNKNOWN.to_owned() };
    let value = us as f64;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => with_unit(Some(value / 1e3), "ms"),
        _ => with_unit(Some(value / 1e6), "s"),
    }
}

/// A size in bytes, or `unknown`.
pub fn bytes(value: Option<u64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), human_bytes)
}

/// The text without the characters that steer a terminal: a record may carry what a stranger wrote.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What a program prints for people, without the characters that steer a terminal but for line ends, tabs and colours
/// (SGR of ECMA-48): it may have words that a stranger wrote.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = color_length(rest).unwrap_or(c.len_utf8());
        if is_plain(c) || length > c.len_utf8() {
            shown.push_str(&rest[..length]);
        } else {
            shown.push('\u{fffd}');
        }
        rest = &rest[length..];
    }
    Cow::Owned(shown)
}

/// How many bytes of it set a colour, where it begins so.
fn color_length(text: &str) -> Option<usize> {
    let behind = text.strip_prefix("\x1b[")?;
    let end = behind.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    behind[end..].starts_with('m').then_some("\x1b[m".len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_help() {
        let shown = [0.0, 0.001, -0.001, 1.234, 12.34, 99.99, 1234.5, -4012.4].map(|n| number(Some(n)));
        assert_eq!(shown, ["0", "0", "0", "1.23", "12.3", "100", "1,235", "-4,012"]);
        assert_eq!(number(Some(f64::NAN)), "unknown");
        assert_eq!(number(Some(1e300)), "1.000e300");
    }

    #[test]
    fn latencies_are_shown_in_the_unit_that_fits() {
        let shown = [7, 999, 1_230, 45_600, 2_500_000].map(|us| latency(Some(us)));
        assert_eq!(shown, ["7 µs", "999 µs", "1.23 ms", "45.6 ms", "2.5 s"]);
        assert_eq!(latency(None), "unknown");
    }

    #[test]
    fn what_people_are_shown_steers_no_terminal_but_has_its_colours() {
        for plain in ["", "a\tb\nc µs", "\x1b[1;32mheld\x1b[0m", "\x1b[m"] {
            assert_eq!(printable(plain), plain);
        }
        for (text, shown) in [
            ("a\rb", "a\u{fffd}b"),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[2J", "\u{fffd}[2J"),
            ("\x1b[1\x1b[1m", "\u{fffd}[1\x1b[1m"),
            ("\x1b[", "\u{fffd}["),
            ("\u{9b}1m\x7f\0é", "\u{fffd}1m\u{fffd}\u{fffd}é"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_never_zero() {
        assert_eq!(with_unit(None, "B"), "unknown");
        assert_eq!(percent(None), "unknown");
        let shown = [0.0, 1e-6, 5e-5, 0.5, 0.9994, 0.999_999, 1.0, 1.2].map(|ratio| percent(Some(ratio)));
        let wanted = ["0", "below 0.01", "0.01", "50", "99.9", "above 99.9", "100", "120"];
        assert_eq!(shown, wanted.map(|number| format!("{number} %")));
        assert_eq!(count(None), "unknown");
        assert_eq!(bytes(None), "unknown");
    }
}
