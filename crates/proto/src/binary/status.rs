//! Why a binary request was not done, with memcached's texts.

/// The status of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// Done.
    #[default]
    Ok = 0x00,
    /// There is no such item, or no such statistic.
    NotFound = 0x01,
    /// The item is there already, or has another cas.
    Exists = 0x02,
    /// The item cannot fit at all.
    TooLarge = 0x03,
    /// Lengths that the command cannot have; the connection is closed.
    InvalidArguments = 0x04,
    /// append and prepend: there is nothing to join, or the whole would be too large.
    NotStored = 0x05,
    /// incr and decr: the value is no number.
    NonNumeric = 0x06,
    /// Not authenticated, wrong credentials, or the command is switched off.
    AuthFailure = 0x20,
    /// No such opcode, or a header whose lengths contradict each other.
    UnknownCommand = 0x81,
    /// No memory for this item now.
    OutOfMemory = 0x82,
}

impl Status {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// What the value of a reply with this status says.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::NotFound => "Not found",
            Self::Exists => "Data exists for key.",
            Self::TooLarge => "Too large.",
            Self::InvalidArguments => "Invalid arguments",
            Self::NotStored => "Not stored.",
            Self::NonNumeric => "Non-numeric server-side value for incr or decr",
            Self::AuthFailure => "Auth failure.",
            Self::UnknownCommand => "Unknown command",
            Self::OutOfMemory => "Out of memory",
        }
    }
}
