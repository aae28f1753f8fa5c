//! What strangers may take of the door without having anything: connections, bodies, answers that nobody reads, look-ups.

mod answers;
mod bodies;
mod connections;
mod heads;
mod lanes;
