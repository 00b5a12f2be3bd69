//! Pages and documents, which are part of the program.

use shared_lambda::conditional;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

/// Scripts, styles and calls only from and to this host. No page may frame these pages, and no script may
/// write HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the folder `pages`.
pub struct Page {
    pub path: &'static str,
    content_type: &'static str,
    plain: &'static str,
    /// The compressed content, in base64.
    gzip: &'static str,
}

/// All pages, sorted by their files.
pub const PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page at a path.
pub fn find(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}

impl Page {
    /// The page, or 304 where the client has it. Each encoding has its own tag (RFC 9110 §8.8.3.3).
    pub fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let is_gzip = accepts_gzip(request.header("accept-encoding").unwrap_or_default());
        let mut response = Response::empty(200)
            .with_header("content-type", self.content_type)
            .with_header("vary", "accept-encoding")
            .with_header("cache-control", "no-cache");
        if self.content_type.starts_with("text/html") {
            response = response.with_header("content-security-policy", POLICY);
        }
        if is_gzip {
            response = response.with_header("content-encoding", "gzip");
        }
        response.is_base64 = is_gzip;
        response.body = Some(if is_gzip { self.gzip } else { self.plain }.to_owned());
        conditional::answer(request.conditions(), response)
    }
}

/// Whether a client asks for gzip with a weight above 0 (RFC 9110 §12.5.3).
fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}
