//! What becomes of calls to AWS and of messages between the services.

use std::rc::Rc;

use test_support::{Call, Fault};
use uuid::Uuid;

use super::faults::{Drawn, draw};
use super::world::{Finished, Job, Late, World};
use crate::abandoning::{is_left_alone, news_after_abandoning};
use crate::chance::{Trouble, weather};
use crate::clock::Millis;
use crate::gate::{CallId, ProcessId};
use crate::network::Copy;
use crate::participants::Queue;

/// For how long DynamoDB knows a transaction's token (API reference, `TransactWriteItems`).
const TOKEN_KNOWN: Millis = 600_000;

/// What nobody can understand.
const POISON: [&str; 4] = [
    "not even JSON",
    r#"{"id": "0190f8a0-0000-7000-8000-000000000000"}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"MakeCoffee","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{}}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"ChargePayment","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{"amount":"much"}}"#,
];
/// The id of whatever poison can be read at all; no message of the services has it.
pub(super) const POISON_ID: Uuid = Uuid::from_u128(0x0190_f8a0_0000_7000_8000_0000_0000_0000);

impl World {
    /// One call goes through, or whatever befalls it.
    pub(super) fn let_pass(&mut self, id: CallId, process: ProcessId) {
        let call = self.gate.call(id);
        let name = call.name();
        self.record.calls += 1;
        let now = self.now();
        let name_of = self
            .processes
            .get(&process)
            .map_or("?", |process| process.name);
        let is_out = call.service == "dynamodb" && self.is_out(name_of, false);
        let fault = {
            let mut weather = weather(&self.weather);
            let drawn = draw(&mut weather, &call, &self.system.tables);
            let comes = drawn.filter(|(trouble, what)| {
                let comes = !is_out && self.makes_a_difference(&call, what);
                if !comes {
                    weather.take_back(*trouble);
                }
                comes
            });
            match is_out {
                true => Some(Drawn::Fault(Fault::BeforeEffect)),
                false => comes.map(|(_, what)| what),
            }
        };
        self.note(
            "call",
            &format_args!("{process} {name_of} {name} {fault:?}"),
        );
        match fault {
            Some(Drawn::Stall) => {
                self.gate.stall(id);
                return;
            }
            Some(Drawn::Hang) => {
                // It ends with its time; until then it has what it has and does nothing.
                if let Some(process) = self.processes.get_mut(&process) {
                    process.future = Box::pin(std::future::pending());
                }
                return;
            }
            Some(Drawn::Late(after)) => {
                self.late.push(Late {
                    sent: now,
                    at: now + after,
                    call,
                });
                self.gate.pass(id, Some(Fault::BeforeEffect));
            }
            Some(Drawn::Fault(fault)) => self.gate.pass(id, Some(fault)),
            None => self.gate.pass(id, None),
        }
        for queue in Queue::ALL {
            let (waiting, in_flight) = self.network.counts(queue, now);
            let aws = &self.system.aws;
            aws.keep_elsewhere(queue.url(), waiting, in_flight);
        }
        self.poll(process);
    }

    /// Looks at every row a call may have changed, unless what befell it kept it from doing so.
    pub(super) fn after_effect(&mut self, call: &Call, fault: Option<&Fault>) {
        if fault.is_some_and(|fault| !fault.takes_effect()) {
            return;
        }
        match call.service {
            "dynamodb" if call.is_write() => {
                let keys = call.written_keys();
                let stock = keys
                    .iter()
                    .any(|(table, ..)| *table == self.system.tables.inventory);
                for key in &keys {
                    self.observe(key);
                }
                if stock {
                    for violation in self.books.check_stock() {
                        self.wrong(violation);
                    }
                }
            }
            "sqs" if call.action == "ChangeMessageVisibilityBatch" => {
                let now = self.now();
                for entry in call.request["Entries"].as_array().into_iter().flatten() {
                    let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default();
                    let seconds = entry["VisibilityTimeout"].as_i64().unwrap_or_default();
                    self.network.change_visibility(receipt, seconds, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn observe(&mut self, key: &(String, String, String)) {
        let row = self.system.aws.item(&key.0, &key.1, &key.2);
        for violation in self.books.observe(&self.system.tables, key, row.as_ref()) {
            self.wrong(violation);
        }
        if key.0 == self.system.tables.orders {
            self.look_for_parked(&key.1);
        }
        if let (Some(row), Some(user)) = (&row, key.1.strip_prefix("USER#"))
            && key.0 == self.system.tables.users
            && key.2 == "USER"
        {
            let standing = row["status"].as_str().unwrap_or_default();
            self.standings.note(user, self.now(), standing);
        }
    }

    /// What the services sent since, onto the network.
    pub(super) fn collect_messages(&mut self) {
        let now = self.now();
        for queue in Queue::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                let mut weather = weather(&self.weather);
                self.network.send(queue, message.body, now, &mut weather);
            }
        }
    }

    /// A queue hands messages to its function.
    pub(super) fn receive(&mut self, queue: Queue) {
        let now = self.now();
        let (copies, messages) = self.network.receive(queue, now, &mut self.dice);
        if messages.is_empty() {
            return;
        }
        if self.is_out(queue.function(), true) {
            self.note("broken", &format_args!("{}", queue.function()));
            self.died(Job::Batch { copies });
            return;
        }
        let system = Rc::clone(&self.system);
        self.start(queue.function(), Job::Batch { copies }, async move {
            Finished::Handled(system.batch(queue, messages).await)
        });
    }

    /// Dead letters go back, or stay, or are settled.
    pub(super) fn redrive(&mut self, now: Millis) {
        let mut weather = weather(&self.weather);
        let in_trouble = !weather.is_over();
        let now_or_never = !in_trouble || weather.brings(Trouble::Redrive);
        let leave = now_or_never && weather.brings(Trouble::LeftDead);
        drop(weather);
        self.next_redrive = now + 120_000;
        if now_or_never {
            self.note("redrive", &format_args!("leave {leave}"));
            // An operator who looks at it sees that poison is nobody's.
            self.poison.found += self.network.discard(|body| POISON.contains(&body));
            // So does what was done after its undoing was abandoned: they settle it.
            let (books, news) = (&self.books, &mut self.news);
            self.network.discard(|body| {
                let told = news_after_abandoning(books, body);
                let is_told = told.is_some();
                news.extend(told);
                is_told
            });
            let leaves = |copy: &Copy| leave || is_left_alone(books, copy);
            self.network.redrive(now, leaves, &mut self.dice);
            // Once the trouble is over, everything that is left goes back at once.
            while !in_trouble && self.network.has_dead() {
                let leaves = |copy: &Copy| is_left_alone(books, copy);
                self.network.redrive(now, leaves, &mut self.dice);
            }
        }
    }

    /// A request that was given up takes effect.
    pub(super) fn arrive(&mut self, number: usize) {
        let now = self.now();
        let Late { sent, call, .. } = self.late.swap_remove(number);
        let forgotten = now - sent > TOKEN_KNOWN;
        let call = if forgotten {
            call.without_token()
        } else {
            call
        };
        self.note("arrives late", &format_args!("{}", call.name()));
        self.system.aws.arrive(&call);
        self.after_effect(&call, None);
    }

    pub(super) fn send_poison(&mut self, number: usize) {
        let now = self.now();
        self.poison.at.swap_remove(number);
        self.poison.sent += 1;
        let queue = *self.dice.pick(&Queue::ALL);
        let body = *self.dice.pick(&POISON);
        self.note("poison", &format_args!("{queue:?}"));
        self.network.replay(queue, body.to_owned(), now);
    }
}
