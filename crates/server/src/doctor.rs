//! `kith doctor`: says what the database server lacks, if anything.

use crate::config::{Config, Direct, PostgresListen};
use crate::store::cell::server::DatabaseServer;

/// ReadBatcher at everything that Kith needs and prints a line for each.
pub async fn run(config: Config) -> Result<(), String> {
    // It takes nobody in, and the port may be another Kith's.
    let direct = match config.database_url {
        Some(_) => config.direct.clone(),
        None => Direct { listen: Some(PostgresListen::Off), ..config.direct.clone() },
    };
    let server = DatabaseServer::open(&Config { direct, ..config }).await?;
    let lacking = server.examine().await;
    server.close().await;
    let findings = lacking?;
    for finding in &findings {
        println!("{} {}", if finding.good { "ok  " } else { "LACK" }, finding.text);
    }
    match findings.iter().filter(|finding| !finding.good).count() {
        0 => Ok(()),
        lacking => Err(format!("{lacking} things are lacking")),
    }
}
