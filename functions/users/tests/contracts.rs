//! The service's messages match their contracts.

use serde_json::{Value, json};
use test_support::contracts::{assert_valid, is_valid, schema, types};
use users::domain::NotAllowed;
use users::messages::{UserRefused, UserVerified, VerifyUser};
use uuid::Uuid;

fn examples(kind: &str) -> Vec<Value> {
    let examples = schema("users", kind)["examples"].as_array().cloned();
    examples.unwrap_or_else(|| panic!("the contract of {kind} has no examples"))
}

#[test]
fn each_message_has_a_contract_with_valid_examples() {
    assert_eq!(
        types("users"),
        ["UserRefused", "UserVerified", "VerifyUser"]
    );
    for kind in types("users") {
        for example in examples(&kind) {
            assert_valid("users", &kind, &example);
        }
    }
}

#[test]
fn the_commands_examples_are_read_and_written_unchanged() {
    for example in examples("VerifyUser") {
        let command: VerifyUser = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(command).unwrap(), example);
    }
}

#[test]
fn a_command_against_the_contract_is_not_read() {
    for data in [
        json!({}),
        json!({"user_id": null}),
        json!({"user_id": 7}),
        json!({"user_id": "ada"}),
        json!("01890a5d-ac96-774b-bcce-b302099a8057"),
    ] {
        assert!(!is_valid("users", "VerifyUser", &data), "{data}");
        assert!(serde_json::from_value::<VerifyUser>(data).is_err());
    }
}

#[test]
fn unknown_fields_of_a_command_are_ignored() {
    let mut data = examples("VerifyUser").remove(0);
    data["reason"] = json!("new in a later version");
    assert_valid("users", "VerifyUser", &data);
    assert!(serde_json::from_value::<VerifyUser>(data).is_ok());
}

#[test]
fn every_reply_matches_its_contract() {
    let user_id = Uuid::from_u128(7);
    let verified = serde_json::to_value(UserVerified { user_id }).unwrap();
    assert_valid("users", "UserVerified", &verified);
    assert_eq!(verified["user_id"], json!(user_id));
    for reason in [NotAllowed::Unknown, NotAllowed::Deactivated] {
        let refused = serde_json::to_value(UserRefused::new(user_id, reason)).unwrap();
        assert_valid("users", "UserRefused", &refused);
        assert_eq!(refused["user_id"], json!(user_id));
    }
}

/// Messages of an older version have no `user_id`.
#[test]
fn a_reply_without_a_user_matches_and_other_shapes_do_not() {
    assert_valid("users", "UserVerified", &json!({}));
    let refused = json!({"code": "user_not_allowed", "detail": "there is no such user"});
    assert_valid("users", "UserRefused", &refused);
    let wrong_id = json!({"user_id": "ada"});
    assert!(!is_valid("users", "UserVerified", &wrong_id));
    for data in [
        json!({}),
        json!({"code": "user_not_allowed"}),
        json!({"code": "user_not_allowed", "detail": ""}),
        json!({"code": "nonsense", "detail": "the user is deactivated"}),
    ] {
        assert!(!is_valid("users", "UserRefused", &data), "{data}");
    }
}
