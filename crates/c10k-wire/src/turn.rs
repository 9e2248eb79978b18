//! One connection's turn to be read, at both ends: how much of it is read before the others have theirs.

/// What one connection may bring at a time before the others have their turn, bytes.
pub const TURN_BYTES: usize = 256 << 10;

/// The rest of a connection's turn.
#[derive(Clone, Copy, Debug)]
pub struct ReadTurn {
    left: usize,
    until_empty: bool,
}

/// What follows a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRead {
    /// Another read.
    Read,
    /// Nothing: the socket is empty, and what comes later brings an edge of its own.
    Wait,
    /// The turns of others. What may still be there brings no edge: the connection is to be read again by a list.
    Yield,
}

impl ReadTurn {
    /// A turn of so many bytes. A short read ends it unless `until_empty`, which is for where something may stand behind
    /// one without an edge to come: the end of the stream, or what was sent after urgent data.
    #[must_use]
    pub fn new(bytes: usize, until_empty: bool) -> Self {
        Self { left: bytes, until_empty }
    }

    /// `length` bytes came into a buffer of `room`.
    pub fn after(&mut self, length: usize, room: usize) -> AfterRead {
        if length < room && !self.until_empty {
            return AfterRead::Wait;
        }
        self.left = self.left.saturating_sub(length);
        if self.left == 0 { AfterRead::Yield } else { AfterRead::Read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_ends_a_turn_and_a_full_one_does_not() {
        let mut turn = ReadTurn::new(100, false);
        assert_eq!([turn.after(10, 10), turn.after(9, 10)], [AfterRead::Read, AfterRead::Wait]);
    }

    #[test]
    fn who_may_have_more_behind_a_short_read_is_read_until_nothing_is_there() {
        let mut turn = ReadTurn::new(100, true);
        assert_eq!([turn.after(10, 10), turn.after(1, 10)], [AfterRead::Read; 2]);
    }

    #[test]
    fn who_has_brought_as_much_as_a_turn_allows_lets_others_have_theirs() {
        for until_empty in [false, true] {
            let mut turn = ReadTurn::new(25, until_empty);
            let after = [(); 3].map(|()| turn.after(10, 10));
            assert_eq!(after, [AfterRead::Read, AfterRead::Read, AfterRead::Yield]);
        }
    }
}
