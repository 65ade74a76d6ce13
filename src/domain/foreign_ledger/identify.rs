//! Whose ledger a table is, told by its columns: several tools share one name.

use super::Tool;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as the server prints it without a length.
    pub kind: String,
}

/// Whether the schema of the table also holds `ar_internal_metadata`, which only Rails makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It does.
    Rails,
    /// It does not.
    None,
}

/// What a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The ledger of this tool.
    Of(Tool),
    /// The ledger of Rails, whose migrations are Ruby.
    Rails,
    /// Nothing that is known here.
    Unknown,
}

/// What a table with these columns is.
pub fn shape(columns: &[Column], neighbour: Neighbour) -> Shape {
    let kind = |name: &str| columns.iter().find(|column| column.name == name).map(|column| column.kind.as_str());
    let has = |names: &[&str]| names.iter().all(|name| kind(name).is_some());
    let is_text = |name: &str| matches!(kind(name), Some("character varying" | "text"));
    let is_number = |name: &str| matches!(kind(name), Some("bigint" | "integer"));
    if has(&["version", "description", "success", "checksum", "execution_time"]) && is_number("version") {
        Shape::Of(Tool::Sqlx)
    } else if has(&["installed_rank", "version", "type", "script", "checksum", "success"]) {
        Shape::Of(Tool::Flyway)
    } else if has(&["version_id", "is_applied", "tstamp", "id"]) {
        Shape::Of(Tool::Goose)
    } else if has(&["version", "name", "applied_on", "checksum"]) && is_number("version") {
        Shape::Of(Tool::Refinery)
    } else if has(&["version", "run_on"]) && is_text("version") {
        Shape::Of(Tool::Diesel)
    } else if has(&["version", "dirty"]) && is_number("version") && kind("dirty") == Some("boolean") {
        Shape::Of(Tool::GolangMigrate)
    } else if columns.len() == 1 && is_text("version_num") {
        Shape::Of(Tool::Alembic)
    } else if columns.len() == 1 && is_text("version") {
        if neighbour == Neighbour::Rails { Shape::Rails } else { Shape::Of(Tool::Dbmate) }
    } else {
        Shape::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_columns_and_not_by_its_name() {
        #[track_caller]
        fn case(columns: &[(&str, &str)], neighbour: Neighbour, expected: Shape) {
            let column = |(name, kind): &(&str, &str)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() };
            let columns: Vec<Column> = columns.iter().map(column).collect();
            assert_eq!(shape(&columns, neighbour), expected, "{columns:?}");
        }
        use Neighbour::{None, Rails};
        let (number, text) = ("bigint", "character varying");
        case(&[("version", text)], None, Shape::Of(Tool::Dbmate));
        case(&[("version", text)], Rails, Shape::Rails);
        case(&[("version", number), ("dirty", "boolean")], Rails, Shape::Of(Tool::GolangMigrate));
        case(&[("version", number), ("inserted_at", "timestamp")], None, Shape::Unknown);
        case(
            &[("version", "integer"), ("name", text), ("applied_on", text), ("checksum", text)],
            None,
            Shape::Of(Tool::Refinery),
        );
        case(&[("version", text), ("run_on", "timestamp")], None, Shape::Of(Tool::Diesel));
        case(&[("version_num", text)], None, Shape::Of(Tool::Alembic));
        case(
            &[("id", "integer"), ("version_id", number), ("is_applied", "boolean"), ("tstamp", "timestamp")],
            None,
            Shape::Of(Tool::Goose),
        );
        case(&[("version", number), ("version_num", text)], None, Shape::Unknown);
        case(&[], None, Shape::Unknown);
    }
}
