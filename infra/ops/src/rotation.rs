//! Decides the next step of a key rotation from the observed state, without I/O or a clock.
//!
//! The keys and functions are the only state, so a rotation continues from wherever it stopped. A
//! repeated step changes nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared_auth::ACCESS_TOKEN_LIFETIME_SECONDS;

/// How long a key is published before it signs: the cache lifetime of `/.well-known/jwks.json` and
/// a margin.
const UNTIL_KNOWN_OUTSIDE: SignedDuration = SignedDuration::from_secs(300 + 60);

/// How long a key stays published after its last signature: the longest token lifetime and a margin
/// for open requests.
const UNTIL_TOKENS_EXPIRED: SignedDuration =
    SignedDuration::from_secs(ACCESS_TOKEN_LIFETIME_SECONDS + 300);

/// The observed state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The published keys.
    pub set: BTreeSet<String>,
    /// The key that issuers load when they start.
    pub signing: String,
    /// The next signing key; equal to `signing` once it signs.
    pub next: Option<String>,
    pub verifiers: Vec<Verifier>,
    pub issuers: Vec<Issuer>,
    pub record: Record,
}

/// A function that checks tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    pub name: String,
    /// The keys in its configuration.
    pub kids: BTreeSet<String>,
}

/// A function that issues tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    pub name: String,
    /// The key it was last restarted for.
    pub kid: Option<String>,
}

/// The times that keys and functions do not record. A lost record costs another wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Since when every verifier has the next key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Since>,
    /// Since when every issuer signs with the signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Since>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    pub kid: String,
    pub since: Timestamp,
}

/// The three phases of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Publish,
    Sign,
    Retire,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create the next key. The previous rotation is complete.
    Create,
    /// Add a key's public half to the set.
    Publish(String),
    /// Deploy the set to the functions.
    Distribute(Phase),
    /// Record that every verifier has the next key.
    NotePublished(String),
    /// Wait until outside caches have the key.
    AwaitReaders(Timestamp),
    /// Make the next key the signing key.
    Sign(String),
    /// Restart these issuers, so that they load the signing key.
    Restart(Vec<String>),
    /// Record that every issuer signs with the signing key.
    NoteSigning(String),
    /// Wait until the tokens of older keys have expired.
    AwaitExpiry(Timestamp),
    /// Remove these keys from the set.
    Retire(BTreeSet<String>),
}

impl Step {
    pub fn phase(&self) -> Phase {
        match self {
            Step::Create | Step::Publish(_) | Step::NotePublished(_) => Phase::Publish,
            Step::Distribute(phase) => *phase,
            Step::AwaitReaders(_) | Step::Sign(_) | Step::Restart(_) | Step::NoteSigning(_) => {
                Phase::Sign
            }
            Step::AwaitExpiry(_) | Step::Retire(_) => Phase::Retire,
        }
    }

    /// When the step is due; `None` for now.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Step::AwaitReaders(due) | Step::AwaitExpiry(due) => Some(*due),
            Step::Create
            | Step::Publish(_)
            | Step::Distribute(_)
            | Step::NotePublished(_)
            | Step::Sign(_)
            | Step::Restart(_)
            | Step::NoteSigning(_)
            | Step::Retire(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    Kept,
    /// For a leaked key: its tokens become invalid at once.
    Skipped,
}

impl Observed {
    /// The next step. `Create` means that no rotation is in progress.
    pub fn next_step(&self, now: Timestamp, waits: Waits) -> Step {
        // In every case, the signing key must be published.
        if !self.set.contains(&self.signing) {
            return Step::Publish(self.signing.clone());
        }
        match self.upcoming() {
            Some(next) => self.step_to_sign(next, now, waits),
            None => self.step_to_retire(now, waits),
        }
    }

    /// The next key, until it is the signing key.
    pub fn upcoming(&self) -> Option<&str> {
        self.next.as_deref().filter(|next| *next != self.signing)
    }

    fn step_to_sign(&self, next: &str, now: Timestamp, waits: Waits) -> Step {
        if !self.set.contains(next) {
            return Step::Publish(next.to_owned());
        }
        if !(self.verifiers_without(next).is_empty()
            && self.verifiers_without(&self.signing).is_empty())
        {
            return Step::Distribute(Phase::Publish);
        }
        match since(self.record.published.as_ref(), next) {
            None => Step::NotePublished(next.to_owned()),
            Some(since) => match pending(since, UNTIL_KNOWN_OUTSIDE, now, waits) {
                Some(due) => Step::AwaitReaders(due),
                None => Step::Sign(next.to_owned()),
            },
        }
    }

    fn step_to_retire(&self, now: Timestamp, waits: Waits) -> Step {
        let older: BTreeSet<String> = self
            .set
            .iter()
            .filter(|kid| **kid != self.signing)
            .cloned()
            .collect();
        if older.is_empty() {
            return if self.set_is_deployed() {
                Step::Create
            } else {
                Step::Distribute(Phase::Retire)
            };
        }
        if !self.verifiers_without(&self.signing).is_empty() {
            return Step::Distribute(Phase::Sign);
        }
        let behind = self.issuers_behind();
        if !behind.is_empty() {
            return Step::Restart(behind.into_iter().map(str::to_owned).collect());
        }
        match since(self.record.signing.as_ref(), &self.signing) {
            None => Step::NoteSigning(self.signing.clone()),
            Some(since) => match pending(since, UNTIL_TOKENS_EXPIRED, now, waits) {
                Some(due) => Step::AwaitExpiry(due),
                None => Step::Retire(older),
            },
        }
    }

    /// The functions that would refuse a token of this key.
    pub fn verifiers_without(&self, kid: &str) -> Vec<&str> {
        self.verifiers
            .iter()
            .filter(|verifier| !verifier.kids.contains(kid))
            .map(|verifier| verifier.name.as_str())
            .collect()
    }

    /// The functions that may still sign with an older key.
    pub fn issuers_behind(&self) -> Vec<&str> {
        self.issuers
            .iter()
            .filter(|issuer| issuer.kid.as_ref() != Some(&self.signing))
            .map(|issuer| issuer.name.as_str())
            .collect()
    }

    fn set_is_deployed(&self) -> bool {
        self.verifiers.iter().all(|one| one.kids == self.set)
    }
}

fn since(noted: Option<&Since>, kid: &str) -> Option<Timestamp> {
    noted
        .filter(|noted| noted.kid == kid)
        .map(|noted| noted.since)
}

/// The end of a wait; `None` if it is over.
fn pending(
    since: Timestamp,
    wait: SignedDuration,
    now: Timestamp,
    waits: Waits,
) -> Option<Timestamp> {
    // An overflowing time counts as not waited at all.
    let due = since.checked_add(wait).unwrap_or(Timestamp::MAX);
    match waits {
        Waits::Kept if now < due => Some(due),
        Waits::Kept | Waits::Skipped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        BEGIN + SignedDuration::from_secs(seconds)
    }

    fn kids(kids: &[&str]) -> BTreeSet<String> {
        kids.iter().map(|kid| (*kid).to_owned()).collect()
    }

    fn at_rest() -> Observed {
        let verifier = |name: &str| Verifier {
            name: name.to_owned(),
            kids: kids(&["a"]),
        };
        Observed {
            set: kids(&["a"]),
            signing: "a".to_owned(),
            next: None,
            verifiers: vec![verifier("users-me"), verifier("orders-get")],
            issuers: vec![Issuer {
                name: "users-login".to_owned(),
                kid: None,
            }],
            record: Record::default(),
        }
    }

    /// The state after a step.
    fn done(mut observed: Observed, step: &Step, now: Timestamp) -> Observed {
        let noted = |kid: &String| {
            Some(Since {
                kid: kid.clone(),
                since: now,
            })
        };
        match step {
            Step::Create => observed.next = Some("b".to_owned()),
            Step::Publish(kid) => {
                observed.set.insert(kid.clone());
            }
            Step::Distribute(_) => {
                for verifier in &mut observed.verifiers {
                    verifier.kids = observed.set.clone();
                }
            }
            Step::NotePublished(kid) => observed.record.published = noted(kid),
            Step::Sign(kid) => observed.signing = kid.clone(),
            Step::Restart(names) => {
                for issuer in &mut observed.issuers {
                    if names.contains(&issuer.name) {
                        issuer.kid = Some(observed.signing.clone());
                    }
                }
            }
            Step::NoteSigning(kid) => observed.record.signing = noted(kid),
            Step::Retire(older) => observed.set.retain(|kid| !older.contains(kid)),
            Step::AwaitReaders(_) | Step::AwaitExpiry(_) => {}
        }
        observed
    }

    #[test]
    fn a_rotation_takes_its_steps_in_order() {
        let mut observed = at_rest();
        let mut now = BEGIN;
        let mut steps = Vec::new();
        loop {
            let step = observed.next_step(now, Waits::Kept);
            if step == Step::Create && !steps.is_empty() {
                break;
            }
            now = step.due().unwrap_or(now);
            observed = done(observed, &step, now);
            steps.push(step);
        }
        let expected = [
            Step::Create,
            Step::Publish("b".to_owned()),
            Step::Distribute(Phase::Publish),
            Step::NotePublished("b".to_owned()),
            Step::AwaitReaders(after(360)),
            Step::Sign("b".to_owned()),
            Step::Restart(vec!["users-login".to_owned()]),
            Step::NoteSigning("b".to_owned()),
            Step::AwaitExpiry(after(360 + 1200)),
            Step::Retire(kids(&["a"])),
            Step::Distribute(Phase::Retire),
        ];
        assert_eq!(steps, expected);
        assert_eq!(observed.set, kids(&["b"]));
    }

    #[test]
    fn a_repeated_step_changes_nothing() {
        let mut observed = at_rest();
        for _ in 0..11 {
            let step = observed.next_step(BEGIN, Waits::Skipped);
            observed = done(observed, &step, BEGIN);
            assert_eq!(done(observed.clone(), &step, BEGIN), observed, "{step:?}");
        }
    }

    /// Every state of two keys, one verifier and one issuer.
    fn every_state() -> impl Iterator<Item = Observed> {
        (0..4 * 4 * 2 * 3_usize.pow(4)).map(|mut number| {
            let mut pick = |count: usize| {
                let picked = number % count;
                number /= count;
                picked
            };
            let sets = [&[][..], &["a"], &["b"], &["a", "b"]].map(kids);
            let (set, deployed) = (sets[pick(4)].clone(), sets[pick(4)].clone());
            let signing = ["a", "b"][pick(2)].to_owned();
            let mut kid = || [None, Some("a"), Some("b")][pick(3)].map(str::to_owned);
            let (next, issuing) = (kid(), kid());
            let mut noted = || kid().map(|kid| Since { kid, since: BEGIN });
            let (published, signs) = (noted(), noted());
            let mut observed = at_rest();
            (observed.set, observed.signing, observed.next) = (set, signing, next);
            observed.verifiers.truncate(1);
            observed.verifiers[0].kids = deployed;
            observed.issuers[0].kid = issuing;
            (observed.record.published, observed.record.signing) = (published, signs);
            observed
        })
    }

    #[test]
    fn every_state_reaches_rest_and_refuses_no_token() {
        for state in every_state() {
            let mut observed = state.clone();
            let mut now = BEGIN;
            for steps in 0.. {
                assert!(steps < 12, "{state:?} does not come to rest");
                let step = observed.next_step(now, Waits::Kept);
                match &step {
                    Step::Create => break,
                    Step::Sign(kid) => {
                        assert!(observed.set.contains(kid), "{state:?}");
                        assert!(observed.verifiers_without(kid).is_empty(), "{state:?}");
                        assert!(now >= after(360), "{state:?}");
                    }
                    Step::Retire(older) => {
                        assert!(!older.contains(&observed.signing), "{state:?}");
                        assert!(observed.issuers_behind().is_empty(), "{state:?}");
                        assert!(now >= after(1200), "{state:?}");
                    }
                    _ => {}
                }
                now = step.due().unwrap_or(now);
                observed = done(observed, &step, now);
            }
            assert_eq!(observed.set, [observed.signing.clone()].into(), "{state:?}");
            assert!(observed.set_is_deployed(), "{state:?}");
        }
    }

    #[test]
    fn waits_are_skipped_only_on_request() {
        let mut observed = at_rest();
        observed.set = kids(&["a", "b"]);
        observed.signing = "b".to_owned();
        for verifier in &mut observed.verifiers {
            verifier.kids = observed.set.clone();
        }
        observed.issuers[0].kid = Some("b".to_owned());
        observed.record.signing = Some(Since {
            kid: "b".to_owned(),
            since: BEGIN,
        });
        assert_eq!(
            observed.next_step(after(1199), Waits::Kept),
            Step::AwaitExpiry(after(1200))
        );
        let retire = Step::Retire(kids(&["a"]));
        assert_eq!(observed.next_step(after(1200), Waits::Kept), retire);
        assert_eq!(observed.next_step(BEGIN, Waits::Skipped), retire);
    }

    #[test]
    fn the_record_survives_serialisation() {
        let record = Record {
            published: None,
            signing: Some(Since {
                kid: "b".to_owned(),
                since: after(1),
            }),
        };
        let text = serde_json::to_string(&record).expect("a record");
        assert_eq!(
            text,
            r#"{"signing":{"kid":"b","since":"1970-01-01T00:00:01Z"}}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).expect("back"), record);
    }
}
