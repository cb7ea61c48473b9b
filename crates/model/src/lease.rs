//! The lease and the tags that it goes with (`server::managed::lease_cell`).
//!
//! A node's lease has lapsed, and its bucket was given to another node. Then a reply revokes the bucket and renews the
//! lease. A reader whose request came while the lease was over must be refused whatever it sees of the two.

use loom::sync::Arc;
use loom::thread;

use cluster::Lease;
use stdx::LeaseTime;

use crate::lease_cell::LeaseCell;
use crate::rights::Rights;

const TAG: u64 = 7;

/// A step at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// None.
    Nothing,
    /// The reader reads the tag before the lease.
    TagFirst,
    /// The lease is renewed before the bucket is revoked.
    LeaseFirst,
}

/// When the request came, by both clocks.
const NOW: LeaseTime = LeaseTime { boot: 15, raw: 15 };

/// How the lease had lapsed: on both clocks, or on one that ran ahead while the other stood.
pub const LAPSED: [LeaseTime; 3] =
    [LeaseTime { boot: 10, raw: 10 }, LeaseTime { boot: 10, raw: 20 }, LeaseTime { boot: 20, raw: 10 }];

const RENEWED: LeaseTime = LeaseTime { boot: 30, raw: 30 };

/// The model, with one step wrong.
pub fn model(wrong: Wrong, lapsed: LeaseTime) -> impl Fn() + Sync + Send + 'static {
    move || {
        let rights = Rights::new(0);
        rights.set_tag(TAG);
        let node = Arc::new((rights, LeaseCell::new(Lease::from_until(lapsed))));
        let reader = thread::spawn({
            let node = Arc::clone(&node);
            move || {
                let (rights, cell) = &*node;
                let (lease, tag) = match wrong {
                    Wrong::TagFirst => {
                        let tag = rights.tag();
                        (cell.get(), tag)
                    }
                    _ => cell.with_tag(|| rights.tag()),
                };
                assert!(!(lease.is_valid(NOW) && tag == TAG), "a bucket of another node is served");
            }
        });
        let (rights, cell) = &*node;
        if wrong == Wrong::LeaseFirst {
            cell.set(Lease::from_until(RENEWED));
        }
        rights.set_tag(0);
        cell.set(Lease::from_until(RENEWED));
        reader.join().expect("it returns");
    }
}
