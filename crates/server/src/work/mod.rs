//! What happens afterwards, without a request: nothing here is on a caller's way.

pub mod direct;
pub mod key_last_used;
pub mod mail;
pub mod maintain;
pub mod monthly_usage;
pub mod reap;
pub mod watch;
