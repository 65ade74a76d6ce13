//! Fernet (version 0x80, AES-128-CBC, HMAC-SHA256), with the verdicts of Python's `cryptography` on every token and key.
//!
//! Base64 is read as Python reads it: either alphabet, anything foreign inside is skipped, what follows the padding is
//! ignored, missing padding is an error (CONTRACT 7). Tokens have no age limit. The tag is compared in constant time before
//! anything is deciphered, a failure never says why, and what was secret is wiped. Time and randomness are arguments.

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The first byte of every token.
const VERSION: u8 = 0x80;
/// How every token begins: the version and the first bytes of any time before the year 2106, as base64.
const OPENING: &str = "gAAAA";
/// Version and time.
const STAMP: usize = 9;
/// Version, time and initialisation vector.
const HEADER: usize = 25;
/// The tag at the end.
const TAG: usize = 32;
/// The cipher's block.
const BLOCK: usize = 16;

/// A master key. It has neither `Debug` nor `Display` and is wiped when dropped.
pub struct MasterKey {
    /// The first half signs, the second enciphers.
    signing: Zeroizing<[u8; 16]>,
    cipher: Zeroizing<[u8; 16]>,
}

/// Why a text is no master key. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There is no text at all.
    #[error("it is empty; a master key is 32 bytes as URL-safe base64, 44 characters with the `=` at the end")]
    Empty,
    /// Not 32 bytes.
    #[error("wrong length: it holds {0} bytes, and a master key is 32 bytes as URL-safe base64 (44 characters)")]
    Length(usize),
    /// Something that is not base64.
    #[error(
        "wrong alphabet: it holds characters that are not base64; a master key has only A-Z a-z 0-9 - _ and a final ="
    )]
    Alphabet,
    /// The `=` at the end is missing.
    #[error("wrong padding: the final `=` is missing, and the hub would refuse the key")]
    Padding,
}

/// A text that was opened. It has neither `Debug` nor `Display` and is wiped when dropped.
pub struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8; the hub fails on any other.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl MasterKey {
    /// A key as Python's `cryptography` takes it: 32 bytes as padded base64 of either alphabet, blanks around it or not.
    ///
    /// # Errors
    /// [`KeyFault`], which says length, alphabet or padding and never the text.
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let bytes = decode(text.as_bytes()).filter(|bytes| bytes.len() == 32).ok_or_else(|| fault(text))?;
        let (signing, cipher) = bytes.split_at(16);
        let mut key = Self { signing: Zeroizing::default(), cipher: Zeroizing::default() };
        key.signing.copy_from_slice(signing);
        key.cipher.copy_from_slice(cipher);
        Ok(key)
    }

    /// What the token holds: everything that Python's `cryptography` opens without an age limit, and nothing else.
    pub fn open(&self, token: &str) -> Option<Plain> {
        let mut bytes = token_bytes(token)?;
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        let mut mac = self.mac()?;
        mac.update(signed);
        mac.verify_slice(tag).ok()?;
        let end = signed.len();
        let iv: [u8; 16] = bytes.get(STAMP..HEADER)?.try_into().ok()?;
        let cipher = cbc::Decryptor::<Aes128>::new(&(*self.cipher).into(), &iv.into());
        let plain = cipher.decrypt_padded::<Pkcs7>(bytes.get_mut(HEADER..end)?).ok()?.len();
        bytes.truncate(HEADER + plain);
        bytes.drain(..HEADER);
        Some(Plain(bytes))
    }

    /// A token that Python's `cryptography` opens, dated `at` (Unix seconds). `iv` must be random and never used again.
    pub fn seal(&self, plain: &[u8], at: u64, iv: [u8; 16]) -> String {
        let padded = plain.len() - plain.len() % BLOCK + BLOCK;
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + padded + TAG));
        bytes.push(VERSION);
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(&iv);
        bytes.extend_from_slice(plain);
        bytes.resize(HEADER + padded, 0);
        let cipher = cbc::Encryptor::<Aes128>::new(&(*self.cipher).into(), &iv.into());
        let (_, room) = bytes.split_at_mut(HEADER);
        // Both fail only for a buffer that is too small and a key of a length that HMAC does not take: it takes any.
        let sealed = cipher.encrypt_padded::<Pkcs7>(room, plain.len()).is_ok();
        let Some(mut mac) = self.mac().filter(|_| sealed) else { return String::new() };
        mac.update(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes());
        encode(&bytes)
    }

    /// The name of the key for people: the first eight hex digits of the SHA-256 of its 32 bytes.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update(*self.signing).chain_update(*self.cipher).finalize();
        digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key as text, as a hub's environment holds it. The caller keeps it out of what is shown.
    pub fn expose(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([*self.signing, *self.cipher].concat());
        Zeroizing::new(encode(&bytes))
    }

    fn mac(&self) -> Option<Hmac<Sha256>> {
        <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.signing).ok()
    }
}

/// Whether the two are the same key, compared in constant time.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.signing.iter().zip(other.signing.iter()).chain(self.cipher.iter().zip(other.cipher.iter()));
        std::hint::black_box(pairs.fold(0, |difference, (one, two)| difference | (one ^ two))) == 0
    }
}

/// When the token was sealed, in Unix seconds; it stands there in clear. `None` for what has not the shape of a token.
pub fn sealed_at(token: &str) -> Option<u64> {
    let bytes = token_bytes(token)?;
    Some(u64::from_be_bytes(bytes.get(1..STAMP)?.try_into().ok()?))
}

/// Whether the text is or was a token: one that is cut short or damaged counts, a pasted key does not.
pub fn is_token_like(text: &str) -> bool {
    text.trim_start().starts_with(OPENING) || sealed_at(text).is_some()
}

/// The bytes of a text with the shape of a token: its version, and a whole number of blocks, at least one.
fn token_bytes(token: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = decode(token.as_bytes())?;
    let body = bytes.len().checked_sub(HEADER + TAG)?;
    (bytes.first() == Some(&VERSION) && body >= BLOCK && body % BLOCK == 0).then_some(bytes)
}

/// What is wrong with a text that is no key.
fn fault(text: &str) -> KeyFault {
    let text = text.trim();
    let digits = text.trim_end_matches('=');
    if text.is_empty() {
        return KeyFault::Empty;
    }
    if digits.bytes().any(|byte| value(byte).is_none()) {
        return KeyFault::Alphabet;
    }
    match digits.len() * 3 / 4 {
        32 => KeyFault::Padding,
        bytes => KeyFault::Length(bytes),
    }
}

/// The six bits of a base64 digit of either alphabet.
fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Base64 as Python's `urlsafe_b64decode` reads it, which is not strict.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let (mut held, mut digits, mut pads) = (0_u8, 0_u8, 0_u8);
    for byte in text {
        if *byte == b'=' {
            // Before the second digit of a group it is skipped like any foreign character.
            pads += u8::from(digits >= 2);
            if digits + pads >= 4 {
                return Some(bytes);
            }
            continue;
        }
        let Some(six) = value(*byte) else { continue };
        pads = 0;
        match digits {
            0 => held = six,
            1 => {
                bytes.push(held << 2 | six >> 4);
                held = six & 0x0f;
            }
            2 => {
                bytes.push(held << 4 | six >> 2);
                held = six & 0x03;
            }
            _ => bytes.push(held << 6 | six),
        }
        digits = (digits + 1) % 4;
    }
    (digits == 0).then_some(bytes)
}

/// Padded URL-safe base64.
fn encode(bytes: &[u8]) -> String {
    let digit = |six: u8| match six & 0x3f {
        six @ 0..=25 => char::from(b'A' + six),
        six @ 26..=51 => char::from(b'a' + six - 26),
        six @ 52..=61 => char::from(b'0' + six - 52),
        62 => '-',
        _ => '_',
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let one = group.first().copied().unwrap_or_default();
        let (two, three) = (group.get(1).copied(), group.get(2).copied());
        text.push(digit(one >> 2));
        text.push(digit(one << 4 | two.unwrap_or_default() >> 4));
        text.push(two.map_or('=', |two| digit(two << 2 | three.unwrap_or_default() >> 6)));
        text.push(three.map_or('=', digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const KEY: &str = "k4k0ZVSJtbalhf8LzR-S3Szxdagp_mawo4j7mh1evsM=";

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/fernet-vectors.json")).unwrap()
    }

    fn text<'a>(value: &'a Value, member: &str) -> &'a str {
        value[member].as_str().unwrap()
    }

    fn hex(text: &str) -> [u8; 16] {
        let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    #[test]
    fn every_token_of_the_hub_opens_and_is_sealed_byte_for_byte() {
        let mut sealed = 0;
        for case in vectors()["valid"].as_array().unwrap() {
            let key = MasterKey::parse(text(case, "key")).ok().unwrap();
            let (token, plain) = (text(case, "token"), text(case, "plaintext"));
            assert_eq!(key.open(token).unwrap().as_str(), Some(plain));
            let at = case["timestamp"].as_u64().unwrap();
            assert_eq!(sealed_at(token), Some(at));
            if let Some(iv) = case["iv_hex"].as_str() {
                assert_eq!(key.seal(plain.as_bytes(), at, hex(iv)), token);
                sealed += 1;
            }
        }
        assert!(sealed >= 13, "{sealed}");
    }

    #[test]
    fn odd_tokens_have_the_verdict_of_the_hub() {
        for case in vectors()["invalid_or_odd"].as_array().unwrap() {
            let key = MasterKey::parse(text(case, "key")).ok().unwrap();
            let opened = key.open(text(case, "token"));
            let expected = case["decrypt"]["plaintext"].as_str();
            assert_eq!(opened.as_ref().and_then(Plain::as_str), expected, "{}", case["case"]);
            assert_eq!(opened.is_some(), case["decrypt"]["error_type"] != "InvalidToken", "{}", case["case"]);
        }
    }

    #[test]
    fn odd_keys_have_the_verdict_of_the_hub() {
        for case in vectors()["keys"].as_array().unwrap() {
            let parsed = MasterKey::parse(text(case, "key"));
            assert_eq!(parsed.is_ok(), case["result"]["ok"] == true, "{}", case["case"]);
        }
    }

    #[track_caller]
    fn fault_of(key: &str, fault: KeyFault) {
        assert_eq!(MasterKey::parse(key).err(), Some(fault));
    }

    #[test]
    fn a_bad_key_is_told_by_length_alphabet_or_padding() {
        fault_of("", KeyFault::Empty);
        fault_of(" \n", KeyFault::Empty);
        fault_of(KEY.trim_end_matches('='), KeyFault::Padding);
        fault_of("YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ==", KeyFault::Length(31));
        fault_of("0123456789abcdef0123456789abcdef", KeyFault::Length(24));
        fault_of("sk-proj-012345678901234567890123456789!2345=", KeyFault::Alphabet);
        fault_of(&KEY[..20], KeyFault::Length(15));
    }

    #[test]
    fn either_alphabet_gives_the_same_key() {
        let standard = MasterKey::parse(&KEY.replace('-', "+").replace('_', "/")).ok().unwrap();
        let safe = MasterKey::parse(KEY).ok().unwrap();
        assert!(standard == safe);
        assert_eq!(standard.expose().as_str(), KEY);
        assert_eq!(standard.fingerprint(), safe.fingerprint());
        assert_eq!(safe.fingerprint().len(), 8);
        assert!(safe != MasterKey::parse("YTK9q5ncgzsYSAM_BnCGWwSuFWXkoT_aVJHxpbVPNzQ=").ok().unwrap());
    }

    #[test]
    fn no_flipped_bit_opens() {
        let key = MasterKey::parse(KEY).ok().unwrap();
        let token = key.seal(b"sk-proj-0123456789", 1_700_000_000, [7; 16]);
        let bytes = decode(token.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&encode(&flipped)).is_none(), "bit {bit}");
        }
        for cut in 0..token.len() {
            assert!(key.open(&token[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_shape() {
        let key = MasterKey::parse(KEY).ok().unwrap();
        let token = key.seal(b"", u64::MAX, [0; 16]);
        assert_eq!(sealed_at(&token), Some(u64::MAX));
        let token = key.seal(&[b'x'; 100], 5, [0; 16]);
        assert!(is_token_like(&token) && is_token_like(&token[..30]) && sealed_at(&token[..30]).is_none());
        assert!(!is_token_like("sk-proj-0123456789") && !is_token_like(""));
    }
}
