//! What is under way on connections: a place for each while it is, and none for those that are silent.

use c10k_wire::{Contents, MessageId};

use super::backlog::{Backlog, KEPT_IN_ALL, Unsent};
use crate::speech::Piece;

/// Places that are kept when nothing is under way.
const SPARE: usize = 1024;

/// What a message is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The workload.
    Work,
    /// Its connection proves itself.
    Beat,
}

/// One message that was sent. Times are µs since the run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) kind: Kind,
    pub(crate) size: u32,
    /// When it should have been sent.
    pub(crate) intended_us: u64,
    pub(crate) sent_us: u64,
    /// By how much of that the swarm itself was late.
    pub(crate) late_us: u64,
    /// In which round its connection had been proven before, if in any.
    pub(crate) proven_in: Option<u16>,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not all of it is there.
    Partial,
    Whole,
    /// Other bytes than were sent, or more, or before all were sent.
    Wrong,
}

/// A message on its way, and those that are due behind it on the same connection.
#[derive(Clone, Debug)]
struct Talk {
    message: Message,
    /// Bytes of the answer that have come and were right.
    got: u32,
    answer: Answer,
    waiting: Backlog,
}

/// The talks of one worker, named by numbers that are used again.
#[derive(Debug, Default)]
pub(crate) struct Talks {
    talks: Vec<Talk>,
    free: Vec<u32>,
    /// How many of those under way are the workload's.
    of_work: u64,
    /// How many wait, with their times, on all connections.
    kept: usize,
    next_number: u32,
}

impl Talks {
    /// How many messages of the workload are in flight.
    pub(crate) fn of_work(&self) -> u64 {
        self.of_work
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.talks.len()
    }

    /// Which message the next one on this connection is.
    pub(crate) fn next_id(&mut self, connection: u64) -> MessageId {
        self.next_number = self.next_number.wrapping_add(1);
        MessageId { connection, number: self.next_number }
    }

    /// A message is on its way; `waiting` are due behind it.
    pub(crate) fn begin(&mut self, message: Message, waiting: Backlog) -> u32 {
        self.kept += waiting.kept();
        self.of_work += u64::from(message.kind == Kind::Work);
        let talk = Talk { message, got: 0, answer: Answer::Partial, waiting };
        match self.free.pop() {
            Some(number) => {
                self.talks[number as usize] = talk;
                number
            }
            None => {
                self.talks.push(talk);
                (self.talks.len() - 1) as u32
            }
        }
    }

    /// One more is due on a connection that still waits for its answer.
    pub(crate) fn wait(&mut self, number: u32, intended_us: u64) {
        let has_room = self.kept < KEPT_IN_ALL;
        self.kept += usize::from(self.talks[number as usize].waiting.add(intended_us, has_room));
    }

    /// Whether an answer has begun to come.
    pub(crate) fn is_within(&self, number: u32) -> bool {
        self.talks[number as usize].got > 0
    }

    /// A piece of an answer has come; `is_out` says whether all of the message has been sent.
    pub(crate) fn hear(&mut self, number: u32, piece: &Piece<'_>, contents: &Contents, is_out: bool) {
        let talk = &mut self.talks[number as usize];
        let (got, size) = (talk.got as usize, talk.message.size as usize);
        let bytes = piece.bytes;
        let fits = match piece.is_message {
            // One message is one answer.
            true => got == 0 && bytes.len() == size,
            false => got + bytes.len() <= size,
        };
        let is_whole = got + bytes.len() == size;
        let is_right = talk.answer == Answer::Partial
            && piece.is_binary
            && fits
            && (is_out || !is_whole)
            && contents.check(talk.message.id, got, bytes);
        talk.answer = match (is_right, is_whole) {
            (false, _) => Answer::Wrong,
            (true, false) => Answer::Partial,
            (true, true) => Answer::Whole,
        };
        if is_right {
            talk.got += bytes.len() as u32;
        }
    }

    /// How far the answer has come.
    pub(crate) fn answer(&self, number: u32) -> Answer {
        self.talks[number as usize].answer
    }

    /// It is over: what was sent, and what waits behind it.
    pub(crate) fn end(&mut self, number: u32) -> (Message, Backlog) {
        let talk = &mut self.talks[number as usize];
        let ended = (talk.message, std::mem::take(&mut talk.waiting));
        self.of_work -= u64::from(ended.0.kind == Kind::Work);
        self.kept -= ended.1.kept();
        self.free.push(number);
        if self.is_empty() && self.talks.capacity() > SPARE {
            *self = Self { next_number: self.next_number, ..Self::default() };
        }
        ended
    }

    /// Nobody sends what is still due behind what is under way.
    pub(crate) fn forget_waiting(&mut self, mut each: impl FnMut(Unsent)) {
        self.talks.iter_mut().for_each(|talk| talk.waiting.take(&mut each));
        self.kept = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(talks: &mut Talks, size: u32) -> Message {
        let id = talks.next_id(7);
        Message { id, kind: Kind::Work, size, intended_us: 1, sent_us: 2, late_us: 0, proven_in: None }
    }

    /// What comes of these pieces, each as bytes of a stream or as a message.
    fn heard(pieces: &[&[u8]], is_message: bool, is_out: bool, contents: &Contents) -> Answer {
        let mut talks = Talks::default();
        let message = message(&mut talks, 20);
        let number = talks.begin(message, Backlog::default());
        for bytes in pieces {
            talks.hear(number, &Piece { bytes, is_message, is_binary: true }, contents, is_out);
        }
        talks.answer(number)
    }

    #[test]
    fn an_answer_is_right_where_it_is_the_same_bytes_once() {
        let contents = Contents::new(1);
        let mut right = [0; 20];
        contents.fill(MessageId { connection: 7, number: 1 }, &mut right);
        let twice = [right, right].concat();
        let mut wrong = right;
        wrong[19] ^= 1;
        assert_eq!(heard(&[&right], false, true, &contents), Answer::Whole);
        assert_eq!(heard(&[&right[..7], &right[7..]], false, true, &contents), Answer::Whole);
        assert_eq!(heard(&[&right[..7]], false, false, &contents), Answer::Partial);
        assert_eq!(heard(&[&right], true, true, &contents), Answer::Whole);
        for (pieces, is_message, is_out) in [
            (vec![&twice[..]], false, true),
            (vec![&right[..], &right[..]], false, true),
            (vec![&wrong[..]], false, true),
            (vec![&right[10..], &right[..10]], false, true),
            (vec![&right[..]], false, false),
            (vec![&right[..7], &right[7..]], true, true),
            (vec![&right[..], &right[..]], true, true),
            (vec![&right[..19]], true, true),
        ] {
            assert_eq!(heard(&pieces, is_message, is_out, &contents), Answer::Wrong, "{pieces:?}");
        }
    }

    #[test]
    fn a_crowd_that_is_gone_leaves_no_memory() {
        let mut talks = Talks::default();
        let numbers: Vec<u32> = (0..10_000)
            .map(|_| {
                let message = message(&mut talks, 8);
                talks.begin(message, Backlog::default())
            })
            .collect();
        assert_eq!(talks.of_work(), 10_000);
        talks.wait(numbers[0], 9);
        let mut forgotten = Vec::new();
        talks.forget_waiting(|unsent| forgotten.push(unsent));
        talks.forget_waiting(|unsent| forgotten.push(unsent));
        assert_eq!(forgotten, [Unsent::one(9)]);
        numbers.into_iter().for_each(|number| drop(talks.end(number)));
        assert!(talks.is_empty() && talks.talks.capacity() == 0 && talks.of_work() == 0);
        assert_eq!(talks.next_id(1).number, 10_001, "no number comes twice");
    }

    #[test]
    fn on_all_connections_no_more_wait_than_there_is_room_for() {
        let mut talks = Talks::default();
        let numbers: Vec<u32> = (0..2000)
            .map(|_| {
                let message = message(&mut talks, 8);
                talks.begin(message, Backlog::default())
            })
            .collect();
        for at_us in 0..1000 {
            numbers.iter().for_each(|number| talks.wait(*number, at_us));
        }
        assert_eq!(talks.kept, KEPT_IN_ALL);
        let (_, mut waiting) = talks.end(numbers[0]);
        assert!(talks.kept < KEPT_IN_ALL && waiting.next() == Some(0));
        let (mut told, mut own) = (0, 0);
        waiting.take(|unsent| own += unsent.count);
        talks.forget_waiting(|unsent| told += unsent.count);
        assert_eq!((own, told, talks.kept), (999, 1999 * 1000, 0), "each is told of");
    }
}
