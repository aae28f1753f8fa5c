-- Undo: puts back what a run, a request or a change changed.

-- section: system

-- The steps of undo(). They run with its settings.

CREATE OR REPLACE FUNCTION kith.as_conflict(item kith.undo_item, names text[], now jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_object_agg(c.name, jsonb_build_object('expected', item.expected -> c.name, 'now', as_conflict.now -> c.name, 'back_to', item.back_shown -> c.name)) FROM unnest(names) c(name)
$$;
COMMENT ON FUNCTION kith.as_conflict IS 'What a conflict says of columns of an update. `now` is the row as it is.';

-- A reference of several columns is not written in part: it would refer to what nobody chose.
CREATE OR REPLACE FUNCTION kith.without_columns(INOUT item kith.undo_item, names text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  names := names || ARRAY(
    SELECT a.attname::text FROM pg_constraint f CROSS JOIN LATERAL unnest(f.conkey) k(number) JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
     WHERE f.conrelid = item.relation AND f.contype = 'f' AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = f.conrelid AND o.attnum = ANY (f.conkey) AND o.attname::text = ANY (names)));
  item.back := item.back - names;
  item.target := item.target - names;
END $$;
COMMENT ON FUNCTION kith.without_columns IS 'Leaves columns of an update as they are, with those that belong to the same references.';

-- Locks the rows in the order of table and key.
CREATE OR REPLACE FUNCTION kith.compare_rows(secret text, own bigint[], INOUT items kith.undo_item[], OUT conflicts jsonb[], OUT partly integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE batch record; found_row record; item kith.undo_item; other record; exact name[]; column_name text; same jsonb; wrong jsonb; fault record;
BEGIN
  conflicts := '{}';
  partly := '{}';
  FOR batch IN SELECT i.relation, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key, array_agg(i.key ORDER BY i.n) AS keys, array_agg(i.n ORDER BY i.n) AS numbers,
                      array_agg(i.key_text ORDER BY i.n) AS key_texts, array_agg(i.members[cardinality(i.members)] ORDER BY i.n) AS latest
                 FROM unnest(items) i WHERE i.fault IS NULL GROUP BY i.relation ORDER BY i.relation LOOP
    exact := ARRAY(SELECT DISTINCT e.name::name FROM unnest(items) i, jsonb_object_keys(i.expected_exact) e(name) WHERE i.relation = batch.relation AND batch.columns ? e.name);
    FOR found_row IN SELECT r.* FROM kith.lock_rows(kith.undo_statement('lock', batch.relation, batch.columns, batch.key, NULL), batch.keys, batch.numbers, exact) r LOOP
      item := items[found_row.n];
      item.state := 'found';
      IF item.is_kept THEN
        -- What others have made of it since is theirs.
        IF EXISTS (SELECT FROM jsonb_object_keys(item.target) c(name) WHERE jsonb_send(found_row.image -> c.name) <> jsonb_send(item.expected -> c.name)) THEN
          item.state := 'left';
        END IF;
        items[found_row.n] := item;
        CONTINUE;
      END IF;
      item.back := item.back - item.gone;
      wrong := '{}';
      -- Most rows are as they were left, in all columns.
      IF item.act <> 'insert' AND (item.expected_exact <> '{}' OR jsonb_send(found_row.image - 'updated_at') <> jsonb_send(item.expected - 'updated_at')) THEN
        FOR column_name IN SELECT c.name FROM jsonb_object_keys(CASE item.act WHEN 'delete' THEN found_row.image || item.expected ELSE item.back END) c(name) WHERE c.name <> 'updated_at' AND item.columns ? c.name LOOP
          same := found_row.image -> column_name;
          -- A column that was added since has no value, or that with which it was added.
          CONTINUE WHEN item.act = 'delete' AND NOT item.expected ? column_name
                    AND (same = 'null' OR same = (SELECT to_jsonb(a.attmissingval) -> 0 FROM pg_attribute a WHERE a.attrelid = item.relation AND a.attname = column_name));
          CONTINUE WHEN jsonb_send(same) = jsonb_send(item.expected -> column_name)
                    AND (NOT item.expected_exact ? column_name OR found_row.exact_texts -> column_name = item.expected_exact -> column_name);
          IF item.act = 'update' AND jsonb_send(same) = jsonb_send(item.back_shown -> column_name)
             AND (NOT coalesce(found_row.exact_texts, '{}') ? column_name OR found_row.exact_texts -> column_name = item.back -> column_name) THEN
            -- It has its old value already.
            item.back := item.back - column_name;
            CONTINUE;
          END IF;
          wrong := wrong || jsonb_build_object(column_name, jsonb_build_object('expected', item.expected -> column_name, 'now', same,
                              'back_to', CASE item.act WHEN 'update' THEN item.back_shown -> column_name END));
        END LOOP;
      END IF;
      FOR fault IN SELECT 'schema_changed' AS reason, kith.as_conflict(item, item.gone, found_row.image) AS columns WHERE item.gone <> '{}'
                    UNION ALL SELECT 'changed_since', wrong WHERE wrong <> '{}' LOOP
        item := kith.without_columns(item, ARRAY(SELECT jsonb_object_keys(fault.columns)));
        item.fault := fault.reason;
        conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'columns', fault.columns, 'may_stay', item.may_stay);
      END LOOP;
      -- What is left of an update can still go back.
      IF item.fault IS NOT NULL AND item.act = 'update' AND item.back <> '{}' THEN
        item.fault := NULL;
        partly := partly || item.n;
      END IF;
      items[found_row.n] := item;
    END LOOP;
    -- The rows are locked now, so nobody gives their keys to others any more.
    FOR other IN SELECT batch.numbers[o.place] AS n, o.is_moved FROM kith.others_since(secret, batch.relation, batch.key_texts, batch.latest, own) o LOOP
      item := items[other.n];
      CONTINUE WHEN item.act = 'insert';
      conflicts := ARRAY(SELECT c FROM unnest(conflicts) c WHERE (c ->> 'table', c -> 'id') IS DISTINCT FROM (item.name, item.id));
      partly := array_remove(partly, item.n);
      item.state := NULL;
      item.fault := CASE WHEN item.act = 'delete' AND other.is_moved THEN 'changed_since' END;
      items[other.n] := item;
    END LOOP;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.compare_rows IS 'Compares the rows of a plan with what was left of them. Rows that were changed since are conflicts, but the columns of an update that were not changed can go back: those rows are in `partly`.';

CREATE OR REPLACE FUNCTION kith.find_obstacles(INOUT items kith.undo_item[], INOUT conflicts jsonb[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE item kith.undo_item; emails text[]; number integer; acts constant text[] := ARRAY(SELECT DISTINCT i.act FROM unnest(items) i);
BEGIN
  -- A row whose key another one has now comes back if the plan removes the other one, or gives it another key.
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.state IS NOT NULL
                   AND (i.relation, i.key_text) NOT IN (SELECT h.relation, h.key_text FROM unnest(items) h
                          WHERE h.fault IS NULL AND h.state IS NOT NULL AND (h.act = 'delete' OR h.act = 'update' AND h.back ?| ARRAY(SELECT jsonb_object_keys(h.key)))) LOOP
    items[number].fault := 'row_exists';
  END LOOP;
  -- E-mails name their records without a foreign key. One that was there before the record did so when the record was deleted before.
  emails := ARRAY(SELECT i.key_text FROM unnest(items) i WHERE 'delete' = ANY (acts) AND i.name = 'emails' AND i.fault IS NULL);
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE 'delete' = ANY (acts) AND i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND CASE i.name WHEN 'contacts' THEN EXISTS (SELECT FROM public.emails e WHERE e.contact_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails))
                                   WHEN 'companies' THEN EXISTS (SELECT FROM public.emails e WHERE e.company_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails))
                                   WHEN 'deals' THEN EXISTS (SELECT FROM public.emails e WHERE e.deal_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails)) ELSE false END LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  FOR number IN SELECT DISTINCT i.n FROM unnest(items) i JOIN public.list_members m ON m.member_id = i.key_text JOIN public.lists l ON l.id = m.list_id AND l.target_table = i.name
                 WHERE 'delete' = ANY (acts) AND i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND m.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.name = 'list_members' AND o.fault IS NULL) LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  -- Members of lists and associations name their records without a foreign key too.
  FOR number IN SELECT DISTINCT e.n
                  FROM (SELECT i.n, coalesce(l.target_table, (SELECT o.back ->> 'target_table' FROM unnest(items) o WHERE o.name = 'lists' AND o.key_text = i.back ->> 'list_id')) AS kind, i.back ->> 'member_id' AS id
                          FROM unnest(items) i LEFT JOIN public.lists l ON l.id = i.back ->> 'list_id' WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.name = 'list_members'
                        UNION ALL
                        SELECT i.n, b.name, x.id FROM unnest(items) i CROSS JOIN LATERAL (VALUES (i.back ->> 'from_type', i.back ->> 'from_id'), (i.back ->> 'to_type', i.back ->> 'to_id')) x(subject, id)
                          JOIN kith_guard.builtin b ON b.subject = x.subject WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.name = 'associations') e
                 WHERE (e.kind, e.id) NOT IN (SELECT o.name, o.key_text FROM unnest(items) o WHERE o.act = 'insert' AND o.fault IS NULL)
                   AND NOT CASE e.kind WHEN 'contacts' THEN EXISTS (SELECT FROM public.contacts x WHERE x.id = e.id) WHEN 'companies' THEN EXISTS (SELECT FROM public.companies x WHERE x.id = e.id)
                                       WHEN 'deals' THEN EXISTS (SELECT FROM public.deals x WHERE x.id = e.id) WHEN 'activities' THEN EXISTS (SELECT FROM public.activities x WHERE x.id = e.id)
                                       WHEN 'emails' THEN EXISTS (SELECT FROM public.emails x WHERE x.id = e.id) ELSE true END LOOP
    items[number].fault := 'parent_gone';
  END LOOP;
  FOREACH item IN ARRAY items LOOP
    IF item.is_kept THEN
      items[item.n].state := CASE item.state WHEN 'found' THEN 'done' ELSE 'left' END;
      CONTINUE;
    END IF;
    IF item.fault IS NULL AND item.act = 'update' AND item.state IS NULL THEN
      item.fault := 'row_gone';
    END IF;
    -- Others that were compared have their conflict already.
    IF item.fault IS NOT NULL AND (item.fault NOT IN ('schema_changed', 'changed_since') OR item.state IS NULL) THEN
      conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'may_stay', item.may_stay);
    END IF;
    item.state := CASE WHEN item.fault IS NOT NULL THEN 'left' WHEN item.act = 'delete' AND item.state IS NULL OR item.act = 'update' AND item.back = '{}' THEN 'done' ELSE 'pending' END;
    items[item.n] := item;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.find_obstacles IS 'Finds the rows that cannot go back as things are, and says of each row whether it is pending, left, or done because nothing has to be written.';

-- `error` is {state, schema, table, constraint, column}. A partition's constraint is its table's.
CREATE OR REPLACE FUNCTION kith.blame(item kith.undo_item, error jsonb, OUT reason text, OUT names text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state constant text := error ->> 'state';
  failed constant oid := (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = error ->> 'schema' AND c.relname = error ->> 'table');
  is_own constant boolean := coalesce(pg_partition_root(failed), failed) = item.relation;
BEGIN
  names := ARRAY(
    SELECT x.name FROM (
      SELECT a.attname::text AS name FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) WHERE k.conrelid = failed AND k.conname = error ->> 'constraint'
       UNION
      -- An index of its own, and the expressions of one.
      SELECT a.attname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjid = failed
        JOIN pg_attribute a ON a.attrelid = failed AND a.attnum = d.refobjsubid
       WHERE x.indrelid = failed AND c.relname = error ->> 'constraint' AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
       UNION
      SELECT error ->> 'column') x
     WHERE is_own AND item.back ? x.name ORDER BY x.name);
  reason := CASE WHEN state = 'KL010' OR state IN ('23503', '23001', 'KP003', 'KP004') AND item.act = 'delete' THEN 'would_remove_others'
                 WHEN state IN ('23505', '23P01') THEN 'unique_taken' WHEN state = '23503' THEN 'parent_gone' ELSE 'not_permitted' END;
  -- Others refer to the row.
  IF names = '{}' AND item.act = 'update' AND state IN ('23503', '23001') THEN
    names := ARRAY(SELECT a.attname::text FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
                    WHERE k.conrelid = failed AND k.conname = error ->> 'constraint' AND k.contype = 'f' AND item.back ? a.attname::text ORDER BY 1);
    reason := CASE WHEN names <> '{}' THEN 'would_remove_others' ELSE reason END;
  END IF;
END $$;
COMMENT ON FUNCTION kith.blame IS 'Why a row could not be put back: the reason of the conflict, and the columns that the error names.';

CREATE OR REPLACE FUNCTION kith.can_write(secret text, item kith.undo_item, back jsonb, planned jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE state text; since constant bigint := kith.last_change(secret); touched bigint;
BEGIN
  touched := kith.write_back(kith.undo_statement('update', item.relation, item.columns, item.key, can_write.back), ARRAY[item.key], ARRAY[can_write.back]);
  -- It sees the changes of the statements before this one.
  IF touched = 1 AND NOT kith.removes_others(secret, since, planned) THEN
    RAISE EXCEPTION 'nothing is in the way' USING ERRCODE = 'KL015';
  END IF;
  RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
  IF kith.is_passing(state) THEN
    RAISE;
  END IF;
  RETURN state = 'KL015';
END $$;
COMMENT ON FUNCTION kith.can_write IS 'Whether these columns of a row could be written. Writes nothing.';

-- Not every error names columns: a trigger may refuse some of them.
CREATE OR REPLACE FUNCTION kith.columns_in_the_way(secret text, item kith.undo_item, planned jsonb) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE rest jsonb := item.back; fitting jsonb := '{}'; name text; moved boolean;
BEGIN
  LOOP
    moved := false;
    FOR name IN SELECT jsonb_object_keys(rest) ORDER BY 1 LOOP
      IF kith.can_write(secret, item, fitting || jsonb_build_object(name, rest -> name), planned) THEN
        fitting := fitting || jsonb_build_object(name, rest -> name);
        rest := rest - name;
        moved := true;
      END IF;
    END LOOP;
    EXIT WHEN NOT moved OR rest = '{}';
  END LOOP;
  RETURN ARRAY(SELECT jsonb_object_keys(rest) ORDER BY 1);
END $$;
COMMENT ON FUNCTION kith.columns_in_the_way IS 'The columns of an update that cannot be written, found by writing them one by one. Writes nothing.';

-- A foreign key gives a row another key when the row goes back that it refers to. Only the log tells which row it is then.
CREATE OR REPLACE FUNCTION kith.follow_cascades(secret text, INOUT items kith.undo_item[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE batch record; moved jsonb := '{}';
BEGIN
  FOR batch IN SELECT i.relation, array_agg(i.key_text) AS keys FROM unnest(items) i WHERE i.state = 'pending' AND i.act = 'update' GROUP BY i.relation LOOP
    moved := moved || (SELECT coalesce(jsonb_object_agg(concat(batch.relation, ' ', c.was), c.key), '{}') FROM kith.cascaded_keys(secret, batch.relation, batch.keys) c);
  END LOOP;
  IF moved <> '{}' THEN
    items := ARRAY(
      SELECT CASE WHEN m.key IS NULL OR i.state <> 'pending' OR i.act <> 'update' THEN i
                  ELSE jsonb_populate_record(i, jsonb_build_object('key', m.key, 'back', r.back, 'state', CASE r.back WHEN '{}' THEN 'done' ELSE 'pending' END)) END
        FROM unnest(items) i
       CROSS JOIN LATERAL (SELECT moved -> concat(i.relation, ' ', i.key_text) AS key) m
       CROSS JOIN LATERAL (SELECT i.back - ARRAY(SELECT k.key FROM jsonb_each(m.key) k WHERE k.value = i.back -> k.key) AS back) r
       ORDER BY i.n);
  END IF;
END $$;
COMMENT ON FUNCTION kith.follow_cascades IS 'Finds pending updates of rows that foreign keys have given other keys, and leaves what remains to be written. Rows without a remainder are done.';

CREATE OR REPLACE FUNCTION kith.delete_moved(secret text, relation regclass, columns jsonb, keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE keys_now constant jsonb[] := ARRAY(SELECT c.key FROM kith.cascaded_keys(secret, relation, keys) c);
BEGIN
  IF keys_now <> '{}' THEN
    PERFORM kith.write_back(kith.undo_statement('delete', relation, columns, keys_now[1], NULL), keys_now, '{}');
  END IF;
END $$;
COMMENT ON FUNCTION kith.delete_moved IS 'Deletes rows that have other keys by now, because others went back that they refer to.';

-- `most` is how many rows a part has, null for all.
CREATE OR REPLACE FUNCTION kith.write_pending(secret text, INOUT items kith.undo_item[], INOUT most integer, planned jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE batch record; number integer; since bigint; touched bigint; moved boolean; waiting boolean; state text;
BEGIN
  LOOP
    IF waiting THEN
      items := kith.follow_cascades(secret, items);
    END IF;
    moved := false;
    waiting := false;
    FOR batch IN SELECT i.act, i.relation, i.moves, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key,
                        CASE WHEN i.moves THEN (SELECT jsonb_object_agg(b.key, b.value) FROM unnest(array_agg(i.back)) x(back), jsonb_each(x.back) b) ELSE (array_agg(i.back))[1] END AS back,
                        array_agg(i.key ORDER BY i.place) AS keys, array_agg(i.back ORDER BY i.place) AS backs, array_agg(i.n ORDER BY i.place) AS numbers, array_agg(i.key_text) AS key_texts
                   FROM (SELECT y.*, row_number() OVER (PARTITION BY y.act, y.relation, y.names ORDER BY CASE y.act WHEN 'insert' THEN y.latest ELSE - y.latest END, y.n) AS place
                           FROM (SELECT z.*, CASE WHEN NOT z.moves THEN ARRAY(SELECT jsonb_object_keys(z.back) ORDER BY 1) END AS names
                                   FROM (SELECT i.n, i.act, i.relation, i.columns, i.key, i.key_text, i.back, coalesce(i.keyed_by, i.members[cardinality(i.members)]) AS latest,
                                                i.act = 'update' AND i.back ?| ARRAY(SELECT jsonb_object_keys(i.key)) AS moves
                                           FROM unnest(items) i WHERE i.state = 'pending') z) y) i
                  GROUP BY i.act, i.relation, i.moves, i.names, (i.place - 1) / most
                  -- A deal whose stage is not there yet would create it.
                  ORDER BY array_position(ARRAY['insert', 'update', 'delete'], i.act), array_position(ARRAY['public.pipelines', 'public.pipeline_stages']::regclass[], i.relation::regclass),
                           max(i.latest) DESC LOOP
      state := NULL;
      BEGIN
        since := kith.last_change(secret);
        touched := kith.write_back(kith.undo_statement(CASE WHEN batch.moves THEN 'move' ELSE batch.act END, batch.relation, batch.columns, batch.key, batch.back), batch.keys, batch.backs);
        IF batch.act = 'delete' AND touched < cardinality(batch.numbers) THEN
          PERFORM kith.delete_moved(secret, batch.relation, batch.columns, batch.key_texts);
        END IF;
        IF batch.act <> 'delete' AND touched <> cardinality(batch.numbers) THEN
          RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KL011';
        ELSIF kith.removes_others(secret, since, planned) THEN
          RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
        END IF;
      EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        IF kith.is_passing(state) THEN
          RAISE;
        END IF;
      END;
      moved := moved OR state IS NULL;
      waiting := waiting OR state IS NOT NULL;
      FOREACH number IN ARRAY batch.numbers LOOP
        IF state IS NULL THEN
          items[number].state := 'done';
        END IF;
      END LOOP;
    END LOOP;
    EXIT WHEN NOT waiting;
    CONTINUE WHEN moved;
    EXIT WHEN most = 1;
    most := greatest(1, coalesce(most, (SELECT count(*) FROM unnest(items) i WHERE i.state = 'pending')::integer) / 10);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.write_pending IS 'Writes the pending rows: together where that works, else in smaller and smaller parts, in whatever order their keys and references need.';

-- First without what stands in the way, then as they were. Those that fail are returned with the reason, and the others are still pending then.
CREATE OR REPLACE FUNCTION kith.write_tied(secret text, INOUT items kith.undo_item[], relations oid[], planned jsonb, at_once boolean, OUT failing integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE item kith.undo_item; number integer; same jsonb; since bigint; touched bigint; moved boolean; written integer[]; checked boolean; state text; errors jsonb[]; blame record;
        failed_schema text; failed_table text; failed_constraint text; failed_column text;
BEGIN
  BEGIN
    failing := '{}';
    written := '{}';
    checked := false;
    PERFORM kith.defer_constraints(relations);
    FOR item IN SELECT i.* FROM unnest(items) i WHERE i.state = 'pending' ORDER BY i.members[cardinality(i.members)] DESC LOOP
      same := kith.without_ties(item);
      CONTINUE WHEN same = '{}';
      BEGIN
        since := kith.last_change(secret);
        touched := kith.write_back(kith.undo_statement(CASE item.act WHEN 'insert' THEN 'insert' ELSE 'update' END, item.relation, item.columns, item.key, same), ARRAY[item.key], ARRAY[same]);
        IF kith.removes_others(secret, since, planned) THEN
          RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
        END IF;
        IF touched = 1 AND item.act <> 'delete' THEN
          written[item.n] := 1;
        END IF;
      EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        IF kith.is_passing(state) THEN
          RAISE;
        END IF;
      END;
    END LOOP;
    failing := ARRAY(SELECT i.n FROM unnest(items) i WHERE i.state = 'pending' ORDER BY i.act DESC, i.members[cardinality(i.members)] DESC);
    LOOP
      moved := false;
      FOREACH number IN ARRAY failing LOOP
        item := items[number];
        BEGIN
          since := kith.last_change(secret);
          IF written[number] = 1 THEN
            item.act := 'update';
            item.key := kith.key_after(item.key, item.back);
          END IF;
          touched := kith.write_back(kith.undo_statement(item.act, item.relation, item.columns, item.key, item.back), ARRAY[item.key], ARRAY[item.back]);
          IF item.act = 'delete' AND touched = 0 THEN
            PERFORM kith.delete_moved(secret, item.relation, item.columns, ARRAY[item.key_text]);
          ELSIF item.act = 'update' AND touched = 0 AND written[number] IS NULL THEN
            item := (kith.follow_cascades(secret, ARRAY[item]))[1];
            touched := CASE item.state WHEN 'done' THEN 1
                                       ELSE kith.write_back(kith.undo_statement('update', item.relation, item.columns, item.key, item.back), ARRAY[item.key], ARRAY[item.back]) END;
          END IF;
          IF item.act <> 'delete' AND touched <> 1 THEN
            RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KL011';
          ELSIF kith.removes_others(secret, since, planned) THEN
            RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
          END IF;
          written[number] := 2;
          moved := true;
        EXCEPTION WHEN OTHERS THEN
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, failed_schema = SCHEMA_NAME, failed_table = TABLE_NAME, failed_constraint = CONSTRAINT_NAME, failed_column = COLUMN_NAME;
          IF kith.is_passing(state) THEN
            RAISE;
          END IF;
          errors[number] := jsonb_build_object('state', state, 'schema', failed_schema, 'table', failed_table, 'constraint', failed_constraint, 'column', failed_column);
        END;
      END LOOP;
      failing := ARRAY(SELECT f.n FROM unnest(failing) WITH ORDINALITY f(n, place) WHERE written[f.n] IS DISTINCT FROM 2 ORDER BY f.place);
      EXIT WHEN failing = '{}' OR NOT moved;
    END LOOP;
    IF failing <> '{}' THEN
      RAISE EXCEPTION 'rows are in the way' USING ERRCODE = 'KL013';
    END IF;
    IF at_once THEN
      checked := true;
      PERFORM kith.check_constraints();
      IF kith.removes_others(secret, 0, planned) THEN
        RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
      END IF;
    END IF;
    items := ARRAY(SELECT jsonb_populate_record(i, CASE WHEN i.state = 'pending' THEN '{"state": "done"}' ELSE '{}' END::jsonb) FROM unnest(items) i ORDER BY i.n);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, failed_schema = SCHEMA_NAME, failed_table = TABLE_NAME, failed_constraint = CONSTRAINT_NAME, failed_column = COLUMN_NAME;
    IF kith.is_passing(state) OR state <> 'KL013' AND NOT checked THEN
      RAISE;
    ELSIF checked THEN
      -- PostgreSQL names the table whose constraint does not hold, not the row. Each pending row has failed alone too.
      failing := ARRAY(SELECT i.n FROM unnest(items) i JOIN pg_class c ON c.oid = i.relation WHERE i.state = 'pending' ORDER BY c.relname = failed_table DESC, i.n LIMIT 1);
      errors[failing[1]] := jsonb_build_object('state', state, 'schema', failed_schema, 'table', failed_table, 'constraint', failed_constraint, 'column', failed_column);
    END IF;
    FOREACH number IN ARRAY failing LOOP
      blame := kith.blame(items[number], errors[number]);
      items[number].fault := blame.reason;
      items[number].blamed := blame.names;
    END LOOP;
  END;
END $$;
COMMENT ON FUNCTION kith.write_tied IS 'Writes pending rows that refer to each other, or that exchange unique values.';

-- All of them, else those of a table. A row that changed once is put back in one step anyway.
CREATE OR REPLACE FUNCTION kith.exchange_keys(secret text, INOUT items kith.undo_item[], INOUT failing integer[], partly integer[], planned jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE batch record; number integer; state text;
BEGIN
  FOR batch IN SELECT x.numbers FROM (SELECT 1 AS place, failing AS numbers UNION ALL SELECT 2, array_agg(i.n) FROM unnest(items) i WHERE i.n = ANY (failing) GROUP BY i.relation) x
                WHERE NOT x.numbers && partly AND EXISTS (SELECT FROM unnest(items) i WHERE i.n = ANY (x.numbers) AND cardinality(i.members) > 1) ORDER BY x.place LOOP
    CONTINUE WHEN NOT batch.numbers <@ failing;
    BEGIN
      PERFORM kith.step_back(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.n = ANY (batch.numbers)), planned);
      FOREACH number IN ARRAY batch.numbers LOOP
        items[number].state := 'done';
      END LOOP;
      failing := ARRAY(SELECT f.n FROM unnest(failing) f(n) WHERE f.n <> ALL (batch.numbers));
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF kith.is_passing(state) THEN
        RAISE;
      END IF;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.exchange_keys IS 'Puts back, change by change, failing rows that have exchanged their keys.';

-- Deferred triggers of the workspace's may remove rows as well.
CREATE OR REPLACE FUNCTION kith.settle(secret text, items kith.undo_item[], planned jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.restore_order(items);
  PERFORM kith.check_constraints();
  IF kith.removes_others(secret, 0, planned) THEN
    RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
  END IF;
END $$;
COMMENT ON FUNCTION kith.settle IS 'Ends the writing of rows: sets positions, and checks what is checked at the end.';

-- An update goes back but for the columns that are in the way. If it does not `skip`, only those that errors name are known.
CREATE OR REPLACE FUNCTION kith.leave_failing(secret text, INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT narrowed integer[], planned jsonb, skips boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE item kith.undo_item; rest kith.undo_item; names text[];
BEGIN
  FOREACH item IN ARRAY items LOOP
    CONTINUE WHEN item.state <> 'failing';
    names := item.blamed;
    IF skips AND item.act = 'update' AND names = '{}' THEN
      names := kith.columns_in_the_way(secret, item, planned);
    END IF;
    conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'may_stay', item.may_stay,
                                                 'columns', CASE WHEN item.act = 'update' THEN kith.as_conflict(item, names, item.expected) END);
    rest := kith.without_columns(item, names);
    IF item.act = 'update' AND names <> '{}' AND rest.back <> '{}' THEN
      item := rest;
      item.state := 'pending';
      item.blamed := '{}';
      narrowed := narrowed || item.n;
    ELSE
      item.state := 'left';
    END IF;
    items[item.n] := item;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.leave_failing IS 'Leaves the rows that could not be written, or the columns of theirs that are in the way: those rows are in `narrowed` and pending.';

-- Another row may have by now the key that a row of the plan had. What would refer to the row of the plan does not go back to that one.
CREATE OR REPLACE FUNCTION kith.leave_dependents(INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT partly integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE dependent record; item kith.undo_item; found_any boolean;
BEGIN
  LOOP
    found_any := false;
    FOR dependent IN
      WITH f AS MATERIALIZED (
             SELECT k.oid, k.conrelid, k.confrelid,
                    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY c(number, place) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place) AS names,
                    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY c(number, place) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.number ORDER BY c.place) AS referenced
               FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT i.relation FROM unnest(items) i) AND k.confrelid IN (SELECT i.relation FROM unnest(items) i)),
           p AS MATERIALIZED (
             SELECT f.oid, ARRAY(SELECT coalesce(i.back_shown -> x.name, i.expected -> x.name) FROM unnest(f.referenced) WITH ORDINALITY x(name, place) ORDER BY x.place) AS old
               FROM unnest(items) i JOIN f ON f.confrelid = i.relation
              WHERE i.act = 'insert' AND i.state = 'left'
                 OR i.act = 'update' AND EXISTS (SELECT FROM unnest(f.referenced) x(name) WHERE i.back_shown ? x.name AND i.back_shown -> x.name <> i.expected -> x.name AND (i.state = 'left' OR NOT i.target ? x.name)))
      SELECT c.n, array_agg(x.name) AS names
        FROM (SELECT i.n, f.oid, f.names, ARRAY(SELECT coalesce(i.back_shown -> x.name, i.expected -> x.name) FROM unnest(f.names) WITH ORDINALITY x(name, place) ORDER BY x.place) AS old
                FROM unnest(items) i JOIN f ON f.conrelid = i.relation WHERE i.state <> 'left' AND (i.act = 'insert' OR i.act = 'update' AND i.target ?| f.names)) c
        JOIN p ON (p.oid, p.old) = (c.oid, c.old) CROSS JOIN LATERAL unnest(c.names) x(name)
       WHERE 'null' <> ALL (c.old)
       GROUP BY c.n
    LOOP
      found_any := true;
      item := items[dependent.n];
      conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'parent_gone', 'may_stay', item.may_stay);
      IF item.act = 'update' THEN
        item := kith.without_columns(item, dependent.names);
      END IF;
      IF item.act = 'update' AND item.target <> '{}' THEN
        partly := partly || item.n;
        item.state := CASE WHEN item.back = '{}' THEN 'done' ELSE item.state END;
      ELSE
        item.state := 'left';
      END IF;
      items[dependent.n] := item;
    END LOOP;
    EXIT WHEN NOT found_any;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.leave_dependents IS 'Leaves what would refer to rows that are left, by keys that they do not get back.';

CREATE OR REPLACE FUNCTION kith.leave_strays(INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT partly integer[], strays jsonb[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE stray record; item kith.undo_item; wrong jsonb;
BEGIN
  FOR stray IN SELECT s.n, s.names, s.image FROM unnest(strays) x, jsonb_to_record(x) s(n integer, names text[], image jsonb) LOOP
    item := items[stray.n];
    wrong := CASE WHEN item.act = 'update' AND stray.image IS NOT NULL THEN kith.as_conflict(item, stray.names, stray.image) END;
    conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'not_permitted', 'columns', wrong, 'may_stay', false);
    item := kith.without_columns(item, stray.names);
    IF wrong IS NULL OR item.target = '{}' THEN
      item.state := 'left';
    ELSE
      partly := partly || item.n;
      IF item.back = '{}' THEN
        item.state := 'done';
      END IF;
    END IF;
    items[stray.n] := item;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.leave_strays IS 'Leaves what triggers do not let go back, as astray() found it: columns of an update, else the whole row.';

CREATE OR REPLACE FUNCTION kith.leave_as_found(INOUT compared kith.undo_item[], INOUT partly integer[], items kith.undo_item[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE item kith.undo_item;
BEGIN
  FOREACH item IN ARRAY items LOOP
    IF item.state = 'left' THEN
      compared[item.n].state := 'left';
    ELSIF item.target <> compared[item.n].target THEN
      compared[item.n] := kith.without_columns(compared[item.n], ARRAY(SELECT c.name FROM jsonb_object_keys(compared[item.n].target) c(name) WHERE NOT item.target ? c.name));
      partly := partly || item.n;
      IF compared[item.n].back = '{}' THEN
        compared[item.n].state := 'done';
      END IF;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.leave_as_found IS 'Leaves in a plan what was left when it was written.';

CREATE OR REPLACE FUNCTION kith.planned(items kith.undo_item[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A row may take the key of one that is deleted.
  SELECT coalesce(jsonb_object_agg(concat(i.relation, ' ', i.key_text), CASE i.act WHEN 'delete' THEN 'delete' ELSE 'write' END ORDER BY i.act = 'delete'), '{}') FROM unnest(items) i WHERE i.state <> 'left'
$$;
COMMENT ON FUNCTION kith.planned IS 'The rows of a plan that are not left, {"relation key": "delete" or "write"}.';

-- It runs with the rights of the caller and compares before it writes. If it returns conflicts, the server rolls back. It waits for locks for
-- less than the time after which PostgreSQL looks for deadlocks, and the server repeats it, so that others' transactions are not the ones that
-- end.
CREATE OR REPLACE FUNCTION kith.undo(secret text, id text, kind text, target text, kept_since timestamptz, skips boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET lc_monetary = 'C' SET quote_all_identifiers = off SET lock_timeout = '100ms' AS $$
DECLARE
  plan record; items kith.undo_item[]; compared kith.undo_item[]; conflicts jsonb[]; compared_conflicts jsonb[]; partly integer[]; narrowed integer[];
  all_relations oid[]; planned jsonb; has_moves boolean; may_stray boolean; may_replay boolean; at_once boolean := false; replay text;
  passes integer := 0; most_passes CONSTANT integer := 10; most integer; known integer; number integer; failing integer[]; strays jsonb[]; state text; undone bigint; skipped jsonb[]; seqs bigint[];
BEGIN
  plan := kith.undo_plan(secret, kind, target, kept_since);
  IF plan.status <> 'open' THEN
    RETURN jsonb_build_object('status', plan.status);
  END IF;
  SELECT c.* INTO compared, compared_conflicts, partly FROM kith.compare_rows(secret, plan.seqs, plan.items) c;
  SELECT o.* INTO compared, compared_conflicts FROM kith.find_obstacles(compared, compared_conflicts) o;
  IF skips AND compared_conflicts <> '{}' THEN
    SELECT d.* INTO compared, compared_conflicts, partly FROM kith.leave_dependents(compared, compared_conflicts, partly) d;
  END IF;
  SELECT array_agg(DISTINCT i.relation), coalesce(bool_or(i.name IN ('emails', 'deals', 'pipelines', 'pipeline_stages')), false), coalesce(sum(cardinality(i.members)) <= 2000, true)
    INTO all_relations, may_stray, may_replay FROM unnest(compared) i;
  PERFORM kith.lift_seal(secret);
  -- Comparing costs time. Only triggers make a row other than it was written: the workspace's own, those that place deals and attach e-mails, and foreign
  -- keys, which follow a key that others have exchanged, or empty a reference.
  has_moves := EXISTS (
    SELECT FROM unnest(compared) i
      LEFT JOIN (SELECT f.confrelid, array_agg(a.attname::text) AS names FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey)
                  WHERE f.contype = 'f' AND f.confupdtype IN ('c', 'n', 'd') AND f.confrelid = ANY (all_relations) GROUP BY f.confrelid) f ON f.confrelid = i.relation
     WHERE i.act = 'update' AND (i.back ?| ARRAY(SELECT jsonb_object_keys(i.key)) OR i.back ?| f.names));
  may_stray := may_stray OR has_moves OR EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND p.pronamespace <> 'kith'::regnamespace)
            OR EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = ANY (all_relations) AND f.confrelid = ANY (all_relations)
                          AND (f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('n', 'd')));
  -- To put the changes themselves back takes longer, and is in vain where another row is in the way.
  may_replay := may_replay OR has_moves;

  -- Writes the rows. If no order of writing is right because rows have exchanged their keys, the changes themselves are put back one by one.
  -- Deferred constraints are checked at the end. If one does not hold then, all is written again with the constraints checked at once, which
  -- shows whose row it is. What triggers change is left, and the rest written again.
  LOOP
    passes := passes + 1;
    items := compared;
    planned := kith.planned(items);
    conflicts := compared_conflicts;
    narrowed := '{}';
    most := NULL;
    BEGIN
      IF at_once THEN
        SET CONSTRAINTS ALL IMMEDIATE;
      ELSE
        PERFORM kith.defer_constraints(all_relations);
      END IF;
      IF replay = 'due' THEN
        replay := 'done';
        BEGIN
          PERFORM kith.step_back(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.state = 'pending'), planned);
          items := ARRAY(SELECT jsonb_populate_record(i, CASE WHEN i.state = 'pending' THEN '{"state": "done"}' ELSE '{}' END::jsonb) FROM unnest(items) i ORDER BY i.n);
        EXCEPTION WHEN OTHERS THEN
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
          IF kith.is_passing(state) THEN
            RAISE;
          END IF;
        END;
      END IF;
      items := kith.give_keys_back(items);
      LOOP
        SELECT w.* INTO items, most FROM kith.write_pending(secret, items, most, planned) w;
        EXIT WHEN NOT EXISTS (SELECT FROM unnest(items) i WHERE i.state = 'pending');
        SELECT w.* INTO items, failing FROM kith.write_tied(secret, items, all_relations, planned, at_once) w;
        SELECT e.* INTO items, failing FROM kith.exchange_keys(secret, items, failing, partly || narrowed, planned) e;
        IF replay IS NULL AND partly = '{}' AND narrowed = '{}' AND failing <> '{}'
           AND (may_replay OR EXISTS (SELECT FROM unnest(items) i WHERE i.n = ANY (failing) AND cardinality(i.members) > 1)) THEN
          RAISE EXCEPTION 'rows have exchanged their keys' USING ERRCODE = 'KL014';
        END IF;
        FOREACH number IN ARRAY failing LOOP
          items[number].state := 'failing';
        END LOOP;
        known := cardinality(conflicts) + cardinality(failing);
        SELECT l.* INTO items, conflicts, narrowed FROM kith.leave_failing(secret, items, conflicts, narrowed, planned, skips) l;
        planned := kith.planned(items);
        IF skips AND failing <> '{}' THEN
          SELECT d.* INTO items, conflicts, narrowed FROM kith.leave_dependents(items, conflicts, narrowed) d;
          IF cardinality(conflicts) > known THEN
            RAISE EXCEPTION 'others refer to what is left' USING ERRCODE = 'KL016';
          END IF;
        END IF;
      END LOOP;
      -- Positions are set when the rows belong to what they belonged to.
      IF has_moves THEN
        PERFORM kith.write_again(items);
      END IF;
      PERFORM kith.settle(secret, items, planned);
      -- The server rolls back a conflict that is known already.
      EXIT WHEN NOT may_stray OR NOT skips AND EXISTS (SELECT FROM unnest(conflicts) c WHERE NOT (c -> 'may_stay')::boolean);
      EXIT WHEN NOT EXISTS (SELECT FROM kith.astray(items));
      IF NOT at_once THEN
        PERFORM kith.defer_constraints(all_relations);
      END IF;
      PERFORM kith.write_again(items);
      PERFORM kith.settle(secret, items, planned);
      strays := ARRAY(SELECT to_jsonb(a) FROM kith.astray(items) a ORDER BY a.n);
      EXIT WHEN strays = '{}';
      IF has_moves AND replay IS NULL AND partly = '{}' AND narrowed = '{}' THEN
        RAISE EXCEPTION 'foreign keys follow the wrong rows' USING ERRCODE = 'KL014';
      END IF;
      RAISE EXCEPTION 'triggers change what is put back' USING ERRCODE = 'KL012';
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF state = 'KL014' THEN
        replay := 'due';
        CONTINUE;
      ELSIF state IN ('KL010', 'KL016') AND passes < most_passes AND (narrowed <> '{}' OR EXISTS (SELECT FROM unnest(items) i JOIN unnest(compared) c ON c.n = i.n WHERE i.state = 'left' AND c.state <> 'left')) THEN
        -- What has to stay was removed with another row, or another one written as if it did not stay, before that was known.
        SELECT l.* INTO compared, partly FROM kith.leave_as_found(compared, partly, items) l;
        compared_conflicts := conflicts;
        CONTINUE;
      ELSIF state <> 'KL012' AND at_once OR kith.is_passing(state) THEN
        -- It is refused for what is known.
        IF NOT skips AND compared_conflicts <> '{}' AND NOT kith.is_passing(state) THEN
          conflicts := compared_conflicts;
          EXIT;
        END IF;
        RAISE;
      END IF;
    END;
    at_once := state <> 'KL012';
    CONTINUE WHEN at_once;
    SELECT l.* INTO compared, compared_conflicts, partly FROM kith.leave_strays(compared, compared_conflicts, partly, strays) l;
    conflicts := compared_conflicts;
    EXIT WHEN NOT skips;
    IF passes >= most_passes THEN
      PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
      RETURN jsonb_build_object('status', 'conflict', 'conflicts', (SELECT jsonb_agg(c - 'may_stay') FROM unnest(conflicts) c), 'rows', cardinality(items));
    END IF;
  END LOOP;
  -- What is done from the beginning stays so.
  undone := (SELECT count(*) FROM unnest(items) i WHERE i.state = 'done') - (SELECT count(*) FROM unnest(compared) c WHERE c.state = 'done');
  -- The rest of a row of which columns were left can be undone later.
  seqs := ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.state = 'done' AND i.n <> ALL (partly || narrowed));

  -- What triggers wrote goes back if it can. If that alone is left, the rest is undone already.
  IF plan.is_rest AND undone = 0 AND seqs = '{}' AND NOT EXISTS (SELECT FROM unnest(conflicts) c WHERE NOT (c -> 'may_stay')::boolean) THEN
    RETURN '{"status": "undone"}';
  END IF;
  skipped := ARRAY(SELECT c - '{may_stay,columns}'::text[] FROM unnest(conflicts) c WHERE skips OR (c -> 'may_stay')::boolean);
  conflicts := ARRAY(SELECT c - 'may_stay' FROM unnest(conflicts) c WHERE NOT skips AND NOT (c -> 'may_stay')::boolean);
  PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
  IF conflicts <> '{}' THEN
    RETURN jsonb_build_object('status', 'conflict', 'conflicts', to_jsonb(conflicts), 'rows', cardinality(items));
  END IF;
  RETURN jsonb_build_object('status', 'done', 'undone', undone, 'skipped', to_jsonb(skipped), 'is_run', kith.end_undo(secret, id, kind, target, seqs, undone > 0));
END $$;
COMMENT ON FUNCTION kith.undo IS 'Puts back what a run, a request or a change changed, as far as nothing else has changed since. For the server, which knows the secret.';

REVOKE ALL ON FUNCTION kith.as_conflict, kith.without_columns, kith.compare_rows, kith.find_obstacles, kith.blame, kith.can_write, kith.columns_in_the_way, kith.follow_cascades, kith.delete_moved, kith.write_pending, kith.write_tied, kith.exchange_keys, kith.settle, kith.leave_failing, kith.leave_dependents, kith.leave_strays, kith.leave_as_found, kith.planned, kith.undo FROM PUBLIC;
-- They run with the caller's rights.
GRANT EXECUTE ON FUNCTION kith.as_conflict, kith.without_columns, kith.compare_rows, kith.find_obstacles, kith.blame, kith.can_write, kith.columns_in_the_way, kith.follow_cascades, kith.delete_moved, kith.write_pending, kith.write_tied, kith.exchange_keys, kith.settle, kith.leave_failing, kith.leave_dependents, kith.leave_strays, kith.leave_as_found, kith.planned, kith.undo TO PUBLIC;
