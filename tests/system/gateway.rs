//! The gateway's own answers: methods and paths that no service takes, and calls of browsers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use test_support::template::workspace_root;
use uuid::Uuid;
use xtask::http::Response;
use xtask::project::Project;
use xtask::samconfig::parameters;

use crate::world::world;

/// Every described path with its methods, and examples in place of its parameters.
fn paths() -> BTreeMap<String, BTreeSet<String>> {
    let mut paths = BTreeMap::new();
    for service in test_support::services() {
        let path = workspace_root().join(format!("functions/{service}/openapi.yaml"));
        let document: Value =
            serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys();
            let methods = methods.filter(|member| *member != "parameters");
            let id = Uuid::new_v4().to_string();
            let part = |part| {
                if str::starts_with(part, '{') {
                    &id
                } else {
                    part
                }
            };
            let path = path.split('/').map(part).collect::<Vec<_>>().join("/");
            paths.insert(path, methods.map(|method| method.to_uppercase()).collect());
        }
    }
    paths
}

fn send(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let answer = world()
        .http
        .send(method, path, None, headers, None)
        .unwrap();
    let place = format!("{method} {path}: {} {}", answer.status, answer.body);
    let is_preflight = answer.header("access-control-allow-methods").is_some();
    if !is_preflight {
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{place}"
        );
        let transport = answer.header("strict-transport-security");
        assert_eq!(transport, Some("max-age=31536000"), "{place}");
    }
    // API Gateway's own answers have only this member.
    assert!(answer.value()["message"].is_null(), "{place}");
    answer
}

#[test]
fn head_is_answered_wherever_get_is() {
    let _shared = world().shared();
    let mut seen = 0;
    for (path, methods) in paths() {
        if !methods.contains("GET") {
            assert_eq!(send("HEAD", &path, &[]).status, 405, "{path}");
            continue;
        }
        let (get, head) = (send("GET", &path, &[]), send("HEAD", &path, &[]));
        assert_eq!(
            (head.status, head.body.as_str()),
            (get.status, ""),
            "{path}"
        );
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        seen += 1;
    }
    assert!(seen >= 11, "{seen} paths with GET");
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let _shared = world().shared();
    for (path, mut methods) in paths() {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        methods.insert("OPTIONS".to_owned());
        for method in ["DELETE", "PUT"] {
            let answer = send(method, &path, &[]);
            let problem = answer.value();
            assert_eq!(answer.status, 405, "{method} {path}: {problem}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
            assert_eq!(problem["status"], 405, "{path}");
            let allow = answer.header("allow").unwrap().split(", ");
            let allow: BTreeSet<String> = allow.map(str::to_owned).collect();
            // The path of the caller is one of a user too.
            assert!(allow.is_superset(&methods), "{path}: {allow:?}");
            assert!(!allow.contains(method), "{path}: {allow:?}");
        }
        let options = send("OPTIONS", &path, &[]);
        assert_eq!(options.status, 204, "{path}");
        assert!(
            options.header("allow").unwrap().contains("OPTIONS"),
            "{path}"
        );
    }
}

#[test]
fn a_slash_behind_a_path_is_led_away() {
    let _shared = world().shared();
    for (path, methods) in paths() {
        let (folder, last) = path.rsplit_once('/').unwrap();
        // The emulator takes a single part with a slash for the name of a stage.
        if folder.is_empty() {
            continue;
        }
        for method in methods {
            let answer = send(&method, &format!("{path}/?limit=2"), &[]);
            assert_eq!(answer.status, 308, "{method} {path}/: {}", answer.body);
            let location = format!("../{last}?limit=2");
            assert_eq!(answer.header("location"), Some(&*location), "{folder}");
        }
    }
}

#[test]
fn an_unknown_path_is_a_problem() {
    let _shared = world().shared();
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/items",
        "/favicon.ico",
        "/api/v1/items/a/b",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let answer = send(method, path, &[]);
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
            assert_eq!(
                answer.value()["status"],
                404,
                "{method} {path}: {}",
                answer.body
            );
        }
    }
}

/// The headers with which a browser asks before a call.
fn preflight<'a>(origin: &'a str, headers: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", headers),
    ]
}

fn list(answer: &Response, name: &str) -> BTreeSet<String> {
    let sent = answer.header(name).unwrap_or_default();
    sent.split(',')
        .map(|part| part.trim().to_lowercase())
        .collect()
}

#[test]
fn a_page_of_an_allowed_origin_may_call() {
    let _shared = world().shared();
    let dev = parameters(&Project::find().unwrap(), "dev").unwrap();
    let asked = "authorization, content-type, idempotency-key, traceparent";
    for origin in dev["AllowedOrigins"].split(',') {
        let answer = send("OPTIONS", "/api/v1/orders", &preflight(origin, asked));
        assert_eq!(answer.status, 204, "{origin}: {}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert!(list(&answer, "access-control-allow-methods").contains("post"));
        let headers = list(&answer, "access-control-allow-headers");
        for header in asked.split(", ") {
            assert!(headers.contains(header), "{header}: {headers:?}");
        }
        for (path, status) in [
            ("/api/v1/items", 200),
            ("/api/v1/orders", 401),
            ("/nothing", 404),
        ] {
            let answer = send("GET", path, &[("origin", origin)]);
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            let exposed = list(&answer, "access-control-expose-headers");
            for header in ["location", "retry-after", "www-authenticate", "allow"] {
                assert!(exposed.contains(header), "{header}: {exposed:?}");
            }
        }
    }
}

#[test]
fn a_page_of_another_origin_may_not_call() {
    let _shared = world().shared();
    for origin in [
        "https://other.example",
        "http://localhost:5173.other.example",
        "http://localhost",
        "null",
    ] {
        let asked = preflight(origin, "authorization");
        let answers = [
            send("OPTIONS", "/api/v1/orders", &asked),
            send("GET", "/api/v1/items", &[("origin", origin)]),
        ];
        for answer in answers {
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, None, "{origin}");
        }
    }
}
