//! Characters that nobody sees. They make two texts that look alike differ, or turn around how the
//! text beside them is read.

/// Whether a text has a character that cannot be seen, but for those that its script needs where
/// they stand: Persian and the scripts of India spell with joiners, Japanese names choose between
/// the forms of a character by a selector, and emoji are put together from both. Such a one follows
/// what it changes at once, and a joiner stands between two characters, neither of them ASCII.
/// Between Latin letters it would do nothing but hide.
pub fn is_in(text: &str) -> bool {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let fits = match c {
            _ if is_joiner(c) => {
                let follows = |c: char| is_changeable(c) || is_selector(c);
                before.is_some_and(follows) && characters.peek().copied().is_some_and(is_changeable)
            }
            _ if is_selector(c) => before.is_some_and(is_changeable),
            _ => !is_invisible(c),
        };
        if !fits {
            return true;
        }
        before = Some(c);
    }
    false
}

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
