//! Requests that no other route of the gateway takes: pages, the health of the API, and mistakes.

use std::collections::BTreeSet;

use serde::Serialize;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, Stage};

use crate::pages;
use crate::routes::Routes;

const HEALTH: &str = "/health";

pub struct Site {
    stage: String,
    routes: Routes,
}

#[derive(Serialize)]
struct HealthBody<'a> {
    status: &'static str,
    version: &'static str,
    stage: &'a str,
}

/// The stage, which is checked as in other functions, and the routes.
pub fn wire(setup: &Setup) -> Result<Site, Error> {
    let stage = setup.env("STAGE")?;
    Stage::parse(&stage)?;
    Ok(Site {
        stage,
        routes: Routes::read()?,
    })
}

pub async fn handle(site: &Site, _context: Context, request: Request) -> Result<Response, Problem> {
    let (method, path) = (request.method(), request.path());
    let methods = site.methods(path);
    if methods.is_empty() {
        return site.without_slash(&request).ok_or_else(|| {
            Problem::not_found("there is no such path; GET /openapi.json lists the paths")
        });
    }
    let allow = Vec::from_iter(methods.iter().cloned()).join(", ");
    if !methods.contains(method) {
        return Err(Problem::method_not_allowed(allow));
    }
    if method == "OPTIONS" {
        // RFC 9110 §9.3.7. The gateway adds the headers of CORS to the answer to a preflight, which has to
        // be a success (WHATWG Fetch, "CORS-preflight fetch").
        return Ok(Response::empty(204).with_header("allow", allow));
    }
    match pages::find(path) {
        Some(page) => page.answer(&request),
        None if path == HEALTH => Ok(Response::json(200, &site.health())),
        // The gateway has no such route, as before the first deployment of its service.
        None => Err(Problem::not_found(
            "no service takes this request here; it may not be deployed yet",
        )),
    }
}

impl Site {
    fn health(&self) -> HealthBody<'_> {
        HealthBody {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            stage: &self.stage,
        }
    }

    /// The methods of a path in order; none for an unknown path. HEAD is wherever GET is (RFC 9110 §9.1).
    fn methods(&self, path: &str) -> BTreeSet<String> {
        let mut methods = self.routes.methods(path);
        if path == HEALTH || pages::find(path).is_some() {
            methods.insert("GET".to_owned());
        }
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        if !methods.is_empty() {
            methods.insert("OPTIONS".to_owned());
        }
        methods
    }

    /// 308 for a known path with a slash behind it (RFC 9110 §15.4.9): method and body stay the same. The
    /// location is relative, because no function knows the address that clients use.
    ///
    /// No path of a resource has other letters than these. The gateway may have decoded a `%`, and a client
    /// would follow `..` to another path.
    fn without_slash(&self, request: &Request) -> Option<Response> {
        let path = request.path().strip_suffix('/')?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        let is_dots = |part: &str| matches!(part, "." | "..");
        if self.methods(path).is_empty()
            || !path.bytes().all(is_plain)
            || path.split('/').any(is_dots)
        {
            return None;
        }
        let (_, last) = path.rsplit_once('/')?;
        let query = match request.raw_query() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let location = format!("../{last}{query}");
        let is_sendable = location.bytes().all(|b| b.is_ascii_graphic());
        is_sendable.then(|| Response::empty(308).with_header("location", location))
    }
}
