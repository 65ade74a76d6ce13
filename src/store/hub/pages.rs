//! The old pages of the hub's front end: whether somebody who goes back to them finds anything (rollout.md 7, step 5).
//!
//! Under `/admin/` any path answers GET with 200 and the same shell, so a 200 alone proves nothing: a path that cannot exist
//! is asked as well, and where the shell comes back, its scripts are searched for the route. Only reads, never a redirect,
//! only scripts of the hub itself, and bounded in number, size and time.

use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};
use url::Url;

use super::HubFlags;
use super::connection::{Answer, address};
use crate::domain::incident::{Page, PageState};

/// The four pages that were there before the feature.
const OLD: [&str; 4] = ["llm-provider-keys", "llm-model-catalog", "llm-routing", "llm-analytics"];

/// A page that no build has.
const CONTROL: &str = "llmhub-no-such-page";

/// Scripts of one shell that are searched.
const SCRIPTS: usize = 20;

/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(4);

impl HubFlags {
    /// Ask for the old pages at every address, for at most `time`.
    pub async fn old_pages(&self, time: Duration) -> Vec<Page> {
        let deadline = Instant::now() + time;
        join_all(self.options.addresses.iter().map(|base| self.pages_at(base, deadline)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn pages_at(&self, base: &Url, deadline: Instant) -> Vec<Page> {
        // Twice, since a shell that is never the same twice is no measure for anything.
        let names = OLD.into_iter().chain([CONTROL, CONTROL]);
        let asked = names.map(|name| async move { self.page(base, &["admin", name], deadline).await });
        let mut answers = join_all(asked).await;
        let control = match (answers.pop(), answers.pop()) {
            (Some(Ok(one)), Some(Ok(other))) if one.status == other.status && one.body == other.body => Some(one),
            _ => None,
        };
        let mut pages = Vec::with_capacity(OLD.len());
        let mut scripts: Option<Option<Vec<String>>> = None;
        for (name, answer) in OLD.into_iter().zip(answers) {
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => {
                    pages.push(silent(base, name, &why));
                    continue;
                }
            };
            let state = match (answer.status.as_u16(), &control) {
                (200, None) => PageState::NotCompared,
                (200, Some(control)) if control.status == 200 && control.body == answer.body => {
                    let scripts = match &mut scripts {
                        Some(scripts) => scripts,
                        None => scripts.insert(self.scripts(base, &answer, deadline).await),
                    };
                    match scripts {
                        None => PageState::ShellOnly,
                        Some(texts) if texts.iter().any(|text| text.contains(name)) => PageState::ShellWithRoute,
                        Some(_) => PageState::NotInThisBuild,
                    }
                }
                (200, Some(_)) => PageState::Real,
                _ => PageState::OtherStatus,
            };
            pages.push(Page {
                address: address(base).to_owned(),
                path: format!("/admin/{name}"),
                status: Some(answer.status.as_u16()),
                bytes: answer.body.len(),
                sha256: hash(&answer.body),
                state,
                detail: answer.location.map(|to| format!("(to {})", place(&to))).unwrap_or_default(),
            });
        }
        pages
    }

    async fn page(&self, base: &Url, path: &[&str], deadline: Instant) -> Result<Answer, String> {
        let patience = PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
        let mut connection = self.transport.connect(base).map_err(|error| error.to_string())?;
        match timeout(patience, connection.get(path, &[], None)).await {
            Ok(answer) => answer.map_err(|error| error.reason().to_owned()),
            Err(_) => Err("timed out".to_owned()),
        }
    }

    /// The scripts that a shell loads from the hub itself; `None` when one of them cannot be read, since the route may be in it.
    async fn scripts(&self, base: &Url, shell: &Answer, deadline: Instant) -> Option<Vec<String>> {
        let shell = String::from_utf8_lossy(&shell.body);
        let here = base.join("admin/").ok()?;
        let mut root = base.clone();
        root.set_path("/");
        let mut texts = vec![inline(&shell)];
        for link in links(&shell).into_iter().take(SCRIPTS) {
            let Some(link) = here.join(&link).ok().filter(|link| link.origin() == here.origin()) else { continue };
            let path: Vec<&str> = link.path().trim_start_matches('/').split('/').collect();
            let answer = self.page(&root, &path, deadline).await.ok().filter(|answer| answer.status == 200)?;
            texts.push(String::from_utf8_lossy(&answer.body).into_owned());
        }
        Some(texts)
    }
}

fn silent(base: &Url, name: &str, why: &str) -> Page {
    Page {
        address: address(base).to_owned(),
        path: format!("/admin/{name}"),
        status: None,
        bytes: 0,
        sha256: String::new(),
        state: PageState::Silent,
        detail: format!("({why})"),
    }
}

/// Where a redirect points, without what it hands over: a query may hold a token, and the report is passed around.
fn place(location: &str) -> &str {
    location.split(['?', '#']).next().unwrap_or_default()
}

fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the tags called `name` are like, each up to its `>`.
fn tags<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    page.split('<').skip(1).filter_map(move |rest| {
        let (tag, _) = rest.split_once('>')?;
        let word = tag.split(|c: char| c.is_whitespace() || c == '/').next()?;
        word.eq_ignore_ascii_case(name).then_some(tag)
    })
}

/// The value of an attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let mut from = 0;
    while let Some(found) = lower.get(from..)?.find(name) {
        let at = from + found;
        from = at + name.len();
        let before = lower.get(..at).and_then(|text| text.chars().next_back());
        let Some(value) = tag.get(from..).and_then(|rest| rest.trim_start().strip_prefix('=')) else { continue };
        if !before.is_some_and(char::is_whitespace) {
            continue;
        }
        let value = value.trim_start();
        return match value.chars().next()? {
            quote @ ('"' | '\'') => value.get(1..)?.split(quote).next().map(str::to_owned),
            _ => value.split(char::is_whitespace).next().map(str::to_owned),
        };
    }
    None
}

/// What a shell loads: its scripts, and the modules that it announces.
fn links(page: &str) -> Vec<String> {
    let scripts = tags(page, "script").filter_map(|tag| attribute(tag, "src"));
    let announced = tags(page, "link")
        .filter(|tag| attribute(tag, "rel").is_some_and(|rel| rel.eq_ignore_ascii_case("modulepreload")))
        .filter_map(|tag| attribute(tag, "href"));
    scripts.chain(announced).collect()
}

/// The text of the scripts that stand in the shell itself.
fn inline(page: &str) -> String {
    page.split("<script").skip(1).filter_map(|rest| rest.split("</script").next()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_a_shell_are_found_however_they_are_written() {
        #[track_caller]
        fn case(page: &str, expected: &[&str]) {
            assert_eq!(links(page), expected, "{page}");
        }
        case("<script type=\"module\" src=\"/assets/a.js\"></script>", &["/assets/a.js"]);
        case("<SCRIPT SRC='b.js'></SCRIPT><script src=c.js defer></script>", &["b.js", "c.js"]);
        case("<link rel=\"modulepreload\" href=\"/d.js\"><link rel=\"stylesheet\" href=\"/e.css\">", &["/d.js"]);
        case("<script data-src=\"x.js\">let src = 'y.js'</script>", &[]);
        case("<scripts src=\"z.js\">", &[]);
        case("<script src", &[]);
        case("", &[]);
    }

    #[test]
    fn what_stands_in_the_shell_itself_is_searched_too() {
        assert!(inline("<script>routes=['llm-routing']</script><p>no</p>").contains("llm-routing"));
        assert!(!inline("<p>llm-routing</p>").contains("llm-routing"));
    }
}
