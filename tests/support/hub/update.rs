//! The body of `PUT /api/v1/features/{flag}` as FastAPI 0.110 with pydantic 2.6 takes it: what it coerces, what it refuses and
//! in which words (CONTRACT 3.4). Unknown members are dropped silently.

use serde_json::{Number, Value, json};

use super::config::{Config, whole_number};
use super::http::{Request, Response};
use super::python_json::{self, Json};

/// The members that were present; each may be an explicit null.
#[derive(Debug, Default)]
pub struct Update {
    enabled: Option<Option<bool>>,
    rollout_percentage: Option<Option<Number>>,
    whitelist_users: Option<Option<Vec<String>>>,
    blacklist_users: Option<Option<Vec<String>>>,
}

impl Update {
    /// Read the body of `request`, or the answer that refuses it.
    pub fn from_request(request: &Request) -> Result<Self, Response> {
        let body = body(request)?;
        let Json::Object(_) = body else {
            return Err(refusal(&[problem_with_body(&body)]));
        };
        let mut problems = Vec::new();
        let update = Self {
            enabled: member(&body, "enabled", to_bool, &mut problems),
            rollout_percentage: member(&body, "rollout_percentage", to_int, &mut problems),
            whitelist_users: member(&body, "whitelist_users", to_users, &mut problems),
            blacklist_users: member(&body, "blacklist_users", to_users, &mut problems),
        };
        if problems.is_empty() { Ok(update) } else { Err(refusal(&problems)) }
    }

    /// Replace what was present. No range is checked.
    pub fn apply(self, config: &mut Config) {
        if let Some(enabled) = self.enabled {
            config.enabled = enabled;
        }
        if let Some(percentage) = self.rollout_percentage {
            config.rollout_percentage = percentage;
        }
        if let Some(users) = self.whitelist_users {
            config.whitelist_users = users;
        }
        if let Some(users) = self.blacklist_users {
            config.blacklist_users = users;
        }
    }
}

/// The percentage of a `/rollout/{n}` path, or the 422.
pub fn path_percentage(text: &str) -> Result<Number, Response> {
    int_from_text(text).ok_or_else(|| {
        refusal(&[Problem {
            location: vec![json!("path"), json!("percentage")],
            ..INT_PARSING.at(&Json::Text(text.to_owned()))
        }])
    })
}

/// Why a value is refused.
pub struct Problem {
    /// In which words.
    pub kind: Kind,
    /// Where.
    pub location: Vec<Value>,
    /// What was sent there.
    pub input: Json,
}

/// A way to refuse, in the words of pydantic 2.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its `type`.
    pub name: &'static str,
    /// Its `msg`.
    pub message: &'static str,
}

impl Kind {
    /// A refusal of this value, wherever it stands.
    pub fn at(self, input: &Json) -> Problem {
        Problem { kind: self, location: Vec::new(), input: input.clone() }
    }
}

/// pydantic's words.
pub const MISSING: Kind = Kind { name: "missing", message: "Field required" };
/// pydantic's words.
pub const NOT_AN_OBJECT: Kind = Kind {
    name: "model_attributes_type",
    message: "Input should be a valid dictionary or object to extract fields from",
};
const BOOL_TYPE: Kind = Kind { name: "bool_type", message: "Input should be a valid boolean" };
const BOOL_PARSING: Kind =
    Kind { name: "bool_parsing", message: "Input should be a valid boolean, unable to interpret input" };
const INT_TYPE: Kind = Kind { name: "int_type", message: "Input should be a valid integer" };
const INT_PARSING: Kind =
    Kind { name: "int_parsing", message: "Input should be a valid integer, unable to parse string as an integer" };
const INT_FROM_FLOAT: Kind =
    Kind { name: "int_from_float", message: "Input should be a valid integer, got a number with a fractional part" };
const FINITE_NUMBER: Kind = Kind { name: "finite_number", message: "Input should be a finite number" };
const LIST_TYPE: Kind = Kind { name: "list_type", message: "Input should be a valid list" };
/// pydantic's words.
pub const STRING_TYPE: Kind = Kind { name: "string_type", message: "Input should be a valid string" };

/// A 422; or the crash of a hub that cannot write the input it was given, such as NaN.
fn refusal(problems: &[Problem]) -> Response {
    let details: Option<Vec<Value>> = problems
        .iter()
        .map(|problem| {
            Some(json!({
                "type": problem.kind.name,
                "loc": problem.location,
                "msg": problem.kind.message,
                "input": problem.input.to_value()?,
                "url": format!("https://errors.pydantic.dev/2.6/v/{}", problem.kind.name),
            }))
        })
        .collect();
    details.map_or_else(Response::crash, |details| Response::json(422, &json!({ "detail": details })))
}

/// The refusal of a body that is missing or no object.
pub fn problem_with_body(body: &Json) -> Problem {
    let kind = if *body == Json::Null { MISSING } else { NOT_AN_OBJECT };
    Problem { location: vec![json!("body")], ..kind.at(body) }
}

/// The body by the rules of FastAPI: JSON when the type says so or is absent, else plain text.
pub fn body(request: &Request) -> Result<Json, Response> {
    if request.body.is_empty() {
        return Ok(Json::Null);
    }
    let essence = request
        .header_text("content-type")
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let is_json = essence.as_deref().is_none_or(|essence| {
        essence.is_empty()
            || essence.strip_prefix("application/").is_some_and(|sub| sub == "json" || sub.ends_with("+json"))
    });
    let text = std::str::from_utf8(&request.body);
    if !is_json {
        // The bytes come back in the 422; those that are not UTF-8 crash the writer.
        return text.map(|text| Json::Text(text.to_owned())).map_err(|_| Response::crash());
    }
    let Ok(text) = text else {
        return Err(Response::detail(400, "There was an error parsing the body"));
    };
    python_json::decode(text.trim_start_matches('\u{feff}')).map_err(|error| {
        Response::json(
            422,
            &json!({"detail": [{
                "type": "json_invalid",
                "loc": ["body", error.position],
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": error.message},
            }]}),
        )
    })
}

fn member<T>(
    body: &Json,
    name: &str,
    convert: fn(&Json) -> Result<T, Vec<Problem>>,
    problems: &mut Vec<Problem>,
) -> Option<Option<T>> {
    let value = body.member(name)?;
    if *value == Json::Null {
        return Some(None);
    }
    match convert(value) {
        Ok(converted) => Some(Some(converted)),
        Err(found) => {
            problems.extend(found.into_iter().map(|mut problem| {
                problem.location.splice(0..0, [json!("body"), json!(name)]);
                problem
            }));
            None
        }
    }
}

fn to_bool(value: &Json) -> Result<bool, Vec<Problem>> {
    const YES: [&str; 6] = ["1", "on", "t", "true", "y", "yes"];
    const NO: [&str; 6] = ["0", "off", "f", "false", "n", "no"];
    let kind = match value {
        Json::Bool(value) => return Ok(*value),
        Json::Text(text) => {
            let text = text.to_lowercase();
            if YES.contains(&text.as_str()) {
                return Ok(true);
            }
            if NO.contains(&text.as_str()) {
                return Ok(false);
            }
            BOOL_PARSING
        }
        Json::Int(digits) => match digits.parse::<i64>() {
            Ok(0) => return Ok(false),
            Ok(1) => return Ok(true),
            Ok(_) => BOOL_PARSING,
            Err(_) => BOOL_TYPE,
        },
        Json::Float(0.0) => return Ok(false),
        Json::Float(1.0) => return Ok(true),
        Json::Float(number) if number.fract() == 0.0 => BOOL_PARSING,
        _ => BOOL_TYPE,
    };
    Err(vec![kind.at(value)])
}

fn to_int(value: &Json) -> Result<Number, Vec<Problem>> {
    let refuse = |kind: Kind| vec![kind.at(value)];
    match value {
        Json::Bool(value) => Ok(Number::from(i64::from(*value))),
        Json::Int(digits) => digits.parse().map_err(|_| refuse(INT_TYPE)),
        Json::Text(text) => int_from_text(text).ok_or_else(|| refuse(INT_PARSING)),
        Json::Float(number) if !number.is_finite() => Err(refuse(FINITE_NUMBER)),
        Json::Float(number) if number.fract() != 0.0 => Err(refuse(INT_FROM_FLOAT)),
        Json::Float(number) => Ok(Number::from(*number as i64)),
        _ => Err(refuse(INT_TYPE)),
    }
}

fn to_users(value: &Json) -> Result<Vec<String>, Vec<Problem>> {
    let Json::List(items) = value else {
        return Err(vec![LIST_TYPE.at(value)]);
    };
    let mut users = Vec::with_capacity(items.len());
    let mut problems = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Json::Text(user) => users.push(user.clone()),
            _ => problems.push(Problem { location: vec![json!(index)], ..STRING_TYPE.at(item) }),
        }
    }
    if problems.is_empty() { Ok(users) } else { Err(problems) }
}

/// pydantic's integer in a string: a sign, single underscores, a tail of `.000`; no blanks, no digits of other scripts.
fn int_from_text(text: &str) -> Option<Number> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let body = match body.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => body,
    };
    let groups: Vec<&str> = body.split('_').collect();
    let clean = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    clean.then(|| whole_number(sign, &groups.concat()))?
}
