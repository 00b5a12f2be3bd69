//! A small JSON client for the API. No status is an error.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::ui::foreign;

const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    base_url: String,
}

/// An answer with any status.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Client {
    pub fn new(base_url: &str) -> Self {
        Self::with_timeout(base_url, TIMEOUT)
    }

    pub fn with_timeout(base_url: &str, timeout: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is an answer too.
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_idle_connections_per_host(64)
            .build()
            .into();
        Self {
            agent,
            base_url: base_url.trim_end_matches('/').to_owned(),
        }
    }

    pub fn get(&self, path: &str, token: Option<&str>) -> Result<Response> {
        self.send("GET", path, token, &[], None)
    }

    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Response> {
        self.json("POST", path, token, &[], body)
    }

    pub fn patch(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Response> {
        self.json("PATCH", path, token, &[], body)
    }

    pub fn json(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Response> {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send(method, path, token, &all, Some(body.to_string().as_bytes()))
    }

    /// Sends any request with the body's bytes as they are. An error means that no answer came.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response> {
        let url = format!("{}{path}", self.base_url);
        let doing = || format!("{method} {url}");
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = match body {
            Some(bytes) => self.agent.run(request.body(bytes).context(doing())?),
            None => self.agent.run(request.body(()).context(doing())?),
        };
        let mut answer = answer.context(doing())?;
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let body = answer.body_mut().read_to_string().context(doing())?;
        Ok(Response {
            status: answer.status().as_u16(),
            headers,
            body,
        })
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is not JSON.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The body as JSON, if the status is the expected one.
    pub fn expect(self, status: u16, doing: &str) -> Result<Value> {
        if self.status == status {
            Ok(self.value())
        } else {
            Err(Error::new(format!(
                "{doing}: expected {status}, got {} {}",
                self.status,
                foreign(&self.body)
            )))
        }
    }
}
