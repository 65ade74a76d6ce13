//! Which differences between two runs of one up come from the clock or from chance, and which are real.
//!
//! `'now'::timestamptz` in a default, the day in a partition's name or a random suffix are stored as constants: two runs of the
//! same text then make two things. They are told by their shape: equal but for digits. They are named, never dropped in silence.

use std::collections::BTreeMap;

use super::super::schema::{Difference, Kind};

/// The differences, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What really differs.
    pub real: Vec<Difference>,
    /// What is made from the clock or by chance, each with its name.
    pub volatile: Vec<(Kind, String)>,
}

/// Sort the differences between the schema after one run of an up and after the next.
pub fn settle(differences: Vec<Difference>) -> Settled {
    let mut settled = Settled::default();
    // What is gone under one name and has come under another of the same shape is one thing twice.
    let mut gone: BTreeMap<(Kind, String), Vec<usize>> = BTreeMap::new();
    let mut open: Vec<Option<Difference>> = Vec::with_capacity(differences.len());
    for difference in differences {
        match &difference {
            Difference::Changed { kind, name, facts } if facts.iter().all(is_of_the_moment) => {
                settled.volatile.push((*kind, name.clone()));
                continue;
            }
            Difference::Removed { kind, name } => {
                gone.entry((*kind, shape(name))).or_default().push(open.len());
            }
            Difference::Added { kind, name } => {
                if let Some(place) = gone.get_mut(&(*kind, shape(name))).and_then(Vec::pop) {
                    settled.volatile.push((*kind, name.clone()));
                    if let Some(taken) = open.get_mut(place) {
                        *taken = None;
                    }
                    continue;
                }
            }
            Difference::Changed { .. } => {}
        }
        open.push(Some(difference));
    }
    settled.real = open.into_iter().flatten().collect();
    settled
}

fn is_of_the_moment(fact: &super::super::schema::Fact) -> bool {
    match (&fact.from, &fact.to) {
        (Some(from), Some(to)) => shape(from) == shape(to) && has_a_moment(from) && has_a_moment(to),
        _ => false,
    }
}

/// Whether a text holds what a clock or chance writes: six digits with nothing but the marks of a time between them, or eight
/// hexadecimal ones. Shorter numbers are limits, lengths and defaults, and those count.
fn has_a_moment(text: &str) -> bool {
    let is_mark = |c: char| matches!(c, '-' | ':' | '.' | ' ' | '+' | '_' | 'T');
    let longest = |wanted: &dyn Fn(char) -> bool, skipped: &dyn Fn(char) -> bool| {
        let (mut longest, mut now) = (0, 0);
        for c in text.chars() {
            if wanted(c) {
                now += 1;
                longest = longest.max(now);
            } else if !skipped(c) {
                now = 0;
            }
        }
        longest
    };
    let digits = longest(&|c| c.is_ascii_digit(), &is_mark);
    let hexadecimal = longest(&|c| c.is_ascii_digit() || matches!(c, 'a'..='f'), &|_| false);
    digits >= 6 || hexadecimal >= 8 && text.chars().any(|c| c.is_ascii_digit())
}

/// The text with every run of digits, or of hexadecimal digits that holds one, as one mark.
fn shape(text: &str) -> String {
    let (mut shape, mut run) = (String::with_capacity(text.len()), String::new());
    let flush = |shape: &mut String, run: &mut String| {
        if run.chars().any(|c| c.is_ascii_digit()) {
            shape.push('#');
        } else {
            shape.push_str(run);
        }
        run.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() || matches!(c, 'a'..='f') {
            run.push(c);
        } else {
            flush(&mut shape, &mut run);
            shape.push(c);
        }
    }
    flush(&mut shape, &mut run);
    shape
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::Fact;
    use super::*;

    fn changed(from: &str, to: &str) -> Difference {
        let fact = Fact { what: "default".to_owned(), from: Some(from.to_owned()), to: Some(to.to_owned()) };
        Difference::Changed { kind: Kind::Column, name: "public.t.a".to_owned(), facts: vec![fact] }
    }

    fn pair(removed: &str, added: &str) -> Vec<Difference> {
        let (kind, text) = (Kind::Table, str::to_owned);
        vec![Difference::Removed { kind, name: text(removed) }, Difference::Added { kind, name: text(added) }]
    }

    #[test]
    fn what_the_clock_or_chance_writes_is_told_from_what_an_author_writes() {
        #[track_caller]
        fn case(differences: Vec<Difference>, volatile: bool) {
            let settled = settle(differences.clone());
            let (real, moments) = if volatile { (Vec::new(), 1) } else { (differences, 0) };
            assert_eq!((settled.real, settled.volatile.len()), (real, moments));
        }
        let stamp = |time: &str| format!("'{time}'::timestamp with time zone");
        case(vec![changed(&stamp("2026-11-21 10:00:00.123+00"), &stamp("2026-11-21 10:00:01.5+00"))], true);
        case(
            vec![changed(
                "'6fa459ea-ee8a-3ca4-894e-db77e160355e'::uuid",
                "'16fd2706-8baf-433b-82eb-8c7fada847da'::uuid",
            )],
            true,
        );
        case(vec![changed("1763719200", "1763719201")], true);
        case(vec![changed("5", "6")], false);
        case(vec![changed("character varying(100)", "character varying(200)")], false);
        case(vec![changed("now()", "'2026-11-21'::date")], false);
        case(pair("public.events_2026_11_21_100000", "public.events_2026_11_21_100001"), true);
        case(pair("public.part_3f2a9b1c", "public.part_9d0e11aa"), true);
        case(pair("public.users", "public.orders"), false);
    }

    #[test]
    fn each_name_that_has_gone_explains_one_that_has_come() {
        let mut differences = pair("public.e_20261121", "public.e_20261122");
        differences.push(Difference::Added { kind: Kind::Table, name: "public.e_20261123".to_owned() });
        let settled = settle(differences);
        assert_eq!((settled.real.len(), settled.volatile.len()), (1, 1));
    }
}
