//! `POST /api/v1/users`: registers a customer.
//!
//! A client that repeats a registration gets 409 `email-taken` and can log in. With the `Idempotency-Key` of
//! the first request it gets 201 again. Such a repeat tests a password, so it is counted and limited as a
//! login. Without the right key, the password makes no difference.
//!
//! Each valid registration counts for its source: it costs a hash, and its answer shows whether an
//! address is taken. The limit leaves room for a shop whose customers share one address.

use serde::Deserialize;
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{IdempotencyKey, Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::problems::IDEMPOTENCY_KEY_REUSED;
use shared_lambda::{Context, Error, Setup};

use super::{UserBody, guard};
use crate::domain::throttle::{Policy, registrations};
use crate::domain::{Email, KeyedRegistration, Password, User, UserName};
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
    key: Option<String>,
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
    let mut fields = request.fields();
    let key = fields.take_header("Idempotency-Key", request.idempotency_key());
    let Registration {
        email,
        password,
        name,
        key,
    } = request.parse(fields, |body: RegisterBody, fields| body.parse(key, fields))?;
    let source = Source::of(request.source_address());
    guard::admit(store, &Counter::registrations(&source, *policy), &context).await?;
    let user = User::register(context.fresh_id, email, name, context.now);
    let keyed = key.as_deref();
    let keyed = keyed.map(|key| KeyedRegistration::new(user.id, key, &user.name));
    let hash = HashedPassword::new(&password, Salt::random());
    match store.register(&user, &hash, keyed).await? {
        Registered::Done => {
            remember_owner(store, &user, &source, &context).await;
            Ok(created(&user))
        }
        Registered::EmailTaken => match key {
            Some(key) => repeated(store, &user, &password, &key, &context, &request).await,
            None => Err(email_taken()),
        },
    }
}

/// The answer to a registration of a taken address. After a change of the password or a deactivation, the
/// key is of no more use.
async fn repeated(
    store: &UserStore,
    user: &User,
    password: &Password,
    key: &str,
    context: &Context,
    request: &Request,
) -> Result<Response, Problem> {
    let taken = store.credential(&user.email).await?;
    let taken = taken.filter(|taken| taken.generation == 0);
    let taken = taken.ok_or_else(email_taken)?;
    let this = KeyedRegistration::new(taken.user_id, key, &user.name);
    let first = taken.registration.filter(|first| first.key == this.key);
    let first = first.ok_or_else(email_taken)?;
    let attempt = guard::count(store, Account::of(user.email.as_str()), context, request).await?;
    let is_right = taken.password.verify(password.as_str());
    let is_same = is_right.map_err(Problem::internal)? && first == this;
    if !(is_same && attempt.may_pass()) {
        return Err(attempt.rejection(Problem::new(
            &IDEMPOTENCY_KEY_REUSED,
            "this Idempotency-Key belongs to another registration of this address; log in, or send a new key",
        )));
    }
    attempt.succeeded(store, context).await?;
    let registered = store.user(taken.user_id).await?.ok_or_else(|| {
        Problem::internal(format!(
            "an EMAIL row names user {}, who has no USER row",
            taken.user_id
        ))
    })?;
    Ok(created(&registered).replayed(true))
}

fn created(user: &User) -> Response {
    UserBody::respond(201, user).with_header("location", format!("/api/v1/users/{}", user.id))
}

fn email_taken() -> Problem {
    Problem::new(
        &EMAIL_TAKEN,
        "this e-mail address is already registered; log in instead",
    )
}

/// Makes the source of the registration known. A failure only means that the first login does it.
async fn remember_owner(store: &UserStore, user: &User, source: &Source, context: &Context) {
    let account = Account::of(user.email.as_str());
    if let Err(error) = store.remember_owner(&account, source, context.now).await {
        tracing::warn!(
            user_id = %user.id,
            trace = context.trace_id(),
            cause = shared_lambda::telemetry::chain(&error),
            "a user is registered, but the source could not be stored as known"
        );
    }
}

impl RegisterBody {
    /// Collects all errors.
    fn parse(
        self,
        key: Option<Option<IdempotencyKey>>,
        fields: &mut Fields,
    ) -> Option<Registration> {
        let email = fields.take("/email", Email::parse(&self.email));
        let name = UserName::parse(&self.name);
        let password = Password::choose(&self.password, email.as_ref(), name.as_ref().ok());
        let password = fields.take("/password", password);
        let name = fields.take("/name", name);
        Some(Registration {
            email: email?,
            password: password?,
            name: name?,
            key: key?.map(|key| key.value),
        })
    }
}
