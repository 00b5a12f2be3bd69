//! What a person reads while something goes on.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Prints a line. Nobody reading it any more is no failure of what is being
/// done, and is told to the caller.
pub fn say(text: impl Display) -> bool {
    writeln!(std::io::stdout(), "{text}").is_ok()
}

/// One step of a longer command: its name now, its outcome and time when it ends.
pub struct Step {
    name: &'static str,
    begun: Instant,
}

impl Step {
    pub fn begin(name: &'static str) -> Self {
        Self {
            name,
            begun: Instant::now(),
        }
    }

    /// Says what is going on meanwhile, when it may take long.
    pub fn note(&self, text: impl Display) {
        say(format_args!("{:>10}  {text} ...", self.name));
    }

    pub fn end(self, text: impl Display) {
        say(format_args!(
            "{:>10}  {text} ({})",
            self.name,
            seconds(self.begun.elapsed())
        ));
    }
}

pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// How long ago that was, in the one unit that matters.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    match now.duration_since(since).as_secs().max(0) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// `1 function`, `2 functions`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_read_naturally() {
        assert_eq!(seconds(Duration::from_millis(1450)), "1.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let since = at("2026-01-01T00:00:00Z");
        for (now, expected) in [
            ("2025-12-31T23:59:59Z", "0 s"),
            ("2026-01-01T00:01:59Z", "119 s"),
            ("2026-01-01T00:02:00Z", "2 min"),
            ("2026-01-01T02:00:00Z", "2 h"),
            ("2026-01-03T00:00:00Z", "2 d"),
        ] {
            assert_eq!(age(since, at(now)), expected);
        }
        assert_eq!(count(1, "function"), "1 function");
        assert_eq!(count(0, "stack"), "0 stacks");
    }
}
