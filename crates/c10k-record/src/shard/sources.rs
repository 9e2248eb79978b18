//! Source addresses as ranges: a shard may have a million of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Addresses that lie one behind the other, written `10.0.0.1-10.0.0.8`, or `10.0.0.1` where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRange {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl SourceRange {
    /// The ranges that make up a list, in its order.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for address in addresses.iter().copied() {
            match ranges.last_mut() {
                Some(range) if next(range.last) == Some(address) => range.last = address,
                _ => ranges.push(Self { first: address, last: address }),
            }
        }
        ranges
    }

    /// The first address that is in both.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Option<IpAddr> {
        let first = self.first.max(other.first);
        let is_one_family = self.first.is_ipv4() == other.first.is_ipv4();
        (is_one_family && first <= self.last.min(other.last)).then_some(first)
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|ip| Ipv4Addr::from(ip).into()),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|ip| Ipv6Addr::from(ip).into()),
    }
}

impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[&str]) -> Vec<SourceRange> {
        SourceRange::of(&list.iter().map(|ip| ip.parse().expect("an address")).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_one_behind_the_other_are_one_range_and_keep_their_order() {
        let told = |list: &[&str]| -> Vec<String> { ranges(list).iter().map(ToString::to_string).collect() };
        assert_eq!(
            told(&["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.0.7", "10.0.0.9"]),
            ["10.0.0.254-10.0.1.0", "10.0.0.7", "10.0.0.9"]
        );
        assert_eq!(told(&["fd00::1", "fd00::2", "10.0.0.1"]), ["fd00::1-fd00::2", "10.0.0.1"]);
        assert_eq!(told(&["255.255.255.255"]), ["255.255.255.255"]);
        assert!(ranges(&[]).is_empty());
    }

    #[test]
    fn an_address_of_two_ranges_is_found() {
        let (one, other) = (ranges(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), ranges(&["10.0.0.3", "10.0.0.4"]));
        assert_eq!(one[0].common_with(&other[0]), "10.0.0.3".parse().ok());
        assert_eq!(other[0].common_with(&one[0]), "10.0.0.3".parse().ok());
        for apart in [ranges(&["10.0.0.4"]), ranges(&["::1"])] {
            assert_eq!(one[0].common_with(&apart[0]), None);
        }
    }
}
