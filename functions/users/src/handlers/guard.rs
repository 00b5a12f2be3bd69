//! The limits on login attempts and registrations (see `domain::throttle`). An attempt is counted
//! before its secret is checked.

use shared_lambda::http::Request;
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{Context, telemetry};

use crate::domain::throttle::TooEarly;
use crate::store::{Account, Counted, Counter, Receipt, Source, UserStore};

/// A counted attempt. It counts as failed until [`succeeded`](Self::succeeded) takes it back.
///
/// The password is checked even where the source or the account's rate refuses the attempt. A right
/// password then passes at a known source; everywhere else the refusal is the answer. So neither the
/// answer nor its time shows whether an account exists or where it is known.
#[derive(Debug)]
pub(super) struct LoginAttempt {
    account: Account,
    source: Source,
    is_known: bool,
    by_source: Counted,
    by_rate: Counted,
}

/// Counts an attempt, or refuses it where the account's limit at this source is reached.
pub(super) async fn count(
    store: &UserStore,
    account: Account,
    context: &Context,
    request: &Request,
) -> Result<LoginAttempt, Problem> {
    let source = Source::of(request.source_address());
    let (now, call) = (context.now, context.fresh_id);
    let here = admit(store, &account.at(&source), context).await?;
    let counter = Counter::source(&source);
    let (by_source, by_rate) = tokio::join!(
        store.count_attempt(&counter, now, call),
        store.use_rate(&account, now, call),
    );
    Ok(LoginAttempt {
        is_known: source.has_address() && here.is_known(now),
        account,
        source,
        by_source: refused_if_busy(by_source)?,
        by_rate: refused_if_busy(by_rate)?,
    })
}

impl LoginAttempt {
    /// Whether a right password is accepted.
    pub(super) fn may_pass(&self) -> bool {
        self.is_known || self.refusal().is_none()
    }

    /// The answer to a failed attempt: the time to wait where there is one, or else `failed`.
    pub(super) fn rejection(&self, failed: Problem) -> Problem {
        self.refusal().map_or(failed, too_early)
    }

    fn refusal(&self) -> Option<TooEarly> {
        self.by_source.err().max(self.by_rate.err())
    }

    /// Clears the owner's failures at this source, and makes the source known. It also takes the
    /// attempt back from the other two counts.
    pub(super) async fn succeeded(
        self,
        store: &UserStore,
        context: &Context,
    ) -> Result<(), TableError> {
        let now = context.now;
        let source = async {
            match self.by_source {
                Ok(receipt) => {
                    let counter = Counter::source(&self.source);
                    store.undo_attempt(&counter, receipt, now).await
                }
                Err(_) => Ok(()),
            }
        };
        let rate = async {
            match self.by_rate {
                Ok(receipt) => store.restore_rate(&self.account, receipt, now).await,
                Err(_) => Ok(()),
            }
        };
        let remember = store.remember_owner(&self.account, &self.source, now);
        let (remembered, source, rate) = tokio::join!(remember, source, rate);
        if let Err(error) = source.and(rate) {
            tracing::warn!(
                trace = context.trace_id(),
                cause = telemetry::chain(&error),
                "a successful login still counts as a failed attempt until its window ends"
            );
        }
        remembered
    }
}

/// Counts an attempt under one limit, or answers how long to wait.
pub(super) async fn admit(
    store: &UserStore,
    counter: &Counter,
    context: &Context,
) -> Result<Receipt, Problem> {
    let counted = store.count_attempt(counter, context.now, context.fresh_id);
    counted.await?.map_err(too_early)
}

/// Many sources share these rows, so a flood can make DynamoDB throttle them. That refuses unknown
/// sources and leaves known ones alone.
fn refused_if_busy(counted: Result<Counted, TableError>) -> Result<Counted, TableError> {
    match counted {
        Err(error) if error.is_transient() => Ok(Err(TooEarly { wait_seconds: 1 })),
        counted => counted,
    }
}

fn too_early(wait: TooEarly) -> Problem {
    Problem::too_many_requests(wait.wait_seconds)
}
