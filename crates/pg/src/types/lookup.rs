//! The query that looks up types, and the parsing of its rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Class, Field, Fields, Kind, Type, TypeCache, builtin};
use crate::rows::Rows;

/// Returns one row for each type and field of `$1::oid[]` and of all types that those contain.
///
/// All names are qualified, operators too, because the query runs in sessions whose `search_path` a tenant chooses. Arrays
/// are recognized as `get_element_type` does, and a cast to json counts if it counts for `json_categorize_type`: the type is
/// not built in, and the cast is a function.
pub(crate) const QUERY: &str = "\
with recursive wanted(oid) as (
  select pg_catalog.unnest($1::pg_catalog.oid[])
  union
  select part.oid
  from wanted
  join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) wanted.oid
  cross join lateral (
    select t.typelem
    union all select t.typbasetype
    union all
    select a.atttypid from pg_catalog.pg_attribute a
    where a.attrelid operator(pg_catalog.=) t.typrelid
      and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
  ) part(oid)
  where part.oid operator(pg_catalog.<>) 0::pg_catalog.oid
)
select t.oid, pg_catalog.format_type(t.oid, null), t.typname, t.typtype,
  case when t.typsubscript operator(pg_catalog.=)
      'pg_catalog.array_subscript_handler'::pg_catalog.regproc
    then t.typelem else 0::pg_catalog.oid end,
  e.typdelim, t.typbasetype,
  t.oid operator(pg_catalog.>=) 16384::pg_catalog.oid and exists (
    select from pg_catalog.pg_cast c
    where c.castsource operator(pg_catalog.=) t.oid
      and c.casttarget operator(pg_catalog.=) 114::pg_catalog.oid
      and c.castmethod operator(pg_catalog.=) 'f'::\"char\"),
  a.attname, a.atttypid
from wanted
join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) wanted.oid
left join pg_catalog.pg_type e on e.oid operator(pg_catalog.=) t.typelem
left join pg_catalog.pg_attribute a on t.typtype operator(pg_catalog.=) 'c'::\"char\"
  and a.attrelid operator(pg_catalog.=) t.typrelid
  and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
order by t.oid, a.attnum";

/// The maximum depth of types inside types. Deeper types are written as text. Every level of composites at least doubles the
/// quotes of its text, so no value is that deep.
const MAX_DEPTH: usize = 64;

/// A type as the catalog describes it.
struct CatalogType<'r> {
    name: &'r str,
    typname: &'r str,
    class: Class,
    element: u32,
    delimiter: u8,
    base: u32,
    has_json_cast: bool,
    fields: Vec<(&'r str, u32)>,
}

/// Builds the types from [`QUERY`]'s rows.
pub(crate) fn read(rows: &Rows, known: &TypeCache) -> Vec<Arc<Type>> {
    let mut entries: HashMap<u32, CatalogType<'_>> = HashMap::new();
    for row in 0..rows.len() {
        let text = |col| rows.text(row, col).unwrap_or_default();
        let oid = |col| text(col).parse::<u32>().unwrap_or(0);
        let entry = entries.entry(oid(0)).or_insert_with(|| CatalogType {
            name: text(1),
            typname: text(2),
            class: class(text(3)),
            element: oid(4),
            delimiter: text(5).bytes().next().unwrap_or(b','),
            base: oid(6),
            has_json_cast: text(7) == "t",
            fields: Vec::new(),
        });
        if let Some(name) = rows.text(row, 8) {
            entry.fields.push((name, oid(9)));
        }
    }
    let mut built = HashMap::new();
    for oid in entries.keys() {
        build(*oid, &entries, known, &mut built, 0);
    }
    built.into_values().collect()
}

fn class(typtype: &str) -> Class {
    match typtype {
        "c" => Class::Composite,
        "d" => Class::Domain,
        "e" => Class::Enum,
        "r" => Class::Range,
        "m" => Class::Multirange,
        "p" => Class::Pseudo,
        _ => Class::Base,
    }
}

fn build(
    oid: u32,
    entries: &HashMap<u32, CatalogType<'_>>,
    known: &TypeCache,
    built: &mut HashMap<u32, Arc<Type>>,
    depth: usize,
) -> Arc<Type> {
    if let Some(done) = built.get(&oid).cloned().or_else(|| builtin::get(oid)) {
        return done;
    }
    // The rows just read are newer than the cache.
    let Some(entry) = entries.get(&oid).filter(|_| depth < MAX_DEPTH) else {
        return known.get(oid).unwrap_or_else(|| Type::unknown(oid));
    };
    let mut part = |oid| build(oid, entries, known, built, depth + 1);
    let kind = match entry.class {
        Class::Domain => part(entry.base).kind.clone(),
        _ => kind(entry, &mut part),
    };
    let (name, typname) = (entry.name.into(), entry.typname.into());
    let new = Arc::new(Type::new(oid, name, typname, entry.class, kind));
    built.insert(oid, Arc::clone(&new));
    new
}

/// Checks in the order of `json_categorize_type`.
fn kind(entry: &CatalogType<'_>, part: &mut dyn FnMut(u32) -> Arc<Type>) -> Kind {
    if entry.element != 0 {
        return Kind::Array { element: part(entry.element), delimiter: entry.delimiter };
    }
    if entry.class == Class::Composite {
        let field = |(name, oid): &(&str, u32)| Field { name: (*name).into(), kind: part(*oid) };
        return Kind::Composite(Arc::new(Fields::new(entry.fields.iter().map(field).collect())));
    }
    match entry.typname {
        "hstore" if entry.has_json_cast => Kind::Hstore,
        _ if entry.has_json_cast => Kind::Opaque,
        _ => Kind::Text,
    }
}
