//! Recordings of the real hub, as `tests/data/transcripts/` holds them, with the shortened values written out again.
//!
//! The recorder shortened what was long: `<1000 x 'x'>` in a path or header, `<20,000 strings …>` for a list.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// One file.
#[derive(Debug, Deserialize)]
pub struct Recording {
    /// The environment of the recorded hub.
    #[serde(alias = "base_env", default)]
    pub server_env: BTreeMap<String, String>,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step: mostly a request and its answer.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// Its number in the file, from 1.
    pub n: Option<u32>,
    /// What the recorder remarked.
    pub note: Option<String>,
    /// What was sent.
    pub request: Option<Sent>,
    /// What came back.
    pub response: Option<Returned>,
    /// A new hub with these dates: `START`, `END`.
    pub env: Option<BTreeMap<String, String>>,
    /// Statuses of many equal requests.
    pub counts: Option<BTreeMap<u16, usize>>,
    /// Members of the rows that the recorder found in the database.
    pub db: Option<Vec<BTreeMap<String, Value>>>,
    /// How many workers a hub was started with.
    pub workers: Option<usize>,
    /// The last lines of its log.
    pub log_last_error: Option<Vec<String>>,
}

/// A recorded request.
#[derive(Debug, Deserialize)]
pub struct Sent {
    /// Such as `GET`.
    pub method: String,
    path: String,
    headers: Vec<(String, Text)>,
    #[serde(default, deserialize_with = "present")]
    json: Option<Value>,
    body_text: Option<String>,
}

/// A recorded answer, or why there was none.
#[derive(Debug, Deserialize)]
pub struct Returned {
    /// Such as 200.
    pub status: Option<u16>,
    /// As received, without `date` and `server`.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Length of the unpacked body.
    pub body_bytes: Option<usize>,
    /// The body, when it was JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
    /// The body, when it was not.
    pub body_text: Option<String>,
    /// How the connection ended instead.
    pub transport_error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes { bytes_hex: String },
}

/// A member that is there and null is not a member that is missing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Recording {
    /// Read one file, named without its ending.
    pub fn read(name: &str) -> Self {
        let path = folder().join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).expect("a recording of that name");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names of all files.
    pub fn names() -> Vec<String> {
        let entries = std::fs::read_dir(folder()).expect("the folder of recordings");
        let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut names: Vec<String> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
        names.sort();
        names
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts")
}

impl Sent {
    /// The bytes of the request target; the recorder wrote down bytes beyond ASCII as latin-1.
    pub fn target(&self) -> Vec<u8> {
        latin1(&written_out(&self.path))
    }

    /// Headers as they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        self.headers.iter().map(|(name, value)| {
            let value = match value {
                Text::Plain(text) => latin1(&written_out(text)),
                Text::Bytes { bytes_hex } => hex(bytes_hex),
            };
            (name.as_str(), value)
        })
    }

    /// The first plain header of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        String::from_utf8(value).ok()
    }

    /// The body. A U+FFFD stands for a byte that is not UTF-8, which JSON could not record.
    pub fn body(&self) -> Option<Vec<u8>> {
        if let Some(json) = &self.json {
            return Some(lists_written_out(json).to_string().into_bytes());
        }
        let text = self.body_text.as_ref()?;
        let mut body = Vec::new();
        for (index, piece) in text.split('\u{fffd}').enumerate() {
            if index > 0 {
                body.push(0xff);
            }
            body.extend(piece.bytes());
        }
        Some(body)
    }
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("a recorded text of bytes")).collect()
}

fn hex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("recorded hex digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// `<1000 x 'x'>` as a thousand times x.
fn written_out(text: &str) -> String {
    let shortened = || {
        let (before, rest) = text.split_once('<')?;
        let (count, rest) = rest.split_once(" x '")?;
        let (unit, after) = rest.split_once("'>")?;
        Some(format!("{before}{}{after}", unit.repeat(count.parse().ok()?)))
    };
    shortened().unwrap_or_else(|| text.to_owned())
}

/// Any `"<20,000 strings …>"` inside as the list that it stands for.
pub fn lists_written_out(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("<20,000 strings") => {
            json!((0..20_000).map(|n| format!("u{n:05}@example.com")).collect::<Vec<_>>())
        }
        // Only the length of these was recorded: 20 characters each.
        Value::String(text) if text == "<200,000 strings>" => {
            json!((0..200_000).map(|n| format!("u{n:07}@example.com")).collect::<Vec<_>>())
        }
        Value::Array(items) => items.iter().map(lists_written_out).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), lists_written_out(member))).collect()
        }
        other => other.clone(),
    }
}
