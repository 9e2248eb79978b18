//! What is to be sent: what the kernel has no room for is kept until it has, within bounds.

use std::io;

use c10k_wire::{Left, PendingOutputs};

use super::would_block;

/// Between two looks for what does not move, µs.
pub(super) const STALL_CHECK_US: u64 = 100_000;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// What the connection says of its own accord, such as its probe.
    Own,
    /// What the server's words have brought about, such as Pongs.
    Answer,
}

/// The output of all connections of a worker, which are named by their slots. Times are µs since the run's epoch.
#[derive(Debug, Default)]
pub(super) struct Output {
    next: Vec<u8>,
    unsent: PendingOutputs<u64, Own>,
    /// When it was last looked at for what does not move, µs.
    checked_us: u64,
}

/// How many bytes there are up to the end of what the connection says of its own accord; what stands behind those are answers.
#[derive(Debug, Default)]
struct Own(usize);

impl Output {
    /// A blank sheet for what is to be said next.
    pub(super) fn blank(&mut self) -> &mut Vec<u8> {
        self.next.clear();
        &mut self.next
    }

    /// What is to be said next.
    pub(super) fn next(&self) -> &[u8] {
        &self.next
    }

    /// Sends by `send` what is to be said next, behind what of `slot` waits; what finds no room is kept.
    ///
    /// # Errors
    /// As `send`, but for what only means that there is no room.
    pub(super) fn say(
        &mut self,
        slot: u32,
        words: Words,
        now_us: impl FnOnce() -> u64,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if self.waits(slot) {
            self.keep(slot, 0, words, now_us);
            return Ok(());
        }
        match send(&self.next) {
            Ok(sent) => self.said(slot, sent, words, now_us),
            Err(error) if would_block(&error) => self.said(slot, 0, words, now_us),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// So many bytes of what was to be said next have gone out; the others are kept.
    pub(super) fn said(&mut self, slot: u32, sent: usize, words: Words, now_us: impl FnOnce() -> u64) {
        if sent < self.next.len() {
            self.keep(slot, sent, words, now_us);
        }
        self.next.clear();
    }

    /// What is to be said next waits, from that byte on.
    fn keep(&mut self, slot: u32, from: usize, words: Words, now_us: impl FnOnce() -> u64) {
        let unsent = self.unsent.keep(slot, self.next[from..].into(), now_us());
        if words == Words::Own {
            unsent.mark = Own(unsent.left());
        }
        self.next.clear();
    }

    /// Sends more of what waits by `send`; true when reading waited for that and may go on.
    ///
    /// # Errors
    /// As [`Output::say`].
    pub(super) fn flush(
        &mut self,
        slot: u32,
        now_us: impl Fn() -> u64,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let could_read = self.may_read(slot);
        while let Some(unsent) = self.unsent.of_mut(slot) {
            let sent = match send(unsent.next()) {
                Ok(sent) => sent,
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            };
            unsent.mark.0 = unsent.mark.0.saturating_sub(sent);
            match unsent.advance(sent, now_us()) {
                Left::Part => break,
                Left::More => {}
                Left::Nothing => self.forget(slot),
            }
        }
        Ok(!could_read && self.may_read(slot))
    }

    /// Whether nothing waits on any connection.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Whether something waits on this connection.
    pub(super) fn waits(&self, slot: u32) -> bool {
        self.unsent.of(slot).is_some()
    }

    /// Whether all that the connection has to say of its own accord has gone out.
    pub(super) fn has_said_its_own(&self, slot: u32) -> bool {
        self.unsent.of(slot).is_none_or(|unsent| unsent.mark.0 == 0)
    }

    /// Whether more may be read: not while answers wait, since more input would bring about more of them. A server may
    /// send an echo back before it has all of the probe, though, and wait with the rest until that is read.
    pub(super) fn may_read(&self, slot: u32) -> bool {
        self.unsent.of(slot).is_none_or(|unsent| unsent.left() == unsent.mark.0)
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        self.unsent.forget(slot);
    }

    /// The server is offered from now on what it was not offered for a while.
    pub(super) fn begin_to_count(&mut self, slot: u32, now_us: u64) {
        if let Some(unsent) = self.unsent.of_mut(slot) {
            unsent.moves_from(now_us);
        }
    }

    /// Those of whose words the server has taken nothing for `limit_us`; looked up now and then.
    pub(super) fn stalled(&mut self, limit_us: u64, now_us: u64) -> Vec<u32> {
        if self.unsent.is_empty() || now_us < self.checked_us + STALL_CHECK_US {
            return Vec::new();
        }
        self.checked_us = now_us;
        self.unsent.stalled(|moved_us| now_us.saturating_sub(moved_us) >= limit_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn say(output: &mut Output, words: Words, bytes: &[u8], room: usize) {
        output.blank().extend_from_slice(bytes);
        let send = |bytes: &[u8]| match bytes.len().min(room) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        };
        output.say(7, words, || 0, send).expect("no error");
    }

    /// What is sent where there is room for so much, and whether reading goes on.
    fn flush(output: &mut Output, room: usize) -> (Vec<u8>, bool) {
        let mut sent = Vec::new();
        let mut room = room;
        let send = |bytes: &[u8]| match bytes.len().min(room) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => {
                sent.extend_from_slice(&bytes[..length]);
                room -= length;
                Ok(length)
            }
        };
        let reads_on = output.flush(7, || SECOND_US, send).expect("no error");
        (sent, reads_on)
    }

    #[test]
    fn what_finds_no_room_goes_out_in_its_order() {
        let mut output = Output::default();
        say(&mut output, Words::Own, b"probe", 2);
        say(&mut output, Words::Answer, b"pong", 9);
        assert!(output.waits(7) && !output.waits(8) && !output.has_said_its_own(7));
        assert_eq!(flush(&mut output, 3), (b"obe".to_vec(), false));
        assert!(output.has_said_its_own(7) && output.waits(7));
        assert_eq!(flush(&mut output, 9), (b"pong".to_vec(), true));
        assert!(output.is_empty());
        assert_eq!(flush(&mut output, 9), (Vec::new(), false));
    }

    #[test]
    fn all_that_waits_goes_out_when_there_is_room_since_no_other_edge_comes() {
        let mut output = Output::default();
        say(&mut output, Words::Own, b"probe", 2);
        say(&mut output, Words::Answer, b"pong", 9);
        say(&mut output, Words::Own, b"bye", 9);
        assert_eq!(flush(&mut output, 5), (b"obepo".to_vec(), false));
        assert!(!output.has_said_its_own(7));
        assert_eq!(flush(&mut output, 9), (b"ngbye".to_vec(), false), "reading did not wait");
        assert!(output.is_empty());
    }

    #[test]
    fn reading_waits_for_answers_and_not_for_a_probe() {
        let mut output = Output::default();
        say(&mut output, Words::Own, b"probe", 0);
        assert!(output.may_read(7));
        say(&mut output, Words::Answer, b"pong", 9);
        assert!(!output.may_read(7) && output.may_read(8));
        output.forget(7);
        assert!(output.may_read(7) && output.is_empty());
    }

    #[test]
    fn an_error_is_given_on_and_nothing_is_kept() {
        let mut output = Output::default();
        output.blank().extend_from_slice(b"probe");
        let broken = |_: &[u8]| Err(io::ErrorKind::BrokenPipe.into());
        assert!(output.say(7, Words::Own, || 0, broken).is_err());
        assert!(output.is_empty() && output.blank().is_empty());
    }

    #[test]
    fn what_has_not_moved_for_its_time_is_stalled() {
        let mut output = Output::default();
        say(&mut output, Words::Own, b"probe", 1);
        assert_eq!(output.stalled(2 * SECOND_US, SECOND_US), [0_u32; 0]);
        assert_eq!(flush(&mut output, 1).0, b"r");
        assert_eq!(output.stalled(2 * SECOND_US, 2 * SECOND_US), [0_u32; 0], "it has moved");
        assert_eq!(output.stalled(2 * SECOND_US, 3 * SECOND_US), [7]);
        assert_eq!(output.stalled(2 * SECOND_US, 3 * SECOND_US + 1), [0_u32; 0], "it was just looked at");
        output.begin_to_count(7, 4 * SECOND_US);
        assert_eq!(output.stalled(2 * SECOND_US, 5 * SECOND_US), [0_u32; 0]);
        assert_eq!(output.stalled(2 * SECOND_US, 6 * SECOND_US), [7]);
    }
}
