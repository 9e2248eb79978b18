//! What came of removing addresses, as it is told.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use c10k_kernel::address::whole_bits;

use super::{Unread, addresses};

/// So many addresses are named; of more, how many they are.
const MOST_NAMED: usize = 64;

/// What came of removing.
#[derive(Debug, Default)]
pub struct Removed {
    /// The device.
    pub device: String,
    /// How many were removed.
    pub removed: usize,
    /// How many somebody else had removed before.
    pub gone: usize,
    /// Those that could not be removed, and why. Their journal stays.
    pub failed: Vec<(IpAddr, io::Error)>,
    /// Those that stand and may be this one's or somebody else's. Their journal stays.
    pub in_doubt: Vec<IpAddr>,
    /// Journals that cannot be read. Nothing of theirs was removed.
    pub unread: Vec<Unread>,
    /// What such a journal may speak of.
    pub marked: Vec<IpAddr>,
    /// Journals that could not be removed, though nothing of theirs is left.
    pub journal_faults: Vec<(PathBuf, io::Error)>,
}

impl Removed {
    /// Whether nothing stands that was to be removed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.in_doubt.is_empty() && self.unread.is_empty()
    }

    /// What takes away by hand what stands.
    #[must_use]
    pub fn hint(&self) -> String {
        let on = if self.device.is_empty() { "DEVICE" } else { &self.device };
        let certain: Vec<IpAddr> = self.failed.iter().map(|(ip, _)| *ip).collect();
        let uncertain: Vec<IpAddr> = self.in_doubt.iter().chain(&self.marked).copied().collect();
        let mut parts = Vec::new();
        if !certain.is_empty() {
            parts.push(format!("c10k-swarm --remove-ips tries again; by hand: {}", commands(&certain, on)));
        }
        if !uncertain.is_empty() {
            parts.push(format!("where nobody else uses them: {}", commands(&uncertain, on)));
        } else if !self.unread.is_empty() {
            parts.push(
                "`ip addr` shows what stands, `sudo ip addr del ADDRESS/32 dev DEVICE` takes it away"
                    .to_owned(),
            );
        }
        parts.extend(self.unread.iter().map(|unread| format!("then remove {}", unread.path.display())));
        parts.join("; ")
    }
}

fn commands(ips: &[IpAddr], device: &str) -> String {
    let command = |ip: &IpAddr| format!("sudo ip addr del {ip}/{} dev {device}", whole_bits(*ip));
    let named: Vec<String> = ips.iter().take(MOST_NAMED).map(command).collect();
    named.join(" && ") + &more(ips.len())
}

fn more(count: usize) -> String {
    match count.saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

fn list<'a>(ips: impl ExactSizeIterator<Item = &'a IpAddr>) -> String {
    let count = ips.len();
    let named: Vec<String> = ips.take(MOST_NAMED).map(ToString::to_string).collect();
    named.join(", ") + &more(count)
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.device.is_empty() {
            let count = self.removed;
            parts.push(format!("removed {count} source {} from {}", addresses(count), self.device));
        }
        if self.gone > 0 {
            parts.push(format!("{} had gone before", self.gone));
        }
        if let Some((_, error)) = self.failed.first() {
            let (left, ips) = (self.failed.len(), list(self.failed.iter().map(|(ip, _)| ip)));
            parts.push(format!("{left} could not be removed ({ips}: {error})"));
        }
        if !self.in_doubt.is_empty() {
            let (count, ips) = (self.in_doubt.len(), list(self.in_doubt.iter()));
            parts.push(format!("{count} may be this swarm's or somebody else's and stay ({ips})"));
        }
        parts.extend(self.unread.iter().map(ToString::to_string));
        if !self.marked.is_empty() {
            parts.push(format!("added by swarms stand here: {}", list(self.marked.iter())));
        }
        parts.extend(self.journal_faults.iter().map(|(path, error)| {
            format!("the journal {} could not be removed: {error}; remove it by hand", path.display())
        }));
        f.write_str(&parts.join("; "))
    }
}
