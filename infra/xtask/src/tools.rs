//! The pinned tools, each in its own folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};
use crate::process;
use crate::project::Project;
use crate::ui::say;

/// A Python package with a program. Their dependencies conflict, so each has its own environment.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    folder: &'static str,
    pin: &'static str,
}

/// Deploys the stacks.
pub const SAM: Tool = Tool {
    folder: "sam",
    pin: "aws-sam-cli==1.170.0",
};
/// The AWS emulator.
pub const MINISTACK: Tool = Tool {
    folder: "ministack",
    pin: "ministack[full]==1.5.33",
};
/// Cross-compiles for AWS and watches sources; the local stack does not need it.
pub const CARGO_LAMBDA: Tool = Tool {
    folder: "cargo-lambda",
    pin: "cargo-lambda==1.9.2",
};

/// Looks for weaknesses in the workflows.
pub const ZIZMOR: Tool = Tool {
    folder: "zizmor",
    pin: "zizmor==1.32.0",
};

const CARGO_MUTANTS: &str = "27.1.0";

const OLDEST_PYTHON: (u32, u32) = (3, 10);

impl Tool {
    pub fn program(self, project: &Project, name: &str) -> PathBuf {
        self.bin(project).join(name)
    }

    pub fn bin(self, project: &Project) -> PathBuf {
        self.directory(project).join("bin")
    }

    pub fn is_installed(self, project: &Project) -> bool {
        fs::read_to_string(self.marker(project)).is_ok_and(|pin| pin.trim() == self.pin)
    }

    /// Installs the pinned version unless it is there. An interrupted installation has no marker
    /// and is repeated.
    pub fn install(self, project: &Project) -> Result<()> {
        if self.is_installed(project) {
            return Ok(());
        }
        let python = find_python()?;
        let directory = self.directory(project);
        if directory.exists() {
            fs::remove_dir_all(&directory).context(directory.display())?;
        }
        fs::create_dir_all(&directory).context(directory.display())?;
        process::capture(Command::new(&python).args(["-m", "venv"]).arg(&directory)).map_err(|error| {
            Error::new(format!(
                "{error}\nPython's venv module is needed (Debian and Ubuntu: apt install python3-venv)"
            ))
        })?;
        process::capture(
            Command::new(self.program(project, "python"))
                .args("-m pip install --quiet --disable-pip-version-check --no-input".split(' '))
                .arg(self.pin)
                .env_remove("PYTHONPATH"),
        )
        .context(format!("installing {}", self.pin))?;
        let unfinished = directory.join("pin.new");
        fs::write(&unfinished, self.pin).context(unfinished.display())?;
        fs::rename(&unfinished, self.marker(project)).context(unfinished.display())
    }

    pub fn pin(self) -> &'static str {
        self.pin
    }

    fn directory(self, project: &Project) -> PathBuf {
        project.folder().join("tools").join(self.folder)
    }

    fn marker(self, project: &Project) -> PathBuf {
        self.directory(project).join("pin")
    }
}

/// Installs the pinned cargo-mutants unless it is there, and returns its path.
pub fn install_cargo_mutants(project: &Project) -> Result<PathBuf> {
    let name = format!("cargo-mutants-{CARGO_MUTANTS}");
    let directory = project.folder().join("tools").join(name);
    // Cargo puts the program there only when it is complete.
    let program = directory.join("bin/cargo-mutants");
    if !program.is_file() {
        say(format_args!("installing cargo-mutants {CARGO_MUTANTS} ..."));
        process::run(
            project
                .cargo()
                .args(["install", "--quiet", "--locked", "cargo-mutants"])
                .args(["--version", CARGO_MUTANTS])
                .arg("--root")
                .arg(&directory),
        )?;
    }
    Ok(program)
}

/// Finds a recent Python on `PATH`.
pub fn find_python() -> Result<PathBuf> {
    let mut found = Vec::new();
    let names = "python3 python3.13 python3.12 python3.11 python3.10 python";
    for name in names.split(' ') {
        let path = Path::new(name);
        let Ok(version) = process::capture(Command::new(path).arg("--version")) else {
            continue;
        };
        if python_version(&version).is_some_and(|version| version >= OLDEST_PYTHON) {
            return Ok(path.to_owned());
        }
        found.push(format!("{name} is {}", version.trim()));
    }
    let (major, minor) = OLDEST_PYTHON;
    let found = match found.is_empty() {
        true => "none is on PATH".to_owned(),
        false => found.join(", "),
    };
    Err(Error::new(format!(
        "Python {major}.{minor} or newer is needed for the AWS emulator and the SAM CLI, and {found}; \
         install python3 (with its venv module) and run this again"
    )))
}

fn python_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_versions_compare_as_numbers() {
        assert_eq!(python_version("Python 3.9.2\n"), Some((3, 9)));
        assert!(python_version("Python 3.11.7") >= Some(OLDEST_PYTHON));
        assert!(python_version("Python 3.9.2") < Some(OLDEST_PYTHON));
        assert_eq!(python_version("Jython 2.7"), None);
    }
}
