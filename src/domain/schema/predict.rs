//! The schema that a script leaves, guessed from its words where it could not be rehearsed: what it drops by name is gone.

use super::{Fingerprint, Kind, Object};
use crate::domain::migrations::{Dropped, ObjectName, Script};

impl Fingerprint {
    /// Without what `script` drops by name, and the parts of it.
    pub fn without(&self, script: &Script) -> Self {
        // A script that cannot be split cannot be run.
        let statements = script.statements().unwrap_or_default();
        let dropped: Vec<Dropped> = statements.iter().flat_map(|statement| statement.drops()).collect();
        let stays = |object: &&Object| !dropped.iter().any(|dropped| hits(dropped, object));
        Self { objects: self.objects.iter().filter(stays).cloned().collect(), ..*self }
    }
}

fn hits(dropped: &Dropped, object: &Object) -> bool {
    match dropped {
        Dropped::Schema(schema) => [Some(&object.name), object.of.as_ref()]
            .into_iter()
            .flatten()
            .any(|path| bare(path).strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with('.'))),
        Dropped::Object(name) => {
            [Some(&object.name), object.of.as_ref()].into_iter().flatten().any(|path| is(path, name))
        }
        Dropped::Column(table, column) => {
            object.kind == Kind::Column
                && bare(&object.name) == *column
                && object.of.as_ref().is_some_and(|of| is(of, table))
        }
    }
}

/// Whether a full name is meant; without a schema it is looked for in `public`, as a run does.
fn is(path: &str, name: &ObjectName) -> bool {
    bare(path) == format!("{}.{}", name.schema.as_deref().unwrap_or("public"), name.name)
}

/// A name without the quotes that SQL would need.
fn bare(path: &str) -> String {
    path.replace('"', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_by_name_is_gone_with_its_parts() {
        let part = |kind, name: &str, of: &str| Object { of: Some(of.to_owned()), ..Object::new(kind, name) };
        let schema = Fingerprint::new(
            1,
            150_000,
            vec![
                Object::new(Kind::Table, "public.t"),
                part(Kind::Column, "a", "public.t"),
                Object::new(Kind::Table, "public.\"U u\""),
                part(Kind::Column, "a", "public.\"U u\""),
                Object::new(Kind::Table, "s.t"),
            ],
        );
        #[track_caller]
        fn case(schema: &Fingerprint, script: &str, left: &[&str]) {
            let left_now: Vec<String> = schema.without(&Script::new(script)).objects.iter().map(Object::path).collect();
            assert_eq!(left_now, left, "{script}");
        }
        case(&schema, "DROP TABLE t", &["public.\"U u\"", "s.t", "public.\"U u\".a"]);
        case(&schema, "ALTER TABLE \"U u\" DROP a", &["public.\"U u\"", "public.t", "s.t", "public.t.a"]);
        case(&schema, "DROP SCHEMA s", &["public.\"U u\"", "public.t", "public.\"U u\".a", "public.t.a"]);
    }
}
