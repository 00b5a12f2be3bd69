//! The folder of one local stack: its emulator, state, description and lock.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::project::Project;

/// All files of one local stack. Two stacks share only the tools.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    pub fn developer(project: &Project) -> Self {
        Self {
            folder: project.folder(),
        }
    }

    /// The stack whose description `WAYBILL_STACK` names, or the developer's.
    pub fn current(project: &Project) -> Self {
        let named = std::env::var_os("WAYBILL_STACK");
        named
            .and_then(|path| Self::of(Path::new(&path)))
            .unwrap_or_else(|| Self::developer(project))
    }

    /// A temporary stack of `cargo xtask test`.
    pub fn test(project: &Project, number: usize) -> Self {
        Self {
            folder: project.folder().join(format!("test/{number}")),
        }
    }

    /// The folder that contains a stack's description.
    pub fn of(description: &Path) -> Option<Self> {
        let folder = description.parent()?.to_path_buf();
        Some(Self { folder })
    }

    /// Every process of this stack has this path in its command line.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The description of the stack, for tests and commands.
    pub fn stack(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    /// The emulator's process; exists from its start to its orderly end.
    pub fn emulator(&self) -> PathBuf {
        self.folder.join("emulator.json")
    }

    /// The emulator's program.
    pub fn launcher(&self) -> PathBuf {
        self.folder.join("emulator.py")
    }

    pub fn emulator_log(&self) -> PathBuf {
        self.folder.join("emulator.log")
    }

    /// The emulator's saved state.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The folder into which the emulator unpacks functions.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Deletes the emulator's log.
    pub fn delete_log(&self) -> Result<()> {
        remove(&self.emulator_log(), |path| fs::remove_file(path))
    }

    /// Deletes the stack's files. Tools and other stacks stay.
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

    /// Locks the stack for one command. The error of a second command names the first.
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
                    "another cargo xtask ({}) is using this stack; wait until it ends",
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

/// The operating system releases the lock, however the command ends.
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

/// Writes a file atomically: a reader sees the old text or the new one.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        // The file may contain the demo administrator's password.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&unfinished)?.write_all(text.as_bytes())?;
        fs::rename(&unfinished, path)
    };
    write().context(path.display())
}
