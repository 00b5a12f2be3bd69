//! The paths of the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};

/// The stack that every service's routes join.
pub const GATEWAY: &str = "gateway";

/// The checkout this command runs in.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
}

/// A service: a folder below `functions/` with a crate and a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub template: PathBuf,
}

impl Project {
    /// Finds the checkout around the current directory.
    pub fn find() -> Result<Self> {
        let start = std::env::current_dir().context("the current directory")?;
        start
            .ancestors()
            .find(|directory| directory.join("infra/xtask/Cargo.toml").is_file())
            .map(|root| Self {
                root: root.to_owned(),
            })
            .context("run this inside the checkout: no infra/xtask above the current directory")
    }

    /// A copy of the checkout.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The ignored folder for tools, state and logs.
    pub fn folder(&self) -> PathBuf {
        self.root.join(".waybill")
    }

    /// The folder where the templates expect each function: `<binary>/bootstrap`.
    pub fn bootstraps(&self) -> PathBuf {
        self.root.join("target/lambda")
    }

    pub fn gateway_template(&self) -> PathBuf {
        self.root.join("infra/gateway/template.yaml")
    }

    /// Cargo with the environment of a terminal.
    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        self.without_cargo_variables(&mut command);
        command
    }

    /// Removes the variables that `cargo run` sets for this program. Some build scripts read them
    /// and would run again.
    pub fn without_cargo_variables<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let about_this = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ];
        for (name, _) in std::env::vars_os() {
            if about_this
                .iter()
                .any(|start| name.to_string_lossy().starts_with(start))
            {
                command.env_remove(name);
            }
        }
        command
    }

    /// The services, sorted by name.
    pub fn services(&self) -> Result<Vec<Service>> {
        let folder = self.root.join("functions");
        let mut services = Vec::new();
        for entry in std::fs::read_dir(&folder).context(folder.display())? {
            let path = entry.context(folder.display())?.path();
            if !path.join("Cargo.toml").is_file() {
                continue;
            }
            let template = path.join("template.yaml");
            if !template.is_file() {
                return Err(Error::new(format!("{} is missing", template.display())));
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            services.push(Service { name, template });
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(services)
    }
}
