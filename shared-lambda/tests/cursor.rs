//! A cursor decodes to its position, and other texts are refused.

use serde::{Deserialize, Serialize};
use shared_lambda::cursor::{decode, encode};
use shared_lambda::problem::FieldError;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    sku: String,
    page: u32,
}

#[test]
fn a_cursor_decodes_to_its_position() {
    let position = Position {
        sku: "tea/grün?&=".to_owned(),
        page: 3,
    };
    let cursor = encode(&position);
    assert!(
        cursor
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
        "{cursor} needs escaping in a URL"
    );
    assert_eq!(decode::<Position>(&cursor).unwrap(), position);
}

#[test]
fn an_invalid_cursor_is_the_clients_mistake() {
    let of_another_list = encode(&["2026-03-01"]);
    let cut_short = &encode(&Position {
        sku: "tea".to_owned(),
        page: 3,
    })[..8];
    let padded = format!("{of_another_list}==");
    for cursor in [
        "",
        "?",
        "grün",
        "AAAA",
        "e30",
        &of_another_list,
        cut_short,
        &padded,
    ] {
        let problem = decode::<Position>(cursor).unwrap_err();
        assert_eq!(problem.status(), 400, "{cursor:?}");
        let expected = FieldError::parameter(
            "cursor",
            "is not a cursor of this list; take `next_cursor` from the page before, or leave it out to begin again",
        );
        assert_eq!(problem.errors(), [expected]);
    }
}
