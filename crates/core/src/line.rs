//! Text from outside that people read in listings, logs and terminals: what of it can pass for something else.
//!
//! Tells only; whether such text is refused or shortened is its holder's to say.

/// Whether a terminal shows the character as something else than itself: a control character, a line or paragraph end,
/// or what invisibly reorders or hides its neighbours.
pub fn disguises(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
