//! Short words collected from the stream: command names, subcommands, the first word of an error, the kind of a push.

/// Longest word that any table holds.
pub(super) const MAX: usize = 24;

/// A word without case, as numbers that compare and hash fast. Words that differ only in case are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// The bytes in lower case, little-endian, zero-padded.
    pub(super) words: [u64; 3],
    /// Their number: tells `GET` from `GET\0`.
    pub(super) len: u8,
}

impl Packed {
    /// No word.
    pub(super) const EMPTY: Self = Self {
        words: [0; 3],
        len: 0,
    };

    /// Packs a word; what is beyond [`MAX`] bytes equals no word of a table.
    pub(super) const fn of(word: &[u8]) -> Self {
        let mut packed = Self::EMPTY;
        if word.len() > MAX {
            packed.len = u8::MAX;
            return packed;
        }
        let mut at = 0;
        while at < word.len() {
            packed.words[at / 8] |= (word[at].to_ascii_lowercase() as u64) << (at % 8 * 8);
            at += 1;
        }
        packed.len = word.len() as u8;
        packed
    }

    /// As [`Packed::of`] of the first `len` bytes of `bytes`, reading eight at a time where more bytes follow the word.
    #[inline]
    pub(super) fn prefix(bytes: &[u8], len: usize) -> Option<Self> {
        match bytes.first_chunk::<8>() {
            Some(first) if len <= 8 && len > 0 => {
                let kept = u64::MAX >> (64 - 8 * len);
                Some(Self {
                    words: [lower(u64::from_le_bytes(*first) & kept), 0, 0],
                    len: len as u8,
                })
            }
            _ => bytes.get(..len).map(Self::of),
        }
    }

    /// Equality, for use at compile time.
    pub(super) const fn is(self, other: Self) -> bool {
        self.len == other.len
            && self.words[0] == other.words[0]
            && self.words[1] == other.words[1]
            && self.words[2] == other.words[2]
    }
}

/// Lower case of eight bytes at once; only `A` to `Z` change.
#[inline]
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    let above_z = low + (0x7f - b'Z' as u64) * EACH;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let upper = (from_a ^ above_z) & !word & (0x80 * EACH);
    word | (upper >> 2)
}

/// A word that arrives in pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    bytes: [u8; MAX],
    len: u8,
}

impl Word {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MAX],
            len: 0,
        }
    }

    /// Adds bytes; one too many makes it a word that no table holds.
    pub(super) fn push(&mut self, more: &[u8]) {
        let len = usize::from(self.len);
        match self.bytes.get_mut(len..len + more.len()) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len += more.len() as u8;
            }
            None => self.len = u8::MAX,
        }
    }

    /// What arrived.
    pub(super) fn packed(&self) -> Packed {
        match self.bytes.get(..usize::from(self.len)) {
            Some(word) => Packed::of(word),
            None => Packed {
                len: u8::MAX,
                ..Packed::EMPTY
            },
        }
    }

    /// What arrived, as it was; empty where it is longer than [`MAX`].
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_equal_one_by_one() {
        for byte in 0..=u8::MAX {
            let word = [byte, b'A', b'z', byte, b'@', b'[', b'Z', byte];
            assert_eq!(lower(u64::from_le_bytes(word)), Packed::of(&word).words[0]);
        }
        for len in 0..=12 {
            let bytes = b"HeLLo-WoRLd_and_on";
            assert_eq!(
                Packed::prefix(bytes, len),
                Some(Packed::of(&bytes[..len])),
                "{len}"
            );
        }
        assert_eq!(Packed::prefix(b"ab", 3), None);
    }

    #[test]
    fn pieces_make_the_same_word() {
        let mut word = Word::new();
        for byte in b"GeoRadius_RO" {
            word.push(&[*byte]);
        }
        assert_eq!(word.packed(), Packed::of(b"georadius_ro"));
        word.push(&[b'x'; MAX]);
        assert_ne!(word.packed(), Packed::EMPTY);
        word.push(b"y");
        assert_eq!(word.packed().len, u8::MAX);
        assert!(word.bytes().is_empty());
    }
}
