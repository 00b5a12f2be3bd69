//! The signing key is rotated under load.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ops::rotate::{Extent, list, rotate};
use ops::rotation::Waits;
use serde_json::json;
use shared_auth::SigningKey;
use uuid::Uuid;
use xtask::keys::{self, Content, DEFAULT_KMS_KEY, Names};

use crate::world::{Customer, World, eventually, world};

const CLIENTS: usize = 20;
/// After so many calls every other client logs in anew, so that there is a login at any moment; the
/// rest keep their token for as long as it is good.
const CALLS_PER_TOKEN: usize = 10;

#[test]
fn good_tokens_pass_while_the_signing_key_is_rotated_twice() {
    let world = world();
    let _alone = world.alone();
    // This test ends the administrator's token for later tests.
    let _forgets = Finally(|| world.forget_admin());
    let names = Names::own(&world.stack.prefix);
    assert!(
        list(&world.aws, &names)
            .unwrap()
            .to_string()
            .ends_with("keys rotate begins one"),
        "a rotation is under way"
    );
    let load = Load::default();
    let onlooker = Customer::new();
    std::thread::scope(|scope| {
        // Also where an assertion fails, lest the clients go on for ever.
        let _stops = Finally(|| load.stop.store(true, Ordering::Relaxed));
        for number in 0..CLIENTS {
            let load = &load;
            let calls_per_token = (number % 2 == 0).then_some(CALLS_PER_TOKEN);
            scope.spawn(move || load.client(calls_per_token));
        }
        load.reaches(|load| load.calls.load(Ordering::Relaxed) >= 2 * CLIENTS);
        for _ in 0..2 {
            rotate_once(world, &names, &load, &onlooker);
        }
        let so_far = load.calls.load(Ordering::Relaxed);
        load.reaches(|load| load.calls.load(Ordering::Relaxed) >= so_far + 2 * CLIENTS);
    });
    let refused = load.refused.into_inner().unwrap();
    let (calls, logins) = (load.calls.into_inner(), load.logins.into_inner());
    println!(
        "{calls} calls and {logins} logins; {} met an instance that was being replaced",
        load.interrupted.into_inner()
    );
    assert_eq!(refused, Vec::<String>::new(), "of {calls} calls");
}

#[test]
fn two_operators_who_rotate_at_once_lose_no_key() {
    const ROUNDS: usize = 5;
    let world = world();
    let _shared = world.shared();
    let names = unused_names();
    let operators = [(); 2].map(|()| world.stack.aws());
    std::thread::scope(|scope| {
        for aws in &operators {
            scope.spawn(|| keys::ensure(aws, &names, None).unwrap());
        }
    });
    let kms_key = keys::kms_key(&world.aws, &names).unwrap().unwrap();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for aws in &operators {
                scope.spawn(|| rotate(aws, &names, Extent::Whole, Waits::Skipped).unwrap());
            }
        });
        let shown = list(&world.aws, &names).unwrap().to_string();
        assert!(
            shown.ends_with("keys rotate begins one"),
            "round {round}: {shown}"
        );
        let signing = keys::signing_key(&world.aws, &names.signing).unwrap();
        let set = keys::read(&world.aws, &names.set).unwrap().unwrap().value;
        assert_eq!(keys::kids(&set), BTreeSet::from([signing.kid()]), "{shown}");
        for name in [&names.signing, &names.next] {
            assert_eq!(
                keys::encryption(&world.aws, name).unwrap(),
                kms_key,
                "{name}"
            );
        }
    }
    // Every key was published before it signed, and no older key came back.
    let published = versions(world, &names.set);
    let signed: Vec<(String, Timestamp)> = versions(world, &names.signing)
        .into_iter()
        .map(|(key, since)| (SigningKey::from_pkcs8_base64(&key).unwrap().kid(), since))
        .collect();
    assert!(signed.len() > ROUNDS, "{signed:?}");
    for (kid, since) in &signed[1..] {
        let before = published.iter().filter(|(_, at)| at <= since);
        let known = before.map(|(set, _)| keys::kids(set));
        assert!(known.flatten().any(|one| one == *kid), "{kid} signed first");
    }
    let mut kids: Vec<&String> = signed.iter().map(|(kid, _)| kid).collect();
    kids.dedup();
    let different: BTreeSet<&String> = kids.iter().copied().collect();
    assert_eq!(kids.len(), different.len(), "a key signed again: {kids:?}");
}

/// Encrypting the old key anew would leave it readable in its parameter's history.
#[test]
fn a_rotation_replaces_a_key_under_the_accounts_default_key() {
    let world = world();
    let _shared = world.shared();
    let names = unused_names();
    let old = SigningKey::generate();
    let readable = Content::secret(&old, DEFAULT_KMS_KEY.to_owned());
    assert!(keys::create(&world.aws, &names.signing, &readable).unwrap());
    assert_eq!(
        keys::ensure(&world.aws, &names, None).unwrap(),
        keys::Pair::Made,
        "the key set, of the key that is there"
    );
    let shown = list(&world.aws, &names).unwrap().to_string();
    assert!(shown.contains("warning: the signing key"), "{shown}");

    rotate(&world.aws, &names, Extent::Whole, Waits::Skipped).unwrap();

    let kms_key = keys::kms_key(&world.aws, &names).unwrap().unwrap();
    for name in [&names.signing, &names.next] {
        assert_eq!(keys::encryption(&world.aws, name).unwrap(), kms_key);
    }
    let signing = keys::signing_key(&world.aws, &names.signing).unwrap();
    assert_ne!(signing.kid(), old.kid());
    let shown = list(&world.aws, &names).unwrap().to_string();
    assert!(!shown.contains("warning"), "{shown}");
}

/// Parameter names that no function and no stack uses.
fn unused_names() -> Names {
    Names::in_folder(&format!("/test/{}", Uuid::new_v4().simple()))
}

/// The values of a parameter with their times, from its first version on.
fn versions(world: &World, name: &str) -> Vec<(String, Timestamp)> {
    let params = json!({"Name": name, "WithDecryption": true});
    let history = world
        .aws
        .list("ssm", "GetParameterHistory", "Parameters", params)
        .unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut versions: Vec<_> = history
        .iter()
        .map(|one| {
            (
                one["Version"].as_u64(),
                text(&one["Value"]),
                xtask::aws::time(&one["LastModifiedDate"]).unwrap(),
            )
        })
        .collect();
    versions.sort();
    let versions = versions.into_iter();
    versions.map(|(_, value, since)| (value, since)).collect()
}

/// Every step, as an operator calls them one by one. Instead of waiting until all tokens of the old
/// key have expired, the test checks that none is left.
fn rotate_once(world: &World, names: &Names, load: &Load, onlooker: &Customer) {
    let step = || rotate(&world.aws, names, Extent::OnePart, Waits::Skipped).unwrap();
    let published = || keys::kids(&keys::read(&world.aws, &names.set).unwrap().unwrap().value);
    let signing = || keys::signing_key(&world.aws, &names.signing).unwrap().kid();
    let profile = |token: &str| {
        eventually("an answer", || {
            let answer = world.http.get("/api/v1/users/me", Some(token)).unwrap();
            Some(answer.status).filter(|status| *status < 500)
        })
    };
    let log_in = || eventually("a login", || log_in(onlooker).ok());
    let (old_kid, old) = (signing(), log_in());

    step();
    assert_eq!(published().len(), 2, "the next key is published");
    assert_eq!(signing(), old_kid, "and signs nothing yet");

    step();
    let (new_kid, new) = (signing(), log_in());
    assert_ne!(new_kid, old_kid);
    assert_ne!(header(&new), header(&old), "the new key signs");
    assert_eq!((profile(&old), profile(&new)), (200, 200));
    *load.wanted.lock().unwrap() = header(&new).to_owned();
    load.reaches(|load| {
        let held = load.held.lock().unwrap();
        held.iter().all(|(_, held)| held == header(&new))
    });

    step();
    assert_eq!(
        published(),
        BTreeSet::from([new_kid]),
        "the old key is gone"
    );
    assert_eq!((profile(&old), profile(&new)), (401, 200));
}

/// The clients' actions and observations.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    calls: AtomicUsize,
    logins: AtomicUsize,
    /// Answers 5xx: the emulator ends an instance that is being replaced in the middle of its
    /// work, where Lambda would let it finish.
    interrupted: AtomicUsize,
    /// The header of the tokens that are to be used: tokens of one key have one header.
    wanted: Mutex<String>,
    /// Each client's token's.
    held: Mutex<Vec<(Uuid, String)>>,
    refused: Mutex<Vec<String>>,
}

impl Load {
    /// Logs in and calls one service after the other until it is stopped.
    fn client(&self, calls_per_token: Option<usize>) {
        let world = world();
        let customer = Customer::new();
        let me = Uuid::new_v4();
        let paths = [
            ("/api/v1/users/me".to_owned(), 200),
            ("/api/v1/orders".to_owned(), 200),
            (format!("/api/v1/payments/{me}"), 404),
        ];
        let mut token = customer.token.clone();
        self.holds(me, &token);
        let mut used = 0;
        for (path, expected) in paths.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let outdated = {
                let wanted = self.wanted.lock().unwrap();
                !wanted.is_empty() && *wanted != header(&token)
            };
            if outdated || Some(used) == calls_per_token {
                match log_in(&customer) {
                    Ok(fresh) => token = fresh,
                    Err(500..) => {
                        self.interrupted.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    Err(status) => self.complains(format!("login: {status}")),
                }
                self.holds(me, &token);
                self.logins.fetch_add(1, Ordering::Relaxed);
                used = 0;
            }
            let answer = world.http.get(path, Some(&token)).unwrap();
            self.calls.fetch_add(1, Ordering::Relaxed);
            used += 1;
            match answer.status {
                status if status == *expected => {}
                500.. => {
                    self.interrupted.fetch_add(1, Ordering::Relaxed);
                }
                status => self.complains(format!("{path}: {status} {}", answer.body)),
            }
        }
    }

    fn holds(&self, client: Uuid, token: &str) {
        let mut held = self.held.lock().unwrap();
        held.retain(|(one, _)| *one != client);
        held.push((client, header(token).to_owned()));
    }

    fn complains(&self, what: String) {
        self.refused.lock().unwrap().push(what);
    }

    fn reaches(&self, there: impl Fn(&Self) -> bool) {
        eventually("the clients get there", || {
            let refused = self.refused.lock().unwrap().clone();
            assert!(refused.is_empty(), "{refused:?}");
            let all_here = self.held.lock().unwrap().len() == CLIENTS;
            (all_here && there(self)).then_some(())
        });
    }
}

/// A new token, or the status of the refusal. A 429 is waited for.
fn log_in(customer: &Customer) -> Result<String, u16> {
    loop {
        let body = json!({"email": customer.email, "password": customer.password});
        let answer = world()
            .http
            .post("/api/v1/auth/login", None, &body)
            .unwrap();
        match answer.status {
            200 => return Ok(answer.value()["access_token"].as_str().unwrap().to_owned()),
            429 => {
                let seconds = answer.header("retry-after").unwrap().parse().unwrap();
                std::thread::sleep(Duration::from_secs(seconds));
            }
            status => return Err(status),
        }
    }
}

fn header(token: &str) -> &str {
    token.split('.').next().unwrap()
}

/// Done at the end, however it comes.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        self.0();
    }
}
