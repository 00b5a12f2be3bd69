//! Many orders at once. `WAYBILL_CLIENTS` and `WAYBILL_ORDERS_EACH` set how many clients there are, and how
//! many orders each places.

use std::sync::atomic::{AtomicUsize, Ordering};

use ops::dlq::{self, Redrive};

use crate::chaos::QUEUES;
use crate::world::{Customer, World, eventually, world};

#[test]
fn one_order_in_ten_is_confirmed_if_stock_suffices_for_as_many() {
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    // With more clients, the emulator is too slow for the functions' timeouts beside other checks.
    let clients = number("WAYBILL_CLIENTS", 20);
    let orders_each = number("WAYBILL_ORDERS_EACH", 10);
    let orders = clients * orders_each;
    let units = orders / 10;
    let world = world();
    let _alone = world.alone();
    let sku = world.item(units as i64, 1_999);
    let customers: Vec<Customer> = (0..clients).map(|_| Customer::new()).collect();
    let (confirmed, rejected, charged) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for customer in &customers {
            let (sku, confirmed, rejected, charged) = (&sku, &confirmed, &rejected, &charged);
            scope.spawn(move || {
                let ids: Vec<String> = (0..orders_each)
                    .map(|_| customer.place_patiently(sku, 1, "pm_card_visa"))
                    .collect();
                for id in ids {
                    let order = eventually("the order ends", || {
                        let order = customer.order(&id);
                        (order["status"] != "PENDING").then_some(order)
                    });
                    let net = usize::try_from(world.net_charge(&id)).unwrap();
                    charged.fetch_add(net, Ordering::Relaxed);
                    if order["status"] == "CONFIRMED" {
                        confirmed.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(order["failure"]["code"], "out_of_stock", "{order}");
                        rejected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!(
        "orders: {} confirmed, {} rejected",
        confirmed.load(Ordering::Relaxed),
        rejected.load(Ordering::Relaxed)
    );
    assert_eq!(confirmed.into_inner(), units);
    assert_eq!(rejected.into_inner(), orders - units);
    assert_eq!(charged.into_inner(), units * 1_999);
    leave_no_message(world);
    assert_eq!(world.stock(&sku), (units as i64, 0, units as i64));
}

/// On a slow machine, functions run out of time until messages are dead letters. A redrive changes no order,
/// and other tests need empty queues.
fn leave_no_message(world: &World) {
    let left = |end: &str| -> u64 {
        let depths = QUEUES.iter();
        depths
            .map(|queue| world.queue_depth(&format!("{queue}{end}")))
            .sum()
    };
    eventually("no message is left", || {
        if left("-dlq") > 0 {
            let redrive = dlq::Action::Redrive(Redrive::default());
            dlq::run(&world.aws, &world.stack.prefix, &redrive).unwrap();
        }
        (left("") + left("-dlq") == 0).then_some(())
    });
}
