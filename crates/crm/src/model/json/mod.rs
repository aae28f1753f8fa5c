//! A JSON body as a tree of values. What the tree will cost is known before it is built (`weight`), because small values
//! make it many times as large as the text.

mod tree;
mod weight;

pub use tree::parse;
pub use weight::{MAX_DEPTH, Weight, weigh};
