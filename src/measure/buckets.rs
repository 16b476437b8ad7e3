//! Counts by latency on the grid of an HdrHistogram of 1 us to 1 h with 3 significant digits.
//!
//! The grid is the one of [`hdrhistogram`] and the counts convert to it without loss; what differs is the storage. A dense
//! HdrHistogram of this range takes 96 KiB whatever was recorded, and adding or clearing it walks all of it. Here counts live
//! in pages of 32 that exist only where something was recorded: memory and the work of the collector grow with the number of
//! distinct values, so that hundreds of operations on several workers fit the memory budget.

use hdrhistogram::Histogram;

/// The longest duration told apart, in microseconds: 1 h. Longer ones are counted there, and as saturated.
pub(super) const HIGHEST: u64 = 3_600_000_000;

/// Values below this have a bucket each: the first power of two from 2 * 10^3, which 3 digits need.
const UNIT_RANGE: u64 = 2048;
/// From there on every doubling has this many buckets.
const HALF: usize = 1024;
const PAGE: usize = 32;
/// Pages that a cleared histogram keeps for its next use (8 KiB); one that spread wider gives its memory back.
const KEPT_PAGES: usize = 64;

/// Microseconds of a duration in nanoseconds, rounded up and at least 1, so that `micros(ns) <= limit` says the same as
/// `ns <= limit * 1000`.
#[inline]
pub(super) const fn micros(ns: u64) -> u64 {
    let us = ns.div_ceil(1000);
    if us == 0 { 1 } else { us }
}

/// The bucket of a value in microseconds, which must be at most [`HIGHEST`].
#[inline]
pub(super) const fn index(us: u64) -> usize {
    let shift = 53 - (us | (UNIT_RANGE - 1)).leading_zeros() as usize;
    shift * HALF + (us >> shift) as usize
}

const fn shift(index: usize) -> usize {
    if index < UNIT_RANGE as usize {
        0
    } else {
        index / HALF - 1
    }
}

/// The lowest value of a bucket in microseconds.
pub(super) const fn lowest(index: usize) -> u64 {
    let shift = shift(index);
    ((index - shift * HALF) as u64) << shift
}

/// The highest value of a bucket in microseconds.
pub(super) const fn highest(index: usize) -> u64 {
    lowest(index) + (1 << shift(index)) - 1
}

/// Counts by latency. See the module for the layout.
#[derive(Debug, Default, Clone)]
pub(super) struct Buckets {
    /// Number of the page of each 32 buckets plus one; 0 where there is none. As long as the highest value needs.
    table: Vec<u16>,
    pages: Vec<[u32; PAGE]>,
    /// What did not fit into 32 bits, by bucket.
    carries: Vec<(usize, u64)>,
    len: u64,
}

impl Buckets {
    /// Adds `n` samples of `us` microseconds; above [`HIGHEST`] they count there.
    #[inline]
    pub(super) fn record(&mut self, us: u64, n: u64) {
        self.add_at(index(us.min(HIGHEST)), n);
    }

    /// Adds `n` samples to the bucket `index`.
    #[inline]
    fn add_at(&mut self, index: usize, n: u64) {
        self.len = self.len.saturating_add(n);
        let page = self.table.get(index / PAGE).map_or(0, |&p| usize::from(p));
        if let Some(page) = page.checked_sub(1).and_then(|p| self.pages.get_mut(p)) {
            let slot = &mut page[index % PAGE];
            if let Some(sum) = u64::from(*slot)
                .checked_add(n)
                .and_then(|sum| u32::try_from(sum).ok())
            {
                *slot = sum;
                return;
            }
        }
        self.add_rarely(index, n);
    }

    /// The two rare cases of [`Self::add_at`]: no page yet, or a count that leaves 32 bits.
    #[cold]
    fn add_rarely(&mut self, index: usize, n: u64) {
        let number = index / PAGE;
        if self.table.len() <= number {
            self.table.reserve_exact(number + 1 - self.table.len());
            self.table.resize(number + 1, 0);
        }
        if self.table[number] == 0 {
            if self.pages.len() == self.pages.capacity() {
                self.pages.reserve_exact(self.pages.len() / 4 + 4);
            }
            self.pages.push([0; PAGE]);
            self.table[number] = self.pages.len() as u16;
        }
        let slot = &mut self.pages[usize::from(self.table[number]) - 1][index % PAGE];
        let sum = u64::from(*slot).saturating_add(n);
        if let Ok(sum) = u32::try_from(sum) {
            *slot = sum;
            return;
        }
        *slot = 1; // not 0: `entries` looks for what was carried only where a count is
        match self.carries.iter_mut().find(|(i, _)| *i == index) {
            Some((_, carried)) => *carried = carried.saturating_add(sum - 1),
            None => self.carries.push((index, sum - 1)),
        }
    }

    /// Samples recorded.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Buckets that hold samples and how many, from the lowest.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let used = self.table.iter().enumerate().filter(|&(_, &p)| p != 0);
        used.flat_map(move |(number, &page)| {
            let counts = self.pages[usize::from(page) - 1].iter().enumerate();
            counts.filter(|&(_, &n)| n != 0).map(move |(i, &n)| {
                let index = number * PAGE + i;
                (index, u64::from(n).saturating_add(self.carried(index)))
            })
        })
    }

    fn carried(&self, index: usize) -> u64 {
        let carry = self.carries.iter().find(|&&(i, _)| i == index);
        carry.map_or(0, |&(_, n)| n)
    }

    /// Adds all samples of another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.extend(other.entries());
    }

    /// Forgets all samples; memory is kept for the next use, up to a bound.
    pub(super) fn clear(&mut self) {
        if self.len == 0 {
            return;
        }
        self.len = 0;
        self.carries.clear();
        if self.pages.len() > KEPT_PAGES {
            self.table.clear();
            self.pages.clear();
            self.pages.shrink_to(KEPT_PAGES);
        } else {
            self.pages.fill([0; PAGE]);
        }
    }

    /// The same samples as an HdrHistogram of just the range they need.
    pub(super) fn to_hdr(&self) -> Histogram<u64> {
        let top = self.entries().last().map_or(2, |(i, _)| highest(i));
        let mut hdr = Histogram::new_with_bounds(1, top.max(2), 3)
            .expect("3 digits from 1 to at least 2 is a valid configuration");
        for (index, n) in self.entries() {
            hdr.saturating_record_n(highest(index), n);
        }
        hdr
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.table.capacity() * size_of::<u16>()
            + self.pages.capacity() * size_of::<[u32; PAGE]>()
            + self.carries.capacity() * size_of::<(usize, u64)>()
    }
}

/// Adds samples by bucket index; an index beyond the grid counts in its last bucket.
impl Extend<(usize, u64)> for Buckets {
    fn extend<I: IntoIterator<Item = (usize, u64)>>(&mut self, entries: I) {
        for (i, n) in entries {
            self.add_at(i.min(index(HIGHEST)), n);
        }
    }
}

/// Appends counts in the form in which they rest: pairs of (distance from the bucket before, count), each in LEB128. About 2
/// bytes a bucket.
pub(super) fn encode(buckets: &Buckets, bytes: &mut Vec<u8>) {
    let mut before = 0;
    for (index, n) in buckets.entries() {
        put(bytes, (index - before) as u64);
        put(bytes, n);
        before = index;
    }
}

/// Buckets that hold samples and how many, from the lowest, of what [`encode`] wrote.
pub(super) fn decode(mut bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let mut index = 0_usize;
    std::iter::from_fn(move || {
        index = index.saturating_add(take(&mut bytes)? as usize);
        Some((index, take(&mut bytes)?))
    })
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests;
