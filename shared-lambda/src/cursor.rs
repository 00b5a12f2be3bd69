//! List cursors: the start of the next page, opaque to the client.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};

use crate::problem::Problem;

/// The longest sort key, in bytes (DynamoDB developer guide, "Constraints").
const MAX_SORT_KEY: usize = 1024;

/// The cursor that continues after `position`. A position holds sort keys only: the owner of a list
/// never comes from a cursor.
pub fn encode(position: &impl Serialize) -> String {
    let json = serde_json::to_vec(position).expect("a position is plain JSON");
    URL_SAFE_NO_PAD.encode(json)
}

/// Reads a cursor. An invalid one is the client's mistake.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| {
            Problem::invalid_parameter(
                "cursor",
                "is not a cursor of this list; take `next_cursor` from the page before, or leave it out to begin again",
            )
        })
}

/// Reads a position that is a sort key, for `#[serde(deserialize_with)]`. DynamoDB refuses an empty
/// or longer one.
pub fn sort_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    if (1..=MAX_SORT_KEY).contains(&key.len()) {
        Ok(key)
    } else {
        Err(D::Error::custom("is not a sort key of 1 to 1024 bytes"))
    }
}
