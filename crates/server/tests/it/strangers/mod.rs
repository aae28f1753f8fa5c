//! Limits for clients without an account: connections, bodies, answers that are not read, look-ups.

mod answers;
mod bodies;
mod connections;
mod heads;
mod lanes;
