//! A running local stack: its addresses and its demo administrator.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::error::{Context, Result};
use crate::http::Client;
use crate::state::write_whole;

/// The prefix of a local stack's names.
pub const LOCAL_PREFIX: &str = "waybill";

/// Written by `cargo xtask up`, `cargo xtask test` and `cargo xtask ci`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    pub prefix: String,
    pub region: String,
    pub port: u16,
    /// The emulator, for AWS calls. On AWS it is empty.
    pub endpoint: String,
    pub api_id: String,
    /// The gateway, for paths that begin with `/api/v1/`.
    pub base_url: String,
    pub admin: Account,
    /// Whether a pipeline deployed it. Then it has no emulator of its own.
    #[serde(default)]
    pub deployed: bool,
}

/// The seeded administrator. The password belongs to this stack only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub email: String,
    pub password: String,
}

impl Stack {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .context("there is no stack yet; start one with cargo xtask up")?;
        serde_json::from_str(&text)
            .context(format!("{} is damaged; run cargo xtask up", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(
            path,
            &serde_json::to_string_pretty(self).context("describing the stack")?,
        )
    }

    /// AWS calls to the emulator, as its root user.
    pub fn aws(&self) -> Aws {
        match self.endpoint.as_str() {
            "" => Aws::environment(&self.region),
            endpoint => Aws::local(endpoint),
        }
    }

    pub fn http(&self) -> Client {
        Client::new(&self.base_url)
    }

    /// The full name of a table, queue or function.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

/// The emulator's address.
pub fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The gateway's address. The emulator puts the API's id in the path and uses the `$default` stage.
pub fn base_url(port: u16, api_id: &str) -> String {
    format!("{}/_aws/execute-api/{api_id}", endpoint(port))
}
