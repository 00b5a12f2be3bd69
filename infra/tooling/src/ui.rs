//! All output of the tools. Foreign text (messages, errors, names, log lines) is printed with
//! visible control characters and bounded lines.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use iso_currency::Currency;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::{Error, Result};

/// The longest printed line: ten lines of a wide terminal.
pub const LINE: usize = 2_000;

/// Prints lines to stdout. False means that stdout is closed.
pub fn say(text: impl Display) -> bool {
    writeln!(std::io::stdout(), "{}", each_line(text, foreign)).is_ok()
}

/// Like [`say`], with whole lines, for text that is deleted next.
pub fn say_whole(text: impl Display) -> bool {
    writeln!(std::io::stdout(), "{}", each_line(text, visible)).is_ok()
}

/// Prints JSON.
pub fn say_json(value: &impl serde::Serialize) -> bool {
    say_whole(serde_json::to_string_pretty(value).expect("values of text and numbers become JSON"))
}

/// Prints lines to stderr.
pub fn print_stderr(text: impl Display) {
    // Without stderr there is no place to report this.
    let _ = writeln!(std::io::stderr(), "{}", each_line(text, foreign));
}

/// Prints a program's error, with its name in red on a terminal.
pub fn fail(name: &str, error: impl Display) {
    let stderr = std::io::stderr();
    // <https://no-color.org>
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let (red, plain) = match stderr.is_terminal() && !is_plain {
        true => ("\u{1b}[31m", "\u{1b}[0m"),
        false => ("", ""),
    };
    let _ = writeln!(&stderr, "{red}{name}:{plain} {}", each_line(error, foreign));
}

/// Prints exactly this text, for a program that reads it.
pub fn put(text: impl Display) -> bool {
    writeln!(std::io::stdout(), "{text}").is_ok()
}

/// Refuses to print raw foreign text to a terminal, which would interpret it.
pub fn not_a_terminal(command: &str) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Error::new(format!(
            "{command} prints control characters as they are: send its output to a file or a pipe"
        )));
    }
    Ok(())
}

/// Foreign text as one line of at most [`LINE`] characters.
pub fn foreign(text: &str) -> String {
    cut(text, LINE)
}

/// Like [`foreign`], with at most `most` characters.
pub fn cut(text: &str, most: usize) -> String {
    let mut shown = visible(text);
    if let Some((cut, _)) = shown.char_indices().nth(most) {
        let more = shown[cut..].chars().count();
        shown.truncate(cut);
        shown.push_str(&format!(" ... ({more} more characters)"));
    }
    shown
}

/// Applies [`foreign`] to every string of a JSON document.
pub fn sanitize(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(foreign(text)),
        Value::Array(values) => values.iter().map(sanitize).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (foreign(name), sanitize(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Escapes characters that a terminal interprets or hides. JSON's escapes keep a JSON document the
/// same.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Controls (C0 except the tab, DEL, C1), text direction (Unicode UAX #9), line separators,
/// zero-width blanks and tags. Joiners (U+200C, U+200D) are part of some scripts.
fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn each_line(text: impl Display, shown: fn(&str) -> String) -> String {
    let lines: Vec<String> = text.to_string().split('\n').map(shown).collect();
    lines.join("\n")
}

/// Formats an amount in minor units: `14.00 USD`, `1400 JPY`, `1.400 KWD`. Without a minor unit in
/// ISO 4217, the unit is `minor units of CODE`.
pub fn money(amount: impl Into<i128>, currency: &str) -> String {
    let (amount, unit) = (decimal(amount, currency), unit(currency));
    format!("{amount} {unit}")
}

/// The number of [`money`].
pub fn decimal(amount: impl Into<i128>, currency: &str) -> String {
    let amount = amount.into();
    let digits = exponent(currency).unwrap_or(0);
    if digits == 0 {
        return amount.to_string();
    }
    let one = 10_u128.pow(u32::from(digits));
    let sign = if amount < 0 { "-" } else { "" };
    let (whole, rest) = (amount.unsigned_abs() / one, amount.unsigned_abs() % one);
    format!("{sign}{whole}.{rest:0width$}", width = usize::from(digits))
}

/// The unit of [`money`].
pub fn unit(currency: &str) -> String {
    match exponent(currency) {
        Some(_) => currency.to_owned(),
        None => format!("minor units of {}", foreign(currency)),
    }
}

fn exponent(currency: &str) -> Option<u16> {
    Currency::from_code(currency)?.exponent()
}

/// One step of a longer command, printed with its outcome and time.
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

    /// On a terminal, prints the activity of a slow step.
    pub fn note(&self, text: impl Display) {
        if std::io::stdout().is_terminal() {
            say(format_args!("{:>10}  {text} ...", self.name));
        }
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

/// The time since then, in its largest useful unit.
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
    fn times_and_counts_have_units() {
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

    #[test]
    fn money_has_the_decimals_of_its_currency() {
        for (amount, currency, expected) in [
            (1400, "USD", "14.00 USD"),
            (5, "EUR", "0.05 EUR"),
            (-1405, "USD", "-14.05 USD"),
            (-5, "USD", "-0.05 USD"),
            (1400, "JPY", "1400 JPY"),
            (1400, "KWD", "1.400 KWD"),
            (1400, "CLF", "0.1400 CLF"),
            (1400, "HRK", "14.00 HRK"),
            (1400, "UDS", "1400 minor units of UDS"),
            (1400, "XXX", "1400 minor units of XXX"),
            (1400, "\u{1b}[2J", "1400 minor units of \\u001b[2J"),
        ] {
            assert_eq!(money(amount, currency), expected);
        }
        let most = i128::from(i64::MAX) * 3;
        assert_eq!(money(most, "USD"), "276701161105643274.21 USD");
        assert!(money(i128::MIN, "USD").starts_with('-'));
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, expected) in [
            ("\u{1b}]0;owned\u{7}", "\\u001b]0;owned\\u0007"),
            ("a\r\nnext: rm", "a\\u000d\\u000anext: rm"),
            ("\u{7f}\u{9b}2J", "\\u007f\\u009b2J"),
            ("\u{202e}live\u{2069}", "\\u202elive\\u2069"),
            ("\u{e0041}\u{feff}", "\\udb40\\udc41\\ufeff"),
            (
                "a\tb, \u{d30}\u{d4d}\u{200d}, \u{1f600}",
                "a\tb, \u{d30}\u{d4d}\u{200d}, \u{1f600}",
            ),
        ] {
            assert_eq!(foreign(text), expected, "{text:?}");
        }
        let document = serde_json::json!({"a\u{9b}": "\u{1b}\u{202e}\u{e0041}\"\\"});
        let shown = visible(&document.to_string());
        assert!(!shown.contains(is_hidden), "{shown}");
        let read: Value = serde_json::from_str(&shown).expect("it is JSON still");
        assert_eq!(read, document);
        assert_eq!(
            sanitize(&document),
            serde_json::json!({"a\\u009b": foreign("\u{1b}\u{202e}\u{e0041}\"\\")})
        );
    }

    #[test]
    fn a_long_line_is_cut_with_a_count() {
        let long = "\u{e9}".repeat(LINE + 200_000);
        let shown = foreign(&long);
        assert!(
            shown.ends_with("\u{e9} ... (200000 more characters)"),
            "{}",
            shown.len()
        );
        assert_eq!(foreign(&"x".repeat(LINE)), "x".repeat(LINE));
        let lines = each_line(format!("a\n{long}\nb"), foreign);
        assert_eq!(lines, format!("a\n{shown}\nb"));
        assert_eq!(each_line(&long, visible), long);
    }

    /// Any other way to print would let foreign text through.
    #[test]
    fn only_this_module_prints() {
        fn sources(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    sources(&path, found);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        let tools = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for tool in ["tooling", "ops", "xtask"] {
            sources(&tools.join(tool).join("src"), &mut found);
        }
        assert!(found.len() > 30, "{found:?}");
        for path in found.iter().filter(|path| !path.ends_with("ui.rs")) {
            let source = std::fs::read_to_string(path).expect("a source");
            for way in ["println!", "print!", "stdout()", "stderr()", "dbg!"] {
                assert!(
                    !source.contains(way),
                    "{}: {way}; ui.rs prints",
                    path.display()
                );
            }
            let is_verbatim = path.ends_with("run.rs") || !source.contains("ui::put");
            assert!(is_verbatim, "{}: text as it is", path.display());
        }
    }
}
