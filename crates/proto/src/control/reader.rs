//! A cursor over the bytes of one frame: takes what is there, or says what is missing.

use super::codec::DecodeError;
use crate::bucket::{BUCKET_COUNT, Bucket};

/// What is left of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the whole of `bytes` with `read`; it is an error if any byte is left.
    pub(super) fn all<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = Self::new(bytes);
        let value = read(&mut reader)?;
        match reader.rest.len() {
            0 => Ok(value),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let missing = DecodeError::Truncated { wanted: len, left: self.rest.len() };
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(missing)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let missing = DecodeError::Truncated { wanted: N, left: self.rest.len() };
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(missing)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::BadTag { what: "flag", value }),
        }
    }

    pub(super) fn bucket(&mut self) -> Result<Bucket, DecodeError> {
        let number = self.u16()?;
        Bucket::new(number).ok_or(DecodeError::BadBucket(number))
    }

    /// A run of buckets: at least one, and none behind the last.
    pub(super) fn run(&mut self) -> Result<(Bucket, u16), DecodeError> {
        let (first, count) = (self.u16()?, self.u16()?);
        let bad = DecodeError::BadRun { first, count };
        let bucket = Bucket::new(first).ok_or(bad.clone())?;
        if count == 0 || bucket.index() + usize::from(count) > BUCKET_COUNT {
            return Err(bad);
        }
        Ok((bucket, count))
    }

    /// Bytes behind their length (u32), at most `len_max` of them.
    pub(super) fn sub(&mut self, what: &'static str, len_max: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.length(what, len_max)?;
        self.take(len)
    }

    /// Text behind its length.
    pub(super) fn text(&mut self, what: &'static str, len_max: usize) -> Result<&'a str, DecodeError> {
        let bytes = self.sub(what, len_max)?;
        str::from_utf8(bytes).map_err(|_| DecodeError::NotText { what })
    }

    /// A list behind its count. Nothing is reserved for a count that the frame's bytes do not bear out.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        count_max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.length(what, count_max)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn length(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let length = self.u32()? as usize;
        if length > max {
            return Err(DecodeError::TooLong { what, length, max });
        }
        Ok(length)
    }
}
