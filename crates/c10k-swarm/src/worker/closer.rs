//! Which connections are closed next: all of them in order, or those that a command releases.

use crate::walk::Walk;

/// The walk of a close, and where idle connections are to be found.
#[derive(Debug, Default)]
pub(super) struct Closer {
    walk: Walk,
    /// No connection from this slot on is idle or proven.
    idle_below: u32,
}

impl Closer {
    /// A walk over a table of so many slots begins.
    pub(super) fn begin(&mut self, slots: u32) {
        self.walk = Walk::in_order(slots);
    }

    /// The next slot of the walk.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.walk.next()
    }

    /// Whether the walk has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.walk.is_over()
    }

    /// The connection in `slot` is idle or proven from now on.
    pub(super) fn is_idle(&mut self, slot: u32) {
        self.idle_below = self.idle_below.max(slot + 1);
    }

    /// The next slot that may be released, from the end of the table, or from where the last time has ended: no slot is
    /// looked at again before a connection in it, or behind it, has become idle since.
    pub(super) fn next_to_release(&mut self) -> Option<u32> {
        self.idle_below = self.idle_below.checked_sub(1)?;
        Some(self.idle_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_released_is_looked_for_where_something_is_idle() {
        let mut closer = Closer::default();
        assert_eq!(closer.next_to_release(), None);
        (0..5).for_each(|slot| closer.is_idle(slot));
        assert_eq!((closer.next_to_release(), closer.next_to_release()), (Some(4), Some(3)));
        closer.is_idle(1);
        assert_eq!(closer.next_to_release(), Some(2), "one that was behind it already changes nothing");
        closer.is_idle(7);
        assert_eq!(closer.next_to_release(), Some(7));
    }

    #[test]
    fn a_close_walks_over_every_slot() {
        let mut closer = Closer::default();
        assert!(closer.is_over());
        closer.begin(2);
        assert_eq!([closer.next(), closer.next(), closer.next()], [Some(0), Some(1), None]);
        assert!(closer.is_over());
    }
}
