//! The lists that the catalog prints: options as `name=value`, and names or columns between commas.

use std::collections::BTreeMap;

use super::names::literal;

/// The parts between commas that stand outside of quotes and parentheses.
pub(super) fn parts(list: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (offset, byte) in list.bytes().enumerate() {
        match (byte, quote) {
            (byte, Some(mark)) if byte == mark => quote = None,
            (_, Some(_)) => {}
            (b'"' | b'\'', None) => quote = Some(byte),
            (b'(', None) => depth += 1,
            (b')', None) => depth = depth.saturating_sub(1),
            (b',', None) if depth == 0 => {
                found.extend(list.get(start..offset).map(str::trim));
                start = offset + 1;
            }
            _ => {}
        }
    }
    found.extend(list.get(start..).map(str::trim).filter(|last| !last.is_empty()));
    found
}

fn options(list: Option<&str>) -> Result<BTreeMap<&str, &str>, String> {
    let list = list.filter(|list| !list.is_empty());
    let pairs = list.into_iter().flat_map(|list| list.split(", ")).map(|pair| pair.split_once('='));
    let pairs: Option<BTreeMap<&str, &str>> = pairs.collect();
    let pairs = pairs.ok_or("its options cannot be told apart")?;
    if pairs.values().any(|value| value.starts_with("hidden, ") || value.starts_with("hidden,")) {
        return Err("an option may hold a secret and is not recorded".to_owned());
    }
    Ok(pairs)
}

/// `SET (a = '1')` and `RESET (b)` behind `alter`, which lead from one list of storage options to the other.
pub(super) fn storage(alter: &str, prefix: &str, now: Option<&str>, goal: Option<&str>) -> Result<Vec<String>, String> {
    let (now, goal) = (options(now)?, options(goal)?);
    let set: Vec<String> = goal
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(*value))
        .map(|(name, value)| format!("{prefix}{name} = {}", literal(value)))
        .collect();
    let reset: Vec<String> =
        now.keys().filter(|name| !goal.contains_key(*name)).map(|name| format!("{prefix}{name}")).collect();
    let mut sql = Vec::new();
    if !set.is_empty() {
        sql.push(format!("{alter} SET ({})", set.join(", ")));
    }
    if !reset.is_empty() {
        sql.push(format!("{alter} RESET ({})", reset.join(", ")));
    }
    Ok(sql)
}

/// `OPTIONS (ADD a '1', SET b '2', DROP c)` of foreign things.
pub(super) fn foreign(alter: &str, now: Option<&str>, goal: Option<&str>) -> Result<String, String> {
    let (now, goal) = (options(now)?, options(goal)?);
    let kept = goal.iter().filter(|(name, value)| now.get(*name) != Some(*value)).map(|(name, value)| {
        let word = if now.contains_key(name) { "SET" } else { "ADD" };
        format!("{word} {name} {}", literal(value))
    });
    let gone = now.keys().filter(|name| !goal.contains_key(*name)).map(|name| format!("DROP {name}"));
    Ok(format!("{alter} OPTIONS ({})", kept.chain(gone).collect::<Vec<_>>().join(", ")))
}

/// `OPTIONS (a '1')` of something new; nothing without options.
pub(super) fn given(list: Option<&str>) -> Result<String, String> {
    let all: Vec<String> = options(list)?.iter().map(|(name, value)| format!("{name} {}", literal(value))).collect();
    Ok(if all.is_empty() { String::new() } else { format!(" OPTIONS ({})", all.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_inside_quotes_or_parentheses_separates_nothing() {
        assert_eq!(parts("a numeric(12, 6), \"b, c\" text, 'x, y'"), ["a numeric(12, 6)", "\"b, c\" text", "'x, y'"]);
        assert_eq!(parts(""), [""; 0]);
    }

    #[test]
    fn only_what_differs_is_set_or_reset() {
        let sql = storage("ALTER TABLE t", "", Some("a=1, b=2"), Some("b=3, c=it's")).unwrap();
        assert_eq!(sql, ["ALTER TABLE t SET (b = '3', c = 'it''s')", "ALTER TABLE t RESET (a)"]);
        let sql = foreign("ALTER SERVER s", Some("a=1, b=2"), Some("b=3, c=4")).unwrap();
        assert_eq!(sql, "ALTER SERVER s OPTIONS (SET b '3', ADD c '4', DROP a)");
        assert!(foreign("x", None, Some("password=hidden, sha256 1")).is_err());
    }
}
