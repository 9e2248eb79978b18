//! A worker's part of a fan-out: which message it is carrying to whom, and who is behind.
//!
//! A follower has no entry here while it takes each message as it comes: a flag in the table says that it follows. The
//! worker walks over its table once for each message. Who has no room then is behind: when it has room again it gets what
//! it missed, as far as that is still kept, and of what is not kept it misses the numbers.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::fanout::{Fanout, Message, bound};
use super::{Frame, shrink};

/// The messages of one worker.
#[derive(Debug)]
pub(crate) struct Follows {
    fanout: Arc<Fanout>,
    messages: VecDeque<Message>,
    /// The newest that this worker has heard of.
    heard: u64,
    /// The message that is carried, and the slot where the walk goes on; without one all that were heard are carried.
    walk: Option<(u64, u32)>,
    /// By slot: the number of the first message that a follower had no room for.
    behind: HashMap<u32, u64>,
}

impl Follows {
    pub(crate) fn new(fanout: Arc<Fanout>) -> Self {
        let heard = fanout.newest();
        Self { fanout, messages: VecDeque::new(), heard, walk: None, behind: HashMap::new() }
    }

    /// A connection follows from now on.
    pub(crate) fn begin(&self) {
        self.fanout.count(true);
    }

    pub(crate) fn leave(&mut self, slot: u32) {
        self.fanout.count(false);
        self.behind.remove(&slot);
        shrink(&mut self.behind);
    }

    /// The newest message that has had its turn at a slot.
    pub(crate) fn newest_at(&self, slot: u32) -> u64 {
        match self.walk {
            Some((sequence, at)) if slot >= at => sequence - 1,
            Some((sequence, _)) => sequence,
            None => self.heard,
        }
    }

    /// The bell has rung: takes over what is new.
    pub(crate) fn catch_up(&mut self) {
        if self.fanout.newest() == self.heard {
            return;
        }
        let new = self.fanout.newer_than(self.heard);
        let Some(first) = new.first().map(|message| message.sequence) else { return };
        self.heard = new.last().map_or(self.heard, |message| message.sequence);
        self.messages.extend(new);
        bound(&mut self.messages);
        self.walk = self.walk.or(Some((first, 0)));
    }

    /// Whether a message is being carried.
    pub(crate) fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// The next slots of the walk, and the message for them. Of messages that came faster than they could be carried the
    /// oldest are left out.
    pub(crate) fn next(&mut self, batch: u32, slots: u32) -> Option<(Message, Range<u32>)> {
        loop {
            let (sequence, at) = self.walk?;
            let message = self.messages.iter().find(|message| message.sequence >= sequence)?.clone();
            let from = if message.sequence == sequence { at } else { 0 };
            if from >= slots {
                let next = message.sequence + 1;
                self.walk = (next <= self.heard).then_some((next, 0));
                continue;
            }
            let to = from.saturating_add(batch).min(slots);
            self.walk = Some((message.sequence, to));
            return Some((message, from..to));
        }
    }

    /// A follower whose turn it is has no room for a message.
    pub(crate) fn is_late_for(&mut self, slot: u32, sequence: u64) {
        self.behind.entry(slot).or_insert(sequence);
    }

    /// The next message that a follower missed, now that it has room.
    pub(crate) fn missed(&mut self, slot: u32) -> Option<Frame> {
        let first = *self.behind.get(&slot)?;
        let walk = self.walk;
        // Where the walk has not come yet it will.
        let was_passed = |message: &&Message| match walk {
            Some((sequence, at)) => message.sequence < sequence || message.sequence == sequence && slot < at,
            None => true,
        };
        let next = self.messages.iter().find(|message| message.sequence >= first).filter(was_passed);
        match next {
            Some(message) => {
                self.behind.insert(slot, message.sequence + 1);
                Some(message.frame.clone())
            }
            None => {
                self.behind.remove(&slot);
                shrink(&mut self.behind);
                None
            }
        }
    }

    /// Nothing more is carried to anybody.
    pub(crate) fn end(&mut self) {
        self.messages.clear();
        self.walk = None;
        self.behind = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::Payload;
    use c10k_wire::push::Content;

    use super::*;

    fn fanout() -> (Arc<Fanout>, Follows) {
        let fanout = Arc::new(Fanout::default());
        let follows = Follows::new(Arc::clone(&fanout));
        follows.begin();
        (fanout, follows)
    }

    fn make(fanout: &Fanout, count: usize) {
        let payload = Payload { min_bytes: 8, max_bytes: 8 };
        (0..count).for_each(|_| assert!(fanout.make(payload, &Content::default(), |_, _| {})));
    }

    /// The walks to their end: numbers and slots.
    fn walked(follows: &mut Follows, slots: u32) -> Vec<(u64, Range<u32>)> {
        std::iter::from_fn(|| follows.next(4, slots).map(|(message, range)| (message.sequence, range)))
            .collect()
    }

    #[test]
    fn each_message_is_carried_to_each_slot_once() {
        let (fanout, mut follows) = fanout();
        make(&fanout, 2);
        follows.catch_up();
        assert_eq!(walked(&mut follows, 6), [(1, 0..4), (1, 4..6), (2, 0..4), (2, 4..6)]);
        assert!(!follows.is_walking());
        follows.catch_up();
        assert!(!follows.is_walking(), "nothing is new");
    }

    #[test]
    fn of_messages_that_come_faster_than_they_are_carried_the_oldest_are_left_out() {
        let (fanout, mut follows) = fanout();
        make(&fanout, 1);
        follows.catch_up();
        assert!(follows.next(4, 8).is_some());
        make(&fanout, 20);
        follows.catch_up();
        let carried: Vec<u64> =
            walked(&mut follows, 8).iter().step_by(2).map(|(sequence, _)| *sequence).collect();
        assert_eq!(carried, (14..=21).collect::<Vec<u64>>());
    }

    #[test]
    fn who_had_no_room_gets_what_it_missed_and_nothing_twice() {
        let (fanout, mut follows) = fanout();
        make(&fanout, 3);
        follows.catch_up();
        // The first message passes slot 2, which has no room.
        assert!(follows.next(4, 8).is_some_and(|(message, _)| message.sequence == 1));
        follows.is_late_for(2, 1);
        assert_eq!((follows.newest_at(2), follows.newest_at(4)), (1, 0));
        assert!(follows.missed(2).is_some());
        assert!(follows.missed(2).is_none(), "the walk with the second one is yet to come");
        walked(&mut follows, 8);
        follows.is_late_for(2, 2);
        follows.is_late_for(2, 3);
        assert!(follows.missed(2).is_some() && follows.missed(2).is_some() && follows.missed(2).is_none());
        assert!(follows.behind.is_empty());
    }

    #[test]
    fn what_is_not_kept_any_more_is_missed_for_good() {
        let (fanout, mut follows) = fanout();
        for _ in 0..30 {
            make(&fanout, 1);
            follows.catch_up();
            walked(&mut follows, 8);
            follows.is_late_for(5, follows.newest_at(5));
        }
        let missed = std::iter::from_fn(|| follows.missed(5)).count();
        assert_eq!(missed, 8);
        follows.leave(5);
        assert!(!fanout.make(Payload { min_bytes: 8, max_bytes: 8 }, &Content::default(), |_, _| {}));
    }
}
