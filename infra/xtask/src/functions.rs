//! Functions outside the emulator's gateway: their variables for a shell, `cargo lambda watch`.

use std::collections::BTreeMap;
use std::process::Command;

use crate::account;
use crate::aws::local_environment;
use crate::error::{Context, Result};
use crate::process;
use crate::project::Project;
use crate::stack::Stack;
use crate::tools;
use crate::ui::complain;

/// What the deployed functions are configured with, all together, and how to
/// reach the emulator. One name has one meaning in every function.
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

/// The same, as lines for a shell to evaluate.
pub fn exports(variables: &BTreeMap<String, String>) -> String {
    variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// `cargo lambda watch` with those variables, until it is interrupted.
pub fn watch(project: &Project, stack: &Stack, arguments: &[String]) -> Result<()> {
    let mut command = cargo_lambda(project)?;
    command
        .arg("watch")
        .args(arguments)
        .envs(environment(stack)?);
    process::run(&mut command)
}

/// Builds every function as it goes to AWS.
pub fn bundle(project: &Project, x86_64: bool) -> Result<()> {
    let mut command = cargo_lambda(project)?;
    command
        // Without cargo-lambda's own idea of a release profile, which aborts on
        // a panic; here one message's panic must not take its batch along.
        .args(["build", "--release", "--disable-optimizations"])
        .arg(if x86_64 { "--x86-64" } else { "--arm64" })
        .args(
            project
                .services()?
                .iter()
                .flat_map(|service| ["--package", &service.name]),
        );
    process::run(&mut command)
}

fn cargo_lambda(project: &Project) -> Result<Command> {
    let tool = tools::CARGO_LAMBDA;
    if !tool.is_installed(project) {
        complain(format_args!("installing {} ...", tool.pin()));
        tool.install(project)?;
    }
    let mut command = Command::new(tool.program(project, "cargo-lambda"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Its compiler for other targets comes with it.
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
    fn a_value_reaches_the_shell_whatever_is_in_it() {
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
