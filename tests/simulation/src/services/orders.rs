//! Orders: its queue, and its function that asks users over REST.

use std::rc::Rc;

use futures_util::FutureExt;
use orders::handlers::{place, replies};

use super::users::UsersService;
use crate::wiring::{Handler, WIRED, Wiring};

pub fn wire(wiring: &Wiring) -> Handler {
    let saga = Rc::new(replies::wire(&wiring.setup("orders-replies")).expect(WIRED));
    Box::new(move |context, envelope| {
        let saga = Rc::clone(&saga);
        async move { replies::handle(&saga, context, envelope).await }.boxed_local()
    })
}

/// A new instance of `orders-place`, with an empty cache and a closed circuit breaker.
pub fn place(wiring: &Wiring) -> place::PlaceOrder {
    let setup = wiring.setup_over("orders-place", UsersService::new(wiring));
    place::wire(&setup).expect(WIRED)
}
