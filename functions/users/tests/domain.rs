//! Addresses, names, passwords and their hashes, and the rights of users.

mod sessions;
mod throttle;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use proptest::prelude::*;
use users::domain::{
    Email, InvalidEmail, InvalidName, NotAllowed, OwnRights, Password, Role, Status,
    UnsuitablePassword, User, UserChange, UserName, normalized,
};
use users::passwords::{HashedPassword, Salt};

use crate::world::{hashed, id, user};

#[test]
fn an_address_is_trimmed_and_lower_case() {
    for (text, kept) in [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace@Example.COM\n", "ada.lovelace@example.com"),
        (
            "a+b_c'd@mail-1.example.co.uk",
            "a+b_c'd@mail-1.example.co.uk",
        ),
        ("x@1.de", "x@1.de"),
    ] {
        let email = Email::parse(text).unwrap();
        assert_eq!((email.as_str(), email.to_string().as_str()), (kept, kept));
    }
}

#[test]
fn an_invalid_address_is_refused() {
    for text in [
        "",
        "   ",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        ".ada@example.com",
        "ada.@example.com",
        "ada..lovelace@example.com",
        ".@example.com",
        "ada@.com",
        "ada@example..com",
        "ada@example.com.",
        "ada@-example.com",
        "ada@example-.com",
        "ada@exa mple.com",
        "ada @example.com",
        "ada@example.com@example.com",
        "ada@example.com\u{0}",
        "ada\n@example.com",
        "ada,bob@example.com",
        "\"ada\"@example.com",
        "ada@[127.0.0.1]",
        "ädä@example.com",
        // The Kelvin sign, whose lower case is an ordinary k.
        "\u{212a}ate@example.com",
    ] {
        let parsed = Email::parse(text);
        assert_eq!(parsed, Err(InvalidEmail::NotAnAddress), "{text:?}");
    }
}

#[test]
fn an_address_may_have_the_length_of_the_mail_standards() {
    let local_part = "a".repeat(64);
    let domain = |length: usize| {
        let mut domain = format!("{}.{}.{}.", "b".repeat(63), "c".repeat(63), "d".repeat(30));
        domain.push_str(&"e".repeat(length - domain.len()));
        domain
    };
    let longest = format!("{local_part}@{}", domain(189));
    assert_eq!(longest.len(), 254);
    assert_eq!(Email::parse(&longest).unwrap().as_str(), longest);
    assert_eq!(
        Email::parse(&format!("{longest}e")),
        Err(InvalidEmail::TooLong)
    );
    for text in [
        format!("a{local_part}@example.com"),
        format!("ada@{}.com", "b".repeat(64)),
    ] {
        assert_eq!(Email::parse(&text), Err(InvalidEmail::NotAnAddress));
    }
}

#[test]
fn a_name_has_1_to_100_visible_characters() {
    assert_eq!(UserName::parse(" Ada \t").unwrap().as_str(), "Ada");
    let longest = "ж".repeat(100);
    assert_eq!(UserName::parse(&longest).unwrap().as_str(), longest);
    for (text, error) in [
        ("", InvalidName::Empty),
        (" \u{a0}\n", InvalidName::Empty),
        (&"ж".repeat(101), InvalidName::TooLong),
        ("Ada\nLovelace", InvalidName::ControlCharacter),
        ("Ada\u{7f}", InvalidName::ControlCharacter),
        ("Ada\u{0}Lovelace", InvalidName::ControlCharacter),
        ("Ada\u{202E}ecalevoL", InvalidName::Invisible),
        ("\u{200D}خ", InvalidName::Invisible),
    ] {
        assert_eq!(UserName::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_password_is_long_uncommon_and_not_about_its_owner() {
    let ada = Email::parse("ada.lovelace@example.com").unwrap();
    let name = UserName::parse("Ada King Lovelace").unwrap();
    for text in [
        "plum tractor voyage",
        "a waybill for my tractor",
        // Eight letters and digits of its own.
        "18 waybill plough",
        "lovelace tractor voyage",
        "            x",
        "ключ от квартиры",
        "elevenchars!",
    ] {
        assert!(
            Password::choose(text, Some(&ada), Some(&name)).is_ok(),
            "{text:?}"
        );
    }
    let longest = format!("x{}", "é".repeat(127));
    assert!(Password::choose(&longest, Some(&ada), Some(&name)).is_ok());
    for (text, error) in [
        ("", UnsuitablePassword::TooShort),
        ("elevenchars", UnsuitablePassword::TooShort),
        // 22 bytes, and yet 11 characters.
        ("жжжжжжжжжжя", UnsuitablePassword::TooShort),
        (&format!("{longest}x"), UnsuitablePassword::TooLong),
        ("passwordpassword", UnsuitablePassword::TooCommon),
        ("PasswordPassword", UnsuitablePassword::TooCommon),
        ("123456789012", UnsuitablePassword::TooCommon),
        ("aaaaaaaaaaaaaaa", UnsuitablePassword::TooCommon),
        ("1QAZ2wsx3edc", UnsuitablePassword::TooCommon),
        ("!qazxsw2#edcvfr4", UnsuitablePassword::TooCommon),
        ("zzzxxxcccvvv", UnsuitablePassword::TooCommon),
        ("ada.lovelace@example.com", UnsuitablePassword::TooObvious),
        (" Ada.Lovelace@EXAMPLE.com", UnsuitablePassword::TooObvious),
        ("Ada King Lovelace", UnsuitablePassword::TooObvious),
        ("lovelace.1815", UnsuitablePassword::TooObvious),
        ("AdaLovelace!!!", UnsuitablePassword::TooObvious),
        ("waybillwaybill", UnsuitablePassword::TooObvious),
        ("Waybill-2026!", UnsuitablePassword::TooObvious),
        ("1234567waybill", UnsuitablePassword::TooObvious),
    ] {
        assert_eq!(
            Password::choose(text, Some(&ada), Some(&name)),
            Err(error),
            "{text:?}"
        );
    }
}

/// The binary search needs a sorted and normalized list.
#[test]
fn every_listed_password_is_refused_and_the_list_is_sorted() {
    let file = include_str!("../data/commonest_passwords.txt");
    let (header, list) = file.split_once("\n\n").unwrap();
    assert!(header.lines().all(|line| line.starts_with('#')), "{header}");
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() > 3000, "{}", lines.len());
    assert!(list.ends_with('\n') && lines.is_sorted_by(|a, b| a < b));
    for line in &lines {
        assert_eq!(*line, normalized(&line.to_lowercase()));
        let chosen = Password::choose(line, None, None);
        assert_eq!(chosen, Err(UnsuitablePassword::TooCommon), "{line}");
        assert!(Password::choose(&format!("{line} tractor"), None, None).is_ok());
    }
}

#[test]
fn invisible_characters_are_allowed_where_scripts_need_them() {
    for name in [
        "Zoë Ångström",
        "Владимир",
        "李 雷",
        "می\u{200C}خواهم", // Persian, with the non-joiner its spelling needs
        "ക്\u{200D}ഷ",      // Malayalam
        "葛\u{E0100}城",   // the Japanese form of a character
        "Ada 👩🏽\u{200D}🚀 ❤\u{FE0F}\u{200D}🔥",
        // A joiner after a virama, at the end of a word.
        "രാജന്\u{200D}",                         // Malayalam
        "രാജന്\u{200D} K. Ada",                  // and within a name
        "ভবিষ্যত্\u{200D}",                      // Bengali
        "ശ്രീമാന്\u{200C}",                       // Malayalam, with the non-joiner
        "ಅರ್ಜುನ್\u{200C}",                       // Kannada
        "राजन्\u{200D}, एक",                    // Devanagari, before a comma
        "ශ්\u{200D}රී",                          // Sinhala
        "1\u{FE0F}\u{20E3} #\u{FE0F}\u{20E3}", // keycaps
        "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F} Ada",
        "🏴\u{200D}☠\u{FE0F}",
    ] {
        assert!(UserName::parse(name).is_ok(), "{name:?}");
    }
    let hidden = "\u{AD}\u{34F}\u{61C}\u{115F}\u{180E}\u{200B}\u{200C}\u{200D}\u{200E}\u{200F}\
                  \u{2028}\u{2029}\u{202A}\u{202E}\u{2060}\u{2064}\u{2066}\u{2069}\u{206F}\u{2800}\
                  \u{3164}\u{FE0F}\u{FEFF}\u{FFA0}\u{FFF9}\u{1D173}\u{E0001}\u{E0041}\u{E007F}\
                  \u{E0100}";
    let mut names: Vec<String> = hidden.chars().map(|c| format!("Ada{c}Lovelace")).collect();
    // Trimming removes those that are white space.
    for c in hidden.chars().filter(|c| !c.is_whitespace()) {
        names.extend([format!("Ada {c}"), c.to_string()]);
    }
    names.extend(
        [
            // A joiner between no two characters, and two in a row.
            "می\u{200C}",
            "می\u{200C}\u{200D}خ",
            "\u{200D}خ",
            "خ\u{200D} a",
            "❤\u{FE0F}\u{FE0F}",
            "രാജന്\u{200D}\u{200D}",
            "1\u{FE0F}",
            "1\u{FE0E}\u{20E3}",
            "a\u{FE0F}\u{20E3}",
            // Tags that make no flag, and tags without the flag.
            "🏴\u{E0061}\u{E0064}\u{E0061}\u{E007F}",
            "A\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
        ]
        .map(str::to_owned),
    );
    for name in names {
        let parsed = UserName::parse(&name);
        assert_eq!(parsed, Err(InvalidName::Invisible), "{name:?}");
    }
}

#[test]
fn the_rights_of_each_role_and_status() {
    let ada = user(id(1), "ada@example.com");
    assert_eq!((ada.role, ada.status), (Role::Customer, Status::Active));
    let deactivated = Err(NotAllowed::Deactivated);
    for (role, status, is_admin, may_order) in [
        (Role::Customer, Status::Active, false, Ok(())),
        (Role::Customer, Status::Deactivated, false, deactivated),
        (Role::Admin, Status::Active, true, Ok(())),
        (Role::Admin, Status::Deactivated, false, deactivated),
    ] {
        assert_eq!(Role::parse(role.as_str()).unwrap(), role);
        assert_eq!(Status::parse(status.as_str()).unwrap(), status);
        let user = User {
            role,
            status,
            ..ada.clone()
        };
        assert_eq!(user.is_active_admin(), is_admin, "{user:?}");
        assert_eq!(User::may_order(Some(&user)), may_order, "{user:?}");
    }
    assert_eq!(User::may_order(None), Err(NotAllowed::Unknown));
    assert!(Role::parse("Admin").is_err());
    assert!(Status::parse("").is_err());
}

const TEXT: &str = "plum tractor voyage";
const PARAMETERS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

fn old_hash(algorithm: Algorithm, memory: u32, passes: u32, text: &str) -> HashedPassword {
    let params = Params::new(memory, passes, 1, None).unwrap();
    let hash = Argon2::new(algorithm, Version::V0x13, params)
        .hash_password_with_salt(text.as_bytes(), &[7; 16])
        .unwrap();
    HashedPassword::from_record(hash.to_string())
}

#[test]
fn a_hash_verifies_its_own_password_only() {
    let password = Password::choose(TEXT, None, None).unwrap();
    let [hash, other] = [(); 2].map(|()| HashedPassword::new(&password, Salt::random()));
    assert!(hash.as_str().starts_with(PARAMETERS));
    assert_ne!(hash, other, "each hash has its own salt");
    assert!(hash.verify(TEXT).unwrap());
    for attempt in [
        "",
        "plum tractor voyag",
        "plum tractor voyage ",
        "plum\ttractor voyage",
        "Plum tractor voyage",
    ] {
        assert!(!hash.verify(attempt).unwrap(), "{attempt:?}");
    }
    assert_eq!(format!("{password:?} {hash:?}"), "Password HashedPassword");
}

#[test]
fn the_dummy_hash_costs_the_same_and_matches_nothing() {
    let (dummy, real) = (HashedPassword::dummy(), hashed(TEXT));
    assert!(dummy.as_str().starts_with(PARAMETERS));
    assert_eq!(dummy.as_str().len(), real.as_str().len());
    assert!(!dummy.verify(TEXT).unwrap());
}

#[test]
fn an_invalid_hash_is_an_error_and_not_a_wrong_password() {
    for text in [
        "",
        TEXT,
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=1$x$y",
    ] {
        let hash = HashedPassword::from_record(text.to_owned());
        assert!(hash.verify(TEXT).is_err(), "{text:?}");
    }
}

#[test]
fn accents_may_be_typed_composed_or_combining() {
    let composed = "caf\u{e9} au lait cr\u{e8}me";
    let combining = "cafe\u{301} au lait cre\u{300}me";
    assert_ne!(composed, combining);
    assert!(hashed(composed).verify(combining).unwrap());
    assert!(hashed(combining).verify(composed).unwrap());
    // Compatibility forms stay different.
    assert!(
        !hashed("\u{fb01}fteen words")
            .verify("fifteen words")
            .unwrap()
    );
}

#[test]
fn all_kinds_of_spaces_are_equal() {
    // Every space separator (Unicode, general category Zs).
    let spaces = " \u{A0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\
                  \u{2008}\u{2009}\u{200A}\u{202F}\u{205F}\u{3000}";
    assert_eq!(spaces.chars().count(), 17);
    for space in spaces.chars() {
        let typed = format!("plum{space}tractor voyage");
        let password = Password::choose(&typed, None, None).unwrap();
        assert_eq!(password.as_str(), TEXT, "{typed:?}");
    }
    let attempt = "plum\u{A0}tractor\u{3000}voyage";
    assert!(hashed(TEXT).verify(attempt).unwrap());
}

/// Old hashes were made of the composed form, before spaces were mapped.
#[test]
fn a_hash_from_before_spaces_were_mapped_is_valid() {
    let typed = "caf\u{e9}\u{A0}au\u{3000}lait";
    let hash = old_hash(Algorithm::Argon2id, 19_456, 2, typed);
    assert!(hash.verify(typed).unwrap());
    assert!(hash.verify("cafe\u{301}\u{A0}au\u{3000}lait").unwrap());
    assert!(!hash.verify("caf\u{e9}\u{A0}au\u{3000}lai").unwrap());
}

#[test]
fn only_a_hash_with_other_parameters_is_rehashed() {
    assert_eq!(hashed(TEXT).rehash(TEXT, Salt::fixed([8; 16])), None);
    for (algorithm, memory, passes) in [
        (Algorithm::Argon2id, 8192, 2),
        (Algorithm::Argon2id, 19_456, 1),
        (Algorithm::Argon2i, 19_456, 2),
    ] {
        let old = old_hash(algorithm, memory, passes, TEXT);
        assert!(old.verify(TEXT).unwrap());
        assert!(!old.verify("plum tractor").unwrap());
        let rehashed = old.rehash(TEXT, Salt::fixed([8; 16])).unwrap();
        assert!(rehashed.as_str().starts_with(PARAMETERS));
        assert!(rehashed.verify(TEXT).unwrap());
    }
}

#[test]
fn a_deactivation_moves_a_user_to_the_next_generation() {
    let change = |user: &User, status, role| user.change(UserChange { status, role }, id(9));
    let ada = user(id(1), "ada@example.com");
    let admin = change(&ada, None, Some(Role::Admin)).unwrap();
    assert_eq!((admin.role, admin.generation), (Role::Admin, 0));
    let gone = change(&admin, Some(Status::Deactivated), None).unwrap();
    assert_eq!((gone.status, gone.role), (Status::Deactivated, Role::Admin));
    assert_eq!(gone.generation, 1);
    let again = change(&gone, Some(Status::Deactivated), None);
    assert_eq!(again, Ok(gone.clone()));
    let back = change(&gone, Some(Status::Active), Some(Role::Customer)).unwrap();
    let generation = 1;
    assert_eq!(back, User { generation, ..ada });
}

#[test]
fn administrators_cannot_change_themselves() {
    let ada = user(id(1), "ada@example.com");
    let mut admin = ada.clone();
    admin.role = Role::Admin;
    for (status, role) in [
        (Some(Status::Deactivated), None),
        (None, Some(Role::Customer)),
        (Some(Status::Deactivated), Some(Role::Customer)),
        (Some(Status::Active), Some(Role::Customer)),
    ] {
        let change = UserChange { status, role };
        assert_eq!(admin.change(change, admin.id), Err(OwnRights));
    }
    let same = UserChange {
        status: Some(Status::Active),
        role: Some(Role::Admin),
    };
    assert_eq!(admin.change(same, admin.id), Ok(admin.clone()));
    // A former administrator with an old token cannot restore the role.
    assert_eq!(ada.change(same, ada.id), Err(OwnRights));
}

proptest! {
    #[test]
    fn a_parsed_address_parses_to_itself(text in "\\PC{0,8}[a-zA-Z0-9.@-]{0,40}\\PC{0,4}") {
        if let Ok(email) = Email::parse(&text) {
            prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            prop_assert!(email.as_str().is_ascii());
            prop_assert_eq!(email.as_str().to_lowercase(), email.as_str());
        }
    }

    #[test]
    fn a_parsed_name_parses_to_itself(text in any::<String>()) {
        if let Ok(name) = UserName::parse(&text) {
            prop_assert_eq!(UserName::parse(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn a_password_is_kept_in_its_normalized_form(text in any::<String>()) {
        if let Ok(password) = Password::choose(&text, None, None) {
            prop_assert_eq!(password.as_str(), normalized(&text));
        }
    }

    #[test]
    fn an_ascii_password_is_kept_unchanged(text in "[ -~]{12,128}") {
        if let Ok(password) = Password::choose(&text, None, None) {
            prop_assert_eq!(password.as_str(), text);
        }
    }
}
