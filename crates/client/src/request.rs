//! One key's request as bytes, ready to be sent, and to be sent again.

use proto::KeyHash;
use proto::limits::KEY_LEN_MAX;
use proto::reply::ReplyKind;
use proto::request::encode::{put_arith, put_delete, put_get, put_storage, put_touch};
use proto::request::{Arith, Storage, StorageVerb};
use route::Class;

use crate::error::KeyError;
use crate::item::Cas;

/// A request without its `bg`.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) key: Box<[u8]>,
    pub(crate) hash: KeyHash,
    /// The whole of it, data block included.
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: ReplyKind,
    pub(crate) class: Class,
    /// For `cas`: what its read saw.
    pub(crate) bound: Option<Cas>,
}

impl Request {
    pub(crate) fn get(key: &[u8], with_cas: bool) -> Result<Self, KeyError> {
        let mut bytes = Vec::with_capacity(key.len() + 8);
        put_get(&mut bytes, key, with_cas);
        Self::new(key, bytes, ReplyKind::Values, Class::Read)
    }

    pub(crate) fn touch(key: &[u8], exptime: i64) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        put_touch(&mut bytes, key, exptime);
        Self::new(key, bytes, ReplyKind::Touch, Class::Read)
    }

    pub(crate) fn delete(key: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        put_delete(&mut bytes, key);
        Self::new(key, bytes, ReplyKind::Delete, Class::Delete)
    }

    pub(crate) fn arith(arith: &Arith<'_>) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        put_arith(&mut bytes, arith);
        Self::new(arith.key, bytes, ReplyKind::Arith, Class::Create)
    }

    pub(crate) fn storage(storage: &Storage<'_>, value: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = Vec::with_capacity(storage.key.len() + value.len() + 64);
        put_storage(&mut bytes, storage);
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
        let is_cas = matches!(storage.verb, StorageVerb::Cas(_));
        let class = if is_cas { Class::Bound } else { Class::Create };
        Self::new(storage.key, bytes, ReplyKind::Storage, class)
    }

    fn new(key: &[u8], bytes: Vec<u8>, kind: ReplyKind, class: Class) -> Result<Self, KeyError> {
        check(key)?;
        Ok(Self { key: key.into(), hash: KeyHash::of(key), bytes, kind, class, bound: None })
    }

    /// Whether the request carries a deadline: it creates or changes a value.
    pub(crate) fn has_deadline(&self) -> bool {
        matches!(self.class, Class::Create | Class::Bound)
    }
}

fn check(key: &[u8]) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_LEN_MAX {
        return Err(KeyError::TooLong(key.len()));
    }
    match key.iter().position(|&byte| byte <= b' ' || byte == 0x7f) {
        Some(at) => Err(KeyError::Byte { byte: key[at], at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_as_a_key_is_refused() {
        let refused = |key: &[u8]| Request::get(key, false).unwrap_err();
        assert_eq!(refused(b""), KeyError::Empty);
        assert_eq!(refused(&[b'k'; 251]), KeyError::TooLong(251));
        assert_eq!(refused(b"a b"), KeyError::Byte { byte: b' ', at: 1 });
        assert_eq!(refused(b"ab\r\nquit"), KeyError::Byte { byte: b'\r', at: 2 });
        assert!(Request::get(&[b'k'; 250], false).is_ok());
        assert!(Request::get("\u{e4}\u{20ac}".as_bytes(), false).is_ok());
    }

    #[test]
    fn a_storage_request_is_whole() {
        let storage =
            Storage { verb: StorageVerb::Set, key: b"k", flags: 1, exptime: 2, value_len: 3, noreply: false };
        let request = Request::storage(&storage, b"abc").unwrap();
        assert_eq!(request.bytes, b"set k 1 2 3\r\nabc\r\n");
        assert_eq!(request.class, Class::Create);
    }
}
