//! MD5 of many short messages at once: one message per lane, one 64-byte block each.
//!
//! A preview hashes every user of the list, and hashing one after the other is most of its time. Here each step of RFC 1321
//! works on [`LANES`] messages, in plain arrays that the compiler turns into vector code. It agrees with the `md-5` crate on
//! every message that fits ([`MAX_MESSAGE`]); longer ones are not its business.

/// Messages per call; two vectors of four words on the baseline of every 64-bit target.
pub const LANES: usize = 8;

/// The longest message in bytes: a block of 64 less the end mark and the eight bytes of the length.
pub const MAX_MESSAGE: usize = 55;

type Lanes = [u32; LANES];

/// One padded block per lane, as the words that the rounds read.
#[derive(Clone, Debug)]
pub struct Blocks([Lanes; 16]);

impl Blocks {
    /// Blocks of zeros, not yet messages.
    pub fn zeroed() -> Self {
        Self([[0; LANES]; 16])
    }

    /// Put the message `head` + `tail` into one lane. Returns whether it fits; a lane beyond [`LANES`] never does.
    pub fn set(&mut self, lane: usize, head: &[u8], tail: &[u8]) -> Fit {
        let length = head.len() + tail.len();
        let mut block = [0_u8; 64];
        let (Some(start), Some(end)) = (block.get_mut(..head.len()), length.checked_mul(8)) else {
            return Fit::TooLong;
        };
        start.copy_from_slice(head);
        if length > MAX_MESSAGE || lane >= LANES {
            return Fit::TooLong;
        }
        // In range: `length` is at most 55 from here on, so its bits fit any integer.
        block[head.len()..length].copy_from_slice(tail);
        block[length] = 0x80;
        block[56..64].copy_from_slice(&(end as u64).to_le_bytes());
        for (word, bytes) in self.0.iter_mut().zip(block.as_chunks::<4>().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
        Fit::Set
    }

    /// The digest words A, B, C, D of every lane, each to be read in little-endian order.
    pub fn digests(&self) -> [Lanes; 4] {
        let start = [[0x6745_2301; LANES], [0xefcd_ab89; LANES], [0x98ba_dcfe; LANES], [0x1032_5476; LANES]];
        let [first, second, third, fourth] = &SINES;
        let state = self.round(start, first, [7, 12, 17, 22], (1, 0), |b, c, d| d ^ (b & (c ^ d)));
        let state = self.round(state, second, [5, 9, 14, 20], (5, 1), |b, c, d| c ^ (d & (b ^ c)));
        let state = self.round(state, third, [4, 11, 16, 23], (3, 5), |b, c, d| b ^ c ^ d);
        let state = self.round(state, fourth, [6, 10, 15, 21], (7, 0), |b, c, d| c ^ (b | !d));
        let mut sums = state;
        for (sum, initial) in sums.iter_mut().zip(&start) {
            for (word, first) in sum.iter_mut().zip(initial) {
                *word = word.wrapping_add(*first);
            }
        }
        sums
    }

    /// Sixteen steps. Step `i` reads word `stride * i + offset`; inlined, so that shifts and words are constants.
    #[inline(always)]
    fn round(
        &self,
        state: [Lanes; 4],
        sines: &[u32; 16],
        shifts: [u32; 4],
        (stride, offset): (usize, usize),
        mix: impl Fn(u32, u32, u32) -> u32 + Copy,
    ) -> [Lanes; 4] {
        let [mut a, mut b, mut c, mut d] = state;
        for quarter in 0..4 {
            let step = |turn: usize, a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes| {
                let i = 4 * quarter + turn;
                // In range: `i` is below 16 and `turn` below 4.
                let (word, sine, shift) = (&self.0[(stride * i + offset) % 16], sines[i], shifts[turn]);
                let mut next = [0; LANES];
                for lane in 0..LANES {
                    let sum = a[lane].wrapping_add(mix(b[lane], c[lane], d[lane]));
                    let sum = sum.wrapping_add(word[lane]).wrapping_add(sine);
                    next[lane] = sum.rotate_left(shift).wrapping_add(b[lane]);
                }
                next
            };
            a = step(0, &a, &b, &c, &d);
            d = step(1, &d, &a, &b, &c);
            c = step(2, &c, &d, &a, &b);
            b = step(3, &b, &c, &d, &a);
        }
        [a, b, c, d]
    }
}

/// Whether a message went into its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is there.
    Set,
    /// It needs more than one block; the lane is as it was.
    TooLong,
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

    fn digest(blocks: &Blocks, lane: usize) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (part, word) in bytes.chunks_exact_mut(4).zip(blocks.digests()) {
            part.copy_from_slice(&word[lane].to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_length_agrees_with_the_crate_or_is_too_long() {
        for length in 0..=200_usize {
            let message: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
            for cut in [0, length / 2, length] {
                let mut blocks = Blocks::zeroed();
                let lane = length % LANES;
                let fit = blocks.set(lane, &message[..cut], &message[cut..]);
                if length > MAX_MESSAGE {
                    assert_eq!(fit, Fit::TooLong, "{length}");
                } else {
                    assert_eq!(fit, Fit::Set, "{length}");
                    assert_eq!(digest(&blocks, lane), <[u8; 16]>::from(Md5::digest(&message)), "{length}");
                }
            }
        }
    }

    #[test]
    fn a_lane_that_does_not_exist_takes_nothing() {
        assert_eq!(Blocks::zeroed().set(LANES, b"a", b"b"), Fit::TooLong);
    }

    proptest! {
        #[test]
        fn lanes_do_not_disturb_each_other(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MAX_MESSAGE), LANES),
        ) {
            let mut blocks = Blocks::zeroed();
            for (lane, message) in messages.iter().enumerate() {
                // Twice, so that what an earlier message left behind would show.
                assert_eq!(blocks.set(lane, &[0xff; MAX_MESSAGE], b""), Fit::Set);
                assert_eq!(blocks.set(lane, message, b""), Fit::Set);
            }
            for (lane, message) in messages.iter().enumerate() {
                assert_eq!(digest(&blocks, lane), <[u8; 16]>::from(Md5::digest(message)));
            }
        }
    }
}
