//! What stands before every secret that can be guessed, and before registration: the counts of
//! tries, for whatever is tried and for where the try comes from (see `domain::throttle`).

use shared_lambda::http::Request;
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{Context, telemetry};

use crate::domain::throttle::{Policy, TooEarly};
use crate::store::{Account, Counted, Counter, Receipt, Source, UserStore};

/// A try whose secret is now to be checked. It counts as failed unless it is said to have
/// succeeded.
///
/// A try that its source or the account's rate refuses is checked all the same. Where the account
/// is known a right password is then let in; otherwise the refusal stands. Any other try is
/// answered by the refusal. So neither the answer nor its time tells where an account is known, or
/// whether there is one.
#[derive(Debug)]
pub(super) struct Try {
    account: Account,
    source: Source,
    is_known: bool,
    /// What to take back where it succeeds.
    from_source: Option<(Counter, Receipt)>,
    from_rate: Option<Receipt>,
    refusal: Option<TooEarly>,
}

/// Counts a try, or says how long to wait with it.
pub(super) async fn count(
    store: &UserStore,
    account: Account,
    context: &Context,
    request: &Request,
) -> Result<Try, Problem> {
    let source = Source::of(request.source_address());
    let (now, call) = (context.now, context.fresh_id);
    let here = store.count_try(&account.at(&source), now, call).await?;
    let is_known = match here {
        Counted::Admitted(receipt) => receipt.is_known(now),
        Counted::TooEarly(wait) => return Err(too_early(wait)),
    };
    let counter = Counter::source(&source);
    let (by_source, by_rate) = tokio::join!(
        store.count_try(&counter, now, call),
        store.use_rate(&account, now, call),
    );
    let (from_source, by_source) = split(by_source)?;
    let (from_rate, by_rate) = split(by_rate)?;
    Ok(Try {
        account,
        source,
        is_known,
        from_source: from_source.map(|receipt| (counter, receipt)),
        from_rate,
        refusal: by_source.max(by_rate),
    })
}

impl Try {
    /// Whether a right password is let in.
    pub(super) fn may_pass(&self) -> bool {
        self.is_known || self.refusal.is_none()
    }

    /// How a try is answered that is not let in: `failed`, or how long to wait with the next.
    pub(super) fn answer(&self, failed: Problem) -> Problem {
        self.refusal.map_or(failed, too_early)
    }

    /// It was the owner: their own failures here are forgotten, they are known here from now on,
    /// and the other counts are as if they had never come.
    pub(super) async fn succeeded(
        self,
        store: &UserStore,
        context: &Context,
    ) -> Result<(), TableError> {
        let now = context.now;
        let source = async {
            match &self.from_source {
                Some((counter, receipt)) => store.take_back_try(counter, *receipt, now).await,
                None => Ok(()),
            }
        };
        let rate = async {
            match self.from_rate {
                Some(receipt) => store.restore_rate(&self.account, receipt, now).await,
                None => Ok(()),
            }
        };
        let remember = store.remember_owner(&self.account, &self.source, now);
        let (remembered, source, rate) = tokio::join!(remember, source, rate);
        for error in [source, rate].into_iter().filter_map(Result::err) {
            tracing::warn!(
                trace_id = context.trace_id(),
                cause = telemetry::chain(&error),
                "a login succeeded and still counts as a try; it is forgotten with the others"
            );
        }
        remembered
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
    let session = match session {
        Some(session) => {
            let receipt = admitted(store, &session, context).await?;
            Some((session, receipt))
        }
        None => None,
    };
    let source = Counter::source(&Source::of(request.source_address()));
    let Err(refusal) = admitted(store, &source, context).await else {
        return Ok(());
    };
    if let Some((session, receipt)) = session {
        store.take_back_try(&session, receipt, context.now).await?;
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
    admitted(store, &counter, context).await.map(|_| ())
}

async fn admitted(
    store: &UserStore,
    counter: &Counter,
    context: &Context,
) -> Result<Receipt, Problem> {
    let counted = store
        .count_try(counter, context.now, context.fresh_id)
        .await?;
    match counted {
        Counted::Admitted(receipt) => Ok(receipt),
        Counted::TooEarly(wait) => Err(too_early(wait)),
    }
}

/// What a count that many share says. Strangers may ask so often that the table throttles its row:
/// they are refused then, and a known owner is not held up.
fn split(
    counted: Result<Counted, TableError>,
) -> Result<(Option<Receipt>, Option<TooEarly>), TableError> {
    match counted {
        Ok(Counted::Admitted(receipt)) => Ok((Some(receipt), None)),
        Ok(Counted::TooEarly(wait)) => Ok((None, Some(wait))),
        Err(error) if error.is_transient() => Ok((None, Some(TooEarly { wait_seconds: 1 }))),
        Err(error) => Err(error),
    }
}

fn too_early(wait: TooEarly) -> Problem {
    Problem::too_many_requests(wait.wait_seconds)
}
