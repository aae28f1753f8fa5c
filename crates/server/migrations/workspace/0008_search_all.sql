-- Search in all tables that people look for records in. README.md explains roles, sections and rules.

-- section: system

-- The word itself where something has it. Else what is nearest to it: with two letters swapped or one too many, which the indexes
-- are quick to find; then what is like it in some rows, for what is common would take the indexes long; then what shares
-- most of its trigrams; then with a letter missing or another, where a gap may fit much, and is too much for a short word.
CREATE OR REPLACE FUNCTION kith.search_spelling(word text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, extensions, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE
  relation text; source text; is_known boolean; near text[]; spellings text[] := '{}';
  edits constant text := 'SELECT left($1, i) || substr($1, i + 2, 1) || substr($1, i + 1, 1) || substr($1, i + 3) AS edit
      FROM generate_series(0, length($1) - 2) i UNION SELECT left($1, i) || substr($1, i + 2) FROM generate_series(0, length($1) - 1) i';
  all_edits constant text := 'SELECT DISTINCT left($1, i) || letter || rest AS edit FROM generate_series(0, length($1)) i,
      string_to_table(''abcdefghijklmnopqrstuvwxyz'', NULL) letter, unnest(ARRAY[substr($1, i + 1), substr($1, i + 2)]) rest';
BEGIN
  FOREACH relation IN ARRAY ARRAY['companies', 'deals', 'activities', 'contacts'] LOOP
    source := kith.search_source(relation);
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || source || CASE relation WHEN 'activities' THEN ' WHERE r.words @@ ($1 || '':*'')::tsquery)'
                                                                     ELSE ' WHERE r.words LIKE ''%'' || $1 || ''%'')' END INTO is_known USING word;
    IF is_known THEN
      RETURN word;
    END IF;
  END LOOP;
  IF length(word) NOT BETWEEN 4 AND 40 OR word !~ '[a-z]' THEN
    RETURN NULL;
  END IF;
  FOR step IN 1..4 LOOP
    -- The first rows that come, and no index of all of them.
    PERFORM set_config('enable_seqscan', CASE step WHEN 2 THEN 'on' ELSE 'off' END, true);
    FOREACH relation IN ARRAY ARRAY['companies', 'deals', 'activities', 'contacts'] LOOP
      source := kith.search_source(relation);
      near := NULL;
      IF step = 1 OR step = 4 AND relation = 'activities' AND length(word) BETWEEN 5 AND 9 THEN
        EXECUTE 'SELECT array_agg(e.edit) FROM (' || CASE step WHEN 1 THEN edits ELSE all_edits END || ') e WHERE EXISTS (SELECT FROM ' || source
             || CASE relation WHEN 'activities' THEN ' WHERE r.words @@ e.edit::tsquery)' ELSE ' WHERE r.words LIKE ''% '' || e.edit || '' %'')' END
          INTO near USING word;
      ELSIF step = 2 AND word !~ '[0-9]' THEN
        EXECUTE 'SELECT array_agg(x.word) FROM (SELECT r.words FROM ' || source || ' LIMIT 100) r, '
             || CASE relation WHEN 'activities' THEN 'unnest(tsvector_to_array(r.words))' ELSE 'string_to_table(r.words, '' '')' END
             || ' x(word) WHERE similarity(x.word, $1) >= $2'
          INTO near USING word, CASE WHEN length(word) <= 5 THEN 0.35 ELSE 0.45 END::real;
      ELSIF step = 3 AND relation <> 'activities' AND length(word) >= 6 THEN
        EXECUTE 'SELECT array_agg(DISTINCT x.word) FROM (SELECT r.words FROM ' || source || ' WHERE $1 <% r.words LIMIT 100) r,
                   string_to_table(r.words, '' '') x(word) WHERE similarity(x.word, $1) >= 0.35'
          INTO near USING word;
      ELSIF step = 4 AND relation <> 'activities' AND length(word) BETWEEN 5 AND 9 THEN
        EXECUTE 'SELECT array_agg(DISTINCT x.word)
                   FROM (SELECT left($1, i) || ''_'' || substr($1, i + k) AS edit FROM generate_series(0, length($1)) i, generate_series(1, 2) k) e,
                        LATERAL (SELECT g.words FROM (SELECT r.words FROM ' || source || ' WHERE r.words LIKE ''% '' || replace(e.edit, ''_'', ''%'') || '' %'' LIMIT 50) g
                                  WHERE g.words LIKE ''% '' || e.edit || '' %'' LIMIT 3) r,
                        string_to_table(r.words, '' '') x(word) WHERE x.word LIKE e.edit'
          INTO near USING word;
      END IF;
      spellings := spellings || coalesce(near, '{}');
    END LOOP;
    IF spellings <> '{}' THEN
      RETURN (SELECT s FROM unnest(spellings) s GROUP BY s ORDER BY similarity(s, word) DESC, count(*) DESC, s LIMIT 1);
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.search_spelling IS 'A word as it stands in a contact, company, deal or activity, or what was probably meant by it; null where nothing is like it.';

-- The words as they are; as they are spelt elsewhere, where nothing fits well; some of them, where nothing has them all.
CREATE OR REPLACE FUNCTION kith.search_all(query text, most integer) RETURNS TABLE (relation text, id text, score real)
LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  relations constant text[] := ARRAY['contacts', 'companies', 'deals', 'activities'];
  words text[] := kith.search_terms(query); spelt text[] := '{}'; spelling text; hits jsonb;
BEGIN
  most := least(most, 200);
  IF words = '{}' OR most < 1 THEN
    RETURN;
  END IF;
  hits := (SELECT jsonb_agg(jsonb_build_array(r.relation, s.id, s.score)) FROM unnest(relations) r(relation), LATERAL kith.search(r.relation, query, most, false) s);
  IF hits IS NULL OR jsonb_array_length(hits) < 5 AND NOT EXISTS (SELECT FROM jsonb_array_elements(hits) h WHERE (h.value ->> 2)::real >= 0.65) THEN
    FOREACH spelling IN ARRAY words LOOP
      spelt := spelt || coalesce(kith.search_spelling(spelling), '');
    END LOOP;
    spelt := array_remove(spelt, '');
    IF spelt <> words AND spelt <> '{}' THEN
      hits := coalesce(hits, '[]') || coalesce((
        SELECT jsonb_agg(jsonb_build_array(r.relation, s.id, s.score * 0.6 * length(array_to_string(spelt, ''))
                                           / greatest(length(array_to_string(words, '')), length(array_to_string(spelt, '')))))
          FROM unnest(relations) r(relation), LATERAL kith.search(r.relation, array_to_string(spelt, ' '), most, false) s), '[]');
    END IF;
    IF cardinality(spelt) > 1 AND jsonb_array_length(coalesce(hits, '[]')) = 0 THEN
      hits := (SELECT jsonb_agg(jsonb_build_array(x.relation, x.id, x.score))
                 FROM (SELECT r.relation, s.id, 0.3 * sum(s.score * length(w.word)) / length(array_to_string(words, '')) AS score
                         FROM unnest(relations) r(relation), unnest(spelt) w(word), LATERAL kith.search(r.relation, w.word, most, false) s
                        WHERE length(w.word) > 2 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT most) x);
    END IF;
  END IF;
  RETURN QUERY SELECT h.value ->> 0, h.value ->> 1, max((h.value ->> 2)::real) FROM jsonb_array_elements(hits) h
                GROUP BY 1, 2 ORDER BY 3 DESC, 2 DESC LIMIT most;
END $$;
COMMENT ON FUNCTION kith.search_all IS 'The live contacts, companies, deals and activities that fit a few words best, with a score from 0 to 1.';

REVOKE ALL ON FUNCTION kith.search_spelling(text), kith.search_all(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.search_spelling(text), kith.search_all(text, integer) TO PUBLIC;
