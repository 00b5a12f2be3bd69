//! Starts, finds and stops MiniStack, the AWS emulator.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aws::{LOCAL_CREDENTIALS, LOCAL_REGION};
use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::process;
use crate::stack::{Stack, endpoint};
use crate::state::{Home, write_whole};

const LAUNCHER: &str = include_str!("emulator.py");
const FIRST_CHOICE: u16 = 4566;
const START_PATIENCE: Duration = Duration::from_secs(60);
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
/// Saving the state takes about 3 s, and longer with many warm functions.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Emulator {
    pid: u32,
    pub port: u16,
    /// The emulator returns this id in its health answer, so another program on the port is
    /// recognised.
    instance: Uuid,
}

#[derive(Debug)]
pub enum Condition {
    Running(Emulator),
    /// It ended without being stopped, or does not answer.
    Lost(Emulator),
    Stopped,
}

pub fn condition(home: &Home) -> Condition {
    let Ok(text) = fs::read_to_string(home.emulator()) else {
        return Condition::Stopped;
    };
    match serde_json::from_str::<Emulator>(&text) {
        // A busy emulator may answer slowly; a dead one is not waited for.
        Ok(emulator) if emulator.is_alive(home) && emulator.answers(BUSY_PATIENCE) => {
            Condition::Running(emulator)
        }
        Ok(emulator) => Condition::Lost(emulator),
        // The file was written in part, so the emulator never started.
        Err(_) => Condition::Stopped,
    }
}

/// The stack in `home`, if it is running.
pub fn stack(home: &Home) -> Result<Stack> {
    if let Ok(stack) = Stack::read(&home.stack())
        && stack.deployed
    {
        return Ok(stack);
    }
    match condition(home) {
        Condition::Running(_) => Stack::read(&home.stack()),
        Condition::Lost(_) => Err(Error::new(
            "the emulator has ended; start it again with cargo xtask up",
        )),
        Condition::Stopped => Err(Error::new(
            "the stack is not running; start it with cargo xtask up",
        )),
    }
}

/// Starts the emulator with its last saved state. `python` has MiniStack installed.
pub fn start(python: &Path, home: &Home, port: u16) -> Result<Emulator> {
    let scratch = home.scratch();
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context(scratch.display())?;
    }
    for folder in [scratch, home.state()] {
        fs::create_dir_all(&folder).context(folder.display())?;
    }
    let launcher = home.launcher();
    write_whole(&launcher, LAUNCHER)?;
    let log_path = home.emulator_log();
    // Appends, so that lines from before a restart stay.
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .context(log_path.display())?;
    let instance = Uuid::new_v4();
    // The shell writes its process id and becomes the emulator, so no emulator runs unrecorded.
    let note = r#"printf '{"pid":%s,"port":%s,"instance":"%s"}' "$$" "$GATEWAY_PORT" "$MINISTACK_EDITION" >"$0" && exec "$@""#;
    let mut child = Command::new("sh")
        .args(["-c", note])
        .arg(home.emulator())
        .arg(python)
        .arg(&launcher)
        // Functions inherit this environment. A variable of the developer must not hide a missing
        // one in a template.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", home.scratch())
        .env("TMPDIR", home.scratch())
        .env("PYTHONUNBUFFERED", "1")
        // The log's times have no zone.
        .env("TZ", "UTC")
        .envs(LOCAL_CREDENTIALS)
        .env("AWS_ENDPOINT_URL", endpoint(port))
        .env("AUTH", "true")
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_REGION", LOCAL_REGION)
        .env("MINISTACK_EDITION", instance.to_string())
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", home.state())
        // Otherwise the code of functions is gone from its bucket after a restart.
        .env("S3_PERSIST", "1")
        .env("S3_DATA_DIR", home.state().join("s3"))
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context(log_path.display())?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the emulator")?;
    let emulator = Emulator {
        pid: child.id(),
        port,
        instance,
    };
    let deadline = Instant::now() + START_PATIENCE;
    while Instant::now() < deadline {
        if emulator.answers(Duration::from_secs(1)) {
            return Ok(emulator);
        }
        if let Some(status) = child.try_wait().context("waiting for the emulator")? {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            return Err(Error::new(format!(
                "the emulator ended at once ({status}); the end of {}:\n{}",
                log_path.display(),
                process::last_lines(&log, 15)
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    emulator.kill(home);
    Err(Error::new(format!(
        "the emulator did not answer within a minute; see {}",
        log_path.display()
    )))
}

impl Emulator {
    /// Checks that this emulator answers on its port.
    fn answers(&self, patience: Duration) -> bool {
        let client = Client::with_timeout(&endpoint(self.port), patience);
        client
            .get("/_ministack/health", None)
            .is_ok_and(|answer| answer.value()["edition"] == self.instance.to_string())
    }

    fn is_alive(&self, home: &Home) -> bool {
        process::of_group(self.pid, home.folder())
            .iter()
            .any(|process| process.pid == self.pid)
    }

    /// The processes of running functions.
    pub fn functions(&self, home: &Home) -> Vec<u32> {
        process::of_group(self.pid, home.folder())
            .iter()
            .filter(|process| process.pid != self.pid)
            .map(|process| process.pid)
            .collect()
    }

    /// Saves the state and stops the emulator with its functions.
    pub fn stop(&self, home: &Home) -> Result<()> {
        self.end(home, STOP_PATIENCE);
        fs::remove_file(home.emulator()).context(home.emulator().display())
    }

    /// Stops the emulator without saving its state.
    pub fn kill(&self, home: &Home) {
        self.end(home, Duration::ZERO);
    }

    fn end(&self, home: &Home, patience: Duration) {
        // Its functions may be running, and it saves their work; so they end after it.
        if !patience.is_zero() && self.is_alive(home) {
            process::signal("TERM", &[self.pid]);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline && self.is_alive(home) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        process::end_group(self.pid, home.folder());
    }
}

/// The requested port; else the last one, the default one or a free one.
pub fn choose_port(asked: Option<u16>, last: Option<u16>) -> Result<u16> {
    if let Some(port) = asked {
        return if is_free(port) {
            Ok(port)
        } else {
            Err(Error::new(format!(
                "another program uses port {port}; choose another port, or omit --port to get a \
                 free one"
            )))
        };
    }
    if let Some(port) = last
        .into_iter()
        .chain([FIRST_CHOICE])
        .find(|port| is_free(*port))
    {
        return Ok(port);
    }
    Ok(free_ports(1)?[0])
}

/// Distinct free ports.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bound = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All listeners stay open until the last is bound, so that no port is found twice.
    let listeners: std::io::Result<Vec<TcpListener>> = (0..count).map(bound).collect();
    let listeners = listeners.context("no port is free")?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports
        .collect::<std::io::Result<_>>()
        .context("no port is free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Replaces the port in the saved state. Queues are found by a URL that contains it, and functions
/// have it in their variables.
pub fn move_state(home: &Home, from: u16, to: u16) -> Result<()> {
    for name in ["sqs.json", "cloudformation.json", "lambda.json"] {
        let path = home.state().join(name);
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).context(path.display())?;
        write_whole(&path, &moved(&text, from, to))?;
    }
    Ok(())
}

fn moved(text: &str, from: u16, to: u16) -> String {
    ["localhost", "127.0.0.1"]
        .iter()
        .fold(text.to_owned(), |text, host| {
            text.replace(&format!("//{host}:{from}/"), &format!("//{host}:{to}/"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("an address").port();
        let refusal = choose_port(Some(port), None)
            .expect_err("it is taken")
            .to_string();
        assert!(refusal.contains(&port.to_string()), "{refusal}");
        assert_ne!(choose_port(None, Some(port)).expect("another"), port);
    }

    #[test]
    fn moving_the_state_replaces_only_its_port() {
        assert_eq!(
            moved(
                r#"{"http://localhost:4566/0/q": 1, "u": "http://localhost:45660/0/q"}"#,
                4566,
                5000
            ),
            r#"{"http://localhost:5000/0/q": 1, "u": "http://localhost:45660/0/q"}"#
        );
    }
}
