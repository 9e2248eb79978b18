//! The table of tracked connections of the calling thread's network namespace: a rule that has connections tracked, one
//! that has them left alone, and entries of one's own. All of it by nfnetlink, no program is needed.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use crate::nfnetlink::{CTNETLINK, Message, NFTABLES, Netfilter, attribute, name, nested};
use crate::sysctl::SysctlRoot;

/// The table of rules that stands for what this room has made.
const TABLE: &str = "c10k";
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;

/// Where a packet is looked at (include/uapi/linux/netfilter.h, `nf_inet_hooks`).
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    PreRouting = 0,
    In = 1,
    Out = 3,
}

/// Has the connections of this namespace tracked, as any firewall does with a rule that asks for the state of one: the
/// rule looks at it and lets everything pass. It stays as long as the namespace.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns this one; EPROTONOSUPPORT, EINVAL, ENOENT or EOPNOTSUPP
/// in a kernel without nf_tables or connection tracking.
pub fn track() -> io::Result<()> {
    // The state into a register (net/netfilter/nft_ct.c, `nft_ct_get_init`): NFTA_CT_DREG 1, NFTA_CT_KEY 2.
    let state =
        expression("ct", &[attribute(2, &0_u32.to_be_bytes()), attribute(1, &REGISTER.to_be_bytes())]);
    const FILTER: i32 = 0;
    rules(&[("in", Hook::In, FILTER, &state)])
}

/// Has no packet of this namespace tracked: a rule of the raw table's priority, before tracking looks at it. It stays as
/// long as the namespace.
///
/// # Errors
/// As [`track`].
pub fn do_not_track() -> io::Result<()> {
    let untracked = expression("notrack", &[]);
    const RAW: i32 = -300;
    rules(&[("raw-in", Hook::PreRouting, RAW, &untracked), ("raw-out", Hook::Out, RAW, &untracked)])
}

/// Entries of this namespace and the most that it may have; `None` in a kernel that tracks nothing.
#[must_use]
pub fn room() -> Option<(u64, u64)> {
    let number = |key: &str| SysctlRoot::default().read(key).ok()?.trim().parse().ok();
    Some((number("net.netfilter.nf_conntrack_count")?, number("net.netfilter.nf_conntrack_max")?))
}

/// Adds `count` entries of UDP flows between addresses that are for measurements alone (198.18.0.0/15, RFC 2544). They
/// count as assured, so that none is thrown out to make room, and last an hour or until the namespace goes.
///
/// # Errors
/// As [`track`]; ENOMEM where the table is full.
pub fn fill(count: u32) -> io::Result<()> {
    /// Messages of one datagram: the kernel takes it as one piece of memory.
    const AT_ONCE: u32 = 128;
    let mut netfilter = Netfilter::open()?;
    let mut next = 0;
    while next < count {
        let end = count.min(next + AT_ONCE);
        let entries: Vec<Message> = (next..end).map(entry).collect();
        netfilter.send_all(&entries)?;
        next = end;
    }
    Ok(())
}

/// `NFT_REG32_00`.
pub(crate) const REGISTER: u32 = 8;

/// Adds the table, and a chain at each hook with one rule in it.
pub(crate) fn rules(chains: &[(&str, Hook, i32, &[u8])]) -> io::Result<()> {
    const NEW_TABLE: u8 = 0;
    const NEW_CHAIN: u8 = 3;
    const NEW_RULE: u8 = 6;
    let new = |kind, more: u16, body: &[Vec<u8>]| {
        Message::new(NFTABLES, kind, NLM_F_CREATE | more, NFPROTO_INET, body.concat())
    };
    let mut messages = vec![new(NEW_TABLE, 0, &[name(1, TABLE)])];
    for (chain, hook, priority, expressions) in chains {
        // NFTA_CHAIN_TABLE 1, NAME 3, HOOK 4 (NUM 1, PRIORITY 2), TYPE 7.
        let at =
            nested(4, &[attribute(1, &(*hook as u32).to_be_bytes()), attribute(2, &priority.to_be_bytes())]);
        messages.push(new(NEW_CHAIN, 0, &[name(1, TABLE), name(3, chain), at, name(7, "filter")]));
        // NFTA_RULE_TABLE 1, CHAIN 2, EXPRESSIONS 4.
        let all = nested(4, &[expressions.to_vec()]);
        messages.push(new(NEW_RULE, NLM_F_APPEND, &[name(1, TABLE), name(2, chain), all]));
    }
    Netfilter::open()?.transact(&messages)
}

/// NFTA_LIST_ELEM with NFTA_EXPR_NAME 1 and NFTA_EXPR_DATA 2.
pub(crate) fn expression(kind: &str, data: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = vec![name(1, kind)];
    if !data.is_empty() {
        parts.push(nested(2, data));
    }
    nested(1, &parts)
}

/// The entry of that number (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
fn entry(number: u32) -> Message {
    const NEW: u8 = 0;
    /// IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED.
    const STATUS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
    const AN_HOUR: u32 = 3600;
    const PORTS: u32 = 60_000;
    let source = u32::from(Ipv4Addr::new(198, 18, 0, 0)).wrapping_add(number / PORTS);
    let ends = (source, (1024 + number % PORTS) as u16);
    let others = (u32::from(Ipv4Addr::new(198, 19, 0, 1)), 9);
    // CTA_TUPLE_ORIG 1, CTA_TUPLE_REPLY 2, CTA_STATUS 3, CTA_TIMEOUT 7.
    let body = [
        flow(1, ends, others),
        flow(2, others, ends),
        attribute(3, &STATUS.to_be_bytes()),
        attribute(7, &AN_HOUR.to_be_bytes()),
    ];
    Message::new(CTNETLINK, NEW, NLM_F_CREATE | NLM_F_EXCL, NFPROTO_IPV4, body.concat())
}

/// CTA_TUPLE_IP 1 (SRC 1, DST 2) and CTA_TUPLE_PROTO 2 (NUM 1, SRC_PORT 2, DST_PORT 3).
fn flow(direction: u16, from: (u32, u16), to: (u32, u16)) -> Vec<u8> {
    const UDP: u8 = 17;
    nested(
        direction,
        &[
            nested(1, &[attribute(1, &from.0.to_be_bytes()), attribute(2, &to.0.to_be_bytes())]),
            nested(
                2,
                &[
                    attribute(1, &[UDP]),
                    attribute(2, &from.1.to_be_bytes()),
                    attribute(3, &to.1.to_be_bytes()),
                ],
            ),
        ],
    )
}
