//! What happens afterwards, without a request: nothing here is on a caller's way.

pub mod direct;
pub mod mail;
pub mod reap;
pub mod usage;
pub mod uses;
pub mod watch;
