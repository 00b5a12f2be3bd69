//! The calls to AWS that wait until the scheduler releases them.
//!
//! A function runs alone from one call to the next. The scheduler chooses which pending call
//! proceeds and with which fault. Every interleaving of the functions comes from this choice.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use test_support::{Call, Fault};

pub type ProcessId = u64;

/// A pending call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

#[derive(Clone, Default)]
pub struct PendingCalls(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: ProcessId,
    open: bool,
    arrived: u64,
    released: Vec<(Call, Option<Fault>)>,
    waiting: BTreeMap<CallId, Waiting>,
}

struct Waiting {
    process: ProcessId,
    call: Call,
    waker: Option<Waker>,
    verdict: Verdict,
}

enum Verdict {
    None,
    Release(Option<Fault>),
    /// The call never gets an answer.
    Never,
}

impl PendingCalls {
    /// Releases every call at once, for the setup.
    pub fn open(&self) {
        self.state().open = true;
    }

    pub fn close(&self) {
        self.state().open = false;
    }

    /// Names the process that is about to run.
    pub fn set_running(&self, process: ProcessId) {
        self.state().running = process;
    }

    /// Registers a call; await the result before it takes effect.
    pub fn wait(&self, call: Call) -> Wait {
        let mut state = self.state();
        if state.open {
            return Wait { calls: None };
        }
        let id = CallId(state.arrived);
        state.arrived += 1;
        let process = state.running;
        state.waiting.insert(
            id,
            Waiting {
                process,
                call,
                waker: None,
                verdict: Verdict::None,
            },
        );
        Wait {
            calls: Some((self.clone(), id)),
        }
    }

    /// The calls without a decision, oldest first.
    pub fn waiting(&self) -> Vec<(CallId, ProcessId)> {
        self.state()
            .waiting
            .iter()
            .filter(|(_, call)| matches!(call.verdict, Verdict::None))
            .map(|(id, call)| (*id, call.process))
            .collect()
    }

    pub fn call(&self, id: CallId) -> Call {
        self.state().waiting[&id].call.clone()
    }

    /// Releases a call, with its fault if any.
    pub fn release(&self, id: CallId, fault: Option<Fault>) {
        self.decide(id, Verdict::Release(fault));
    }

    /// The calls released since the last request, each with its fault.
    pub fn take_released(&self) -> Vec<(Call, Option<Fault>)> {
        std::mem::take(&mut self.state().released)
    }

    /// Never answers a call.
    pub fn stall(&self, id: CallId) {
        self.decide(id, Verdict::Never);
    }

    fn decide(&self, id: CallId, verdict: Verdict) {
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(&id) else {
            return;
        };
        waiting.verdict = verdict;
        let waker = waiting.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pending call. Dropping it forgets the call.
pub struct Wait {
    calls: Option<(PendingCalls, CallId)>,
}

impl Future for Wait {
    type Output = Option<Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Fault>> {
        let Some((calls, id)) = &self.calls else {
            return Poll::Ready(None);
        };
        let mut state = calls.state();
        let Some(waiting) = state.waiting.get_mut(id) else {
            return Poll::Ready(None);
        };
        if let Verdict::Release(fault) = &mut waiting.verdict {
            let fault = fault.take();
            let call = waiting.call.clone();
            state.released.push((call, fault.clone()));
            return Poll::Ready(fault);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((calls, id)) = &self.calls {
            calls.state().waiting.remove(id);
        }
    }
}
