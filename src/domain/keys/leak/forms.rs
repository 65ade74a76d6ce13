//! The forms in which a secret is written down: as it is, as base64 at any place of a longer text, in a URL, in JSON.
//!
//! Every form is exact: whoever reads it has the secret.

use zeroize::Zeroizing;

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is.
    Plain,
    /// As base64 of either alphabet, alone or inside a longer text.
    Base64,
    /// With `%` before the hex digits of what a URL cannot hold.
    Url,
    /// With the escapes of a JSON string.
    Json,
}

impl Form {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Base64 => "base64",
            Self::Url => "url",
            Self::Json => "json",
        }
    }
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// All forms of a secret, each once.
pub fn forms(secret: &str) -> Vec<(Form, Zeroizing<Vec<u8>>)> {
    let mut all = vec![(Form::Plain, Zeroizing::new(secret.as_bytes().to_vec()))];
    let mut add = |form: Form, bytes: Vec<u8>| {
        let bytes = Zeroizing::new(bytes);
        if !all.iter().any(|(_, known)| *known == bytes) {
            all.push((form, bytes));
        }
    };
    for alphabet in [STANDARD, URL_SAFE] {
        for offset in 0..3 {
            add(Form::Base64, base64(secret.as_bytes(), offset, alphabet));
        }
    }
    for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        add(Form::Url, percent(secret.as_bytes(), hex));
    }
    let quoted = Zeroizing::new(serde_json::Value::from(secret).to_string());
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&quoted);
    add(Form::Json, inner.as_bytes().to_vec());
    all
}

/// The digits of the base64 of `offset` other bytes and then these which depend on these alone.
fn base64(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |at: usize| {
        let byte = (at / 8).checked_sub(offset).and_then(|at| bytes.get(at)).copied().unwrap_or_default();
        byte >> (7 - at % 8) & 1
    };
    let first = (offset * 8).div_ceil(6);
    let end = (offset + bytes.len()) * 8 / 6;
    let digit = |at: usize| (0..6).fold(0_u8, |six, place| six << 1 | bit(at * 6 + place));
    // Six bits are below 64.
    (first..end).filter_map(|at| alphabet.get(usize::from(digit(at))).copied()).collect()
}

fn percent(bytes: &[u8], hex: &[u8; 16]) -> Vec<u8> {
    let digit = |four: u8| hex.get(usize::from(four & 15)).copied().unwrap_or_default();
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend([b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_holds_only_what_depends_on_the_secret() {
        #[track_caller]
        fn case(secret: &[u8], offset: usize, expected: &str) {
            assert_eq!(String::from_utf8(base64(secret, offset, STANDARD)).unwrap(), expected);
        }
        // Foobar, xFoobar and xxFoobar: Rm9vYmFy, eEZvb2Jhcg==, eHhGb29iYXI=.
        case(b"Foobar", 0, "Rm9vYmFy");
        case(b"Foobar", 1, "Zvb2Jhc");
        case(b"Foobar", 2, "Gb29iYX");
    }

    #[test]
    fn each_form_stands_once() {
        let shown = |secret: &str| -> Vec<String> {
            forms(secret)
                .iter()
                .map(|(form, text)| format!("{} {}", form.word(), str::from_utf8(text).unwrap()))
                .collect()
        };
        assert_eq!(shown("abc"), ["plain abc", "base64 YWJj", "base64 FiY", "base64 hYm"]);
        let odd = shown("a?\"b");
        assert!(odd.contains(&"url a%3F%22b".to_owned()) && odd.contains(&"url a%3f%22b".to_owned()), "{odd:?}");
        assert!(odd.contains(&"json a?\\\"b".to_owned()), "{odd:?}");
    }
}
