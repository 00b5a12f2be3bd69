//! Tries, counted for an account at a source, a session or a source alone. Nothing tells whether the
//! account exists: what is counted for is a fingerprint of what the client wrote.
//!
//! The SDK asks again where an answer is late or lost, though the first request may have done its
//! work. So a count remembers the calls that it counted last: such a call is counted once, and taken
//! back once. Who used a place is remembered, too, and a place is given back once at the most. Where
//! it cannot be told what is done twice, it is so on the strict side, and for a while: a place that is
//! taken twice takes up its line for [`STRANGERS`]' interval more, and a count that arrives after its
//! call was taken back already is one failure more.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
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
use crate::domain::SessionId;
use crate::domain::throttle::{
    ACCOUNT, KNOWN_FOR, Policy, SOURCE, STRANGERS, Standing, Tally, TooEarly,
};
use shared_lambda::contention::Tries;

const ATTEMPTS: &str = "ATTEMPTS";

/// How long a source's row is kept after it was last written: longer than anything in it matters.
const KEEP_SOURCE: SignedDuration = SignedDuration::from_hours(2);

/// So many calls a count remembers; then it goes on with the latest alone, or a row would grow with
/// whatever number of registrations an operator lets go free. What was counted stays counted; a try
/// that is forgotten is not taken back. It is more than [`SOURCE`] lets through at once: those who are
/// forgotten are long through, as each try beyond waits for the one before.
const REMEMBERED: u32 = 128;

const REPLACE_TALLY_ADD_CALL: &str = "SET failures = :failures, first_at = :first, \
     last_at = :last, expires_at = :expires_at ADD calls :call";
const REPLACE_TALLY_AND_CALLS: &str = "SET failures = :failures, first_at = :first, \
     last_at = :last, expires_at = :expires_at, calls = :call";

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

    /// All that do not say where they are share one, which nobody is known at.
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
    /// A session: the account, as far as a refresh token names one.
    pub fn session(id: SessionId) -> Self {
        Self {
            pk: format!("ATTEMPTS#SESSION#{}", fingerprint(&id.0.to_string())),
            policy: ACCOUNT,
            keep: ACCOUNT.window,
        }
    }

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

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It may be made, and counts as failed until it is taken back.
    Admitted,
    /// It may not, and does not count.
    TooEarly(TooEarly),
}

/// When a source may try an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: Timestamp,
    /// Whether it took any of the account's time; a place at the end of a full line does not.
    taken: bool,
}

impl UserStore {
    /// What is on record about an account at a source.
    pub async fn standing(&self, counter: &Counter) -> Result<Standing, TableError> {
        const OPERATION: &str = "read what is counted of an account";
        let row: Option<AttemptsRow> = self.row(OPERATION, &counter.pk, ATTEMPTS).await?;
        row.unwrap_or_default().parse(OPERATION)
    }

    /// Counts a try, one after another however many come at once, and each call's once however often
    /// it is asked for.
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
            let counted = self
                .update_attempts(&counter.pk, now + counter.keep)
                .update_expression(
                    "SET first_at = if_not_exists(first_at, :now), last_at = :now, \
                     expires_at = :expires_at ADD failures :one, calls :call",
                )
                .condition_expression(
                    "(attribute_not_exists(failures) OR (failures < :free AND first_at > :opened)) \
                     AND (attribute_not_exists(calls) \
                     OR (size(calls) < :remembered AND NOT contains(calls, :name)))",
                )
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":call", set_of(call))
                .expression_attribute_values(":free", number(counter.policy.free))
                .expression_attribute_values(":opened", millis(now - counter.policy.window))
                .expression_attribute_values(":remembered", number(REMEMBERED))
                .expression_attribute_values(":name", AttributeValue::S(name(call)))
                .send()
                .await;
            let Some(row) = uncounted(OPERATION, counted, call)? else {
                return Ok(Counted::Admitted);
            };
            let Some(before) = row.tally(OPERATION)? else {
                continue;
            };
            let after = match counter.policy.admit(Some(&before), now) {
                Ok(after) => after,
                Err(wait) => return Ok(Counted::TooEarly(wait)),
            };
            let goes_on = after.since == before.since && row.calls.len() < REMEMBERED as usize;
            let update = self
                .update_attempts(&counter.pk, after.last + counter.keep)
                .update_expression(match goes_on {
                    true => REPLACE_TALLY_ADD_CALL,
                    false => REPLACE_TALLY_AND_CALLS,
                })
                .expression_attribute_values(":call", set_of(call));
            let replaced = replace_tally(update, &before, &after).send().await;
            if uncounted(OPERATION, replaced, call)?.is_none() {
                return Ok(Counted::Admitted);
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Takes back one call's try, which did not fail. The others' failures stay.
    pub async fn take_back_try(
        &self,
        counter: &Counter,
        now: Timestamp,
        call: Uuid,
    ) -> Result<(), TableError> {
        let taken = self
            .update_attempts(&counter.pk, now + counter.keep)
            .update_expression("SET expires_at = :expires_at ADD failures :less DELETE calls :call")
            // Another window has not got it.
            .condition_expression("contains(calls, :name) AND failures > :none")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":call", set_of(call))
            .expression_attribute_values(":name", AttributeValue::S(name(call)))
            .send()
            .await;
        held("take back a try", taken).map(|_| ())
    }

    /// Forgets an account's failures at a source, and remembers that its owner has been here.
    pub async fn remember_owner(
        &self,
        account: &Account,
        source: &Source,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let counter = account.at(source);
        let update = self.update_attempts(&counter.pk, now + counter.keep);
        let update = match source.0 {
            Some(_) => update
                .update_expression(
                    "SET known_until = :until, expires_at = :expires_at \
                     REMOVE failures, calls, first_at, last_at, place_at, used_by",
                )
                .expression_attribute_values(":until", millis(now + KNOWN_FOR)),
            None => update.update_expression(
                "SET expires_at = :expires_at \
                 REMOVE failures, calls, first_at, last_at, place_at, used_by",
            ),
        };
        update
            .send()
            .await
            .map_err(|error| TableError::new("remember where an owner has been", error))?;
        Ok(())
    }

    /// The next place in an account's line. Each of the two updates that may take it stands for
    /// itself: one where the line is idle, one where it is in use. Nobody waits for anybody.
    pub async fn take_place(
        &self,
        account: &Account,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Place, TableError> {
        const OPERATION: &str = "take a place in an account's line";
        let (interval, full) = (STRANGERS.interval, STRANGERS.full(now));
        let mut tries = Tries::new(call);
        while tries.next().await {
            let opened = self
                .update_attempts(&account.pk, full + interval)
                .update_expression("SET spent_until = :spent, expires_at = :expires_at")
                .condition_expression("attribute_not_exists(spent_until) OR spent_until <= :now")
                .expression_attribute_values(":spent", millis(now + interval))
                .expression_attribute_values(":now", millis(now))
                .send()
                .await;
            if held(OPERATION, opened)? {
                let at = STRANGERS.place(now + interval, now);
                return Ok(Place { at, taken: true });
            }
            let joined = self
                .update_attempts(&account.pk, full + interval)
                .update_expression(
                    "SET spent_until = spent_until + :interval, expires_at = :expires_at",
                )
                .condition_expression("spent_until > :now AND spent_until < :full")
                .expression_attribute_values(":interval", number(interval.as_millis()))
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_values(":full", millis(full))
                .send()
                .await;
            let (row, taken) = match joined {
                Ok(answer) => (answer.attributes.unwrap_or_default(), true),
                Err(error) => (refused(OPERATION, error)?, false),
            };
            let spent = time(OPERATION, AttemptsRow::of(OPERATION, row)?.spent_until)?;
            match spent {
                Some(spent) if taken || spent.as_millisecond() >= full.as_millisecond() => {
                    let at = STRANGERS.place(spent, now);
                    return Ok(Place { at, taken });
                }
                // What was in use is idle now: others gave their places back.
                Some(_) | None => {}
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Gives back the time of a place that nobody will use. It is asked for once: given back twice,
    /// it would be somebody else's.
    pub async fn give_place_back(
        &self,
        account: &Account,
        place: Place,
        now: Timestamp,
    ) -> Result<(), TableError> {
        if !place.taken {
            return Ok(());
        }
        let given = self
            .update_attempts(&account.pk, STRANGERS.full(now))
            .update_expression(
                "SET spent_until = spent_until - :interval, expires_at = :expires_at",
            )
            .condition_expression("spent_until > :now")
            .expression_attribute_values(":interval", number(STRANGERS.interval.as_millis()))
            .expression_attribute_values(":now", millis(now))
            .customize()
            .config_override(Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        held("give back a place in an account's line", given).map(|_| ())
    }

    /// Writes down a source's place, unless it has one already; the one it has now.
    pub async fn hold_place(
        &self,
        counter: &Counter,
        place: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp, TableError> {
        const OPERATION: &str = "hold a place in an account's line";
        let written = self
            .update_attempts(&counter.pk, now + counter.keep)
            .update_expression("SET place_at = :place, expires_at = :expires_at")
            .condition_expression("attribute_not_exists(place_at) OR place_at <= :stale")
            .expression_attribute_values(":place", millis(place))
            .expression_attribute_values(":stale", millis(now - STRANGERS.longest))
            .send()
            .await;
        match written {
            Ok(_) => Ok(place),
            Err(error) => {
                let row = AttemptsRow::of(OPERATION, refused(OPERATION, error)?)?;
                Ok(time(OPERATION, row.place_at)?.unwrap_or(place))
            }
        }
    }

    /// Uses up a source's place: of several tries at once, one does, however often it is asked for.
    pub async fn use_place(
        &self,
        counter: &Counter,
        place: Timestamp,
        now: Timestamp,
        call: Uuid,
    ) -> Result<bool, TableError> {
        let used = self
            .update_attempts(&counter.pk, now + counter.keep)
            .update_expression("SET expires_at = :expires_at, used_by = :name REMOVE place_at")
            .condition_expression("place_at = :place OR used_by = :name")
            .expression_attribute_values(":place", millis(place))
            .expression_attribute_values(":name", AttributeValue::S(name(call)))
            .send()
            .await;
        held("use a place in an account's line", used)
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

/// On the condition that the tally is still `before`.
fn replace_tally(
    update: UpdateItemFluentBuilder,
    before: &Tally,
    after: &Tally,
) -> UpdateItemFluentBuilder {
    update
        .condition_expression(
            "failures = :was_failures AND first_at = :was_first AND last_at = :was_last",
        )
        .expression_attribute_values(":failures", number(after.failures))
        .expression_attribute_values(":first", millis(after.since))
        .expression_attribute_values(":last", millis(after.last))
        .expression_attribute_values(":was_failures", number(before.failures))
        .expression_attribute_values(":was_first", millis(before.since))
        .expression_attribute_values(":was_last", millis(before.last))
}

/// The row that kept a call from being counted; none if it was, by this request or the one before.
fn uncounted<T>(
    operation: &'static str,
    updated: Result<T, SdkError<UpdateItemError>>,
    call: Uuid,
) -> Result<Option<AttemptsRow>, TableError> {
    let Err(error) = updated else {
        return Ok(None);
    };
    let row = AttemptsRow::of(operation, refused(operation, error)?)?;
    Ok(Some(row).filter(|row| !row.calls.contains(&name(call))))
}

/// Whether an update's condition held.
fn held<T>(
    operation: &'static str,
    updated: Result<T, SdkError<UpdateItemError>>,
) -> Result<bool, TableError> {
    match updated {
        Ok(_) => Ok(true),
        Err(error) => refused(operation, error).map(|_| false),
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

/// What a row of counts may have. Times are milliseconds since 1970.
#[derive(Default, Deserialize)]
struct AttemptsRow {
    failures: Option<u32>,
    /// The calls whose tries are counted, the last [`REMEMBERED`] at the most; DynamoDB keeps no
    /// empty set.
    #[serde(default)]
    calls: HashSet<String>,
    first_at: Option<i64>,
    last_at: Option<i64>,
    known_until: Option<i64>,
    place_at: Option<i64>,
    spent_until: Option<i64>,
}

impl AttemptsRow {
    fn of(
        operation: &'static str,
        row: HashMap<String, AttributeValue>,
    ) -> Result<Self, TableError> {
        parsed(operation, from_item(row))
    }

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

    fn parse(self, operation: &'static str) -> Result<Standing, TableError> {
        Ok(Standing {
            tally: self.tally(operation)?,
            known_until: time(operation, self.known_until)?,
            place: time(operation, self.place_at)?,
        })
    }
}

fn time(operation: &'static str, millis: Option<i64>) -> Result<Option<Timestamp>, TableError> {
    let time = millis.map(Timestamp::from_millisecond).transpose();
    parsed(operation, time)
}

fn millis(time: Timestamp) -> AttributeValue {
    number(time.as_millisecond())
}

/// A call's name in a set of them: short, for a source that goes on failing fills its set.
fn name(call: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(call.as_bytes())
}

fn set_of(call: Uuid) -> AttributeValue {
    AttributeValue::Ss(vec![name(call)])
}

/// Enough to tell two apart; neither address stands in the table twice.
fn fingerprint(subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes()))
}
