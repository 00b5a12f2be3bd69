//! What stands before every secret that can be guessed, and before registration: the counts of
//! tries, for whatever is tried and for where the try comes from (see `domain::throttle`).

use shared_lambda::http::Request;
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{Context, telemetry};

use crate::domain::throttle::TooEarly;
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
    by_source: Counted,
    by_rate: Counted,
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
    let here = admit(store, &account.at(&source), context).await?;
    let counter = Counter::source(&source);
    let (by_source, by_rate) = tokio::join!(
        store.count_try(&counter, now, call),
        store.use_rate(&account, now, call),
    );
    Ok(Try {
        is_known: source.is_told() && here.is_known(now),
        account,
        source,
        by_source: shared(by_source)?,
        by_rate: shared(by_rate)?,
    })
}

impl Try {
    /// Whether a right password is let in.
    pub(super) fn may_pass(&self) -> bool {
        self.is_known || self.refusal().is_none()
    }

    /// How a try is answered that is not let in: `failed`, or how long to wait with the next.
    pub(super) fn answer(&self, failed: Problem) -> Problem {
        self.refusal().map_or(failed, too_early)
    }

    fn refusal(&self) -> Option<TooEarly> {
        self.by_source.err().max(self.by_rate.err())
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
            match self.by_source {
                Ok(receipt) => {
                    let counter = Counter::source(&self.source);
                    store.take_back_try(&counter, receipt, now).await
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
                trace_id = context.trace_id(),
                cause = telemetry::chain(&error),
                "a login succeeded and still counts as a try; it is forgotten with the others"
            );
        }
        remembered
    }
}

/// Counts a try that one limit alone can refuse, or says how long it has to wait.
pub(super) async fn admit(
    store: &UserStore,
    counter: &Counter,
    context: &Context,
) -> Result<Receipt, Problem> {
    let counted = store.count_try(counter, context.now, context.fresh_id);
    counted.await?.map_err(too_early)
}

/// The count of a row that many share. Strangers may ask so often that the table throttles it: they
/// are refused then, and a known owner is not held up.
fn shared(counted: Result<Counted, TableError>) -> Result<Counted, TableError> {
    match counted {
        Err(error) if error.is_transient() => Ok(Err(TooEarly { wait_seconds: 1 })),
        counted => counted,
    }
}

fn too_early(wait: TooEarly) -> Problem {
    Problem::too_many_requests(wait.wait_seconds)
}
