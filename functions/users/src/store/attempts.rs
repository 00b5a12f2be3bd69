//! Counts of attempts: for one account at one source, for one source, and for one account. The key of
//! a row is a fingerprint of the address that the client sent. So it does not show whether the account
//! exists.
//!
//! The SDK must not retry a count. An update with a late answer may have taken effect, and a retry
//! would count the attempt twice. An owner with several devices would then be delayed. If the answer
//! is lost, the attempt proceeds as counted.

use std::net::IpAddr;

use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;
use shared_lambda::table::TableError;
use uuid::Uuid;

use super::{UserStore, key, number, parsed};
use crate::domain::throttle::{
    ACCOUNT, FailureCount, KNOWN_FOR, Policy, SOURCE, TooEarly, UNKNOWN_SOURCES,
};
use shared_lambda::contention::Tries;

const ATTEMPTS: &str = "ATTEMPTS";

/// How long a source's row is kept after its last update: longer than any window or delay in it.
const KEEP_SOURCE: SignedDuration = SignedDuration::from_hours(2);

/// The origin of a request: an IPv4 address or an IPv6 /48 network. Any site can get a /48
/// (RFC 6177 §2), and with a longer prefix one machine could pose as thousands of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Option<String>);

impl Source {
    pub fn of(address: Option<&str>) -> Self {
        let address = address.and_then(|address| address.parse::<IpAddr>().ok());
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => fingerprint(&address.to_string()),
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                fingerprint(&format!("{a:x}:{b:x}:{c:x}::/48"))
            }
        }))
    }

    /// No account is known at a source without an address.
    pub fn has_address(&self) -> bool {
        self.0.is_some()
    }

    /// Requests without an address share one source.
    fn id(&self) -> &str {
        self.0.as_deref().unwrap_or("unknown")
    }
}

/// An account, by the e-mail address in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pk: String,
}

impl Account {
    pub fn of(email: &str) -> Self {
        let email = email.trim().to_ascii_lowercase();
        Self {
            pk: format!("ATTEMPTS#ACCOUNT#{}", fingerprint(&email)),
        }
    }

    /// The counter of one account at one source.
    pub fn at(&self, source: &Source) -> Counter {
        Counter {
            pk: format!("{}#{}", self.pk, source.id()),
            policy: ACCOUNT,
            keep: KNOWN_FOR,
        }
    }
}

/// A row that counts attempts, and its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    pk: String,
    policy: Policy,
    keep: SignedDuration,
}

impl Counter {
    pub fn source(source: &Source) -> Self {
        Self {
            pk: format!("ATTEMPTS#SOURCE#{}", source.id()),
            policy: SOURCE,
            keep: KEEP_SOURCE,
        }
    }

    pub fn registrations(source: &Source, policy: Policy) -> Self {
        Self {
            pk: format!("ATTEMPTS#REGISTRATIONS#{}", source.id()),
            policy,
            keep: KEEP_SOURCE,
        }
    }
}

/// An admitted attempt, which counts as failed until it is taken back, or the time to wait.
pub type Counted = Result<Receipt, TooEarly>;

/// The row after the attempt was counted; an empty one where the answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt(AttemptsRow);

impl Receipt {
    /// Whether the owner has logged in from this source.
    pub fn is_known(&self, now: Timestamp) -> bool {
        let until = self.0.known_until;
        until.is_some_and(|until| now.as_millisecond() < until)
    }
}

impl UserStore {
    /// Counts an attempt. Parallel attempts are counted one after another.
    pub async fn count_attempt(
        &self,
        counter: &Counter,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Counted, TableError> {
        const OPERATION: &str = "count an attempt";
        let mut tries = Tries::new(call);
        while tries.next().await {
            // One update, without contention, while attempts are free.
            let update = self
                .update_attempts(&counter.pk, now + counter.keep)
                .update_expression(
                    "SET first_at = if_not_exists(first_at, :now), last_at = :now, \
                     expires_at = :expires_at ADD failures :one",
                )
                .condition_expression(
                    "attribute_not_exists(failures) OR (failures < :free AND first_at > :opened)",
                )
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":free", number(counter.policy.free))
                .expression_attribute_values(":opened", millis(now - counter.policy.window));
            let row = match once(OPERATION, update).await? {
                Ok(row) => return Ok(Ok(Receipt(row))),
                Err(row) => row,
            };
            let Some(before) = row.failure_count(OPERATION)? else {
                continue;
            };
            let after = match counter.policy.admit(Some(&before), now) {
                Ok(after) => after,
                Err(wait) => return Ok(Err(wait)),
            };
            let update = self
                .update_attempts(&counter.pk, after.last + counter.keep)
                .update_expression(
                    "SET failures = :failures, first_at = :first, last_at = :last, \
                     expires_at = :expires_at",
                )
                .condition_expression(
                    "failures = :was_failures AND first_at = :was_first AND last_at = :was_last",
                )
                .expression_attribute_values(":failures", number(after.failures))
                .expression_attribute_values(":first", millis(after.since))
                .expression_attribute_values(":last", millis(after.last))
                .expression_attribute_values(":was_failures", number(before.failures))
                .expression_attribute_values(":was_first", millis(before.since))
                .expression_attribute_values(":was_last", millis(before.last));
            // On failure another attempt was counted first.
            if let Ok(row) = once(OPERATION, update).await? {
                return Ok(Ok(Receipt(row)));
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Takes back a successful attempt from the window that counted it. Other failures stay.
    pub async fn undo_attempt(
        &self,
        counter: &Counter,
        receipt: Receipt,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let Some(since) = receipt.0.first_at else {
            return Ok(());
        };
        let update = self
            .update_attempts(&counter.pk, now + counter.keep)
            .update_expression("SET expires_at = :expires_at ADD failures :less")
            .condition_expression("first_at = :since AND failures > :none")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":since", number(since));
        once("undo an attempt", update).await.map(|_| ())
    }

    /// Clears an account's failures at a source and makes the source known.
    pub async fn remember_owner(
        &self,
        account: &Account,
        source: &Source,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let counter = account.at(source);
        self.update_attempts(&counter.pk, now + counter.keep)
            .update_expression(
                "SET known_until = :until, expires_at = :expires_at \
                 REMOVE failures, first_at, last_at",
            )
            .expression_attribute_values(":until", millis(now + KNOWN_FOR))
            .send()
            .await
            .map_err(|error| TableError::new("remember an owner's source", error))?;
        Ok(())
    }

    /// Counts an attempt against an account's rate. One update is for an idle rate and one for a
    /// rate in use; neither depends on an earlier read, so requests do not contend.
    pub async fn use_rate(
        &self,
        account: &Account,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Counted, TableError> {
        const OPERATION: &str = "count an attempt against an account's rate";
        let interval = UNKNOWN_SOURCES.interval;
        let full = now + interval * (UNKNOWN_SOURCES.free - 1);
        let expires = full + interval;
        let mut tries = Tries::new(call);
        while tries.next().await {
            let idle = self
                .update_attempts(&account.pk, expires)
                .update_expression("SET spent_until = :spent, expires_at = :expires_at")
                .condition_expression("attribute_not_exists(spent_until) OR spent_until <= :now")
                .expression_attribute_values(":spent", millis(now + interval))
                .expression_attribute_values(":now", millis(now));
            if let Ok(row) = once(OPERATION, idle).await? {
                return Ok(Ok(Receipt(row)));
            }
            let in_use = self
                .update_attempts(&account.pk, expires)
                .update_expression(
                    "SET spent_until = spent_until + :interval, expires_at = :expires_at",
                )
                .condition_expression("spent_until > :now AND spent_until <= :full")
                .expression_attribute_values(":interval", number(interval.as_millis()))
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_values(":full", millis(full));
            let row = match once(OPERATION, in_use).await? {
                Ok(row) => return Ok(Ok(Receipt(row))),
                Err(row) => row,
            };
            // Otherwise other requests have taken their attempts back, and the rate is idle now.
            if let Err(wait) = UNKNOWN_SOURCES.admit(time(OPERATION, row.spent_until)?, now) {
                return Ok(Err(wait));
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Takes a successful attempt back from an account's rate.
    pub async fn restore_rate(
        &self,
        account: &Account,
        receipt: Receipt,
        now: Timestamp,
    ) -> Result<(), TableError> {
        if receipt.0.spent_until.is_none() {
            return Ok(());
        }
        let update = self
            .update_attempts(
                &account.pk,
                now + UNKNOWN_SOURCES.interval * UNKNOWN_SOURCES.free,
            )
            .update_expression(
                "SET spent_until = spent_until - :interval, expires_at = :expires_at",
            )
            .condition_expression("spent_until > :now")
            .expression_attribute_values(":interval", number(UNKNOWN_SOURCES.interval.as_millis()))
            .expression_attribute_values(":now", millis(now));
        once("restore an account's rate", update).await.map(|_| ())
    }

    fn update_attempts(&self, pk: &str, expires_at: Timestamp) -> UpdateItemFluentBuilder {
        self.table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key(pk, ATTEMPTS)))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Sends an update without retries: `Ok` is the row after it, `Err` the row that failed its
/// condition. An update without an answer counts as done and gives an empty row.
async fn once(
    operation: &'static str,
    update: UpdateItemFluentBuilder,
) -> Result<Result<AttemptsRow, AttemptsRow>, TableError> {
    let row = |row: Option<_>| parsed(operation, from_item(row.unwrap_or_default()));
    let sent = update
        .customize()
        .config_override(Config::builder().retry_config(RetryConfig::disabled()))
        .send()
        .await;
    let error = match sent {
        Ok(answer) => return row(answer.attributes).map(Ok),
        Err(error) => error,
    };
    if let Some(UpdateItemError::ConditionalCheckFailedException(refused)) =
        error.as_service_error()
    {
        return row(refused.item().cloned()).map(Err);
    }
    let answered = error.as_service_error().is_some();
    match TableError::new(operation, error) {
        lost if !answered && lost.is_unknown_outcome() => Ok(Ok(AttemptsRow::default())),
        error => Err(error),
    }
}

/// The attributes of a row of counts. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct AttemptsRow {
    failures: Option<u32>,
    first_at: Option<i64>,
    last_at: Option<i64>,
    known_until: Option<i64>,
    spent_until: Option<i64>,
}

impl AttemptsRow {
    fn failure_count(&self, operation: &'static str) -> Result<Option<FailureCount>, TableError> {
        let first = time(operation, self.first_at)?;
        let last = time(operation, self.last_at)?;
        let (Some(failures), Some(since), Some(last)) = (self.failures, first, last) else {
            return Ok(None);
        };
        Ok(Some(FailureCount {
            failures,
            since,
            last,
        }))
    }
}

fn time(operation: &'static str, millis: Option<i64>) -> Result<Option<Timestamp>, TableError> {
    let time = millis.map(Timestamp::from_millisecond).transpose();
    parsed(operation, time)
}

fn millis(time: Timestamp) -> AttributeValue {
    number(time.as_millisecond())
}

/// A key that does not show the address itself.
fn fingerprint(subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes()))
}
