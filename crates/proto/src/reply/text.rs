//! Every fixed reply line, with its line end, as memcached spells it; and the managed ones.

macro_rules! lines {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &[u8] = concat!($text, "\r\n").as_bytes();)*
    };
}

lines! {
    /// The end of `VALUE` and `STAT` lines.
    END = "END";
    /// A storage command succeeded.
    STORED = "STORED";
    /// The condition of a storage command did not hold.
    NOT_STORED = "NOT_STORED";
    /// `cas`: the item was changed meanwhile.
    EXISTS = "EXISTS";
    /// There is no such item.
    NOT_FOUND = "NOT_FOUND";
    /// The item was deleted.
    DELETED = "DELETED";
    /// The item has its new exptime.
    TOUCHED = "TOUCHED";
    /// Done.
    OK = "OK";
    /// `stats reset` is done.
    RESET = "RESET";
    /// No such command.
    ERROR = "ERROR";

    /// Too few arguments, a key that is too long, bad numbers in storage commands.
    BAD_FORMAT = "CLIENT_ERROR bad command line format";
    /// The data block does not end with `\r\n`.
    BAD_DATA_CHUNK = "CLIENT_ERROR bad data chunk";
    /// Not a signed 32-bit number.
    INVALID_EXPTIME = "CLIENT_ERROR invalid exptime argument";
    /// Not an unsigned 64-bit number.
    INVALID_DELTA = "CLIENT_ERROR invalid numeric delta argument";
    /// The value to increment is no number.
    NON_NUMERIC = "CLIENT_ERROR cannot increment or decrement non-numeric value";
    /// `watch` is disabled.
    WATCH_NOT_ALLOWED = "CLIENT_ERROR watch commands not allowed";
    /// As many connections watch as may.
    WATCHER_TOO_MANY = "WATCHER_TOO_MANY log watcher limit reached";
    /// `flush_all` is disabled.
    FLUSH_ALL_NOT_ALLOWED = "CLIENT_ERROR flush_all not allowed";
    /// `shutdown` with an unknown word.
    INVALID_SHUTDOWN_MODE = "CLIENT_ERROR invalid shutdown mode";
    /// `shutdown` is not enabled; the colon is memcached's.
    SHUTDOWN_NOT_ENABLED = "SERVER_ERROR: shutdown not enabled";

    /// Anything but the command that shows a password, before it was shown.
    UNAUTHENTICATED = "CLIENT_ERROR unauthenticated";
    /// The password's data block is announced longer than any right one.
    AUTH_TOKEN_TOO_LONG = "CLIENT_ERROR auth token too long";
    /// The password's data block is not a user and a password.
    BAD_AUTH_TOKEN = "CLIENT_ERROR bad authentication token format";
    /// The password's data block does not end with `\r\n`.
    BAD_AUTH_TERMINATION = "CLIENT_ERROR bad command line termination";
    /// No such user, or not its password.
    AUTH_FAILURE = "CLIENT_ERROR authentication failure";

    /// `stats cachedump` is disabled.
    CACHEDUMP_NOT_ALLOWED = "CLIENT_ERROR stats cachedump not allowed";
    /// `stats cachedump` without its two numbers.
    BAD_LINE = "CLIENT_ERROR bad command line";
    /// `stats cachedump` of a class that no memcached has.
    ILLEGAL_SLAB_ID = "CLIENT_ERROR Illegal slab id";
    /// `stats detail` with an unknown word.
    DETAIL_USAGE = "CLIENT_ERROR usage: stats detail on|off|dump";
    /// No such slab class.
    BAD_CLASS = "BADCLASS invalid class id";
    /// `slabs reassign` from a class to itself.
    SAME_CLASS = "SAME src and dst class are identical";
    /// `slabs reassign` with a class that there cannot be.
    BAD_CLASSES = "BADCLASS invalid src or dst class id";
    /// `slabs reassign`: nothing to move.
    NO_SPARE_PAGES = "NOSPARE source class has no spare pages";
    /// `lru tune` with shares that leave too little.
    LRU_SHARES_TOO_LARGE = "ERROR hot and warm pcts must not exceed 80";
    /// `lru tune` with an age that is none.
    LRU_AGES_TOO_SMALL = "ERROR hot/warm age factors must be greater than 0";

    /// `lru_crawler sleep` above its limit.
    SLEEP_TOO_LONG = "CLIENT_ERROR sleep must be one second or less";
    /// `lru_crawler metadump` is disabled.
    METADUMP_NOT_ALLOWED = "ERROR metadump not allowed";
    /// `lru_crawler mgdump` is disabled.
    MGDUMP_NOT_ALLOWED = "ERROR key dump not allowed";

    /// A letter that no meta command has.
    INVALID_FLAG = "CLIENT_ERROR invalid flag";
    /// A letter twice.
    DUPLICATE_FLAG = "CLIENT_ERROR duplicate flag";
    /// Anything wrong with the key or a flag of `ma`.
    INVALID_OR_DUPLICATE_FLAG = "CLIENT_ERROR invalid or duplicate flag";
    /// Not a number where a flag needs one.
    BAD_TOKEN = "CLIENT_ERROR bad token in command line format";
    /// The D of a meta command is no number.
    INVALID_DELTA_VALUE = "CLIENT_ERROR invalid numeric delta value";
    /// The J of a meta command is no number.
    INVALID_INITIAL_VALUE = "CLIENT_ERROR invalid numeric initial value";
    /// Not base64.
    ERROR_DECODING_KEY = "CLIENT_ERROR error decoding key";
    /// An opaque of more than 31 bytes.
    OPAQUE_TOO_LONG = "CLIENT_ERROR opaque token too long";
    /// A mode that `ms` has not.
    INVALID_MS_MODE = "CLIENT_ERROR invalid mode for ms M token";
    /// A mode that `ma` has not.
    INVALID_MA_MODE = "CLIENT_ERROR invalid mode for ma M token";
    /// More words than a meta command may have.
    FLAGS_TOO_LONG = "CLIENT_ERROR options flags are too long";

    /// The item cannot fit at all.
    TOO_LARGE = "SERVER_ERROR object too large for cache";
    /// No memory for this item now.
    OUT_OF_MEMORY_STORING = "SERVER_ERROR out of memory storing object";
    /// No memory for the new number of an incr.
    OUT_OF_MEMORY = "SERVER_ERROR out of memory";
    /// The request is longer than the server will buffer; the connection ends.
    OUT_OF_MEMORY_READING = "SERVER_ERROR out of memory reading request";
    /// No connection is left; the connection ends.
    TOO_MANY_CONNECTIONS = "ERROR Too many open connections";

    /// `cache_memlimit` below 8.
    MEMLIMIT_TOO_SMALL = "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m";
    /// `cache_memlimit` with what looks like bytes.
    MEMLIMIT_NOT_BYTES = "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes";
    /// `cache_memlimit` could not be done.
    MEMLIMIT_OUT_OF_BOUNDS = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust";

    /// `refresh_certs` where there are none.
    TLS_NOT_ENABLED = "Error TLS not enabled";

    /// `own` is done.
    OWNED = "OWNED";
    /// `disown` is done.
    DISOWNED = "DISOWNED";
    /// The node does not own the bucket under that generation, or its lease is over: definitely no effect.
    NOT_OWNER = "ERROR_NOT_OWNER";
    /// A creating command came after its deadline: definitely no effect.
    EXPIRED = "ERROR_EXPIRED";
    /// A key command without a `bg` before it on a managed node.
    NO_BG = "CLIENT_ERROR no BG data in managed mode";
    /// The `bg` before this command was malformed.
    BAD_BG = "CLIENT_ERROR bad BG data";
    /// A key of the command hashes to another bucket than the `bg` named: the client hashes differently.
    KEY_NOT_IN_BUCKET = "CLIENT_ERROR key is not in the bucket";
    /// The proxy cannot know whether a write happened.
    OUTCOME_UNKNOWN = "SERVER_ERROR outcome unknown";
}
