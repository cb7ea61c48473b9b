//! The body of every control message, field by field in the order of its struct.
//!
//! Ids and numbers as they are wide, big-endian; texts and lists behind their u32 length; an `Option` behind a
//! byte 0 or 1.

use super::codec::DecodeError;
use super::reader::Reader;
use super::{Change, Dirty, Life, LockIdentity, Message, Owned, Poll, Reply, Role};
use crate::bucket::Bucket;
use crate::ids::{ClusterId, Generation, Incarnation, MapVersion, NodeId, Nonce, Term};
use crate::limits::{ADDRESS_LEN_MAX, CHANGES_MAX, MAP_TEXT_LEN_MAX, OWNED_RUNS_MAX, REFUSED_TEXT_LEN_MAX};

const POLL: u8 = 1;
const REPLY: u8 = 2;
const DEAD: u8 = 3;
const RELEASE: u8 = 4;
const DIRTY: u8 = 5;
const DONE: u8 = 6;
const REFUSED: u8 = 7;
const MAP_GET: u8 = 8;
const MAP_IS: u8 = 9;

impl Message {
    /// The number of the message's kind in its frame.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Poll(_) => POLL,
            Self::Reply(_) => REPLY,
            Self::Dead(_) => DEAD,
            Self::Release(_) => RELEASE,
            Self::Dirty(_) => DIRTY,
            Self::Done => DONE,
            Self::Refused(_) => REFUSED,
            Self::MapGet(_) => MAP_GET,
            Self::MapIs(_) => MAP_IS,
        }
    }

    pub(super) const fn is_kind(kind: u8) -> bool {
        matches!(kind, POLL..=MAP_IS)
    }

    /// Whether messages of that kind carry lists or maps.
    pub(super) const fn kind_is_large(kind: u8) -> bool {
        matches!(kind, POLL | REPLY | MAP_IS)
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Poll(poll) => poll.encode(out),
            Self::Reply(reply) => reply.encode(out),
            Self::Dead(life) | Self::Release(life) => life.encode(out),
            Self::Dirty(dirty) => {
                put_u64(out, dirty.cluster.0);
                put_u16(out, dirty.bucket.number());
            }
            Self::Done => {}
            Self::Refused(text) => {
                put_bytes(out, text.get(..text.floor_char_boundary(REFUSED_TEXT_LEN_MAX)).unwrap_or(text));
            }
            Self::MapGet(version) => put_u64(out, version.0),
            Self::MapIs(text) => put_bytes(out, text),
        }
    }

    pub(super) fn decode_body(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            POLL => Self::Poll(Poll::decode(reader)?),
            REPLY => Self::Reply(Reply::decode(reader)?),
            DEAD => Self::Dead(Life::decode(reader)?),
            RELEASE => Self::Release(Life::decode(reader)?),
            DIRTY => Self::Dirty(Dirty { cluster: ClusterId(reader.u64()?), bucket: reader.bucket()? }),
            DONE => Self::Done,
            REFUSED => Self::Refused(reader.text("refusal", REFUSED_TEXT_LEN_MAX)?.to_owned()),
            MAP_GET => Self::MapGet(MapVersion(reader.u64()?)),
            MAP_IS => Self::MapIs(reader.sub("map", MAP_TEXT_LEN_MAX)?.to_vec()),
            other => return Err(DecodeError::Kind(other)),
        })
    }
}

impl Poll {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.cluster.0);
        put_bytes(out, self.node.as_str());
        put_u64(out, self.incarnation.0);
        put_u64(out, self.nonce.0);
        put_u64(out, self.applied.0);
        out.push(u8::from(self.owned.is_some()));
        if let Some(owned) = &self.owned {
            put_count(out, owned.len());
            for run in owned {
                put_run(out, run.first, run.count);
                put_u64(out, run.generation.0);
            }
        }
        put_u64(out, self.map_version.0);
        put_bytes(out, &self.address);
        self.lock.encode(out);
        out.extend_from_slice(&self.pid.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            cluster: ClusterId(reader.u64()?),
            node: node_id(reader)?,
            incarnation: Incarnation(reader.u64()?),
            nonce: Nonce(reader.u64()?),
            applied: Nonce(reader.u64()?),
            owned: reader
                .bool()?
                .then(|| reader.list("list of owned buckets", OWNED_RUNS_MAX, Owned::decode))
                .transpose()?,
            map_version: MapVersion(reader.u64()?),
            address: reader.text("address", ADDRESS_LEN_MAX)?.to_owned(),
            lock: LockIdentity::decode(reader)?,
            pid: reader.u32()?,
        })
    }
}

impl LockIdentity {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.boot_id.to_be_bytes());
        put_u64(out, self.device);
        put_u64(out, self.inode);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { boot_id: reader.u128()?, device: reader.u64()?, inode: reader.u64()? })
    }
}

impl Owned {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (first, count) = reader.run()?;
        Ok(Self { first, count, generation: Generation(reader.u64()?) })
    }
}

impl Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.cluster.0);
        put_u64(out, self.incarnation.0);
        put_u64(out, self.nonce.0);
        put_u64(out, self.term.0);
        out.push(u8::from(self.lease));
        out.extend_from_slice(&self.lease_ms.to_be_bytes());
        out.push(u8::from(self.list_owned));
        put_count(out, self.changes.len());
        for change in &self.changes {
            change.encode(out);
        }
        put_bytes(out, &self.map);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            cluster: ClusterId(reader.u64()?),
            incarnation: Incarnation(reader.u64()?),
            nonce: Nonce(reader.u64()?),
            term: Term(reader.u64()?),
            lease: reader.bool()?,
            lease_ms: reader.u32()?,
            list_owned: reader.bool()?,
            changes: reader.list("list of changes", CHANGES_MAX, Change::decode)?,
            map: reader.sub("map", MAP_TEXT_LEN_MAX)?.to_vec(),
        })
    }
}

impl Change {
    const REVOKE: u8 = 0;
    const GRANT: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Revoke { first, count } => {
                out.push(Self::REVOKE);
                put_run(out, first, count);
            }
            Self::Grant { first, count, generation, base, role } => {
                out.push(Self::GRANT);
                put_run(out, first, count);
                put_u64(out, generation.0);
                put_u64(out, base.0);
                out.push(role.tag());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = reader.u8()?;
        let is_grant = match tag {
            Self::REVOKE => false,
            Self::GRANT => true,
            value => return Err(DecodeError::BadTag { what: "change", value }),
        };
        let (first, count) = reader.run()?;
        if !is_grant {
            return Ok(Self::Revoke { first, count });
        }
        Ok(Self::Grant {
            first,
            count,
            generation: Generation(reader.u64()?),
            base: Generation(reader.u64()?),
            role: Role::decode(reader)?,
        })
    }
}

impl Role {
    const fn tag(self) -> u8 {
        match self {
            Self::Primary => 0,
            Self::Copy => 1,
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Primary),
            1 => Ok(Self::Copy),
            value => Err(DecodeError::BadTag { what: "role", value }),
        }
    }
}

impl Life {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.cluster.0);
        put_bytes(out, self.node.as_str());
        put_u64(out, self.incarnation.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            cluster: ClusterId(reader.u64()?),
            node: node_id(reader)?,
            incarnation: Incarnation(reader.u64()?),
        })
    }
}

fn node_id(reader: &mut Reader<'_>) -> Result<NodeId, DecodeError> {
    Ok(reader.text("node name", NodeId::LEN_MAX)?.parse()?)
}

fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_run(out: &mut Vec<u8>, first: Bucket, count: u16) {
    put_u16(out, first.number());
    put_u16(out, count);
}

/// A count or length. What does not fit the field does not fit the frame either, which encode checks.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: impl AsRef<[u8]>) {
    put_count(out, bytes.as_ref().len());
    out.extend_from_slice(bytes.as_ref());
}
