//! A client's request as it goes to a backend: one key, answered, ready to be sent again.

use proto::reply::{ReplyKind, text};
use proto::request::encode::{put_arith, put_delete, put_gat, put_get, put_storage, put_touch};
use proto::request::{Arith, Storage, StorageVerb};
use route::Class;

/// The bytes of a request and what is known about them.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The whole request without `bg`.
    pub(crate) bytes: Vec<u8>,
    key_at: usize,
    key_len: usize,
    pub(crate) kind: ReplyKind,
    pub(crate) class: Class,
    /// Copies get the same bytes; if not, they are told to delete the key.
    pub(crate) same_for_copies: bool,
    /// What the client is told when the backend answers at all, instead of its answer.
    pub(crate) answer: Option<&'static [u8]>,
}

impl Prepared {
    /// The request's key.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(self.key_at..self.key_at + self.key_len).unwrap_or_default()
    }

    /// What a copy of the key is told: the same, or, where that would drift, to drop it.
    pub(crate) fn for_copy(&self, mut bytes: Vec<u8>) -> Self {
        if !self.same_for_copies {
            return delete(bytes, self.key());
        }
        bytes.extend_from_slice(&self.bytes);
        Self { bytes, answer: None, ..*self }
    }

    /// True when copies must hear of it.
    pub(crate) fn mutates(&self) -> bool {
        self.kind != ReplyKind::Values
    }
}

/// How keys are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    /// `gets`, `gats`.
    pub(crate) with_cas: bool,
    /// `gat`, `gats`.
    pub(crate) exptime: Option<i64>,
}

/// `get`, `gets`, `gat`, `gats` of one key.
pub(crate) fn fetch(mut bytes: Vec<u8>, key: &[u8], fetch: Fetch) -> Prepared {
    match fetch.exptime {
        None => put_get(&mut bytes, key, fetch.with_cas),
        Some(exptime) => put_gat(&mut bytes, key, exptime, fetch.with_cas),
    }
    let key_at = bytes.len() - "\r\n".len() - key.len();
    prepared(bytes, key, key_at, ReplyKind::Values, Class::Read)
}

/// The line of a storage command; its data block and line end are appended by the caller.
pub(crate) fn storage(mut bytes: Vec<u8>, storage: &Storage<'_>) -> Prepared {
    put_storage(&mut bytes, storage);
    let class = if matches!(storage.verb, StorageVerb::Cas(_)) { Class::Bound } else { Class::Create };
    let mut request = prepared(bytes, storage.key, storage.verb.word().len() + 1, ReplyKind::Storage, class);
    request.same_for_copies = storage.verb == StorageVerb::Set;
    request
}

/// `incr` or `decr`.
pub(crate) fn arith(mut bytes: Vec<u8>, arith: &Arith<'_>) -> Prepared {
    put_arith(&mut bytes, arith);
    let mut request = prepared(bytes, arith.key, "incr ".len(), ReplyKind::Arith, Class::Create);
    request.same_for_copies = false;
    request
}

/// `delete`.
pub(crate) fn delete(mut bytes: Vec<u8>, key: &[u8]) -> Prepared {
    put_delete(&mut bytes, key);
    prepared(bytes, key, "delete ".len(), ReplyKind::Delete, Class::Delete)
}

/// What becomes of a `set` that is too large: the old value goes, and the client is told why.
pub(crate) fn delete_for_too_large(bytes: Vec<u8>, key: &[u8]) -> Prepared {
    let mut request = delete(bytes, key);
    request.answer = Some(text::TOO_LARGE);
    request
}

/// `flush_all` of one server.
pub(crate) fn flush(mut bytes: Vec<u8>, delay: i64) -> Prepared {
    bytes.extend_from_slice(format!("flush_all {delay}\r\n").as_bytes());
    prepared(bytes, b"", 0, ReplyKind::Ok, Class::Create)
}

/// `touch`.
pub(crate) fn touch(mut bytes: Vec<u8>, key: &[u8], exptime: i64) -> Prepared {
    put_touch(&mut bytes, key, exptime);
    prepared(bytes, key, "touch ".len(), ReplyKind::Touch, Class::Read)
}

fn prepared(bytes: Vec<u8>, key: &[u8], key_at: usize, kind: ReplyKind, class: Class) -> Prepared {
    debug_assert_eq!(bytes.get(key_at..key_at + key.len()), Some(key));
    Prepared { bytes, key_at, key_len: key.len(), kind, class, same_for_copies: true, answer: None }
}
