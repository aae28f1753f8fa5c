-- The base of a workspace's database: extensions, what PUBLIC may not do, the guards, the functions of the
-- system, the built-in tables with their triggers. README.md explains roles, sections and rules.

-- section: admin

-- Only the workspace's own roles may connect to its database, so PUBLIC here means "whoever of this workspace".
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO {{system}};
REVOKE ALL ON SCHEMA public FROM PUBLIC, {{workspace}}, {{viewer}};
GRANT USAGE, CREATE ON SCHEMA public TO {{workspace}};
GRANT USAGE ON SCHEMA public TO {{viewer}};

CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO PUBLIC;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;
CREATE EXTENSION vector SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;

CREATE SCHEMA kith AUTHORIZATION {{system}};
CREATE SCHEMA kith_guard;
GRANT USAGE ON SCHEMA kith, kith_guard TO PUBLIC;

-- What PUBLIC has by default and nobody in a workspace needs: advisory locks (they fill the lock table of the whole
-- cluster), large objects (outside schemas and quotas), pg_notify and WAL messages, signals, and every look at the rest
-- of the cluster. pg_sleep stays: the statement timeout ends it. Who knew the names of the statements that the server has
-- prepared could put its own in their place, and be given the secret that begin_request() is called with.
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (
       p.proname ~ '^pg_(try_)?advisory_'
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
       c.relname IN ('pg_locks', 'pg_prepared_xacts', 'pg_prepared_statements', 'pg_db_role_setting', 'pg_shdescription', 'pg_shdepend',
                     'pg_replication_slots', 'pg_replication_origin', 'pg_replication_origin_status')
    OR (c.relkind = 'v' AND c.relname ~ '^pg_stat_(activity|database|ssl|gssapi|replication|bgwriter|checkpointer|wal|slru|archiver|progress|io$|subscription|recovery)'))
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', t);
  END LOOP;
END $$;
-- The names of roles are opaque and psql needs them; what roles have set for themselves is nobody's business.
DO $$
DECLARE v record;
BEGIN
  FOR v IN SELECT a.attrelid::regclass AS rel, string_agg(quote_ident(a.attname), ', ') AS columns
             FROM pg_catalog.pg_attribute a
            WHERE a.attrelid IN ('pg_catalog.pg_roles'::regclass, 'pg_catalog.pg_user'::regclass)
              AND a.attnum > 0 AND a.attname NOT IN ('rolconfig', 'useconfig')
            GROUP BY a.attrelid
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', v.rel);
    EXECUTE pg_catalog.format('GRANT SELECT (%s) ON %s TO PUBLIC', v.columns, v.rel);
  END LOOP;
END $$;

-- ---- Guards. Event triggers fire in the tenant's session and with the tenant's rights (none is SECURITY DEFINER): all
-- they do is read catalogs and the tables below, and refuse.

CREATE TABLE kith_guard.role (
  part text PRIMARY KEY CHECK (part IN ('admin', 'workspace', 'system', 'viewer')),
  role oid NOT NULL
);
COMMENT ON TABLE kith_guard.role IS 'The roles of this database, by the part they play.';
INSERT INTO kith_guard.role VALUES ('admin', (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user));

CREATE TABLE kith_guard.builtin (
  relid oid PRIMARY KEY,
  name name NOT NULL UNIQUE,
  subject text NOT NULL UNIQUE
);
COMMENT ON TABLE kith_guard.builtin IS 'The built-in tables that the workspace owns and may not deform.';

CREATE TABLE kith_guard.fact (
  relid oid,
  kind text,
  name name,
  value text NOT NULL,
  PRIMARY KEY (relid, kind, name)
);
COMMENT ON TABLE kith_guard.fact IS 'What kith_guard.observed must go on saying of the built-in tables.';

CREATE TABLE kith_guard.migration (
  pid integer PRIMARY KEY,
  until timestamptz NOT NULL DEFAULT now() + interval '10 minutes'
);
COMMENT ON TABLE kith_guard.migration IS 'Backends that run a migration''s workspace section, past the guards.';

GRANT SELECT ON kith_guard.role, kith_guard.builtin, kith_guard.fact, kith_guard.migration TO PUBLIC;

-- Raw catalog values rather than pg_get_…def(): this is read after every DDL statement.
CREATE VIEW kith_guard.observed AS
  SELECT c.oid AS relid, 'table' AS kind, ''::name AS name,
         concat_ws(' ', c.relname, c.relnamespace, c.relowner, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
                   c.relforcerowsecurity, c.relhasrules, c.relispartition, c.reloftype, c.relam,
                   EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid OR i.inhrelid = c.oid)) AS value
    FROM pg_catalog.pg_class c
   WHERE c.oid IN (SELECT b.relid FROM kith_guard.builtin b)
  UNION ALL
  SELECT a.attrelid, 'column', a.attname, concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attcollation, a.attgenerated, a.attidentity)
    FROM pg_catalog.pg_attribute a
   WHERE a.attrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT a.attrelid, 'not null', a.attname, 'yes'
    FROM pg_catalog.pg_attribute a
   WHERE a.attrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
  UNION ALL  -- The defaults that the tables rest on are those of columns that can't be null; others may be changed.
  SELECT a.attrelid, 'default', a.attname, md5(d.adbin::text)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
  UNION ALL
  SELECT k.conrelid, 'constraint', k.conname, concat_ws(' ', k.oid, k.contype, k.condeferrable, k.condeferred, k.convalidated)
    FROM pg_catalog.pg_constraint k
   WHERE k.conrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND k.contype IN ('p', 'u', 'f', 'c')
  UNION ALL  -- By name and by words, not by oid and stored tree: REINDEX CONCURRENTLY makes a new index.
  SELECT i.indrelid, 'index', c.relname, concat_ws(' ', i.indnullsnotdistinct, i.indimmediate, i.indisvalid, i.indisready, i.indislive, i.indkey,
                   i.indclass, i.indcollation, pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid))
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
   WHERE i.indrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND i.indisunique
  UNION ALL
  SELECT t.tgrelid, 'trigger', t.tgname, concat_ws(' ', t.oid, t.tgfoid, t.tgtype, t.tgenabled, t.tgdeferrable, t.tginitdeferred, t.tgattr,
                   encode(t.tgargs, 'hex'), md5(t.tgqual::text), t.tgoldtable, t.tgnewtable)
    FROM pg_catalog.pg_trigger t
   WHERE t.tgrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND NOT t.tgisinternal;
GRANT SELECT ON kith_guard.observed TO PUBLIC;

-- The same in words that mean the same in every database: a migrated workspace must say all that the template says.
CREATE VIEW kith_guard.shape AS
  SELECT b.name AS relation, 'column' AS kind, a.attname AS name,
         concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                   CASE WHEN a.attnotnull THEN pg_get_expr(d.adbin, d.adrelid) END) AS value
    FROM kith_guard.builtin b JOIN pg_catalog.pg_attribute a ON a.attrelid = b.relid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
  SELECT b.name, 'constraint', k.conname, pg_get_constraintdef(k.oid)
    FROM kith_guard.builtin b JOIN pg_catalog.pg_constraint k ON k.conrelid = b.relid AND k.contype IN ('p', 'u', 'f', 'c')
  UNION ALL
  SELECT b.name, 'index', c.relname, pg_get_indexdef(i.indexrelid)
    FROM kith_guard.builtin b JOIN pg_catalog.pg_index i ON i.indrelid = b.relid AND i.indisunique JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  UNION ALL
  SELECT b.name, 'trigger', t.tgname, concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
    FROM kith_guard.builtin b JOIN pg_catalog.pg_trigger t ON t.tgrelid = b.relid AND NOT t.tgisinternal;

CREATE FUNCTION kith_guard.declare_builtin(relation regclass, subject text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO kith_guard.builtin SELECT c.oid, c.relname, declare_builtin.subject FROM pg_class c WHERE c.oid = relation
$$;
COMMENT ON FUNCTION kith_guard.declare_builtin IS 'Puts a table under the guards; its subject is what its activity entries say.';

CREATE FUNCTION kith_guard.snapshot() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM kith_guard.fact;
  INSERT INTO kith_guard.fact SELECT o.relid, o.kind, o.name, o.value FROM kith_guard.observed o;
$$;
COMMENT ON FUNCTION kith_guard.snapshot IS 'Takes the built-in tables as they are for what they must stay. Only where no tenant has been, or after kith_guard.shape was compared with the template''s.';

CREATE FUNCTION kith_guard.is_exempt() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'admin' AND pg_get_userbyid(r.role) = session_user)
      OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = session_user AND r.rolsuper)
      OR EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid() AND m.until > clock_timestamp())
$$;

-- The one guard with rights of its own, because what it reads is of the whole cluster. It takes nothing and says yes or no.
CREATE FUNCTION kith_guard.has_strangers() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_shdepend d
                  WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
                    AND d.refclassid = 'pg_authid'::regclass AND d.refobjid NOT IN (SELECT r.role FROM kith_guard.role r))
$$;
COMMENT ON FUNCTION kith_guard.has_strangers IS 'Whether anything here is granted to or owned by a role that is not of this workspace.';

CREATE FUNCTION kith_guard.before_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;
  -- A cast to json would run a tenant's function inside record_activity(); DROP OWNED would revoke the role's own rights.
  IF TG_TAG IN ('CREATE CAST', 'DROP CAST', 'DROP OWNED', 'REASSIGN OWNED', 'CREATE LANGUAGE', 'ALTER LANGUAGE', 'DROP LANGUAGE',
                'CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION',
                'CREATE FOREIGN DATA WRAPPER', 'CREATE SERVER', 'CREATE USER MAPPING', 'CREATE FOREIGN TABLE', 'IMPORT FOREIGN SCHEMA',
                'CREATE TRANSFORM', 'CREATE ACCESS METHOD', 'CREATE OPERATOR CLASS', 'CREATE OPERATOR FAMILY', 'CREATE CONVERSION',
                'ALTER EXTENSION', 'DROP EXTENSION', 'SECURITY LABEL') THEN
    RAISE EXCEPTION '% is not available in a workspace', TG_TAG USING ERRCODE = '42501';
  END IF;
  IF TG_TAG IN ('CREATE SCHEMA', 'ALTER SCHEMA', 'DROP SCHEMA') THEN
    RAISE EXCEPTION '% is not available in a workspace', TG_TAG USING ERRCODE = '42501',
      HINT = 'A workspace has one schema, public; its tables are what REST serves.';
  END IF;
  IF NOT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace' AND pg_get_userbyid(r.role) = current_user) THEN
    RAISE EXCEPTION '% is for the workspace''s own role', TG_TAG USING ERRCODE = '42501',
      HINT = (SELECT format('On a direct connection: SET ROLE %I. Viewers are read-only.', pg_get_userbyid(r.role)) FROM kith_guard.role r WHERE r.part = 'workspace');
  END IF;
END $$;

CREATE FUNCTION kith_guard.after_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE broken record; viewer oid;
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;

  IF TG_TAG NOT IN ('COMMENT', 'CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE OPERATOR', 'CREATE VIEW', 'CREATE SEQUENCE',
                    'CREATE INDEX', 'CREATE TYPE', 'CREATE DOMAIN', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW',
                    'REFRESH MATERIALIZED VIEW', 'GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES', 'CREATE STATISTICS', 'CREATE POLICY') THEN
    SELECT b.name AS relation, f.kind, f.name INTO broken
      FROM kith_guard.fact f JOIN kith_guard.builtin b USING (relid)
      LEFT JOIN kith_guard.observed o ON o.relid = f.relid AND o.kind = f.kind AND o.name = f.name
     WHERE o.value IS DISTINCT FROM f.value
     ORDER BY array_position(ARRAY['table', 'column', 'not null', 'default', 'constraint', 'index', 'trigger'], f.kind) LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION '%', CASE broken.kind
          WHEN 'table' THEN format('built-in table "%s" cannot be dropped, renamed, moved, given away, inherited from, made unlogged or put under rules or row security', broken.relation)
          WHEN 'column' THEN format('built-in column "%s" of "%s" cannot be dropped, renamed or retyped', broken.name, broken.relation)
          WHEN 'not null' THEN format('built-in column "%s" of "%s" must stay NOT NULL', broken.name, broken.relation)
          WHEN 'default' THEN format('the default of built-in column "%s" of "%s" cannot be changed', broken.name, broken.relation)
          ELSE format('built-in %s "%s" of "%s" cannot be dropped, renamed, changed or disabled', broken.kind, broken.name, broken.relation) END
        USING ERRCODE = '42501',
              HINT = CASE broken.kind WHEN 'trigger' THEN 'DISABLE TRIGGER takes the name of one of your own triggers; ALL and USER include the built-in ones.'
                                      ELSE 'Columns, indexes, constraints and triggers of your own can be added to built-in tables.' END;
    END IF;
  END IF;

  IF TG_TAG IN ('CREATE TRIGGER', 'ALTER TRIGGER') AND EXISTS (
       SELECT FROM pg_trigger t JOIN kith_guard.builtin b ON b.relid = t.tgrelid
        WHERE NOT t.tgisinternal AND t.tgname LIKE 'kith\_%'
          AND NOT EXISTS (SELECT FROM kith_guard.fact f WHERE f.relid = t.tgrelid AND f.kind = 'trigger' AND f.name = t.tgname)) THEN
    RAISE EXCEPTION 'trigger names that begin with kith_ are reserved on built-in tables' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE')
     AND (SELECT count(*) FROM pg_proc p WHERE p.proname = 'record_activity') > 1 THEN
    RAISE EXCEPTION 'the name record_activity is taken' USING ERRCODE = '42501';
  END IF;

  -- An extension that is there already: CREATE EXTENSION IF NOT EXISTS is a notice and makes nothing.
  IF TG_TAG = 'CREATE EXTENSION' AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'CREATE EXTENSION') THEN
    RAISE EXCEPTION 'this extension is not available in a workspace' USING ERRCODE = '42501',
      HINT = 'Installed: citext, pg_trgm, vector, pgcrypto. gen_random_uuid() needs none.';
  END IF;

  -- A role that something is granted to can't be dropped, in whatever database that is: another workspace could not be deleted.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES', 'CREATE POLICY', 'ALTER POLICY') AND kith_guard.has_strangers() THEN
    RAISE EXCEPTION 'rights can be given to this workspace''s members and viewers only' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG IN ('ALTER INDEX', 'ALTER TRIGGER') AND EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x') THEN
    RAISE EXCEPTION 'DEPENDS ON EXTENSION is not available in a workspace' USING ERRCODE = '42501';
  END IF;

  -- Viewers stay read-only on a direct connection too: nothing but SELECT for them or PUBLIC, and no SECURITY DEFINER function.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES') THEN
    SELECT r.role INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
    IF EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x WHERE c.relacl IS NOT NULL AND c.oid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) x WHERE d.defaclobjtype IN ('r', 'S') AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT') THEN
      RAISE EXCEPTION 'PUBLIC and viewers can be granted no more than SELECT' USING ERRCODE = '42501',
        HINT = 'Members of the workspace have every right already.';
    END IF;
  END IF;
  IF TG_TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'GRANT') THEN
    DECLARE f record;
    BEGIN
      SELECT r.role INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
      FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                WHERE p.prosecdef AND p.oid >= 16384 AND pg_get_userbyid(p.proowner) = current_user
                  AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE x.grantee IN (0, viewer))
      LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I', f.name, pg_get_userbyid(viewer));
        RAISE NOTICE 'EXECUTE on % was revoked from PUBLIC: viewers are read-only, and it is SECURITY DEFINER', f.name;
      END LOOP;
    END;
  END IF;

  -- An aggregate calls its functions with its owner's rights to do so.
  IF TG_TAG IN ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE') AND EXISTS (
       SELECT FROM pg_aggregate a JOIN pg_proc p ON p.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                                              a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
        WHERE p.prosecdef AND a.aggfnoid >= 16384) THEN
    RAISE EXCEPTION 'a SECURITY DEFINER function cannot serve an aggregate' USING ERRCODE = '42501';
  END IF;

  IF (TG_TAG LIKE 'CREATE %' OR TG_TAG = 'SELECT INTO' OR TG_TAG = 'ALTER TABLE')
     AND (SELECT count(*) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'i', 'v', 'm', 'S', 'c', 'p', 'I')) > 2000 THEN
    RAISE EXCEPTION 'a workspace holds at most 2000 tables, indexes, views and sequences' USING ERRCODE = '53400';
  END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kith_guard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith_guard.is_exempt(), kith_guard.has_strangers() TO PUBLIC;
CREATE EVENT TRIGGER kith_before_ddl ON ddl_command_start EXECUTE FUNCTION kith_guard.before_ddl();
CREATE EVENT TRIGGER kith_after_ddl ON ddl_command_end EXECUTE FUNCTION kith_guard.after_ddl();
ALTER EVENT TRIGGER kith_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER kith_after_ddl ENABLE ALWAYS;

-- section: system

-- ---- Ids: a ULID in lower case: ten characters of milliseconds, sixteen at random. The time is looked up ten bits at a time
-- in a list of all pairs of Crockford's digits. The random characters are base64 in lower case, with a digit for each of the
-- six that Crockford leaves out: 79 bits, in few steps, for a new transaction sets up each step anew. Of the 16 bytes of
-- gen_random_uuid() the 7th and the 9th hold the fixed version and variant bits: those two are left out.
DO $$
DECLARE digits text := '0123456789abcdefghjkmnpqrstvwxyz';
BEGIN
  EXECUTE pg_catalog.format($f$
    CREATE FUNCTION kith.new_id(prefix text) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
      t bigint := floor(date_part('epoch', clock_timestamp()) * 1000);
      r bytea := uuid_send(gen_random_uuid());
    BEGIN
      RETURN prefix || '_' || encode(
           substring(%1$L::bytea FROM (t >> 39 & 2046)::integer + 1 FOR 2)
        || substring(%1$L::bytea FROM (t >> 29 & 2046)::integer + 1 FOR 2)
        || substring(%1$L::bytea FROM (t >> 19 & 2046)::integer + 1 FOR 2)
        || substring(%1$L::bytea FROM (t >> 9 & 2046)::integer + 1 FOR 2)
        || substring(%1$L::bytea FROM (t << 1 & 2046)::integer + 1 FOR 2), 'escape')
        || translate(lower(encode(substring(r FROM 1 FOR 6) || substring(r FROM 10 FOR 6), 'base64') COLLATE "C"), 'ilou+/', '012345');
    END $body$ $f$,
    (SELECT string_agg(a || b, '' ORDER BY i, j)
       FROM regexp_split_to_table(digits, '') WITH ORDINALITY x(a, i), regexp_split_to_table(digits, '') WITH ORDINALITY y(b, j)));
END $$;
COMMENT ON FUNCTION kith.new_id IS 'A new id: the prefix, an underscore and 26 characters that sort by time.';

-- ---- Who is acting. The server calls begin_request() first in its transaction; what it leaves in the setting kith.context
-- holds in this transaction only, and anything else put there is as good as nothing.

CREATE TABLE kith.secret (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  token_hash bytea NOT NULL,
  mac_key bytea NOT NULL
);
COMMENT ON TABLE kith.secret IS 'The hash of the secret that the server knows, and the key that signs contexts. One row.';

-- The inner hash makes the outer one's input of fixed length, so that a sum can't be extended. This function and the one after
-- the next have bodies that are bound to their names when they are made, and no SET: so that a query takes them in whole.
CREATE FUNCTION kith.context_mac(mac_key bytea, payload text) RETURNS text
LANGUAGE sql STABLE
RETURN encode(sha256(mac_key || sha256(int4send(pg_backend_pid()) || timestamptz_send(transaction_timestamp()) || convert_to(payload, 'UTF8'))), 'hex');
COMMENT ON FUNCTION kith.context_mac IS 'Signs a context for this backend and this transaction.';

-- Hashes are compared, so the time it takes tells nothing.
CREATE FUNCTION kith.begin_request(secret text, actor text, provenance text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('kith.context', kith.context_mac(s.mac_key, r.payload) || r.payload, true)
     FROM kith.secret s, (VALUES (actor || E'\n' || coalesce(provenance, '{}'))) r (payload)
    WHERE s.token_hash = sha256(convert_to(secret, 'UTF8')) AND actor <> '' AND position(E'\n' IN actor) = 0;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'only the server can say who is acting' USING ERRCODE = '28000';
  END IF;
END $$;
COMMENT ON FUNCTION kith.begin_request IS 'Says who acts in this transaction, and where the request came from: an actor of one line, a JSON object or null. For the server, which knows the secret.';

CREATE FUNCTION kith.current_context() RETURNS TABLE (actor text, provenance jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT CASE WHEN s.one THEN substr(split_part(c.signed, E'\n', 1), 65) ELSE 'postgres:' || session_user END,
         CASE WHEN s.one THEN substr(c.signed, position(E'\n' IN c.signed) + 1)::jsonb ELSE '{}' END
    FROM (SELECT current_setting('kith.context', true)) c (signed)
    LEFT JOIN kith.secret s ON left(c.signed, 64) = kith.context_mac(s.mac_key, substr(c.signed, 65));
END;
COMMENT ON FUNCTION kith.current_context IS 'The actor and provenance of this transaction, or the database role where the server has not said.';

CREATE FUNCTION kith.current_actor() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT c.actor FROM kith.current_context() c);
END $$;
COMMENT ON FUNCTION kith.current_actor IS 'Who is acting: api_key:…, user:…, automation:… or postgres:<role>.';

-- ---- The activity feed.

CREATE TABLE public.activity (
  id text PRIMARY KEY DEFAULT kith.new_id('a'),
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  verb text NOT NULL CONSTRAINT activity_verb_check CHECK (verb IN ('created', 'updated', 'deleted', 'restored', 'conflict')),
  subject_type text NOT NULL,
  subject_id text,
  subject_repr text,
  changes jsonb,
  custom jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX activity_newest_idx ON public.activity (occurred_at, id);
CREATE INDEX activity_subject_idx ON public.activity (subject_type, subject_id, occurred_at);
CREATE INDEX activity_actor_idx ON public.activity (actor, occurred_at);
GRANT SELECT ON public.activity TO {{workspace}}, {{viewer}};
COMMENT ON TABLE public.activity IS 'The feed: one entry for every change to a record. Written by triggers only; nobody can edit it.';
COMMENT ON COLUMN public.activity.id IS 'a_ and 26 characters that sort by time.';
COMMENT ON COLUMN public.activity.occurred_at IS 'When the change was made.';
COMMENT ON COLUMN public.activity.actor IS 'Who made it: api_key:…, user:…, automation:… or postgres:<role> for a direct connection.';
COMMENT ON COLUMN public.activity.verb IS 'created, updated, deleted, restored, or conflict: a create refused because the record exists.';
COMMENT ON COLUMN public.activity.subject_type IS 'contact, company, deal, email, activity, list, …; for a table of your own its name.';
COMMENT ON COLUMN public.activity.subject_id IS 'The id of the record.';
COMMENT ON COLUMN public.activity.subject_repr IS 'A few words that say which record it is.';
COMMENT ON COLUMN public.activity.changes IS 'What changed, {column: {from, to}}; long values are cut, and "clipped" gives their full length in bytes.';
COMMENT ON COLUMN public.activity.custom IS 'Where the change came from: agent, run_id, reason, request_id.';

-- Cuts the longest values until the whole is small enough; each round cuts shorter.
CREATE FUNCTION kith.clip_changes(changes jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE longest integer;
BEGIN
  FOREACH longest IN ARRAY ARRAY[16384, 2048, 256, 64] LOOP
    EXIT WHEN octet_length(changes::text) <= 1000000;
    SELECT jsonb_object_agg(c.key, (
             SELECT jsonb_object_agg(side.key, CASE
                      WHEN octet_length(side.value::text) <= longest OR side.key NOT IN ('from', 'to') THEN side.value
                      ELSE to_jsonb(left(c.value ->> side.key, longest / 8)) END)
                    || coalesce((SELECT jsonb_build_object('clipped', coalesce(c.value -> 'clipped', '{}') || jsonb_object_agg(long.key,
                                          coalesce(c.value -> 'clipped' -> long.key, to_jsonb(octet_length(c.value ->> long.key)))))
                                   FROM jsonb_each(c.value) long
                                  WHERE long.key IN ('from', 'to') AND octet_length(long.value::text) > longest HAVING count(*) > 0), '{}')
               FROM jsonb_each(c.value) side))
      INTO changes FROM jsonb_each(changes) c;
  END LOOP;
  RETURN changes;
END $$;
COMMENT ON FUNCTION kith.clip_changes IS 'Keeps an entry of the feed under 1 MiB: {column: {from, to, clipped: {from: bytes, to: bytes}}}.';

-- The one place that writes what a change leaves behind.
CREATE FUNCTION kith.write_entry(verb text, subject_type text, subject_id text, subject_repr text, changes jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE entry text;
BEGIN
  INSERT INTO public.activity (actor, verb, subject_type, subject_id, subject_repr, changes, custom)
  SELECT c.actor, write_entry.verb, write_entry.subject_type, left(write_entry.subject_id, 500), left(write_entry.subject_repr, 200), write_entry.changes, c.provenance
    FROM kith.current_context() c
  RETURNING id INTO entry;
  RETURN entry;
END $$;
COMMENT ON FUNCTION kith.write_entry IS 'Adds an entry to the feed in the name of who is acting, and gives its id.';

CREATE FUNCTION kith.write_change(subject_type text, subject_id text, subject_repr text, before jsonb, after jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE changes jsonb; verb text := 'updated';
BEGIN
  IF after IS NULL THEN
    verb := 'deleted';
    SELECT jsonb_object_agg(b.key, jsonb_build_object('from', b.value, 'to', NULL)) INTO changes
      FROM jsonb_each(before) b WHERE b.value <> 'null' AND b.key <> 'updated_at';
  ELSE
    SELECT jsonb_object_agg(a.key, jsonb_build_object('from', before -> a.key, 'to', a.value)) INTO changes
      FROM jsonb_each(after) a WHERE a.value <> (before -> a.key) AND a.key <> 'updated_at';
    IF changes IS NULL THEN
      RETURN NULL;
    ELSIF changes ? 'deleted_at' THEN
      verb := CASE WHEN before ->> 'deleted_at' IS NULL THEN 'deleted' WHEN after ->> 'deleted_at' IS NULL THEN 'restored' ELSE verb END;
    END IF;
  END IF;
  IF octet_length(changes::text) > 1000000 THEN
    changes := kith.clip_changes(changes);
  END IF;
  RETURN kith.write_entry(verb, subject_type, subject_id, subject_repr, changes);
END $$;
COMMENT ON FUNCTION kith.write_change IS 'Adds an entry for an updated or (after: null) deleted row: what changed, {column: {from, to}}.';

-- For the built-in tables. The workspace has no EXECUTE on it, so it can't put it on a table of its own: the trigger's
-- argument, the subject, can be trusted.
CREATE FUNCTION kith.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  repr text; before jsonb; after jsonb; entry text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW *= OLD THEN RETURN NULL; END IF;
    after := to_jsonb(NEW);
  END IF;
  IF TG_OP <> 'INSERT' THEN
    before := to_jsonb(OLD);
  END IF;
  IF TG_OP = 'DELETE' THEN
    NEW := OLD;
  END IF;
  CASE TG_ARGV[0]  -- A statement, not an expression: each branch is only looked at for the table that has its columns.
    WHEN 'contact' THEN repr := coalesce(nullif(concat_ws(' ', NEW.first_name, NEW.last_name), ''), NEW.email::text, NEW.phone);
    WHEN 'company' THEN repr := coalesce(NEW.name, NEW.domain);
    WHEN 'deal' THEN repr := NEW.name;
    WHEN 'email' THEN repr := coalesce(NEW.subject, NEW.snippet, NEW.from_addr::text);
    WHEN 'activity' THEN repr := coalesce(NEW.subject, NEW.type);
    WHEN 'list' THEN repr := NEW.name;
    WHEN 'list_member' THEN repr := NEW.member_id;
    WHEN 'pipeline' THEN repr := NEW.label;
    WHEN 'pipeline_stage' THEN repr := NEW.label;
    WHEN 'association' THEN repr := concat(NEW.from_id, ' – ', NEW.to_id);
    WHEN 'custom_field' THEN repr := concat(NEW.object_type, '.', NEW.key);
    ELSE NULL;
  END CASE;
  entry := CASE WHEN TG_OP = 'INSERT' THEN kith.write_entry('created', TG_ARGV[0], NEW.id, repr, NULL)
                ELSE kith.write_change(TG_ARGV[0], NEW.id, repr, before, after) END;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.record_change IS 'Writes the changes of a built-in table to the feed.';

-- For the workspace's own tables. Its arguments say nothing; the subject is the table's name, never that of a built-in one.
CREATE FUNCTION public.record_activity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  before jsonb; after jsonb; row_now jsonb; key_column name; own_name text; key text; repr text; entry text;
BEGIN
  IF TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' THEN
    RAISE EXCEPTION 'record_activity() must be an AFTER … FOR EACH ROW trigger' USING ERRCODE = '0A000',
      HINT = format('CREATE TRIGGER activity AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION record_activity()', TG_TABLE_NAME);
  END IF;
  IF EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = TG_RELID) THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
  IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
  row_now := coalesce(after, before);

  SELECT c.relname INTO own_name FROM pg_class c WHERE c.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID);
  IF EXISTS (SELECT FROM kith_guard.builtin b WHERE b.subject = own_name) THEN
    own_name := 'custom:' || own_name;
  END IF;
  IF NOT row_now ? 'id' THEN
    SELECT a.attname INTO key_column FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = TG_RELID AND i.indisprimary AND i.indnkeyatts = 1;
  END IF;
  key := row_now ->> coalesce(key_column, 'id');
  repr := coalesce(row_now ->> 'name', row_now ->> 'title', row_now ->> 'label', row_now ->> 'subject', row_now ->> 'email');
  entry := CASE WHEN TG_OP = 'INSERT' THEN kith.write_entry('created', own_name, key, repr, NULL)
                ELSE kith.write_change(own_name, key, repr, before, after) END;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION public.record_activity IS 'Puts a table of yours into the activity feed: CREATE TRIGGER … AFTER INSERT OR UPDATE OR DELETE ON … FOR EACH ROW EXECUTE FUNCTION record_activity().';

CREATE FUNCTION kith.record_conflict(secret text, subject_type text, constraint_name text, existing_id text, attempted jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM kith.secret s WHERE s.token_hash = sha256(convert_to(record_conflict.secret, 'UTF8'))) THEN
    RAISE EXCEPTION 'only the server can say what was refused' USING ERRCODE = '28000';
  END IF;
  IF octet_length(attempted::text) > 1000000 THEN
    SELECT jsonb_object_agg(a.key, CASE WHEN octet_length(a.value::text) <= 512 THEN a.value ELSE to_jsonb(left(attempted ->> a.key, 60)) END)
           || jsonb_build_object('clipped', jsonb_object_agg(a.key, octet_length(attempted ->> a.key)) FILTER (WHERE octet_length(a.value::text) > 512))
      INTO attempted FROM jsonb_each(attempted) a;
  END IF;
  PERFORM kith.write_entry('conflict', subject_type, existing_id, NULL,
    jsonb_build_object('constraint', constraint_name, 'existing_id', existing_id, 'attempted', attempted));
END $$;
COMMENT ON FUNCTION kith.record_conflict IS 'Puts a refused create into the feed: the constraint, the record that was there, and what was attempted.';

-- ---- Triggers' functions without rights of their own.

CREATE FUNCTION kith.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.updated_at := OLD.updated_at;
  IF NEW *<> OLD THEN
    NEW.updated_at := now();
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.touch IS 'Sets updated_at where anything else changed.';

CREATE FUNCTION kith.no_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE is not allowed on built-in table "%"', TG_TABLE_NAME USING ERRCODE = '42501', HINT = 'DELETE keeps the activity feed true.';
END $$;
COMMENT ON FUNCTION kith.no_truncate IS 'Refuses TRUNCATE, which the feed would not see.';

-- A date is YYYY-MM-DD or RFC 3339.
CREATE FUNCTION kith.is_date(value text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE WHEN value ~ '^\d{4}-\d\d-\d\d$' THEN pg_input_is_valid(value, 'date')
              WHEN value ~* '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$' THEN pg_input_is_valid(value, 'timestamptz')
              ELSE false END;
END $$;
COMMENT ON FUNCTION kith.is_date IS 'Whether a text is a date, YYYY-MM-DD or RFC 3339.';

CREATE FUNCTION kith.check_custom() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE field record; value jsonb; fault text;
BEGIN
  -- A loop costs more to open than this to ask, and most workspaces define nothing.
  PERFORM FROM public.custom_fields f WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  FOR field IN SELECT f.key, f.type, f.options, f.required FROM public.custom_fields f
                WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL ORDER BY f.created_at, f.id
  LOOP
    value := NEW.custom -> field.key;
    IF value IS NULL OR value = 'null' THEN
      fault := CASE WHEN field.required THEN 'is required' END;
    ELSE
      fault := CASE field.type
        WHEN 'text' THEN CASE WHEN jsonb_typeof(value) <> 'string' THEN 'must be a string' END
        WHEN 'number' THEN CASE WHEN jsonb_typeof(value) <> 'number' THEN 'must be a number' END
        WHEN 'bool' THEN CASE WHEN jsonb_typeof(value) <> 'boolean' THEN 'must be true or false' END
        WHEN 'date' THEN CASE WHEN jsonb_typeof(value) <> 'string' OR NOT kith.is_date(value #>> '{}') THEN 'must be a date, YYYY-MM-DD or RFC 3339' END
        WHEN 'select' THEN CASE WHEN jsonb_typeof(value) <> 'string' OR NOT coalesce(field.options @> jsonb_build_array(value), false)
                                THEN 'must be one of ' || left(coalesce(field.options, '[]')::text, 300) END
      END;
    END IF;
    IF fault IS NOT NULL THEN
      RAISE EXCEPTION 'custom field "%" of % %', field.key, TG_ARGV[0], fault
        USING ERRCODE = 'KF001', DETAIL = field.key, COLUMN = 'custom', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA,
              HINT = 'The definitions are in custom_fields.';
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.check_custom IS 'Holds custom to the definitions in custom_fields.';

CREATE FUNCTION kith.place_deal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_stage text;
BEGIN
  IF NEW.pipeline IS NULL THEN
    SELECT p.key INTO NEW.pipeline FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL;
  END IF;
  SELECT s.key INTO found_stage FROM public.pipeline_stages s JOIN public.pipelines p ON p.key = s.pipeline
   WHERE s.pipeline = NEW.pipeline AND s.key = NEW.stage AND s.deleted_at IS NULL AND p.deleted_at IS NULL;
  IF FOUND THEN
    RETURN NEW;
  END IF;
  IF NOT EXISTS (SELECT FROM public.pipelines p WHERE p.key = NEW.pipeline AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'there is no pipeline "%"', NEW.pipeline
      USING ERRCODE = '23503', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'pipeline', CONSTRAINT = 'deals_pipeline_fkey',
            DETAIL = format('Key (pipeline)=(%s) is not present in table "pipelines".', NEW.pipeline),
            HINT = 'Create the pipeline first, or leave it out for the default one.';
  END IF;
  -- No stage named (or, on a move to another pipeline, only the old one): the first.
  IF NEW.stage IS NULL OR (TG_OP = 'UPDATE' AND NEW.stage = OLD.stage AND NEW.pipeline IS DISTINCT FROM OLD.pipeline) THEN
    SELECT s.key INTO found_stage FROM public.pipeline_stages s
     WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL ORDER BY s.position, s.created_at, s.id LIMIT 1;
    IF FOUND THEN
      NEW.stage := found_stage;
      RETURN NEW;
    END IF;
    IF NEW.stage IS NULL THEN
      RAISE EXCEPTION 'pipeline "%" has no stages', NEW.pipeline
        USING ERRCODE = 'KP002', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage', HINT = 'Name a stage, and it is added.';
    END IF;
  END IF;
  -- A stage that is named and missing goes to the end. Whoever adds the same one meanwhile is waited for and agreed with.
  INSERT INTO public.pipeline_stages AS s (pipeline, key, label)
  VALUES (NEW.pipeline, NEW.stage, upper(left(NEW.stage, 1)) || replace(substr(NEW.stage, 2), '_', ' '))
  ON CONFLICT (pipeline, key) DO UPDATE SET deleted_at = NULL WHERE s.deleted_at IS NOT NULL;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.place_deal IS 'Gives a deal a pipeline and a stage, and the pipeline a stage that it lacks.';

CREATE FUNCTION kith.place_pipeline() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.position IS NULL THEN
    NEW.position := (SELECT coalesce(max(p.position) + 1, 0) FROM public.pipelines p);
  END IF;
  IF NEW.is_default AND NEW.deleted_at IS NULL THEN
    UPDATE public.pipelines p SET is_default = false WHERE p.is_default AND p.deleted_at IS NULL AND p.id <> NEW.id;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.place_pipeline IS 'Puts a new pipeline last, and unsets the former default when there is a new one.';

CREATE FUNCTION kith.place_stage() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.position := (SELECT coalesce(max(s.position) + 1, 0) FROM public.pipeline_stages s WHERE s.pipeline = NEW.pipeline);
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.place_stage IS 'Puts a new stage last where no position was given.';

-- After the statement, so that one UPDATE may move the default; not inside place_pipeline()'s own update.
CREATE FUNCTION kith.keep_default() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_trigger_depth() = 1 AND NOT EXISTS (SELECT FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'the default pipeline cannot be deleted or unset'
      USING ERRCODE = 'KP001', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'is_default', HINT = 'Make another pipeline the default first.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.keep_default IS 'Sees to it that there is a default pipeline.';

-- "Ada <ada@example.com>" and "ada@example.com" are one address.
CREATE FUNCTION kith.bare_address(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN btrim(CASE WHEN address LIKE '%<%>%' THEN substring(address FROM '<([^<>]*)>[^<>]*$') ELSE address END);
COMMENT ON FUNCTION kith.bare_address IS 'The address alone, without the name before it.';

CREATE FUNCTION kith.attach_email() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, extensions, pg_temp AS $$
DECLARE addresses extensions.citext[]; domains text[];
BEGIN
  SELECT array_agg(kith.bare_address(a::text)), array_agg(rtrim(lower(split_part(kith.bare_address(a::text), '@', -1)), '.')) INTO addresses, domains
    FROM unnest(NEW.from_addr || NEW.to_addrs || NEW.cc_addrs) a WHERE a::text LIKE '%@%';
  SELECT coalesce(NEW.contact_ids, '{}') || array_agg(c.id ORDER BY c.id) INTO NEW.contact_ids FROM public.contacts c
   WHERE c.email = ANY (addresses) AND c.deleted_at IS NULL AND c.id <> ALL (coalesce(NEW.contact_ids, '{}'));
  SELECT coalesce(NEW.company_ids, '{}') || array_agg(c.id ORDER BY c.id) INTO NEW.company_ids FROM public.companies c
   WHERE lower(c.domain) = ANY (domains) AND c.deleted_at IS NULL AND c.id <> ALL (coalesce(NEW.company_ids, '{}'));
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.attach_email IS 'Finds the contacts and companies that an email is from and to.';

-- What PUBLIC may call; the workspace may create triggers with the others only while its tables are made.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kith FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.new_id(text), kith.begin_request(text, text, text), kith.record_conflict(text, text, text, text, jsonb),
  kith.current_actor(), kith.touch(), kith.is_date(text), kith.bare_address(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION kith.record_change(), kith.no_truncate(), kith.check_custom(), kith.place_deal(), kith.place_pipeline(), kith.place_stage(),
  kith.keep_default(), kith.attach_email() TO {{workspace}};

-- section: workspace

CREATE TABLE public.companies (
  id text PRIMARY KEY DEFAULT kith.new_id('co'),
  name text,
  domain text,
  industry text,
  size text,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT companies_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX companies_domain_key ON public.companies (lower(domain)) WHERE deleted_at IS NULL;
CREATE INDEX companies_newest_idx ON public.companies (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.companies IS 'Organisations.';
COMMENT ON COLUMN public.companies.id IS 'co_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.companies.name IS 'What it is called.';
COMMENT ON COLUMN public.companies.domain IS 'Its web domain; emails from it attach to the company. Unique among live rows, whatever the case.';
COMMENT ON COLUMN public.companies.industry IS 'What it does.';
COMMENT ON COLUMN public.companies.size IS 'How many people, such as 11-50.';
COMMENT ON COLUMN public.companies.custom IS 'Free-form fields; keys defined in custom_fields are validated.';
COMMENT ON COLUMN public.companies.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.companies.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.companies.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.contacts (
  id text PRIMARY KEY DEFAULT kith.new_id('c'),
  email extensions.citext,
  first_name text,
  last_name text,
  phone text,
  title text,
  company_id text CONSTRAINT contacts_company_id_fkey REFERENCES public.companies (id),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT contacts_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX contacts_email_key ON public.contacts (email) WHERE deleted_at IS NULL;
CREATE INDEX contacts_newest_idx ON public.contacts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contacts_company_id_idx ON public.contacts (company_id);
COMMENT ON TABLE public.contacts IS 'People.';
COMMENT ON COLUMN public.contacts.id IS 'c_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.contacts.email IS 'Case-insensitive; unique among live rows.';
COMMENT ON COLUMN public.contacts.first_name IS 'Given name.';
COMMENT ON COLUMN public.contacts.last_name IS 'Family name.';
COMMENT ON COLUMN public.contacts.phone IS 'Telephone number.';
COMMENT ON COLUMN public.contacts.title IS 'Job title.';
COMMENT ON COLUMN public.contacts.company_id IS 'The company the person works for.';
COMMENT ON COLUMN public.contacts.custom IS 'Free-form fields; keys defined in custom_fields are validated.';
COMMENT ON COLUMN public.contacts.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.contacts.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.contacts.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.pipelines (
  id text PRIMARY KEY DEFAULT kith.new_id('pl'),
  key text NOT NULL CONSTRAINT pipelines_key_key UNIQUE CONSTRAINT pipelines_key_check CHECK (key <> ''),
  label text NOT NULL,
  position integer NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT pipelines_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX pipelines_default_key ON public.pipelines (is_default) WHERE is_default AND deleted_at IS NULL;
CREATE INDEX pipelines_newest_idx ON public.pipelines (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.pipelines IS 'Ways that deals go. One of them is the default.';
COMMENT ON COLUMN public.pipelines.id IS 'pl_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.pipelines.key IS 'What deals call it.';
COMMENT ON COLUMN public.pipelines.label IS 'What people call it.';
COMMENT ON COLUMN public.pipelines.position IS 'Its place among the pipelines; last if left out.';
COMMENT ON COLUMN public.pipelines.is_default IS 'Whether a deal without a pipeline goes here. True for exactly one; setting it unsets the former.';
COMMENT ON COLUMN public.pipelines.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.pipelines.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.pipelines.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.pipelines.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.pipeline_stages (
  id text PRIMARY KEY DEFAULT kith.new_id('st'),
  pipeline text NOT NULL CONSTRAINT pipeline_stages_pipeline_fkey REFERENCES public.pipelines (key) ON UPDATE CASCADE ON DELETE CASCADE,
  key text NOT NULL CONSTRAINT pipeline_stages_key_check CHECK (key <> ''),
  label text NOT NULL,
  position integer NOT NULL,
  is_won boolean NOT NULL DEFAULT false,
  is_lost boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT pipeline_stages_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT pipeline_stages_pipeline_key_key UNIQUE (pipeline, key)
);
CREATE INDEX pipeline_stages_newest_idx ON public.pipeline_stages (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.pipeline_stages IS 'The stages of a pipeline, in order.';
COMMENT ON COLUMN public.pipeline_stages.id IS 'st_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.pipeline_stages.pipeline IS 'The key of the pipeline.';
COMMENT ON COLUMN public.pipeline_stages.key IS 'What deals call it.';
COMMENT ON COLUMN public.pipeline_stages.label IS 'What people call it.';
COMMENT ON COLUMN public.pipeline_stages.position IS 'Its place in the pipeline; last if left out.';
COMMENT ON COLUMN public.pipeline_stages.is_won IS 'Whether a deal here is won.';
COMMENT ON COLUMN public.pipeline_stages.is_lost IS 'Whether a deal here is lost.';
COMMENT ON COLUMN public.pipeline_stages.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.pipeline_stages.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.pipeline_stages.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.pipeline_stages.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.deals (
  id text PRIMARY KEY DEFAULT kith.new_id('d'),
  name text,
  pipeline text NOT NULL,
  stage text NOT NULL,
  amount_cents bigint,
  currency text DEFAULT 'USD',
  close_date date,
  contact_id text CONSTRAINT deals_contact_id_fkey REFERENCES public.contacts (id),
  company_id text CONSTRAINT deals_company_id_fkey REFERENCES public.companies (id),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT deals_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT deals_stage_fkey FOREIGN KEY (pipeline, stage) REFERENCES public.pipeline_stages (pipeline, key) ON UPDATE CASCADE
);
CREATE INDEX deals_newest_idx ON public.deals (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX deals_stage_idx ON public.deals (pipeline, stage);
CREATE INDEX deals_contact_id_idx ON public.deals (contact_id);
CREATE INDEX deals_company_id_idx ON public.deals (company_id);
COMMENT ON TABLE public.deals IS 'Opportunities.';
COMMENT ON COLUMN public.deals.id IS 'd_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.deals.name IS 'What the deal is about.';
COMMENT ON COLUMN public.deals.pipeline IS 'The key of its pipeline; the default one if left out.';
COMMENT ON COLUMN public.deals.stage IS 'The key of its stage in the pipeline; the first if left out. One that the pipeline lacks is added to its end.';
COMMENT ON COLUMN public.deals.amount_cents IS 'Its worth in hundredths of the currency.';
COMMENT ON COLUMN public.deals.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN public.deals.close_date IS 'When it closes or closed.';
COMMENT ON COLUMN public.deals.contact_id IS 'The person it is with.';
COMMENT ON COLUMN public.deals.company_id IS 'The company it is with.';
COMMENT ON COLUMN public.deals.custom IS 'Free-form fields; keys defined in custom_fields are validated.';
COMMENT ON COLUMN public.deals.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.deals.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.deals.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.activities (
  id text PRIMARY KEY DEFAULT kith.new_id('act'),
  type text NOT NULL DEFAULT 'note' CONSTRAINT activities_type_check CHECK (type IN ('note', 'email', 'call', 'meeting', 'task')),
  subject text,
  body text,
  contact_id text CONSTRAINT activities_contact_id_fkey REFERENCES public.contacts (id),
  deal_id text CONSTRAINT activities_deal_id_fkey REFERENCES public.deals (id),
  company_id text CONSTRAINT activities_company_id_fkey REFERENCES public.companies (id),
  occurred_at timestamptz NOT NULL DEFAULT now(),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT activities_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE INDEX activities_newest_idx ON public.activities (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX activities_contact_id_idx ON public.activities (contact_id);
CREATE INDEX activities_deal_id_idx ON public.activities (deal_id);
CREATE INDEX activities_company_id_idx ON public.activities (company_id);
COMMENT ON TABLE public.activities IS 'Notes, emails, calls, meetings and tasks about a contact, a deal or a company.';
COMMENT ON COLUMN public.activities.id IS 'act_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.activities.type IS 'note, email, call, meeting or task.';
COMMENT ON COLUMN public.activities.subject IS 'One line that says what it is.';
COMMENT ON COLUMN public.activities.body IS 'The text.';
COMMENT ON COLUMN public.activities.contact_id IS 'The person it is about.';
COMMENT ON COLUMN public.activities.deal_id IS 'The deal it is about.';
COMMENT ON COLUMN public.activities.company_id IS 'The company it is about.';
COMMENT ON COLUMN public.activities.occurred_at IS 'When it took place.';
COMMENT ON COLUMN public.activities.custom IS 'Free-form fields; keys defined in custom_fields are validated.';
COMMENT ON COLUMN public.activities.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.activities.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.activities.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.emails (
  id text PRIMARY KEY DEFAULT kith.new_id('e'),
  thread_id text,
  provider text,
  provider_msg_id text,
  direction text CONSTRAINT emails_direction_check CHECK (direction IN ('inbound', 'outbound')),
  from_addr extensions.citext,
  to_addrs extensions.citext[] NOT NULL DEFAULT '{}',
  cc_addrs extensions.citext[] NOT NULL DEFAULT '{}',
  subject text,
  snippet text,
  body_text text,
  body_html text,
  sent_at timestamptz,
  received_at timestamptz,
  contact_ids text[] NOT NULL DEFAULT '{}',
  company_ids text[] NOT NULL DEFAULT '{}',
  deal_ids text[] NOT NULL DEFAULT '{}',
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT emails_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX emails_provider_msg_id_key ON public.emails (provider, provider_msg_id)
  WHERE provider IS NOT NULL AND provider_msg_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX emails_newest_idx ON public.emails (coalesce(received_at, sent_at, created_at), id) WHERE deleted_at IS NULL;
CREATE INDEX emails_contact_ids_idx ON public.emails USING gin (contact_ids);
CREATE INDEX emails_company_ids_idx ON public.emails USING gin (company_ids);
CREATE INDEX emails_deal_ids_idx ON public.emails USING gin (deal_ids);
COMMENT ON TABLE public.emails IS 'Messages received and sent. Contacts and companies attach by their addresses.';
COMMENT ON COLUMN public.emails.id IS 'e_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.emails.thread_id IS 'The conversation, in the provider''s words.';
COMMENT ON COLUMN public.emails.provider IS 'Where it comes from, such as gmail.';
COMMENT ON COLUMN public.emails.provider_msg_id IS 'Its id there; unique for a provider among live rows.';
COMMENT ON COLUMN public.emails.direction IS 'inbound or outbound.';
COMMENT ON COLUMN public.emails.from_addr IS 'The sender.';
COMMENT ON COLUMN public.emails.to_addrs IS 'The recipients.';
COMMENT ON COLUMN public.emails.cc_addrs IS 'Who gets a copy.';
COMMENT ON COLUMN public.emails.subject IS 'The subject line.';
COMMENT ON COLUMN public.emails.snippet IS 'The first words.';
COMMENT ON COLUMN public.emails.body_text IS 'The text.';
COMMENT ON COLUMN public.emails.body_html IS 'The text as HTML.';
COMMENT ON COLUMN public.emails.sent_at IS 'When it was sent.';
COMMENT ON COLUMN public.emails.received_at IS 'When it was received.';
COMMENT ON COLUMN public.emails.contact_ids IS 'Contacts it is from and to; found by their addresses, added to what is given.';
COMMENT ON COLUMN public.emails.company_ids IS 'Companies whose domain an address has; found likewise.';
COMMENT ON COLUMN public.emails.deal_ids IS 'Deals it is about.';
COMMENT ON COLUMN public.emails.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.emails.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.emails.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.emails.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.lists (
  id text PRIMARY KEY DEFAULT kith.new_id('l'),
  name text NOT NULL,
  description text,
  target_table text NOT NULL,
  kind text NOT NULL DEFAULT 'dynamic' CONSTRAINT lists_kind_check CHECK (kind IN ('dynamic', 'static')),
  filter_predicate text,
  filter_params jsonb NOT NULL DEFAULT '[]' CONSTRAINT lists_filter_params_check CHECK (jsonb_typeof(filter_params) = 'array'),
  config jsonb NOT NULL DEFAULT '{}' CONSTRAINT lists_config_check CHECK (jsonb_typeof(config) = 'object'),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT lists_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE INDEX lists_newest_idx ON public.lists (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.lists IS 'Saved lists of records: dynamic ones by a predicate, static ones by their members.';
COMMENT ON COLUMN public.lists.id IS 'l_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.lists.name IS 'What it is called.';
COMMENT ON COLUMN public.lists.description IS 'What it is for.';
COMMENT ON COLUMN public.lists.target_table IS 'The table whose rows it lists.';
COMMENT ON COLUMN public.lists.kind IS 'dynamic or static.';
COMMENT ON COLUMN public.lists.filter_predicate IS 'Of a dynamic list: an SQL boolean over the target table and what it refers to.';
COMMENT ON COLUMN public.lists.filter_params IS 'The predicate''s $1, $2, …';
COMMENT ON COLUMN public.lists.config IS 'Which columns it shows, in which order: {columns, order}.';
COMMENT ON COLUMN public.lists.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.lists.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.lists.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.lists.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.list_members (
  id text PRIMARY KEY DEFAULT kith.new_id('lm'),
  list_id text NOT NULL CONSTRAINT list_members_list_id_fkey REFERENCES public.lists (id) ON DELETE CASCADE,
  member_id text NOT NULL,
  added_at timestamptz NOT NULL DEFAULT now(),
  added_by text DEFAULT kith.current_actor(),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT list_members_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  CONSTRAINT list_members_list_id_member_id_key UNIQUE (list_id, member_id)
);
CREATE INDEX list_members_newest_idx ON public.list_members (added_at, id);
CREATE INDEX list_members_member_id_idx ON public.list_members (member_id);
COMMENT ON TABLE public.list_members IS 'The members of static lists.';
COMMENT ON COLUMN public.list_members.id IS 'lm_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.list_members.list_id IS 'The list.';
COMMENT ON COLUMN public.list_members.member_id IS 'The id of the record, in the list''s target table.';
COMMENT ON COLUMN public.list_members.added_at IS 'When it was added.';
COMMENT ON COLUMN public.list_members.added_by IS 'Who added it.';
COMMENT ON COLUMN public.list_members.custom IS 'Free-form fields.';

CREATE TABLE public.associations (
  id text PRIMARY KEY DEFAULT kith.new_id('as'),
  from_type text NOT NULL CONSTRAINT associations_from_type_check CHECK (from_type <> ''),
  from_id text NOT NULL,
  to_type text NOT NULL CONSTRAINT associations_to_type_check CHECK (to_type <> ''),
  to_id text NOT NULL,
  label text,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT associations_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX associations_together_key ON public.associations (from_type, from_id, to_type, to_id, label)
  NULLS NOT DISTINCT WHERE deleted_at IS NULL;
CREATE INDEX associations_to_idx ON public.associations (to_type, to_id);
CREATE INDEX associations_newest_idx ON public.associations (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.associations IS 'Edges between any two records.';
COMMENT ON COLUMN public.associations.id IS 'as_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.associations.from_type IS 'What the edge starts from: contact, company, deal, …';
COMMENT ON COLUMN public.associations.from_id IS 'The id of that record.';
COMMENT ON COLUMN public.associations.to_type IS 'What it leads to.';
COMMENT ON COLUMN public.associations.to_id IS 'The id of that record.';
COMMENT ON COLUMN public.associations.label IS 'What the one is to the other.';
COMMENT ON COLUMN public.associations.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.associations.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.associations.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.associations.deleted_at IS 'When it was soft-deleted; null while it is live.';

CREATE TABLE public.custom_fields (
  id text PRIMARY KEY DEFAULT kith.new_id('fld'),
  object_type text NOT NULL CONSTRAINT custom_fields_object_type_check CHECK (object_type IN ('contact', 'company', 'deal', 'activity')),
  key text NOT NULL CONSTRAINT custom_fields_key_check CHECK (key <> ''),
  label text,
  type text NOT NULL CONSTRAINT custom_fields_type_check CHECK (type IN ('text', 'number', 'date', 'bool', 'select')),
  options jsonb,
  required boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT custom_fields_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT custom_fields_options_check CHECK (CASE WHEN jsonb_typeof(options) = 'array' THEN type <> 'select' OR jsonb_array_length(options) > 0
    ELSE type <> 'select' AND (options IS NULL OR options = 'null') END)
);
CREATE UNIQUE INDEX custom_fields_object_type_key_key ON public.custom_fields (object_type, key) WHERE deleted_at IS NULL;
CREATE INDEX custom_fields_newest_idx ON public.custom_fields (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.custom_fields IS 'Definitions of the fields in custom, by kind of record. Keys without a definition are free.';
COMMENT ON COLUMN public.custom_fields.id IS 'fld_ and 26 characters that sort by time; made by itself.';
COMMENT ON COLUMN public.custom_fields.object_type IS 'contact, company, deal or activity.';
COMMENT ON COLUMN public.custom_fields.key IS 'The key in custom. Unique for a kind of record among live rows.';
COMMENT ON COLUMN public.custom_fields.label IS 'What people call it.';
COMMENT ON COLUMN public.custom_fields.type IS 'text, number, date, bool or select.';
COMMENT ON COLUMN public.custom_fields.options IS 'Of a select: an array of the strings it may hold.';
COMMENT ON COLUMN public.custom_fields.required IS 'Whether a record must have it.';
COMMENT ON COLUMN public.custom_fields.custom IS 'Free-form fields.';
COMMENT ON COLUMN public.custom_fields.created_at IS 'When the row was made.';
COMMENT ON COLUMN public.custom_fields.updated_at IS 'When it was last changed.';
COMMENT ON COLUMN public.custom_fields.deleted_at IS 'When it was soft-deleted; null while it is live.';

-- Every workspace starts with one pipeline. It comes before the triggers, so that the feed starts empty.
INSERT INTO public.pipelines (key, label, position, is_default) VALUES ('sales', 'Sales', 0, true);
INSERT INTO public.pipeline_stages (pipeline, key, label, position, is_won, is_lost) VALUES
  ('sales', 'lead', 'Lead', 0, false, false),
  ('sales', 'qualified', 'Qualified', 1, false, false),
  ('sales', 'proposal', 'Proposal', 2, false, false),
  ('sales', 'won', 'Won', 3, true, false),
  ('sales', 'lost', 'Lost', 4, false, true);

-- Triggers fire in the order of their names: kith_custom before kith_record.
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.check_custom('company');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.companies FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom('company');
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.record_change('company');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.companies FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.check_custom('contact');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.contacts FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom('contact');
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.record_change('contact');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.contacts FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_place BEFORE INSERT OR UPDATE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.place_pipeline();
CREATE TRIGGER kith_keep_default AFTER INSERT OR UPDATE OR DELETE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.keep_default();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_place BEFORE INSERT OR UPDATE ON public.pipeline_stages FOR EACH ROW WHEN (NEW.position IS NULL) EXECUTE FUNCTION kith.place_stage();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline_stage');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.pipeline_stages FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.check_custom('deal');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.deals FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom('deal');
CREATE TRIGGER kith_place_insert BEFORE INSERT ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.place_deal();
CREATE TRIGGER kith_place_update BEFORE UPDATE ON public.deals FOR EACH ROW
  WHEN (OLD.pipeline IS DISTINCT FROM NEW.pipeline OR OLD.stage IS DISTINCT FROM NEW.stage) EXECUTE FUNCTION kith.place_deal();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.record_change('deal');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.deals FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.check_custom('activity');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.activities FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom('activity');
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.record_change('activity');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.activities FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_attach BEFORE INSERT ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.attach_email();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.record_change('email');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.emails FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.lists FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.lists FOR EACH ROW EXECUTE FUNCTION kith.record_change('list');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.lists FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.list_members FOR EACH ROW EXECUTE FUNCTION kith.record_change('list_member');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.list_members FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.record_change('association');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.associations FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

CREATE TRIGGER kith_touch BEFORE UPDATE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_record AFTER INSERT OR UPDATE OR DELETE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.record_change('custom_field');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.custom_fields FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate();

ALTER TABLE public.companies ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.contacts ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.pipelines ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.pipeline_stages ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.deals ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.activities ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.emails ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.lists ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.list_members ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.associations ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;
ALTER TABLE public.custom_fields ENABLE ALWAYS TRIGGER kith_record, ENABLE ALWAYS TRIGGER kith_no_truncate;

GRANT SELECT ON public.companies, public.contacts, public.pipelines, public.pipeline_stages, public.deals, public.activities, public.emails,
  public.lists, public.list_members, public.associations, public.custom_fields TO {{viewer}};

-- section: system

-- With EXECUTE on these the workspace could put them on tables of its own and forge entries of the feed.
REVOKE ALL ON FUNCTION kith.record_change(), kith.no_truncate(), kith.check_custom(), kith.place_deal(), kith.place_pipeline(), kith.place_stage(),
  kith.keep_default(), kith.attach_email() FROM {{workspace}};

-- section: admin

-- An extension's member is nothing that pg_dump takes: the workspace may dump its database, but not read this table.
ALTER EXTENSION pgcrypto ADD TABLE kith.secret;

SELECT kith_guard.declare_builtin('public.companies', 'company');
SELECT kith_guard.declare_builtin('public.contacts', 'contact');
SELECT kith_guard.declare_builtin('public.pipelines', 'pipeline');
SELECT kith_guard.declare_builtin('public.pipeline_stages', 'pipeline_stage');
SELECT kith_guard.declare_builtin('public.deals', 'deal');
SELECT kith_guard.declare_builtin('public.activities', 'activity');
SELECT kith_guard.declare_builtin('public.emails', 'email');
SELECT kith_guard.declare_builtin('public.lists', 'list');
SELECT kith_guard.declare_builtin('public.list_members', 'list_member');
SELECT kith_guard.declare_builtin('public.associations', 'association');
SELECT kith_guard.declare_builtin('public.custom_fields', 'custom_field');
