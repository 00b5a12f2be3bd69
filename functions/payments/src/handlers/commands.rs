//! The queue `payments-commands`: `ChargePayment` and `RefundPayment`.
//!
//! The handler reads the order's record, decides the next step of the command, and takes it. It repeats
//! this until the step is an answer. It writes the record before or after each step. A crash or a
//! concurrent handler therefore leaves a record with a correct next step.

use jiff::Timestamp;
use shared_lambda::contention::Tries;
use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, Stage};

use crate::domain::{
    Charge, Command, Decision, OrderId, Payment, Reply, Settlement, Settling, decide, printable,
    settle,
};
use crate::messages;
use crate::provider::{Kind, Provider, ProviderError, Simulator, ask};
use crate::store::{PaymentStore, Written};

pub struct Commands<P> {
    pub store: PaymentStore,
    pub provider: P,
    pub replies_queue_url: String,
}

pub fn wire(setup: &Setup) -> Result<Commands<Simulator>, Error> {
    let table = setup.env("PAYMENTS_TABLE")?;
    let stage = Stage::parse(&setup.env("STAGE")?)?;
    let simulator_in_production = setup.env("SIMULATOR_IN_PRODUCTION")?;
    let provider = match Kind::choose(
        &setup.env("PAYMENT_PROVIDER")?,
        stage,
        &simulator_in_production,
    )? {
        Kind::Simulator => Simulator::new(setup.dynamodb(), table.clone(), stage),
    };
    Ok(Commands {
        store: PaymentStore::new(setup.dynamodb(), table),
        provider,
        replies_queue_url: setup.env("ORDERS_REPLIES_QUEUE_URL")?,
    })
}

pub async fn handle(
    commands: &Commands<impl Provider>,
    context: Context,
    envelope: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let Commands {
        store,
        provider,
        replies_queue_url,
    } = commands;
    let command = messages::command(&envelope)?;
    let order_id = OrderId(envelope.subject);
    let records = Records {
        store,
        order_id,
        tries: Tries::new(context.fresh_id),
    };
    let reply = carry_out(records, provider, &command, context.now).await?;
    let outgoing = messages::reply(replies_queue_url, order_id, &reply, &context);
    Ok(vec![outgoing])
}

async fn carry_out(
    mut records: Records<'_>,
    provider: &impl Provider,
    command: &Command,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let order_id = records.order_id;
    let mut payment = match command.skips_read() {
        true => None,
        false => records.store.find(order_id).await?,
    };
    // The loop ends: a payment only moves forward, and the retries are bounded.
    loop {
        payment = match decide(order_id, payment.as_ref(), command, now) {
            Decision::Begin(first) => {
                let written = records.store.insert(&first).await?;
                records.after(written, first).await?
            }
            Decision::Advance(next) => records.replace(next).await?,
            Decision::AskToCharge(charge) => {
                let settlement = ask(|| provider.charge(&charge)).await?;
                record(&mut records, payment, &charge, &settlement, now).await?
            }
            Decision::AskToCancel(charge) => {
                let settlement = ask(|| provider.cancel(&charge.key)).await?;
                record(&mut records, payment, &charge, &settlement, now).await?
            }
            Decision::AskToRefund {
                charge,
                payment_id,
                done,
            } => {
                let key = charge.key.refund();
                ask(|| provider.refund(&key, &payment_id, charge.amount)).await?;
                records.replace(done).await?
            }
            Decision::Answer(reply) => return Ok(reply),
            Decision::Refuse(refusal) => return Err(Failure::unprocessable(refusal.to_string())),
        };
    }
}

/// Writes the provider's settlement to the record, which may have changed in the meantime.
async fn record(
    records: &mut Records<'_>,
    mut payment: Option<Payment>,
    charge: &Charge,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Option<Payment>, Failure> {
    while let Some(known) = &payment {
        let next = match settle(known, charge, settlement, now) {
            Settling::Known => break,
            Settling::Advance(next) => next,
            Settling::GiveBack(next) => {
                tracing::error!(
                    order = %records.order_id.0,
                    charge_key = charge.key.as_str(),
                    amount = %charge.amount,
                    "the provider made a charge that payments had voided or declined; payments refunds it"
                );
                next
            }
            Settling::Contradiction => {
                return Err(Failure::unprocessable(
                    "the payment provider contradicts the charge that it had confirmed; compare the \
                     provider's charges with the order's payment",
                ));
            }
        };
        payment = records.replace(next).await?;
    }
    Ok(payment)
}

/// An order's record, with the retries left for contended writes.
struct Records<'a> {
    store: &'a PaymentStore,
    order_id: OrderId,
    tries: Tries,
}

impl Records<'_> {
    /// Writes the next version. Returns the current payment, ours or another writer's.
    async fn replace(&mut self, next: Payment) -> Result<Option<Payment>, TableError> {
        let written = self.store.replace(&next).await?;
        self.after(written, next).await
    }

    async fn after(
        &mut self,
        written: Written,
        ours: Payment,
    ) -> Result<Option<Payment>, TableError> {
        match written {
            Written::Done => Ok(Some(ours)),
            Written::Overtaken | Written::Contended if self.tries.next().await => {
                self.store.find(self.order_id).await
            }
            Written::Overtaken | Written::Contended => {
                Err(TableError::contended("carry out a payment command"))
            }
        }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unknown(_) => Failure::retry("the outcome is not known yet", error),
            ProviderError::Refused(_) => Failure::unprocessable(printable(&error.to_string())),
        }
    }
}
