//! The services' tables.

use test_support::template_config::{Service, services};

/// The names the templates give the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    pub users: String,
    pub orders: String,
    pub inventory: String,
    pub payments: String,
}

impl Tables {
    /// Each by what there is to say of its service.
    pub fn of(name: impl Fn(&Service) -> String) -> Self {
        let of = |service: &str| {
            let found = services().iter().find(|known| known.name == service);
            name(found.unwrap_or_else(|| panic!("there is no service {service}")))
        };
        Self {
            users: of("users"),
            orders: of("orders"),
            inventory: of("inventory"),
            payments: of("payments"),
        }
    }

    pub fn all(&self) -> [&String; 4] {
        [&self.users, &self.orders, &self.inventory, &self.payments]
    }
}
