//! Where the manager's state is kept: embedded file or memory.
