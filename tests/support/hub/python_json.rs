//! Request bodies as Python's `json.loads` reads them: its error words and positions, and `NaN`, which standard JSON lacks.
//!
//! A 422 of the hub repeats these words (CONTRACT 3.4), so `serde_json` cannot stand in here.

use serde_json::{Map, Number, Value};

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without point or exponent, of any size, in Python's notation.
    Int(String),
    /// Any other number, not finite ones included.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// An object; of a repeated key the last one counts.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The member `name` of an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same as a standard value; `None` when it holds a number that standard JSON cannot write, at which the hub's
    /// own answer crashes.
    pub fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(digits) => Value::Number(digits.parse().ok()?),
            Self::Float(value) => Value::Number(Number::from_f64(*value)?),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_value).collect::<Option<_>>()?),
            Self::Object(members) => {
                let mut map = Map::new();
                for (key, value) in members {
                    map.insert(key.clone(), value.to_value()?);
                }
                Value::Object(map)
            }
        })
    }
}

/// What `json.JSONDecodeError` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The words.
    pub message: &'static str,
    /// Where, in characters from the start.
    pub position: usize,
}

/// Decode a whole text.
pub fn decode(text: &str) -> Result<Json, DecodeError> {
    let mut decoder = Decoder { characters: text.chars().collect(), at: 0 };
    decoder.skip_blanks();
    let value = decoder.value()?;
    decoder.skip_blanks();
    if decoder.at < decoder.characters.len() { decoder.fail("Extra data") } else { Ok(value) }
}

struct Decoder {
    characters: Vec<char>,
    at: usize,
}

impl Decoder {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn fail<T>(&self, message: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError { message, position: self.at })
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = word.chars().enumerate().all(|(i, c)| self.characters.get(self.at + i) == Some(&c));
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self) -> Result<Json, DecodeError> {
        const WORDS: [(&str, Json); 6] = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        match self.peek() {
            Some('"') => self.string().map(Json::Text),
            Some('[') => self.list(),
            Some('{') => self.object(),
            _ => {
                for (word, value) in WORDS {
                    if self.eat(word) {
                        return Ok(value);
                    }
                }
                self.number()
            }
        }
    }

    fn number(&mut self) -> Result<Json, DecodeError> {
        let start = self.at;
        let mut end = start + usize::from(self.peek() == Some('-'));
        let digits = |from: usize| self.characters.iter().skip(from).take_while(|c| c.is_ascii_digit()).count();
        let whole = if self.characters.get(end) == Some(&'0') { 1 } else { digits(end) };
        if whole == 0 {
            return self.fail("Expecting value");
        }
        end += whole;
        let mut float = false;
        if self.characters.get(end) == Some(&'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
            float = true;
        }
        if matches!(self.characters.get(end), Some('e' | 'E')) {
            let exponent = end + 1 + usize::from(matches!(self.characters.get(end + 1), Some('+' | '-')));
            if digits(exponent) > 0 {
                end = exponent + digits(exponent);
                float = true;
            }
        }
        let text: String = self.characters.iter().skip(start).take(end - start).collect();
        self.at = end;
        if float {
            // Python and Rust agree on this grammar, and both turn what is too large into an infinity.
            return Ok(Json::Float(text.parse().unwrap_or(f64::NAN)));
        }
        Ok(Json::Int(if text == "-0" { "0".to_owned() } else { text }))
    }

    fn list(&mut self) -> Result<Json, DecodeError> {
        self.at += 1;
        self.skip_blanks();
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_blanks();
            if self.eat("]") {
                return Ok(Json::List(items));
            }
            if !self.eat(",") {
                return self.fail("Expecting ',' delimiter");
            }
            self.skip_blanks();
        }
    }

    fn object(&mut self) -> Result<Json, DecodeError> {
        const NAME_WANTED: &str = "Expecting property name enclosed in double quotes";
        self.at += 1;
        self.skip_blanks();
        let mut members = Vec::new();
        if self.eat("}") {
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some('"') {
                return self.fail(NAME_WANTED);
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.eat(":") {
                return self.fail("Expecting ':' delimiter");
            }
            self.skip_blanks();
            members.push((name, self.value()?));
            self.skip_blanks();
            if self.eat("}") {
                return Ok(Json::Object(members));
            }
            if !self.eat(",") {
                return self.fail("Expecting ',' delimiter");
            }
            self.skip_blanks();
        }
    }

    fn string(&mut self) -> Result<String, DecodeError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(DecodeError { message: "Unterminated string starting at", position: start });
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escape(start)?),
                c if c < ' ' => return self.fail("Invalid control character at"),
                c => {
                    self.at += 1;
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, DecodeError> {
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(DecodeError { message: "Unterminated string starting at", position: start });
        };
        let plain = match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return Err(DecodeError { message: "Invalid \\escape", position: self.at - 1 }),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, DecodeError> {
        let high = self.four_digits()?;
        if (0xd800..0xdc00).contains(&high) && self.eat("\\") {
            if self.peek() == Some('u') {
                let low = self.four_digits()?;
                let both = 0x1_0000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at -= 1;
        }
        // Python would keep half a pair and fail later, when it writes the answer; nothing here depends on that.
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_digits(&mut self) -> Result<u32, DecodeError> {
        let digits: String = self.characters.iter().skip(self.at + 1).take(4).collect();
        let value = if digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            u32::from_str_radix(&digits, 16).ok()
        } else {
            None
        };
        let Some(value) = value else {
            return self.fail("Invalid \\uXXXX escape");
        };
        self.at += 5;
        Ok(value)
    }
}
