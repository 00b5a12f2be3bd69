//! A provider without a bank, for development and tests.
//!
//! It keeps its own ledger in the payments table, so that tests can count money independently of our
//! records. Under `pk = SIMULATOR#<key>` there is one row for a charge (`sk = CHARGE`) and one for a
//! refund (`sk = REFUND`). Rows never change. As with a real provider, a test token as the payment
//! method chooses the outcome:
//!
//! | token | outcome |
//! | --- | --- |
//! | `pm_card_visa` | pays |
//! | `pm_card_chargeDeclined` | declined with `card_declined` |
//! | `pm_card_chargeDeclinedInsufficientFunds` | declined with `insufficient_funds` |
//! | `pm_sim_lostReply` | pays, but the first answer is lost; the next call gets it |
//! | `pm_sim_slow` | pays, but the first answer takes longer than the timeout of a try |
//! | `pm_sim_unavailable` | fails every call: the outcome stays unknown, and nothing is charged |
//! | any other | declined with `invalid_payment_method` |
//!
//! Production declines every `pm_sim_` token with `fault_switches_refused`: it injects no faults.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared_lambda::table::{Table, Written};
use shared_lambda::{Error, Stage};

use super::{Provider, ProviderError, TRY_TIMEOUT};
use crate::domain::{Charge, ChargeKey, Decline, Money, PaymentId, RefundKey, Settlement};

/// The delay of the first answer to `pm_sim_slow`.
const SLOW: Duration = TRY_TIMEOUT.saturating_mul(5);

const CHARGE: &str = "CHARGE";
const REFUND: &str = "REFUND";
const READ: &str = "read the simulator's ledger";
const WRITE: &str = "write the simulator's ledger";

/// A payment's id is this prefix and the charge's key, which identifies its row.
const PAYMENT_ID_PREFIX: &str = "sim_";

/// The prefix of tokens that inject a fault.
const FAULTS: &str = "pm_sim_";

#[derive(Clone, Debug)]
pub struct Simulator {
    table: Table,
    stage: Stage,
}

/// The behaviour of a payment method.
enum Behaviour {
    Pays,
    Declines(&'static str, &'static str),
    LosesFirstAnswer,
    AnswersLate,
    Fails,
}

impl Behaviour {
    fn of(token: &str, stage: Stage) -> Self {
        match token {
            "pm_card_visa" => Self::Pays,
            "pm_card_chargeDeclined" => Self::Declines("card_declined", "the card was declined"),
            "pm_card_chargeDeclinedInsufficientFunds" => {
                Self::Declines("insufficient_funds", "the card has insufficient funds")
            }
            _ if token.starts_with(FAULTS) && !stage.allows_faults() => Self::Declines(
                "fault_switches_refused",
                "production does not accept pm_sim_ tokens; pm_card_visa pays",
            ),
            "pm_sim_lostReply" => Self::LosesFirstAnswer,
            "pm_sim_slow" => Self::AnswersLate,
            "pm_sim_unavailable" => Self::Fails,
            _ => Self::Declines(
                "invalid_payment_method",
                "the payment method is not known; pm_card_visa pays",
            ),
        }
    }
}

impl Provider for Simulator {
    async fn charge(&self, charge: &Charge) -> Result<Settlement, ProviderError> {
        let behaviour = Behaviour::of(charge.method.as_str(), self.stage);
        let outcome = match behaviour {
            Behaviour::Fails => return Err(unknown("pm_sim_unavailable makes the call fail")),
            Behaviour::Declines(code, detail) => OutcomeRow::Declined {
                code: code.to_owned(),
                detail: detail.to_owned(),
            },
            Behaviour::Pays | Behaviour::LosesFirstAnswer | Behaviour::AnswersLate => {
                OutcomeRow::Charged {
                    payment_id: format!("{PAYMENT_ID_PREFIX}{}", charge.key.as_str()),
                }
            }
        };
        let asked = AskedRow {
            amount: charge.amount.amount(),
            currency: charge.amount.currency().as_str().to_owned(),
            method: charge.method.as_str().to_owned(),
        };
        let row = ChargeRow {
            asked: Some(asked),
            outcome,
        };
        if let Some(known) = self.enter(charge.key.as_str(), CHARGE, &row).await? {
            let is_the_same = known.asked.is_none() || known.asked == row.asked;
            return if is_the_same {
                Ok(known.outcome.into())
            } else {
                Err(ProviderError::Refused(
                    "the key was used for another charge".to_owned(),
                ))
            };
        }
        match behaviour {
            Behaviour::LosesFirstAnswer => {
                return Err(unknown("pm_sim_lostReply loses the first answer"));
            }
            Behaviour::AnswersLate => tokio::time::sleep(SLOW).await,
            Behaviour::Pays | Behaviour::Declines(_, _) | Behaviour::Fails => {}
        }
        Ok(row.outcome.into())
    }

    async fn cancel(&self, key: &ChargeKey) -> Result<Settlement, ProviderError> {
        let tombstone = ChargeRow {
            asked: None,
            outcome: OutcomeRow::Cancelled,
        };
        let known = self.enter(key.as_str(), CHARGE, &tombstone).await?;
        Ok(known.unwrap_or(tombstone).outcome.into())
    }

    async fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> Result<(), ProviderError> {
        let row = RefundRow {
            payment_id: payment_id.0.clone(),
            amount: amount.amount(),
            currency: amount.currency().as_str().to_owned(),
        };
        let charge_key = payment_id.0.strip_prefix(PAYMENT_ID_PREFIX);
        let charge: Option<ChargeRow> = match charge_key {
            Some(charge_key) => self.find(charge_key, CHARGE).await?,
            None => None,
        };
        let covers_it = |charge: ChargeRow| {
            matches!(charge.outcome, OutcomeRow::Charged { .. })
                && charge.asked.is_some_and(|asked| {
                    asked.currency == row.currency && asked.amount >= row.amount
                })
        };
        if !charge.is_some_and(covers_it) {
            return Err(ProviderError::Refused(
                "no charge with this payment id covers the amount".to_owned(),
            ));
        }
        match self.enter(key.as_str(), REFUND, &row).await? {
            Some(known) if known != row => Err(ProviderError::Refused(
                "the key was used for another refund".to_owned(),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Simulator {
    pub fn new(client: Client, table: String, stage: Stage) -> Self {
        Self {
            table: Table::new(client, table),
            stage,
        }
    }

    /// Inserts a row for good, or returns the existing one.
    async fn enter<R>(
        &self,
        key: &str,
        kind: &'static str,
        row: &R,
    ) -> Result<Option<R>, ProviderError>
    where
        R: Serialize + DeserializeOwned,
    {
        let entry = Entry {
            pk: partition_key(key),
            sk: kind,
            row,
        };
        match self.table.insert(WRITE, &entry).await.map_err(unknown)? {
            Written::Done => Ok(None),
            Written::Overtaken | Written::Contended => {
                let known = self.find(key, kind).await?;
                known
                    .map(Some)
                    .ok_or_else(|| unknown("a row of the ledger has disappeared"))
            }
        }
    }

    async fn find<R: DeserializeOwned>(
        &self,
        key: &str,
        kind: &'static str,
    ) -> Result<Option<R>, ProviderError> {
        let found = self.table.get(READ, &partition_key(key), kind, Ok).await;
        found.map_err(unknown)
    }
}

fn unknown(cause: impl Into<Error>) -> ProviderError {
    ProviderError::Unknown(cause.into())
}

fn partition_key(key: &str) -> String {
    format!("SIMULATOR#{key}")
}

#[derive(Serialize)]
struct Entry<'a, R> {
    pk: String,
    sk: &'a str,
    #[serde(flatten)]
    row: &'a R,
}

#[derive(Serialize, Deserialize)]
struct ChargeRow {
    /// Absent if the charge was cancelled before it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<AskedRow>,
    #[serde(flatten)]
    outcome: OutcomeRow,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct AskedRow {
    amount: i64,
    currency: String,
    method: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE")]
enum OutcomeRow {
    Charged { payment_id: String },
    Declined { code: String, detail: String },
    Cancelled,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct RefundRow {
    payment_id: String,
    amount: i64,
    currency: String,
}

impl From<OutcomeRow> for Settlement {
    fn from(outcome: OutcomeRow) -> Self {
        match outcome {
            OutcomeRow::Charged { payment_id } => Self::Charged(PaymentId(payment_id)),
            OutcomeRow::Declined { code, detail } => Self::Declined(Decline { code, detail }),
            OutcomeRow::Cancelled => Self::Cancelled,
        }
    }
}
