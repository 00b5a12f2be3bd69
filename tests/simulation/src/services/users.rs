//! Users: its queue, the changes of administrators, and its answer to orders over REST.

use std::fmt;
use std::rc::Rc;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use futures_util::FutureExt;
use shared_lambda::Origin;
use shared_lambda::http::{Request, respond};
use test_support::crashable;
use uuid::Uuid;

use super::crates::users::handlers::{get, update, verify};
use super::crates::users::store::UserStore;
use crate::services::endpoint;

use crate::fault_profile::{FaultKind, SharedProfile, lock_profile};
use crate::wiring::{Handler, REQUEST_ID, WIRED, Wiring, customer};

endpoint!(update, "users-update");

pub fn verify(wiring: &Wiring) -> Handler {
    let verify = Rc::new(verify::wire(&wiring.setup("users-verify")).expect(WIRED));
    Box::new(move |context, envelope| {
        let verify = Rc::clone(&verify);
        async move { verify::handle(&verify, context, envelope).await }.boxed_local()
    })
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
            store: get::wire(&wiring.setup("users-get")).expect(WIRED),
            origin: wiring.origin.clone(),
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
        let caller = Uuid::try_parse(bearer.trim_start_matches("Bearer ")).unwrap_or_default();
        let id = request
            .uri()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let request = Request::new()
            .with_route("GET /api/v1/users/{id}", REQUEST_ID)
            .with_path_parameter("id", id);
        // Its own process: a crash does not end the caller.
        let answer = crashable(respond(&self.origin, request, |context, request| {
            request.called_by(caller);
            get::handle(&self.store, customer(caller), context, request)
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
