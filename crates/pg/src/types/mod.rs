//! What is known of a database's types: how each one is written as JSON, and what it contains.
//!
//! Built-in OIDs are the same in every database and are constants in code. Other types belong to one database, are looked up
//! at their first use, and are shared by that database's connections.

mod builtin;
pub(crate) mod lookup;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// A type of a database.
#[derive(Debug)]
pub struct Type {
    /// Its OID.
    pub oid: u32,
    /// As `format_type` writes it: `timestamp with time zone`, `citext`, `integer[]`.
    pub name: String,
    /// Its bare name in `pg_type`: `timestamptz`, `citext`, `_int4`.
    pub typname: String,
    /// The kind of the type.
    pub class: Class,
    /// How its text becomes JSON. A domain has its base type's rendering.
    pub kind: Kind,
    /// Roughly the bytes that it uses, without the types that it contains.
    pub(crate) own_bytes: usize,
    /// The same, including them. A type that occurs in several places counts each time.
    pub(crate) all_bytes: usize,
    is_opaque: bool,
}

/// The kind of a type (`pg_type.typtype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Scalars and arrays.
    Base,
    /// A table's row or `CREATE TYPE … AS (…)`.
    Composite,
    /// `CREATE DOMAIN`.
    Domain,
    /// `CREATE TYPE … AS ENUM`.
    Enum,
    /// A range.
    Range,
    /// A multirange.
    Multirange,
    /// `record`, `void`, `anyarray` …
    Pseudo,
}

/// How a type's text becomes JSON. The cases are those of the server's `json_categorize_type`, plus those that its text form
/// must distinguish.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `t` or `f`.
    Bool,
    /// Integers, floats and numeric: a number, or a string for NaN and the infinities.
    Number,
    /// `json`: converted to jsonb's form.
    Json,
    /// `jsonb`: unchanged.
    Jsonb,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
    /// Everything else: its text as a string.
    Text,
    /// An array, with the same nesting.
    Array {
        /// The element type.
        element: Arc<Type>,
        /// The delimiter between elements: `,`, or `;` for `box`.
        delimiter: u8,
    },
    /// `int2vector` and `oidvector`: an array whose text is separated by spaces.
    SpacedList {
        /// The element type.
        element: Arc<Type>,
    },
    /// An object.
    Composite(Arc<Fields>),
    /// `hstore`: an object of strings.
    Hstore,
    /// A record without a type. Its text contains no names and no types.
    Record,
    /// A type whose text does not contain what `to_jsonb` returns: `anyarray`, or a type with its own cast to json.
    Opaque,
}

/// The fields of a composite.
#[derive(Debug)]
pub struct Fields {
    /// In the order of the type, which is the order of the text.
    pub(crate) fields: Vec<Field>,
    /// Indexes into `fields` in jsonb's order of keys: by length, then by bytes.
    pub(crate) order: Vec<usize>,
}

/// A field of a composite.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Arc<Type>,
}

impl Fields {
    pub(crate) fn new(fields: Vec<Field>) -> Fields {
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&fields[*a].name, &fields[*b].name);
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        });
        Fields { fields, order }
    }

    /// The fields in the order of the type.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }
}

impl Type {
    /// Stores what would be expensive to compute later. Types contain each other, and visiting all of them can take a number
    /// of steps that is exponential in their depth.
    pub(crate) fn new(oid: u32, name: String, typname: String, class: Class, kind: Kind) -> Type {
        let names = size_of::<Type>() + name.len() + typname.len();
        let (parts, inner, is_opaque) = match &kind {
            Kind::Composite(fields) => (
                fields.iter().map(|field| size_of::<Field>() + size_of::<usize>() + field.name.len()).sum(),
                fields.iter().fold(0, |sum: usize, field| sum.saturating_add(field.kind.all_bytes)),
                fields.iter().any(|field| field.kind.is_opaque),
            ),
            Kind::Array { element, .. } => (0, element.all_bytes, element.is_opaque),
            kind => (0, 0, matches!(kind, Kind::Record | Kind::Opaque)),
        };
        let own_bytes: usize = names + parts;
        Type { oid, name, typname, class, kind, own_bytes, all_bytes: own_bytes.saturating_add(inner), is_opaque }
    }

    /// Stands for a type that does not exist (any more). Its values are written as text.
    pub(crate) fn unknown(oid: u32) -> Arc<Type> {
        let (name, typname) = ("???".into(), "???".into());
        Arc::new(Type::new(oid, name, typname, Class::Base, Kind::Text))
    }

    /// True for arrays, including `int2vector` and `oidvector`.
    pub fn is_array(&self) -> bool {
        matches!(self.kind, Kind::Array { .. } | Kind::SpacedList { .. })
    }

    /// The type of an array's elements, and the delimiter between them.
    pub fn element(&self) -> Option<(&Arc<Type>, u8)> {
        match &self.kind {
            Kind::Array { element, delimiter } => Some((element, *delimiter)),
            Kind::SpacedList { element } => Some((element, b' ')),
            _ => None,
        }
    }

    /// True for `json` and `jsonb`, including domains over them.
    pub fn is_json(&self) -> bool {
        matches!(self.kind, Kind::Json | Kind::Jsonb)
    }

    /// True for `int2`, `int4` and `int8`.
    pub fn is_integer(&self) -> bool {
        matches!(self.oid, 20 | 21 | 23)
    }

    /// True for pgvector's types. Their text form (except `sparsevec`) is that of a JSON array.
    pub fn is_vector(&self) -> bool {
        matches!(self.typname.as_str(), "vector" | "halfvec" | "sparsevec")
    }

    /// True for composites and arrays of them, including domains over them.
    pub fn has_fields(&self) -> bool {
        match &self.kind {
            Kind::Composite(_) => true,
            Kind::Array { element, .. } => element.has_fields(),
            _ => false,
        }
    }

    /// True if the text alone does not contain what `to_jsonb` returns.
    pub fn is_opaque(&self) -> bool {
        self.is_opaque
    }
}

/// What is known of one database's types, shared by its connections. A clone is the same cache.
#[derive(Clone, Default, Debug)]
pub struct TypeCache {
    inner: Arc<RwLock<Known>>,
}

#[derive(Default, Debug)]
struct Known {
    types: HashMap<u32, Arc<Type>>,
    /// The bytes that they use.
    bytes: usize,
    /// How often the cache was cleared. A type that was looked up before a clearing is not stored after it.
    generation: u64,
}

/// The maximum bytes of types that a database keeps, by an estimate. A tenant could create a type of 1,600 fields per
/// request.
const MAX_BYTES: usize = 1024 * 1024;

impl TypeCache {
    /// A type that is built in or was looked up.
    pub fn get(&self, oid: u32) -> Option<Arc<Type>> {
        builtin::get(oid).or_else(|| self.read().types.get(&oid).cloned())
    }

    /// Drops the types that were looked up. Must be called after DDL. Statements that connections hold are described again
    /// at their next use.
    pub fn clear(&self) {
        let mut known = self.inner.write().unwrap_or_else(|poison| poison.into_inner());
        known.types.clear();
        known.bytes = 0;
        known.generation += 1;
    }

    /// Roughly the bytes that it uses.
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    pub(crate) fn generation(&self) -> u64 {
        self.read().generation
    }

    pub(crate) fn insert(&self, generation: u64, types: Vec<Arc<Type>>) {
        let mut known = self.inner.write().unwrap_or_else(|poison| poison.into_inner());
        if known.generation != generation {
            return;
        }
        let added: usize = types.iter().map(|each| each.own_bytes).sum();
        if known.bytes + added > MAX_BYTES {
            known.types.clear();
            known.bytes = 0;
        }
        for each in types {
            known.bytes += each.own_bytes;
            if let Some(before) = known.types.insert(each.oid, each) {
                known.bytes -= before.own_bytes;
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.inner.read().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// True for a type that has this OID in every database.
pub(crate) fn is_builtin(oid: u32) -> bool {
    builtin::get(oid).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_keys_are_ordered_as_jsonb_orders_them() {
        let text = builtin::get(25).unwrap();
        let field = |name: &str| Field { name: name.into(), kind: text.clone() };
        let fields = Fields::new(vec![field("bb"), field("a"), field("B"), field("é")]);
        let names: Vec<_> = fields.order.iter().map(|i| fields.fields[*i].name.as_str()).collect();
        assert_eq!(names, ["B", "a", "bb", "é"]);
    }

    #[test]
    fn a_lookup_that_began_before_a_clearing_is_not_kept() {
        let cache = TypeCache::default();
        let before = cache.generation();
        cache.clear();
        cache.insert(before, vec![Type::unknown(99_999)]);
        assert!(cache.get(99_999).is_none());
        cache.insert(cache.generation(), vec![Type::unknown(99_999)]);
        assert!(cache.get(99_999).is_some());
    }

    fn composite(oid: u32, of: &Arc<Type>, fields: usize) -> Arc<Type> {
        let field = |n| Field { name: format!("field_{n}"), kind: of.clone() };
        let fields = Fields::new((0..fields).map(field).collect());
        let kind = Kind::Composite(Arc::new(fields));
        Arc::new(Type::new(oid, format!("c{oid}"), format!("c{oid}"), Class::Composite, kind))
    }

    #[test]
    fn types_take_so_many_bytes_and_no_more() {
        let cache = TypeCache::default();
        let text = builtin::get(25).unwrap();
        for oid in 20_000..20_500 {
            cache.insert(cache.generation(), vec![composite(oid, &text, 1600)]);
            assert!(cache.bytes() <= MAX_BYTES && cache.bytes() >= 50_000, "{}", cache.bytes());
        }
        let one = cache.bytes();
        for _ in 0..100 {
            cache.insert(cache.generation(), vec![composite(20_499, &text, 1600)]);
        }
        assert_eq!(cache.bytes(), one, "one that is looked up again takes the place of the one before");
        cache.clear();
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn types_within_types_cost_no_time() {
        let mut of = builtin::get(25).unwrap();
        for oid in 20_000..20_030 {
            of = composite(oid, &of, 1600);
        }
        assert!(!of.is_opaque());
        assert_eq!(of.all_bytes, usize::MAX);
    }
}
