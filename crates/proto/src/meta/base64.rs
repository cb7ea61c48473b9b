//! Base64 as meta keys use it: the standard alphabet, padded, and in the one canonical spelling, so that a key
//! has one name and the name can be echoed as it came. (memcached skips foreign bytes and spells anew.)

/// Bytes that `len` bytes of base64 hold at most.
pub(super) const fn decoded_len_max(len: usize) -> usize {
    len / 4 * 3
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the base64 of `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).map_or(0, |&byte| u32::from(byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at) & 63) as usize;
            let letter = if at > group.len() { b'=' } else { DIGITS.get(digit).copied().unwrap_or(b'=') };
            out.push(letter);
        }
    }
}

/// Decodes `text` to the start of `out`, and says how many bytes that were; `None` for what is not base64, is
/// empty, or too long for `out`.
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let (last, full) = groups.split_last()?;
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        out.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    for &[a, b, c, d] in full {
        put(&three(a, b, c, d)?)?;
    }
    match *last {
        [a, b, b'=', b'='] => match three(a, b, b'A', b'A')? {
            [first, 0, 0] => put(&[first])?,
            _ => return None,
        },
        [a, b, c, b'='] => match three(a, b, c, b'A')? {
            [first, second, 0] => put(&[first, second])?,
            _ => return None,
        },
        [a, b, c, d] => put(&three(a, b, c, d)?)?,
    }
    Some(len)
}

/// The bytes of one full group.
fn three(a: u8, b: u8, c: u8, d: u8) -> Option<[u8; 3]> {
    let bits = digit(a)? << 18 | digit(b)? << 12 | digit(c)? << 6 | digit(d)?;
    let [_, first, second, third] = bits.to_be_bytes();
    Some([first, second, third])
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&[u8]>) {
        let mut out = [0; 8];
        let len = decode(text.as_bytes(), &mut out);
        assert_eq!(len.map(|len| &out[..len]), expect, "{text:?}");
        if let Some(bytes) = expect {
            let mut encoded = Vec::new();
            encode(bytes, &mut encoded);
            assert_eq!(encoded, text.as_bytes());
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648() {
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9vYg==", Some(b"foob"));
        check("Zm9vYmE=", Some(b"fooba"));
        check("Zm9vYmFy", Some(b"foobar"));
        check("+/+/", Some(&[0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "Z", "Zg", "Zg=", "Zg=a", "=g==", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-v", "Zm9v="]
        {
            check(text, None);
        }
        // A second spelling of "f" and of "fo".
        check("Zh==", None);
        check("Zm9=", None);
        // Nine bytes do not fit eight.
        check("Zm9vYmFyZm9v", None);
    }
}
