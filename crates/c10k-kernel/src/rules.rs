//! Which rules of nftables there are in the network namespace of the calling thread, by what they do to new connections.
//! Those of iptables are among them where it is made of nftables, as it is since 2019 nearly everywhere.

use std::io;

use crate::nfnetlink::{NFTABLES, Netfilter, attributes};

/// Rules, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// All rules.
    pub all: u64,
    /// Those that answer with an error or a reset (`reject`).
    pub reject: u64,
    /// Those that count connections (`ct count`, `connlimit`).
    pub count: u64,
    /// Those that look at a rate (`limit`, `hashlimit`).
    pub limit: u64,
    /// Those that reject and count or look at a rate, and are for one of the ports that were asked for, or for all.
    pub refuse: u64,
}

/// For which destination ports a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// It names none.
    All,
    /// Those from the first to the last.
    Ports(u16, u16),
    /// What it says of ports is not read: a set, a map, `!=`.
    Some,
}

/// Looks now; `ports` are those of the server.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns this one; EINVAL or EPROTONOSUPPORT in a kernel without
/// nf_tables.
pub fn look(ports: &[u16]) -> io::Result<Rules> {
    /// `NFT_MSG_GETRULE`.
    const GET_RULE: u8 = 7;
    let mut rules = Rules::default();
    Netfilter::open()?.dump(NFTABLES, GET_RULE, |rule| rules.add(rule, ports))?;
    Ok(rules)
}

/// How many tables of iptables without nftables there are in the network namespace of the calling thread, of both families;
/// what rules are in them is not read. 0 where none can be.
#[must_use]
pub fn older_tables() -> u64 {
    let files = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];
    let lines = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    lines.map(|text| text.lines().count() as u64).sum()
}

impl Rules {
    /// Counts one by its attributes.
    fn add(&mut self, rule: &[u8], ports: &[u16]) {
        /// `NFTA_RULE_EXPRESSIONS`, a list of `NFTA_LIST_ELEM`.
        const EXPRESSIONS: u16 = 4;
        let (mut reject, mut count, mut limit) = (0, 0, 0);
        let mut says = |name: &[u8]| match name {
            b"reject" | b"REJECT" => reject += 1,
            // A set that the packets fill, for each source say, with what is counted in it.
            b"connlimit" | b"dynset" => count += 1,
            b"limit" | b"hashlimit" => limit += 1,
            _ => {}
        };
        let mut of_ports = For::All;
        // The destination port is in a register, and what follows says of it what it must be.
        let mut has_port = false;
        for expression in of_kind(rule, EXPRESSIONS).map(attributes).into_iter().flatten() {
            // NFTA_EXPR_NAME 1, NFTA_EXPR_DATA 2; of what is iptables' own, NFTA_MATCH_NAME and NFTA_TARGET_NAME 1.
            let name = of_kind(expression.1, 1).unwrap_or_default();
            let data = of_kind(expression.1, 2).unwrap_or_default();
            match text(name) {
                b"match" | b"target" => {
                    let name = text(of_kind(data, 1).unwrap_or_default());
                    // NFTA_MATCH_INFO 3.
                    of_ports = of_ports.and(ports_of_iptables(name, of_kind(data, 3).unwrap_or_default()));
                    says(name);
                }
                b"payload" => has_port = loads_port(data),
                b"cmp" if has_port => (of_ports, has_port) = (of_ports.and(compared(data)), false),
                name => {
                    if std::mem::take(&mut has_port) {
                        of_ports = of_ports.and(For::Some);
                    }
                    says(name);
                }
            }
        }
        self.all += 1;
        self.reject += reject;
        self.count += count;
        self.limit += limit;
        self.refuse += u64::from(reject > 0 && count + limit > 0 && of_ports.has_one_of(ports));
    }
}

impl For {
    /// For what both say.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::Ports(first, last), Self::Ports(second, end)) => {
                Self::Ports(first.max(second), last.min(end))
            }
            _ => Self::Some,
        }
    }

    fn has_one_of(self, ports: &[u16]) -> bool {
        match self {
            Self::All => true,
            Self::Ports(first, last) => ports.iter().any(|port| (first..=last).contains(port)),
            Self::Some => false,
        }
    }
}

/// The value of the first attribute of that kind.
fn of_kind(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Whether a `payload` expression loads the destination port of TCP, be it with the source port before it.
fn loads_port(data: &[u8]) -> bool {
    /// `NFT_PAYLOAD_TRANSPORT_HEADER`.
    const TRANSPORT: u32 = 2;
    // NFTA_PAYLOAD_BASE 2, NFTA_PAYLOAD_OFFSET 3, NFTA_PAYLOAD_LEN 4, each in network order.
    let number = |kind| Some(u32::from_be_bytes(of_kind(data, kind)?.try_into().ok()?));
    let (Some(base), Some(offset), Some(length)) = (number(2), number(3), number(4)) else { return false };
    base == TRANSPORT && offset <= 2 && offset + length > 2
}

/// The port that a `cmp` expression asks for.
fn compared(data: &[u8]) -> For {
    // NFTA_CMP_OP 2, of which NFT_CMP_EQ is 0; NFTA_CMP_DATA 3 with NFTA_DATA_VALUE 1.
    let is_equal = of_kind(data, 2) == Some(&[0; 4]);
    let value = of_kind(data, 3).and_then(|data| of_kind(data, 1));
    match value.and_then(|value| <[u8; 2]>::try_from(value).ok()).filter(|_| is_equal) {
        Some(port) => For::Ports(u16::from_be_bytes(port), u16::from_be_bytes(port)),
        None => For::Some,
    }
}

/// The destination ports of a match of iptables' own: of `struct xt_tcp` the second pair, in the order of this machine.
fn ports_of_iptables(name: &[u8], info: &[u8]) -> For {
    let port = |at: usize| Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?));
    match (name, port(4), port(6)) {
        (b"tcp", Some(first), Some(last)) => For::Ports(first, last),
        (b"tcp" | b"multiport", ..) => For::Some,
        _ => For::All,
    }
}

/// Without the zero at its end.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfnetlink::{attribute, name, nested};

    fn rule(expressions: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let list: Vec<Vec<u8>> = expressions
            .iter()
            .map(|(kind, data)| nested(1, &[name(1, kind), nested(2, std::slice::from_ref(data))]))
            .collect();
        [name(1, "table"), name(2, "chain"), nested(4, &list)].concat()
    }

    #[test]
    fn rules_are_told_by_what_they_do_in_the_words_of_nftables_and_of_iptables() {
        let mut rules = Rules::default();
        let mut add = |expressions: &[(&str, Vec<u8>)]| rules.add(&rule(expressions), &[9000]);
        add(&[("meta", Vec::new()), ("connlimit", Vec::new()), ("reject", Vec::new())]);
        add(&[("match", name(1, "connlimit")), ("target", name(1, "REJECT"))]);
        add(&[("match", name(1, "hashlimit")), ("immediate", Vec::new())]);
        add(&[("limit", attribute(1, &[0; 8]))]);
        add(&[("dynset", Vec::new())]);
        add(&[]);
        assert_eq!(rules, Rules { all: 6, reject: 2, count: 3, limit: 2, refuse: 2 });
    }

    /// `tcp dport` in the words of nftables, and what follows it.
    fn dport(port: u16, op: u8) -> [(&'static str, Vec<u8>); 2] {
        let number = |kind, value: u32| attribute(kind, &value.to_be_bytes());
        let payload = [number(1, 1), number(2, 2), number(3, 2), number(4, 2)].concat();
        let data = nested(3, &[attribute(1, &port.to_be_bytes())]);
        let cmp = [number(1, 1), attribute(2, &[0, 0, 0, op]), data].concat();
        [("payload", payload), ("cmp", cmp)]
    }

    #[test]
    fn a_rule_that_counts_for_another_port_refuses_nobody_here() {
        let refuse = |port_match: &[(&str, Vec<u8>)]| {
            let counts = [("connlimit", Vec::new()), ("reject", Vec::new())];
            let mut rules = Rules::default();
            rules.add(&rule(&[port_match, &counts].concat()), &[9000, 9001]);
            assert_eq!((rules.reject, rules.count), (1, 1));
            rules.refuse
        };
        assert_eq!(refuse(&[]), 1, "one that names no port is for all");
        assert_eq!(refuse(&dport(9001, 0)), 1);
        assert_eq!(refuse(&dport(443, 0)), 0, "it is for another port");
        assert_eq!(refuse(&dport(443, 1)), 0, "all but one are not read");
        let [payload, _] = dport(443, 0);
        assert_eq!(refuse(&[payload, ("lookup", Vec::new())]), 0, "what stands in a set is not read");
        let of_iptables = |first: u16, last: u16| {
            let ports = [[0, u16::MAX], [first, last]].concat();
            let info: Vec<u8> = ports.iter().flat_map(|port| port.to_ne_bytes()).collect();
            [("match", [name(1, "tcp"), attribute(3, &info)].concat())]
        };
        assert_eq!((refuse(&of_iptables(9000, 9010)), refuse(&of_iptables(1, 8999))), (1, 0));
        assert_eq!(refuse(&[("match", name(1, "multiport"))]), 0);
        // A source address, which is no port.
        let source = |kind, value: u32| attribute(kind, &value.to_be_bytes());
        let payload = [source(1, 1), source(2, 1), source(3, 12), source(4, 4)].concat();
        assert_eq!(refuse(&[("payload", payload), ("cmp", Vec::new())]), 1);
        // What counts and what rejects in two rules do not make one that does both.
        let mut apart = Rules::default();
        apart.add(&rule(&[("connlimit", Vec::new())]), &[9000]);
        apart.add(&rule(&[("reject", Vec::new())]), &[9000]);
        assert_eq!((apart.reject, apart.count, apart.refuse), (1, 1, 0));
    }

    #[test]
    fn the_rules_of_this_place_are_read_or_the_errno_says_why_not() {
        match look(&[9000]) {
            Ok(rules) => assert!(rules.reject <= rules.all),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }
}
