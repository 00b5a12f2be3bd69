//! Functions outside the emulator: variables for a shell, `cargo lambda watch` and builds for AWS.

use std::collections::BTreeMap;
use std::process::Command;

use crate::account;
use crate::aws::local_environment;
use crate::error::{Context, Result};
use crate::process;
use crate::project::{Project, Service};
use crate::stack::Stack;
use crate::tools;
use crate::ui::print_stderr;

/// The variables of all deployed functions, and those that reach the emulator. A name has the same
/// value in every function.
pub fn environment(stack: &Stack) -> Result<BTreeMap<String, String>> {
    let aws = stack.aws();
    let mut variables: BTreeMap<String, String> = local_environment(&stack.endpoint)
        .into_iter()
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for function in account::functions(&aws)? {
        for (name, value) in function["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if let Some(value) = value.as_str() {
                variables.insert(name.clone(), value.to_owned());
            }
        }
    }
    Ok(variables)
}

/// The variables as lines for a shell.
pub fn exports(variables: &BTreeMap<String, String>) -> String {
    variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

pub fn watch(project: &Project, stack: &Stack, arguments: &[String]) -> Result<()> {
    let mut command = cargo_lambda(project)?;
    command
        .arg("watch")
        .args(arguments)
        .envs(environment(stack)?);
    process::run(&mut command)
}

/// Builds the functions of services for AWS.
pub fn bundle(project: &Project, services: &[Service], x86_64: bool) -> Result<()> {
    let mut command = cargo_lambda(project)?;
    command
        // cargo-lambda's release profile aborts on a panic; here a panic must fail one message, not
        // its batch.
        .args(["build", "--release", "--disable-optimizations"])
        .arg(if x86_64 { "--x86-64" } else { "--arm64" })
        .args(
            services
                .iter()
                .flat_map(|service| ["--package", &service.name]),
        );
    process::run(&mut command)
}

fn cargo_lambda(project: &Project) -> Result<Command> {
    let tool = tools::CARGO_LAMBDA;
    if !tool.is_installed(project) {
        print_stderr(format_args!("installing {} ...", tool.pin()));
        tool.install(project)?;
    }
    let mut command = Command::new(tool.program(project, "cargo-lambda"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // cargo-lambda brings its own cross-compiler.
    let paths = std::iter::once(tool.bin(project)).chain(std::env::split_paths(&path));
    command
        .current_dir(project.root())
        .arg("lambda")
        .env("PATH", std::env::join_paths(paths).context("PATH")?);
    project.without_cargo_variables(&mut command);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_values_are_quoted() {
        let variables = [(
            "AUTH_JWKS".to_owned(),
            r#"{"keys":["it's $HOME"]}"#.to_owned(),
        )]
        .into();
        assert_eq!(
            exports(&variables),
            "export AUTH_JWKS='{\"keys\":[\"it'\\''s $HOME\"]}'\n"
        );
    }
}
