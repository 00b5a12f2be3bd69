//! Orders: its queue, its endpoints, the sweeper, and the operators' function.

use std::rc::Rc;

use futures_util::FutureExt;
use serde_json::Value;
use shared_lambda::Context;

use super::crates::orders::handlers::{admin, cancel, place, replies, sweep};
use super::users::UsersService;
use crate::services::{Invoked, endpoint};
use crate::wiring::{Endpoint, Handler, WIRED, Wiring};

endpoint!(cancel, "orders-cancel");

pub fn replies(wiring: &Wiring) -> Handler {
    let saga = Rc::new(replies::wire(&wiring.setup("orders-replies")).expect(WIRED));
    Box::new(move |context, envelope| {
        let saga = Rc::clone(&saga);
        async move { replies::handle(&saga, context, envelope).await }.boxed_local()
    })
}

/// A new instance of `orders-place`, with an empty cache and a closed circuit breaker.
pub fn place(wiring: &Wiring) -> Endpoint {
    let setup = wiring.setup_over("orders-place", UsersService::new(wiring));
    let wired = Rc::new(place::wire(&setup).expect(WIRED));
    Box::new(move |caller, context, request| {
        let wired = Rc::clone(&wired);
        async move { place::handle(&wired, caller, context, request).await }.boxed_local()
    })
}

pub fn sweep(wiring: &Wiring, context: Context) -> Invoked {
    let sweep = sweep::wire(&wiring.setup("orders-sweep")).expect(WIRED);
    async move { sweep::handle(&sweep, context).await }.boxed_local()
}

pub fn admin(wiring: &Wiring, context: Context, request: Value) -> Invoked {
    let saga = admin::wire(&wiring.setup("orders-admin")).expect(WIRED);
    async move { admin::handle(&saga, context, request).await }.boxed_local()
}
