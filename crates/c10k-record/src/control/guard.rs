//! Who may ask: the token, and how often one may try.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Token;

/// So many wrong ones from one address in the time below are enough.
const TRIES: usize = 5;
/// In which they are counted, and for which nothing but the right one is looked at then.
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses that are remembered.
const MOST_ADDRESSES: usize = 1024;

/// Lets in those who know the token. Times are passed in: since whatever moment, by a clock that never goes back.
#[derive(Debug)]
pub struct Guard {
    token: Option<Token>,
    wrong: BTreeMap<IpAddr, Vec<Duration>>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLetIn {
    /// The token is wrong or missing.
    Wrong,
    /// There were too many wrong ones from that address.
    TooOften,
}

impl Guard {
    /// With the token that is asked for; without one everybody is let in.
    #[must_use]
    pub fn new(token: Option<Token>) -> Self {
        Self { token, wrong: BTreeMap::new() }
    }

    /// Whether one who comes from `address` with this `Authorization` is let in. The right token always is.
    ///
    /// # Errors
    /// [`NotLetIn`], which is the same for a token that is missing and for one that is wrong.
    pub fn lets_in(
        &mut self,
        authorization: Option<&[u8]>,
        address: IpAddr,
        now: Duration,
    ) -> Result<(), NotLetIn> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = authorization.and_then(bearer);
        // What is missing is compared too, so that it takes as long.
        if token.is(given.unwrap_or_default()) && given.is_some() {
            return Ok(());
        }
        let address = address.to_canonical();
        let since = now.saturating_sub(WINDOW);
        if !self.wrong.contains_key(&address) {
            self.make_room(since);
        }
        let times = self.wrong.entry(address).or_default();
        times.retain(|time| *time >= since);
        if times.len() >= TRIES {
            return Err(NotLetIn::TooOften);
        }
        times.push(now);
        Err(NotLetIn::Wrong)
    }

    /// Forgets the addresses of which nothing counts any more, else the one that was wrong longest ago.
    fn make_room(&mut self, since: Duration) {
        if self.wrong.len() < MOST_ADDRESSES {
            return;
        }
        self.wrong.retain(|_, times| times.last().is_some_and(|last| *last >= since));
        while self.wrong.len() >= MOST_ADDRESSES {
            let longest_ago = self.wrong.iter().min_by_key(|(_, times)| times.last().copied());
            let Some(address) = longest_ago.map(|(address, _)| *address) else { return };
            self.wrong.remove(&address);
        }
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const RIGHT: &[u8] = b"Bearer 0123456789abcdef";
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn guard() -> Guard {
        Guard::new(Some(Token::parse(b"0123456789abcdef", "here").expect("a token")))
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_wrong_token_and_none_are_refused_alike() {
        let long = [b"Bearer ".as_slice(), &[b'x'; 5000]].concat();
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"Bearer "),
            Some(b"Bearer 0123456789abcdeg"),
            Some(b"Basic 0123456789abcdef"),
            Some(b"0123456789abcdef"),
            Some(&long),
        ] {
            assert_eq!(guard().lets_in(wrong, HERE, at(0)), Err(NotLetIn::Wrong));
        }
        for right in [RIGHT, b"bearer  0123456789abcdef "] {
            assert_eq!(guard().lets_in(Some(right), HERE, at(0)), Ok(()));
        }
        assert_eq!(Guard::new(None).lets_in(None, HERE, at(0)), Ok(()), "none is asked for");
    }

    #[test]
    fn after_five_wrong_ones_only_the_right_one_is_looked_at_for_ten_seconds() {
        let mut guard = guard();
        for _ in 0..5 {
            assert_eq!(guard.lets_in(None, HERE, at(100)), Err(NotLetIn::Wrong));
        }
        for second in [100, 105, 110] {
            assert_eq!(guard.lets_in(None, HERE, at(second)), Err(NotLetIn::TooOften), "{second}");
            assert_eq!(guard.lets_in(Some(RIGHT), HERE, at(second)), Ok(()), "{second}");
        }
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(guard.lets_in(None, mapped, at(110)), Err(NotLetIn::TooOften), "the same address");
        let other = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(guard.lets_in(None, other, at(110)), Err(NotLetIn::Wrong), "another one");
        assert_eq!(guard.lets_in(None, HERE, at(111)), Err(NotLetIn::Wrong), "it is over");
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_there_is_for_them() {
        let mut guard = guard();
        for n in 0..5000_u32 {
            let address = IpAddr::V4(Ipv4Addr::from_bits(n));
            assert_eq!(guard.lets_in(None, address, at(1)), Err(NotLetIn::Wrong));
        }
        assert!(guard.wrong.len() <= MOST_ADDRESSES);
    }
}
