//! Draws that depend on what they are for and on nothing else.
//!
//! A draw is a function of the seed, the fault's name, the proxy's name, the ordinals of session and exchange, and the purpose.
//! Neither the time of day, nor the number of workers, nor the order in which sessions happen to be served enters it, so the
//! same seed and the same requests give the same faults.
//!
//! The function is a chain over 64-bit words, `state = finalize((state ^ word) + GOLDEN)`, with the finalizer and the
//! increment of `SplitMix64` (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, 2014; Stafford's mix 13).
//! Names enter as their FNV-1a hash. Golden values in the tests pin it: recorded seeds must stay good for ever.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// The increment of `SplitMix64`: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Stands for the exchange in draws that a whole session shares. No session reaches this ordinal.
const WHOLE_SESSION: u64 = u64::MAX;

/// What a draw decides. The numbers enter the draw: never change one, never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Whether the gate `probability` lets it through.
    Probability = 1,
    /// Whether the ramp of a schedule lets it through.
    Ramp = 2,
    /// How long a latency is.
    Delay = 3,
    /// How large a slice is.
    Slice = 10,
    /// How long an exchange is served.
    Service = 12,
    /// How late the end of a connection is passed on.
    Close = 13,
    /// Which bytes are changed, and how.
    Corrupt = 14,
}

/// The dice of one fault on one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a fault.
    pub fn new(seed: u64, fault: &str) -> Self {
        Self(absorb(absorb(0, seed), fnv1a(fault)))
    }

    /// The same fault's dice on one of its proxies, whose sessions are counted from 0 as those of any other.
    #[must_use]
    pub fn on_proxy(self, proxy: &str) -> Self {
        Self(absorb(self.0, fnv1a(proxy)))
    }

    /// The draw for one exchange.
    #[inline]
    pub fn exchange(self, session: u64, exchange: u64, purpose: Purpose) -> Draw {
        let of_exchange = absorb(absorb(self.0, session), exchange);
        Draw(absorb(of_exchange, purpose as u64))
    }

    /// The one draw that all exchanges of a session share.
    #[inline]
    pub fn session(self, session: u64, purpose: Purpose) -> Draw {
        self.exchange(session, WHOLE_SESSION, purpose)
    }
}

/// 64 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// Uniform in [0, 1), on a grid of 2^-53.
    #[inline]
    pub fn uniform(self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.0 >> 11) as f64 * STEP
    }

    /// Another draw for each number, of the same draw.
    #[inline]
    #[must_use]
    pub fn at(self, number: u64) -> Self {
        Self(absorb(self.0, number))
    }

    /// True with this probability: always at 1, never at 0.
    #[inline]
    pub fn hits(self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// A generator that begins here, for distributions that need more than one number.
    pub fn generator(self) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.0)
    }
}

/// A bijection of `state` for each `word`, and of `word` for each `state`.
#[inline]
const fn absorb(state: u64, word: u64) -> u64 {
    let mut z = (state ^ word).wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
