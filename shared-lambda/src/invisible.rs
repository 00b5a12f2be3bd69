//! Invisible characters. With them, two texts can look the same and differ. Some reverse the direction
//! of the text beside them.

use unicode_normalization::char::canonical_combining_class;

/// The canonical combining class of viramas (Unicode Standard, table 4-3).
const VIRAMA: u8 = 9;

/// Turns a digit into a keycap.
const KEYCAP: char = '\u{20E3}';

const BLACK_FLAG: char = '\u{1F3F4}';

/// The tags for the flags of England, Scotland and Wales, the only ones in use
/// (UTS #51, RGI_Emoji_Tag_Sequence).
const FLAGS: [&str; 3] = [
    "\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0077}\u{E006C}\u{E0073}\u{E007F}",
];

/// Whether a text has an invisible character that its script does not need at that place.
///
/// - A joiner may follow a virama, also at the end of a word. Many scripts of India use it
///   (RFC 5892 appendix A.1 and A.2, UAX #31 section 2.3).
/// - A joiner may stand between two characters that are not ASCII, as in Persian words and in emoji
///   (UTS #51). Between Latin letters it has no use.
/// - A variation selector may follow the character it changes: in Japanese names, in emoji and in
///   keycaps.
/// - Tags may follow a black flag, as the emoji of three countries.
pub fn is_in(text: &str) -> bool {
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let after = rest.clone().next();
        let fits = match c {
            _ if is_joiner(c) => {
                before.is_some_and(is_virama)
                    || before.is_some_and(|c| is_changeable(c) || is_selector(c))
                        && after.is_some_and(is_changeable)
            }
            '\u{FE0F}' if after == Some(KEYCAP) && before.is_some_and(is_key) => true,
            _ if is_selector(c) => before.is_some_and(is_changeable),
            _ => !is_invisible(c),
        };
        if !fits {
            return true;
        }
        if c == BLACK_FLAG {
            let tags = FLAGS.iter().find(|tags| rest.as_str().starts_with(*tags));
            rest = rest.as_str()[tags.map_or(0, |tags| tags.len())..].chars();
        }
        before = Some(c);
    }
    false
}

fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == VIRAMA
}

/// The base of a keycap (UTS #51, ED-14c).
fn is_key(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '#' | '*')
}

/// Visible, and of a script with joiners and selectors.
fn is_changeable(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !is_joiner(c) && !is_selector(c) && !is_invisible(c)
}

/// Zero width non-joiner and joiner.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Variation selectors.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Control characters, Unicode's default ignorable ones (with all marks of writing direction), line
/// and paragraph separators, and characters drawn as blanks.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' // soft hyphen
            | '\u{034F}' // combining grapheme joiner
            | '\u{061C}' // Arabic letter mark
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // Hangul fillers
            | '\u{17B4}' | '\u{17B5}' // Khmer inherent vowels
            | '\u{180E}' // Mongolian vowel separator
            | '\u{200B}' | '\u{200E}' | '\u{200F}' // zero width space, direction marks
            | '\u{2028}'..='\u{202E}' // separators, embeddings and overrides of direction
            | '\u{2060}'..='\u{206F}' // word joiner, invisible operators, isolates
            | '\u{2800}' // blank of Braille
            | '\u{FEFF}' // byte order mark
            | '\u{FFF0}'..='\u{FFFB}' // reserved, interlinear annotation
            | '\u{1BCA0}'..='\u{1BCA3}' // shorthand format controls
            | '\u{1D173}'..='\u{1D17A}' // musical format controls
            | '\u{E0000}'..='\u{E00FF}' | '\u{E01F0}'..='\u{E0FFF}' // tags, reserved
        )
}
