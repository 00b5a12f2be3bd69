//! Changes of a user. Each writes all its rows in one transaction.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use shared_lambda::contention::Tries;
use shared_lambda::table::{
    TableError, cancellation_reasons, condition_failed, read_row, was_contended,
};
use uuid::Uuid;

use super::sessions::{SESSION, encode, session_pk};
use super::{
    EMAIL, USER, UserRow, UserStore, email_pk, is_overtaken, key, number, parsed, text, user_pk,
};
use crate::domain::{Role, Session, Status, User, UserName};
use crate::passwords::HashedPassword;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renamed {
    Done(User),
    /// The user is no longer the one that the change was bound to.
    Overtaken,
    Deactivated,
    NoSuchUser,
}

/// The outcome of a conditional change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// A row has changed since it was read: read again and decide again.
    Overtaken,
}

/// The outcome of an administrator's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Administered {
    Done,
    /// The user has changed since it was read: read again and decide again.
    Overtaken,
    /// The caller is no longer an active administrator, although their token says so.
    NotAnAdministrator,
}

impl UserStore {
    /// Renames an active user, only if the user is still `before` where that is given.
    pub async fn rename(
        &self,
        id: Uuid,
        name: &UserName,
        before: Option<&User>,
        call: Uuid,
    ) -> Result<Renamed, TableError> {
        const OPERATION: &str = "rename a user";
        let mut tries = Tries::new(call);
        while tries.next().await {
            let mut update = self
                .table
                .client
                .update_item()
                .table_name(&self.table.name)
                .set_key(Some(key(&user_pk(id), USER)))
                .update_expression("SET #name = :name")
                .condition_expression(match before {
                    None => "#status = :active",
                    // The other attributes of an answer never change.
                    Some(_) => "#status = :active AND #name = :was_name AND #role = :was_role",
                })
                .expression_attribute_names("#name", "name")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":name", text(name.as_str()))
                .expression_attribute_values(":active", text(Status::Active.as_str()))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            if let Some(user) = before {
                update = update
                    .expression_attribute_names("#role", "role")
                    .expression_attribute_values(":was_name", text(user.name.as_str()))
                    .expression_attribute_values(":was_role", text(user.role.as_str()));
            }
            let error = match update.send().await {
                Ok(answer) => {
                    let row = answer.attributes.unwrap_or_default();
                    return read_row(OPERATION, row, UserRow::parse).map(Renamed::Done);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let Some(row) = refused.item() else {
                        return Ok(Renamed::NoSuchUser);
                    };
                    let is = read_row(OPERATION, row.clone(), UserRow::parse)?;
                    return Ok(match is.status {
                        Status::Deactivated => Renamed::Deactivated,
                        // An earlier try may have taken effect without an answer (RFC 9110 §13.1.1).
                        Status::Active if is.name == *name => Renamed::Done(is),
                        Status::Active => Renamed::Overtaken,
                    });
                }
                Some(UpdateItemError::TransactionConflictException(_)) => {}
                _ => return Err(TableError::new(OPERATION, error)),
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Changes an active user's password and ends all sessions except `kept`, in one transaction.
    pub async fn change_password(
        &self,
        user: &User,
        before: &HashedPassword,
        after: &HashedPassword,
        kept: Option<&Session>,
        call: Uuid,
    ) -> Result<Changed, TableError> {
        const OPERATION: &str = "change a password";
        let generation = user.generation + 1;
        let credential = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(&email_pk(&user.email), EMAIL)))
            .update_expression("SET password_hash = :after, generation = :generation")
            .condition_expression("password_hash = :before")
            .expression_attribute_values(":before", text(before.as_str()))
            .expression_attribute_values(":after", text(after.as_str()))
            .expression_attribute_values(":generation", number(generation))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        let profile = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(&user_pk(user.id), USER)))
            .update_expression("SET generation = :generation")
            // The user's sessions have not been ended since the user was read.
            .condition_expression("#status = :active AND generation = :was")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", text(Status::Active.as_str()))
            .expression_attribute_values(":was", number(user.generation))
            .expression_attribute_values(":generation", number(generation))
            .build();
        let mut writes = vec![update(OPERATION, credential)?, update(OPERATION, profile)?];
        if let Some(session) = kept {
            let session = Update::builder()
                .table_name(&self.table.name)
                .set_key(Some(key(&session_pk(session.id), SESSION)))
                .update_expression("SET generation = :generation")
                .condition_expression("current_hash = :hash AND generation = :was")
                .expression_attribute_values(":hash", text(&encode(&session.current.0)))
                .expression_attribute_values(":was", number(user.generation))
                .expression_attribute_values(":generation", number(generation))
                .build();
            writes.push(update(OPERATION, session)?);
        }
        let Some(reasons) = self.transact(OPERATION, writes, call).await? else {
            return Ok(Changed::Done);
        };
        // An earlier try may have taken effect without an answer: every hash is unique.
        let is_done = reasons.first().and_then(|reason| {
            let hash = reason.item()?.get("password_hash")?.as_s().ok()?;
            Some(hash == after.as_str())
        });
        Ok(match is_done {
            Some(true) => Changed::Done,
            Some(false) | None => Changed::Overtaken,
        })
    }

    /// Replaces a password's hash by one with today's parameters, unless it has changed meanwhile.
    pub async fn replace_hash(
        &self,
        user: &User,
        before: &HashedPassword,
        after: &HashedPassword,
    ) -> Result<(), TableError> {
        let updated = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key(&email_pk(&user.email), EMAIL)))
            .update_expression("SET password_hash = :after")
            .condition_expression("password_hash = :before")
            .expression_attribute_values(":before", text(before.as_str()))
            .expression_attribute_values(":after", text(after.as_str()))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(()),
            // A password change is under way, and it writes a new hash too.
            Err(error) if is_overtaken(&error) => Ok(()),
            Err(error) => Err(TableError::new("replace a password's hash", error)),
        }
    }

    /// Changes a user's status or role on behalf of `by`, another user. The transaction checks that
    /// `by` is an active administrator, so two administrators cannot demote each other.
    pub async fn administer(
        &self,
        before: &User,
        after: &User,
        by: Uuid,
        call: Uuid,
    ) -> Result<Administered, TableError> {
        const OPERATION: &str = "change a user's status or role";
        let profile = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(&user_pk(before.id), USER)))
            .update_expression("SET #status = :status, #role = :role, generation = :generation")
            .condition_expression(
                "#name = :was_name AND #status = :was_status AND #role = :was_role AND generation = :was",
            )
            .expression_attribute_names("#name", "name")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#role", "role")
            .expression_attribute_values(":was_name", text(before.name.as_str()))
            .expression_attribute_values(":was_status", text(before.status.as_str()))
            .expression_attribute_values(":was_role", text(before.role.as_str()))
            .expression_attribute_values(":was", number(before.generation))
            .expression_attribute_values(":status", text(after.status.as_str()))
            .expression_attribute_values(":role", text(after.role.as_str()))
            .expression_attribute_values(":generation", number(after.generation))
            .build();
        let admin_check = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(&user_pk(by), USER)))
            .condition_expression("#status = :active AND #role = :admin")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#role", "role")
            .expression_attribute_values(":active", text(Status::Active.as_str()))
            .expression_attribute_values(":admin", text(Role::Admin.as_str()))
            .build();
        let admin_check = TransactWriteItem::builder()
            .condition_check(parsed(OPERATION, admin_check)?)
            .build();
        let mut writes = vec![admin_check, update(OPERATION, profile)?];
        if before.generation != after.generation {
            // A login under way starts its session with the generation that it read here.
            let credential = Update::builder()
                .table_name(&self.table.name)
                .set_key(Some(key(&email_pk(&before.email), EMAIL)))
                .update_expression("SET generation = :generation")
                .condition_expression("user_id = :user")
                .expression_attribute_values(":user", text(&before.id.to_string()))
                .expression_attribute_values(":generation", number(after.generation))
                .build();
            writes.push(update(OPERATION, credential)?);
        }
        Ok(match self.transact(OPERATION, writes, call).await? {
            None => Administered::Done,
            Some(reasons) if reasons.first().is_some_and(condition_failed) => {
                Administered::NotAnAdministrator
            }
            Some(_) => Administered::Overtaken,
        })
    }

    /// `None` after success, or the cancellation reasons where a condition failed.
    pub(super) async fn transact(
        &self,
        operation: &'static str,
        writes: Vec<TransactWriteItem>,
        call: Uuid,
    ) -> Result<Option<Vec<CancellationReason>>, TableError> {
        let mut tries = Tries::new(call);
        while tries.next().await {
            let written = self
                .table
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .send()
                .await;
            let Err(error) = written else {
                return Ok(None);
            };
            match cancellation_reasons(&error) {
                Some(reasons) if reasons.iter().any(condition_failed) => {
                    return Ok(Some(reasons.to_vec()));
                }
                Some(reasons) if was_contended(reasons) => {}
                _ => return Err(TableError::new(operation, error)),
            }
        }
        Err(TableError::contended(operation))
    }
}

fn update(
    operation: &'static str,
    built: Result<Update, aws_sdk_dynamodb::error::BuildError>,
) -> Result<TransactWriteItem, TableError> {
    let update = parsed(operation, built)?;
    Ok(TransactWriteItem::builder().update(update).build())
}
