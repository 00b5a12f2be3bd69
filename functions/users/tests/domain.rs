//! What is taken as an address, a name and a password, and who may order.

mod sessions;
mod throttle;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use proptest::prelude::*;
use users::domain::{
    Email, InvalidEmail, InvalidName, NotAllowed, OwnRights, Password, Role, Status,
    UnsuitablePassword, User, UserChange, UserName, normalized,
};
use users::passwords::{HashedPassword, Salt};

use crate::world::{id, salt, user};

#[test]
fn an_address_is_trimmed_and_in_lower_case() {
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
fn what_cannot_receive_mail_is_not_an_address() {
    for text in [
        "",
        "   ",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
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
        assert_eq!(
            Email::parse(text),
            Err(InvalidEmail::NotAnAddress),
            "{text:?}"
        );
    }
}

#[test]
fn an_address_is_as_long_as_the_mail_standards_let_it() {
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
fn a_name_has_1_to_100_characters_and_no_control_characters() {
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
    ] {
        assert_eq!(UserName::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_password_is_long_and_not_one_that_is_tried_first() {
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

/// The list is searched as it stands, so it must be what the search relies on.
#[test]
fn the_list_of_the_commonest_passwords_is_sorted_and_every_line_of_it_is_refused() {
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
fn a_name_has_nothing_in_it_that_cannot_be_seen() {
    for name in [
        "Zoë Ångström",
        "Владимир",
        "李 雷",
        "می\u{200C}خواهم", // Persian, with the non-joiner its spelling asks for
        "ക്\u{200D}ഷ",      // Malayalam
        "葛\u{E0100}城",   // a Japanese name's own form of a character
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
    let hidden = [
        '\u{AD}',
        '\u{34F}',
        '\u{61C}',
        '\u{115F}',
        '\u{180E}',
        '\u{200B}',
        '\u{200C}',
        '\u{200D}',
        '\u{200E}',
        '\u{200F}',
        '\u{2028}',
        '\u{2029}',
        '\u{202A}',
        '\u{202E}',
        '\u{2060}',
        '\u{2064}',
        '\u{2066}',
        '\u{2069}',
        '\u{206F}',
        '\u{2800}',
        '\u{3164}',
        '\u{FE0F}',
        '\u{FEFF}',
        '\u{FFA0}',
        '\u{FFF9}',
        '\u{1D173}',
        '\u{E0001}',
        '\u{E0041}',
        '\u{E007F}',
        '\u{E0100}',
    ];
    for c in hidden {
        for name in [
            format!("Ada{c}Lovelace"),
            format!("Ada {c}"),
            format!("{c}"),
        ] {
            // What is white space as well is cut off at the ends.
            let trimmed = name.trim() == "" || name.trim() == "Ada";
            let expected = if trimmed && c.is_whitespace() {
                continue;
            } else {
                Err(InvalidName::Invisible)
            };
            assert_eq!(UserName::parse(&name), expected, "{name:?}");
        }
    }
    // A joiner that has nothing to join, and two in a row.
    for name in [
        "می\u{200C}",
        "می\u{200C}\u{200D}خ",
        "\u{200D}خ",
        "خ\u{200D} a",
        "❤\u{FE0F}\u{FE0F}",
        "രാജന്\u{200D}\u{200D}",
        "1\u{FE0F}",
        "1\u{FE0E}\u{20E3}",
        "a\u{FE0F}\u{20E3}",
        // Tags that make no flag, and those of one without the flag.
        "🏴\u{E0061}\u{E0064}\u{E0061}\u{E007F}",
        "A\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
    ] {
        assert_eq!(
            UserName::parse(name),
            Err(InvalidName::Invisible),
            "{name:?}"
        );
    }
}

#[test]
fn nothing_that_holds_a_password_shows_it() {
    let password = Password::choose("plum tractor voyage", None, None).unwrap();
    assert_eq!(format!("{password:?}"), "Password");
    let kept = HashedPassword::new(&password, salt());
    assert_eq!(format!("{kept:?}"), "HashedPassword");
}

#[test]
fn only_an_active_user_may_order() {
    let mut somebody = user(id(1), "ada@example.com");
    assert_eq!(User::may_order(Some(&somebody)), Ok(()));
    somebody.role = Role::Admin;
    assert_eq!(User::may_order(Some(&somebody)), Ok(()));
    somebody.status = Status::Deactivated;
    assert_eq!(
        User::may_order(Some(&somebody)),
        Err(NotAllowed::Deactivated)
    );
    assert_eq!(User::may_order(None), Err(NotAllowed::Unknown));
}

#[test]
fn an_administrator_who_is_deactivated_is_none() {
    for (role, status, expected) in [
        (Role::Customer, Status::Active, false),
        (Role::Customer, Status::Deactivated, false),
        (Role::Admin, Status::Active, true),
        (Role::Admin, Status::Deactivated, false),
    ] {
        let somebody = User {
            role,
            status,
            ..user(id(1), "ada@example.com")
        };
        assert_eq!(somebody.is_active_admin(), expected, "{role:?} {status:?}");
    }
}

#[test]
fn whoever_registers_is_an_active_customer() {
    let somebody = user(id(1), "ada@example.com");
    assert_eq!(somebody.role, Role::Customer);
    assert_eq!(somebody.status, Status::Active);
}

#[test]
fn roles_and_statuses_are_read_as_they_are_written() {
    for role in [Role::Customer, Role::Admin] {
        assert_eq!(Role::parse(role.as_str()).unwrap(), role);
    }
    for status in [Status::Active, Status::Deactivated] {
        assert_eq!(Status::parse(status.as_str()).unwrap(), status);
    }
    assert!(Role::parse("Admin").is_err());
    assert!(Status::parse("").is_err());
}

const PARAMETERS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

#[test]
fn a_kept_password_fits_itself_alone_and_says_its_parameters() {
    let password = Password::choose("plum tractor voyage", None, None).unwrap();
    let kept = HashedPassword::new(&password, Salt::random());
    assert!(kept.as_str().starts_with(PARAMETERS));
    assert!(kept.verify("plum tractor voyage").unwrap());
    for attempt in [
        "",
        "plum tractor voyag",
        "plum tractor voyage ",
        "Plum tractor voyage",
    ] {
        assert!(!kept.verify(attempt).unwrap(), "{attempt:?}");
    }
    let again = HashedPassword::new(&password, Salt::random());
    assert_ne!(kept, again, "each password has a salt of its own");
}

#[test]
fn trying_nobodys_password_costs_what_trying_somebodys_does() {
    let nobodys = HashedPassword::dummy();
    assert!(nobodys.as_str().starts_with(PARAMETERS));
    let somebodys = HashedPassword::new(
        &Password::choose("plum tractor voyage", None, None).unwrap(),
        salt(),
    );
    assert_eq!(nobodys.as_str().len(), somebodys.as_str().len());
    assert!(!nobodys.verify("plum tractor voyage").unwrap());
}

#[test]
fn a_hash_that_is_none_is_an_error_and_not_a_wrong_password() {
    for text in [
        "",
        "plum tractor voyage",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=1$x$y",
    ] {
        let kept = HashedPassword::from_record(text.to_owned());
        assert!(kept.verify("plum tractor voyage").is_err(), "{text:?}");
    }
}

#[test]
fn a_password_is_the_same_whichever_way_its_accents_are_typed() {
    let (composed, combining) = (
        "caf\u{e9} au lait cr\u{e8}me",
        "cafe\u{301} au lait cre\u{300}me",
    );
    assert_ne!(composed, combining);
    for (chosen, tried) in [(composed, combining), (combining, composed)] {
        let kept = HashedPassword::new(&Password::choose(chosen, None, None).unwrap(), salt());
        assert!(kept.verify(tried).unwrap());
    }
    // What only looks alike is another one: compatibility forms are left alone.
    let kept = HashedPassword::new(
        &Password::choose("\u{fb01}fteen words", None, None).unwrap(),
        salt(),
    );
    assert!(!kept.verify("fifteen words").unwrap());
}

/// Every space separator there is (Unicode, general category Zs).
const BLANKS: [char; 17] = [
    ' ', '\u{A0}', '\u{1680}', '\u{2000}', '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}',
    '\u{2005}', '\u{2006}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{200A}', '\u{202F}', '\u{205F}',
    '\u{3000}',
];

#[test]
fn a_password_is_the_same_whichever_blank_is_typed() {
    let kept = HashedPassword::new(
        &Password::choose("plum tractor voyage", None, None).unwrap(),
        salt(),
    );
    for blank in BLANKS {
        let typed = format!("plum{blank}tractor voyage");
        assert_eq!(normalized(&typed), "plum tractor voyage", "{typed:?}");
        assert_eq!(
            Password::choose(&typed, None, None).unwrap().as_str(),
            "plum tractor voyage"
        );
    }
    assert!(kept.verify("plum\u{A0}tractor\u{3000}voyage").unwrap());
    assert!(!kept.verify("plum\ttractor voyage").unwrap());
}

/// Before blanks were mapped, a password was kept as it was typed, in its composed form.
#[test]
fn a_hash_from_before_blanks_were_mapped_still_fits() {
    let params = Params::new(19_456, 2, 1, None).unwrap();
    let typed = "caf\u{e9}\u{A0}au\u{3000}lait";
    let kept = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(typed.as_bytes(), &[7; 16])
        .unwrap();
    let kept = HashedPassword::from_record(kept.to_string());
    assert!(kept.verify(typed).unwrap());
    assert!(kept.verify("cafe\u{301}\u{A0}au\u{3000}lait").unwrap());
    assert!(!kept.verify("caf\u{e9}\u{A0}au\u{3000}lai").unwrap());
}

#[test]
fn a_hash_of_other_parameters_is_renewed_and_one_of_todays_is_not() {
    let text = "plum tractor voyage";
    let kept = HashedPassword::new(&Password::choose(text, None, None).unwrap(), salt());
    assert_eq!(kept.rehash(text, Salt::fixed([8; 16])), None);
    for (algorithm, memory, passes) in [
        (Algorithm::Argon2id, 8192, 2),
        (Algorithm::Argon2id, 19_456, 1),
        (Algorithm::Argon2i, 19_456, 2),
    ] {
        let params = Params::new(memory, passes, 1, None).unwrap();
        let old = Argon2::new(algorithm, Version::V0x13, params)
            .hash_password_with_salt(text.as_bytes(), &[7; 16])
            .unwrap();
        let old = HashedPassword::from_record(old.to_string());
        assert!(old.verify(text).unwrap());
        assert!(!old.verify("plum tractor").unwrap());
        let renewed = old.rehash(text, Salt::fixed([8; 16])).unwrap();
        assert!(renewed.as_str().starts_with(PARAMETERS));
        assert!(renewed.verify(text).unwrap());
    }
}

#[test]
fn an_administrator_changes_others_and_a_deactivation_ends_their_sessions() {
    let admin = id(9);
    let ada = user(id(1), "ada@example.com");
    let change = |user: &User, status, role| user.change(UserChange { status, role }, admin);
    let promoted = change(&ada, None, Some(Role::Admin)).unwrap();
    assert_eq!((promoted.role, promoted.generation), (Role::Admin, 0));
    let gone = change(&promoted, Some(Status::Deactivated), None).unwrap();
    assert_eq!((gone.status, gone.role), (Status::Deactivated, Role::Admin));
    assert_eq!(gone.generation, 1);
    // Once is enough, and coming back does not bring the sessions back.
    assert_eq!(
        change(&gone, Some(Status::Deactivated), None),
        Ok(gone.clone())
    );
    let back = change(&gone, Some(Status::Active), Some(Role::Customer)).unwrap();
    assert_eq!(
        back,
        User {
            generation: 1,
            ..ada
        }
    );
}

#[test]
fn nobody_changes_their_own_standing() {
    let ada = user(id(1), "ada@example.com");
    let admin = User {
        role: Role::Admin,
        ..ada.clone()
    };
    for (status, role) in [
        (Some(Status::Deactivated), None),
        (None, Some(Role::Customer)),
        (Some(Status::Deactivated), Some(Role::Customer)),
        (Some(Status::Active), Some(Role::Customer)),
    ] {
        let change = UserChange { status, role };
        assert_eq!(admin.change(change, admin.id), Err(OwnRights));
    }
    // What changes nothing is no change.
    let same = UserChange {
        status: Some(Status::Active),
        role: Some(Role::Admin),
    };
    assert_eq!(admin.change(same, admin.id), Ok(admin.clone()));
    // Nor does a token from before one's rights went help to get them back.
    assert_eq!(ada.change(same, ada.id), Err(OwnRights));
}

proptest! {
    #[test]
    fn an_address_that_was_taken_is_taken_again_unchanged(text in "\\PC{0,8}[a-zA-Z0-9.@-]{0,40}\\PC{0,4}") {
        if let Ok(email) = Email::parse(&text) {
            prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            prop_assert!(email.as_str().is_ascii());
            prop_assert_eq!(email.as_str().to_lowercase(), email.as_str());
        }
    }

    #[test]
    fn a_name_that_was_taken_is_taken_again_unchanged(text in any::<String>()) {
        if let Ok(name) = UserName::parse(&text) {
            prop_assert_eq!(UserName::parse(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn a_password_is_kept_to_the_letter_in_its_composed_form(text in any::<String>()) {
        if let Ok(password) = Password::choose(&text, None, None) {
            prop_assert_eq!(password.as_str(), normalized(&text));
        }
    }

    #[test]
    fn an_ascii_password_is_kept_to_the_letter(text in "[ -~]{12,128}") {
        if let Ok(password) = Password::choose(&text, None, None) {
            prop_assert_eq!(password.as_str(), text);
        }
    }
}
