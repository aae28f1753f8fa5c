//! How much memory a large answer uses. This is a test binary of its own, because it measures the process.

#![cfg(target_os = "linux")]

mod support;

use pg::conn::{Begin, Caps, Format, Frame, Statement, Want};
use pg::types::TypeCache;
use pg::{Conn, Error};
use support::server;

const CAPS: Caps = Caps { max_rows: 10_000, max_bytes: 10 << 20, max_value_bytes: 10 << 20 };

/// The maximum amount of memory that the process has used, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn execute(conn: &mut Conn, sql: &str) -> Result<usize, Error> {
    let types = TypeCache::default();
    let mut tx = conn.begin(Begin::ReadOnly(&[])).await?;
    tx.prepare(sql, &types).await?;
    let result = tx.execute(&[], Format::Json, CAPS, &types).await;
    tx.rollback().await?;
    result.map(|outcome| outcome.rows.len())
}

#[tokio::test]
async fn an_answer_takes_no_more_than_its_caps() {
    let mut conn = server().await.admin().await;
    execute(&mut conn, "select repeat('x', 1000)").await.unwrap();
    let before = peak();

    let huge = "select 1, repeat('x', 200000000), repeat('y', 5000000)";
    let statement = Statement { sql: huge, params: &[], format: Format::Json, want: Want::Rows };
    let run = conn.run(Frame::ReadOnly, &[statement], &TypeCache::default(), CAPS).await;
    assert!(matches!(run, Err(Error::ValueTooLarge { .. })));
    assert!(matches!(execute(&mut conn, huge).await, Err(Error::ValueTooLarge { .. })));
    assert!(conn.is_clean());
    let grown = peak() - before;
    assert!(grown < 4 << 20, "{grown} bytes for values that are skipped");

    // 4 GB of rows, each within the caps.
    let endless = "select repeat('x', 100000) from generate_series(1, 40000)";
    assert_eq!(execute(&mut conn, endless).await.unwrap(), 104);
    let wide = format!("select {}", vec!["repeat('x', 8000000)"; 30].join(", "));
    assert_eq!(execute(&mut conn, &wide).await.unwrap(), 0);
    let grown = peak() - before;
    assert!(grown < 64 << 20, "{grown} bytes for results that are cut");
    assert!(conn.is_clean());
}
