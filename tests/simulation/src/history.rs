//! What something showed and when: whether an answer can have been right at the time it was given.

use std::collections::BTreeMap;

/// The number of a row that was noted: what was before what.
pub type Moment = u64;

/// What each of several things has shown, from when on.
pub struct History<T>(BTreeMap<String, Vec<(Moment, T)>>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> History<T> {
    /// From now on a thing shows this.
    pub fn note(&mut self, thing: &str, now: Moment, shows: T) {
        let shown = self.0.entry(thing.to_owned()).or_default();
        shown.push((now, shows));
    }

    /// Whatever a thing showed at some moment from the first to the last.
    pub fn between(&self, thing: &str, first: Moment, last: Moment) -> impl Iterator<Item = &T> {
        let shown = self.0.get(thing).map_or(&[][..], Vec::as_slice);
        // What it showed at first is what it had shown since before.
        let since = shown.partition_point(|(at, _)| *at <= first);
        shown[since.saturating_sub(1)..]
            .iter()
            .take_while(move |(at, _)| *at <= last)
            .map(|(_, shows)| shows)
    }
}
