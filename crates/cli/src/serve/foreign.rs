//! memcached's flags that mean nothing here: read so that command lines fit, hidden in the help.
//!
//! A flag that only tunes memcached's insides is accepted with a note.

use anyhow::{Result, ensure};
use clap::Args;

/// What each of them says.
#[derive(Debug, Args)]
pub(super) struct ForeignFlags {
    /// Slab growth
    #[arg(short = 'f', long, value_name = "FACTOR", hide = true)]
    slab_growth_factor: Option<f64>,

    /// Smallest slab chunk
    #[arg(short = 'n', long, value_name = "BYTES", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    slab_min_size: Option<u32>,

    /// Large pages
    #[arg(short = 'L', long, hide = true)]
    enable_largepages: bool,

    /// Loops by network queue
    #[arg(short = 'N', long, value_name = "N", hide = true)]
    napi_ids: Option<u32>,

    /// No cas
    #[arg(short = 'C', long, hide = true)]
    disable_cas: bool,
}

impl ForeignFlags {
    /// Refuses values that cannot be; notes what means nothing.
    pub(super) fn check(&self, notes: &mut Vec<String>) -> Result<()> {
        if let Some(factor) = self.slab_growth_factor {
            ensure!(factor > 1.0, "-f (--slab-growth-factor) {factor}: a number above 1");
        }
        let meaningless = [
            (self.slab_growth_factor.is_some(), "-f (--slab-growth-factor): there are no slabs"),
            (self.slab_min_size.is_some(), "-n (--slab-min-size): there are no slabs"),
            (self.enable_largepages, "-L (--enable-largepages): the kernel chooses the pages"),
            (self.napi_ids.is_some(), "-N (--napi-ids): connections go to the threads in turn"),
            (self.disable_cas, "-C (--disable-cas): every item has its cas, which costs nothing"),
        ];
        notes.extend(meaningless.iter().filter(|(given, _)| *given).map(|(_, note)| (*note).to_owned()));
        Ok(())
    }
}
