//! The types that all other parts use: asks, answers, records, faults.
//!
//! The model does not depend on wire formats (`dialect`) or on SQL text (`sql`).

pub mod answer;
pub mod ask;
pub mod call;
pub mod catalog;
pub mod change;
pub mod codes;
pub mod control;
pub mod currency;
pub mod email;
pub mod entity;
pub mod event;
pub mod fault;
pub mod filter;
pub mod id;
pub mod inbound;
pub mod json;
pub mod lifecycle;
pub mod naming;
pub mod operation;
pub mod page;
pub mod rows;
pub mod split;
pub mod value;
pub mod who;
