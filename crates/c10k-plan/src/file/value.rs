//! What a value of a plan may look like: as a resolved plan has it, or as the command line takes it.

use std::str::FromStr;

use c10k_record::{Quantity, Span};
use toml_edit::Value;

/// One value, as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a>(pub &'a Value);

impl<'a> Given<'a> {
    fn is_not(self, expected: &str) -> String {
        let value = self.0.to_string();
        format!("{} is not right: expected {expected}", value.trim())
    }

    /// A text.
    pub fn text(self) -> Result<&'a str, String> {
        self.0.as_str().ok_or_else(|| self.is_not("a text in quotes"))
    }

    /// A text that reads as a `T`.
    pub fn read<T: FromStr>(self) -> Result<T, String>
    where
        T::Err: ToString,
    {
        self.text()?.parse().map_err(|error: T::Err| error.to_string())
    }

    /// Yes or no.
    pub fn boolean(self) -> Result<bool, String> {
        self.0.as_bool().ok_or_else(|| self.is_not("true or false"))
    }

    /// A whole number, as such or as the command line takes it: `100k`.
    pub fn count(self) -> Result<u64, String> {
        match self.0 {
            Value::Integer(number) => u64::try_from(*number.value()).map_err(|_| self.is_not("0 or more")),
            Value::String(text) => {
                let read: Result<Quantity, _> = text.value().parse();
                read.map(|Quantity(count)| count).map_err(|error| error.to_string())
            }
            _ => Err(self.is_not("a number, such as 5000 or \"100k\"")),
        }
    }

    /// A whole number that fits.
    pub fn small<T: TryFrom<u64>>(self) -> Result<T, String> {
        T::try_from(self.count()?).map_err(|_| self.is_not("a smaller number"))
    }

    /// So many a second: `2000`, `"2000/s"`, `0.5`.
    pub fn rate(self) -> Result<f64, String> {
        let expected = "so many a second, such as 2000 or \"2k/s\"";
        let number = match self.0 {
            Value::Integer(number) => Some(*number.value() as f64),
            Value::Float(number) => Some(*number.value()),
            Value::String(text) => rate_of(text.value()),
            _ => None,
        };
        number.filter(|rate| rate.is_finite() && *rate > 0.0).ok_or_else(|| self.is_not(expected))
    }

    /// A time, such as `"30s"`.
    pub fn span(self) -> Result<Span, String> {
        match self.0 {
            Value::String(text) => {
                text.value().parse().map_err(|error: c10k_record::QuantityError| error.to_string())
            }
            _ => Err(self.is_not("a duration in quotes, such as \"10s\" or \"1m30s\"")),
        }
    }

    /// A list of texts, or one text alone.
    pub fn texts(self) -> Result<Vec<String>, String> {
        match self.0 {
            Value::String(text) => Ok(vec![text.value().clone()]),
            Value::Array(all) => all.iter().map(|one| Given(one).text().map(str::to_owned)).collect(),
            _ => Err(self.is_not("a list of texts, such as [\"a\", \"b\"]")),
        }
    }

    /// The same, each of which reads as a `T`.
    pub fn all<T: FromStr>(self) -> Result<Vec<T>, String>
    where
        T::Err: ToString,
    {
        let texts = self.texts()?;
        texts
            .iter()
            .map(|text| text.parse().map_err(|error: T::Err| format!("'{text}': {}", error.to_string())))
            .collect()
    }

    /// A size with its unit, or in bytes.
    pub(crate) fn sized<T: FromStr>(self) -> Result<T, String>
    where
        T::Err: ToString,
    {
        match self.0 {
            Value::Integer(bytes) => {
                bytes.value().to_string().parse().map_err(|error: T::Err| error.to_string())
            }
            _ => self.read(),
        }
    }
}

/// `2000/s`, `2k/s`, `0.5/s`, with or without the unit.
fn rate_of(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix("/s").unwrap_or(text.trim()).trim();
    number.parse().ok().or_else(|| number.parse::<Quantity>().ok().map(|Quantity(count)| count as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of that text.
    macro_rules! given {
        ($text:expr, $read:expr) => {{
            let value: Value = $text.parse().expect($text);
            $read(Given(&value))
        }};
    }

    #[test]
    fn units_are_those_of_the_command_line_and_numbers_those_of_a_resolved_plan() {
        for (text, count) in [("5", 5), ("\"100k\"", 100_000), ("\"1M\"", 1_000_000)] {
            assert_eq!(given!(text, Given::count), Ok(count), "{text}");
        }
        for (text, rate) in [("2000", 2000.0), ("\"2k/s\"", 2000.0), ("0.5", 0.5), ("\"0.25/s\"", 0.25)] {
            assert_eq!(given!(text, Given::rate), Ok(rate), "{text}");
        }
        assert_eq!(given!("\"1m30s\"", Given::span), Ok(Span::secs(90)));
        assert_eq!(
            given!("\"1KiB\"", Given::sized::<c10k_record::Payload>).map(|size| size.max_bytes),
            Ok(1024)
        );
        assert_eq!(given!("[\"a\", \"b\"]", Given::texts), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_is_none_of_it_is_told_with_what_was_expected() {
        assert!(given!("10", Given::span).is_err_and(|error| error.contains("such as \"10s\"")));
        assert!(given!("-1", Given::count).is_err_and(|error| error.contains("-1 is not right")));
        assert!(given!("\"0/s\"", Given::rate).is_err());
        assert!(given!("\"yes\"", Given::boolean).is_err_and(|error| error.contains("true or false")));
        assert!(given!("70000", Given::small::<u16>).is_err_and(|error| error.contains("a smaller number")));
        assert!(given!("[1]", Given::texts).is_err());
    }
}
