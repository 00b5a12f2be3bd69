//! The services' handlers, wired as their binaries wire them.
//!
//! With the feature `released`, half of the calls run the services of the last release. Only
//! `cargo xtask compat` can build that: in a copy of the project, it adds the crates of that release, and
//! its `shared-auth` and `shared-lambda`.

use std::error::Error;

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use crate::wiring::{Endpoint, Handler, Wiring};

/// A function without a route or a queue.
pub type Invoked = LocalBoxFuture<'static, Result<Value, Box<dyn Error + Send + Sync>>>;

/// The functions of one release.
pub struct Release {
    pub verify: fn(&Wiring) -> Handler,
    pub stock: fn(&Wiring) -> Handler,
    pub payment: fn(&Wiring) -> Handler,
    pub replies: fn(&Wiring) -> Handler,
    pub place: fn(&Wiring) -> Endpoint,
    pub cancel: fn(&Wiring) -> Endpoint,
    pub create: fn(&Wiring) -> Endpoint,
    pub reprice: fn(&Wiring) -> Endpoint,
    pub adjust: fn(&Wiring) -> Endpoint,
    pub set_status: fn(&Wiring) -> Endpoint,
    pub sweep: fn(&Wiring) -> Invoked,
    pub admin: fn(&Wiring, Value) -> Invoked,
}

pub const RELEASES: &[Release] = &[
    present::RELEASE,
    #[cfg(feature = "released")]
    released::RELEASE,
];

macro_rules! release {
    ($release:ident, called_by: $called_by:expr, $($name:ident = $crate_name:ident),*) => {
        #[path = "services"]
        mod $release {
            mod crates {
                $(pub use ::$crate_name as $name;)*
            }
            mod inventory;
            mod orders;
            mod payments;
            mod release;
            mod users;

            /// Names the caller in the log, as the check of a token does.
            const CALLED_BY: fn(&crates::shared_lambda::http::Request, uuid::Uuid) = $called_by;

            pub const RELEASE: super::Release = super::Release {
                verify: users::verify,
                stock: inventory::commands,
                payment: payments::commands,
                replies: orders::replies,
                place: orders::place,
                cancel: orders::cancel,
                create: inventory::create,
                reprice: inventory::update,
                adjust: inventory::adjust,
                set_status: users::update,
                sweep: orders::sweep,
                admin: orders::admin,
            };
        }
    };
}

release!(
    present,
    called_by: |request, caller| request.called_by(caller),
    inventory = inventory, orders = orders, payments = payments, users = users,
    shared_auth = shared_auth, shared_lambda = shared_lambda
);
#[cfg(feature = "released")]
release!(
    released,
    called_by: |_, _| {},
    inventory = inventory_released, orders = orders_released,
    payments = payments_released, users = users_released,
    shared_auth = shared_auth_released, shared_lambda = shared_lambda_released
);
