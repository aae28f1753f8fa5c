//! The integration tests: one binary, a file per feature, through the public door against real PostgreSQL.

mod conflicts;
mod pages;
mod patches;
mod quickstart;
mod records;
mod support;
mod tidy;
