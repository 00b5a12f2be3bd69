//! The folder one local stack lives in: its emulator, its state, its description, its lock.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::project::Project;

/// Everything one local stack keeps on disk. Two stacks share nothing but the tools.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The developer's own stack.
    pub fn developer(project: &Project) -> Self {
        Self {
            folder: project.folder(),
        }
    }

    /// One of the throwaway stacks of `cargo xtask test`.
    pub fn test(project: &Project, number: usize) -> Self {
        Self {
            folder: project.folder().join(format!("test/{number}")),
        }
    }

    /// The one a stack's description lies in.
    pub fn of(description: &Path) -> Option<Self> {
        let folder = description.parent()?.to_path_buf();
        Some(Self { folder })
    }

    /// What the command line of every process of this stack names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How `cargo xtask` describes this stack to the tests and to itself.
    pub fn stack(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    /// Who the emulator is; there from its start to its orderly end.
    pub fn emulator(&self) -> PathBuf {
        self.folder.join("emulator.json")
    }

    /// The program that is the emulator.
    pub fn launcher(&self) -> PathBuf {
        self.folder.join("emulator.py")
    }

    pub fn emulator_log(&self) -> PathBuf {
        self.folder.join("emulator.log")
    }

    /// What the emulator saves when it is stopped.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Where the emulator unpacks functions.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Begins a new log of the emulator.
    pub fn forget_log(&self) -> Result<()> {
        remove(&self.emulator_log(), |path| fs::remove_file(path))
    }

    /// Forgets the stack. Tools and other stacks stay.
    pub fn wipe(&self) -> Result<()> {
        for folder in [self.state(), self.scratch()] {
            remove(&folder, |path| fs::remove_dir_all(path))?;
        }
        for file in [
            self.stack(),
            self.emulator(),
            self.launcher(),
            self.emulator_log(),
        ] {
            remove(&file, |path| fs::remove_file(path))?;
        }
        Ok(())
    }

    /// Takes the stack for one command; a second one is told who has it.
    pub fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(&self.folder).context(self.folder.display())?;
        let path = self.folder.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context(path.display())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::new(format!(
                    "another cargo xtask ({}) is working on this stack; wait until it is done",
                    holder.trim()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error).context(path.display()),
        }
        let command: Vec<String> = std::env::args().skip(1).collect();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| {
                writeln!(
                    file,
                    "{}, process {}",
                    command.join(" "),
                    std::process::id()
                )
            })
            .context(path.display())?;
        Ok(Lock(file))
    }
}

/// Held while a command changes the stack; the operating system gives it back
/// however the command ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(path.display())
        }
        _ => Ok(()),
    }
}

/// Writes a file so that a reader sees the old one or the new one, whole.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        // It may hold the demo admin's password.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&unfinished)?.write_all(text.as_bytes())?;
        fs::rename(&unfinished, path)
    };
    write().context(path.display())
}
