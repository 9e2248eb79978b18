//! Texts that name addresses: source lists, port windows, servers.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::names::{Network, Note, address_of};

/// The most source addresses a list may name: more would be a mistake in typing.
const MOST_SOURCES: u128 = 65_536;

/// A text that names no addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not an address at all.
    #[error(
        "'{0}' is not a list of addresses: expected forms such as 192.168.1.200-230, 127.0.0.1-127.0.0.8, \
         10.0.0.0/24 or ::1, joined by commas"
    )]
    NotAddresses(String),
    /// The end of a range stands before its begin.
    #[error("the range '{text}' is reversed: {first} stands behind {last}; did you mean {}?", turned(.text))]
    Reversed {
        /// The text.
        text: String,
        /// The first address of it.
        first: String,
        /// The last address of it.
        last: String,
    },
    /// More addresses than anybody means.
    #[error("'{0}' names more than 65,536 addresses")]
    TooMany(String),
    /// Not a port or a range of ports.
    #[error("'{0}' is not a range of ports: expected forms such as 9000 or 9000-9009, from 1 to 65535")]
    NotPorts(String),
    /// Not a server.
    #[error("'{0}' is not a server: expected HOST:PORT or HOST:FIRST-LAST, such as 127.0.0.1:9000-9009")]
    NotAServer(String),
    /// A name that no resolver knows.
    #[error("the server's name '{name}' cannot be resolved: {why}")]
    Unresolved {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
}

/// The range with its ends exchanged: `192.168.1.200-230` for `192.168.1.230-200`.
fn turned(text: &str) -> String {
    let Some((first, last)) = text.split_once('-').map(|(first, last)| (first.trim(), last.trim())) else {
        return text.to_owned();
    };
    match first.rsplit_once('.') {
        Some((net, byte)) if !last.contains('.') => format!("{net}.{last}-{byte}"),
        _ => format!("{last}-{first}"),
    }
}

/// Source addresses in the order of their text, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpList(Vec<IpAddr>);

impl IpList {
    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0
    }
}

impl FromStr for IpList {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut list = Vec::new();
        let mut seen = HashSet::new();
        for part in text.split(',') {
            for address in addresses_of(part.trim())? {
                if list.len() as u128 >= MOST_SOURCES {
                    return Err(AddressError::TooMany(text.to_owned()));
                }
                if seen.insert(address) {
                    list.push(address);
                }
            }
        }
        Ok(Self(list))
    }
}

fn addresses_of(part: &str) -> Result<Vec<IpAddr>, AddressError> {
    let bad = || AddressError::NotAddresses(part.to_owned());
    if part.contains('/') {
        let net: ipnet::IpNet = part.parse().map_err(|_| bad())?;
        let too_many = AddressError::TooMany(part.to_owned());
        let host_bits = u32::from(net.max_prefix_len() - net.prefix_len());
        return if host_bits > 16 { Err(too_many) } else { Ok(net.hosts().collect()) };
    }
    let Some((first, last)) = part.split_once('-') else {
        return Ok(vec![part.parse().map_err(|_| bad())?]);
    };
    let first: IpAddr = first.trim().parse().map_err(|_| bad())?;
    let last: IpAddr = match (first, last.trim()) {
        // `192.168.1.200-230`: only the last byte is said again.
        (IpAddr::V4(v4), short) if short.bytes().all(|byte| byte.is_ascii_digit()) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, short.parse().map_err(|_| bad())?).into()
        }
        (_, long) => long.parse().map_err(|_| bad())?,
    };
    let (low, high) = match (first, last) {
        (IpAddr::V4(low), IpAddr::V4(high)) => (u128::from(u32::from(low)), u128::from(u32::from(high))),
        (IpAddr::V6(low), IpAddr::V6(high)) => (u128::from(low), u128::from(high)),
        _ => return Err(bad()),
    };
    if low > high {
        let (first, last) = (first.to_string(), last.to_string());
        return Err(AddressError::Reversed { text: part.to_owned(), first, last });
    }
    if high - low >= MOST_SOURCES {
        return Err(AddressError::TooMany(part.to_owned()));
    }
    let of = |number: u128| match first {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(number as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    };
    Ok((low..=high).map(of).collect())
}

/// A window of ports, first and last, neither 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWindow {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortWindow {
    /// How many ports it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// Whether it holds none: never, a window has at least one port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether `port` lies in it.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortWindow {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || AddressError::NotPorts(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad);
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            let (first, last) = (first.to_string(), last.to_string());
            return Err(AddressError::Reversed { text: text.to_owned(), first, last });
        }
        Ok(Self { first, last })
    }
}

/// The servers to connect to: `HOST:PORTS`, joined by commas; and what the reader should know of their names. A name
/// means an address of the family of `source`, where one is named.
///
/// # Errors
/// [`AddressError`] when a text names no server or its name cannot be resolved.
pub(crate) fn servers_of(
    text: &str,
    network: &impl Network,
    source: Option<IpAddr>,
) -> Result<(Vec<SocketAddr>, Vec<Note>), AddressError> {
    let (mut servers, mut notes) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for part in text.split(',') {
        let part = part.trim();
        let bad = || AddressError::NotAServer(part.to_owned());
        let (host, ports) = part.rsplit_once(':').ok_or_else(bad)?;
        let window: PortWindow = ports.parse()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || (host.contains(':') && !part.starts_with('[')) {
            return Err(bad());
        }
        let unresolved = |why: String| AddressError::Unresolved { name: host.to_owned(), why };
        let (ip, note) = match host.parse::<IpAddr>() {
            Ok(ip) => (ip, None),
            Err(_) => address_of(network, host, window.first, source)
                .map_err(|error| unresolved(error.to_string()))?,
        };
        notes.extend(note);
        for port in window.first..=window.last {
            let server = SocketAddr::new(ip, port);
            // Named twice it is still one destination, with one set of ports.
            if seen.insert(server) {
                servers.push(server);
            }
        }
    }
    Ok((servers, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Here;

    fn servers_of(text: &str) -> Result<Vec<SocketAddr>, AddressError> {
        super::servers_of(text, &Here, None).map(|(servers, _)| servers)
    }

    fn list(text: &str) -> Result<Vec<String>, AddressError> {
        text.parse::<IpList>().map(|list| list.addresses().iter().map(IpAddr::to_string).collect())
    }

    #[test]
    fn all_forms_of_a_list_are_read() {
        assert_eq!(list("192.168.1.229-230").expect("short"), ["192.168.1.229", "192.168.1.230"]);
        assert_eq!(list("127.0.0.1-127.0.0.2").expect("long"), ["127.0.0.1", "127.0.0.2"]);
        assert_eq!(list("10.0.0.0/30").expect("cidr"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(list("::1, 127.0.0.1,127.0.0.1").expect("list"), ["::1", "127.0.0.1"]);
        assert_eq!(list("192.168.1.200-230").expect("the diary's").len(), 31);
        assert_eq!(list("127.0.0.255-127.0.1.1").expect("over a byte").len(), 3);
    }

    #[test]
    fn texts_that_name_no_addresses_are_refused_with_the_text() {
        for text in
            ["", "localhost", "1.2.3", "1.2.3.4-", "1.2.3.4-300", "1.2.3.4-::1", "1.2.3.4/33", "1.2.3.4,,"]
        {
            let error = list(text).expect_err(text);
            assert!(matches!(error, AddressError::NotAddresses(_)), "{text}: {error}");
        }
    }

    #[test]
    fn a_reversed_range_is_told_as_such() {
        let error = list("192.168.1.230-200").expect_err("reversed");
        assert!(matches!(error, AddressError::Reversed { .. }), "{error}");
        assert!("9009-9000".parse::<PortWindow>().is_err());
    }

    #[test]
    fn a_list_longer_than_anybody_means_is_refused() {
        assert_eq!(list("10.0.0.0/8"), Err(AddressError::TooMany("10.0.0.0/8".to_owned())));
        assert!(matches!(list("10.0.0.0-10.255.255.255"), Err(AddressError::TooMany(_))));
    }

    #[test]
    fn servers_are_read_with_ranges_of_ports_and_in_brackets() {
        let servers = servers_of("127.0.0.1:9000-9002,[::1]:80").expect("servers");
        let texts: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(texts, ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002", "[::1]:80"]);
        assert_eq!(servers_of("127.0.0.1:80,127.0.0.1:80").expect("twice").len(), 1);
        assert_eq!(servers_of("127.0.0.1:1-65535,127.0.0.1:9-99").expect("all ports").len(), 65_535);
        for text in ["127.0.0.1", ":9000", "127.0.0.1:0", "127.0.0.1:0-0", "::1:80", "127.0.0.1:x"] {
            assert!(servers_of(text).is_err(), "{text}");
        }
    }
}
