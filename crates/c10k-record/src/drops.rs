//! For what reasons the kernel dropped packets while a run went on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Packets that the kernel dropped, by its own name of the reason (the tracepoint `skb:kfree_skb`, Linux 5.17). They are the
/// whole host's: those of others, and of other network namespaces, are among them. A run loses no more SYNs, and answers to
/// them, than it has sent just before, and what others lose goes on while it sends none: so the two are told apart.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DropReasons {
    /// By the reason. One that is not in the list was not counted; empty where none could be.
    pub counted: BTreeMap<String, DropCount>,
    /// Time in which SYNs had been sent, the first time or again, in the four seconds before, milliseconds.
    pub busy_ms: u64,
    /// Time in which none had, milliseconds.
    pub quiet_ms: u64,
    /// Why none could be counted; `None` where they were.
    pub why_not: Option<String>,
}

/// Packets dropped for one reason.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// In the busy time, at most as many as SYNs had been sent in the four seconds before: they may be the run's.
    pub own: u64,
    /// In the busy time, those beyond that: they are others'.
    pub beyond: u64,
    /// In the quiet time.
    pub quiet: u64,
}

/// What was dropped for some reasons in the busy time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedFor {
    /// Those that may be the run's.
    pub own: u64,
    /// How many were others', those among `own` too: those beyond what the run had sent, or, where that is more, as many as in
    /// as long a quiet time.
    pub of_others: u64,
    /// Of `own`, those that then were others'.
    pub hidden: u64,
}

impl DropReasons {
    /// None could be counted.
    #[must_use]
    pub fn unknown(why_not: impl Into<String>) -> Self {
        Self { why_not: Some(why_not.into()), ..Self::default() }
    }

    /// Whether this reason was counted.
    #[must_use]
    pub fn knows(&self, reason: &str) -> bool {
        self.counted.contains_key(reason)
    }

    /// What was dropped for any of these reasons while SYNs were sent.
    #[must_use]
    pub fn for_any_of(&self, reasons: &[&str]) -> DroppedFor {
        let sum = |of: fn(&DropCount) -> u64| {
            let counts = reasons.iter().filter_map(|reason| self.counted.get(*reason));
            counts.map(of).fold(0, u64::saturating_add)
        };
        let (own, beyond, quiet) =
            (sum(|count| count.own), sum(|count| count.beyond), sum(|count| count.quiet));
        let background = match self.quiet_ms {
            0 => 0,
            ms => u64::try_from(u128::from(quiet) * u128::from(self.busy_ms) / u128::from(ms))
                .unwrap_or(u64::MAX),
        };
        let hidden = background.saturating_sub(beyond).min(own);
        DroppedFor { own, of_others: beyond.saturating_add(hidden), hidden }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_lose_is_told_by_the_time_in_which_the_run_sends_nothing_and_by_what_it_cannot_have_sent() {
        let counted = [
            ("NETFILTER_DROP".to_owned(), DropCount { own: 500, beyond: 0, quiet: 20 }),
            ("SOCKET_FILTER".to_owned(), DropCount { own: 7, beyond: 30, quiet: 0 }),
        ];
        let mut drops =
            DropReasons { counted: counted.into(), busy_ms: 10_000, quiet_ms: 2_000, why_not: None };
        let of = |drops: &DropReasons, reasons: &[&str]| {
            let DroppedFor { own, of_others, hidden } = drops.for_any_of(reasons);
            (own, of_others, hidden)
        };
        assert_eq!(of(&drops, &["NETFILTER_DROP"]), (500, 100, 100));
        assert_eq!(of(&drops, &["SOCKET_FILTER"]), (7, 30, 0));
        assert_eq!(of(&drops, &["NETFILTER_DROP", "SOCKET_FILTER", "XDP"]), (507, 100, 70));
        assert_eq!(of(&drops, &["XDP"]), (0, 0, 0));
        assert!(drops.knows("SOCKET_FILTER") && !drops.knows("XDP"));
        drops.quiet_ms = 0;
        assert_eq!(of(&drops, &["NETFILTER_DROP"]), (500, 0, 0), "nobody has looked at others");
        drops.counted.insert("XDP".to_owned(), DropCount { own: 3, beyond: 0, quiet: u64::MAX });
        (drops.busy_ms, drops.quiet_ms) = (u64::MAX, 1);
        assert_eq!(of(&drops, &["XDP"]), (3, 3, 3));
    }
}
