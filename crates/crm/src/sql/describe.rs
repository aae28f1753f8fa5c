//! The statements of `GET /v1/tables` and `GET /v1/schema`.

use crate::model::entity::ENTITIES;
use crate::model::value::array_of_texts;
use crate::sql::{Label, Sql};

fn builtin_tables() -> Option<String> {
    let names: Vec<String> = ENTITIES.iter().map(|entity| entity.table.to_owned()).collect();
    Some(array_of_texts(&names))
}

/// Selects the name, the kind and the estimated rows of each table, built-in tables first.
pub fn tables() -> Sql {
    let mut sql = Sql::new(
        "SELECT c.relname AS name,
                CASE WHEN c.relname = ANY (k.builtin) THEN 'builtin' ELSE 'custom' END AS kind,
                GREATEST(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid), 0)::pg_catalog.int8 AS estimated_rows
         FROM pg_catalog.pg_class AS c, (SELECT ",
    );
    sql.bind(builtin_tables(), Label::Own).push(
        "::pg_catalog.name[] AS builtin) AS k
         WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY c.relname <> ALL (k.builtin), c.relname",
    );
    sql
}

/// Selects one JSON object with everything that is needed to write joins. A column has its comment twice, as `comment`
/// and as `description`, because clients read either (docs/wire.md, "Schema"). With a table, the others are left out.
pub fn schema(table: Option<&str>) -> Sql {
    let mut sql = Sql::new(
        r#"
SELECT pg_catalog.jsonb_build_object('tables', (
  SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'name', c.relname,
    'kind', CASE WHEN c.relname = ANY ("#,
    );
    sql.bind(builtin_tables(), Label::Own).push(
        r#"::pg_catalog.name[]) THEN 'builtin' ELSE 'custom' END,
    'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
    'columns', (
      SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', a.attname,
        'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
        'nullable', NOT a.attnotnull,
        'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        'generated', CASE WHEN a.attgenerated <> '' OR a.attidentity = 'a' THEN 'always' WHEN a.attidentity = 'd' THEN 'by default' END,
        'comment', pg_catalog.col_description(c.oid, a.attnum),
        'description', pg_catalog.col_description(c.oid, a.attnum)) ORDER BY a.attnum), '[]')
      FROM pg_catalog.pg_attribute AS a
      LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'primary_key', (
      SELECT COALESCE(pg_catalog.jsonb_agg(a.attname ORDER BY k.place), '[]')
      FROM pg_catalog.pg_constraint AS p
      CROSS JOIN LATERAL pg_catalog.unnest(p.conkey) WITH ORDINALITY AS k(attnum, place)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
      WHERE p.conrelid = c.oid AND p.contype = 'p'),
    'foreign_keys', (
      SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
                    FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k(attnum, place)
                    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
        'references', pg_catalog.jsonb_build_object(
          'table', CASE WHEN r.relnamespace = 'public'::pg_catalog.regnamespace THEN r.relname::pg_catalog.text
                        ELSE pg_catalog.concat(r.relnamespace::pg_catalog.regnamespace, '.', r.relname) END,
          'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
                      FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k(attnum, place)
                      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = k.attnum)),
        'on_delete', CASE f.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                                        WHEN 'n' THEN 'set null' ELSE 'set default' END) ORDER BY f.conname), '[]')
      FROM pg_catalog.pg_constraint AS f JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid
      WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0),
    'indexes', (
      SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', n.relname,
        'definition', pg_catalog.pg_get_indexdef(i.indexrelid),
        'unique', i.indisunique) ORDER BY n.relname), '[]')
      FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS n ON n.oid = i.indexrelid
      WHERE i.indrelid = c.oid)) ORDER BY c.relname), '[]')
  FROM pg_catalog.pg_class AS c
  WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"#,
    );
    if let Some(table) = table {
        sql.push(" AND c.relname = ").bind(Some(table.to_owned()), Label::Own).push("::pg_catalog.name");
    }
    sql.push(
        r#"),
'enums', (
  SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'name', t.typname,
    'values', (SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
               FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid)) ORDER BY t.typname), '[]')
  FROM pg_catalog.pg_type AS t WHERE t.typtype = 'e' AND t.typnamespace = 'public'::pg_catalog.regnamespace)) AS schema
"#,
    );
    sql
}
