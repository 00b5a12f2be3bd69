//! Processes: start, run from call to call, end.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use test_support::crashable;

use super::world::{Finished, Job, Process, World};
use crate::handled::HandlerResult;
use crate::pending_calls::ProcessId;
use crate::template_config;

impl World {
    pub(super) fn start(
        &mut self,
        name: &'static str,
        job: Job,
        future: impl Future<Output = Finished> + 'static,
    ) {
        self.started += 1;
        let id = self.started;
        self.log("start", &format_args!("{id} {name} {job:?}"));
        let future = Box::pin(tokio::task::unconstrained(crashable(future)));
        let ends_at = self.now() + template_config::timeout(name);
        let failures_before = self.failures();
        self.processes.insert(
            id,
            Process {
                name,
                future,
                ends_at,
                job,
                failures_before,
                done: Vec::new(),
            },
        );
        self.poll(id);
    }

    /// Polls a process until its next call, its end or its crash.
    pub(super) fn poll(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        self.pending.set_running(id);
        let mut context = Context::from_waker(Waker::noop());
        let polled = process.future.as_mut().poll(&mut context);
        // Released calls have taken effect by now. A handler with several open calls may see some
        // answers only in a later poll.
        for (call, fault) in self.pending.take_released() {
            self.after_effect(&call, fault.as_ref());
        }
        let failures = self.failures();
        let begun = self
            .processes
            .get(&id)
            .map(|process| process.failures_before);
        let undisturbed = begun == Some(failures);
        for handled in self.system.record.take() {
            self.handled(&handled, undisturbed);
            if let (HandlerResult::Done(led_to), Some(process)) =
                (handled.result, self.processes.get_mut(&id))
            {
                process.done.push((handled.id, led_to));
            }
        }
        for mistake in self.system.mistakes() {
            self.report(mistake);
        }
        let Poll::Ready(finished) = polled else {
            return;
        };
        let process = self.processes.remove(&id).expect("it was polled just now");
        match finished {
            Some(finished) => self.finished(id, process, finished, undisturbed),
            None => {
                self.log("dies", &format_args!("{id} {}", process.name));
                self.died(process.job);
            }
        }
    }

    pub(super) fn finished(
        &mut self,
        id: ProcessId,
        process: Process,
        finished: Finished,
        undisturbed: bool,
    ) {
        match (process.job, finished) {
            (Job::Batch { copies, .. }, Finished::Handled(response)) => {
                let failed: Vec<String> = response
                    .batch_item_failures
                    .into_iter()
                    .map(|failure| failure.item_identifier)
                    .collect();
                self.log("handled", &format_args!("{id}, {} failed", failed.len()));
                self.collect_messages();
                let mut done = process.done;
                for copy in self.network.settle(&copies, &failed) {
                    self.deleted(&copy, &mut done);
                }
            }
            (Job::Sweep | Job::Operate, Finished::Done(swept)) => {
                self.log("done", &format_args!("{id} {swept:?}"));
                if let Err(why) = swept
                    && undisturbed
                {
                    let what = "a sweep or an operator's call";
                    self.report(format!("{what} failed without a fault: {why}"));
                }
            }
            (Job::Place { client }, Finished::Answered(response)) => {
                self.log("answered", &format_args!("{id} {}", response.status));
                self.check_unavailable(&response, undisturbed);
                self.placed(client, &response);
            }
            (Job::Cancel { client }, Finished::Answered(response)) => {
                self.log("answered", &format_args!("{id} {}", response.status));
                self.check_unavailable(&response, undisturbed);
                self.cancelled(client, &response);
            }
            (Job::Admin(number), Finished::Answered(response)) => {
                self.log("answered", &format_args!("{id} {}", response.status));
                self.check_unavailable(&response, undisturbed);
                self.administered(number, &response);
            }
            (job, _) => unreachable!("{job:?} cannot finish like this"),
        }
    }

    /// A process crashed or timed out. Its messages become visible again by themselves.
    pub(super) fn died(&mut self, job: Job) {
        match job {
            Job::Place { client } => {
                self.again_later(|world, at| world.actors.clients[client].next_place = Some(at));
            }
            Job::Cancel { client } => {
                self.again_later(|world, at| world.actors.clients[client].next_cancel = Some(at));
            }
            Job::Admin(number) => {
                self.again_later(|world, at| world.actors.tasks[number].at = Some(at));
            }
            Job::Batch { .. } | Job::Sweep | Job::Operate => {}
        }
    }
}
