//! A bad version of a function gets a tenth of the calls, an alarm of the template rings, and the version
//! is taken back, as CodeDeploy does on AWS. The emulator has no CodeDeploy and no alarms with metric math,
//! so the test shifts the traffic and decides as the alarms do. A round of calls counts as a minute.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ops::audit;
use serde_json::{Value, json};
use test_support::alarms::{Metrics, PERIODS};
use test_support::template::{Template, workspace_root};
use uuid::Uuid;

use crate::world::{Customer, World, eventually, order_body, retry_after, world};

/// The share of `Canary10Percent5Minutes`.
const SHARE: f64 = 0.1;
/// Calls in one minute, and clients that make them.
const CALLS: usize = 50;
const CLIENTS: usize = 8;
/// After so many minutes an alarm must have rung.
const MINUTES: usize = 40;
const PRICE: i64 = 500;

#[test]
fn a_bad_version_is_taken_back_and_no_order_is_lost() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(100_000, PRICE);
    let customers: Vec<Customer> = (0..CLIENTS).map(|_| Customer::new()).collect();
    let orders = Mutex::new(Vec::new());
    let place = |client: usize, calls: &Calls| {
        let key = Uuid::new_v4().to_string();
        let body = order_body(&sku, 1, "pm_card_visa");
        loop {
            let answer = calls.timed(|| customers[client].try_place(Some(&key), &body));
            match answer.status {
                429 => std::thread::sleep(retry_after(&answer)),
                500.. => {}
                _ => {
                    let id = answer.value()["id"].as_str().unwrap().to_owned();
                    orders.lock().unwrap().push((client, id));
                    return;
                }
            }
        }
    };
    let ask = |path: &str, client: usize, calls: &Calls| {
        while calls.timed(|| customers[client].get(path)).status >= 500 {}
    };
    let get = |client: usize, calls: &Calls| {
        let id = orders
            .lock()
            .unwrap()
            .iter()
            .find(|(of, _)| *of == client)
            .unwrap()
            .1
            .clone();
        ask(&format!("/api/v1/orders/{id}"), client, calls);
    };
    let list = |client: usize, calls: &Calls| ask("/api/v1/orders", client, calls);

    let does_not_start = "#!/bin/sh\nexit 1\n".to_owned();
    shift(
        world,
        "orders-place",
        "POST /api/v1/orders",
        &does_not_start,
        "write-errors",
        &place,
    );
    shift(
        world,
        "orders-get",
        "GET /api/v1/orders/{id}",
        &spoiled("orders-get", "fails"),
        "read-errors",
        &get,
    );
    shift(
        world,
        "orders-list",
        "GET /api/v1/orders",
        &spoiled("orders-list", "slow"),
        "slow",
        &list,
    );

    let orders = orders.into_inner().unwrap();
    assert!(orders.len() >= CALLS, "{}", orders.len());
    for (client, id) in &orders {
        customers[*client].ends(id, "CONFIRMED");
    }
    let sold = i64::try_from(orders.len()).unwrap();
    let stock = eventually("the stock settles", || {
        let stock = world.stock(&sku);
        (stock.2 == sold).then_some(stock)
    });
    assert_eq!(
        stock,
        (100_000, 100_000 - sold, sold),
        "each order took one unit"
    );
    let audit = audit::take(&world.aws, &world.stack.prefix).unwrap();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
}

/// Runs the good version, and spoils its answers.
fn spoiled(function: &str, fault: &str) -> String {
    let good = workspace_root().join(format!("target/lambda/{function}/bootstrap"));
    include_str!("canary.py")
        .replace("{{good}}", good.to_str().unwrap())
        .replace("{{fault}}", fault)
}

/// The answers of one minute: the status, and the milliseconds that the caller waited.
#[derive(Default)]
struct Calls(Mutex<Vec<(u16, f64)>>);

impl Calls {
    fn timed(&self, call: impl FnOnce() -> xtask::http::Response) -> xtask::http::Response {
        let begun = Instant::now();
        let answer = call();
        let waited = begun.elapsed().as_secs_f64() * 1_000.0;
        self.0.lock().unwrap().push((answer.status, waited));
        answer
    }
}

/// Deploys the version, shifts traffic to it until this alarm rings, and takes it back.
fn shift(
    world: &World,
    function: &str,
    route: &str,
    bootstrap: &str,
    alarm: &str,
    call: &(impl Fn(usize, &Calls) + Sync),
) {
    let canary = Canary::publish(world, function, bootstrap);
    // The good version alone rings nothing.
    let mut minutes = VecDeque::from([minute(call)]);
    assert_eq!(rings(function, route, &minutes), Vec::<String>::new());

    canary.serve(&json!({canary.bad.as_str(): SHARE}));
    let begun = Instant::now();
    let rung = loop {
        minutes.push_back(minute(call));
        let rung = rings(function, route, &minutes);
        if !rung.is_empty() {
            break rung;
        }
        assert!(
            minutes.len() < MINUTES,
            "{function}: no alarm in {MINUTES} minutes"
        );
    };
    assert_eq!(rung, [format!("waybill-orders-{alarm}")], "{function}");
    let failed = minutes
        .iter()
        .flatten()
        .filter(|(status, _)| *status >= 500);
    println!(
        "{function}: {rung:?} after {} minutes, {} of {} calls failed, {:?}",
        minutes.len() - 1,
        failed.count(),
        minutes.iter().map(Vec::len).sum::<usize>(),
        begun.elapsed()
    );

    canary.serve(&json!({}));
    let after = VecDeque::from([minute(call)]);
    assert_eq!(rings(function, route, &after), Vec::<String>::new());
    assert!(
        after[0].iter().all(|(status, _)| *status < 500),
        "{function}: {after:?}"
    );
}

/// Makes the calls of one minute.
fn minute(call: &(impl Fn(usize, &Calls) + Sync)) -> Vec<(u16, f64)> {
    let (calls, begun) = (Calls::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (calls, begun) = (&calls, &begun);
            scope.spawn(move || {
                while begun.fetch_add(1, Ordering::Relaxed) < CALLS {
                    call(client, calls);
                }
            });
        }
    });
    calls.0.into_inner().unwrap()
}

/// The alarms of orders that ring after these minutes of calls.
fn rings(function: &str, route: &str, minutes: &VecDeque<Vec<(u16, f64)>>) -> Vec<String> {
    let template = Template::of_service("orders");
    let name = format!("waybill-{function}");
    let kind = "AWS::Serverless::Function";
    let ids = template.logical_ids(kind);
    let id = ids
        .iter()
        .find(|id| template.properties(id, kind)["FunctionName"] == name.as_str());
    let id = id.unwrap();
    let last: Vec<_> = minutes.iter().rev().take(PERIODS).collect();
    let answers = || last.iter().copied().flatten();
    let count =
        |counted: &dyn Fn(u16) -> bool| answers().filter(|(status, _)| counted(*status)).count();
    let newest = |count: usize| [None, None, None, None, (count > 0).then_some(count as f64)];
    let mut slowest = [None; PERIODS];
    for (at, minute) in last.iter().enumerate() {
        // Of up to a hundred calls, the 99th percentile is the slowest.
        slowest[PERIODS - 1 - at] = minute.iter().map(|(_, waited)| *waited).reduce(f64::max);
    }
    let mut metrics = Metrics::default();
    metrics.set("Invocations", id, newest(count(&|_| true)));
    metrics.set(
        "ServerErrors",
        route,
        newest(count(&|status| status >= 500)),
    );
    metrics.set("Duration", id, slowest);
    metrics.rings(&template)
}

/// A function with a bad version beside the good one, until this is dropped.
struct Canary<'w> {
    world: &'w World,
    function: String,
    good: String,
    bad: String,
    code: String,
}

impl<'w> Canary<'w> {
    fn publish(world: &'w World, function: &str, bootstrap: &str) -> Self {
        let good = fs::read(workspace_root().join(format!("target/lambda/{function}/bootstrap")));
        let function = world.stack.name(function);
        let alias = json!({"FunctionName": function, "Name": "live"});
        let alias = world.aws.call("lambda", "GetAlias", alias).unwrap();
        let mut canary = Self {
            world,
            function,
            good: alias["FunctionVersion"].as_str().unwrap().to_owned(),
            bad: String::new(),
            code: zipped(&good.unwrap()),
        };
        canary.upload(&zipped(bootstrap.as_bytes()));
        canary.bad = world.publish(&canary.function);
        canary
    }

    fn serve(&self, shares: &Value) {
        self.world.serve(&self.function, &self.good, shares);
    }

    fn upload(&self, code: &str) {
        let request = json!({"FunctionName": self.function, "ZipFile": code});
        self.world
            .aws
            .call("lambda", "UpdateFunctionCode", request)
            .unwrap();
    }
}

impl Drop for Canary<'_> {
    fn drop(&mut self) {
        // The alias must serve the latest code again: a migration refuses a deployment that has not ended.
        self.upload(&self.code);
        let good = self.world.publish(&self.function);
        self.world.serve(&self.function, &good, &json!({}));
    }
}

/// A function's code as Lambda takes it.
fn zipped(bootstrap: &[u8]) -> String {
    let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
    fs::create_dir(&folder).unwrap();
    let file = folder.join("bootstrap");
    fs::write(&file, bootstrap).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let python = Command::new("python3")
        // Not compressed, which would take longer than the upload.
        .args([
            "-c",
            "import zipfile; zipfile.ZipFile('code.zip', 'w').write('bootstrap')",
        ])
        .current_dir(&folder)
        .status();
    assert!(python.unwrap().success());
    let code = STANDARD.encode(fs::read(folder.join("code.zip")).unwrap());
    fs::remove_dir_all(folder).unwrap();
    code
}
