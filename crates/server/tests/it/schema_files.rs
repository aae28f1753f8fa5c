//! The generated files migrations/*/schema.sql equal the contents of new databases. A run with KITH_BLESS=1 writes them.

use std::path::Path;
use std::{env, fs};

use pg::Conn;

use crate::support::{agent, home};

const DESCRIBE: &str = include_str!("data/describe_database.sql");

/// The names for the roles of a workspace in the files, by purpose.
const PARTS: &str = "SELECT r.role AS oid, format('{{%s}}', r.part) AS name FROM kith_guard.role r";
/// The names for the roles of the control database in the files.
const NAMES: &str = "SELECT r.oid, r.rolname::text AS name FROM pg_roles r";

async fn describe(conn: &mut Conn, roles: &str, schemas: &str) -> String {
    let sql = DESCRIBE.replace("{{roles}}", roles).replace("{{schemas}}", schemas);
    let rows = conn.query(&sql, &[]).await.expect("a description");
    let texts = (0..rows.len()).map(|row| rows.text(row, 0).expect("a text"));
    texts.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Compares the file with the database. Another major version of PostgreSQL may write an expression differently, so the file
/// is compared only under the version that wrote it.
async fn assert_is_fresh(conn: &mut Conn, folder: &str, schema: &str) {
    let rows =
        conn.query("SELECT split_part(current_setting('server_version'), '.', 1)", &[]).await.expect("a version");
    let version = format!("PostgreSQL {}", rows.text(0, 0).expect("a version"));
    let text = format!(
        "-- Generated from the migrations beside it, under {version}: what a new database contains. Do not edit it. A run of the\n\
         -- tests with KITH_BLESS=1 writes it.\n\n{schema}\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("migrations/{folder}/schema.sql"));
    if env::var_os("KITH_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, &text).expect("schema.sql can be written");
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    if !file.is_empty() && !file.contains(&version) {
        println!("{} was not written under {version} and is not compared", path.display());
        return;
    }
    let differs = text.lines().zip(file.lines().chain([""])).position(|(wanted, found)| wanted != found);
    let differs = differs.or((text != file).then_some(text.lines().count()));
    if let Some(at) = differs {
        let [wanted, found] = [&text, &file].map(|text| text.lines().nth(at).unwrap_or("(the end)").to_owned());
        panic!(
            "{}:{}: is old\n  file:     {found}\n  database: {wanted}\nRun the test with KITH_BLESS=1.",
            path.display(),
            at + 1
        );
    }
}

#[tokio::test]
async fn the_schema_file_of_workspaces_is_fresh() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    let schema = describe(&mut admin, PARTS, "'public', 'kith', 'kith_guard'").await;
    assert_is_fresh(&mut admin, "workspace", &schema).await;
}

#[tokio::test]
async fn the_schema_file_of_the_control_database_is_fresh() {
    let mut admin = home().kith.app.store.cells.administer(0, "kith").await.expect("a session");
    let schema = describe(&mut admin, NAMES, "'public'").await;
    assert_is_fresh(&mut admin, "control", &schema).await;
}
