-- Ids, the actor of a transaction, and the activity feed. README.md describes roles, sections and rules.

-- section: system

-- Ids.

-- A ULID in lower case: ten characters of milliseconds and sixteen random ones. Ten bits of the time at a time are looked up in
-- a list of all pairs of Crockford's digits. The random characters are base64 in lower case, with a digit for each of the six
-- that Crockford excludes. That is 79 random bits in few steps: each transaction has to prepare each step again. Bytes 7 and 9
-- of gen_random_uuid() hold its version and variant and are not used.
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

-- The actor.

-- The server calls begin_request() first in its transaction. It leaves a signed value in the setting kith.context, which is
-- valid in this transaction only. Any other value there counts as none.

CREATE TABLE kith.secret (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  token_hash bytea NOT NULL,
  mac_key bytea NOT NULL
);
COMMENT ON TABLE kith.secret IS 'The hash of the secret that the server knows, and the key that signs contexts. One row.';

-- The key comes last, which prevents length extension: a longer message would have to end with the key. This function and
-- current_context() have SQL-standard bodies, whose names are resolved at creation, and no SET clause, so that a query can inline
-- them.
CREATE FUNCTION kith.context_mac(mac_key bytea, payload text) RETURNS text
LANGUAGE sql STABLE
RETURN encode(sha256(int4send(pg_backend_pid()) || timestamptz_send(transaction_timestamp()) || convert_to(payload, 'UTF8') || mac_key), 'hex');
COMMENT ON FUNCTION kith.context_mac IS 'Signs a context for this backend and this transaction.';

-- It compares hashes, so its duration reveals nothing about the secret.
CREATE FUNCTION kith.begin_request(secret text, actor text, provenance text, entry text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE payload text := concat(actor, E'\n', coalesce(provenance, '{}'), E'\n' || entry);
BEGIN
  PERFORM set_config('kith.context', kith.context_mac(s.mac_key, payload) || payload, true)
     FROM kith.secret s
    WHERE s.token_hash = sha256(convert_to(secret, 'UTF8')) AND actor <> '' AND position(E'\n' IN actor) = 0;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'only the server can say who is acting' USING ERRCODE = '28000';
  END IF;
END $$;
COMMENT ON FUNCTION kith.begin_request IS 'Says who acts in this transaction, and where the request came from: an actor and a JSON object of one line each, the object may be null; and if it only inserts one row of a built-in table, an id for its entry in the feed. For the server, which knows the secret.';

CREATE FUNCTION kith.check_secret(secret text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM kith.secret s WHERE s.token_hash = sha256(convert_to(check_secret.secret, 'UTF8'))) THEN
    RAISE EXCEPTION 'only the server can do this' USING ERRCODE = '28000';
  END IF;
END $$;
COMMENT ON FUNCTION kith.check_secret IS 'Refuses callers that do not know the secret.';
REVOKE ALL ON FUNCTION kith.check_secret FROM PUBLIC;

-- Code of the workspace's may run in a session of the administrator's (see kith_guard.is_exempt()): it acts for the workspace. The names
-- of all roles of a workspace begin with that of its own role.
CREATE FUNCTION kith.direct_actor() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE workspace constant text := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'workspace');
BEGIN
  RETURN 'postgres:' || CASE WHEN starts_with(session_user, workspace) THEN session_user ELSE coalesce(workspace, session_user) END;
END $$;
COMMENT ON FUNCTION kith.direct_actor IS 'The database role that acts if the server has not named an actor.';

CREATE FUNCTION kith.is_viewer() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace' AND pg_get_userbyid(r.role) = session_user) THEN
    RETURN false;
  END IF;
  RETURN EXISTS (SELECT FROM kith_guard.role r JOIN pg_roles u ON u.rolname = session_user LEFT JOIN pg_auth_members m ON m.member = u.oid
                  WHERE r.part = 'viewer' AND r.role IN (u.oid, m.roleid));
END $$;
COMMENT ON FUNCTION kith.is_viewer IS 'Whether the session belongs to a viewer.';

-- OFFSET 0 has the setting read once.
CREATE FUNCTION kith.current_context() RETURNS TABLE (actor text, provenance jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT CASE WHEN s.one THEN split_part(c.payload, E'\n', 1) ELSE kith.direct_actor() END,
         CASE WHEN s.one THEN split_part(c.payload, E'\n', 2)::jsonb ELSE '{}' END
    FROM (SELECT left(x.signed, 64), substr(x.signed, 65) FROM (SELECT current_setting('kith.context', true) OFFSET 0) x (signed) OFFSET 0) c (mac, payload)
    LEFT JOIN kith.secret s ON c.mac = kith.context_mac(s.mac_key, c.payload);
END;
COMMENT ON FUNCTION kith.current_context IS 'The actor and provenance of this transaction, or the database role where the server has not said.';

CREATE FUNCTION kith.current_actor() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT c.actor FROM kith.current_context() c);
END $$;
COMMENT ON FUNCTION kith.current_actor IS 'Who is acting: api_key:…, user:…, automation:… or postgres:<role>.';

CREATE FUNCTION kith.is_undo() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT c.provenance ? 'undo_of' FROM kith.current_context() c);
END $$;
COMMENT ON FUNCTION kith.is_undo IS 'Whether this transaction undoes what an earlier one did.';

-- The activity feed.

CREATE TABLE public.activity (
  id text PRIMARY KEY DEFAULT kith.new_id('a'),
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  -- Without a check: PostgreSQL would read it from its text for each entry, and only triggers write here.
  verb text NOT NULL,
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
COMMENT ON TABLE public.activity IS 'The feed: one entry for each change to a record. Only triggers write it; nobody can edit it.';
COMMENT ON COLUMN public.activity.id IS 'a_ and 26 characters that sort by time.';
COMMENT ON COLUMN public.activity.occurred_at IS 'When the change was made.';
COMMENT ON COLUMN public.activity.actor IS 'Who made it: api_key:…, user:…, automation:… or postgres:<role> for a direct connection.';
COMMENT ON COLUMN public.activity.verb IS 'created, updated, deleted, restored, or conflict: a create refused because the record exists.';
COMMENT ON COLUMN public.activity.subject_type IS 'contact, company, deal, email, activity, list, …; for a table of your own its name, with its schema if that is not public.';
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

CREATE FUNCTION kith.write_entry(verb text, subject_type text, subject_id text, subject_repr text, changes jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE entry text; writer text;
BEGIN
  INSERT INTO public.activity AS a (actor, verb, subject_type, subject_id, subject_repr, changes, custom)
  SELECT c.actor, write_entry.verb, write_entry.subject_type, left(write_entry.subject_id, 500), left(write_entry.subject_repr, 200), write_entry.changes, c.provenance - '{undo_of,limited,caused_by}'::text[]
    FROM kith.current_context() c
  RETURNING a.id, a.actor INTO entry, writer;
  -- A viewer has no rights to write. If code of the workspace's lent them some, the change is refused here. The server names no viewer.
  IF starts_with(writer, 'postgres:') AND kith.is_viewer() THEN
    RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
  END IF;
  RETURN entry;
END $$;
COMMENT ON FUNCTION kith.write_entry IS 'Adds an entry to the feed in the name of the actor and returns its id.';

-- The texts are made by the types' output functions. A cast could run a function of the workspace's.
CREATE FUNCTION kith.image_changes_query(relation oid, before text, after text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
  SELECT 'SELECT jsonb_object_agg(x.name, jsonb_build_object(''from'', x.old, ''to'', x.new)) FROM (VALUES '
      || string_agg(format('(%L, format(''%%s'', %2$s.%3$I), format(''%%s'', %4$s.%3$I), coalesce(ROW(%2$s.%3$I)) *<> coalesce(ROW(%4$s.%3$I)))',
                           a.attname, before, a.attname, after), ', ' ORDER BY a.attnum)
      || ') x(name, old, new, differs) WHERE x.differs'
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'updated_at'
$$;
COMMENT ON FUNCTION kith.image_changes_query IS 'The query for the columns whose stored values differ, as texts, updated_at excepted: {column: {from, to}} or null. The rows are named by expressions.';

CREATE FUNCTION kith.image_changes(relation oid, before anyelement, after anyelement) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changes jsonb;
BEGIN
  EXECUTE kith.image_changes_query(relation, '($1)', '($2)') INTO changes USING before, after;
  RETURN changes;
END $$;
COMMENT ON FUNCTION kith.image_changes IS 'The columns whose stored values differ, as texts, updated_at excepted: {column: {from, to}} or null.';

-- Equal numbers may be written differently, 1.0 and 1.00.
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
      FROM jsonb_each(after) a
     WHERE (a.value <> (before -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(before -> a.key)) AND a.key <> 'updated_at';
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
COMMENT ON FUNCTION kith.write_change IS 'Adds an entry for an updated or (after: null) deleted row: what changed, {column: {from, to}}. Returns null if nothing did.';

CREATE TYPE kith.statement AS (query text, actor text, provenance jsonb, is_limited boolean, has_cascades boolean);
COMMENT ON TYPE kith.statement IS 'A statement that changes several rows: the query that logs them, and who acts.';

CREATE FUNCTION kith.set_styles(styles text[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names constant text[] := '{datestyle,intervalstyle,extra_float_digits,bytea_output,lc_monetary,quote_all_identifiers}';
  before constant text[] := ARRAY(SELECT current_setting(n.name) FROM unnest(names) WITH ORDINALITY n(name, place) ORDER BY n.place);
BEGIN
  IF before <> styles THEN
    PERFORM set_config(n.name, n.style, true) FROM unnest(names, styles) n(name, style);
  END IF;
  RETURN before;
END $$;
COMMENT ON FUNCTION kith.set_styles IS 'Sets how values are written, until the transaction ends, and returns how they were: DateStyle, IntervalStyle, extra_float_digits, bytea_output, lc_monetary, quote_all_identifiers.';
REVOKE ALL ON FUNCTION kith.set_styles FROM PUBLIC;

-- The trigger functions that write changes to the log: record_change() for built-in tables, which writes the feed too, and capture() for the
-- workspace's own. kith.make_builtin() creates the triggers of built-in tables with arguments: the subject, then templates of five texts, of
-- which the second and the fourth name columns. The first template that gives a text describes the row. kith_guard.attach() creates the others. The
-- guards keep the triggers and let no other trigger use these functions, so they trust their arguments. All settings that change how values are
-- written are pinned: the time zone always, the others by set_styles().
--
-- In a built-in table the trigger of a statement's first row writes the changes of all its rows, before any other trigger can write. That of a
-- statement would run after the triggers of its rows, and what those change would be in the log before it. The transition table has the rows in the
-- order in which their triggers run. A row is written k.*, because a bare k may be a column.
--
-- Equal numbers may be written differently, 1.0 and 1.00; and JSON does not show the sign of a zero or the bounds of an array.
--
-- PL/pgSQL prepares each expression anew in every transaction, and looks up the rights to each function and operator in it. One with a
-- subquery costs as much as a statement, and a call with rows as arguments as much as several. So the functions are two copies of one text, and what is
-- rare stands behind a condition: an insert into a table with a plain shape, which is what most requests do, passes few. The settings that only some
-- types heed are behind one too. If the context has an id for the entry, one row is inserted, and nobody needs to look at the transition table. A forged
-- context could say so too: rows are then logged one by one.
DO $do$
DECLARE
  body constant text := $body$
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' AS $$
#variable_conflict use_variable
DECLARE
  pinned constant text[] := '{"ISO, MDY",postgres,1,hex,C,off}';
  relid oid := {relation};
  signed text := current_setting('kith.context', true);
  payload text := substr(signed, 65);
  entry text := split_part(payload, E'\n', 3);
  shape_id integer; only_key text; actions jsonb; is_plain boolean; is_deferrable boolean; key_columns name[]; generated name[]; inexact name[]; doubtful name[];
  actor text; custom jsonb; is_limited boolean := false; run text;
  before jsonb; image jsonb; previous jsonb; changes jsonb; exact jsonb; named name[]; key text; was text; command text;
  verb text := 'created'; via text := 'request'; repr text; said jsonb;
  styles text[]; is_of_several boolean; is_first boolean; statement kith.statement; starts bigint[]; touched bigint; logged bigint := 0;
BEGIN
  IF entry <> '' THEN
    IF TG_OP <> 'INSERT' OR pg_trigger_depth() > 1 THEN
      entry := '';
    END IF;
  END IF;
{statement}
  IF TG_OP = 'UPDATE' THEN
    IF NEW *= OLD THEN
      RETURN NULL;
    END IF;
  END IF;
  -- As current_context() reads it. Only a context of the server's is looked into: any other may be no JSON.
  SELECT s.id, s.only_key, s.actions, s.is_plain INTO shape_id, only_key, actions, is_plain
    FROM kith.shape s, kith.secret k
   WHERE s.relation = relid AND s.is_current AND left(signed, 64) = kith.context_mac(k.mac_key, payload);
  IF FOUND THEN
    actor := split_part(payload, E'\n', 1);
    custom := split_part(payload, E'\n', 2)::jsonb;
  ELSE
    SELECT s.id, s.only_key, s.actions, s.is_plain, kith.direct_actor(), '{}' INTO shape_id, only_key, actions, is_plain, actor, custom
      FROM kith.shape s WHERE s.relation = relid AND s.is_current;
    -- A viewer has no rights to write. If code of the workspace's lent them some, the change is refused here. The server names no viewer.
    IF kith.is_viewer() THEN
      RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
    END IF;
    -- The server says in the context that there is a limit. The workspace's SQL may have cleared it.
    is_limited := true;
    entry := '';
  END IF;

  IF TG_OP = 'INSERT' AND is_plain THEN
    image := to_jsonb(new);
    key := image ->> only_key;
  ELSE
    IF NOT is_plain THEN
      SELECT s.key, s.generated, s.exact, s.doubtful, s.is_deferrable INTO key_columns, generated, inexact, doubtful, is_deferrable FROM kith.shape s WHERE s.id = shape_id;
      styles := kith.set_styles(pinned);
    END IF;
    IF TG_OP <> 'DELETE' THEN
      image := to_jsonb(new);
    END IF;
    IF TG_OP <> 'INSERT' THEN
      before := to_jsonb(old);
    END IF;
    IF NOT is_plain THEN
      image := image - generated::text[];
      before := before - generated::text[];
    END IF;
    IF TG_OP = 'DELETE' THEN
      verb := 'deleted';
      image := before;
      IF TG_NARGS > 0 THEN
        SELECT jsonb_object_agg(b.key, jsonb_build_object('from', b.value, 'to', NULL)) INTO changes FROM jsonb_each(before) b WHERE b.value <> 'null' AND b.key <> 'updated_at';
      END IF;
    ELSIF TG_OP = 'UPDATE' THEN
      SELECT jsonb_object_agg(a.key, before -> a.key), jsonb_object_agg(a.key, jsonb_build_object('from', before -> a.key, 'to', a.value)) INTO previous, changes
        FROM jsonb_each(image) a
       WHERE (a.value <> (before -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(before -> a.key)) AND a.key <> 'updated_at';
      IF previous IS NULL THEN
        changes := kith.image_changes(relid, old, new) - coalesce(generated::text[], '{}');
        IF changes IS NULL OR changes = '{}' THEN
          IF NOT is_plain THEN
            PERFORM kith.set_styles(styles);
          END IF;
          RETURN NULL;
        END IF;
        SELECT jsonb_object_agg(c.name, before -> c.name) INTO previous FROM jsonb_object_keys(changes) c(name);
      END IF;
      verb := 'updated';
      IF previous ? 'deleted_at' THEN
        verb := CASE WHEN previous -> 'deleted_at' = 'null' THEN 'deleted' WHEN image -> 'deleted_at' = 'null' THEN 'restored' ELSE 'updated' END;
      END IF;
    END IF;
    IF TG_NARGS > 0 AND changes IS NOT NULL THEN
      IF octet_length(changes::text) > 1000000 THEN
        changes := kith.clip_changes(changes);
      END IF;
    END IF;
    IF is_plain THEN
      key := image ->> only_key;
      IF previous ? only_key THEN
        was := before ->> only_key;
      END IF;
    ELSE
      key := kith.key_of(image, key_columns, doubtful);
      IF previous ?| key_columns::text[] THEN
        was := kith.key_of(before, key_columns, doubtful);
      END IF;
      named := inexact || ARRAY(SELECT d.name FROM unnest(doubtful) d(name) WHERE image -> d.name::text IN ('null', '0') OR previous -> d.name::text IN ('null', '0'));
      IF named <> '{}' THEN
        exact := CASE TG_OP WHEN 'DELETE' THEN jsonb_build_object('row', kith.exact_texts(named, old)) WHEN 'INSERT' THEN jsonb_build_object('row', kith.exact_texts(named, new))
                 ELSE jsonb_build_object('row', kith.exact_texts(named, new), 'previous', kith.exact_texts(named, old)) END;
      END IF;
      IF is_deferrable THEN
        exact := coalesce(exact, '{}') || '{"tuple": {}}';
        IF TG_OP <> 'INSERT' THEN
          -- Of this transaction or of a savepoint in it: nobody sees a row of another one in progress.
          IF age(OLD.xmin) <= 0 AND pg_xact_status((pg_current_xact_id()::text::bigint - age(OLD.xmin))::text::xid8) = 'in progress' THEN
            exact := jsonb_set(exact, '{tuple,from}', to_jsonb(concat(OLD.tableoid, ' ', OLD.ctid)));
          END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
          exact := jsonb_set(exact, '{tuple,to}', to_jsonb(concat(NEW.tableoid, ' ', NEW.ctid)));
        END IF;
      END IF;
      PERFORM kith.set_styles(styles);
    END IF;
  END IF;

  IF custom ?| '{run_id,undo_of,limited,caused_by}' THEN
    IF TG_OP = 'INSERT' AND pg_trigger_depth() = 1 AND custom ? 'undo_of' THEN
      verb := 'restored';
    END IF;
    IF custom ? 'run_id' THEN
      run := kith.note_run(actor, custom);
    END IF;
    is_limited := custom ? 'limited';
    custom := custom - '{undo_of,limited,caused_by}'::text[];
  END IF;
  IF pg_trigger_depth() > 1 OR TG_OP <> 'INSERT' THEN
    IF pg_trigger_depth() > 1 THEN
      via := 'trigger';
    END IF;
    IF actions IS NOT NULL AND TG_OP <> 'INSERT' THEN
      IF kith.is_cascade(actions, TG_OP, before, previous) THEN
        via := 'cascade';
      END IF;
    END IF;
  END IF;
  IF TG_NARGS > 0 THEN
    repr := nullif(btrim(concat(TG_ARGV[1], image ->> TG_ARGV[2], TG_ARGV[3], image ->> TG_ARGV[4], TG_ARGV[5])), '');
    IF repr IS NULL THEN
      FOR n IN 6 .. TG_NARGS - 1 BY 5 LOOP
        repr := nullif(btrim(concat(TG_ARGV[n], image ->> TG_ARGV[n + 1], TG_ARGV[n + 2], image ->> TG_ARGV[n + 3], TG_ARGV[n + 4])), '');
        EXIT WHEN repr IS NOT NULL;
      END LOOP;
    END IF;
    IF entry = '' THEN
      entry := kith.new_id('a');
    END IF;
    INSERT INTO public.activity AS a (id, actor, verb, subject_type, subject_id, subject_repr, changes, custom)
    VALUES (entry, actor, verb, TG_ARGV[0], left(key, 500), left(repr, 200), changes, custom);
  ELSE
    entry := NULL;
    said := nullif(custom - '{request_id,run_id}'::text[], '{}');
  END IF;
{partition}  INSERT INTO kith.change AS c (xid, at, actor, request, run, via, relation, shape, key, was, op, verb, image, previous, exact, activity, said, command)
  VALUES (pg_current_xact_id(), clock_timestamp(), actor, custom ->> 'request_id', run, via, relid, shape_id, key, was, TG_OP::"char", verb, image, previous, exact, entry, said, command);
  IF is_limited OR via = 'cascade' THEN
    IF is_limited THEN
      PERFORM kith.await_judgement();
    END IF;
    IF via = 'cascade' AND TG_OP = 'UPDATE' THEN
      PERFORM kith.place_deletes(relid);
    END IF;
  END IF;
  RETURN NULL;
END $$
$body$;
  statement constant text := $statement$
  IF TG_OP = 'DELETE' THEN
    is_of_several := EXISTS (SELECT FROM kith_old OFFSET 1);
  ELSIF entry <> '' THEN
    is_of_several := false;
  ELSE
    is_of_several := EXISTS (SELECT FROM kith_new OFFSET 1);
  END IF;
  IF is_of_several THEN
    IF TG_OP = 'DELETE' THEN
      is_first := (SELECT k.* *= OLD FROM kith_old k LIMIT 1);
    ELSE
      is_first := (SELECT k.* *= NEW FROM kith_new k LIMIT 1);
    END IF;
    IF NOT is_first THEN
      RETURN NULL;
    END IF;
    statement := kith.begin_statement(TG_RELID, TG_OP, pg_trigger_depth(), TG_ARGV);
    -- In parts of a few megabytes. The query takes several times as much space for a moment, and a session has little for temporary files.
    IF TG_OP = 'DELETE' THEN
      starts := ARRAY(SELECT min(x.n) FROM (SELECT row_number() OVER () - 1 AS n, sum(pg_column_size(k.*) + 400) OVER (ROWS UNBOUNDED PRECEDING) / 4000000 AS part FROM kith_old k) x GROUP BY x.part ORDER BY 1);
    ELSE
      starts := ARRAY(SELECT min(x.n) FROM (SELECT row_number() OVER () - 1 AS n, sum(pg_column_size(k.*) + 400) OVER (ROWS UNBOUNDED PRECEDING) / 4000000 AS part FROM kith_new k) x GROUP BY x.part ORDER BY 1);
    END IF;
    styles := kith.set_styles(pinned);
    FOR part IN 1 .. cardinality(starts) LOOP
      EXECUTE statement.query USING statement.actor, statement.provenance, starts[part], starts[part + 1] - starts[part];
      GET DIAGNOSTICS touched = ROW_COUNT;
      logged := logged + touched;
    END LOOP;
    PERFORM kith.set_styles(styles);
    IF logged > 0 AND statement.is_limited THEN
      PERFORM kith.await_judgement();
    END IF;
    IF logged > 0 AND statement.has_cascades THEN
      PERFORM kith.place_deletes(TG_RELID);
    END IF;
    RETURN NULL;
  END IF;
$statement$;
  partition constant text := $partition$
  IF relid <> TG_RELID THEN
    IF TG_OP = 'DELETE' THEN
      -- Of a row of this transaction's own, the number is that of a pair of commands.
      command := concat(TG_RELID, ' ', CASE WHEN age(OLD.xmin) <= 0 AND pg_xact_status((pg_current_xact_id()::text::bigint - age(OLD.xmin))::text::xid8) = 'in progress' THEN '' ELSE OLD.cmax::text END,
                        ' ', pg_trigger_depth());
    ELSIF TG_OP = 'INSERT' THEN
      command := concat(TG_RELID, ' ', NEW.cmin, ' ', pg_trigger_depth());
    END IF;
  END IF;
$partition$;
BEGIN
  EXECUTE 'CREATE FUNCTION kith.record_change() RETURNS trigger' || replace(replace(replace(body, '{relation}', 'TG_RELID'), '{statement}', statement), '{partition}', '');
  EXECUTE 'CREATE FUNCTION kith.capture() RETURNS trigger' || replace(replace(replace(replace(body, '{relation}', 'coalesce(pg_partition_root(TG_RELID), TG_RELID)'), '{statement}', ''), '{partition}', partition), 'TG_NARGS > 0', 'false');
END $do$;
COMMENT ON FUNCTION kith.record_change IS 'Writes the changes of a built-in table to the change log and to the feed.';
COMMENT ON FUNCTION kith.capture IS 'Writes the changes of a table of the workspace''s own to the change log.';

CREATE FUNCTION kith.own_subject(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN n.nspname <> 'public' THEN regexp_replace(n.nspname, '^pg_temp_.*', 'pg_temp') || '.'
              WHEN EXISTS (SELECT FROM kith_guard.builtin b WHERE b.subject = c.relname) THEN 'custom:' ELSE '' END || c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = coalesce(pg_partition_root(relation), relation)
$$;
COMMENT ON FUNCTION kith.own_subject IS 'The subject of entries about a table of the workspace''s own: its name, with its schema if that is not public, and never a built-in table''s subject.';

-- For the workspace's own tables. It has no arguments: the subject is the table's name, and never a built-in table's subject.
CREATE FUNCTION public.record_activity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET lc_monetary = 'C' SET quote_all_identifiers = off AS $$
DECLARE
  before jsonb; after jsonb; row_now jsonb; key_column name; own_name text; key text; repr text; entry text; changes jsonb;
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

  own_name := kith.own_subject(TG_RELID);
  IF NOT row_now ? 'id' THEN
    SELECT a.attname INTO key_column FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = TG_RELID AND i.indisprimary AND i.indnkeyatts = 1;
  END IF;
  key := row_now ->> coalesce(key_column, 'id');
  repr := coalesce(row_now ->> 'name', row_now ->> 'title', row_now ->> 'label', row_now ->> 'subject', row_now ->> 'email');
  entry := CASE WHEN TG_OP = 'INSERT' THEN kith.write_entry('created', own_name, key, repr, NULL)
                ELSE kith.write_change(own_name, key, repr, before, after) END;
  IF entry IS NULL AND NEW *<> OLD THEN
    changes := kith.image_changes(TG_RELID, OLD, NEW);
    IF changes IS NOT NULL THEN
      entry := kith.write_entry('updated', own_name, key, repr, kith.clip_changes(changes));
    END IF;
  END IF;
  IF entry IS NOT NULL THEN
    PERFORM kith.note_entry(TG_RELID, row_now, entry);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION public.record_activity IS 'Puts a table of your own into the activity feed: CREATE TRIGGER … AFTER INSERT OR UPDATE OR DELETE ON … FOR EACH ROW EXECUTE FUNCTION record_activity().';

CREATE FUNCTION kith.record_conflict(secret text, subject_type text, constraint_name text, existing_id text, attempted jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  IF octet_length(attempted::text) > 1000000 THEN
    SELECT jsonb_object_agg(a.key, CASE WHEN octet_length(a.value::text) <= 512 THEN a.value ELSE to_jsonb(left(attempted ->> a.key, 60)) END)
           || jsonb_build_object('clipped', jsonb_object_agg(a.key, octet_length(attempted ->> a.key)) FILTER (WHERE octet_length(a.value::text) > 512))
      INTO attempted FROM jsonb_each(attempted) a;
  END IF;
  PERFORM kith.write_entry('conflict', subject_type, existing_id, NULL,
    jsonb_build_object('constraint', constraint_name, 'existing_id', existing_id, 'attempted', attempted));
END $$;
COMMENT ON FUNCTION kith.record_conflict IS 'Adds a refused write to the feed: the constraint, the existing record, and the attempted values.';

-- ALTER TABLE may give all rows other values, which no trigger sees. The reasons are bits: 2 for a default or generated column, 4 for
-- the type of a column.
CREATE FUNCTION kith.record_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  relation constant oid := pg_event_trigger_table_rewrite_oid();
  subject text := (SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = relation);
BEGIN
  IF pg_event_trigger_table_rewrite_reason() & 6 = 0 OR EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  IF subject IS NULL AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = relation AND t.tgfoid = 'public.record_activity'::regproc) THEN
    subject := kith.own_subject(relation);
  END IF;
  IF subject IS NOT NULL THEN
    PERFORM kith.write_entry('updated', subject, NULL, 'all rows, by ALTER TABLE', NULL);
  END IF;
END $$;
COMMENT ON FUNCTION kith.record_rewrite IS 'Adds an entry when ALTER TABLE writes all rows of a table anew.';

-- A column that is dropped takes its values along, and one of the same name may be added with others.
CREATE FUNCTION kith.record_dropped_columns() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE subject text;
BEGIN
  IF EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  FOR subject IN
    SELECT DISTINCT coalesce(b.subject, kith.own_subject(d.objid)) FROM pg_event_trigger_dropped_objects() d LEFT JOIN kith_guard.builtin b ON b.relid = d.objid
     WHERE d.classid = 'pg_class'::regclass AND d.objsubid > 0
       AND (b.relid IS NOT NULL OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.objid AND t.tgfoid = 'public.record_activity'::regproc))
  LOOP
    PERFORM kith.write_entry('updated', subject, NULL, 'all rows, by a dropped column', NULL);
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.record_dropped_columns IS 'Adds an entry when a column of a table is dropped.';

-- What PUBLIC may call. All other functions are for the server's own ones, and for the triggers of built-in tables.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kith FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.new_id(text), kith.begin_request(text, text, text, text), kith.record_conflict(text, text, text, text, jsonb),
  kith.current_actor(), kith.is_undo() TO PUBLIC;

-- section: admin

-- pg_dump leaves members of extensions out. The workspace may dump its database, and may not read this table.
ALTER EXTENSION pgcrypto ADD TABLE kith.secret;

CREATE FUNCTION kith_guard.renew_key() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE kith.secret SET mac_key = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;
COMMENT ON FUNCTION kith_guard.renew_key IS 'Makes a new key for contexts. Whoever has seen the old one can sign none any more; transactions that are under way lose their actor.';
REVOKE ALL ON FUNCTION kith_guard.renew_key() FROM PUBLIC;

CREATE EVENT TRIGGER kith_rewrite ON table_rewrite EXECUTE FUNCTION kith.record_rewrite();
ALTER EVENT TRIGGER kith_rewrite ENABLE ALWAYS;
CREATE EVENT TRIGGER kith_dropped_columns ON sql_drop EXECUTE FUNCTION kith.record_dropped_columns();
ALTER EVENT TRIGGER kith_dropped_columns ENABLE ALWAYS;
