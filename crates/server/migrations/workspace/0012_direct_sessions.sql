-- What people's own sessions may use beyond the API's: advisory locks, exported snapshots, and the views of sessions, locks and statistics,
-- which show their own database only. README.md describes roles, sections and rules.

-- section: admin

-- A direct session has the workspace's role, so a GRANT would reach the API too. Functions in the place of PostgreSQL's own ask which role
-- has logged in, and call the originals, which are moved to kith_guard. (To replace the body of one of them would change nothing:
-- PostgreSQL calls its own C functions by oid.) They are SECURITY DEFINER, take numbers only, and touch nothing of the workspace's.

-- A superuser's session counts: it is how an operator dumps a database. Code of the workspace's that runs there learns no more from these
-- functions than in the workspace's own sessions.
CREATE OR REPLACE FUNCTION kith_guard.needs_direct(what text, is_for_viewers boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT (kith_guard.is_direct('workspace') OR is_for_viewers AND kith_guard.is_direct('viewer')
          OR EXISTS (SELECT FROM pg_roles u WHERE u.rolname = session_user AND u.rolsuper)) THEN
    RAISE EXCEPTION 'permission denied for function %', what USING ERRCODE = '42501', HINT = 'It is available on a direct connection.';
  END IF;
END $$;
COMMENT ON FUNCTION kith_guard.needs_direct IS 'Refuses sessions that are not a person''s.';

CREATE OR REPLACE FUNCTION kith_guard.own_database() RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.oid FROM pg_database b WHERE b.datname = current_database()
$$;
COMMENT ON FUNCTION kith_guard.own_database IS 'The oid of this database.';

-- In `body`, {original} is the function that this one replaces. A second call for the same function does nothing.
CREATE OR REPLACE FUNCTION kith_guard.wrap(f regprocedure, body text, attributes text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
  original pg_proc;
  arguments constant text := pg_get_function_arguments(f);
BEGIN
  SELECT p.* INTO original FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = f AND l.lanname = 'internal';
  IF NOT FOUND THEN
    RETURN;
  END IF;
  EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  EXECUTE format('ALTER FUNCTION %s SET SCHEMA kith_guard', f);
  EXECUTE format('CREATE FUNCTION pg_catalog.%I(%s) RETURNS %s %s %s %s %s SET search_path = pg_catalog, pg_temp AS %L',
                 original.proname, arguments, pg_get_function_result(f),
                 CASE original.provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END, CASE WHEN original.proisstrict THEN 'STRICT' ELSE '' END,
                 attributes, CASE WHEN original.proretset THEN format('ROWS %s', original.prorows) ELSE '' END,
                 replace(replace(body, '{name}', original.proname), '{original}', 'kith_guard.' || quote_ident(original.proname)));
END $$;
COMMENT ON FUNCTION kith_guard.wrap IS 'Puts a function in the place of one of PostgreSQL''s, which moves to kith_guard.';

DROP TABLE IF EXISTS kith_guard.redefined;
CREATE TABLE kith_guard.redefined AS
  SELECT c.oid::regclass AS view, pg_get_viewdef(c.oid) AS definition FROM pg_class c
   WHERE c.relnamespace = 'pg_catalog'::regnamespace
     AND c.relname IN ('pg_stat_activity', 'pg_stat_ssl', 'pg_stat_gssapi', 'pg_stat_replication', 'pg_locks', 'pg_stat_database',
                       'pg_replication_slots', 'pg_prepared_xacts');

-- Advisory locks. PostgreSQL keeps them in a table that all workspaces share. Each session looks at about one in 256 of its locks whether the
-- database has too many: looking takes time, and counting calls would need a place that no session can write. The watchdog ends sessions
-- that have too many all the same. The keys are this database's, and those that Kith uses here are kept from people.
CREATE OR REPLACE FUNCTION kith_guard.limit_locks(name text, key bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith_guard.needs_direct(name, false);
  IF key BETWEEN 7236455900 AND 7236455909 AND NOT EXISTS (SELECT FROM pg_roles u WHERE u.rolname = session_user AND u.rolsuper) THEN
    RAISE EXCEPTION 'the key % is reserved', key USING ERRCODE = '42501';
  END IF;
  IF get_byte(uuid_send(gen_random_uuid()), 0) = 0 AND (
       SELECT count(*) FROM kith_guard.pg_lock_status() l WHERE l.locktype = 'advisory' AND l.database = kith_guard.own_database()) > 10000 THEN
    RAISE EXCEPTION 'a workspace holds at most 10000 advisory locks' USING ERRCODE = '53400';
  END IF;
END $$;
COMMENT ON FUNCTION kith_guard.limit_locks IS 'Refuses an advisory lock that is not for this session, or one too many.';

DO $$
DECLARE
  f record;
  call text;
BEGIN
  PERFORM kith_guard.wrap('pg_catalog.pg_lock_status()'::regprocedure,
    $b$ BEGIN
          PERFORM kith_guard.needs_direct('{name}', false);
          RETURN QUERY SELECT l.* FROM {original}() l WHERE l.database = kith_guard.own_database();
        END $b$, 'LANGUAGE plpgsql SECURITY DEFINER');
  FOR f IN SELECT p.oid::regprocedure AS f, p.proname, p.pronargs, p.prorettype = 'void'::regtype AS is_void FROM pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(try_)?advisory_' AND p.proname <> 'pg_advisory_unlock_all' LOOP
    call := CASE f.pronargs WHEN 1 THEN '{original}($1)' ELSE '{original}($1, $2)' END;
    PERFORM kith_guard.wrap(f.f, format('BEGIN PERFORM kith_guard.%s; %s; END',
      CASE WHEN f.proname ~ 'unlock' THEN $s$needs_direct('{name}', false)$s$
           WHEN f.pronargs = 1 THEN $s$limit_locks('{name}', $1)$s$
           ELSE $s$limit_locks('{name}', NULL)$s$ END,
      CASE WHEN f.is_void THEN 'PERFORM ' ELSE 'RETURN ' END || call), 'LANGUAGE plpgsql SECURITY DEFINER');
  END LOOP;
END $$;

-- pg_dump -j exports a snapshot. Each is a file until the transaction ends; the last part of its name is its number in the transaction.
SELECT kith_guard.wrap('pg_catalog.pg_export_snapshot()'::regprocedure,
  $b$ DECLARE
        snapshot text;
      BEGIN
        PERFORM kith_guard.needs_direct('{name}', true);
        snapshot := {original}();
        IF split_part(snapshot, '-', 3)::integer > 100 THEN
          RAISE EXCEPTION 'a transaction exports at most 100 snapshots' USING ERRCODE = '53400';
        END IF;
        RETURN snapshot;
      END $b$, 'LANGUAGE plpgsql SECURITY DEFINER');

-- The sessions of this database. Like PostgreSQL, it shows what a session does only to the role that opened it. pg_stat_activity, pg_stat_ssl
-- and pg_stat_gssapi read it.
DO $$
DECLARE
  columns text;
BEGIN
  SELECT string_agg(CASE WHEN x.name IN ('datid', 'pid', 'usesysid') THEN format('a.%I', x.name)
                         WHEN x.name = 'query' THEN 'CASE WHEN m.is_mine THEN a.query ELSE ''<insufficient privilege>'' END'
                         ELSE format('CASE WHEN m.is_mine THEN a.%I END', x.name) END, ', ' ORDER BY x.place)
    INTO columns
    FROM pg_proc p, unnest(p.proargnames, p.proargmodes) WITH ORDINALITY x(name, mode, place)
   WHERE p.oid = 'pg_catalog.pg_stat_get_activity(integer)'::regprocedure AND x.mode = 'o';
  PERFORM kith_guard.wrap('pg_catalog.pg_stat_get_activity(integer)'::regprocedure, format(
    $b$ SELECT kith_guard.needs_direct('{name}', true);
        SELECT %s FROM {original}($1) a
         CROSS JOIN LATERAL (SELECT a.usesysid = (SELECT u.oid FROM pg_roles u WHERE u.rolname = session_user) AS is_mine) m
         WHERE a.datid = kith_guard.own_database() $b$, columns), 'LANGUAGE sql SECURITY DEFINER');
END $$;
SELECT kith_guard.wrap('pg_catalog.pg_blocking_pids(integer)'::regprocedure,
  $b$ BEGIN
        PERFORM kith_guard.needs_direct('{name}', false);
        RETURN CASE WHEN EXISTS (SELECT FROM kith_guard.pg_stat_get_activity($1) a WHERE a.datid = kith_guard.own_database()) THEN {original}($1) ELSE '{}' END;
      END $b$, 'LANGUAGE plpgsql SECURITY DEFINER');

-- Counters of this database; those of other databases are null.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_stat_get_db_' LOOP
    PERFORM kith_guard.wrap(f,
      $b$ BEGIN
            PERFORM kith_guard.needs_direct('{name}', true);
            RETURN CASE WHEN $1 = kith_guard.own_database() THEN {original}($1) END;
          END $b$, 'LANGUAGE plpgsql SECURITY DEFINER');
  END LOOP;
END $$;

-- Slots, replicas and prepared transactions are the operator's. Tools read the views when they open a server; for workspaces they are empty.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOREACH f IN ARRAY ARRAY['pg_catalog.pg_get_replication_slots()', 'pg_catalog.pg_stat_get_wal_senders()', 'pg_catalog.pg_prepared_xact()']::regprocedure[] LOOP
    PERFORM kith_guard.wrap(f,
      $b$ BEGIN
            IF (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user) THEN
              RETURN QUERY SELECT * FROM {original}();
            END IF;
          END $b$, 'LANGUAGE plpgsql');
  END LOOP;
  -- The tablespaces hold all workspaces, so their sizes are not shown. psql and pgAdmin ask for them without looking whether they may.
  FOREACH f IN ARRAY ARRAY['pg_catalog.pg_tablespace_size(oid)', 'pg_catalog.pg_tablespace_size(name)']::regprocedure[] LOOP
    PERFORM kith_guard.wrap(f,
      $b$ BEGIN
            IF (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user) THEN
              RETURN {original}($1);
            END IF;
            RETURN NULL;
          END $b$, 'LANGUAGE plpgsql');
  END LOOP;
END $$;

-- The views find the functions by oid. Their definitions, read anew, find them by name.
SET LOCAL allow_system_table_mods = on;
DO $$
DECLARE
  x record;
BEGIN
  FOR x IN SELECT r.view, r.definition FROM kith_guard.redefined r LOOP
    EXECUTE format('CREATE OR REPLACE VIEW %s AS %s', x.view, x.definition);
    EXECUTE format('GRANT SELECT ON %s TO PUBLIC', x.view);
  END LOOP;
END $$;
RESET allow_system_table_mods;
DROP TABLE kith_guard.redefined;
DROP FUNCTION kith_guard.wrap(regprocedure, text, text);
REVOKE ALL ON FUNCTION kith_guard.needs_direct(text, boolean), kith_guard.limit_locks(text, bigint), kith_guard.own_database() FROM PUBLIC;

-- PostgreSQL asks for the current role's right, which is the workspace's role in a direct session. after_ddl() refuses temporary objects in
-- all other sessions. A clone does not inherit the template's rights, so it gets this one when it is made.
DO $$
BEGIN
  EXECUTE pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO %s', pg_catalog.current_database(), $w${{workspace}}$w$);
END $$;
