//! What came of what a server pushed: streams and messages to all, a worker's own or all together.

use std::collections::BTreeMap;

use c10k_record::{FannedOut, LatencyHistogram, Streamed};
use c10k_wire::push::Wrong;

/// Messages to all that are kept apart: of those before them no receipt comes any more.
const MOST_ROUNDS: usize = 256;

/// What was asked for and received since this was last taken. Times are µs of CLOCK_MONOTONIC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) asked: u64,
    pub(crate) first_asked_us: Option<u64>,
    pub(crate) last_byte_us: u64,
    /// Bytes of payloads.
    pub(crate) bytes: u64,
    pub(crate) wrong: u64,
    /// What was wrong first.
    pub(crate) trouble: Option<Wrong>,
    /// From the request to the first byte.
    pub(crate) start_up: LatencyHistogram,
    /// Streams that came to their own end.
    pub(crate) whole: u64,
    pub(crate) stalled_viewers: u64,
    pub(crate) stall: LatencyHistogram,
    pub(crate) rounds: Rounds,
}

impl Pushed {
    pub(crate) fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.first_asked_us = [self.first_asked_us, other.first_asked_us].into_iter().flatten().min();
        self.last_byte_us = self.last_byte_us.max(other.last_byte_us);
        self.bytes += other.bytes;
        self.wrong += other.wrong;
        self.trouble = self.trouble.or(other.trouble);
        self.start_up.add(&other.start_up);
        self.whole += other.whole;
        self.stalled_viewers += other.stalled_viewers;
        self.stall.add(&other.stall);
        self.rounds.add(&other.rounds);
    }

    /// As a record tells of streams.
    pub(crate) fn streamed(&self) -> Streamed {
        let seconds =
            self.first_asked_us.map(|first_us| self.last_byte_us.saturating_sub(first_us) as f64 / 1e6);
        Streamed {
            viewers: self.asked,
            whole: self.whole,
            stalled_viewers: self.stalled_viewers,
            stalls: self.stall.count(),
            stall_us: self.stall.summary(),
            start_up_us: self.start_up.summary(),
            bytes: self.bytes,
            bits_per_second: seconds
                .filter(|seconds| *seconds > 0.0)
                .map(|seconds| self.bytes as f64 * 8.0 / seconds),
            wrong: self.wrong,
        }
    }

    /// How long messages to all took to each who received them; `until_us` as in [`Pushed::fanned_out`].
    pub(crate) fn receipts(&self, until_us: u64) -> LatencyHistogram {
        self.rounds.all(until_us).receipt
    }

    /// As a record tells of a fan-out; `until_us` is when the phase ended: of messages made behind that not all receipts
    /// were awaited.
    pub(crate) fn fanned_out(&self, until_us: u64) -> FannedOut {
        self.rounds.told(self.asked, until_us)
    }
}

/// Receipts by message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    by_sequence: BTreeMap<u64, Round>,
    /// The server's time of the first message of the follower who came last: from that on all follow.
    all_follow_us: u64,
    folded: Folded,
}

/// One message to all.
#[derive(Clone, Debug, Default)]
struct Round {
    server_us: u64,
    receipts: u64,
    receipt: LatencyHistogram,
}

/// Messages of which all receipts are in.
#[derive(Clone, Debug, Default)]
struct Folded {
    rounds: u64,
    receipts: u64,
    receipt: LatencyHistogram,
    first: LatencyHistogram,
    median: LatencyHistogram,
    p99: LatencyHistogram,
    last: LatencyHistogram,
}

impl Folded {
    fn take(&mut self, round: &Round) {
        self.rounds += 1;
        self.receipts += round.receipts;
        self.receipt.add(&round.receipt);
        let summary = round.receipt.summary();
        let least = round.receipt.as_hdr();
        let first = (!least.is_empty()).then(|| least.min());
        for (histogram, us) in [
            (&mut self.first, first),
            (&mut self.median, summary.p50),
            (&mut self.p99, summary.p99),
            (&mut self.last, summary.max),
        ] {
            us.into_iter().for_each(|us| histogram.record_us(us));
        }
    }

    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.receipts += other.receipts;
        for (mine, others) in [
            (&mut self.receipt, &other.receipt),
            (&mut self.first, &other.first),
            (&mut self.median, &other.median),
            (&mut self.p99, &other.p99),
            (&mut self.last, &other.last),
        ] {
            mine.add(others);
        }
    }
}

impl Rounds {
    /// A follower has received a message; `receipt_us` after it was made, where both ends have one clock.
    pub(crate) fn received(&mut self, sequence: u64, server_us: u64, receipt_us: Option<u64>) {
        let round = self.by_sequence.entry(sequence).or_default();
        round.server_us = server_us;
        round.receipts += 1;
        receipt_us.into_iter().for_each(|us| round.receipt.record_us(us));
    }

    /// That was its first.
    pub(crate) fn follows_from(&mut self, server_us: u64) {
        self.all_follow_us = self.all_follow_us.max(server_us);
    }

    fn add(&mut self, other: &Self) {
        for (sequence, round) in &other.by_sequence {
            let mine = self.by_sequence.entry(*sequence).or_default();
            mine.server_us = round.server_us;
            mine.receipts += round.receipts;
            mine.receipt.add(&round.receipt);
        }
        self.all_follow_us = self.all_follow_us.max(other.all_follow_us);
        self.folded.add(&other.folded);
        while self.by_sequence.len() > MOST_ROUNDS
            && let Some((_, oldest)) = self.by_sequence.pop_first()
        {
            if oldest.server_us >= self.all_follow_us {
                self.folded.take(&oldest);
            }
        }
    }

    /// Those made before the end of the phase, with those that are folded already.
    fn all(&self, until_us: u64) -> Folded {
        let mut all = self.folded.clone();
        let counted = self.all_follow_us..=until_us;
        self.by_sequence
            .values()
            .filter(|round| counted.contains(&round.server_us))
            .for_each(|round| all.take(round));
        all
    }

    /// Messages that were made while all followed, and before this time.
    fn told(&self, receivers: u64, until_us: u64) -> FannedOut {
        let all = self.all(until_us);
        FannedOut {
            rounds: all.rounds,
            receivers,
            missing: (all.rounds * receivers).saturating_sub(all.receipts),
            receipt_us: all.receipt.summary(),
            first_receiver_us: all.first.summary(),
            median_receiver_us: all.median.summary(),
            p99_receiver_us: all.p99.summary(),
            last_receiver_us: all.last.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_count_from_when_all_follow_to_the_end_of_the_phase_and_what_is_missing_is_seen() {
        let (mut first, mut second) = (Pushed::default(), Pushed::default());
        first.asked = 2;
        second.asked = 1;
        for sequence in 1..=5 {
            first.rounds.received(sequence, sequence * 1000, Some(10));
            first.rounds.received(sequence, sequence * 1000, Some(20));
        }
        first.rounds.follows_from(1000);
        second.rounds.follows_from(2000);
        second.rounds.received(2, 2000, Some(900));
        second.rounds.received(4, 4000, Some(500));
        first.add(&second);
        let told = first.fanned_out(4500);
        // 2, 3 and 4: the first was made before all followed, the fifth behind the end. The third misses a receipt.
        assert_eq!((told.rounds, told.receivers, told.missing), (3, 3, 1));
        assert_eq!((told.receipt_us.count, told.last_receiver_us.count), (8, 3));
        assert_eq!(told.first_receiver_us.max, Some(10));
        assert_eq!(told.median_receiver_us.max, Some(20));
        assert!(told.last_receiver_us.max.is_some_and(|us| (895..=910).contains(&us)), "{told:?}");
    }

    #[test]
    fn of_many_messages_the_old_ones_are_folded_and_count_all_the_same() {
        let mut all = Rounds::default();
        for sequence in 1..=1000 {
            let mut one = Rounds::default();
            one.follows_from(1);
            one.received(sequence, sequence, Some(sequence));
            all.add(&one);
        }
        assert!(all.by_sequence.len() <= MOST_ROUNDS);
        let told = all.told(1, u64::MAX);
        assert_eq!((told.rounds, told.missing, told.receipt_us.count), (1000, 0, 1000));
    }

    #[test]
    fn bits_a_second_are_those_from_the_first_request_to_the_last_byte() {
        let mut pushed = Pushed { bytes: 1_000_000, last_byte_us: 3_000_000, ..Pushed::default() };
        assert_eq!(pushed.streamed().bits_per_second, None, "nobody has asked");
        pushed.first_asked_us = Some(1_000_000);
        assert_eq!(pushed.streamed().bits_per_second, Some(4_000_000.0));
    }
}
