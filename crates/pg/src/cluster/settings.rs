//! The settings of the embedded server, as one table. They cannot be changed from inside: options of the command line
//! override `postgresql.conf` and `ALTER SYSTEM`. Settings that a session may change are fixed elsewhere, in its startup
//! packet.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A setting, its value, and the first major version that has it.
const SETTINGS: &[(&str, &str, u32)] = &[
    // Durability is set explicitly although it is the default: nothing may turn it off by accident.
    ("fsync", "on", 0),
    ("full_page_writes", "on", 0),
    ("synchronous_commit", "on", 0),
    // `logical` is only needed while a workspace is moved, and makes every write more expensive.
    ("wal_level", "replica", 0),
    ("max_wal_senders", "4", 0),
    // Connections. The last fifteen are reserved for Kith: five for the superuser, ten for roles with
    // pg_use_reserved_connections, so that no number of tenants can lock the watchdog out.
    ("max_connections", "300", 0),
    ("superuser_reserved_connections", "5", 0),
    ("reserved_connections", "10", 16),
    ("authentication_timeout", "15s", 0),
    // A client's disconnect is detected while its statement is running.
    ("client_connection_check_interval", "2s", 0),
    // Memory, sized for a small machine.
    ("shared_buffers", "128MB", 0),
    ("dynamic_shared_memory_type", "posix", 0),
    ("maintenance_work_mem", "64MB", 0),
    ("jit", "off", 0),
    // Few parallel workers: there are many sessions already, and a tenant can raise its own parallel settings.
    ("max_worker_processes", "4", 0),
    ("max_parallel_workers", "2", 0),
    ("max_parallel_workers_per_gather", "0", 0),
    ("max_parallel_maintenance_workers", "0", 0),
    ("max_logical_replication_workers", "2", 0),
    // Without worker processes, and without io_uring, which containers forbid.
    ("io_method", "sync", 18),
    // Resources that one tenant could exhaust for all. The lock table is shared, and at the default of 64 about 24,500
    // savepoints filled it.
    ("max_locks_per_transaction", "1024", 0),
    ("max_prepared_transactions", "0", 0),
    // A transaction that fills the notification queue fails, and leaves the queue full for all until a restart. So the queue
    // must hold more than the memory of one process, where notifications wait for their commit.
    ("max_notify_queue_pages", "1048576", 17),
    ("temp_file_limit", "512MB", 0),
    // Autovacuum workers are superuser sessions that evaluate the tenants' index expressions, and the watchdog does not see
    // them. The code that starts the server must vacuum. PostgreSQL's own vacuum against the wraparound of transaction ids
    // evaluates no expressions.
    ("autovacuum", "off", 0),
    ("autovacuum_max_workers", "2", 0),
    ("autovacuum_worker_slots", "4", 18),
    // Clones of a template write full-page images. This reduces forced checkpoints while many are created.
    ("max_wal_size", "2GB", 0),
    ("checkpoint_completion_target", "0.9", 0),
    // The log goes to Kith over a pipe. It contains no statement or parameter of a tenant, and no values from an error's
    // detail.
    ("log_destination", "stderr", 0),
    ("logging_collector", "off", 0),
    ("log_line_prefix", super::log::PREFIX, 0),
    ("log_error_verbosity", "terse", 0),
    ("log_statement", "none", 0),
    ("log_min_error_statement", "panic", 0),
    ("log_min_duration_statement", "-1", 0),
    ("log_parameter_max_length", "0", 0),
    ("log_parameter_max_length_on_error", "0", 0),
    ("log_connections", "off", 0),
    ("log_disconnections", "off", 0),
    ("log_checkpoints", "off", 0),
    ("lc_messages", "C", 0),
    ("timezone", "UTC", 0),
    ("log_timezone", "UTC", 0),
    ("password_encryption", "scram-sha-256", 0),
    // A crashed backend must not affect others' data: all sessions end and the server recovers.
    ("restart_after_crash", "on", 0),
    ("unix_socket_permissions", "0700", 0),
];

/// The settings that decide where the server listens and which data it uses. `options` cannot change these.
pub(crate) struct ServerPaths<'a> {
    pub(crate) pgdata: &'a Path,
    pub(crate) socket_dir: &'a Path,
    pub(crate) port: u16,
}

/// The arguments of `postgres`: the settings of the table that this version knows, the caller's settings, then the
/// directories and the port.
pub(crate) fn arguments(place: &ServerPaths<'_>, version: u32, options: &[(String, String)]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-D".into(), place.pgdata.into()];
    let mut set = |name: &str, value: OsString| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        arguments.extend(["-c".into(), setting]);
    };
    let otherwise = |name: &str| options.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    for (name, value, since) in SETTINGS {
        if version >= *since && !otherwise(name) {
            set(name, value.into());
        }
    }
    for (name, value) in options {
        set(name, value.into());
    }
    set("listen_addresses", "".into());
    set("port", place.port.to_string().into());
    set("unix_socket_directories", quoted(place.socket_dir));
    arguments
}

/// The setting is a list: in quotes, a comma in a directory's name is part of the name.
fn quoted(directory: &Path) -> OsString {
    let mut bytes = vec![b'"'];
    for byte in directory.as_os_str().as_bytes() {
        bytes.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
    }
    bytes.push(b'"');
    OsString::from_vec(bytes)
}

/// False only if the caller disabled durability, as trials do.
pub(crate) fn durable(options: &[(String, String)]) -> bool {
    !options.iter().any(|(name, value)| name.eq_ignore_ascii_case("fsync") && value == "off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: u32, options: &[(&str, &str)]) -> Vec<String> {
        let options: Vec<_> = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let place = ServerPaths { pgdata: Path::new("/d"), socket_dir: Path::new("/s"), port: 5432 };
        arguments(&place, version, &options).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn settings_that_a_version_does_not_know_are_left_out() {
        let has = |version, name: &str| of(version, &[]).iter().any(|word| word.starts_with(name));
        assert!(has(18, "io_method=") && has(17, "max_notify_queue_pages=") && has(16, "reserved_connections="));
        assert!(!has(17, "io_method=") && !has(16, "max_notify_queue_pages="));
    }

    #[test]
    fn the_caller_changes_a_setting_but_not_the_place() {
        let words = of(18, &[("Shared_Buffers", "1GB"), ("port", "1"), ("fsync", "off")]);
        let values =
            |name: &str| words.iter().filter(|word| word.to_lowercase().starts_with(name)).cloned().collect::<Vec<_>>();
        assert_eq!(values("shared_buffers="), ["Shared_Buffers=1GB"]);
        assert_eq!(values("port=").last().unwrap(), "port=5432");
        assert_eq!(values("listen_addresses="), ["listen_addresses="]);
        assert_eq!(quoted(Path::new("/a,\"b")), "\"/a,\"\"b\"");
        assert!(!durable(&[("fsync".into(), "off".into())]) && durable(&[]));
    }
}
