//! Processes: how they begin, run from call to call, and end.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use test_support::crashable;

use super::world::{Finished, Job, Process, World};
use crate::gate::ProcessId;
use crate::handled::How;
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
        self.note("start", &format_args!("{id} {name} {job:?}"));
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

    /// Lets a process run to its next call, its end or its death.
    pub(super) fn poll(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        self.gate.runs(id);
        let mut context = Context::from_waker(Waker::noop());
        let polled = process.future.as_mut().poll(&mut context);
        // What has passed the gate by now has taken effect: a handler that has several calls under
        // way may get to one of them only in a later turn.
        for (call, fault) in self.gate.passed() {
            self.after_effect(&call, fault.as_ref());
        }
        let failures = self.failures();
        let begun = self
            .processes
            .get(&id)
            .map(|process| process.failures_before);
        let undisturbed = begun == Some(failures);
        for handled in self.system.handled() {
            self.handled(&handled, undisturbed);
            if let (How::Done(led_to), Some(process)) = (handled.how, self.processes.get_mut(&id)) {
                process.done.push((handled.id, led_to));
            }
        }
        for mistake in self.system.mistakes() {
            self.wrong(mistake);
        }
        let Poll::Ready(finished) = polled else {
            return;
        };
        let process = self.processes.remove(&id).expect("it was polled just now");
        match finished {
            Some(finished) => self.finished(id, process, finished, undisturbed),
            None => {
                self.note("dies", &format_args!("{id} {}", process.name));
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
                self.note("handled", &format_args!("{id}, {} failed", failed.len()));
                self.collect_messages();
                let mut done = process.done;
                for copy in self.network.settle(&copies, &failed) {
                    self.deleted(&copy, &mut done);
                }
            }
            (Job::Sweep | Job::Operate, Finished::Done(swept)) => {
                self.note("done", &format_args!("{id} {swept:?}"));
                if let Err(why) = swept
                    && undisturbed
                {
                    let what = "a run of the sweeper or an operator's call";
                    self.wrong(format!("{what} failed, and nothing had befallen it: {why}"));
                }
            }
            (Job::Place { client }, Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.placed(client, &response);
            }
            (Job::Cancel { client }, Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.cancelled(client, &response);
            }
            (Job::Admin(number), Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.administered(number, &response);
            }
            (job, _) => unreachable!("{job:?} ends otherwise"),
        }
    }

    /// A process is gone without a word. Its messages come back by themselves.
    pub(super) fn died(&mut self, job: Job) {
        match job {
            Job::Place { client } => {
                self.again_later(|world, at| world.people.clients[client].next_place = Some(at));
            }
            Job::Cancel { client } => {
                self.again_later(|world, at| world.people.clients[client].next_cancel = Some(at));
            }
            Job::Admin(number) => {
                self.again_later(|world, at| world.people.chores[number].at = Some(at));
            }
            Job::Batch { .. } | Job::Sweep | Job::Operate => {}
        }
    }
}
