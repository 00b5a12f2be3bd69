//! The values that a row had over time: whether an answer was right when it was given.

use std::collections::BTreeMap;

/// The position in the order of events.
pub type Moment = i64;

/// The values of several rows, each with the moment it began.
pub struct History<T>(BTreeMap<String, Vec<(Moment, T)>>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> History<T> {
    pub fn note(&mut self, thing: &str, now: Moment, shows: T) {
        let shown = self.0.entry(thing.to_owned()).or_default();
        shown.push((now, shows));
    }

    /// The values from the first to the last moment, both included.
    pub fn between(&self, thing: &str, first: Moment, last: Moment) -> impl Iterator<Item = &T> {
        let shown = self.0.get(thing).map_or(&[][..], Vec::as_slice);
        // The value at `first` may have begun earlier.
        let since = shown.partition_point(|(at, _)| *at <= first);
        shown[since.saturating_sub(1)..]
            .iter()
            .take_while(move |(at, _)| *at <= last)
            .map(|(_, shows)| shows)
    }
}
