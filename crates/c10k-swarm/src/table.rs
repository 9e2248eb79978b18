//! The dense table of one worker's connections.

use c10k_wire::Key;

use crate::tasks::Task;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// The slot is free.
    Free,
    /// connect() has not completed.
    Connecting,
    /// The handshake of the protocol is under way.
    Opening,
    /// A probe is out, in part or whole, and its echo is not yet whole.
    Probing,
    /// Nothing is under way.
    Idle,
    /// Proven in the present round of verification.
    Proven,
    /// A message is out, in part or whole, and its answer is not yet whole.
    Talking,
    /// The server pushes to it, or was asked to.
    Receiving,
    /// It has asked the server to push no more, and the last frame is awaited.
    Leaving,
    /// The goodbye of the protocol is out, and the server's is awaited.
    Closing,
    /// Both have said goodbye, and the server is to end TCP.
    Parted,
}

impl State {
    /// Whether it has been counted, and all that is left to it is to end in good order.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::Closing | Self::Parted)
    }

    /// Whether the workload has something under way on it.
    pub(crate) fn is_of_work(self) -> bool {
        matches!(self, Self::Talking | Self::Receiving | Self::Leaving)
    }

    /// Whether it is counted as open.
    pub(crate) fn is_open(self) -> bool {
        self.is_of_work() || matches!(self, Self::Opening | Self::Probing | Self::Idle | Self::Proven)
    }
}

/// Where a connection stands, and whose answer it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) task: Option<Task>,
    /// Its number in the run.
    pub(crate) number: u32,
    /// When the last step began, as in [`Slot`].
    pub(crate) since_us: u32,
}

impl Standing {
    /// Whether it had proven itself and was lost before it did so again, or all was said.
    pub(crate) fn was_proven(&self) -> bool {
        matches!(self.state, State::Idle | State::Proven)
            || self.state == State::Probing && self.task == Some(Task::Prove)
    }
}

/// One connection at the client: small, since there are a million.
pub(crate) struct Slot<C> {
    pub(crate) connection: Option<C>,
    /// The connection's number in the run, which also tells a stale event from a fresh one. It wraps after four
    /// billion connections: no event is as old as that, and a probe carries the tuple beside it.
    pub(crate) number: u32,
    /// The number of its tuple in the plan.
    pub(crate) tuple: u32,
    /// µs since the run's epoch, wrapping after 71 minutes: when the step under way began, or where none is, the last one
    /// or the last ping.
    pub(crate) since_us: u32,
    /// Bytes of the echo received. While the workload has something under way this and the round are its number.
    pub(crate) got: u16,
    /// Round of the probe under way.
    pub(crate) round: u16,
    pub(crate) state: State,
    /// Its input was not read to the end and waits for its next turn.
    pub(crate) has_unread: bool,
    /// It was pinged and nothing has come from it since.
    pub(crate) is_pinged: bool,
}

impl<C> Slot<C> {
    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        let task = match self.state {
            State::Connecting | State::Opening => Some(Task::Connect),
            State::Probing if self.round == 0 => Some(Task::Connect),
            State::Probing => Some(Task::Prove),
            State::Talking | State::Receiving | State::Leaving => Some(Task::Work),
            State::Closing => Some(Task::Close),
            State::Free | State::Idle | State::Proven | State::Parted => None,
        };
        Standing { state: self.state, task, number: self.number, since_us: self.since_us }
    }

    /// The number of the talk, or of the reception, that is under way: see [`State::is_of_work`].
    pub(crate) fn talk(&self) -> u32 {
        u32::from(self.round) << 16 | u32::from(self.got)
    }

    pub(crate) fn set_talk(&mut self, number: u32) {
        (self.round, self.got) = ((number >> 16) as u16, number as u16);
    }

    /// What tells it from every other connection that is open, by its tuple, and from every earlier one of that tuple.
    pub(crate) fn identity(&self) -> u64 {
        u64::from(self.tuple) << 32 | u64::from(self.number)
    }
}

const _: () =
    assert!(size_of::<Slot<std::os::fd::OwnedFd>>() <= 24, "a connection at the client is 24 bytes");

/// The slots of one worker.
pub(crate) struct Table<C> {
    slots: Vec<Slot<C>>,
    free: Vec<u32>,
}

impl<C> Table<C> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Puts a connection into a free slot and gives its token.
    pub(crate) fn insert(&mut self, connection: C, number: u32, tuple: u32, since_us: u32) -> (u32, u64) {
        let slot = Slot {
            connection: Some(connection),
            number,
            tuple,
            since_us,
            got: 0,
            round: 0,
            state: State::Connecting,
            has_unread: false,
            is_pinged: false,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.grow();
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        (index, token(index, number))
    }

    /// Grows by a quarter and not by doubling: what a doubled table would leave unused is paid for by every
    /// connection.
    fn grow(&mut self) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact((self.slots.len() / 4).max(1024));
        }
    }

    /// The slot of a token, unless it has been freed or given to another connection since.
    pub(crate) fn find(&self, token: u64) -> Option<u32> {
        let key = Key::from_token(token);
        let slot = self.slots.get(key.slot() as usize)?;
        (slot.state != State::Free && slot.number == key.generation()).then_some(key.slot())
    }

    pub(crate) fn peek(&self, index: u32) -> &Slot<C> {
        &self.slots[index as usize]
    }

    pub(crate) fn get(&mut self, index: u32) -> &mut Slot<C> {
        &mut self.slots[index as usize]
    }

    /// Frees a slot and gives back what it held.
    pub(crate) fn remove(&mut self, index: u32) -> Option<C> {
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Free {
            return None;
        }
        slot.state = State::Free;
        self.free.push(index);
        slot.connection.take()
    }

    /// Connections held now.
    pub(crate) fn used(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// Slots ever used, free ones included.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }
}

/// The token of a slot: its index, and the connection's number as its generation.
pub(crate) fn token(index: u32, number: u32) -> u64 {
    Key::new(index, number).token()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_an_earlier_owner_of_a_slot_finds_nothing() {
        let mut table = Table::new();
        let (index, old) = table.insert('a', 1, 0, 0);
        assert_eq!(table.find(old), Some(index));
        assert_eq!(table.remove(index), Some('a'));
        assert_eq!(table.find(old), None);
        let (again, fresh) = table.insert('b', 2, 0, 0);
        assert_eq!(again, index);
        assert_eq!((table.find(old), table.find(fresh)), (None, Some(index)));
    }

    #[test]
    fn a_slot_is_freed_once() {
        let mut table = Table::new();
        let (index, _) = table.insert('a', 1, 0, 0);
        assert_eq!(table.remove(index), Some('a'));
        assert_eq!(table.remove(index), None);
        table.insert('b', 2, 0, 0);
        let (other, _) = table.insert('c', 3, 0, 0);
        assert_ne!(other, index);
    }
}
