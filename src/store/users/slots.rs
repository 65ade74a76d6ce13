//! A set of numbers in a fixed number of bits, shared by all cores: it may say "seen" for a number that was not, and never
//! the other way round.
//!
//! A number takes three bits of one 64-bit word, in one atomic step: of two cores that bring the same number at the same
//! time, one is told that it was there.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits a number takes.
const BITS: u64 = 3;

/// Stretches of the words, each small enough for a core's own cache: numbers that are brought stretch by stretch do not wait
/// for memory.
pub const REGIONS: usize = 64;

/// The words, a power of two.
pub struct Slots {
    words: Vec<AtomicU64>,
    mask: u64,
}

impl Slots {
    /// Room for `expected` numbers at about one false answer in a hundred: eight bits or more for each, at most 16 MiB.
    pub fn for_about(expected: u64) -> Self {
        Self::with_words(expected.div_ceil(8).next_power_of_two().clamp(16, 1 << 21))
    }

    /// As many slots as `other` has, all free.
    pub fn like(other: &Self) -> Self {
        Self::with_words(other.mask + 1)
    }

    /// A few slots that stay in a core's own cache, to be asked first.
    pub fn few() -> Self {
        Self::with_words(1 << 14)
    }

    fn with_words(count: u64) -> Self {
        Self { words: (0..count).map(|_| AtomicU64::new(0)).collect(), mask: count - 1 }
    }

    /// The word of a hash, and its bits in it. The lowest 21 bits choose the word, the next 18 the bits.
    fn place(&self, hash: u64) -> Option<(&AtomicU64, u64)> {
        // At most 2^21 words, so it fits any address space.
        let word = self.words.get((hash & self.mask) as usize)?;
        let bits = (0..BITS).fold(0, |bits, turn| bits | 1 << ((hash >> (21 + 6 * turn)) & 63));
        Some((word, bits))
    }

    /// Which stretch of the words the slot of `hash` lies in, 0 to [`REGIONS`] less one.
    pub fn region(&self, hash: u64) -> usize {
        // At most 2^21 words, so the product fits.
        ((hash & self.mask) as usize * REGIONS) / self.words.len()
    }

    /// Take the slot of `hash`; whether it was taken before.
    pub fn take(&self, hash: u64) -> Taken {
        match self.place(hash) {
            Some((word, bits)) if word.fetch_or(bits, Ordering::Relaxed) & bits != bits => Taken::First,
            _ => Taken::Again,
        }
    }

    /// Whether the slot of `hash` is taken.
    pub fn has(&self, hash: u64) -> bool {
        self.place(hash).is_none_or(|(word, bits)| word.load(Ordering::Relaxed) & bits == bits)
    }

    /// About how many numbers took a slot.
    pub fn count(&self) -> u64 {
        let bits: u64 = self.words.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum();
        bits.div_ceil(BITS)
    }
}

/// Whether somebody was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nobody was.
    First,
    /// Somebody was, or another number has the same slot.
    Again,
}
