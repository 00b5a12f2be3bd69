//! Characters that nobody sees. They make two texts that look alike differ, or turn around how the
//! text beside them is read.

use unicode_normalization::char::canonical_combining_class;

/// Whether a text has a character that cannot be seen, other than where its script or an emoji needs it:
///
/// - a joiner after a virama, also at the end of a word (RFC 5892 A.1 and A.2; Malayalam, Bengali, Sinhala);
/// - a joiner between two characters of which neither is ASCII (Persian, emoji sequences);
/// - a variation selector after what it changes, and in a keycap (UTS #51, ED-14c);
/// - the tags of a flag (UTS #51, ED-14a).
///
/// Anywhere else, between Latin letters for example, it would do nothing but hide.
pub fn is_in(text: &str) -> bool {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let after = characters.peek().copied();
        let fits = match (before, c, after) {
            (Some(b), c, a) if is_joiner(c) => {
                let joins = |a| (is_changeable(b) || is_selector(b)) && is_changeable(a);
                is_virama(b) || a.is_some_and(joins)
            }
            (Some('0'..='9' | '#' | '*'), '\u{FE0F}', Some('\u{20E3}')) => true,
            (Some(b), c, _) if is_selector(c) => is_changeable(b),
            (Some(b), c, Some(a)) if is_flag_tag(c) => {
                (b == '\u{1F3F4}' || is_flag_tag(b)) && (is_flag_tag(a) || a == END_OF_TAGS)
            }
            (Some(b), END_OF_TAGS, _) => is_flag_tag(b),
            (_, c, _) => !is_invisible(c) && !is_joiner(c) && !is_selector(c),
        };
        if !fits {
            return true;
        }
        before = Some(c);
    }
    false
}

/// The sign of Indic scripts that takes a consonant's vowel away (Canonical_Combining_Class=Virama).
fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == 9
}

/// The letters and digits that say whose flag it is.
fn is_flag_tag(c: char) -> bool {
    matches!(c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}')
}

const END_OF_TAGS: char = '\u{E007F}';

/// Seen, and of a script that knows joiners and selectors.
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

/// Control characters; what Unicode calls default ignorable, which includes everything that sets
/// the direction of writing; line and paragraph separators; and what is drawn as a blank without
/// being one.
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
