//! Letters that nobody can guess or repeat: for numbers of orders that do not exist, and for nonces.

const ALPHABET: [u8; 32] = *b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// So many capitals and digits.
pub fn letters(count: usize) -> String {
    let mut bytes = vec![0; count];
    // Without randomness the numbers are alike, which harms nothing: no such order exists.
    let _ = getrandom::fill(&mut bytes);
    let letter =
        |byte: &u8| ALPHABET.get(usize::from(*byte) % ALPHABET.len()).copied().map_or('A', char::from);
    bytes.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_many_and_differ() {
        let (first, second) = (letters(19), letters(19));
        assert_eq!((first.len(), second.len()), (19, 19));
        assert_ne!(first, second);
        assert!(first.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    }
}
