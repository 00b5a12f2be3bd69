//! The functions, built with one `cargo build` and laid out where the templates look for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::project::{Project, Service};

/// What a build produced.
pub struct Built {
    pub functions: usize,
    /// How many of them differ from what was laid out before.
    pub changed: usize,
}

/// The lines of `cargo build --message-format=json` that matter.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// Builds every function and lays out what changed.
pub fn build(project: &Project, services: &[Service]) -> Result<Built> {
    let mut command = project.cargo();
    command
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .args(
            services
                .iter()
                .flat_map(|service| ["--package", &service.name]),
        );
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        return Err(Error::new("the functions do not build"));
    }
    let binaries = binaries(&String::from_utf8_lossy(&output.stdout));
    // One layout at a time: the developer's stack and the tests share the folder.
    fs::create_dir_all(project.bootstraps()).context("target/lambda")?;
    let turn = File::create(project.bootstraps().join(".lock")).context("target/lambda/.lock")?;
    turn.lock().context("target/lambda/.lock")?;
    let mut changed = 0;
    for binary in &binaries {
        changed += usize::from(lay_out(project, binary)?);
    }
    Ok(Built {
        functions: binaries.len(),
        changed,
    })
}

/// The programs that cargo says it built.
pub fn binaries(messages: &str) -> Vec<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| message.executable)
        .collect()
}

/// Copies one binary unless the same is there. What a release build for AWS
/// left in its place has another size or time, and is replaced.
fn lay_out(project: &Project, binary: &Path) -> Result<bool> {
    let name = binary.file_name().context("a binary without a name")?;
    let folder = project.bootstraps().join(name);
    let bootstrap = folder.join("bootstrap");
    let source = fs::metadata(binary).context(binary.display())?;
    let built = source.modified().context(binary.display())?;
    if let Ok(present) = fs::metadata(&bootstrap)
        && present.len() == source.len()
        && present.modified().is_ok_and(|modified| modified == built)
    {
        return Ok(false);
    }
    let place = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        // Beside its folder, not in it: a deployment running meanwhile packs the folder.
        let unfinished = folder.with_extension("new");
        fs::copy(binary, &unfinished)?;
        File::options()
            .write(true)
            .open(&unfinished)?
            .set_modified(built)?;
        fs::rename(&unfinished, &bootstrap)
    };
    place().context(bootstrap.display())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_that_can_be_run_count() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/orders-place","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(binaries(messages), [PathBuf::from("/t/debug/orders-place")]);
    }
}
