//! `POST /api/v1/auth/refresh`: new tokens for a refresh token, as
//! [`crate::domain::Session::judge`] decides.
//!
//! Every refusal has the same answer and is counted for its source. Valid tokens are never delayed,
//! because a token cannot be guessed.

use serde::Deserialize;
use shared_auth::{Issuer, SigningKey};
use shared_lambda::contention::Tries;
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup};

use super::{TokenBody, guard};
use crate::domain::{Seed, User, Verdict};
use crate::problems::INVALID_REFRESH_TOKEN;
use crate::store::{Changed, Counter, Source, UserStore};
use crate::tokens::RefreshToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefreshBody {
    refresh_token: String,
}

pub struct Refresh {
    store: UserStore,
    front: TrustedFront,
    issuer: Issuer,
}

pub async fn wire(setup: &Setup) -> Result<Refresh, Error> {
    let store = UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?);
    let front = TrustedFront::wire(setup)?;
    let (issuer, audience) = (setup.env("AUTH_ISSUER")?, setup.env("AUTH_AUDIENCE")?);
    let key = setup.env("AUTH_SIGNING_KEY_PARAMETER")?;
    // The only call to AWS comes last, so that a missing variable is reported first.
    let key = SigningKey::from_pkcs8_base64(&setup.secret_parameter(&key).await?)?;
    Ok(Refresh {
        store,
        front,
        issuer: Issuer::new(&key, &issuer, &audience),
    })
}

pub async fn handle(
    refresh: &Refresh,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let Refresh {
        store,
        front,
        issuer,
    } = refresh;
    let request = front.locate(request);
    let RefreshBody { refresh_token } = request.json()?;
    let token = RefreshToken::parse(&refresh_token);
    if let Some(token) = &token
        && let Some((user, successor)) = exchange(store, token, Seed::random(), &context).await?
    {
        return Ok(TokenBody::respond(issuer, &user, &successor, &context));
    }
    let source = Source::of(request.source_address());
    guard::admit(store, &Counter::source(&source), &context).await?;
    Err(Problem::new(
        &INVALID_REFRESH_TOKEN,
        "the refresh token is not valid or no longer valid; log in again",
    ))
}

/// The token's user and successor; `None` for a refused token.
async fn exchange(
    store: &UserStore,
    token: &RefreshToken,
    seed: Seed,
    context: &Context,
) -> Result<Option<(User, RefreshToken)>, Problem> {
    let mut tries = Tries::new(context.fresh_id);
    while tries.next().await {
        let Some(session) = store.session(token.session()).await? else {
            return Ok(None);
        };
        let verdict = session.judge(&token.hash(), context.now);
        let (successor, rotated) = match verdict {
            Verdict::Rotate => {
                let successor = token.successor(seed);
                let rotated = session.rotate(successor.hash(), seed, context.now);
                (successor, Some(rotated))
            }
            Verdict::Repeat(seed) => (token.successor(seed), None),
            Verdict::Reused => match store.end_session(&session).await? {
                Changed::Done => {
                    tracing::warn!(
                        user_id = %session.user_id,
                        trace = context.trace_id(),
                        "a retired refresh token was used again; its session has ended"
                    );
                    return Ok(None);
                }
                Changed::Overtaken => continue,
            },
            Verdict::Expired => return Ok(None),
        };
        let user = store.user(session.user_id).await?;
        let Some(user) = user.filter(|user| session.is_valid_for(Some(user))) else {
            match store.end_session(&session).await? {
                Changed::Done => return Ok(None),
                // A password change may have kept the session since it was read.
                Changed::Overtaken => continue,
            }
        };
        let Some(rotated) = rotated else {
            return Ok(Some((user, successor)));
        };
        match store.rotate_session(&session, &rotated).await? {
            Changed::Done => return Ok(Some((user, successor))),
            Changed::Overtaken => {}
        }
    }
    Err(TableError::contended("rotate a refresh token").into())
}
