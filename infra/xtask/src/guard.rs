//! A test stack ends with the program that started it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::{Context, Result};
use crate::state::Home;

/// Ends the stack's emulator should this program be ended before it can.
pub struct Guard {
    shell: Child,
    alive: Option<ChildStdin>,
}

impl Guard {
    pub fn start(home: &Home) -> Result<Self> {
        // A line means that all went well; the end of the input without one
        // that this program is gone.
        let script = r#"read -r line && exit 0
            pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$0") && kill -s KILL -- "-$pid""#;
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .arg(home.emulator())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the guard of the test stack")?;
        let alive = shell.stdin.take();
        Ok(Self { shell, alive })
    }

    /// The stack is gone, or the guard is to end it.
    pub fn end(mut self, is_gone: bool) {
        if let (Some(mut alive), true) = (self.alive.take(), is_gone) {
            let _ = writeln!(alive, "done");
        }
    }
}

/// Also where a panic skipped [`Guard::end`]: the guard then ends the stack.
impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.shell.wait();
    }
}
