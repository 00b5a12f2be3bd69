//! Who acts next: of all that can happen, one thing at a time.

use std::rc::Rc;

use super::actors::Client;
use super::world::{Finished, Job, PATIENCE, World};
use crate::chance::{Trouble, weather};
use crate::clock::{Millis, millis};
use crate::gate::{CallId, ProcessId};
use crate::participants::Queue;
use crate::template_config;

/// More processes than this do not begin.
const MAX_RUNNING: usize = 8;

#[derive(Clone, Copy)]
pub(super) enum Choice {
    Pass(CallId, ProcessId),
    Receive(Queue),
    Place(usize),
    Cancel(usize),
    Retry(usize),
    Abandon(usize),
    Chore(usize),
    Sweep,
    Redrive,
    Arrive(usize),
    Poison(usize),
}

impl World {
    /// Lets one thing happen, of all that can.
    pub(super) async fn step(&mut self) {
        let now = self.now();
        if now >= self.troubled_until && !weather(&self.weather).is_over() {
            self.note("calm", &format_args!(""));
            weather(&self.weather).clear_up();
        }
        if now > self.troubled_until + PATIENCE {
            let open = self.books.orders().find(|(_, order)| !order.is_terminal());
            let what = match open {
                Some((id, order)) => format!(
                    "order {id} is still {} long after, due at {}",
                    order.state,
                    order.due_at.as_deref().unwrap_or("no time")
                ),
                None => "somebody still waits long after the trouble".to_owned(),
            };
            self.wrong(what);
            return;
        }
        let options = self.options(now);
        if options.is_empty() {
            let until = self.next_event(now);
            self.pass(until - now).await;
            return;
        }
        // A moment passes now and then, so that what happens has its own time.
        if self.dice.hits(250) {
            let moment = *self.dice.pick(&[1, 3, 10, 40, 200]);
            self.pass(moment).await;
            return;
        }
        let choice = *self.dice.pick(&options);
        self.act(choice);
        self.collect_messages();
    }

    pub(super) fn options(&self, now: Millis) -> Vec<Choice> {
        let mut options: Vec<Choice> = self
            .gate
            .waiting()
            .into_iter()
            .map(|(id, who)| Choice::Pass(id, who))
            .collect();
        // Whoever is at work is at work; others begin more rarely, or nobody would ever end.
        let room = self.processes.len() < MAX_RUNNING;
        if room {
            for queue in Queue::ALL {
                if self.network.has_visible(queue, now) {
                    options.push(Choice::Receive(queue));
                }
            }
            for (number, client) in self.people.clients.iter().enumerate() {
                if client.next_place.is_some_and(|at| at <= now) {
                    options.push(Choice::Place(number));
                }
                if client.next_cancel.is_some_and(|at| at <= now) {
                    options.push(Choice::Cancel(number));
                }
                if client.next_retry.is_some_and(|at| at <= now) {
                    options.push(Choice::Retry(number));
                }
                if client.next_abandon.is_some_and(|at| at <= now) {
                    options.push(Choice::Abandon(number));
                }
            }
            for (number, chore) in self.people.chores.iter().enumerate() {
                if chore.at.is_some_and(|at| at <= now) {
                    options.push(Choice::Chore(number));
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

    /// When something can happen again that cannot now.
    pub(super) fn next_event(&self, now: Millis) -> Millis {
        let first =
            |of: fn(&Client) -> Option<Millis>| self.people.clients.iter().filter_map(of).min();
        let mut next = [
            first(|client| client.next_place),
            first(|client| client.next_cancel),
            first(|client| client.next_retry),
            first(|client| client.next_abandon),
            self.people.chores.iter().filter_map(|chore| chore.at).min(),
            self.late.iter().map(|late| late.at).min(),
            self.poison.at.iter().copied().min(),
            self.network.next_visible(now),
            self.network.has_dead().then_some(self.next_redrive),
            self.next_useful_sweep(now),
            (now < self.troubled_until).then_some(self.troubled_until),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
        .unwrap_or(now + template_config::sweep_every());
        // Somebody waits for a timer of their own.
        if let Some(ends_at) = self.processes.values().map(|process| process.ends_at).min() {
            next = next.min(ends_at).min(now + 100);
        }
        next.max(now + 1)
    }

    /// The sweeper's next run that finds anything. The others only read, and are left out to save
    /// time; those that come at odd moments are not.
    pub(super) fn next_useful_sweep(&self, now: Millis) -> Option<Millis> {
        let due = self
            .books
            .orders()
            .filter_map(|(_, order)| order.due_at.as_ref()?.parse().ok())
            .map(millis)
            .min()?;
        let first = self.next_sweep.max(now);
        let runs = ((due - first).max(0) + template_config::sweep_every() - 1)
            / template_config::sweep_every();
        Some(first + runs * template_config::sweep_every())
    }

    /// Time passes. What ran into its end dies where it stands.
    pub(super) async fn pass(&mut self, millis: Millis) {
        self.system.clock.pass(millis).await;
        let now = self.now();
        let over: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.ends_at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let process = self.processes.remove(&id).expect("it was listed just now");
            self.note("timeout", &format_args!("{id} {}", process.name));
            self.died(process.job);
        }
        // Their timers may have run out.
        let running: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in running {
            self.poll(id);
        }
        self.collect_messages();
        // Sweeps that would have found nothing are not made up for.
        while self.next_sweep + template_config::sweep_every() <= now {
            self.next_sweep += template_config::sweep_every();
        }
    }

    pub(super) fn act(&mut self, choice: Choice) {
        let now = self.now();
        match choice {
            Choice::Pass(call, process) => self.let_pass(call, process),
            Choice::Receive(queue) => self.receive(queue),
            Choice::Place(number) => self.place(number),
            Choice::Cancel(number) => self.cancel(number),
            Choice::Retry(number) => self.retry(number),
            Choice::Abandon(number) => self.abandon(number),
            Choice::Chore(number) => self.do_chore(number),
            Choice::Sweep => self.sweep(now),
            Choice::Redrive => self.redrive(now),
            Choice::Arrive(number) => self.arrive(number),
            Choice::Poison(number) => self.send_poison(number),
        }
    }

    pub(super) fn sweep(&mut self, now: Millis) {
        let (late, twice) = {
            let mut weather = weather(&self.weather);
            let late = weather.brings(Trouble::SweeperLate);
            (late, !late && weather.brings(Trouble::SweeperTwice))
        };
        self.next_sweep += if late {
            self.dice.between(1_000, 240_000)
        } else if twice {
            self.dice.between(1, 5_000)
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
        self.note("sweep", &format_args!("{now}"));
    }
}
