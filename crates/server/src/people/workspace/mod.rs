//! What a person does with workspaces: makes, lists and claims them, makes keys, invites members, opens direct connections.

pub mod claims;
pub mod connections;
pub mod invitations;
pub mod keys;
pub mod members;
pub mod workspaces;
