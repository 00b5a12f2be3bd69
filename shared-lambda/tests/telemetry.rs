//! Error chains on one line, and the levels of the log.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};
use shared_lambda::telemetry::{chain, init};

use crate::logs::Logs;

#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|layer| layer as _)
    }
}

fn layers(texts: &[&'static str]) -> Layer {
    let (first, rest) = texts.split_first().unwrap();
    let beneath = (!rest.is_empty()).then(|| Box::new(layers(rest)));
    Layer(first, beneath)
}

#[test]
fn a_chain_has_every_layer_from_the_top() {
    assert_eq!(chain(&layers(&["only"])), "only");
    assert_eq!(
        chain(&layers(&["not saved", "no answer", "timed out"])),
        "not saved: no answer: timed out"
    );
}

#[test]
fn a_layer_that_repeats_its_source_appears_once() {
    assert_eq!(
        chain(&layers(&["no answer: timed out", "timed out"])),
        "no answer: timed out"
    );
}

#[test]
fn logging_may_be_started_more_than_once() {
    init();
    init();
}

#[test]
fn libraries_never_log_below_info() {
    use tracing::Level;
    use tracing_subscriber::filter::LevelFilter;
    let filter = shared_lambda::telemetry::filter(LevelFilter::TRACE);
    assert!(filter.would_enable("orders::handlers::place", &Level::TRACE));
    for library in [
        "lambda_runtime::layers::api_response",
        "aws_smithy_runtime::client",
        "hyper::proto",
    ] {
        assert!(filter.would_enable(library, &Level::INFO), "{library}");
        assert!(!filter.would_enable(library, &Level::DEBUG), "{library}");
    }
    let filter = shared_lambda::telemetry::filter(LevelFilter::ERROR);
    assert!(!filter.would_enable("lambda_runtime", &Level::INFO));
}

#[test]
fn metric_lines_are_printed_at_every_level() {
    use tracing::Level;
    use tracing_subscriber::filter::LevelFilter;
    for level in [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::TRACE] {
        let filter = shared_lambda::telemetry::filter(level);
        assert!(filter.would_enable(shared_lambda::telemetry::METRICS, &Level::INFO));
    }
}

#[test]
fn a_line_of_a_call_is_short() {
    let logs = Logs::start();
    tracing::info!(target: shared_lambda::telemetry::CALLS, status = 200, none = None::<u8>);
    tracing::warn!(status = 200, "slow");
    let text = logs.text();
    let (call, other) = text.split_once('\n').unwrap();
    assert_eq!(call, r#"{"status":200}"#);
    assert!(other.starts_with(r#"{"timestamp":""#), "{other}");
    let other: Value = serde_json::from_str(other).unwrap();
    assert_eq!(
        (&other["level"], &other["message"]),
        (&json!("WARN"), &json!("slow"))
    );
}
