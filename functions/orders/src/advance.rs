//! The only code that changes an order after its placement. It also sends the command that the order
//! then owes.

use std::time::Duration;

use jiff::SignedDuration;
use shared_lambda::contention::Tries;
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, sqs, telemetry};

use crate::domain::{Decision, Event, Ignored, Order, OrderId, Refusal, StepTimeout, decide};
use crate::messages::{Routes, owed_message};
use crate::store::{OrderStore, Updated};

/// How long a customer waits while the command is sent. The order is already written, so the sweeper
/// can send the command later.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// The dependencies of a function that advances orders.
pub struct Saga {
    pub orders: OrderStore,
    pub queues: aws_sdk_sqs::Client,
    pub routes: Routes,
    pub timeout: StepTimeout,
}

/// The result of applying an event.
#[derive(Debug)]
pub enum Applied {
    /// The order was written; send the command it owes.
    Advanced(Box<Order>),
    /// The event was applied before, but the command may never have been sent: send it again.
    Repeated(Box<Order>),
    /// The order has moved past the event; there is nothing to send.
    Overtaken(Box<Order>),
    Refused(Box<Order>, Refusal),
    NotFound,
}

impl Saga {
    pub fn wire(setup: &Setup, routes: Routes) -> Result<Self, Error> {
        Ok(Self {
            orders: OrderStore::new(setup.dynamodb(), setup.env("ORDERS_TABLE")?),
            queues: setup.sqs(),
            routes,
            timeout: step_timeout(setup)?,
        })
    }

    /// Loads the order, decides, and writes it if its version is unchanged; otherwise tries again.
    pub async fn advance(
        &self,
        id: OrderId,
        event: &Event,
        context: &Context,
    ) -> Result<Applied, TableError> {
        let mut tries = Tries::new(context.fresh_id);
        while tries.next().await {
            let Some(order) = self.orders.get(id).await?.map(Box::new) else {
                return Ok(Applied::NotFound);
            };
            match decide(&order, event, self.timeout, context.now) {
                Decision::Advance(next) => match self.orders.update(&next).await? {
                    Updated::Done => return Ok(Applied::Advanced(next)),
                    Updated::Overtaken => {}
                },
                Decision::Ignore(Ignored::Repeat) => return Ok(Applied::Repeated(order)),
                Decision::Ignore(Ignored::Overtaken) => return Ok(Applied::Overtaken(order)),
                Decision::Refuse(refusal) => return Ok(Applied::Refused(order, refusal)),
            }
        }
        Err(TableError::contended("advance order"))
    }

    /// Sends the command an order owes while its customer waits. A failure is not reported to the
    /// customer: the order is written, and the sweeper sends the command later.
    pub async fn send_owed(&self, order: &Order, context: &Context) {
        let owed = match owed_message(order, &self.routes, context) {
            Ok(owed) => owed.into_iter().collect(),
            Err(error) => {
                tracing::error!(
                    event = "command_not_sent",
                    order = %order.id.0,
                    trace = context.trace_id(),
                    "{error}"
                );
                return;
            }
        };
        if let Err(error) = sqs::send_within(SEND_TIMEOUT, &self.queues, owed).await {
            tracing::warn!(
                order = %order.id.0,
                trace = context.trace_id(),
                cause = telemetry::chain(&error),
                "the order's command could not be sent; the sweeper will send it"
            );
        }
    }
}

/// How long a saga step may take before its command is sent again.
fn step_timeout(setup: &Setup) -> Result<StepTimeout, Error> {
    const NAME: &str = "ORDERS_STEP_TIMEOUT_SECONDS";
    match setup.env(NAME)?.parse::<u32>() {
        Ok(seconds @ 1..=3600) => Ok(StepTimeout(SignedDuration::from_secs(seconds.into()))),
        _ => Err(format!("{NAME} is not a whole number of seconds from 1 to 3600").into()),
    }
}
