//! The users table: its rows, reads and writes.
//!
//! | pk | sk | |
//! | --- | --- | --- |
//! | `EMAIL#<address>` | `EMAIL` | the credential: the user's id and the password's hash |
//! | `USER#<id>` | `USER` | the profile, role and status |
//! | `SESSION#<id>` | `SESSION` | a login on a device: the hash of its refresh token |
//! | `ATTEMPTS#<subject>` | `ATTEMPTS` | counted attempts and known sources |
//!
//! DynamoDB removes rows of the last two kinds after their `expires_at`.
//!
//! The first row makes an address unique. It also holds the hash. A login therefore reads exactly one
//! row, for known and unknown addresses alike. Only login and password change read hashes.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::from_item;
use shared_lambda::Error;
use shared_lambda::table::{
    Row, Table, TableError, condition_failed, key, millis, number, parsed, text, to_row,
};
use uuid::Uuid;

use crate::domain::{Email, KeyedRegistration, Role, Status, User, UserName};
use crate::migrations::SCHEMAS;
use crate::passwords::HashedPassword;

mod attempts;
mod changes;
mod directory;
mod sessions;

pub use attempts::{Account, Counted, Counter, Receipt, Source};
pub use changes::{Administered, Changed, Renamed};
pub use directory::UserPage;

const EMAIL: &str = "EMAIL";
const USER: &str = "USER";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Done,
    EmailTaken,
}

/// The row that a login checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub user_id: Uuid,
    pub password: HashedPassword,
    /// The user's generation when the hash was read. A session from this login belongs to it.
    pub generation: u64,
    /// None if the registration had no key.
    pub registration: Option<KeyedRegistration>,
}

/// The service's table.
#[derive(Clone, Debug)]
pub struct UserStore {
    table: Table,
}

impl UserStore {
    pub fn new(client: Client, table: String) -> Self {
        Self {
            table: Table::new(client, table),
        }
    }

    /// Adds a user whose address is free. Writes both rows or neither, and overwrites no row.
    pub async fn register(
        &self,
        user: &User,
        password: &HashedPassword,
        keyed: Option<KeyedRegistration>,
    ) -> Result<Registered, TableError> {
        const OPERATION: &str = "register a user";
        let email_row = to_row(OPERATION, &EmailRow::new(user, password, keyed))?;
        let user_row = to_row(OPERATION, &UserRow::new(user))?;
        let writes = vec![
            self.put_new(OPERATION, email_row)?,
            self.put_new(OPERATION, user_row)?,
        ];
        let Some(reasons) = self.transact(OPERATION, writes, user.id).await? else {
            return Ok(Registered::Done);
        };
        match reasons.first().filter(|email| condition_failed(email)) {
            // An earlier try may have taken effect without an answer.
            Some(email) if holder(email) == Some(user.id) => Ok(Registered::Done),
            Some(_) => Ok(Registered::EmailTaken),
            None => Err(TableError::corrupt(
                OPERATION,
                format!("the new id {} already belongs to a user", user.id),
            )),
        }
    }

    fn put_new(&self, operation: &'static str, row: Row) -> Result<TransactWriteItem, TableError> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        let put = parsed(operation, put)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    pub async fn credential(&self, email: &Email) -> Result<Option<Credential>, TableError> {
        const OPERATION: &str = "read a credential";
        let row = self.get(OPERATION, &email_pk(email), EMAIL).await?;
        Ok(row.map(|row: EmailRow| Credential {
            user_id: row.user_id,
            password: HashedPassword::from_record(row.password_hash),
            generation: row.generation,
            registration: row
                .registration_key
                .zip(row.registration_name)
                .map(|(key, name)| KeyedRegistration { key, name }),
        }))
    }

    pub async fn user(&self, id: Uuid) -> Result<Option<User>, TableError> {
        const OPERATION: &str = "read a user";
        let pk = user_pk(id);
        self.table.get(OPERATION, &pk, USER, UserRow::parse).await
    }

    /// Reads the current row under a secret key, such as an e-mail address or a session's id. Its
    /// errors do not name the key, in contrast to those of [`Table::get`].
    async fn get<R: DeserializeOwned>(
        &self,
        operation: &'static str,
        pk: &str,
        sk: &str,
    ) -> Result<Option<R>, TableError> {
        let read = self.table.client.get_item().table_name(&self.table.name);
        let read = read.set_key(Some(key(pk, sk))).consistent_read(true);
        let answer = read.send().await;
        let answer = answer.map_err(|error| TableError::new(operation, error))?;
        answer
            .item
            .map(|row| parsed(operation, from_item(row)))
            .transpose()
    }
}

#[derive(Serialize, Deserialize)]
struct EmailRow {
    pk: String,
    sk: String,
    /// Not read yet, so rows without it are valid.
    #[serde(default)]
    schema: u32,
    user_id: Uuid,
    /// A PHC string.
    password_hash: String,
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration_key: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration_name: Option<Uuid>,
}

impl EmailRow {
    fn new(user: &User, password: &HashedPassword, keyed: Option<KeyedRegistration>) -> Self {
        Self {
            pk: email_pk(&user.email),
            sk: EMAIL.to_owned(),
            schema: SCHEMAS.writes,
            user_id: user.id,
            password_hash: password.as_str().to_owned(),
            generation: user.generation,
            registration_key: keyed.map(|keyed| keyed.key),
            registration_name: keyed.map(|keyed| keyed.name),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct UserRow {
    pk: String,
    sk: String,
    #[serde(default)]
    schema: u32,
    id: Uuid,
    email: String,
    name: String,
    role: String,
    status: String,
    created_at: String,
    generation: u64,
}

impl UserRow {
    fn new(user: &User) -> Self {
        Self {
            pk: user_pk(user.id),
            sk: USER.to_owned(),
            schema: SCHEMAS.writes,
            id: user.id,
            email: user.email.as_str().to_owned(),
            name: user.name.as_str().to_owned(),
            role: user.role.as_str().to_owned(),
            status: user.status.as_str().to_owned(),
            created_at: millis(user.created_at),
            generation: user.generation,
        }
    }

    fn parse(self) -> Result<User, Error> {
        Ok(User {
            id: self.id,
            email: Email::from_record(self.email),
            name: UserName::from_record(self.name),
            role: Role::parse(&self.role)?,
            status: Status::parse(&self.status)?,
            created_at: self.created_at.parse::<Timestamp>()?,
            generation: self.generation,
        })
    }
}

fn email_pk(email: &Email) -> String {
    format!("EMAIL#{email}")
}

fn user_pk(id: Uuid) -> String {
    format!("USER#{id}")
}

/// The owner of an address, from the row that failed the condition.
fn holder(email: &CancellationReason) -> Option<Uuid> {
    let user_id = email.item()?.get("user_id")?.as_s().ok()?;
    Uuid::try_parse(user_id).ok()
}

/// Whether a row has changed since it was read, or a transaction is changing it.
fn is_overtaken(error: &impl ProvideErrorMetadata) -> bool {
    matches!(
        error.code(),
        Some("ConditionalCheckFailedException" | "TransactionConflictException")
    )
}
