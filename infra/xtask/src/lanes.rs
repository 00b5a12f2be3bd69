//! Work side by side.

use std::thread;

use crate::error::Result;

/// Runs all to their ends and answers the first error.
pub fn in_parallel<L>(lanes: impl IntoIterator<Item = L>) -> Result<()>
where
    L: FnOnce() -> Result<()> + Send,
{
    thread::scope(|scope| {
        let running: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(lane)).collect();
        let ended = running.into_iter().map(|lane| {
            lane.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}
