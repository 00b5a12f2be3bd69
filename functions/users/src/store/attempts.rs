//! Failed tries, counted for an account, a session or a source address. Nothing tells whether the
//! account exists: what is counted for is a fingerprint of what the client wrote.

use std::collections::HashMap;
use std::net::IpAddr;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use shared_lambda::table::TableError;
use uuid::Uuid;

use super::{UserStore, key, number, parsed, text};
use crate::domain::SessionId;
use crate::domain::throttle::{ACCOUNT, Policy, SOURCE, Tally, TooEarly};
use shared_lambda::contention::Tries;

const ATTEMPTS: &str = "ATTEMPTS";

/// How long a row is kept after it was last written: an account's remembers the owner's address.
const KEEP_ACCOUNT: SignedDuration = SignedDuration::from_hours(30 * 24);
const KEEP_SOURCE: SignedDuration = SignedDuration::from_hours(1);

/// Where a request came from, as far as it is told apart: an IPv4 address, or an IPv6 network of 64
/// bits, which is the least anybody is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    pub fn of(address: Option<&str>) -> Self {
        let network = match address.map(str::parse::<IpAddr>) {
            Some(Ok(address)) => match address.to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
                }
            },
            // All that do not say share one count.
            Some(Err(_)) | None => "unknown".to_owned(),
        };
        Self(fingerprint(&network))
    }
}

/// What failures are counted for, and how many are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    pk: String,
    policy: Policy,
    keep: SignedDuration,
}

impl Counter {
    /// An account by the address somebody wrote, in the form in which addresses are compared.
    pub fn account(email: &str) -> Self {
        let email = email.trim().to_ascii_lowercase();
        Self::with_account_policy(format!("ACCOUNT#{}", fingerprint(&email)))
    }

    /// The same account, tried from where its owner is known to be.
    pub fn at_home(&self, source: &Source) -> Self {
        Self {
            pk: format!("{}#{}", self.pk, source.0),
            ..self.clone()
        }
    }

    /// A session: the account, as far as a refresh token names one.
    pub fn session(id: SessionId) -> Self {
        Self::with_account_policy(format!("SESSION#{}", fingerprint(&id.0.to_string())))
    }

    pub fn source(source: &Source) -> Self {
        Self {
            pk: format!("ATTEMPTS#SOURCE#{}", source.0),
            policy: SOURCE,
            keep: KEEP_SOURCE,
        }
    }

    fn with_account_policy(subject: String) -> Self {
        Self {
            pk: format!("ATTEMPTS#{subject}"),
            policy: ACCOUNT,
            keep: KEEP_ACCOUNT,
        }
    }
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It may be made, and counts as failed until it is taken back.
    Admitted(Tally),
    /// It may not, and does not count.
    TooEarly {
        wait: TooEarly,
        /// The last one who succeeded did so from this very source.
        at_home: bool,
    },
}

impl UserStore {
    /// Counts a try, one after another however many come at once.
    pub async fn count_try(
        &self,
        counter: &Counter,
        source: &Source,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Counted, TableError> {
        const OPERATION: &str = "count a try";
        let mut tries = Tries::new(call);
        while tries.next().await {
            // Without contention, and without a read, as long as nobody has to wait.
            let counted = self
                .update_tally(counter, now)
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
                .expression_attribute_values(":opened", millis(now - counter.policy.window))
                .send()
                .await;
            let row = match counted {
                Ok(answer) => {
                    let row = answer.attributes.unwrap_or_default();
                    let tally = tally_of(OPERATION, &row)?;
                    return tally.map(Counted::Admitted).ok_or_else(|| {
                        TableError::corrupt(OPERATION, "a try was counted and left no count")
                    });
                }
                Err(error) => refused(OPERATION, error)?,
            };
            let Some(before) = tally_of(OPERATION, &row)? else {
                continue;
            };
            let after = match counter.policy.admit(Some(&before), now) {
                Ok(after) => after,
                Err(wait) => {
                    let known = row.get("known_source").and_then(|known| known.as_s().ok());
                    let at_home = known == Some(&source.0);
                    return Ok(Counted::TooEarly { wait, at_home });
                }
            };
            if self
                .replace_tally(OPERATION, counter, &before, &after)
                .await?
            {
                return Ok(Counted::Admitted(after));
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Whether the tally was still `before`.
    async fn replace_tally(
        &self,
        operation: &'static str,
        counter: &Counter,
        before: &Tally,
        after: &Tally,
    ) -> Result<bool, TableError> {
        let replaced = self
            .update_tally(counter, after.last)
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
            .expression_attribute_values(":was_last", millis(before.last))
            .send()
            .await;
        match replaced {
            Ok(_) => Ok(true),
            Err(error) => refused(operation, error).map(|_| false),
        }
    }

    fn update_tally(&self, counter: &Counter, now: Timestamp) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&counter.pk, ATTEMPTS)))
            .expression_attribute_values(":expires_at", number((now + counter.keep).as_second()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Forgets every failure: the owner has been here, and from this source.
    pub async fn forget_tries(
        &self,
        counter: &Counter,
        source: &Source,
        now: Timestamp,
    ) -> Result<(), TableError> {
        self.update_tally(counter, now)
            .update_expression(
                "SET known_source = :source, expires_at = :expires_at \
                 REMOVE failures, first_at, last_at",
            )
            .expression_attribute_values(":source", text(&source.0))
            .send()
            .await
            .map_err(|error| TableError::new("forget failed tries", error))?;
        Ok(())
    }

    /// Takes back one try that did not fail. The others' failures stay.
    pub async fn take_back_try(
        &self,
        counter: &Counter,
        counted: &Tally,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let taken = self
            .update_tally(counter, now)
            .update_expression("SET expires_at = :expires_at ADD failures :less")
            // Of the window it was counted in; another has not got it.
            .condition_expression("failures > :none AND first_at = :first")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":first", millis(counted.since))
            .send()
            .await;
        match taken {
            Ok(_) => Ok(()),
            Err(error) => refused("take back a try", error).map(|_| ()),
        }
    }
}

/// The row that did not meet an update's condition.
fn refused(
    operation: &'static str,
    error: SdkError<UpdateItemError>,
) -> Result<HashMap<String, AttributeValue>, TableError> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
            Ok(refused.item().cloned().unwrap_or_default())
        }
        _ => Err(TableError::new(operation, error)),
    }
}

fn tally_of(
    operation: &'static str,
    row: &HashMap<String, AttributeValue>,
) -> Result<Option<Tally>, TableError> {
    let digits = |name: &str| row.get(name).and_then(|value| value.as_n().ok());
    let (Some(failures), Some(first), Some(last)) =
        (digits("failures"), digits("first_at"), digits("last_at"))
    else {
        return Ok(None);
    };
    let time = |digits: &str| {
        let millis = parsed(operation, digits.parse::<i64>())?;
        parsed(operation, Timestamp::from_millisecond(millis))
    };
    Ok(Some(Tally {
        failures: parsed(operation, failures.parse())?,
        since: time(first)?,
        last: time(last)?,
    }))
}

fn millis(time: Timestamp) -> AttributeValue {
    number(time.as_millisecond())
}

/// Enough to tell two apart; neither address stands in the table twice.
fn fingerprint(subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes()))
}
