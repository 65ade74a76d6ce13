//! The provider-key routes (CONTRACT 4): who may call them, what they store, and how they fail, as recordings 30 to 38 say.
//!
//! Keys are kept in clear beside the master key that would have sealed them: a double has nothing to hide, and whether the hub
//! can open a row is the only thing that its cipher decides here.

mod body;
mod rows;
mod upstream;

use jiff::civil::DateTime;
use serde_json::{Value, json};

pub use rows::{Database, Providers, Pydantic, Row, Service, TestLimiter, seed};
pub use upstream::Upstream;

use super::config::Env;
use super::http::{Request, Response};
use super::random::Random;
use super::routes::Endpoint;
use super::sessions::Sessions;
use body::{Save, Test};
use upstream::Probe;

const TYPES: [(&str, &str); 9] = [
    ("openrouter", "OpenRouter"),
    ("openai", "OpenAI"),
    ("anthropic", "Anthropic"),
    ("google", "Google AI"),
    ("cohere", "Cohere"),
    ("groq", "Groq"),
    ("together", "Together AI"),
    ("mistral", "Mistral AI"),
    ("custom", "Custom Endpoint"),
];

/// What a route works with.
pub struct Surroundings<'a> {
    /// Who is logged in.
    pub sessions: &'a Sessions,
    /// The process's environment.
    pub env: &'a Env,
    /// The database.
    pub providers: &'a mut Providers,
    /// The process's memory of tests.
    pub tests: &'a mut TestLimiter,
    /// The clock.
    pub now: DateTime,
    /// For new ids.
    pub random: &'a mut Random,
}

/// Answer a request to a provider route; `path` are the values of the route's `{}`.
pub fn answer(endpoint: Endpoint, path: &[String], request: &Request, mut hub: Surroundings<'_>) -> Response {
    let pydantic = hub.providers.pydantic;
    let outcome = match endpoint {
        Endpoint::ProviderInfo => admin(request, hub.sessions).map(|_| info()),
        Endpoint::Keys => admin(request, hub.sessions).and_then(|_| hub.list()),
        // What is no JSON at all is refused before anybody is asked who is calling; fields are looked at afterwards.
        Endpoint::SaveKey => body::json(request)
            .and_then(|body| admin(request, hub.sessions).map(|_| body))
            .and_then(|body| Save::read(&body, pydantic))
            .and_then(|save| hub.save(save)),
        Endpoint::TestKey => body::json(request)
            .and_then(|body| Ok((admin(request, hub.sessions)?, body)))
            .and_then(|(who, body)| Ok((who, Test::read(&body, pydantic)?)))
            .and_then(|(who, test)| hub.test(&who, test)),
        _ => admin(request, hub.sessions).and_then(|_| hub.delete(path.first().map_or("", String::as_str))),
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

/// The e-mail address of the admin who calls, or the refusal.
fn admin(request: &Request, sessions: &Sessions) -> Result<String, Response> {
    let token =
        request.cookie("session_token").ok_or_else(|| Response::detail(401, "Not authenticated - no session token"))?;
    let user = sessions.user(&token).ok_or_else(|| Response::detail(401, "Invalid session - please login again"))?;
    let user = user.ok_or_else(|| Response::detail(401, "User not found in session"))?;
    let role = user.role.as_deref().unwrap_or("viewer");
    if role != "admin" {
        return Err(Response::detail(403, &format!("Admin access required (current role: {role})")));
    }
    Ok(user.email)
}

fn info() -> Response {
    let body: Value = serde_json::from_str(include_str!("info.json")).expect("the recorded answer");
    Response::json(200, &body)
}

fn known_type(word: &str) -> Result<(&'static str, &'static str), Response> {
    let word = word.to_lowercase();
    TYPES.into_iter().find(|(known, _)| *known == word).ok_or_else(|| {
        let words: Vec<&str> = TYPES.iter().map(|(word, _)| *word).collect();
        Response::detail(400, &format!("Invalid provider type. Supported: {}", words.join(", ")))
    })
}

/// The master key, if Python's `Fernet` would take it.
fn master_key(env: &Env) -> Option<String> {
    let key = env.get("BYOK_ENCRYPTION_KEY")?;
    let sound = key.len() == 44
        && key.ends_with('=')
        && key.trim_end_matches('=').bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/".contains(&byte));
    sound.then(|| key.clone())
}

fn preview(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    match characters.len() {
        0..=20 => "***".to_owned(),
        length => {
            let text = |part: &[char]| part.iter().collect::<String>();
            format!("{}...{}", text(&characters[..7]), text(&characters[length - 4..]))
        }
    }
}

/// `jsonb` as Postgres writes it: blanks after commas and colons.
fn jsonb_text(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", json!(name), jsonb_text(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

impl Surroundings<'_> {
    fn pool(&self) -> Result<(), Response> {
        match self.providers.database {
            Database::NoPool => Err(Response::detail(503, "Database connection not available")),
            Database::Up | Database::NoTable => Ok(()),
        }
    }

    fn table(&self, failure: &str) -> Result<(), Response> {
        match self.providers.database {
            Database::NoTable => Err(Response::detail(500, failure)),
            Database::Up | Database::NoPool => Ok(()),
        }
    }

    /// Now, as Python writes a moment that has microseconds.
    fn moment(&mut self) -> String {
        self.providers.moments += 1;
        let micros = (i64::from(self.now.subsec_nanosecond()) / 1000 + self.providers.moments) % 999_999 + 1;
        format!("{}.{micros:06}", self.now.strftime("%Y-%m-%dT%H:%M:%S"))
    }

    fn probe(&self, provider: &str, key: &str, config: Option<&Value>) -> Probe {
        if provider == "custom" {
            return upstream::custom(config, key);
        }
        let upstream = self.providers.upstreams.get(provider).copied().unwrap_or(Upstream::Unreachable);
        upstream::known(upstream, key)
    }

    fn list(&self) -> Result<Response, Response> {
        const FAILED: &str = "Failed to retrieve provider keys";
        self.pool()?;
        let master = master_key(self.env).ok_or_else(|| Response::detail(500, FAILED))?;
        self.table(FAILED)?;
        let mut rows: Vec<&Row> = self.providers.rows.iter().collect();
        rows.sort_by(|one, other| {
            let rank = |row: &Row| (row.key.is_none(), -row.priority);
            rank(one).cmp(&rank(other)).then_with(|| one.name.cmp(&other.name))
        });
        let rows: Vec<Value> = rows.into_iter().map(|row| self.show(row, &master)).collect();
        let total = rows.len();
        Ok(Response::json(200, &json!({"success": true, "providers": rows, "total": total})))
    }

    fn show(&self, row: &Row, master: &str) -> Value {
        let variable = format!("{}_API_KEY", row.name.to_uppercase().replace('-', "_"));
        let (has_key, source) = match &row.key {
            Some(_) => (true, "database"),
            None if self.env.get(&variable).is_some_and(|value| !value.is_empty()) => (true, "environment"),
            None => (false, "not_set"),
        };
        let shown =
            row.key.as_ref().map(|(key, sealed)| if sealed == master { preview(key) } else { "***".to_owned() });
        let config =
            if self.providers.service.has_codec() { row.config.clone() } else { json!(jsonb_text(&row.config)) };
        json!({
            "id": row.id, "name": row.name, "provider_type": row.provider, "has_key": has_key, "key_source": source,
            "enabled": row.enabled, "health_status": row.health, "last_tested": row.last_tested,
            "test_status": row.test_status, "key_preview": shown, "config": config,
        })
    }

    fn save(&mut self, save: Save) -> Result<Response, Response> {
        let failed = || Response::detail(500, "Failed to save provider key");
        self.pool()?;
        let (provider, display) = known_type(&save.provider)?;
        let master = master_key(self.env).ok_or_else(failed)?;
        let name = save.name.filter(|name| !name.is_empty()).unwrap_or_else(|| display.to_owned());
        // The key has been sent to the provider before anything can fail.
        let probe = self.probe(provider, &save.key, save.config.as_ref());
        self.table("Failed to save provider key")?;
        let service = self.providers.service;
        if name.chars().count() > 100 || name.contains('\0') || (save.config.is_some() && !service.has_codec()) {
            return Err(failed());
        }
        let lower = name.to_lowercase();
        let at = self.providers.rows.iter().position(|row| row.name.to_lowercase() == lower);
        let moment = self.moment();
        let at = match at {
            Some(at) => at,
            None if service == Service::Repaired => {
                let id = self.random.uuid();
                self.providers.rows.push(Row::seeded(id, &name, provider, 50, json!({})));
                self.providers.rows.len() - 1
            }
            None => return Err(failed()),
        };
        let row = &mut self.providers.rows[at];
        row.provider = provider.to_owned();
        row.key = Some((save.key, master));
        row.config = save.config.unwrap_or_else(|| row.config.clone());
        row.last_tested = Some(moment);
        row.test_status = Some(if probe.outcome.is_ok() { "success" } else { "failed" });
        let result = match (&probe.outcome, self.providers.pydantic) {
            // The result model of pydantic 2 refuses its own failure.
            (Err(_), Pydantic::Two) => Value::Null,
            (Err(words), _) if words.is_empty() => Value::Null,
            _ => probe.to_json(),
        };
        Ok(Response::json(
            200,
            &json!({
                "success": true, "provider_id": row.id, "name": name, "provider_type": provider, "has_key": true,
                "enabled": true, "test_result": result, "message": "API key saved successfully",
            }),
        ))
    }

    fn test(&mut self, who: &str, test: Test) -> Result<Response, Response> {
        let failed = || Response::detail(500, "Failed to test provider key");
        if !self.tests.admits(who) {
            return Err(Response::detail(429, "Rate limit exceeded. Maximum 10 tests per minute."));
        }
        self.pool()?;
        let (provider, _) = known_type(&test.provider)?;
        let given = test.key.filter(|key| !key.is_empty());
        let probe = match &given {
            Some(key) => self.probe(provider, key, None),
            None => {
                self.table("Failed to test provider key")?;
                let master = master_key(self.env);
                let none = || Response::detail(400, &format!("No API key configured for provider: {provider}"));
                let mut rows: Vec<&Row> = self.providers.rows.iter().filter(|row| row.provider == provider).collect();
                rows.sort_by_key(|row| -row.priority);
                let row = rows.first().ok_or_else(none)?;
                let (key, sealed) = row.key.as_ref().ok_or_else(none)?;
                let indexed_text = !self.providers.service.has_codec() && row.config.get("base_url").is_some();
                if master.as_ref() != Some(sealed) || (provider == "custom" && indexed_text) {
                    return Err(failed());
                }
                self.probe(provider, key, Some(&row.config))
            }
        };
        if probe.outcome.is_err() && self.providers.pydantic == Pydantic::Two {
            return Err(failed());
        }
        if given.is_none() {
            let moment = self.moment();
            let (status, health) = if probe.outcome.is_ok() { ("success", "healthy") } else { ("failed", "unhealthy") };
            for row in self.providers.rows.iter_mut().filter(|row| row.provider == provider) {
                (row.test_status, row.health, row.last_tested) = (Some(status), health, Some(moment.clone()));
            }
        }
        Ok(Response::json(200, &probe.to_json()))
    }

    fn delete(&mut self, id: &str) -> Result<Response, Response> {
        const FAILED: &str = "Failed to delete provider key";
        self.pool()?;
        let plain = id.replace('-', "").to_lowercase();
        if plain.len() != 32 || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Response::detail(500, FAILED));
        }
        self.table(FAILED)?;
        let row = self.providers.rows.iter_mut().find(|row| row.id.replace('-', "") == plain);
        let row = row.ok_or_else(|| Response::detail(404, "Provider not found"))?;
        (row.key, row.test_status) = (None, None);
        let message = "API key deleted successfully (will fall back to environment variable if configured)";
        Ok(Response::json(200, &json!({"success": true, "provider_id": id, "message": message})))
    }
}
