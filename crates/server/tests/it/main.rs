//! The integration tests: one binary, a file per feature, through the public door against real PostgreSQL.

mod bad_input;
mod conflicts;
mod custom_tables;
mod deadlines;
mod docs;
mod filters;
mod foreign_ddl;
mod health;
mod hostile;
mod idempotency;
mod lifecycle;
mod limits;
mod pages;
mod patches;
mod process;
mod quickstart;
mod records;
mod sessions;
mod sql;
mod sql_limits;
mod support;
mod tidy;
mod upgrade;
mod values;
mod walks;
