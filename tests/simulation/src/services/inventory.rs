//! Inventory: its queue, and the changes of administrators.

use super::crates::inventory::handlers::{adjust, commands, create, update};
use super::release::{endpoint, handler};
use crate::wiring::{Endpoint, Handler, Wiring};

pub fn create(wiring: &Wiring) -> Endpoint {
    endpoint(wiring, "inventory-create", create::wire, create::handle)
}

pub fn update(wiring: &Wiring) -> Endpoint {
    endpoint(wiring, "inventory-update", update::wire, update::handle)
}

pub fn adjust(wiring: &Wiring) -> Endpoint {
    endpoint(wiring, "inventory-adjust", adjust::wire, adjust::handle)
}

pub fn commands(wiring: &Wiring) -> Handler {
    let name = "inventory-commands";
    handler(wiring, name, commands::wire, commands::handle)
}
