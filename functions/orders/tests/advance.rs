//! Each function has a route for every command that its events can lead to.

use orders::domain::{Decision, Event, Ignored, decide, place};
use orders::messages::owed_message;

use crate::domain::cases;
use crate::samples::{STATES, TIMEOUT, draft, ends, order_in, start};
use crate::world::World;

#[test]
fn every_function_has_a_route_for_its_commands() {
    let world = World::new();
    let context = world.context();
    for verified in [true, false] {
        let order = place(draft(1), verified, TIMEOUT, start());
        owed_message(&order, &world.place.saga.routes, &context).unwrap();
    }
    for state in STATES {
        for case in cases() {
            let mut order = order_in(state);
            if !ends(state) {
                (case.prepare)(&mut order);
            }
            let saga = match case.event {
                Event::CancelRequested { .. } => &world.cancel,
                Event::Due => &world.sweep.saga,
                Event::RetryRequested { .. } | Event::Abandoned { .. } => &world.admin,
                _ => &world.replies,
            };
            let order = match decide(&order, &case.event, TIMEOUT, case.now) {
                Decision::Advance(next) => *next,
                Decision::Ignore(Ignored::Repeat) => order,
                Decision::Ignore(Ignored::Overtaken) | Decision::Refuse(_) => continue,
            };
            let owed = owed_message(&order, &saga.routes, &context);
            assert!(owed.is_ok(), "{state:?} + {}: {owed:?}", case.name);
        }
    }
}
