//! The nouns that every other part speaks: asks, answers, records, faults.
//!
//! Knows nothing of wire formats (that is `dialect`) nor of SQL text (that is `sql`).

pub mod answer;
pub mod ask;
pub mod call;
pub mod catalog;
pub mod codes;
pub mod entity;
pub mod fault;
pub mod filter;
pub mod id;
pub mod json;
pub mod lifecycle;
pub mod page;
pub mod rows;
pub mod split;
pub mod value;
pub mod who;
