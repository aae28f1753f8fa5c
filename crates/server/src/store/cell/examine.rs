//! Checks of a database server: its version, extensions, administrator and settings.

use pg::{Conn, Error, advisories};

use crate::store::cell::CONTROL_DATABASE;
use crate::store::cell::maintain::{ALARMING, OLDEST};
use crate::store::cell::server::DatabaseServer;
use crate::store::control::seals::{SealCounts, seal_counts};
use crate::store::seal::Sealer;

/// The result of one check.
#[derive(Debug)]
pub struct Finding {
    /// Whether Kith works with it.
    pub verdict: Verdict,
    /// The state that was found, and the state that Kith needs.
    pub text: String,
}

/// The meaning of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It meets Kith's needs.
    Good,
    /// Kith works, but the operator has something to do.
    Warning,
    /// Kith does not work with it.
    Lacking,
}

/// The oldest major version that Kith runs on.
const OLDEST_VERSION: u32 = 16;
/// The extensions of every workspace.
const EXTENSIONS: &[&str] = &["citext", "pg_trgm", "vector", "pgcrypto"];

impl DatabaseServer {
    /// Checks everything that Kith needs. Fails if nobody can log in.
    pub async fn examine(&self) -> Result<Vec<Finding>, String> {
        let mut conn = self.administer().await?;
        let mut findings = look(&mut conn).await.map_err(|error| error.to_string())?;
        let has_control = "SELECT FROM pg_database WHERE datname = $1";
        let found = conn.query(has_control, &[Some(CONTROL_DATABASE)]).await.map_err(|error| error.to_string())?;
        if !found.is_empty() {
            let control = self.cells.administer(0, CONTROL_DATABASE).await;
            let mut control = control.map_err(|error| format!("can't log in to the control database: {error}"))?;
            findings.extend(queues(&mut control).await.map_err(|error| error.to_string())?);
            findings.extend(self.seals(&mut control).await.map_err(|error| error.to_string())?);
        }
        Ok(findings)
    }

    /// The findings for the keys that have sealed the secrets in the control database.
    async fn seals(&self, control: &mut Conn) -> Result<Vec<Finding>, Error> {
        let keys = self.keys();
        let sealer = Sealer::new(&keys.current, keys.old.as_ref());
        let counts = seal_counts(control, sealer.key_id(), sealer.old_key_id()).await?;
        let (mut findings, mut all) = (Vec::new(), 0);
        let mut warn = |text: String| findings.push(Finding { verdict: Verdict::Warning, text });
        for SealCounts { what, all: of_kind, by_old_key, by_unknown_key } in counts {
            all += of_kind;
            if by_old_key > 0 {
                warn(format!(
                    "{by_old_key} secrets of {what} still need KITH_SECRET_KEY_OLD: start `kith serve` with both keys, which seals them again"
                ));
            }
            if by_unknown_key > 0 {
                warn(format!(
                    "{by_unknown_key} secrets of {what} can't be opened: another secret key has sealed them. Give it as KITH_SECRET_KEY_OLD, or set them again"
                ));
            }
        }
        if findings.is_empty() {
            let old = if keys.old.is_some() { "; KITH_SECRET_KEY_OLD is not needed any more" } else { "" };
            findings.push(Finding {
                verdict: Verdict::Good,
                text: format!("{all} secrets are sealed with the secret key{old}"),
            });
        }
        Ok(findings)
    }

    /// Logs a warning if the server's release has known holes.
    pub async fn warn_of_known_holes(&self) -> Result<(), String> {
        let mut conn = self.administer().await?;
        let release = release(&mut conn).await.map_err(|error| error.to_string())?;
        if let Some(text) = known_holes(release) {
            tracing::warn!("{text}");
        }
        Ok(())
    }

    async fn administer(&self) -> Result<Conn, String> {
        let conn = self.cells.administer_cell(0).await;
        conn.map_err(|error| format!("can't log in to the database server: {error}"))
    }
}

/// The server's major and minor version.
async fn release(conn: &mut Conn) -> Result<(u32, u32), Error> {
    let number: u32 = setting(conn, "server_version_num").await?.parse().unwrap_or(0);
    Ok((number / 10_000, number % 10_000))
}

/// The security holes of a release that later releases fixed, in one line for the operator; `None` if it has no known ones.
fn known_holes(release: (u32, u32)) -> Option<String> {
    let open = advisories::open_in(release);
    let sound = open.iter().filter_map(|advisory| advisory.closed_in(release.0)).max()?;
    let numbers: Vec<&str> = open.iter().map(|advisory| advisory.cve).collect();
    Some(format!(
        "PostgreSQL {}.{} has known holes, which {}.{} closed: {}; `kith doctor` says what they allow",
        release.0,
        release.1,
        sound.0,
        sound.1,
        numbers.join(", ")
    ))
}

async fn look(conn: &mut Conn) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let release = release(conn).await?;
    let version_text = setting(conn, "server_version").await?;
    findings.push(Finding {
        verdict: if release.0 >= OLDEST_VERSION { Verdict::Good } else { Verdict::Lacking },
        text: format!("PostgreSQL {version_text} ({OLDEST_VERSION} or newer is needed)"),
    });
    findings.extend(holes(release));
    let mut note = |good: bool, text: String| {
        findings.push(Finding { verdict: if good { Verdict::Good } else { Verdict::Lacking }, text });
    };

    for extension in EXTENSIONS {
        let found = conn
            .query("SELECT default_version FROM pg_available_extensions WHERE name = $1", &[Some(extension)])
            .await?;
        let text = match found.is_empty() {
            false => format!("extension {extension} {}", found.get::<String>(0, "default_version")?),
            true => format!(
                "extension {extension} is not installed on the server (package postgresql-contrib, or postgresql-16-pgvector for vector)"
            ),
        };
        note(!found.is_empty(), text);
    }

    let me = conn.query("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user", &[]).await?;
    let (name, is_superuser): (String, String) = (me.get(0, "rolname")?, me.get(0, "rolsuper")?);
    note(
        is_superuser == "t",
        format!(
            "role {name} is {}a superuser (event triggers guard the tenants)",
            if is_superuser == "t" { "" } else { "not " }
        ),
    );

    for (name, good, why) in [
        ("fsync", "on", "acknowledged writes must survive a crash"),
        ("full_page_writes", "on", "acknowledged writes must survive a crash"),
        ("synchronous_commit", "on", "acknowledged writes must survive a crash"),
        ("max_prepared_transactions", "0", "a tenant's prepared transaction would hold its locks forever"),
        (
            "autovacuum",
            "off",
            "its workers evaluate workspaces' index expressions without a limit of time; Kith vacuums in sessions of the workspaces' own",
        ),
    ] {
        let value = setting(conn, name).await?;
        note(value == good, format!("{name} = {value} ({good} is needed: {why})"));
    }
    for (name, least, why) in [
        ("max_connections", 150, "Kith keeps up to 126 connections"),
        ("max_locks_per_transaction", 256, "one tenant could fill the lock table of all"),
    ] {
        let value: i64 = setting(conn, name).await?.parse().unwrap_or(0);
        note(value >= least, format!("{name} = {value} (at least {least} is needed: {why})"));
    }
    let oldest = conn.query(OLDEST, &[]).await?;
    findings.push(age(&oldest.get::<String>(0, "datname")?, oldest.get(0, "age")?));
    Ok(findings)
}

/// A queue that workers empty, and its due entries: the number, and the seconds since the oldest of them was due.
struct Queue {
    name: &'static str,
    table: &'static str,
    due: &'static str,
}

const QUEUES: &[Queue] = &[
    Queue {
        name: "deliveries of webhooks",
        table: "webhook_deliveries",
        due: "SELECT d.next_attempt_at FROM webhook_deliveries AS d JOIN webhook_endpoints AS e ON e.id = d.endpoint_id AND e.enabled
              JOIN workspaces AS w ON w.id = e.workspace_id AND w.sending
              WHERE d.status = 'pending' AND d.next_attempt_at < now()",
    },
    Queue {
        name: "e-mails of workspaces",
        table: "outgoing_emails",
        due: "SELECT o.next_attempt_at FROM outgoing_emails AS o
              JOIN workspaces AS w ON w.id = o.workspace_id AND (w.sending OR o.outcome IS NOT NULL)
              WHERE o.next_attempt_at < now()",
    },
    Queue {
        name: "runs of automations",
        table: "automation_runs",
        due: "SELECT r.next_attempt_at FROM automation_runs AS r JOIN automations AS a ON a.id = r.automation_id AND a.enabled
              WHERE r.status = 'pending' AND r.next_attempt_at < now()",
    },
    Queue {
        name: "letters to people",
        table: "outgoing_mail",
        due: "SELECT next_attempt_at FROM outgoing_mail WHERE next_attempt_at < now() AND next_attempt_at > '-infinity'",
    },
];

/// How late the oldest entry of a queue may be, in seconds. Workers look at their queues every second.
const LATE_SECONDS: i64 = 10 * 60;

/// The findings for the queues. A table that does not exist yet comes with the next start of `kith serve`.
async fn queues(control: &mut Conn) -> Result<Vec<Finding>, Error> {
    // The administrator's sessions look nowhere but in `pg_catalog`.
    control.script("SET search_path = public").await?;
    let mut findings = Vec::new();
    for queue in QUEUES {
        let exists = control.query("SELECT FROM pg_class WHERE oid = to_regclass($1)", &[Some(queue.table)]).await?;
        if exists.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT count(*) AS due, COALESCE(extract(epoch FROM now() - min(next_attempt_at))::bigint, 0) AS late FROM ({}) AS due",
            queue.due
        );
        let found = control.query(&sql, &[]).await?;
        let (due, late): (i64, i64) = (found.get(0, "due")?, found.get(0, "late")?);
        let is_stuck = late > LATE_SECONDS;
        let advice = match is_stuck {
            true => {
                format!(", the oldest for {} minutes: is `kith serve` running? Its log names what fails", late / 60)
            }
            false => String::new(),
        };
        let verdict = if is_stuck { Verdict::Warning } else { Verdict::Good };
        findings.push(Finding { verdict, text: format!("{}: {due} are due{advice}", queue.name) });
    }
    findings.extend(full(control).await?);
    Ok(findings)
}

/// The webhooks and automations whose queues are full: their number, and the longest time for which one has been, in seconds.
const FULL: &str =
    "SELECT count(*) AS full, COALESCE(extract(epoch FROM now() - min(behind_since))::bigint, 0) AS seconds FROM (
    SELECT behind_since FROM webhook_endpoints WHERE behind_at IS NOT NULL AND enabled
    UNION ALL SELECT behind_since FROM automations WHERE behind_at IS NOT NULL AND enabled) AS behind";

/// The finding for full queues.
async fn full(control: &mut Conn) -> Result<Option<Finding>, Error> {
    let is_there = "SELECT FROM pg_attribute WHERE attrelid = to_regclass('automations') AND attname = 'behind_at'";
    if control.query(is_there, &[]).await?.is_empty() {
        return Ok(None);
    }
    let found = control.query(FULL, &[]).await?;
    let (full, seconds): (i64, i64) = (found.get(0, "full")?, found.get(0, "seconds")?);
    Ok(Some(match full {
        0 => Finding { verdict: Verdict::Good, text: "no queue of a webhook or automation is full".into() },
        full => Finding {
            verdict: Verdict::Warning,
            text: format!(
                "queues of webhooks and automations: {full} are full, one for {} minutes; later events wait in the change logs. Their receivers are slow or dead, or much was written: the pages of the webhooks say which",
                seconds / 60
            ),
        },
    }))
}

/// The finding for the age of the oldest transaction id.
fn age(database: &str, age: i64) -> Finding {
    let verdict = match age {
        _ if age <= ALARMING => Verdict::Good,
        _ if age <= 1_500_000_000 => Verdict::Warning,
        _ => Verdict::Lacking,
    };
    let advice = if verdict == Verdict::Good { "" } else { ": find what keeps it from being vacuumed" };
    let text = format!(
        "the oldest transaction id is {age} ids old, in database {database} (PostgreSQL stops writing at 2140000000){advice}"
    );
    Finding { verdict, text }
}

/// A warning for each known hole of a release.
fn holes(release: (u32, u32)) -> impl Iterator<Item = Finding> {
    advisories::open_in(release).into_iter().filter_map(move |advisory| {
        let (major, minor) = advisory.closed_in(release.0)?;
        let text = format!("{}: {}; update PostgreSQL to {major}.{minor} or newer", advisory.cve, advisory.effect);
        Some(Finding { verdict: Verdict::Warning, text })
    })
}

async fn setting(conn: &mut Conn, name: &str) -> Result<String, Error> {
    conn.query("SELECT current_setting($1) AS value", &[Some(name)]).await?.get(0, "value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_transaction_ids_are_a_warning_and_at_last_a_lack() {
        let verdicts = [50_000_000, 600_000_000, 1_900_000_000].map(|ids| age("w_x", ids).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Warning, Verdict::Lacking]);
        assert!(age("w_x", 600_000_000).text.contains("600000000 ids old, in database w_x"));
    }

    #[test]
    fn an_old_release_gets_a_warning_for_each_hole_and_a_sound_one_none() {
        let found: Vec<Finding> = holes((18, 4)).collect();
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Warning));
        let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert!(
            texts.iter().any(|text| text.starts_with("CVE-2026-14669: ") && text.ends_with("to 18.6 or newer")),
            "{texts:?}"
        );
        assert!(!texts.iter().any(|text| text.starts_with("CVE-2026-6473")), "18.4 closed it: {texts:?}");
        for sound in [(16, 16), (17, 12), (18, 7), (19, 0)] {
            assert_eq!(holes(sound).count(), 0, "{sound:?}");
            assert_eq!(known_holes(sound), None, "{sound:?}");
        }
        let line = known_holes((16, 14)).expect("a warning");
        assert!(line.starts_with("PostgreSQL 16.14 has known holes, which 16.16 closed: CVE-2026-14664, "), "{line}");
    }
}
