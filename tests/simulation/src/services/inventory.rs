//! Inventory: its queue.

use std::rc::Rc;

use futures_util::FutureExt;
use inventory::handlers::commands;

use crate::wiring::{Handler, WIRED, Wiring};

pub fn wire(wiring: &Wiring) -> Handler {
    let commands = Rc::new(commands::wire(&wiring.setup("inventory-commands")).expect(WIRED));
    Box::new(move |context, envelope| {
        let commands = Rc::clone(&commands);
        async move { commands::handle(&commands, context, envelope).await }.boxed_local()
    })
}
