//! Objects made anew from what is recorded of them, with their comments, owners and grants.

use super::lists::given;
use super::names::{literal, quoted};
use super::{Fact, Kind, Object, Repairs, Script, Steps, alter};

impl Repairs<'_> {
    /// Make an object, with all of its parts.
    pub(super) fn create(&self, goal: &Object) -> Steps {
        if goal.fact("inherited").is_some() {
            return Err("it comes back with that of the table that it is inherited from".to_owned());
        }
        if self.is_of_view(goal) {
            return self.finish(goal, &["type", "collation"]);
        }
        let (name, of) = (&goal.name, goal.of.as_deref().unwrap_or_default());
        let definition = || goal.fact("definition").map(|sql| sql.trim().trim_end_matches(';').to_owned());
        let defined = || definition().map(Script::of).ok_or_else(|| "its definition is not recorded".to_owned());
        let fact = |what: &str| goal.fact(what).unwrap_or_default();
        let mut done: Vec<&str> = vec!["definition"];
        let mut script = match goal.kind {
            Kind::Schema => Script::of(format!("CREATE SCHEMA {name}")),
            Kind::Extension => {
                done.extend(["version", "schema", "owner"]);
                Script::of(format!(
                    "CREATE EXTENSION {name} SCHEMA {} VERSION {}",
                    quoted(fact("schema")),
                    literal(fact("version"))
                ))
            }
            Kind::Function | Kind::Procedure | Kind::Trigger | Kind::Rule | Kind::Statistics => defined()?,
            Kind::Index if self.constraint_of(goal).is_some() => {
                return Err("it comes back with its constraint".to_owned());
            }
            Kind::Index => defined()?.but("building it blocks writes; CREATE INDEX CONCURRENTLY does not"),
            Kind::Constraint if self.is_domain(of) => {
                Script::of(format!("ALTER DOMAIN {of} ADD CONSTRAINT {name} {}", definition().unwrap_or_default()))
            }
            Kind::Constraint => {
                Script::of(format!("ALTER TABLE {of} ADD CONSTRAINT {name} {}", definition().unwrap_or_default()))
                    .but("it fails while a row breaks it")
            }
            Kind::View | Kind::MaterializedView => {
                done.extend(["columns", "populated"]);
                let with = if fact("populated") == "no" { " WITH NO DATA" } else { "" };
                Script::of(format!("CREATE {} AS {}{with}", self.called(goal)?, definition().unwrap_or_default()))
            }
            Kind::Policy => {
                done.extend(["command", "kind", "roles", "using", "check"]);
                Script::of(policy(goal))
            }
            Kind::EventTrigger => {
                done.extend(["event", "function", "tags"]);
                let tags: Vec<String> = fact("tags").split(", ").filter(|tag| !tag.is_empty()).map(literal).collect();
                let when = if tags.is_empty() { String::new() } else { format!(" WHEN TAG IN ({})", tags.join(", ")) };
                Script::of(format!(
                    "CREATE EVENT TRIGGER {name} ON {}{when} EXECUTE FUNCTION {}",
                    fact("event"),
                    fact("function")
                ))
            }
            Kind::Sequence if self.comes_with_its_column(goal) => {
                return Err("it comes back with its column".to_owned());
            }
            Kind::Sequence => {
                done.extend(["type", "start", "increment", "minimum", "maximum", "cache", "cycle"]);
                if !goal
                    .fact("belongs to")
                    .is_some_and(|column| self.now.contains_key(&(Kind::Column, column.to_owned())))
                {
                    done.push("belongs to");
                }
                Script::of(format!("CREATE SEQUENCE {name} {}", alter::sequence_parameters(goal)))
                    .but("its position starts anew")
            }
            Kind::Column => {
                done.extend(["type", "collation", "generated", "identity", "default", "not null"]);
                let mut script = Script::of(format!("ALTER TABLE {of} ADD COLUMN {}", self.column_definition(goal)));
                if goal.fact("not null").is_some() && goal.fact("default").or(goal.fact("identity")).is_none() {
                    script = script.but("it fails while the table has rows: add it without NOT NULL first");
                }
                self.own_sequences(goal, &mut script);
                script.but("it brings back the column without its values")
            }
            Kind::Table => return self.create_table(goal),
            Kind::Enum => {
                done.push("labels");
                Script::of(format!("CREATE TYPE {name} AS ENUM ({})", fact("labels")))
            }
            Kind::Type if goal.fact("layout").is_none() => {
                done.push("attributes");
                Script::of(format!("CREATE TYPE {name} AS ({})", fact("attributes")))
            }
            Kind::Domain => {
                done.extend(["base type", "collation", "default", "not null"]);
                let mut text = format!("CREATE DOMAIN {name} AS {}", fact("base type"));
                for (what, word) in [("collation", "COLLATE"), ("default", "DEFAULT")] {
                    if let Some(value) = goal.fact(what) {
                        text.push_str(&format!(" {word} {value}"));
                    }
                }
                text.push_str(if goal.fact("not null").is_some() { " NOT NULL" } else { "" });
                let mut script = Script::of(text);
                let is_check = |one: &&Object| one.kind == Kind::Constraint && one.of.as_ref() == Some(name);
                for check in self.goal.values().copied().filter(is_check) {
                    script.append(self.create(check)?);
                }
                script
            }
            Kind::Cast => {
                done.extend(["function", "context", "method"]);
                let how = match fact("method") {
                    "function" => format!("WITH FUNCTION {}", fact("function")),
                    "inout" => "WITH INOUT".to_owned(),
                    _ => "WITHOUT FUNCTION".to_owned(),
                };
                let when = match fact("context") {
                    "implicit" => " AS IMPLICIT",
                    "assignment" => " AS ASSIGNMENT",
                    _ => "",
                };
                Script::of(format!("CREATE CAST {name} {how}{when}"))
            }
            Kind::Server => {
                done.extend(["wrapper", "type", "version", "options"]);
                let typed = goal.fact("type").map(|kind| format!(" TYPE {}", literal(kind))).unwrap_or_default();
                let version = goal.fact("version").map(|one| format!(" VERSION {}", literal(one))).unwrap_or_default();
                let (wrapper, options) = (quoted(fact("wrapper")), given(goal.fact("options"))?);
                Script::of(format!("CREATE SERVER {name}{typed}{version} FOREIGN DATA WRAPPER {wrapper}{options}"))
            }
            Kind::Publication => {
                done.extend(["all tables", "publishes", "via root", "tables", "schemas"]);
                let mut script = Script::of(publication(goal));
                let lists = goal.fact("tables").or(goal.fact("schemas")).is_some();
                if lists {
                    script.push(self.published_list(goal));
                }
                script
            }
            Kind::Transform => {
                done.extend(["from sql", "to sql"]);
                let from = goal.fact("from sql").map(|one| format!("FROM SQL WITH FUNCTION {one}"));
                let to = goal.fact("to sql").map(|one| format!("TO SQL WITH FUNCTION {one}"));
                let both: Vec<String> = from.into_iter().chain(to).collect();
                Script::of(format!("CREATE TRANSFORM {name} ({})", both.join(", ")))
            }
            Kind::AccessMethod => {
                done.extend(["type", "handler"]);
                Script::of(format!(
                    "CREATE ACCESS METHOD {name} TYPE {} HANDLER {}",
                    fact("type").to_ascii_uppercase(),
                    fact("handler")
                ))
            }
            Kind::Conversion => {
                done.extend(["from", "to", "function", "default"]);
                let word = if goal.fact("default").is_some() { "DEFAULT " } else { "" };
                let (from, to) = (literal(fact("from")), literal(fact("to")));
                Script::of(format!("CREATE {word}CONVERSION {name} FOR {from} TO {to} FROM {}", fact("function")))
            }
            Kind::Setting => {
                done.extend(["value", "role"]);
                Script::of(self.setting(goal, goal.fact("value"))?)
            }
            Kind::DefaultPrivileges => {
                return Ok(Script::of(self.default_privileges(None, goal.acl.as_deref(), name)?));
            }
            Kind::UserMapping => {
                return Err("its options hold secrets and are not recorded: CREATE USER MAPPING".to_owned());
            }
            kind => return Err(format!("a {kind} is not made again by one simple statement")),
        };
        script.append(self.finish(goal, &done)?);
        Ok(script)
    }

    /// What the statement that makes an object does not say.
    pub(super) fn finish(&self, goal: &Object, done: &[&str]) -> Steps {
        let mut bare = Object { facts: Default::default(), owner: goal.owner.clone(), acl: None, ..goal.clone() };
        bare.facts.extend(done.iter().filter_map(|what| Some(((*what).to_owned(), goal.fact(what)?.to_owned()))));
        let rest = goal.facts.iter().filter(|(what, _)| !done.contains(&what.as_str()));
        let mut facts: Vec<Fact> =
            rest.map(|(what, value)| Fact { what: what.clone(), from: None, to: Some(value.clone()) }).collect();
        if !done.contains(&"owner") {
            facts.extend(goal.owner.clone().map(|to| Fact { what: "owner".to_owned(), from: None, to: Some(to) }));
        }
        facts.extend(goal.acl.clone().map(|to| Fact { what: "grants".to_owned(), from: None, to: Some(to) }));
        self.alter(&bare, goal, &facts)
    }

    fn create_table(&self, goal: &Object) -> Steps {
        if goal.fact("type").or(goal.fact("inherits")).is_some() {
            return Err("a table of a type or with parents is not made again by simple statements".to_owned());
        }
        let parts = |kind: Kind| {
            self.goal.values().copied().filter(move |one| one.kind == kind && one.of.as_ref() == Some(&goal.name))
        };
        let mut columns: Vec<&Object> = parts(Kind::Column).collect();
        columns.sort_by_key(|column| column.place);
        let list: Vec<String> = columns.iter().map(|column| self.column_definition(column)).collect();
        let unlogged = if goal.fact("persistence").is_some() { "UNLOGGED " } else { "" };
        let partitioned = goal.fact("partitioned by").map(|by| format!(" PARTITION BY {by}")).unwrap_or_default();
        let method = goal.fact("access method").map(|method| format!(" USING {}", quoted(method))).unwrap_or_default();
        let create = format!("CREATE {unlogged}TABLE {} ({}){partitioned}{method}", goal.name, list.join(", "));
        let mut script = Script::of(create).but("it brings back the table without its rows");
        let column_done = ["type", "collation", "generated", "identity", "default", "not null", "inherited"];
        for column in columns {
            script.append(self.finish(column, &column_done)?);
            self.own_sequences(column, &mut script);
        }
        script.append(self.finish(goal, &["persistence", "partitioned by", "access method"])?);
        for kind in [Kind::Constraint, Kind::Index, Kind::Trigger, Kind::Rule, Kind::Policy] {
            for part in parts(kind).filter(|part| part.fact("inherited").is_none()) {
                if kind == Kind::Index && (self.constraint_of(part).is_some() || part.fact("partition of").is_some()) {
                    continue;
                }
                script.sql.extend(self.create(part)?.sql);
            }
        }
        Ok(script)
    }

    /// A sequence that a column uses as its default belongs to it; one of an identity does so by itself.
    fn own_sequences(&self, column: &Object, script: &mut Script) {
        if column.fact("identity").is_none() {
            for sequence in self.sequences_of(column) {
                script.push(format!("ALTER SEQUENCE {} OWNED BY {}", sequence.name, column.path()));
            }
        }
    }

    fn comes_with_its_column(&self, sequence: &Object) -> bool {
        let column = sequence.fact("belongs to").and_then(|column| self.goal.get(&(Kind::Column, column.to_owned())));
        column.is_some_and(|column| column.fact("identity").is_some())
    }

    fn published_list(&self, goal: &Object) -> String {
        let tables =
            goal.fact("tables").map(|tables| super::lists::parts(tables).into_iter().map(|one| format!("TABLE {one}")));
        let schemas = goal
            .fact("schemas")
            .map(|all| super::lists::parts(all).into_iter().map(|one| format!("TABLES IN SCHEMA {one}")));
        let all: Vec<String> = tables.into_iter().flatten().chain(schemas.into_iter().flatten()).collect();
        format!("ALTER PUBLICATION {} SET {}", goal.name, all.join(", "))
    }
}

fn policy(goal: &Object) -> String {
    let (of, fact) = (goal.of.as_deref().unwrap_or_default(), |what: &str| goal.fact(what).unwrap_or_default());
    let kind = if goal.fact("kind").is_some() { "RESTRICTIVE" } else { "PERMISSIVE" };
    let roles: Vec<String> = fact("roles")
        .split(", ")
        .map(|role| if role == "public" { "PUBLIC".to_owned() } else { quoted(role) })
        .collect();
    let mut text = format!(
        "CREATE POLICY {} ON {of} AS {kind} FOR {} TO {}",
        goal.name,
        fact("command").to_ascii_uppercase(),
        roles.join(", ")
    );
    for (what, word) in [("using", "USING"), ("check", "WITH CHECK")] {
        if let Some(condition) = goal.fact(what) {
            text.push_str(&format!(" {word} ({condition})"));
        }
    }
    text
}

fn publication(goal: &Object) -> String {
    let all = if goal.fact("all tables").is_some() { " FOR ALL TABLES" } else { "" };
    format!(
        "CREATE PUBLICATION {}{all} WITH (publish = {}, publish_via_partition_root = {})",
        goal.name,
        literal(goal.fact("publishes").unwrap_or_default()),
        goal.fact("via root").is_some()
    )
}
