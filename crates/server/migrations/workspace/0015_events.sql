-- Events: changes of the log, in the order in which they were published. README.md describes roles, sections and rules.

-- section: system

-- One row. Its lock lets one session publish at a time.
CREATE TABLE kith.published (
  id       integer PRIMARY KEY DEFAULT 1 CONSTRAINT published_id_check CHECK (id = 1),
  position bigint NOT NULL
);
INSERT INTO kith.published (position) VALUES (0);
REVOKE ALL ON kith.published FROM PUBLIC;
COMMENT ON TABLE kith.published IS 'How far the changes are published as events.';
COMMENT ON COLUMN kith.published.position IS 'The position of the last one.';

-- A change of a large row is shown in part: a few rows of 10 MiB would be more than the server takes at once. The text of what is larger than ten million
-- bytes is not made, because PostgreSQL may not be able to.
CREATE FUNCTION kith.part_of(image jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN pg_column_size(part_of.image) > 4000
               AND CASE WHEN (SELECT sum(pg_column_size(i.value)) FROM jsonb_each(part_of.image) i) > 10000000 THEN true ELSE octet_length(part_of.image::text) > 1000000 END
              THEN (SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}')
                      FROM (SELECT s.key, s.value, sum(s.size) OVER (ORDER BY s.size, s.key) AS total
                              FROM (SELECT i.key, i.value, CASE WHEN pg_column_size(i.value) <= 40000 THEN octet_length(i.value::text) END AS size FROM jsonb_each(part_of.image) i) s
                             WHERE s.size <= 10000) o
                     WHERE o.total <= 1000000)
              ELSE part_of.image END
$$;
COMMENT ON FUNCTION kith.part_of IS 'A row without its long values, if it is longer than a million bytes. The rest is at most as long.';

CREATE FUNCTION kith.as_events(changes kith.change[]) RETURNS TABLE (
  seq bigint, "position" bigint, xid text, at timestamptz, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text,
  verb text, image jsonb, previous jsonb)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
  SELECT c.seq, c.position, c.xid::text, c.at, c.actor, c.request, r.run_id, r.undo_of, s.name::text, c.key, c.op::text, c.verb, kith.part_of(c.image), kith.part_of(c.previous)
    FROM unnest(as_events.changes) c JOIN kith.shape s ON s.id = c.shape LEFT JOIN kith.run r ON r.id = c.run
$$;
COMMENT ON FUNCTION kith.as_events IS 'What events say of changes.';

-- Changes from before anybody listened are only numbered, many at a time. The others are returned, and numbered by publish() once they are
-- queued. A row without a seq says that there may be more to number.
CREATE FUNCTION kith.unpublished(secret text, since text, most integer) RETURNS TABLE (
  seq bigint, "position" bigint, xid text, at timestamptz, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text,
  verb text, image jsonb, previous jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
#variable_conflict use_column
DECLARE last bigint; numbered bigint; most_at_once CONSTANT integer := 10000;
BEGIN
  PERFORM kith.check_secret(unpublished.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  WITH head AS (SELECT c.seq, c.xid FROM kith.change c WHERE c.position IS NULL ORDER BY c.position, c.seq LIMIT most_at_once),
       old AS (SELECT h.seq, row_number() OVER (ORDER BY h.seq) AS number FROM head h
                WHERE unpublished.since IS NULL
                   OR h.seq < coalesce((SELECT min(n.seq) FROM head n WHERE NOT pg_visible_in_snapshot(n.xid, unpublished.since::pg_snapshot)), 9223372036854775807))
  UPDATE kith.change c SET position = last + old.number FROM old WHERE c.seq = old.seq;
  GET DIAGNOSTICS numbered = ROW_COUNT;
  IF numbered > 0 THEN
    UPDATE kith.published p SET position = last + numbered;
  END IF;
  IF numbered = most_at_once THEN
    RETURN QUERY SELECT NULL::bigint, NULL::bigint, NULL, NULL::timestamptz, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL::jsonb, NULL::jsonb;
  ELSIF unpublished.since IS NOT NULL THEN
    RETURN QUERY SELECT e.* FROM kith.as_events(ARRAY(SELECT c FROM kith.change c WHERE c.position IS NULL ORDER BY c.position, c.seq LIMIT unpublished.most)) e
                  ORDER BY e.seq;
  END IF;
END $$;
COMMENT ON FUNCTION kith.unpublished IS 'The next changes to publish, in order. No other session can publish until the transaction ends. For the server, which knows the secret.';

CREATE FUNCTION kith.publish(secret text, seqs bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE last bigint;
BEGIN
  PERFORM kith.check_secret(publish.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  UPDATE kith.change c SET position = last + s.number FROM unnest(publish.seqs) WITH ORDINALITY s(seq, number) WHERE c.seq = s.seq AND c.position IS NULL;
  UPDATE kith.published p SET position = last + cardinality(publish.seqs);
END $$;
COMMENT ON FUNCTION kith.publish IS 'Numbers changes as published. For the server, which knows the secret.';

-- `reached` is the position in the reader's cursor. One beyond the last was never given to a reader.
CREATE FUNCTION kith.events(secret text, reached bigint, after bigint, most integer) RETURNS TABLE (
  seq bigint, "position" bigint, xid text, at timestamptz, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text,
  verb text, image jsonb, previous jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE hidden oid[] := kith.hidden_relations();
BEGIN
  PERFORM kith.check_secret(events.secret);
  IF events.reached > (SELECT p.position FROM kith.published p) THEN
    RAISE EXCEPTION 'no event has this position' USING ERRCODE = 'KE001';
  END IF;
  RETURN QUERY SELECT e.* FROM kith.as_events(ARRAY(SELECT c FROM kith.change c WHERE c.position > events.after AND c.relation <> ALL (hidden) ORDER BY c.position LIMIT events.most)) e
                ORDER BY e.position;
END $$;
COMMENT ON FUNCTION kith.events IS 'Published changes after a position that the session may see, in order. For the server, which knows the secret.';

REVOKE ALL ON FUNCTION kith.part_of, kith.as_events, kith.unpublished, kith.publish, kith.events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.unpublished, kith.publish, kith.events TO PUBLIC;

-- section: admin

-- pg_dump leaves members of extensions out. The workspace may dump its database, and may not read this table.
ALTER EXTENSION pgcrypto ADD TABLE kith.published;
