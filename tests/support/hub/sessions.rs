//! Sessions, shared by all workers as through Redis, and the CSRF rule in front of everything (CONTRACT 2).
//!
//! The trap is kept: a fresh login that asks for a token before anything else is logged out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::http::{Request, Response};
use super::random::Random;

const SESSION_COOKIE: &str = "session_token";
const CSRF_COOKIE: &str = "csrf_token";
const CSRF_HEADER: &str = "x-csrf-token";
const TOKEN_PATH: &str = "/api/v1/auth/csrf-token";
/// Paths that need no token: the token's own, and the provider routes (CONTRACT 2).
const EXEMPT: [&str; 2] = [TOKEN_PATH, "/api/v1/llm/"];

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Such as `admin`; compared exactly, absent counts as `viewer`.
    pub role: Option<String>,
    /// The e-mail address, by which the provider routes limit.
    pub email: String,
}

#[derive(Clone, Debug)]
struct Session {
    user: Option<User>,
    csrf: Option<String>,
    expires: Instant,
}

/// The session store.
#[derive(Debug)]
pub struct Sessions {
    by_token: HashMap<String, Session>,
    lifetime: Duration,
    random: Random,
}

/// Whether the CSRF middleware is there at all (`CSRF_ENABLED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Csrf {
    /// As shipped.
    On,
    /// Writes need nothing and no cookie is set.
    Off,
}

impl Sessions {
    /// An empty store whose sessions live for `lifetime` after each write to them.
    pub fn new(lifetime: Duration, random: Random) -> Self {
        Self { by_token: HashMap::new(), lifetime, random }
    }

    /// A login as `user`, without a CSRF token, as both login routes leave it; the value of its cookie.
    pub fn log_in(&mut self, user: User) -> String {
        let token = self.random.token();
        self.install(&token, Some(user), None);
        token
    }

    /// Put a session into the store under a known token.
    pub fn install(&mut self, token: &str, user: Option<User>, csrf: Option<&str>) {
        let session = Session { user, csrf: csrf.map(str::to_owned), expires: Instant::now() + self.lifetime };
        self.by_token.insert(token.to_owned(), session);
    }

    /// Forget all sessions, as their end of life does.
    pub fn expire(&mut self) {
        self.by_token.clear();
    }

    /// Bring the end of all sessions nearer.
    pub fn age(&mut self, time: Duration) {
        for session in self.by_token.values_mut() {
            session.expires = session.expires.checked_sub(time).unwrap_or_else(Instant::now);
        }
    }

    /// The user of a live session; the outer `None` means that there is no such session.
    pub fn user(&self, token: &str) -> Option<Option<User>> {
        self.live(token).map(|session| session.user.clone())
    }

    fn live(&self, token: &str) -> Option<&Session> {
        self.by_token.get(token).filter(|session| session.expires > Instant::now())
    }

    /// Whether the CSRF middleware lets the request through.
    pub fn passes(&self, request: &Request) -> bool {
        if !is_judged(request) || is_exempt(request) {
            return true;
        }
        let header = request.header(CSRF_HEADER);
        let session = request.cookie(SESSION_COOKIE).and_then(|token| self.live(&token));
        let Some(wanted) = session.and_then(|session| session.csrf.as_deref()) else {
            return false;
        };
        header == Some(wanted.as_bytes()) || request.cookie(CSRF_COOKIE).as_deref() == Some(wanted)
    }

    /// The value of the `Set-Cookie` that the middleware adds to the answer; a safe request mints a missing token, which
    /// is the one thing that prolongs a session.
    pub fn cookie_after(&mut self, request: &Request) -> Option<String> {
        if is_judged(request) && is_exempt(request) {
            return None;
        }
        let token = request.cookie(SESSION_COOKIE)?;
        let mut csrf = self.live(&token)?.csrf.clone();
        if csrf.is_none() && !is_judged(request) {
            let minted = self.random.token();
            let lifetime = self.lifetime;
            if let Some(session) = self.by_token.get_mut(&token) {
                session.csrf = Some(minted.clone());
                session.expires = Instant::now() + lifetime;
            }
            csrf = Some(minted);
        }
        Some(format!("{CSRF_COOKIE}={}; Max-Age=86400; Path=/; SameSite=lax", csrf?))
    }

    /// `GET /api/v1/auth/csrf-token`.
    pub fn token_answer(&mut self, request: &Request) -> Response {
        let answer = |token: &str| {
            Response::json(
                200,
                &json!({"csrf_token": token, "header_name": "X-CSRF-Token", "cookie_name": CSRF_COOKIE}),
            )
        };
        let known = request.cookie(SESSION_COOKIE);
        if let Some(csrf) = known.as_deref().and_then(|token| self.live(token)).and_then(|known| known.csrf.as_deref())
        {
            return answer(csrf);
        }
        let csrf = self.random.token();
        match known {
            // Also when the session belongs to somebody: the user is overwritten with nobody.
            Some(token) => {
                self.install(&token, None, Some(&csrf));
                answer(&csrf)
            }
            None => {
                let token = self.random.token();
                self.install(&token, None, Some(&csrf));
                let cookie = format!("{SESSION_COOKIE}={token}; HttpOnly; Max-Age=7200; Path=/; SameSite=lax");
                answer(&csrf).with("set-cookie", cookie)
            }
        }
    }
}

fn is_judged(request: &Request) -> bool {
    matches!(request.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
}

fn is_exempt(request: &Request) -> bool {
    let path = request.path();
    EXEMPT.iter().any(|prefix| path.starts_with(prefix))
}
