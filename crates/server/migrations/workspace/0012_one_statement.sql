-- Batches, each part of which is a single statement. README.md describes roles, sections and rules.

-- section: system

-- EXECUTE … INTO runs a text of several statements: a caller could close the WITH and add PREPARE or LISTEN, which no plain statement
-- can run otherwise. The server relies on that: it does not look for prepared statements after plain ones. A loop opens a cursor, and a
-- cursor takes one query.
CREATE OR REPLACE FUNCTION kith.write_each(statements text[], batches jsonb)
RETURNS TABLE (place integer, id text, created boolean, code text, message text, detail text, hint text, field text, rule text)
LANGUAGE plpgsql SET search_path = public, extensions, pg_temp AS $$
#variable_conflict use_column
DECLARE
  batch jsonb; entry jsonb; ids text[]; news boolean[]; statement text;
BEGIN
  FOR number IN 1 .. cardinality(statements) LOOP
    statement := 'WITH w AS (' || statements[number] || ') SELECT array_agg(w.id), array_agg(w.created) FROM w';
    batch := batches -> (number - 1);
    BEGIN
      FOR ids, news IN EXECUTE statement USING batch LOOP END LOOP;
      IF cardinality(ids) IS DISTINCT FROM jsonb_array_length(batch) THEN
        RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KB001';
      END IF;
      RETURN QUERY SELECT (r.value ->> 0)::integer, ids[r.ordinality], news[r.ordinality], NULL, NULL, NULL, NULL, NULL, NULL
                     FROM jsonb_array_elements(batch) WITH ORDINALITY r;
      CONTINUE;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
    END;
    -- The rows come in an order that prevents deadlocks between batches. It is kept after a deadlock all the same. Else they are written
    -- in the order in which they were sent, so that the first one gets a key that several want.
    FOR entry IN SELECT r.value FROM jsonb_array_elements(batch) WITH ORDINALITY r
                  ORDER BY CASE WHEN code <> '40P01' THEN (r.value ->> 0)::integer END, r.ordinality LOOP
      place := entry ->> 0;
      code := NULL; message := NULL; detail := NULL; hint := NULL; field := NULL; rule := NULL;
      BEGIN
        FOR ids, news IN EXECUTE statement USING jsonb_build_array(entry) LOOP END LOOP;
        IF ids IS NULL THEN
          RAISE EXCEPTION 'a trigger of the workspace''s own left the row out' USING ERRCODE = 'P0001';
        END IF;
        id := ids[1];
        created := news[1];
      EXCEPTION WHEN OTHERS THEN
        id := NULL;
        created := NULL;
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
          field = COLUMN_NAME, rule = CONSTRAINT_NAME;
      END;
      RETURN NEXT;
    END LOOP;
  END LOOP;
END $$;
