//! A command line's words and numbers.
//!
//! Only the space (0x20) separates; tabs and control bytes are ordinary bytes of a word. Runs of spaces count
//! as one, trailing spaces are nothing.

use memchr::memchr;

/// The words of a line, in order, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// What has not been walked yet.
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The words of `line`, which has no line end any more.
    #[inline]
    pub const fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// What has not been walked yet, spaces included.
    #[inline]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some((&b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(token)
    }
}

/// A decimal number without sign; `None` for anything else and from 2^64 on.
#[inline]
pub fn unsigned(token: &[u8]) -> Option<u64> {
    if token.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for &byte in token {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// As [`unsigned`], with a `+` allowed in front, as memcached allows it where it uses `strtoul`.
#[inline]
pub fn unsigned_plus(token: &[u8]) -> Option<u64> {
    unsigned(token.strip_prefix(b"+").unwrap_or(token))
}

/// A decimal number with `-` or `+` or nothing in front; `None` outside of 64 bits.
#[inline]
pub fn signed(token: &[u8]) -> Option<i64> {
    match token.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned_plus(token)?).ok(),
    }
}

/// A signed 32-bit exptime, where memcached does not truncate: `touch`, `gat`, `flush_all`, meta.
#[inline]
pub(crate) fn exptime(token: &[u8]) -> Option<i64> {
    signed(token).filter(|&number| i32::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_spaces_only() {
        let words: Vec<&[u8]> = Tokens::new(b"  get  a\tb \x00 ").collect();
        assert_eq!(words, [&b"get"[..], b"a\tb", b"\x00"]);
        assert_eq!(Tokens::new(b"   ").next(), None);
    }

    #[test]
    fn numbers_end_where_their_type_ends() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"+5"), Some(5));
        for bad in [&b""[..], b"18446744073709551616", b"+1", b"-1", b"1x", b" 1"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
        for bad in [&b""[..], b"-", b"+", b"--1", b"+-1", b"-+1", b"9223372036854775808"] {
            assert_eq!(signed(bad), None, "{bad:?}");
        }
        assert_eq!(exptime(b"2147483648"), None);
    }
}
