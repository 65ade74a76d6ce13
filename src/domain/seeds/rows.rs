//! A seed set written as TOML: one table, the columns that make its key, and the rows.
//!
//! `table = "name"` or `"schema.name"`, `key = ["column", …]`, `[[rows]]`. A column that a row leaves out keeps its default.
//! Values keep their digits; errors name the line and the column, never the value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SeedError;

/// PostgreSQL cuts longer names off without a word.
const NAME_BYTES: usize = 63;

/// A table, perhaps in a schema of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// `public` unless given.
    pub schema: String,
    /// The table.
    pub table: String,
}

/// Rows for one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    table: TableName,
    key: Vec<String>,
    groups: Vec<Group>,
}

/// Rows that give the same columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The columns, sorted by name; the key's are among them.
    pub columns: Vec<String>,
    /// The rows as objects, in the order of the file.
    pub rows: Vec<Value>,
}

impl RowSet {
    /// Read the TOML.
    ///
    /// # Errors
    /// [`SeedError`] with the line.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, SeedError> {
        let reader = Reader { file, text };
        let table = DeTable::parse(text).map(Spanned::into_inner).map_err(|error| {
            let offset = error.span().map_or(text.len(), |span| span.start);
            reader.wrong(offset, error.message())
        })?;
        for key in table.keys() {
            if !["table", "key", "rows"].contains(&key.get_ref().as_ref()) {
                return Err(reader.wrong(key.span().start, "only `table`, `key` and `rows` exist here"));
            }
        }
        let entry = |name: &str, example: &str| {
            table.get(name).ok_or_else(|| reader.wrong(0, &format!("`{name}` is missing; write for example {example}")))
        };
        let name = reader.table(entry("table", "table = \"users\"")?)?;
        let key = reader.key(entry("key", "key = [\"email\"]")?)?;
        let rows = entry("rows", "[[rows]]")?;
        let mut set = Self { table: name, key, groups: Vec::new() };
        let mut seen = BTreeSet::new();
        for row in reader.list(rows, "`rows` must be tables: [[rows]]")? {
            let object = reader.row(row)?;
            let mut identity = String::new();
            for column in &set.key {
                let Some(value) = object.get(column) else {
                    return Err(reader.wrong(row.span().start, &format!("this row does not give its key `{column}`")));
                };
                // JSON text of one value after the other is a sequence that reads in one way only.
                identity.push_str(&value.to_string());
            }
            if !seen.insert(identity) {
                return Err(reader.wrong(row.span().start, "a row with this key stands above"));
            }
            set.add(object);
        }
        Ok(set)
    }

    fn add(&mut self, object: Map<String, Value>) {
        let mut columns: Vec<String> = object.keys().cloned().collect();
        columns.sort();
        match self.groups.iter_mut().find(|group| group.columns == columns) {
            Some(group) => group.rows.push(Value::Object(object)),
            None => self.groups.push(Group { columns, rows: vec![Value::Object(object)] }),
        }
    }

    /// The table.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The columns by which a row is found again, at least one.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The rows, by the columns that they give.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Every column that some row gives, and the key's, each once.
    pub fn columns(&self) -> BTreeSet<&str> {
        let given = self.groups.iter().flat_map(|group| &group.columns);
        given.chain(&self.key).map(String::as_str).collect()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema == "public" { f.write_str(&self.table) } else { write!(f, "{}.{}", self.schema, self.table) }
    }
}

type Entry<'a> = Spanned<DeValue<'a>>;

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, offset: usize, message: &str) -> SeedError {
        let line = 1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        SeedError { file: self.file.to_owned(), line: Some(line), message: message.to_owned() }
    }

    fn table(&self, entry: &Entry<'_>) -> Result<TableName, SeedError> {
        let wrong = || self.wrong(entry.span().start, "`table` must be a text: \"name\" or \"schema.name\"");
        let text = entry.get_ref().as_str().ok_or_else(wrong)?;
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        if !is_name(schema) || !is_name(table) || table.contains('.') {
            return Err(wrong());
        }
        Ok(TableName { schema: schema.to_owned(), table: table.to_owned() })
    }

    fn key(&self, entry: &Entry<'_>) -> Result<Vec<String>, SeedError> {
        let rule = "`key` must be a list of the columns by which a row is found again";
        let mut key: Vec<String> = Vec::new();
        for column in self.list(entry, rule)? {
            match column.get_ref().as_str() {
                Some(column) if is_name(column) && !key.iter().any(|known| known == column) => {
                    key.push(column.to_owned())
                }
                _ => return Err(self.wrong(column.span().start, rule)),
            }
        }
        if key.is_empty() { Err(self.wrong(entry.span().start, rule)) } else { Ok(key) }
    }

    fn list<'e, 'v>(&self, entry: &'e Entry<'v>, rule: &str) -> Result<impl Iterator<Item = &'e Entry<'v>>, SeedError> {
        let list = entry.get_ref().as_array().ok_or_else(|| self.wrong(entry.span().start, rule))?;
        Ok(list.iter())
    }

    fn row(&self, entry: &Entry<'_>) -> Result<Map<String, Value>, SeedError> {
        let rule = "`rows` must be tables: [[rows]]";
        let table = entry.get_ref().as_table().ok_or_else(|| self.wrong(entry.span().start, rule))?;
        let mut object = Map::new();
        for (column, value) in table {
            let name = column.get_ref().as_ref();
            if !is_name(name) {
                return Err(self.wrong(column.span().start, "a column's name has 1 to 63 bytes"));
            }
            let value = json(value.get_ref()).ok_or_else(|| {
                let message =
                    format!("`{name}` holds a value that no column can hold: NUL, nan, inf or too large a number");
                self.wrong(value.span().start, &message)
            })?;
            object.insert(name.to_owned(), value);
        }
        Ok(object)
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && !text.contains('\0')
}

/// The value as JSON, digit for digit; a date becomes its text. `None` for what has no JSON.
fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) if text.contains('\0') => return None,
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => {
            let digits = number.as_str().trim_start_matches('+');
            Value::Number(digits.parse().ok()?)
        }
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>()?.into(),
        DeValue::Table(table) => {
            let mut object = Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().to_string(), json(value.get_ref())?);
            }
            Value::Object(object)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<RowSet, SeedError> {
        RowSet::parse("s.toml", text)
    }

    #[test]
    fn rows_are_grouped_by_the_columns_they_give() {
        let text =
            "table = \"t\"\nkey = [\"a\"]\n[[rows]]\na = 1\nb = \"x\"\n[[rows]]\na = 2\n[[rows]]\nb = \"y\"\na = 3\n";
        let set = parse(text).unwrap();
        assert_eq!(set.table(), &TableName { schema: "public".to_owned(), table: "t".to_owned() });
        assert_eq!((set.key(), set.len(), set.columns().len()), (&["a".to_owned()][..], 3, 2));
        assert_eq!(set.groups()[0].columns, ["a", "b"]);
        assert_eq!(set.groups()[0].rows, [json!({"a": 1, "b": "x"}), json!({"a": 3, "b": "y"})]);
        assert_eq!(set.groups()[1].rows, [json!({"a": 2})]);
    }

    #[test]
    fn values_keep_their_digits_and_kinds() {
        #[track_caller]
        fn case(toml: &str, json: &str) {
            let set = parse(&format!("table = \"t\"\nkey = [\"k\"]\nrows = [{{ k = 1, v = {toml} }}]")).unwrap();
            assert_eq!(set.groups()[0].rows[0]["v"].to_string(), json, "{toml}");
        }
        case("0.12345678901234567890123", "0.12345678901234567890123");
        case("9223372036854775807", "9223372036854775807");
        case("0xff", "255");
        case("true", "true");
        case("[\"a\", \"b\"]", "[\"a\",\"b\"]");
        case("{ a = [1, { b = 2 }] }", "{\"a\":[1,{\"b\":2}]}");
        case("2026-01-31T10:00:00Z", "\"2026-01-31T10:00:00Z\"");
        case("'a\"b'", r#""a\"b""#);
    }

    #[test]
    fn what_is_no_set_is_refused_with_its_line_and_without_its_values() {
        #[track_caller]
        fn case(text: &str, message: &str) {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("s.toml:{message}"), "{text}");
            assert!(!error.contains("CANARY"), "{error}");
        }
        let head = "table = \"t\"\nkey = [\"a\"]\n";
        case("key = [\"a\"]\nrows = []", "1: `table` is missing; write for example table = \"users\"");
        case("table = \"t\"\nrows = []", "1: `key` is missing; write for example key = [\"email\"]");
        case(head, "1: `rows` is missing; write for example [[rows]]");
        case("table = 1\nkey = [\"a\"]\nrows = []", "1: `table` must be a text: \"name\" or \"schema.name\"");
        for table in ["", "a.b.c", ".a", &"x".repeat(64)] {
            let text = format!("table = \"{table}\"\nkey = [\"a\"]\nrows = []");
            case(&text, "1: `table` must be a text: \"name\" or \"schema.name\"");
        }
        for key in ["[]", "\"a\"", "[1]", "[\"a\", \"a\"]"] {
            let text = format!("table = \"t\"\nkey = {key}\nrows = []");
            case(&text, "2: `key` must be a list of the columns by which a row is found again");
        }
        case(&format!("{head}rows = 1"), "3: `rows` must be tables: [[rows]]");
        case(&format!("{head}rows = [\"CANARY\"]"), "3: `rows` must be tables: [[rows]]");
        case(&format!("{head}[[rows]]\nb = \"CANARY\""), "3: this row does not give its key `a`");
        case(
            &format!("{head}[[rows]]\na = \"CANARY\"\n[[rows]]\na = \"CANARY\""),
            "5: a row with this key stands above",
        );
        case(&format!("{head}more = \"CANARY\"\nrows = []"), "3: only `table`, `key` and `rows` exist here");
        for value in ["nan", "-inf", "99999999999999999999", "\"a\\u0000\""] {
            let text = format!("{head}[[rows]]\na = {value}");
            case(&text, "4: `a` holds a value that no column can hold: NUL, nan, inf or too large a number");
        }
    }
}
