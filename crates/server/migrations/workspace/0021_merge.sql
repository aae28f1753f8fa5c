-- Merges: several records become one. README.md describes roles, sections and rules.

-- section: admin

-- Two merges may rewrite the same rows in another order. One lock for all of them takes no room in the lock table of the cluster.
CREATE OR REPLACE FUNCTION kith_guard.take_record_turn() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT kith_guard.pg_advisory_xact_lock_int8(7236455904)
$$;
COMMENT ON FUNCTION kith_guard.take_record_turn IS 'Waits until no other transaction of this database merges records, or looks for one before it creates it.';
REVOKE ALL ON FUNCTION kith_guard.take_record_turn() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith_guard.take_record_turn() TO PUBLIC;

-- section: system

CREATE OR REPLACE FUNCTION kith.is_blank_value(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN coalesce(value IN ('null', '""', '[]', '{}'), true);
COMMENT ON FUNCTION kith.is_blank_value IS 'Whether a column or a key has no value.';

CREATE OR REPLACE FUNCTION kith.references_to(target regclass) RETURNS TABLE (rule name, child regclass, columns name[], referred name[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.conname, k.conrelid::regclass,
         ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(number, at) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.at),
         ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(number, at) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.at)
    FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = target AND k.conparentid = 0 ORDER BY k.conrelid, k.conname
$$;
COMMENT ON FUNCTION kith.references_to IS 'The foreign keys that refer to a table, in a fixed order.';

-- The rows "t" that refer to a row by a foreign key. Null if the row has no value to refer to.
CREATE OR REPLACE FUNCTION kith.refers(columns name[], referred name[], image jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN bool_or(image ->> r.name IS NULL) THEN NULL ELSE '(' || string_agg(format('t.%I = %L', c.name, image ->> r.name), ' AND ') || ')' END
    FROM unnest(columns) WITH ORDINALITY c(name, at) JOIN unnest(referred) WITH ORDINALITY r(name, at) USING (at)
$$;
COMMENT ON FUNCTION kith.refers IS 'The condition on a row that refers to another one.';

CREATE OR REPLACE FUNCTION kith.refuse_referred(target regclass, image jsonb, except_for text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE reference record; condition text; is_referred boolean;
BEGIN
  FOR reference IN SELECT * FROM kith.references_to(target) LOOP
    condition := kith.refers(reference.columns, reference.referred, image);
    CONTINUE WHEN condition IS NULL;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE %s%s)', reference.child, condition, CASE WHEN reference.child = target THEN except_for ELSE '' END) INTO is_referred;
    IF is_referred THEN
      RAISE EXCEPTION 'rows of "%" still refer to a record of "%" by "%"', (SELECT c.relname FROM pg_class c WHERE c.oid = reference.child),
                      (SELECT c.relname FROM pg_class c WHERE c.oid = target), reference.rule
        USING ERRCODE = '23503', CONSTRAINT = reference.rule;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.refuse_referred IS 'Fails if rows refer to a row that is to go.';

-- Triggers of the workspace's find their tables in public.
CREATE OR REPLACE FUNCTION kith.write_merged(statement text, image jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp SET row_security = off AS $$
DECLARE touched bigint;
BEGIN
  EXECUTE statement USING image;
  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END $$;
COMMENT ON FUNCTION kith.write_merged IS 'Runs a statement of merge() and returns the number of its rows.';

-- A row that has its like already, by a unique key of several columns, only joins records: it is dropped. All rows are written together if
-- none is dropped.
CREATE OR REPLACE FUNCTION kith.repoint(child regclass, setting text, condition text, OUT moved bigint, OUT dropped bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  found_row record; failed_key text; one text;
  late_keys constant text := (SELECT string_agg(format('%I.%I', n.nspname, k.conname), ', ') FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
                                WHERE k.conrelid = child AND k.contype IN ('p', 'u', 'x') AND k.condeferrable);
BEGIN
  IF late_keys IS NOT NULL THEN
    EXECUTE 'SET CONSTRAINTS ' || late_keys || ' IMMEDIATE';
  END IF;
  dropped := 0;
  BEGIN
    moved := kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', child, setting, condition), NULL);
    RETURN;
  EXCEPTION WHEN unique_violation THEN
    moved := 0;
  END;
  FOR found_row IN EXECUTE format('SELECT t.ctid AS place, t.tableoid AS home, to_jsonb(t.*) AS image FROM %s AS t WHERE %s FOR UPDATE', child, condition) LOOP
    one := format('t.ctid = %L AND t.tableoid = %L', found_row.place, found_row.home);
    BEGIN
      moved := moved + kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', child, setting, one), NULL);
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS failed_key = CONSTRAINT_NAME;
      IF NOT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = found_row.home AND c.relname = failed_key AND x.indnkeyatts > 1) THEN
        RAISE;
      END IF;
      PERFORM kith.refuse_referred(child, found_row.image, '');
      dropped := dropped + kith.write_merged(format('DELETE FROM %s AS t WHERE %s', child, one), NULL);
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.repoint IS 'Has rows that refer to one record refer to another one, and drops those that are there already.';

-- Runs with the caller's rights. `ids` begins with the record that stays. `prefer` has the place among them of the record whose value a
-- column takes, `prefer_keys` the same for keys of JSON columns. The columns of a group in `together` take their values from one record.
-- A policy that hides rows from the caller makes it fail, because a hidden reference would be lost.
CREATE OR REPLACE FUNCTION kith.merge(relation name, key name, ids text[], columns name[], prefer jsonb, prefer_keys jsonb, together jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  home constant regclass := format('public.%I', relation)::regclass;
  subject constant text := coalesce((SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = home), relation);
  hides constant boolean := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = home AND a.attname = 'deleted_at' AND NOT a.attisdropped);
  key_type constant text := (SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = home AND a.attname = key);
  names text[]; gone text[]; images jsonb[]; usable jsonb[]; final jsonb; number integer; source integer; group_names jsonb;
  column_name name; reference record; condition text; own_row text; not_merged text; setting text; changed name[] := '{}'; released text;
  counted record; is_live boolean; moved jsonb := '{}'; dropped jsonb := '{}';
BEGIN
  PERFORM kith_guard.take_record_turn();
  number := (SELECT min(i.at) FROM unnest(ids) WITH ORDINALITY i(id, at) WHERE NOT pg_input_is_valid(i.id, key_type));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('missing', number);
  END IF;
  EXECUTE format('SELECT array_agg((i.id::%s)::text ORDER BY i.at) FROM unnest($1) WITH ORDINALITY i(id, at)', key_type) INTO names USING ids;
  number := (SELECT min(n.at) FROM unnest(names) WITH ORDINALITY n(name, at) WHERE EXISTS (SELECT FROM unnest(names) WITH ORDINALITY o(name, at) WHERE o.name = n.name AND o.at < n.at));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('twice', number);
  END IF;
  EXECUTE format('SELECT array_agg(x.image ORDER BY array_position($1, x.name)) FROM (
                    SELECT t.%I::text AS name, to_jsonb(t.*) AS image FROM %s AS t WHERE t.%I = ANY ($1::%s[])%s ORDER BY t.%I FOR UPDATE) x',
                 key, home, key, key_type, CASE WHEN hides THEN ' AND t.deleted_at IS NULL' ELSE '' END, key) INTO images USING names;
  number := (SELECT min(n.at) FROM unnest(names) WITH ORDINALITY n(name, at) WHERE NOT EXISTS (SELECT FROM unnest(images) i WHERE i ->> key = n.name));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('missing', number);
  END IF;
  gone := names[2:];
  own_row := format('t.%I = %L', key, names[1]);
  not_merged := format(' AND t.%I <> ALL (%L)', key, names);

  -- A reference to a deleted record, or to one that is merged, is no value to take over.
  usable := images;
  FOR reference IN
    SELECT (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = home AND a.attnum = k.conkey[1]) AS own, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]) AS referred,
           k.confrelid::regclass AS parent, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attname = 'deleted_at' AND NOT a.attisdropped) AS hides
      FROM pg_constraint k WHERE k.conrelid = home AND k.contype = 'f' AND k.conparentid = 0 AND cardinality(k.conkey) = 1
  LOOP
    FOR number IN 1 .. cardinality(images) LOOP
      CONTINUE WHEN images[number] ->> reference.own IS NULL;
      is_live := reference.parent <> home OR NOT EXISTS (SELECT FROM unnest(images) i WHERE i -> reference.referred = images[number] -> reference.own);
      IF is_live AND reference.hides THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE t.%I = %L AND t.deleted_at IS NULL)', reference.parent, reference.referred, images[number] ->> reference.own) INTO is_live;
      END IF;
      IF NOT is_live AND (number > 1 OR reference.parent = home) THEN
        usable[number] := usable[number] || jsonb_build_object(reference.own, NULL);
      END IF;
    END LOOP;
  END LOOP;

  -- The values of the record that stays.
  final := usable[1];
  FOREACH column_name IN ARRAY columns LOOP
    group_names := (SELECT g FROM jsonb_array_elements(together) g WHERE g ? column_name LIMIT 1);
    source := coalesce((prefer ->> column_name)::integer, (SELECT (prefer ->> m)::integer FROM jsonb_array_elements_text(group_names) m WHERE prefer ? m LIMIT 1));
    IF source IS NOT NULL THEN
      final := final || jsonb_build_object(column_name, images[source] -> column_name);
    ELSE
      source := coalesce((SELECT min(u.at) FROM unnest(usable) WITH ORDINALITY u(image, at) WHERE NOT kith.is_blank_value(u.image -> (group_names ->> 0))),
                         (SELECT min(u.at) FROM unnest(usable) WITH ORDINALITY u(image, at) WHERE NOT kith.is_blank_value(u.image -> column_name)), 1);
      final := final || jsonb_build_object(column_name, usable[source] -> column_name);
    END IF;
    IF prefer_keys ? column_name AND NOT prefer ? column_name THEN
      final := final || jsonb_build_object(column_name, (
        SELECT coalesce(jsonb_object_agg(x.key, x.value), '{}') FROM (
          SELECT DISTINCT ON (m.key) m.key, m.value
            FROM unnest(usable) WITH ORDINALITY u(image, at), jsonb_each(CASE jsonb_typeof(u.image -> column_name) WHEN 'object' THEN u.image -> column_name END) m
           WHERE u.at = coalesce((prefer_keys -> column_name ->> m.key)::integer, u.at) ORDER BY m.key, kith.is_blank_value(m.value), u.at) x));
    END IF;
    IF final -> column_name IS DISTINCT FROM images[1] -> column_name THEN
      changed := changed || column_name;
    END IF;
  END LOOP;

  -- What refers to the others refers to it.
  FOR reference IN SELECT * FROM kith.references_to(home) LOOP
    condition := (SELECT string_agg(r.condition, ' OR ') FROM unnest(images[2:]) i, kith.refers(reference.columns, reference.referred, i) r(condition)
                   WHERE EXISTS (SELECT FROM unnest(reference.referred) c WHERE i -> c::text IS DISTINCT FROM final -> c::text));
    CONTINUE WHEN condition IS NULL;
    setting := (SELECT string_agg(format('%I = %L', c.name, final ->> r.name), ', ') FROM unnest(reference.columns) WITH ORDINALITY c(name, at) JOIN unnest(reference.referred) WITH ORDINALITY r(name, at) USING (at));
    counted := kith.repoint(reference.child, setting, format('(%s)%s', condition, CASE WHEN reference.child = home THEN not_merged ELSE '' END));
    moved := kith.counted(moved, reference.child, counted.moved);
    dropped := kith.counted(dropped, reference.child, counted.dropped);
  END LOOP;
  -- References without a foreign key.
  IF home IN ('public.contacts'::regclass, 'public.companies'::regclass, 'public.deals'::regclass) THEN
    column_name := subject || '_ids';
    counted := kith.repoint('public.emails', format('%1$I = ARRAY(SELECT u.id FROM (SELECT CASE WHEN e.id = ANY (%2$L) THEN %3$L ELSE e.id END AS id, min(e.at) AS at
                                                                   FROM unnest(t.%1$I) WITH ORDINALITY e(id, at) GROUP BY 1) u ORDER BY u.at)', column_name, gone, names[1]),
                            format('t.%I && %L', column_name, gone));
    moved := kith.counted(moved, 'public.emails', counted.moved);
  END IF;
  counted := kith.repoint('public.list_members', format('member_id = %L', names[1]),
                          format('t.member_id = ANY (%L) AND EXISTS (SELECT FROM public.lists l WHERE l.id = t.list_id AND l.target_table = %L)', gone, relation));
  moved := kith.counted(moved, 'public.list_members', counted.moved);
  dropped := kith.counted(dropped, 'public.list_members', counted.dropped);
  -- An association among them joins nothing any more.
  dropped := kith.counted(dropped, 'public.associations', kith.write_merged(
    format('DELETE FROM public.associations AS t WHERE t.from_type = %1$L AND t.to_type = %1$L AND t.from_id = ANY (%2$L) AND t.to_id = ANY (%2$L) AND t.from_id <> t.to_id', subject, names), NULL));
  FOREACH column_name IN ARRAY ARRAY['from', 'to'] LOOP
    counted := kith.repoint('public.associations', format('%I = %L', column_name || '_id', names[1]), format('t.%I = %L AND t.%I = ANY (%L)', column_name || '_type', subject, column_name || '_id', gone));
    moved := kith.counted(moved, 'public.associations', counted.moved);
    dropped := kith.counted(dropped, 'public.associations', counted.dropped);
  END LOOP;
  -- It must not go with a record that it refers to.
  setting := (SELECT string_agg(format('%I = %L', c.name, final ->> c.name::text), ', ') FROM unnest(columns) c(name)
               WHERE usable[1] -> c.name::text IS DISTINCT FROM images[1] -> c.name::text);
  IF setting IS NOT NULL THEN
    PERFORM kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', home, setting, own_row), NULL);
  END IF;
  -- A trigger or a generated column may have kept a reference.
  FOR number IN 2 .. cardinality(images) LOOP
    PERFORM kith.refuse_referred(home, images[number], not_merged);
  END LOOP;

  -- The others go. They give up values that are unique among deleted rows too.
  IF NOT hides THEN
    IF kith.write_merged(format('DELETE FROM %s AS t WHERE t.%I = ANY (%L)', home, key, gone), NULL) <> cardinality(gone) THEN
      RAISE EXCEPTION 'a trigger keeps records of "%" from being deleted', relation USING ERRCODE = 'P0001';
    END IF;
  ELSE
    released := (SELECT string_agg(DISTINCT format(', %I = NULL', c.name), '') FROM unnest(changed) c(name)
                   JOIN pg_attribute a ON a.attrelid = home AND a.attname = c.name AND NOT a.attnotnull
                   JOIN pg_index x ON x.indrelid = home AND x.indisunique AND coalesce(pg_get_expr(x.indpred, home) NOT LIKE '%deleted_at IS NULL%', true)
                  WHERE a.attnum = ANY (x.indkey::smallint[])
                     OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid AND d.refobjid = home AND d.refobjsubid = a.attnum));
    IF kith.write_merged(format('UPDATE %s AS t SET deleted_at = now()%s WHERE t.%I = ANY (%L)', home, released, key, gone), NULL) <> cardinality(gone) THEN
      RAISE EXCEPTION 'a trigger keeps records of "%" from being deleted', relation USING ERRCODE = 'P0001';
    END IF;
  END IF;
  IF changed <> '{}' THEN
    setting := (SELECT string_agg(format('%1$I = v.%1$I', c.name), ', ') FROM unnest(changed) c(name));
    PERFORM kith.write_merged(format('UPDATE %s AS t SET %s FROM jsonb_populate_record(NULL::%s, $1) AS v WHERE %s', home, setting, home, own_row), final);
  END IF;
  RETURN jsonb_build_object('moved', moved, 'dropped', dropped);
END $$;
COMMENT ON FUNCTION kith.merge IS 'Merges records into the first one: fills its empty fields, rewrites references, and deletes the others.';

CREATE OR REPLACE FUNCTION kith.counted(counts jsonb, relation regclass, further bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN further = 0 THEN counts ELSE counts || jsonb_build_object(x.name, coalesce((counts ->> x.name)::bigint, 0) + further) END
    FROM (SELECT CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation) x
$$;
COMMENT ON FUNCTION kith.counted IS 'Adds a number of rows of a table to the counts.';

REVOKE ALL ON FUNCTION kith.is_blank_value(jsonb), kith.references_to(regclass), kith.refers(name[], name[], jsonb), kith.refuse_referred(regclass, jsonb, text),
  kith.write_merged(text, jsonb), kith.repoint(regclass, text, text), kith.merge(name, name, text[], name[], jsonb, jsonb, jsonb), kith.counted(jsonb, regclass, bigint) FROM PUBLIC;
-- All of them run with the caller's rights.
GRANT EXECUTE ON FUNCTION kith.is_blank_value(jsonb), kith.references_to(regclass), kith.refers(name[], name[], jsonb), kith.refuse_referred(regclass, jsonb, text),
  kith.write_merged(text, jsonb), kith.repoint(regclass, text, text), kith.merge(name, name, text[], name[], jsonb, jsonb, jsonb), kith.counted(jsonb, regclass, bigint) TO PUBLIC;
