//! Preferences of a request (RFC 7240). Unknown and malformed ones are ignored, as §2 asks.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::http::{Request, Response};

/// The time that the client would like to wait for the result (`Prefer: wait=10`, §4.3). It begins when the
/// handler asks for it, so a handler does that first.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    time: Duration,
    end: Instant,
}

impl Request {
    /// The client's preferred wait, at most `longest`. Parameters of the preference have no meaning.
    pub fn wait(&self, longest: Duration) -> Option<Wait> {
        let preferences = split(self.header("prefer")?, ',');
        let named = preferences.into_iter().filter_map(|preference| {
            let preference = split(preference, ';').into_iter().next()?;
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait.then(|| value.trim().trim_matches('"'))
        });
        // Only the first instance of a preference counts.
        let seconds = named.into_iter().next()?;
        if seconds.is_empty() || !seconds.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let time = Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)).min(longest);
        Some(Wait {
            time,
            end: Instant::now() + time,
        })
    }
}

impl Wait {
    /// Runs the future until it is done or the time is over.
    pub async fn bound(self, future: impl Future<Output = ()>) {
        let _ = timeout_at(self.end, future).await;
    }

    /// The answer, which says that the preference counted (§3).
    pub fn applied(self, response: Response) -> Response {
        response.with_header(
            "preference-applied",
            format!("wait={}", self.time.as_secs()),
        )
    }
}

/// The parts between separators, except those in a quoted string.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if letter == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
