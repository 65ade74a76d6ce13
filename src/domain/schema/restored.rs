//! How a definition reads after a dump and a restore.
//!
//! The server stores what it has parsed, and prints it with more parentheses and casts than it was written with. Reading that
//! print again gives another tree with the same meaning, which prints differently. PostgreSQL has two such changes, and a second
//! dump changes nothing more: `((a AND b) AND c)` becomes `(a AND b AND c)`, and the cast of an array goes to its elements. Both
//! are made here on the text; everything else stays as printed, strings and names to the letter.

use std::borrow::Cow;

use super::{Kind, Object};

/// Deeper nesting is left as printed: the server's own limit on its stack is not far from it.
const DEEPEST: usize = 200;

/// One token with the blanks before it.
#[derive(Clone, Debug)]
struct Token<'t> {
    blanks: &'t str,
    part: Part<'t>,
}

#[derive(Clone, Debug)]
enum Part<'t> {
    /// A word, a number, a literal, a quoted name or a symbol.
    Word(&'t str),
    /// What stands between two brackets, with the blanks before the second one.
    Group(Bracket, Vec<Token<'t>>, &'t str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    Round,
    Square,
}

/// Whether a dump of the schema cannot have this property: it fills no materialized view.
pub(super) fn is_lost(kind: Kind, what: &str) -> bool {
    kind == Kind::MaterializedView && what == "populated"
}

/// A property of `object` as it reads once it was dumped and restored.
pub(super) fn restored<'t>(object: &Object, what: &str, value: &'t str) -> Cow<'t, str> {
    // Only what the server prints from a tree: a comment is a text of its own.
    let printed = match what {
        "definition" | "default" | "generated" | "using" | "check" | "partitioned by" | "partition bound" => true,
        // With the condition on their rows.
        "tables" => object.kind == Kind::Publication,
        _ => false,
    };
    if printed { reread(value) } else { Cow::Borrowed(value) }
}

/// The print of a definition after it was read again. What is no balanced SQL stays as it is.
fn reread(text: &str) -> Cow<'_, str> {
    let Some(tokens) = parse(text) else { return Cow::Borrowed(text) };
    let mut print = String::with_capacity(text.len());
    write(&rewrite(tokens), &mut print);
    Cow::Owned(print)
}

fn parse(text: &str) -> Option<Vec<Token<'_>>> {
    let mut rest = text;
    let mut open: Vec<(Bracket, &str, Vec<Token<'_>>)> = Vec::new();
    let mut tokens = Vec::new();
    loop {
        let start = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let blanks = cut(&mut rest, start);
        let Some(first) = rest.chars().next() else {
            // Blanks at the very end count as well.
            let end = (!blanks.is_empty()).then_some(Token { blanks, part: Part::Word("") });
            tokens.extend(end);
            return open.is_empty().then_some(tokens);
        };
        match bracket(first) {
            Some((bracket, true)) if open.len() < DEEPEST => {
                cut(&mut rest, 1);
                open.push((bracket, blanks, std::mem::take(&mut tokens)));
            }
            Some((bracket, false)) => {
                cut(&mut rest, 1);
                let (opened, before, outer) = open.pop().filter(|(opened, ..)| *opened == bracket)?;
                let inner = std::mem::replace(&mut tokens, outer);
                tokens.push(Token { blanks: before, part: Part::Group(opened, inner, blanks) });
            }
            Some(_) => return None,
            None => {
                let length = word(rest, first)?;
                tokens.push(Token { blanks, part: Part::Word(cut(&mut rest, length)) });
            }
        }
    }
}

/// Take `length` bytes off the front; never more than there are.
fn cut<'t>(rest: &mut &'t str, length: usize) -> &'t str {
    let (front, back) = rest.split_at_checked(length).unwrap_or((rest, ""));
    *rest = back;
    front
}

/// The bracket, and whether it opens.
fn bracket(c: char) -> Option<(Bracket, bool)> {
    match c {
        '(' => Some((Bracket::Round, true)),
        ')' => Some((Bracket::Round, false)),
        '[' => Some((Bracket::Square, true)),
        ']' => Some((Bracket::Square, false)),
        _ => None,
    }
}

/// How many bytes the word at the front of `rest` has; `None` for a literal without an end.
fn word(rest: &str, first: char) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    match first {
        '\'' | '"' => quoted(rest, first, Escapes::Doubled),
        'E' if rest.starts_with("E'") => Some(1 + quoted(rest.get(1..)?, '\'', Escapes::Backslash)?),
        '$' => {
            let body = rest.get(1..)?;
            let tag = body.find(|c: char| !is_part(c) || c == '$').and_then(|end| rest.get(..end + 2));
            // A lone `$1` is a parameter.
            let Some(tag) = tag.filter(|tag| tag.ends_with('$')) else { return Some(1) };
            Some(2 * tag.len() + rest.get(tag.len()..)?.find(tag)?)
        }
        ':' if rest.starts_with("::") => Some(2),
        _ if is_part(first) => Some(rest.find(|c: char| !is_part(c)).unwrap_or(rest.len())),
        _ => Some(first.len_utf8()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Doubled,
    Backslash,
}

fn quoted(rest: &str, quote: char, escapes: Escapes) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + c.len_utf8());
        }
        if c == '\\' && escapes == Escapes::Backslash {
            chars.next();
        }
    }
    None
}

/// From the inside out.
fn rewrite<'t>(tokens: Vec<Token<'t>>) -> Vec<Token<'t>> {
    let inner = |token: Token<'t>| match token.part {
        Part::Group(bracket, items, end) => {
            let mut items = rewrite(items);
            if bracket == Bracket::Round {
                items = flat(items);
            }
            Token { part: Part::Group(bracket, items, end), ..token }
        }
        Part::Word(_) => token,
    };
    casts_inside(tokens.into_iter().map(inner).collect())
}

/// `((a AND b) AND c)` to `(a AND b AND c)`, and `OR` alike: the parser looks into the left operand only.
fn flat(items: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let [Token { blanks, part: Part::Group(Bracket::Round, left, _) }, Token { part: Part::Word(by), .. }, ..] =
        items.as_slice()
    else {
        return items;
    };
    if !matches!(*by, "AND" | "OR") || !is_chain(left, by) {
        return items;
    }
    let mut flat = left.clone();
    if let Some(first) = flat.first_mut() {
        first.blanks = blanks;
    }
    flat.extend_from_slice(items.get(1..).unwrap_or_default());
    flat
}

/// Whether these are operands with nothing but this word between them.
fn is_chain(items: &[Token<'_>], by: &str) -> bool {
    let other = if by == "AND" { "OR" } else { "AND" };
    let ends = [other, ",", "BETWEEN", "SELECT", "WITH", "VALUES"];
    items.iter().any(|item| item.is(by)) && !items.iter().any(|item| ends.iter().any(|end| item.is(end)))
}

/// `(ARRAY[a, b])::text[]` to `ARRAY[(a)::text, (b)::text]`.
fn casts_inside(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut done = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        match array_cast(first, after) {
            Some((array, cast, after)) => {
                done.push(Token { blanks: first.blanks, part: Part::Word("ARRAY") });
                done.push(pushed(array, cast));
                rest = after;
            }
            None => {
                done.push(first.clone());
                rest = after;
            }
        }
    }
    done
}

/// Elements, the cast without its `[]`, and what follows it.
type ArrayCast<'a, 't> = (&'a [Token<'t>], &'a [Token<'t>], &'a [Token<'t>]);

fn array_cast<'a, 't>(first: &'a Token<'t>, after: &'a [Token<'t>]) -> Option<ArrayCast<'a, 't>> {
    let Part::Group(Bracket::Round, inner, _) = &first.part else { return None };
    let array = elements(inner)?;
    if !after.first()?.is("::") {
        return None;
    }
    // The type ends with the first `[]`; what no name of a type holds ends the search.
    let named = after.iter().skip(1).take_while(|token| token.is_of_a_type()).count();
    let (cast, rest) = after.split_at_checked(named + 1)?;
    let (brackets, rest) = rest.split_first()?;
    let ends = matches!(&brackets.part, Part::Group(Bracket::Square, items, _) if items.is_empty());
    (ends && named > 0).then_some((array, cast, rest))
}

/// What is between the brackets of `ARRAY[…]`.
fn elements<'a, 't>(tokens: &'a [Token<'t>]) -> Option<&'a [Token<'t>]> {
    match tokens {
        [word, Token { part: Part::Group(Bracket::Square, items, _), .. }] if word.is("ARRAY") => Some(items),
        _ => None,
    }
}

/// The brackets with this cast on every element; an array of arrays hands it on.
fn pushed<'t>(array: &[Token<'t>], cast: &[Token<'t>]) -> Token<'t> {
    let mut items = Vec::new();
    for (number, element) in array.split(|token| token.is(",")).enumerate() {
        if number > 0 {
            items.push(Token { blanks: "", part: Part::Word(",") });
        }
        let Some(first) = element.first() else { continue };
        if let Some(array) = elements(element) {
            items.push(first.clone());
            items.push(pushed(array, cast));
            continue;
        }
        let mut inside = element.to_vec();
        inside.iter_mut().take(1).for_each(|token| token.blanks = "");
        items.push(Token { blanks: first.blanks, part: Part::Group(Bracket::Round, inside, "") });
        items.extend_from_slice(cast);
    }
    Token { blanks: "", part: Part::Group(Bracket::Square, items, "") }
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        matches!(self.part, Part::Word(own) if own == word)
    }

    /// Whether the name of a type can hold it: `timestamp(3) without time zone`, `public."Mood"`.
    fn is_of_a_type(&self) -> bool {
        let is_number = |token: &Token<'_>| matches!(token.part, Part::Word(word) if word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-')));
        match &self.part {
            Part::Word(word) => word.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '"' | '.')),
            Part::Group(Bracket::Round, items, _) => !items.is_empty() && items.iter().all(is_number),
            Part::Group(Bracket::Square, ..) => false,
        }
    }
}

fn write(tokens: &[Token<'_>], print: &mut String) {
    for token in tokens {
        print.push_str(token.blanks);
        match &token.part {
            Part::Word(word) => print.push_str(word),
            Part::Group(bracket, items, end) => {
                let (open, close) = if *bracket == Bracket::Round { ('(', ')') } else { ('[', ']') };
                print.push(open);
                write(items, print);
                print.push_str(end);
                print.push(close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(printed: &str, after: &str) {
        assert_eq!(reread(printed), after);
        assert_eq!(reread(after), after, "a second dump changes nothing");
    }

    #[test]
    fn the_left_operand_of_and_and_or_is_read_into_its_chain() {
        case(
            "CHECK ((((a >= 1) AND (a <= 2)) AND (b ~ 'q'::text)))",
            "CHECK (((a >= 1) AND (a <= 2) AND (b ~ 'q'::text)))",
        );
        case("((((a OR b) OR c) OR d))", "((a OR b OR c OR d))");
        case("(NOT (((a) AND (b)) AND c))", "(NOT ((a) AND (b) AND c))");
        case(
            " SELECT 1\n   FROM t\n  WHERE ((a AND b) AND\n  f(((c AND d) AND e)));",
            " SELECT 1\n   FROM t\n  WHERE (a AND b AND\n  f((c AND d AND e)));",
        );
        for same in [
            "(a AND (b AND c))",
            "((a AND b) OR c)",
            "((a OR b) AND c)",
            "((a AND b) = c)",
            "(((a AND b))::text = 'x')",
            "(f(a AND b) AND c)",
            "((a, b) AND c)",
            "(( SELECT a AND b) AND c)",
            "((a = '(x AND y) AND z'::text) AND c)",
            "(((\"a AND\" b)) AND c)",
        ] {
            case(same, same);
        }
    }

    #[test]
    fn the_cast_of_an_array_goes_to_its_elements() {
        case(
            "((n)::text = ANY ((ARRAY['a'::character varying, 'it''s, ('::character varying])::text[]))",
            "((n)::text = ANY (ARRAY[('a'::character varying)::text, ('it''s, ('::character varying)::text]))",
        );
        case("(ARRAY[n, f(a, b)])::text[]", "ARRAY[(n)::text, (f(a, b))::text]");
        case(
            "(ARRAY[ARRAY[a, b], ARRAY[c]])::character varying(5)[]",
            "ARRAY[ARRAY[(a)::character varying(5), (b)::character varying(5)], ARRAY[(c)::character varying(5)]]",
        );
        case(
            "(x = (ARRAY[a])::timestamp(3) without time zone[]) AND y",
            "(x = ARRAY[(a)::timestamp(3) without time zone]) AND y",
        );
        case("(ARRAY[a])::public.\"Mood x\"[]", "ARRAY[(a)::public.\"Mood x\"]");
        for same in [
            "(ARRAY[a])::dom",
            "((ARRAY[a])::dom AND (b)::text[])",
            "((ARRAY[a])::dom = '{}'::text[])",
            "(ARRAY[a])[1]",
            "ARRAY[]::text[]",
            "('{a}'::character varying[])::text[]",
        ] {
            case(same, same);
        }
    }

    #[test]
    fn what_is_quoted_or_no_sql_stays_to_the_letter() {
        let deep = format!("{}{}", "(".repeat(DEEPEST + 1), ")".repeat(DEEPEST + 1));
        for same in [
            "",
            "  a  ",
            "AS $function$ begin if ((a and b) and c) then ((x AND y) AND z) end $function$",
            "AS $$((a AND b) AND c)$$",
            "'((a AND b) AND c)'",
            "E'\\'((a AND b) AND c)'",
            "f($1, $2)",
            "a = $1",
            "((a AND b) AND c",
            "((a AND b] AND c)",
            "((a AND b) AND 'c)",
            &deep,
        ] {
            case(same, same);
        }
        case("E'\\'' = ((a AND b) AND c)", "E'\\'' = (a AND b AND c)");
    }

    #[test]
    fn a_comment_is_no_print_of_a_tree() {
        let table = Object::new(Kind::Table, "public.t");
        let text = "((a AND b) AND c)";
        assert_eq!(restored(&table, "comment", text), text);
        assert_eq!(restored(&table, "definition", text), "(a AND b AND c)");
        assert_eq!(restored(&table, "tables", text), text);
        assert_eq!(restored(&Object::new(Kind::Publication, "p"), "tables", text), "(a AND b AND c)");
    }
}
