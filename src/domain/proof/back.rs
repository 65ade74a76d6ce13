//! What a down gives back, held against the schema that was there before its up.

use super::super::schema::{Difference, Fingerprint, Incomparable, Kind, Level, diff};

/// What a down gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// What it leaves, or takes too much.
    pub residue: Vec<Difference>,
    /// Extensions that stay: they may serve others by now, and dropping one would be worse (migrations.md 5).
    pub stays: Vec<Difference>,
    /// Whether columns stand in another order.
    pub reordered: bool,
}

/// Compare the schema before an up with the one after its down. What only a database has as a whole is left out.
///
/// # Errors
/// [`Incomparable`] for fingerprints of different formats or majors.
pub fn given_back(past: &Fingerprint, after: &Fingerprint, level: Level) -> Result<GivenBack, Incomparable> {
    let (past, after) = (past.portable(), after.portable());
    let (stays, residue) = diff(&past, &after, level)?.into_iter().partition(is_extension);
    let reordered = diff(&past, &after, Level::Ordered)?.iter().any(Difference::is_about_place);
    Ok(GivenBack { residue, stays, reordered })
}

fn is_extension(difference: &Difference) -> bool {
    matches!(difference, Difference::Added { kind: Kind::Extension, .. })
}

/// What a down harms where its up was never applied. What it only adds there is named by the server and hurts nobody.
pub fn harmed_unapplied(differences: &[Difference]) -> impl Iterator<Item = &Difference> {
    differences.iter().filter(|difference| !matches!(difference, Difference::Added { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::{FORMAT, Object};
    use super::*;

    fn schema(objects: &[(Kind, &str, i32)]) -> Fingerprint {
        let object = |(kind, name, place): &(Kind, &str, i32)| {
            let mut object = Object::new(*kind, *name);
            if *kind == Kind::Column {
                (object.of, object.place) = (Some("public.t".to_owned()), Some(*place));
            }
            object
        };
        Fingerprint::new(FORMAT, 150_004, objects.iter().map(object).collect())
    }

    #[test]
    fn what_stays_what_is_gone_and_what_only_moved_are_three_things() {
        #[track_caller]
        fn case(past: &[(Kind, &str, i32)], after: &[(Kind, &str, i32)], expected: (usize, usize, bool)) {
            let back = given_back(&schema(past), &schema(after), Level::Logical).unwrap();
            assert_eq!((back.residue.len(), back.stays.len(), back.reordered), expected, "{back:?}");
        }
        let (a, b) = ((Kind::Column, "a", 1), (Kind::Column, "b", 2));
        case(&[a, b], &[a, b], (0, 0, false));
        case(&[a, b], &[(Kind::Column, "a", 3), b], (0, 0, true));
        case(&[a, b], &[a, (Kind::Column, "b", 5)], (0, 0, false));
        case(&[a], &[a, (Kind::Extension, "vector", 0)], (0, 1, false));
        case(&[(Kind::Extension, "vector", 0)], &[], (1, 0, false));
        case(&[], &[(Kind::Enum, "public.mood", 0)], (1, 0, false));
        case(&[], &[(Kind::Setting, "work_mem", 0)], (0, 0, false));
    }
}
