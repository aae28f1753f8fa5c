-- Search: the searched columns of a row as one text, an index of its trigrams or words, and functions that use them. README.md
-- describes roles, sections and rules.

-- section: system

-- The text holds only a-z, 0-9 and spaces, whatever the script, because pg_trgm sees no other letters if the database's ctype is C.
-- Accents are removed, Cyrillic and Greek are transliterated, and a character of another script becomes three digits for each of its
-- bytes, so that parts of words are found too. In scripts without spaces each character is a word.
CREATE FUNCTION kith.search_text(parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 300 SET search_path = pg_catalog, pg_temp AS $$
DECLARE value text := lower(left(array_to_string(parts, ' '), 10000));
BEGIN
  -- This runs for each row that is compared, so common texts take a short path.
  value := translate(value, '@.-,''', '    ');
  IF value ~ '[^a-z0-9 ]' THEN
    IF octet_length(value) <> char_length(value) THEN
      value := regexp_replace(normalize(value, NFKD),
        $re$[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+$re$, '', 'g');
      IF octet_length(value) <> char_length(value) THEN
        value := translate(lower(normalize(value, NFC)),
          'øłđðħıŋабвгдежзиклмнопрстуфхцчшщыэюяєіґђјљњћџѕαβγδεζηθικλμνξοπρσςτυφχψω'
          '–—―‐‑‒−«»“”„‹›·•、。「」¿¡§ьъ’‘ʼ′',
          'olddhinabvgdezziklmnoprstufhccssyeuaeigdjlncdsabgdezitiklmnxoprsstyfhpo'
          '                       ');
        value := replace(replace(replace(replace(value, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
      END IF;
    END IF;
    value := regexp_replace(replace(replace(lower(value), '''', ''), '`', ''), $re$[\u0001-\u001f!-/:-@\[-`{-\u007f]+$re$, ' ', 'g');
    IF octet_length(value) <> char_length(value) THEN
      value := regexp_replace(value, $re$([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])$re$, $re$ \1 $re$, 'g');
      value := replace(encode(convert_to(value, 'UTF8'), 'escape'), $re$\$re$, '');
    END IF;
  END IF;
  RETURN ' ' || value || ' ';
END $$;
COMMENT ON FUNCTION kith.search_text IS 'The texts as one, in lower-case Latin letters and digits, without accents and punctuation.';

-- The zero in brackets is dialled only without the code of the country: +44 (0)20 7946 0018 is 442079460018. The national form,
-- 02079460018, is found in it, because search_terms() leaves out leading zeros.
CREATE FUNCTION kith.phone_digits(phone text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF octet_length(phone) <> char_length(phone) THEN
    phone := translate(normalize(phone, NFKC), '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹‐‑‒–—―−·•', '01234567890123456789---------');
    phone := regexp_replace(phone, '[\u0080-\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff]', '', 'g');
  END IF;
  IF phone ~ '0[ .-]*[])]' THEN
    phone := regexp_replace(phone, '((?:^|[^0-9])(?:\+|00)?[1-9][0-9]{0,2}[ .-]*)[[(] *0[ .-]*[])]', '\1', 'g');
  END IF;
  RETURN translate(phone, E'+-()[] ./_\t\n\r', '');
END $$;
COMMENT ON FUNCTION kith.phone_digits IS 'A telephone number without separators, and without the zero in brackets after the code of a country.';

CREATE FUNCTION kith.search_words(parts text[]) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN array_to_tsvector(ARRAY(SELECT left(w, 64) FROM string_to_table(kith.search_text(parts), ' ') w WHERE w <> ''));
END $$;
COMMENT ON FUNCTION kith.search_words IS 'The words of kith.search_text().';

-- The query that the search of a table reads from. The score compares title and address as a whole; words is the expression of the
-- table's index. Long texts are searched by words and their beginnings, because most of them have any three letters somewhere.
CREATE FUNCTION kith.search_source(relation text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE relation
  WHEN 'contacts' THEN '(SELECT t.id, concat_ws('' '', t.first_name, t.last_name) AS title, t.email::text AS address,
    kith.search_text(ARRAY[t.first_name, t.last_name, t.email::text, t.title, kith.phone_digits(t.phone)]) AS words
    FROM public.contacts t WHERE t.deleted_at IS NULL) r'
  WHEN 'companies' THEN '(SELECT t.id, t.name AS title, t.domain AS address, kith.search_text(ARRAY[t.name, t.domain, t.industry]) AS words
    FROM public.companies t WHERE t.deleted_at IS NULL) r'
  WHEN 'deals' THEN '(SELECT t.id, t.name AS title, NULL::text AS address, kith.search_text(ARRAY[t.name]) AS words
    FROM public.deals t WHERE t.deleted_at IS NULL) r'
  WHEN 'lists' THEN '(SELECT t.id, t.name AS title, NULL::text AS address, kith.search_text(ARRAY[t.name, t.description]) AS words
    FROM public.lists t WHERE t.deleted_at IS NULL) r'
  WHEN 'activities' THEN '(SELECT t.id, t.subject AS title, NULL::text AS address, kith.search_words(ARRAY[t.subject, t.body]) AS words
    FROM public.activities t WHERE t.deleted_at IS NULL) r'
  WHEN 'emails' THEN '(SELECT t.id, t.subject AS title, t.from_addr::text AS address,
    kith.search_words(ARRAY[t.subject, t.from_addr::text] || t.to_addrs::text[] || t.cc_addrs::text[] || ARRAY[t.snippet, t.body_text]) AS words
    FROM public.emails t WHERE t.deleted_at IS NULL) r'
END;
COMMENT ON FUNCTION kith.search_source IS 'The query that kith.search() reads from; null for a table that cannot be searched.';

CREATE FUNCTION kith.search_terms(query text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE digits text;
BEGIN
  query := left(query, 200);
  -- A telephone number is one word, with or without separators. An extension may be written in many ways, so it is not searched for.
  digits := kith.phone_digits(regexp_replace(query, '^ *tel:|[ ,;]*(ext|extension|x)[.: ]*[0-9]{1,6} *$', '', 'gi'));
  IF digits ~ '^[0-9]{5,}$' THEN
    query := ltrim(digits, '0');
  END IF;
  RETURN ARRAY(SELECT left(x.word, 64) FROM string_to_table(kith.search_text(ARRAY[query]), ' ') WITH ORDINALITY x(word, place)
                WHERE x.word <> '' GROUP BY 1 ORDER BY min(x.place) LIMIT 12);
END $$;
COMMENT ON FUNCTION kith.search_terms IS 'The words to search for: at most twelve, from the first 200 characters.';

-- Each step finds at most a few hundred rows by conditions that the index answers, and compares only those. Ordered index scans are
-- off: the planner would choose one if it expected many matches, and read the whole table if it was wrong.
CREATE FUNCTION kith.search_short(relation text, words text[], most integer, thorough boolean) RETURNS TABLE (id text, score real)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE
  source constant text := kith.search_source(relation);
  near constant text := 'greatest(similarity(kith.search_text(ARRAY[c.title]), c.phrase), similarity(kith.search_text(ARRAY[c.address]), c.phrase))';
  tests constant text := (SELECT string_agg(format('r.words LIKE ($1)[%s]', i), ' AND ') FROM generate_subscripts(words, 1) i);
  patterns text[]; known text[]; kinds integer[]; sure integer; places bigint[] := '{}'; spellings text[] := '{}'; found_ids text[] := '{}';
BEGIN
  -- Rows that have every word as a whole; as the beginning of a word; anywhere in one.
  FOR step IN 1..3 LOOP
    SELECT array_agg(CASE WHEN step = 1 THEN '% ' || w || ' %' WHEN step = 2 OR length(w) < 3 THEN '% ' || w || '%' ELSE '%' || w || '%' END)
      INTO patterns FROM unnest(words) w;
    FOR id, score IN EXECUTE
      'SELECT c.id, $2 + $3 * ' || near || ' AS score
         FROM (SELECT r.id, r.title, r.address, $4 AS phrase FROM ' || source || ' WHERE ' || tests || ' AND r.id <> ALL ($5) LIMIT 200) c
        ORDER BY score DESC, c.id DESC LIMIT $6'
      USING patterns, CASE step WHEN 1 THEN 0.8::real WHEN 2 THEN 0.65 ELSE 0.5 END, CASE step WHEN 1 THEN 0.2::real ELSE 0.15 END,
            array_to_string(words, ' '), found_ids, most - cardinality(found_ids)
    LOOP
      found_ids := found_ids || id;
      RETURN NEXT;
    END LOOP;
    IF step = 2 THEN
      sure := cardinality(found_ids);
    END IF;
    IF cardinality(found_ids) >= (ARRAY[most, least(most, 5), most])[step] THEN
      RETURN;
    END IF;
  END LOOP;
  IF NOT thorough OR sure > 0 OR cardinality(found_ids) >= 5 THEN
    RETURN;
  END IF;

  -- Few rows, and by parts of words only. Look for other spellings of the words that occur nowhere, or of all if each occurs somewhere.
  EXECUTE 'SELECT array_agg(w.word) FROM unnest($1, $2) w(word, pattern) WHERE EXISTS (SELECT FROM ' || source || ' WHERE r.words LIKE w.pattern)'
    INTO known USING words, patterns;
  known := coalesce(known, '{}');
  -- A long word shares most of its trigrams with the one that was meant.
  EXECUTE
    'SELECT coalesce(array_agg(s.place), ''{}''), coalesce(array_agg(s.word), ''{}'')
       FROM (SELECT x.place, x.word, row_number() OVER (PARTITION BY x.place ORDER BY similarity(x.word, ($1)[x.place]) DESC, x.word) AS rank
               FROM (SELECT DISTINCT w.place, x.word
                       FROM unnest($1) WITH ORDINALITY w(word, place), LATERAL (SELECT r.words FROM ' || source || ' WHERE w.word <% r.words LIMIT 100) r,
                            LATERAL string_to_table(r.words, '' '') x(word)
                      WHERE length(w.word) >= 6 AND w.word ~ ''[a-z]'' AND (w.word <> ALL ($2) OR cardinality($2) = cardinality($1))) x
              WHERE similarity(x.word, ($1)[x.place]) >= 0.35 AND x.word <> ALL ($1)) s
      WHERE s.rank <= 3'
    INTO places, spellings USING words, known;
  -- A short word may not. Candidates are one edit away: two letters swapped, one missing, one too many, one replaced. A wildcard letter
  -- is a gap to the index, which may match many rows, so their number is limited first.
  FOREACH kinds SLICE 1 IN ARRAY ARRAY[[1, 2, 3], [4, 4, 4]] LOOP
    EXECUTE
      'WITH edit AS (
         SELECT DISTINCT ON (w.place, p.pattern) w.place, p.kind, p.pattern
           FROM unnest($1) WITH ORDINALITY w(word, place), generate_series(0, length(w.word)) i, LATERAL (VALUES
             (1, left(word, i) || substr(word, i + 2, 1) || substr(word, i + 1, 1) || substr(word, i + 3), length(word) - 2),
             (2, left(word, i) || ''_'' || substr(word, i + 1), length(word) - 1),
             (3, left(word, i) || substr(word, i + 2), length(word) - 1),
             (4, left(word, i) || ''_'' || substr(word, i + 2), length(word) - 1)) p(kind, pattern, last)
          WHERE length(w.word) BETWEEN 4 AND 9 AND w.word ~ ''[a-z]'' AND w.place <> ALL ($3) AND i <= p.last AND p.kind = ANY ($4)
            AND (w.word <> ALL ($2) OR cardinality($2) = cardinality($1))
          LIMIT 100),
       spelling AS (
         SELECT e.place, x.word, min(e.kind) AS kind
           FROM edit e, LATERAL (SELECT g.words FROM (SELECT r.words FROM ' || source || ' WHERE r.words LIKE ''% '' || replace(e.pattern, ''_'', ''%'') || '' %'' LIMIT 50) g
                                  WHERE g.words LIKE ''% '' || e.pattern || '' %'' LIMIT 3) r,
                LATERAL string_to_table(r.words, '' '') x(word)
          WHERE x.word LIKE e.pattern AND x.word <> ALL ($1) GROUP BY 1, 2)
       SELECT $3 || coalesce(array_agg(s.place), ''{}''), $5 || coalesce(array_agg(s.word), ''{}'')
         FROM (SELECT s.place, s.word, row_number() OVER (PARTITION BY s.place ORDER BY s.kind, similarity(s.word, ($1)[s.place]) DESC, s.word) AS rank FROM spelling s) s
        WHERE s.rank <= 3'
      INTO places, spellings USING words, known, places, kinds, spellings;
  END LOOP;

  -- All words again, at most two of them in another spelling. A word without a similar one may be missing, and reduces the score.
  FOR id, score IN EXECUTE
    'WITH RECURSIVE choice AS (
       SELECT w.place, w.word, w.pattern, 0 AS changes FROM unnest($1, $2) WITH ORDINALITY w(word, pattern, place) WHERE w.word = ANY ($3)
       UNION ALL SELECT s.place, s.word, ''% '' || s.word || '' %'', 1 FROM unnest($4, $5) s(place, word)
       UNION ALL SELECT w.place, NULL, ''%'', 0 FROM unnest($1) WITH ORDINALITY w(word, place) WHERE w.word <> ALL ($3) AND w.place <> ALL ($4)),
     combination AS (
       SELECT 0::bigint AS place, ''{}''::text[] AS patterns, ''{}''::text[] AS words, 0 AS changes
       UNION ALL
       SELECT o.place, c.patterns || o.pattern, array_append(c.words, o.word), c.changes + o.changes
         FROM combination c JOIN choice o ON o.place = c.place + 1 WHERE c.changes + o.changes <= 2)
     SELECT c.id, max((0.25 + 0.15 * c.likeness + 0.1 * ' || near || ') * c.share)::real AS score
       FROM (SELECT r.id, r.title, r.address, array_to_string(k.words, '' '') AS phrase, k.likeness,
                    least(1, length(array_to_string(k.words, ''''))::real / length(array_to_string($1, ''''))) AS share
               FROM (SELECT x.*, similarity(array_to_string(x.words, '' ''), array_to_string($1, '' '')) AS likeness FROM combination x
                      WHERE x.place = cardinality($1) AND array_to_string(x.words, '''') <> '''' ORDER BY x.changes, likeness DESC LIMIT 20) k,
                    LATERAL (SELECT r.id, r.title, r.address FROM ' || source || ' WHERE ' || replace(tests, '($1)', 'k.patterns') || ' LIMIT 100) r
              WHERE r.id <> ALL ($6) LIMIT 200) c
      GROUP BY c.id ORDER BY score DESC, c.id DESC LIMIT $7'
    USING words, patterns, known, places, spellings, found_ids, most - cardinality(found_ids)
  LOOP
    found_ids := found_ids || id;
    RETURN NEXT;
  END LOOP;
  IF found_ids <> '{}' OR cardinality(words) = 1 THEN
    RETURN;
  END IF;

  -- Nothing was found: rows that have some of the words.
  RETURN QUERY EXECUTE
    'SELECT r.id, (0.3 * sum(length(w.word)) / length(array_to_string($1, '''')))::real AS score
       FROM unnest($1, $2) w(word, pattern), LATERAL (SELECT r.id FROM ' || source || ' WHERE r.words LIKE w.pattern LIMIT 300) r
      WHERE w.word = ANY ($3) AND length(w.word) > 2 GROUP BY r.id ORDER BY score DESC, r.id DESC LIMIT $4'
    USING words, patterns, known, most;
END $$;
COMMENT ON FUNCTION kith.search_short IS 'Searches a table with an index of trigrams.';

CREATE FUNCTION kith.search_long(relation text, words text[], most integer, thorough boolean) RETURNS TABLE (id text, score real)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE
  source constant text := kith.search_source(relation);
  tests text; found_ids text[] := '{}';
BEGIN
  -- Rows that have each word; the beginning of each word; words one edit away (all spellings are tried); some of the words.
  FOR step IN 1..4 LOOP
    SELECT string_agg('(' || CASE
             WHEN step = 1 OR length(w) < 2 THEN w
             WHEN step <> 3 OR length(w) NOT BETWEEN 4 AND 9 OR w !~ '[a-z]' OR place > 4 THEN w || ':*'
             ELSE w || ':*|' || (
               SELECT string_agg(DISTINCT e, '|')
                 FROM generate_series(0, length(w)) i, LATERAL (
                   SELECT left(w, i) || substr(w, i + 2, 1) || substr(w, i + 1, 1) || substr(w, i + 3) WHERE i <= length(w) - 2
                   UNION ALL SELECT left(w, i) || substr(w, i + 2) WHERE i < length(w)
                   UNION ALL SELECT left(w, i) || letter || rest FROM string_to_table('abcdefghijklmnopqrstuvwxyz', NULL) letter,
                     unnest(ARRAY[substr(w, i + 1), substr(w, i + 2)]) rest) x(e))
             END || ')', CASE WHEN step = 4 THEN '|' ELSE '&' END)
      INTO tests FROM unnest(words) WITH ORDINALITY x(w, place) WHERE step < 4 OR length(w) > 2;
    FOR id, score IN EXECUTE
      'SELECT c.id, $2 + $3 * similarity(kith.search_text(ARRAY[c.title]), $4) AS score
         FROM (SELECT r.id, r.title FROM ' || source || ' WHERE r.words @@ $1::tsquery AND r.id <> ALL ($5) LIMIT 200) c
        ORDER BY score DESC, c.id DESC LIMIT $6'
      USING tests, (ARRAY[0.8, 0.65, 0.3, 0])[step]::real, (ARRAY[0.2, 0.15, 0.2, 0.3])[step]::real, array_to_string(words, ' '),
            found_ids, most - cardinality(found_ids)
    LOOP
      found_ids := found_ids || id;
      RETURN NEXT;
    END LOOP;
    IF cardinality(found_ids) >= (ARRAY[most, 1, 1, 0])[step] OR step = 2 AND NOT thorough THEN
      RETURN;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION kith.search_long IS 'Searches a table with an index of words.';

CREATE FUNCTION kith.search(relation text, query text, most integer, thorough boolean DEFAULT true) RETURNS TABLE (id text, score real)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
DECLARE words constant text[] := kith.search_terms(query);
BEGIN
  IF kith.search_source(relation) IS NULL THEN
    RAISE EXCEPTION 'table "%" cannot be searched', relation USING ERRCODE = '22023';
  END IF;
  IF words = '{}' OR most < 1 THEN
    RETURN;
  END IF;
  IF relation IN ('activities', 'emails') THEN
    RETURN QUERY SELECT * FROM kith.search_long(relation, words, least(most, 200), thorough);
  ELSE
    RETURN QUERY SELECT * FROM kith.search_short(relation, words, least(most, 200), thorough);
  END IF;
END $$;
COMMENT ON FUNCTION kith.search IS 'The live rows of a built-in table that match a few words best, with a score from 0 to 1. Accents, typos and parts of words do not matter: SELECT c.*, s.score FROM kith.search(''contacts'', ''ada love'', 20) s JOIN contacts c USING (id) ORDER BY s.score DESC.';

-- All tables together.

-- The word itself, if a row has it. Else the nearest one, in this order: two letters swapped or one too many, which the indexes find
-- fast; a similar word in some rows, because common words take the indexes long; a word that shares most trigrams; a letter missing or
-- replaced, which matches too much for a short word.
CREATE FUNCTION kith.search_spelling(word text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
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
    -- Step 2 reads the first rows without an index.
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
COMMENT ON FUNCTION kith.search_spelling IS 'A word that a contact, company, deal or activity has, or the one that was probably meant; null if there is no similar one.';

-- First the words as given; then in another spelling, if nothing matches well; then some of the words, if no row has all.
CREATE FUNCTION kith.search_all(query text, most integer) RETURNS TABLE (relation text, id text, score real)
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
COMMENT ON FUNCTION kith.search_all IS 'The live contacts, companies, deals and activities that match a few words best, with a score from 0 to 1.';

REVOKE ALL ON FUNCTION kith.search_text(text[]), kith.phone_digits(text), kith.search_words(text[]), kith.search_source(text), kith.search_terms(text),
  kith.search_short(text, text[], integer, boolean), kith.search_long(text, text[], integer, boolean),
  kith.search(text, text, integer, boolean), kith.search_spelling(text), kith.search_all(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.search_text(text[]), kith.phone_digits(text), kith.search_words(text[]), kith.search_source(text), kith.search_terms(text),
  kith.search_short(text, text[], integer, boolean), kith.search_long(text, text[], integer, boolean),
  kith.search(text, text, integer, boolean), kith.search_spelling(text), kith.search_all(text, integer) TO PUBLIC;

-- section: workspace

-- The index of a large table takes longer than a request may.
SET statement_timeout = 0;

-- New entries wait in a list until there are enough to insert together, which halves the work. Each search reads that list, so it is
-- kept short.
CREATE INDEX contacts_kith_search_idx ON public.contacts USING gin (
  kith.search_text(ARRAY[first_name, last_name, email::text, title, kith.phone_digits(phone)]) public.gin_trgm_ops)
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
CREATE INDEX companies_kith_search_idx ON public.companies USING gin (
  kith.search_text(ARRAY[name, domain, industry]) public.gin_trgm_ops)
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
CREATE INDEX deals_kith_search_idx ON public.deals USING gin (kith.search_text(ARRAY[name]) public.gin_trgm_ops)
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
CREATE INDEX activities_kith_search_idx ON public.activities USING gin (kith.search_words(ARRAY[subject, body]))
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
CREATE INDEX emails_kith_search_idx ON public.emails USING gin (
  kith.search_words(ARRAY[subject, from_addr::text] || to_addrs::text[] || cc_addrs::text[] || ARRAY[snippet, body_text]))
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
CREATE INDEX lists_kith_search_idx ON public.lists USING gin (
  kith.search_text(ARRAY[name, description]) public.gin_trgm_ops)
  WITH (gin_pending_list_limit = 128) WHERE deleted_at IS NULL;
