//! The queue messages that orders sends and receives. The participants own the contracts:
//! `functions/<participant>/contracts/`.

use serde::{Deserialize, Serialize};
use shared_lambda::Context;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};
use uuid::Uuid;

use crate::domain::{
    Command, Event, Fault, InvalidValue, Money, Order, Participant, Quantity, ReservedLine, Sku,
    State, UserId, owed, owed_fault,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct MoneyData {
    pub amount: i64,
    pub currency: String,
}

impl From<Money> for MoneyData {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency.as_str().to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct VerifyUser {
    pub user_id: Uuid,
}

#[derive(Debug, Serialize)]
pub struct ReserveStock {
    pub lines: Vec<LineToReserve>,
}

#[derive(Debug, Serialize)]
pub struct LineToReserve {
    pub sku: String,
    pub quantity: u32,
}

#[derive(Debug, Serialize)]
pub struct ReleaseStock {}

#[derive(Debug, Serialize)]
pub struct ChargePayment {
    pub user_id: Uuid,
    pub amount: MoneyData,
    pub payment_method: String,
}

#[derive(Debug, Serialize)]
pub struct RefundPayment {
    pub user_id: Uuid,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct UserVerified {
    pub user_id: Option<Uuid>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct UserRefused {
    pub user_id: Option<Uuid>,
    pub code: String,
    pub detail: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct StockReserved {
    pub lines: Vec<LineReserved>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct LineReserved {
    pub sku: String,
    pub name: Option<String>,
    pub quantity: i64,
    pub unit_price: MoneyData,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct StockRefused {
    pub sku: Option<String>,
    pub code: String,
    pub detail: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct StockReleased {}

#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentCharged {
    pub payment_id: String,
    pub amount: MoneyData,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentDeclined {
    pub code: String,
    pub detail: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentRefunded {
    pub refunded: Option<MoneyData>,
}

macro_rules! payloads {
    ($($payload:ident)*) => {
        $(impl Payload for $payload { const TYPE: &'static str = stringify!($payload); })*
    };
}

payloads! {
    VerifyUser ReserveStock ReleaseStock ChargePayment RefundPayment
    UserVerified UserRefused StockReserved StockRefused StockReleased
    PaymentCharged PaymentDeclined PaymentRefunded
}

/// The queues of the participants. A function has only those it may write to.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    users: Option<String>,
    inventory: Option<String>,
    payments: Option<String>,
}

impl Routes {
    pub fn users(mut self, queue_url: String) -> Self {
        self.users = Some(queue_url);
        self
    }

    pub fn inventory(mut self, queue_url: String) -> Self {
        self.inventory = Some(queue_url);
        self
    }

    pub fn payments(mut self, queue_url: String) -> Self {
        self.payments = Some(queue_url);
        self
    }

    fn to(&self, participant: Participant) -> Option<&str> {
        let queue_url = match participant {
            Participant::Users => &self.users,
            Participant::Inventory => &self.inventory,
            Participant::Payments => &self.payments,
        };
        queue_url.as_deref()
    }

    pub fn queue_urls(&self) -> impl Iterator<Item = &str> {
        let queues = [&self.users, &self.inventory, &self.payments];
        queues.into_iter().filter_map(|url| url.as_deref())
    }
}

/// The function has no queue for the command that an order owes.
#[derive(Debug, thiserror::Error)]
#[error(
    "order {order_id}: its step {state:?} owes a command to {participant}, and this function has no \
     route there; give it the queue's URL, then send the command with waybill saga retry {order_id}"
)]
pub struct NoRoute {
    order_id: Uuid,
    state: State,
    participant: &'static str,
}

/// The message of the command that an order owes, if it owes one.
pub fn owed_message(
    order: &Order,
    routes: &Routes,
    context: &Context,
) -> Result<Option<Outgoing>, NoRoute> {
    let Some(command) = owed(order) else {
        return Ok(None);
    };
    let participant = command.step().participant;
    let queue_url = routes.to(participant).ok_or(NoRoute {
        order_id: order.id.0,
        state: order.state,
        participant: participant.as_str(),
    })?;
    let (id, user_id) = (order.id.0, order.user_id.0);
    let fault = owed_fault(order).map(Fault::as_str);
    Ok(Some(match command {
        Command::VerifyUser => {
            Outgoing::with_fault(queue_url, id, &VerifyUser { user_id }, fault, context)
        }
        Command::ReserveStock => {
            let lines = order
                .lines
                .iter()
                .map(|line| LineToReserve {
                    sku: line.sku.as_str().to_owned(),
                    quantity: line.quantity.units(),
                })
                .collect();
            Outgoing::with_fault(queue_url, id, &ReserveStock { lines }, fault, context)
        }
        Command::ReleaseStock => {
            Outgoing::with_fault(queue_url, id, &ReleaseStock {}, fault, context)
        }
        Command::ChargePayment => {
            let total = order
                .total
                .expect("an order without a total owes no charge");
            let charge = ChargePayment {
                user_id,
                amount: total.into(),
                payment_method: order.payment_method.as_str().to_owned(),
            };
            Outgoing::with_fault(queue_url, id, &charge, fault, context)
        }
        Command::RefundPayment => {
            Outgoing::with_fault(queue_url, id, &RefundPayment { user_id }, fault, context)
        }
    }))
}

/// Reads a participant's reply as an event of the saga.
pub fn event(envelope: &Envelope) -> Result<Event, Failure> {
    Ok(match envelope.kind.as_str() {
        UserVerified::TYPE => {
            let UserVerified { user_id } = envelope.open()?;
            let user = user_id.map(UserId);
            Event::UserVerified { user }
        }
        UserRefused::TYPE => {
            let UserRefused {
                user_id,
                code,
                detail,
            } = envelope.open()?;
            let user = user_id.map(UserId);
            Event::UserRefused { user, code, detail }
        }
        StockReserved::TYPE => {
            let reserved: StockReserved = envelope.open()?;
            let lines = reserved.lines.iter().map(reserved_line);
            Event::StockReserved {
                lines: lines.collect::<Result<_, _>>()?,
            }
        }
        StockRefused::TYPE => {
            let StockRefused { sku, code, detail } = envelope.open()?;
            let sku = sku.map(|sku| Sku::stored(&sku)).transpose();
            let sku = sku.map_err(|error| invalid("the refused item", error))?;
            Event::StockRefused { sku, code, detail }
        }
        StockReleased::TYPE => {
            envelope.open::<StockReleased>()?;
            Event::StockReleased
        }
        PaymentCharged::TYPE => {
            let charged: PaymentCharged = envelope.open()?;
            Event::PaymentCharged {
                amount: money(&charged.amount)?,
            }
        }
        PaymentDeclined::TYPE => {
            let PaymentDeclined { code, detail } = envelope.open()?;
            Event::PaymentDeclined { code, detail }
        }
        PaymentRefunded::TYPE => {
            let refunded: PaymentRefunded = envelope.open()?;
            Event::PaymentRefunded {
                refunded: refunded.refunded.as_ref().map(money).transpose()?,
            }
        }
        _ => return Err(envelope.unknown()),
    })
}

fn reserved_line(line: &LineReserved) -> Result<ReservedLine, Failure> {
    let of_line = |error| invalid("a reserved line", error);
    Ok(ReservedLine {
        sku: Sku::stored(&line.sku).map_err(of_line)?,
        name: line.name.clone(),
        quantity: Quantity::stored(line.quantity).map_err(of_line)?,
        unit_price: money(&line.unit_price)?,
    })
}

fn money(data: &MoneyData) -> Result<Money, Failure> {
    Money::stored(data.amount, &data.currency).map_err(|error| invalid("an amount", error))
}

fn invalid(part: &str, error: InvalidValue) -> Failure {
    Failure::unprocessable(format!("{part} {error}"))
}
