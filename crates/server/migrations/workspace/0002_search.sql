-- Search: what is searched of a row as one text, an index of its trigrams, and kith.search() over them.

-- section: system

-- The text holds only a-z, 0-9 and spaces, whatever the script: pg_trgm sees no other letters where the database's
-- ctype is C. Accents go, Cyrillic and Greek are spelt in Latin letters, and a character of another script becomes three
-- digits for each of its bytes, so that parts of words are found there too.
CREATE OR REPLACE FUNCTION kith.search_text(parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 300 SET search_path = pg_catalog, pg_temp AS $$
DECLARE value text := lower(left(array_to_string(parts, ' '), 3000));
BEGIN
  -- This is run for every row that is looked at: what most texts hold goes the fast way.
  value := replace(replace(replace(replace(replace(value, '@', ' '), '.', ' '), '-', ' '), ',', ' '), '''', '');
  IF value ~ '[^a-z0-9 ]' THEN
    IF octet_length(value) <> char_length(value) THEN
      value := regexp_replace(normalize(value, NFKD),
        '[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+', '', 'g');
      value := translate(lower(normalize(value, NFC)),
        'øłđðħıŋабвгдежзиклмнопрстуфхцчшщыэюяєіґђјљњћџѕαβγδεζηθικλμνξοπρσςτυφχψω'
        'ØŁĐÐĦŊАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЫЭЮЯЄІҐЂЈЉЊЋЏЅΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ'
        '–—―‐‑‒−«»“”„‹›·•、。「」¿¡§ьъЬЪ’‘ʼ′',
        'olddhinabvgdezziklmnoprstufhccssyeuaeigdjlncdsabgdezitiklmnxoprsstyfhpo'
        'olddhnabvgdezziklmnoprstufhccssyeuaeigdjlncdsabgdezitiklmnxoprstyfhpo'
        '                       ');
      value := replace(replace(replace(replace(replace(value, 'ß', 'ss'), 'æ', 'ae'), 'Æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    END IF;
    value := regexp_replace(replace(replace(value, '''', ''), '`', ''), '[\u0001-\u001f!-/:-@\[-`{-\u007f]+', ' ', 'g');
    IF octet_length(value) <> char_length(value) THEN
      value := replace(encode(convert_to(value, 'UTF8'), 'escape'), '\', '');
    END IF;
  END IF;
  RETURN ' ' || value || ' ';
END $$;
COMMENT ON FUNCTION kith.search_text IS 'What search compares: the texts as one, in small Latin letters and digits, without accents and punctuation.';
