//! From when to when a certificate is valid: its own words, which nobody else here has to know.
//!
//! Reads DER only as far as it must: the fourth or fifth field of the first field (RFC 5280, 4.1). What it does not
//! understand is no answer, never a panic.

/// The tags of DER that stand on the way.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Bounds in unix seconds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from_s: i64,
    to_s: i64,
}

impl Validity {
    /// What a certificate says of itself.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, whole, _) = field(certificate)?;
        let (_, mut rest, _) = field(whole).filter(|(tag, _, _)| *tag == SEQUENCE)?;
        if let Some((VERSION, _, behind)) = field(rest) {
            rest = behind;
        }
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            rest = field(rest)?.2;
        }
        let (_, bounds, _) = field(rest).filter(|(tag, _, _)| *tag == SEQUENCE)?;
        let (from_tag, from, behind) = field(bounds)?;
        let (to_tag, to, _) = field(behind)?;
        Some(Self { from_s: seconds(from_tag, from)?, to_s: seconds(to_tag, to)? })
    }

    /// What is wrong with it at a time.
    pub(super) fn problem(self, now_s: i64) -> Option<&'static str> {
        if now_s > self.to_s {
            Some("the certificate has expired")
        } else if now_s < self.from_s {
            Some("the certificate is not valid yet")
        } else {
            None
        }
    }
}

/// Tag, content, and what stands behind.
fn field(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f).min(5))?;
        let add = |len: usize, digit: &u8| len.checked_mul(256)?.checked_add(usize::from(*digit));
        (digits.iter().try_fold(0, add)?, rest)
    };
    let (content, behind) = rest.split_at_checked(len)?;
    Some((tag, content, behind))
}

/// `YYMMDDhhmmssZ`, or with four digits of the year.
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let mut pairs = digits.chunks(2).map(|pair| match pair {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from((tens - b'0') * 10 + ones - b'0')),
        _ => None,
    });
    let mut next = || pairs.next().flatten();
    let year = match tag {
        UTC_TIME => next().map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
        GENERALIZED_TIME => next()? * 100 + next()?,
        _ => return None,
    };
    let (month, day) = (next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a day of the Gregorian calendar. Years are counted from March, so that the leap day is a year's
/// last, and 153 days are any five months from March on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between the first of March of year 0 and 1970.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_times() {
        let check = |tag, text: &str, expect| assert_eq!(seconds(tag, text.as_bytes()), expect, "{text}");
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "000229123456Z", Some(951_827_696));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(UTC_TIME, "500101000000Z", Some(-631_152_000));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "7001010000Z", None);
        check(UTC_TIME, "7001010000000", None);
        check(UTC_TIME, "70010100000xZ", None);
        check(SEQUENCE, "700101000000Z", None);
    }

    #[test]
    fn a_certificate_tells_its_own_and_damage_is_no_answer() {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(2001, 9, 9);
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().to_vec();
        let expect = Validity { from_s: 999_993_600, to_s: 2_840_140_800 };
        assert_eq!(Validity::of(&certificate), Some(expect));
        assert_eq!(expect.problem(999_993_599), Some("the certificate is not valid yet"));
        assert_eq!(expect.problem(999_993_600), None);
        assert_eq!(expect.problem(2_840_140_801), Some("the certificate has expired"));
        for len in 0..certificate.len() {
            assert_eq!(Validity::of(&certificate[..len]), None, "{len}");
        }
        for index in 0..100 {
            for bit in 0..8 {
                let mut damaged = certificate.clone();
                damaged[index] ^= 1 << bit;
                let _ = Validity::of(&damaged);
            }
        }
    }
}
