//! The text of an event's format (Documentation/trace/events.rst): its number, its fields, and the names of its values.

use std::collections::BTreeMap;

/// What is needed of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// The tracepoint's number.
    pub(super) id: u64,
    /// Whether the event says the protocol of the packet (Linux 2.6.30; by the filter it is a number in host order).
    has_protocol: bool,
    /// The numbers of the reasons by their names.
    reasons: BTreeMap<String, u64>,
}

impl Format {
    /// `None` where the event has no reasons, or this is no such text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:")?.trim().parse().ok())?;
        let fields: Vec<&str> = text.lines().filter_map(field).collect();
        if !fields.contains(&"reason") {
            return None;
        }
        let (_, symbols) = text.split_once("__print_symbolic(REC->reason,")?;
        let reasons: BTreeMap<String, u64> = symbols.split('{').filter_map(named).collect();
        (!reasons.is_empty()).then(|| Self { id, has_protocol: fields.contains(&"protocol"), reasons })
    }

    /// What lets packets of IPv4 and IPv6 through that were dropped for this reason; `None` for one that this kernel does
    /// not know.
    pub(super) fn filter(&self, reason: &str) -> Option<String> {
        /// include/uapi/linux/if_ether.h.
        const ETH_P_IP: u16 = 0x0800;
        const ETH_P_IPV6: u16 = 0x86dd;
        let number = self.reasons.get(reason)?;
        Some(match self.has_protocol {
            true => format!("reason=={number}&&(protocol=={ETH_P_IP}||protocol=={ETH_P_IPV6})"),
            false => format!("reason=={number}"),
        })
    }
}

/// The name in a line such as ` field:unsigned short protocol; offset:24; size:2; signed:0;`.
fn field(line: &str) -> Option<&str> {
    let (declared, _) = line.trim_start().strip_prefix("field:")?.split_once(';')?;
    declared.split_whitespace().next_back()
}

/// The name and the number in ` 12, "NETFILTER_DROP" }, `.
fn named(symbol: &str) -> Option<(String, u64)> {
    let (number, rest) = symbol.split_once(',')?;
    let number = number.trim();
    let number = match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    let mut quoted = rest.split('"').skip(1);
    Some((quoted.next()?.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 shows it.
    const OF_6_18: &str = include_str!("recorded/kfree_skb-6.18.format");
    /// As Linux 6.1 (Debian's cloud kernel) shows it.
    const OF_6_1: &str = include_str!("recorded/kfree_skb-6.1.format");

    #[test]
    fn the_same_reasons_have_other_numbers_in_another_kernel() {
        let of = |text: &str, name: &str| Format::parse(text).expect("it has reasons").filter(name);
        let protocols = "&&(protocol==2048||protocol==34525)";
        let netfilter = |number: u64| Some(format!("reason=={number}{protocols}"));
        assert_eq!(of(OF_6_18, "NETFILTER_DROP"), netfilter(12));
        assert_eq!(of(OF_6_1, "NETFILTER_DROP"), netfilter(7));
        assert_eq!(of(OF_6_18, "IP_RPFILTER"), netfilter(16));
        assert_eq!(of(OF_6_18, "TCP_LISTEN_OVERFLOW"), netfilter(40));
        assert_eq!(of(OF_6_1, "TCP_LISTEN_OVERFLOW"), None, "it came with Linux 6.15");
        assert_eq!(Format::parse(OF_6_18).expect("whole").id, 2310);
    }

    #[test]
    fn an_event_without_reasons_and_a_text_that_is_cut_off_have_none() {
        // Linux 5.15 and earlier.
        let older = "name: kfree_skb\nID: 1450\nformat:\n\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
                     \tfield:unsigned short protocol;\toffset:24;\tsize:2;\tsigned:0;\n\n\
                     print fmt: \"skbaddr=%p protocol=%u location=%p\", REC->skbaddr, REC->protocol, REC->location\n";
        assert_eq!(Format::parse(older), None);
        for cut in (0..OF_6_18.len()).filter(|cut| OF_6_18.is_char_boundary(*cut)) {
            let known = Format::parse(&OF_6_18[..cut]);
            assert!(known.is_none_or(|format| format.id == 2310 && !format.reasons.is_empty()), "{cut}");
        }
    }

    #[test]
    fn names_whose_numbers_are_not_said_are_left_out_and_hexadecimal_ones_are_read() {
        let text = "ID: 7\n\tfield:enum skb_drop_reason reason;\toffset:28;\n\nprint fmt: \"%s\", \
                    __print_symbolic(REC->reason, { SKB_DROP_REASON_NOT_SPECIFIED, \"NOT_SPECIFIED\" }, { 0xc, \
                    \"NETFILTER_DROP\" })\n";
        let format = Format::parse(text).expect("one is said");
        assert_eq!(format.filter("NETFILTER_DROP").as_deref(), Some("reason==12"), "and no protocol is");
        assert_eq!(format.filter("NOT_SPECIFIED"), None);
    }
}
