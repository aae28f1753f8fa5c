//! `kith doctor`: says what the database server lacks, if anything.

use crate::config::Config;
use crate::store::ground::Ground;

/// Looks at everything that Kith needs and prints a line for each.
pub async fn run(config: Config) -> Result<(), String> {
    let ground = Ground::open(&config).await?;
    let lacking = ground.examine().await;
    ground.close().await;
    let findings = lacking?;
    for finding in &findings {
        println!("{} {}", if finding.good { "ok  " } else { "LACK" }, finding.text);
    }
    match findings.iter().filter(|finding| !finding.good).count() {
        0 => Ok(()),
        lacking => Err(format!("{lacking} things are lacking")),
    }
}
