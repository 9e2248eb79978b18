//! Processes that came from a test's lab, told by a mark in their environment.

use std::time::{Duration, Instant};

/// Longer than a process needs to end once its lab is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of a test's lab.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    /// `run`, `server`, `swarm`.
    pub(crate) subcommand: String,
    /// The inode of its network namespace, where that may be seen.
    pub(crate) network: Option<String>,
}

/// All that carry the mark and have not ended.
pub(crate) fn with_token(token: &str) -> Vec<Found> {
    let mark = format!("C10K_TEST={token}");
    all_pids()
        .filter_map(|pid| {
            // Empty for a process that has ended.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment.split(|byte| *byte == 0).find(|word| *word == mark.as_bytes())?;
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let subcommand = command.split(|byte| *byte == 0).nth(1).map(String::from_utf8_lossy);
            let subcommand = subcommand.unwrap_or_default().into_owned();
            Some(Found { pid, subcommand, network: network_of(pid) })
        })
        .collect()
}

/// Waits until none carries the mark any more; those that stay.
pub(crate) fn wait_until_gone(token: &str) -> Vec<Found> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let left = with_token(token);
        if left.is_empty() || Instant::now() > give_up {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process stands in this network namespace, or a mount keeps it.
pub(crate) fn is_network_kept(network: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.contains(network) || all_pids().any(|pid| network_of(pid).as_deref() == Some(network))
}

impl Found {
    /// Asserts that nothing keeps its network namespace.
    #[track_caller]
    pub(crate) fn expect_its_namespace_gone(&self) {
        let network = self.network.as_deref().expect("its namespace could be seen");
        let give_up = Instant::now() + PATIENCE;
        while is_network_kept(network) {
            assert!(Instant::now() < give_up, "{network} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn network_of(pid: u32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

fn all_pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
