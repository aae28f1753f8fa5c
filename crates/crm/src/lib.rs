//! The CRM itself: what a request says, what it means in a workspace, and the SQL that does it.
//!
//! Pure: no I/O, no clock, no randomness; time and ids come in as arguments. The crate knows nothing of
//! HTTP servers, of the PostgreSQL driver or of processes.

pub mod dialect;
pub mod model;
pub mod plan;
pub mod sql;
