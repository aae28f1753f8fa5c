-- Runs as callers see them, and what an undo is to put back. 0022_undo_rows.sql writes the rows. README.md describes roles, sections and rules.

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
                                'changes', kith.clip_changes(kith.columns_of(c.op, c.image, c.previous)),
                                'via', c.via, 'at', c.at, 'request_id', c.request, 'activity_id', c.activity, 'seq', c.seq)
        FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.run = run_changes.run AND c.seq > after AND c.relation <> ALL (hidden) ORDER BY c.seq LIMIT most;
  END IF;
END $$;
COMMENT ON FUNCTION kith.run_changes IS 'The changes of a run that the session may see, oldest first, clipped as in the feed. For the server, which knows the secret.';

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

-- What an undo is to put back.

-- One row that is to be put back. A text is what the type's input function takes.
CREATE TYPE kith.undo_item AS (
  n integer,
  relation oid,
  name text,
  id jsonb,
  key_text text,
  act text,
  may_stay boolean,
  key jsonb,
  back jsonb,
  back_shown jsonb,
  expected jsonb,
  expected_exact jsonb,
  members bigint[],
  fault text,
  columns jsonb,
  state text,
  target jsonb,
  gone text[],
  blamed text[],
  made_at timestamptz,
  is_kept boolean,
  keyed_by bigint
);
COMMENT ON TYPE kith.undo_item IS 'A row to put back: act is insert, update or delete; back are the texts of the columns to write, target those that it has to have in the end; a stage that Kith added for a deal may_stay. Of an update, gone are columns that the table has no longer as they were, blamed those that an error names. Of a delete, made_at is when an undo had put the row back. A row that is_kept ended as it began: foreign keys must leave it so. keyed_by is the change that gave it its key, if one did.';

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

-- What a row's only change says of it needs no comparison of images, and several are joined where each begins as the one before ended. The other rows that
-- changed several times, those whose values JSON does not hold to the letter, and tables that have other columns now, are compared.
CREATE FUNCTION kith.undo_plan(secret text, kind text, target text, kept_since timestamptz, OUT status text, OUT items kith.undo_item[], OUT is_rest boolean, OUT seqs bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  facts record;
  stages constant oid := 'public.pipeline_stages'::regclass;
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
  IF seqs = '{}' AND kind = 'run' AND EXISTS (SELECT FROM kith.change c WHERE c.undone_by = target) THEN
    -- An undo that had nothing to write.
    status := 'open';
    is_rest := false;
    RETURN;
  ELSIF seqs = '{}' THEN
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
         SELECT c.seq, c.relation, c.key, c.via, count(*) OVER w AS times,
                bool_and(s.is_same AND c.exact IS NULL AND c.was IS NULL) OVER w AND NOT bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) AS is_plain,
                count(*) FILTER (WHERE c.op = 'U') OVER w AS updates, c.op
           FROM kith.change c JOIN shapes s ON s.id = c.shape WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL WINDOW w AS (PARTITION BY c.relation, c.key)),
       -- Others gave a key to another row between the changes of it. Those of built-in tables are no other row's.
       mixed AS MATERIALIZED (
         SELECT g.* FROM (SELECT o.relation, o.key, min(o.seq) AS first, max(o.seq) AS last, array_agg(o.seq ORDER BY o.seq) AS members FROM noted o
                           WHERE o.times > 1 AND (NOT o.is_plain OR o.relation NOT IN (SELECT b.relid FROM kith_guard.builtin b)) GROUP BY o.relation, o.key) g
          WHERE EXISTS (SELECT FROM kith.change c WHERE c.relation = g.relation AND c.key = g.key AND c.activity IS NULL AND c.seq > g.first AND c.seq < g.last AND (c.op = 'I' OR c.was IS NOT NULL)
                           AND c.seq NOT IN (SELECT unnest(seqs)))
             OR EXISTS (SELECT FROM kith.change c WHERE c.relation = g.relation AND c.was = g.key AND c.seq > g.first AND c.seq < g.last AND c.seq NOT IN (SELECT unnest(seqs)))),
       mixed_changes AS MATERIALIZED (SELECT coalesce(array_agg(x.seq), '{}') AS seqs FROM mixed m, unnest(m.members) x(seq)),
       -- Rows that were updated several times, perhaps after they were created, and by nobody else in between.
       chains AS MATERIALIZED (
         SELECT x.members, x.members[1] AS first, x.members[cardinality(x.members)] AS last, x.may_stay
           FROM (SELECT array_agg(o.seq ORDER BY o.seq) AS members, bool_and(o.via = 'trigger') AND o.relation = stages AS may_stay, (array_agg(o.op ORDER BY o.seq))[1] AS op, min(o.times - o.updates) AS others
                   FROM noted o WHERE o.times > 1 AND o.is_plain GROUP BY o.relation, o.key) x
          WHERE x.others = CASE x.op WHEN 'I' THEN 1 WHEN 'U' THEN 0 END AND NOT x.members && (SELECT m.seqs FROM mixed_changes m)
            AND NOT EXISTS (SELECT FROM unnest(x.members[:cardinality(x.members) - 1], x.members[2:]) p(seq, next) JOIN kith.change a ON a.seq = p.seq JOIN kith.change b ON b.seq = p.next
                             WHERE a.image - 'updated_at' <> (b.image || b.previous) - 'updated_at')),
       only_changes AS (
         SELECT c.relation, s.name, c.image -> s.only_key AS id, c.key AS key_text, CASE c.op WHEN 'I' THEN 'delete' WHEN 'D' THEN 'insert' ELSE 'update' END AS act, c.via = 'trigger' AND c.relation = stages AS may_stay,
                kith.texts(jsonb_build_object(s.only_key, c.image -> s.only_key), NULL, s.json_columns) AS key,
                CASE c.op WHEN 'I' THEN '{}' ELSE kith.texts(CASE c.op WHEN 'U' THEN c.previous ELSE c.image END, NULL, s.json_columns) END AS back,
                CASE c.op WHEN 'I' THEN '{}' WHEN 'U' THEN c.previous ELSE c.image END AS back_shown, CASE c.op WHEN 'D' THEN '{}' ELSE c.image END AS expected, '{}'::jsonb AS expected_exact,
                ARRAY[c.seq] AS members, NULL AS fault, s.columns_now, '{}'::text[] AS gone, CASE c.verb WHEN 'restored' THEN c.at ELSE '-infinity' END AS made_at, NULL::jsonb AS held, NULL::bigint AS keyed_by
           FROM noted o JOIN kith.change c ON c.seq = o.seq JOIN shapes s ON s.id = c.shape WHERE o.times = 1 AND o.is_plain
          UNION ALL
         SELECT c.relation, s.name, c.image -> s.only_key, c.key, CASE f.op WHEN 'I' THEN 'delete' ELSE 'update' END, h.may_stay,
                kith.texts(jsonb_build_object(s.only_key, c.image -> s.only_key), NULL, s.json_columns), kith.texts(b.previous, NULL, s.json_columns), b.previous, c.image, '{}', h.members, NULL,
                s.columns_now, '{}', CASE f.verb WHEN 'restored' THEN f.at ELSE '-infinity' END,
                CASE WHEN f.op = 'U' AND b.previous = '{}' THEN kith.texts(b.held, NULL, s.json_columns) END, NULL
           FROM chains h JOIN kith.change f ON f.seq = h.first JOIN kith.change c ON c.seq = h.last JOIN shapes s ON s.id = c.shape
          CROSS JOIN LATERAL (
                SELECT coalesce(jsonb_object_agg(p.key, p.value) FILTER (WHERE jsonb_send(p.value) <> jsonb_send(c.image -> p.key)), '{}') AS previous, coalesce(jsonb_object_agg(p.key, p.value), '{}') AS held
                  FROM (SELECT DISTINCT ON (e.key) e.key, e.value FROM unnest(h.members) m(seq) JOIN kith.change x ON x.seq = m.seq CROSS JOIN jsonb_each(x.previous) e
                         WHERE f.op = 'U' ORDER BY e.key, x.seq) p) b),
       compared AS (
         SELECT n.relation, s.name, kith.shown_key(n.shape, coalesce(n.after, n.before)) AS id, CASE WHEN n.after IS NULL THEN kith.key_of(n.before, s.key, s.doubtful) ELSE n.key END AS key_text,
                CASE WHEN n.before IS NULL THEN 'delete' WHEN n.after IS NULL THEN 'insert' ELSE 'update' END AS act,
                n.relation = stages AND NOT EXISTS (SELECT FROM kith.change c WHERE c.seq = ANY (n.members) AND c.via <> 'trigger') AS may_stay,
                (SELECT jsonb_object_agg(k.name, f.found_texts -> k.name::text) FROM unnest(s.key_now) k(name)) AS key,
                CASE WHEN n.before IS NULL THEN '{}' WHEN n.after IS NULL THEN kith.texts(n.before, n.exact_before, s.json_columns)
                     ELSE kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(n.before) b WHERE d.changed ? b.key), n.exact_before, s.json_columns) END AS back,
                coalesce(n.before, '{}') AS back_shown, coalesce(n.after || n.overwritten, '{}') AS expected, coalesce(n.exact_after, '{}') - ARRAY(SELECT jsonb_object_keys(n.overwritten)) AS expected_exact, n.members,
                CASE WHEN n.is_replaced OR n.after IS NULL AND n.overwritten <> '{}' OR n.members && (SELECT m.seqs FROM mixed_changes m) THEN 'changed_since'
                     WHEN NOT s.is_there
                       OR EXISTS (SELECT FROM jsonb_each(s.columns) c
                                   WHERE (n.before IS NULL OR n.after IS NULL OR c.key = ANY (s.key::text[])) AND s.columns_now -> c.key IS DISTINCT FROM c.value) THEN 'schema_changed' END AS fault,
                s.columns_now,
                CASE WHEN n.before IS NULL OR n.after IS NULL THEN '{}'
                     ELSE ARRAY(SELECT c.name FROM jsonb_object_keys(d.changed) c(name) WHERE NOT s.columns ? c.name OR s.columns_now -> c.name IS DISTINCT FROM s.columns -> c.name) END AS gone,
                CASE n.verb WHEN 'restored' THEN n.at ELSE '-infinity' END AS made_at, NULL::jsonb, (SELECT max(c.seq) FROM kith.change c WHERE c.seq = ANY (n.members) AND c.was IS NOT NULL)
           FROM kith.net(ARRAY(SELECT c FROM noted o JOIN kith.change c ON c.seq = o.seq
                                WHERE NOT (o.times = 1 AND o.is_plain) AND o.seq NOT IN (SELECT m.seq FROM chains h, unnest(h.members) m(seq)))) n
           JOIN shapes s ON s.id = n.shape
          CROSS JOIN LATERAL (SELECT kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after) AS changed OFFSET 0) d
          CROSS JOIN LATERAL (
                SELECT kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(coalesce(n.after, n.before)) b WHERE b.key = ANY (s.key::text[])),
                                  coalesce(n.exact_after, n.exact_before), s.json_columns) AS found_texts OFFSET 0) f)
  SELECT coalesce(array_agg(ROW(x.n, x.relation, x.name, x.id, x.key_text, x.act,
                                x.may_stay AND (x.act = 'delete' OR x.back ? 'deleted_at'), x.key, x.back, x.back_shown, x.expected, x.expected_exact, x.members, x.fault, x.columns_now, NULL,
                                coalesce(x.held, x.back - 'updated_at'), x.gone, '{}', x.made_at, x.held IS NOT NULL, x.keyed_by)::kith.undo_item ORDER BY x.n), '{}')
    INTO items
    FROM (SELECT row_number() OVER (ORDER BY y.relation, y.key_text)::integer AS n, y.* FROM (SELECT * FROM only_changes UNION ALL SELECT * FROM compared UNION ALL
               -- As one row they may have no net effect.
               SELECT c.relation, h.name, kith.shown_key(c.shape, c.image), c.key, 'insert', false, NULL, '{}', '{}', '{}', '{}', m.members, 'changed_since', '{}', '{}', '-infinity', NULL, NULL
                 FROM mixed m JOIN kith.change c ON c.seq = m.last JOIN kith.shape h ON h.id = c.shape WHERE NOT EXISTS (SELECT FROM compared n WHERE n.members && m.members)) y) x;
  -- Another undo may have ended meanwhile.
  is_rest := EXISTS (SELECT FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NOT NULL);
  -- The rest may be rows that were created and deleted.
  IF items = '{}' AND is_rest THEN
    status := 'undone';
  END IF;
END $$;
COMMENT ON FUNCTION kith.undo_plan IS 'What undoing a run, a request or a change would put back, of which changes, and whether a part is undone already. For the server, which knows the secret.';

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

-- A row may be part of the plan under the key that it had before this transaction. A row that a trigger removes and makes again is there.
CREATE FUNCTION kith.is_other(seq bigint, planned jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE change kith.change; act text;
BEGIN
  SELECT c.* INTO change FROM kith.change c WHERE c.seq = is_other.seq;
  act := coalesce(planned ->> concat(change.relation, ' ', change.key), planned ->> concat(change.relation, ' ', change.was));
  IF act IS NULL THEN
    act := (SELECT planned ->> concat(m.relation, ' ', m.was) FROM kith.change m
             WHERE m.xid = change.xid AND m.relation = change.relation AND m.key = change.key AND m.seq < change.seq AND m.was IS NOT NULL AND planned ? concat(m.relation, ' ', m.was) ORDER BY m.seq DESC LIMIT 1);
  END IF;
  RETURN act IS NULL OR change.op = 'D' AND act <> 'delete'
         AND NOT EXISTS (SELECT FROM kith.change n WHERE n.xid = change.xid AND n.relation = change.relation AND n.key = change.key AND n.op = 'I' AND n.seq > change.seq);
END $$;
COMMENT ON FUNCTION kith.is_other IS 'Whether a change of this transaction removed a row that the plan does not remove, or changed a reference of one that is not in it.';

-- Rows that this transaction removed, or whose references it changed, although the plan does not; and a pipeline that is no longer the default. It is called
-- after each statement, so it must not read all changes of the transaction, nor all rows of the plan.
CREATE FUNCTION kith.removes_others(secret text, since bigint, planned jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE pipelines constant oid := 'public.pipelines'::regclass;
BEGIN
  PERFORM kith.check_secret(secret);
  IF since = 0 THEN
    RETURN EXISTS (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()
                      AND CASE WHEN c.op = 'D' THEN planned ->> concat(c.relation, ' ', c.key) IS DISTINCT FROM 'delete' WHEN c.via = 'cascade' THEN true
                               ELSE c.relation = pipelines AND c.via = 'trigger' AND c.previous ? 'is_default' END
                      AND kith.is_other(c.seq, planned));
  END IF;
  RETURN EXISTS (SELECT FROM (SELECT c.seq, c.xid, c.relation, c.key, c.op, c.via, c.previous FROM kith.change c WHERE c.seq > since ORDER BY c.seq OFFSET 0) c
                  WHERE c.xid = pg_current_xact_id_if_assigned()
                    AND CASE WHEN c.op = 'D' THEN planned ->> concat(c.relation, ' ', c.key) IS DISTINCT FROM 'delete' WHEN c.via = 'cascade' THEN true
                             ELSE c.relation = pipelines AND c.via = 'trigger' AND c.previous ? 'is_default' END
                    AND kith.is_other(c.seq, planned));
END $$;
COMMENT ON FUNCTION kith.removes_others IS 'Whether rows were removed that the plan, {"relation key": "delete" or "write"}, does not remove. For the server, which knows the secret.';

-- What is undone has left no trace, nor has the undo, unless what it undid was there before.
CREATE FUNCTION kith.counts_since(change kith.change, since bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN change.seq > since AND change.undone_by IS NULL
     AND NOT EXISTS (SELECT FROM kith.change d WHERE d.undone_by = change.run AND d.relation = change.relation AND d.seq > since
                        AND (d.key IN (change.key, change.was) OR d.was IN (change.key, change.was)));
END $$;
COMMENT ON FUNCTION kith.counts_since IS 'Whether a change has an effect on what was there after an earlier one.';

-- A row is known by its key. Another one may have got it. The records of built-in tables have keys that no other one gets, unless keys are changed.
CREATE FUNCTION kith.others_since(secret text, relation oid, keys text[], since bigint[], own bigint[]) RETURNS TABLE (place bigint, is_moved boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE earliest constant bigint := (SELECT min(s.seq) FROM unnest(since) s(seq)); changes kith.change[];
BEGIN
  PERFORM kith.check_secret(secret);
  IF EXISTS (SELECT FROM kith.change c WHERE c.relation = others_since.relation AND c.was IS NOT NULL AND c.seq > earliest AND c.seq NOT IN (SELECT unnest(own))) THEN
    changes := ARRAY(SELECT c FROM kith.change c WHERE c.relation = others_since.relation AND c.seq > earliest AND c.seq NOT IN (SELECT unnest(own)) AND kith.counts_since(c, earliest)
                      UNION ALL SELECT c FROM kith.change c WHERE c.seq = ANY (own) AND c.relation = others_since.relation);
    RETURN QUERY
      WITH rows AS MATERIALIZED (SELECT r.seq, r.first FROM kith.rows_of(changes) r),
           later AS (SELECT DISTINCT ON (x.place) x.place, x.key, c.key AS key_now, c.op FROM unnest(keys, since) WITH ORDINALITY x(key, since, place)
                       JOIN rows o ON o.seq = x.since JOIN rows l ON l.first = o.first AND l.seq > x.since JOIN unnest(changes) c ON c.seq = l.seq
                      ORDER BY x.place, c.op = 'D' DESC, c.seq DESC)
      SELECT l.place, l.op <> 'D' FROM later l WHERE l.op = 'D' OR l.key_now <> l.key;
  ELSIF NOT EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = others_since.relation) THEN
    RETURN QUERY
      SELECT x.place, false FROM unnest(keys, since) WITH ORDINALITY x(key, since, place)
       WHERE EXISTS (SELECT FROM kith.change c WHERE c.relation = others_since.relation AND c.key = x.key AND c.activity IS NULL AND c.seq > x.since AND c.op <> 'U'
                        AND c.seq NOT IN (SELECT unnest(own)) AND kith.counts_since(c, x.since));
  END IF;
END $$;
COMMENT ON FUNCTION kith.others_since IS 'Which of the rows that had these keys have gone since, or have moved to other keys, by other changes than their own. For the server, which knows the secret.';

-- Another row may get the old key of such a row afterwards, so the first change counts.
CREATE FUNCTION kith.cascaded_keys(secret text, relation oid, keys text[]) RETURNS TABLE (was text, key jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE shape kith.shape;
BEGIN
  PERFORM kith.check_secret(secret);
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = cascaded_keys.relation AND s.is_current;
  IF NOT EXISTS (SELECT FROM jsonb_array_elements(shape.actions) a WHERE a.value ->> 'on_update' <> 'a' AND a.value -> 'columns' ?| shape.key::text[]) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT x.was, kith.texts((SELECT jsonb_object_agg(k.name, x.image -> k.name::text) FROM unnest(shape.key) k(name)), x.exact -> 'row',
                             ARRAY(SELECT c.key FROM jsonb_each(shape.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype))
      FROM (SELECT DISTINCT ON (c.was) c.was, c.image, c.exact FROM kith.change c
             WHERE c.xid = pg_current_xact_id_if_assigned() AND c.relation = cascaded_keys.relation AND c.was = ANY (cascaded_keys.keys) AND c.via = 'cascade' ORDER BY c.was, c.seq) x;
END $$;
COMMENT ON FUNCTION kith.cascaded_keys IS 'The keys, as texts, that foreign keys gave in this transaction to rows which had these keys. For the server, which knows the secret.';

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

-- An undo writes a row once, so it has no change of the keys that the row had in between.
CREATE FUNCTION kith.undone_with(seqs bigint[]) RETURNS TABLE (undo text, seq bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH undos AS MATERIALIZED (
         SELECT m.run, r.undo_of, m.relation, k.key FROM kith.change m JOIN kith.run r ON r.id = m.run CROSS JOIN unnest(ARRAY[m.key, m.was]) k(key)
          WHERE m.seq = ANY (seqs) AND r.undo_of IS NOT NULL AND k.key IS NOT NULL),
       -- A condition for each index.
       targets AS MATERIALIZED (
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN kith.change c ON c.run = u.undo_of
          UNION
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN kith.change c ON c.request = u.undo_of
          UNION
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN public.activity a ON a.id = u.undo_of
           JOIN kith.change c ON c.activity = a.id AND c.request IS NOT DISTINCT FROM a.custom ->> 'request_id'),
       found AS MATERIALIZED (
         SELECT t.run, t.seq FROM targets t
          WHERE (t.run, t.relation, t.key) IN (SELECT u.run, u.relation, u.key FROM undos u) OR (t.run, t.relation, t.was) IN (SELECT u.run, u.relation, u.key FROM undos u)),
       moved AS MATERIALIZED (
         SELECT r.* FROM kith.rows_of(ARRAY(SELECT c FROM targets t JOIN kith.change c ON c.seq = t.seq WHERE t.relation IN (SELECT x.relation FROM targets x WHERE x.was IS NOT NULL))) r)
  SELECT f.run, f.seq FROM found f UNION SELECT f.run, o.seq FROM found f JOIN moved m ON m.seq = f.seq JOIN moved o ON o.first = m.first
$$;
COMMENT ON FUNCTION kith.undone_with IS 'Which changes undos undid with these changes of theirs.';

-- What an undone undo had put back is as it was before it, so the changes stand that it had undone. If those are of an undo too, what that one had undone
-- is undone again, and so on. A row may be undone in parts, by several undos: it stands if one of them is undone.
CREATE FUNCTION kith.let_stand(seqs bigint[], undos text[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE standing bigint[];
BEGIN
  -- The rows that it passed over stand with the others.
  IF NOT EXISTS (SELECT FROM kith.change m WHERE m.run = ANY (undos) AND m.undone_by IS NULL) THEN
    WITH changed AS (UPDATE kith.change c SET undone_by = NULL WHERE c.undone_by = ANY (undos) RETURNING c.seq) SELECT array_agg(c.seq) INTO standing FROM changed c;
  ELSE
    WITH undone AS MATERIALIZED (SELECT u.seq, u.undone_by, u.relation, u.key, u.was FROM kith.change u WHERE u.undone_by = ANY (undos)),
         stands AS MATERIALIZED (
           SELECT u.seq FROM undone u
            WHERE (u.undone_by, u.relation, u.key) IN (SELECT m.run, m.relation, k.key FROM kith.change m, unnest(ARRAY[m.key, m.was]) k(key) WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL AND k.key IS NOT NULL)
               OR (u.undone_by, u.relation, u.was) IN (SELECT m.run, m.relation, m.key FROM kith.change m WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL)),
         moved AS MATERIALIZED (
           SELECT r.* FROM kith.rows_of(ARRAY(SELECT u FROM kith.change u WHERE u.undone_by = ANY (undos) AND u.relation IN (SELECT x.relation FROM undone x WHERE x.was IS NOT NULL))) r),
         changed AS (
           UPDATE kith.change AS c SET undone_by = NULL
             FROM (SELECT s.seq FROM stands s UNION SELECT o.seq FROM stands s JOIN moved m ON m.seq = s.seq JOIN moved o ON o.first = m.first) x
            WHERE c.seq = x.seq RETURNING c.seq)
    SELECT array_agg(c.seq) INTO standing FROM changed c;
  END IF;
  WITH changed AS (
         UPDATE kith.change AS c SET undone_by = NULL FROM kith.undone_with(seqs) t WHERE c.seq = t.seq AND c.undone_by IS NOT NULL RETURNING c.seq, c.run),
       runs AS (UPDATE kith.run AS r SET undone_by = NULL WHERE r.id IN (SELECT c.run FROM changed c) AND r.undone_by IS NOT NULL)
  SELECT standing || array_agg(c.seq) INTO standing FROM changed c;
  RETURN coalesce(standing, '{}');
END $$;
COMMENT ON FUNCTION kith.let_stand IS 'Lets the changes stand that undos had undone with these changes of theirs, and returns them.';

CREATE FUNCTION kith.undo_again(seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE undone bigint[];
BEGIN
  WITH changed AS (UPDATE kith.change AS c SET undone_by = t.undo FROM kith.undone_with(seqs) t WHERE c.seq = t.seq AND c.undone_by IS NULL RETURNING c.seq)
  SELECT array_agg(c.seq) INTO undone FROM changed c;
  RETURN coalesce(undone, '{}');
END $$;
COMMENT ON FUNCTION kith.undo_again IS 'Marks as undone what undos had undone whose changes stand again, and returns it.';

CREATE FUNCTION kith.end_undo(secret text, id text, kind text, target text, seqs bigint[], wrote boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE marked bigint; undos text[]; turned bigint[] := seqs; run_of_level text := target; under text;
BEGIN
  PERFORM kith.check_secret(secret);
  undos := ARRAY(SELECT m.run FROM kith.change m JOIN kith.run r ON r.id = m.run WHERE m.seq = ANY (seqs) AND r.undo_of IS NOT NULL
                  UNION SELECT r.id FROM kith.run r WHERE kind = 'run' AND r.id = target AND r.undo_of IS NOT NULL AND EXISTS (SELECT FROM kith.change c WHERE c.undone_by = r.id));
  -- What undoes nothing is no run.
  IF seqs = '{}' AND NOT wrote AND undos = '{}' THEN
    DELETE FROM kith.run r WHERE r.id = end_undo.id;
    RETURN false;
  END IF;
  UPDATE kith.change AS c SET undone_by = end_undo.id WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL;
  GET DIAGNOSTICS marked = ROW_COUNT;
  -- It waits for another undo that is marking them. See check_standing().
  IF marked <> cardinality(seqs) THEN
    RAISE EXCEPTION 'another undo has put these rows back' USING ERRCODE = '40001';
  END IF;
  WHILE undos <> '{}' LOOP
    turned := kith.undo_again(kith.let_stand(turned, undos));
    undos := ARRAY(SELECT DISTINCT m.run FROM kith.change m JOIN kith.run r ON r.id = m.run WHERE m.seq = ANY (turned) AND r.undo_of IS NOT NULL);
  END LOOP;
  IF kind = 'run' THEN
    UPDATE kith.run AS r SET undone_by = end_undo.id WHERE r.id = target;
    LOOP
      under := (SELECT r.undo_of FROM kith.run r WHERE r.id = run_of_level);
      UPDATE kith.run AS r SET undone_by = NULL WHERE r.id = under AND r.undone_by = run_of_level;
      EXIT WHEN NOT FOUND;
      run_of_level := (SELECT r.undo_of FROM kith.run r WHERE r.id = under);
      UPDATE kith.run AS r SET undone_by = under WHERE r.id = run_of_level AND r.undone_by IS NULL;
      EXIT WHEN NOT FOUND;
    END LOOP;
  ELSE
    -- The request or the entries of an undo.
    UPDATE kith.run AS r SET undone_by = NULL
     WHERE r.undone_by IN (SELECT m.run FROM kith.change m JOIN kith.run u ON u.id = m.run WHERE m.seq = ANY (seqs) AND u.undo_of IS NOT NULL)
       AND NOT EXISTS (SELECT FROM kith.change c WHERE c.run = r.id AND c.undone_by = r.undone_by);
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

REVOKE ALL ON FUNCTION kith.affected_by, kith.shown_run, kith.named_run, kith.find_run, kith.list_runs, kith.open_run, kith.finish_run, kith.run_changes, kith.row_changes,
  kith.texts, kith.is_other, kith.counts_since, kith.undo_plan, kith.begin_undo, kith.last_change, kith.removes_others, kith.others_since, kith.cascaded_keys, kith.steps_back, kith.check_standing, kith.undone_with, kith.let_stand, kith.undo_again, kith.end_undo, kith.undone_changes FROM PUBLIC;
-- These require the secret.
GRANT EXECUTE ON FUNCTION kith.find_run, kith.list_runs, kith.open_run, kith.finish_run, kith.run_changes, kith.row_changes,
  kith.undo_plan, kith.begin_undo, kith.last_change, kith.removes_others, kith.others_since, kith.cascaded_keys, kith.steps_back, kith.check_standing, kith.end_undo, kith.undone_changes TO PUBLIC;
