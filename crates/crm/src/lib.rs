//! The CRM: reads requests, plans them against a workspace's tables, writes the SQL that does them, and writes the
//! responses.
//!
//! The crate is pure: it has no I/O, no clock and no randomness. Times and ids are arguments. It does not depend on
//! HTTP servers, on the PostgreSQL driver or on processes.

pub mod dialect;
pub mod model;
pub mod plan;
pub mod sql;
