//! The wanted state as a file: what `flags export` prints and `flags apply` and `flags diff` read, in TOML or JSON.
//!
//! Only members that stand in the file are wanted; the rest of a flag is left alone. An empty date means "no bound".

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::flags::dates::Moment;
use crate::domain::flags::{Flag, FlagKey, Member, Percent};
use crate::error::{Error, nearest};
use crate::ui::{Page, View, escape_json, is_wild};

/// One flag of the file.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The flag with the file's members filled in.
    pub flag: Flag,
    /// The members that stand in the file.
    pub members: Vec<Member>,
}

/// Read a state file.
///
/// # Errors
/// [`Error::Input`] that names the file and what is wrong in it.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Wanted>, Error> {
    let fail = |message: String| Error::Input {
        message: format!("{}: {message}; nothing was written", path.display()),
        hint: "llmhub flags export shows the form".to_owned(),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| fail(format!("line {}: not JSON: {error}", error.line())))?
    } else {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
            fail(format!("line {line}: not TOML: {}", error.message()))
        })?
    };
    let Value::Object(mut top) = document else {
        return Err(fail("the document is not a table".to_owned()));
    };
    let Some(Value::Object(flags)) = top.remove("flags") else {
        return Err(fail("there is no table `flags`".to_owned()));
    };
    if let Some(other) = top.keys().next() {
        return Err(fail(format!("unknown key `{other}`; the file holds one table, `flags`")));
    }
    flags
        .into_iter()
        .map(|(name, members)| {
            let key: FlagKey = name.parse().map_err(|error| fail(format!("`{name}`: {error}")))?;
            let Value::Object(members) = members else {
                return Err(fail(format!("`{name}` is not a table")));
            };
            wanted(key, members).map_err(|why| fail(format!("`{name}`: {why}")))
        })
        .collect()
}

fn wanted(key: FlagKey, members: Map<String, Value>) -> Result<Wanted, String> {
    let mut flag = Flag::off(key);
    let mut named = Vec::new();
    for (name, value) in members {
        let Some(member) = Member::ALL.into_iter().find(|member| member.name() == name) else {
            let known: Vec<String> = Member::ALL.iter().map(|member| member.name().to_owned()).collect();
            let close = nearest(&name, &known).into_iter().next();
            let meant = close.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(format!("unknown member `{name}`{meant}"));
        };
        set(&mut flag, member, value).map_err(|why| format!("`{name}` {why}"))?;
        named.push(member);
    }
    named.sort_unstable();
    Ok(Wanted { flag, members: named })
}

fn set(flag: &mut Flag, member: Member, value: Value) -> Result<(), String> {
    match member {
        Member::Enabled => flag.enabled = Some(value.as_bool().ok_or("is not true or false")?),
        Member::Percentage => {
            let number = value.as_i64().ok_or("is not a whole number from 0 to 100")?;
            flag.percentage = Percent::try_from(number).map_err(|_| "is not a whole number from 0 to 100")?.into();
        }
        Member::Whitelist => flag.whitelist = Some(users(value)?),
        Member::Blacklist => flag.blacklist = Some(users(value)?),
        Member::Start => flag.start = date(value)?,
        Member::End => flag.end = date(value)?,
        Member::Description => flag.description = text(value)?,
        Member::Tags => flag.tags = users(value)?,
        Member::Owner => flag.owner = text(value)?,
    }
    Ok(())
}

fn users(value: Value) -> Result<Vec<String>, String> {
    let Value::Array(items) = value else {
        return Err("is not a list of texts".to_owned());
    };
    let mut seen = std::collections::HashSet::new();
    let mut users = Vec::new();
    for item in items {
        match item {
            Value::String(user) if !user.is_empty() && !user.chars().any(char::is_control) => {
                if seen.insert(user.clone()) {
                    users.push(user);
                }
            }
            _ => return Err("holds something that is not a text, is empty, or has control characters".to_owned()),
        }
    }
    Ok(users)
}

fn text(value: Value) -> Result<Option<String>, String> {
    match value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err("is not a text".to_owned()),
    }
}

fn date(value: Value) -> Result<Option<String>, String> {
    match text(value)? {
        None => Ok(None),
        Some(text) => text.parse::<Moment>().map(|moment| Some(moment.to_string())).map_err(|error| error.to_string()),
    }
}

/// `flags export`: the same content as TOML for people and as data for programs.
#[derive(Debug, Serialize)]
pub struct StateView {
    flags: Map<String, Value>,
}

impl StateView {
    /// The state of these flags, with the members that `apply` can set.
    pub fn new(flags: &[Flag]) -> Self {
        let export = |flag: &Flag| {
            let mut members = Map::new();
            for member in Member::ALL {
                let value = match member.value(flag) {
                    Value::Null if matches!(member, Member::Enabled | Member::Percentage) => continue,
                    Value::Null if matches!(member, Member::Whitelist | Member::Blacklist) => continue,
                    Value::Null => Value::String(String::new()),
                    value => value,
                };
                members.insert(member.name().to_owned(), value);
            }
            (flag.key.to_string(), Value::Object(members))
        };
        Self { flags: flags.iter().map(export).collect() }
    }
}

impl View for StateView {
    fn page(&self, page: &mut Page) {
        page.line(self.toml());
    }

    fn text(&self) -> Option<String> {
        Some(self.toml())
    }
}

impl StateView {
    fn toml(&self) -> String {
        let mut text =
            "# Wanted state of the flags. Compare: llmhub flags diff FILE. Apply: llmhub flags apply FILE.\n"
                .to_owned();
        for (name, members) in &self.flags {
            let key = toml_edit::Key::new(name.as_str());
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[flags.{}]\n", key.display_repr());
            let Value::Object(members) = members else { continue };
            for (name, value) in members {
                let _ = writeln!(text, "{name} = {}", literal(value));
            }
        }
        text
    }
}

fn literal(value: &Value) -> String {
    match value {
        // TOML allows C1 and bidirectional controls as they are. A JSON string is a TOML string too, and can escape them all.
        Value::String(text) if is_wild(text) => escape_json(&value.to_string()),
        Value::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Array(items) if items.is_empty() => "[]".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| format!("    {},\n", literal(item))).collect();
            format!("[\n{}]", items.concat())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Wanted>, String> {
        parse(Path::new("flags.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn only_members_in_the_file_are_wanted() {
        let wanted =
            read("[flags.f]\nenabled = true\nstart_date = \"2026-12-01T08:00Z\"\nend_date = \"\"\n").unwrap().remove(0);
        assert_eq!(wanted.members, [Member::Enabled, Member::Start, Member::End]);
        assert_eq!((wanted.flag.start.as_deref(), wanted.flag.end), (Some("2026-12-01T08:00:00"), None));
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = read("[flags.f]\nrollout_percentage = 25\n").unwrap().remove(0);
        let json = read("\u{feff}{\"flags\": {\"f\": {\"rollout_percentage\": 25}}}").unwrap().remove(0);
        assert_eq!((toml.flag, toml.members), (json.flag, json.members));
    }

    #[test]
    fn an_export_can_be_applied() {
        let mut flag = Flag::off("we ird.key\"".parse().unwrap());
        flag.whitelist = Some(vec!["a\"b\\".into(), "ünï".into()]);
        flag.description = Some("two\nlines".into());
        let text = StateView::new(std::slice::from_ref(&flag)).toml();
        let wanted = read(&text).unwrap().remove(0);
        assert_eq!(wanted.members, Member::ALL);
        assert_eq!(crate::domain::flags::differences(&flag, &wanted.flag), []);
    }

    #[test]
    fn mistakes_are_named_with_the_file() {
        for (text, expected) in [
            ("flags = 1", "there is no table `flags`"),
            ("[flags.f]\nenabeld = true", "unknown member `enabeld`; did you mean `enabled`?"),
            ("[flags.f]\nrollout_percentage = 101", "`rollout_percentage` is not a whole number from 0 to 100"),
            ("[flags.f]\nrollout_percentage = 25.5", "`rollout_percentage` is not a whole number from 0 to 100"),
            ("[flags.f]\nwhitelist_users = [\"a\", 1]", "`whitelist_users` holds something that is not a text"),
            ("[flags.f]\nenabled = \"yes\"", "`enabled` is not true or false"),
            ("x = 1\n[flags]\n", "unknown key `x`"),
            ("[flags.f]\n\nenabled =", "line 3: not TOML"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("flags.toml: ") && error.contains(expected), "{text:?}: {error}");
        }
    }
}
