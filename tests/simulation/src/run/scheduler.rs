//! The scheduler: picks one of all possible actions at a time.

use std::rc::Rc;

use super::actors::Client;
use super::world::{Finished, Job, PATIENCE, World};
use crate::clock::{Millis, millis};
use crate::fault_profile::{FaultKind, lock_profile};
use crate::participants::Queue;
use crate::pending_calls::{CallId, ProcessId};
use crate::template_config;

/// No further process starts beyond this many.
const MAX_RUNNING: usize = 8;

#[derive(Clone, Copy)]
pub(super) enum Choice {
    Release(CallId, ProcessId),
    Receive(Queue),
    Place(usize),
    Cancel(usize),
    Retry(usize),
    Abandon(usize),
    Admin(usize),
    Sweep,
    Redrive,
    Arrive(usize),
    Poison(usize),
}

impl World {
    /// Carries out one action.
    pub(super) async fn step(&mut self) {
        let now = self.now();
        if now >= self.faults_until && !lock_profile(&self.profile).is_over() {
            self.log("calm", &format_args!(""));
            lock_profile(&self.profile).end();
        }
        if now > self.faults_until + PATIENCE {
            let open = self.ledger.orders().find(|(_, order)| !order.is_terminal());
            let what = match open {
                Some((id, order)) => format!(
                    "order {id} is still {} long after the last fault, due at {}",
                    order.state,
                    order.due_at.as_deref().unwrap_or("no time")
                ),
                None => "work is still pending long after the last fault".to_owned(),
            };
            self.report(what);
            return;
        }
        let options = self.options(now);
        if options.is_empty() {
            let until = self.next_event(now);
            self.advance_time(until - now).await;
            return;
        }
        // Time passes now and then, so that actions have different times.
        if self.rng.chance(250) {
            let moment = *self.rng.pick(&[1, 3, 10, 40, 200]);
            self.advance_time(moment).await;
            return;
        }
        let choice = *self.rng.pick(&options);
        self.act(choice);
        self.collect_messages();
    }

    pub(super) fn options(&self, now: Millis) -> Vec<Choice> {
        let mut options: Vec<Choice> = self
            .pending
            .waiting()
            .into_iter()
            .map(|(id, who)| Choice::Release(id, who))
            .collect();
        // Running processes continue always; new ones start only while there is room.
        let room = self.processes.len() < MAX_RUNNING;
        if room {
            for queue in Queue::ALL {
                if self.network.has_visible(queue, now) {
                    options.push(Choice::Receive(queue));
                }
            }
            for (number, client) in self.actors.clients.iter().enumerate() {
                let planned = [
                    (client.next_place, Choice::Place(number)),
                    (client.next_cancel, Choice::Cancel(number)),
                    (client.next_retry, Choice::Retry(number)),
                    (client.next_abandon, Choice::Abandon(number)),
                ];
                let is_due = |(at, _): &(Option<Millis>, _)| at.is_some_and(|at| at <= now);
                let due = planned.into_iter().filter(is_due);
                options.extend(due.map(|(_, choice)| choice));
            }
            for (number, task) in self.actors.tasks.iter().enumerate() {
                if task.at.is_some_and(|at| at <= now) {
                    options.push(Choice::Admin(number));
                }
            }
            if self.next_sweep <= now {
                options.push(Choice::Sweep);
            }
        }
        if self.network.has_dead() && self.next_redrive <= now {
            options.push(Choice::Redrive);
        }
        for (number, late) in self.late.iter().enumerate() {
            if late.at <= now {
                options.push(Choice::Arrive(number));
            }
        }
        for (number, at) in self.poison.at.iter().enumerate() {
            if *at <= now {
                options.push(Choice::Poison(number));
            }
        }
        options
    }

    /// The time of the next event.
    pub(super) fn next_event(&self, now: Millis) -> Millis {
        let first =
            |of: fn(&Client) -> Option<Millis>| self.actors.clients.iter().filter_map(of).min();
        let mut next = [
            first(|client| client.next_place),
            first(|client| client.next_cancel),
            first(|client| client.next_retry),
            first(|client| client.next_abandon),
            self.actors.tasks.iter().filter_map(|task| task.at).min(),
            self.late.iter().map(|late| late.at).min(),
            self.poison.at.iter().copied().min(),
            self.network.next_visible(now),
            self.network.has_dead().then_some(self.next_redrive),
            self.next_useful_sweep(now),
            (now < self.faults_until).then_some(self.faults_until),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
        .unwrap_or(now + template_config::sweep_every());
        // A process may wait for its own timer.
        if let Some(ends_at) = self.processes.values().map(|process| process.ends_at).min() {
            next = next.min(ends_at).min(now + 100);
        }
        next.max(now + 1)
    }

    /// The next run of the sweeper that finds a due order. Other runs only read, so they are
    /// skipped.
    pub(super) fn next_useful_sweep(&self, now: Millis) -> Option<Millis> {
        let due = self
            .ledger
            .orders()
            .filter_map(|(_, order)| order.due_at.as_ref()?.parse().ok())
            .map(millis)
            .min()?;
        let first = self.next_sweep.max(now);
        let runs = ((due - first).max(0) + template_config::sweep_every() - 1)
            / template_config::sweep_every();
        Some(first + runs * template_config::sweep_every())
    }

    /// Advances the time and ends the processes that reach their timeout.
    pub(super) async fn advance_time(&mut self, millis: Millis) {
        self.system.clock.advance(millis).await;
        let now = self.now();
        let over: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.ends_at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let process = self.processes.remove(&id).expect("it was listed just now");
            self.log("timeout", &format_args!("{id} {}", process.name));
            self.died(process.job);
        }
        // Their timers may have fired.
        let running: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in running {
            self.poll(id);
        }
        self.collect_messages();
        // Skips sweeps that would have found nothing.
        while self.next_sweep + template_config::sweep_every() <= now {
            self.next_sweep += template_config::sweep_every();
        }
    }

    pub(super) fn act(&mut self, choice: Choice) {
        let now = self.now();
        match choice {
            Choice::Release(call, process) => self.release(call, process),
            Choice::Receive(queue) => self.receive(queue),
            Choice::Place(number) => self.place(number),
            Choice::Cancel(number) => self.cancel(number),
            Choice::Retry(number) => self.retry(number),
            Choice::Abandon(number) => self.abandon(number),
            Choice::Admin(number) => self.do_admin_task(number),
            Choice::Sweep => self.sweep(now),
            Choice::Redrive => self.redrive(now),
            Choice::Arrive(number) => self.arrive(number),
            Choice::Poison(number) => self.send_poison(number),
        }
    }

    pub(super) fn sweep(&mut self, now: Millis) {
        let (late, twice) = {
            let mut profile = lock_profile(&self.profile);
            let late = profile.occurs(FaultKind::SweeperLate);
            (late, !late && profile.occurs(FaultKind::SweeperTwice))
        };
        self.next_sweep += if late {
            self.rng.between(1_000, 240_000)
        } else if twice {
            self.rng.between(1, 5_000)
        } else {
            template_config::sweep_every()
        };
        if late {
            return;
        }
        for _ in 0..=usize::from(twice) {
            let system = Rc::clone(&self.system);
            self.start("orders-sweep", Job::Sweep, async move {
                Finished::Done(system.sweep().await)
            });
        }
        self.log("sweep", &format_args!("{now}"));
    }
}
