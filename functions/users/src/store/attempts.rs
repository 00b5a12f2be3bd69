//! Tries, counted for an account at a source or for a source alone. Nothing tells whether the
//! account exists: what is counted for is a fingerprint of what the client wrote.
//!
//! A count is asked for once and the SDK never repeats it, because an update whose answer is late may
//! have been made. An owner who logs in from several devices in a slow moment would be counted twice,
//! and wait. Where an answer is lost, the try goes on as counted.

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
use crate::domain::throttle::{ACCOUNT, KNOWN_FOR, Policy, SOURCE, STRANGERS, Tally, TooEarly};
use shared_lambda::contention::Tries;

const ATTEMPTS: &str = "ATTEMPTS";

/// How long a source's row is kept after it was last written: longer than anything in it matters.
const KEEP_SOURCE: SignedDuration = SignedDuration::from_hours(2);

/// Where a request came from, as far as it is told apart: an IPv4 address, or an IPv6 network of 48
/// bits. That much is anybody's for the asking (RFC 6177 §2), and in a smaller one a single machine
/// would be thousands of sources.
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

    /// Whether it was told. Nobody is known where it was not.
    pub fn is_told(&self) -> bool {
        self.0.is_some()
    }

    /// All that do not say where they are share one.
    fn id(&self) -> &str {
        self.0.as_deref().unwrap_or("unknown")
    }
}

/// An account, by the address somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pk: String,
}

impl Account {
    /// In the form in which addresses are compared.
    pub fn of(email: &str) -> Self {
        let email = email.trim().to_ascii_lowercase();
        Self {
            pk: format!("ATTEMPTS#ACCOUNT#{}", fingerprint(&email)),
        }
    }

    /// The account as it is tried from one source.
    pub fn at(&self, source: &Source) -> Counter {
        Counter {
            pk: format!("{}#{}", self.pk, source.id()),
            policy: ACCOUNT,
            keep: KNOWN_FOR,
        }
    }
}

/// What tries are counted for, and how many are allowed.
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

    /// Registrations from one source.
    pub fn registrations(source: &Source, policy: Policy) -> Self {
        Self {
            pk: format!("ATTEMPTS#REGISTRATIONS#{}", source.id()),
            policy,
            keep: KEEP_SOURCE,
        }
    }
}

/// A try that may be made, and counts as failed until it is taken back; or how long it has to wait.
pub type Counted = Result<Receipt, TooEarly>;

/// The row in which a try was counted; an empty one where the answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt(AttemptsRow);

impl Receipt {
    /// Whether the owner has been here.
    pub fn is_known(&self, now: Timestamp) -> bool {
        let until = self.0.known_until;
        until.is_some_and(|until| now.as_millisecond() < until)
    }
}

impl UserStore {
    /// Counts a try, one after another however many come at once.
    pub async fn count_try(
        &self,
        counter: &Counter,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Counted, TableError> {
        const OPERATION: &str = "count a try";
        let mut tries = Tries::new(call);
        while tries.next().await {
            // Without contention, and without a read, as long as nobody has to wait.
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
            let Some(before) = row.tally(OPERATION)? else {
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
            // Otherwise others got in first.
            if let Ok(row) = once(OPERATION, update).await? {
                return Ok(Ok(Receipt(row)));
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Takes back a try that did not fail, from the window it was counted in. The others' failures
    /// stay.
    pub async fn take_back_try(
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
        once("take back a try", update).await.map(|_| ())
    }

    /// Forgets an account's failures at a source, and remembers that its owner has been here.
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
            .map_err(|error| TableError::new("remember where an owner has been", error))?;
        Ok(())
    }

    /// Counts a try for an account's rate, or says how long it has to wait. Each of the two updates
    /// stands for itself: one where the rate is idle, one where it is in use. So no
    /// request waits for another.
    pub async fn use_rate(
        &self,
        account: &Account,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Counted, TableError> {
        const OPERATION: &str = "count a try for an account's rate";
        let interval = STRANGERS.interval;
        let full = now + interval * (STRANGERS.free - 1);
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
            // Otherwise what was in use is idle now: others took their tries back.
            if let Err(wait) = STRANGERS.admit(time(OPERATION, row.spent_until)?, now) {
                return Ok(Err(wait));
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Takes a try that did not fail back from an account's rate.
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
            .update_attempts(&account.pk, now + STRANGERS.interval * STRANGERS.free)
            .update_expression(
                "SET spent_until = spent_until - :interval, expires_at = :expires_at",
            )
            .condition_expression("spent_until > :now")
            .expression_attribute_values(":interval", number(STRANGERS.interval.as_millis()))
            .expression_attribute_values(":now", millis(now));
        let operation = "take a try back from an account's rate";
        once(operation, update).await.map(|_| ())
    }

    fn update_attempts(&self, pk: &str, expires_at: Timestamp) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(pk, ATTEMPTS)))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Sends an update that must not be made twice: the row after it, or the row that kept it from being
/// made. An update without an answer counts as made, and its row is empty.
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

/// What a row of counts may have. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct AttemptsRow {
    failures: Option<u32>,
    first_at: Option<i64>,
    last_at: Option<i64>,
    known_until: Option<i64>,
    spent_until: Option<i64>,
}

impl AttemptsRow {
    fn tally(&self, operation: &'static str) -> Result<Option<Tally>, TableError> {
        let first = time(operation, self.first_at)?;
        let last = time(operation, self.last_at)?;
        let (Some(failures), Some(since), Some(last)) = (self.failures, first, last) else {
            return Ok(None);
        };
        Ok(Some(Tally {
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

/// Enough to tell two apart; neither address stands in the table twice.
fn fingerprint(subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes()))
}
