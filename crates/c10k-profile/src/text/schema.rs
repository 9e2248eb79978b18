//! The shape of a profile's text. What the text alone can get wrong is found here, with line and caret.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::socket_options::SocketOptions;
use super::value::SysctlValue;

/// One profile's text, before what it extends is looked up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    pub(crate) name: Name,
    pub(crate) summary: String,
    pub(crate) extends: Option<String>,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) namespace: NamespaceOptions,
    #[serde(default)]
    pub(crate) sysctl: Settings,
    #[serde(default)]
    pub(crate) socket: SocketOptions,
}

/// A profile's name is part of folder names.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(pub(crate) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_sound) {
            Ok(Self(name))
        } else {
            Err(format!(
                "`{name}` is no name; expected letters, digits, `-`, `_` and `.`, a letter or digit first"
            ))
        }
    }
}

/// Resource limits of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How many descriptors a table may hold (RLIMIT_NOFILE); None leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nofile: Option<NofileLimit>,
}

/// What `c10k-lab run` gives the network namespace that it makes, and no sysctl can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceOptions {
    /// Buckets of its own hash of established connections (`net.ipv4.tcp_child_ehash_entries` of the namespace it
    /// is made from), a power of two up to 2^24; None shares the host's hash. The kernel derives
    /// `tcp_max_tw_buckets` and `tcp_max_syn_backlog` from it (`tcp_set_hashinfo`, net/ipv4/tcp_ipv4.c).
    #[serde(default, deserialize_with = "power_of_two", skip_serializing_if = "Option::is_none")]
    pub ehash_entries: Option<u32>,
    /// Segments that a connection begins with (`initcwnd` of the routes between the ends, ip-route(8)), 1 to 65,535; None
    /// leaves the kernel's ten.
    #[serde(default, deserialize_with = "segments", skip_serializing_if = "Option::is_none")]
    pub initcwnd: Option<u32>,
}

/// A wish for RLIMIT_NOFILE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NofileLimit {
    /// The soft limit up to the present hard one.
    Hard,
    /// At least so many; a higher limit is left alone.
    AtLeast(u64),
}

/// The value that a profile wants a sysctl to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The value.
    pub value: SysctlValue,
    /// True when a kernel without this key is no error.
    pub optional: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Settings(pub(crate) BTreeMap<String, Wanted>);

impl<'de> Deserialize<'de> for NofileLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NofileVisitor;
        impl Visitor<'_> for NofileVisitor {
            type Value = NofileLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Far above any table that a kernel allocates: programs that walk all descriptors would hang.
                f.write_str("\"hard\", or an integer from 1 to 1073741816")
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<NofileLimit, E> {
                match u64::try_from(count) {
                    Ok(count @ 1..=1_073_741_816) => Ok(NofileLimit::AtLeast(count)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NofileLimit, E> {
                if text == "hard" {
                    Ok(NofileLimit::Hard)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(NofileVisitor)
    }
}

impl Serialize for NofileLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hard => serializer.serialize_str("hard"),
            Self::AtLeast(count) => serializer.serialize_u64(*count),
        }
    }
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Optional<'a> {
            value: &'a SysctlValue,
            optional: bool,
        }
        if self.optional {
            Optional { value: &self.value, optional: true }.serialize(serializer)
        } else {
            self.value.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SettingsVisitor;
        impl<'de> Visitor<'de> for SettingsVisitor {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of sysctls, as in \"net.core.somaxconn\" = 16384")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = BTreeMap::new();
                while let Some(Key(key)) = map.next_key()? {
                    let wanted = map.next_value_seed(WantedFor(&key))?;
                    settings.insert(key, wanted);
                }
                Ok(Settings(settings))
            }
        }
        deserializer.deserialize_map(SettingsVisitor)
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Key(String);

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let is_sound = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b))
        };
        if key.contains('.') && key.split('.').all(is_sound) {
            Ok(Self(key))
        } else if key.contains('.') || key.contains('/') {
            Err(format!("`{key}` is no sysctl; expected words with dots between them"))
        } else {
            Err(format!(
                "`{key}` is no sysctl; expected the whole key in quotes, as in \"net.core.somaxconn\""
            ))
        }
    }
}

/// Reads the value of one key, so that what is wrong with it is reported where it stands.
#[derive(Clone, Copy)]
struct WantedFor<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for WantedFor<'_> {
    type Value = Wanted;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Wanted, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WantedFor<'_> {
    type Value = Wanted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an integer, an array of integers, a string, or {{ value = …, optional = true }} for {}",
            self.0
        )
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Wanted, E> {
        required(SysctlValue::from_integers(self.0, vec![integer]))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Wanted, E> {
        required(SysctlValue::from_string(self.0, text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Wanted, A::Error> {
        let mut integers = Vec::new();
        while let Some(integer) = fields.next_element()? {
            integers.push(integer);
        }
        required(SysctlValue::from_integers(self.0, integers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Wanted, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Field {
            Value,
            Optional,
        }
        let (mut value, mut optional) = (None, false);
        while let Some(field) = fields.next_key()? {
            match field {
                Field::Value => value = Some(fields.next_value_seed(self)?.value),
                Field::Optional => optional = fields.next_value()?,
            }
        }
        let value = value.ok_or_else(|| de::Error::missing_field("value"))?;
        Ok(Wanted { value, optional })
    }
}

fn power_of_two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number) if number.is_power_of_two() && number <= 1 << 24 => Ok(Some(number)),
        _ => Err(de::Error::custom(format!("{number} is no power of two from 1 to 16777216"))),
    }
}

fn segments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u16::try_from(number) {
        Ok(number @ 1..) => Ok(Some(number.into())),
        _ => Err(de::Error::custom(format!("{number} is no number of segments from 1 to 65535"))),
    }
}

fn required<E: de::Error>(value: Result<SysctlValue, String>) -> Result<Wanted, E> {
    match value {
        Ok(value) => Ok(Wanted { value, optional: false }),
        Err(message) => Err(E::custom(message)),
    }
}
