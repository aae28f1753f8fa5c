-- Undo: reads and writes the rows of a plan (0014_runs.sql). 0023_undo.sql says in which order.

-- section: system

-- An error that says nothing about the row: a deadlock, a lock of another transaction's, a limit, a cancelled statement, a refusal of the log's.
CREATE OR REPLACE FUNCTION kith.is_passing(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN state LIKE '40%' OR state LIKE '53%' OR state = '55P03' OR state LIKE '57%' OR state LIKE 'KL00_';
COMMENT ON FUNCTION kith.is_passing IS 'Whether an error ends an undo instead of being a conflict of a row.';

-- The statement that puts rows of a table back. It takes arrays of keys and of texts. A move writes all rows whose keys change at once, because one may
-- take the key of another; the columns that it does not write for a row stay as they are. The alias is no name of a column: a bare alias is read as the column of that name.
-- A table that others inherit from has rows of its own, with their own log; a partitioned one has those of its partitions. Generated columns, which keys
-- may have, are not written.
--
-- Each key is looked up in the index of the rows. If the statistics are of a time when the table was empty, any other plan compares each key with each
-- row, and a plain equation allows it even without sequential scans: it may read the whole index. ANY does not. An array has no array of its own type.
CREATE OR REPLACE FUNCTION kith.undo_statement(act text, relation regclass, columns jsonb, key jsonb, back jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
  SELECT CASE act
    WHEN 'insert' THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x)', relation, c.names, c.texts)
    WHEN 'update' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, c.written, w.is_it)
    WHEN 'move' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, c.written_where_given, w.is_it)
    WHEN 'delete' THEN format('DELETE FROM %s "kith:row" USING unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, w.is_it)
    WHEN 'lock' THEN format('SELECT v.n, to_jsonb("kith:row".*), CASE WHEN $3 = ''{}'' THEN ''{}'' ELSE kith.exact_texts($3, "kith:row".*) END AS exact_texts FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s ORDER BY v.n FOR UPDATE OF "kith:row"', w.rows, w.is_it)
    WHEN 'find' THEN format('SELECT v.n, NULL::text[], to_jsonb("kith:row".*) FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s', w.rows, w.is_it)
    WHEN 'compare' THEN (
      SELECT format('SELECT v.n, w.names, CASE WHEN "kith:row".tableoid IS NOT NULL THEN to_jsonb("kith:row".*) END
                       FROM unnest($1::jsonb[], $2::jsonb[], $3::integer[]) v(k, x, n) LEFT JOIN %s "kith:row" ON %s CROSS JOIN LATERAL (SELECT array_remove(ARRAY[%s], NULL) AS names) w
                      WHERE "kith:row".tableoid IS NULL OR NOT coalesce(ROW(%s)) *= coalesce(ROW(%s)) AND w.names <> ''{}''', w.rows, w.is_it,
                    string_agg(format('CASE WHEN num_nulls(%1$s) <> num_nulls(%2$s) OR format(''%%s'', %1$s) <> format(''%%s'', %2$s) THEN %3$L END', t.now, t.target, t.name), ', ' ORDER BY t.name),
                    string_agg(t.now, ', ' ORDER BY t.name), string_agg(t.target, ', ' ORDER BY t.name))
        FROM (SELECT b.name, format('"kith:row".%I', b.name) AS now, format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)) AS target
                FROM jsonb_object_keys(back) b(name)) t) END
    FROM (SELECT (SELECT CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_class r WHERE r.oid = relation) || relation AS rows,
                 string_agg(format(CASE WHEN t.typcategory = 'A' THEN '"kith:row".%1$I = (v.k ->> %2$L)::%3$s' ELSE '"kith:row".%1$I = ANY (ARRAY[(v.k ->> %2$L)::%3$s])' END,
                                   k.name, k.name, format_type((columns -> k.name ->> 1)::oid, (columns -> k.name ->> 2)::integer)), ' AND ') AS is_it
            FROM jsonb_object_keys(key) k(name) JOIN pg_type t ON t.oid = (columns -> k.name ->> 1)::oid) w,
         (SELECT string_agg(quote_ident(x.name), ', ' ORDER BY x.name) AS names, string_agg(x.text, ', ' ORDER BY x.name) AS texts,
                 string_agg(format('%I = %s', x.name, x.text), ', ' ORDER BY x.name) AS written,
                 string_agg(format('%I = CASE WHEN v.x ? %L THEN %s ELSE "kith:row".%I END', x.name, x.name, x.text, x.name), ', ' ORDER BY x.name) AS written_where_given
            FROM (SELECT b.name, format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)) AS text FROM jsonb_object_keys(back) b(name)
                   WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname::text = b.name AND a.attgenerated <> '')) x) c
$$;
COMMENT ON FUNCTION kith.undo_statement IS 'The SQL that puts rows of a table back, locks them, finds them, or compares them with what was put back.';

CREATE OR REPLACE FUNCTION kith.key_after(key jsonb, back jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
RETURN (SELECT jsonb_object_agg(k.key, coalesce(back -> k.key, k.value)) FROM jsonb_each(key) k);
COMMENT ON FUNCTION kith.key_after IS 'The key that a row has after it is put back.';

CREATE OR REPLACE FUNCTION kith.without_ties(item kith.undo_item) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE item.act WHEN 'delete' THEN '{}' ELSE item.back END || coalesce(jsonb_object_agg(a.attname, NULL), '{}')
    FROM pg_attribute a
   WHERE a.attrelid = item.relation AND a.attnum > 0 AND NOT a.attnotnull AND a.attgenerated = '' AND item.columns ? a.attname::text AND (item.act = 'delete' OR item.back ? a.attname::text)
     AND EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = item.relation AND f.contype = 'f' AND a.attnum = ANY (f.conkey)
                 UNION ALL SELECT FROM pg_index x WHERE x.indrelid = item.relation AND x.indisunique AND item.act <> 'delete' AND a.attnum = ANY (x.indkey::smallint[]))
$$;
COMMENT ON FUNCTION kith.without_ties IS 'What to write of a row first, if others are in its way: no references, and no unique values. Of a row to delete, only that.';

CREATE OR REPLACE FUNCTION kith.lock_rows(statement text, keys jsonb[], numbers integer[], exact name[]) RETURNS TABLE (n integer, image jsonb, exact_texts jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY EXECUTE statement USING keys, numbers, exact;
END $$;
COMMENT ON FUNCTION kith.lock_rows IS 'Runs a statement of undo_statement() that locks rows, and returns them as they are now.';

-- Triggers may change a row as it is put back, or when others are.
CREATE OR REPLACE FUNCTION kith.astray(items kith.undo_item[]) RETURNS TABLE (n integer, names text[], image jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE batch record;
BEGIN
  FOR batch IN SELECT i.act = 'delete' AS is_gone, i.relation, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key, (array_agg(i.target))[1] AS target,
                      array_agg(kith.key_after(i.key, i.target)) AS keys, array_agg(i.target) AS targets, array_agg(i.n) AS numbers
                 FROM unnest(items) i WHERE i.state = 'done'
                  -- Another row may have the key of one that is deleted.
                  AND CASE i.act WHEN 'delete' THEN (i.relation, i.key) NOT IN (SELECT o.relation, kith.key_after(o.key, o.target) FROM unnest(items) o WHERE o.state = 'done' AND o.act <> 'delete')
                                 ELSE i.target <> '{}' END
                GROUP BY i.act = 'delete', i.relation, ARRAY(SELECT jsonb_object_keys(i.target) ORDER BY 1) LOOP
    IF batch.is_gone THEN
      RETURN QUERY EXECUTE kith.undo_statement('find', batch.relation, batch.columns, batch.key, NULL) USING batch.keys, batch.numbers;
    ELSE
      RETURN QUERY EXECUTE kith.undo_statement('compare', batch.relation, batch.columns, batch.key, batch.target) USING batch.keys, batch.targets, batch.numbers;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.astray IS 'The rows that were put back and are not as they were, with the columns that differ. A row that is missing has no image.';

-- The workspace's triggers find their tables as in any other session: search_path is public while they run. It is not public for undo() itself,
-- because the workspace could put functions of its own in the place of PostgreSQL's.
--
-- The rows are written in the order of the arrays: keys that are checked at once become free in that order. A cursor separates the plan from the run,
-- because the queries of triggers need the usual plans.
CREATE OR REPLACE FUNCTION kith.write_back(statement text, keys jsonb[], backs jsonb[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE scans constant text := pg_catalog.current_setting('enable_seqscan'); written refcursor; touched bigint;
BEGIN
  IF starts_with(statement, 'INSERT ') THEN
    EXECUTE statement USING keys, backs;
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
  END IF;
  PERFORM pg_catalog.set_config('enable_seqscan', 'off', true);
  OPEN written NO SCROLL FOR EXECUTE statement || ' RETURNING 1' USING keys, backs;
  PERFORM pg_catalog.set_config('enable_seqscan', scans, true);
  MOVE FORWARD ALL FROM written;
  GET DIAGNOSTICS touched = ROW_COUNT;
  CLOSE written;
  RETURN touched;
END $$;
COMMENT ON FUNCTION kith.write_back IS 'Runs a statement of undo_statement() and returns the number of its rows.';

-- A row that cannot be written stays as it is, and is found again.
CREATE OR REPLACE FUNCTION kith.write_again(items kith.undo_item[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE batch record; state text;
BEGIN
  FOR batch IN SELECT x.act, x.relation, (array_agg(x.columns))[1] AS columns, (array_agg(x.key))[1] AS key, (array_agg(x.back))[1] AS back, array_agg(x.key ORDER BY x.n) AS keys,
                      array_agg(x.back ORDER BY x.n) AS backs
                 FROM (SELECT a.n, i.relation, i.columns, kith.key_after(i.key, i.target) AS key, CASE WHEN i.act = 'insert' AND a.image IS NOT NULL THEN 'update' ELSE i.act END AS act,
                              CASE WHEN i.act = 'delete' THEN '{}' WHEN a.image IS NULL THEN i.back ELSE (SELECT jsonb_object_agg(c.name, i.target -> c.name) FROM unnest(a.names) c(name)) END AS back
                         FROM kith.astray(items) a JOIN unnest(items) i ON i.n = a.n) x
                WHERE x.act = 'delete' OR x.back <> '{}'
                GROUP BY x.act, x.relation, ARRAY(SELECT jsonb_object_keys(x.back) ORDER BY 1) ORDER BY min(x.n) LOOP
    BEGIN
      PERFORM kith.write_back(kith.undo_statement(batch.act, batch.relation, batch.columns, batch.key, batch.back), batch.keys, batch.backs);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF kith.is_passing(state) THEN
        RAISE;
      END IF;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.write_again IS 'Writes the rows once more that were put back and are not as they were.';

-- Keys and positions of pipelines and stages.

CREATE OR REPLACE FUNCTION kith.write_column(relation regclass, id text, name text, value anyelement) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  back constant jsonb := jsonb_build_object(name, value);
  columns constant jsonb := jsonb_build_object('id', jsonb_build_array(0, 'text'::regtype::oid::bigint, -1), name, jsonb_build_array(0, pg_typeof(value)::oid::bigint, -1));
BEGIN
  PERFORM kith.write_back(kith.undo_statement('update', relation, columns, '{"id": null}', back), ARRAY[jsonb_build_object('id', id)], ARRAY[back]);
END $$;
COMMENT ON FUNCTION kith.write_column IS 'Writes one column of a row of a built-in table, as write_back() does.';

-- A pipeline or stage that is deleted gives its key to the one that had it before. Otherwise what belongs to that one would come into the one that is
-- deleted, and stay there or go with it. It keeps its key if rows outside the plan use it, because then it stays. Deals of the plan would follow it, so
-- they get the old key back.
CREATE OR REPLACE FUNCTION kith.give_keys_back(INOUT items kith.undo_item[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE was jsonb;
BEGIN
  IF NOT EXISTS (SELECT FROM unnest(items) i WHERE i.name IN ('pipelines', 'pipeline_stages') AND i.act = 'delete' AND i.state = 'pending') THEN
    RETURN;
  END IF;
  was := (SELECT jsonb_object_agg(d.id, jsonb_build_object('pipeline', d.pipeline, 'stage', d.stage))
            FROM unnest(items) i JOIN public.deals d ON d.id = i.key_text
           WHERE i.relation = 'public.deals'::regclass AND i.act = 'update' AND i.state = 'pending');
  PERFORM kith.write_column('public.pipelines', p.id, 'key', p.key || ' (' || p.id || ')')
     FROM unnest(items) i JOIN public.pipelines p ON p.id = i.key_text
    WHERE i.relation = 'public.pipelines'::regclass AND i.act = 'delete' AND i.state = 'pending'
      AND p.key IN (SELECT o.back ->> 'key' FROM unnest(items) o WHERE o.relation = i.relation AND o.act <> 'delete' AND o.state = 'pending')
      AND NOT EXISTS (SELECT FROM public.pipeline_stages s WHERE s.pipeline = p.key
                         AND s.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.pipeline_stages'::regclass AND o.state = 'pending'))
      AND NOT EXISTS (SELECT FROM public.deals d WHERE d.pipeline = p.key
                         AND d.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.deals'::regclass AND o.state = 'pending'));
  PERFORM kith.write_column('public.pipeline_stages', s.id, 'key', s.key || ' (' || s.id || ')')
     FROM unnest(items) i JOIN public.pipeline_stages s ON s.id = i.key_text
    WHERE i.relation = 'public.pipeline_stages'::regclass AND i.act = 'delete' AND i.state = 'pending'
      AND (s.pipeline, s.key) IN (
            SELECT coalesce(o.back ->> 'pipeline', n.pipeline), coalesce(o.back ->> 'key', n.key) FROM unnest(items) o LEFT JOIN public.pipeline_stages n ON n.id = o.key_text
             WHERE o.relation = i.relation AND o.act <> 'delete' AND o.state = 'pending')
      AND NOT EXISTS (SELECT FROM public.deals d WHERE d.pipeline = s.pipeline AND d.stage = s.key
                         AND d.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.deals'::regclass AND o.state = 'pending'));
  items := ARRAY(SELECT CASE WHEN d.id IS NULL THEN i
                             ELSE jsonb_populate_record(i, jsonb_build_object('back', (was -> d.id) || i.back, 'target', (was -> d.id) || i.target)) END
                   FROM unnest(items) i
                   LEFT JOIN public.deals d ON d.id = i.key_text AND i.relation = 'public.deals'::regclass AND was ? d.id
                                           AND (d.pipeline, d.stage) <> (was -> d.id ->> 'pipeline', was -> d.id ->> 'stage')
                  ORDER BY i.n);
END $$;
COMMENT ON FUNCTION kith.give_keys_back IS 'Renames the pipelines and stages that an undo deletes and whose keys it gives back to others. Returns the plan with the keys of deals that this renamed.';

-- order_stages() and order_pipelines() do nothing in an undo: they would move rows before all are back. Rows that are put back keep their positions. If
-- another row has one of these, it gets the next free one.
CREATE OR REPLACE FUNCTION kith.restore_order(items kith.undo_item[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE own text[]; previous text; other record; place integer;
BEGIN
  own := ARRAY(SELECT i.key_text FROM unnest(items) i WHERE i.relation IN ('public.pipelines'::regclass, 'public.pipeline_stages'::regclass) AND i.act <> 'delete' AND i.state = 'done');
  IF own = '{}' THEN
    RETURN;
  END IF;
  FOR other IN
    WITH placed AS (
           SELECT 'public.pipelines'::regclass AS relation, '' AS within, p.id, p.position, p.created_at FROM public.pipelines p WHERE p.deleted_at IS NULL
            UNION ALL
           SELECT 'public.pipeline_stages', s.pipeline, s.id, s.position, s.created_at FROM public.pipeline_stages s WHERE s.deleted_at IS NULL),
         kept AS (
           SELECT DISTINCT ON (p.relation, p.within, p.position) p.* FROM placed p WHERE p.id = ANY (own) ORDER BY p.relation, p.within, p.position, p.created_at, p.id)
    SELECT p.relation, p.within, p.id, p.position, x.taken
      FROM (SELECT k.relation, k.within, array_agg(k.position) AS taken FROM kept k GROUP BY k.relation, k.within) x JOIN placed p ON p.relation = x.relation AND p.within = x.within
     WHERE p.id NOT IN (SELECT k.id FROM kept k)
     ORDER BY p.relation, p.within, p.position, p.created_at, p.id
  LOOP
    place := greatest(other.position, CASE WHEN previous = other.relation || ' ' || other.within THEN place + 1 END);
    previous := other.relation || ' ' || other.within;
    WHILE place = ANY (other.taken) LOOP
      place := place + 1;
    END LOOP;
    IF place <> other.position THEN
      PERFORM kith.write_column(other.relation, other.id, 'position', place);
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.restore_order IS 'Ensures that no two pipelines, and no two stages of a pipeline, have the same position after an undo.';

CREATE OR REPLACE FUNCTION kith.check_constraints() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
END $$;
COMMENT ON FUNCTION kith.check_constraints IS 'Checks deferred constraints, and runs deferred triggers.';

-- Keys stay unique after each statement, even if they are deferrable: the rows to write are found by them.
CREATE OR REPLACE FUNCTION kith.defer_constraints(relations oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE checked_late text;
BEGIN
  SET CONSTRAINTS ALL DEFERRED;
  FOR checked_late IN SELECT DISTINCT format('%I.%I', n.nspname, k.conname) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
                     WHERE k.conrelid = ANY (relations) AND k.contype = 'p' AND k.condeferrable LOOP
    EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', checked_late);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.defer_constraints IS 'Defers all constraints but the primary keys of these tables.';

CREATE OR REPLACE FUNCTION kith.step_back(secret text, seqs bigint[], planned jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE step record; touched bigint; since bigint := kith.last_change(secret);
BEGIN
  FOR step IN SELECT s.* FROM kith.steps_back(secret, seqs) s LOOP
    touched := kith.write_back(kith.undo_statement(step.act, step.relation, step.columns, step.key, step.back), ARRAY[step.key], ARRAY[step.back]);
    IF touched <> 1 AND step.act <> 'delete' AND step.via <> 'cascade' THEN
      RAISE EXCEPTION 'a row is gone' USING ERRCODE = 'KL011';
    END IF;
  END LOOP;
  IF kith.removes_others(secret, since, planned) THEN
    RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
  END IF;
END $$;
COMMENT ON FUNCTION kith.step_back IS 'Puts changes back one by one, the last one first.';

REVOKE ALL ON FUNCTION kith.is_passing, kith.undo_statement, kith.key_after, kith.without_ties, kith.lock_rows, kith.astray, kith.write_back, kith.write_again, kith.write_column, kith.give_keys_back, kith.restore_order, kith.check_constraints, kith.defer_constraints, kith.step_back FROM PUBLIC;
-- They run with the caller's rights.
GRANT EXECUTE ON FUNCTION kith.is_passing, kith.undo_statement, kith.key_after, kith.without_ties, kith.lock_rows, kith.astray, kith.write_back, kith.write_again, kith.write_column, kith.give_keys_back, kith.restore_order, kith.check_constraints, kith.defer_constraints, kith.step_back, kith.exact_texts, kith.exact_texts_query TO PUBLIC;
