//! Runs programs, and finds and ends processes that this tool started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};

/// Runs a program to its end with the terminal's output.
pub fn run(command: &mut Command) -> Result<()> {
    let name = name_of(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .context(format!("cannot run {name}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!("{name} failed ({status})")))
    }
}

/// Runs a program to its end and returns its output. A failure contains the output.
pub fn capture(command: &mut Command) -> Result<String> {
    let name = name_of(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .context(format!("cannot run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let all = format!("{}\n{}", text.trim_end(), errors.trim_end());
    Err(Error::new(format!(
        "{name} failed ({}):\n{}",
        output.status,
        last_lines(all.trim(), 40)
    )))
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A running process, not a zombie.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub group: u32,
    pub command: String,
}

/// Every process, from `ps` or, without that, from `/proc`.
pub fn all() -> Vec<Process> {
    let listing = Command::new("ps")
        .args(["-A", "-ww", "-o", "pid=,pgid=,stat=,command="])
        .output();
    match listing {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(parse_ps)
            .collect(),
        _ => from_proc(),
    }
}

fn parse_ps(line: &str) -> Option<Process> {
    let mut rest = line.trim_start();
    let mut field = || {
        let (word, tail) = rest.split_once(char::is_whitespace)?;
        rest = tail.trim_start();
        Some(word)
    };
    let pid = field()?.parse().ok()?;
    let group = field()?.parse().ok()?;
    if field()?.starts_with('Z') {
        return None;
    }
    Some(Process {
        pid,
        group,
        command: rest.to_owned(),
    })
}

fn from_proc() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            // The name in parentheses may contain anything; the fields after it do not.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?;
            let group = fields.nth(1)?.parse().ok()?;
            let command = std::fs::read(path.join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            (state != "Z").then_some(Process {
                pid,
                group,
                command,
            })
        })
        .collect()
}

/// The processes of a group whose command line contains `mark`. The mark protects other processes
/// that reuse the group's number.
pub fn of_group(group: u32, mark: &Path) -> Vec<Process> {
    let mark = mark.to_string_lossy();
    all()
        .into_iter()
        .filter(|p| p.group == group && p.command.contains(&*mark))
        .collect()
}

/// Sends TERM to the group, waits, then sends KILL.
pub fn end_group(group: u32, mark: &Path) {
    for (name, patience) in [
        ("TERM", Duration::from_secs(3)),
        ("KILL", Duration::from_secs(3)),
    ] {
        let left: Vec<u32> = of_group(group, mark)
            .iter()
            .map(|process| process.pid)
            .collect();
        if left.is_empty() {
            return;
        }
        signal(name, &left);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !of_group(group, mark).is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Signals processes by id. A missing process is no error.
pub fn signal(name: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", pids.join(" "))])
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ps_is_parsed() {
        assert_eq!(
            parse_ps("  412   400 Ssl  python /x/ministack --one  two"),
            Some(Process {
                pid: 412,
                group: 400,
                command: "python /x/ministack --one  two".to_owned()
            })
        );
    }

    #[test]
    fn a_zombie_is_no_process() {
        assert_eq!(parse_ps("412 400 Z+ [python] <defunct>"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(all().iter().any(|process| process.pid == own));
        assert!(from_proc().is_empty() || from_proc().iter().any(|process| process.pid == own));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
