//! Ids and counters of the cluster, one type each, so that none can be taken for another.

use std::fmt;
use std::str::FromStr;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// One cluster, random at its birth; zero means "not known yet".
    ClusterId
}
number_id! {
    /// One life of a node's process, random at its start; zero is nobody.
    Incarnation
}
number_id! {
    /// One reign of a leading manager, higher at every leader.
    Term
}
number_id! {
    /// The number that ties a reply to its poll.
    Nonce
}

/// The strictly increasing number of a bucket's ownership: the epoch in the high half, a counter in the low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl Generation {
    /// No ownership.
    pub const NONE: Self = Self(0);

    /// The generation `counter` of `epoch`.
    pub const fn new(epoch: u32, counter: u32) -> Self {
        Self((epoch as u64) << 32 | counter as u64)
    }

    /// The epoch in the high half.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The counter in the low half.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next generation, in `epoch` if that is higher; the one way in which generations grow.
    #[must_use]
    pub const fn next(self, epoch: u32) -> Self {
        if epoch > self.epoch() { Self::new(epoch, 1) } else { Self(self.0 + 1) }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a whole map: ordered by epoch, then counter, as one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapVersion(pub u64);

impl MapVersion {
    /// Before every map.
    pub const NONE: Self = Self(0);

    /// The version `counter` of `epoch`.
    pub const fn new(epoch: u32, counter: u32) -> Self {
        Self((epoch as u64) << 32 | counter as u64)
    }

    /// The next version, in `epoch` if that is higher.
    #[must_use]
    pub const fn next(self, epoch: u32) -> Self {
        if epoch > (self.0 >> 32) as u32 { Self::new(epoch, 1) } else { Self(self.0 + 1) }
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node's name: 1 to 64 letters, digits, `.`, `_` or `-`; unique in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(String);

impl NodeId {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a node name: 1 to 64 letters, digits, '.', '_' or '-'")]
pub struct ParseNodeIdError(String);

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::LEN_MAX || !text.bytes().all(legal) {
            return Err(ParseNodeIdError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_grow_through_epochs() {
        let generation = Generation::new(3, 9);
        assert_eq!(generation.next(3), Generation::new(3, 10));
        assert_eq!(generation.next(2), Generation::new(3, 10));
        assert_eq!(generation.next(4), Generation::new(4, 1));
        assert!(Generation::new(4, 0) > Generation::new(3, u32::MAX));
    }

    #[test]
    fn node_names_are_checked() {
        assert!("node-1.rack_2".parse::<NodeId>().is_ok());
        for bad in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
    }
}
