//! The list of orders in flight, or of the stuck ones.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_lambda::{Context, Error, telemetry};
use uuid::Uuid;

use super::report::{OVERDUE, Report, is_overdue};
use crate::advance::Saga;
use crate::domain::owed;
use crate::store::{Due, DuePartition, DuePosition};

/// The length of a page. A Lambda answer may have 6 MB; an order takes about 1 KB.
const PAGE: usize = 500;

const CONCURRENCY: usize = 10;

/// The start of the next page.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The partition's index in the sequence of listing.
    partition: usize,
    after: Option<DuePosition>,
}

#[derive(Default, Serialize)]
struct Listing {
    orders: Vec<Report>,
    unreadable: Vec<UnreadableReport>,
    /// The number of index entries without a valid order id or time.
    nameless: usize,
    next_cursor: Option<Cursor>,
}

/// An order whose row cannot be read.
#[derive(Serialize)]
struct UnreadableReport {
    order_id: Uuid,
    due_at: Timestamp,
    cause: String,
}

pub async fn list(
    saga: &Saga,
    stuck: bool,
    from: Cursor,
    context: &Context,
) -> Result<Value, Error> {
    let mut list = Listing::default();
    // The parked orders come first, because they need an operator.
    let shards = DuePartition::all().filter(|partition| *partition != DuePartition::Parked);
    let partitions = [DuePartition::Parked].into_iter().chain(shards);
    let mut after = from.after;
    for (number, partition) in partitions.enumerate().skip(from.partition) {
        loop {
            let left = PAGE.saturating_sub(list.orders.len() + list.unreadable.len());
            if left == 0 {
                list.next_cursor = Some(Cursor {
                    partition: number,
                    after,
                });
                return Ok(json!(list));
            }
            let by = match partition {
                DuePartition::Shard(_) if stuck => Some(context.now - OVERDUE),
                DuePartition::Shard(_) | DuePartition::Parked => None,
            };
            let page = saga.orders.due(partition, by, left, after).await?;
            list.nameless += page.unreadable;
            list.read(saga, page.entries, stuck, context.now).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(json!(list))
}

impl Listing {
    /// The index lags behind, so each order decides whether it belongs in the list.
    async fn read(
        &mut self,
        saga: &Saga,
        entries: Vec<Due>,
        stuck: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut read = stream::iter(entries)
            .map(|due| async move { (due, saga.orders.get(due.id).await) })
            .buffered(CONCURRENCY);
        while let Some((due, order)) = read.next().await {
            match order {
                Ok(Some(order)) if owed(&order).is_none() => {}
                Ok(Some(order)) if stuck && !order.parked && !is_overdue(&order, now) => {}
                Ok(Some(order)) => self.orders.push(Report::of(&order, now)),
                Ok(None) => {}
                Err(error) if error.is_corrupt() => self.unreadable.push(UnreadableReport {
                    order_id: due.id.0,
                    due_at: due.at,
                    cause: telemetry::chain(&error),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
