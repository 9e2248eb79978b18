//! Values of sysctls, compared by what they mean and not by how they are spelled.
//!
//! The kernel takes `010` for eight and `0x1000` for 4,096, takes too few or too many fields without a word, and
//! gives a value back with tabs or in another order. So numbers are numbers here from the start.

use std::fmt;

use serde::{Serialize, Serializer};

/// A value that a sysctl has or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysctlValue {
    /// One number, or a vector of numbers in the kernel's order.
    Integers(Vec<i64>),
    /// A set of ports, as in `net.ipv4.ip_local_reserved_ports`.
    Ports(PortList),
    /// Words, as in `net.ipv4.tcp_congestion_control`.
    Text(String),
}

/// A set of ports as sorted ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortList(Vec<(u16, u16)>);

/// How a wanted value relates to the text that the kernel shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Same,
    Differs,
    /// The kernel's value has another number of fields.
    OtherCount {
        present: usize,
        wanted: usize,
    },
    /// The kernel's value is of another kind.
    OtherKind {
        present: &'static str,
    },
}

impl SysctlValue {
    /// Reads a string of a profile for `key`.
    ///
    /// # Errors
    /// Says what was expected, when the string hides numbers or is no port list where one belongs.
    pub(crate) fn from_string(key: &str, text: &str) -> Result<Self, String> {
        if is_port_list(key) {
            return PortList::parse(text).map(Self::Ports);
        }
        let mut words = text.split_whitespace().peekable();
        if words.peek().is_some() && words.all(looks_like_a_number) {
            return Err(format!(
                "\"{text}\" is a number written as a string; expected {} (in a string the kernel would read 010 as 8)",
                if text.split_whitespace().nth(1).is_some() {
                    "an array, as in [4096, 131072]"
                } else {
                    "an integer"
                }
            ));
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err("expected a string of one line, without control characters".to_owned());
        }
        Ok(Self::Text(text.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    /// Reads integers of a profile for `key`.
    ///
    /// # Errors
    /// Says what was expected, when the count or the order cannot be right for this key.
    pub(crate) fn from_integers(key: &str, integers: Vec<i64>) -> Result<Self, String> {
        if is_port_list(key) {
            let ports = integers.iter().map(|&port| match u16::try_from(port) {
                Ok(port) => Ok((port, port)),
                Err(_) => Err(format!("{port} is no port; expected 0 to 65535")),
            });
            return Ok(Self::Ports(PortList::from_ranges(ports.collect::<Result<_, _>>()?)));
        }
        if let Some(Fields { count, names: fields, are_ascending }) = fields_of(key) {
            if integers.len() != count {
                return Err(format!("expected {count} integers ({fields}), found {}", integers.len()));
            }
            if are_ascending && integers.windows(2).any(|pair| pair[0] > pair[1]) {
                return Err(format!("expected {fields} in ascending order, found {}", join(&integers)));
            }
        }
        if integers.is_empty() {
            return Err("expected at least one integer, found an empty array".to_owned());
        }
        Ok(Self::Integers(integers))
    }

    /// Reads what a kernel file or a journal holds. It is never refused: what is neither a list of ports nor numbers is text.
    pub(crate) fn from_kernel(key: &str, text: &str) -> Self {
        if is_port_list(key)
            && let Ok(ports) = PortList::parse(text)
        {
            return Self::Ports(ports);
        }
        let numbers: Option<Vec<i64>> = text.split_whitespace().map(|field| field.parse().ok()).collect();
        match numbers {
            Some(numbers) if !numbers.is_empty() => Self::Integers(numbers),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// Compares with what the kernel shows, field by field.
    pub(crate) fn compare(&self, present: &str) -> Comparison {
        match self {
            Self::Integers(wanted) => match integers(present) {
                None => Comparison::OtherKind { present: "text, not integers" },
                Some(has) if has.len() != wanted.len() => {
                    Comparison::OtherCount { present: has.len(), wanted: wanted.len() }
                }
                Some(has) => same_if(wanted.iter().map(|&field| i128::from(field)).eq(has)),
            },
            Self::Ports(wanted) => match PortList::parse(present) {
                Err(_) => Comparison::OtherKind { present: "no list of ports" },
                Ok(has) => same_if(*wanted == has),
            },
            Self::Text(wanted) => {
                if integers(present).is_some_and(|fields| !fields.is_empty()) {
                    return Comparison::OtherKind { present: "integers, not text" };
                }
                same_if(wanted.split_whitespace().eq(present.split_whitespace()))
            }
        }
    }

    /// True when any field is below the kernel's present one.
    pub(crate) fn lowers(&self, present: &str) -> bool {
        match (self, integers(present)) {
            (Self::Integers(wanted), Some(has)) => {
                wanted.iter().zip(has).any(|(&wanted, has)| i128::from(wanted) < has)
            }
            _ => false,
        }
    }
}

impl fmt::Display for SysctlValue {
    /// The text that is written to the kernel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integers(integers) => f.pad(&join(integers)),
            Self::Ports(ports) => ports.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl Serialize for SysctlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integers(integers) => match integers[..] {
                [single] => serializer.serialize_i64(single),
                _ => integers.serialize(serializer),
            },
            Self::Ports(ports) => serializer.collect_str(ports),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl PortList {
    /// Reads `8080,9000-9010`; an empty text is the empty set.
    ///
    /// # Errors
    /// Says which part is no port and no range.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let ranges = parts.map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => Ok((first, last)),
                _ => Err(format!("`{part}` is no port or range; expected something like 8080,9000-9010")),
            }
        });
        Ok(Self::from_ranges(ranges.collect::<Result<_, _>>()?))
    }

    /// Whether all ports of `other` are in this list.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        // Ranges that neither touch nor overlap: one that is in the list is in one range of it.
        other.0.iter().all(|(first, last)| self.0.iter().any(|range| range.0 <= *first && *last <= range.1))
    }

    /// This list and the other one together.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self::from_ranges(self.0.iter().chain(&other.0).copied().collect())
    }

    fn from_ranges(mut ranges: Vec<(u16, u16)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self
            .0
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        f.pad(&ranges.join(","))
    }
}

/// The keys whose text is a set of ports (proc_do_large_bitmap in kernel/sysctl.c).
fn is_port_list(key: &str) -> bool {
    key.ends_with("_reserved_ports")
}

/// The fields of a vector.
struct Fields {
    count: usize,
    names: &'static str,
    are_ascending: bool,
}

/// Vectors that the kernel takes in any count and order though only some make sense.
fn fields_of(key: &str) -> Option<Fields> {
    let name = key.rsplit('.').next()?;
    let (count, names, are_ascending) = match name {
        "tcp_rmem" | "tcp_wmem" => (3, "min, default, max in bytes", true),
        "tcp_mem" | "udp_mem" => (3, "min, pressure, max in pages", true),
        // `1 0`, a range with nobody in it, is the kernel's own default (icmp(7)).
        "ping_group_range" => (2, "first and last group id", false),
        _ if name.ends_with("_range") => (2, "first and last", true),
        _ => return None,
    };
    Some(Fields { count, names, are_ascending })
}

pub(crate) fn integers(text: &str) -> Option<Vec<i128>> {
    text.split_whitespace().map(|field| field.parse().ok()).collect()
}

/// Digits only: what the kernel would read as octal is no port.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

/// What strtoul(3) with base 0 would take.
fn looks_like_a_number(word: &str) -> bool {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => {
            digits.starts_with(|first: char| first.is_ascii_digit())
                && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
        }
    }
}

fn join(integers: &[i64]) -> String {
    integers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn same_if(same: bool) -> Comparison {
    if same { Comparison::Same } else { Comparison::Differs }
}

/// The kernel puts tabs between fields.
pub(crate) fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: &str = "net.ipv4.ip_local_reserved_ports";

    fn numbers(integers: &[i64]) -> SysctlValue {
        SysctlValue::from_integers("net.core.any", integers.to_vec()).unwrap()
    }

    #[test]
    fn tabs_and_spaces_are_the_same_value() {
        let wanted = numbers(&[4096, 131_072, 6_291_456]);
        assert_eq!(wanted.compare("4096\t131072\t6291456"), Comparison::Same);
        assert_eq!(wanted.compare("4096 131072 6291456\n"), Comparison::Same);
        assert_eq!(wanted.compare("4096\t131072\t6291457"), Comparison::Differs);
    }

    #[test]
    fn a_port_list_is_a_set_whatever_its_order_and_spelling() {
        let wanted = SysctlValue::from_string(PORTS, "9000-9010,8080").unwrap();
        assert_eq!(wanted.compare("8080,9000-9010"), Comparison::Same);
        assert_eq!(wanted.compare("8080,9000-9005,9006-9010"), Comparison::Same);
        assert_eq!(wanted.compare("8080"), Comparison::Differs);
        assert_eq!(wanted.to_string(), "8080,9000-9010");
        let one = SysctlValue::from_string(PORTS, "9000").unwrap();
        assert_eq!(one, SysctlValue::from_integers(PORTS, vec![9000]).unwrap());
        let none = SysctlValue::from_string(PORTS, "").unwrap();
        assert_eq!((none.to_string(), none.compare("")), (String::new(), Comparison::Same));
    }

    #[test]
    fn a_port_list_with_nonsense_is_refused() {
        for text in ["9000-", "9010-9000", "70000", "010", "0x10", "a", "1-2-3", "1 2"] {
            let error = SysctlValue::from_string(PORTS, text).unwrap_err();
            assert!(error.contains("expected something like"), "{text}: {error}");
        }
        assert!(SysctlValue::from_integers(PORTS, vec![65_536]).is_err());
    }

    #[test]
    fn the_count_of_fields_is_checked_against_the_kernels_own() {
        assert_eq!(numbers(&[8192]).compare("4096\t5\t6"), Comparison::OtherCount { present: 3, wanted: 1 });
        assert_eq!(
            numbers(&[1, 2, 3, 4]).compare("4096\t5\t6"),
            Comparison::OtherCount { present: 3, wanted: 4 }
        );
    }

    #[test]
    fn a_value_of_another_kind_is_told_from_a_value_that_differs() {
        assert!(matches!(numbers(&[1]).compare("cubic"), Comparison::OtherKind { .. }));
        let text = SysctlValue::from_string("net.ipv4.tcp_congestion_control", "cubic").unwrap();
        assert!(matches!(text.compare("4096"), Comparison::OtherKind { .. }));
        assert_eq!(text.compare("reno"), Comparison::Differs);
        assert_eq!(text.compare("cubic"), Comparison::Same);
    }

    #[test]
    fn numbers_hidden_in_strings_are_refused() {
        for text in ["010", "0x1000", "4096", "4096 131072 6291456", "-1", "1_000", "1.5"] {
            let error = SysctlValue::from_string("net.ipv4.any", text).unwrap_err();
            assert!(error.contains("written as a string"), "{text}: {error}");
        }
        assert!(SysctlValue::from_string("net.core.default_qdisc", "fq_codel").is_ok());
    }

    #[test]
    fn control_characters_are_no_part_of_a_value() {
        for text in ["a\nb", "a\0b", "a\x1b[2Jb", "a\rb"] {
            assert!(SysctlValue::from_string("kernel.core_pattern", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_vector_in_the_wrong_order_or_count_is_refused() {
        let error = SysctlValue::from_integers("net.ipv4.tcp_rmem", vec![8, 4, 16]).unwrap_err();
        assert!(error.contains("ascending"), "{error}");
        let error = SysctlValue::from_integers("net.ipv4.tcp_rmem", vec![8192]).unwrap_err();
        assert!(error.contains("3 integers") && error.contains("found 1"), "{error}");
        let error = SysctlValue::from_integers("net.ipv4.ip_local_port_range", vec![9, 1]).unwrap_err();
        assert!(error.contains("ascending"), "{error}");
        assert!(SysctlValue::from_integers("net.core.somaxconn", vec![]).is_err());
        let error = SysctlValue::from_integers("net.ipv4.ping_group_range", vec![0]).unwrap_err();
        assert!(error.contains("first and last group id"), "{error}");
    }

    #[test]
    fn the_range_with_nobody_in_it_is_a_value_of_ping_group_range() {
        let nobody = SysctlValue::from_integers("net.ipv4.ping_group_range", vec![1, 0]).unwrap();
        assert_eq!(nobody.compare("1\t0"), Comparison::Same);
        assert_eq!(nobody.compare("0\t2147483647"), Comparison::Differs);
    }

    #[test]
    fn lowering_any_field_counts_as_lowering() {
        assert!(numbers(&[1, 9, 9]).lowers("2 3 4"));
        assert!(!numbers(&[2, 9, 9]).lowers("2 3 4"));
        assert!(numbers(&[i64::MAX]).lowers("18446744073709551615"));
    }
}
