//! The payments table's records: `pk = ORDER#<order id>`, `sk = PAYMENT`.
//!
//! Every write is conditional: the first requires that there is no record, each later one requires
//! the previous version. Records are never deleted.

use aws_sdk_dynamodb::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::Error;
use shared_lambda::table::{Table, TableError, millis, number, to_row, written};
use uuid::Uuid;

use crate::domain::{
    Charge, ChargeKey, Decline, Money, OrderId, Payment, PaymentId, PaymentMethod, PaymentState,
    UserId,
};
use crate::migrations::SCHEMAS;

pub use shared_lambda::table::Written;

const SORT_KEY: &str = "PAYMENT";
const WRITE: &str = "write a payment";

#[derive(Clone, Debug)]
pub struct PaymentStore {
    table: Table,
}

impl PaymentStore {
    pub fn new(client: Client, table: String) -> Self {
        Self {
            table: Table::new(client, table),
        }
    }

    /// Reads the current payment.
    pub async fn find(&self, order_id: OrderId) -> Result<Option<Payment>, TableError> {
        let parse = |row: Row| row.into_payment(order_id);
        self.table
            .get("read a payment", &partition_key(order_id), SORT_KEY, parse)
            .await
    }

    /// Writes an order's first record. Of concurrent writes, one is [`Written::Done`].
    pub async fn insert(&self, payment: &Payment) -> Result<Written, TableError> {
        self.table.insert(WRITE, &Row::from(payment)).await
    }

    /// Replaces the previous version, and no other.
    pub async fn replace(&self, payment: &Payment) -> Result<Written, TableError> {
        let put = self.table.client.put_item().table_name(&self.table.name);
        let put = put
            .set_item(Some(to_row(WRITE, &Row::from(payment))?))
            .condition_expression("#version = :followed")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":followed", number(payment.version - 1));
        written(WRITE, put.send().await)
    }
}

fn partition_key(order_id: OrderId) -> String {
    format!("ORDER#{}", order_id.0)
}

/// Attributes that no reader needs are not read, so that a row without them stays readable.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(skip_deserializing)]
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    version: u64,
    user_id: Uuid,
    #[serde(flatten)]
    state: StateRow,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
enum StateRow {
    Charging {
        charge: ChargeRow,
    },
    Charged {
        charge: ChargeRow,
        payment_id: String,
    },
    Declined {
        charge: ChargeRow,
        decline: DeclineRow,
    },
    Refunding {
        charge: ChargeRow,
        payment_id: String,
    },
    Refunded {
        charge: ChargeRow,
        payment_id: String,
    },
    Voided {
        #[serde(skip_serializing_if = "Option::is_none")]
        charge: Option<ChargeRow>,
    },
}

#[derive(Serialize, Deserialize)]
struct ChargeRow {
    key: String,
    amount: i64,
    currency: String,
    method: String,
}

#[derive(Serialize, Deserialize)]
struct DeclineRow {
    code: String,
    detail: String,
}

impl From<&Payment> for Row {
    fn from(payment: &Payment) -> Self {
        Self {
            pk: partition_key(payment.order_id),
            sk: SORT_KEY.to_owned(),
            schema: SCHEMAS.writes,
            version: payment.version,
            user_id: payment.user_id.0,
            state: StateRow::from(&payment.state),
            created_at: millis(payment.created_at),
            updated_at: millis(payment.updated_at),
        }
    }
}

impl Row {
    fn into_payment(self, order_id: OrderId) -> Result<Payment, Error> {
        Ok(Payment {
            order_id,
            user_id: UserId(self.user_id),
            state: self.state.into_state()?,
            version: self.version,
            created_at: self.created_at.parse::<Timestamp>()?,
            updated_at: self.updated_at.parse::<Timestamp>()?,
        })
    }
}

impl From<&PaymentState> for StateRow {
    fn from(state: &PaymentState) -> Self {
        match state {
            PaymentState::Charging(charge) => Self::Charging {
                charge: charge.into(),
            },
            PaymentState::Charged(charge, payment_id) => Self::Charged {
                charge: charge.into(),
                payment_id: payment_id.0.clone(),
            },
            PaymentState::Declined(charge, decline) => Self::Declined {
                charge: charge.into(),
                decline: DeclineRow {
                    code: decline.code.clone(),
                    detail: decline.detail.clone(),
                },
            },
            PaymentState::Refunding(charge, payment_id) => Self::Refunding {
                charge: charge.into(),
                payment_id: payment_id.0.clone(),
            },
            PaymentState::Refunded(charge, payment_id) => Self::Refunded {
                charge: charge.into(),
                payment_id: payment_id.0.clone(),
            },
            PaymentState::Voided(charge) => Self::Voided {
                charge: charge.as_ref().map(ChargeRow::from),
            },
        }
    }
}

impl StateRow {
    fn into_state(self) -> Result<PaymentState, Error> {
        Ok(match self {
            Self::Charging { charge } => PaymentState::Charging(charge.into_charge()?),
            Self::Charged { charge, payment_id } => {
                PaymentState::Charged(charge.into_charge()?, PaymentId(payment_id))
            }
            Self::Declined { charge, decline } => {
                let DeclineRow { code, detail } = decline;
                let decline = Decline { code, detail }.printable();
                PaymentState::Declined(charge.into_charge()?, decline)
            }
            Self::Refunding { charge, payment_id } => {
                PaymentState::Refunding(charge.into_charge()?, PaymentId(payment_id))
            }
            Self::Refunded { charge, payment_id } => {
                PaymentState::Refunded(charge.into_charge()?, PaymentId(payment_id))
            }
            Self::Voided { charge } => {
                PaymentState::Voided(charge.map(ChargeRow::into_charge).transpose()?)
            }
        })
    }
}

impl From<&Charge> for ChargeRow {
    fn from(charge: &Charge) -> Self {
        Self {
            key: charge.key.as_str().to_owned(),
            amount: charge.amount.amount(),
            currency: charge.amount.currency().as_str().to_owned(),
            method: charge.method.as_str().to_owned(),
        }
    }
}

impl ChargeRow {
    fn into_charge(self) -> Result<Charge, Error> {
        Ok(Charge {
            key: ChargeKey::from_stored(self.key),
            amount: Money::stored(self.amount, &self.currency)?,
            method: PaymentMethod::stored(&self.method)?,
        })
    }
}
