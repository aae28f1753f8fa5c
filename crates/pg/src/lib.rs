//! PostgreSQL for many mutually hostile tenants: the text-mode client, the pool keyed by (cell, database, role), the
//! watchdog, the embedded cluster, and the relay that accepts clients from the network. It knows nothing of CRM.

pub mod advisories;
mod alarm;
pub mod allowance;
pub mod cluster;
pub mod conn;
pub mod error;
pub mod params;
pub mod pool;
pub mod relay;
pub mod rows;
pub mod scram;
pub mod secret;
pub mod target;
mod tls;
pub mod types;
pub mod value;
pub mod watchdog;

pub use conn::Conn;
pub use error::{Error, ServerError};
pub use secret::Secret;
pub use target::{Host, Target, Tls, Url};
