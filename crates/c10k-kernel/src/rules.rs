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
}

/// Looks now.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns this one; EINVAL or EPROTONOSUPPORT in a kernel without
/// nf_tables.
pub fn look() -> io::Result<Rules> {
    /// `NFT_MSG_GETRULE`.
    const GET_RULE: u8 = 7;
    let mut rules = Rules::default();
    Netfilter::open()?.dump(NFTABLES, GET_RULE, |rule| rules.add(rule))?;
    Ok(rules)
}

impl Rules {
    /// Counts one by its attributes.
    fn add(&mut self, rule: &[u8]) {
        /// `NFTA_RULE_EXPRESSIONS`, a list of `NFTA_LIST_ELEM`.
        const EXPRESSIONS: u16 = 4;
        let of_kind =
            |bytes, wanted: u16| attributes(bytes).find(move |(kind, _)| *kind == wanted).map(|(_, v)| v);
        let mut says = |name: &[u8]| match name {
            b"reject" | b"REJECT" => self.reject += 1,
            // A set that the packets fill, for each source say, with what is counted in it.
            b"connlimit" | b"dynset" => self.count += 1,
            b"limit" | b"hashlimit" => self.limit += 1,
            _ => {}
        };
        for expression in of_kind(rule, EXPRESSIONS).map(attributes).into_iter().flatten() {
            // NFTA_EXPR_NAME 1, NFTA_EXPR_DATA 2; of what is iptables' own, NFTA_MATCH_NAME and NFTA_TARGET_NAME 1.
            let name = of_kind(expression.1, 1).unwrap_or_default();
            let data = of_kind(expression.1, 2).unwrap_or_default();
            match text(name) {
                b"match" | b"target" => says(text(of_kind(data, 1).unwrap_or_default())),
                name => says(name),
            }
        }
        self.all += 1;
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
        rules.add(&rule(&[("meta", Vec::new()), ("connlimit", Vec::new()), ("reject", Vec::new())]));
        rules.add(&rule(&[("match", name(1, "connlimit")), ("target", name(1, "REJECT"))]));
        rules.add(&rule(&[("match", name(1, "hashlimit")), ("immediate", Vec::new())]));
        rules.add(&rule(&[("limit", attribute(1, &[0; 8]))]));
        rules.add(&rule(&[("dynset", Vec::new())]));
        rules.add(&[]);
        assert_eq!(rules, Rules { all: 6, reject: 2, count: 3, limit: 2 });
    }

    #[test]
    fn the_rules_of_this_place_are_read_or_the_errno_says_why_not() {
        match look() {
            Ok(rules) => assert!(rules.reject <= rules.all),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }
}
