//! Kith's server: the doors, the hall, the store and the background work.

pub mod access;
pub mod app;
pub mod bounds;
pub mod bridge;
pub mod budget;
pub mod cache;
pub mod clients;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod door;
pub mod hall;
pub mod http_client;
pub mod install;
pub mod mailer;
pub mod people;
pub mod providers;
pub mod proxies;
pub mod request_log;
pub mod running;
pub mod serve;
pub mod store;
pub mod targets;
pub mod wakes;
pub mod work;
