//! The stack under test and its users.

use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use orders::domain::{Participant, STEPS, Step};
use serde_json::{Value, json};
use uuid::Uuid;
use xtask::aws::Aws;
use xtask::emulator;
use xtask::http::{Client, Response};
use xtask::project::Project;
use xtask::seed::LoggedIn;
use xtask::stack::Stack;
use xtask::state::Home;

/// How long the stack may take for anything before a test fails. The machine may be slow and shared,
/// so tests conclude nothing from times.
/// `WAYBILL_TEST_PATIENCE` (in seconds) shortens it for runs that are meant to fail.
fn patience() -> Duration {
    let seconds = std::env::var("WAYBILL_TEST_PATIENCE").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(120))
}

/// An order has this event only if users did not answer over REST.
const ASKED_BY_QUEUE: &str = "verify_user_requested";

/// Between two polls.
const PAUSE: Duration = Duration::from_millis(150);

pub struct World {
    pub stack: Stack,
    pub http: Client,
    pub aws: Aws,
    admin: LoggedIn,
    quiet: RwLock<()>,
}

/// The stack that `WAYBILL_STACK` names, connected to once.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let project = Project::find().unwrap();
        let stack = emulator::stack(&Home::current(&project)).unwrap();
        let aws = stack.aws();
        let http = stack.http();
        let admin = LoggedIn::new(http.clone(), stack.admin.clone());
        World {
            stack,
            http,
            aws,
            admin,
            quiet: RwLock::new(()),
        }
    })
}

impl World {
    /// For tests that only use the system: they run side by side.
    pub fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet
            .read()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// For tests that break something or count everything: no other test runs meanwhile.
    pub fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.quiet
            .write()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// A token of the administrator's.
    pub fn admin(&self) -> String {
        self.admin.token().unwrap()
    }

    /// For tests that end tokens: the administrator logs in again.
    pub fn forget_admin(&self) {
        self.admin.forget();
    }

    pub fn queue_url(&self, name: &str) -> String {
        let answer = self
            .aws
            .call(
                "sqs",
                "GetQueueUrl",
                json!({"QueueName": self.stack.name(name)}),
            )
            .unwrap();
        answer["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// Messages in a queue: waiting, in flight and delayed.
    pub fn queue_depth(&self, name: &str) -> u64 {
        let answer = self
            .aws
            .call(
                "sqs",
                "GetQueueAttributes",
                json!({"QueueUrl": self.queue_url(name), "AttributeNames": ["All"]}),
            )
            .unwrap();
        [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        .iter()
        .map(|name| {
            let text = answer["Attributes"][name].as_str().unwrap_or("0");
            text.parse::<u64>().unwrap()
        })
        .sum()
    }

    /// An item of its own for each test, so that its stock can be counted.
    pub fn item(&self, stock: i64, price: i64) -> String {
        let sku = format!("test-{}", Uuid::new_v4().simple());
        let body = json!({"sku": sku, "name": "Under test", "stock": stock,
                          "price": {"amount": price, "currency": "USD"}});
        let answer = self
            .http
            .post("/api/v1/items", Some(&self.admin()), &body)
            .unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
        sku
    }

    /// An item's stock as an administrator sees it: (stocked, available, held).
    pub fn stock(&self, sku: &str) -> (i64, i64, i64) {
        let item = self
            .http
            .get(&format!("/api/v1/items/{sku}"), Some(&self.admin()))
            .unwrap()
            .expect(200, "reading an item")
            .unwrap();
        let number = |name: &str| item[name].as_i64().unwrap_or_else(|| panic!("{item}"));
        let stock = (number("stocked"), number("available"), number("held"));
        assert_eq!(
            stock.0,
            stock.1 + stock.2,
            "stocked = available + held: {item}"
        );
        assert!(stock.1 >= 0, "oversold: {item}");
        stock
    }

    pub fn payment(&self, order: &str) -> Response {
        self.http
            .get(&format!("/api/v1/payments/{order}"), Some(&self.admin()))
            .unwrap()
    }

    /// An order's charge minus its refund.
    pub fn net_charge(&self, order: &str) -> i64 {
        let answer = self.payment(order);
        if answer.status == 404 {
            return 0;
        }
        let payment = answer.expect(200, "reading a payment").unwrap();
        match payment["status"].as_str().unwrap() {
            "CHARGED" => payment["amount"]["amount"].as_i64().unwrap(),
            "DECLINED" | "REFUNDED" | "VOIDED" => 0,
            other => panic!("the payment of {order} is {other} at rest"),
        }
    }

    pub fn sweep(&self) -> Value {
        let answer = self
            .aws
            .call(
                "lambda",
                "Invoke",
                json!({"FunctionName": self.stack.name("orders-sweep:live"), "Payload": "{}"}),
            )
            .unwrap();
        assert!(answer["FunctionError"].is_null(), "{answer}");
        answer
    }

    /// Publishes what was changed on a function.
    pub fn publish(&self, function: &str) -> String {
        let request = json!({"FunctionName": function});
        eventually("its update ends", || {
            let now = self
                .aws
                .call("lambda", "GetFunctionConfiguration", request.clone());
            (now.unwrap()["LastUpdateStatus"] == "Successful").then_some(())
        });
        let version = self.aws.call("lambda", "PublishVersion", request).unwrap();
        version["Version"].as_str().unwrap().to_owned()
    }

    /// Moves a function's alias: most calls go to one version, and a share to others.
    pub fn serve(&self, function: &str, version: &str, shares: &Value) {
        let request = json!({"FunctionName": function, "Name": "live", "FunctionVersion": version,
            "RoutingConfig": {"AdditionalVersionWeights": shares}});
        self.aws.call("lambda", "UpdateAlias", request).unwrap();
    }

    /// Gives a function other variables, and callers the version that has them.
    pub fn configure(&self, function: &str, variables: &Value) {
        let request = json!({"FunctionName": function, "Environment": {"Variables": variables}});
        let aws = &self.aws;
        aws.call("lambda", "UpdateFunctionConfiguration", request)
            .unwrap();
        self.serve(function, &self.publish(function), &json!({}));
    }

    /// Starts or stops a queue's trigger, and waits until that holds.
    pub fn set_trigger(&self, function: &str, enabled: bool) {
        let name = self.stack.name(function);
        let answer = self
            .aws
            .call(
                "lambda",
                "ListEventSourceMappings",
                json!({"FunctionName": name}),
            )
            .unwrap();
        let id = answer["EventSourceMappings"][0]["UUID"].clone();
        self.aws
            .call(
                "lambda",
                "UpdateEventSourceMapping",
                json!({"UUID": id, "Enabled": enabled}),
            )
            .unwrap();
        let wanted = if enabled { "Enabled" } else { "Disabled" };
        eventually(&format!("{function} is {wanted}"), || {
            let now = self
                .aws
                .call("lambda", "GetEventSourceMapping", json!({"UUID": id}))
                .unwrap();
            (now["State"] == wanted).then_some(())
        });
    }
}

/// Functions with another value of a variable, until this is dropped.
pub struct Configured<'w> {
    world: &'w World,
    functions: Vec<(String, Value)>,
}

impl<'w> Configured<'w> {
    pub fn new(world: &'w World, functions: &[&str], variable: &str, value: &str) -> Self {
        let functions: Vec<(String, Value)> = functions
            .iter()
            .map(|function| {
                let name = world.stack.name(function);
                let request = json!({"FunctionName": name});
                let known = world
                    .aws
                    .call("lambda", "GetFunctionConfiguration", request);
                (name, known.unwrap()["Environment"]["Variables"].clone())
            })
            .collect();
        let configured = Self { world, functions };
        for (name, variables) in &configured.functions {
            let mut other = variables.clone();
            assert!(other[variable].is_string(), "{name} has no {variable}");
            other[variable] = json!(value);
            world.configure(name, &other);
        }
        configured
    }
}

impl Drop for Configured<'_> {
    fn drop(&mut self) {
        for (name, variables) in &self.functions {
            self.world.configure(name, variables);
        }
    }
}

/// A customer.
pub struct Customer {
    pub id: String,
    pub token: String,
    pub email: String,
    pub password: String,
}

pub fn login(http: &Client, email: &str, password: &str) -> String {
    http.post(
        "/api/v1/auth/login",
        None,
        &json!({"email": email, "password": password}),
    )
    .unwrap()
    .expect(200, "logging in")
    .unwrap()["access_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

impl Customer {
    /// Registers a new one and logs them in.
    pub fn new() -> Self {
        let world = world();
        let email = format!("{}@customers.example", Uuid::new_v4().simple());
        let password = format!("pass phrase {}", Uuid::new_v4().simple());
        let body = json!({"email": email, "password": password, "name": "Some Body"});
        let user = world
            .http
            .post("/api/v1/users", None, &body)
            .unwrap()
            .expect(201, "registering")
            .unwrap();
        Self {
            id: user["id"].as_str().unwrap().to_owned(),
            token: login(&world.http, &email, &password),
            email,
            password,
        }
    }

    /// Places an order some of whose steps are to go wrong.
    pub fn try_with_faults(&self, faults: &str, body: &Value) -> Response {
        let headers = [("waybill-fault", faults)];
        world()
            .http
            .json("POST", "/api/v1/orders", Some(&self.token), &headers, body)
            .unwrap()
    }

    pub fn try_place(&self, key: Option<&str>, body: &Value) -> Response {
        let headers: Vec<(&str, &str)> = key
            .map(|key| ("idempotency-key", key))
            .into_iter()
            .collect();
        world()
            .http
            .json("POST", "/api/v1/orders", Some(&self.token), &headers, body)
            .unwrap()
    }

    /// Places an order for one line and returns its id.
    pub fn place(&self, sku: &str, quantity: i64, payment_method: &str) -> String {
        let body = order_body(sku, quantity, payment_method);
        self.placed(&self.try_place(None, &body))
    }

    /// The same by a customer with many open orders, who waits as long as a 429 says.
    pub fn place_patiently(&self, sku: &str, quantity: i64, payment_method: &str) -> String {
        let body = order_body(sku, quantity, payment_method);
        let key = Uuid::new_v4().to_string();
        loop {
            // With a key a request can be sent again, also where its outcome is not known (503).
            let answer = self.try_place(Some(&key), &body);
            match answer.status {
                429 => std::thread::sleep(retry_after(&answer)),
                503 => std::thread::sleep(PAUSE),
                _ => return self.placed(&answer),
            }
        }
    }

    fn placed(&self, answer: &Response) -> String {
        let order = answer.value();
        let has_ended = answer.status == 200;
        assert!(has_ended || answer.status == 202, "{}", answer.body);
        let id = order["id"].as_str().unwrap().to_owned();
        assert_eq!(
            answer.header("location"),
            Some(format!("/api/v1/orders/{id}").as_str())
        );
        assert_eq!(answer.header("retry-after"), (!has_ended).then_some("1"));
        id
    }

    pub fn get(&self, path: &str) -> Response {
        world().http.get(path, Some(&self.token)).unwrap()
    }

    pub fn order(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/orders/{id}"))
            .expect(200, "reading an order")
            .unwrap()
    }

    pub fn cancel(&self, id: &str) -> Response {
        world()
            .http
            .send(
                "POST",
                &format!("/api/v1/orders/{id}/cancel"),
                Some(&self.token),
                &[],
                None,
            )
            .unwrap()
    }

    /// Waits for the order's end, which must be this one.
    pub fn ends(&self, id: &str, status: &str) -> Value {
        let order = eventually(&format!("order {id} ends"), || {
            let order = self.order(id);
            let ended = ["CONFIRMED", "REJECTED", "CANCELLED"]
                .iter()
                // An order on its way to being cancelled passes no other end.
                .any(|end| order["status"] == *end);
            ended.then_some(order)
        });
        assert_eq!(order["status"], status, "{order} {:?}", self.events(id));
        order
    }

    /// Waits until an order that had ended otherwise is cancelled.
    pub fn is_cancelled(&self, id: &str) -> Value {
        eventually(&format!("order {id} is cancelled"), || {
            let order = self.order(id);
            (order["status"] == "CANCELLED").then_some(order)
        })
    }

    /// The names on the order's timeline.
    pub fn events(&self, id: &str) -> Vec<String> {
        let timeline = self
            .get(&format!("/api/v1/orders/{id}/timeline"))
            .expect(200, "reading a timeline")
            .unwrap();
        let items = timeline["items"].as_array().unwrap();
        items
            .iter()
            .map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The timeline without the question that is asked by queue while users is not reachable: how
    /// an order fares does not depend on it.
    pub fn journey(&self, id: &str) -> Vec<String> {
        let mut events = self.events(id);
        events.retain(|event| event != ASKED_BY_QUEUE);
        events
    }
}

/// The timeline of an order that each step confirmed at once, as [`Customer::journey`] has it.
pub fn confirmed_journey() -> Vec<&'static str> {
    let steps = STEPS.iter().map(|step| &step.action);
    let events = steps.flat_map(|it| [it.requested.as_str(), it.done.as_str()]);
    let asked = events.filter(|event| *event != ASKED_BY_QUEUE);
    ["order_placed"]
        .into_iter()
        .chain(asked)
        .chain(["order_confirmed"])
        .collect()
}

/// The step at which an order waits while this service is down.
pub fn first_step_at(participant: Participant) -> &'static Step {
    let mut steps = STEPS.iter();
    let first = steps.find(|step| step.participant == participant);
    first.expect("every participant has a step")
}

/// How long an answer says to wait.
pub fn retry_after(answer: &Response) -> Duration {
    let seconds = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok());
    Duration::from_secs(
        seconds.unwrap_or_else(|| panic!("it does not say how long: {}", answer.body)),
    )
}

pub fn order_body(sku: &str, quantity: i64, payment_method: &str) -> Value {
    json!({"lines": [{"sku": sku, "quantity": quantity}], "payment_method": payment_method})
}

/// Looks again and again until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let (begun, patience) = (Instant::now(), patience());
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        std::thread::sleep(PAUSE);
    }
}
