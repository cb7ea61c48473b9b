//! One buffer of a loop for the ciphertext of all its TLS connections, one at a time.

use crate::limits::TLS_SCRATCH_LEN;

/// Empty until the loop's first TLS connection.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// [`TLS_SCRATCH_LEN`] bytes with anything in them.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        if self.0.is_empty() {
            self.0 = vec![0; TLS_SCRATCH_LEN];
        }
        &mut self.0
    }
}
