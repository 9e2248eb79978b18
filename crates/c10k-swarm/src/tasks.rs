//! What the workers of a swarm do: a set of tasks, of which several may be carried out at the same time.

use std::ops::BitOr;

use c10k_record::PhaseName;

/// One thing that workers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Task {
    /// Connections are begun, up to their first proof.
    Connect,
    /// Connections of which nothing is awaited are pinged.
    Ping,
    /// Every connection proves itself once more.
    Prove,
    /// What has not proven itself is lost, as [`crate::shared::Shared::cut_as`] says.
    Cut,
    /// All are closed, in good order.
    Close,
    /// All are closed by RST and unheard, since the run is stopped.
    Abort,
    /// Nothing is done any more.
    End,
    /// Connections do what the workload says.
    Work,
    /// Each proves itself once in an interval.
    Beat,
}

impl Task {
    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Ping,
        Self::Prove,
        Self::Cut,
        Self::Close,
        Self::Abort,
        Self::End,
        Self::Work,
        Self::Beat,
    ];
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// The phase of a run in which this is all that is done.
    pub(crate) fn phase(self) -> PhaseName {
        match self {
            Self::Connect => PhaseName::Ramp,
            Self::Ping | Self::Work | Self::Beat => PhaseName::Hold,
            Self::Prove | Self::Cut => PhaseName::Verify,
            Self::Close | Self::Abort | Self::End => PhaseName::Close,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Tasks that are carried out at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tasks(u16);

/// Those that walk over all connections that are there.
const WALKS: Tasks = Tasks(Task::Prove.bit() | Task::Cut.bit() | Task::Close.bit() | Task::Abort.bit());

impl Tasks {
    pub(crate) fn has(self, task: Task) -> bool {
        self.0 & task.bit() != 0
    }
}

impl BitOr<Task> for Tasks {
    type Output = Self;

    fn bitor(self, task: Task) -> Self {
        Self(self.0 | task.bit())
    }
}

/// What a worker may have its turn for: so many have one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To begin connections.
    Connect,
    /// To go over those that it has.
    Walk,
}

/// What the conductor wants done, as every worker reads it: at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    tasks: Tasks,
    /// The phase under which a loss is counted.
    pub(crate) phase: PhaseName,
    /// Which walk over all connections this is: a proof, or a close. It begins with a new number.
    pub(crate) walk: u32,
    /// Which orders these are; it wraps at twelve bits, and only tells them from those before.
    number: u16,
}

impl Orders {
    /// Those with which a run begins.
    pub(crate) const FIRST: Self =
        Self { tasks: Tasks(Task::Connect.bit()), phase: PhaseName::Ramp, walk: 0, number: 0 };

    /// This task alone from now on, begun anew.
    pub(crate) fn only(self, task: Task) -> Self {
        Self { tasks: Tasks::default(), phase: task.phase(), ..self }.with(task)
    }

    /// This task beside those that are carried out. A walk that goes on stays the same one.
    pub(crate) fn with(self, task: Task) -> Self {
        let begins = WALKS.has(task) && !self.has(task);
        let walk = self.walk.wrapping_add(u32::from(begins));
        Self { tasks: self.tasks | task, walk, number: self.next_number(), ..self }
    }

    /// The same without this task.
    pub(crate) fn without(self, task: Task) -> Self {
        Self { tasks: Tasks(self.tasks.0 & !task.bit()), number: self.next_number(), ..self }
    }

    fn next_number(self) -> u16 {
        (self.number + 1) & NUMBERS
    }

    /// Whether this is to be done.
    pub(crate) fn has(self, task: Task) -> bool {
        self.tasks.has(task)
    }

    /// Whether somebody has to go over all connections, and needs a turn for that.
    pub(crate) fn need_a_walk(self) -> bool {
        [Task::Prove, Task::Close, Task::Abort].into_iter().any(|task| self.has(task))
    }

    /// Whether what proves itself now is held.
    pub(crate) fn prove(self) -> bool {
        self.has(Task::Prove) || self.has(Task::Cut)
    }

    /// Whether nothing that a server says counts any more.
    pub(crate) fn hear_nothing(self) -> bool {
        self.has(Task::Abort) || self.has(Task::End)
    }

    /// In one word, which is written and read at once.
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.walk)
            | u64::from(self.tasks.0) << 32
            | (self.phase as u64 & 0xf) << 48
            | u64::from(self.number) << 52
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let phase = (word >> 48) as u8 & 0xf;
        Self {
            tasks: Tasks((word >> 32) as u16),
            phase: PHASES.into_iter().find(|known| *known as u8 == phase).unwrap_or(PhaseName::Close),
            walk: word as u32,
            number: (word >> 52) as u16,
        }
    }
}

/// Numbers of orders.
const NUMBERS: u16 = 0xfff;
const PHASES: [PhaseName; 4] = [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_out_of_their_word_as_they_went_in() {
        let mut orders = Orders::FIRST;
        for task in Task::ALL {
            orders = orders.only(task).with(Task::Connect);
            assert_eq!(Orders::from_word(orders.to_word()), orders);
            assert!(orders.has(task) && orders.has(Task::Connect) && orders.phase == task.phase());
        }
        let last = Orders { walk: u32::MAX, number: NUMBERS, ..orders };
        assert_eq!(Orders::from_word(last.to_word()), last);
        assert_eq!(last.with(Task::Work).number, 0);
    }

    #[test]
    fn a_walk_has_a_new_number_when_it_begins_and_keeps_it_while_other_tasks_come_and_go() {
        let ramp = Orders::FIRST;
        assert!(!ramp.need_a_walk());
        let proof = ramp.only(Task::Prove);
        assert!(proof.need_a_walk() && proof.walk == ramp.walk + 1 && !proof.has(Task::Connect));
        let both = proof.with(Task::Connect);
        assert!(both.has(Task::Connect) && both.has(Task::Prove));
        assert_eq!((both.walk, both.with(Task::Prove).walk), (proof.walk, proof.walk));
        assert_ne!(both, Orders { number: proof.number, ..both });
        let proof_alone = both.without(Task::Connect);
        assert!(!proof_alone.has(Task::Connect) && proof_alone.has(Task::Prove) && proof_alone != both);
        assert_eq!(proof_alone.walk, both.walk);
        let hold = both.only(Task::Ping);
        assert!(!hold.need_a_walk() && hold.walk == proof.walk);
        assert_eq!(proof.only(Task::Prove).walk, proof.walk + 1, "once more from the beginning");
        assert_eq!(proof.only(Task::Close).walk, proof.walk + 1);
    }
}
