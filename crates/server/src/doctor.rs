//! `kith doctor`: reports what the database server lacks, if anything.

use crate::config::{Config, Direct, PostgresListen};
use crate::store::cell::examine::Verdict;
use crate::store::cell::server::DatabaseServer;

/// Checks everything that Kith needs and prints a line for each check.
pub async fn run(config: Config) -> Result<(), String> {
    // It accepts no direct connections, and another Kith may use the port.
    let direct = match config.database_url {
        Some(_) => config.direct.clone(),
        None => Direct { listen: Some(PostgresListen::Off), ..config.direct.clone() },
    };
    let server = DatabaseServer::open(&Config { direct, ..config }).await?;
    let examined = server.examine().await;
    server.close().await;
    let findings = examined?;
    for finding in &findings {
        println!("{} {}", label(finding.verdict), finding.text);
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Lacking).count() {
        0 => Ok(()),
        lacking => Err(format!("{lacking} things are lacking")),
    }
}

fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok  ",
        Verdict::Warning => "WARN",
        Verdict::Lacking => "LACK",
    }
}
