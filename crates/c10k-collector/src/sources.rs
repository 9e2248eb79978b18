//! The sources of evidence: each answers whether it can be read here, and if not, why.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use c10k_kernel::census::SockDiag;
use c10k_kernel::cgroup::{CpuGroup, MemoryGroups, PidsGroup};
use c10k_kernel::counters::{NetCounters, ProcRoot};
use c10k_kernel::{conntrack, rules};
use serde::Serialize;

use crate::drops::DropWatch;

/// One source of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EvidenceSource {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub tells: &'static str,
    /// Why it cannot be had; `None` where it can.
    pub why_not: Option<String>,
}

/// All of them, as they are for this process, in the network namespace in which it stands.
#[must_use]
pub fn sources_of_evidence() -> Vec<EvidenceSource> {
    let root = ProcRoot::default();
    let source = |name, tells, why_not| EvidenceSource { name, tells, why_not };
    let net = NetCounters::open(&root, None).read();
    let has_reverse_path = net.tcp_ext.as_ref().is_some_and(|ext| ext.reverse_path_filter.is_some());
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    vec![
        source(
            "sock_diag",
            "sockets by state and end, listeners and their queues",
            why(open_diag(|_| Ok(()))),
        ),
        source(
            "TCP_INFO",
            "whether what was sent is acknowledged, and since when nothing came",
            why(open_diag(|diag| diag.sample_clients(nowhere, 1, 1).map(|_| ()))),
        ),
        source(
            "outgoing",
            "the connections of a proxy to what is behind it, and the source ports that are left",
            why(open_diag(|diag| diag.outgoing().map(|_| ()))),
        ),
        source(
            "TcpExt",
            "overflows, drops, what was sent again, what rp_filter dropped",
            (!has_reverse_path).then(|| "/proc/net/netstat has no IPReversePathFilter".to_owned()),
        ),
        source(
            "descriptors of others",
            "whose connections they are, and how full each descriptor table is",
            why(fs::read_dir(root.path("proc/1/fd")).map(|_| ()))
                .map(|why| format!("{why}: of other users' processes; root may")),
        ),
        source(
            "drop reasons",
            "why the kernel dropped a packet: a filter, rp_filter, no route, a neighbour that does not answer, a queue",
            DropWatch::begin().why_not().map(str::to_owned),
        ),
        source(
            "nftables",
            "whether a rule rejects, counts connections or looks at a rate",
            why(rules::look(&[]).map(|_| ())).map(|why| format!("{why}: sudo nft list ruleset says it")),
        ),
        source(
            "conntrack",
            "how full the table of tracked connections is",
            // Where the kernel cannot track there is no table that fills.
            (conntrack::room().is_none() && !net.tracks_nothing)
                .then(|| "/proc/sys/net/netfilter/nf_conntrack_count cannot be read".to_owned()),
        ),
        source(
            "cgroup",
            "what memory, threads and processor time the control groups of the server leave, and refuse",
            why(cgroups(&root)),
        ),
        source(
            "slabinfo",
            "what each part of a connection costs in the kernel",
            why(fs::read(root.path("proc/slabinfo")).map(|_| ()))
                .map(|why| format!("{why}: root may read it; until then sizes are estimated")),
        ),
    ]
}

/// The groups of this process, which are where those of a server that it starts would be.
fn cgroups(root: &ProcRoot) -> io::Result<()> {
    MemoryGroups::of(root, None)?;
    PidsGroup::of(root, None)?;
    CpuGroup::of(root, None)?;
    Ok(())
}

fn open_diag(ask: impl FnOnce(&mut SockDiag) -> io::Result<()>) -> io::Result<()> {
    ask(&mut SockDiag::open()?)
}

fn why(tried: io::Result<()>) -> Option<String> {
    tried.err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_says_what_it_tells_and_whether_it_can_be_had() {
        let sources = sources_of_evidence();
        assert_eq!(sources.len(), 10);
        for source in &sources {
            assert!(!source.tells.is_empty() && source.why_not.as_deref() != Some(""), "{source:?}");
        }
        // These need no privilege.
        for name in ["sock_diag", "TCP_INFO", "outgoing", "TcpExt", "cgroup"] {
            let found = sources.iter().find(|source| source.name == name).expect("it is listed");
            assert_eq!(found.why_not, None, "{name}");
        }
    }
}
