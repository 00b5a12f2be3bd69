//! The queue: `ReserveStock` and `ReleaseStock`, each idempotent.
//!
//! Both run the same loop: read the order's record, decide, write. The write succeeds only if the
//! decision still holds. If another writer was first, the loop starts again. One transaction writes
//! the record and its effect.

use shared_lambda::contention::Tries;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup};
use uuid::Uuid;

use crate::domain::{OnRelease, OnReserve, Outcome, WantedLines, decide, on_release, on_reserve};
use crate::messages::{ReleaseStock, ReserveStock, StockRefused, StockReleased, StockReserved};
use crate::store::{InventoryStore, Read, Written};

pub struct Commands {
    store: InventoryStore,
    replies_queue_url: String,
}

pub fn wire(setup: &Setup) -> Result<Commands, Error> {
    Ok(Commands {
        store: InventoryStore::new(setup.dynamodb(), setup.env("INVENTORY_TABLE")?),
        replies_queue_url: setup.env("ORDERS_REPLIES_QUEUE_URL")?,
    })
}

/// Handles one command and returns its reply to orders.
pub async fn handle(
    commands: &Commands,
    context: Context,
    command: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let Commands {
        store,
        replies_queue_url,
    } = commands;
    let order_id = command.subject;
    let reply = match command.kind.as_str() {
        ReserveStock::TYPE => {
            let wanted = command.open::<ReserveStock>()?.wanted()?;
            match reserve(store, &context, order_id, &wanted).await? {
                Outcome::Reserved(lines) => {
                    let reply = StockReserved::from(lines);
                    Outgoing::new(replies_queue_url, order_id, &reply, &context)
                }
                Outcome::Refused(refusal) => {
                    let reply = StockRefused::from(refusal);
                    Outgoing::new(replies_queue_url, order_id, &reply, &context)
                }
            }
        }
        ReleaseStock::TYPE => {
            let ReleaseStock {} = command.open()?;
            release(store, &context, order_id).await?;
            Outgoing::new(replies_queue_url, order_id, &StockReleased {}, &context)
        }
        _ => return Err(command.unknown()),
    };
    Ok(vec![reply])
}

async fn reserve(
    store: &InventoryStore,
    context: &Context,
    order_id: Uuid,
    wanted: &WantedLines,
) -> Result<Outcome, Failure> {
    let skus = wanted.skus();
    let mut tries = Tries::new(context.fresh_id);
    while tries.next().await {
        match on_reserve(store.reservation(order_id).await?) {
            OnReserve::Replay(outcome) => return replayed(order_id, wanted, outcome),
            OnReserve::Decide => {}
        }
        let items = store.items(&skus, Read::Current, context.fresh_id).await?;
        let outcome = decide(wanted, &items);
        match store.reserve(order_id, &outcome, context.now).await? {
            Written::Done => return Ok(outcome),
            Written::Overtaken | Written::Contended => {}
        }
    }
    Err(TableError::contended("reserve stock").into())
}

/// The recorded outcome, if it answers this command. A recorded refusal answers any lines: the order
/// holds nothing and never will.
fn replayed(order_id: Uuid, wanted: &WantedLines, outcome: Outcome) -> Result<Outcome, Failure> {
    if let Outcome::Reserved(held) = &outcome {
        wanted.check_held(held).map_err(|other| {
            Failure::unprocessable(format!(
                "{} for order {order_id} {other}; nothing was changed; compare both with the order's \
                 lines before a redrive",
                ReserveStock::TYPE
            ))
        })?;
    }
    Ok(outcome)
}

async fn release(
    store: &InventoryStore,
    context: &Context,
    order_id: Uuid,
) -> Result<(), TableError> {
    let mut tries = Tries::new(context.fresh_id);
    while tries.next().await {
        let written = match on_release(store.reservation(order_id).await?) {
            OnRelease::GiveBack(lines) => store.release(order_id, &lines, context.now).await?,
            OnRelease::Tombstone => store.put_tombstone(order_id, context.now).await?,
            OnRelease::Nothing => Written::Done,
        };
        match written {
            Written::Done => return Ok(()),
            Written::Overtaken | Written::Contended => {}
        }
    }
    Err(TableError::contended("release stock"))
}
