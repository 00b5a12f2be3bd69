//! The queues between the services, with time: messages that come twice, late, out of order, or
//! end up in a dead-letter queue.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsMessage;

use crate::chance::{Dice, Trouble, Weather};
use crate::clock::Millis;
use crate::participants::Queue;

/// A message is as a rule there within this time.
const USUAL_DELAY: Millis = 60;

/// One copy of a message on a queue.
#[derive(Clone, Debug)]
pub struct Copy {
    pub queue: Queue,
    pub message_id: String,
    pub body: String,
    pub receives: u32,
    /// How often an operator has sent it back.
    pub redriven: u32,
    /// From when on it can be received.
    pub visible_at: Millis,
    /// The receipt of whoever has it.
    pub receipt: Option<String>,
}

/// Every message that is on its way.
#[derive(Default)]
pub struct Network {
    copies: BTreeMap<u64, Copy>,
    dead: Vec<Copy>,
    /// Dead letters nobody will look after.
    pub abandoned: Vec<Copy>,
    /// Everything that was ever sent, once each.
    pub history: Vec<(Queue, String)>,
    sent: u64,
    receipts: u64,
}

impl Network {
    /// Takes a message that a service sent, as often and as late as the weather has it.
    pub fn send(&mut self, queue: Queue, body: String, now: Millis, weather: &mut Weather) {
        self.history.push((queue, body.clone()));
        let message_id = format!("message-{}", self.history.len());
        let mut copies = 1;
        if weather.brings(Trouble::Duplicate) {
            copies += weather.dice(Trouble::Duplicate).between(1, 4);
        }
        for _ in 0..copies {
            let usual = weather.dice(Trouble::Delay).between(0, USUAL_DELAY);
            let late = if weather.brings(Trouble::Delay) {
                let dice = weather.dice(Trouble::Delay);
                *dice.pick(&[2_000, 45_000, 100_000, 700_000, 5_000_000])
            } else {
                0
            };
            self.put(Copy {
                queue,
                message_id: message_id.clone(),
                body: body.clone(),
                receives: 0,
                redriven: 0,
                visible_at: now + usual + late,
                receipt: None,
            });
        }
    }

    /// Delivers a body again although it was sent long ago, exactly once and at once.
    pub fn replay(&mut self, queue: Queue, body: String, now: Millis) {
        self.sent += 1;
        let message_id = format!("replay-{}", self.sent);
        self.put(Copy {
            queue,
            message_id,
            body,
            receives: 0,
            redriven: 0,
            visible_at: now,
            receipt: None,
        });
    }

    fn put(&mut self, copy: Copy) {
        self.sent += 1;
        self.copies.insert(self.sent, copy);
    }

    /// Whether a queue has something to receive.
    pub fn has_visible(&self, queue: Queue, now: Millis) -> bool {
        self.copies
            .values()
            .any(|copy| copy.queue == queue && copy.visible_at <= now)
    }

    /// How many messages of a queue can be received, and how many are with whoever received them.
    pub fn counts(&self, queue: Queue, now: Millis) -> (usize, usize) {
        let of = |copy: &&Copy| copy.queue == queue;
        let waiting = |copy: &&Copy| copy.visible_at <= now;
        let in_flight = |copy: &&Copy| copy.receipt.is_some() && copy.visible_at > now;
        let copies = || self.copies.values().filter(of);
        (
            copies().filter(waiting).count(),
            copies().filter(in_flight).count(),
        )
    }

    /// When the next message can be received that cannot be now.
    pub fn next_visible(&self, now: Millis) -> Option<Millis> {
        self.copies
            .values()
            .map(|copy| copy.visible_at)
            .filter(|at| *at > now)
            .min()
    }

    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Up to ten messages of a queue in any order, as a function's trigger receives them. A
    /// message that was received too often goes to the dead-letter queue instead.
    pub fn receive(
        &mut self,
        queue: Queue,
        now: Millis,
        dice: &mut Dice,
    ) -> (Vec<u64>, Vec<SqsMessage>) {
        let mut visible: Vec<u64> = self
            .copies
            .iter()
            .filter(|(_, copy)| copy.queue == queue && copy.visible_at <= now)
            .map(|(id, _)| *id)
            .collect();
        let (mut ids, mut messages) = (Vec::new(), Vec::new());
        let limits = queue.deployed();
        let wanted = dice.between(1, 10) as usize;
        while !visible.is_empty() && ids.len() < wanted {
            let id = visible.swap_remove(dice.below(visible.len() as u64) as usize);
            let copy = self.copies.get_mut(&id).expect("it was listed just now");
            if copy.receives == limits.max_receives {
                let copy = self.copies.remove(&id).expect("it was found just now");
                self.dead.push(copy);
                continue;
            }
            copy.receives += 1;
            copy.visible_at = now + Millis::from(limits.visibility_seconds) * 1000;
            self.receipts += 1;
            let receipt = format!("receipt-{}", self.receipts);
            copy.receipt = Some(receipt.clone());
            let mut message = SqsMessage::default();
            message.message_id = Some(copy.message_id.clone());
            message.receipt_handle = Some(receipt);
            message.body = Some(copy.body.clone());
            let count = ("ApproximateReceiveCount", copy.receives.to_string());
            message.attributes.insert(count.0.to_owned(), count.1);
            ids.push(id);
            messages.push(message);
        }
        (ids, messages)
    }

    /// Deletes what was handled, and says what that was; what was not comes back when its time is up.
    pub fn settle(&mut self, ids: &[u64], failed: &[String]) -> Vec<Copy> {
        let mut deleted = Vec::new();
        for id in ids {
            let handled = self
                .copies
                .get(id)
                .is_some_and(|copy| !failed.contains(&copy.message_id));
            if handled {
                deleted.extend(self.copies.remove(id));
            }
        }
        deleted
    }

    /// `ChangeMessageVisibility`: whoever holds this receipt gives the message back in a while.
    pub fn change_visibility(&mut self, receipt: &str, seconds: i64, now: Millis) {
        for copy in self.copies.values_mut() {
            if copy.receipt.as_deref() == Some(receipt) {
                copy.visible_at = now + seconds * 1000;
            }
        }
    }

    /// Throws away the dead letters an operator sees to be nobody's, and says how many they were.
    pub fn discard(&mut self, mut is_nobodys: impl FnMut(&str) -> bool) -> usize {
        let before = self.dead.len();
        self.dead.retain(|copy| !is_nobodys(&copy.body));
        before - self.dead.len()
    }

    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// An operator redrives one dead letter, or leaves it where it is for good.
    pub fn redrive(&mut self, now: Millis, leaves: impl FnOnce(&Copy) -> bool, dice: &mut Dice) {
        if self.dead.is_empty() {
            return;
        }
        let position = dice.below(self.dead.len() as u64) as usize;
        let mut copy = self.dead.swap_remove(position);
        if leaves(&copy) {
            self.abandoned.push(copy);
        } else {
            copy.receives = 0;
            copy.redriven += 1;
            copy.visible_at = now;
            copy.receipt = None;
            self.put(copy);
        }
    }
}
