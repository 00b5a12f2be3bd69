//! Wires the functions of one world from the variables in their templates, on one in-process AWS.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_smithy_runtime_api::client::http::HttpConnector;
use futures_util::future::LocalBoxFuture;
use shared_auth::{Caller, Role};
use shared_lambda::envelope::Envelope;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::{Context, Origin, Setup};
use test_support::{Aws, template_config};
use uuid::Uuid;

use crate::clients::clients;
use crate::clock::Clock;
use crate::fault_profile::{Rng, SharedProfile};

pub const WIRED: &str = "the template gives every variable that the function reads";

/// Variables that only a deploy knows. The provider accepts simulated failures in this stage.
const GIVEN: [(&str, &str); 2] = [("STAGE", "dev"), ("USERS_URL", "https://api.example/")];

/// An id of a request, as long as API Gateway's.
pub const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";

/// A queue's handler.
pub type Handler =
    Box<dyn Fn(Context, Envelope) -> LocalBoxFuture<'static, Result<Vec<Outgoing>, Failure>>>;

/// A route's handler.
pub type Endpoint =
    Box<dyn Fn(Caller, Context, Request) -> LocalBoxFuture<'static, Result<Response, Problem>>>;

pub struct Wiring {
    pub aws: Aws,
    pub clock: Clock,
    pub origin: Origin,
    pub profile: SharedProfile,
    pub sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
}

impl Wiring {
    pub fn new(seed: u64, aws: Aws, profile: &SharedProfile) -> Self {
        let clock = Clock::default();
        let (dynamodb, sqs) = clients(&aws);
        Self {
            origin: origin(seed, &clock),
            profile: profile.clone(),
            aws,
            clock,
            sqs,
            dynamodb,
        }
    }

    pub fn setup(&self, function: &str) -> Setup {
        self.setup_over(function, self.aws.clone())
    }

    /// With another connector for the function's own HTTP requests.
    pub fn setup_over(&self, function: &str, connector: impl HttpConnector + 'static) -> Setup {
        let variables = &template_config::function(function).variables;
        let of_template = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<(&str, &str)> = of_template
            .chain(
                GIVEN
                    .into_iter()
                    .filter(|(name, _)| variables.contains_key(*name)),
            )
            .collect();
        Setup::for_tests(connector, &variables)
            .with_clients(self.dynamodb.clone(), self.sqs.clone())
    }
}

pub fn customer(user_id: Uuid) -> Caller {
    Caller {
        user_id,
        role: Role::Customer,
        token: user_id.to_string(),
    }
}

/// Times and ids that are equal in every run of a seed.
fn origin(seed: u64, clock: &Clock) -> Origin {
    let (clock, count) = (clock.clone(), AtomicU64::new(0));
    Origin::new(
        move || clock.timestamp(),
        move || {
            let mut rng = Rng::new(seed, 1 << 32 | count.fetch_add(1, Ordering::Relaxed));
            let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
        },
    )
}
