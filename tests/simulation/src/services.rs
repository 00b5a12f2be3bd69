//! The services' handlers, wired as their binaries wire them.
//!
//! With the feature `released`, half of the calls run the services of the last release. Only
//! `cargo xtask compat` can build that: it adds their crates to a copy of the project.

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use shared_lambda::{Context, Error};

use crate::wiring::{Endpoint, Handler, Wiring};

/// A function without a route or a queue.
pub type Invoked = LocalBoxFuture<'static, Result<Value, Error>>;

/// The functions of one release.
pub struct Release {
    pub verify: fn(&Wiring) -> Handler,
    pub stock: fn(&Wiring) -> Handler,
    pub payment: fn(&Wiring) -> Handler,
    pub replies: fn(&Wiring) -> Handler,
    pub place: fn(&Wiring) -> Endpoint,
    pub cancel: fn(&Wiring) -> Endpoint,
    pub reprice: fn(&Wiring) -> Endpoint,
    pub adjust: fn(&Wiring) -> Endpoint,
    pub set_status: fn(&Wiring) -> Endpoint,
    pub sweep: fn(&Wiring, Context) -> Invoked,
    pub admin: fn(&Wiring, Context, Value) -> Invoked,
}

pub const RELEASES: &[Release] = &[
    present::RELEASE,
    #[cfg(feature = "released")]
    released::RELEASE,
];

macro_rules! release {
    ($release:ident: $inventory:ident $orders:ident $payments:ident $users:ident) => {
        #[path = "services"]
        mod $release {
            mod crates {
                pub use ::{
                    $inventory as inventory, $orders as orders, $payments as payments,
                    $users as users,
                };
            }
            mod inventory;
            mod orders;
            mod payments;
            mod users;

            pub const RELEASE: super::Release = super::Release {
                verify: users::verify,
                stock: inventory::commands,
                payment: payments::commands,
                replies: orders::replies,
                place: orders::place,
                cancel: orders::cancel,
                reprice: inventory::update,
                adjust: inventory::adjust,
                set_status: users::update,
                sweep: orders::sweep,
                admin: orders::admin,
            };
        }
    };
}

release!(present: inventory orders payments users);
#[cfg(feature = "released")]
release!(released: inventory_released orders_released payments_released users_released);

/// An endpoint of a function, named after its module.
macro_rules! endpoint {
    ($handler:ident, $function:literal) => {
        pub fn $handler(wiring: &$crate::wiring::Wiring) -> $crate::wiring::Endpoint {
            let wired = std::rc::Rc::new(
                $handler::wire(&wiring.setup($function)).expect($crate::wiring::WIRED),
            );
            Box::new(move |caller, context, request| {
                let wired = std::rc::Rc::clone(&wired);
                Box::pin(async move { $handler::handle(&wired, caller, context, request).await })
            })
        }
    };
}
use endpoint;
