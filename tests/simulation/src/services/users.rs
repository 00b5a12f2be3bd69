//! Users: its queue, the changes of administrators, and its answer to orders over REST.

use std::fmt;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::json;
use test_support::crashable;
use uuid::Uuid;

use super::CALLED_BY;
use super::crates::shared_lambda::Origin;
use super::crates::shared_lambda::http::{Request, respond};
use super::crates::users::handlers::{get, update, verify};
use super::crates::users::store::UserStore;
use super::release::{caller, endpoint, handler, origin, setup};
use crate::fault_profile::{FaultKind, SharedProfile, lock_profile};
use crate::wiring::{Endpoint, Handler, WIRED, Wiring, event};

pub fn update(wiring: &Wiring) -> Endpoint {
    endpoint(wiring, "users-update", update::wire, update::handle)
}

pub fn verify(wiring: &Wiring) -> Handler {
    handler(wiring, "users-verify", verify::wire, verify::handle)
}

/// `GET /api/v1/users/{id}` behind its gateway.
#[derive(Clone)]
pub struct UsersService {
    store: UserStore,
    origin: Origin,
    profile: SharedProfile,
}

impl fmt::Debug for UsersService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsersService")
    }
}

impl HttpConnector for UsersService {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

impl UsersService {
    pub fn new(wiring: &Wiring) -> Self {
        Self {
            store: get::wire(&setup(wiring, "users-get")).expect(WIRED),
            origin: origin(wiring),
            profile: wiring.profile.clone(),
        }
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let outage = {
            let mut profile = lock_profile(&self.profile);
            profile.occurs(FaultKind::UsersDown).then(|| {
                *profile.rng(FaultKind::UsersDown).pick(&[
                    Down::Refused,
                    Down::Silent,
                    Down::Broken,
                ])
            })
        };
        match outage {
            None => {}
            Some(Down::Refused) => {
                return Err(ConnectorError::io("the connection was refused".into()));
            }
            Some(Down::Silent) => std::future::pending().await,
            Some(Down::Broken) => return Ok(plain(503, "Service Unavailable".to_owned())),
        }
        let bearer = request.headers().get("authorization").unwrap_or_default();
        let user = Uuid::try_parse(bearer.trim_start_matches("Bearer ")).unwrap_or_default();
        let id = json!({"id": request.uri().rsplit('/').next()});
        let event = event("GET /api/v1/users/{id}", id, json!({}), String::new());
        let request = Request::of_event(event).expect("the event has the form of 2.0");
        // Its own process: a crash does not end the caller.
        let answer = crashable(respond(&self.origin, request, |context, request| {
            CALLED_BY(&request, user);
            get::handle(&self.store, caller(user), context, request)
        }))
        .await;
        Ok(match answer {
            Some(response) => plain(response.status, response.body.unwrap_or_default()),
            None => plain(502, "Bad Gateway".to_owned()),
        })
    }
}

#[derive(Clone, Copy)]
enum Down {
    Refused,
    Silent,
    Broken,
}

fn plain(status: u16, body: String) -> HttpResponse {
    let status = status.try_into().expect("it is a status");
    HttpResponse::new(status, SdkBody::from(body))
}
