//! The tokio client of doled clusters, and of static pools of any memcached servers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use doled_client::{Client, Expiry};
//!
//! let client = Client::managed(["127.0.0.1:11311"]).await?;
//! client.set("user:7", "Ada", Expiry::After(Duration::from_secs(60))).await?;
//! if let Some(item) = client.get("user:7").await? {
//!     println!("{}", String::from_utf8_lossy(&item.value));
//! }
//! client.delete("user:7").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is a cheap handle; clone it freely. Behind it one task owns the routing state, and one task owns each
//! socket. Callers hold a channel to the first, so a future that is dropped can never take another caller's reply.
//!
//! What a managed cluster promises, and what a failure means, is in the documentation of the errors: a read never
//! fails because of a server, it misses; a write says whether it happened, did not happen, or may have happened.
//!
//! **Invariants**: a write of unknown outcome is never sent again, and in a managed cluster it cannot land after the
//! call returned. A connection on which anything went wrong is closed. Everything is bounded ([`limits`]).

mod client;
mod connection;
mod driver;
mod error;
mod item;
pub mod limits;
mod managers;
mod options;
mod request;
mod task;

pub use client::Client;
pub use error::{Fault, KeyError, ReadError, StartError, WriteError};
pub use item::{Cas, CasResult, Expiry, Item};
pub use options::{ClientOptions, Target};
pub use route::RouteOptions;
