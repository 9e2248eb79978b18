//! What to do about settings that cannot be set or that somebody else changed, and the steps that tests are told.

/// What to do about settings that cannot be set, or that somebody else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do when this user or this place cannot set everything.
    pub unsettable: Unsettable,
    /// Whether host-wide settings may be raised, where that is possible at all.
    pub host_wide: bool,
    /// What to do at the end about settings that somebody else changed meanwhile.
    pub drift: Drift,
}

/// What to do about settings that cannot be set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettable {
    /// Set the others and list these.
    List,
    /// Set nothing.
    Refuse,
}

/// What to do about settings that somebody else changed while they were ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Leave them alone and report them.
    Report,
    /// Put back what stood before us all the same, and report that.
    Restore,
}

/// A step on the way, told when it has been done: for tests that end the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The journal is on disk with all old values, and nothing is written yet.
    JournalStored,
    /// The journal says that the write with this index is about to be made.
    Marked(usize),
    /// That write has been made and read back.
    Wrote(usize),
    /// The journal says that all writes have been made.
    AllWritten,
    /// The value with this index has been put back.
    Restored(usize),
    /// Everything has been put back and the journal is gone.
    JournalRemoved,
}

impl Default for Policy {
    /// Set what can be set, host-wide settings included, and report drift.
    fn default() -> Self {
        Self { unsettable: Unsettable::List, host_wide: true, drift: Drift::Report }
    }
}
