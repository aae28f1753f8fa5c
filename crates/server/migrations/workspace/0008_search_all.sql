-- Search in all tables that people look for records in. README.md explains roles, sections and rules.

-- section: system

-- Other spellings are looked for only where few rows have the words as they are, in any of the tables.
CREATE OR REPLACE FUNCTION kith.search_all(query text, most integer) RETURNS TABLE (relation text, id text, score real)
LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  relations constant text[] := ARRAY['contacts', 'companies', 'deals', 'activities'];
  thorough boolean; found_relations text[] := '{}'; found_ids text[] := '{}'; scores real[] := '{}';
BEGIN
  FOREACH thorough IN ARRAY ARRAY[false, true] LOOP
    SELECT coalesce(array_agg(r.relation), '{}'), coalesce(array_agg(s.id), '{}'), coalesce(array_agg(s.score), '{}')
      INTO found_relations, found_ids, scores
      FROM unnest(relations) r(relation), LATERAL kith.search(r.relation, query, most, thorough) s;
    EXIT WHEN cardinality(scores) >= 5 OR EXISTS (SELECT FROM unnest(scores) x(score) WHERE x.score >= 0.65);
  END LOOP;
  RETURN QUERY SELECT x.relation, x.id, x.score FROM unnest(found_relations, found_ids, scores) x(relation, id, score)
                ORDER BY x.score DESC, x.id DESC LIMIT most;
END $$;
COMMENT ON FUNCTION kith.search_all IS 'The live contacts, companies, deals and activities that fit a few words best, with a score from 0 to 1.';
REVOKE ALL ON FUNCTION kith.search_all(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.search_all(text, integer) TO PUBLIC;
