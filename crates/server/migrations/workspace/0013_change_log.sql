-- The change log: one row for each change of a row, in every table with a primary key. What undoes changes is in 0023_undo.sql. README.md
-- describes roles, sections and rules.

-- section: system

-- The columns of the tables, as changes find them. DDL makes a new row; changes refer to the one that they were made under.
CREATE TABLE kith.shape (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation oid NOT NULL,
  is_current boolean NOT NULL DEFAULT true,
  name text NOT NULL,
  key name[] NOT NULL,
  columns jsonb NOT NULL,
  generated name[] NOT NULL,
  exact name[] NOT NULL,
  doubtful name[] NOT NULL,
  is_styled boolean NOT NULL,
  is_deferrable boolean NOT NULL,
  actions jsonb,
  only_key text GENERATED ALWAYS AS (CASE WHEN cardinality(key) = 1 THEN key[1]::text END) STORED,
  is_inexact boolean GENERATED ALWAYS AS (exact <> '{}' OR doubtful <> '{}') STORED,
  is_plain boolean GENERATED ALWAYS AS (generated = '{}' AND exact = '{}' AND doubtful = '{}' AND NOT is_styled AND NOT is_deferrable AND cardinality(key) = 1) STORED
);
CREATE UNIQUE INDEX shape_current_key ON kith.shape (relation) WHERE is_current;
COMMENT ON TABLE kith.shape IS 'What the change log knows of each table: its name, key and columns.';
COMMENT ON COLUMN kith.shape.columns IS '{name: [number, type, modifier]}, without generated columns but those of the key.';
COMMENT ON COLUMN kith.shape.exact IS 'Columns whose values JSON does not hold to the letter: arrays (their bounds), json (its spaces), and all types that are not known to be safe.';
COMMENT ON COLUMN kith.shape.doubtful IS 'Columns whose value JSON loses if it is shown as null (of jsonb) or 0 (of a float, which has a sign).';
COMMENT ON COLUMN kith.shape.is_styled IS 'Whether it has a column of intervals or bytea, which are written as settings of the session say.';
COMMENT ON COLUMN kith.shape.is_deferrable IS 'Whether its key is deferrable, so that several rows can have the same key for a moment.';
COMMENT ON COLUMN kith.shape.only_key IS 'The column of the key, if it has one column.';
COMMENT ON COLUMN kith.shape.is_plain IS 'Whether JSON holds all rows to the letter and whatever the settings but the time zone, no column is left out because it is generated, and the key has one column and is not deferrable.';
COMMENT ON COLUMN kith.shape.actions IS 'The foreign keys by which a change of another row changes rows here.';

CREATE TABLE kith.change (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  position bigint,
  xid xid8 NOT NULL,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  request text,
  run text,
  via text NOT NULL,
  relation oid NOT NULL,
  shape integer NOT NULL,
  key text COLLATE "C" NOT NULL,
  was text COLLATE "C",
  op "char" NOT NULL,
  verb text NOT NULL,
  image jsonb NOT NULL,
  previous jsonb,
  exact jsonb,
  activity text,
  undone_by text,
  said jsonb,
  command text
);
CREATE INDEX change_transaction_idx ON kith.change (xid, relation, key);
-- The others are found by the request, which the entry names.
CREATE INDEX change_activity_idx ON kith.change (activity) WHERE activity IS NOT NULL AND request IS NULL;
CREATE INDEX change_request_idx ON kith.change (request) WHERE request IS NOT NULL;
CREATE INDEX change_run_idx ON kith.change (run, seq) WHERE run IS NOT NULL;
-- Changes that the feed has are found in the feed.
CREATE INDEX change_row_idx ON kith.change (relation, key, seq) WHERE activity IS NULL;
-- Rows that may have moved to another partition.
CREATE INDEX change_command_idx ON kith.change (xid, relation, split_part(command, ' ', 3)) WHERE command IS NOT NULL AND op = 'D';
-- Where a row went whose key was changed.
CREATE INDEX change_moved_idx ON kith.change (relation, was) WHERE was IS NOT NULL;
CREATE INDEX change_undone_by_idx ON kith.change (undone_by) WHERE undone_by IS NOT NULL;
-- Of those that are not published too. Each index of this table costs every write.
CREATE INDEX change_position_idx ON kith.change (position, seq);
COMMENT ON TABLE kith.change IS 'The change log. Triggers write it; the workspace can neither read nor write it.';
COMMENT ON COLUMN kith.change.position IS 'The place among the events; null until the change is published.';
COMMENT ON COLUMN kith.change.key IS 'The value of the primary key, as text; of several columns, a JSON object.';
COMMENT ON COLUMN kith.change.was IS 'The previous key, if the change gave the row another one.';
COMMENT ON COLUMN kith.change.op IS 'I, U or D.';
COMMENT ON COLUMN kith.change.image IS 'The whole row after the change; the row before it, if it was deleted for good.';
COMMENT ON COLUMN kith.change.previous IS 'The previous values of the columns that an update changed, updated_at excepted.';
COMMENT ON COLUMN kith.change.said IS 'The agent and the reason of a request, where no entry of the feed has them.';
COMMENT ON COLUMN kith.change.command IS 'Of a row that was deleted from a partition or inserted into one: the partition, the number of the command in its transaction (empty if the transaction wrote the deleted row itself), and the depth of the trigger. Null once it is known whether the row was moved.';
COMMENT ON COLUMN kith.change.exact IS 'Texts of the values that JSON does not hold to the letter: {row: {column: text}, previous: {column: text}}. If the key of the table is deferrable, tuple says which row it is: {from: its place before, unless it is of an earlier transaction, to: its place after}.';

CREATE TABLE kith.run (
  id text PRIMARY KEY DEFAULT kith.new_id('run'),
  actor text NOT NULL,
  run_id text NOT NULL,
  agent text,
  reason text,
  status text NOT NULL DEFAULT 'open' CONSTRAINT run_status_check CHECK (status IN ('open', 'complete', 'failed')),
  summary text,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  undone_by text,
  undo_of text,
  caused_by text,
  CONSTRAINT run_actor_run_id_key UNIQUE (actor, run_id)
);
CREATE INDEX run_newest_idx ON kith.run (started_at, id);
COMMENT ON TABLE kith.run IS 'Runs: all that one actor does under one X-Run-Id.';
COMMENT ON COLUMN kith.run.undone_by IS 'The run that undid it.';
COMMENT ON COLUMN kith.run.undo_of IS 'What it undoes: a run, a request or an entry of the feed.';

-- What a run did that no change shows.
CREATE TABLE kith.gap (
  run text NOT NULL,
  what text NOT NULL,
  request text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT gap_key PRIMARY KEY (run, what, request)
);
COMMENT ON COLUMN kith.gap.request IS 'The request that did it; empty if there was none.';
COMMENT ON TABLE kith.gap IS 'What runs did that cannot be undone: DDL, TRUNCATE, writes to tables without a primary key.';

-- Limits of transactions. A row stays until a later limit removes it.
CREATE TABLE kith.seal (
  xid xid8 PRIMARY KEY,
  most integer,
  is_dry boolean NOT NULL,
  passed timestamptz,
  children text[]
);
COMMENT ON TABLE kith.seal IS 'Transactions that may change at most so many rows, or that may not be committed.';
COMMENT ON COLUMN kith.seal.children IS 'Which tables were children of which before the first DDL of a transaction that may change so many rows.';
COMMENT ON COLUMN kith.seal.passed IS 'The start of the statement in which SET CONSTRAINTS last ran the trigger that refuses to commit.';
CREATE TABLE kith.judgement (
  xid xid8 NOT NULL
);
COMMENT ON TABLE kith.judgement IS 'Changes under a limit that are still to be counted. Empty outside of transactions.';
REVOKE ALL ON kith.shape, kith.change, kith.run, kith.gap, kith.seal, kith.judgement FROM PUBLIC;

-- Shapes.

-- Types whose values JSON holds to the letter.
CREATE FUNCTION kith.is_exact_in_json(type oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
  SELECT y.oid, y.typtype, y.typbasetype, n.nspname, y.typname INTO t FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace WHERE y.oid = type;
  RETURN CASE t.typtype WHEN 'd' THEN kith.is_exact_in_json(t.typbasetype) WHEN 'e' THEN true
    ELSE t.nspname = 'public' AND t.typname = 'citext' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
      OR t.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'text'::regtype,
                   'varchar'::regtype, 'name'::regtype, 'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype,
                   'timetz'::regtype, 'interval'::regtype, 'bytea'::regtype, 'jsonb'::regtype, 'inet'::regtype, 'cidr'::regtype, 'macaddr'::regtype, 'oid'::regtype) END;
END $$;
COMMENT ON FUNCTION kith.is_exact_in_json IS 'Whether JSON holds all values of a type to the letter, but for nulls of jsonb and zeros of floats.';

-- A table outside public has its schema in its name, as in the feed.
CREATE FUNCTION kith.is_logged(schema oid) RETURNS boolean
LANGUAGE sql STABLE
RETURN (SELECT n.nspname <> 'information_schema' AND n.nspname !~ '^(kith|pg_)' FROM pg_catalog.pg_namespace n WHERE n.oid = is_logged.schema);
COMMENT ON FUNCTION kith.is_logged IS 'Whether the tables of a schema are in the change log: all but Kith''s, PostgreSQL''s and temporary ones.';

-- Its argument only says where to look: all that it writes comes from the catalogs.
CREATE FUNCTION kith.note_shapes(relations oid[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_shape record; known kith.shape;
BEGIN
  FOR found_shape IN
    SELECT c.oid AS relation, CASE WHEN c.relnamespace = 'public'::regnamespace THEN c.relname ELSE kith.own_subject(c.oid) END AS name,
           (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k(number, place)
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts) AS key,
           x.columns, x.generated, x.exact, x.doubtful, x.is_styled, NOT i.indimmediate AS is_deferrable,
           (SELECT jsonb_agg(jsonb_build_object('parent', coalesce(pg_partition_root(f.confrelid), f.confrelid)::bigint, 'on_delete', f.confdeltype, 'on_update', f.confupdtype,
                     'columns', (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number),
                     'target', (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number)) ORDER BY f.oid)
              FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0 AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))) AS actions
      FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
     CROSS JOIN LATERAL (
           SELECT jsonb_object_agg(a.attname, jsonb_build_array(a.attnum, a.atttypid::bigint, a.atttypmod)) FILTER (WHERE a.is_kept) AS columns,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE NOT a.is_kept), '{}') AS generated,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.is_kept AND NOT kith.is_exact_in_json(a.atttypid)), '{}') AS exact,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.is_kept AND kith.base_type(a.atttypid) IN ('jsonb'::regtype, 'float4'::regtype, 'float8'::regtype)
                    AND NOT (kith.base_type(a.atttypid) = 'jsonb'::regtype AND a.attnotnull AND a.attnum <> ALL (i.indkey::smallint[]))), '{}') AS doubtful,
                  coalesce(bool_or(kith.base_type(a.atttypid) IN ('interval'::regtype, 'bytea'::regtype)), false) AS is_styled
             -- A key may have a generated column.
             FROM (SELECT b.*, b.attgenerated = '' OR b.attnum = ANY (i.indkey::smallint[]) AS is_kept FROM pg_attribute b) a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) x
     WHERE kith.is_logged(c.relnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.oid <> 'public.activity'::regclass
       AND (note_shapes.relations IS NULL OR c.oid = ANY (note_shapes.relations))
  LOOP
    SELECT s.* INTO known FROM kith.shape s WHERE s.relation = found_shape.relation AND s.is_current;
    CONTINUE WHEN FOUND AND (known.name, known.key, known.columns, known.generated, known.exact, known.doubtful, known.is_deferrable)
                          = (found_shape.name, found_shape.key, found_shape.columns, found_shape.generated, found_shape.exact, found_shape.doubtful, found_shape.is_deferrable)
                    AND known.actions IS NOT DISTINCT FROM found_shape.actions;
    UPDATE kith.shape s SET is_current = false WHERE s.relation = found_shape.relation AND s.is_current;
    INSERT INTO kith.shape AS s (relation, name, key, columns, generated, exact, doubtful, is_styled, is_deferrable, actions)
    VALUES (found_shape.relation, found_shape.name, found_shape.key, found_shape.columns, found_shape.generated, found_shape.exact, found_shape.doubtful, found_shape.is_styled, found_shape.is_deferrable, found_shape.actions);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.note_shapes IS 'Writes down the columns of all tables, or of these, that have changed since the last time.';

CREATE FUNCTION kith.base_type(type oid) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE base oid;
BEGIN
  SELECT CASE y.typtype WHEN 'd' THEN kith.base_type(y.typbasetype) ELSE y.oid END INTO base FROM pg_type y WHERE y.oid = type;
  RETURN base;
END $$;
COMMENT ON FUNCTION kith.base_type IS 'The type that a domain is of; any other type itself.';

-- Changes.

-- A key of jsonb is its JSON: null and "null" are two keys.
CREATE FUNCTION kith.key_of(image jsonb, key name[], doubtful name[]) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN key <@ doubtful AND cardinality(key) = 1 THEN (image -> key[1]::text)::text WHEN cardinality(key) = 1 THEN image ->> key[1]::text ELSE (SELECT jsonb_object_agg(k.name, image -> k.name::text)::text FROM unnest(key) k(name)) END;
COMMENT ON FUNCTION kith.key_of IS 'The key of a row as text.';

CREATE FUNCTION kith.exact_texts_query(columns name[], "row" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
  SELECT 'jsonb_build_object(' || coalesce(string_agg(format('%L, CASE WHEN to_jsonb(%s.%I) IS NOT NULL THEN format(''%%s'', %2$s.%3$I) END', c.name, "row", c.name), ', '), '') || ')'
    FROM unnest(columns) c(name)
$$;
COMMENT ON FUNCTION kith.exact_texts_query IS 'The expression for the texts of columns. The row is named by an expression.';

CREATE FUNCTION kith.exact_texts(columns name[], "row" anyelement) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE texts jsonb := '{}';
BEGIN
  IF cardinality(columns) = 0 THEN
    RETURN texts;
  END IF;
  EXECUTE 'SELECT ' || kith.exact_texts_query(columns, '($1)') INTO texts USING "row";
  RETURN texts;
END $$;
COMMENT ON FUNCTION kith.exact_texts IS 'The texts that the output functions of these columns'' types give, or null.';

-- A referential action runs at the depth of the statement that caused it. What tells it from the statement's own work is that the row it
-- refers to changed before, in the same transaction.
CREATE FUNCTION kith.is_cascade(actions jsonb, op text, before jsonb, previous jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE action jsonb; old_values text[]; target text[];
BEGIN
  FOR action IN SELECT x.value FROM jsonb_array_elements(actions) x WHERE op = 'DELETE' OR previous ?| ARRAY(SELECT jsonb_array_elements_text(x.value -> 'columns')) LOOP
    old_values := ARRAY(SELECT before ->> c.name FROM jsonb_array_elements_text(action -> 'columns') WITH ORDINALITY c(name, place) ORDER BY c.place);
    target := ARRAY(SELECT jsonb_array_elements_text(action -> 'target'));
    CONTINUE WHEN array_position(old_values, NULL) IS NOT NULL;
    -- Most foreign keys refer to the primary key, which the index finds.
    PERFORM FROM kith.change c JOIN kith.shape s ON s.id = c.shape
      WHERE c.xid = pg_current_xact_id() AND c.relation = (action ->> 'parent')::oid
        AND (cardinality(target) > 1 OR s.key <> target::name[] OR s.key <@ s.doubtful OR coalesce(c.was, c.key) = old_values[1])
        AND (c.op = 'D' AND action ->> 'on_delete' IN ('c', 'n', 'd') OR c.op = 'U' AND action ->> 'on_update' IN ('c', 'n', 'd') AND c.previous ?| target)
        AND ARRAY(SELECT (c.image || coalesce(c.previous, '{}')) ->> t.name FROM unnest(target) WITH ORDINALITY t(name, place) ORDER BY t.place) = old_values
      LIMIT 1;
    IF FOUND THEN
      RETURN true;
    END IF;
  END LOOP;
  RETURN false;
END $$;
COMMENT ON FUNCTION kith.is_cascade IS 'Whether a foreign key''s action made this change.';

CREATE FUNCTION kith.note_run(actor text, provenance jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE known record;
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT r.id, r.status, r.undone_by INTO known FROM kith.run r WHERE r.actor = note_run.actor AND r.run_id = provenance ->> 'run_id';
    EXIT WHEN FOUND;
    -- An automation's run has the id that the automation's own list shows, so that what it caused leads to it.
    INSERT INTO kith.run AS r (id, actor, run_id, agent, reason, caused_by)
    VALUES (CASE WHEN starts_with(note_run.actor, 'automation:') THEN provenance ->> 'run_id' ELSE kith.new_id('run') END, note_run.actor, provenance ->> 'run_id',
            provenance ->> 'agent', provenance ->> 'reason', provenance ->> 'caused_by') ON CONFLICT DO NOTHING;
  END LOOP;
  IF known.status <> 'open' OR known.undone_by IS NOT NULL THEN
    RAISE EXCEPTION 'run "%" has ended', provenance ->> 'run_id' USING ERRCODE = 'KL002', HINT = 'Send another X-Run-Id.';
  END IF;
  RETURN known.id;
END $$;
COMMENT ON FUNCTION kith.note_run IS 'The id of the run that the request belongs to. Creates the run, and refuses one that has ended.';

-- The foreign keys of a row may change it and then delete it, for two rows that they refer to. The first deleted row of a table has all of them
-- logged, before the changed ones.
CREATE FUNCTION kith.place_deletes(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE kith.change AS d SET seq = DEFAULT
   WHERE d.xid = pg_current_xact_id() AND d.relation = place_deletes.relation AND d.op = 'D'
     AND EXISTS (SELECT FROM kith.change u WHERE u.xid = d.xid AND u.relation = d.relation AND u.key = d.key AND u.op = 'U' AND u.was IS NULL AND u.seq > d.seq
                    AND NOT EXISTS (SELECT FROM kith.change i WHERE i.xid = d.xid AND i.relation = d.relation AND i.key = d.key AND (i.op = 'I' OR i.was IS NOT NULL) AND i.seq > d.seq));
END $$;
COMMENT ON FUNCTION kith.place_deletes IS 'Puts the deletes of rows after the updates that were logged after them.';

CREATE FUNCTION kith.await_judgement() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id() AND s.most IS NOT NULL) THEN
    INSERT INTO kith.judgement AS j (xid) VALUES (pg_current_xact_id());
  END IF;
END $$;
COMMENT ON FUNCTION kith.await_judgement IS 'Has the changes of this transaction counted at its end, if it has a limit.';

-- The same for rows of a statement. The query reads the transition tables kith_old and kith_new. It takes the actor, the provenance, how many rows it
-- passes over, and how many it takes, or null.
CREATE FUNCTION kith.begin_statement(relation oid, op text, depth integer, labels text[]) RETURNS kith.statement
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
#variable_conflict use_variable
DECLARE
  shape kith.shape; made kith.statement; own text[]; number text; key text; texts text; label text; rows text;
  own_via constant text := CASE WHEN depth > 1 THEN 'trigger' ELSE 'request' END;
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = begin_statement.relation AND s.is_current;
  SELECT c.actor, c.provenance INTO made.actor, made.provenance FROM kith.current_context() c;
  made.has_cascades := shape.actions IS NOT NULL AND op = 'UPDATE';
  made.is_limited := made.provenance ? 'limited' OR starts_with(made.actor, 'postgres:');
  IF starts_with(made.actor, 'postgres:') AND kith.is_viewer() THEN
    RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
  END IF;
  -- No column has this name.
  number := 'kith:' || gen_random_uuid();
  own := number || shape.generated::text[];
  key := CASE WHEN shape.only_key IS NOT NULL THEN format('(r.%%s ->> %L)', shape.only_key) ELSE format('kith.key_of(r.%%s, %L, %L)', shape.key, shape.doubtful) END;
  -- {row} is the expression for a row.
  texts := kith.exact_texts_query(shape.exact, '{row}') || coalesce((
    SELECT string_agg(format(' || CASE WHEN i.image -> %1$L IN (''null'', ''0'')' || CASE op WHEN 'UPDATE' THEN ' OR i.before -> %1$L IN (''null'', ''0'')' ELSE '' END || ' THEN %2$s ELSE ''{}'' END',
                             d.name, kith.exact_texts_query(ARRAY[d.name], '{row}')), '')
      FROM unnest(shape.doubtful) d(name)), '');
  label := (SELECT 'coalesce(' || string_agg(format('nullif(btrim(concat(%L, r.image ->> %L, %L, r.image ->> %L, %L)), '''')',
                                                    labels[n], labels[n + 1], labels[n + 2], labels[n + 3], labels[n + 4]), ', ' ORDER BY n) || ')'
              FROM generate_series(1, array_upper(labels, 1), 5) n);
  IF op = 'UPDATE' THEN
    -- Equal images of rows that differ are rare.
    rows := format('
      SELECT o.%4$I AS n, i.before, i.image, c.changes, coalesce(d.previous, (SELECT jsonb_object_agg(x.name, i.before -> x.name) FROM jsonb_object_keys(c.changes) x(name))) AS previous, %1$s AS exact
        FROM (SELECT row_number() OVER () AS %4$I, k.* FROM (SELECT * FROM kith_old OFFSET $3 LIMIT $4) k) o
        JOIN (SELECT row_number() OVER () AS %4$I, k.* FROM (SELECT * FROM kith_new OFFSET $3 LIMIT $4) k) w ON w.%4$I = o.%4$I
       CROSS JOIN LATERAL (SELECT to_jsonb(o.*) - %3$L::text[] AS before, to_jsonb(w.*) - %3$L::text[] AS image OFFSET 0) i
       CROSS JOIN LATERAL (
             SELECT jsonb_object_agg(a.key, i.before -> a.key) AS previous, jsonb_object_agg(a.key, jsonb_build_object(''from'', i.before -> a.key, ''to'', a.value)) AS changes
               FROM jsonb_each(i.image) a
              WHERE (a.value <> (i.before -> a.key) OR jsonb_typeof(a.value) <> ''string'' AND jsonb_send(a.value) <> jsonb_send(i.before -> a.key)) AND a.key <> ''updated_at'') d
       CROSS JOIN LATERAL (SELECT coalesce(d.changes, (%2$s) - %3$L::text[]) AS changes OFFSET 0) c
       WHERE o.* *<> w.* AND c.changes <> ''{}''',
      CASE WHEN NOT shape.is_inexact THEN 'NULL::jsonb'
           ELSE format('nullif(jsonb_build_object(''row'', %s, ''previous'', %s), ''{"row": {}, "previous": {}}'')',
                       replace(texts, '{row}', 'w'), replace(texts, '{row}', 'o')) END,
      kith.image_changes_query(relation, 'o', 'w'), own, number);
  ELSE
    rows := format('
      SELECT k.%6$I AS n, %1$s AS before, i.image, %2$s AS changes, NULL::jsonb AS previous, %3$s AS exact
        FROM (SELECT row_number() OVER () AS %6$I, k.* FROM (SELECT * FROM %4$s OFFSET $3 LIMIT $4) k) k
       CROSS JOIN LATERAL (SELECT to_jsonb(k.*) - %5$L::text[] AS image OFFSET 0) i',
      CASE op WHEN 'DELETE' THEN 'i.image' ELSE 'NULL::jsonb' END,
      CASE op WHEN 'DELETE' THEN '(SELECT jsonb_object_agg(b.key, jsonb_build_object(''from'', b.value, ''to'', NULL)) FROM jsonb_each(i.image) b WHERE b.value <> ''null'' AND b.key <> ''updated_at'')'
                            ELSE 'NULL::jsonb' END,
      CASE WHEN NOT shape.is_inexact THEN 'NULL::jsonb'
           ELSE format('nullif(jsonb_build_object(''row'', %s), ''{"row": {}}'')', replace(texts, '{row}', 'k')) END,
      CASE op WHEN 'DELETE' THEN 'kith_old' ELSE 'kith_new' END, own, number);
  END IF;
  made.query := format('
    WITH r AS MATERIALIZED (
      SELECT x.*, %s AS verb, kith.new_id(''a'') AS entry FROM (%s) x),
    feed AS (
      INSERT INTO public.activity (id, actor, verb, subject_type, subject_id, subject_repr, changes, custom)
      SELECT r.entry, $1, r.verb, %L, left(r.image ->> ''id'', 500), left(%s, 200), CASE WHEN octet_length(r.changes::text) > 1000000 THEN kith.clip_changes(r.changes) ELSE r.changes END,
             $2 - ''{undo_of,limited,caused_by}''::text[]
        FROM r ORDER BY r.n)
    INSERT INTO kith.change (xid, at, actor, request, run, via, relation, shape, key, was, op, verb, image, previous, exact, activity)
    SELECT pg_current_xact_id(), clock_timestamp(), $1, $2 ->> ''request_id'', (SELECT CASE WHEN $2 ? ''run_id'' THEN kith.note_run($1, $2) END), %s, %s, %s, %s,
           CASE WHEN r.previous ?| %L THEN %s END, %L, r.verb, r.image, r.previous, r.exact, r.entry
      FROM r ORDER BY r.n',
    CASE op WHEN 'DELETE' THEN '''deleted'''
            WHEN 'INSERT' THEN quote_literal(CASE WHEN depth = 1 AND made.provenance ? 'undo_of' THEN 'restored' ELSE 'created' END)
            ELSE 'CASE WHEN NOT x.previous ? ''deleted_at'' THEN ''updated'' WHEN x.previous -> ''deleted_at'' = ''null'' THEN ''deleted''
                       WHEN x.image -> ''deleted_at'' = ''null'' THEN ''restored'' ELSE ''updated'' END' END,
    rows, labels[0], label,
    CASE WHEN shape.actions IS NULL OR op = 'INSERT' THEN quote_literal(own_via)
         ELSE format('CASE WHEN kith.is_cascade(%L, %L, r.before, r.previous) THEN ''cascade'' ELSE %L END', shape.actions, op, own_via) END,
    shape.relation, shape.id, format(key, 'image'), shape.key, format(key, 'before'), left(op, 1));
  RETURN made;
END $$;
COMMENT ON FUNCTION kith.begin_statement IS 'The query that writes the changes of all rows of a statement to the log and to the feed. Refuses viewers.';

CREATE FUNCTION kith.note_entry(relation oid, image jsonb, entry text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE shape kith.shape;
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = coalesce(pg_partition_root(note_entry.relation), note_entry.relation) AND s.is_current;
  IF FOUND THEN
    UPDATE kith.change AS c SET activity = note_entry.entry
     WHERE c.seq = (SELECT x.seq FROM kith.change x WHERE x.xid = pg_current_xact_id() AND x.relation = shape.relation AND x.key = kith.key_of(note_entry.image, shape.key, shape.doubtful) AND x.activity IS NULL
                     ORDER BY x.seq DESC LIMIT 1);
  END IF;
END $$;
COMMENT ON FUNCTION kith.note_entry IS 'Notes which entry of the feed is about the last change of a row.';

-- A row that is moved to another partition.

-- An update is logged with the exact texts of all columns that need one before or after it.
CREATE FUNCTION kith.text_of(shape kith.shape, name text, value jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE kith.base_type((shape.columns -> name ->> 1)::oid) WHEN 'float4'::regtype THEN (value #>> '{}')::real::text WHEN 'float8'::regtype THEN (value #>> '{}')::double precision::text
                                                               ELSE value::text END;
COMMENT ON FUNCTION kith.text_of IS 'The text of a value that JSON holds to the letter, in a doubtful column.';

-- It takes the place of the delete, because what other triggers logged since is later: the row had left its old key, and had its new one.
CREATE FUNCTION kith.join_move(shape kith.shape, gone bigint, came bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE old kith.change; new kith.change; before jsonb; texts jsonb; texts_before jsonb; made jsonb; told jsonb; kind text := 'updated';
BEGIN
  SELECT c.* INTO old FROM kith.change c WHERE c.seq = join_move.gone;
  DELETE FROM kith.change c WHERE c.seq = join_move.came RETURNING c.* INTO new;
  SELECT jsonb_object_agg(a.key, old.image -> a.key), jsonb_object_agg(a.key, jsonb_build_object('from', old.image -> a.key, 'to', a.value)) INTO before, told
    FROM jsonb_each(new.image) a
   WHERE (a.value <> (old.image -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(old.image -> a.key)) AND a.key <> 'updated_at';
  IF before ? 'deleted_at' THEN
    kind := CASE WHEN before -> 'deleted_at' = 'null' THEN 'deleted' WHEN new.image -> 'deleted_at' = 'null' THEN 'restored' ELSE kind END;
  END IF;
  IF shape.is_inexact THEN
    texts := coalesce(new.exact -> 'row', '{}');
    texts_before := coalesce(old.exact -> 'row', '{}');
    texts := texts || (SELECT coalesce(jsonb_object_agg(t.name, kith.text_of(shape, t.name, new.image -> t.name)), '{}') FROM jsonb_object_keys(texts_before - ARRAY(SELECT jsonb_object_keys(texts))) t(name));
    texts_before := texts_before
                 || (SELECT coalesce(jsonb_object_agg(t.name, kith.text_of(shape, t.name, old.image -> t.name)), '{}') FROM jsonb_object_keys(texts - ARRAY(SELECT jsonb_object_keys(texts_before))) t(name));
    made := nullif(jsonb_build_object('row', texts, 'previous', texts_before), '{"row": {}, "previous": {}}');
  END IF;
  IF shape.is_deferrable THEN
    made := coalesce(made, '{}') || jsonb_build_object('tuple', (old.exact -> 'tuple') || (new.exact -> 'tuple'));
  END IF;
  UPDATE kith.change AS c SET key = new.key, was = old.key, op = 'U', verb = kind, image = new.image, previous = before, exact = made, activity = coalesce(new.activity, old.activity), command = NULL
   WHERE c.seq = old.seq;
  -- record_activity() has written two entries.
  IF old.activity IS NOT NULL AND new.activity IS NOT NULL THEN
    DELETE FROM public.activity a WHERE a.id = old.activity;
    UPDATE public.activity AS a SET verb = kind, changes = CASE WHEN octet_length(told::text) > 1000000 THEN kith.clip_changes(told) ELSE told END WHERE a.id = new.activity;
  END IF;
END $$;
COMMENT ON FUNCTION kith.join_move IS 'Makes one update of the two changes of a row that was moved to another partition.';

-- PostgreSQL runs the triggers for DELETE and those for INSERT for a row that an UPDATE moves to another partition. Only the transition tables say
-- that it is one row. They lack the rows that MERGE moves: there a row that was inserted next after one was deleted, by the same command as far as that is
-- known, and into another partition, is the same if its key is, but for the columns by which the table is partitioned. If the key has no others, the rest of
-- the row has to be equal. What a trigger's own statement deletes has a depth of its own, so all that was deleted at this one is known now.
CREATE FUNCTION kith.note_moves() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  root constant oid := coalesce(pg_partition_root(TG_RELID), TG_RELID);
  depth constant text := pg_trigger_depth();
  shape kith.shape; styles text[]; old_rows refcursor; new_rows refcursor; key_before text; key_after text; image_before jsonb; image_after jsonb;
  gone kith.change; came bigint; first bigint; since bigint; own name[];
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = root AND s.is_current;
  IF shape.is_styled OR shape.is_inexact THEN
    styles := kith.set_styles('{"ISO, MDY",postgres,1,hex,C,off}');
  END IF;
  -- Both tables have the rows in one order. A join would have the plan of the first statement, which may have had one row.
  OPEN old_rows NO SCROLL FOR SELECT kith.key_of(x.image, shape.key, shape.doubtful), x.image FROM (SELECT to_jsonb(k.*) - shape.generated::text[] AS image FROM kith_old k OFFSET 0) x;
  OPEN new_rows NO SCROLL FOR SELECT kith.key_of(x.image, shape.key, shape.doubtful), x.image FROM (SELECT to_jsonb(k.*) - shape.generated::text[] AS image FROM kith_new k OFFSET 0) x;
  LOOP
    FETCH old_rows INTO key_before, image_before;
    EXIT WHEN NOT FOUND;
    FETCH new_rows INTO key_after, image_after;
    CONTINUE WHEN key_before = key_after;
    -- By the index of keys, not by that of deleted rows.
    SELECT x.* INTO gone FROM (
      SELECT c.* FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.key = key_before AND c.op = 'D' AND coalesce(c.command, '') <> '' AND c.image = image_before OFFSET 0) x
     ORDER BY x.seq DESC LIMIT 1;
    CONTINUE WHEN NOT FOUND;
    came := (SELECT min(x.seq) FROM (
      SELECT c.seq FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.key = key_after AND c.op = 'I' AND c.seq > gone.seq AND c.image = image_after
         AND split_part(c.command, ' ', 1) <> split_part(gone.command, ' ', 1) OFFSET 0) x);
    CONTINUE WHEN came IS NULL;
    PERFORM kith.join_move(shape, gone.seq, came);
    first := least(first, gone.seq);
  END LOOP;
  CLOSE old_rows;
  CLOSE new_rows;
  -- Not by the index of all numbers, in which the first one may be far off.
  since := (SELECT min(x.seq) FROM (SELECT c.seq FROM kith.change c
                                     WHERE c.xid = pg_current_xact_id_if_assigned() AND c.relation = root AND c.op = 'D' AND c.command IS NOT NULL AND split_part(c.command, ' ', 3) = depth OFFSET 0) x);
  IF since IS NOT NULL THEN
    own := ARRAY(SELECT k.name FROM unnest(shape.key) k(name)
                  WHERE k.name NOT IN (SELECT a.attname FROM pg_partition_tree(root) t JOIN pg_partitioned_table p ON p.partrelid = t.relid
                                         JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::smallint[])));
    PERFORM kith.join_move(shape, x.seq_before, x.seq)
       FROM (SELECT c.seq, c.op, c.command, c.image, lag(c.seq) OVER w AS seq_before, lag(c.op) OVER w AS op_before, lag(c.command) OVER w AS command_before, lag(c.image) OVER w AS image_before
               FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.seq >= since AND split_part(c.command, ' ', 3) = depth
             WINDOW w AS (ORDER BY c.seq) OFFSET 0) x
      WHERE x.op = 'I' AND x.op_before = 'D' AND split_part(x.command, ' ', 1) <> split_part(x.command_before, ' ', 1) AND split_part(x.command_before, ' ', 2) IN ('', split_part(x.command, ' ', 2))
        AND CASE WHEN own = '{}' THEN x.image - shape.key::text[] = x.image_before - shape.key::text[]
                 ELSE kith.key_of(x.image, own, '{}') = kith.key_of(x.image_before, own, '{}') END;
    UPDATE kith.change AS c SET command = NULL
     WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.op = 'D' AND c.command IS NOT NULL AND split_part(c.command, ' ', 3) = depth;
  END IF;
  -- A foreign key of the table's own may have moved others, or changed them, before it was known what it follows.
  IF least(first, since) IS NOT NULL AND shape.actions @> jsonb_build_array(jsonb_build_object('parent', root::bigint)) THEN
    UPDATE kith.change AS c SET via = 'cascade' FROM kith.shape s
     WHERE c.xid = pg_current_xact_id() AND c.seq > least(first, since) AND c.op = 'U' AND c.via <> 'cascade' AND s.id = c.shape
       AND s.actions @> jsonb_build_array(jsonb_build_object('parent', root::bigint)) AND kith.is_cascade(s.actions, 'UPDATE', c.image || c.previous, c.previous);
  END IF;
  IF styles IS NOT NULL THEN
    PERFORM kith.set_styles(styles);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.note_moves IS 'Makes updates of the changes of rows that a statement has moved to other partitions.';

-- What the log does not see is noted for the run, so that it can say what it cannot undo.
CREATE FUNCTION kith.note_gap(what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE who record;
BEGIN
  SELECT c.actor, c.provenance INTO who FROM kith.current_context() c;
  IF who.provenance ? 'run_id' THEN
    INSERT INTO kith.gap AS g (run, what, request) VALUES (kith.note_run(who.actor, who.provenance), note_gap.what, coalesce(who.provenance ->> 'request_id', '')) ON CONFLICT DO NOTHING;
  END IF;
END $$;
COMMENT ON FUNCTION kith.note_gap IS 'Notes that the run did what cannot be undone.';

-- What the log does not see cannot be counted either.
CREATE FUNCTION kith.refuse_uncounted(what text, hint text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL) THEN
    RAISE EXCEPTION '% not allowed under X-Max-Affected, because the rows cannot be counted', what USING ERRCODE = '42501', HINT = hint;
  END IF;
END $$;
COMMENT ON FUNCTION kith.refuse_uncounted IS 'Refuses what changes rows without a change in the log, if the transaction has a limit.';

CREATE FUNCTION kith.note_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM kith.refuse_uncounted('TRUNCATE is', 'DELETE counts them.');
    PERFORM kith.note_gap(format('TRUNCATE of %s', kith.own_subject(TG_RELID)));
  ELSE
    PERFORM kith.refuse_uncounted(format('writes to %s, which has no primary key, are', kith.own_subject(TG_RELID)), 'Add a primary key.');
    PERFORM kith.note_gap(format('writes to %s, which has no primary key', kith.own_subject(TG_RELID)));
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.note_statement IS 'Notes TRUNCATE, and writes to a table without a primary key.';

CREATE FUNCTION kith.children() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(i.inhrelid || ' ' || i.inhparent ORDER BY i.inhrelid, i.inhparent), '{}') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
$$;
COMMENT ON FUNCTION kith.children IS 'Which tables are children of which: the oids of a partition, or of a table that inherits, and of its parent.';

CREATE FUNCTION kith.note_children() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL AND s.children IS NULL) THEN
    UPDATE kith.seal AS s SET children = kith.children() WHERE s.xid = pg_current_xact_id_if_assigned();
  END IF;
END $$;
COMMENT ON FUNCTION kith.note_children IS 'Notes which tables are children of which, if the transaction has a limit.';

-- A table that becomes a child takes its rows along, and no trigger sees them. A child that was just created has none. What is compared is what was
-- there before the first command, because a command may run code of the workspace's, which may run another one. Other sessions change it too; this
-- one holds what it has changed.
CREATE FUNCTION kith.refuse_adoption() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE known text[]; present text[] := kith.children(); what text;
BEGIN
  SELECT s.children INTO known FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL;
  IF known IS NULL THEN
    RETURN;
  END IF;
  SELECT CASE WHEN x.is_new THEN CASE WHEN c.relispartition THEN 'ATTACH PARTITION' ELSE 'INHERIT' END
              ELSE CASE WHEN p.relkind = 'p' THEN 'DETACH PARTITION' ELSE 'NO INHERIT' END END INTO what
    FROM (SELECT n.pair, true AS is_new FROM unnest(present) n(pair) WHERE n.pair <> ALL (known)
           UNION ALL SELECT k.pair, false FROM unnest(known) k(pair) WHERE k.pair <> ALL (present)) x
   CROSS JOIN LATERAL (SELECT split_part(x.pair, ' ', 1)::oid AS child, split_part(x.pair, ' ', 2)::oid AS parent) i
    LEFT JOIN pg_class c ON c.oid = i.child LEFT JOIN pg_class p ON p.oid = i.parent
   WHERE kith_guard.holds_alone(i.child)
     AND i.child NOT IN (SELECT d.objid FROM pg_event_trigger_ddl_commands() d WHERE d.classid = 'pg_class'::regclass AND d.command_tag = 'CREATE TABLE')
   LIMIT 1;
  IF FOUND THEN
    PERFORM kith.refuse_uncounted(what || ' is', 'Send it without the limit.');
  END IF;
  IF present <> known THEN
    UPDATE kith.seal AS s SET children = present WHERE s.xid = pg_current_xact_id_if_assigned();
  END IF;
END $$;
COMMENT ON FUNCTION kith.refuse_adoption IS 'Refuses commands by which a table with its rows becomes a child of another one, or ceases to be one, if the transaction has a limit.';

-- What is dropped is known before the end of the command only. attach() drops triggers of the log's, which nobody asked for.
CREATE FUNCTION kith.note_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  IF TG_EVENT = 'sql_drop' THEN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
                WHERE d.object_type = 'trigger' AND d.address_names[3] NOT IN ('!kith_capture', '!kith_capture_all', '!kith_moves', 'kith_truncate', 'kith_statement', 'kith_row')) THEN
      PERFORM kith.note_gap(TG_TAG);
    END IF;
  -- A trigger of Kith's makes and drops the indexes of custom fields, and does so in an undo too.
  ELSIF TG_TAG <> 'DROP TRIGGER' AND NOT (TG_TAG IN ('CREATE INDEX', 'DROP INDEX') AND pg_trigger_depth() > 0) AND NOT kith_guard.creates_log_triggers(TG_TAG) THEN
    PERFORM kith.note_gap(TG_TAG);
  END IF;
END $$;
COMMENT ON FUNCTION kith.note_ddl IS 'Notes DDL.';

-- The reasons are bits: 2 for a default or generated column, 4 for the type of a column.
CREATE FUNCTION kith.refuse_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_event_trigger_table_rewrite_reason() & 6 <> 0 THEN
    PERFORM kith.refuse_uncounted('an ALTER TABLE that writes all rows is', 'Send it without the limit.');
  END IF;
END $$;
COMMENT ON FUNCTION kith.refuse_rewrite IS 'Refuses an ALTER TABLE that writes rows, if the transaction has a limit.';

-- A table without a primary key is no longer in the log.
CREATE FUNCTION kith.refuse_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE dropped record;
BEGIN
  IF NOT EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL) THEN
    RETURN;
  END IF;
  SELECT d.object_type, d.object_identity INTO dropped FROM pg_event_trigger_dropped_objects() d
   WHERE d.object_type IN ('table', 'table column') AND NOT d.is_temporary LIMIT 1;
  IF FOUND THEN
    PERFORM kith.refuse_uncounted(format('the DROP of %s %s is', CASE dropped.object_type WHEN 'table' THEN 'table' ELSE 'column' END, dropped.object_identity), 'Send it without the limit.');
  END IF;
  -- Not by to_regclass(): this role has no rights to the schemas of a workspace.
  PERFORM FROM pg_event_trigger_dropped_objects() d
     JOIN pg_namespace n ON n.nspname = d.address_names[1]
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = d.address_names[2]
     JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgfoid = 'kith.capture'::regproc
    WHERE d.object_type = 'table constraint' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.tgrelid AND i.indisprimary);
  IF FOUND THEN
    PERFORM kith.refuse_uncounted('the DROP of a primary key is', 'Send it without the limit.');
  END IF;
END $$;
COMMENT ON FUNCTION kith.refuse_drop IS 'Refuses the DROP of a table, a column or a primary key, if the transaction has a limit.';

CREATE FUNCTION kith.refuse_copy() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.refuse_uncounted(TG_TAG || ' is', 'CREATE TABLE, then INSERT … SELECT, counts them.');
END $$;
COMMENT ON FUNCTION kith.refuse_copy IS 'Refuses commands that create a table with rows, if the transaction has a limit.';

-- Limits.

CREATE FUNCTION kith.limit_request(secret text, most integer, is_dry boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  -- Another limited transaction may be removing the same rows, and may take long to end.
  DELETE FROM kith.seal s WHERE s.xid IN (SELECT o.xid FROM kith.seal o WHERE o.xid < pg_snapshot_xmin(pg_current_snapshot()) FOR UPDATE SKIP LOCKED);
  INSERT INTO kith.seal AS s (xid, most, is_dry) VALUES (pg_current_xact_id(), limit_request.most, limit_request.is_dry);
END $$;
COMMENT ON FUNCTION kith.limit_request IS 'Limits this transaction: to so many changed rows, or to no commit. For the server, which knows the secret.';

-- SET CONSTRAINTS, which the workspace's SQL may use, runs this trigger before its time. It then queues itself again. It cannot tell this
-- from a commit, but nothing runs twice in one statement except at a commit, or if the statement sets constraints twice. So there is never
-- a moment in which it is not queued. The server lifts the seal to check deferred constraints; it then rolls the transaction back.
CREATE FUNCTION kith.refuse_dry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE sealed kith.seal;
BEGIN
  SELECT s.* INTO sealed FROM kith.seal s WHERE s.xid = NEW.xid;
  IF sealed.is_dry THEN
    IF sealed.passed = statement_timestamp() THEN
      RAISE EXCEPTION 'a dry run cannot be committed' USING ERRCODE = 'KL003', HINT = 'A statement of a dry run can set constraints once.';
    END IF;
    SET CONSTRAINTS kith.refuse_dry DEFERRED;
    UPDATE kith.seal AS s SET passed = statement_timestamp() WHERE s.xid = NEW.xid;
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse_dry AFTER INSERT OR UPDATE OF passed ON kith.seal DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.is_dry) EXECUTE FUNCTION kith.refuse_dry();

-- Only commands that write have a number of their own.
CREATE FUNCTION kith.lift_seal(secret text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE command bigint;
BEGIN
  PERFORM kith.check_secret(secret);
  UPDATE kith.seal AS s SET is_dry = false WHERE s.xid = pg_current_xact_id() RETURNING s.cmin::text::bigint INTO command;
  RETURN command;
END $$;
COMMENT ON FUNCTION kith.lift_seal IS 'Lets the deferred constraints of a dry transaction be checked, and returns the number of this command in it. For the server, which knows the secret.';

-- A row whose key changed is the same row, and another row may have its old key. Each change belongs to the row that has the key at that moment. If
-- the key is deferrable, several rows may have it, and the change says which one it is.
CREATE FUNCTION kith.rows_of(changes kith.change[]) RETURNS TABLE (seq bigint, first bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  change record; number integer; above integer; higher integer; rows integer := 0;
  -- By key: the last row that came to it, and the last one that was deleted.
  present integer[]; deleted integer[];
  -- By row: its first change, the row that came to the same key before it, its last transaction, its last place.
  firsts bigint[]; below integer[]; transactions xid8[]; places text[];
BEGIN
  FOR change IN
    WITH keyed AS (SELECT c.seq, c.xid, c.op, c.relation, c.key, coalesce(c.was, c.key) AS was, c.exact -> 'tuple' AS tuple FROM unnest(changes) c),
         numbered AS (SELECT k.relation, k.key, row_number() OVER ()::integer AS n FROM (SELECT k.relation, k.key FROM keyed k UNION SELECT k.relation, k.was FROM keyed k) k)
    SELECT k.seq, k.xid, k.op, k.tuple, n.n AS key, w.n AS was
      FROM keyed k JOIN numbered n ON (n.relation, n.key) = (k.relation, k.key) JOIN numbered w ON (w.relation, w.key) = (k.relation, k.was) ORDER BY k.seq
  LOOP
    above := NULL;
    higher := NULL;
    number := present[change.was];
    IF change.op = 'I' AND (transactions[number] = change.xid OR change.tuple IS NOT NULL) THEN
      number := NULL;
    ELSIF change.tuple IS NOT NULL THEN
      -- A row of an earlier transaction is none that this one has moved.
      WHILE number IS NOT NULL LOOP
        EXIT WHEN CASE WHEN transactions[number] <> change.xid THEN NOT change.tuple ? 'from' ELSE places[number] = change.tuple ->> 'from' END;
        higher := above;
        above := number;
        number := below[number];
      END LOOP;
      IF number IS NULL AND change.tuple ? 'from' THEN
        -- A write that changes nothing has moved the row. It is the one that has had the key longest: the statement has not come to it yet.
        number := above;
        above := higher;
      END IF;
    END IF;
    IF number IS NOT NULL THEN
      IF above IS NULL THEN
        present[change.was] := below[number];
      ELSE
        below[above] := below[number];
      END IF;
    ELSIF deleted[change.was] IS NOT NULL AND present[change.was] IS NULL THEN
      number := deleted[change.was];
      deleted[change.was] := NULL;
    ELSE
      rows := rows + 1;
      number := rows;
      firsts[number] := change.seq;
    END IF;
    transactions[number] := change.xid;
    places[number] := change.tuple ->> 'to';
    IF change.op = 'D' THEN
      deleted[change.key] := number;
      below[number] := NULL;
    ELSE
      below[number] := present[change.key];
      present[change.key] := number;
    END IF;
    seq := change.seq;
    first := firsts[number];
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.rows_of IS 'The row that each change belongs to, named by its first change.';

-- Others may have written the row between its changes. What they wrote into a column that these changes did not touch is none of their doing: the state
-- before is that after the last change, less what each change did. What they wrote into one that a change had touched is `overwritten`: {column: the
-- value that the change had left}. Of a row that these changes create, that is any column. `is_replaced`: others deleted the row, or created it again.
CREATE FUNCTION kith.unwound(changes kith.change[], OUT before jsonb, OUT exact_before jsonb, OUT overwritten jsonb, OUT is_replaced boolean)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE change kith.change; state jsonb; found_state jsonb; touched jsonb := '{}'; is_first boolean := true;
BEGIN
  overwritten := '{}';
  is_replaced := false;
  FOREACH change IN ARRAY changes LOOP
    found_state := CASE change.op WHEN 'U' THEN change.image || change.previous WHEN 'D' THEN change.image END;
    IF NOT is_first THEN
      IF (state IS NULL) <> (found_state IS NULL) THEN
        is_replaced := is_replaced OR found_state IS NOT NULL OR changes[1].op <> 'I';
      ELSIF state - 'updated_at' <> found_state - 'updated_at' THEN
        -- A column that only one of them has was added or dropped.
        overwritten := overwritten || (
          SELECT coalesce(jsonb_object_agg(k.name, state -> k.name), '{}') FROM jsonb_object_keys(found_state) k(name)
           WHERE k.name <> 'updated_at' AND state ? k.name AND state -> k.name <> found_state -> k.name AND (touched ? k.name OR changes[1].op = 'I'));
      END IF;
    END IF;
    is_first := false;
    touched := touched || CASE change.op WHEN 'U' THEN change.previous ELSE change.image END;
    state := CASE WHEN change.op <> 'D' THEN change.image END;
  END LOOP;
  before := state;
  exact_before := CASE WHEN change.op <> 'D' THEN coalesce(change.exact -> 'row', '{}') END;
  FOR place IN REVERSE cardinality(changes) .. 1 LOOP
    change := changes[place];
    IF change.op = 'U' THEN
      before := coalesce(before, change.image) || change.previous;
      -- A value may have changed to the letter only: `previous` lacks it if others have changed more.
      exact_before := (coalesce(exact_before, change.exact -> 'row', '{}') - ARRAY(SELECT jsonb_object_keys(change.previous)))
                   || (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(change.exact -> 'previous') e
                        WHERE change.previous ? e.key OR change.exact -> 'row' -> e.key IS DISTINCT FROM e.value);
    ELSE
      before := CASE change.op WHEN 'D' THEN change.image END;
      exact_before := CASE change.op WHEN 'D' THEN coalesce(change.exact -> 'row', '{}') END;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.unwound IS 'How a row was before changes of it, in their order.';

-- The net effect of changes: one row for each row that is different from what it was. A row counts by its state before and after.
CREATE FUNCTION kith.net(changes kith.change[]) RETURNS TABLE (
  seq bigint, at timestamptz, request text, activity text, via text, relation oid, shape integer, key text, verb text, hard boolean,
  before jsonb, after jsonb, exact_before jsonb, exact_after jsonb, members bigint[], overwritten jsonb, is_replaced boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (y.f).seq, (y.f).at, (y.f).request, (y.f).activity, (y.f).via, y.relation, (y.l).shape, (y.l).key,
         CASE WHEN y.before IS NULL THEN (y.f).verb WHEN y.after IS NULL THEN 'deleted'
              WHEN y.before -> 'deleted_at' = 'null' AND y.after -> 'deleted_at' <> 'null' THEN 'deleted'
              WHEN y.before -> 'deleted_at' <> 'null' AND y.after -> 'deleted_at' = 'null' THEN 'restored' ELSE 'updated' END,
         y.before IS NOT NULL AND y.after IS NULL, y.before, y.after, y.exact_before, y.exact_after, y.members, y.overwritten, y.is_replaced
    FROM (SELECT x.relation, x.members, x.f, x.l,
                 CASE WHEN x.several IS NOT NULL THEN u.before
                      ELSE CASE (x.f).op WHEN 'I' THEN NULL WHEN 'U' THEN (x.f).image || (x.f).previous ELSE (x.f).image END END AS before,
                 CASE (x.l).op WHEN 'D' THEN NULL ELSE (x.l).image END AS after,
                 CASE WHEN x.several IS NOT NULL THEN u.exact_before
                      ELSE CASE (x.f).op WHEN 'I' THEN NULL WHEN 'U' THEN coalesce((x.f).exact -> 'row', '{}') || coalesce((x.f).exact -> 'previous', '{}') ELSE coalesce((x.f).exact -> 'row', '{}') END END AS exact_before,
                 CASE (x.l).op WHEN 'D' THEN NULL ELSE coalesce((x.l).exact -> 'row', '{}') END AS exact_after,
                 coalesce(u.overwritten, '{}') AS overwritten, coalesce(u.is_replaced, false) AS is_replaced
            FROM (SELECT c.relation, (array_agg(c ORDER BY c.seq))[1] AS f, (array_agg(c ORDER BY c.seq))[count(*)] AS l, array_agg(c.seq ORDER BY c.seq) AS members,
                         CASE WHEN count(*) > 1 THEN array_agg(c ORDER BY c.seq) END AS several
                    FROM unnest(changes) c
                    LEFT JOIN kith.rows_of(ARRAY(SELECT e FROM unnest(changes) e
                                                  WHERE e.relation IN (SELECT m.relation FROM unnest(changes) m WHERE m.was IS NOT NULL OR m.exact ? 'tuple'))) r ON r.seq = c.seq
                   GROUP BY c.relation, r.first, CASE WHEN r.first IS NULL THEN c.key END) x
           CROSS JOIN LATERAL kith.unwound(x.several) u) y
   WHERE (y.before IS NULL) <> (y.after IS NULL)
      OR y.before - 'updated_at' IS DISTINCT FROM y.after - 'updated_at'
      OR jsonb_send(y.before - 'updated_at') <> jsonb_send(y.after - 'updated_at')
      OR y.exact_before IS DISTINCT FROM y.exact_after AND y.exact_before <> '{}'
$$;
COMMENT ON FUNCTION kith.net IS 'The net effect of changes, one row for each changed row.';

CREATE FUNCTION kith.of_transaction() RETURNS kith.change[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(c), '{}') FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()
$$;
COMMENT ON FUNCTION kith.of_transaction IS 'The changes of this transaction.';

CREATE FUNCTION kith.affected(changes kith.change[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
    FROM (SELECT s.name, count(*) FILTER (WHERE n.verb = 'created') AS created, count(*) FILTER (WHERE n.verb = 'updated') AS updated,
                 count(*) FILTER (WHERE n.verb = 'deleted') AS deleted, count(*) FILTER (WHERE n.verb = 'restored') AS restored
            FROM kith.net(affected.changes) n JOIN kith.shape s ON s.id = n.shape GROUP BY s.name) x
$$;
COMMENT ON FUNCTION kith.affected IS 'How many rows of each table were created, updated, deleted and restored.';

-- It runs at the end of the transaction, once for all changes up to then. Changes after it, by deferred triggers of the workspace's, queue it
-- again.
CREATE FUNCTION kith.judge() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE limit_of_rows integer; changed bigint; changes kith.change[];
BEGIN
  DELETE FROM kith.judgement j WHERE j.xid = pg_current_xact_id();
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT s.most INTO limit_of_rows FROM kith.seal s WHERE s.xid = pg_current_xact_id();
  -- So few changes are no more rows. Otherwise they are compared, because a row may have changed several times.
  IF (SELECT count(*) FROM (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id() LIMIT limit_of_rows::bigint + 1) x) <= limit_of_rows THEN
    RETURN NULL;
  END IF;
  changes := kith.of_transaction();
  SELECT count(*) INTO changed FROM kith.net(changes);
  IF changed > limit_of_rows THEN
    RAISE EXCEPTION 'the request changes % rows, and may change at most %', changed, limit_of_rows
      USING ERRCODE = 'KL001', DETAIL = kith.affected(changes)::text;
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER judge AFTER INSERT ON kith.judgement DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION kith.judge();

-- What changes look like to callers.

-- The log knows no policies of row security, so a table that has some is hidden as a whole. A table that is gone can be read by nobody.
CREATE FUNCTION kith.hidden_relations() RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT kith.is_viewer() THEN
    RETURN '{}';
  END IF;
  RETURN ARRAY(SELECT DISTINCT s.relation FROM kith.shape s LEFT JOIN pg_class c ON c.oid = s.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid IS NULL OR c.relrowsecurity OR NOT has_schema_privilege(session_user, n.oid, 'USAGE') OR NOT has_table_privilege(session_user, c.oid, 'SELECT'));
END $$;
COMMENT ON FUNCTION kith.hidden_relations IS 'The tables whose changes the session may not see: for a viewer, those that it cannot read.';

-- It has an SQL-standard body and no SET clause, so that queries can inline it.
CREATE FUNCTION kith.columns_changed(before jsonb, after jsonb, exact_before jsonb, exact_after jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (
  SELECT coalesce(jsonb_object_agg(k.name, jsonb_build_object('from', before -> k.name, 'to', after -> k.name)), '{}')
    FROM jsonb_object_keys(coalesce(after, '{}') || coalesce(before, '{}')) k(name)
   WHERE k.name <> 'updated_at'
     AND CASE WHEN before IS NULL THEN after -> k.name <> 'null' WHEN after IS NULL THEN true
              ELSE before -> k.name IS DISTINCT FROM after -> k.name OR jsonb_send(before -> k.name) <> jsonb_send(after -> k.name)
                OR exact_before -> k.name <> exact_after -> k.name END
);
COMMENT ON FUNCTION kith.columns_changed IS 'The columns that differ: {column: {from, to}}. A created row has its values, a deleted one all columns.';

-- It has an SQL-standard body and no SET clause, so that queries can inline it.
CREATE FUNCTION kith.shown_key(shape integer, image jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (
  SELECT CASE WHEN cardinality(s.key) = 1 THEN image -> s.key[1]::text ELSE (SELECT jsonb_object_agg(k.name, image -> k.name::text) FROM unnest(s.key) k(name)) END
    FROM kith.shape s WHERE s.id = shown_key.shape
);
COMMENT ON FUNCTION kith.shown_key IS 'The id of a row, as JSON.';

CREATE FUNCTION kith.shown(changes kith.change[], most integer) RETURNS SETOF jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(n.shape, coalesce(n.after, n.before)), 'verb', n.verb, 'hard', n.hard,
                            'changes', kith.clip_changes(kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after)), 'via', n.via,
                            'at', n.at, 'request_id', n.request, 'activity_id', n.activity, 'seq', n.seq)
    FROM kith.net(shown.changes) n JOIN kith.shape s ON s.id = n.shape
   ORDER BY n.seq LIMIT shown.most
$$;
COMMENT ON FUNCTION kith.shown IS 'The net effect of changes in the words of the API.';

-- It has an SQL-standard body and no SET clause, so that queries can inline it.
CREATE FUNCTION kith.columns_of(op "char", image jsonb, previous jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (
  SELECT coalesce(jsonb_object_agg(x.key, CASE op WHEN 'I' THEN jsonb_build_object('from', NULL, 'to', x.value) WHEN 'D' THEN jsonb_build_object('from', x.value, 'to', NULL)
                                                  ELSE jsonb_build_object('from', x.value, 'to', image -> x.key) END), '{}')
    FROM jsonb_each(CASE op WHEN 'U' THEN previous ELSE image END) x WHERE x.key <> 'updated_at' AND (op <> 'I' OR x.value <> 'null')
);
COMMENT ON FUNCTION kith.columns_of IS 'The columns that one change changed: {column: {from, to}}. A created row has its values, a deleted one all columns.';

-- Most requests change one row, and its change says it all. Of several rows each is told by its only change, and compared if it changed several times,
-- if keys changed, or to the letter only. A change is clipped as in the feed. The first ones are returned that are not too long together.
CREATE FUNCTION kith.outcome(secret text, most integer, OUT affected jsonb, OUT changes jsonb, OUT truncated boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE seqs bigint[]; compared jsonb[]; rows bigint; change jsonb; told jsonb[] := '{}'; bytes bigint := 0;
BEGIN
  PERFORM kith.check_secret(secret);
  IF NOT EXISTS (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned() OFFSET 1) THEN
    SELECT jsonb_build_object(s.name, '{"created": 0, "updated": 0, "deleted": 0, "restored": 0}' || jsonb_build_object(c.verb, 1)),
           jsonb_build_array(jsonb_build_object('table', s.name, 'id', CASE WHEN s.only_key IS NULL THEN kith.shown_key(s.id, c.image) ELSE c.image -> s.only_key END, 'verb', c.verb,
                                                'hard', c.op = 'D', 'changes', CASE WHEN octet_length(c.image::text) + octet_length(coalesce(c.previous, '{}')::text) > 500000
                                                                                    THEN kith.clip_changes(kith.columns_of(c.op, c.image, c.previous))
                                                                                    ELSE kith.columns_of(c.op, c.image, c.previous) END, 'via', c.via)), false
      INTO affected, changes, truncated
      FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.xid = pg_current_xact_id_if_assigned() AND (c.op <> 'U' OR c.exact IS NULL);
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  WITH noted AS MATERIALIZED (
         SELECT c.seq, c.shape, c.verb, count(*) OVER (PARTITION BY c.relation, c.key) > 1 OR bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) OR c.op = 'U' AND c.exact IS NOT NULL AS is_compared
           FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()),
       each_row AS MATERIALIZED (
         SELECT n.seq, n.shape, n.verb, NULL::jsonb AS change FROM noted n WHERE NOT n.is_compared
          UNION ALL
         SELECT n.seq, n.shape, n.verb,
                CASE WHEN row_number() OVER (ORDER BY n.seq) <= outcome.most THEN
                  jsonb_build_object('table', s.name, 'id', kith.shown_key(n.shape, coalesce(n.after, n.before)), 'verb', n.verb, 'hard', n.hard,
                                     'changes', kith.clip_changes(kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after)), 'via', n.via) END
           FROM kith.net(ARRAY(SELECT c FROM kith.change c WHERE c.seq IN (SELECT m.seq FROM noted m WHERE m.is_compared))) n JOIN kith.shape s ON s.id = n.shape)
  SELECT (SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
            FROM (SELECT s.name, count(*) FILTER (WHERE e.verb = 'created') AS created, count(*) FILTER (WHERE e.verb = 'updated') AS updated,
                         count(*) FILTER (WHERE e.verb = 'deleted') AS deleted, count(*) FILTER (WHERE e.verb = 'restored') AS restored
                    FROM each_row e JOIN kith.shape s ON s.id = e.shape GROUP BY s.name) x),
         (SELECT count(*) FROM each_row), f.seqs, f.changes
    INTO affected, rows, seqs, compared
    FROM (SELECT coalesce(array_agg(x.seq ORDER BY x.seq), '{}') AS seqs, array_agg(x.change ORDER BY x.seq) AS changes FROM (SELECT e.seq, e.change FROM each_row e ORDER BY e.seq LIMIT outcome.most) x) f;
  FOR n IN 1 .. cardinality(seqs) LOOP
    change := compared[n];
    IF change IS NULL THEN
      SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(s.id, c.image), 'verb', c.verb, 'hard', c.op = 'D', 'changes', kith.clip_changes(kith.columns_of(c.op, c.image, c.previous)), 'via', c.via)
        INTO change FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.seq = seqs[n];
    END IF;
    bytes := bytes + octet_length(change::text);
    EXIT WHEN bytes > 4000000;
    told := array_append(told, change);
  END LOOP;
  changes := to_jsonb(told);
  truncated := rows > cardinality(told);
END $$;
COMMENT ON FUNCTION kith.outcome IS 'What this transaction has changed so far. For the server, which knows the secret.';

REVOKE ALL ON FUNCTION kith.is_logged, kith.is_exact_in_json, kith.note_shapes, kith.base_type, kith.key_of, kith.exact_texts, kith.image_changes_query, kith.exact_texts_query, kith.is_cascade, kith.note_run, kith.await_judgement, kith.place_deletes, kith.begin_statement, kith.note_entry, kith.capture, kith.text_of, kith.join_move, kith.note_moves, kith.note_gap, kith.refuse_uncounted, kith.note_statement, kith.children, kith.note_children, kith.refuse_adoption, kith.note_ddl, kith.refuse_rewrite, kith.refuse_drop, kith.refuse_copy, kith.hidden_relations, kith.limit_request, kith.refuse_dry, kith.lift_seal, kith.unwound, kith.net, kith.of_transaction, kith.affected, kith.judge, kith.columns_changed, kith.columns_of, kith.shown_key, kith.shown, kith.outcome, kith.rows_of FROM PUBLIC;
-- capture(), note_moves() and note_statement() can only be called by triggers, and attach() refuses any but Kith's. The rest needs the secret or takes no argument.
GRANT EXECUTE ON FUNCTION kith.is_logged, kith.capture, kith.note_moves, kith.note_statement, kith.note_shapes, kith.limit_request, kith.lift_seal, kith.outcome TO PUBLIC;

-- section: admin

-- pg_dump writes these triggers down, and attach() has created them before pg_restore comes to them. The name and the table of such a command, if
-- the whole text that the client sent is one.
CREATE FUNCTION kith_guard.dumped_trigger() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT regexp_match(current_query(), '^[[:space:]]*CREATE TRIGGER "?(!kith_capture|!kith_capture_all|!kith_moves|kith_truncate|kith_statement|kith_row)"? (?:AFTER|BEFORE) [A-Z ]+ ON '
         || '((?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")[.](?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+"))(?: REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new)? FOR EACH (?:ROW|STATEMENT) EXECUTE FUNCTION kith[.](?:capture|note_moves|note_statement)[(][)];?[[:space:]]*$')
$$;
COMMENT ON FUNCTION kith_guard.dumped_trigger IS 'The name and the table of a trigger of the change log that a dump creates.';
REVOKE ALL ON FUNCTION kith_guard.dumped_trigger() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith_guard.dumped_trigger() TO PUBLIC;

-- Otherwise the command would fail, because the trigger is there. If the command fails for another reason, this is rolled back with it.
CREATE FUNCTION kith_guard.give_way_to_dump() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE dumped text[] := kith_guard.dumped_trigger();
BEGIN
  IF dumped IS NOT NULL AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(dumped[2]) AND t.tgname = dumped[1] AND t.oid IN (SELECT l.oid FROM kith_guard.log_trigger l)) THEN
    EXECUTE format('DROP TRIGGER %I ON %s', dumped[1], dumped[2]);
  END IF;
END $$;
COMMENT ON FUNCTION kith_guard.give_way_to_dump IS 'Lets a trigger of the change log that a dump creates take the place of the one that is there.';
REVOKE ALL ON FUNCTION kith_guard.give_way_to_dump() FROM PUBLIC;

CREATE FUNCTION kith_guard.holds_alone(relation oid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM kith_guard.pg_lock_status() l WHERE l.locktype = 'relation' AND l.database = kith_guard.own_database()
                    AND l.relation = holds_alone.relation AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid = pg_backend_pid())
$$;
COMMENT ON FUNCTION kith_guard.holds_alone IS 'Whether this session has a lock on a table that excludes all others.';
GRANT EXECUTE ON FUNCTION kith_guard.holds_alone(oid) TO PUBLIC;

-- It creates the triggers with the rights of the role that runs the DDL. Partitions get the row trigger from their root, under another name:
-- a table that becomes a partition may have its own until then.
CREATE FUNCTION kith_guard.attach() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE x record; relations oid[]; dumped boolean := TG_TAG IN ('CREATE TRIGGER', 'DROP TRIGGER') AND kith_guard.dumped_trigger() IS NOT NULL;
BEGIN
  -- The command of the dump is still to come.
  IF dumped AND TG_TAG = 'DROP TRIGGER' THEN
    RETURN;
  END IF;
  -- Commands that are named after one kind of object change others too: ALTER VIEW renames the columns of a table, DROP TYPE drops them.
  IF NOT (TG_TAG LIKE 'ALTER %' OR TG_TAG LIKE 'DROP %' OR TG_TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER')) THEN
    RETURN;
  END IF;
  IF kith_guard.is_exempt() THEN
    PERFORM kith.note_shapes();
    RETURN;
  END IF;
  -- These commands concern their own tables only. A workspace may have thousands. But the name in a dump's command may have become another
  -- table's after give_way_to_dump().
  IF NOT dumped AND TG_TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER') THEN
    relations := ARRAY(SELECT coalesce(t.tgrelid, d.objid) FROM pg_event_trigger_ddl_commands() d LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
                        WHERE d.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass));
  END IF;
  IF EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
              WHERE (relations IS NULL OR t.tgrelid = ANY (relations)) AND t.tgfoid IN ('kith.capture'::regproc, 'kith.note_moves'::regproc, 'kith.note_statement'::regproc) AND NOT t.tgisinternal
                AND (t.tgqual IS NOT NULL OR t.tgnargs > 0 OR t.tgdeferrable OR t.tgattr::text <> '' OR t.tgenabled NOT IN ('O', 'A')
                     OR (t.tgoldtable, t.tgnewtable) IS DISTINCT FROM (CASE WHEN t.tgtype = 16 THEN 'kith_old'::name END, CASE WHEN t.tgtype = 16 THEN 'kith_new'::name END)
                     OR (t.tgname::text, t.tgtype, t.tgfoid::oid) NOT IN (('!kith_capture', 29, 'kith.capture'::regproc::oid), ('!kith_capture_all', 29, 'kith.capture'::regproc::oid),
                          ('!kith_moves', 16, 'kith.note_moves'::regproc::oid),
                          ('kith_truncate', 34, 'kith.note_statement'::regproc::oid), ('kith_statement', 28, 'kith.note_statement'::regproc::oid),
                          ('kith_row', 29, 'kith.note_statement'::regproc::oid))
                     OR EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = t.tgrelid))) THEN
    RAISE EXCEPTION 'the triggers that keep the change log cannot be created, changed or disabled' USING ERRCODE = '42501',
      HINT = 'DISABLE TRIGGER takes the name of one of your own triggers; ALL and USER include Kith''s.';
  END IF;
  FOR x IN
    SELECT c.oid::regclass AS relation, y.name, y.timing, y.is_wanted, y.f
      FROM (SELECT c.*, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = coalesce(pg_partition_root(c.oid), c.oid) AND i.indisprimary) AS keyed,
                   NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AS inherits FROM pg_class c
             WHERE kith.is_logged(c.relnamespace) AND c.relkind IN ('r', 'p') AND (relations IS NULL OR c.oid = ANY (relations)) AND pg_get_userbyid(c.relowner) = current_user) c
     CROSS JOIN LATERAL (VALUES
            ('!kith_capture', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', c.keyed AND c.relkind = 'r' AND NOT c.relispartition, 'kith.capture'::regproc),
            ('!kith_capture_all', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', c.keyed AND c.relkind = 'p' AND NOT c.relispartition, 'kith.capture'),
            ('!kith_moves', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH STATEMENT', c.keyed AND c.relkind = 'p', 'kith.note_moves'),
            ('kith_truncate', 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT', true, 'kith.note_statement'),
            ('kith_statement', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT', NOT c.keyed AND NOT c.inherits, 'kith.note_statement'),
            -- A statement that names a parent changes rows of this table too, and only runs triggers of rows here.
            ('kith_row', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', NOT c.keyed AND c.inherits, 'kith.note_statement')) y(name, timing, is_wanted, f)
      LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = y.name AND t.tgparentid = 0
     WHERE NOT EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = c.oid) AND y.is_wanted <> (t.tgfoid IS NOT DISTINCT FROM y.f::oid)
       AND (y.is_wanted OR t.oid IS NOT NULL)
  LOOP
    -- The event trigger also fires for these commands, and may have done the rest already.
    IF x.is_wanted AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = x.relation AND t.tgname = x.name AND t.tgfoid = x.f) THEN
      -- With its partitions, from the root downward, and at once as strongly as the nested call will need. If each command locked them more and more
      -- strongly, two at the same time would wait for each other.
      IF x.name = '!kith_capture_all' THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', x.relation);
      END IF;
      EXECUTE format('CREATE OR REPLACE TRIGGER %I ' || x.timing || ' EXECUTE FUNCTION %s()', x.name, x.relation, x.f);
    ELSIF NOT x.is_wanted AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = x.relation AND t.tgname = x.name AND t.tgfoid = x.f AND t.tgparentid = 0) THEN
      EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', x.name, x.relation);
    END IF;
  END LOOP;
  PERFORM kith.note_shapes(relations);
END $$;
COMMENT ON FUNCTION kith_guard.attach IS 'Creates and keeps the triggers by which tables of the workspace''s own are in the change log.';
REVOKE ALL ON FUNCTION kith_guard.attach() FROM PUBLIC;

CREATE EVENT TRIGGER kith_give_way_to_dump ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION kith_guard.give_way_to_dump();
ALTER EVENT TRIGGER kith_give_way_to_dump ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_attach ON ddl_command_end EXECUTE FUNCTION kith_guard.attach();
ALTER EVENT TRIGGER kith_attach ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_note_ddl ON ddl_command_end EXECUTE FUNCTION kith.note_ddl();
ALTER EVENT TRIGGER kith_note_ddl ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_note_drop ON sql_drop WHEN TAG IN ('DROP TRIGGER') EXECUTE FUNCTION kith.note_ddl();
ALTER EVENT TRIGGER kith_note_drop ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_refuse_rewrite ON table_rewrite EXECUTE FUNCTION kith.refuse_rewrite();
ALTER EVENT TRIGGER kith_refuse_rewrite ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_refuse_drop ON sql_drop EXECUTE FUNCTION kith.refuse_drop();
ALTER EVENT TRIGGER kith_refuse_drop ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_note_children ON ddl_command_start EXECUTE FUNCTION kith.note_children();
ALTER EVENT TRIGGER kith_note_children ENABLE ALWAYS;
-- Its name comes before kith_attach, which runs commands of its own.
CREATE EVENT TRIGGER kith_adoption ON ddl_command_end EXECUTE FUNCTION kith.refuse_adoption();
ALTER EVENT TRIGGER kith_adoption ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_refuse_copy ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION kith.refuse_copy();
ALTER EVENT TRIGGER kith_refuse_copy ENABLE ALWAYS;

-- pg_dump leaves members of extensions out. The workspace may dump its database, and may not read these tables.
ALTER EXTENSION pgcrypto ADD TABLE kith.shape;
ALTER EXTENSION pgcrypto ADD TABLE kith.change;
ALTER EXTENSION pgcrypto ADD TABLE kith.run;
ALTER EXTENSION pgcrypto ADD TABLE kith.gap;
ALTER EXTENSION pgcrypto ADD TABLE kith.seal;
ALTER EXTENSION pgcrypto ADD TABLE kith.judgement;

SELECT kith.note_shapes();
