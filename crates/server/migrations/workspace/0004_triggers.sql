-- The triggers that built-in tables share, and the function that creates them. README.md describes roles, sections and rules.

-- section: system

CREATE FUNCTION kith.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.updated_at := OLD.updated_at;
  IF NEW *<> OLD THEN
    -- Two updates in one transaction have different times.
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.touch IS 'Sets updated_at if another column changed.';

CREATE FUNCTION kith.no_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE is not allowed on built-in table "%"', TG_TABLE_NAME
    USING ERRCODE = '42501', HINT = format('DELETE FROM %I removes the rows, and the activity feed shows it.', TG_TABLE_NAME);
END $$;
COMMENT ON FUNCTION kith.no_truncate IS 'Refuses TRUNCATE, which the feed would not see.';

-- References. A foreign key accepts a row that is soft-deleted; these functions refuse it. Each reads one column of the row, so
-- each column that refers to a table with deleted_at has a function of its own, named after the column. make_builtin() finds it.
-- A row that is inserted with its own, earlier time of creation comes from a backup or from another system. What it refers to may have been
-- deleted since, and refusing it would lose the row, and with COPY the whole table. The same holds for a reference that undo puts back.
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM (VALUES ('company_id', 'companies', 'company', 'created_at'), ('contact_id', 'contacts', 'contact', 'created_at'),
                                 ('deal_id', 'deals', 'deal', 'created_at'), ('list_id', 'lists', 'list', 'added_at')) x(field, referenced, noun, made_at) LOOP
    EXECUTE pg_catalog.format($f$
      CREATE FUNCTION kith.%1$I() RETURNS trigger
      LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
      BEGIN
        IF NEW.%3$I IS NULL OR TG_OP = 'UPDATE' AND NEW.%3$I IS NOT DISTINCT FROM OLD.%3$I THEN
          RETURN NULL;
        END IF;
        PERFORM FROM public.%2$I r WHERE r.id = NEW.%3$I AND r.deleted_at IS NOT NULL;
        IF FOUND AND (TG_OP = 'UPDATE' OR NEW.%6$I >= now()) AND NOT (pg_trigger_depth() = 1 AND kith.is_undo()) THEN
          RAISE EXCEPTION '%% "%%" is deleted', %4$L, NEW.%3$I
            USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = %3$L, CONSTRAINT = TG_TABLE_NAME || %5$L,
                  HINT = 'Restore it first, or refer to another.';
        END IF;
        RETURN NULL;
      END $body$ $f$, 'check_' || r.field, r.referenced, r.field, r.noun, '_' || r.field || '_fkey', r.made_at);
    EXECUTE pg_catalog.format('COMMENT ON FUNCTION kith.%I IS %L', 'check_' || r.field, format('Refuses a %s that is soft-deleted.', r.noun));
  END LOOP;
END $$;

-- Custom fields.

CREATE FUNCTION kith.is_date(value text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  RETURN CASE WHEN value ~ '^\d{4}-\d\d-\d\d$' THEN pg_input_is_valid(value, 'date')
              WHEN value ~* '^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$' THEN pg_input_is_valid(value, 'timestamptz')
              ELSE false END;
END $$;
COMMENT ON FUNCTION kith.is_date IS 'Whether a text is a date, YYYY-MM-DD or RFC 3339.';

-- An update checks only the keys whose values it changes: a value that an older definition allowed stays.
CREATE FUNCTION kith.check_custom() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE field record; value jsonb; fault text;
BEGIN
  -- Most workspaces define no fields, and this query costs less than opening a loop.
  PERFORM FROM public.custom_fields f WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  FOR field IN SELECT f.key, f.type, f.options, f.required FROM public.custom_fields f
                WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL ORDER BY f.created_at, f.id
  LOOP
    value := NEW.custom -> field.key;
    CONTINUE WHEN TG_OP = 'UPDATE' AND value IS NOT DISTINCT FROM OLD.custom -> field.key;
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
COMMENT ON FUNCTION kith.check_custom IS 'Checks custom against the definitions in custom_fields.';

-- Associations and members of lists.

-- The argument is the column that names a row; for built-in tables it is id. The function has no rights of its own: the role that
-- deletes the record could delete the associations and the members too.
CREATE FUNCTION kith.unlink() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  subject constant text := coalesce((SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = TG_RELID), TG_TABLE_NAME);
  key constant text := to_jsonb(OLD) ->> coalesce(TG_ARGV[0], 'id');
BEGIN
  DELETE FROM public.associations a WHERE a.from_type = subject AND a.from_id = key;
  DELETE FROM public.associations a WHERE a.to_type = subject AND a.to_id = key;
  DELETE FROM public.list_members m USING public.lists l WHERE m.member_id = key AND l.id = m.list_id AND l.target_table = TG_TABLE_NAME;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.unlink IS 'Deletes the associations and the list memberships of a record that is deleted for good.';

-- The triggers of a built-in table.

-- Triggers fire in the order of their names: !kith_record before those of the workspace. Those that keep the feed complete are ALWAYS
-- triggers, which session_replication_role does not turn off.
CREATE FUNCTION kith.make_builtin(relation regclass, subject text, labels text[], VARIADIC features text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reference name;
  remark record;
  viewer name;
  part text;
  -- As log_change() takes them: '', first_name, ' ', last_name, ''. A label with one column has two empty texts at the end.
  templates constant text[] := ARRAY(SELECT coalesce((string_to_array(translate(l.label, '{', '}'), '}'))[n], '')
                                       FROM unnest(labels) WITH ORDINALITY l(label, place), generate_series(1, 5) n ORDER BY l.place, n);
BEGIN
  IF NOT features <@ ARRAY['custom_fields', 'associations'] THEN
    RAISE EXCEPTION 'a built-in table has the features custom_fields and associations, not %', features;
  END IF;
  IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'updated_at') THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_touch BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION kith.touch()', relation);
  END IF;
  FOR reference IN
    SELECT a.attname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
     WHERE k.conrelid = relation AND k.contype = 'f' AND cardinality(k.conkey) = 1
       AND to_regproc('kith.' || quote_ident('check_' || a.attname)) IS NOT NULL
  LOOP
    -- Without WHEN (NEW.… IS NOT NULL): the column would then have a dependent, and DROP COLUMN would suggest CASCADE instead of being
    -- refused by the guards.
    EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION kith.%I()',
      'kith_' || reference, relation, 'check_' || reference);
  END LOOP;
  IF 'custom_fields' = ANY (features) THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_custom_insert AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION kith.check_custom(%L)', relation, subject);
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_custom_update AFTER UPDATE ON %s FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom(%L)',
      relation, subject);
  END IF;
  IF 'associations' = ANY (features) THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION kith.unlink()', relation);
  END IF;
  FOREACH part IN ARRAY ARRAY['"!kith_record" AFTER INSERT ON %s REFERENCING NEW TABLE AS kith_new', '"!kith_record_update" AFTER UPDATE ON %s REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new',
                              '"!kith_record_delete" AFTER DELETE ON %s REFERENCING OLD TABLE AS kith_old'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER ' || part || ' FOR EACH ROW EXECUTE FUNCTION kith.record_change(%s)',
      relation, (SELECT string_agg(quote_literal(x.argument), ', ' ORDER BY x.place) FROM unnest(array_prepend(subject, templates)) WITH ORDINALITY x(argument, place)));
  END LOOP;
  EXECUTE format('CREATE OR REPLACE TRIGGER kith_no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate()', relation);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!kith_record", ENABLE ALWAYS TRIGGER "!kith_record_update", ENABLE ALWAYS TRIGGER "!kith_record_delete", ENABLE ALWAYS TRIGGER kith_no_truncate', relation);
  FOR remark IN
    SELECT a.attname, replace(x.words, '%', coalesce((SELECT substring(pg_get_expr(d.adbin, d.adrelid) FROM '''([a-z]+)''') FROM pg_attrdef d
                                              WHERE d.adrelid = relation AND d.adnum = a.attnum), '')) AS words
      FROM pg_attribute a
      JOIN (VALUES ('id', '%_ and 26 characters that sort by time; generated.'),
                   ('custom', CASE WHEN 'custom_fields' = ANY (features) THEN 'Free-form fields; keys that custom_fields defines are validated.' ELSE 'Free-form fields.' END),
                   ('created_at', 'When the row was created.'),
                   ('updated_at', 'When the row was last changed.'),
                   ('deleted_at', 'When the row was soft-deleted; null while it is live.')) x(field, words) ON a.attname = x.field
     WHERE a.attrelid = relation
  LOOP
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, remark.attname, remark.words);
  END LOOP;
  -- In the template there is no viewer yet; adopt.sql grants it all tables.
  SELECT pg_get_userbyid(r.role) INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
  IF FOUND THEN
    EXECUTE format('GRANT SELECT ON %s TO %I', relation, viewer);
  END IF;
END $$;
COMMENT ON FUNCTION kith.make_builtin IS 'Creates the triggers of a built-in table: the subject of its entries in the feed, templates that describe a row, and the features that it has.';

-- What an upgrade mends in workspaces of an older version, which may have had a hole. It is part of a workspace section.
CREATE FUNCTION kith.mend_builtins() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  x record;
BEGIN
  FOR x IN SELECT c.oid::regclass AS relation FROM pg_class c JOIN kith_guard.builtin b ON b.relid = c.oid WHERE c.relrowsecurity OR c.relforcerowsecurity LOOP
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', x.relation);
  END LOOP;
  FOR x IN SELECT r.rulename, r.ev_class::regclass AS relation FROM pg_rewrite r JOIN kith_guard.builtin b ON b.relid = r.ev_class LOOP
    EXECUTE format('DROP RULE %I ON %s', x.rulename, x.relation);
  END LOOP;
  FOR x IN SELECT i.inhrelid::regclass AS child, i.inhparent::regclass AS parent FROM pg_inherits i
            WHERE i.inhparent IN (SELECT b.relid FROM kith_guard.builtin b) OR i.inhrelid IN (SELECT b.relid FROM kith_guard.builtin b) LOOP
    EXECUTE format('ALTER TABLE %s NO INHERIT %s', x.child, x.parent);
  END LOOP;
  FOR x IN SELECT t.tgname, t.tgrelid::regclass AS relation, CASE WHEN a.is_always THEN 'ALWAYS ' ELSE '' END AS always
             FROM pg_trigger t JOIN kith_guard.builtin b ON b.relid = t.tgrelid
            CROSS JOIN LATERAL (SELECT t.tgname LIKE '!kith\_%' OR t.tgname = 'kith_no_truncate' AS is_always) a
            WHERE t.tgname ~ '^!?kith_' AND t.tgenabled <> CASE WHEN a.is_always THEN 'A' ELSE 'O' END LOOP
    EXECUTE format('ALTER TABLE %s ENABLE %sTRIGGER %I', x.relation, x.always, x.tgname);
  END LOOP;
  -- The expressions of built-in indexes call no function of the workspace's.
  FOR x IN SELECT i.indexrelid::regclass AS index FROM pg_index i JOIN kith_guard.fact f ON f.relid = i.indrelid AND f.kind = 'index'
             JOIN pg_class c ON c.oid = i.indexrelid AND c.relname = f.name
            WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) LOOP
    EXECUTE format('REINDEX INDEX %s', x.index);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.mend_builtins IS 'Turns triggers of built-in tables on, rebuilds their indexes, and removes row security, rules and inheritance.';

-- While a unique index was invalid, duplicates may have been created. This is not part of a workspace section: it writes rows, which runs
-- the workspace's triggers.
CREATE FUNCTION kith.hide_duplicates() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  x record;
  hidden bigint := 0;
  n bigint;
BEGIN
  FOR x IN
    SELECT i.indrelid::regclass AS relation, pg_get_expr(i.indpred, i.indrelid) AS predicate, i.indnullsnotdistinct AS nulls_are_equal,
           (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, false), ', ' ORDER BY k) FROM generate_series(1, i.indnkeyatts) k) AS keys
      FROM pg_index i JOIN kith_guard.fact f ON f.relid = i.indrelid AND f.kind = 'index' JOIN pg_class c ON c.oid = i.indexrelid AND c.relname = f.name
     WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND pg_get_expr(i.indpred, i.indrelid) LIKE '%deleted_at IS NULL%'
  LOOP
    EXECUTE format('UPDATE %1$s SET deleted_at = now() WHERE id IN (
                      SELECT y.id FROM (SELECT t.id, row_number() OVER (PARTITION BY %2$s ORDER BY t.created_at, t.id) AS nth FROM %1$s t WHERE %3$s AND (%4$L OR ROW(%2$s) IS NOT NULL)) y
                       WHERE y.nth > 1)', x.relation, x.keys, x.predicate, x.nulls_are_equal);
    GET DIAGNOSTICS n = ROW_COUNT;
    hidden := hidden + n;
  END LOOP;
  RETURN hidden;
END $$;
COMMENT ON FUNCTION kith.hide_duplicates IS 'Soft-deletes all but the oldest of the records that have the same key of an invalid unique index.';

-- unlink() works on tables of the workspace's own too, see kith.link(). All other trigger functions are for built-in tables: with
-- EXECUTE on them the workspace could use them for its own.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kith FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.new_id(text), kith.begin_request(text, text, text, text), kith.record_conflict(text, text, text, text, jsonb),
  kith.current_actor(), kith.is_undo(), kith.touch(), kith.is_date(text), kith.unlink(), kith.hide_duplicates() TO PUBLIC;
