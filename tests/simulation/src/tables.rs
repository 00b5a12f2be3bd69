//! The services' tables.

use test_support::template_config::{Service, services};

/// The table names from the templates.
#[derive(Clone, Debug)]
pub struct Tables {
    pub users: String,
    pub orders: String,
    pub inventory: String,
    pub payments: String,
}

impl Tables {
    /// Names each table by its service.
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
