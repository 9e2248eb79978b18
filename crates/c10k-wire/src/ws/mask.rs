//! Masking of payloads (RFC 6455 section 5.3).

use std::hash::{BuildHasher, RandomState};

/// Masks or unmasks `bytes` in place, which are the same thing. `offset` is the number of payload bytes of this
/// frame that came before, so that a payload may be treated in pieces.
///
/// Sixteen bytes at a time, which compilers turn into vector instructions.
pub fn apply(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask = u32::from_le_bytes(mask).rotate_right(8 * (offset % 4) as u32);
    let wide = u128::from(mask) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let (blocks, rest) = bytes.as_chunks_mut::<16>();
    for block in blocks {
        *block = (u128::from_le_bytes(*block) ^ wide).to_le_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_le_bytes(*word) ^ mask).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.to_le_bytes()) {
        *byte ^= key;
    }
}

/// Where a client's masking keys come from: a keyed function (SipHash) whose key is the operating system's
/// randomness and never leaves it, so that the one who chooses a payload cannot foresee the bytes on the wire
/// (RFC 6455 section 10.3).
#[derive(Clone, Debug, Default)]
pub struct Masks {
    secret: RandomState,
    used: u64,
}

impl Masks {
    /// Keys that nobody can foresee.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A fresh key.
    pub fn fresh(&mut self) -> [u8; 4] {
        self.used = self.used.wrapping_add(1);
        (self.secret.hash_one(self.used) as u32).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn byte_wise(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte ^= mask[(offset + at) % 4];
        }
    }

    #[test]
    fn the_masked_hello_of_the_standard_is_unmasked() {
        // RFC 6455 section 5.7.
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn keys_differ_from_one_to_the_next_and_from_one_client_to_another() {
        let (mut masks, mut others) = (Masks::new(), Masks::new());
        let fresh: std::collections::BTreeSet<_> =
            (0..100).flat_map(|_| [masks.fresh(), others.fresh()]).collect();
        assert!(fresh.len() > 195, "{fresh:?}");
    }

    proptest! {
        #[test]
        fn word_wise_is_byte_wise_at_any_length_alignment_and_offset(
            bytes in prop::collection::vec(any::<u8>(), 0..200), mask: [u8; 4], offset in 0_usize..9, from in 0_usize..20,
        ) {
            let from = from.min(bytes.len());
            let (mut ours, mut plain) = (bytes.clone(), bytes);
            apply(&mut ours[from..], mask, offset);
            byte_wise(&mut plain[from..], mask, offset);
            prop_assert_eq!(ours, plain);
        }
    }
}
