//! Kith's server: the doors, the hall, the store and what happens afterwards.

pub mod access;
pub mod answer;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod door;
pub mod keys;
pub mod limits;
pub mod outgoing;
pub mod people;
pub mod plans;
pub mod proxies;
pub mod serve;
pub mod store;
pub mod work;
