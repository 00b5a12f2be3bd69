//! Calls to another service over REST: a timeout for each try, bounded retries with jitter, a
//! circuit breaker, and a short cache for answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};

use crate::{Context, Error};

/// The longest answer that a client reads, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A client's timeouts and retries. The defaults keep the worst case under 2.5 s.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The timeout of one try, connecting included.
    pub timeout: Duration,
    /// Tries in all.
    pub attempts: u32,
    /// The longest wait before the second try. It doubles for each further try. The wait itself is
    /// random between zero and this bound ("full jitter", AWS Architecture Blog, 2015).
    pub backoff: Duration,
    /// Failed calls in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long an open breaker refuses calls before it allows one.
    pub breaker_pause: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(1000),
            attempts: 2,
            backoff: Duration::from_millis(200),
            breaker_failures: 5,
            breaker_pause: SignedDuration::from_secs(10),
        }
    }
}

/// An answer with a status below 500, 429 excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// The service gave no usable answer; its decision is unknown.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Unreachable {
    #[error("the circuit breaker is open after repeated failures; no call was made")]
    BreakerOpen,
    #[error("no usable answer after {attempts} tries")]
    NoAnswer { attempts: u32, source: Error },
}

/// A client of one service.
pub struct Client {
    base_url: String,
    connector: SharedHttpConnector,
    policy: Policy,
    breaker: Mutex<Breaker>,
}

impl Client {
    /// A client of the service at `base_url`.
    pub fn new(base_url: &str, connector: SharedHttpConnector, policy: Policy) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            connector,
            policy,
            breaker: Mutex::default(),
        }
    }

    /// Calls `GET base_url/path` with the caller's token.
    pub async fn get(
        &self,
        path: &str,
        bearer: &str,
        context: &Context,
    ) -> Result<Answer, Unreachable> {
        if !lock(&self.breaker).allows(context.now, &self.policy) {
            return Err(Unreachable::BreakerOpen);
        }
        let mut last: Error = "no try was made".into();
        for attempt in 0..self.policy.attempts {
            if attempt > 0 {
                tokio::time::sleep(self.jittered(attempt, context)).await;
            }
            match self.try_once(path, bearer, context).await {
                Ok(answer) => {
                    lock(&self.breaker).succeeded();
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        lock(&self.breaker).failed(context.now);
        Err(Unreachable::NoAnswer {
            attempts: self.policy.attempts,
            source: last,
        })
    }

    async fn try_once(&self, path: &str, bearer: &str, context: &Context) -> Result<Answer, Error> {
        let request = ::http::Request::get(format!("{}{path}", self.base_url))
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {bearer}"))
            .header("traceparent", &context.traceparent)
            .body(SdkBody::empty())?;
        let exchange = async {
            let response = self.connector.call(request.try_into()?).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            let body = body.collect().await?.to_bytes();
            Ok::<_, Error>(Answer { status, body })
        };
        let answer = tokio::time::timeout(self.policy.timeout, exchange)
            .await
            .map_err(|_| format!("no answer within {:?}", self.policy.timeout))??;
        // The service or its gateway is failing or throttling: a later try may succeed.
        if answer.status >= 500 || answer.status == 429 {
            return Err(format!("the answer was {}", answer.status).into());
        }
        Ok(answer)
    }

    fn jittered(&self, attempt: u32, context: &Context) -> Duration {
        let ceiling = self.policy.backoff * 2_u32.saturating_pow(attempt - 1);
        // The low bits of a fresh UUID are random, and a simulation can choose them.
        let share = (context.fresh_id.as_u128() as u32).rotate_left(attempt);
        ceiling.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

/// A circuit breaker (Nygard, Release It!): it stops calls to a failing service.
#[derive(Default)]
struct Breaker {
    failures_in_a_row: u32,
    refused_since: Option<Timestamp>,
}

impl Breaker {
    fn allows(&mut self, now: Timestamp, policy: &Policy) -> bool {
        if self.failures_in_a_row < policy.breaker_failures {
            return true;
        }
        match self.refused_since {
            Some(since) if now.duration_since(since) < policy.breaker_pause => false,
            // Half open: this call goes out; the others wait for another pause.
            _ => {
                self.refused_since = Some(now);
                true
            }
        }
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn failed(&mut self, now: Timestamp) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.refused_since = Some(now);
    }
}

/// A short-lived cache in the memory of one function instance.
pub struct Cache<K, V> {
    lifetime: SignedDuration,
    capacity: usize,
    entries: Mutex<HashMap<K, (Timestamp, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Keeps at most `capacity` answers, each for `lifetime`.
    pub fn new(lifetime: SignedDuration, capacity: usize) -> Self {
        Self {
            lifetime,
            capacity,
            entries: Mutex::default(),
        }
    }

    /// The cached answer, unless it is too old.
    pub fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = lock(&self.entries);
        let (kept_at, value) = entries.get(key)?;
        (now.duration_since(*kept_at) < self.lifetime).then(|| value.clone())
    }

    /// Caches an answer, if there is room.
    pub fn put(&self, key: K, value: V, now: Timestamp) {
        let mut entries = lock(&self.entries);
        if entries.len() >= self.capacity {
            entries.retain(|_, (kept_at, _)| now.duration_since(*kept_at) < self.lifetime);
        }
        if entries.len() < self.capacity || entries.contains_key(&key) {
            entries.insert(key, (now, value));
        }
    }
}

/// Ignores poisoning: a panic leaves counters and cached answers usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
