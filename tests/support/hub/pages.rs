//! The front end behind the catch-all: under `/admin/` any path answers GET with 200 and the same shell, existing or not, and
//! the routes that a build knows stand in the script that the shell loads. HEAD never gets so far: it is a 405 (CONTRACT 5).

use std::collections::BTreeMap;

use super::Hub;
use super::http::Response;
use super::state::lock;

/// What the front end holds.
#[derive(Debug)]
pub struct Pages {
    script: String,
    own: BTreeMap<String, String>,
}

impl Default for Pages {
    /// A build without any of the old pages.
    fn default() -> Self {
        Self { script: "const routes=['/admin/users'];".to_owned(), own: BTreeMap::new() }
    }
}

/// The shell.
const SHELL: &str = "<!doctype html>\n<html><head><script type=\"module\" src=\"/assets/index-4f2a.js\"></script></head>\
                     <body><div id=\"root\"></div></body></html>\n";

impl Pages {
    /// The answer for this path, if it is one of the front end's.
    pub fn answer(&self, path: &str) -> Option<Response> {
        if let Some(body) = self.own.get(path) {
            return Some(Response::new(200, "text/html; charset=utf-8", body.as_str()));
        }
        if path == "/assets/index-4f2a.js" {
            return Some(Response::new(200, "text/javascript", self.script.as_str()));
        }
        path.starts_with("/admin/").then(|| Response::new(200, "text/html; charset=utf-8", SHELL))
    }
}

impl Hub {
    /// Replace the script that the shell loads.
    pub fn set_page_script(&self, script: &str) {
        script.clone_into(&mut lock(&self.state.pages).script);
    }

    /// Give a path a page of its own.
    pub fn add_page(&self, path: &str, body: &str) {
        lock(&self.state.pages).own.insert(path.to_owned(), body.to_owned());
    }
}
