//! Which part of a run is whose.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One of several parts of a run, written `2/3`: the second of three. Numbers begin with 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Shard {
    index: u32,
    count: u32,
}

/// A shard in JSON.
#[derive(Serialize, Deserialize)]
struct Written {
    index: u32,
    count: u32,
}

impl From<Shard> for Written {
    fn from(Shard { index, count }: Shard) -> Self {
        Self { index, count }
    }
}

impl TryFrom<Written> for Shard {
    type Error = ShardError;

    fn try_from(Written { index, count }: Written) -> Result<Self, ShardError> {
        Self::new(index, count)
    }
}

/// Why a text names no shard.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// It is not made of two numbers.
    #[error("'{0}' is not a shard: expected I/N, such as 1/3, 2/3 or 3/3")]
    Shape(String),
    /// The first number is beyond the second, or one of them is 0.
    #[error("there is no shard {index} of {count}: expected a number from 1 to {count}")]
    Beyond {
        /// The first number.
        index: u64,
        /// The second.
        count: u64,
    },
    /// There are none, or more than anybody starts.
    #[error("a run in {count} shards: expected 1 to {}", Shard::MOST)]
    Count {
        /// How many.
        count: u64,
    },
    /// It does not name two variables.
    #[error("'{0}' does not name two variables: expected INDEX/COUNT, such as SLURM_PROCID/SLURM_NTASKS")]
    Variables(String),
    /// A variable is not set.
    #[error("the environment has no variable {0}, from which the shard is to be read")]
    Missing(String),
    /// A variable holds no number.
    #[error("{variable} is '{value}': expected a whole number")]
    NoNumber {
        /// Its name.
        variable: String,
        /// Its value.
        value: String,
    },
    /// The index is not below the count.
    #[error(
        "{variable} is {index}, and there are {count} shards: expected 0 to {}, since such a variable counts from 0",
        .count - 1
    )]
    IndexBeyond {
        /// The variable of the index.
        variable: String,
        /// Its value.
        index: u64,
        /// How many shards there are.
        count: u64,
    },
}

impl ShardError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Shape(_) | Self::Beyond { .. } | Self::Count { .. } => {
                "with three boxes: --shard 1/3 on the first, --shard 2/3 on the second, --shard 3/3 on the third"
            }
            Self::Variables(_) | Self::Missing(_) | Self::NoNumber { .. } | Self::IndexBeyond { .. } => {
                "Slurm has SLURM_PROCID/SLURM_NTASKS; an Indexed Job of Kubernetes has JOB_COMPLETION_INDEX, and the \
                 count may be a number: JOB_COMPLETION_INDEX/3"
            }
        }
        .to_owned()
    }
}

impl Shard {
    /// The most that there are.
    pub const MOST: u32 = 65_536;

    /// The `index`-th of `count`, from 1 on.
    ///
    /// # Errors
    /// [`ShardError::Count`] and [`ShardError::Beyond`].
    pub fn new(index: u32, count: u32) -> Result<Self, ShardError> {
        if count == 0 || count > Self::MOST {
            return Err(ShardError::Count { count: count.into() });
        }
        if index == 0 || index > count {
            return Err(ShardError::Beyond { index: index.into(), count: count.into() });
        }
        Ok(Self { index, count })
    }

    /// From two variables that an engine sets, `INDEX/COUNT`: the index counts from 0, and the count may be a number.
    /// `lookup` gives the value of a variable.
    ///
    /// # Errors
    /// [`ShardError`], which names the variable.
    pub fn from_variables(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ShardError> {
        let not_two = || ShardError::Variables(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(not_two)?;
        let is_a_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let number = |variable: &str| -> Result<u64, ShardError> {
            let value = lookup(variable).ok_or_else(|| ShardError::Missing(variable.to_owned()))?;
            value
                .trim()
                .parse()
                .map_err(|_| ShardError::NoNumber { variable: variable.to_owned(), value: value.clone() })
        };
        if !is_a_name(index) {
            return Err(not_two());
        }
        let count = match count.parse::<u64>() {
            Ok(count) => count,
            Err(_) if is_a_name(count) => number(count)?,
            Err(_) => return Err(not_two()),
        };
        if count == 0 || count > u64::from(Self::MOST) {
            return Err(ShardError::Count { count });
        }
        let of = number(index)?;
        if of >= count {
            return Err(ShardError::IndexBeyond { variable: index.to_owned(), index: of, count });
        }
        Self::new(of as u32 + 1, count as u32)
    }

    /// Its number, from 1 on.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// All of so many, in their order.
    pub fn all_of(count: u32) -> impl Iterator<Item = Self> {
        (1..=count).map(move |index| Self { index, count })
    }

    /// Those before this one, in their order.
    pub fn before(self) -> impl Iterator<Item = Self> {
        Self::all_of(self.count).take_while(move |shard| *shard < self)
    }

    /// Its part of `total` things that are numbered from 0 on. The parts of all shards lie one behind the other, leave
    /// nothing out, and differ by one at the most.
    #[must_use]
    pub fn range(self, total: u64) -> Range<u64> {
        let up_to = |index: u32| (u128::from(total) * u128::from(index) / u128::from(self.count)) as u64;
        up_to(self.index - 1)..up_to(self.index)
    }

    /// How many of `total` are its part.
    #[must_use]
    pub fn part(self, total: u64) -> u64 {
        let range = self.range(total);
        range.end - range.start
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let bad = || ShardError::Shape(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(bad)?;
        let number = |part: &str| part.trim().parse::<u64>().map_err(|_| bad());
        let (index, count) = (number(index)?, number(count)?);
        if count == 0 || count > u64::from(Self::MOST) {
            return Err(ShardError::Count { count });
        }
        let index = u32::try_from(index).map_err(|_| ShardError::Beyond { index, count })?;
        Self::new(index, count as u32)
    }
}

/// What is done with the source addresses of a run in shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardIps {
    /// The list is of all shards together: each has a part of it.
    #[default]
    Divide,
    /// The list is the shard's own, since it stands on a box of its own.
    Own,
}

impl FromStr for ShardIps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "divide" => Ok(Self::Divide),
            "own" => Ok(Self::Own),
            _ => Err(format!("'{text}' is not known: expected divide or own")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_all_shards_lie_one_behind_the_other_and_leave_nothing_out(
            total in prop_oneof![0..100_u64, any::<u64>()],
            count in 1..300_u32,
        ) {
            let mut next = 0;
            for shard in Shard::all_of(count) {
                let range = shard.range(total);
                prop_assert_eq!(range.start, next);
                prop_assert_eq!(shard.part(total), range.end - range.start);
                let even = total / u64::from(count);
                prop_assert!((even..=even + 1).contains(&shard.part(total)), "{} of {}", shard, total);
                next = range.end;
            }
            prop_assert_eq!(next, total);
        }

        #[test]
        fn a_shard_reads_back_as_it_is_written(count in 1..=Shard::MOST, at in 0..Shard::MOST) {
            let shard = Shard::new(at % count + 1, count).expect("within");
            prop_assert_eq!(shard.to_string().parse(), Ok(shard));
            let json = serde_json::to_string(&shard).expect("plain data");
            prop_assert_eq!(serde_json::from_str::<Shard>(&json).expect("what we wrote"), shard);
        }
    }

    #[test]
    fn a_text_that_names_no_shard_is_told_with_what_was_expected() {
        for (text, told) in [
            ("", "'' is not a shard: expected I/N"),
            ("3", "'3' is not a shard"),
            ("a/b", "'a/b' is not a shard"),
            ("1/3/5", "'1/3/5' is not a shard"),
            ("-1/3", "'-1/3' is not a shard"),
            ("0/3", "there is no shard 0 of 3: expected a number from 1 to 3"),
            ("4/3", "there is no shard 4 of 3"),
            ("99999999999/3", "there is no shard 99999999999 of 3"),
            ("1/0", "a run in 0 shards: expected 1 to 65536"),
            ("1/65537", "a run in 65537 shards"),
        ] {
            let error = text.parse::<Shard>().expect_err(text);
            assert!(error.to_string().starts_with(told), "{error}");
            assert!(error.hint().contains("--shard 1/3"), "{}", error.hint());
        }
        let json = serde_json::from_str::<Shard>(r#"{"index": 4, "count": 3}"#).expect_err("beyond");
        assert!(json.to_string().contains("there is no shard 4 of 3"), "{json}");
    }

    #[test]
    fn two_variables_of_an_engine_name_a_shard_and_count_from_0() {
        let lookup = |name: &str| match name {
            "SLURM_PROCID" => Some("2".to_owned()),
            "SLURM_NTASKS" => Some("3".to_owned()),
            "NONE" => Some("0".to_owned()),
            "WORD" => Some("two".to_owned()),
            _ => None,
        };
        let read = |text: &str| Shard::from_variables(text, lookup);
        assert_eq!(read("SLURM_PROCID/SLURM_NTASKS"), Ok(Shard { index: 3, count: 3 }));
        assert_eq!(read("NONE/SLURM_NTASKS"), Ok(Shard { index: 1, count: 3 }));
        assert_eq!(read("SLURM_PROCID/8"), Ok(Shard { index: 3, count: 8 }));
        for (text, told) in [
            ("SLURM_PROCID", "'SLURM_PROCID' does not name two variables"),
            ("2/3", "'2/3' does not name two variables"),
            ("A B/C", "'A B/C' does not name two variables"),
            ("SLURM_PROCID/", "'SLURM_PROCID/' does not name two variables"),
            ("GONE/SLURM_NTASKS", "the environment has no variable GONE"),
            ("SLURM_PROCID/GONE", "the environment has no variable GONE"),
            ("WORD/3", "WORD is 'two': expected a whole number"),
            ("SLURM_PROCID/NONE", "a run in 0 shards"),
            ("SLURM_PROCID/2", "SLURM_PROCID is 2, and there are 2 shards: expected 0 to 1"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().starts_with(told), "{error}");
            assert!(!error.hint().is_empty());
        }
    }
}
