//! Rotating the signing key: what `rotation` decides, done in the account, step by step.

use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use shared_auth::{SigningKey, jwks};

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::keys::{self, Content, Names, Parameter, kids};
use crate::rotation::{Issuer, Observed, Phase, Record, Since, Step, Verifier, Waits};
use crate::ui::{count, say};

/// Tells a function's instances apart: those from before a change of key have
/// another value, so Lambda starts new ones, which read the key anew. No
/// function reads it, so a deployment that drops it does no harm.
const SIGNING_KEY_ID: &str = "AUTH_SIGNING_KEY_ID";

/// How long stacks and functions may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const PAUSE: Duration = Duration::from_millis(500);

/// How often one step is tried again at once.
const REPEATS: u32 = 3;

/// What a person has to know before the waits are skipped.
pub const WARNING: &str = "\
Without its waits, a rotation ends every access token that the old key signed: their users have to
refresh or log in again, and whoever outside has kept the key set refuses new tokens for some
minutes. It is meant for a key that somebody else may know.";

/// How far one call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The part that is due.
    OnePart,
    /// To the end, through the waits.
    Whole,
}

/// What is there, with the versions that writes depend on.
struct Found {
    observed: Observed,
    set: Parameter,
    signing: Parameter,
    next: Option<Parameter>,
    record: Option<Parameter>,
}

/// Does what is due, says so, and says what comes next and when. It keeps
/// nothing to itself: whoever calls it after it was killed, from here or from
/// another machine, goes on where it stopped.
pub fn rotate(aws: &Aws, names: &Names, extent: Extent, waits: Waits) -> Result<()> {
    let mut last: Option<Step> = None;
    let mut repeated = 0;
    let mut begun: Option<Phase> = None;
    loop {
        let found = look(aws, names)?;
        let step = found.observed.next_step(Timestamp::now(), waits);
        let ended = match begun {
            None => false,
            Some(begun) => {
                step == Step::Create || (extent == Extent::OnePart && begun != step.phase())
            }
        };
        if ended || (extent == Extent::OnePart && step.due().is_some()) {
            say(outlook(&step));
            return Ok(());
        }
        // A write that lost against another operator's has no effect, and most of the time that
        // other did the same.
        repeated = if last.as_ref() == Some(&step) && step.due().is_none() {
            repeated + 1
        } else {
            0
        };
        if repeated > REPEATS {
            return Err(Error::new(format!(
                "it has no effect that lasts; somebody else is changing the keys or the functions ({step:?})"
            )));
        }
        begun = Some(step.phase());
        act(aws, names, &found, &step)?;
        last = Some(step);
    }
}

/// What encrypts the next key: the installation's KMS key, or what encrypts the key in use as long as
/// the functions that issue tokens cannot decrypt under that.
fn encryption_of_next(aws: &Aws, names: &Names) -> Result<String> {
    let stacks = account::stacks(aws)?;
    match keys::kms_key(aws, names)? {
        Some(own) if names.unable_to_decrypt(&stacks, &own).is_empty() => Ok(own),
        _ => {
            let same = keys::encryption(aws, &names.signing)?;
            if let Some(weakness) = keys::weakness(&same) {
                say(format_args!(
                    "warning    the next key stays as the one in use: {weakness}"
                ));
            }
            Ok(same)
        }
    }
}

fn act(aws: &Aws, names: &Names, found: &Found, step: &Step) -> Result<()> {
    let Found {
        observed,
        set,
        signing,
        next,
        record: _,
    } = found;
    match step {
        Step::Create => {
            let key = SigningKey::generate();
            let content = Content::secret(&key, encryption_of_next(aws, names)?);
            // Never over another that has not signed: of two operators one makes the key, and
            // both publish it.
            let made = match next {
                None => keys::create(aws, &names.next, &content)?,
                Some(signing) => keys::replace(aws, &names.next, signing, &content)?,
            };
            if made {
                say(format_args!("created    the next key, {}", key.kid()));
            }
            Ok(())
        }
        Step::Publish(kid) => {
            let holder = [next.as_ref(), Some(signing)]
                .into_iter()
                .flatten()
                .map(|parameter| private(parameter, names))
                .find(|key| key.as_ref().is_ok_and(|key| key.kid() == *kid))
                .context(format!("the key {kid} is gone"))??;
            let mut entries = entries(&set.value)?;
            entries.push(holder.public_jwk());
            if keys::replace(aws, &names.set, set, &Content::open(jwks(&entries)))? {
                say(format_args!("published  {kid} in {}", names.set));
            }
            Ok(())
        }
        Step::Distribute(_) => distribute(aws, names, &observed.set),
        Step::NotePublished(kid) => {
            let mut record = observed.record.clone();
            record.published = Some(now(kid));
            if note(aws, names, found, &record)? {
                say("known      every function that checks tokens has it");
            }
            Ok(())
        }
        Step::Sign(kid) => {
            let key = next.as_ref().context("the next key is gone")?;
            let kms_key = keys::encryption(aws, &names.next)?;
            let stacks = account::stacks(aws)?;
            let unable = names.unable_to_decrypt(&stacks, &kms_key);
            if !unable.is_empty() {
                return Err(Error::new(format!(
                    "the functions of {} cannot decrypt the next key: deploy them with the \
                     parameter AuthKmsKeyArn={}, then repeat this",
                    unable.join(", "),
                    names.kms_key
                )));
            }
            let content = Content::secret(&private(key, names)?, kms_key);
            if keys::replace(aws, &names.signing, signing, &content)? {
                say(format_args!("signing    {kid} is in {}", names.signing));
            }
            Ok(())
        }
        Step::Restart(functions) => restart(aws, functions, &observed.signing),
        Step::NoteSigning(kid) => {
            let mut record = observed.record.clone();
            record.signing = Some(now(kid));
            if note(aws, names, found, &record)? {
                say(format_args!(
                    "signing    every function that issues tokens signs with {kid}"
                ));
            }
            Ok(())
        }
        Step::Retire(older) => {
            let mut entries = entries(&set.value)?;
            entries.retain(|entry| !entry["kid"].as_str().is_some_and(|kid| older.contains(kid)));
            if keys::replace(aws, &names.set, set, &Content::open(jwks(&entries)))? {
                for kid in older {
                    say(format_args!("retired    {kid}"));
                }
            }
            Ok(())
        }
        Step::AwaitReaders(due) | Step::AwaitExpiry(due) => {
            say(outlook(step));
            while let Ok(left) = Duration::try_from(due.duration_since(Timestamp::now()))
                && !left.is_zero()
            {
                // In small parts, because a laptop that sleeps stops this clock.
                thread::sleep(left.min(Duration::from_secs(10)));
            }
            Ok(())
        }
    }
}

/// The keys, what they are for, since when, and who does not have them; then what is next.
pub fn list(aws: &Aws, names: &Names) -> Result<Listing> {
    let found = look(aws, names)?;
    let kms_key = keys::encryption(aws, &names.signing)?;
    Ok(listing(&found, &kms_key, Timestamp::now()))
}

/// The names of the fields are those of `--json`.
#[derive(Debug, Serialize)]
pub struct Listing {
    keys: Vec<Key>,
    kms_key: String,
    verifiers: usize,
    issuers: usize,
    next: String,
}

#[derive(Debug, Serialize)]
struct Key {
    kid: String,
    role: &'static str,
    since: Timestamp,
    remark: String,
}

fn listing(found: &Found, kms_key: &str, now: Timestamp) -> Listing {
    let observed = &found.observed;
    let mut keys = Vec::new();
    let mut line = |kid: &str, role, since, remark| {
        let kid = kid.to_owned();
        keys.push(Key {
            kid,
            role,
            since,
            remark,
        });
    };
    let missing = |kid: &str| match observed.lacking(kid).as_slice() {
        _ if !observed.set.contains(kid) => "not published yet".to_owned(),
        [] => String::new(),
        names => format!("not yet in {}", names.join(", ")),
    };
    if let (Some(kid), Some(parameter)) = (observed.to_come(), &found.next) {
        line(kid, "next", parameter.since, missing(kid));
    }
    let rotating = observed.set.len() > 1 && observed.to_come().is_none();
    let mut remark = missing(&observed.signing);
    if rotating && !observed.issuing_otherwise().is_empty() {
        let gap = if remark.is_empty() { "" } else { "  " };
        let unused = observed.issuing_otherwise().join(", ");
        remark.push_str(&format!("{gap}not yet used by {unused}"));
    }
    line(&observed.signing, "signing", found.signing.since, remark);
    let mut retiring: BTreeSet<&String> = observed.set.iter().collect();
    retiring.extend(
        observed
            .verifiers
            .iter()
            .flat_map(|verifier| &verifier.kids),
    );
    for kid in retiring {
        if *kid == observed.signing || Some(kid.as_str()) == observed.to_come() {
            continue;
        }
        let remark = if observed.set.contains(kid) {
            ""
        } else {
            "out of the set, but functions still have it"
        };
        line(kid, "retiring", found.signing.since, remark.to_owned());
    }
    Listing {
        keys,
        kms_key: kms_key.to_owned(),
        verifiers: observed.verifiers.len(),
        issuers: observed.issuers.len(),
        next: outlook(&observed.next_step(now, Waits::Kept)),
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<45}{:<10}since", "key", "role")?;
        for key in &self.keys {
            let (since, gap) = (
                shown(key.since),
                if key.remark.is_empty() { "" } else { "  " },
            );
            writeln!(
                f,
                "{:<45}{:<10}{since}{gap}{}",
                key.kid, key.role, key.remark
            )?;
        }
        match keys::weakness(&self.kms_key) {
            None => writeln!(f, "\nthe signing key is encrypted under {}", self.kms_key)?,
            Some(weakness) => writeln!(f, "\nwarning: {weakness}")?,
        }
        write!(
            f,
            "{} check tokens, {} issue them\n{}",
            count(self.verifiers, "function"),
            self.issuers,
            self.next
        )
    }
}

fn outlook(step: &Step) -> String {
    let what = match step.phase() {
        _ if *step == Step::Create => {
            return "no rotation is under way; waybill keys rotate begins one".to_owned();
        }
        Phase::Publish => "publish the next key",
        Phase::Sign => "sign with the next key",
        Phase::Retire => "retire the old key",
    };
    match step.due() {
        None => format!("next: {what}; due now"),
        Some(due) => format!("next: {what}; due from {} on", shown(due)),
    }
}

fn shown(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn now(kid: &str) -> Since {
    Since {
        kid: kid.to_owned(),
        since: Timestamp::now(),
    }
}

fn private(parameter: &Parameter, names: &Names) -> Result<SigningKey> {
    SigningKey::from_pkcs8_base64(&parameter.value)
        .context(format!("a key beside {}", names.signing))
}

fn entries(set: &str) -> Result<Vec<Value>> {
    let set: Value = serde_json::from_str(set).context("the key set")?;
    let entries = set["keys"].as_array().context("the key set has no keys")?;
    Ok(entries.clone())
}

/// `false` if somebody else has noted something since.
fn note(aws: &Aws, names: &Names, found: &Found, record: &Record) -> Result<bool> {
    let text = serde_json::to_string(record).context("the record")?;
    let content = Content::open(text);
    match &found.record {
        None => keys::create(aws, &names.record, &content),
        Some(seen) => keys::replace(aws, &names.record, seen, &content),
    }
}

fn look(aws: &Aws, names: &Names) -> Result<Found> {
    let parameter = |name: &str| {
        keys::read(aws, name)?.context(format!(
            "there is no parameter {name}; make a key with waybill keys create"
        ))
    };
    // In the order in which a rotation passes them on: whatever another operator does in between,
    // a published key is seen as what it is or what it has become, never as an old one.
    let set = parameter(&names.set)?;
    let next = keys::read(aws, &names.next)?;
    let signing = parameter(&names.signing)?;
    let record = keys::read(aws, &names.record)?;
    let noted = record
        .as_ref()
        // One that cannot be read is one that is lost.
        .and_then(|record| serde_json::from_str(&record.value).ok())
        .unwrap_or_default();
    let next_kid = next
        .as_ref()
        .map(|next| Ok(private(next, names)?.kid()))
        .transpose()?;
    let mut observed = Observed {
        set: kids(&set.value),
        signing: private(&signing, names)?.kid(),
        next: next_kid,
        verifiers: Vec::new(),
        issuers: Vec::new(),
        record: noted,
    };
    for function in account::functions(aws)? {
        let variables = &function["Environment"]["Variables"];
        // A set that shares no key with this one is another installation's.
        let checks = variables["AUTH_JWKS"]
            .as_str()
            .is_some_and(|its| concerns(&observed, its));
        let issues = variables["AUTH_SIGNING_KEY_PARAMETER"] == names.signing.as_str();
        let Some(name) = function["FunctionName"].as_str() else {
            continue;
        };
        if !(checks || issues) {
            continue;
        }
        let function = at_rest(aws, name)?;
        let variables = &function["Environment"]["Variables"];
        if checks {
            observed.verifiers.push(Verifier {
                name: name.to_owned(),
                kids: kids(variables["AUTH_JWKS"].as_str().unwrap_or_default()),
            });
        }
        if issues {
            observed.issuers.push(Issuer {
                name: name.to_owned(),
                kid: variables[SIGNING_KEY_ID].as_str().map(str::to_owned),
            });
        }
    }
    Ok(Found {
        observed,
        set,
        signing,
        next,
        record,
    })
}

fn concerns(observed: &Observed, set: &str) -> bool {
    let its = kids(set);
    !its.is_disjoint(&observed.set) || its.contains(&observed.signing)
}

/// A function's configuration once it is in force.
fn at_rest(aws: &Aws, function: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = aws
            .call(
                "lambda",
                "GetFunctionConfiguration",
                json!({"FunctionName": function}),
            )
            .context(format!("looking at {function}"))?;
        match found["LastUpdateStatus"].as_str() {
            Some("InProgress") if Instant::now() < deadline => thread::sleep(PAUSE),
            Some("Successful") | None => return Ok(found),
            _ => {
                return Err(Error::new(format!(
                    "{function} cannot be brought up to date: {}",
                    found["LastUpdateStatusReason"]
                )));
            }
        }
    }
}

/// Updates the stacks, each with its own template and parameters as they are:
/// CloudFormation reads the key set again, and nothing is built or uploaded.
/// Changing the functions directly would be shorter, but a deployment that
/// rolls back would then take the new key away from them.
fn distribute(aws: &Aws, names: &Names, set: &BTreeSet<String>) -> Result<()> {
    let stacks: Vec<Value> = account::stacks(aws)?
        .into_iter()
        .filter(|stack| {
            // The parameter's name on AWS, its value in the emulator.
            account::stack_parameter(stack, "AuthJwks")
                .is_some_and(|given| given == names.set || !kids(given).is_disjoint(set))
        })
        .collect();
    let mut updating = Vec::new();
    for stack in &stacks {
        // By its id, which is also what a nested stack is addressed by.
        let id = stack["StackId"].as_str().unwrap_or_default();
        settled(aws, id)?;
        let parameters: Vec<Value> = stack["Parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|given| json!({"ParameterKey": given["ParameterKey"], "UsePreviousValue": true}))
            .collect();
        let update = aws.find(
            "cloudformation",
            "UpdateStack",
            json!({
                "StackName": id,
                "UsePreviousTemplate": true,
                "Parameters": parameters,
                "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            }),
            "No updates are to be performed",
        );
        if update.context(format!("updating {id}"))?.is_some() {
            updating.push(id);
        }
    }
    for id in &updating {
        let status = settled(aws, id)?;
        if status != "UPDATE_COMPLETE" {
            return Err(Error::new(format!(
                "updating {id} ended as {status}; its events say why. Repeat this when it is mended"
            )));
        }
    }
    let behind: Vec<String> = look(aws, names)?
        .observed
        .verifiers
        .into_iter()
        .filter(|verifier| verifier.kids != *set)
        .map(|verifier| verifier.name)
        .collect();
    if behind.is_empty() {
        say(format_args!(
            "deployed   the key set, to {}",
            count(updating.len(), "stack")
        ));
        Ok(())
    } else {
        Err(Error::new(format!(
            "these functions have not got the key set from {} with their stack: {}. Deploy them, then repeat this",
            names.set,
            behind.join(", ")
        )))
    }
}

/// A stack's status once nothing is going on in it.
fn settled(aws: &Aws, id: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = aws
            .call("cloudformation", "DescribeStacks", json!({"StackName": id}))
            .context(format!("looking at {id}"))?;
        let status = answer["Stacks"][0]["StackStatus"]
            .as_str()
            .unwrap_or_default();
        let busy = status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS";
        if !busy {
            return Ok(status.to_owned());
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("{id} does not come to rest: {status}")));
        }
        thread::sleep(PAUSE);
    }
}

/// Has issuers start anew, and with that read the signing key. Their instances
/// from before finish what they are doing with the old key, which is still
/// in the set.
fn restart(aws: &Aws, functions: &[String], kid: &str) -> Result<()> {
    for function in functions {
        let now = at_rest(aws, function)?;
        let mut variables = now["Environment"]["Variables"].clone();
        variables[SIGNING_KEY_ID] = json!(kid);
        aws.call(
            "lambda",
            "UpdateFunctionConfiguration",
            json!({
                "FunctionName": function,
                "Environment": {"Variables": variables},
                // Not over a deployment that came in between.
                "RevisionId": now["RevisionId"],
            }),
        )
        .context(format!("restarting {function}"))?;
        at_rest(aws, function)?;
        say(format_args!("restarted  {function}"));
    }
    Ok(())
}
