//! The statement that describes a workspace's tables for `model::catalog`, one JSON text for each table.

/// Tables and views in schema `public`, with their columns, keys and unique indexes. Every name is qualified with
/// `pg_catalog`, so that objects of the workspace's own cannot take their place.
///
/// The guards limit the number of columns, so the result stays below the size limit of results. A unique index with a
/// definition of more than 2,000 characters is left out.
///
/// `own_code` tells whether a plain statement can run code that leaves state in the session: a function of the workspace's own, a rule, or
/// a volatile function that is not known to be harmless (`set_config()`, and those that run a text as SQL) in any stored expression.
/// All catalog columns with expressions are examined, except those of functions. A function that is not volatile runs no text
/// except a SELECT of a whole table or view, whose expressions are examined.
pub const CATALOG: &str = r#"
SELECT pg_catalog.jsonb_build_object(
    'name', c.relname,
    'relkind', c.relkind,
    'shape', pg_catalog.jsonb_build_object('oid', c.oid::pg_catalog.text, 'version', c.xmin::pg_catalog.text, 'key', (
        SELECT i.indexrelid::pg_catalog.text FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisprimary)),
    'estimated_rows', c.reltuples,
    'columns', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', a.attname,
            'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'typname', COALESCE(b.typname, y.typname),
            'category', COALESCE(b.typcategory, y.typcategory),
            'element', CASE WHEN COALESCE(b.typcategory, y.typcategory) = 'A' THEN (
                SELECT pg_catalog.jsonb_build_object('typname', e.typname, 'category', e.typcategory)
                FROM pg_catalog.pg_type AS e WHERE e.oid = COALESCE(b.typelem, y.typelem)) END,
            'not_null', a.attnotnull,
            'generated', a.attgenerated <> '' OR a.attidentity = 'a'
        ) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type AS b ON y.typtype = 'd' AND b.oid = y.typbasetype
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'primary_key', (
        SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
        FROM pg_catalog.pg_constraint AS p
        CROSS JOIN LATERAL pg_catalog.unnest(p.conkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE p.conrelid = c.oid AND p.contype = 'p'),
    'unique', (
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', n.relname,
            'keys', (SELECT pg_catalog.jsonb_agg(pg_catalog.pg_get_indexdef(i.indexrelid, s.place, true) ORDER BY s.place)
                     FROM pg_catalog.generate_series(1, i.indnkeyatts::pg_catalog.int4) AS s(place)),
            'predicate', pg_catalog.pg_get_expr(i.indpred, i.indrelid, true),
            'nulls_not_distinct', i.indnullsnotdistinct))
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS n ON n.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique
          AND pg_catalog.octet_length(pg_catalog.to_jsonb(pg_catalog.pg_get_indexdef(i.indexrelid))::pg_catalog.text) <= 2000),
    'fields', (
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', f.key, 'type', f.type))
        FROM (SELECT f.key, f.type FROM kith_guard.builtin AS b JOIN public.custom_fields AS f ON f.object_type = b.subject
              WHERE b.relid = c.oid AND f.deleted_at IS NULL ORDER BY f.created_at, f.id LIMIT 5000) AS f)
)::pg_catalog.text AS described,
    (SELECT EXISTS (
        SELECT FROM pg_catalog.pg_proc AS p
        WHERE p.oid >= 16384 AND p.proowner <> ALL (ARRAY(
            SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('pg_catalog', 'kith', 'kith_guard')))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'))
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384 AND r.ev_type <> '1')
    OR EXISTS (
        SELECT FROM (
            SELECT d.adbin FROM pg_catalog.pg_attrdef AS d
            UNION ALL SELECT k.conbin FROM pg_catalog.pg_constraint AS k WHERE k.oid >= 16384
            UNION ALL SELECT r.ev_action FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384
            UNION ALL SELECT r.ev_qual FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384
            UNION ALL SELECT g.tgqual FROM pg_catalog.pg_trigger AS g
            UNION ALL SELECT o.polqual FROM pg_catalog.pg_policy AS o
            UNION ALL SELECT o.polwithcheck FROM pg_catalog.pg_policy AS o
            UNION ALL SELECT y.typdefaultbin FROM pg_catalog.pg_type AS y WHERE y.oid >= 16384
            UNION ALL SELECT i.indexprs FROM pg_catalog.pg_index AS i WHERE i.indexrelid >= 16384
            UNION ALL SELECT i.indpred FROM pg_catalog.pg_index AS i WHERE i.indexrelid >= 16384
            UNION ALL SELECT c.relpartbound FROM pg_catalog.pg_class AS c WHERE c.oid >= 16384
            UNION ALL SELECT p.partexprs FROM pg_catalog.pg_partitioned_table AS p
            UNION ALL SELECT s.stxexprs FROM pg_catalog.pg_statistic_ext AS s
            UNION ALL SELECT p.prqual FROM pg_catalog.pg_publication_rel AS p
        ) AS e (tree)
        CROSS JOIN LATERAL pg_catalog.regexp_matches(e.tree::pg_catalog.text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS m (called)
        JOIN pg_catalog.pg_proc AS p ON p.oid = m.called[1]::pg_catalog.oid
        WHERE e.tree IS NOT NULL AND p.provolatile = 'v' AND NOT EXISTS (
            SELECT FROM (VALUES
                ('pg_catalog', 'clock_timestamp'), ('pg_catalog', 'timeofday'), ('pg_catalog', 'random'),
                ('pg_catalog', 'random_normal'), ('pg_catalog', 'gen_random_uuid'), ('pg_catalog', 'uuidv4'), ('pg_catalog', 'uuidv7'),
                ('pg_catalog', 'nextval'), ('pg_catalog', 'currval'), ('pg_catalog', 'lastval'),
                ('public', 'gen_random_uuid'), ('public', 'gen_random_bytes'), ('kith', 'new_id')
            ) AS h (schema, name)
            WHERE h.schema::pg_catalog.regnamespace = p.pronamespace AND h.name = p.proname)
    )) AS own_code
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"#;

/// The functions that do not come with PostgreSQL: whether one is the workspace's own, and the largest OID.
pub const ROUTINES: &str = "
SELECT COALESCE(pg_catalog.bool_or(p.proowner <> ALL (ARRAY(
        SELECT n.nspowner FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname IN ('pg_catalog', 'kith', 'kith_guard')))), true),
    pg_catalog.max(p.oid)
FROM pg_catalog.pg_proc AS p WHERE p.oid >= 16384";

/// Whether there is a function with a larger OID than `$1`: one that was created after [`ROUTINES`] was run. (OIDs grow until they
/// wrap around.)
pub const NEWER_ROUTINE: &str =
    "SELECT pg_catalog.max(p.oid) OPERATOR(pg_catalog.>) $1::pg_catalog.oid FROM pg_catalog.pg_proc AS p";
