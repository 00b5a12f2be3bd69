//! The log lines that a part of a test writes.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use shared_lambda::telemetry;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

/// Collects this thread's log lines for as long as it lives.
pub struct Logs {
    written: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Logs {
    pub fn start() -> Self {
        // With a single subscriber, tracing caches the answer of the first thread that reaches a log
        // line. Another test's thread would answer no, and the line would be lost here too.
        static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
        OTHERS.get_or_init(|| {
            [(); 2]
                .map(|()| Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish()))
        });
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink(Arc::clone(&written));
        let subscriber = telemetry::subscriber(LevelFilter::INFO, move || sink.clone());
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything that was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    /// The lines without times, which a test cannot foresee.
    pub fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let members = line.as_object_mut().unwrap();
            members.retain(|name, _| !["timestamp", "ms"].contains(&name.as_str()));
            line
        });
        lines.collect()
    }
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
