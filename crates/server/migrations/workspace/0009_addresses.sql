-- Mail addresses and domains: their normal forms, and which contacts and companies an email belongs to. README.md describes roles,
-- sections and rules.

-- section: system

-- All of Unicode's white space, and the invisible characters that come along with copied addresses: those that Unicode says to ignore where they
-- are not supported (Default_Ignorable_Code_Point), most tags excepted, and interlinear annotations.
CREATE FUNCTION kith.trimmed(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN nullif(btrim(value,
    E' \t\n\x0b\f\r\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f'
    '\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u3000\u3164'
    '\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f\ufeff\uffa0\ufff9\ufffa\ufffb'
    '\U0001d173\U0001d174\U0001d175\U0001d176\U0001d177\U0001d178\U0001d179\U0001d17a\U000e0001\U000e0020\U000e007f'), '');
END $$;
COMMENT ON FUNCTION kith.trimmed IS 'The text without surrounding white space and characters of no width; null if nothing is left.';

-- Internationalised domains: RFC 3492 (Punycode) with the parameters of section 5.

CREATE FUNCTION kith.punycode_bias(delta bigint, points integer, is_first boolean) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE k integer := 0;
BEGIN
  delta := CASE WHEN is_first THEN delta / 700 ELSE delta / 2 END;
  delta := delta + delta / points;
  WHILE delta > 455 LOOP
    delta := delta / 35;
    k := k + 36;
  END LOOP;
  RETURN k + 36 * delta / (delta + 38);
END $$;
COMMENT ON FUNCTION kith.punycode_bias IS 'RFC 3492, section 6.1.';

CREATE FUNCTION kith.punycode(label text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  points integer[] := ARRAY(SELECT ascii(c) FROM string_to_table(label, NULL) WITH ORDINALITY x(c, place) ORDER BY place);
  basic integer := (SELECT count(*) FROM unnest(points) p WHERE p < 128);
  result text := coalesce((SELECT string_agg(chr(p), '' ORDER BY place) FROM unnest(points) WITH ORDINALITY x(p, place) WHERE p < 128), '');
  handled integer := basic; n bigint := 128; delta bigint := 0; bias integer := 72; least_point bigint; point integer; q bigint; t integer;
BEGIN
  IF basic > 0 THEN
    result := result || '-';
  END IF;
  WHILE handled < cardinality(points) LOOP
    least_point := (SELECT min(p) FROM unnest(points) p WHERE p >= n);
    delta := delta + (least_point - n) * (handled + 1);
    n := least_point;
    FOREACH point IN ARRAY points LOOP
      IF point < n THEN
        delta := delta + 1;
      ELSIF point = n THEN
        q := delta;
        FOR k IN 36 .. 100000 BY 36 LOOP
          t := least(greatest(k - bias, 1), 26);
          EXIT WHEN q < t;
          result := result || substr('abcdefghijklmnopqrstuvwxyz0123456789', (t + (q - t) % (36 - t))::integer + 1, 1);
          q := (q - t) / (36 - t);
        END LOOP;
        result := result || substr('abcdefghijklmnopqrstuvwxyz0123456789', q::integer + 1, 1);
        bias := kith.punycode_bias(delta, handled + 1, handled = basic);
        delta := 0;
        handled := handled + 1;
      END IF;
    END LOOP;
    delta := delta + 1;
    n := n + 1;
  END LOOP;
  RETURN result;
END $$;
COMMENT ON FUNCTION kith.punycode IS 'A label of a domain in ASCII, without xn--: RFC 3492, section 6.3.';

CREATE FUNCTION kith.from_punycode(code text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  basic integer := length(code) - position('-' IN reverse(code));
  has_basic constant boolean := position('-' IN code) > 0;
  points integer[] := '{}'; place integer; n bigint := 128; i bigint := 0; old bigint; weight bigint; bias integer := 72; digit integer; t integer;
BEGIN
  IF code !~ '^[a-z0-9-]{1,59}$' THEN
    RETURN NULL;
  END IF;
  IF has_basic THEN
    points := ARRAY(SELECT ascii(c) FROM string_to_table(left(code, basic), NULL) WITH ORDINALITY x(c, at) ORDER BY at);
  END IF;
  place := CASE WHEN has_basic THEN basic + 2 ELSE 1 END;
  WHILE place <= length(code) LOOP
    old := i;
    weight := 1;
    FOR k IN 36 .. 100000 BY 36 LOOP
      digit := position(substr(code, place, 1) IN 'abcdefghijklmnopqrstuvwxyz0123456789') - 1;
      IF place > length(code) OR digit < 0 THEN
        RETURN NULL;
      END IF;
      place := place + 1;
      i := i + digit * weight;
      t := least(greatest(k - bias, 1), 26);
      EXIT WHEN digit < t;
      weight := weight * (36 - t);
      -- No code point is as large.
      IF weight > 1000000000 OR i > 1000000000 THEN
        RETURN NULL;
      END IF;
    END LOOP;
    bias := kith.punycode_bias(i - old, cardinality(points) + 1, old = 0);
    n := n + i / (cardinality(points) + 1);
    i := i % (cardinality(points) + 1);
    IF n > 1114111 OR n BETWEEN 55296 AND 57343 THEN
      RETURN NULL;
    END IF;
    points := points[:i] || n::integer || points[i + 1:];
    i := i + 1;
  END LOOP;
  RETURN (SELECT string_agg(chr(p), '' ORDER BY at) FROM unnest(points) WITH ORDINALITY x(p, at));
END $$;
COMMENT ON FUNCTION kith.from_punycode IS 'The label that punycode() gives this text for, or null: RFC 3492, section 6.2.';

-- A label that is not what unicode_domain() would be encoded as stays as it is.
CREATE FUNCTION kith.unicode_domain(domain text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF domain !~* '(^|\.)xn--' OR length(domain) > 253 THEN
    RETURN domain;
  END IF;
  RETURN (SELECT string_agg(CASE WHEN label ~* '^xn--' AND kith.punycode(decoded) = lower(substr(label, 5)) AND decoded !~ '[\u0001-\u0020.@/]' THEN decoded ELSE label END, '.' ORDER BY place)
            FROM string_to_table(domain, '.') WITH ORDINALITY x(label, place),
                 LATERAL (SELECT CASE WHEN label ~* '^xn--' THEN kith.from_punycode(lower(substr(label, 5))) END) y(decoded));
END $$;
COMMENT ON FUNCTION kith.unicode_domain IS 'A domain with its labels in Unicode: bücher.example for xn--bcher-kva.example.';

CREATE FUNCTION kith.ascii_domain(domain text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
  IF domain !~ '[^\u0001-\u007f]' OR length(domain) > 253 THEN
    RETURN domain;
  END IF;
  RETURN (SELECT string_agg(CASE WHEN label ~ '[^\u0001-\u007f]' THEN 'xn--' || kith.punycode(lower(label)) ELSE label END, '.' ORDER BY place)
            FROM string_to_table(normalize(domain, NFKC), '.') WITH ORDINALITY x(label, place));
END $$;
COMMENT ON FUNCTION kith.ascii_domain IS 'A domain with its labels in ASCII: xn--bcher-kva.example for bücher.example.';

CREATE FUNCTION kith.normal_domain(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE domain text := lower(kith.trimmed(value));
BEGIN
  IF domain ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' AND domain !~ '(^|\.)(www\.|xn--)' THEN
    RETURN domain;
  END IF;
  IF octet_length(domain) <> char_length(domain) THEN
    -- Characters that IDNA ignores. The joiners have a meaning in some scripts, so they stay.
    domain := regexp_replace(domain, '[\u00ad\u034f\u180b-\u180d\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]', '', 'g');
    domain := lower(normalize(translate(domain, '。．｡', '...'), NFKC));
  END IF;
  -- Schemes as people write them: https://, http:, //, http//.
  domain := regexp_replace(domain, '^([a-z][a-z0-9+.-]*:[/\\]{2,}|https?[/\\]{2,}:?|(https?|wss?|ftps?|mailto):[/\\]?(?![0-9]+([/?#.]|$))|[/\\])+', '');
  domain := regexp_replace(domain, '[/?#\\].*$', '');
  domain := regexp_replace(domain, '^.*@|>$', '', 'g');
  IF domain ~ '^\[.*\]' THEN
    domain := substring(domain FROM '^\[(?:ipv6:)?([^\]]*)\]');
  ELSIF domain !~ '^[0-9a-f.]*:[0-9a-f.]*:[0-9a-f.:]*$' THEN
    domain := regexp_replace(domain, '(:[0-9]*[.]*)*$', '');
  END IF;
  IF domain LIKE '%:%' AND domain NOT LIKE '%/%' AND pg_input_is_valid(domain, 'inet') THEN
    RETURN host(domain::inet);
  END IF;
  domain := regexp_replace(kith.trimmed(domain), '^(\.*www\.+)+$', '');
  domain := btrim(lower(kith.unicode_domain(domain)), '.');
  RETURN kith.trimmed(regexp_replace(domain, '^(www\.+)+(?=[^.]+\.)', ''));
END $$;
COMMENT ON FUNCTION kith.normal_domain IS 'A domain as it is stored: in lower case and Unicode, without scheme, www., port, path and final dot; null if nothing is left.';

CREATE FUNCTION kith.normal_company() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.domain IS NOT NULL THEN
    NEW.domain := kith.normal_domain(NEW.domain);
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.normal_company IS 'Puts the domain of a company into its normal form.';

-- Most addresses begin and end with a printable ASCII character and take no more than the first condition. All names in it are
-- qualified, which is cheaper than a SET clause.
CREATE FUNCTION kith.normal_contact() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.email::pg_catalog.text OPERATOR(pg_catalog.~) '^[^!-~]|[^!-~]$|^$' THEN
    NEW.email := kith.trimmed(NEW.email::pg_catalog.text);
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.normal_contact IS 'Puts the address of a contact into its normal form.';

-- Emails.

-- "Ada <ada@example.com>", "ada@example.com (Ada)", "mailto:ada@example.com" and "ada@example.com" are one address. A comment or a colon
-- within quotes belongs to the address.
CREATE FUNCTION kith.bare_address(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN kith.trimmed(CASE
  WHEN address LIKE '%<%@%>%' THEN substring(address FROM '<([^<>]*)>[^<>]*$')
  WHEN address ~ '[(:<]' THEN regexp_replace(
    regexp_replace(address, '("(?:[^"\\]|\\.)*")|\((?:[^()]|\([^()]*\))*\)|<[^<>]*>', '\1', 'g'),
    '^(?:"(?:[^"\\]|\\.)*"|[^"@])*:\s*', '')
  ELSE address END);
COMMENT ON FUNCTION kith.bare_address IS 'The address alone, without names and comments.';

-- Commas and semicolons separate addresses, but not within quotes, angle brackets and comments, nor before the first @: "Lovelace, Ada
-- <ada@example.com>" is one address. White space separates bare addresses, and a line break any. A group, "Team: a@example.com,
-- b@example.com;", is its members.
CREATE FUNCTION kith.split_addresses(list text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE piece text; pending text; found_addresses text[] := '{}';
BEGIN
  list := kith.trimmed(list);
  IF list !~ '[,;:]' AND list !~ '@.*@' OR list NOT LIKE '%@%' THEN
    RETURN CASE WHEN list ~ '[^,;\s]' THEN ARRAY[list] ELSE '{}' END;
  END IF;
  IF list !~ '[<>"()]' THEN
    list := regexp_replace(list, '([^\s@,;:]@[^\s@,;:]+)\s+(?=[^\s@,;:]+@[^\s@,;:]+(?:[\s,;]|$))', '\1, ', 'g');
  ELSIF list ~ '[\r\n]' THEN
    list := regexp_replace(list, '>[ \t]*[\r\n]+(?=[^\r\n]*@)', '>, ', 'g');
  END IF;
  FOR piece IN SELECT m[1] FROM regexp_matches(list, '((?:"(?:[^"\\]|\\.)*"|<[^<>]*>|\([^()]*\)|[^,;])+)', 'g') m LOOP
    -- Between two separators there may be nothing but space.
    CONTINUE WHEN kith.trimmed(piece) IS NULL;
    pending := concat_ws(', ', pending, kith.trimmed(piece));
    IF pending LIKE '%@%' THEN
      found_addresses := found_addresses || kith.trimmed(regexp_replace(pending, '^(?:"(?:[^"\\]|\\.)*"|[^"@<>(])*:\s*', ''));
      pending := NULL;
    END IF;
  END LOOP;
  RETURN found_addresses || array_remove(ARRAY[kith.trimmed(pending)], NULL);
END $$;
COMMENT ON FUNCTION kith.split_addresses IS 'The addresses in one text, in order.';

CREATE FUNCTION kith.normal_addresses(addresses public.citext[]) RETURNS public.citext[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT found_address::public.citext
               FROM unnest(addresses::text[]) WITH ORDINALITY x(list, place), unnest(kith.split_addresses(list)) WITH ORDINALITY y(found_address, part)
              ORDER BY place, part);
COMMENT ON FUNCTION kith.normal_addresses IS 'Addresses as they are stored, one in each element.';

-- Both forms of an internationalised domain are looked for, since a contact's address is stored in the form in which it was given.
CREATE FUNCTION kith.address_forms(list text) RETURNS public.citext[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE address text; place text; domain text; forms text[] := '{}';
BEGIN
  FOREACH address IN ARRAY kith.split_addresses(list) LOOP
    address := kith.bare_address(address);
    IF address LIKE '%@%' THEN
      forms := forms || address;
      IF octet_length(address) <> char_length(address) OR address ILIKE '%xn--%' THEN
        domain := split_part(address, '@', -1);
        place := left(address, -length(domain));
        forms := forms || ARRAY[place || kith.unicode_domain(domain), place || kith.ascii_domain(domain)];
      END IF;
    END IF;
  END LOOP;
  RETURN forms;
END $$;
COMMENT ON FUNCTION kith.address_forms IS 'The addresses in one text as contacts may have them: alone, and with the domain in Unicode and in ASCII.';

CREATE FUNCTION kith.attach_email() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE addresses public.citext[]; domains text[];
BEGIN
  -- The columns are NOT NULL for readers. A writer may leave them null.
  NEW.contact_ids := coalesce(NEW.contact_ids, '{}');
  NEW.company_ids := coalesce(NEW.company_ids, '{}');
  NEW.deal_ids := coalesce(NEW.deal_ids, '{}');
  NEW.from_addr := kith.trimmed(NEW.from_addr::text);
  -- An empty id is none. As a value it would be unique, and a second message without an id would be refused.
  NEW.provider := nullif(NEW.provider, '');
  NEW.provider_msg_id := nullif(NEW.provider_msg_id, '');
  IF TG_OP = 'INSERT' OR NEW.to_addrs IS DISTINCT FROM OLD.to_addrs THEN
    NEW.to_addrs := kith.normal_addresses(NEW.to_addrs);
  END IF;
  IF TG_OP = 'INSERT' OR NEW.cc_addrs IS DISTINCT FROM OLD.cc_addrs THEN
    NEW.cc_addrs := kith.normal_addresses(NEW.cc_addrs);
  END IF;
  IF TG_OP = 'UPDATE' THEN
    RETURN NEW;
  END IF;
  SELECT array_agg(f), array_agg(DISTINCT kith.normal_domain(split_part(f::text, '@', -1))) INTO addresses, domains
    FROM unnest(NEW.from_addr || NEW.to_addrs || NEW.cc_addrs) a, LATERAL unnest(kith.address_forms(a::text)) f;
  SELECT NEW.contact_ids || array_agg(c.id ORDER BY c.id) INTO NEW.contact_ids FROM public.contacts c
   WHERE c.email = ANY (addresses) AND c.deleted_at IS NULL AND c.id <> ALL (NEW.contact_ids);
  SELECT NEW.company_ids || array_agg(c.id ORDER BY c.id) INTO NEW.company_ids FROM public.companies c
   WHERE lower(c.domain) = ANY (domains) AND c.deleted_at IS NULL AND c.id <> ALL (NEW.company_ids);
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.attach_email IS 'Puts the addresses of an email into their normal form, and finds its contacts and companies.';

-- As with kith.check_contact_id(), a row with its own, earlier time of creation comes from a backup or from another system, and an update
-- checks only what is new.
CREATE FUNCTION kith.check_mail_references() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE place text; noun text; missing text; undoes boolean;
BEGIN
  IF TG_OP = 'INSERT' AND NEW.created_at < now()
     OR TG_OP = 'UPDATE' AND NEW.contact_ids = OLD.contact_ids AND NEW.company_ids = OLD.company_ids AND NEW.deal_ids = OLD.deal_ids THEN
    RETURN NULL;
  END IF;
  -- What undo puts back may have been soft-deleted since.
  undoes := pg_trigger_depth() = 1 AND kith.is_undo();
  SELECT x.place, x.noun, x.id INTO place, noun, missing FROM (
    SELECT 'contact_ids', 'contact', i.id FROM unnest(NEW.contact_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.contact_ids, '{}')) AND NOT EXISTS (SELECT FROM public.contacts r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
    UNION ALL
    SELECT 'company_ids', 'company', i.id FROM unnest(NEW.company_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.company_ids, '{}')) AND NOT EXISTS (SELECT FROM public.companies r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
    UNION ALL
    SELECT 'deal_ids', 'deal', i.id FROM unnest(NEW.deal_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.deal_ids, '{}')) AND NOT EXISTS (SELECT FROM public.deals r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
  ) x(place, noun, id) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'there is no live % "%"', noun, missing
      USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = place, CONSTRAINT = TG_TABLE_NAME || '_' || place || '_fkey',
            HINT = 'Refer to a record that exists and is not deleted.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.check_mail_references IS 'Refuses ids in an email that name no live record.';

REVOKE ALL ON FUNCTION kith.trimmed(text), kith.punycode_bias(bigint, integer, boolean), kith.punycode(text), kith.from_punycode(text),
  kith.unicode_domain(text), kith.ascii_domain(text), kith.normal_domain(text), kith.normal_company(), kith.normal_contact(),
  kith.bare_address(text), kith.split_addresses(text), kith.normal_addresses(public.citext[]), kith.address_forms(text), kith.attach_email(),
  kith.check_mail_references() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.trimmed(text), kith.punycode_bias(bigint, integer, boolean), kith.punycode(text), kith.from_punycode(text),
  kith.unicode_domain(text), kith.ascii_domain(text), kith.normal_domain(text), kith.bare_address(text), kith.split_addresses(text),
  kith.normal_addresses(public.citext[]), kith.address_forms(text) TO PUBLIC;

-- section: workspace

-- Their names make them fire before kith_touch.
CREATE TRIGGER kith_normal BEFORE INSERT OR UPDATE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.normal_company();
CREATE TRIGGER kith_normal BEFORE INSERT OR UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.normal_contact();
CREATE TRIGGER kith_attach BEFORE INSERT OR UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.attach_email();
CREATE TRIGGER kith_references AFTER INSERT OR UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.check_mail_references();
