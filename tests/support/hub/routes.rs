//! The router: which endpoint a path and method reach, and what the framework answers when none is reached.
//!
//! Order counts, as in starlette: the first full match wins, then the first path match gives a 405 with that route's method,
//! then a path that would match with or without its final slash gives a 307 (CONTRACT 1, 5). The provider-key
//! routes (CONTRACT 4) are there whatever else is mounted.

use super::http::{Request, Response, percent_encode_url};

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// All flags.
    List,
    /// One flag with its evaluation.
    Read,
    /// All flags of one user.
    UserEnabled,
    /// The names of the flags that are on for one user.
    UserFeatures,
    /// A partial update.
    Update,
    /// On, at 100 %.
    Enable,
    /// Off, percentage kept.
    Disable,
    /// The percentage alone.
    Rollout,
    /// What the hub knows of each type of provider.
    ProviderInfo,
    /// All rows of provider keys.
    Keys,
    /// Save a provider key.
    SaveKey,
    /// Test a provider key.
    TestKey,
    /// Clear a provider key.
    DeleteKey,
    /// A CSRF token for whoever asks.
    CsrfToken,
    /// The page of the service's front end, which answers 404 for API paths.
    CatchAll,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The flag router and nothing behind it: stray slashes are redirected.
    Bare,
    /// The flag router in front of the service's GET catch-all: how a repaired deployment looks.
    BeforeCatchAll,
    /// No flag router, only the catch-all: the service as shipped.
    Missing,
}

struct Route {
    method: &'static str,
    path: &'static str,
    endpoint: Endpoint,
}

const fn route(method: &'static str, path: &'static str, endpoint: Endpoint) -> Route {
    Route { method, path, endpoint }
}

/// A `{}` is one segment that is not empty.
const FLAG_ROUTES: [Route; 8] = [
    route("GET", "/api/v1/features/", Endpoint::List),
    route("GET", "/api/v1/features/{}", Endpoint::Read),
    route("GET", "/api/v1/features/user/{}/enabled", Endpoint::UserEnabled),
    route("GET", "/api/v1/features/user/{}/features", Endpoint::UserFeatures),
    route("PUT", "/api/v1/features/{}", Endpoint::Update),
    route("POST", "/api/v1/features/{}/enable", Endpoint::Enable),
    route("POST", "/api/v1/features/{}/disable", Endpoint::Disable),
    route("POST", "/api/v1/features/{}/rollout/{}", Endpoint::Rollout),
];
const FIXED_ROUTES: [Route; 6] = [
    route("GET", "/api/v1/auth/csrf-token", Endpoint::CsrfToken),
    route("GET", "/api/v1/llm/providers/info", Endpoint::ProviderInfo),
    route("GET", "/api/v1/llm/providers/keys", Endpoint::Keys),
    route("POST", "/api/v1/llm/providers/keys", Endpoint::SaveKey),
    route("POST", "/api/v1/llm/providers/keys/test", Endpoint::TestKey),
    route("DELETE", "/api/v1/llm/providers/keys/{}", Endpoint::DeleteKey),
];

impl Route {
    /// The values of the `{}`, when the path matches.
    fn captures(&self, path: &str) -> Option<Vec<String>> {
        let mut captures = Vec::new();
        let mut segments = path.split('/');
        for wanted in self.path.split('/') {
            let segment = segments.next()?;
            match wanted {
                "{}" if segment.is_empty() => return None,
                "{}" => captures.push(segment.to_owned()),
                _ if wanted == segment => {}
                _ => return None,
            }
        }
        segments.next().is_none().then_some(captures)
    }
}

/// Where a request goes.
#[derive(Debug)]
pub enum Target {
    /// To an endpoint, with the values of its path.
    Endpoint(Endpoint, Vec<String>),
    /// Nowhere; the framework itself answers.
    Framework(Response),
}

/// Find the way of a request.
pub fn find(mount: Mount, request: &Request) -> Target {
    let path = request.path();
    let mounted = if mount == Mount::Missing { &[] } else { FLAG_ROUTES.as_slice() };
    let routes = || mounted.iter().chain(&FIXED_ROUTES);

    let mut wrong_method = None;
    for route in routes() {
        let Some(captures) = route.captures(&path) else { continue };
        if route.method == request.method {
            return Target::Endpoint(route.endpoint, captures);
        }
        wrong_method.get_or_insert(route.method);
    }
    if mount != Mount::Bare {
        if request.method == "GET" {
            return Target::Endpoint(Endpoint::CatchAll, Vec::new());
        }
        wrong_method.get_or_insert("GET");
    }
    if let Some(method) = wrong_method {
        return Target::Framework(Response::detail(405, "Method Not Allowed").with("allow", method));
    }
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    if routes().any(|route| route.captures(&other).is_some()) {
        let host = request.header_text("host").unwrap_or_default();
        let query = request.raw_query();
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let location = percent_encode_url(&format!("http://{host}{other}{query}"));
        return Target::Framework(Response::empty(307).with("location", location));
    }
    Target::Framework(not_found())
}

/// The plain 404, which says nothing of a flag.
pub fn not_found() -> Response {
    Response::detail(404, "Not Found")
}
