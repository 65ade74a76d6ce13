//! MD5 of many short messages at once: one message per lane, one or two 64-byte blocks each.
//!
//! A preview hashes every user of the list, and hashing one after the other is most of its time. Here each step of RFC 1321
//! works on [`LANES`] messages, in plain arrays that the compiler turns into vector code. It agrees with the `md-5` crate on
//! every message that fits ([`MAX_MESSAGE`]); longer ones are not its business.

/// Messages per call.
pub const LANES: usize = SETS * WIDTH;

/// Words that one vector instruction takes on the baseline of every 64-bit target.
const WIDTH: usize = 4;

/// Vectors in work at a time: each step waits for the one before, and the other vector fills that wait.
const SETS: usize = 2;

/// The longest message in bytes: two blocks less the end mark and the eight bytes of the length.
pub const MAX_MESSAGE: usize = 119;

/// The longest message of one block.
const MAX_SHORT: usize = 55;

/// One word of every lane; lane `n` is number `n % WIDTH` of set `n / WIDTH`.
type Lanes = [[u32; WIDTH]; SETS];

/// One word of the same lane of every set.
type Word = [u32; SETS];

/// One block of every lane, as the words that the rounds read.
#[derive(Clone, Debug)]
struct Block([Lanes; 16]);

/// A message in every lane.
#[derive(Clone, Debug)]
pub struct Messages {
    first: Block,
    second: Block,
    sizes: [Size; LANES],
}

/// How many blocks a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    One,
    Two,
}

/// Whether a message went into its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is there.
    Set,
    /// It is longer than [`MAX_MESSAGE`], or there is no such lane; nothing was changed.
    TooLong,
}

impl Messages {
    /// Lanes without a message; their digests mean nothing.
    pub fn none() -> Self {
        let zeros = Block([[[0; WIDTH]; SETS]; 16]);
        Self { first: zeros.clone(), second: zeros, sizes: [Size::One; LANES] }
    }

    /// Put the message `head` + `tail` into a lane.
    pub fn set(&mut self, lane: usize, head: &[u8], tail: &[u8]) -> Fit {
        let length = head.len() + tail.len();
        let Some(size) = self.sizes.get_mut(lane).filter(|_| length <= MAX_MESSAGE) else {
            return Fit::TooLong;
        };
        *size = if length <= MAX_SHORT { Size::One } else { Size::Two };
        let mut padded = [0; 128];
        // All in range: the length is at most 119.
        padded[..head.len()].copy_from_slice(head);
        padded[head.len()..length].copy_from_slice(tail);
        padded[length] = 0x80;
        let bits = (8 * length as u64).to_le_bytes();
        match size {
            Size::One => padded[56..64].copy_from_slice(&bits),
            Size::Two => padded[120..].copy_from_slice(&bits),
        }
        let (one, two) = padded.split_at(64);
        self.first.set(lane, one);
        if *size == Size::Two {
            self.second.set(lane, two);
        }
        Fit::Set
    }

    /// The digest words A, B, C, D of every lane, each to be read in little-endian order.
    pub fn digests(&self) -> [[u32; 4]; LANES] {
        const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        let short = self.first.compress(&START.map(|word| [[word; WIDTH]; SETS]));
        // A run of short messages, the usual one, is spared the second block.
        let long = if self.sizes.contains(&Size::Two) { &self.second.compress(&short) } else { &short };
        std::array::from_fn(|lane| {
            // In range: `from_fn` counts up to the number of lanes.
            let state = if self.sizes[lane] == Size::Two { long } else { &short };
            state.map(|word| word[lane / WIDTH][lane % WIDTH])
        })
    }
}

impl Block {
    /// `lane` is below [`LANES`], and `bytes` are 64.
    fn set(&mut self, lane: usize, bytes: &[u8]) {
        for (word, bytes) in self.0.iter_mut().zip(bytes.as_chunks::<4>().0) {
            word[lane / WIDTH][lane % WIDTH] = u32::from_le_bytes(*bytes);
        }
    }

    /// The state of every lane after this block.
    fn compress(&self, state: &[Lanes; 4]) -> [Lanes; 4] {
        let mut sums = *state;
        // The one loop that is to become vector code: its body has no branch, and neighbouring lanes are neighbours in memory.
        for lane in 0..WIDTH {
            // In range: `from_fn` counts up to the number of words and sets, and `lane` is below `WIDTH`.
            let start: [Word; 4] = std::array::from_fn(|word| std::array::from_fn(|set| state[word][set][lane]));
            for (sum, word) in sums.iter_mut().zip(self.digest(lane, start)) {
                for (set, word) in sum.iter_mut().zip(word) {
                    set[lane] = set[lane].wrapping_add(word);
                }
            }
        }
        sums
    }

    /// The four rounds on one lane of every set; inlined with them, so that sines and shifts are constants there.
    #[inline(always)]
    fn digest(&self, lane: usize, state: [Word; 4]) -> [Word; 4] {
        let [first, second, third, fourth] = &SINES;
        let state = self.round(lane, state, first, [7, 12, 17, 22], (1, 0), |b, c, d| d ^ (b & (c ^ d)));
        let state = self.round(lane, state, second, [5, 9, 14, 20], (5, 1), |b, c, d| c ^ (d & (b ^ c)));
        let state = self.round(lane, state, third, [4, 11, 16, 23], (3, 5), |b, c, d| b ^ c ^ d);
        self.round(lane, state, fourth, [6, 10, 15, 21], (7, 0), |b, c, d| c ^ (b | !d))
    }

    /// Sixteen steps. Step `i` reads word `stride * i + offset`.
    #[inline(always)]
    fn round(
        &self,
        lane: usize,
        [mut a, mut b, mut c, mut d]: [Word; 4],
        sines: &[u32; 16],
        shifts: [u32; 4],
        (stride, offset): (usize, usize),
        mix: impl Fn(u32, u32, u32) -> u32 + Copy,
    ) -> [Word; 4] {
        for quarter in 0..4 {
            let step = |turn: usize, a: Word, b: Word, c: Word, d: Word| -> Word {
                let i = 4 * quarter + turn;
                // In range: `i` is below 16, `turn` below 4, and `lane` below `WIDTH`.
                let words = &self.0[(stride * i + offset) % 16];
                std::array::from_fn(|set| {
                    let sum = a[set].wrapping_add(words[set][lane]).wrapping_add(sines[i]);
                    sum.wrapping_add(mix(b[set], c[set], d[set])).rotate_left(shifts[turn]).wrapping_add(b[set])
                })
            };
            a = step(0, a, b, c, d);
            d = step(1, d, a, b, c);
            c = step(2, c, d, a, b);
            b = step(3, b, c, d, a);
        }
        [a, b, c, d]
    }
}

/// The whole parts of 2^32 times the absolute sine of 1, 2, … 64 (RFC 1321, 3.4), a row per round.
const SINES: [[u32; 16]; 4] = [
    [
        0xd76a_a478,
        0xe8c7_b756,
        0x2420_70db,
        0xc1bd_ceee,
        0xf57c_0faf,
        0x4787_c62a,
        0xa830_4613,
        0xfd46_9501,
        0x6980_98d8,
        0x8b44_f7af,
        0xffff_5bb1,
        0x895c_d7be,
        0x6b90_1122,
        0xfd98_7193,
        0xa679_438e,
        0x49b4_0821,
    ],
    [
        0xf61e_2562,
        0xc040_b340,
        0x265e_5a51,
        0xe9b6_c7aa,
        0xd62f_105d,
        0x0244_1453,
        0xd8a1_e681,
        0xe7d3_fbc8,
        0x21e1_cde6,
        0xc337_07d6,
        0xf4d5_0d87,
        0x455a_14ed,
        0xa9e3_e905,
        0xfcef_a3f8,
        0x676f_02d9,
        0x8d2a_4c8a,
    ],
    [
        0xfffa_3942,
        0x8771_f681,
        0x6d9d_6122,
        0xfde5_380c,
        0xa4be_ea44,
        0x4bde_cfa9,
        0xf6bb_4b60,
        0xbebf_bc70,
        0x289b_7ec6,
        0xeaa1_27fa,
        0xd4ef_3085,
        0x0488_1d05,
        0xd9d4_d039,
        0xe6db_99e5,
        0x1fa2_7cf8,
        0xc4ac_5665,
    ],
    [
        0xf429_2244,
        0x432a_ff97,
        0xab94_23a7,
        0xfc93_a039,
        0x655b_59c3,
        0x8f0c_cc92,
        0xffef_f47d,
        0x8584_5dd1,
        0x6fa8_7e4f,
        0xfe2c_e6e0,
        0xa301_4314,
        0x4e08_11a1,
        0xf753_7e82,
        0xbd3a_f235,
        0x2ad7_d2bb,
        0xeb86_d391,
    ],
];

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn digest(messages: &Messages, lane: usize) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (part, word) in bytes.chunks_exact_mut(4).zip(messages.digests()[lane]) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_length_agrees_with_the_crate_or_is_too_long() {
        for length in 0..=200_usize {
            let message: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
            for cut in [0, length / 2, length] {
                let mut messages = Messages::none();
                let lane = length % LANES;
                let fit = messages.set(lane, &message[..cut], &message[cut..]);
                if length > MAX_MESSAGE {
                    assert_eq!(fit, Fit::TooLong, "{length}");
                } else {
                    assert_eq!(fit, Fit::Set, "{length}");
                    assert_eq!(digest(&messages, lane), <[u8; 16]>::from(Md5::digest(&message)), "{length}");
                }
            }
        }
    }

    #[test]
    fn a_lane_that_does_not_exist_takes_nothing() {
        assert_eq!(Messages::none().set(LANES, b"a", b"b"), Fit::TooLong);
    }

    proptest! {
        #[test]
        fn lanes_do_not_disturb_each_other(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MAX_MESSAGE), LANES),
        ) {
            let mut messages = Messages::none();
            for (lane, text) in texts.iter().enumerate() {
                // Twice, so that what an earlier message left behind would show.
                assert_eq!(messages.set(lane, &[0xff; MAX_MESSAGE], b""), Fit::Set);
                assert_eq!(messages.set(lane, text, b""), Fit::Set);
            }
            for (lane, text) in texts.iter().enumerate() {
                assert_eq!(digest(&messages, lane), <[u8; 16]>::from(Md5::digest(text)));
            }
        }
    }
}
