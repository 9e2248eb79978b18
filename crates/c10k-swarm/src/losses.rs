//! What is known of connections that were lost beside how many: in which order, at what age, and what the server said.
//!
//! Each worker notes its own losses; they are put together when the workers have ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use c10k_record::{AgeHistogram, BegunOrder, LossAges, LossOrder, ServerWords};

/// Different texts that a worker keeps; a server has fewer.
const MOST_TEXTS: usize = 64;
/// Texts that are told.
const TOLD: usize = 3;
/// Numbers of lost connections that a worker keeps before it looks which of them are still behind all proofs.
const MANY: usize = 4096;

/// The order of losses and first proofs over all workers. Who proves a connection only reads here, unless one was lost
/// since the last proof.
#[derive(Debug)]
pub(crate) struct Moments {
    /// The first connection that was not yet begun when one was lost for the first time.
    begun_at_loss: AtomicU64,
    /// The lowest number of those that were lost.
    first_lost: AtomicU64,
    lost_since_proof: AtomicU64,
}

impl Default for Moments {
    fn default() -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self { begun_at_loss: never(), first_lost: never(), lost_since_proof: AtomicU64::new(0) }
    }
}

impl Moments {
    /// This one was lost in a ramp, when `next` was the first number that nobody had begun. True when it was begun after
    /// the first loss.
    fn lost(&self, number: u32, next: u64) -> bool {
        let number = u64::from(number);
        // Numbers only grow: what was begun at the first loss is the least.
        for (least, now) in [(&self.begun_at_loss, next), (&self.first_lost, number)] {
            if least.load(Relaxed) > now {
                least.fetch_min(now, Relaxed);
            }
        }
        self.lost_since_proof.fetch_add(1, Relaxed);
        number >= self.begun_at_loss.load(Relaxed)
    }

    /// This one was proven. True when it was begun after the first loss.
    fn proven(&self, number: u32) -> bool {
        if self.lost_since_proof.load(Relaxed) != 0 {
            self.lost_since_proof.store(0, Relaxed);
        }
        u64::from(number) >= self.begun_at_loss.load(Relaxed)
    }
}

/// What one worker has noted of its connections, or all of them together.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Lost in a ramp.
    lost: u64,
    /// Of those, begun after the last one that was proven.
    lost_behind: u64,
    lost_after_loss: u64,
    proven: u64,
    proven_after_loss: u64,
    since_last_byte: AgeHistogram,
    at: AgeHistogram,
    words: Vec<ServerWords>,
}

impl Losses {
    /// Adds what another worker has noted.
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.lost_behind += other.lost_behind;
        self.lost_after_loss += other.lost_after_loss;
        self.proven += other.proven;
        self.proven_after_loss += other.proven_after_loss;
        self.since_last_byte += &other.since_last_byte;
        self.at += &other.at;
        for words in other.words {
            self.add_words(words.text, words.count);
        }
    }

    fn add_words(&mut self, text: String, count: u64) {
        if let Some(words) = self.words.iter_mut().find(|words| words.text == text) {
            words.count += count;
        } else if self.words.len() < MOST_TEXTS {
            self.words.push(ServerWords { text, count });
        }
    }

    /// The order, where any was lost in a ramp; the last proof came `after_proof_ms` before the end of that.
    pub(crate) fn order(&self, moments: &Moments, after_proof_ms: u64) -> Option<LossOrder> {
        (self.lost > 0).then(|| LossOrder {
            proven_after_loss: self.proven_after_loss,
            lost_after_proof: moments.lost_since_proof.load(Relaxed),
            after_proof_ms,
            lost: self.lost,
            begun: Some(BegunOrder {
                proven: self.proven,
                after_loss: self.proven_after_loss + self.lost_after_loss,
                before_lost: moments.first_lost.load(Relaxed),
                lost_behind: self.lost_behind,
            }),
        })
    }

    /// The ages, where the server has ended any in the hold or the last proof. A slot does not keep when it was connected.
    pub(crate) fn ages(&self) -> Option<LossAges> {
        let at = self.at.spread()?;
        Some(LossAges { since_connect: None, since_last_byte: self.since_last_byte.spread(), at: Some(at) })
    }

    /// The most frequent words.
    pub(crate) fn words(&self) -> Vec<ServerWords> {
        let mut words = self.words.clone();
        words.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.text.cmp(&other.text)));
        words.truncate(TOLD);
        words
    }
}

/// What one worker notes as it goes.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    losses: Losses,
    /// The highest number that it has proven: it begins them in their order.
    last_proven: Option<u32>,
    /// Numbers of lost ones, of which some are behind that.
    behind: Vec<u32>,
    /// So many of them are kept before the others are dropped.
    room: usize,
}

impl Notes {
    /// Connection `number` has proven itself for the first time.
    pub(crate) fn proven(&mut self, moments: &Moments, number: u32) {
        self.last_proven = self.last_proven.max(Some(number));
        self.losses.proven += 1;
        self.losses.proven_after_loss += u64::from(moments.proven(number));
    }

    /// Connection `number` was lost in a ramp, when `next` was the first number that nobody had begun.
    pub(crate) fn lost_in_ramp(&mut self, moments: &Moments, number: u32, next: u64) {
        self.losses.lost += 1;
        self.losses.lost_after_loss += u64::from(moments.lost(number, next));
        if Some(number) <= self.last_proven {
            return;
        }
        if self.behind.len() >= self.room.max(MANY) {
            self.behind.retain(|number| Some(*number) > self.last_proven);
            self.room = 2 * self.behind.len();
        }
        self.behind.push(number);
    }

    /// The server has ended one that had been proven: so long after the last word of the swarm, where that is known, and so
    /// long after the first connect.
    pub(crate) fn ended(&mut self, age_ms: Option<u64>, at_ms: u64) {
        age_ms.into_iter().for_each(|age_ms| self.losses.since_last_byte.add(age_ms));
        self.losses.at.add(at_ms);
    }

    /// The server has said this before it ended a connection.
    pub(crate) fn heard(&mut self, text: String) {
        self.losses.add_words(text, 1);
    }

    /// All of it, which is forgotten here.
    pub(crate) fn take(&mut self) -> Losses {
        let last_proven = self.last_proven;
        let behind = std::mem::take(&mut self.behind).into_iter();
        let lost_behind = behind.filter(|number| Some(*number) > last_proven).count() as u64;
        Losses { lost_behind, ..std::mem::take(&mut self.losses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers that begin forty connections, half of them each and in turn; those whose number `succeeds` are proven,
    /// the others lost, in the order of `moments`.
    fn order_of(moments: impl IntoIterator<Item = u32>, begun: u64, succeeds: fn(u32) -> bool) -> LossOrder {
        let (shared, mut workers) = (Moments::default(), [Notes::default(), Notes::default()]);
        for number in moments {
            let worker = &mut workers[number as usize % 2];
            if succeeds(number) {
                worker.proven(&shared, number);
            } else {
                worker.lost_in_ramp(&shared, number, begun.max(1 + u64::from(number)));
            }
        }
        let mut all = Losses::default();
        workers.iter_mut().for_each(|worker| all.add(worker.take()));
        all.order(&shared, 0).expect("some were lost")
    }

    #[test]
    fn the_first_so_many_and_then_none_is_seen_as_such_in_whatever_order_word_of_them_comes() {
        for cap in [20, 30, 37] {
            let one_by_one = match cap {
                20 => order_of(0..40, 0, |number| number < 20),
                30 => order_of(0..40, 0, |number| number < 30),
                _ => order_of(0..40, 0, |number| number < 37),
            };
            let left = 40 - cap;
            let begun = one_by_one.begun.expect("the swarm knows it");
            assert_eq!((begun.proven, begun.after_loss, begun.before_lost), (cap, left - 1, cap));
            assert_eq!((one_by_one.lost, begun.lost_behind), (left, left));
            assert_eq!((one_by_one.proven_after_loss, one_by_one.lost_after_proof), (0, left));
            assert!(one_by_one.is_a_cap());
        }
        // All forty are under way, and the server turns the last away before it echoes to the first.
        let backwards = order_of((0..40).rev(), 40, |number| number < 30);
        let begun = backwards.begun.expect("the swarm knows it");
        assert_eq!((begun.lost_behind, begun.after_loss, backwards.lost_after_proof), (10, 0, 0));
        assert!(backwards.is_a_cap() && backwards.lost_in_a_row() == 10);
    }

    #[test]
    fn losses_among_successes_are_no_cap() {
        let spread = order_of(0..40, 0, |number| number % 3 != 0);
        assert!(spread.lost == 14 && spread.proven_after_loss > 20 && !spread.is_a_cap(), "{spread:?}");
        // All were under way when the first was lost, and it took long until that was known of the others.
        let late = (0..40).filter(|number| number % 3 != 0).chain((0..40).filter(|number| number % 3 == 0));
        let late = order_of(late, 40, |number| number % 3 != 0);
        let begun = late.begun.expect("the swarm knows it");
        assert_eq!((late.lost_after_proof, begun.lost_behind, begun.before_lost), (14, 1, 0));
        assert!(!late.is_a_cap());
    }

    #[test]
    fn of_very_many_losses_only_those_behind_the_last_proof_are_kept() {
        let (moments, mut notes) = (Moments::default(), Notes::default());
        for number in 0..100_000_u32 {
            if number % 100 == 0 {
                notes.proven(&moments, number);
            } else {
                notes.lost_in_ramp(&moments, number, u64::from(number) + 1);
            }
            assert!(notes.behind.len() <= MANY);
        }
        let losses = notes.take();
        assert_eq!((losses.lost, losses.lost_behind), (99_000, 99));
        assert_eq!(losses.proven_after_loss, 999, "all but the first");
    }

    #[test]
    fn the_three_most_frequent_words_are_told_and_ages_only_of_what_was_held() {
        let mut notes = Notes::default();
        for (text, count) in [("a", 1), ("b", 3), ("c", 2), ("d", 3)] {
            (0..count).for_each(|_| notes.heard(text.to_owned()));
        }
        let mut all = Losses::default();
        all.add_words("c".to_owned(), 4);
        all.add(notes.take());
        let told: Vec<(String, u64)> =
            all.words().into_iter().map(|words| (words.text, words.count)).collect();
        assert_eq!(told, [("c".to_owned(), 6), ("b".to_owned(), 3), ("d".to_owned(), 3)]);
        assert!(all.ages().is_none() && all.order(&Moments::default(), 0).is_none());
        notes.ended(Some(3_500), 4_000);
        notes.ended(None, 4_010);
        all.add(notes.take());
        let ages = all.ages().expect("two were ended");
        assert_eq!(ages.since_last_byte.map(|spread| (spread.count, spread.p50_ms)), Some((1, 3_500)));
        assert_eq!(ages.at.map(|at| at.count), Some(2));
    }
}
