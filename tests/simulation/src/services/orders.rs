//! Orders: its queue, its endpoints, the sweeper, and the operators' function.

use futures_util::FutureExt;
use serde_json::Value;

use super::crates::orders::handlers::{admin, cancel, place, replies, sweep};
use super::release::{endpoint, handler, origin, setup, setup_over};
use super::users::UsersService;
use crate::services::Invoked;
use crate::wiring::{Endpoint, Handler, WIRED, Wiring};

pub fn replies(wiring: &Wiring) -> Handler {
    handler(wiring, "orders-replies", replies::wire, replies::handle)
}

/// A new instance of `orders-place`, with an empty cache and a closed circuit breaker.
pub fn place(wiring: &Wiring) -> Endpoint {
    let name = "orders-place";
    let setup = setup_over(wiring, name, UsersService::new(wiring));
    endpoint(wiring, name, |_| place::wire(&setup), place::handle)
}

pub fn cancel(wiring: &Wiring) -> Endpoint {
    endpoint(wiring, "orders-cancel", cancel::wire, cancel::handle)
}

pub fn sweep(wiring: &Wiring) -> Invoked {
    let context = origin(wiring).context(None);
    let sweep = sweep::wire(&setup(wiring, "orders-sweep")).expect(WIRED);
    async move { sweep::handle(&sweep, context).await }.boxed_local()
}

pub fn admin(wiring: &Wiring, request: Value) -> Invoked {
    let context = origin(wiring).context(None);
    let saga = admin::wire(&setup(wiring, "orders-admin")).expect(WIRED);
    async move { admin::handle(&saga, context, request).await }.boxed_local()
}
