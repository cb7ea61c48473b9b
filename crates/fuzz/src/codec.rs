//! The control codec: any bytes are a message, too few, or an error; a message has exactly one encoding; and
//! a shorter buffer is too few, or has the same error.

use proto::control::{decode, encode};

pub(crate) fn run(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let whole = decode(rest);
        let end = match &whole {
            Ok(Some((message, len))) => {
                let mut again = Vec::new();
                encode(message, &mut again);
                assert_eq!(again, rest[..*len], "{message:?} has two encodings");
                *len
            }
            _ => rest.len(),
        };
        for len in (0..end).filter(|len| *len < 150 || len % 61 == 0) {
            match decode(&rest[..len]) {
                Ok(None) => {}
                cut => assert_eq!(cut, whole, "{len} of {end} bytes"),
            }
        }
        match whole {
            Ok(Some((_, len))) => rest = &rest[len..],
            _ => return,
        }
    }
}
