//! What happens without a request: workers under one supervisor. Nothing here is on a caller's way.

pub mod direct;
pub mod excess;
pub mod key_last_used;
pub mod mail;
pub mod maintain;
pub mod monthly_usage;
pub mod reap;
mod supervisor;
pub mod warm;
pub mod watch;

use std::future::Future;
use std::time::Duration;

use crm::model::fault::Fault;

use crate::app::App;

pub use supervisor::Supervisor;

/// A piece of work that is done again and again.
pub trait Worker: Send + 'static {
    /// Its name in metrics and logs.
    const NAME: &'static str;

    /// The time between two runs, unless it is woken earlier.
    fn every(&self) -> Duration;

    /// Waits until something is to be done before its time; for ever, if nothing wakes it.
    fn woken(&self, _app: &App) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Does what there is to do. It starts again after an error or a panic.
    fn run_once(&mut self, app: &App) -> impl Future<Output = Result<(), Failed>> + Send;
}

/// Why a run failed, for the log.
#[derive(Debug)]
pub struct Failed(String);

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed(match fault {
            Fault::Internal { cause, place } => format!("{cause} ({place})"),
            fault => fault.message(),
        })
    }
}
