//! The queue: `VerifyUser`, which orders sends when it could not ask over REST.
//!
//! It is a question and changes nothing, so there is nothing to record: asked twice it is answered
//! twice, each time as things are, and the saga goes by the first answer it gets.

use shared_lambda::Context;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};

use crate::domain::User;
use crate::messages::{UserRefused, UserVerified, VerifyUser};
use crate::store::UserStore;

/// Answers one question and gives the reply it owes to orders.
pub async fn handle(
    store: &UserStore,
    replies_queue_url: &str,
    context: Context,
    command: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let order_id = command.order_id;
    let VerifyUser { user_id } = match command.kind.as_str() {
        VerifyUser::TYPE => command.open()?,
        _ => return Err(command.unknown()),
    };
    let user = store.user(user_id).await?;
    let reply = match User::may_order(user.as_ref()) {
        Ok(()) => {
            let verified = UserVerified { user_id };
            Outgoing::new(replies_queue_url, order_id, &verified, &context)
        }
        Err(reason) => {
            let refused = UserRefused::new(user_id, reason);
            Outgoing::new(replies_queue_url, order_id, &refused, &context)
        }
    };
    Ok(vec![reply])
}
