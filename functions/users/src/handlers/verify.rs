//! The queue: `VerifyUser`, which orders sends when the REST call fails.
//!
//! The check changes nothing, so nothing is recorded. A repeated command is checked again, and the
//! saga uses the first reply.

use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::{Context, Error, Setup};

use crate::domain::User;
use crate::messages::{UserRefused, UserVerified, VerifyUser};
use crate::store::UserStore;

pub struct Verify {
    store: UserStore,
    replies_queue_url: String,
}

pub fn wire(setup: &Setup) -> Result<Verify, Error> {
    Ok(Verify {
        store: UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?),
        replies_queue_url: setup.env("ORDERS_REPLIES_QUEUE_URL")?,
    })
}

/// Checks one user and returns the reply to orders.
pub async fn handle(
    verify: &Verify,
    context: Context,
    command: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let order_id = command.subject;
    let VerifyUser { user_id } = match command.kind.as_str() {
        VerifyUser::TYPE => command.open()?,
        _ => return Err(command.unknown()),
    };
    let to = &verify.replies_queue_url;
    let user = verify.store.user(user_id).await?;
    let reply = match User::may_order(user.as_ref()) {
        Ok(()) => {
            let verified = UserVerified { user_id };
            Outgoing::new(to, order_id, &verified, &context)
        }
        Err(reason) => {
            let refused = UserRefused::new(user_id, reason);
            Outgoing::new(to, order_id, &refused, &context)
        }
    };
    Ok(vec![reply])
}
