//! Workspaces as people manage them: they create, list and claim workspaces, create keys, invite members and open direct
//! connections.

pub mod claims;
pub mod connections;
pub mod invitations;
pub mod keys;
pub mod members;
pub mod usage;
pub mod workspaces;
