//! The checksums that other tools keep, computed again from the file as we have it.
//!
//! A script has lost its byte order mark and its CRLF when it was read, and some tools hash the bytes: so every form that a
//! checkout can give the file is tried. Dbmate, golang-migrate, goose, diesel and Alembic keep no checksum.

use sha2::{Digest, Sha384};

use super::super::migrations::Script;

/// What a ledger says that its file was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Of sqlx: SHA-384 of the file.
    Sha384(Vec<u8>),
    /// Of Flyway: CRC-32 of its lines without their ends, as a signed number.
    Crc32(i32),
    /// Of refinery: SipHash-1-3 with keys of zero over name, version and text, as Rust hashes them.
    Sip {
        /// The hash.
        sum: u64,
        /// The migration's name.
        name: String,
        /// Its version.
        version: i64,
        /// How wide the version is there.
        width: VersionWidth,
    },
}

/// How many bytes a version has in refinery, which decides its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionWidth {
    /// Four: the rule.
    Four,
    /// Eight: built with `int8-versions`.
    Eight,
}

impl Checksum {
    /// Whether `script` is the file that was hashed, in any form that a checkout gives it.
    pub fn is_of(&self, script: &Script) -> bool {
        match self {
            Self::Sha384(sum) => forms(script.text()).any(|text| Sha384::digest(text.as_bytes()).as_slice() == sum),
            Self::Crc32(sum) => crc32(script.text().bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'))) == *sum,
            Self::Sip { sum, name, version, width } => forms(script.text()).any(|text| {
                let mut bytes = name.clone().into_bytes();
                // Rust ends a text with a byte that no text holds, and an integer is as the machine has it.
                bytes.push(0xff);
                match width {
                    VersionWidth::Four => bytes.extend(i32::try_from(*version).unwrap_or_default().to_le_bytes()),
                    VersionWidth::Eight => bytes.extend(version.to_le_bytes()),
                }
                bytes.extend(text.as_bytes());
                bytes.push(0xff);
                siphash13(&bytes) == *sum
            }),
        }
    }
}

/// The text with either line ending, with and without a byte order mark.
fn forms(text: &str) -> impl Iterator<Item = String> {
    let windows = text.replace('\n', "\r\n");
    [text.to_owned(), windows.clone(), format!("\u{feff}{text}"), format!("\u{feff}{windows}")].into_iter()
}

/// CRC-32 as zip has it, as Java prints it.
fn crc32(bytes: impl Iterator<Item = u8>) -> i32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    (!crc).cast_signed()
}

/// SipHash-1-3 with both keys zero.
fn siphash13(bytes: &[u8]) -> u64 {
    let mut v: [u64; 4] = [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        absorb(&mut v, word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    // The last word ends in the length, of which one byte counts.
    let tail = words.remainder().iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    absorb(&mut v, (bytes.len() as u64) << 56 | tail);
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn the_hashes_are_the_named_algorithms() {
        // The check value that every description of CRC-32 gives.
        assert_eq!(crc32(b"123456789".iter().copied()), 0xcbf4_3926_u32.cast_signed());
        // Rust's own hasher is this algorithm today, and refinery began with it.
        for (name, version, text) in [("initial", 1_i32, "CREATE TABLE t ();\n"), ("", 0, ""), ("abcdefg", 7, "é")] {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            version.hash(&mut hasher);
            text.hash(&mut hasher);
            let sip = |width| Checksum::Sip {
                sum: hasher.finish(),
                name: name.to_owned(),
                version: i64::from(version),
                width,
            };
            assert!(sip(VersionWidth::Four).is_of(&Script::new(text)), "{name}");
            assert!(!sip(VersionWidth::Eight).is_of(&Script::new(text)), "{name}");
        }
    }

    #[test]
    fn the_form_of_a_checkout_does_not_count_and_any_edit_does() {
        #[track_caller]
        fn case(written: &str, here: &str, same: bool) {
            let sha = Checksum::Sha384(Sha384::digest(written.as_bytes()).to_vec());
            let bare = written.trim_start_matches('\u{feff}');
            let crc = Checksum::Crc32(crc32(bare.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'))));
            assert_eq!((sha.is_of(&Script::new(here)), crc.is_of(&Script::new(here))), (same, same), "{written:?}");
        }
        case("a\nb\n", "a\nb\n", true);
        case("a\r\nb\r\n", "a\nb\n", true);
        case("a\nb\n", "a\r\nb\r\n", true);
        case("\u{feff}a\nb\n", "a\nb\n", true);
        case("\u{feff}a\r\nb\r\n", "\u{feff}a\nb\n", true);
        case("a\nb\n", "a\nc\n", false);
        case("a -- x\n", "a\n", false);
    }
}
