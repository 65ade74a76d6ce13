//! What an answer says of a key: the second table of craft.md 2.8, as data.
//!
//! The first rule that fits decides; where none does, the answer says nothing of the key (`unknown`), never `invalid`. The
//! provider's own words are matched and never handed on: some of them repeat parts of the key.

use serde_json::Value;

use super::provider::{KeyStatus, ProviderType};
use super::question::Reading;

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The class.
    pub status: KeyStatus,
    /// Why, in our own words; empty where the class says it all.
    pub why: &'static str,
    /// How many models this answer lists; `None` when it lists none, or only a first page of them.
    pub models: Option<u32>,
}

/// What an error body must hold for a rule to fit.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Any,
    /// One of these as the error's `code`.
    Code(&'static [&'static str]),
    /// This as the error's `type`.
    Type(&'static str),
    /// One of these as the error's `status`, or as the `reason` of one of its details.
    Reason(&'static [&'static str]),
    /// One of these, in lower case, somewhere in the error's message.
    Text(&'static [&'static str]),
}

/// A cell of the table.
struct Rule {
    kinds: &'static [ProviderType],
    http: u16,
    mark: Mark,
    status: KeyStatus,
    why: &'static str,
}

const fn rule(kinds: &'static [ProviderType], http: u16, mark: Mark, status: KeyStatus, why: &'static str) -> Rule {
    Rule { kinds, http, mark, status, why }
}

use KeyStatus::{
    Disabled, Expired, Invalid, NoFunds, RateLimited, Unknown, Unreachable, Valid, ValidLimited, WrongEndpoint,
    WrongKind,
};
use ProviderType::{Anthropic, Cohere, Custom, Google, Groq, Mistral, Openai, Openrouter, Together};

const REJECTED: &str = "the provider does not accept the key";
const SCOPES: &str = "the key lacks a permission";
const EMPTY: &str = "the account has no money left";
const PROJECT: &str = "the project or the key's own restrictions do not allow this call";

/// The reasons with which Google refuses a live key: the API is off, the project is denied, or the key is restricted.
const GOOGLE_RESTRICTED: &[&str] = &[
    "SERVICE_DISABLED",
    "CONSUMER_INVALID",
    "CONSUMER_SUSPENDED",
    "API_KEY_SERVICE_BLOCKED",
    "API_KEY_HTTP_REFERRER_BLOCKED",
    "API_KEY_IP_ADDRESS_BLOCKED",
    "API_KEY_ANDROID_APP_BLOCKED",
    "API_KEY_IOS_APP_BLOCKED",
];

/// Narrower rules come before wider ones. `custom` is anything that speaks OpenAI's dialect, and xAI.
const RULES: &[Rule] = &[
    rule(&[Openai, Custom], 401, Mark::Code(&["invalid_api_key"]), Invalid, REJECTED),
    rule(&[Openai, Custom], 401, Mark::Code(&["missing_scope"]), ValidLimited, SCOPES),
    rule(&[Openai, Custom], 401, Mark::Text(&["missing scope", "insufficient permissions"]), ValidLimited, SCOPES),
    rule(&[Openai], 401, Mark::Code(&["ip_not_authorized"]), ValidLimited, "not allowed from this address"),
    rule(
        &[Openai],
        401,
        Mark::Text(&["ip allowlist", "ip not authorized"]),
        ValidLimited,
        "not allowed from this address",
    ),
    rule(&[Openai, Custom], 429, Mark::Code(&["insufficient_quota", "credit_balance_exhausted"]), NoFunds, EMPTY),
    rule(&[Anthropic], 401, Mark::Type("authentication_error"), Invalid, REJECTED),
    rule(&[Anthropic], 403, Mark::Type("permission_error"), ValidLimited, SCOPES),
    rule(&[Anthropic], 402, Mark::Type("billing_error"), NoFunds, EMPTY),
    rule(&[Anthropic], 529, Mark::Any, Unknown, "the provider is overloaded"),
    rule(&[Google], 400, Mark::Reason(&["API_KEY_INVALID"]), Invalid, REJECTED),
    rule(&[Google], 400, Mark::Reason(&["FAILED_PRECONDITION"]), Unknown, "the region or the billing is in the way"),
    rule(&[Google], 401, Mark::Reason(&["ACCESS_TOKEN_TYPE_UNSUPPORTED"]), WrongKind, "a token of another kind"),
    rule(&[Google], 403, Mark::Text(&["leaked"]), Disabled, "the provider has seen the key in public"),
    rule(&[Google], 403, Mark::Reason(GOOGLE_RESTRICTED), ValidLimited, PROJECT),
    rule(&[Google], 403, Mark::Text(&["denied access"]), ValidLimited, PROJECT),
    rule(&[Cohere], 401, Mark::Text(&["has expired"]), Expired, "the key has expired"),
    rule(&[Groq, Mistral, Cohere, Together, Openrouter], 401, Mark::Any, Invalid, REJECTED),
    rule(&[Groq], 403, Mark::Any, ValidLimited, SCOPES),
    rule(&[Mistral], 403, Mark::Any, ValidLimited, "the tier or the workspace does not allow this call"),
    rule(&[Mistral, Cohere, Together, Openrouter, Custom], 402, Mark::Any, NoFunds, EMPTY),
    rule(&[Together], 400, Mark::Any, Unknown, "the provider says this of bad keys and of other things"),
    rule(&[Together], 403, Mark::Any, Unknown, "the provider means the length of a prompt by this, not the key"),
    rule(&[Openrouter], 403, Mark::Any, Unknown, "a policy is in the way, not the key"),
    rule(&[Custom], 400, Mark::Text(&["incorrect api key provided"]), Invalid, REJECTED),
    rule(&[Custom], 401, Mark::Any, Invalid, REJECTED),
    rule(&[Custom], 403, Mark::Text(&["blocked"]), Disabled, "the key or its team is blocked"),
    rule(&[Custom], 403, Mark::Text(&["permission"]), ValidLimited, SCOPES),
];

/// What holds for every provider, and comes last.
const EVERYWHERE: &[(u16, KeyStatus, &str)] = &[
    (404, WrongEndpoint, "there is no such path at this address"),
    (405, WrongEndpoint, "there is no such path at this address"),
    (429, RateLimited, "too many requests: this says nothing of the key"),
];

/// What an answer says of the key that was sent.
pub fn judge(kind: ProviderType, reading: Reading, http: u16, body: &[u8]) -> Verdict {
    let page = body.trim_ascii_start().starts_with(b"<");
    let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match http {
        200 if page => plain(WrongEndpoint, "the address answers with a web page"),
        200 => accepted(reading, &said),
        300..=399 => plain(WrongEndpoint, "the address sends us elsewhere, and a key does not follow"),
        _ => refused(kind, http, &said, page),
    }
}

/// No answer came.
pub fn silence() -> Verdict {
    plain(Unreachable, "")
}

/// An answer came that cannot be read.
pub fn nonsense(why: &'static str) -> Verdict {
    plain(Unknown, why)
}

/// How many models a list holds; `None` when it is no list or not all of it.
pub fn models(http: u16, body: &[u8]) -> Option<u32> {
    let said: Value = serde_json::from_slice(body).ok()?;
    match listing(&said) {
        Listing::Whole(count) if http == 200 => Some(count),
        Listing::Whole(_) | Listing::FirstPage | Listing::Other => None,
    }
}

fn plain(status: KeyStatus, why: &'static str) -> Verdict {
    Verdict { status, why, models: None }
}

fn refused(kind: ProviderType, http: u16, said: &Value, page: bool) -> Verdict {
    let fits = |rule: &&Rule| rule.kinds.contains(&kind) && rule.http == http && rule.mark.fits(said);
    // A page for a browser comes from something on the way, which knows no keys.
    if let Some(rule) = RULES.iter().find(fits).filter(|_| !page) {
        return plain(rule.status, rule.why);
    }
    match EVERYWHERE.iter().find(|(code, ..)| *code == http) {
        Some((_, status, why)) => plain(*status, why),
        None if http >= 500 => plain(Unknown, "the provider is in trouble"),
        None => plain(Unknown, "an answer that is not known to say anything of the key"),
    }
}

fn accepted(reading: Reading, said: &Value) -> Verdict {
    let strange = plain(Unknown, "an answer of an unknown form");
    let is = |value: &Value, member: &str| value.get(member) == Some(&Value::Bool(true));
    match reading {
        Reading::List => match listing(said) {
            Listing::Whole(count) => Verdict { status: Valid, why: "", models: Some(count) },
            Listing::FirstPage => plain(Valid, ""),
            Listing::Other => strange,
        },
        Reading::Validity => match said.get("valid") {
            Some(Value::Bool(true)) => plain(Valid, ""),
            Some(Value::Bool(false)) => plain(Invalid, REJECTED),
            _ => strange,
        },
        Reading::Openrouter => {
            let key = said.get("data").unwrap_or(&Value::Null);
            let rest = key.get("limit_remaining").and_then(Value::as_f64);
            if !key.is_object() {
                strange
            } else if is(key, "is_management_key") {
                plain(WrongKind, "a management key cannot ask a model")
            } else if rest.is_some_and(|rest| rest <= 0.0) {
                plain(NoFunds, "the key's own limit is used up")
            } else {
                plain(Valid, "")
            }
        }
        Reading::Xai => {
            if ["api_key_blocked", "api_key_disabled", "team_blocked"].iter().any(|member| is(said, member)) {
                plain(Disabled, "the key or its team is blocked")
            } else if said.get("acls").is_some() || said.get("api_key_disabled").is_some() {
                plain(Valid, "")
            } else {
                strange
            }
        }
    }
}

/// The three forms of lists that providers have.
enum Listing {
    Whole(u32),
    FirstPage,
    Other,
}

fn listing(said: &Value) -> Listing {
    let items = said.as_array().or_else(|| ["data", "models"].iter().find_map(|member| said.get(member)?.as_array()));
    let named = |item: &Value| item.get("id").or_else(|| item.get("name")).is_some_and(Value::is_string);
    let more = said.get("has_more") == Some(&Value::Bool(true))
        || ["nextPageToken", "next_page_token"]
            .iter()
            .any(|token| said.get(token).and_then(Value::as_str).is_some_and(|token| !token.is_empty()));
    match items {
        Some(items) if items.iter().all(named) => {
            if more {
                Listing::FirstPage
            } else {
                Listing::Whole(u32::try_from(items.len()).unwrap_or(u32::MAX))
            }
        }
        _ => Listing::Other,
    }
}

impl Mark {
    fn fits(self, said: &Value) -> bool {
        let error = said.get("error").filter(|error| error.is_object()).unwrap_or(said);
        let word = |member: &str| error.get(member).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Any => true,
            Self::Code(codes) => codes.contains(&word("code")),
            Self::Type(kind) => word("type") == kind,
            Self::Reason(reasons) => {
                let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
                let mut given = details.filter_map(|detail| detail.get("reason")?.as_str());
                reasons.contains(&word("status")) || given.any(|reason| reasons.contains(&reason))
            }
            Self::Text(parts) => {
                let text = ["message", "error", "detail"].map(word).join("\n").to_lowercase();
                parts.iter().any(|part| text.contains(part))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::keys::question::question;

    /// One cell: what the provider answers, and what that says.
    #[track_caller]
    fn cell(kind: ProviderType, http: u16, body: Value, expected: KeyStatus) {
        let verdict = judge(kind, question(kind, None).reading, http, body.to_string().as_bytes());
        assert_eq!(verdict.status, expected, "{kind} {http} {body}");
        assert_eq!(verdict.why.is_empty(), expected == Valid, "{kind} {http} {body}: {verdict:?}");
    }

    fn google(status: &str, reason: &str, message: &str) -> Value {
        json!({"error": {"status": status, "message": message, "details": [{"@type": "t"}, {"reason": reason}]}})
    }

    #[test]
    fn openai_is_read_by_its_code_and_not_by_its_type() {
        let error = |code: &str| json!({"error": {"message": "m", "type": "insufficient_quota", "code": code}});
        cell(Openai, 200, json!({"object": "list", "data": [{"id": "gpt-4o"}]}), Valid);
        cell(Openai, 401, error("invalid_api_key"), Invalid);
        cell(Openai, 401, error("missing_scope"), ValidLimited);
        cell(Openai, 401, json!({"error": {"message": "Missing scopes: api.model.read", "code": null}}), ValidLimited);
        cell(Openai, 401, json!({"error": {"message": "Your IP is not on the IP allowlist"}}), ValidLimited);
        cell(Openai, 401, error("ip_not_authorized"), ValidLimited);
        cell(Openai, 401, error("something_new"), Unknown);
        cell(Openai, 403, error("unsupported_country_region_territory"), Unknown);
        cell(Openai, 429, error("insufficient_quota"), NoFunds);
        cell(Openai, 429, error("credit_balance_exhausted"), NoFunds);
        cell(Openai, 429, error("rate_limit_exceeded"), RateLimited);
    }

    #[test]
    fn anthropic_is_read_by_its_type() {
        let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "m"}});
        cell(Anthropic, 200, json!({"data": [{"id": "c"}], "has_more": false}), Valid);
        cell(Anthropic, 400, error("invalid_request_error"), Unknown);
        cell(Anthropic, 401, error("authentication_error"), Invalid);
        cell(Anthropic, 401, error("something_new"), Unknown);
        cell(Anthropic, 402, error("billing_error"), NoFunds);
        cell(Anthropic, 403, error("permission_error"), ValidLimited);
        cell(Anthropic, 429, error("rate_limit_error"), RateLimited);
        cell(Anthropic, 529, error("overloaded_error"), Unknown);
    }

    #[test]
    fn google_is_read_by_its_reason() {
        cell(Google, 200, json!({"models": [{"name": "models/gemini"}], "nextPageToken": ""}), Valid);
        cell(Google, 400, google("INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid"), Invalid);
        cell(Google, 400, google("FAILED_PRECONDITION", "", "User location is not supported"), Unknown);
        cell(Google, 400, google("INVALID_ARGUMENT", "", "m"), Unknown);
        cell(Google, 401, google("UNAUTHENTICATED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "m"), WrongKind);
        cell(Google, 401, google("UNAUTHENTICATED", "", "m"), Unknown);
        cell(Google, 403, google("PERMISSION_DENIED", "", "Your API key was reported as leaked."), Disabled);
        for reason in GOOGLE_RESTRICTED {
            cell(Google, 403, google("PERMISSION_DENIED", reason, "m"), ValidLimited);
        }
        cell(Google, 403, google("PERMISSION_DENIED", "", "Your project has been denied access."), ValidLimited);
        cell(Google, 403, google("PERMISSION_DENIED", "", "unregistered callers"), Unknown);
        cell(Google, 429, google("RESOURCE_EXHAUSTED", "", "m"), RateLimited);
    }

    #[test]
    fn the_others_are_read_by_their_status() {
        let m = json!({"message": "m"});
        for (kind, http, expected) in [
            (Groq, 401, Invalid),
            (Groq, 403, ValidLimited),
            (Groq, 429, RateLimited),
            (Mistral, 401, Invalid),
            (Mistral, 402, NoFunds),
            (Mistral, 403, ValidLimited),
            (Mistral, 429, RateLimited),
            (Cohere, 401, Invalid),
            (Cohere, 402, NoFunds),
            (Cohere, 429, RateLimited),
            (Together, 400, Unknown),
            (Together, 401, Invalid),
            (Together, 402, NoFunds),
            (Together, 403, Unknown),
            (Together, 429, RateLimited),
            (Openrouter, 401, Invalid),
            (Openrouter, 402, NoFunds),
            (Openrouter, 403, Unknown),
            (Openrouter, 429, RateLimited),
            (Custom, 401, Invalid),
            (Custom, 402, NoFunds),
            (Custom, 403, Unknown),
            (Custom, 429, RateLimited),
        ] {
            cell(kind, http, m.clone(), expected);
        }
        cell(Groq, 200, json!({"object": "list", "data": []}), Valid);
        cell(Mistral, 200, json!({"object": "list", "data": [{"id": "m"}]}), Valid);
        cell(Together, 200, json!([{"id": "m"}]), Valid);
        cell(Cohere, 401, json!({"message": "your API key has expired"}), Expired);
        cell(Cohere, 200, json!({"valid": true, "organization_id": "o"}), Valid);
        cell(Cohere, 200, json!({"valid": false}), Invalid);
        cell(Cohere, 200, json!({"data": []}), Unknown);
        let limited = json!({"error": {"message": "m", "metadata": {"limit_source": "key"}}});
        cell(Openrouter, 402, limited, NoFunds);
        cell(Openrouter, 200, json!({"data": {"label": "l", "limit_remaining": null}}), Valid);
        cell(Openrouter, 200, json!({"data": {"is_management_key": true}}), WrongKind);
        cell(Openrouter, 200, json!({"data": {"limit_remaining": 0}}), NoFunds);
        cell(Openrouter, 200, json!({"data": [{"id": "a public list proves nothing"}]}), Unknown);
    }

    #[test]
    fn xai_is_a_custom_address_with_answers_of_its_own() {
        #[track_caller]
        fn key(body: Value, expected: KeyStatus) {
            let verdict = judge(Custom, Reading::Xai, 200, body.to_string().as_bytes());
            assert_eq!(verdict.status, expected, "{body}");
        }
        key(json!({"acls": ["*"], "api_key_blocked": false, "api_key_disabled": false}), Valid);
        key(json!({"acls": ["*"], "api_key_blocked": true}), Disabled);
        key(json!({"acls": ["*"], "api_key_disabled": true}), Disabled);
        key(json!({"acls": ["*"], "team_blocked": true}), Disabled);
        key(json!({}), Unknown);
        cell(Custom, 400, json!({"code": "c", "error": "Incorrect API key provided: ab***yz."}), Invalid);
        cell(Custom, 400, json!({"error": "something else"}), Unknown);
        cell(Custom, 403, json!({"error": "The API key or its team is blocked."}), Disabled);
        cell(Custom, 403, json!({"error": "No permission for this model."}), ValidLimited);
    }

    #[test]
    fn a_custom_address_may_answer_in_any_of_the_forms() {
        cell(Custom, 200, json!({"object": "list", "data": [{"id": "m"}]}), Valid);
        cell(Custom, 200, json!({"models": [{"name": "llama3"}]}), Valid);
        cell(Custom, 200, json!([{"id": "m"}]), Valid);
        cell(Custom, 200, json!({}), Unknown);
        cell(Custom, 200, json!({"data": ["no", "names"]}), Unknown);
        cell(Custom, 401, json!({"error": {"code": "missing_scope"}}), ValidLimited);
        cell(Custom, 429, json!({"error": {"code": "insufficient_quota"}}), NoFunds);
    }

    #[test]
    fn what_says_nothing_of_the_key_never_makes_it_red() {
        for kind in ProviderType::ALL {
            let reading = question(kind, None).reading;
            for http in [204, 400, 401, 402, 403, 404, 408, 418, 500, 502, 503, 504, 511, 529] {
                let verdict = judge(kind, reading, http, b" <html><body>Log in to the network</body>");
                assert!(verdict.status.ok().is_none(), "{kind} {http}: {verdict:?}");
            }
            for http in [404, 405] {
                cell(kind, http, json!({"error": {"message": "Not Found"}}), WrongEndpoint);
            }
            for http in [301, 302, 307, 308] {
                cell(kind, http, Value::Null, WrongEndpoint);
            }
            for http in [201, 204, 206, 418, 500, 503] {
                cell(kind, http, json!({"error": {"message": "m"}}), Unknown);
            }
            assert_eq!(judge(kind, reading, 200, b"<!doctype html>").status, WrongEndpoint);
            for garbage in [&b""[..], b"\xff\xfe\x00", b"{\"data\": [{\"id\": ", b"NaN", b"\"list\"", b"null"] {
                assert_eq!(judge(kind, reading, 200, garbage).status, Unknown, "{kind} {garbage:?}");
            }
            let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
            assert_eq!(judge(kind, reading, 200, &deep).status, Unknown);
        }
        assert_eq!(silence().status, Unreachable);
    }

    #[test]
    fn models_are_counted_only_where_the_list_is_whole() {
        for (body, expected) in [
            (json!({"data": [{"id": "a"}, {"id": "b"}]}), Some(2)),
            (json!({"models": [{"name": "a"}]}), Some(1)),
            (json!([]), Some(0)),
            (json!({"data": [{"id": "a"}], "has_more": true}), None),
            (json!({"models": [{"name": "a"}], "nextPageToken": "t"}), None),
            (json!({"models": [{"name": "a"}], "next_page_token": "t"}), None),
            (json!({"models": 3}), None),
        ] {
            assert_eq!(models(200, body.to_string().as_bytes()), expected, "{body}");
            assert_eq!(models(500, body.to_string().as_bytes()), None);
        }
    }
}
