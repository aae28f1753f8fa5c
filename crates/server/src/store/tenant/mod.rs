//! Workspaces' own sessions: running a plan's statements or a caller's SQL, the transactions they run in, and the cached
//! catalogs of workspaces' tables. Every session here logged in as the workspace's own role.

pub mod catalogs;
pub mod raw;
pub mod read_batch;
pub mod run;
pub mod transaction;
