//! Background work: workers under one supervisor. No request waits for anything here.

pub mod automate;
pub mod change_log;
pub mod deliver;
pub mod direct;
pub mod drain;
pub mod excess;
mod insist;
pub mod key_last_used;
pub mod mail;
pub mod mailboxes;
pub mod maintain;
pub mod monthly_usage;
mod places;
pub mod reap;
pub mod request_log;
pub mod send;
mod shares;
mod signature;
mod supervisor;
pub mod warm;
pub mod watch;

use std::future::Future;
use std::time::Duration;

use crm::model::fault::Fault;

use crate::app::App;

pub use supervisor::Supervisor;

/// A task that is run repeatedly.
pub trait Worker: Send + 'static {
    /// Its name in metrics and logs.
    const NAME: &'static str;

    /// The time between two runs, unless the worker is woken earlier.
    fn every(&self) -> Duration;

    /// Completes when there is work before the next run is due. By default it never completes.
    fn woken(&self, _app: &App) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Runs the task once. After an error or a panic it is run again.
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
