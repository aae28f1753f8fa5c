-- The guards: what the built-in tables must stay, and the event triggers that refuse what would change it. README.md describes
-- roles, sections and rules.

-- section: admin

CREATE SCHEMA kith_guard;
GRANT USAGE ON SCHEMA kith_guard TO PUBLIC;

-- Event triggers fire in the tenant's session and with the tenant's rights (none is SECURITY DEFINER). They only read catalogs
-- and the tables below, and refuse.

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
COMMENT ON TABLE kith_guard.builtin IS 'The built-in tables. The workspace owns them and may not deform them.';
COMMENT ON COLUMN kith_guard.builtin.subject IS 'What the feed calls one of its records.';

CREATE TABLE kith_guard.fact (
  relid oid,
  kind text,
  name name,
  value text NOT NULL,
  PRIMARY KEY (relid, kind, name)
);
COMMENT ON TABLE kith_guard.fact IS 'The rows that kith_guard.observed must contain.';

CREATE TABLE kith_guard.migration (
  pid integer PRIMARY KEY,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  until timestamptz NOT NULL DEFAULT now() + interval '10 minutes'
);
COMMENT ON TABLE kith_guard.migration IS 'Backends that run a workspace section of a migration. The guards let them pass. After a restart of the server another session may have the same pid, so older rows do not count.';

GRANT SELECT ON kith_guard.role, kith_guard.builtin, kith_guard.fact, kith_guard.migration TO PUBLIC;

-- Raw catalog values are cheaper than pg_get_…def(), and this view is read after each DDL statement.
CREATE VIEW kith_guard.observed AS
  SELECT c.oid AS relid, 'table' AS kind, ''::name AS name,
         concat_ws(' ', c.relname, c.relnamespace, c.relowner, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
                   c.relforcerowsecurity, EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid), c.relispartition, c.reloftype, c.relam,
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
  UNION ALL  -- Kith relies on the defaults of NOT NULL columns. The workspace may change the others.
  SELECT a.attrelid, 'default', a.attname, md5(d.adbin::text)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
  UNION ALL
  SELECT k.conrelid, 'constraint', k.conname, concat_ws(' ', k.oid, k.contype, k.condeferrable, k.condeferred, k.convalidated)
    FROM pg_catalog.pg_constraint k
   WHERE k.conrelid IN (SELECT b.relid FROM kith_guard.builtin b) AND k.contype IN ('p', 'u', 'f', 'c')
  UNION ALL  -- By name and definition, not by oid and stored tree: REINDEX CONCURRENTLY creates a new index.
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

-- The same in terms that are equal in all databases. A migrated workspace must have each row that the template has.
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

-- kith.make_builtin() has put the subject into the arguments of the trigger !kith_record.
CREATE FUNCTION kith_guard.declare_builtin(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  INSERT INTO kith_guard.builtin (relid, name, subject)
  SELECT c.oid, c.relname, split_part(encode(t.tgargs, 'escape'), '\000', 1)
    FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = '!kith_record' WHERE c.oid = relation
  ON CONFLICT (relid) DO UPDATE SET subject = excluded.subject;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% has no trigger !kith_record: call kith.make_builtin() first', relation;
  END IF;
END $$;
COMMENT ON FUNCTION kith_guard.declare_builtin IS 'Puts a table under the guards.';

CREATE FUNCTION kith_guard.snapshot() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM kith_guard.fact;
  INSERT INTO kith_guard.fact SELECT o.relid, o.kind, o.name, o.value FROM kith_guard.observed o;
$$;
COMMENT ON FUNCTION kith_guard.snapshot IS 'Records the built-in tables as they are. Call it only before the workspace has been used, or after kith_guard.shape was compared with the template''s.';

CREATE VIEW kith_guard.section_function AS
  SELECT p.oid::regprocedure AS f FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname = 'kith' AND (p.prorettype = 'trigger'::regtype OR p.proname IN ('make_builtin', 'mend_builtins'))
     AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE x.grantee = 0);
COMMENT ON VIEW kith_guard.section_function IS 'The functions that only workspace sections of migrations may use: those of Kith''s triggers that are not for PUBLIC, and what creates and mends them.';
GRANT SELECT ON kith_guard.section_function TO PUBLIC;

-- With EXECUTE on the functions of Kith's triggers the workspace could use them for its own tables. A workspace section creates
-- triggers, so it has EXECUTE while it runs.
CREATE FUNCTION kith_guard.begin_section(workspace regrole, backend integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE f regprocedure;
BEGIN
  DELETE FROM kith_guard.migration;
  INSERT INTO kith_guard.migration (pid) VALUES (backend);
  FOR f IN SELECT s.f FROM kith_guard.section_function s LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, workspace);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith_guard.begin_section IS 'Lets a backend run a workspace section of a migration.';

CREATE FUNCTION kith_guard.end_section(workspace regrole) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE f regprocedure;
BEGIN
  DELETE FROM kith_guard.migration;
  FOR f IN SELECT s.f FROM kith_guard.section_function s LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', f, workspace);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith_guard.end_section IS 'Takes back what begin_section() has granted.';

-- A session of the administrator's is exempt, but not while it runs code of the workspace's: PostgreSQL evaluates index expressions as
-- the table's owner in any session that analyzes, reindexes or clusters the table, a superuser's included. So the current role counts
-- too. The template has no workspace yet.
CREATE FUNCTION kith_guard.is_exempt() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid() AND m.until > clock_timestamp() AND m.since > pg_postmaster_start_time())
      OR EXISTS (SELECT FROM pg_roles u LEFT JOIN kith_guard.role r ON r.role = u.oid WHERE u.rolname = session_user AND (u.rolsuper OR r.part = 'admin'))
         AND (EXISTS (SELECT FROM pg_roles u LEFT JOIN kith_guard.role r ON r.role = u.oid
                       WHERE u.rolname = current_user AND (u.rolsuper OR r.part IN ('admin', 'system')))
              OR NOT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace'))
$$;
COMMENT ON FUNCTION kith_guard.is_exempt IS 'Whether the guards let the current role of this session pass.';

-- The triggers of the change log on the workspace's own tables. kith_guard.attach() creates them and refuses any others that call these functions.
CREATE VIEW kith_guard.log_trigger AS
  SELECT t.oid FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
   WHERE p.pronamespace = 'kith'::regnamespace AND p.proname IN ('capture', 'note_statement', 'note_moves') AND t.tgrelid NOT IN (SELECT b.relid FROM kith_guard.builtin b);
GRANT SELECT ON kith_guard.log_trigger TO PUBLIC;

CREATE FUNCTION kith_guard.creates_log_triggers(tag text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tag = 'CREATE TRIGGER' AND NOT EXISTS (
    SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.classid <> 'pg_trigger'::regclass OR c.objid NOT IN (SELECT l.oid FROM kith_guard.log_trigger l))
$$;
COMMENT ON FUNCTION kith_guard.creates_log_triggers IS 'Whether all that a command has created is triggers of the change log. For event triggers at the end of a command.';

-- Each object that one command drops takes a lock in a table that the whole cluster shares. Columns make the catalog that REST reads.
CREATE VIEW kith_guard.usage AS
  SELECT 'tables, indexes, views and sequences' AS what, 2000 AS most,
         (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'i', 'v', 'm', 'S', 'c', 'p', 'I')) AS used
  UNION ALL
  SELECT 'columns', 20000, (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped)
  UNION ALL  -- As JSON, in which a control character takes six bytes.
  SELECT 'bytes in names of columns and of their types', 3000000,
         (SELECT coalesce(sum(octet_length(to_jsonb(a.attname::text)::text) + octet_length(to_jsonb(y.typname::text)::text)), 0)
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid WHERE a.attrelid >= 16384 AND a.attnum > 0)
  UNION ALL
  SELECT 'constraints', 5000, (SELECT count(*) FROM pg_catalog.pg_constraint k WHERE k.oid >= 16384 AND k.contype <> 'n')
  UNION ALL
  SELECT 'column defaults', 10000, (SELECT count(*) FROM pg_catalog.pg_attrdef d WHERE d.oid >= 16384)
  UNION ALL
  SELECT 'types', 1000, (SELECT count(*) FROM pg_catalog.pg_type y WHERE y.oid >= 16384 AND y.typtype IN ('d', 'e', 'r', 'm'))
  UNION ALL
  SELECT 'values of enums', 10000, (SELECT count(*) FROM pg_catalog.pg_enum e WHERE e.oid >= 16384)
  UNION ALL
  SELECT 'schemas', 100, (SELECT count(*) FROM pg_catalog.pg_namespace n JOIN kith_guard.role r ON r.role = n.nspowner WHERE r.part = 'workspace')
  UNION ALL
  SELECT 'functions', 2000, (SELECT count(*) FROM pg_catalog.pg_proc p JOIN kith_guard.role r ON r.role = p.proowner WHERE p.oid >= 16384 AND r.part = 'workspace')
  UNION ALL
  SELECT 'triggers', 1000, (SELECT count(*) FROM pg_catalog.pg_trigger t
                              WHERE t.oid >= 16384 AND NOT t.tgisinternal AND t.oid NOT IN (SELECT l.oid FROM kith_guard.log_trigger l))
  UNION ALL
  SELECT 'operators, rules, policies, collations, statistics and text search objects', 1000,
         (SELECT count(*) FROM pg_catalog.pg_operator o WHERE o.oid >= 16384)
       + (SELECT count(*) FROM pg_catalog.pg_rewrite w WHERE w.oid >= 16384 AND w.ev_type <> '1')
       + (SELECT count(*) FROM pg_catalog.pg_policy) + (SELECT count(*) FROM pg_catalog.pg_collation c WHERE c.oid >= 16384)
       + (SELECT count(*) FROM pg_catalog.pg_statistic_ext) + (SELECT count(*) FROM pg_catalog.pg_ts_config c WHERE c.oid >= 16384)
       + (SELECT count(*) FROM pg_catalog.pg_ts_dict c WHERE c.oid >= 16384);
COMMENT ON VIEW kith_guard.usage IS 'How many objects of each kind this database has, and how many it may have.';
GRANT SELECT ON kith_guard.usage TO PUBLIC;

-- PostgreSQL's own function. 0012_direct_sessions.sql puts another in its place.
CREATE FUNCTION kith_guard.pg_advisory_xact_lock_int8(bigint) RETURNS void LANGUAGE internal STRICT AS 'pg_advisory_xact_lock_int8';

-- SECURITY DEFINER, because advisory locks are revoked. A check that counts objects, or that looks for the other half of what it
-- refuses, has to see what other transactions create.
CREATE FUNCTION kith_guard.take_turn() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT kith_guard.pg_advisory_xact_lock_int8(7236455903)
$$;
COMMENT ON FUNCTION kith_guard.take_turn IS 'Waits until no other transaction of this database has taken its turn and is still open.';

-- SECURITY DEFINER, because pg_shdepend is about the whole cluster. It takes no argument and returns yes or no.
CREATE FUNCTION kith_guard.has_strangers() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_shdepend d
                  WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
                    AND d.refclassid = 'pg_authid'::regclass AND d.refobjid NOT IN (SELECT r.role FROM kith_guard.role r))
$$;
COMMENT ON FUNCTION kith_guard.has_strangers IS 'Whether a role of another workspace owns something here or has a right to it.';

-- People connect as roles of their own, which are members of the workspace's role or of the viewers'. The API's sessions are not.
CREATE FUNCTION kith_guard.is_direct(part text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_roles u JOIN pg_auth_members m ON m.member = u.oid JOIN kith_guard.role r ON r.role = m.roleid
                  WHERE u.rolname = session_user AND r.part = is_direct.part)
$$;
COMMENT ON FUNCTION kith_guard.is_direct IS 'Whether a person''s role has opened this session: a member''s (workspace) or a viewer''s (viewer).';

-- A member creates a schema as the role that they logged in as, which may create schemas and own nothing. So the workspace's role, which
-- the API uses, needs no CREATE on the database: it would be the right to create extensions, too.
CREATE FUNCTION kith_guard.take_over_schemas() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  made record;
  workspace name := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'workspace');
  viewer name := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'viewer');
  names name[];
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag <> 'CREATE SCHEMA') THEN
    RAISE EXCEPTION 'CREATE SCHEMA creates nothing but the schema' USING ERRCODE = '42501', HINT = 'Create its tables with statements of their own.';
  END IF;
  SELECT array_agg(n.nspname) INTO names FROM pg_event_trigger_ddl_commands() c JOIN pg_namespace n ON n.oid = c.objid;
  FOR made IN SELECT n.nspname, n.nspowner FROM pg_namespace n WHERE n.nspname = ANY (names) LOOP
    IF made.nspname LIKE 'kith%' THEN
      RAISE EXCEPTION 'names of schemas that begin with kith are reserved' USING ERRCODE = '42501';
    END IF;
    IF pg_get_userbyid(made.nspowner) <> workspace THEN
      EXECUTE format('ALTER SCHEMA %I OWNER TO %I', made.nspname, workspace);
    END IF;
  END LOOP;
  PERFORM set_config('role', workspace, true);
  FOR made IN SELECT x.nspname FROM unnest(names) x (nspname) LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', made.nspname, viewer);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith_guard.take_over_schemas IS 'Gives the schemas of a CREATE SCHEMA to the workspace, and returns to its role.';

CREATE VIEW kith_guard.placed AS
  SELECT 'pg_catalog.pg_class'::regclass AS classid, c.oid AS objid, c.relnamespace AS namespace FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND c.relkind <> 't'
  UNION ALL SELECT 'pg_catalog.pg_type'::regclass, y.oid, y.typnamespace FROM pg_catalog.pg_type y WHERE y.oid >= 16384
  UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, p.oid, p.pronamespace FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
  UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, o.oid, o.oprnamespace FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
  UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, c.oid, c.collnamespace FROM pg_catalog.pg_collation c WHERE c.oid >= 16384
  UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid, c.relnamespace FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE d.oid >= 16384;
COMMENT ON VIEW kith_guard.placed IS 'The schemas of objects through which dropping one drops columns.';
GRANT SELECT ON kith_guard.placed TO PUBLIC;

-- Part of an upgrade: an older version may have had a hole. No workspace can create a cast or give rights to another's role, so those
-- that exist came through one. Casts of extensions and of range types are kept.
CREATE FUNCTION kith_guard.mend_rights() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  x record;
BEGIN
  FOR x IN SELECT format_type(c.castsource, NULL) AS source, format_type(c.casttarget, NULL) AS target FROM pg_cast c
            WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
  LOOP
    EXECUTE format('DROP CAST (%s AS %s) CASCADE', x.source, x.target);
    RAISE WARNING 'dropped the cast from % to %', x.source, x.target;
  END LOOP;
  FOR x IN SELECT d.classid, d.objid, pg_get_userbyid(d.refobjid) AS stranger FROM pg_shdepend d
            WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
              AND d.refclassid = 'pg_authid'::regclass AND d.refobjid NOT IN (SELECT r.role FROM kith_guard.role r)
  LOOP
    CASE x.classid
      WHEN 'pg_class'::regclass THEN EXECUTE format('REVOKE ALL ON %s FROM %I', x.objid::regclass, x.stranger);
      WHEN 'pg_proc'::regclass THEN EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', x.objid::regprocedure, x.stranger);
      WHEN 'pg_namespace'::regclass THEN
        EXECUTE (SELECT format('REVOKE ALL ON SCHEMA %I FROM %I', n.nspname, x.stranger) FROM pg_namespace n WHERE n.oid = x.objid);
      WHEN 'pg_type'::regclass THEN EXECUTE format('REVOKE ALL ON TYPE %s FROM %I', format_type(x.objid, NULL), x.stranger);
      WHEN 'pg_policy'::regclass THEN
        EXECUTE (SELECT format('DROP POLICY IF EXISTS %I ON %s', p.polname, p.polrelid::regclass) FROM pg_policy p WHERE p.oid = x.objid);
      WHEN 'pg_default_acl'::regclass THEN
        EXECUTE (SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM %I', pg_get_userbyid(d.defaclrole),
                               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' ELSE 'TYPES' END, x.stranger)
                   FROM pg_default_acl d WHERE d.oid = x.objid);
      ELSE RAISE WARNING 'role % has a right to % of %', x.stranger, x.objid, x.classid::regclass;
    END CASE;
    RAISE WARNING 'took a right from role %', x.stranger;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith_guard.mend_rights IS 'Drops casts and takes back rights that a workspace cannot have.';

CREATE FUNCTION kith_guard.before_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE full_kind record;
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;
  -- record_activity() would run a tenant's function that a cast to json calls. DROP OWNED would revoke the role's own rights.
  IF TG_TAG IN ('CREATE CAST', 'DROP CAST', 'DROP OWNED', 'REASSIGN OWNED', 'CREATE LANGUAGE', 'ALTER LANGUAGE', 'DROP LANGUAGE',
                'CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION',
                'CREATE FOREIGN DATA WRAPPER', 'CREATE SERVER', 'CREATE USER MAPPING', 'CREATE FOREIGN TABLE', 'IMPORT FOREIGN SCHEMA',
                'CREATE TRANSFORM', 'CREATE ACCESS METHOD', 'CREATE OPERATOR CLASS', 'CREATE OPERATOR FAMILY', 'CREATE CONVERSION',
                'ALTER EXTENSION', 'DROP EXTENSION', 'SECURITY LABEL') THEN
    RAISE EXCEPTION '% is not available in a workspace', TG_TAG USING ERRCODE = '42501';
  END IF;
  IF TG_TAG IN ('CREATE SCHEMA', 'ALTER SCHEMA', 'DROP SCHEMA') AND NOT kith_guard.is_direct('workspace') THEN
    RAISE EXCEPTION '% is available on a direct connection only', TG_TAG USING ERRCODE = '42501',
      HINT = 'REST serves the tables of one schema, public.';
  END IF;
  -- take_over_schemas() does this as the role that created the schema; only an owner can do it, and that role owns no other schema.
  IF TG_TAG = 'ALTER SCHEMA' AND current_user = session_user THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace' AND pg_get_userbyid(r.role) = current_user) THEN
    RAISE EXCEPTION '% is for the workspace''s own role', TG_TAG USING ERRCODE = '42501',
      HINT = (SELECT format('On a direct connection: SET ROLE %I. Viewers are read-only.', pg_get_userbyid(r.role)) FROM kith_guard.role r WHERE r.part = 'workspace');
  END IF;
  -- With an older snapshot after_ddl() would not see what others have created.
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') AND TG_TAG NOT IN ('COMMENT', 'REFRESH MATERIALIZED VIEW') THEN
    RAISE EXCEPTION '% is available in READ COMMITTED transactions only', TG_TAG USING ERRCODE = '42501';
  END IF;
  IF TG_TAG = 'CREATE SCHEMA' THEN
    PERFORM set_config('role', 'none', true);
    RETURN;
  END IF;

  -- CONCURRENTLY commits in phases. What after_ddl() would refuse has to be refused before the first one. Only the text of the command
  -- says what it is about; it is the whole command, since CONCURRENTLY does not work within a transaction or a function.
  IF current_query() ~* '\mconcurrently\M' THEN
    IF TG_TAG = 'DROP INDEX' AND (current_query() ~* 'u&"' OR EXISTS (
         SELECT FROM kith_guard.fact f WHERE f.kind = 'index' AND position(f.name::text IN lower(current_query())) > 0)) THEN
      RAISE EXCEPTION 'built-in indexes cannot be dropped' USING ERRCODE = '42501',
        HINT = 'To drop an index of your own whose name contains the name of a built-in one, leave CONCURRENTLY out.';
    END IF;
    IF TG_TAG IN ('CREATE INDEX', 'REINDEX') THEN
      SELECT u.most, u.what INTO full_kind FROM kith_guard.usage u WHERE u.used >= u.most LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION 'a workspace holds at most % %', full_kind.most, full_kind.what USING ERRCODE = '53400';
      END IF;
    END IF;
  END IF;
END $$;

CREATE FUNCTION kith_guard.after_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET quote_all_identifiers = off AS $$
DECLARE broken record; viewer oid; full_kind record; kinds text[]; counted text[];
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;
  -- They concern neither built-in tables nor limits, and every table has some.
  IF kith_guard.creates_log_triggers(TG_TAG) THEN RETURN; END IF;

  IF TG_TAG = 'CREATE SCHEMA' THEN
    PERFORM kith_guard.take_over_schemas();
  END IF;
  -- The workspace's role may create temporary objects, because PostgreSQL asks for the current role's right. The first one creates the
  -- session's schema for them, and its end by this error removes it again.
  IF pg_my_temp_schema() <> 0 AND NOT kith_guard.is_direct('workspace') THEN
    RAISE EXCEPTION 'temporary objects are available on a direct connection only' USING ERRCODE = '42501';
  END IF;
  -- The end of the session drops them with all that depends on them, columns of other tables included, and no event trigger sees it.
  IF pg_my_temp_schema() <> 0 AND (TG_TAG LIKE 'CREATE %' OR TG_TAG LIKE 'ALTER %' OR TG_TAG = 'SELECT INTO') AND EXISTS (
       SELECT FROM pg_depend d JOIN kith_guard.placed r ON r.classid = d.refclassid AND r.objid = d.refobjid
         JOIN kith_guard.placed o ON o.classid = d.classid AND o.objid = d.objid
        WHERE r.namespace = pg_my_temp_schema() AND o.namespace <> pg_my_temp_schema()) THEN
    RAISE EXCEPTION 'an object that stays cannot depend on a temporary one' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG NOT IN ('COMMENT', 'CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE OPERATOR', 'CREATE VIEW', 'CREATE SEQUENCE',
                    'CREATE INDEX', 'CREATE TYPE', 'CREATE DOMAIN', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW',
                    'REFRESH MATERIALIZED VIEW', 'GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES', 'CREATE STATISTICS', 'CREATE POLICY') THEN
    -- A new table can only inherit from a built-in one. A new trigger can only take the place of one of its own table.
    kinds := CASE TG_TAG WHEN 'CREATE TABLE' THEN ARRAY['table'] WHEN 'CREATE TRIGGER' THEN ARRAY['trigger'] END;
    SELECT b.name AS relation, f.kind, f.name INTO broken
      FROM kith_guard.fact f JOIN kith_guard.builtin b USING (relid)
      LEFT JOIN kith_guard.observed o ON o.relid = f.relid AND o.kind = f.kind AND o.name = f.name AND (kinds IS NULL OR o.kind = ANY (kinds))
     WHERE o.value IS DISTINCT FROM f.value AND (kinds IS NULL OR f.kind = ANY (kinds))
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

  -- The triggers of the change log come first: what other triggers of a row change is in the log after it.
  IF TG_TAG IN ('CREATE TRIGGER', 'ALTER TRIGGER') AND EXISTS (
       SELECT FROM pg_trigger t
        WHERE NOT t.tgisinternal AND (t.tgname < '!l' OR t.tgname LIKE 'kith\_%' AND t.tgrelid IN (SELECT b.relid FROM kith_guard.builtin b))
          AND NOT EXISTS (SELECT FROM kith_guard.fact f WHERE f.relid = t.tgrelid AND f.kind = 'trigger' AND f.name = t.tgname)
          AND t.oid NOT IN (SELECT l.oid FROM kith_guard.log_trigger l)) THEN
    RAISE EXCEPTION 'trigger names that begin with kith_ are reserved on built-in tables, and names up to !kith on all tables' USING ERRCODE = '42501';
  END IF;

  -- The workspace has no EXECUTE on these functions, but for the moment in which another of its sessions runs a migration.
  IF TG_TAG = 'CREATE TRIGGER' AND EXISTS (
       SELECT FROM pg_trigger t JOIN kith_guard.section_function s ON s.f = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace <> 'kith'::regnamespace AND NOT EXISTS (SELECT FROM kith_guard.fact f WHERE f.relid = t.tgrelid AND f.kind = 'trigger' AND f.name = t.tgname)) THEN
    RAISE EXCEPTION 'this function is for the triggers of built-in tables' USING ERRCODE = '42501', HINT = 'Use record_activity().';
  END IF;

  IF TG_TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE')
     AND (SELECT count(*) FROM pg_proc p WHERE p.proname = 'record_activity') > 1 THEN
    RAISE EXCEPTION 'the name record_activity is taken' USING ERRCODE = '42501';
  END IF;

  -- For an installed extension CREATE EXTENSION IF NOT EXISTS creates nothing and gives a notice.
  IF TG_TAG = 'CREATE EXTENSION' AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'CREATE EXTENSION') THEN
    RAISE EXCEPTION 'this extension is not available in a workspace' USING ERRCODE = '42501',
      HINT = 'Installed: citext, pg_trgm, vector, pgcrypto. gen_random_uuid() needs none.';
  END IF;

  -- A role that has a right in any database cannot be dropped: another workspace could not be deleted.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES', 'CREATE POLICY', 'ALTER POLICY') AND kith_guard.has_strangers() THEN
    RAISE EXCEPTION 'rights can be given to this workspace''s members and viewers only' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG IN ('ALTER INDEX', 'ALTER TRIGGER') AND EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x') THEN
    RAISE EXCEPTION 'DEPENDS ON EXTENSION is not available in a workspace' USING ERRCODE = '42501';
  END IF;

  -- Viewers are read-only on a direct connection too: they and PUBLIC get only SELECT, and no SECURITY DEFINER function.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES') THEN
    SELECT r.role INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
    IF EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x WHERE c.relacl IS NOT NULL AND c.oid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.oid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'USAGE')
       OR EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) x WHERE d.defaclobjtype IN ('r', 'S') AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) x WHERE d.defaclobjtype = 'n' AND x.grantee IN (0, viewer) AND x.privilege_type <> 'USAGE') THEN
      RAISE EXCEPTION 'PUBLIC and viewers can be granted no more than SELECT, and USAGE of schemas' USING ERRCODE = '42501',
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

  -- The other half may be in a transaction that has not ended.
  IF TG_TAG IN ('CREATE AGGREGATE', 'CREATE OPERATOR', 'ALTER OPERATOR', 'CREATE TYPE')
     OR TG_TAG IN ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE')
        AND EXISTS (SELECT FROM pg_proc p WHERE p.prosecdef AND p.oid >= 16384 AND pg_get_userbyid(p.proowner) = current_user) THEN
    PERFORM kith_guard.take_turn();
  END IF;
  -- PostgreSQL calls these functions without asking whether the caller has EXECUTE: an aggregate's with its owner's rights, a range's
  -- subtype_diff and an operator's (also that of its commutator or negator) in the planner.
  IF TG_TAG IN ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE', 'CREATE OPERATOR', 'ALTER OPERATOR', 'CREATE TYPE') AND EXISTS (
       SELECT FROM pg_proc p
        WHERE p.prosecdef AND p.oid >= 16384
          AND (EXISTS (SELECT FROM pg_aggregate a WHERE p.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                                                  a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
               OR EXISTS (SELECT FROM pg_range r WHERE p.oid IN (r.rngsubdiff, r.rngcanonical))
               OR EXISTS (SELECT FROM pg_operator o WHERE p.oid IN (o.oprcode, o.oprrest, o.oprjoin)))) THEN
    RAISE EXCEPTION 'a SECURITY DEFINER function cannot serve an aggregate, an operator or a range' USING ERRCODE = '42501';
  END IF;

  -- Below an eighth of each limit transactions do not wait for each other: there are too few sessions to go far beyond it together.
  IF TG_TAG LIKE 'CREATE %' OR TG_TAG LIKE 'ALTER %' OR TG_TAG = 'SELECT INTO' THEN
    -- Only these can have become more.
    counted := CASE TG_TAG WHEN 'CREATE TRIGGER' THEN ARRAY['triggers', 'constraints'] WHEN 'CREATE FUNCTION' THEN ARRAY['functions']
                             WHEN 'CREATE PROCEDURE' THEN ARRAY['functions'] END;
    IF EXISTS (SELECT FROM kith_guard.usage u WHERE (counted IS NULL OR u.what = ANY (counted)) AND u.used > u.most / 8) THEN
      PERFORM kith_guard.take_turn();
      SELECT u.most, u.what INTO full_kind FROM kith_guard.usage u WHERE (counted IS NULL OR u.what = ANY (counted)) AND u.used > u.most LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION 'a workspace holds at most % %', full_kind.most, full_kind.what USING ERRCODE = '53400';
      END IF;
    END IF;
  END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kith_guard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith_guard.is_exempt(), kith_guard.is_direct(text), kith_guard.has_strangers(), kith_guard.creates_log_triggers(text), kith_guard.take_turn(),
  kith_guard.take_over_schemas() TO PUBLIC;
CREATE EVENT TRIGGER kith_before_ddl ON ddl_command_start EXECUTE FUNCTION kith_guard.before_ddl();
CREATE EVENT TRIGGER kith_after_ddl ON ddl_command_end EXECUTE FUNCTION kith_guard.after_ddl();
ALTER EVENT TRIGGER kith_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER kith_after_ddl ENABLE ALWAYS;
