//! A future that can be killed from beneath, as a process dies between two instructions.

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
    static LIVING: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs a future as a process of its own: `None` if a fault killed it.
///
/// A killed future is dropped where it stands: no error reaches its code, so
/// none of its error handling runs, which is how a process dies.
pub async fn crashable<T>(future: impl Future<Output = T>) -> Option<T> {
    let life = Arc::new(AtomicBool::new(true));
    let mut future = pin!(future);
    std::future::poll_fn(|context| poll_living(future.as_mut(), &life, context)).await
}

fn poll_living<T>(
    future: Pin<&mut impl Future<Output = T>>,
    life: &Arc<AtomicBool>,
    context: &mut Context<'_>,
) -> Poll<Option<T>> {
    let _outer = Outer(LIVING.replace(Some(Arc::clone(life))));
    let polled = future.poll(context);
    if life.load(Ordering::Relaxed) {
        polled.map(Some)
    } else {
        Poll::Ready(None)
    }
}

/// Puts the outer life back, whether the inner poll returns or panics.
struct Outer(Option<Arc<AtomicBool>>);

impl Drop for Outer {
    fn drop(&mut self) {
        LIVING.set(self.0.take());
    }
}

/// Ends the crashable future that is being polled; nothing after this runs.
pub(crate) async fn crash() -> ! {
    LIVING.with_borrow(|living| {
        living
            .as_ref()
            .expect("a call was to be killed outside of `crashable`")
            .store(false, Ordering::Relaxed);
    });
    std::future::pending::<()>().await;
    unreachable!("a pending future never completes")
}
