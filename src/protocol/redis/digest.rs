//! Hash of a published message: channel and payload, in pieces of any size.

/// Folds a stream of bytes eight at a time. Not for adversaries: it pairs a PUBLISH with its deliveries, nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest {
    hash: u64,
    /// Bytes not folded yet, the first one lowest.
    tail: u64,
    /// Bytes written to the current field.
    length: u64,
}

const SEED: u64 = 0x243F_6A88_85A3_08D3;
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// Nothing written.
    pub(super) const fn new() -> Self {
        Self {
            hash: SEED,
            tail: 0,
            length: 0,
        }
    }

    /// Adds bytes to the current field.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        let held = (self.length % 8) as u32;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if held > 0 {
            let wanted = (8 - held) as usize;
            let (head, rest) = bytes.split_at(wanted.min(bytes.len()));
            for (byte, at) in head.iter().zip(held..) {
                self.tail |= u64::from(*byte) << (8 * at);
            }
            if head.len() < wanted {
                return;
            }
            self.fold(self.tail);
            self.tail = 0;
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        for (byte, at) in rest.iter().zip(0u32..) {
            self.tail |= u64::from(*byte) << (8 * at);
        }
    }

    /// Ends the current field, so that `ab` and `c` differ from `a` and `bc`.
    pub(super) fn end_field(&mut self) {
        self.fold(self.tail);
        self.fold(self.length ^ FACTOR);
        self.tail = 0;
        self.length = 0;
    }

    /// The hash of the fields that ended.
    pub(super) const fn value(&self) -> u64 {
        self.hash
    }

    fn fold(&mut self, word: u64) {
        let product = u128::from(self.hash ^ word) * u128::from(FACTOR);
        // The rotation keeps a product of zero from swallowing what follows.
        self.hash = (product as u64 ^ (product >> 64) as u64).rotate_left(25) ^ SEED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(fields: &[&[u8]]) -> u64 {
        let mut digest = Digest::new();
        for field in fields {
            digest.write(field);
            digest.end_field();
        }
        digest.value()
    }

    #[test]
    fn fields_are_kept_apart() {
        let all = [
            digest(&[b"ab", b"c"]),
            digest(&[b"a", b"bc"]),
            digest(&[b"abc", b""]),
            digest(&[b"", b"abc"]),
            digest(&[b"abc\0", b""]),
            digest(&[b"abc"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn ten_thousand_neighbours_do_not_collide() {
        let hashes: std::collections::HashSet<u64> = (0..10_000u32)
            .map(|n| digest(&[b"news", format!("{{\"id\":{n}}}").as_bytes()]))
            .collect();
        assert_eq!(hashes.len(), 10_000);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes: Vec<u8>, cuts: Vec<usize>) {
            let mut digest_in_pieces = Digest::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut start = 0;
            for cut in cuts {
                digest_in_pieces.write(&bytes[start..cut]);
                start = cut;
            }
            digest_in_pieces.end_field();
            prop_assert_eq!(digest_in_pieces.value(), digest(&[&bytes]));
        }
    }
}
