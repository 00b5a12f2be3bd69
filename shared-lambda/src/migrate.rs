//! Data migrations: a service's function changes the rows of its table, one slice for each call.
//!
//! Traffic goes on meanwhile. Each row is changed on condition that it is as it was read. The row
//! `MIGRATIONS`, `STATE` of the same table holds the lease, the checkpoint and the history; `ADMITTED` beside
//! it has the newest schema. They have no `schema` and no key of an index, so no migration and no list finds
//! them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::table::{Row, Table, TableError, Written, key, number, to_row, written};
use crate::telemetry::chain;
use crate::{Context, Error};

/// The partition key of the rows about migrations. An operator's scan of the table skips it.
const PK: &str = "MIGRATIONS";
const STATE: &str = "STATE";
const DRY_RUN: &str = "DRY_RUN";
const ADMITTED: &str = "ADMITTED";

/// The parts of the table that are read at the same time.
const SEGMENTS: usize = 8;
const PAGE: i32 = 100;

/// A slice starts no more work after this time. With the longest calls it ends within the function's
/// 30 seconds.
const SLICE: Duration = Duration::from_secs(10);

/// Longer than the function can run, so that only a killed run loses its lease.
const LEASE: SignedDuration = SignedDuration::from_secs(40);

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// At most this many rows that cannot be changed are named.
const NAMED: usize = 10;

/// A change of rows to a schema. It goes forward only.
pub struct Migration {
    /// The schema of the changed rows.
    pub schema: u32,
    /// A few words for operators.
    pub name: &'static str,
    /// The changed row; none for a row of a kind that stays as it is. The `schema` is set afterwards.
    pub change: fn(&Row) -> Result<Option<Row>, Error>,
}

/// The schemas of a release. A row names the schema of its writer.
pub struct Schemas {
    /// Every schema whose rows this release reads.
    pub reads: RangeInclusive<u32>,
    /// The schema of the rows that this release writes.
    pub writes: u32,
    /// In ascending order.
    pub migrations: &'static [Migration],
}

impl Schemas {
    fn migration(&self, schema: u32) -> Result<&Migration, String> {
        if schema > self.writes {
            return Err(format!(
                "the deployed release writes schema {}; deploy a release that writes {schema} first",
                self.writes
            ));
        }
        let mut migrations = self.migrations.iter();
        let found = migrations.find(|migration| migration.schema == schema);
        found.ok_or_else(|| {
            let known = self.migrations.iter().map(|one| one.schema.to_string());
            let known = known.collect::<Vec<_>>().join(", ");
            format!("there is no migration to schema {schema}; there is: {known}")
        })
    }

    /// Whether this release and the next may run side by side. `admitted` is the newest schema of rows.
    fn admit(&self, (first, last): (u32, u32), writes: u32, admitted: u32) -> Result<(), String> {
        let newest = *self.reads.end();
        if last < admitted || first > self.writes {
            let needed = if last < admitted {
                admitted
            } else {
                self.writes
            };
            return Err(format!(
                "the table has rows of schema {needed}, and the new release reads {first} to {last}; deploy a \
                 release that reads {needed}"
            ));
        }
        if writes > newest {
            return Err(format!(
                "the new release writes schema {writes}, and the deployed one reads at most {newest}; both run \
                 during a deployment, so first deploy a release that reads {writes} and writes {newest}"
            ));
        }
        Ok(())
    }
}

/// Migrates one table.
pub struct Migrator {
    table: Table,
    schemas: Schemas,
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// The schemas, the checkpoint and the history.
    Status,
    /// Asks before the deployment of a release whether it may run beside this one.
    Admit { reads: (u32, u32), writes: u32 },
    /// Works for a slice of time.
    Slice(SliceRequest),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceRequest {
    schema: u32,
    /// The run that holds the lease.
    run: Uuid,
    by: String,
    /// The most write units a second.
    rate: u32,
    /// Counts the rows to change, and changes none.
    #[serde(default)]
    dry_run: bool,
}

/// The row `STATE`. A dry run has a row of its own, because the checkpoint has keys, which may be addresses:
/// no answer has them.
#[derive(Default, Serialize, Deserialize)]
struct State {
    pk: String,
    sk: String,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
    /// The migration that has begun and not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<Work>,
    /// The migrations that have ended.
    history: Vec<Work>,
}

/// The row `ADMITTED`. A pipeline writes it while a migration may run.
#[derive(Serialize, Deserialize)]
struct Admitted {
    pk: String,
    sk: String,
    /// The newest schema that a release may have written.
    newest: u32,
}

#[derive(Serialize, Deserialize)]
struct Lease {
    run: Uuid,
    by: String,
    until: Timestamp,
}

/// The progress of a migration.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Work {
    schema: u32,
    /// The run that began it.
    run: Uuid,
    by: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    segments: Vec<Segment>,
    read: u64,
    changed: u64,
    /// Rows that cannot be changed.
    failed: u64,
    failures: Vec<String>,
    /// Calls that were throttled or had no answer, and were repeated.
    repeated: u64,
    write_units: u64,
    seconds: u64,
}

/// The position in a part of the table.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Segment {
    Begin,
    /// The key of the last row.
    After(String, String),
    End,
}

impl Migrator {
    /// Migrates this table with the release's migrations.
    pub fn new(client: aws_sdk_dynamodb::Client, table: String, schemas: Schemas) -> Self {
        Self {
            table: Table::new(client, table),
            schemas,
        }
    }

    /// Handles one call. A wrong or refused request is an answer; after an error the caller may repeat.
    pub async fn handle(&self, context: Context, request: Value) -> Result<Value, Error> {
        match serde_json::from_value(request) {
            Ok(Request::Status) => Ok(self.status(&self.state(STATE).await?)),
            Ok(Request::Admit { reads, writes }) => self.admit(reads, writes).await,
            Ok(Request::Slice(request)) => match self.schemas.migration(request.schema) {
                Err(detail) => Ok(refused(detail)),
                Ok(migration) => self.slice(migration, request, context.now).await,
            },
            Err(error) => Ok(refused(format!("the request: {error}"))),
        }
    }

    fn status(&self, state: &State) -> Value {
        let migrations = self.schemas.migrations.iter();
        let migrations: Vec<Value> = migrations
            .map(|one| json!({"schema": one.schema, "name": one.name}))
            .collect();
        json!({
            "reads": [self.schemas.reads.start(), self.schemas.reads.end()],
            "writes": self.schemas.writes,
            "migrations": migrations,
            "done": state.history.iter().map(|done| done.schema).max(),
            "work": state.work.as_ref().map(shown),
            "lease": state.lease,
            "history": state.history,
        })
    }

    /// Notes the release's schema, whether it is then deployed or not, because its rows may appear.
    async fn admit(&self, reads: (u32, u32), writes: u32) -> Result<Value, Error> {
        const OPERATION: &str = "admit a release";
        let noted = self.table.get(OPERATION, PK, ADMITTED, Ok).await?;
        let noted = noted.map_or(0, |noted: Admitted| noted.newest);
        let newest = noted.max(self.schemas.writes);
        if let Err(detail) = self.schemas.admit(reads, writes, newest) {
            return Ok(refused(detail));
        }
        let row = Admitted {
            pk: PK.to_owned(),
            sk: ADMITTED.to_owned(),
            newest: newest.max(writes),
        };
        let put = self.table.client.put_item().table_name(&self.table.name);
        let put = put
            .set_item(Some(to_row(OPERATION, &row)?))
            .condition_expression("attribute_not_exists(pk) OR newest <= :newest")
            .expression_attribute_values(":newest", number(row.newest));
        match written(OPERATION, put.send().await)? {
            Written::Done => Ok(json!({"outcome": "admitted"})),
            Written::Overtaken | Written::Contended => Err(TableError::contended(OPERATION).into()),
        }
    }

    async fn slice(
        &self,
        migration: &Migration,
        request: SliceRequest,
        now: Timestamp,
    ) -> Result<Value, Error> {
        let SliceRequest {
            run, by, dry_run, ..
        } = request;
        let slice = Slice::new(request.rate, dry_run);
        let mut state = self.state(if dry_run { DRY_RUN } else { STATE }).await?;
        if let Some(lease) = &state.lease
            && lease.run != run
            && lease.until > now
        {
            return Ok(json!({"outcome": "busy", "by": lease.by, "until": lease.until}));
        }
        let continued = state.work.take().filter(|work| !dry_run || work.run == run);
        let mut work = continued.unwrap_or_else(|| Work {
            schema: migration.schema,
            run,
            by: by.clone(),
            started_at: now,
            ..Work::default()
        });
        if work.schema != migration.schema {
            return Ok(refused(format!(
                "the migration to schema {} has begun; finish it first",
                work.schema
            )));
        }
        let until = now + LEASE;
        state.work = Some(work.clone());
        state.lease = Some(Lease { run, by, until });
        if self.save(&mut state).await? != Written::Done {
            // The next call finds the lease of the other run, or its own.
            return Ok(progress(&work));
        }
        self.work(migration, &mut work, &slice).await?;
        state.work = Some(work.clone()).filter(|work| !work.is_at_end());
        if work.is_at_end() {
            state.lease = None;
            if work.failed == 0 && !dry_run {
                let seconds = SignedDuration::from_secs(slice.seconds() as i64);
                state.history.push(Work {
                    ended_at: Some(now + seconds),
                    segments: Vec::new(),
                    ..work.clone()
                });
            }
        }
        match self.save(&mut state).await? {
            Written::Done => Ok(progress(&work)),
            Written::Overtaken | Written::Contended => {
                Err(TableError::contended("write the checkpoint").into())
            }
        }
    }

    /// Changes rows until the slice's time is over.
    async fn work(
        &self,
        migration: &Migration,
        work: &mut Work,
        slice: &Slice,
    ) -> Result<(), TableError> {
        if work.segments.is_empty() {
            work.segments = vec![Segment::Begin; SEGMENTS];
        }
        let total = work.segments.len();
        let segments = work.segments.iter_mut().enumerate();
        let all = segments.map(|(at, segment)| self.segment(migration, segment, at, total, slice));
        work.failures.extend(try_join_all(all).await?.concat());
        work.failures.truncate(NAMED);
        for (sum, part) in [
            (&mut work.read, &slice.read),
            (&mut work.changed, &slice.changed),
            (&mut work.failed, &slice.failed),
            (&mut work.repeated, &slice.repeated),
            (&mut work.write_units, &slice.write_units),
        ] {
            *sum += part.load(Ordering::Relaxed);
        }
        work.seconds += slice.seconds();
        Ok(())
    }

    /// Works on one part of the table. Returns the rows that cannot be changed.
    async fn segment(
        &self,
        migration: &Migration,
        segment: &mut Segment,
        at: usize,
        total: usize,
        slice: &Slice,
    ) -> Result<Vec<String>, TableError> {
        let mut failures = Vec::new();
        while *segment != Segment::End && !slice.is_over() {
            let start = match &*segment {
                Segment::After(pk, sk) => Some(key(pk, sk)),
                Segment::Begin | Segment::End => None,
            };
            // Another writer's row may be a moment old.
            let scan = || async {
                let scan = self.table.client.scan().table_name(&self.table.name);
                let answer = scan
                    .segment(at as i32)
                    .total_segments(total as i32)
                    .limit(PAGE)
                    .set_exclusive_start_key(start.clone())
                    .consistent_read(true)
                    .filter_expression("#schema < :schema")
                    .expression_attribute_names("#schema", "schema")
                    .expression_attribute_values(":schema", number(migration.schema))
                    .send()
                    .await;
                answer.map_err(|error| TableError::new("scan for old rows", error))
            };
            let Some(page) = slice.patiently(scan).await? else {
                break;
            };
            let rows = page.items.unwrap_or_default();
            let others = (page.scanned_count as u64).saturating_sub(rows.len() as u64);
            for row in rows {
                let position = position_of(&row);
                slice.keep_pace().await;
                if slice.is_over() {
                    return Ok(failures);
                }
                match self.change(migration, row, slice).await? {
                    Changed::Yes => slice.add(&slice.changed, 1),
                    Changed::No => {}
                    Changed::NotInTime => return Ok(failures),
                    Changed::Failed(cause) => {
                        slice.add(&slice.failed, 1);
                        if let (Segment::After(pk, sk), true) = (&position, failures.len() < NAMED)
                        {
                            failures.push(format!("{pk}, {sk}: {cause}"));
                        }
                    }
                }
                slice.add(&slice.read, 1);
                *segment = position;
            }
            slice.add(&slice.read, others);
            *segment = page
                .last_evaluated_key
                .as_ref()
                .map_or(Segment::End, position_of);
        }
        Ok(failures)
    }

    async fn change(
        &self,
        migration: &Migration,
        mut row: Row,
        slice: &Slice,
    ) -> Result<Changed, TableError> {
        loop {
            let mut next = match (migration.change)(&row) {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(Changed::No),
                Err(error) => return Ok(Changed::Failed(chain(&*error))),
            };
            next.insert("schema".to_owned(), number(migration.schema));
            if slice.is_dry {
                return Ok(Changed::Yes);
            }
            match slice.patiently(|| self.update(&row, &next, slice)).await? {
                None => return Ok(Changed::NotInTime),
                Some(Written::Done) => return Ok(Changed::Yes),
                Some(Written::Overtaken | Written::Contended) => {}
            }
            let read = || async {
                let get = self.table.client.get_item().table_name(&self.table.name);
                let get = get.set_key(Some(key_of(&row))).consistent_read(true);
                let answer = get.send().await;
                answer.map_err(|error| TableError::new("read a row again", error))
            };
            match slice.patiently(read).await? {
                None => return Ok(Changed::NotInTime),
                Some(answer) => match answer.item {
                    Some(now) if schema_of(&now) < migration.schema => row = now,
                    Some(_) | None => return Ok(Changed::No),
                },
            }
        }
    }

    /// Writes the attributes that differ, if the row is still as it was read.
    async fn update(&self, row: &Row, next: &Row, slice: &Slice) -> Result<Written, TableError> {
        let client = &self.table.client;
        let mut update = client.update_item().table_name(&self.table.name);
        let (mut same, mut set, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        let attributes: BTreeSet<&String> = row.keys().chain(next.keys()).collect();
        for (at, name) in attributes.into_iter().enumerate() {
            update = update.expression_attribute_names(format!("#{at}"), name);
            match row.get(name) {
                Some(is) => {
                    same.push(format!("#{at} = :is{at}"));
                    update = update.expression_attribute_values(format!(":is{at}"), is.clone());
                }
                None => same.push(format!("attribute_not_exists(#{at})")),
            }
            match next.get(name) {
                Some(value) if row.get(name) == Some(value) => {}
                Some(value) => {
                    set.push(format!("#{at} = :set{at}"));
                    update = update.expression_attribute_values(format!(":set{at}"), value.clone());
                }
                None => remove.push(format!("#{at}")),
            }
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression.push_str(&format!(" REMOVE {}", remove.join(", ")));
        }
        let answer = update
            .set_key(Some(key_of(row)))
            .condition_expression(same.join(" AND "))
            .update_expression(expression)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let used = answer
                    .consumed_capacity
                    .and_then(|used| used.capacity_units);
                slice.add(&slice.write_units, used.unwrap_or(1.0).ceil() as u64);
                Ok(Written::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Written::Overtaken),
                _ => Err(TableError::new("change a row", error)),
            },
        }
    }

    async fn state(&self, sk: &str) -> Result<State, TableError> {
        let read = self.table.get("read the migrations", PK, sk, Ok).await?;
        Ok(read.unwrap_or_else(|| State {
            pk: PK.to_owned(),
            sk: sk.to_owned(),
            ..State::default()
        }))
    }

    async fn save(&self, state: &mut State) -> Result<Written, TableError> {
        const OPERATION: &str = "write the migrations";
        let before = number(state.version);
        state.version += 1;
        let put = self.table.client.put_item().table_name(&self.table.name);
        let put = put
            .set_item(Some(to_row(OPERATION, state)?))
            .condition_expression("attribute_not_exists(pk) OR version = :before")
            .expression_attribute_values(":before", before);
        written(OPERATION, put.send().await)
    }
}

enum Changed {
    Yes,
    No,
    /// The slice is over.
    NotInTime,
    Failed(String),
}

/// The time and the counts of one slice.
struct Slice {
    begun: Instant,
    rate: f64,
    is_dry: bool,
    read: AtomicU64,
    changed: AtomicU64,
    failed: AtomicU64,
    repeated: AtomicU64,
    write_units: AtomicU64,
}

impl Slice {
    fn new(rate: u32, is_dry: bool) -> Self {
        Self {
            begun: Instant::now(),
            rate: rate.max(1).into(),
            is_dry,
            read: AtomicU64::default(),
            changed: AtomicU64::default(),
            failed: AtomicU64::default(),
            repeated: AtomicU64::default(),
            write_units: AtomicU64::default(),
        }
    }

    fn add(&self, count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() >= SLICE
    }

    fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs_f64().ceil() as u64
    }

    /// Waits until the write units so far fit the rate.
    async fn keep_pace(&self) {
        let used = self.write_units.load(Ordering::Relaxed) as f64;
        let due = Duration::from_secs_f64(used / self.rate).min(SLICE);
        sleep_until(self.begun + due).await;
    }

    /// Repeats a throttled call. None if the slice is over before an answer.
    async fn patiently<T, F: Future<Output = Result<T, TableError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<Option<T>, TableError> {
        let mut wait = FIRST_WAIT;
        loop {
            match call().await {
                Ok(value) => return Ok(Some(value)),
                Err(error) if error.is_transient() => self.add(&self.repeated, 1),
                Err(error) => return Err(error),
            }
            if self.begun.elapsed() + wait >= SLICE {
                return Ok(None);
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Work {
    fn is_at_end(&self) -> bool {
        let mut segments = self.segments.iter();
        !self.segments.is_empty() && segments.all(|segment| *segment == Segment::End)
    }
}

fn progress(work: &Work) -> Value {
    let outcome = match (work.is_at_end(), work.failed) {
        (false, _) => "working",
        (true, 0) => "done",
        (true, _) => "failed",
    };
    json!({"outcome": outcome, "work": shown(work)})
}

/// Without the positions.
fn shown(work: &Work) -> Value {
    json!(Work {
        segments: Vec::new(),
        ..work.clone()
    })
}

fn refused(detail: String) -> Value {
    json!({"outcome": "refused", "detail": detail})
}

fn text_of(row: &Row, name: &str) -> String {
    let text = row.get(name).and_then(|value| value.as_s().ok());
    text.cloned().unwrap_or_default()
}

fn key_of(row: &Row) -> Row {
    key(&text_of(row, "pk"), &text_of(row, "sk"))
}

fn position_of(row: &Row) -> Segment {
    Segment::After(text_of(row, "pk"), text_of(row, "sk"))
}

fn schema_of(row: &Row) -> u32 {
    let schema = row.get("schema").and_then(|value| value.as_n().ok());
    schema.and_then(|schema| schema.parse().ok()).unwrap_or(0)
}
