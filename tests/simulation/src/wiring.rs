//! The parts that all functions of one world share: the variables in their templates, one in-process AWS,
//! time and ids. A function's release decides its `shared-lambda`, so this module takes only the answer
//! from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use shared_lambda::http::Response;
use test_support::{Aws, template_config};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clients::clients;
use crate::clock::Clock;
use crate::fault_profile::{Rng, SharedProfile};
use crate::handled::Record;

pub const WIRED: &str = "the template gives every variable that the function reads";

/// Variables that only a deploy knows. The provider accepts simulated failures in this stage.
const GIVEN: [(&str, &str); 2] = [("STAGE", "dev"), ("USERS_URL", "https://api.example/")];

/// A queue's function: it takes a batch, and has time until then.
pub type Handler = Box<dyn Fn(SqsEvent, Instant) -> LocalBoxFuture<'static, SqsBatchResponse>>;

/// A route's function: it takes the caller and the event of API Gateway.
pub type Endpoint = Box<dyn Fn(Uuid, Value) -> LocalBoxFuture<'static, Response>>;

pub struct Wiring {
    pub aws: Aws,
    pub clock: Clock,
    pub ids: Ids,
    pub profile: SharedProfile,
    pub record: Record,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub sqs: aws_sdk_sqs::Client,
}

impl Wiring {
    pub fn new(seed: u64, aws: Aws, profile: &SharedProfile) -> Self {
        let (dynamodb, sqs) = clients(&aws);
        Self {
            aws,
            clock: Clock::default(),
            ids: Ids {
                seed,
                count: Arc::default(),
            },
            profile: profile.clone(),
            record: Record::default(),
            dynamodb,
            sqs,
        }
    }
}

/// The variables of a function.
pub fn variables(function: &str) -> Vec<(&'static str, &'static str)> {
    let variables = &template_config::function(function).variables;
    let of_template = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let given = GIVEN.into_iter();
    let given = given.filter(|(name, _)| variables.contains_key(*name));
    of_template.chain(given).collect()
}

/// The event of API Gateway for a request with JSON (HTTP API, payload format 2.0).
pub fn event(route: &str, path_parameters: Value, mut headers: Value, body: String) -> Value {
    headers["content-type"] = json!("application/json");
    let method = route.split(' ').next();
    json!({
        "routeKey": route,
        "pathParameters": path_parameters,
        "headers": headers,
        "requestContext": {"http": {"method": method}, "requestId": "JKJaXmPLvHcESHA="},
        "body": body,
    })
}

/// Ids that are equal in every run of a seed.
#[derive(Clone)]
pub struct Ids {
    seed: u64,
    count: Arc<AtomicU64>,
}

impl Ids {
    pub fn next(&self) -> Uuid {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng::new(self.seed, 1 << 32 | count);
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
