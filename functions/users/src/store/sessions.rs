//! Sessions: one row for each family of refresh tokens. Ending a session deletes its row.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::Error;
use shared_lambda::table::TableError;
use uuid::Uuid;

use super::{Changed, UserStore, is_overtaken, key, millis, number, parsed, text, to_row};
use crate::domain::{Retired, Seed, Session, SessionId, TokenHash};
use crate::migrations::SCHEMAS;

pub(super) const SESSION: &str = "SESSION";

impl UserStore {
    pub async fn start_session(&self, session: &Session) -> Result<(), TableError> {
        const OPERATION: &str = "start a session";
        // No condition: the id is random, and a retry by the SDK must succeed.
        self.table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(to_row(OPERATION, &SessionRow::new(session))?))
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        Ok(())
    }

    /// `None` where the session has ended.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, TableError> {
        const OPERATION: &str = "read a session";
        let row: Option<SessionRow> = self.get(OPERATION, &session_pk(id), SESSION).await?;
        row.map(|row| parsed(OPERATION, row.parse())).transpose()
    }

    /// Exchanges the current token. Of parallel exchanges one succeeds.
    pub async fn rotate_session(
        &self,
        before: &Session,
        after: &Session,
    ) -> Result<Changed, TableError> {
        const OPERATION: &str = "rotate a refresh token";
        let was = SessionRow::new(before);
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(to_row(OPERATION, &SessionRow::new(after))?))
            .condition_expression("current_hash = :hash AND generation = :generation")
            .expression_attribute_values(":hash", text(&was.current_hash))
            .expression_attribute_values(":generation", number(was.generation))
            .send()
            .await;
        match put {
            Ok(_) => Ok(Changed::Done),
            Err(error) if is_overtaken(&error) => Ok(Changed::Overtaken),
            Err(error) => Err(TableError::new(OPERATION, error)),
        }
    }

    /// Ends a session unless it has changed since it was read, for example by a password change
    /// that keeps it. Succeeds where it has ended already.
    pub async fn end_session(&self, read: &Session) -> Result<Changed, TableError> {
        let deleted = self
            .table
            .client
            .delete_item()
            .table_name(&self.table.name)
            .set_key(Some(key(&session_pk(read.id), SESSION)))
            .condition_expression(
                "attribute_not_exists(pk) OR (current_hash = :hash AND generation = :generation)",
            )
            .expression_attribute_values(":hash", text(&encode(&read.current.0)))
            .expression_attribute_values(":generation", number(read.generation))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(Changed::Done),
            Err(error) if is_overtaken(&error) => Ok(Changed::Overtaken),
            Err(error) => Err(TableError::new("end a session", error)),
        }
    }
}

pub(super) fn session_pk(id: SessionId) -> String {
    format!("SESSION#{}", id.0)
}

pub(super) fn encode(bytes: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[derive(Serialize, Deserialize)]
struct SessionRow {
    pk: String,
    sk: String,
    #[serde(default)]
    schema: u32,
    session_id: Uuid,
    user_id: Uuid,
    generation: u64,
    current_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired: Option<RetiredRow>,
    started_at: String,
    refreshed_at: String,
    /// Seconds since 1970. DynamoDB removes the row some time later; no code relies on that.
    #[serde(default)]
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct RetiredRow {
    hash: String,
    at: String,
    seed: String,
}

impl SessionRow {
    fn new(session: &Session) -> Self {
        Self {
            pk: session_pk(session.id),
            sk: SESSION.to_owned(),
            schema: SCHEMAS.writes,
            session_id: session.id.0,
            user_id: session.user_id,
            generation: session.generation,
            current_hash: encode(&session.current.0),
            retired: session.retired.as_ref().map(|retired| RetiredRow {
                hash: encode(&retired.hash.0),
                at: millis(retired.at),
                seed: encode(&retired.seed.0),
            }),
            started_at: millis(session.started_at),
            refreshed_at: millis(session.refreshed_at),
            expires_at: session.expires_at().as_second(),
        }
    }

    fn parse(self) -> Result<Session, Error> {
        let retired = match self.retired {
            None => None,
            Some(retired) => Some(Retired {
                hash: TokenHash(decode(&retired.hash)?),
                at: retired.at.parse::<Timestamp>()?,
                seed: Seed(decode(&retired.seed)?),
            }),
        };
        Ok(Session {
            id: SessionId(self.session_id),
            user_id: self.user_id,
            generation: self.generation,
            current: TokenHash(decode(&self.current_hash)?),
            retired,
            started_at: self.started_at.parse::<Timestamp>()?,
            refreshed_at: self.refreshed_at.parse::<Timestamp>()?,
        })
    }
}

fn decode(text: &str) -> Result<[u8; 32], Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text)?;
    bytes
        .try_into()
        .map_err(|_| Error::from("a hash or seed is not 32 bytes long"))
}
