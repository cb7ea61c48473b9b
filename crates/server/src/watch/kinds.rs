//! Kinds of lines, as a set.

/// What a watcher wants to hear of, or what kind a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Look-ups of keys.
    pub const FETCHERS: Self = Self(1);
    /// Storage commands.
    pub const MUTATIONS: Self = Self(1 << 1);
    /// Items that had to go.
    pub const EVICTIONS: Self = Self(1 << 2);
    /// Connections that begin and end.
    pub const CONNEVENTS: Self = Self(1 << 3);
    /// Items that were deleted.
    pub const DELETIONS: Self = Self(1 << 4);
    /// What memcached can tell of its background threads and its proxy, and this node has not.
    const NEVER: Self = Self(1 << 5);
    /// Commands and replies, on standard error.
    pub const EXCHANGES: Self = Self(1 << 6);
    /// Look-ups of keys, on standard error.
    pub const LOOKUPS: Self = Self(1 << 7);
    /// What is told on standard error, and to no watcher.
    pub(crate) const SPOKEN: Self = Self::EXCHANGES.with(Self::LOOKUPS);

    /// What a word of `watch` asks for.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"fetchers" => Self::FETCHERS,
            b"mutations" => Self::MUTATIONS,
            b"evictions" => Self::EVICTIONS,
            b"connevents" => Self::CONNEVENTS,
            b"deletions" => Self::DELETIONS,
            b"rawcmds" | b"sysevents" | b"proxyreqs" | b"proxyevents" | b"proxyuser" => Self::NEVER,
            _ => return None,
        })
    }

    /// What `-v` so many times says on standard error.
    pub(crate) const fn of_verbosity(level: u64) -> Self {
        match level {
            0 | 1 => Self::NONE,
            2 => Self::EXCHANGES,
            _ => Self::SPOKEN,
        }
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this but not in the other.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    pub(crate) const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether any of the others is in this.
    #[inline]
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// True for nothing.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
