//! Settings of sessions. Settings in the startup packet override a tenant's settings for its own role, and DISCARD ALL restores
//! them.

/// The settings of a tenant's session. The statement's time limit is one of two; the watchdog enforces the other from outside.
pub const TENANT: &[(&str, &str)] = &[
    ("search_path", "public"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("idle_session_timeout", "0"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("client_min_messages", "warning"),
    ("work_mem", "8MB"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("row_security", "on"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("local_preload_libraries", ""),
    ("exit_on_error", "off"),
    ("restrict_nonsystem_relation_kind", ""),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("xmloption", "content"),
    ("log_parameter_max_length_on_error", "0"),
    ("debug_print_parse", "off"),
    ("debug_print_rewritten", "off"),
    ("debug_print_plan", "off"),
    ("quote_all_identifiers", "off"),
    ("default_transaction_deferrable", "off"),
    ("default_tablespace", ""),
    ("plan_cache_mode", "auto"),
    ("hash_mem_multiplier", "2"),
    ("gin_fuzzy_search_limit", "0"),
    ("application_name", "kith"),
];

/// Settings of a tenant's session that need a newer PostgreSQL, with its major version.
pub const TENANT_SINCE: &[(u32, (&str, &str))] = &[(17, ("transaction_timeout", "0"))];

/// Settings of members' roles, as SQL literals. They are a session's defaults, and the session may change them.
pub const DIRECT: &[(&str, &str)] = &[
    ("search_path", "public"),
    ("statement_timeout", "'10min'"),
    ("lock_timeout", "'1min'"),
    ("idle_in_transaction_session_timeout", "'10min'"),
    ("jit", "off"),
    ("log_parameter_max_length_on_error", "0"),
];

/// The settings of the administrator's sessions. Only the system's schema is searched: an operator in a tenant's schema could
/// be a better match than the system's, and would run as the administrator.
pub const ADMINISTRATOR: &[(&str, &str)] = &[
    ("search_path", "pg_catalog, pg_temp"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("client_min_messages", "warning"),
    ("application_name", "kith administrator"),
];

/// The settings of Kith's own sessions in the control database.
pub const OWN: &[(&str, &str)] = &[
    ("search_path", "public"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("client_min_messages", "warning"),
    ("application_name", "kith control"),
];
