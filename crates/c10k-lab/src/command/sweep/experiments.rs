//! The experiments that ship: those about a myth of the field guide, and the others.

/// The myth's name, and the experiments'.
static OF_MYTHS: [(&str, &[&str]); 7] = [
    ("tcp_tw_reuse", &["tw-reuse"]),
    ("tcp_max_tw_buckets", &["max-tw-buckets"]),
    ("tcp_rmem", &["memory-idle", "memory-echo"]),
    ("tcp_mem", &["tcp-mem"]),
    ("somaxconn", &["backlog-burst"]),
    ("tcp_syncookies", &["syncookies"]),
    ("65535", &["port-range", "source-ips", "listen-ports"]),
];

/// About what no myth is told.
static OTHERS: [&str; 10] = [
    "container",
    "hash-size",
    "initcwnd-stream",
    "keepalive",
    "netdev-backlog",
    "scheduling",
    "slow-start",
    "slow-start-stream",
    "steps-or-burst",
    "veth",
];

/// The commands that put a myth to the test.
pub(crate) fn experiments_on(myth: &str) -> Vec<String> {
    let names = OF_MYTHS.iter().find(|(known, _)| *known == myth).map_or(&[][..], |(_, names)| names);
    names.iter().map(|name| command(name)).collect()
}

/// The commands of those that are about no myth.
pub(crate) fn others() -> Vec<String> {
    OTHERS.iter().map(|name| command(name)).collect()
}

fn command(name: &str) -> String {
    format!("c10k-lab sweep profiles/sweeps/{name}.toml")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_experiment_that_ships_is_told_once_and_each_myth_is_one() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../profiles/sweeps");
        let files = std::fs::read_dir(folder).expect("listed").flatten();
        let shipped: BTreeSet<String> = files
            .map(|entry| entry.file_name().to_string_lossy().trim_end_matches(".toml").to_owned())
            .collect();
        assert!(OF_MYTHS.iter().all(|(myth, _)| c10k_ceiling::myth(myth).is_some()));
        let told: Vec<&str> =
            OF_MYTHS.iter().flat_map(|(_, names)| names.iter()).chain(&OTHERS).copied().collect();
        let once: BTreeSet<String> = told.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!((told.len(), once), (shipped.len(), shipped));
    }
}
