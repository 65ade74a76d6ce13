//! Flags as the hub's environment variables: which variable holds what, and how the hub reads it.
//!
//! The names are irregular and are looked up, never derived (DESIGN 3); values are read as the hub reads them at import
//! (CONTRACT 3.7), and what its variables cannot express is refused with the reason instead of being approximated.

use super::change::Member;
use super::dates::{Bound, DateProblem, lint};
use super::flag::{Flag, FlagKey, StoredPercent};
use super::python::{int, strip};

/// The variables of one flag; a member without a variable has its default in every hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvNames {
    /// The main switch.
    pub enabled: String,
    /// The percentage.
    pub rollout: Option<String>,
    /// The white list.
    pub whitelist: Option<String>,
    /// The black list.
    pub blacklist: Option<String>,
    /// The first moment.
    pub start_date: Option<String>,
    /// The last moment.
    pub end_date: Option<String>,
}

impl EnvNames {
    /// The variable of `member`, if it has one.
    fn of(&self, member: Member) -> Option<&str> {
        match member {
            Member::Enabled => Some(&self.enabled),
            Member::Percentage => self.rollout.as_deref(),
            Member::Whitelist => self.whitelist.as_deref(),
            Member::Blacklist => self.blacklist.as_deref(),
            Member::Start => self.start_date.as_deref(),
            Member::End => self.end_date.as_deref(),
            Member::Description | Member::Tags | Member::Owner => None,
        }
    }

    /// Every variable, in the order in which the hub reads them.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        Member::DECIDING.into_iter().filter_map(|member| self.of(member))
    }
}

/// A flag as the hub's code defines it, before the environment is read.
#[derive(Clone, Debug)]
struct Definition {
    default: Flag,
    names: EnvNames,
}

/// All flags that an env file can hold, in the hub's order.
#[derive(Clone, Debug)]
pub struct EnvMapping(Vec<Definition>);

/// The hub would not start: `int()` refuses the value of this variable, and that stops the import of all flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is not a whole number: the hub stops at its import, so no flag is loaded at all")]
pub struct ImportFails {
    /// The variable; its value is not repeated.
    pub variable: String,
}

/// Why a flag cannot be written as environment variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The flag is not mapped at all.
    #[error("no environment variable is known for the flag `{0}`; map it in the profile under env_flags.{0}")]
    UnknownFlag(FlagKey),
    /// The hub has no variable for this member, and it is not at its default.
    #[error("the hub reads no environment variable for {member} of `{key}`: a restart always loads its default", member = .member.name())]
    NoVariable {
        /// The flag.
        key: FlagKey,
        /// The member.
        member: Member,
    },
    /// A null, or a percentage outside 0 to 100.
    #[error("{} is {what}, which must not be kept for the next start; write a good value first", .member.name())]
    Poisoned {
        /// The member.
        member: Member,
        /// What it is, in words.
        what: &'static str,
    },
    /// A user id that the hub would read as another one, or as several.
    #[error("{}: id number {position} {what}, so the hub would read another id", .member.name())]
    Id {
        /// The list.
        member: Member,
        /// Its place in the list, from 1; ids are personal data and are not repeated.
        position: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A date that the hub ignores or fails on.
    #[error("{0}; write it as YYYY-MM-DDTHH:MM:SS in UTC")]
    Date(DateProblem),
}

/// One variable and what it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its name.
    pub variable: String,
    /// Its value; `None` is no variable at all, which is the only way to say "no date".
    pub value: Option<String>,
}

/// Why a profile's mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is mapped twice, for `{first}` and `{second}`: an edit of one would change the other")]
pub struct VariableTaken {
    /// The variable.
    pub variable: String,
    /// Who has it.
    pub first: FlagKey,
    /// Who asks for it.
    pub second: FlagKey,
}

/// A row of the hub's own table: key, description, tags, owner, and the variables in the order of [`Member::DECIDING`].
type Row = (&'static str, &'static str, [&'static str; 3], &'static str, &'static str, [Option<&'static str>; 5]);

/// The hub's three flags, with the texts that its code gives them.
const SHIPPED: [Row; 3] = [
    (
        "unified_llm_hub",
        "Unified LLM management interface (replaces 4 old pages)",
        ["llm", "ui", "admin"],
        "platform-team",
        "FEATURE_UNIFIED_LLM_HUB",
        [
            Some("FEATURE_LLM_HUB_ROLLOUT"),
            Some("FEATURE_LLM_HUB_WHITELIST"),
            Some("FEATURE_LLM_HUB_BLACKLIST"),
            Some("FEATURE_LLM_HUB_START_DATE"),
            Some("FEATURE_LLM_HUB_END_DATE"),
        ],
    ),
    (
        "advanced_analytics",
        "Enhanced analytics dashboard with ML insights",
        ["analytics", "ml", "admin"],
        "data-team",
        "FEATURE_ADVANCED_ANALYTICS",
        [Some("FEATURE_ANALYTICS_ROLLOUT"), Some("FEATURE_ANALYTICS_WHITELIST"), None, None, None],
    ),
    (
        "model_recommendations",
        "AI-powered model recommendations based on usage",
        ["llm", "ml", "recommendations"],
        "ml-team",
        "FEATURE_MODEL_RECOMMENDATIONS",
        [Some("FEATURE_MODEL_REC_ROLLOUT"), None, None, None, None],
    ),
];

impl EnvMapping {
    /// The three flags of the hub.
    pub fn shipped() -> Self {
        let definitions = SHIPPED.into_iter().filter_map(|(key, description, tags, owner, enabled, rest)| {
            // The keys of the table parse; a test counts them.
            let mut default = Flag::off(key.parse().ok()?);
            default.description = Some(description.to_owned());
            default.tags = tags.map(str::to_owned).to_vec();
            default.owner = Some(owner.to_owned());
            let [rollout, whitelist, blacklist, start_date, end_date] = rest.map(|name| name.map(str::to_owned));
            let enabled = enabled.to_owned();
            Some(Definition {
                default,
                names: EnvNames { enabled, rollout, whitelist, blacklist, start_date, end_date },
            })
        });
        Self(definitions.collect())
    }

    /// Map one more flag, or give a mapped one other variables.
    ///
    /// # Errors
    /// [`VariableTaken`] when another flag has one of the variables.
    pub fn with(mut self, key: FlagKey, names: EnvNames) -> Result<Self, VariableTaken> {
        for other in self.0.iter().filter(|definition| definition.default.key != key) {
            if let Some(taken) =
                names.variables().find(|variable| other.names.variables().any(|held| held == *variable))
            {
                let (variable, first) = (taken.to_owned(), other.default.key.clone());
                return Err(VariableTaken { variable, first, second: key });
            }
        }
        match self.0.iter_mut().find(|definition| definition.default.key == key) {
            Some(definition) => definition.names = names,
            None => self.0.push(Definition { default: Flag::off(key), names }),
        }
        Ok(self)
    }

    /// The variables of a flag; `None` when it is not mapped.
    pub fn names(&self, key: &FlagKey) -> Option<&EnvNames> {
        self.definition(key).map(|definition| &definition.names)
    }

    /// Every variable of every flag, in the order in which the hub reads them.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|definition| definition.names.variables())
    }

    fn definition(&self, key: &FlagKey) -> Option<&Definition> {
        self.0.iter().find(|definition| definition.default.key == *key)
    }

    /// All flags as the hub would load them from these variables.
    ///
    /// # Errors
    /// [`ImportFails`] with the first variable that stops it, whichever flag it belongs to.
    pub fn load<'a>(&self, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<Flag>, ImportFails> {
        self.0.iter().map(|definition| definition.read(&variable)).collect()
    }

    /// All flags as these variables hold them, for looking and repairing: where the hub would stop, the percentage is null.
    pub fn stored<'a>(&self, variable: impl Fn(&str) -> Option<&'a str>) -> Vec<Flag> {
        let read = |definition: &Definition| {
            definition.read(&variable).unwrap_or_else(|_| {
                let rollout = definition.names.rollout.as_deref();
                let readable = |name: &str| if Some(name) == rollout { None } else { variable(name) };
                // Without its percentage nothing is left that can fail; the default would be as good an answer.
                let mut flag = definition.read(readable).unwrap_or_else(|_| definition.default.clone());
                flag.percentage = StoredPercent::Null;
                flag
            })
        };
        self.0.iter().map(read).collect()
    }

    /// The variables that make the hub load these members of `flag`.
    ///
    /// # Errors
    /// [`RenderError`] for the first member that they cannot express; nothing is approximated.
    pub fn render(&self, flag: &Flag, members: &[Member]) -> Result<Vec<Assignment>, RenderError> {
        let definition = self.definition(&flag.key).ok_or_else(|| RenderError::UnknownFlag(flag.key.clone()))?;
        let mut assignments = Vec::with_capacity(members.len());
        for &member in members {
            match definition.names.of(member) {
                Some(variable) => {
                    assignments.push(Assignment { variable: variable.to_owned(), value: value(flag, member)? });
                }
                None if member.same(flag, &definition.default) => {}
                None => return Err(RenderError::NoVariable { key: flag.key.clone(), member }),
            }
        }
        Ok(assignments)
    }
}

impl Definition {
    fn read<'a>(&self, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Flag, ImportFails> {
        let mut flag = self.default.clone();
        let value = |member| self.names.of(member).and_then(&variable);
        if let Some(enabled) = value(Member::Enabled) {
            // Python's lower() maps nothing beyond ASCII to these four letters.
            flag.enabled = Some(enabled.eq_ignore_ascii_case("true"));
        }
        if let (Some(name), Some(text)) = (&self.names.rollout, value(Member::Percentage)) {
            let number = int(text).ok_or_else(|| ImportFails { variable: name.clone() })?;
            let signed = format!("{}{}", if number.negative { "-" } else { "" }, number.digits);
            flag.percentage = match signed.parse() {
                Ok(small) => StoredPercent::Number(small),
                Err(_) => StoredPercent::Huge { negative: number.negative, digits: number.digits },
            };
        }
        let users = |text: &str| text.split(',').map(strip).filter(|id| !id.is_empty()).map(str::to_owned).collect();
        if let Some(text) = value(Member::Whitelist) {
            flag.whitelist = Some(users(text));
        }
        if let Some(text) = value(Member::Blacklist) {
            flag.blacklist = Some(users(text));
        }
        flag.start = value(Member::Start).map(str::to_owned);
        flag.end = value(Member::End).map(str::to_owned);
        Ok(flag)
    }
}

/// The text of a member; `None` where only the absence of the variable says it.
fn value(flag: &Flag, member: Member) -> Result<Option<String>, RenderError> {
    let poisoned = |what| RenderError::Poisoned { member, what };
    match member {
        Member::Enabled => flag.enabled.map(|enabled| Some(enabled.to_string())).ok_or(poisoned("null")),
        Member::Percentage => match flag.percentage {
            StoredPercent::Number(share @ 0..=100) => Ok(Some(share.to_string())),
            StoredPercent::Number(_) | StoredPercent::Huge { .. } => Err(poisoned("outside 0 to 100")),
            StoredPercent::Null => Err(poisoned("null")),
        },
        Member::Whitelist => users(member, flag.whitelist.as_deref()).map(Some),
        Member::Blacklist => users(member, flag.blacklist.as_deref()).map(Some),
        Member::Start => date(Bound::Start, flag.start.as_deref()),
        Member::End => date(Bound::End, flag.end.as_deref()),
        Member::Description | Member::Tags | Member::Owner => {
            Err(RenderError::NoVariable { key: flag.key.clone(), member })
        }
    }
}

fn users(member: Member, list: Option<&[String]>) -> Result<String, RenderError> {
    let list = list.ok_or(RenderError::Poisoned { member, what: "null" })?;
    for (index, id) in list.iter().enumerate() {
        let what = if id.is_empty() {
            "is empty"
        } else if id.contains(',') {
            "holds a comma"
        } else if strip(id) != id {
            "begins or ends with a blank"
        } else if id.chars().any(|character| character.is_control() && character != '\t') {
            "holds a control character"
        } else {
            continue;
        };
        return Err(RenderError::Id { member, position: index + 1, what });
    }
    Ok(list.join(","))
}

fn date(bound: Bound, stored: Option<&str>) -> Result<Option<String>, RenderError> {
    match lint(bound, stored) {
        Some(problem @ (DateProblem::Ignored(_) | DateProblem::Offset(_))) => Err(RenderError::Date(problem)),
        Some(DateProblem::EndsAtMidnight | DateProblem::NeverOpen) | None => Ok(stored.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Map, Value};

    use super::*;

    /// What fresh hub processes answered.
    fn recorded() -> Value {
        serde_json::from_str(include_str!("../../../tests/data/env-parsing.json")).unwrap()
    }

    fn as_json(flags: &[Flag]) -> Map<String, Value> {
        let members = |flag: &Flag| Member::ALL.map(|member| (member.name().to_owned(), member.value(flag)));
        flags.iter().map(|flag| (flag.key.to_string(), Value::Object(members(flag).into_iter().collect()))).collect()
    }

    #[test]
    fn every_recorded_environment_loads_as_in_the_hub() {
        let recorded = recorded();
        let cases = recorded["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 58);
        for case in cases {
            let env: HashMap<String, String> = serde_json::from_value(case["env"].clone()).unwrap();
            let loaded = EnvMapping::shipped().load(|name| env.get(name).map(String::as_str));
            if case["result"]["import_fails"] == true {
                assert_eq!(env.keys().collect::<Vec<_>>(), [&loaded.unwrap_err().variable], "{case}");
                continue;
            }
            let mut expected = recorded["defaults"].clone();
            for (path, value) in case["result"].as_object().unwrap() {
                let (flag, member) = path.split_once('.').unwrap();
                // A number beyond 64 bits is held as its digits, and shown with its unit.
                let beyond = value.is_number() && value.as_i64().is_none();
                expected[flag][member] = if beyond { format!("{value} %").into() } else { value.clone() };
            }
            assert_eq!(Value::Object(as_json(&loaded.unwrap())), expected, "{case}");
        }
    }

    fn flag() -> Flag {
        EnvMapping::shipped().load(|_| None).unwrap().remove(0)
    }

    #[test]
    fn a_value_that_stops_the_import_can_still_be_looked_at_and_repaired() {
        let env = |name: &str| match name {
            "FEATURE_LLM_HUB_ROLLOUT" => Some("25%"),
            "FEATURE_LLM_HUB_WHITELIST" => Some("a"),
            "FEATURE_ANALYTICS_ROLLOUT" => Some("30"),
            _ => None,
        };
        let stored = EnvMapping::shipped().stored(env);
        assert_eq!(stored[0].percentage, StoredPercent::Null);
        assert_eq!(stored[0].white(), ["a"]);
        assert_eq!(stored[1].percentage, StoredPercent::Number(30));
        let fails = EnvMapping::shipped().load(env).unwrap_err();
        assert_eq!(
            fails.to_string(),
            "FEATURE_LLM_HUB_ROLLOUT is not a whole number: the hub stops at its import, so no flag is loaded at all"
        );
    }

    #[test]
    fn what_is_rendered_is_what_the_hub_loads() {
        let mut wanted = flag();
        wanted.enabled = Some(true);
        wanted.percentage = StoredPercent::Number(25);
        wanted.whitelist = Some(vec!["a b".into(), "é;\t\"".into()]);
        wanted.blacklist = Some(vec!["x".into()]);
        wanted.start = Some("2026-01-31T18:00:00".into());
        let mapping = EnvMapping::shipped();
        let assignments = mapping.render(&wanted, &Member::ALL).unwrap();
        let value = |name: &str| assignments.iter().find(|found| found.variable == name)?.value.as_deref();
        assert_eq!(mapping.load(value).unwrap()[0], wanted);
        assert_eq!(assignments.len(), 6);
    }

    #[test]
    fn what_cannot_be_expressed_is_refused_with_the_reason() {
        #[track_caller]
        fn case(key: &str, edit: impl Fn(&mut Flag), member: Member, expected: &str) {
            let mapping = EnvMapping::shipped();
            let mut flag = flag();
            flag.key = key.parse().unwrap();
            edit(&mut flag);
            assert_eq!(mapping.render(&flag, &[member]).unwrap_err().to_string(), expected);
        }
        let white = |id: &str| {
            let id = id.to_owned();
            move |flag: &mut Flag| flag.whitelist = Some(vec!["fine".into(), id.clone()])
        };
        let hub = "unified_llm_hub";
        case(
            "advanced_analytics",
            |flag| flag.blacklist = Some(vec!["a".into()]),
            Member::Blacklist,
            "the hub reads no environment variable for blacklist_users of `advanced_analytics`: a restart always loads its default",
        );
        case(
            "beta",
            |_| {},
            Member::Enabled,
            "no environment variable is known for the flag `beta`; map it in the profile under env_flags.beta",
        );
        case(
            hub,
            white("a,b"),
            Member::Whitelist,
            "whitelist_users: id number 2 holds a comma, so the hub would read another id",
        );
        case(
            hub,
            white(" a"),
            Member::Whitelist,
            "whitelist_users: id number 2 begins or ends with a blank, so the hub would read another id",
        );
        case(
            hub,
            white("a\nb"),
            Member::Whitelist,
            "whitelist_users: id number 2 holds a control character, so the hub would read another id",
        );
        case(
            hub,
            white(""),
            Member::Whitelist,
            "whitelist_users: id number 2 is empty, so the hub would read another id",
        );
        case(
            hub,
            |flag| flag.percentage = StoredPercent::Number(150),
            Member::Percentage,
            "rollout_percentage is outside 0 to 100, which must not be kept for the next start; write a good value first",
        );
        case(
            hub,
            |flag| flag.enabled = None,
            Member::Enabled,
            "enabled is null, which must not be kept for the next start; write a good value first",
        );
        case(
            hub,
            |flag| flag.end = Some("2026-01-31T18:00:00Z".into()),
            Member::End,
            "end_date is not a date that the hub's Python 3.10 reads: it is ignored, and this end of the schedule is open; \
             write it as YYYY-MM-DDTHH:MM:SS in UTC",
        );
    }

    #[test]
    fn a_default_needs_no_variable() {
        let analytics = EnvMapping::shipped().load(|_| None).unwrap().remove(1);
        let names = EnvMapping::shipped().render(&analytics, &Member::ALL).unwrap();
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_profile_maps_more_flags_but_no_variable_twice() {
        let names = |enabled: &str| EnvNames {
            enabled: enabled.to_owned(),
            rollout: None,
            whitelist: None,
            blacklist: None,
            start_date: None,
            end_date: None,
        };
        let beta: FlagKey = "beta".parse().unwrap();
        let mapping = EnvMapping::shipped().with(beta.clone(), names("FEATURE_BETA")).unwrap();
        assert_eq!(mapping.load(|_| None).unwrap().len(), 4);
        assert_eq!(mapping.names(&beta).unwrap().variables().collect::<Vec<_>>(), ["FEATURE_BETA"]);
        assert_eq!(
            mapping.with("gamma".parse().unwrap(), names("FEATURE_ANALYTICS_ROLLOUT")).unwrap_err().to_string(),
            "FEATURE_ANALYTICS_ROLLOUT is mapped twice, for `advanced_analytics` and `gamma`: an edit of one would change the other"
        );
    }
}
