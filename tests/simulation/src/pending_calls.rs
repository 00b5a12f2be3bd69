//! The gate every call to AWS waits at until the simulation lets it pass.
//!
//! A function runs from one call to its next without anybody else in between; which of all the
//! waiting calls goes next, and what befalls it, is the simulation's choice. That is where every
//! interleaving of the functions comes from.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use test_support::{Call, Fault};

pub type ProcessId = u64;

/// A call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: ProcessId,
    open: bool,
    arrived: u64,
    passed: Vec<(Call, Option<Fault>)>,
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
    Pass(Option<Fault>),
    /// Nobody will ever answer.
    Never,
}

impl Gate {
    /// Lets every call pass at once, for what is set up before or looked at afterwards.
    pub fn open(&self) {
        self.state().open = true;
    }

    pub fn close(&self) {
        self.state().open = false;
    }

    /// Says who is about to run.
    pub fn runs(&self, process: ProcessId) {
        self.state().running = process;
    }

    /// A call's turn, to be awaited before it takes effect.
    pub fn turn(&self, call: Call) -> Turn {
        let mut state = self.state();
        if state.open {
            return Turn { gate: None };
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
        Turn {
            gate: Some((self.clone(), id)),
        }
    }

    /// The calls that can be let pass, in the order they came.
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

    /// Lets a call pass, with whatever befalls it.
    pub fn pass(&self, id: CallId, fault: Option<Fault>) {
        self.judge(id, Verdict::Pass(fault));
    }

    /// The calls that went through since this was last asked, and what befell each.
    pub fn passed(&self) -> Vec<(Call, Option<Fault>)> {
        std::mem::take(&mut self.state().passed)
    }

    /// Leaves a call without an answer for good.
    pub fn stall(&self, id: CallId) {
        self.judge(id, Verdict::Never);
    }

    fn judge(&self, id: CallId, verdict: Verdict) {
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

/// A call that waits for its turn. Whoever gives up waiting is forgotten.
pub struct Turn {
    gate: Option<(Gate, CallId)>,
}

impl Future for Turn {
    type Output = Option<Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Fault>> {
        let Some((gate, id)) = &self.gate else {
            return Poll::Ready(None);
        };
        let mut state = gate.state();
        let Some(waiting) = state.waiting.get_mut(id) else {
            return Poll::Ready(None);
        };
        if let Verdict::Pass(fault) = &mut waiting.verdict {
            let fault = fault.take();
            let call = waiting.call.clone();
            state.passed.push((call, fault.clone()));
            return Poll::Ready(fault);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((gate, id)) = &self.gate {
            gate.state().waiting.remove(id);
        }
    }
}
