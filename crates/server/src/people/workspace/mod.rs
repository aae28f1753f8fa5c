//! What a person may do with a workspace: claim it, make keys, invite members, open direct connections.

pub mod claims;
pub mod connections;
pub mod keys;
pub mod members;
