//! A JSON body as a tree of values. The memory of the tree is estimated before the tree is built (`weight`), because
//! small values make it many times as large as the text.

mod tree;
mod weight;

pub use tree::parse;
pub use weight::{MAX_DEPTH, Weight, weigh};
