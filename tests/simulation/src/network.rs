//! The queues between the services, with time: duplicates, delays, reordering and dead letters.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsMessage;

use crate::clock::Millis;
use crate::fault_profile::{FaultKind, FaultProfile, Rng};
use crate::participants::Queue;

/// The delivery time without a fault.
const USUAL_DELAY: Millis = 60;

/// One copy of a message on a queue.
#[derive(Clone, Debug)]
pub struct MessageCopy {
    pub queue: Queue,
    pub message_id: String,
    pub body: String,
    pub receives: u32,
    /// Redrives so far.
    pub redriven: u32,
    pub visible_at: Millis,
    pub receipt: Option<String>,
}

/// Every message in the queues.
#[derive(Default)]
pub struct Network {
    copies: BTreeMap<u64, MessageCopy>,
    dead: Vec<MessageCopy>,
    /// Dead letters that no operator redrives.
    pub abandoned: Vec<MessageCopy>,
    /// Every sent message, once each.
    pub history: Vec<(Queue, String)>,
    sent: u64,
    receipts: u64,
}

impl Network {
    /// Queues a message, with the duplicates and delays that the profile draws.
    pub fn send(&mut self, queue: Queue, body: String, now: Millis, profile: &mut FaultProfile) {
        self.history.push((queue, body.clone()));
        let message_id = format!("message-{}", self.history.len());
        let mut copies = 1;
        if profile.occurs(FaultKind::Duplicate) {
            copies += profile.rng(FaultKind::Duplicate).between(1, 4);
        }
        for _ in 0..copies {
            let usual = profile.rng(FaultKind::Delay).between(0, USUAL_DELAY);
            let late = if profile.occurs(FaultKind::Delay) {
                let rng = profile.rng(FaultKind::Delay);
                *rng.pick(&[2_000, 45_000, 100_000, 700_000, 5_000_000])
            } else {
                0
            };
            self.put(MessageCopy {
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

    /// Queues one more copy of an old message, visible at once.
    pub fn replay(&mut self, queue: Queue, body: String, now: Millis) {
        self.sent += 1;
        let message_id = format!("replay-{}", self.sent);
        self.put(MessageCopy {
            queue,
            message_id,
            body,
            receives: 0,
            redriven: 0,
            visible_at: now,
            receipt: None,
        });
    }

    fn put(&mut self, copy: MessageCopy) {
        self.sent += 1;
        self.copies.insert(self.sent, copy);
    }

    pub fn has_visible(&self, queue: Queue, now: Millis) -> bool {
        self.copies
            .values()
            .any(|copy| copy.queue == queue && copy.visible_at <= now)
    }

    /// The visible messages of a queue, and those in flight.
    pub fn counts(&self, queue: Queue, now: Millis) -> (usize, usize) {
        let of = |copy: &&MessageCopy| copy.queue == queue;
        let waiting = |copy: &&MessageCopy| copy.visible_at <= now;
        let in_flight = |copy: &&MessageCopy| copy.receipt.is_some() && copy.visible_at > now;
        let copies = || self.copies.values().filter(of);
        (
            copies().filter(waiting).count(),
            copies().filter(in_flight).count(),
        )
    }

    /// The time at which the next hidden message becomes visible.
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

    /// Receives up to ten messages in any order, as a function's trigger does. A message past its
    /// receive limit moves to the dead-letter queue.
    pub fn receive(
        &mut self,
        queue: Queue,
        now: Millis,
        rng: &mut Rng,
    ) -> (Vec<u64>, Vec<SqsMessage>) {
        let mut visible: Vec<u64> = self
            .copies
            .iter()
            .filter(|(_, copy)| copy.queue == queue && copy.visible_at <= now)
            .map(|(id, _)| *id)
            .collect();
        let (mut ids, mut messages) = (Vec::new(), Vec::new());
        let limits = queue.deployed();
        let wanted = rng.between(1, 10) as usize;
        while !visible.is_empty() && ids.len() < wanted {
            let id = visible.swap_remove(rng.below(visible.len() as u64) as usize);
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

    /// Deletes and returns the handled messages. The failed ones become visible again after their
    /// timeout.
    pub fn settle(&mut self, ids: &[u64], failed: &[String]) -> Vec<MessageCopy> {
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

    /// `ChangeMessageVisibility`, by receipt.
    pub fn change_visibility(&mut self, receipt: &str, seconds: i64, now: Millis) {
        for copy in self.copies.values_mut() {
            if copy.receipt.as_deref() == Some(receipt) {
                copy.visible_at = now + seconds * 1000;
            }
        }
    }

    /// Discards the dead letters that need no redrive, and counts them.
    pub fn discard(&mut self, mut needs_no_redrive: impl FnMut(&str) -> bool) -> usize {
        let before = self.dead.len();
        self.dead.retain(|copy| !needs_no_redrive(&copy.body));
        before - self.dead.len()
    }

    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Redrives one dead letter, or is_left it for good.
    pub fn redrive(
        &mut self,
        now: Millis,
        is_left: impl FnOnce(&MessageCopy) -> bool,
        rng: &mut Rng,
    ) {
        if self.dead.is_empty() {
            return;
        }
        let position = rng.below(self.dead.len() as u64) as usize;
        let mut copy = self.dead.swap_remove(position);
        if is_left(&copy) {
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
