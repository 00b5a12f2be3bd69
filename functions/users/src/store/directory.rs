//! Users as administrators browse them: the index `by_status`, whose keys every user's row has
//! anyway. What is read there may be some moments old.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use serde_dynamo::aws_sdk_dynamodb_1::from_items;
use shared_lambda::table::TableError;
use uuid::Uuid;

use super::{UserRow, UserStore, parsed, text};
use crate::domain::{Status, User};

const BY_STATUS_INDEX: &str = "by_status";

/// Some users, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    pub users: Vec<User>,
    /// The id before which the next page begins, where there is a next page.
    pub next: Option<Uuid>,
}

impl UserStore {
    /// Users of one status or of all, those registered before `before`.
    pub async fn page(
        &self,
        status: Option<Status>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<UserPage, TableError> {
        let mut users = match status {
            Some(status) => self.of_status(status, before, limit).await?,
            None => {
                let (active, deactivated) = tokio::try_join!(
                    self.of_status(Status::Active, before, limit),
                    self.of_status(Status::Deactivated, before, limit),
                )?;
                [active, deactivated].concat()
            }
        };
        // An id is a UUIDv7: the order of ids is that of registration. Somebody whose status is
        // changing just now may be found under both.
        users.sort_by_key(|user| std::cmp::Reverse(user.id));
        users.dedup_by_key(|user| user.id);
        let more = users.len() > limit;
        users.truncate(limit);
        let next = users.last().filter(|_| more).map(|user| user.id);
        Ok(UserPage { users, next })
    }

    /// One more than asked for, which tells whether there are more.
    async fn of_status(
        &self,
        status: Status,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<User>, TableError> {
        const OPERATION: &str = "list users";
        let answer = self
            .by_status(status, before)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        let rows: Vec<UserRow> = parsed(OPERATION, from_items(answer.items.unwrap_or_default()))?;
        rows.into_iter().map(|row| row.parse(OPERATION)).collect()
    }

    fn by_status(&self, status: Status, before: Option<Uuid>) -> QueryFluentBuilder {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_STATUS_INDEX)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(status.as_str()))
            .scan_index_forward(false);
        match before {
            None => query.key_condition_expression("#status = :status"),
            Some(before) => query
                .key_condition_expression("#status = :status AND id < :before")
                .expression_attribute_values(":before", text(&before.to_string())),
        }
    }
}
