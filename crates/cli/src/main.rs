//! The binary `doled`.
fn main() {}
