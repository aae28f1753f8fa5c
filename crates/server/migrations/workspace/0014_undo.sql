-- Runs as callers see them, and undo. README.md describes roles, sections and rules.

-- section: system

-- Runs.

-- A list of runs counts many changes. What a row's only change says of it needs no images; the rows that changed several times are compared.
CREATE FUNCTION kith.affected_by(run text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH noted AS MATERIALIZED (
         SELECT c.seq, c.shape, c.verb, count(*) OVER (PARTITION BY c.relation, c.key) AS times, bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) AS moved
           FROM kith.change c WHERE c.run = affected_by.run),
       each_row AS (
         SELECT n.shape, n.verb FROM noted n WHERE n.times = 1 AND NOT n.moved
          UNION ALL
         SELECT m.shape, m.verb FROM kith.net(ARRAY(SELECT c FROM kith.change c WHERE c.seq IN (SELECT n.seq FROM noted n WHERE n.times > 1 OR n.moved))) m)
  SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
    FROM (SELECT s.name, count(*) FILTER (WHERE e.verb = 'created') AS created, count(*) FILTER (WHERE e.verb = 'updated') AS updated,
                 count(*) FILTER (WHERE e.verb = 'deleted') AS deleted, count(*) FILTER (WHERE e.verb = 'restored') AS restored
            FROM each_row e JOIN kith.shape s ON s.id = e.shape GROUP BY s.name) x
$$;
COMMENT ON FUNCTION kith.affected_by IS 'How many rows of each table a run created, updated, deleted and restored.';

-- `oldest` is for the server, which knows how long changes can be undone.
CREATE FUNCTION kith.shown_run(r kith.run) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE facts record; why jsonb; gap_at timestamptz; requests bigint;
BEGIN
  SELECT max(c.at) AS last_at, count(*) FILTER (WHERE c.undone_by IS NULL) AS standing, count(*) AS kept,
         floor(date_part('epoch', min(c.at) FILTER (WHERE c.undone_by IS NULL)))::bigint AS oldest INTO facts FROM kith.change c WHERE c.run = r.id;
  SELECT coalesce(jsonb_agg(g.what ORDER BY g.at, g.what), '[]'), max(g.last_at) INTO why, gap_at
    FROM (SELECT g.what, min(g.at) AS at, max(g.at) AS last_at FROM kith.gap g WHERE g.run = r.id GROUP BY g.what) g;
  requests := (SELECT count(*) FROM (SELECT c.request FROM kith.change c WHERE c.run = r.id AND c.request IS NOT NULL UNION SELECT g.request FROM kith.gap g WHERE g.run = r.id AND g.request <> '') x);
  RETURN jsonb_build_object('id', r.id, 'run_id', r.run_id, 'actor', r.actor, 'agent', r.agent, 'reason', r.reason,
    'status', CASE WHEN r.undone_by IS NULL THEN r.status ELSE 'undone' END, 'summary', r.summary, 'affected', kith.affected_by(r.id), 'requests', requests,
    'started_at', r.started_at, 'last_at', coalesce(greatest(facts.last_at, gap_at), r.started_at), 'undone_by', r.undone_by, 'undo_of', r.undo_of, 'caused_by', r.caused_by, 'oldest', facts.oldest,
    'undoable', CASE WHEN facts.standing = 0 THEN 'no' WHEN why <> '[]' THEN 'partly' ELSE 'whole' END,
    'why', CASE WHEN facts.standing > 0 THEN why WHEN r.undone_by IS NOT NULL THEN '["it is undone"]' WHEN facts.kept > 0 THEN '["all of it is undone"]'
                WHEN why - 'changes that are no longer kept' <> '[]' THEN why ELSE '["no changes are kept"]' END);
END $$;
COMMENT ON FUNCTION kith.shown_run IS 'A run in the words of the API.';

CREATE FUNCTION kith.named_run(actor text, name text) RETURNS kith.run
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r FROM kith.run r WHERE r.id = named_run.name OR (r.actor, r.run_id) = (named_run.actor, named_run.name) ORDER BY r.id = named_run.name DESC LIMIT 1
$$;
COMMENT ON FUNCTION kith.named_run IS 'A run by its id, or by the actor''s own name for it.';

CREATE FUNCTION kith.find_run(secret text, actor text, name text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_run kith.run;
BEGIN
  PERFORM kith.check_secret(secret);
  found_run := kith.named_run(actor, name);
  RETURN CASE WHEN found_run.id IS NOT NULL THEN kith.shown_run(found_run) END;
END $$;
COMMENT ON FUNCTION kith.find_run IS 'One run. For the server, which knows the secret.';

CREATE FUNCTION kith.list_runs(secret text, filters jsonb, most integer) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    SELECT kith.shown_run(r) FROM kith.run r
     WHERE (filters ->> 'actor' IS NULL OR r.actor = filters ->> 'actor') AND (filters ->> 'agent' IS NULL OR r.agent = filters ->> 'agent')
       AND (filters ->> 'status' IS NULL OR CASE WHEN r.undone_by IS NULL THEN r.status ELSE 'undone' END = filters ->> 'status')
       AND (filters ->> 'since' IS NULL OR r.started_at >= (filters ->> 'since')::timestamptz)
       AND (filters ->> 'before' IS NULL OR (r.started_at, r.id) < (SELECT b.started_at, b.id FROM kith.run b WHERE b.id = filters ->> 'before'))
     ORDER BY r.started_at DESC, r.id DESC LIMIT most;
END $$;
COMMENT ON FUNCTION kith.list_runs IS 'Runs, newest first. For the server, which knows the secret.';

CREATE FUNCTION kith.open_run(secret text, actor text, run_id text, agent text, reason text) RETURNS TABLE (run jsonb, created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_run kith.run;
BEGIN
  PERFORM kith.check_secret(secret);
  INSERT INTO kith.run AS r (actor, run_id, agent, reason) VALUES (open_run.actor, open_run.run_id, open_run.agent, open_run.reason)
  ON CONFLICT ON CONSTRAINT run_actor_run_id_key DO NOTHING RETURNING r.* INTO found_run;
  created := found_run.id IS NOT NULL;
  IF NOT created THEN
    SELECT r.* INTO found_run FROM kith.run r WHERE (r.actor, r.run_id) = (open_run.actor, open_run.run_id);
    IF found_run.status <> 'open' OR found_run.undone_by IS NOT NULL THEN
      RAISE EXCEPTION 'run "%" has ended', open_run.run_id USING ERRCODE = 'KL002', HINT = 'Choose another run_id.';
    END IF;
  END IF;
  run := kith.shown_run(found_run);
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION kith.open_run IS 'Opens a run, or returns the same open one. For the server, which knows the secret.';

CREATE FUNCTION kith.finish_run(secret text, actor text, name text, status text, summary text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_run kith.run := kith.named_run(actor, name);
BEGIN
  PERFORM kith.check_secret(secret);
  IF found_run.id IS NULL THEN
    RETURN NULL;
  END IF;
  UPDATE kith.run AS r SET status = finish_run.status, summary = finish_run.summary
   WHERE r.id = found_run.id AND r.status = 'open' AND r.undone_by IS NULL RETURNING r.* INTO found_run;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'run "%" has ended', name USING ERRCODE = 'KL002';
  END IF;
  RETURN kith.shown_run(found_run);
END $$;
COMMENT ON FUNCTION kith.finish_run IS 'Ends a run. For the server, which knows the secret.';

CREATE FUNCTION kith.run_changes(secret text, run text, net boolean, after bigint, most integer) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE hidden oid[] := kith.hidden_relations();
BEGIN
  PERFORM kith.check_secret(secret);
  IF net THEN
    RETURN QUERY SELECT x FROM kith.shown(ARRAY(SELECT c FROM kith.change c WHERE c.run = run_changes.run AND c.relation <> ALL (hidden)), NULL) x WHERE (x ->> 'seq')::bigint > after LIMIT most;
  ELSE
    RETURN QUERY
      SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(c.shape, c.image), 'verb', c.verb, 'hard', c.op = 'D',
                                'changes', kith.columns_of(c.op, c.image, c.previous),
                                'via', c.via, 'at', c.at, 'request_id', c.request, 'activity_id', c.activity, 'seq', c.seq)
        FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.run = run_changes.run AND c.seq > after AND c.relation <> ALL (hidden) ORDER BY c.seq LIMIT most;
  END IF;
END $$;
COMMENT ON FUNCTION kith.run_changes IS 'The changes of a run that the session may see, oldest first. For the server, which knows the secret.';

CREATE FUNCTION kith.row_changes(secret text, "table" text, key text, before timestamptz, most integer) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  hidden oid[] := kith.hidden_relations();
  found_relation oid := (SELECT r.oid FROM pg_class r WHERE r.relnamespace = 'public'::regnamespace AND r.relname = "table");
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    SELECT jsonb_build_object('seq', c.seq, 'at', c.at, 'actor', c.actor, 'request_id', c.request, 'verb', c.verb, 'hard', c.op = 'D', 'via', c.via,
                              'changes', kith.columns_of(c.op, c.image, c.previous), 'run_id', r.run_id,
                              'agent', coalesce(c.said ->> 'agent', r.agent), 'reason', coalesce(c.said ->> 'reason', r.reason))
      FROM kith.change c LEFT JOIN kith.run r ON r.id = c.run
     WHERE c.relation = found_relation AND c.key = row_changes.key AND c.activity IS NULL AND c.relation <> ALL (hidden) AND (before IS NULL OR c.at < before)
     ORDER BY c.seq DESC LIMIT most;
END $$;
COMMENT ON FUNCTION kith.row_changes IS 'The changes of a row that have no entry in the feed, newest first. For the server, which knows the secret.';

-- Undo.

-- One row that is to be put back. A text is what the type's input function takes.
CREATE TYPE kith.undo_item AS (
  n integer,
  relation oid,
  name text,
  id jsonb,
  key_text text,
  act text,
  via text,
  key jsonb,
  back jsonb,
  back_shown jsonb,
  expected jsonb,
  expected_exact jsonb,
  members bigint[],
  fault text,
  columns jsonb,
  state text,
  target jsonb
);
COMMENT ON TYPE kith.undo_item IS 'A row to put back: act is insert, update or delete; back are the texts of the columns to write, target those that it has to have in the end.';

-- The texts of columns, as their input functions take them.
-- It has an SQL-standard body and no SET clause, so that queries can inline it.
CREATE FUNCTION kith.texts(image jsonb, exact jsonb, json_columns text[]) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (
  SELECT coalesce(jsonb_object_agg(k.name, CASE WHEN exact ? k.name THEN exact -> k.name WHEN image -> k.name = 'null' THEN 'null'::jsonb
                                                WHEN k.name = ANY (json_columns) THEN to_jsonb((image -> k.name)::text)
                                                ELSE to_jsonb(image ->> k.name) END), '{}')
    FROM jsonb_object_keys(image) k(name)
);
COMMENT ON FUNCTION kith.texts IS 'The values of a row as texts: {column: text or null}.';

-- What a row's only change says of it needs no comparison of images. The rows that changed several times, or whose values JSON does not hold to the
-- letter, and tables that have other columns now, are compared.
CREATE FUNCTION kith.undo_plan(secret text, kind text, target text, kept_since timestamptz, OUT status text, OUT items kith.undo_item[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seqs bigint[]; facts record;
  request_of_entry text := (SELECT a.custom ->> 'request_id' FROM public.activity a WHERE kind = 'activity' AND a.id = target);
BEGIN
  PERFORM kith.check_secret(secret);
  -- A statement for each index.
  IF kind = 'run' THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.run = target);
  ELSIF kind = 'request' THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.request = target);
  ELSIF request_of_entry IS NULL THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.activity = target AND c.request IS NULL);
  ELSE
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.activity = target AND c.request = request_of_entry);
  END IF;
  items := '{}';
  SELECT count(*) AS standing, min(c.at) AS oldest INTO facts FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL;
  IF seqs = '{}' THEN
    status := CASE WHEN kind = 'run' AND EXISTS (SELECT FROM kith.run r WHERE r.id = target AND r.started_at < kept_since)
                     OR kind = 'request' AND EXISTS (SELECT FROM public.activity a WHERE a.custom ->> 'request_id' = target AND a.verb <> 'conflict' AND a.occurred_at < kept_since)
                     OR kind = 'activity' AND EXISTS (SELECT FROM public.activity a WHERE a.id = target AND a.verb <> 'conflict' AND a.occurred_at < kept_since) THEN 'expired'
                   WHEN kind = 'run' AND EXISTS (SELECT FROM kith.run r WHERE r.id = target) THEN 'undone' ELSE 'unknown' END;
    RETURN;
  ELSIF kept_since = 'infinity' THEN
    status := 'expired';
    RETURN;
  ELSIF facts.standing = 0 THEN
    status := 'undone';
    RETURN;
  ELSIF facts.oldest < kept_since THEN
    status := 'expired';
    RETURN;
  END IF;
  status := 'open';
  WITH shapes AS MATERIALIZED (
         SELECT h.id, h.name::text AS name, h.key, h.only_key, h.doubtful, h.columns, ARRAY(SELECT c.key FROM jsonb_each(h.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype) AS json_columns,
                m.id IS NOT NULL AND m.key = h.key AND r.oid IS NOT NULL AS is_there, m.key AS key_now, m.columns AS columns_now,
                m.id = h.id AND r.oid IS NOT NULL AND h.only_key IS NOT NULL AS is_same
           FROM kith.shape h LEFT JOIN kith.shape m ON m.relation = h.relation AND m.is_current LEFT JOIN pg_class r ON r.oid = h.relation),
       noted AS MATERIALIZED (
         SELECT c.seq, s.is_same AND c.exact IS NULL AND count(*) OVER (PARTITION BY c.relation, c.key) = 1 AND NOT bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) AS is_only
           FROM kith.change c JOIN shapes s ON s.id = c.shape WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL),
       only_changes AS (
         SELECT c.relation, s.name, c.image -> s.only_key AS id, c.key AS key_text, CASE c.op WHEN 'I' THEN 'delete' WHEN 'D' THEN 'insert' ELSE 'update' END AS act, c.via,
                kith.texts(jsonb_build_object(s.only_key, c.image -> s.only_key), NULL, s.json_columns) AS key,
                CASE c.op WHEN 'I' THEN '{}' ELSE kith.texts(CASE c.op WHEN 'U' THEN c.previous ELSE c.image END, NULL, s.json_columns) END AS back,
                CASE c.op WHEN 'I' THEN '{}' WHEN 'U' THEN c.previous ELSE c.image END AS back_shown, CASE c.op WHEN 'D' THEN '{}' ELSE c.image END AS expected, '{}'::jsonb AS expected_exact,
                ARRAY[c.seq] AS members, NULL AS fault, s.columns_now
           FROM noted o JOIN kith.change c ON c.seq = o.seq JOIN shapes s ON s.id = c.shape WHERE o.is_only),
       compared AS (
         SELECT n.relation, s.name, kith.shown_key(n.shape, coalesce(n.after, n.before)) AS id, CASE WHEN n.after IS NULL THEN kith.key_of(n.before, s.key, s.doubtful) ELSE n.key END AS key_text,
                CASE WHEN n.before IS NULL THEN 'delete' WHEN n.after IS NULL THEN 'insert' ELSE 'update' END AS act, n.via,
                (SELECT jsonb_object_agg(k.name, f.found_texts -> k.name::text) FROM unnest(s.key_now) k(name)) AS key,
                CASE WHEN n.before IS NULL THEN '{}' WHEN n.after IS NULL THEN kith.texts(n.before, n.exact_before, s.json_columns)
                     ELSE kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(n.before) b WHERE d.changed ? b.key), n.exact_before, s.json_columns) END AS back,
                coalesce(n.before, '{}') AS back_shown, coalesce(n.after, '{}') AS expected, coalesce(n.exact_after, '{}') AS expected_exact, n.members,
                CASE WHEN NOT s.is_there
                       OR EXISTS (SELECT FROM jsonb_each(s.columns) c
                                   WHERE (d.changed ? c.key OR n.before IS NULL OR n.after IS NULL OR c.key = ANY (s.key::text[])) AND s.columns_now -> c.key IS DISTINCT FROM c.value) THEN 'schema_changed' END AS fault,
                s.columns_now
           FROM kith.net(ARRAY(SELECT c FROM noted o JOIN kith.change c ON c.seq = o.seq WHERE NOT o.is_only)) n
           JOIN shapes s ON s.id = n.shape
          CROSS JOIN LATERAL (SELECT kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after) AS changed OFFSET 0) d
          CROSS JOIN LATERAL (
                SELECT kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(coalesce(n.after, n.before)) b WHERE b.key = ANY (s.key::text[])),
                                  coalesce(n.exact_after, n.exact_before), s.json_columns) AS found_texts OFFSET 0) f)
  SELECT coalesce(array_agg(ROW(x.n, x.relation, x.name, x.id, x.key_text, x.act, x.via, x.key, x.back, x.back_shown, x.expected, x.expected_exact, x.members, x.fault, x.columns_now, NULL, x.back - 'updated_at')::kith.undo_item
                            ORDER BY x.n), '{}')
    INTO items
    FROM (SELECT row_number() OVER (ORDER BY y.relation, y.key_text)::integer AS n, y.* FROM (SELECT * FROM only_changes UNION ALL SELECT * FROM compared) y) x;
  -- The rest may be rows that were created and deleted.
  IF items = '{}' AND EXISTS (SELECT FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NOT NULL) THEN
    status := 'undone';
  END IF;
END $$;
COMMENT ON FUNCTION kith.undo_plan IS 'What undoing a run, a request or a change would put back. For the server, which knows the secret.';

CREATE FUNCTION kith.begin_undo(secret text, id text, actor text, agent text, reason text, undo_of text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  INSERT INTO kith.run AS r (id, actor, run_id, agent, reason, undo_of) VALUES (begin_undo.id, begin_undo.actor, begin_undo.id, begin_undo.agent, begin_undo.reason, begin_undo.undo_of);
END $$;
COMMENT ON FUNCTION kith.begin_undo IS 'Opens the run of an undo. For the server, which knows the secret.';

CREATE FUNCTION kith.last_change(secret text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN (SELECT s.last_value FROM kith.change_seq_seq s);
END $$;
COMMENT ON FUNCTION kith.last_change IS 'The last number of the log: what this transaction changes from now on has a higher one. For the server, which knows the secret.';

-- Rows that this transaction removed, or whose references it changed, although they are not part of the plan. It is called after each statement, so it
-- must not read all changes of the transaction, nor all rows of the plan.
CREATE FUNCTION kith.removes_others(secret text, since bigint, planned jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  IF since = 0 THEN
    RETURN EXISTS (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned() AND (c.op = 'D' OR c.via = 'cascade')
                      AND NOT planned ? concat(c.relation, ' ', c.key) AND NOT planned ? concat(c.relation, ' ', coalesce(c.was, c.key)));
  END IF;
  RETURN EXISTS (SELECT FROM (SELECT c.xid, c.relation, c.key, c.was, c.op, c.via FROM kith.change c WHERE c.seq > since ORDER BY c.seq OFFSET 0) c
                  WHERE c.xid = pg_current_xact_id_if_assigned() AND (c.op = 'D' OR c.via = 'cascade')
                    AND NOT planned ? concat(c.relation, ' ', c.key) AND NOT planned ? concat(c.relation, ' ', coalesce(c.was, c.key)));
END $$;
COMMENT ON FUNCTION kith.removes_others IS 'Whether rows outside the plan, {"relation key": true}, were removed. For the server, which knows the secret.';

-- The last change goes first. What a foreign key did comes after its cause: a row that a cascade deleted refers to the row that was deleted before it.
CREATE FUNCTION kith.steps_back(secret text, seqs bigint[]) RETURNS TABLE (relation oid, act text, via text, columns jsonb, key jsonb, back jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    WITH shapes AS MATERIALIZED (
           SELECT h.id, h.key, m.columns, ARRAY(SELECT c.key FROM jsonb_each(h.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype) AS json_columns
             FROM kith.shape h JOIN kith.shape m ON m.relation = h.relation AND m.is_current),
         placed AS (
           SELECT c.*, c.via = 'cascade' AS is_effect, c.via <> 'cascade' AND lag(c.via) OVER (ORDER BY c.seq) = 'cascade' AS is_next FROM kith.change c WHERE c.seq = ANY (seqs)),
         grouped AS (
           SELECT p.*, count(*) FILTER (WHERE p.is_next) OVER (ORDER BY p.seq) AS place FROM placed p)
    SELECT g.relation, CASE g.op WHEN 'I' THEN 'delete' WHEN 'D' THEN 'insert' ELSE 'update' END, g.via, s.columns,
           kith.texts((SELECT jsonb_object_agg(k.name, g.image -> k.name::text) FROM unnest(s.key) k(name)), g.exact -> 'row', s.json_columns),
           CASE g.op WHEN 'I' THEN '{}' WHEN 'U' THEN kith.texts(g.previous, g.exact -> 'previous', s.json_columns) ELSE kith.texts(g.image, g.exact -> 'row', s.json_columns) END
      FROM grouped g JOIN shapes s ON s.id = g.shape
     ORDER BY g.place DESC, g.is_effect, CASE WHEN g.is_effect THEN g.seq ELSE - g.seq END;
END $$;
COMMENT ON FUNCTION kith.steps_back IS 'What puts changes back one by one, in that order. For the server, which knows the secret.';

-- Another undo may have put the same rows back since this one read the log. The error makes the server repeat it, and it reads again.
CREATE FUNCTION kith.check_standing(secret text, seqs bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  IF (SELECT count(*) FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL) <> cardinality(seqs) THEN
    RAISE EXCEPTION 'another undo has put these rows back' USING ERRCODE = '40001';
  END IF;
END $$;
COMMENT ON FUNCTION kith.check_standing IS 'Refuses changes that are undone. For the server, which knows the secret.';

CREATE FUNCTION kith.end_undo(secret text, id text, kind text, target text, seqs bigint[], wrote boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE marked bigint; undos text[];
BEGIN
  PERFORM kith.check_secret(secret);
  -- What undoes nothing is no run.
  IF seqs = '{}' AND NOT wrote THEN
    DELETE FROM kith.run r WHERE r.id = end_undo.id;
    RETURN false;
  END IF;
  UPDATE kith.change AS c SET undone_by = end_undo.id WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL;
  GET DIAGNOSTICS marked = ROW_COUNT;
  -- It waits for another undo that is marking them. See check_standing().
  IF marked <> cardinality(seqs) THEN
    RAISE EXCEPTION 'another undo has put these rows back' USING ERRCODE = '40001';
  END IF;
  -- What an undone undo had put back is as it was before it. An undo writes a row once, so it has no change of the keys that the row had in between.
  undos := ARRAY(SELECT DISTINCT m.run FROM kith.change m JOIN kith.run r ON r.id = m.run WHERE m.seq = ANY (seqs) AND r.undo_of IS NOT NULL);
  UPDATE kith.change AS c SET undone_by = NULL
    FROM (WITH undone AS MATERIALIZED (SELECT u.seq, u.undone_by, u.relation, u.key, u.was FROM kith.change u WHERE u.undone_by = ANY (undos)),
               stands AS MATERIALIZED (
                 SELECT u.seq FROM undone u
                  WHERE (u.undone_by, u.relation, u.key) IN (SELECT m.run, m.relation, k.key FROM kith.change m, unnest(ARRAY[m.key, m.was]) k(key) WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL AND k.key IS NOT NULL)
                     OR (u.undone_by, u.relation, u.was) IN (SELECT m.run, m.relation, m.key FROM kith.change m WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL)),
               moved AS MATERIALIZED (
                 SELECT r.* FROM kith.rows_of(ARRAY(SELECT u FROM kith.change u WHERE u.undone_by = ANY (undos) AND u.relation IN (SELECT x.relation FROM undone x WHERE x.was IS NOT NULL))) r)
          SELECT s.seq FROM stands s UNION SELECT o.seq FROM stands s JOIN moved m ON m.seq = s.seq JOIN moved o ON o.first = m.first) x
   WHERE c.seq = x.seq;
  IF kind = 'run' THEN
    UPDATE kith.run AS r SET undone_by = end_undo.id WHERE r.id = target;
    UPDATE kith.run AS r SET undone_by = NULL WHERE r.undone_by = target;
  ELSE
    -- The request or the entries of an undo.
    UPDATE kith.run AS r SET undone_by = NULL
     WHERE r.undone_by = ANY (undos) AND NOT EXISTS (SELECT FROM kith.change c WHERE c.run = r.id AND c.undone_by = r.undone_by);
  END IF;
  UPDATE kith.run AS r SET status = 'complete' WHERE r.id = end_undo.id;
  RETURN true;
END $$;
COMMENT ON FUNCTION kith.end_undo IS 'Marks changes as undone and ends the run of the undo. Returns whether there is one. For the server, which knows the secret.';

CREATE FUNCTION kith.undone_changes(secret text, id text) RETURNS TABLE (seq bigint, milliseconds bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT c.seq, floor(extract(epoch FROM c.at) * 1000)::bigint FROM kith.change c WHERE c.undone_by = undone_changes.id ORDER BY c.seq;
END $$;
COMMENT ON FUNCTION kith.undone_changes IS 'The changes that an undo put back. For the server, which knows the secret.';

-- An error that says nothing about the row: a deadlock, a lock of another transaction's, a limit, a cancelled statement, a refusal of the log's.
CREATE FUNCTION kith.is_passing(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN state LIKE '40%' OR state LIKE '53%' OR state = '55P03' OR state LIKE '57%' OR state LIKE 'KL00_';
COMMENT ON FUNCTION kith.is_passing IS 'Whether an error ends an undo instead of being a conflict of a row.';

-- The statement that puts rows of a table back. It takes arrays of keys and of texts. A move writes all rows whose keys change at once, because one may
-- take the key of another; the columns that it does not write for a row stay as they are. The alias is no name of a column: a bare alias is read as the column of that name.
--
-- Each key is looked up in the index of the rows. If the statistics are of a time when the table was empty, any other plan compares each key with each
-- row, and a plain equation allows it even without sequential scans: it may read the whole index. ANY does not. An array has no array of its own type.
CREATE FUNCTION kith.undo_statement(act text, relation regclass, columns jsonb, key jsonb, back jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
  SELECT CASE act
    WHEN 'insert' THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x)', relation,
                         (SELECT string_agg(quote_ident(b.name), ', ' ORDER BY b.name) FROM jsonb_object_keys(back) b(name)),
                         (SELECT string_agg(format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)), ', ' ORDER BY b.name) FROM jsonb_object_keys(back) b(name)))
    WHEN 'update' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', relation,
                         (SELECT string_agg(format('%I = (v.x ->> %L)::%s', b.name, b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)), ', ' ORDER BY b.name) FROM jsonb_object_keys(back) b(name)), w.is_it)
    WHEN 'move' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', relation,
                         (SELECT string_agg(format('%I = CASE WHEN v.x ? %L THEN (v.x ->> %L)::%s ELSE "kith:row".%I END', b.name, b.name, b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer), b.name), ', ' ORDER BY b.name)
                            FROM jsonb_object_keys(back) b(name)), w.is_it)
    WHEN 'delete' THEN format('DELETE FROM %s "kith:row" USING unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', relation, w.is_it)
    WHEN 'lock' THEN format('SELECT v.n, to_jsonb("kith:row".*), CASE WHEN $3 = ''{}'' THEN ''{}'' ELSE kith.exact_texts($3, "kith:row".*) END AS exact_texts FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s ORDER BY v.n FOR UPDATE OF "kith:row"', relation, w.is_it)
    WHEN 'find' THEN format('SELECT v.n, NULL::text[], to_jsonb("kith:row".*) FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s', relation, w.is_it)
    WHEN 'compare' THEN (
      SELECT format('SELECT v.n, w.names, CASE WHEN "kith:row".tableoid IS NOT NULL THEN to_jsonb("kith:row".*) END
                       FROM unnest($1::jsonb[], $2::jsonb[], $3::integer[]) v(k, x, n) LEFT JOIN %s "kith:row" ON %s CROSS JOIN LATERAL (SELECT array_remove(ARRAY[%s], NULL) AS names) w
                      WHERE "kith:row".tableoid IS NULL OR NOT coalesce(ROW(%s)) *= coalesce(ROW(%s)) AND w.names <> ''{}''', relation, w.is_it,
                    string_agg(format('CASE WHEN num_nulls(%1$s) <> num_nulls(%2$s) OR format(''%%s'', %1$s) <> format(''%%s'', %2$s) THEN %3$L END', c.now, c.target, c.name), ', ' ORDER BY c.name),
                    string_agg(c.now, ', ' ORDER BY c.name), string_agg(c.target, ', ' ORDER BY c.name))
        FROM (SELECT b.name, format('"kith:row".%I', b.name) AS now, format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)) AS target
                FROM jsonb_object_keys(back) b(name)) c) END
    FROM (SELECT string_agg(format(CASE WHEN t.typcategory = 'A' THEN '"kith:row".%1$I = (v.k ->> %2$L)::%3$s' ELSE '"kith:row".%1$I = ANY (ARRAY[(v.k ->> %2$L)::%3$s])' END,
                                   k.name, k.name, format_type((columns -> k.name ->> 1)::oid, (columns -> k.name ->> 2)::integer)), ' AND ') AS is_it
            FROM jsonb_object_keys(key) k(name) JOIN pg_type t ON t.oid = (columns -> k.name ->> 1)::oid) w
$$;
COMMENT ON FUNCTION kith.undo_statement IS 'The SQL that puts rows of a table back, locks them, finds them, or compares them with what was put back.';

CREATE FUNCTION kith.key_after(key jsonb, back jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
RETURN (SELECT jsonb_object_agg(k.key, coalesce(back -> k.key, k.value)) FROM jsonb_each(key) k);
COMMENT ON FUNCTION kith.key_after IS 'The key that a row has after it is put back.';

CREATE FUNCTION kith.without_ties(item kith.undo_item) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE item.act WHEN 'delete' THEN '{}' ELSE item.back END || coalesce(jsonb_object_agg(a.attname, NULL), '{}')
    FROM pg_attribute a
   WHERE a.attrelid = item.relation AND a.attnum > 0 AND NOT a.attnotnull AND a.attgenerated = '' AND item.columns ? a.attname::text AND (item.act = 'delete' OR item.back ? a.attname::text)
     AND EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = item.relation AND f.contype = 'f' AND a.attnum = ANY (f.conkey)
                 UNION ALL SELECT FROM pg_index x WHERE x.indrelid = item.relation AND x.indisunique AND item.act <> 'delete' AND a.attnum = ANY (x.indkey::smallint[]))
$$;
COMMENT ON FUNCTION kith.without_ties IS 'What to write of a row first, if others are in its way: no references, and no unique values. Of a row to delete, only that.';

CREATE FUNCTION kith.lock_rows(statement text, keys jsonb[], numbers integer[], exact name[]) RETURNS TABLE (n integer, image jsonb, exact_texts jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY EXECUTE statement USING keys, numbers, exact;
END $$;
COMMENT ON FUNCTION kith.lock_rows IS 'Runs a statement of undo_statement() that locks rows, and returns them as they are now.';

-- Triggers may change a row as it is put back, or when others are.
CREATE FUNCTION kith.astray(items kith.undo_item[]) RETURNS TABLE (n integer, names text[], image jsonb)
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
CREATE FUNCTION kith.write_back(statement text, keys jsonb[], backs jsonb[]) RETURNS bigint
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
CREATE FUNCTION kith.write_again(items kith.undo_item[]) RETURNS void
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

CREATE FUNCTION kith.write_column(relation regclass, id text, name text, value anyelement) RETURNS void
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
CREATE FUNCTION kith.give_keys_back(INOUT items kith.undo_item[])
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
CREATE FUNCTION kith.restore_order(items kith.undo_item[]) RETURNS void
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

CREATE FUNCTION kith.check_constraints() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
END $$;
COMMENT ON FUNCTION kith.check_constraints IS 'Checks deferred constraints, and runs deferred triggers.';

-- Keys stay unique after each statement, even if they are deferrable: the rows to write are found by them.
CREATE FUNCTION kith.defer_constraints(relations oid[]) RETURNS void
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

CREATE FUNCTION kith.step_back(secret text, seqs bigint[], planned jsonb) RETURNS void
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

-- It runs with the rights of the caller and compares before it writes. If it returns conflicts, the server rolls back. It waits for locks for
-- less than the time after which PostgreSQL looks for deadlocks, and the server repeats it, so that others' transactions are not the ones that
-- end.
CREATE FUNCTION kith.undo(secret text, id text, kind text, target text, kept_since timestamptz, skips boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET lc_monetary = 'C' SET quote_all_identifiers = off SET lock_timeout = '100ms' AS $$
DECLARE
  plan record; item kith.undo_item; items kith.undo_item[]; found_row record; batch record; column_name text;
  conflicts jsonb[] := '{}'; skipped jsonb[] := '{}'; seqs bigint[] := '{}'; partly integer[] := '{}'; undone bigint := 0;
  number integer; wrong jsonb; same jsonb; exact name[]; since bigint; touched bigint;
  most integer; moved boolean; waiting boolean; state text;
  all_relations oid[]; planned jsonb; failing integer[]; written integer[]; replay text; at_once boolean := false; checked boolean; failed_table text; compared kith.undo_item[]; compared_conflicts jsonb[]; to_undo bigint;
  emails text[]; has_moves boolean; may_stray boolean; stray record; strays jsonb[]; passes integer := 0; most_passes CONSTANT integer := 10;
BEGIN
  plan := kith.undo_plan(secret, kind, target, kept_since);
  IF plan.status <> 'open' THEN
    RETURN jsonb_build_object('status', plan.status);
  END IF;
  items := plan.items;

  -- Locks the rows in the order of table and key, and compares them.
  FOR batch IN SELECT i.relation, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key, array_agg(i.key ORDER BY i.n) AS keys, array_agg(i.n ORDER BY i.n) AS numbers
                 FROM unnest(items) i WHERE i.fault IS NULL GROUP BY i.relation ORDER BY i.relation LOOP
    exact := ARRAY(SELECT DISTINCT e.name::name FROM unnest(items) i, jsonb_object_keys(i.expected_exact) e(name) WHERE i.relation = batch.relation AND batch.columns ? e.name);
    FOR found_row IN SELECT r.* FROM kith.lock_rows(kith.undo_statement('lock', batch.relation, batch.columns, batch.key, NULL), batch.keys, batch.numbers, exact) r LOOP
      item := items[found_row.n];
      item.state := 'found';
      wrong := '{}';
      -- Most rows are as they were left, in all columns.
      IF item.act <> 'insert' AND (item.expected_exact <> '{}' OR jsonb_send(found_row.image - 'updated_at') <> jsonb_send(item.expected - 'updated_at')) THEN
        FOR column_name IN SELECT c.name FROM jsonb_object_keys(CASE item.act WHEN 'delete' THEN item.expected ELSE item.back END) c(name) WHERE c.name <> 'updated_at' AND item.columns ? c.name LOOP
          same := found_row.image -> column_name;
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
      IF wrong <> '{}' THEN
        item.fault := 'changed_since';
        item.back := item.back - ARRAY(SELECT jsonb_object_keys(wrong));
        item.target := item.target - ARRAY(SELECT jsonb_object_keys(wrong));
        conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'changed_since', 'columns', wrong, 'via', item.via);
        -- What is left of an update can still go back.
        IF skips AND item.act = 'update' AND item.back <> '{}' THEN
          item.fault := NULL;
          partly := partly || item.n;
        END IF;
      END IF;
      items[found_row.n] := item;
    END LOOP;
  END LOOP;
  -- A row whose key another one has now comes back if the plan removes the other one, or gives it another key.
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE i.fault IS NULL AND i.act = 'insert' AND i.state IS NOT NULL
                   AND (i.relation, i.key_text) NOT IN (SELECT h.relation, h.key_text FROM unnest(items) h
                          WHERE h.fault IS NULL AND h.state IS NOT NULL AND (h.act = 'delete' OR h.act = 'update' AND h.back ?| ARRAY(SELECT jsonb_object_keys(h.key)))) LOOP
    items[number].fault := 'row_exists';
  END LOOP;
  -- E-mails name their records without a foreign key.
  emails := ARRAY(SELECT i.key_text FROM unnest(items) i WHERE i.name = 'emails');
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND CASE i.name WHEN 'contacts' THEN EXISTS (SELECT FROM public.emails e WHERE e.contact_ids @> ARRAY[i.key_text] AND e.id <> ALL (emails))
                                   WHEN 'companies' THEN EXISTS (SELECT FROM public.emails e WHERE e.company_ids @> ARRAY[i.key_text] AND e.id <> ALL (emails))
                                   WHEN 'deals' THEN EXISTS (SELECT FROM public.emails e WHERE e.deal_ids @> ARRAY[i.key_text] AND e.id <> ALL (emails)) ELSE false END LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  FOR number IN SELECT DISTINCT i.n FROM unnest(items) i JOIN public.list_members m ON m.member_id = i.key_text JOIN public.lists l ON l.id = m.list_id AND l.target_table = i.name
                 WHERE i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND m.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.name = 'list_members') LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  FOREACH item IN ARRAY items LOOP
    IF item.fault IS NULL AND item.act = 'update' AND item.state IS NULL THEN
      item.fault := 'row_gone';
    END IF;
    IF item.fault IS NOT NULL AND item.fault <> 'changed_since' THEN
      conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'via', item.via);
    END IF;
    item.state := CASE WHEN item.fault IS NOT NULL THEN 'left' WHEN item.act = 'delete' AND item.state IS NULL OR item.act = 'update' AND item.back = '{}' THEN 'done' ELSE 'pending' END;
    IF item.state = 'pending' THEN
      undone := undone + 1;
    END IF;
    items[item.n] := item;
  END LOOP;

  -- Writes the rows: together where that works, else in smaller and smaller parts, in whatever order their keys and references need. If that is none,
  -- because rows have exchanged their keys, the changes themselves are put back one by one.
  -- Deferred constraints are checked at the end. If one does not hold then, all is written again with the constraints checked at once, which
  -- shows whose row it is.
  SELECT array_agg(DISTINCT i.relation), jsonb_object_agg(concat(i.relation, ' ', i.key_text), true) INTO all_relations, planned FROM unnest(items) i;
  planned := coalesce(planned, '{}');
  PERFORM kith.lift_seal(secret);
  compared := items;
  compared_conflicts := conflicts;
  to_undo := undone;
  -- Comparing costs time. Only triggers make a row other than it was written: the workspace's own, and those that place deals and attach e-mails.
  -- A foreign key may do so to a row that refers to a key that others have exchanged.
  has_moves := EXISTS (SELECT FROM unnest(items) i WHERE i.act = 'update' AND i.back ?| ARRAY(SELECT jsonb_object_keys(i.key)));
  may_stray := EXISTS (SELECT FROM unnest(items) i WHERE i.name IN ('emails', 'deals', 'pipelines', 'pipeline_stages'))
            OR has_moves OR EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND p.pronamespace <> 'kith'::regnamespace);
  LOOP
    passes := passes + 1;
    items := compared;
    conflicts := compared_conflicts;
    undone := to_undo;
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
        moved := false;
        waiting := false;
        FOR batch IN SELECT i.act, i.relation, i.moves, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key,
                            CASE WHEN i.moves THEN (SELECT jsonb_object_agg(b.key, b.value) FROM unnest(array_agg(i.back)) x(back), jsonb_each(x.back) b) ELSE (array_agg(i.back))[1] END AS back,
                            array_agg(i.key ORDER BY i.place) AS keys, array_agg(i.back ORDER BY i.place) AS backs, array_agg(i.n ORDER BY i.place) AS numbers
                       FROM (SELECT y.*, row_number() OVER (PARTITION BY y.act, y.relation, y.names ORDER BY CASE y.act WHEN 'insert' THEN y.latest ELSE - y.latest END, y.n) AS place
                               FROM (SELECT z.*, CASE WHEN NOT z.moves THEN ARRAY(SELECT jsonb_object_keys(z.back) ORDER BY 1) END AS names
                                       FROM (SELECT i.n, i.act, i.relation, i.columns, i.key, i.back, i.members[cardinality(i.members)] AS latest,
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
            ELSE
              items[number].fault := CASE
                WHEN state = 'KL010' OR state IN ('23503', '23001', 'KP003', 'KP004') AND batch.act = 'delete' THEN 'would_remove_others'
                WHEN state IN ('23505', '23P01') THEN 'unique_taken' WHEN state = '23503' THEN 'parent_gone' ELSE 'not_permitted' END;
            END IF;
          END LOOP;
        END LOOP;
        EXIT WHEN NOT waiting;
        CONTINUE WHEN moved;
        IF most IS DISTINCT FROM 1 THEN
          most := greatest(1, coalesce(most, (SELECT count(*) FROM unnest(items) i WHERE i.state = 'pending')::integer) / 10);
          CONTINUE;
        END IF;
        -- Rows that refer to each other, or that exchange unique values: first without what stands in the way, then as they were. Those that fail are
        -- left, and the others are tried again.
        BEGIN
          failing := '{}';
          written := '{}';
          checked := false;
          PERFORM kith.defer_constraints(all_relations);
          FOR item IN SELECT i.* FROM unnest(items) i WHERE i.state = 'pending' ORDER BY i.members[cardinality(i.members)] DESC LOOP
            same := kith.without_ties(item);
            CONTINUE WHEN same = '{}';
            BEGIN
              touched := kith.write_back(kith.undo_statement(CASE item.act WHEN 'insert' THEN 'insert' ELSE 'update' END, item.relation, item.columns, item.key, same), ARRAY[item.key], ARRAY[same]);
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
            waiting := false;
            FOREACH number IN ARRAY failing LOOP
              item := items[number];
              BEGIN
                since := kith.last_change(secret);
                IF written[number] = 1 THEN
                  item.act := 'update';
                  item.key := kith.key_after(item.key, item.back);
                END IF;
                touched := kith.write_back(kith.undo_statement(item.act, item.relation, item.columns, item.key, item.back), ARRAY[item.key], ARRAY[item.back]);
                IF item.act <> 'delete' AND touched <> 1 THEN
                  RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KL011';
                ELSIF kith.removes_others(secret, since, planned) THEN
                  RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
                END IF;
                written[number] := 2;
                moved := true;
              EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
                IF kith.is_passing(state) THEN
                  RAISE;
                END IF;
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
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, failed_table = TABLE_NAME;
          IF kith.is_passing(state) OR state <> 'KL013' AND NOT checked THEN
            RAISE;
          ELSIF checked THEN
            -- PostgreSQL names the table whose constraint does not hold, not the row. Each pending row has failed alone too.
            failing := ARRAY(SELECT i.n FROM unnest(items) i JOIN pg_class c ON c.oid = i.relation WHERE i.state = 'pending' ORDER BY c.relname = failed_table DESC, i.n LIMIT 1);
          END IF;
        END;
        -- Rows that have exchanged their keys: all of them, else those of a table. A row that changed once is put back in one step anyway.
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
        IF replay IS NULL AND partly = '{}' AND EXISTS (SELECT FROM unnest(items) i WHERE i.n = ANY (failing) AND cardinality(i.members) > 1) THEN
          RAISE EXCEPTION 'rows have exchanged their keys' USING ERRCODE = 'KL014';
        END IF;
        FOREACH number IN ARRAY failing LOOP
          item := items[number];
          conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'via', item.via);
          items[number].state := 'left';
          undone := undone - 1;
        END LOOP;
      END LOOP;
      PERFORM kith.restore_order(items);
      -- Deferred triggers of the workspace's may remove rows as well.
      PERFORM kith.check_constraints();
      IF kith.removes_others(secret, 0, planned) THEN
        RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
      END IF;
      -- The server rolls back a conflict that is known already.
      EXIT WHEN NOT may_stray OR NOT skips AND EXISTS (SELECT FROM unnest(conflicts) c WHERE c ->> 'via' <> 'trigger');
      EXIT WHEN NOT EXISTS (SELECT FROM kith.astray(items));
      IF NOT at_once THEN
        PERFORM kith.defer_constraints(all_relations);
      END IF;
      PERFORM kith.write_again(items);
      PERFORM kith.restore_order(items);
      PERFORM kith.check_constraints();
      IF kith.removes_others(secret, 0, planned) THEN
        RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
      END IF;
      strays := ARRAY(SELECT to_jsonb(a) FROM kith.astray(items) a ORDER BY a.n);
      EXIT WHEN strays = '{}';
      IF has_moves AND replay IS NULL AND partly = '{}' THEN
        RAISE EXCEPTION 'foreign keys follow the wrong rows' USING ERRCODE = 'KL014';
      END IF;
      RAISE EXCEPTION 'triggers change what is put back' USING ERRCODE = 'KL012';
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF state = 'KL014' THEN
        replay := 'due';
        CONTINUE;
      ELSIF state <> 'KL012' AND at_once OR kith.is_passing(state) THEN
        RAISE;
      END IF;
    END;
    at_once := state <> 'KL012';
    CONTINUE WHEN at_once;
    -- What triggers do not let go back is left, and the rest is written again: columns of an update, else the whole row.
    FOR stray IN SELECT s.n, s.names, s.image FROM unnest(strays) x, jsonb_to_record(x) s(n integer, names text[], image jsonb) LOOP
      item := compared[stray.n];
      wrong := CASE WHEN item.act = 'update' AND stray.image IS NOT NULL
        THEN (SELECT jsonb_object_agg(c.name, jsonb_build_object('expected', item.expected -> c.name, 'now', stray.image -> c.name, 'back_to', item.back_shown -> c.name)) FROM unnest(stray.names) c(name)) END;
      compared_conflicts := compared_conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'not_permitted', 'columns', wrong, 'via', 'request');
      IF item.state = 'pending' THEN
        to_undo := to_undo - 1;
      END IF;
      item.back := item.back - stray.names;
      item.target := item.target - stray.names;
      IF wrong IS NULL OR item.target = '{}' THEN
        item.state := 'left';
      ELSE
        partly := partly || item.n;
        IF item.back = '{}' THEN
          item.state := 'done';
        ELSIF item.state = 'pending' THEN
          to_undo := to_undo + 1;
        END IF;
      END IF;
      compared[stray.n] := item;
    END LOOP;
    conflicts := compared_conflicts;
    EXIT WHEN NOT skips;
    IF passes >= most_passes THEN
      PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
      RETURN jsonb_build_object('status', 'conflict', 'conflicts', (SELECT jsonb_agg(c - 'via') FROM unnest(conflicts) c), 'rows', cardinality(items));
    END IF;
  END LOOP;
  -- The rest of a row of which columns were left can be undone later.
  seqs := ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.state = 'done' AND i.n <> ALL (partly));

  -- What triggers wrote goes back if it can.
  skipped := ARRAY(SELECT c - '{via,columns}'::text[] FROM unnest(conflicts) c WHERE skips OR c ->> 'via' = 'trigger');
  conflicts := ARRAY(SELECT c - 'via' FROM unnest(conflicts) c WHERE NOT skips AND c ->> 'via' <> 'trigger');
  PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
  IF conflicts <> '{}' THEN
    RETURN jsonb_build_object('status', 'conflict', 'conflicts', to_jsonb(conflicts), 'rows', cardinality(items));
  END IF;
  RETURN jsonb_build_object('status', 'done', 'undone', undone, 'skipped', to_jsonb(skipped), 'is_run', kith.end_undo(secret, id, kind, target, seqs, undone > 0));
END $$;
COMMENT ON FUNCTION kith.undo IS 'Puts back what a run, a request or a change changed, as far as nothing else has changed since. For the server, which knows the secret.';

REVOKE ALL ON FUNCTION kith.shown_run, kith.named_run, kith.find_run, kith.list_runs, kith.open_run, kith.finish_run, kith.run_changes, kith.row_changes,
  kith.texts, kith.affected_by, kith.undone_changes, kith.is_passing, kith.undo_plan, kith.begin_undo, kith.last_change, kith.removes_others, kith.steps_back, kith.end_undo, kith.undo_statement, kith.without_ties, kith.defer_constraints, kith.step_back, kith.key_after, kith.lock_rows, kith.astray, kith.write_back, kith.write_again, kith.check_constraints, kith.undo, kith.check_standing, kith.write_column, kith.give_keys_back, kith.restore_order FROM PUBLIC;
-- undo() and what it calls run with the caller's rights; the others require the secret.
GRANT EXECUTE ON FUNCTION kith.find_run, kith.list_runs, kith.open_run, kith.finish_run, kith.run_changes, kith.row_changes, kith.undo_plan, kith.begin_undo, kith.last_change, kith.removes_others, kith.steps_back, kith.end_undo, kith.undo_statement, kith.without_ties, kith.defer_constraints, kith.step_back, kith.key_after, kith.lock_rows, kith.astray, kith.write_back, kith.write_again, kith.check_constraints, kith.undo, kith.exact_texts, kith.exact_texts_query, kith.undone_changes, kith.is_passing, kith.check_standing, kith.write_column, kith.give_keys_back, kith.restore_order TO PUBLIC;
