//! Raw echo: the swarm sends a probe, the server sends the same bytes back.
//!
//! A probe has no header: its bytes are a function of the run's seed, the connection and the round, so that
//! the swarm keeps no copy of it, and bytes of another connection, an older round or a faulty server are
//! told from the right ones.

/// The smallest probe, bytes: fewer could not be unique to a connection.
pub const SMALLEST_PROBE_BYTES: u16 = 8;
/// The largest probe, bytes: one that fits a worker's shared buffer.
pub const LARGEST_PROBE_BYTES: u16 = 32 * 1024;

/// Makes and checks the probes of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    seed: u64,
    size: u16,
}

/// Which probe: of which connection, in which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeId {
    /// The number of the connection within its run.
    pub connection: u64,
    /// 0 for the probe after connecting, then one more each time.
    pub round: u32,
}

/// What the bytes that came back say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Right so far; this many bytes of the probe have come back.
    Partial(u16),
    /// The whole probe has come back and nothing else.
    Whole,
    /// A byte is not the one that was sent, or there are more than were sent; the offset of the first such.
    Corrupt(u16),
}

impl Probes {
    /// Probes of `size` bytes; `None` when the size is outside
    /// [`SMALLEST_PROBE_BYTES`]..=[`LARGEST_PROBE_BYTES`].
    #[must_use]
    pub fn new(seed: u64, size: u16) -> Option<Self> {
        (SMALLEST_PROBE_BYTES..=LARGEST_PROBE_BYTES).contains(&size).then_some(Self { seed, size })
    }

    /// Size of a probe, bytes.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Writes the probe into the first [`Probes::size`] bytes of `out` and returns them.
    ///
    /// # Panics
    /// When `out` is shorter than a probe.
    pub fn fill<'a>(&self, id: ProbeId, out: &'a mut [u8]) -> &'a mut [u8] {
        let out = &mut out[..usize::from(self.size)];
        // The connection's number is part of the first eight bytes as it is, so that no two connections of a
        // run can have the same probe, whatever the mixing does.
        let mut state = self.seed ^ id.connection ^ (u64::from(id.round) << 48);
        let (words, rest) = out.as_chunks_mut::<8>();
        for word in words {
            *word = state.to_le_bytes();
            state = next_word(state);
        }
        let last = state.to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
        out
    }

    /// Compares `bytes`, which came back after `got` bytes of the probe had already been found right.
    /// `scratch` holds the expected bytes and must be as long as a probe.
    ///
    /// # Panics
    /// When `scratch` is shorter than a probe.
    #[must_use]
    pub fn check(&self, id: ProbeId, got: u16, bytes: &[u8], scratch: &mut [u8]) -> Echo {
        let expected = &self.fill(id, scratch)[usize::from(got)..];
        let common = bytes.len().min(expected.len());
        if bytes[..common] != expected[..common] || bytes.len() > expected.len() {
            let equal = bytes.iter().zip(expected.iter()).take_while(|(a, b)| a == b).count();
            return Echo::Corrupt(got + equal as u16);
        }
        if bytes.len() == expected.len() { Echo::Whole } else { Echo::Partial(got + common as u16) }
    }
}

/// The next word of a probe: the SplitMix64 step (Steele, Lea, Flood 2014).
pub(crate) fn next_word(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a server does with bytes that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Sends them back.
    Echo,
    /// Reads and discards them.
    Discard,
}

impl Answer {
    /// The bytes to send back for `input`: all of it, or nothing.
    #[must_use]
    pub fn to<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Echo => input,
            Self::Discard => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: ProbeId = ProbeId { connection: 77, round: 1 };

    fn probes(size: u16) -> Probes {
        Probes::new(0x00c1_0c10, size).expect("a size within the bounds")
    }

    #[test]
    fn a_probe_is_unique_to_its_connection_and_its_round() {
        let mut seen = std::collections::BTreeSet::new();
        for connection in 0..10_000 {
            for round in 0..2 {
                let mut bytes = [0; 8];
                probes(8).fill(ProbeId { connection, round }, &mut bytes);
                assert!(seen.insert(bytes), "{connection} {round}");
            }
        }
    }

    #[test]
    fn sizes_that_cannot_be_unique_or_do_not_fit_are_refused() {
        assert_eq!(Probes::new(1, 7), None);
        assert_eq!(Probes::new(1, LARGEST_PROBE_BYTES + 1), None);
    }

    #[test]
    fn an_older_round_and_another_connection_are_corrupt() {
        let probes = probes(64);
        let (mut bytes, mut scratch) = ([0; 64], [0; 64]);
        for other in [ProbeId { round: 0, ..ID }, ProbeId { connection: 78, ..ID }] {
            probes.fill(other, &mut bytes);
            assert!(matches!(probes.check(ID, 0, &bytes, &mut scratch), Echo::Corrupt(_)), "{other:?}");
        }
    }

    #[test]
    fn more_bytes_than_were_sent_are_corrupt() {
        let probes = probes(16);
        let (mut bytes, mut scratch) = ([0; 17], [0; 16]);
        probes.fill(ID, &mut bytes);
        assert_eq!(probes.check(ID, 0, &bytes, &mut scratch), Echo::Corrupt(16));
    }

    proptest! {
        #[test]
        fn an_echo_split_anywhere_is_whole_in_the_end(size in 8_u16..300, cut in 0_usize..300) {
            let probes = probes(size);
            let (mut bytes, mut scratch) = (vec![0; usize::from(size)], vec![0; usize::from(size)]);
            probes.fill(ID, &mut bytes);
            let cut = cut.min(bytes.len() - 1);
            let mut got = 0;
            if cut > 0 {
                prop_assert_eq!(probes.check(ID, 0, &bytes[..cut], &mut scratch), Echo::Partial(cut as u16));
                got = cut as u16;
            }
            prop_assert_eq!(probes.check(ID, got, &bytes[cut..], &mut scratch), Echo::Whole);
        }

        #[test]
        fn one_wrong_byte_is_found_where_it_stands(size in 8_u16..300, at in 0_usize..300, flip in 1_u8..) {
            let probes = probes(size);
            let (mut bytes, mut scratch) = (vec![0; usize::from(size)], vec![0; usize::from(size)]);
            probes.fill(ID, &mut bytes);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_eq!(probes.check(ID, 0, &bytes, &mut scratch), Echo::Corrupt(at as u16));
        }
    }
}
