//! `POST /api/v1/users`: a new customer, for anybody.
//!
//! A client that lost the answer and asks again gets 409 `email-taken`: the account is there, and
//! logging in shows whose it is. Answering 201 again would tell a stranger that a password fits.

use serde::Deserialize;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{FieldError, Problem};

use super::{UserBody, required};
use crate::domain::{Email, Password, User, UserName};
use crate::passwords::{HashedPassword, Salt};
use crate::store::{Registered, UserStore};

/// Neither role nor status nor id: who sends one hears that there is no such field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    email: Option<String>,
    password: Option<String>,
    name: Option<String>,
}

struct Registration {
    email: Email,
    password: Password,
    name: UserName,
}

pub async fn handle(
    store: &UserStore,
    salt: Salt,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let Registration {
        email,
        password,
        name,
    } = request.json::<RegisterBody>()?.parse()?;
    let user = User::register(context.fresh_id, email, name, context.now);
    let password = HashedPassword::new(&password, salt);
    match store.register(&user, &password).await? {
        Registered::Done => Ok(Response::json(201, &UserBody::new(&user))
            .with_header("location", format!("/api/v1/users/{}", user.id))),
        Registered::EmailTaken => Err(Problem::conflict(
            "email-taken",
            "somebody is registered with this e-mail address; log in instead",
        )),
    }
}

impl RegisterBody {
    /// Says everything that is wrong at once.
    fn parse(self) -> Result<Registration, Problem> {
        let email = required(self.email.as_deref(), Email::parse);
        let owner = email.as_ref().ok();
        let password = required(self.password.as_deref(), |text| {
            Password::choose(text, owner)
        });
        let name = required(self.name.as_deref(), UserName::parse);
        match (email, password, name) {
            (Ok(email), Ok(password), Ok(name)) => Ok(Registration {
                email,
                password,
                name,
            }),
            (email, password, name) => {
                let mistakes = [
                    ("/email", email.err()),
                    ("/password", password.err()),
                    ("/name", name.err()),
                ];
                let errors = mistakes.into_iter().filter_map(|(pointer, mistake)| {
                    mistake.map(|detail| FieldError::new(pointer, detail))
                });
                Err(Problem::invalid(errors.collect()))
            }
        }
    }
}
