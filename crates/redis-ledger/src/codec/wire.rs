//! Bytes, varints and short texts. Refuses to panic on any input: a reader gives `None` where the bytes end.

use paybell_core::time::Timestamp;

/// Builds bytes.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the low ones first.
    pub fn unsigned(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.byte(low & 0x7f);
            }
            self.byte(low | 0x80);
        }
    }

    /// Small numbers of either sign are short.
    pub fn signed(&mut self, number: i64) {
        self.unsigned((number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned());
    }

    /// A time as its distance from another.
    pub fn time(&mut self, time: Timestamp, base: Timestamp) {
        self.signed(time.millis().wrapping_sub(base.millis()));
    }

    /// Identifiers only: they have at most 32 characters.
    pub fn text(&mut self, text: &str) {
        self.unsigned(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.bytes(text.as_bytes());
    }
}

/// Takes bytes apart.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What was not read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(bytes)
    }

    pub fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // Only the shortest form is ours: equal records must have equal bytes.
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    /// 0 where nothing is written.
    pub fn unsigned_if(&mut self, is_written: bool) -> Option<u64> {
        if is_written { self.unsigned() } else { Some(0) }
    }

    pub fn signed(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg())
    }

    pub fn time(&mut self, base: Timestamp) -> Option<Timestamp> {
        Some(Timestamp::from_millis(base.millis().wrapping_add(self.signed()?)))
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.unsigned()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_small_ones_are_short() {
        for (number, length) in [(0, 1), (-1, 1), (63, 1), (64, 2), (-64, 1), (i64::MAX, 10), (i64::MIN, 10)]
        {
            let mut to = Writer::with_capacity(0);
            to.signed(number);
            let bytes = to.done();
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(Reader::new(&bytes).signed(), Some(number));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0x00], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Reader::new(bytes).unsigned(), None, "{bytes:?}");
        }
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(Reader::new(&most).unsigned(), Some(u64::MAX));
    }
}
