//! `POST /api/v1/users`: registers a customer.
//!
//! A client that repeats a registration gets 409 `email-taken` and can log in. If a repeat with the
//! right password got 201, an attacker could test guessed passwords.
//!
//! Each valid registration counts for its source: it costs a hash, and its answer shows whether an
//! address is taken. The limit leaves room for a shop whose customers share one address.

use serde::Deserialize;
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::{Context, Error, Setup};

use super::{UserBody, guard};
use crate::domain::throttle::{Policy, registrations};
use crate::domain::{Email, Password, User, UserName};
use crate::passwords::{HashedPassword, Salt};
use crate::problems::EMAIL_TAKEN;
use crate::store::{Account, Counter, Registered, Source, UserStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    email: String,
    password: String,
    name: String,
}

struct Registration {
    email: Email,
    password: Password,
    name: UserName,
}

pub struct Register {
    store: UserStore,
    front: TrustedFront,
    policy: Policy,
}

pub fn wire(setup: &Setup) -> Result<Register, Error> {
    Ok(Register {
        store: UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?),
        front: TrustedFront::wire(setup)?,
        policy: registrations(setup.env("REGISTRATIONS_PER_SOURCE")?.parse()?),
    })
}

pub async fn handle(
    register: &Register,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let Register {
        store,
        front,
        policy,
    } = register;
    let request = front.locate(request);
    let Registration {
        email,
        password,
        name,
    } = request.parse(RegisterBody::parse)?;
    let source = Source::of(request.source_address());
    guard::admit(store, &Counter::registrations(&source, *policy), &context).await?;
    let user = User::register(context.fresh_id, email, name, context.now);
    let password = HashedPassword::new(&password, Salt::random());
    match store.register(&user, &password).await? {
        Registered::Done => {
            remember_owner(store, &user, &source, &context).await;
            Ok(Response::json(201, &UserBody::new(&user))
                .with_header("location", format!("/api/v1/users/{}", user.id)))
        }
        Registered::EmailTaken => Err(Problem::new(
            &EMAIL_TAKEN,
            "this e-mail address is already registered; log in instead",
        )),
    }
}

/// Makes the source of the registration known. A failure only means that the first login does it.
async fn remember_owner(store: &UserStore, user: &User, source: &Source, context: &Context) {
    let account = Account::of(user.email.as_str());
    if let Err(error) = store.remember_owner(&account, source, context.now).await {
        tracing::warn!(
            user_id = %user.id,
            trace_id = context.trace_id(),
            cause = shared_lambda::telemetry::chain(&error),
            "a user is registered, but the source could not be stored as known"
        );
    }
}

impl RegisterBody {
    /// Collects all errors.
    fn parse(self, fields: &mut Fields) -> Option<Registration> {
        let email = fields.take("/email", Email::parse(&self.email));
        let name = UserName::parse(&self.name);
        let password = Password::choose(&self.password, email.as_ref(), name.as_ref().ok());
        let password = fields.take("/password", password);
        let name = fields.take("/name", name);
        Some(Registration {
            email: email?,
            password: password?,
            name: name?,
        })
    }
}
