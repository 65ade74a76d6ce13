//! The endpoints of the flag API on one worker's flags (CONTRACT 3.1 to 3.5).

use jiff::civil::DateTime;
use serde_json::{Map, Number, Value, json};

use super::config::{self, Config, Flags};
use super::evaluate::{self, Raised};
use super::http::{Request, Response};
use super::routes::{self, Endpoint};
use super::update::{self, Update};

/// Answer a request to a flag endpoint; `path` are the values of the route's `{}`.
pub fn answer(endpoint: Endpoint, path: &[String], request: &Request, flags: &mut Flags, now: DateTime) -> Response {
    let outcome = match (endpoint, path) {
        (Endpoint::List, _) => Ok(list(request, flags)),
        (Endpoint::Read, [flag]) => read(flag, request, flags, now),
        (Endpoint::UserEnabled, [user]) => user_flags(user, flags, now).map(|on| {
            Response::json(
                200,
                &Value::Object(on.into_iter().map(|(name, on)| (name, json!(on))).collect::<Map<_, _>>()),
            )
        }),
        (Endpoint::UserFeatures, [user]) => user_flags(user, flags, now).map(|on| {
            let names: Vec<String> = on.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
            Response::json(200, &json!(names))
        }),
        (Endpoint::Update, [flag]) => Ok(update(flag, request, flags)),
        (Endpoint::Enable, [flag]) => Ok(switch(flag, flags, |config| {
            config.enabled = Some(true);
            config.rollout_percentage = Some(Number::from(100));
            ("enabled", json!(true))
        })),
        (Endpoint::Disable, [flag]) => Ok(switch(flag, flags, |config| {
            config.enabled = Some(false);
            ("enabled", json!(false))
        })),
        (Endpoint::Rollout, [flag, percentage]) => Ok(rollout(flag, percentage, flags)),
        _ => Ok(routes::not_found()),
    };
    outcome.unwrap_or_else(|Raised| Response::detail(500, "Internal server error"))
}

fn no_such_flag(flag: &str) -> Response {
    Response::detail(404, &format!("Feature flag '{flag}' not found"))
}

fn find<'a>(flag: &str, flags: &'a mut Flags) -> Result<&'a mut Config, Response> {
    flags.iter_mut().find(|(name, _)| name == flag).map(|(_, config)| config).ok_or_else(|| no_such_flag(flag))
}

/// Who the caller says to be: header, then query, then nobody. The session is not asked.
fn claimed_user(request: &Request) -> Option<String> {
    let header = request.header_text("x-user-id").filter(|user| !user.is_empty());
    header.or_else(|| request.parameter("user_id").filter(|user| !user.is_empty()))
}

fn list(request: &Request, flags: &Flags) -> Response {
    let tags = request.parameter("tags").filter(|tags| !tags.is_empty());
    let Some(tags) = tags else {
        return Response::json(200, &config::to_object(flags));
    };
    let wanted: Vec<&str> = tags.split(',').map(str::trim).collect();
    let tagged = flags.iter().filter(|(_, config)| config.tags.iter().any(|tag| wanted.contains(&tag.as_str())));
    Response::json(200, &config::to_object(tagged))
}

fn read(flag: &str, request: &Request, flags: &mut Flags, now: DateTime) -> Result<Response, Raised> {
    let config = match find(flag, flags) {
        Ok(config) => config,
        Err(not_found) => return Ok(not_found),
    };
    let user = claimed_user(request);
    let enabled = evaluate::is_enabled(flag, config, user.as_deref(), now)?;
    let reason = evaluate::reason(config, user.as_deref(), enabled)?;
    Ok(Response::json(200, &json!({"flag": flag, "enabled": enabled, "config": config, "reason": reason})))
}

/// All flags of one user; one flag that raises spoils the whole answer.
fn user_flags(user: &str, flags: &Flags, now: DateTime) -> Result<Vec<(String, bool)>, Raised> {
    flags
        .iter()
        .map(|(name, config)| Ok((name.clone(), evaluate::is_enabled(name, config, Some(user), now)?)))
        .collect()
}

fn update(flag: &str, request: &Request, flags: &mut Flags) -> Response {
    let update = match Update::from_request(request) {
        Ok(update) => update,
        Err(refusal) => return refusal,
    };
    let config = match find(flag, flags) {
        Ok(config) => config,
        Err(not_found) => return not_found,
    };
    let before = config.clone();
    update.apply(config);
    let changed_by = claimed_user(request).unwrap_or_else(|| "system".to_owned());
    Response::json(200, &json!({"flag": flag, "old_config": before, "new_config": config, "changed_by": changed_by}))
}

fn switch(flag: &str, flags: &mut Flags, edit: impl FnOnce(&mut Config) -> (&'static str, Value)) -> Response {
    let config = match find(flag, flags) {
        Ok(config) => config,
        Err(not_found) => return not_found,
    };
    let (member, value) = edit(config);
    let mut body = Map::new();
    body.insert("flag".to_owned(), json!(flag));
    body.insert(member.to_owned(), value);
    body.insert("config".to_owned(), json!(config));
    Response::json(200, &Value::Object(body))
}

/// The range is checked before the flag is looked for, and the type before both.
fn rollout(flag: &str, percentage: &str, flags: &mut Flags) -> Response {
    let percentage = match update::path_percentage(percentage) {
        Ok(percentage) => percentage,
        Err(refusal) => return refusal,
    };
    if percentage.as_u64().is_none_or(|percentage| percentage > 100) {
        return Response::detail(400, "Percentage must be between 0 and 100");
    }
    switch(flag, flags, |config| {
        config.rollout_percentage = Some(percentage.clone());
        ("rollout_percentage", json!(percentage))
    })
}
