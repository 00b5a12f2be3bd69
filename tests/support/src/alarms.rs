//! The decisions of CloudWatch alarms, with the metric math that the templates use (CloudWatch user
//! guide, "Metric math syntax and functions" and "Evaluating an alarm").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::template::Template;

/// The periods that the longest alarm of the templates looks at.
pub const PERIODS: usize = 5;

/// The values of one metric, one for each period, the newest last. `None` is missing data.
type Series = Vec<Option<f64>>;

/// The metrics that CloudWatch has, by name and dimension. Others have no data.
#[derive(Default)]
pub struct Metrics(BTreeMap<(&'static str, String), Series>);

impl Metrics {
    pub fn set(&mut self, metric: &'static str, of: &str, values: [Option<f64>; PERIODS]) {
        self.0.insert((metric, of.to_owned()), values.to_vec());
    }

    /// The names of the template's alarms that ring.
    pub fn rings(&self, template: &Template) -> Vec<String> {
        let kind = "AWS::CloudWatch::Alarm";
        let alarms = template.logical_ids(kind).into_iter();
        alarms
            .map(|id| template.properties(&id, kind))
            .filter(|alarm| self.state(alarm) == State::Alarm)
            .map(|alarm| alarm["AlarmName"].as_str().expect("a name").to_owned())
            .collect()
    }

    pub fn state(&self, alarm: &Value) -> State {
        state(alarm, |stat| {
            let metric = stat["Metric"]["MetricName"].as_str().expect("a name");
            let of = stat["Metric"]["Dimensions"][0]["Value"].as_str();
            let of = of.unwrap_or_default();
            let known = self
                .0
                .iter()
                .find(|((name, its), _)| *name == metric && its == of);
            known.map_or(vec![None; PERIODS], |(_, series)| series.clone())
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    Alarm,
    InsufficientData,
}

/// The state of an alarm, from its properties with references resolved. `metric` gives the series of
/// a `MetricStat`.
fn state(alarm: &Value, metric: impl Fn(&Value) -> Series) -> State {
    let watched = watched(alarm, metric);
    let number = |name: &str| alarm[name].as_f64();
    let periods = number("EvaluationPeriods").expect("an alarm has periods") as usize;
    let threshold = number("Threshold").expect("an alarm has a threshold");
    let comparison = alarm["ComparisonOperator"].as_str();
    let is_breaching = |value: f64| match comparison {
        Some("GreaterThanThreshold") => value > threshold,
        other => panic!("{other:?} is not a comparison of the templates"),
    };
    let last = &watched[watched.len() - periods..];
    let missing = alarm["TreatMissingData"].as_str();
    if last.iter().all(Option::is_none) && missing != Some("notBreaching") {
        return State::InsufficientData;
    }
    let breaching = last.iter().flatten().filter(|value| is_breaching(**value));
    let needed = number("DatapointsToAlarm").map_or(periods, |needed| needed as usize);
    match breaching.count() >= needed {
        true => State::Alarm,
        false => State::Ok,
    }
}

/// The series that an alarm compares with its threshold.
fn watched(alarm: &Value, metric: impl Fn(&Value) -> Series) -> Series {
    let Some(queries) = alarm["Metrics"].as_array() else {
        let mut stat = json!({"Period": alarm["Period"], "Stat": alarm["Statistic"]});
        for part in ["Namespace", "MetricName", "Dimensions"] {
            stat["Metric"][part] = alarm[part].clone();
        }
        return metric(&stat);
    };
    let metrics: Vec<(&str, Series)> = queries
        .iter()
        .filter(|query| query["MetricStat"].is_object())
        .map(|query| {
            (
                query["Id"].as_str().expect("an id"),
                metric(&query["MetricStat"]),
            )
        })
        .collect();
    let mut expressions = queries
        .iter()
        .filter(|query| query["ReturnData"] == true)
        .map(|query| query["Expression"].as_str().expect("an expression"));
    let text = expressions.next().expect("one expression returns data");
    assert_eq!(expressions.next(), None, "one expression returns data");
    let mut math = Math {
        rest: text,
        metrics: &metrics,
    };
    let value = math.comparison().one();
    assert_eq!(math.rest.trim(), "", "the end of {text}");
    value
}

enum Operand {
    One(Series),
    Many(Vec<Series>),
}

impl Operand {
    fn one(self) -> Series {
        match self {
            Self::One(series) => series,
            Self::Many(_) => panic!("an array where one time series is needed"),
        }
    }

    /// Of one time series, MAX is a number over time.
    fn many(self) -> Vec<Series> {
        match self {
            Self::Many(series) => series,
            Self::One(_) => panic!("one time series where an array is needed"),
        }
    }
}

/// A parser that computes.
struct Math<'a> {
    rest: &'a str,
    metrics: &'a [(&'a str, Series)],
}

impl Math<'_> {
    fn takes(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn needs(&mut self, token: &str) {
        assert!(
            self.takes(token),
            "{token} is missing before {:?}",
            self.rest
        );
    }

    fn comparison(&mut self) -> Operand {
        let left = self.sum();
        if self.takes(">=") {
            let right = self.sum();
            return combined(left, right, |a, b| Some(f64::from(u8::from(a >= b))));
        }
        left
    }

    fn sum(&mut self) -> Operand {
        let mut sum = self.product();
        while self.takes("+") {
            sum = combined(sum, self.product(), |a, b| Some(a + b));
        }
        sum
    }

    fn product(&mut self) -> Operand {
        let mut product = self.operand();
        loop {
            if self.takes("*") {
                product = combined(product, self.operand(), |a, b| Some(a * b));
            } else if self.takes("/") {
                product = combined(product, self.operand(), |a, b| (b != 0.0).then_some(a / b));
            } else {
                return product;
            }
        }
    }

    fn list(&mut self, end: &str) -> Vec<Operand> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.comparison());
            self.takes(",");
        }
        items
    }

    fn operand(&mut self) -> Operand {
        if self.takes("[") {
            let items = self.list("]").into_iter();
            return Operand::Many(items.map(Operand::one).collect());
        }
        if self.takes("(") {
            let inner = self.comparison();
            self.needs(")");
            return inner;
        }
        let rest = self.rest.trim_start();
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        if self.takes("(") {
            let arguments = self.list(")");
            return self.call(word, arguments);
        }
        if let Ok(number) = word.parse() {
            let periods = self.metrics.first().map_or(0, |(_, series)| series.len());
            return Operand::One(vec![Some(number); periods]);
        }
        let metric = self.metrics.iter().find(|(id, _)| *id == word);
        let (_, series) = metric.unwrap_or_else(|| panic!("no metric has the id {word:?}"));
        Operand::One(series.clone())
    }

    fn call(&self, function: &str, arguments: Vec<Operand>) -> Operand {
        let mut arguments = arguments.into_iter();
        let mut next = || {
            arguments
                .next()
                .unwrap_or_else(|| panic!("{function} lacks an argument"))
        };
        let series = match function {
            "METRICS" => {
                let all = self.metrics.iter().map(|(_, series)| series.clone());
                return Operand::Many(all.collect());
            }
            "MAX" => {
                let most = |all: Series| all.into_iter().flatten().reduce(f64::max);
                let array = next().many();
                let periods = array.first().map_or(0, Vec::len);
                (0..periods)
                    .map(|at| most(array.iter().map(|series| series[at]).collect()))
                    .collect()
            }
            "FILL" => {
                let (series, filling) = (next().one(), next().one());
                series
                    .iter()
                    .zip(filling)
                    .map(|(one, other)| one.or(other))
                    .collect()
            }
            "IF" => {
                let (condition, then, other) = (next().one(), next().one(), next().one());
                let chosen = condition.iter().enumerate().map(|(at, holds)| {
                    let holds = (*holds)? != 0.0;
                    if holds { then[at] } else { other[at] }
                });
                chosen.collect()
            }
            "DIFF" => {
                let series = next().one();
                let before = std::iter::once(None).chain(series.iter().copied());
                let pairs = series.iter().zip(before);
                pairs.map(|(now, before)| Some((*now)? - before?)).collect()
            }
            _ => panic!("{function} is not a function of the templates"),
        };
        Operand::One(series)
    }
}

/// Missing data on one side is missing in the result.
fn combined(left: Operand, right: Operand, with: impl Fn(f64, f64) -> Option<f64>) -> Operand {
    let pairs = left.one().into_iter().zip(right.one());
    Operand::One(pairs.map(|(a, b)| with(a?, b?)).collect())
}
