//! A future that a fault can end at any await, as a process crashes.

use std::{
    cell::RefCell,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

thread_local! {
    /// The innermost crashable future that is being polled on this thread.
    static RUNNING: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs a future as its own process: `None` if a fault crashed it.
///
/// A crashed future is dropped where it stands, so none of its error handling runs.
pub async fn crashable<T>(future: impl Future<Output = T>) -> Option<T> {
    let life = Arc::new(AtomicBool::new(true));
    let mut future = pin!(future);
    std::future::poll_fn(|context| poll_running(future.as_mut(), &life, context)).await
}

fn poll_running<T>(
    future: Pin<&mut impl Future<Output = T>>,
    life: &Arc<AtomicBool>,
    context: &mut Context<'_>,
) -> Poll<Option<T>> {
    let _outer = Outer(RUNNING.replace(Some(Arc::clone(life))));
    let polled = future.poll(context);
    if life.load(Ordering::Relaxed) {
        polled.map(Some)
    } else {
        Poll::Ready(None)
    }
}

/// Restores the outer future, even after a panic.
struct Outer(Option<Arc<AtomicBool>>);

impl Drop for Outer {
    fn drop(&mut self) {
        RUNNING.set(self.0.take());
    }
}

/// Crashes the innermost crashable future; nothing after this runs.
pub(crate) async fn crash() -> ! {
    RUNNING.with_borrow(|running| {
        running
            .as_ref()
            .expect("a call was to be killed outside of `crashable`")
            .store(false, Ordering::Relaxed);
    });
    std::future::pending::<()>().await;
    unreachable!("a pending future never completes")
}
