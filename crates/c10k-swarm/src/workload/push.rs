//! Streams and fan-out: each connection asks once, and the server speaks.

use super::{Connections, Due, Stands};

/// Who has not asked yet.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// Slots below this one have been looked at.
    next: u32,
    /// Nobody asks any more: the server does not know what is asked for.
    is_refused: bool,
}

impl Push {
    /// Who asks next: each connection once, and those of slots that come to be in use later too.
    pub(super) fn next(&mut self, connections: &impl Connections) -> Due {
        while self.next < connections.slots() && !self.is_refused {
            let slot = self.next;
            self.next += 1;
            if connections.stands(slot) == Stands::Quiet {
                return Due::Say { slot, intended_us: None };
            }
        }
        Due::Nobody
    }

    pub(crate) fn is_refused(&mut self) {
        self.is_refused = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some(Vec<Stands>);

    impl Connections for Some {
        fn slots(&self) -> u32 {
            self.0.len() as u32
        }

        fn stands(&self, slot: u32) -> Stands {
            self.0[slot as usize]
        }
    }

    #[test]
    fn each_that_is_there_asks_once_and_nobody_when_the_server_does_not_push() {
        let mut some = Some(vec![Stands::Quiet, Stands::Absent, Stands::Busy, Stands::Quiet]);
        let mut push = Push::default();
        let say = |slot| Due::Say { slot, intended_us: None };
        assert_eq!([0; 3].map(|_| push.next(&some)), [say(0), say(3), Due::Nobody]);
        some.0.extend([Stands::Quiet; 2]);
        assert_eq!(push.next(&some), say(4));
        push.is_refused();
        assert_eq!(push.next(&some), Due::Nobody);
    }
}
