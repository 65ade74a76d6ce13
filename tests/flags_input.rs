//! Lists of users as people have them: from a spreadsheet, from a dump, from the wrong folder. A bad one changes nothing.

use crate::support::places::{FLAG, Place};

/// A list that is taken: the ids that arrive, and what is said about it.
#[track_caller]
fn taken(text: &[u8], ids: &[&str], said: &str) {
    let place = Place::env();
    // The database holds any id; the env file would refuse some for reasons of its own.
    let place = if ids.iter().any(|id| id.trim() != *id) { Place::several(None, true, None) } else { place };
    place.home.file("users.txt", text);
    place.flags(&format!("whitelist add {FLAG} --file users.txt"), 0).says(said);
    assert_eq!(place.flags(&format!("whitelist list {FLAG}"), 0).read::<Vec<String>>(), ids);
    // The same through a pipe: already so.
    let piped = place.line(&format!("flags whitelist add {FLAG} --file - -o json")).stdin(text).exits(0).json();
    assert_eq!(piped["changed"], false);
}

/// A list that is refused, with the words that find the mistake.
#[track_caller]
fn refused(text: &[u8], status: i32, said: &str) {
    for verb in ["whitelist add", "whitelist remove", "blacklist add"] {
        let place = Place::env();
        let before = place.env_text();
        place.home.file("users.txt", text);
        place.line(&format!("flags {verb} {FLAG} --file users.txt")).exits(status).says(said).says("users.txt");
        place.line(&format!("flags {verb} {FLAG} --file - ")).stdin(text).exits(status).says(said);
        assert_eq!(place.env_text(), before, "{verb}");
    }
}

#[test]
fn a_byte_order_mark_is_not_part_of_an_id() {
    taken(b"\xef\xbb\xbfana\nben\n", &["ana", "ben"], "");
}

#[test]
fn line_ends_of_any_system_end_a_line() {
    taken(b"ana\r\nben\r\n", &["ana", "ben"], "");
    taken(b"ana\r\nben\ncid", &["ana", "ben", "cid"], "");
}

#[test]
fn empty_lines_are_skipped() {
    taken(b"\n\nana\n\r\n\nben\n\n", &["ana", "ben"], "");
}

#[test]
fn a_repeated_id_counts_once_and_is_reported() {
    taken(b"ana\nben\nana\nana\n", &["ana", "ben"], "2 lines repeat an id");
}

#[test]
fn outer_blanks_are_kept_with_a_warning() {
    taken(b" ana\nben \ncid\n", &[" ana", "ben ", "cid"], "2 ids have blanks around them");
}

#[test]
fn letters_of_any_script_are_kept() {
    taken("ünï@例え.jp\nAna\nana\n".as_bytes(), &["ünï@例え.jp", "Ana", "ana"], "");
}

#[test]
fn what_is_not_utf8_is_refused_with_its_line() {
    refused(b"ana\nben\n\xff\xfe\ncid\n", 7, ":3: ");
    refused(b"a\0n\0a\0\xd8\x00", 7, ":1: ");
}

#[test]
fn control_characters_are_refused_with_their_line() {
    refused(b"ana\nb\0en\n", 7, ":2: ");
    refused(b"ana\n\n\x1b[31mred\n", 7, ":3: ");
    refused(b"ana\tben\n", 7, ":1: ");
    refused("ana\nx\u{85}y\n".as_bytes(), 7, ":2: ");
    refused(b"old\rmac\r", 7, ":1: ");
}

#[test]
fn a_list_without_an_id_is_a_mistake() {
    for text in [&b""[..], b"\n\n", b"\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"] {
        refused(text, 7, "no user id");
    }
}

#[test]
fn a_folder_or_a_missing_file_is_named() {
    let place = Place::env();
    let before = place.env_text();
    std::fs::create_dir(place.home.path().join("folder")).unwrap();
    for name in ["folder", "missing.txt", "missing/users.txt"] {
        for line in [format!("whitelist add {FLAG} --file {name}"), format!("apply {name} -y"), format!("diff {name}")]
        {
            assert_eq!(place.flags(&line, 3).code(), "local_file", "{line}");
            place.line(&format!("flags {line}")).exits(3).says(name);
        }
    }
    assert_eq!(place.env_text(), before);
}

#[test]
fn a_bad_file_spoils_the_good_ids_beside_it() {
    let place = Place::env();
    let before = place.env_text();
    place.home.file("users.txt", b"ben\n\xff\n");
    place.line(&format!("flags whitelist add {FLAG} ana --file users.txt")).exits(7).says("users.txt:2");
    assert_eq!(place.env_text(), before);
}
