//! Whether a `./llmhub.toml` that was merely found may do dangerous things.
//!
//! Such a file comes with a checked-out folder, so its author may be anybody. Until the operator trusted this very text at
//! this very path, it may not run commands or speak of protected profiles. What was trusted is remembered by canonical
//! path and SHA-256; a changed file must be trusted again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml_edit::DocumentMut;

use super::disk::{self, TextFile};
use super::file::{RawFile, RawProfile, RawSecret};
use super::section;
use super::{ConfigError, Environment, Line, Origin, Protection};

const HEADER: &str = "# Written by `llmhub profile trust`: configuration files that may run commands, with the SHA-256 of\n\
                      # the text that was trusted. Delete a line to withdraw the trust.\n";

/// Something only a trusted file may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// The line that asks.
    pub line: Line,
    /// What for, after "may not": "run the commands of `hooks`".
    pub what: String,
}

/// A file as it stands, ready to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Its canonical path.
    pub path: PathBuf,
    /// What it may do once it is trusted; show it before asking.
    pub powers: Vec<Power>,
    /// Whether this text is trusted already.
    pub standing: Standing,
    digest: String,
}

/// Whether somebody vouches for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This text at this path was trusted.
    Trusted,
    /// It was not, or was changed since.
    Untrusted,
}

/// Look at the file at `path` (`./llmhub.toml` without one), to show what trusting it would mean.
///
/// # Errors
/// When there is no such file, it is not right, or the list of trusted files cannot be read.
pub fn review(environment: &Environment, path: Option<&Path>) -> Result<Review, ConfigError> {
    let (shown, origin) = match path {
        Some(path) => (path.display().to_string(), Origin::Flag("--config")),
        None => ("llmhub.toml".to_owned(), Origin::Default),
    };
    let place = environment.directory().join(path.unwrap_or(Path::new("llmhub.toml")));
    let Some(file) = TextFile::read(place, shown.clone())? else {
        return Err(ConfigError::NotFound { origin, path: shown });
    };
    let settings = RawFile::parse(&file)?;
    let user = match super::profiles::user_file(environment)? {
        Some(file) => RawFile::parse(&file)?,
        None => RawFile::default(),
    };
    Ok(Review {
        powers: powers(&settings, &user),
        standing: standing(environment, &file)?,
        path: canonical(&file)?,
        digest: digest(&file),
    })
}

/// Remember that the reviewed text may do what it asks for.
///
/// # Errors
/// When the list of trusted files cannot be read or written; it is as it was before.
pub fn trust(environment: &Environment, review: &Review) -> Result<(), ConfigError> {
    let store = store(environment).ok_or(ConfigError::NoStateFolder)?;
    let mut trusted = trusted(&store)?;
    trusted.insert(key(&review.path)?, review.digest.clone());
    let mut document = DocumentMut::new();
    for (path, digest) in trusted {
        document.insert(&path, toml_edit::value(digest));
    }
    disk::replace(&store, &format!("{HEADER}{document}"))
}

/// Refuse a found file that asks for a power and is not trusted. `user` is the user's own file, which says what is protected.
pub(super) fn check(
    environment: &Environment,
    file: &TextFile,
    settings: &RawFile,
    user: &RawFile,
) -> Result<(), ConfigError> {
    let Some(power) = powers(settings, user).into_iter().next() else { return Ok(()) };
    match standing(environment, file)? {
        Standing::Trusted => Ok(()),
        Standing::Untrusted => Err(ConfigError::Untrusted { line: power.line, power: power.what }),
    }
}

/// Whether this text at this path was trusted.
pub(super) fn standing(environment: &Environment, file: &TextFile) -> Result<Standing, ConfigError> {
    let Some(store) = store(environment) else { return Ok(Standing::Untrusted) };
    let known = trusted(&store)?;
    let vouched = known.get(&key(&canonical(file)?)?) == Some(&digest(file));
    Ok(if vouched { Standing::Trusted } else { Standing::Untrusted })
}

/// What only a trusted file may ask for, from the top of the file.
fn powers(settings: &RawFile, user: &RawFile) -> Vec<Power> {
    let protected = |name: &str| user.profiles.get(name).is_some_and(|(profile, _)| is_protected(profile));
    let mut powers = Vec::new();
    if let Some(default) = &settings.default_profile
        && protected(&default.value)
    {
        add(&mut powers, &default.origin, format!("choose the protected profile `{}`", default.value));
    }
    for (name, (profile, line)) in &settings.profiles {
        if protected(name) {
            powers.push(Power { line: line.clone(), what: format!("change the protected profile `{name}`") });
        }
        if let Some(setting) = profile.protection.as_ref().filter(|_| is_protected(profile)) {
            add(&mut powers, &setting.origin, format!("hold the protected profile `{name}`"));
        }
        for (key, secret) in [("database_url_command", &profile.database), ("session_token_command", &profile.session)]
        {
            if let Some(setting) = secret.as_ref().filter(|setting| matches!(setting.value, RawSecret::Command(_))) {
                add(&mut powers, &setting.origin, format!("run the command of `{key}`"));
            }
        }
        if let Some(setting) = &profile.pg_tools {
            add(&mut powers, &setting.origin, "run the command of `pg_tools`".to_owned());
        }
        for (hook, setting) in profile.hooks.by_name() {
            if let Some(setting) = setting {
                add(&mut powers, &setting.origin, format!("run the command of `hooks.{hook}`"));
            }
        }
    }
    powers.sort_by_key(|power| power.line.number);
    powers
}

fn add(powers: &mut Vec<Power>, origin: &Origin, what: String) {
    if let Origin::File(line) = origin {
        powers.push(Power { line: line.clone(), what });
    }
}

fn is_protected(profile: &RawProfile) -> bool {
    profile.protection.as_ref().is_some_and(|setting| setting.value == Protection::Protected)
}

/// `$XDG_STATE_HOME/llmhub/trusted.toml`
fn store(environment: &Environment) -> Option<PathBuf> {
    environment.state_home().map(|folder| folder.join("llmhub").join("trusted.toml"))
}

fn trusted(store: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(file) = TextFile::read(store.to_path_buf(), store.display().to_string())? else {
        return Ok(BTreeMap::new());
    };
    let table = section::parse(&file)?;
    let entry = |(path, digest): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
        let path: &std::borrow::Cow<'_, str> = path.get_ref();
        digest.get_ref().as_str().map(|digest| (path.to_string(), digest.to_owned()))
    };
    Ok(table.iter().filter_map(entry).collect())
}

fn canonical(file: &TextFile) -> Result<PathBuf, ConfigError> {
    let unreadable =
        |error: std::io::Error| ConfigError::Unreadable { path: file.shown.clone(), reason: error.kind().to_string() };
    fs::canonicalize(&file.path).map_err(unreadable)
}

/// A path as a TOML key. Two paths that are no text must not become one key.
fn key(path: &Path) -> Result<String, ConfigError> {
    path.to_str().map(str::to_owned).ok_or_else(|| ConfigError::Unwritable {
        path: path.display().to_string(),
        reason: "only a path that is valid UTF-8 can be trusted".to_owned(),
    })
}

fn digest(file: &TextFile) -> String {
    let mut hasher = Sha256::new();
    hasher.update(file.mark);
    hasher.update(&file.text);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folders;
    use crate::config::{Overrides, load};

    fn loaded(folders: &Folders) -> Result<(), String> {
        load(&folders.environment(&[("LLMHUB_PROFILE", "p")]), &Overrides::default())
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_found_file_may_not_ask_for_powers() {
        #[track_caller]
        fn case(project: &str, power: Option<&str>) {
            let folders = Folders::new();
            folders.user("[profiles.p]\n[profiles.guarded]\nprotected = true\n");
            folders.project(project);
            let expected = power.map(|power| format!("llmhub.toml:{power}")).map_or(Ok(()), Err);
            assert_eq!(loaded(&folders), expected);
            // Naming the file is standing for it.
            let named = Overrides { config: Some("llmhub.toml".into()), ..Overrides::default() };
            load(&folders.environment(&[("LLMHUB_PROFILE", "p")]), &named).unwrap();
        }
        let not = "this file is not trusted, so it may not";
        case("", None);
        case("[profiles.p]\nhub = \"http://h\"\nprotected = false\n", None);
        case("[profiles.p]\ndatabase_url_env = \"A\"\n", None);
        case("[profiles.x]\nprotected = true\n", Some(&format!("2: {not} hold the protected profile `x`")));
        case("[profiles.guarded]\nworkers = 1\n", Some(&format!("1: {not} change the protected profile `guarded`")));
        case("default_profile = \"guarded\"\n", Some(&format!("1: {not} choose the protected profile `guarded`")));
        case(
            "[profiles.x]\ndatabase_url_command = [\"a\"]\n",
            Some(&format!("2: {not} run the command of `database_url_command`")),
        );
        case(
            "[profiles.x]\nsession_token_command = [\"a\"]\n",
            Some(&format!("2: {not} run the command of `session_token_command`")),
        );
        case("[profiles.x]\npg_tools = [\"a\"]\n", Some(&format!("2: {not} run the command of `pg_tools`")));
        case(
            "[profiles.x.hooks]\nstop_writes = []\nrecreate = [\"a\"]\n",
            Some(&format!("2: {not} run the command of `hooks.stop_writes`")),
        );
    }

    #[test]
    fn trust_is_for_one_text_at_one_path() {
        let folders = Folders::new();
        let environment = folders.environment(&[]);
        folders.project("[profiles.p]\npg_tools = [\"a\"]\n");
        let first = review(&environment, None).unwrap();
        assert_eq!((first.standing, first.powers.len()), (Standing::Untrusted, 1));
        trust(&environment, &first).unwrap();
        assert_eq!(loaded(&folders), Ok(()));
        assert_eq!(review(&environment, None).unwrap().standing, Standing::Trusted);

        folders.project("[profiles.p]\npg_tools = [\"b\"]\n");
        assert!(loaded(&folders).is_err());
        // What was shown is what is trusted, even if the file changed meanwhile.
        trust(&environment, &first).unwrap();
        assert!(loaded(&folders).is_err());

        fs::create_dir(folders.path("copy")).unwrap();
        trust(&environment, &review(&environment, None).unwrap()).unwrap();
        fs::copy(folders.path("llmhub.toml"), folders.path("copy/llmhub.toml")).unwrap();
        let copy = review(&environment, Some(Path::new("copy/llmhub.toml"))).unwrap();
        assert_eq!(copy.standing, Standing::Untrusted);
        trust(&environment, &copy).unwrap();
        assert_eq!(loaded(&folders), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn the_list_of_trusted_files_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folders = Folders::new();
        let environment = folders.environment(&[]);
        folders.project("");
        trust(&environment, &review(&environment, None).unwrap()).unwrap();
        let store = folders.path("home/.local/state/llmhub/trusted.toml");
        assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&store).unwrap();
        assert!(text.starts_with(HEADER) && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn a_damaged_list_trusts_nobody_and_is_not_replaced() {
        let folders = Folders::new();
        let environment = folders.environment(&[]);
        folders.project("[profiles.p]\npg_tools = [\"a\"]\n");
        let reviewed = review(&environment, None).unwrap();
        trust(&environment, &reviewed).unwrap();
        let store = folders.path("home/.local/state/llmhub/trusted.toml");
        fs::write(&store, "half = ").unwrap();
        assert!(loaded(&folders).unwrap_err().starts_with(&format!("{}:1:", store.display())));
        assert!(trust(&environment, &reviewed).is_err());
        assert_eq!(fs::read_to_string(&store).unwrap(), "half = ");
    }

    #[test]
    fn nothing_is_trusted_without_a_place_to_remember_it() {
        let folders = Folders::new();
        folders.project("[profiles.p]\npg_tools = [\"a\"]\n");
        let homeless = Environment::new(folders.path(""), [("XDG_STATE_HOME", "relative")]);
        let reviewed = review(&homeless, None).unwrap();
        assert_eq!(reviewed.standing, Standing::Untrusted);
        assert_eq!(trust(&homeless, &reviewed), Err(ConfigError::NoStateFolder));
    }
}
