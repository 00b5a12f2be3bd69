//! The list of users for administrators, from the index `by_status`. The index lags behind the table.
//! The list skips rows that cannot be read.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use shared_lambda::table::{Row, TableError, read_row, read_rows};

use super::{UserRow, UserStore, text};
use crate::domain::{Status, User};

const OPERATION: &str = "list users";

const BY_STATUS_INDEX: &str = "by_status";

/// A page of users, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    pub users: Vec<User>,
    /// The next page begins before this id; `None` on the last page.
    pub next: Option<String>,
}

impl UserStore {
    /// Users with one status or with any, registered before `before`.
    pub async fn page(
        &self,
        status: Option<Status>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<UserPage, TableError> {
        let mut rows = match status {
            Some(status) => self.with_status(status, before, limit).await?,
            None => {
                let (active, deactivated) = tokio::try_join!(
                    self.with_status(Status::Active, before, limit),
                    self.with_status(Status::Deactivated, before, limit),
                )?;
                [active, deactivated].concat()
            }
        };
        // Ids are UUIDv7, so they sort by time of registration. A user may appear under both
        // statuses while the status changes. Pages count rows, not users: otherwise an unreadable
        // row would end the list early.
        rows.sort_by_key(|row| std::cmp::Reverse(id(row)));
        rows.dedup_by_key(|row| id(row));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(id);
        let read = |row| read_row(OPERATION, row, UserRow::parse);
        let read = read_rows(&self.table.name, rows, read);
        Ok(UserPage {
            users: read.readable,
            next,
        })
    }

    /// Reads one row more than the page has, to see whether there is a next page.
    async fn with_status(
        &self,
        status: Status,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, TableError> {
        let answer = self
            .by_status(status, before)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        Ok(answer.items.unwrap_or_default())
    }

    fn by_status(&self, status: Status, before: Option<&str>) -> QueryFluentBuilder {
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(BY_STATUS_INDEX)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(status.as_str()))
            .scan_index_forward(false);
        match before {
            None => query.key_condition_expression("#status = :status"),
            Some(before) => query
                .key_condition_expression("#status = :status AND id < :before")
                .expression_attribute_values(":before", text(before)),
        }
    }
}

/// The row's sort key in the index.
fn id(row: &Row) -> String {
    let id = row.get("id").and_then(|id| id.as_s().ok());
    id.cloned().unwrap_or_default()
}
