//! A running local stack as others see it: where it answers and how to reach what is behind it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::error::{Context, Result};
use crate::http::Client;
use crate::state::write_whole;

/// What every name of a local stack begins with.
pub const LOCAL_PREFIX: &str = "waybill";

/// Written by `cargo xtask up` and by `cargo xtask test`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    pub prefix: String,
    pub region: String,
    pub port: u16,
    /// The emulator, for AWS calls.
    pub endpoint: String,
    pub api_id: String,
    /// The gateway: paths begin `/api/v1/`.
    pub base_url: String,
    pub admin: Account,
}

/// The administrator that seeding made, with a password of this stack alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub email: String,
    pub password: String,
}

impl Stack {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .context("there is no stack here yet; start one with cargo xtask up")?;
        serde_json::from_str(&text)
            .context(format!("{} is damaged; run cargo xtask up", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(
            path,
            &serde_json::to_string_pretty(self).context("describing the stack")?,
        )
    }

    /// AWS calls to the emulator, with the rights of its root user.
    pub fn aws(&self) -> Aws {
        Aws::local(&self.endpoint)
    }

    /// The API.
    pub fn http(&self) -> Client {
        Client::new(&self.base_url)
    }

    /// Where the table, queue or function `name` of this stack is found by name.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

/// The emulator's address.
pub fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The gateway's address. The emulator puts the API's id in the path, and
/// finds the `$default` stage by itself.
pub fn base_url(port: u16, api_id: &str) -> String {
    format!("{}/_aws/execute-api/{api_id}", endpoint(port))
}
