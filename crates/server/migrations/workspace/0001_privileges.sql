-- Schemas, extensions, and what PUBLIC may not do. README.md describes roles, sections and rules.

-- section: admin

-- Only the workspace's own roles may connect to its database, so PUBLIC means "any role of this workspace".
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO {{system}};
REVOKE ALL ON SCHEMA public FROM PUBLIC, {{workspace}}, {{viewer}};
GRANT USAGE, CREATE ON SCHEMA public TO {{workspace}};
GRANT USAGE ON SCHEMA public TO {{viewer}};

-- In `public`, where clients expect them.
CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE EXTENSION vector SCHEMA public;
CREATE EXTENSION pgcrypto SCHEMA public;
-- Without its operators PostgreSQL compares citext as text, with case, and says nothing. So they are in pg_catalog, which each search_path
-- includes, and with them the functions that have the name of one for text. They are still members of the extension and of its operator
-- families, so indexes serve them. pg_dump writes neither them nor their schema.
DO $$
DECLARE x record;
BEGIN
  FOR x IN SELECT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'citext'
            WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' LOOP
    IF x.classid = 'pg_catalog.pg_operator'::regclass THEN
      EXECUTE pg_catalog.format('ALTER OPERATOR %s SET SCHEMA pg_catalog', x.objid::regoperator);
    ELSIF x.classid = 'pg_catalog.pg_proc'::regclass AND EXISTS (
      SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_proc q ON q.proname = p.proname AND q.pronamespace = 'pg_catalog'::regnamespace WHERE p.oid = x.objid) THEN
      EXECUTE pg_catalog.format('ALTER ROUTINE %s SET SCHEMA pg_catalog', x.objid::regprocedure);
    END IF;
  END LOOP;
END $$;

CREATE SCHEMA kith AUTHORIZATION {{system}};
GRANT USAGE ON SCHEMA kith TO PUBLIC;

-- PUBLIC has these by default and a workspace does not need them: advisory locks (they fill the lock table of the whole
-- cluster), large objects (they are outside of schemas and quotas), pg_notify() and WAL messages, signals, and all views of
-- the rest of the cluster. 0012_direct_sessions.sql gives people's own sessions some of them back, within limits. pg_advisory_unlock_all()
-- stays: pools call it on every release. pg_db_role_setting and pg_shdescription stay: pg_dump and pgAdmin read them. pg_sleep() stays: the
-- statement timeout ends it. The names of prepared statements are hidden, because a role that knows them could replace the server's
-- statements and receive the secret of begin_request().
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (
       p.proname ~ '^pg_(try_)?advisory_' AND p.proname <> 'pg_advisory_unlock_all'
    OR p.proname ~ '^lo_' OR p.proname IN ('loread', 'lowrite')
    OR p.proname ~ '^pg_stat_get_(db_|backend_|activity|bgwriter|checkpointer|buf_|wal|slru|archiver|progress_|io|subscription|replication|recovery)'
    OR p.proname ~ '^pg_control_'
    OR p.proname ~ '^pg_(current|last)_wal_' OR p.proname ~ '^pg_get_(wal|replication|multixact)'
    OR p.proname IN ('pg_logical_emit_message', 'pg_notify', 'pg_notification_queue_usage', 'pg_export_snapshot',
                     'pg_terminate_backend', 'pg_cancel_backend', 'pg_lock_status', 'pg_blocking_pids',
                     'pg_safe_snapshot_blocking_pids', 'pg_prepared_statement', 'pg_isolation_test_session_is_blocked', 'pg_prepared_xact',
                     'pg_tablespace_databases', 'pg_last_committed_xact', 'pg_xact_commit_timestamp',
                     'pg_xact_commit_timestamp_origin', 'pg_get_shmem_allocations', 'pg_stat_get_wal_senders'))
  LOOP
    EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND (
       c.relname IN ('pg_locks', 'pg_prepared_xacts', 'pg_prepared_statements', 'pg_shdepend',
                     'pg_replication_slots', 'pg_replication_origin', 'pg_replication_origin_status')
    OR (c.relkind = 'v' AND c.relname ~ '^pg_stat_(activity|database|ssl|gssapi|replication|bgwriter|checkpointer|wal|slru|archiver|progress|io$|subscription|recovery)'))
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', t);
  END LOOP;
END $$;

-- pgcrypto's OpenPGP functions parse what they are given in C, and have been a way into the server (CVE-2026-2005). Its hashes,
-- ciphers and random numbers stay.
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'public'::regnamespace AND (p.proname ~ '^pgp_' OR p.proname IN ('armor', 'dearmor'))
  LOOP
    EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$;
