//! Inventory: its queue, and the changes of administrators.

use std::rc::Rc;

use futures_util::FutureExt;

use super::crates::inventory::handlers::{adjust, commands, update};
use crate::services::endpoint;
use crate::wiring::{Handler, WIRED, Wiring};

endpoint!(adjust, "inventory-adjust");
endpoint!(update, "inventory-update");

pub fn commands(wiring: &Wiring) -> Handler {
    let commands = Rc::new(commands::wire(&wiring.setup("inventory-commands")).expect(WIRED));
    Box::new(move |context, envelope| {
        let commands = Rc::clone(&commands);
        async move { commands::handle(&commands, context, envelope).await }.boxed_local()
    })
}
