//! What any engine behind the store's public interface must keep: nothing here knows how items lie in memory.

mod behaviour;
mod export;
mod harness;
mod limits;
mod model;
mod save;
mod stress;
