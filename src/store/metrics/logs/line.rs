//! One line of the hub's log as a record: JSON or text, told apart line by line.
//!
//! A record has a time, a level and perhaps a kind: the member `event_type`, or `[EVENT_TYPE]` at the start of its message.
//! What has no time is none: the rest of a traceback, for example. Lines are scanned as bytes and never copied; garbage costs
//! what a line costs.

use memchr::{memchr, memchr2, memmem};

use super::stamp;

/// A line, as far as a question can ask about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Record<'a> {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// Whether its level is ERROR or CRITICAL.
    pub(super) level: Level,
    /// The kind of event as it is written; empty for a record that is none.
    pub(super) kind: &'a [u8],
    /// The wanted field, if the record has it as a number.
    pub(super) field: Option<f64>,
    /// Whose request it is about.
    pub(super) asker: Asker,
}

/// A record's level, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Level {
    /// ERROR, CRITICAL or FATAL.
    Error,
    /// Anything else.
    #[default]
    Other,
}

/// Whose request a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asker {
    /// A user's, as far as one can tell.
    #[default]
    Users,
    /// One to the features API, as our own probes make them.
    Probe,
}

/// The path of our own probes.
const PROBED: &[u8] = b"/api/v1/features";

/// A level or an event stands this close to the start of a text line.
const HEAD: usize = 160;

/// As long as the word before a bar that `docker compose logs` puts in front of each line.
const SERVICE: usize = 64;

/// Read a line; `field` is the member or `FIELD=` that is wanted, empty for none.
pub(super) fn record<'a>(line: &'a [u8], field: &[u8]) -> Option<Record<'a>> {
    let line = line.trim_ascii();
    match line.first()? {
        b'{' => json(line, field, None),
        b'0'..=b'9' => text(line, field),
        _ => {
            // `hub-1  | ` in front of the line.
            let bar = memchr(b'|', line.get(..SERVICE.min(line.len()))?)?;
            let rest = line.get(bar + 1..)?.trim_ascii_start();
            if rest.first() == Some(&b'{') { json(rest, field, None) } else { text(rest, field) }
        }
    }
}

/// A JSON object, by its own members only.
fn json<'a>(line: &'a [u8], field: &[u8], outer: Option<i64>) -> Option<Record<'a>> {
    let mut record = Record::default();
    let (mut at, mut message): (Option<i64>, &[u8]) = (None, &[]);
    let mut endpoint: &[u8] = &[];
    let mut rest = line.get(1..)?.trim_ascii_start();
    while let [b'"', text @ ..] = rest {
        let end = string_end(text)?;
        let key = text.get(..end)?;
        rest = text.get(end + 1..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let quoted = rest.first() == Some(&b'"');
        let (value, after) = value_of(rest)?;
        rest = after.trim_ascii_start();
        match key {
            b"timestamp" | b"time" | b"ts" | b"asctime" | b"@timestamp" if at.is_none() => {
                at = if quoted { stamp::leading(value).map(|(at, _)| at) } else { stamp::number(value) };
            }
            b"level" | b"levelname" if quoted && is_error(value) => record.level = Level::Error,
            b"event_type" if quoted => record.kind = value,
            b"message" | b"msg" if quoted => message = value,
            b"endpoint" | b"path" if quoted => endpoint = value,
            _ => {}
        }
        if !field.is_empty() && key == field {
            record.field = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        }
        let [b',', next @ ..] = rest else { break };
        rest = next.trim_ascii_start();
    }
    // A line that was cut off is no record.
    rest.strip_prefix(b"}")?;
    record.at = at.or(outer)?;
    if record.kind.is_empty() {
        record.kind = bracketed(message).unwrap_or_default();
    }
    if endpoint.starts_with(PROBED) || (endpoint.is_empty() && mentions_probe(message)) {
        record.asker = Asker::Probe;
    }
    Some(record)
}

/// A value without its quotes, and what follows it.
fn value_of(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        b'"' => {
            let inner = text.get(1..)?;
            let end = string_end(inner)?;
            Some((inner.get(..end)?, inner.get(end + 1..)?))
        }
        b'{' | b'[' => {
            let end = nested_end(text)?;
            Some((text.get(..end)?, text.get(end..)?))
        }
        _ => {
            let end = text.iter().position(|byte| matches!(byte, b',' | b'}'))?;
            Some((text.get(..end)?.trim_ascii_end(), text.get(end..)?))
        }
    }
}

/// Where the string that begins here ends.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Where the object or list that begins here has ended.
fn nested_end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match text.get(at)? {
            b'"' => at += 1 + string_end(text.get(at + 1..)?)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// A line of text: a time, words among which is the level, and perhaps `[EVENT_TYPE]`.
fn text<'a>(line: &'a [u8], field: &[u8]) -> Option<Record<'a>> {
    let (mut at, length) = stamp::leading(line)?;
    let mut rest = line.get(length..)?;
    // `docker logs -t` puts a time in front of each line, whatever the line is.
    let inner = rest.trim_ascii_start();
    if inner.first() == Some(&b'{') {
        return json(inner, field, Some(at));
    }
    if let Some((own, length)) = stamp::leading(inner) {
        (at, rest) = (own, inner.get(length..)?);
    }
    let head = rest.get(..HEAD.min(rest.len()))?;
    let (mut level, mut after) = (Level::Other, 0);
    let mut from = 0;
    for word in head.split(|byte| !byte.is_ascii_alphabetic()) {
        let end = from + word.len();
        if is_level(word) {
            (level, after) = (if is_error(word) { Level::Error } else { Level::Other }, end);
            break;
        }
        from = end + 1;
    }
    let message = rest.get(after..)?;
    let open = memchr(b'[', message.get(..HEAD.min(message.len()))?);
    let kind = open.and_then(|open| bracketed(message.get(open..)?)).unwrap_or_default();
    let asker = if mentions_probe(message) { Asker::Probe } else { Asker::Users };
    Some(Record { at, level, kind, field: assigned(rest, field), asker })
}

/// `[WORD]` at the start of a message.
fn bracketed(message: &[u8]) -> Option<&[u8]> {
    let inner = message.strip_prefix(b"[")?;
    let word = inner.get(..inner.iter().take(64).position(|byte| *byte == b']')?)?;
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    (!word.is_empty() && word.iter().all(fits)).then_some(word)
}

/// `GET /api/v1/features…`, as the message of a request says it.
fn mentions_probe(message: &[u8]) -> bool {
    let head = message.get(..HEAD.min(message.len())).unwrap_or_default();
    // Most messages hold no slash at all.
    memchr(b'/', head).is_some() && memmem::find(head, PROBED).is_some()
}

/// The number behind `FIELD=` in a line of text.
fn assigned(line: &[u8], field: &[u8]) -> Option<f64> {
    if field.is_empty() {
        return None;
    }
    for at in memmem::find_iter(line, field) {
        let before = at.checked_sub(1).and_then(|before| line.get(before));
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            continue;
        }
        let Some(value) = line.get(at + field.len()..).and_then(|rest| rest.strip_prefix(b"=")) else { continue };
        let fits = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let end = value.iter().position(|byte| !fits(byte)).unwrap_or(value.len());
        return std::str::from_utf8(value.get(..end)?).ok()?.parse().ok();
    }
    None
}

fn is_level(word: &[u8]) -> bool {
    is_error(word) || matches!(word, b"DEBUG" | b"INFO" | b"WARNING" | b"WARN" | b"TRACE" | b"NOTICE")
}

fn is_error(word: &[u8]) -> bool {
    matches!(word, b"ERROR" | b"CRITICAL" | b"FATAL" | b"error" | b"fatal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(line: &str, expected: Option<(Level, &str, Option<f64>, Asker)>) {
        let read = record(line.as_bytes(), b"duration_ms");
        let seen = read.map(|read| (read.level, std::str::from_utf8(read.kind).unwrap(), read.field, read.asker));
        assert_eq!(seen, expected, "{line}");
        if let Some(read) = read {
            assert_eq!(read.at, 1_795_269_601_500, "{line}");
        }
    }

    #[test]
    fn json_lines_are_read_by_their_own_members() {
        use Asker::{Probe, Users};
        use Level::{Error, Other};
        case(
            r#"{"timestamp": "2026-11-21T14:00:01.500000", "level": "INFO", "logger": "llm_hub", "message": "[API_CALL] GET /x - 200"}"#,
            Some((Other, "API_CALL", None, Users)),
        );
        case(
            r#"{"level":"ERROR","event_type":"error","timestamp":"2026-11-21T14:00:01.5Z","duration_ms":12.5}"#,
            Some((Error, "error", Some(12.5), Users)),
        );
        case(
            r#"{"context":{"level":"ERROR","event_type":"x","a":["}",{"]":"\"}"}]},"ts":1795269601.5,"level":"INFO"}"#,
            Some((Other, "", None, Users)),
        );
        case(
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","message":"say \"[ERROR]\" \\","level":"CRITICAL" }"#,
            Some((Error, "", None, Users)),
        );
        case(
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","event_type":"api_call","endpoint":"/api/v1/features/x","duration_ms":"7"}"#,
            Some((Other, "api_call", Some(7.0), Probe)),
        );
        case(
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","message":"[API_CALL] GET /api/v1/features/ - 200"}"#,
            Some((Other, "API_CALL", None, Probe)),
        );
        case(r#"hub-1  | {"timestamp":"2026-11-21T14:00:01.5Z"}"#, Some((Other, "", None, Users)));
        case(r#"2026-11-21T14:00:01.500123456Z {"level":"ERROR"}"#, Some((Error, "", None, Users)));
    }

    #[test]
    fn text_lines_are_read_by_their_level_and_event() {
        use Asker::{Probe, Users};
        use Level::{Error, Other};
        case(
            "2026-11-21 14:00:01,500 - llm_hub - INFO - [PAGE_VIEW] User viewed x",
            Some((Other, "PAGE_VIEW", None, Users)),
        );
        case("2026-11-21 14:00:01,500 - llm_hub - ERROR - [ERROR] Error: x", Some((Error, "ERROR", None, Users)));
        case(
            "2026-11-21 14:00:01,500 [ERROR] llm_hub: [API_CALL] a duration_ms=2e3 b",
            Some((Error, "API_CALL", Some(2000.0), Users)),
        );
        case("2026-11-21T15:00:01.5+01:00 INFO plain, an ERROR later", Some((Other, "", None, Users)));
        case(
            "2026-11-21 14:00:01,500 - x - INFO - [API_CALL] GET /api/v1/features/a - 200 xduration_ms=1",
            Some((Other, "API_CALL", None, Probe)),
        );
        case("hub-1  | 2026-11-21 14:00:01,500 - x - INFO - [1] no event", Some((Other, "1", None, Users)));
        case(
            "2026-11-21T14:00:02.9Z 2026-11-21 14:00:01,500 - llm_hub - WARNING - [WARNING] w",
            Some((Other, "WARNING", None, Users)),
        );
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in [
            "",
            "   ",
            "Traceback (most recent call last):",
            "  File \"/app/x.py\", line 1, in y",
            "INFO:llm_hub:[PAGE_VIEW] no time",
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","message":"cut off"#,
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","message":"cut off","#,
            r#"{"timestamp":"2026-11-21T14:00:01.5Z","a":{"b":"#,
            r#"{"level":"ERROR"}"#,
            r#"{"timestamp":"yesterday","level":"ERROR"}"#,
            "{]}",
            "{",
            "{}",
            "|",
            "\0\0\0",
            "]]]]|]]]",
        ] {
            case(line, None);
        }
        assert_eq!(record(b"\xff\xfe{\"timestamp\":", b""), None);
        assert_eq!(record(&[b'['; 100_000], b""), None);
        assert_eq!(record(&[b"{\"a\":".as_slice(), &[b'['; 100_000]].concat(), b""), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = record(&bytes, b"duration_ms");
            let _ = record(&[b"{\"timestamp\":\"2026-11-21T14:00:01.5Z\",\"a\":".as_slice(), &bytes].concat(), b"a");
            let _ = record(&[b"2026-11-21 14:00:01,500 ".as_slice(), &bytes].concat(), b"a");
        }
    }
}
