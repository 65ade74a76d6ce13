//! The bodies of the provider-key routes, and the 422 that repeats them: in the words of pydantic 2, or of pydantic 1, which
//! repeats nothing.

use serde_json::{Value, json};

use super::super::http::{Request, Response};
use super::super::python_json::Json;
use super::super::update::{self, Kind, MISSING, Problem, STRING_TYPE};
use super::rows::Pydantic;

const TOO_SHORT: Kind = Kind { name: "string_too_short", message: "String should have at least 10 characters" };
const DICT_TYPE: Kind = Kind { name: "dict_type", message: "Input should be a valid dictionary" };

/// `POST …/keys`.
pub struct Save {
    /// `provider_type`, as sent.
    pub provider: String,
    /// `api_key`.
    pub key: String,
    /// `name`.
    pub name: Option<String>,
    /// `config`; an explicit null is none.
    pub config: Option<Value>,
}

/// `POST …/keys/test`.
pub struct Test {
    /// `provider_type`, as sent.
    pub provider: String,
    /// `api_key`.
    pub key: Option<String>,
}

/// The body, or the refusal of what is no JSON.
pub fn json(request: &Request) -> Result<Json, Response> {
    update::body(request)
}

impl Save {
    /// Look at the fields.
    pub fn read(body: &Json, pydantic: Pydantic) -> Result<Self, Response> {
        let mut fields = Fields::of(body, pydantic)?;
        let provider = fields.text("provider_type");
        let key = fields.text("api_key");
        if let Some(short) = key.as_ref().filter(|key| key.chars().count() < 10) {
            fields.refuse("api_key", TOO_SHORT, &Json::Text(short.clone()));
        }
        let name = fields.optional_text("name");
        let config = match body.member("config") {
            None | Some(Json::Null) => None,
            Some(config @ Json::Object(_)) => config.to_value(),
            // pydantic 1 makes a dictionary of an empty list.
            Some(Json::List(items)) if items.is_empty() && pydantic == Pydantic::One => Some(json!({})),
            Some(other) => {
                fields.refuse("config", DICT_TYPE, other);
                None
            }
        };
        let (provider, key) = fields.finish(provider.zip(key))?;
        Ok(Self { provider, key, name, config })
    }
}

impl Test {
    /// Look at the fields.
    pub fn read(body: &Json, pydantic: Pydantic) -> Result<Self, Response> {
        let mut fields = Fields::of(body, pydantic)?;
        let provider = fields.text("provider_type");
        let key = fields.optional_text("api_key");
        let provider = fields.finish(provider)?;
        Ok(Self { provider, key })
    }
}

struct Fields<'a> {
    body: &'a Json,
    pydantic: Pydantic,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    fn of(body: &'a Json, pydantic: Pydantic) -> Result<Self, Response> {
        match body {
            Json::Object(_) => Ok(Self { body, pydantic, problems: Vec::new() }),
            _ => Err(refusal(&[update::problem_with_body(body)], pydantic)),
        }
    }

    fn refuse(&mut self, name: &str, kind: Kind, input: &Json) {
        self.problems.push(Problem { location: vec![json!("body"), json!(name)], ..kind.at(input) });
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.body.member(name) {
            None => {
                // The input of what is missing is the whole body, with the secret in it.
                self.refuse(name, MISSING, self.body);
                None
            }
            Some(Json::Text(text)) => Some(text.clone()),
            // pydantic 1 makes a text of a number.
            Some(Json::Int(digits)) if self.pydantic == Pydantic::One => Some(digits.clone()),
            Some(other) => {
                self.refuse(name, STRING_TYPE, other);
                None
            }
        }
    }

    fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.body.member(name) {
            None | Some(Json::Null) => None,
            Some(_) => self.text(name),
        }
    }

    fn finish<T>(self, fields: Option<T>) -> Result<T, Response> {
        match fields {
            Some(fields) if self.problems.is_empty() => Ok(fields),
            _ => Err(refusal(&self.problems, self.pydantic)),
        }
    }
}

fn refusal(problems: &[Problem], pydantic: Pydantic) -> Response {
    let details: Option<Vec<Value>> = problems
        .iter()
        .map(|problem| match pydantic {
            Pydantic::Two => second(problem),
            Pydantic::One => Some(first(problem)),
        })
        .collect();
    details.map_or_else(Response::crash, |details| Response::json(422, &json!({ "detail": details })))
}

fn second(problem: &Problem) -> Option<Value> {
    let Kind { name, message } = problem.kind;
    let mut detail = json!({"type": name, "loc": problem.location, "msg": message, "input": problem.input.to_value()?});
    if name == TOO_SHORT.name {
        detail["ctx"] = json!({"min_length": 10});
    }
    detail["url"] = json!(format!("https://errors.pydantic.dev/2.6/v/{name}"));
    Some(detail)
}

fn first(problem: &Problem) -> Value {
    let (kind, message) = match (problem.kind.name, &problem.input) {
        ("missing", _) => ("value_error.missing", "field required"),
        ("string_too_short", _) => ("value_error.any_str.min_length", "ensure this value has at least 10 characters"),
        ("dict_type", _) => ("type_error.dict", "value is not a valid dict"),
        (_, Json::Null) => ("type_error.none.not_allowed", "none is not an allowed value"),
        _ => ("type_error.str", "str type expected"),
    };
    let mut detail = json!({"loc": problem.location, "msg": message, "type": kind});
    if problem.kind.name == TOO_SHORT.name {
        detail["ctx"] = json!({"limit_value": 10});
    }
    detail
}
