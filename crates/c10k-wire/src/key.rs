//! The name of a connection in the table of its worker, at both ends.

/// Names one connection, also after its slot has been given to another: the slot and its generation. As a token it comes
/// back with each event of the connection (`epoll_data` of epoll_ctl(2)), so that a late one reaches nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// The connection of that generation in that slot.
    #[must_use]
    pub fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Its place in the table.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// What tells it from the earlier and later owners of its slot.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// As the token of its events: the slot in the lower half, the generation in the upper.
    #[must_use]
    pub fn token(self) -> u64 {
        u64::from(self.slot) | u64::from(self.generation) << 32
    }

    /// The key in an event's token.
    #[must_use]
    pub fn from_token(token: u64) -> Self {
        Self { slot: token as u32, generation: (token >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_slot_and_its_generation() {
        for (slot, generation) in [(0, 0), (u32::MAX, 0), (0, u32::MAX), (7, 9)] {
            let key = Key::from_token(Key::new(slot, generation).token());
            assert_eq!((key.slot(), key.generation()), (slot, generation));
        }
    }
}
