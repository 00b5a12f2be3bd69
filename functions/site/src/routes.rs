//! The routes of the API, by the document that `/openapi.json` serves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

const DOCUMENT: &str = include_str!("../pages/openapi.json");

/// Methods that a route can have. A path item has other members too.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The members of each path.
#[derive(Deserialize)]
pub struct Routes {
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

impl Routes {
    /// Reads the document.
    pub fn read() -> Result<Self, serde_json::Error> {
        serde_json::from_str(DOCUMENT)
    }

    /// The methods of all routes that fit a path. The gateway, too, looks for the method and the path at
    /// once. None for an unknown path.
    pub fn methods(&self, path: &str) -> BTreeSet<String> {
        let fitting = self.paths.iter().filter(|(route, _)| fits(route, path));
        let members = fitting.flat_map(|(_, members)| members.keys());
        let methods = members.filter(|member| METHODS.contains(&member.as_str()));
        methods.map(|method| method.to_uppercase()).collect()
    }
}

/// Whether a path is one of a route. A parameter takes one part, which is not empty.
fn fits(route: &str, path: &str) -> bool {
    let (mut expected, mut sent) = (route.split('/'), path.split('/'));
    loop {
        match (expected.next(), sent.next()) {
            (None, None) => return true,
            (Some(part), Some(sent)) if part.starts_with('{') && !sent.is_empty() => {}
            (Some(part), Some(sent)) if part == sent => {}
            _ => return false,
        }
    }
}
