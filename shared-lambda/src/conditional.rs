//! Conditional requests (RFC 9110 §13).
//!
//! An entity tag is a hash of the body. So it is strong (§8.8.1): it differs wherever bytes differ, also
//! between callers who see different fields, and between releases.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::problem::{FieldError, Fields, Problem};
use crate::response::Response;

/// Half of a SHA-256: two bodies with one tag can only be made on purpose, and only one caller has them.
const TAG_BYTES: usize = 16;

/// Optional whitespace between the parts of a header (RFC 9110 §5.6.3).
pub(crate) const BLANKS: [char; 2] = [' ', '\t'];

const NOT_TAKEN: &str = "is not taken by this request; leave it out";

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any representation.
    Any,
    /// Entity tags as they were sent, each with its quotes.
    Listed(Vec<String>),
}

impl Conditions {
    /// Reads both headers, and adds their mistakes. A `POST` must not ignore a false condition (§13.1.1),
    /// and what it does depends on no tag.
    pub(crate) fn of<'a>(
        method: &str,
        header: impl Fn(&str) -> Option<&'a str>,
        fields: &mut Fields,
    ) -> Self {
        let mut read = |name: &str| {
            let sent = header(&name.to_ascii_lowercase())?;
            let tags = match method {
                // §13.2.1.
                "OPTIONS" => return None,
                "POST" => Err(NOT_TAKEN),
                _ => Tags::parse(sent),
            };
            fields.take_header(name, tags)
        };
        let (if_match, if_none_match) = (read("If-Match"), read("If-None-Match"));
        Self {
            if_match,
            if_none_match,
        }
    }

    /// Refuses `If-Match` where the answer has no entity tag to compare it with.
    pub(crate) fn check_answer(&self, answer: &Response, fields: &mut Fields) {
        if self.if_match.is_some() && answer.header("etag").is_none() {
            fields.push(FieldError::header("If-Match", NOT_TAKEN));
        }
    }

    /// Whether the request has a condition.
    pub fn are_given(&self) -> bool {
        *self != Self::default()
    }

    /// Refuses a change of a resource with this representation (§13.2.2, steps 1 and 3).
    pub fn permit(&self, current: &Response) -> Result<(), Problem> {
        let tag = tag(current);
        match self.want(&tag) && !self.know(&tag) {
            true => Ok(()),
            false => Err(Problem::precondition_failed()),
        }
    }

    fn want(&self, tag: &str) -> bool {
        let tags = self.if_match.as_ref();
        tags.is_none_or(|tags| tags.have_strong(tag))
    }

    fn know(&self, tag: &str) -> bool {
        let tags = self.if_none_match.as_ref();
        tags.is_some_and(|tags| tags.have(tag))
    }
}

/// The answer to a `GET`: without the body if the client has it already (§13.1.2), and 412 if the client
/// wants another one.
pub fn answer(conditions: &Conditions, response: Response) -> Result<Response, Problem> {
    let tag = tag(&response);
    let response = response.tagged();
    if !conditions.want(&tag) {
        return Err(Problem::precondition_failed());
    }
    if !conditions.know(&tag) {
        return Ok(response);
    }
    let mut unchanged = response;
    (unchanged.status, unchanged.body) = (304, None);
    unchanged
        .headers
        .retain(|(name, _)| *name != "content-type");
    Ok(unchanged)
}

impl Response {
    /// Adds the entity tag of the body.
    pub fn tagged(self) -> Self {
        let tag = tag(&self);
        self.with_header("etag", tag)
    }
}

fn tag(response: &Response) -> String {
    let body = response.body.as_deref().unwrap_or_default();
    let hash = digest(&SHA256, body.as_bytes());
    format!(
        "\"{}\"",
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..TAG_BYTES])
    )
}

impl Tags {
    fn parse(sent: &str) -> Result<Self, &'static str> {
        const INVALID: &str = "is neither * nor a list of entity tags; send an ETag as it was received, with its quotes";
        if sent.trim_matches(BLANKS) == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = sent.trim_start_matches(BLANKS);
        while !rest.is_empty() {
            // RFC 9110 §5.6.1: a list may have empty members.
            if let Some(next) = rest.strip_prefix(',') {
                rest = next.trim_start_matches(BLANKS);
                continue;
            }
            let opaque = rest.strip_prefix("W/").unwrap_or(rest);
            let inner = opaque.strip_prefix('"').ok_or(INVALID)?;
            let end = inner.find('"').ok_or(INVALID)?;
            if inner[..end].contains(|c: char| c.is_ascii_control() || c == ' ') {
                return Err(INVALID);
            }
            let (tag, next) = rest.split_at(rest.len() - inner.len() + end + 1);
            tags.push(tag.to_owned());
            rest = next.trim_start_matches(BLANKS);
            if !(rest.is_empty() || rest.starts_with(',')) {
                return Err(INVALID);
            }
        }
        if tags.is_empty() {
            return Err(INVALID);
        }
        Ok(Self::Listed(tags))
    }

    /// The strong comparison (§8.8.3.2), which no weak tag passes.
    fn have_strong(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|known| known == tag),
        }
    }

    /// The weak comparison. A cache on the way may have made a tag weak.
    fn have(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags
                .iter()
                .any(|known| known.strip_prefix("W/").unwrap_or(known) == tag),
        }
    }
}
