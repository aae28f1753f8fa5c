//! The integration tests: one binary, a file per feature, through the public door against real PostgreSQL.

mod tidy;
