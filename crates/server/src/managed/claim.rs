//! Under which right a command acts, and the checks of it ("Node/Exec").
//!
//! Pure: the lease, the tag and the clocks are arguments.

use cluster::Lease;
use cluster::node::may_execute;
use proto::reply::text;
use proto::request::Bg;
use proto::{Bucket, Generation, KeyHash};
use stdx::LeaseTime;

use crate::limits::DEADLINE_AHEAD_MAX;

/// What a `bg` line claims for the command behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    bucket: Bucket,
    generation: Generation,
    deadline_ms: Option<u64>,
}

/// Why a command is refused; it certainly had no effect. Told whether or not the command asked for silence:
/// a quiet batch must not hide a refusal (hazard k).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No `bg` before it.
    NoClaim,
    /// A malformed `bg` before it.
    BadClaim,
    /// One of its keys is in another bucket.
    KeyNotInBucket,
    /// The bucket is not owned under that generation, or the lease is over.
    NotOwner,
    /// The deadline has passed, or is none of this life's.
    Expired,
}

impl Refused {
    /// The line that tells it.
    pub const fn reply(self) -> &'static [u8] {
        match self {
            Self::NoClaim => text::NO_BG,
            Self::BadClaim => text::BAD_BG,
            Self::KeyNotInBucket => text::KEY_NOT_IN_BUCKET,
            Self::NotOwner => text::NOT_OWNER,
            Self::Expired => text::EXPIRED,
        }
    }
}

impl From<Bg> for Claim {
    fn from(bg: Bg) -> Self {
        Self { bucket: bg.bucket, generation: bg.generation, deadline_ms: bg.deadline_ms }
    }
}

impl Claim {
    /// "bucket(q.key) # q.bucket": two clients that hash differently would each have a value of their own.
    pub fn covers(&self, hash: KeyHash) -> Result<(), Refused> {
        if hash.bucket() == self.bucket { Ok(()) } else { Err(Refused::KeyNotInBucket) }
    }

    /// "now >= until, bucket not owned, or own.gen # q.gen". For a mutation, `tag` is read under its lock.
    pub fn may_execute(&self, tag: u64, lease: Lease, now: LeaseTime) -> Result<(), Refused> {
        may_execute(tag, self.generation, lease, now).map_err(|_| Refused::NotOwner)
    }

    /// "now > q.deadline, or the deadline is absurdly far or of another incarnation". `clock_ms` is the node's
    /// clock. For commands that create or change a value and carry no token.
    pub fn in_time(&self, clock_ms: u64) -> Result<(), Refused> {
        let ahead_max = DEADLINE_AHEAD_MAX.as_millis() as u64;
        match self.deadline_ms {
            Some(deadline) if clock_ms > deadline || deadline - clock_ms > ahead_max => Err(Refused::Expired),
            _ => Ok(()),
        }
    }

    /// True when the command has a deadline, to be checked again after it was applied.
    pub fn has_deadline(&self) -> bool {
        self.deadline_ms.is_some()
    }

    /// The bucket that it is about.
    pub fn bucket(&self) -> Bucket {
        self.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(deadline_ms: Option<u64>) -> Claim {
        let hash = KeyHash::of(b"k");
        Claim { bucket: hash.bucket(), generation: Generation(7), deadline_ms }
    }

    #[test]
    fn a_claim_holds_for_its_bucket_and_generation_while_the_lease_lasts() {
        let lease = Lease::from_until(LeaseTime::from_millis(100));
        let now = LeaseTime::from_millis(99);
        assert_eq!(claim(None).covers(KeyHash::of(b"k")), Ok(()));
        assert_eq!(claim(None).covers(KeyHash::of(b"other")), Err(Refused::KeyNotInBucket));
        assert_eq!(claim(None).may_execute(7, lease, now), Ok(()));
        for (tag, now) in [(6, 99), (8, 99), (0, 99), (7, 100)] {
            let now = LeaseTime::from_millis(now);
            assert_eq!(claim(None).may_execute(tag, lease, now), Err(Refused::NotOwner), "{tag} at {now:?}");
        }
    }

    #[test]
    fn deadlines_are_of_this_clock_and_near() {
        let ahead_max = DEADLINE_AHEAD_MAX.as_millis() as u64;
        let now = 1 << 50;
        for (deadline, in_time) in [
            (now, true),
            (now - 1, false),
            (now + ahead_max, true),
            (now + ahead_max + 1, false),
            (0, false),
            (u64::MAX, false),
        ] {
            assert_eq!(claim(Some(deadline)).in_time(now).is_ok(), in_time, "{deadline}");
        }
        assert_eq!(claim(None).in_time(now), Ok(()));
    }
}
