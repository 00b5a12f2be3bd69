//! Carries out the steps that `rotation` decides.

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

/// A variable that no function reads. Its change makes Lambda start new instances, which load the
/// new key.
const SIGNING_KEY_VERSION: &str = "AUTH_SIGNING_KEY_VERSION";

/// How long a stack may take to settle. Each of four services may shift its traffic for five minutes.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
const PAUSE: Duration = Duration::from_millis(500);

/// How often a step without effect is repeated.
const REPEATS: u32 = 3;

/// The warning before the waiting times are skipped.
pub const WARNING: &str = "\
Skipping the waiting times ends every access token of the old key: its users must refresh or log in
again, and verifiers outside that cache the key set refuse new tokens for some minutes. Use it only for
a key that may have leaked.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The step that is due.
    OnePart,
    /// To the end, through the waiting times.
    Whole,
}

/// The observed state, with the versions that writes depend on.
struct Found {
    observed: Observed,
    set: Parameter,
    signing: Parameter,
    next: Option<Parameter>,
    record: Option<Parameter>,
}

/// Does the steps that are due and prints the next one. It keeps no state, so another call
/// continues where this one stopped.
pub fn rotate(aws: &Aws, names: &Names, extent: Extent, waits: Waits) -> Result<()> {
    let mut last: Option<Step> = None;
    let mut repeated = 0;
    let mut begun: Option<Phase> = None;
    loop {
        let found = observe(aws, names)?;
        let step = found.observed.next_step(Timestamp::now(), waits);
        let ended = match begun {
            None => false,
            Some(begun) => {
                step == Step::Create || (extent == Extent::OnePart && begun != step.phase())
            }
        };
        if ended || (extent == Extent::OnePart && step.due().is_some()) {
            say(next_line(&step));
            return Ok(());
        }
        // A write that lost against another operator's has no effect; usually both did the same.
        repeated = match last.as_ref() == Some(&step) && step.due().is_none() {
            true => repeated + 1,
            false => 0,
        };
        if repeated > REPEATS {
            return Err(Error::new(format!(
                "the step {step:?} has no lasting effect; another operator is changing the keys or \
                 functions"
            )));
        }
        begun = Some(step.phase());
        carry_out(aws, names, &found, &step)?;
        last = Some(step);
    }
}

/// The KMS key for the next signing key: the installation's own or, while issuers cannot decrypt
/// under that, the current key's.
fn encryption_of_next(aws: &Aws, names: &Names) -> Result<String> {
    let stacks = account::stacks(aws)?;
    match keys::kms_key(aws, names)? {
        Some(own) if names.unable_to_decrypt(&stacks, &own).is_empty() => Ok(own),
        _ => {
            let same = keys::encryption(aws, &names.signing)?;
            if let Some(weakness) = keys::weakness(&same) {
                say(format_args!(
                    "warning    the next key gets the encryption of the current one: {weakness}"
                ));
            }
            Ok(same)
        }
    }
}

fn carry_out(aws: &Aws, names: &Names, found: &Found, step: &Step) -> Result<()> {
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
            // Never overwrites a new key: of two operators one creates the key and both publish it.
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
                .map(|parameter| private_key(parameter, names))
                .find(|key| key.as_ref().is_ok_and(|key| key.kid() == *kid))
                .context(format!("the key {kid} is gone"))??;
            let mut entries = entries(&set.value)?;
            entries.push(holder.public_jwk());
            if keys::replace(aws, &names.set, set, &Content::open(jwks(&entries)))? {
                say(format_args!("published  {kid} in {}", names.set));
            }
            Ok(())
        }
        Step::Distribute(_) => distribute(aws, names, set, &observed.set),
        Step::NotePublished(kid) => {
            let mut record = observed.record.clone();
            record.published = Some(now(kid));
            if write_record(aws, names, found, &record)? {
                say("known      every function that checks tokens has the key");
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
                     parameter AuthKmsKeyArn={}, then run this again",
                    unable.join(", "),
                    names.kms_key
                )));
            }
            let content = Content::secret(&private_key(key, names)?, kms_key);
            if keys::replace(aws, &names.signing, signing, &content)? {
                say(format_args!("signing    {kid} is in {}", names.signing));
            }
            Ok(())
        }
        Step::Restart(functions) => {
            let value = ("AuthSigningKeyVersion", signing.version.to_string());
            update_stacks(aws, names, &observed.set, value)?;
            say(format_args!("restarted  {}", functions.join(", ")));
            Ok(())
        }
        Step::NoteSigning(kid) => {
            let mut record = observed.record.clone();
            record.signing = Some(now(kid));
            if write_record(aws, names, found, &record)? {
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
            say(next_line(step));
            while let Ok(left) = Duration::try_from(due.duration_since(Timestamp::now()))
                && !left.is_zero()
            {
                // In small parts, because a sleeping laptop stops this clock.
                thread::sleep(left.min(Duration::from_secs(10)));
            }
            Ok(())
        }
    }
}

/// Lists the keys with their role, age and the functions that lack them.
pub fn list(aws: &Aws, names: &Names) -> Result<Listing> {
    let found = observe(aws, names)?;
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
        keys.push(Key {
            kid: kid.to_owned(),
            role,
            since,
            remark,
        });
    };
    let missing = |kid: &str| match observed.verifiers_without(kid).as_slice() {
        _ if !observed.set.contains(kid) => "not published yet".to_owned(),
        [] => String::new(),
        names => format!("not yet in {}", names.join(", ")),
    };
    if let (Some(kid), Some(parameter)) = (observed.upcoming(), &found.next) {
        line(kid, "next", parameter.since, missing(kid));
    }
    let rotating = observed.set.len() > 1 && observed.upcoming().is_none();
    let mut remark = missing(&observed.signing);
    if rotating && !observed.issuers_behind().is_empty() {
        let gap = if remark.is_empty() { "" } else { "  " };
        let unused = observed.issuers_behind().join(", ");
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
        if *kid == observed.signing || Some(kid.as_str()) == observed.upcoming() {
            continue;
        }
        let remark = match observed.set.contains(kid) {
            true => "",
            false => "not in the set, but some functions still have it",
        };
        line(kid, "retiring", found.signing.since, remark.to_owned());
    }
    Listing {
        keys,
        kms_key: kms_key.to_owned(),
        verifiers: observed.verifiers.len(),
        issuers: observed.issuers.len(),
        next: next_line(&observed.next_step(now, Waits::Kept)),
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<45}{:<10}since", "key", "role")?;
        for key in &self.keys {
            let gap = if key.remark.is_empty() { "" } else { "  " };
            let (since, remark) = (shown(key.since), &key.remark);
            writeln!(f, "{:<45}{:<10}{since}{gap}{remark}", key.kid, key.role)?;
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

fn next_line(step: &Step) -> String {
    let what = match step.phase() {
        _ if *step == Step::Create => {
            return "no rotation is in progress; waybill keys rotate begins one".to_owned();
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

fn private_key(parameter: &Parameter, names: &Names) -> Result<SigningKey> {
    SigningKey::from_pkcs8_base64(&parameter.value)
        .context(format!("a key next to {}", names.signing))
}

fn entries(set: &str) -> Result<Vec<Value>> {
    let set: Value = serde_json::from_str(set).context("the key set")?;
    let entries = set["keys"].as_array().context("the key set has no keys")?;
    Ok(entries.clone())
}

/// `false` if another operator has written a record since.
fn write_record(aws: &Aws, names: &Names, found: &Found, record: &Record) -> Result<bool> {
    let text = serde_json::to_string(record).context("the record")?;
    let content = Content::open(text);
    match &found.record {
        None => keys::create(aws, &names.record, &content),
        Some(seen) => keys::replace(aws, &names.record, seen, &content),
    }
}

fn observe(aws: &Aws, names: &Names) -> Result<Found> {
    let parameter = |name: &str| {
        keys::read(aws, name)?.context(format!(
            "the parameter {name} is missing; create a key with waybill keys create"
        ))
    };
    // In the order of a rotation, so that a concurrent rotation cannot make a new key look old.
    let set = parameter(&names.set)?;
    let next = keys::read(aws, &names.next)?;
    let signing = parameter(&names.signing)?;
    let record = keys::read(aws, &names.record)?;
    let noted = record
        .as_ref()
        // An unreadable record is treated as lost.
        .and_then(|record| serde_json::from_str(&record.value).ok())
        .unwrap_or_default();
    let next_kid = next
        .as_ref()
        .map(|next| Ok(private_key(next, names)?.kid()))
        .transpose()?;
    let mut observed = Observed {
        set: kids(&set.value),
        signing: private_key(&signing, names)?.kid(),
        next: next_kid,
        verifiers: Vec::new(),
        issuers: Vec::new(),
        record: noted,
    };
    for function in account::functions(aws)? {
        let variables = &function["Environment"]["Variables"];
        // A set without a common key belongs to another installation.
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
        // Callers get what the alias serves, and `ListFunctions` shows what the next version will be.
        let request = json!({"FunctionName": name, "Qualifier": account::LIVE});
        let live = aws
            .call("lambda", "GetFunctionConfiguration", request)
            .context(format!("reading the alias {} of {name}", account::LIVE))?;
        let variables = &live["Environment"]["Variables"];
        let version = signing.version.to_string();
        if checks {
            observed.verifiers.push(Verifier {
                name: name.to_owned(),
                kids: kids(variables["AUTH_JWKS"].as_str().unwrap_or_default()),
            });
        }
        if issues {
            observed.issuers.push(Issuer {
                name: name.to_owned(),
                kid: (variables[SIGNING_KEY_VERSION].as_str() == Some(&version))
                    .then(|| observed.signing.clone()),
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

/// Deploys the key set to the functions.
fn distribute(aws: &Aws, names: &Names, set: &Parameter, kids: &BTreeSet<String>) -> Result<()> {
    let value = ("AuthJwksVersion", set.version.to_string());
    let updated = update_stacks(aws, names, kids, value)?;
    let behind: Vec<String> = observe(aws, names)?
        .observed
        .verifiers
        .into_iter()
        .filter(|verifier| verifier.kids != *kids)
        .map(|verifier| verifier.name)
        .collect();
    if behind.is_empty() {
        say(format_args!(
            "deployed   the key set, to {}",
            count(updated, "stack")
        ));
        Ok(())
    } else {
        Err(Error::new(format!(
            "updating the stacks did not bring the key set {} to these functions: {}. Deploy them, \
             then run this again",
            names.set,
            behind.join(", ")
        )))
    }
}

/// Updates the stacks with one new value, and their own template and other parameters. CloudFormation
/// then reads the key set again, publishes versions, and moves the aliases. Changing the functions
/// directly would be undone by a deployment that rolls back.
fn update_stacks(
    aws: &Aws,
    names: &Names,
    set: &BTreeSet<String>,
    (changed, value): (&str, String),
) -> Result<usize> {
    let mut updating = Vec::new();
    for id in to_update(&account::stacks(aws)?, names, set) {
        let stack = settled_stack(aws, &id)?;
        let parameters: Vec<Value> = stack["Parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|given| match &given["ParameterKey"] {
                key if key == changed => json!({"ParameterKey": key, "ParameterValue": value}),
                key => json!({"ParameterKey": key, "UsePreviousValue": true}),
            })
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
        let status = settled_stack(aws, id)?["StackStatus"].take();
        if status != "UPDATE_COMPLETE" {
            return Err(Error::new(format!(
                "the update of {id} ended as {status}; its events name the cause. Repair that, \
                 then run this again"
            )));
        }
    }
    Ok(updating.len())
}

/// The ids of the stacks with this key set. AWS recommends to update a nested stack through its root.
fn to_update(stacks: &[Value], names: &Names, set: &BTreeSet<String>) -> BTreeSet<String> {
    let concerned = stacks.iter().filter(|stack| {
        // AWS returns the parameter's name, the emulator its value.
        account::stack_parameter(stack, "AuthJwks")
            .is_some_and(|given| given == names.set || !kids(given).is_disjoint(set))
    });
    concerned
        .filter_map(|stack| stack["RootId"].as_str().or(stack["StackId"].as_str()))
        .map(str::to_owned)
        .collect()
}

/// A stack after its last update.
fn settled_stack(aws: &Aws, id: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut answer = aws
            .call("cloudformation", "DescribeStacks", json!({"StackName": id}))
            .context(format!("reading {id}"))?;
        let stack = answer["Stacks"][0].take();
        let status = stack["StackStatus"].as_str().unwrap_or_default();
        let busy = status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS";
        if !busy {
            return Ok(stack);
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("{id} does not settle: {status}")));
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_stacks_are_updated_once_through_their_root() {
        let stack = |id: &str, root: Option<&str>, set: &str| {
            json!({"StackId": id, "RootId": root,
                "Parameters": [{"ParameterKey": "AuthJwks", "ParameterValue": set}]})
        };
        let names = Names::own("shop");
        let stacks = [
            json!({"StackId": "root", "Parameters": []}),
            stack("users", Some("root"), &names.set),
            stack("orders", Some("root"), &names.set),
            stack("alone", None, &names.set),
            stack("other", None, "/other/auth/jwks"),
        ];
        let ids = to_update(&stacks, &names, &BTreeSet::new());
        assert_eq!(ids, ["alone", "root"].map(str::to_owned).into());
    }
}
