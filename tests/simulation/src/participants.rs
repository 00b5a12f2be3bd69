//! The services that consume messages, and their queues.

use std::fmt;
use std::sync::LazyLock;

use test_support::template_config;

use crate::services::Release;
use crate::wiring::{Handler, Wiring};

/// The simulation's data about a service. The rest is in its template.
struct Participant {
    /// The name in traces.
    name: &'static str,
    /// The function that the queue triggers.
    function: &'static str,
    /// Whether the messages are commands, which have one answer each.
    answers: bool,
    one_at_a_time: bool,
    wire: fn(&Release) -> fn(&Wiring) -> Handler,
}

/// The order decides which queue a random number picks. Append new ones, so that seeds keep their
/// runs.
const PARTICIPANTS: [Participant; 4] = [
    Participant {
        name: "Users",
        function: "users-verify",
        answers: true,
        one_at_a_time: false,
        wire: |release| release.verify,
    },
    Participant {
        name: "Inventory",
        function: "inventory-commands",
        answers: true,
        one_at_a_time: true,
        wire: |release| release.stock,
    },
    Participant {
        name: "Payments",
        function: "payments-commands",
        answers: true,
        one_at_a_time: false,
        wire: |release| release.payment,
    },
    Participant {
        name: "Replies",
        function: "orders-replies",
        answers: false,
        one_at_a_time: false,
        wire: |release| release.replies,
    },
];

/// The queues of the templates, in this order.
static DEPLOYED: LazyLock<Vec<&template_config::Queue>> = LazyLock::new(|| {
    let participants = PARTICIPANTS.map(|participant| participant.function);
    for queue in template_config::queues() {
        let function = queue.function.as_str();
        assert!(
            participants.contains(&function),
            "{function} is not simulated; add it to PARTICIPANTS"
        );
    }
    let of = |function| template_config::queues().find(|queue| queue.function == function);
    let queues = participants.map(|function| of(function).expect("the templates give it a queue"));
    queues.to_vec()
});

/// A queue between the services.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue(usize);

impl Queue {
    pub const ALL: [Self; PARTICIPANTS.len()] = {
        let mut all = [Self(0); PARTICIPANTS.len()];
        let mut number = 0;
        while number < all.len() {
            all[number] = Self(number);
            number += 1;
        }
        all
    };

    /// The queue that triggers a function.
    pub fn of(function: &str) -> Self {
        let queue = Self::ALL
            .into_iter()
            .find(|queue| queue.function() == function);
        queue.unwrap_or_else(|| panic!("no queue triggers {function}"))
    }

    pub fn wire(self, release: &Release, wiring: &Wiring) -> Handler {
        (PARTICIPANTS[self.0].wire)(release)(wiring)
    }

    pub fn function(self) -> &'static str {
        PARTICIPANTS[self.0].function
    }

    pub fn answers(self) -> bool {
        PARTICIPANTS[self.0].answers
    }

    pub fn is_one_at_a_time(self) -> bool {
        PARTICIPANTS[self.0].one_at_a_time
    }

    pub fn url(self) -> &'static str {
        &self.deployed().url
    }

    pub fn deployed(self) -> &'static template_config::Queue {
        DEPLOYED[self.0]
    }

    pub fn index(self) -> usize {
        self.0
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PARTICIPANTS[self.0].name)
    }
}
