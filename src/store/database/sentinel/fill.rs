//! Values for a new row: for each column a few SQL expressions, the likeliest first.
//!
//! They are short, run by a number and lie far from what seeds use. What a CHECK, a domain or a partition wants is guessed from
//! the literals in its definition; the server decides.

use std::borrow::Cow;

use crate::store::database::literal::literal;

use super::shape::{Column, Shapes, Table, Type};

/// How deep arrays, composites and domains may nest.
const DEPTH: u8 = 4;

/// The expressions for a column of the row with this number; never empty.
pub(super) fn candidates(shapes: &Shapes, table: &Table, column: &Column, number: u32) -> Vec<String> {
    let mut rules: Vec<Cow<'_, str>> = Vec::new();
    for check in &table.checks {
        if check.columns.as_ref().is_some_and(|columns| columns.contains(&column.number)) {
            rules.push(Cow::Borrowed(&check.text));
        }
    }
    if table.routed.contains(&column.name) {
        rules.extend(table.bounds.iter().map(|bound| Cow::Borrowed(bound.as_str())));
    }
    let mut found = Vec::new();
    let big = if table.indexed.contains(&column.number) { Reach::Far } else { Reach::Near };
    let filler = Filler { shapes, number, reach: big };
    filler.values(column.type_oid, column.modifier, rules, DEPTH, &mut found);
    if !column.required {
        found.push("NULL".to_owned());
    }
    if found.is_empty() {
        found.push("DEFAULT".to_owned());
    }
    found.dedup();
    found
}

/// How far numbers lie from those that seeds use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Near,
    Far,
}

struct Filler<'a> {
    shapes: &'a Shapes,
    number: u32,
    reach: Reach,
}

impl<'a> Filler<'a> {
    fn values(&self, oid: u32, modifier: i32, mut rules: Vec<Cow<'a, str>>, depth: u8, into: &mut Vec<String>) {
        let Some(kind) = self.shapes.types.get(&oid).filter(|_| depth > 0) else { return };
        match kind.kind {
            'd' => {
                rules.extend(kind.checks.iter().map(|check| Cow::Borrowed(check.as_str())));
                let modifier = if kind.modifier >= 0 { kind.modifier } else { modifier };
                let mut base = Vec::new();
                self.values(kind.base, modifier, rules, depth - 1, &mut base);
                into.extend(base.into_iter().map(|value| format!("{value}::{}", kind.shown)));
            }
            'e' => {
                let count = u32::try_from(kind.labels.len()).unwrap_or(1).max(1);
                let first = if self.reach == Reach::Far { self.number % count } else { 0 } as usize;
                let labels = kind.labels.iter().cycle().skip(first).take(kind.labels.len());
                into.extend(labels.map(|label| format!("{}::{}", literal(label), kind.shown)));
            }
            'c' => {
                let field = |oid: &u32| self.first(*oid, depth).unwrap_or_else(|| "NULL".to_owned());
                let fields: Vec<String> = kind.fields.iter().map(field).collect();
                into.push(format!("ROW({})::{}", fields.join(", "), kind.shown));
            }
            'r' => {
                if let Some(low) = self.first(kind.subtype, depth) {
                    into.push(format!("{}({low}, {low}, '[]')", kind.shown));
                    into.push(format!("{}({low}, NULL, '[)')", kind.shown));
                    into.push(format!("'empty'::{}", kind.shown));
                }
            }
            'm' => into.push(format!("'{{}}'::{}", kind.shown)),
            _ if kind.element != 0 => {
                let mut elements = Vec::new();
                self.values(kind.element, modifier, rules, depth - 1, &mut elements);
                into.extend(elements.into_iter().map(|value| format!("ARRAY[{value}]::{}", kind.shown)));
                into.push(format!("'{{}}'::{}", kind.shown));
            }
            _ => self.scalars(kind, modifier, &rules, into),
        }
    }

    fn first(&self, oid: u32, depth: u8) -> Option<String> {
        let mut found = Vec::new();
        self.values(oid, -1, Vec::new(), depth - 1, &mut found);
        found.into_iter().next()
    }

    fn scalars(&self, kind: &Type, modifier: i32, rules: &[Cow<'_, str>], into: &mut Vec<String>) {
        let (texts, numbers) = literals(rules);
        let limit = usize::try_from(modifier - 4).ok().filter(|_| modifier > 4);
        let (near, far, n) = (10 + self.number % 80, 70_000_000 + self.number, self.number);
        let mut plain: Vec<String> = Vec::new();
        match kind.name.as_str() {
            "int2" | "int4" | "int8" | "numeric" | "float4" | "float8" | "money" | "oid" => {
                let own = match (kind.name.as_str(), self.reach, modifier) {
                    ("int2", Reach::Far, _) => 20_000 + n % 12_000,
                    ("numeric", _, 4..) => {
                        let (precision, scale) = ((modifier - 4) >> 16 & 0xffff, (modifier - 4) & 0x7ff);
                        let digits = u32::try_from(precision - scale).unwrap_or_default().min(7);
                        n % 10_u32.pow(digits)
                    }
                    (_, Reach::Far, _) => far,
                    (_, Reach::Near, _) => near,
                };
                plain.push(own.to_string());
                for number in &numbers {
                    plain.extend([number + 1, *number, number - 1].map(|number| number.to_string()));
                }
                plain.extend(["0".to_owned(), "1".to_owned()]);
                if matches!(kind.name.as_str(), "numeric" | "float4" | "float8") {
                    plain.push("0.5".to_owned());
                }
            }
            "text" | "varchar" | "bpchar" | "name" | "citext" => {
                let cut = |text: String| match limit {
                    // The end differs from row to row.
                    Some(limit) if text.len() > limit => text.chars().skip(text.len() - limit).collect(),
                    _ => text,
                };
                let own = cut(format!("zq{n}"));
                let pattern = rules.iter().any(|rule| rule.contains('~'));
                if !pattern {
                    plain.extend(texts.iter().filter(|text| !text.contains('%')).cloned());
                }
                plain.push(own.clone());
                for text in texts.iter().filter(|text| text.contains('%')) {
                    plain.push(text.replacen('%', &own, 1).replace('%', "q").replace('_', "a"));
                }
                for length in numbers.iter().filter(|length| (1..=512).contains(*length)) {
                    for length in [*length, length + 1, length - 1].into_iter().filter_map(|l| usize::try_from(l).ok())
                    {
                        plain.push(format!("{n:0>length$}"));
                        plain.push(format!("{own:q<length$}"));
                    }
                }
                if !rules.is_empty() {
                    let shapes = [
                        format!("zq{n}@example.com"),
                        format!("ZQ{n}"),
                        format!("https://example.com/zq{n}"),
                        format!("{n:0>2}"),
                        format!("{n:0>5}"),
                        format!("1.0.{n}"),
                        format!("+1555{n:0>7}"),
                        format!("#{n:0>6}"),
                        format!("{n:0>64}"),
                        format!("sha256:{n:0>64}"),
                        "ABC".to_owned(),
                        "ab".to_owned(),
                        "a".to_owned(),
                    ];
                    plain.extend(shapes);
                }
                plain = plain.into_iter().map(cut).collect();
            }
            "bool" => plain.extend(["true".to_owned(), "false".to_owned()]),
            "uuid" => plain.push(format!("5e471e10-0000-4000-8000-{n:012}")),
            "date" | "timestamp" | "timestamptz" => {
                let year = 2001 + n / 336 % 500;
                plain.extend(texts);
                plain.push(format!("{year}-{:02}-{:02}", 1 + n / 28 % 12, 1 + n % 28));
                plain.extend(["2199-01-01".to_owned(), "1999-01-01".to_owned()]);
            }
            "time" | "timetz" => plain.push(format!("{:02}:{:02}:01", n / 60 % 24, n % 60)),
            "interval" => plain.push(format!("{n} seconds")),
            "json" | "jsonb" => {
                plain.extend([format!("{{\"zq\": {n}}}"), format!("[{n}]"), "{}".to_owned(), format!("\"zq{n}\"")]);
            }
            "xml" => plain.push(format!("<zq>{n}</zq>")),
            "bytea" => plain.extend([format!("\\x{n:08x}"), format!("\\x{n:064x}")]),
            "inet" => plain.push(format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255)),
            "cidr" => plain.push(format!("10.{}.{}.{}/32", n >> 16 & 255, n >> 8 & 255, n & 255)),
            "macaddr" => plain.push(format!("02:00:00:{:02x}:{:02x}:{:02x}", n >> 16 & 255, n >> 8 & 255, n & 255)),
            "macaddr8" => {
                plain.push(format!("02:00:00:00:00:{:02x}:{:02x}:{:02x}", n >> 16 & 255, n >> 8 & 255, n & 255));
            }
            "bit" => {
                let width = usize::try_from(modifier).ok().filter(|width| *width > 0).unwrap_or(1);
                plain.push((0..width).map(|bit| if bit < 32 && n >> bit & 1 == 1 { '1' } else { '0' }).collect());
            }
            "varbit" => plain.push("1".to_owned()),
            "point" => plain.push(format!("({n},1)")),
            "line" => plain.push(format!("{{1,1,{n}}}")),
            "lseg" => plain.push(format!("[({n},0),({n},1)]")),
            "box" => plain.push(format!("({n},1),({},2)", n + 1)),
            "path" => plain.push(format!("[({n},0),({n},1)]")),
            "polygon" => plain.push(format!("(({n},0),({n},1),({},1))", n + 1)),
            "circle" => plain.push(format!("<({n},0),1>")),
            "pg_lsn" => plain.push(format!("0/{n:X}")),
            "jsonpath" => plain.push("$.zq".to_owned()),
            "txid_snapshot" | "pg_snapshot" => plain.push("1:1:".to_owned()),
            "regclass" => plain.push("pg_catalog.pg_class".to_owned()),
            "regtype" => plain.push("pg_catalog.int4".to_owned()),
            // Another one may read a number or a word.
            _ => plain.extend([format!("zq{n}"), n.to_string()]),
        }
        // These words of SQL mean a length of one.
        let shown = match kind.name.as_str() {
            "bit" => "\"bit\"",
            "bpchar" => "bpchar",
            _ => kind.shown.as_str(),
        };
        into.extend(plain.iter().map(|text| format!("{}::{shown}", literal(text))));
    }
}

/// The texts and whole numbers that a definition names.
fn literals(rules: &[Cow<'_, str>]) -> (Vec<String>, Vec<i64>) {
    let (mut texts, mut numbers) = (Vec::new(), Vec::new());
    for rule in rules {
        // Texts stand between quotes, and a quote in one is doubled.
        let rule = rule.replace("''", "\u{1}");
        for (index, part) in rule.split('\'').enumerate() {
            if index % 2 == 1 {
                let text = part.replace('\u{1}', "'");
                numbers.extend(text.parse::<i64>().ok());
                texts.push(text);
            } else {
                let words = part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '.'));
                numbers.extend(words.filter_map(|word| word.parse::<i64>().ok()));
            }
        }
    }
    (texts, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_a_rule_are_its_texts_and_numbers() {
        let rule = "CHECK ((a = ANY (ARRAY['x'::text, 'it''s'::text])) AND b1 >= 5 AND c < '-3'::integer)";
        let (texts, numbers) = literals(&[Cow::Borrowed(rule)]);
        assert_eq!((texts, numbers), (vec!["x".to_owned(), "it's".to_owned(), "-3".to_owned()], vec![5, -3]));
    }
}
