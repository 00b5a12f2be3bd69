//! What stands before every secret that can be guessed, and before registration: the counts of
//! tries, for whatever is tried and for where the try comes from (see `domain::throttle`).

use jiff::Timestamp;
use shared_lambda::Context;
use shared_lambda::http::Request;
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;

use crate::domain::throttle::{Policy, TooEarly};
use crate::store::{Account, Counted, Counter, Source, UserStore};

/// A try that may be made. It counts as failed unless it is said to have succeeded.
#[derive(Debug)]
pub(super) struct Try {
    account: Account,
    source: Source,
    /// What it was counted on besides, where the account is not known at the source.
    from_source: Option<Counter>,
}

/// Counts a try, or says how long to wait with it. Known or not, an account costs the same to
/// whoever is a stranger to it.
pub(super) async fn count(
    store: &UserStore,
    account: Account,
    context: &Context,
    request: &Request,
) -> Result<Try, Problem> {
    let source = Source::of(request.source_address());
    let here = account.at(&source);
    let standing = store.standing(&here).await?;
    standing.admit(context.now).map_err(too_early)?;
    let from_source = if standing.is_known(context.now) {
        // Neither others' failures nor a neighbour's keep the owner out where they have been.
        None
    } else {
        let counter = Counter::source(&source);
        admitted(store, &counter, context).await?;
        let good_place = standing.good_place(context.now);
        if let Err(wait) = pass(store, &account, &here, good_place, context).await? {
            take_back(store, &counter, context).await?;
            return Err(too_early(wait));
        }
        Some(counter)
    };
    match store
        .count_try(&here, context.now, context.fresh_id)
        .await?
    {
        Counted::Admitted => Ok(Try {
            account,
            source,
            from_source,
        }),
        // Others from this very source got in first.
        Counted::TooEarly(wait) => {
            if let Some(counter) = &from_source {
                take_back(store, counter, context).await?;
            }
            Err(too_early(wait))
        }
    }
}

/// Counts a failure that has happened, where what was tried cannot be guessed anyhow: then whoever
/// has it never waits.
pub(super) async fn count_failure(
    store: &UserStore,
    session: Option<Counter>,
    context: &Context,
    request: &Request,
) -> Result<(), Problem> {
    if let Some(session) = &session {
        admitted(store, session, context).await?;
    }
    let source = Counter::source(&Source::of(request.source_address()));
    let Err(refusal) = admitted(store, &source, context).await else {
        return Ok(());
    };
    if let Some(session) = &session {
        take_back(store, session, context).await?;
    }
    Err(refusal)
}

/// Counts a registration, whatever becomes of it.
pub(super) async fn count_registration(
    store: &UserStore,
    policy: Policy,
    context: &Context,
    request: &Request,
) -> Result<(), Problem> {
    let source = Source::of(request.source_address());
    let counter = Counter::registrations(&source, policy);
    admitted(store, &counter, context).await
}

impl Try {
    /// It was the owner: their own failures here are forgotten, they are known here from now on,
    /// and the source's count is as if they had never come.
    pub(super) async fn succeeded(
        self,
        store: &UserStore,
        context: &Context,
    ) -> Result<(), Problem> {
        let remember = store.remember_owner(&self.account, &self.source, context.now);
        match &self.from_source {
            Some(counter) => {
                tokio::try_join!(remember, take_back(store, counter, context))?;
            }
            None => remember.await?,
        }
        Ok(())
    }
}

/// Lets a stranger's try through in its turn, or says when that is.
async fn pass(
    store: &UserStore,
    account: &Account,
    here: &Counter,
    good_place: Option<Timestamp>,
    context: &Context,
) -> Result<Result<(), TooEarly>, Problem> {
    if let Some(place) = good_place
        && store
            .use_place(here, place, context.now, context.fresh_id)
            .await?
    {
        return Ok(Ok(()));
    }
    let place = store
        .take_place(account, context.now, context.fresh_id)
        .await?;
    if place.at <= context.now {
        return Ok(Ok(()));
    }
    let held = store.hold_place(here, place.at, context.now).await?;
    if held != place.at {
        // Another try from here was given one at the same moment.
        store.give_place_back(account, place, context.now).await?;
    }
    Ok(Err(TooEarly::until(held, context.now)))
}

async fn admitted(store: &UserStore, counter: &Counter, context: &Context) -> Result<(), Problem> {
    let counted = store
        .count_try(counter, context.now, context.fresh_id)
        .await?;
    match counted {
        Counted::Admitted => Ok(()),
        Counted::TooEarly(wait) => Err(too_early(wait)),
    }
}

async fn take_back(
    store: &UserStore,
    counter: &Counter,
    context: &Context,
) -> Result<(), TableError> {
    store
        .take_back_try(counter, context.now, context.fresh_id)
        .await
}

fn too_early(wait: TooEarly) -> Problem {
    Problem::too_many_requests(wait.wait_seconds)
}
