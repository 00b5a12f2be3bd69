//! Carries out calls to AWS and delivers messages.

use std::rc::Rc;

use test_support::{Call, Fault};
use uuid::Uuid;

use super::faults::{DrawnFault, draw};
use super::world::{Finished, Job, Late, World};
use crate::abandonment::{contradiction, is_left_in_dead_letters};
use crate::clock::Millis;
use crate::fault_profile::{FaultKind, lock_profile};
use crate::network::MessageCopy;
use crate::participants::Queue;
use crate::pending_calls::{CallId, ProcessId};

/// DynamoDB remembers a transaction's token this long (API reference, `TransactWriteItems`).
const TOKEN_KNOWN: Millis = 600_000;

/// Messages that no handler can parse.
const POISON: [&str; 4] = [
    "not even JSON",
    r#"{"id": "0190f8a0-0000-7000-8000-000000000000"}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"MakeCoffee","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{}}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"ChargePayment","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{"amount":"much"}}"#,
];
/// The id of the poison that has an envelope. No real message has it.
pub(super) const POISON_ID: Uuid = Uuid::from_u128(0x0190_f8a0_0000_7000_8000_0000_0000_0000);

impl World {
    /// Releases one call, with the fault that the profile draws.
    pub(super) fn release(&mut self, id: CallId, process: ProcessId) {
        let call = self.pending.call(id);
        let name = call.name();
        self.record.calls += 1;
        let now = self.now();
        let name_of = self
            .processes
            .get(&process)
            .map_or("?", |process| process.name);
        let is_broken = call.service == "dynamodb" && self.is_broken(name_of, false);
        let fault = {
            let mut profile = lock_profile(&self.profile);
            let drawn = draw(&mut profile, &call, &self.system.tables);
            let applied = drawn.filter(|(kind, fault)| {
                let applies = !is_broken && self.has_effect(&call, fault);
                if !applies {
                    profile.uncount(*kind);
                }
                applies
            });
            match is_broken {
                true => Some(DrawnFault::Fault(Fault::BeforeEffect)),
                false => applied.map(|(_, fault)| fault),
            }
        };
        self.log(
            "call",
            &format_args!("{process} {name_of} {name} {fault:?}"),
        );
        match fault {
            Some(DrawnFault::Stall) => {
                self.pending.stall(id);
                return;
            }
            Some(DrawnFault::Hang) => {
                // The process keeps its messages and does nothing until its timeout.
                if let Some(process) = self.processes.get_mut(&process) {
                    process.future = Box::pin(std::future::pending());
                }
                return;
            }
            Some(DrawnFault::Late(after)) => {
                self.late.push(Late {
                    sent: now,
                    at: now + after,
                    call,
                });
                self.pending.release(id, Some(Fault::BeforeEffect));
            }
            Some(DrawnFault::Fault(fault)) => self.pending.release(id, Some(fault)),
            None => self.pending.release(id, None),
        }
        for queue in Queue::ALL {
            let (waiting, in_flight) = self.network.counts(queue, now);
            let aws = &self.system.aws;
            aws.keep_elsewhere(queue.url(), waiting, in_flight);
        }
        self.poll(process);
    }

    /// Observes every row that a call may have changed.
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
                    for violation in self.ledger.check_stock() {
                        self.report(violation);
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
        for violation in self.ledger.observe(&self.system.tables, key, row.as_ref()) {
            self.report(violation);
        }
        if key.0 == self.system.tables.orders {
            self.look_for_parked(&key.1);
        }
        if let (Some(row), Some(user)) = (&row, key.1.strip_prefix("USER#"))
            && key.0 == self.system.tables.users
            && key.2 == "USER"
        {
            let status = row["status"].as_str().unwrap_or_default();
            self.statuses.note(user, self.now(), status.to_owned());
        }
    }

    /// Moves sent messages to the network.
    pub(super) fn collect_messages(&mut self) {
        let now = self.now();
        for queue in Queue::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                let mut profile = lock_profile(&self.profile);
                self.network.send(queue, message.body, now, &mut profile);
            }
        }
    }

    pub(super) fn receive(&mut self, queue: Queue) {
        let now = self.now();
        let (copies, messages) = self.network.receive(queue, now, &mut self.rng);
        if messages.is_empty() {
            return;
        }
        if self.is_broken(queue.function(), true) {
            self.log("broken", &format_args!("{}", queue.function()));
            self.died(Job::Batch { copies });
            return;
        }
        let system = Rc::clone(&self.system);
        self.start(queue.function(), Job::Batch { copies }, async move {
            Finished::Handled(system.batch(queue, messages).await)
        });
    }

    /// An operator redrives, leaves or settles dead letters.
    pub(super) fn redrive(&mut self, now: Millis) {
        let mut profile = lock_profile(&self.profile);
        let while_faults = !profile.is_over();
        let now_or_never = !while_faults || profile.occurs(FaultKind::Redrive);
        let leave = now_or_never && profile.occurs(FaultKind::LeftDead);
        drop(profile);
        self.next_redrive = now + 120_000;
        if now_or_never {
            self.log("redrive", &format_args!("leave {leave}"));
            // Operators recognise poison.
            self.poison.found += self.network.discard(|body| POISON.contains(&body));
            // Operators settle the contradictions of an abandoned step by hand.
            let (ledger, contradictions) = (&self.ledger, &mut self.contradictions);
            self.network.discard(|body| {
                let found = contradiction(ledger, body);
                let is_found = found.is_some();
                contradictions.extend(found);
                is_found
            });
            let leaves = |copy: &MessageCopy| leave || is_left_in_dead_letters(ledger, copy);
            self.network.redrive(now, leaves, &mut self.rng);
            // After the last fault, every dead letter is redriven at once.
            while !while_faults && self.network.has_dead() {
                let leaves = |copy: &MessageCopy| is_left_in_dead_letters(ledger, copy);
                self.network.redrive(now, leaves, &mut self.rng);
            }
        }
    }

    /// A request takes effect after its sender gave up.
    pub(super) fn arrive(&mut self, number: usize) {
        let now = self.now();
        let Late { sent, call, .. } = self.late.swap_remove(number);
        let forgotten = now - sent > TOKEN_KNOWN;
        let call = if forgotten {
            call.without_token()
        } else {
            call
        };
        self.log("arrives late", &format_args!("{}", call.name()));
        self.system.aws.arrive(&call);
        self.after_effect(&call, None);
    }

    pub(super) fn send_poison(&mut self, number: usize) {
        let now = self.now();
        self.poison.at.swap_remove(number);
        self.poison.sent += 1;
        let queue = *self.rng.pick(&Queue::ALL);
        let body = *self.rng.pick(&POISON);
        self.log("poison", &format_args!("{queue:?}"));
        self.network.replay(queue, body.to_owned(), now);
    }
}
