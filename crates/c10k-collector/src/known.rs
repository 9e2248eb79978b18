//! Names of kernel counters that come from another host, as texts of this program.
//!
//! Another build of the far end may have counters that this one does not know: they are left out, since nobody here asks
//! for them.

use std::collections::BTreeMap;

use c10k_kernel::counters::{TcpCounters, TcpExt};
use serde::{Deserialize as _, Deserializer};

/// A name that this program has for a counter too.
fn name(text: &str) -> Option<&'static str> {
    let mut known = TcpCounters::NAMES.iter().chain(TcpExt::NAMES);
    known.find(|name| **name == text).copied()
}

/// Counters by their names.
pub(crate) fn counters<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<&'static str, u64>, D::Error> {
    let all = BTreeMap::<String, u64>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|(text, value)| Some((name(&text)?, value))).collect())
}

/// Names alone.
pub(crate) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<&'static str>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.iter().filter_map(|text| name(text)).collect())
}

#[cfg(test)]
mod tests {
    use crate::observation::{DescriptorsSeen, GroupSeen, HolderSeen, ListenerSeen, ProcessSeen, SlabSeen};
    use crate::{NeighboursSeen, Observation};

    #[test]
    fn what_was_seen_comes_back_from_its_json_as_it_was_and_without_counters_that_nobody_here_knows() {
        let process = ProcessSeen {
            rss_bytes: Some(1),
            state: Some('T'),
            descriptors: Some(DescriptorsSeen { open: 3, exact: true, ..DescriptorsSeen::default() }),
            cores: Some(0.5),
            ..ProcessSeen::default()
        };
        let mut seen = Observation {
            elapsed_ms: 7,
            server: process,
            processes: vec![HolderSeen { pid: 9, is_counted: true, seen: process, ..HolderSeen::default() }],
            slabs: Some(vec![SlabSeen { name: "TCP".to_owned(), objects: 1, bytes: 2 }]),
            listener: Some(ListenerSeen { listeners: 1, backlog: Some(4_096), ..ListenerSeen::default() }),
            cgroup: Some(GroupSeen { limit_file: Some("memory.max".to_owned()), ..GroupSeen::default() }),
            neighbours: Some(NeighboursSeen { entries: 3, table_fulls: 0 }),
            ..Observation::default()
        };
        seen.network.counters.insert("ListenOverflows", 5);
        seen.network.went_backwards.push("TCPSynRetrans");
        seen.network.sockets.time_wait = Some(8);
        let mut json = serde_json::to_value(&seen).expect("plain data");
        let back: Observation = serde_json::from_value(json.clone()).expect("its own");
        assert_eq!(back, seen);
        json["counters"]["TcpExtOfTomorrow"] = 3.into();
        json["of_tomorrow"] = true.into();
        assert_eq!(serde_json::from_value::<Observation>(json.clone()).expect("more than it knows"), seen);
        json["counters"] = "many".into();
        assert!(serde_json::from_value::<Observation>(json).is_err());
    }
}
