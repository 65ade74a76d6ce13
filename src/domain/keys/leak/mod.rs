//! Secrets in plain text: exact ones in every form that they are written in, and texts with the shape of a provider's key.
//!
//! Bytes come in pieces of any size and are forgotten again: memory does not grow with a file, nor with a line. What is
//! reported is a line, which secret it was, or whose shape and a fingerprint; never the bytes, and nothing around them.

mod forms;
mod shapes;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use zeroize::Zeroizing;

pub use self::forms::Form;
use self::forms::forms;
use self::shapes::Shapes;

/// A secret shorter than this, in bytes, is not searched for: it would be found where nobody wrote it.
pub const SHORTEST: usize = 12;

/// How much of a needle finds it; every form of a secret of [`SHORTEST`] bytes is longer.
const OPENING: usize = 8;

/// The filter that most positions end at, in bits: a power of two.
const FILTER: usize = 1 << 16;

/// Where something was found, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What was found.
    pub what: What,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The secret at this place of those that were given.
    Secret {
        /// Its place.
        index: usize,
        /// How it is written.
        form: Form,
    },
    /// A text that looks like a key and is none of them.
    Shape {
        /// The provider that gives out such keys.
        provider: &'static str,
        /// The first eight hex digits of its SHA-256.
        fingerprint: String,
    },
}

/// What a place holds, which decides what is looked for in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text: secrets and shapes.
    Text,
    /// Anything else: secrets only, since noise has every short shape.
    Binary,
}

/// One form of one secret.
struct Needle {
    bytes: Zeroizing<Vec<u8>>,
    index: usize,
    form: Form,
}

/// Everything that is searched for. The time of a search does not depend on how many secrets there are.
pub struct Searcher {
    needles: Vec<Needle>,
    /// The needles by how they begin.
    openings: HashMap<u64, Vec<usize>, FixedState>,
    filter: Vec<bool>,
    shapes: Shapes,
    /// How many bytes a find can span.
    reach: usize,
}

impl Searcher {
    /// A search for these secrets, those of less than [`SHORTEST`] bytes left out, and for shapes.
    pub fn new(secrets: &[&str]) -> Self {
        let mut needles = Vec::new();
        for (index, secret) in secrets.iter().enumerate().filter(|(_, secret)| secret.len() >= SHORTEST) {
            needles.extend(forms(secret).into_iter().map(|(form, bytes)| Needle { bytes, index, form }));
        }
        let mut openings: HashMap<u64, Vec<usize>, FixedState> = HashMap::default();
        let mut filter = vec![false; FILTER];
        for (at, needle) in needles.iter().enumerate() {
            let Some(opening) = opening(&needle.bytes) else { continue };
            openings.entry(opening).or_default().push(at);
            if let Some(bit) = filter.get_mut(slot(opening)) {
                *bit = true;
            }
        }
        let longest = needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or_default();
        Self { needles, openings, filter, shapes: Shapes::new(), reach: longest.max(shapes::REACH) }
    }

    /// Whether a short text, such as a file's name, holds anything.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let mut hits = Vec::new();
        let mut stream = Stream::new(self, Content::Text);
        stream.feed(text, &mut hits);
        stream.end(&mut hits);
        !hits.is_empty()
    }

    /// The secrets in a piece, as (start, end, needle), by their start.
    fn secrets<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, usize, &'a Needle)> {
        let known = |opening: u64| self.filter.get(slot(opening)).copied().unwrap_or_default();
        let starts = bytes.windows(OPENING).enumerate().filter_map(move |(start, window)| {
            let opening = opening(window).filter(|opening| known(*opening))?;
            Some((start, self.openings.get(&opening)?))
        });
        starts.flat_map(move |(start, candidates)| {
            let needles = candidates.iter().filter_map(|at| self.needles.get(*at));
            needles.filter_map(move |needle| {
                let end = start + needle.bytes.len();
                (bytes.get(start..end)? == needle.bytes.as_slice()).then_some((start, end, needle))
            })
        })
    }
}

fn opening(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<OPENING>().map(|first| u64::from_le_bytes(*first))
}

/// The filter's place of an opening; a multiplication by the golden ratio spreads what texts have in common.
fn slot(opening: u64) -> usize {
    usize::try_from(opening.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48).unwrap_or_default() % FILTER
}

/// The bytes of one place, as they come.
pub struct Stream<'a> {
    searcher: &'a Searcher,
    content: Content,
    /// What may still be the beginning of something.
    held: Zeroizing<Vec<u8>>,
    /// The line of the first byte held.
    line: u64,
    /// The byte before it.
    before: u8,
    /// Up to where in `held` a secret reaches that was reported.
    covered: usize,
}

impl<'a> Stream<'a> {
    /// Nothing read yet.
    pub fn new(searcher: &'a Searcher, content: Content) -> Self {
        Self { searcher, content, held: Zeroizing::default(), line: 1, before: b'\n', covered: 0 }
    }

    /// The next bytes; what is found for certain is added, by its place.
    pub fn feed(&mut self, bytes: &[u8], hits: &mut Vec<Hit>) {
        self.held.extend_from_slice(bytes);
        let settled = self.held.len().saturating_sub(self.searcher.reach);
        // A piece that is small against the reach waits for the next one, so that little is read twice.
        if settled > self.searcher.reach {
            self.look(settled, hits);
        }
    }

    /// There are no more bytes.
    pub fn end(mut self, hits: &mut Vec<Hit>) {
        self.look(self.held.len(), hits);
    }

    /// Report what begins before `settled`, and let go of it.
    fn look(&mut self, settled: usize, hits: &mut Vec<Hit>) {
        let mut found: Vec<(usize, What)> = Vec::new();
        let mut ranges = vec![(0, self.covered)];
        for (start, end, needle) in self.searcher.secrets(&self.held) {
            ranges.push((start, end));
            if start < settled {
                found.push((start, What::Secret { index: needle.index, form: needle.form }));
            }
        }
        if self.content == Content::Text {
            let shapes = self.searcher.shapes.find(&self.held, self.before);
            // A secret that is known is no unknown key as well.
            let known = |start: usize| ranges.iter().any(|(from, to)| (*from..*to).contains(&start));
            let new = shapes.into_iter().filter(|shape| shape.opening < settled && !known(shape.start));
            found.extend(new.map(|shape| {
                (shape.opening, What::Shape { provider: shape.provider, fingerprint: shape.fingerprint })
            }));
        }
        found.sort_by_key(|(start, _)| *start);
        let mut counted = 0;
        for (start, what) in found {
            self.line += lines(self.held.get(counted..start));
            counted = start;
            hits.push(Hit { line: self.line, what });
        }
        self.line += lines(self.held.get(counted..settled));
        let reported = ranges.iter().filter(|(start, _)| *start < settled).map(|(_, end)| *end).max();
        self.covered = reported.unwrap_or_default().saturating_sub(settled);
        self.before = settled.checked_sub(1).and_then(|last| self.held.get(last)).copied().unwrap_or(self.before);
        self.held.drain(..settled);
    }
}

fn lines(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(0, |bytes| memchr::memchr_iter(b'\n', bytes).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::secret::fingerprint;

    const SECRETS: [&str; 3] =
        ["sk-proj-0123456789abcdefABCDEFxyz", "a/b+c\"d=0123456789", "sk-proj-0123456789abcdefABCDEFxyz-2"];

    fn hits(text: &[u8], piece: usize, content: Content) -> Vec<(u64, String)> {
        let searcher = Searcher::new(&SECRETS);
        let (mut stream, mut hits) = (Stream::new(&searcher, content), Vec::new());
        text.chunks(piece).for_each(|bytes| stream.feed(bytes, &mut hits));
        stream.end(&mut hits);
        let name = |what| match what {
            What::Secret { index, form } => format!("{index} {}", form.word()),
            What::Shape { provider, fingerprint } => format!("{provider} {fingerprint}"),
        };
        hits.into_iter().map(|hit| (hit.line, name(hit.what))).collect()
    }

    #[track_caller]
    fn case(text: &str, expected: &[(u64, &str)]) {
        let expected: Vec<(u64, String)> = expected.iter().map(|(line, what)| (*line, (*what).to_owned())).collect();
        for piece in [1, 7, 600, 1 << 20] {
            assert_eq!(hits(text.as_bytes(), piece, Content::Text), expected, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_its_line_counted() {
        case("nothing\nhere\n", &[]);
        case(&format!("a\nb\nKEY={}", SECRETS[0]), &[(3, "0 plain")]);
        case("x\nhttps://h/?k=a%2Fb%2Bc%22d%3D0123456789&b\n", &[(2, "1 url")]);
        case(r#"{"key": "a/b+c\"d=0123456789"}"#, &[(1, "1 json")]);
        // `base64` of the key behind nothing, behind `u:` and behind `u`.
        case("c2stcHJvai0wMTIzNDU2Nzg5YWJjZGVmQUJDREVGeHl6", &[(1, "0 base64")]);
        case("\n\ndTpzay1wcm9qLTAxMjM0NTY3ODlhYmNkZWZBQkNERUZ4eXo=", &[(3, "0 base64")]);
        case("dXNrLXByb2otMDEyMzQ1Njc4OWFiY2RlZkFCQ0RFRnh5eg==", &[(1, "0 base64")]);
    }

    #[test]
    fn a_secret_that_holds_another_is_both() {
        case(SECRETS[2], &[(1, "0 plain"), (1, "2 plain")]);
    }

    #[test]
    fn a_shape_that_is_no_known_secret_is_reported_by_its_fingerprint() {
        let key = "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";
        let expected = format!("groq {}", fingerprint(key));
        case(&format!("one\nGROQ={key}\n{}\n", SECRETS[0]), &[(2, expected.as_str()), (3, "0 plain")]);
        assert_eq!(hits(key.as_bytes(), 64, Content::Binary), []);
    }

    #[test]
    fn a_place_far_behind_costs_no_memory_and_keeps_its_line() {
        let searcher = Searcher::new(&SECRETS);
        let (mut stream, mut hits) = (Stream::new(&searcher, Content::Text), Vec::new());
        for _ in 0..200 {
            stream.feed(&[b"x".repeat(9_999), b"\n".to_vec()].concat(), &mut hits);
            assert!(stream.held.len() < 32 * 1024, "{}", stream.held.len());
        }
        stream.feed(SECRETS[0].as_bytes(), &mut hits);
        stream.end(&mut hits);
        assert_eq!(hits, [Hit { line: 201, what: What::Secret { index: 0, form: Form::Plain } }]);
    }

    #[test]
    fn a_short_secret_is_not_searched_for() {
        assert!(!Searcher::new(&["ollama"]).is_in(b"ollama run"));
        assert!(Searcher::new(&["ollama-12345"]).is_in(b"ollama-12345.txt"));
    }
}
