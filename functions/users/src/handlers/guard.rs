//! What stands before every secret that can be guessed: the count of failed tries, for whatever it
//! is tried on and for where the try comes from.

use shared_lambda::Context;
use shared_lambda::http::Request;
use shared_lambda::problem::Problem;

use crate::domain::throttle::{Tally, TooEarly};
use crate::store::{Counted, Counter, Source, UserStore};

/// A try that may be made. It counts as failed unless it is said to have succeeded.
#[derive(Debug)]
pub(super) struct Try {
    source: Source,
    from_source: (Counter, Tally),
    /// Whose failures a success forgets.
    on: Counter,
}

/// Counts a try, or says how long to wait with it. Known or not, an account costs the same.
pub(super) async fn count(
    store: &UserStore,
    on: Counter,
    context: &Context,
    request: &Request,
) -> Result<Try, Problem> {
    let source = Source::of(request.source_address());
    let tally = count_source(store, &source, context).await?;
    let counted = count_one(store, &on, &source, context).await?;
    let on = match counted {
        Ok(_) => on,
        // Others' failures do not keep the owner out where they have been before; their own do.
        Err((_, true)) => {
            let at_home = on.at_home(&source);
            match count_one(store, &at_home, &source, context).await? {
                Ok(_) => at_home,
                Err((wait, _)) => return Err(too_early(wait)),
            }
        }
        Err((wait, false)) => return Err(too_early(wait)),
    };
    Ok(Try {
        from_source: (Counter::source(&source), tally),
        source,
        on,
    })
}

/// Counts a failure that has happened, where what was tried cannot be guessed anyhow: then whoever
/// has it never waits.
pub(super) async fn count_failure(
    store: &UserStore,
    on: Option<Counter>,
    context: &Context,
    request: &Request,
) -> Result<(), Problem> {
    let source = Source::of(request.source_address());
    count_source(store, &source, context).await?;
    match on {
        Some(on) => count_one(store, &on, &source, context)
            .await?
            .map(|_| ())
            .map_err(|(wait, _)| too_early(wait)),
        None => Ok(()),
    }
}

impl Try {
    /// It was the owner: their account's failures are forgotten, and the source's count is as if
    /// they had never come.
    pub(super) async fn succeeded(
        self,
        store: &UserStore,
        context: &Context,
    ) -> Result<(), Problem> {
        let (source, tally) = &self.from_source;
        tokio::try_join!(
            store.forget_tries(&self.on, &self.source, context.now),
            store.take_back_try(source, tally, context.now),
        )?;
        Ok(())
    }
}

async fn count_source(
    store: &UserStore,
    source: &Source,
    context: &Context,
) -> Result<Tally, Problem> {
    count_one(store, &Counter::source(source), source, context)
        .await?
        .map_err(|(wait, _)| too_early(wait))
}

/// The tally, or the wait and whether the owner is at home here.
async fn count_one(
    store: &UserStore,
    counter: &Counter,
    source: &Source,
    context: &Context,
) -> Result<Result<Tally, (TooEarly, bool)>, Problem> {
    let counted = store
        .count_try(counter, source, context.now, context.fresh_id)
        .await?;
    Ok(match counted {
        Counted::Admitted(tally) => Ok(tally),
        Counted::TooEarly { wait, at_home } => Err((wait, at_home)),
    })
}

fn too_early(wait: TooEarly) -> Problem {
    Problem::too_many_requests(wait.wait_seconds)
}
