//! What a run looked at beside its counters: the age of what was lost, what TCP knew of connections that were silent, the
//! server's own connections, its listeners, and the rules of a firewall.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DropReasons, human_count};

/// Each is `None` where it was not looked at, or could not be read.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEvidence {
    /// How old connections were when they were lost that had been proven before.
    pub ages: Option<LossAges>,
    /// In which order connections were proven and lost in the ramp; `None` where none was lost in it, or it is not known.
    pub order: Option<LossOrder>,
    /// What TCP knew of the clients' ends when their probes were not answered.
    pub silent: Option<SilentSample>,
    /// The place to which the server's processes have most connections of their own.
    pub outgoing: Option<Outgoing>,
    /// The listeners on the server's ports, at the last look before the close.
    pub listeners: Option<Listeners>,
    /// The firewall's rules where the run stands.
    pub rules: Option<FirewallRules>,
    /// For what reasons the kernel dropped packets.
    pub drops: Option<DropReasons>,
    /// What the server said in words before connections ended, the most frequent first; at most three.
    pub words: Vec<ServerWords>,
}

/// What a server said on connections that it ended: an HTTP status and body, a Close frame's code and reason, a line of
/// text in the place of an echo.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerWords {
    /// The first 200 bytes, with blanks for what cannot be printed.
    pub text: String,
    /// On how many connections.
    pub count: u64,
}

/// Whose words they are is left to the caller: `said on 12 connections: …`.
impl fmt::Display for ServerWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = if self.count == 1 { "connection" } else { "connections" };
        write!(f, "said on {} {on}: {}", human_count(self.count), self.text)
    }
}

/// In which order connections were proven for the first time, and lost, in the ramp.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossOrder {
    /// Connections that were begun after the first one was lost, and proven.
    pub proven_after_loss: u64,
    /// Connections that were lost after the last one was proven.
    pub lost_after_proof: u64,
    /// From the last proof to the end of the ramp, milliseconds.
    pub after_proof_ms: u64,
    /// Connections that were lost, all of them.
    pub lost: u64,
    /// What only the swarm can tell, which begins them.
    pub begun: Option<BegunOrder>,
}

/// In which order connections were begun that were proven or lost. Word of a loss may overtake an echo, and a timeout comes
/// late: the moments of losses and proofs alone do not tell who failed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunOrder {
    /// Connections that were proven, all of them.
    pub proven: u64,
    /// Connections that were begun after the first one was lost, and proven or lost.
    pub after_loss: u64,
    /// Connections that were begun before each one that was lost.
    pub before_lost: u64,
    /// Lost ones that were begun after each one that the same worker of the swarm has proven.
    pub lost_behind: u64,
}

/// So many losses in a row do not come by chance: half of all would have to fail.
const NO_CHANCE: u64 = 20;
/// Fewer losses than that have no order.
const FEW: u64 = 3;

impl LossOrder {
    /// Whether the first so many succeeded, and then next to none any more.
    #[must_use]
    pub fn is_a_cap(self) -> bool {
        let Some(begun) = self.begun else {
            return self.lost_after_proof >= NO_CHANCE
                || self.lost_after_proof >= FEW && self.proven_after_loss == 0;
        };
        let goes_on = match begun.after_loss >= NO_CHANCE {
            true => self.proven_after_loss > 0 && !self.is_few_of_those_behind(begun),
            // So few say nothing.
            false => !self.is_late(begun) && !self.is_behind(begun),
        };
        !goes_on || begun.lost_behind.min(self.lost_after_proof) >= NO_CHANCE
    }

    /// Whether of those that were begun after the first loss at most a quarter succeeded, and of the others three times as
    /// many: a server that is full may still take one in the place of another that it is about to serve (nginx does).
    fn is_few_of_those_behind(self, begun: BegunOrder) -> bool {
        let before = (begun.proven + self.lost).saturating_sub(begun.after_loss);
        let proven_before = begun.proven.saturating_sub(self.proven_after_loss);
        self.proven_after_loss * 4 <= begun.after_loss
            && proven_before * begun.after_loss >= 3 * self.proven_after_loss * before
    }

    /// Whether the losses lie so close to the end that by chance it would be so once in a thousand times.
    fn is_late(self, begun: BegunOrder) -> bool {
        let all = (begun.proven + self.lost) as f64;
        self.is_no_chance(begun, (all - begun.before_lost as f64) / all)
    }

    /// Whether each worker lost its last ones and no other, so that by chance it would be so once in a thousand times. One
    /// worker may be held up for so long that what it began early reaches the server last.
    fn is_behind(self, begun: BegunOrder) -> bool {
        // The likeliest case: as many workers as losses, with equal parts.
        let share = self.lost as f64 / (begun.proven + self.lost) as f64;
        begun.lost_behind == self.lost && self.is_no_chance(begun, share)
    }

    /// Whether there are enough losses to tell, and by chance all of them would lie in such a share of all connections once
    /// in a thousand times.
    fn is_no_chance(self, begun: BegunOrder, share: f64) -> bool {
        self.lost >= FEW && self.lost * 100 >= begun.proven && self.lost as f64 * share.ln() < 0.001_f64.ln()
    }

    /// Losses in a row at the end, in the order in which the connections were begun or ended.
    #[must_use]
    pub fn lost_in_a_row(self) -> u64 {
        self.lost_after_proof.max(self.begun.map_or(0, |begun| begun.lost_behind))
    }
}

/// How old connections were when they were lost in the hold or the last proof, milliseconds.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossAges {
    /// Since the connect; `None` where that is not kept.
    pub since_connect: Option<AgeSpread>,
    /// Since the last word of the swarm: a probe or a ping that was begun.
    pub since_last_byte: Option<AgeSpread>,
    /// When they were lost, since the first connect: where this is narrower than an age, it was one event.
    pub at: Option<AgeSpread>,
}

/// How some ages are spread, milliseconds.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeSpread {
    /// How many.
    pub count: u64,
    /// The least.
    pub min_ms: u64,
    /// One in twenty is below it.
    pub p5_ms: u64,
    /// The median.
    pub p50_ms: u64,
    /// One in twenty is above it.
    pub p95_ms: u64,
    /// The most.
    pub max_ms: u64,
    /// How many lie in each power of two.
    pub bins: Vec<AgeBin>,
}

/// Ages from one up to, and without, another.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeBin {
    /// The first, milliseconds.
    pub from_ms: u64,
    /// The first that is none of it, milliseconds.
    pub to_ms: u64,
    /// How many.
    pub count: u64,
}

impl AgeSpread {
    /// How far nine in ten lie apart, milliseconds.
    #[must_use]
    pub fn width_ms(&self) -> u64 {
        self.p95_ms.saturating_sub(self.p5_ms)
    }

    /// Whether nine in ten lie so close together that one timer made them: within 3 %, and within a timer's tick or two.
    #[must_use]
    pub fn is_one_age(&self) -> bool {
        const TICKS_MS: u64 = 250;
        self.count > 0 && self.width_ms() <= TICKS_MS.max(self.p50_ms / 32)
    }
}

/// Ages counted one by one, to an error of less than 1 %.
#[derive(Clone, Debug, Default)]
pub struct AgeHistogram {
    counts: Vec<u64>,
    count: u64,
    min_ms: u64,
    max_ms: u64,
}

/// Parts of a power of two.
const PARTS: u64 = 128;
/// Ages are not kept apart beyond: a year.
const OLDEST_MS: u64 = 365 * 86_400_000;

impl AgeHistogram {
    /// Counts one.
    pub fn add(&mut self, age_ms: u64) {
        let age_ms = age_ms.min(OLDEST_MS);
        let slot = slot_of(age_ms);
        if self.counts.len() <= slot {
            self.counts.resize(slot + 1, 0);
        }
        self.counts[slot] += 1;
        self.min_ms = if self.count == 0 { age_ms } else { self.min_ms.min(age_ms) };
        self.max_ms = self.max_ms.max(age_ms);
        self.count += 1;
    }

    /// How they are spread; `None` where there are none.
    #[must_use]
    pub fn spread(&self) -> Option<AgeSpread> {
        let mut bins: Vec<AgeBin> = Vec::new();
        for (slot, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from_ms = match first_of(slot) {
                0 => 0,
                age => 1 << age.ilog2(),
            };
            match bins.last_mut().filter(|bin| bin.from_ms == from_ms) {
                Some(bin) => bin.count += count,
                None => bins.push(AgeBin { from_ms, to_ms: (from_ms * 2).max(1), count: *count }),
            }
        }
        (self.count > 0).then(|| AgeSpread {
            count: self.count,
            min_ms: self.min_ms,
            p5_ms: self.at_rank(self.count.div_ceil(20)),
            p50_ms: self.at_rank(self.count.div_ceil(2)),
            p95_ms: self.at_rank(self.count - self.count / 20),
            max_ms: self.max_ms,
            bins,
        })
    }

    /// The age of the one that stands at this place, from 1, in their order.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut passed = 0;
        let slot = self.counts.iter().position(|count| {
            passed += count;
            passed >= rank
        });
        slot.map_or(self.max_ms, first_of).clamp(self.min_ms, self.max_ms)
    }
}

/// Counts all of another one, as each worker has one of its own.
impl std::ops::AddAssign<&Self> for AgeHistogram {
    fn add_assign(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_ms = if self.count == 0 { other.min_ms } else { self.min_ms.min(other.min_ms) };
        self.max_ms = self.max_ms.max(other.max_ms);
        self.count += other.count;
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
    }
}

/// Below twice the parts each age has a slot of its own.
fn slot_of(age_ms: u64) -> usize {
    let shift = age_ms.checked_ilog2().unwrap_or(0).saturating_sub(PARTS.ilog2());
    (u64::from(shift) * PARTS + (age_ms >> shift)) as usize
}

fn first_of(slot: usize) -> u64 {
    let slot = slot as u64;
    let shift = (slot / PARTS).saturating_sub(1);
    (slot - shift * PARTS) << shift
}

/// What TCP knew of a sample of the clients' ends, some time after data was sent on all of them.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SilentSample {
    /// When it was taken, milliseconds after the data was sent.
    pub after_ms: u64,
    /// Connections in it, all ESTABLISHED at the client.
    pub sampled: u64,
    /// Of those, with data that the other end has not acknowledged although it was sent again.
    pub unacked: u64,
    /// Of the unacknowledged, the shortest time since an ACK came in, milliseconds.
    pub last_ack_ms: Option<u64>,
    /// For how long nothing had come from the server before that data was sent: the median of the unacknowledged,
    /// milliseconds.
    pub quiet_ms: Option<u64>,
    /// The median of the round trips that were measured before, microseconds.
    pub rtt_us: Option<u64>,
    /// Whether a new connection to the same place was answered meanwhile; `None` where none was tried.
    pub new_connects: Option<bool>,
}

/// Connections of the server's own, from one of its addresses to one place.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// A process that holds them.
    pub pid: u32,
    /// The address they come from.
    pub from: String,
    /// The address and port they go to.
    pub to: String,
    /// Source ports in use between the two; those in TIME_WAIT are, unless a new connection may take them.
    pub ports_in_use: u64,
    /// Those in TIME_WAIT that a new connection may take when they are a second old (`tcp_tw_reuse`).
    pub ports_waiting: u64,
    /// Source ports that there are: `ip_local_port_range` without those that are reserved.
    pub ports: u64,
    /// The first port of that range.
    pub first_port: u16,
    /// The last port of it.
    pub last_port: u16,
}

impl Outgoing {
    /// Source ports that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.ports.saturating_sub(self.ports_in_use)
    }

    /// Whether it would be used up with those in TIME_WAIT, which may or may not have been free.
    #[must_use]
    pub fn may_have_been_used_up(&self) -> bool {
        let ports_in_use = self.ports_in_use.saturating_add(self.ports_waiting);
        Self { ports_in_use, ..self.clone() }.is_used_up()
    }

    /// Whether nearly none is left: some of the range are somebody else's, or were passed over in the search.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.ports > 0 && self.left() <= (self.ports / 50).max(4)
    }
}

/// All listeners on the server's ports.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// How many.
    pub count: u64,
    /// Of those, with connections that wait to be accepted.
    pub waited_at: u64,
    /// Of those, with a full queue.
    pub full: u64,
    /// The longest queue.
    pub longest: u64,
    /// The least backlog.
    pub least_backlog: u64,
}

/// Rules of nftables, and so of iptables where it is made of it, in the network namespaces of both ends; a table of an older
/// iptables counts as one.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRules {
    /// All of them.
    pub all: u64,
    /// Those that reject.
    pub reject: u64,
    /// Those that count connections.
    pub count: u64,
    /// Those that look at a rate.
    pub limit: u64,
    /// Those that do both, reject and count or look at a rate, and name one of the server's ports or no port at all; a rule
    /// whose ports stand in a set is not among them. `None` in older records.
    #[serde(default)]
    pub refuse: Option<u64>,
}

impl FirewallRules {
    /// Those of two places together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            reject: self.reject.saturating_add(other.reject),
            count: self.count.saturating_add(other.count),
            limit: self.limit.saturating_add(other.limit),
            refuse: self.refuse.zip(other.refuse).map(|(one, other)| one.saturating_add(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ages: impl IntoIterator<Item = u64>) -> AgeSpread {
        let mut histogram = AgeHistogram::default();
        ages.into_iter().for_each(|age| histogram.add(age));
        histogram.spread().expect("there are some")
    }

    #[test]
    fn ages_are_told_to_one_percent_and_their_ends_exactly() {
        let spread = of((0..1_000).map(|n| 59_950 + n / 10));
        assert_eq!((spread.count, spread.min_ms, spread.max_ms), (1_000, 59_950, 60_049));
        assert!(spread.p50_ms.abs_diff(60_000) < 600 && spread.is_one_age(), "{spread:?}");
        assert_eq!(spread.bins, [AgeBin { from_ms: 32_768, to_ms: 65_536, count: 1_000 }]);
        let small = of([0, 1, 2, 3, 300]);
        assert_eq!((small.min_ms, small.p50_ms, small.max_ms), (0, 2, 300));
        assert_eq!(small.bins.iter().map(|bin| bin.count).sum::<u64>(), 5);
        assert!(AgeHistogram::default().spread().is_none());
        for age in [0, 1, 127, 128, 255, 256, 1_000, 60_000, OLDEST_MS] {
            let first = first_of(slot_of(age));
            assert!(first <= age && (age - first) * PARTS <= age, "{age} {first}");
        }
    }

    #[test]
    fn ages_one_by_one_are_no_one_age_and_a_few_strays_change_nothing() {
        assert!(!of((0..1_000).map(|n| n * 10)).is_one_age());
        assert!(of((0..1_000).map(|n| if n < 20 { n } else { 3_500 + n % 40 })).is_one_age());
        let mut one = AgeHistogram::default();
        one.add(7);
        let mut other = AgeHistogram::default();
        other += &one;
        other += &AgeHistogram::default();
        assert_eq!(other.spread(), one.spread());
    }

    #[test]
    fn the_first_so_many_and_then_none_is_a_cap_and_errors_among_successes_are_not() {
        let of = |proven_after_loss, lost_after_proof| LossOrder {
            proven_after_loss,
            lost_after_proof,
            ..LossOrder::default()
        };
        assert!(of(0, 3).is_a_cap() && of(0, 1_500).is_a_cap());
        assert!(of(400, 90).is_a_cap(), "several workers fill one after the other");
        assert!(!of(0, 2).is_a_cap() && !of(400, 12).is_a_cap() && !of(1, 0).is_a_cap());
    }

    #[test]
    fn where_it_is_known_when_each_was_begun_losses_that_overtake_echoes_and_late_timeouts_mislead_nobody() {
        let of = |proven,
                  lost,
                  proven_after_loss,
                  lost_after_proof,
                  [after_loss, before_lost, lost_behind]: [u64; 3]| {
            let begun = Some(BegunOrder { proven, after_loss, before_lost, lost_behind });
            let order = LossOrder { lost, lost_after_proof, proven_after_loss, after_proof_ms: 0, begun };
            order.is_a_cap()
        };
        assert!(of(149, 7, 0, 0, [0, 120, 7]), "all losses came before the echoes of those that were taken");
        assert!(of(141, 9, 0, 0, [0, 86, 0]), "nginx gave up some that it had not served yet for others");
        assert!(of(146, 54, 5, 0, [8, 126, 0]), "so few say nothing");
        assert!(of(148, 152, 7, 0, [100, 90, 0]) && of(149, 334, 0, 279, [300, 0, 302]));
        assert!(of(5, 512, 0, 512, [100, 5, 512]) && of(900, 600, 400, 90, [800, 200, 90]));
        assert!(of(100, 5, 0, 1, [0, 27, 5]), "one worker began early, and came last");
        assert!(!of(100, 5, 0, 1, [0, 27, 4]) && !of(6, 3, 0, 1, [0, 2, 3]) && !of(900, 5, 0, 1, [0, 27, 5]));
        assert!(!of(960, 40, 0, 40, [0, 10, 1]), "timeouts of some among many, long after the last echo");
        assert!(!of(285, 15, 0, 1, [0, 9, 3]), "all were under way when the first was lost, and some failed");
        assert!(!of(500, 500, 400, 1, [800, 90, 1]) && !of(998, 2, 0, 2, [0, 998, 2]));
        assert!(!of(100, 300, 60, 2, [300, 10, 2]), "they failed from the beginning");
    }

    #[test]
    fn a_range_with_a_few_ports_left_is_used_up() {
        let of = |in_use, ports| Outgoing { ports_in_use: in_use, ports, ..Outgoing::default() }.is_used_up();
        assert!(of(1_000, 1_000) && of(985, 1_000) && of(28_200, 28_232) && of(1_010, 1_000));
        assert!(!of(950, 1_000) && !of(0, 0) && !of(2, 10));
        let waiting = Outgoing { ports_in_use: 1, ports_waiting: 999, ports: 1_000, ..Outgoing::default() };
        assert!(waiting.may_have_been_used_up() && !waiting.is_used_up());
    }
}
