//! Bytes of both directions of a session, as one input.
//!
//! The first byte seeds the cuts. Then come records: a direction (`>` from the client, `<` from the server; of other bytes
//! the second lowest bit says it), a length (two bytes, little-endian; cut to what is there), and so many bytes.

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The client.
    Up,
    /// The server.
    Down,
}

/// The records of an input, in order.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

/// Reads an input: the seed of its cuts, and its records.
pub fn read(input: &[u8]) -> (u8, Records<'_>) {
    match input.split_first() {
        Some((seed, rest)) => (*seed, Records(rest)),
        None => (0, Records(input)),
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Way, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([way, low, high], rest) = self.0.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        self.0 = rest;
        let way = if way & 2 == 0 { Way::Down } else { Way::Up };
        Some((way, bytes))
    }
}

/// Lengths of pieces that a seed gives: 0 is byte by byte, others are mixed.
#[derive(Clone, Copy, Debug)]
pub struct Cuts(u32);

impl Cuts {
    /// The cuts of this seed.
    pub fn new(seed: u8) -> Self {
        Self(u32::from(seed))
    }

    /// Cuts the next piece off.
    pub fn cut<'a>(&mut self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        if rest.is_empty() {
            return None;
        }
        let length = if self.0 == 0 {
            1
        } else {
            // Numerical Recipes' generator: enough for lengths.
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            1 + (self.0 >> 27) as usize
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        *rest = after;
        Some(piece)
    }
}
