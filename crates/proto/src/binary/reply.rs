//! Encode of replies.

use super::header::{Echo, HEADER_LEN, REPLY_MAGIC};
use super::status::Status;

/// A reply: appended to an output buffer with [`Reply::put`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// How it went.
    pub status: Status,
    /// The item's cas; zero where there is no item.
    pub cas: u64,
    /// Flags of a value.
    pub extras: &'a [u8],
    /// The key where it was asked for, the name of a statistic.
    pub key: &'a [u8],
    /// A value, a number in eight bytes, a text.
    pub value: &'a [u8],
}

impl<'a> Reply<'a> {
    /// A status with its text.
    pub const fn error(status: Status) -> Self {
        Self { status, cas: 0, extras: &[], key: &[], value: status.text().as_bytes() }
    }

    /// Success that has nothing to say but the item's cas.
    pub const fn done(cas: u64) -> Self {
        Self { status: Status::Ok, cas, extras: &[], key: &[], value: &[] }
    }

    /// Success with a text or a number.
    pub const fn value(cas: u64, value: &'a [u8]) -> Self {
        Self { status: Status::Ok, cas, extras: &[], key: &[], value }
    }

    /// Appends the reply. One whose parts do not fit their length fields becomes [`Status::TooLarge`]: values of
    /// 4 GiB can be stored by other means, but not fetched in this protocol.
    #[inline]
    pub fn put(&self, echo: Echo, out: &mut Vec<u8>) {
        let body_len = self.extras.len() + self.key.len() + self.value.len();
        let (Ok(extras_len), Ok(key_len), Ok(body_len_field)) =
            (u8::try_from(self.extras.len()), u16::try_from(self.key.len()), u32::try_from(body_len))
        else {
            return Reply::error(Status::TooLarge).put(echo, out);
        };
        out.reserve(HEADER_LEN + body_len);
        out.extend_from_slice(&[REPLY_MAGIC, echo.opcode]);
        out.extend_from_slice(&key_len.to_be_bytes());
        out.extend_from_slice(&[extras_len, 0]);
        out.extend_from_slice(&self.status.code().to_be_bytes());
        out.extend_from_slice(&body_len_field.to_be_bytes());
        out.extend_from_slice(&echo.opaque.to_be_bytes());
        out.extend_from_slice(&self.cas.to_be_bytes());
        out.extend_from_slice(self.extras);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }
}
