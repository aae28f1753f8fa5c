//! The types that every PostgreSQL has under the same OID.
//!
//! Source: `pg_type.dat` of PostgreSQL 18, all types with a fixed OID that a column can have.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{Class, Kind, Type};

/// A built-in type by its OID.
pub(super) fn get(oid: u32) -> Option<Arc<Type>> {
    // All built-in types with a fixed OID are below this.
    if oid >= 10_000 { None } else { BUILTIN.get(&oid).cloned() }
}

static BUILTIN: LazyLock<HashMap<u32, Arc<Type>>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    for &(oid, array, typname, name, how) in SCALARS {
        let kind = match how {
            How::Bool => Kind::Bool,
            How::Number => Kind::Number,
            How::Json => Kind::Json,
            How::Jsonb => Kind::Jsonb,
            How::Timestamp => Kind::Timestamp,
            How::TimestampTz => Kind::TimestampTz,
            How::Record => Kind::Record,
            How::Opaque => Kind::Opaque,
            How::Text | How::Range | How::Multirange | How::Pseudo => Kind::Text,
        };
        let class = match how {
            How::Range => Class::Range,
            How::Multirange => Class::Multirange,
            How::Record | How::Opaque | How::Pseudo => Class::Pseudo,
            _ => Class::Base,
        };
        add(&mut types, Type::new(oid, name.into(), typname.into(), class, kind), array);
    }
    // Arrays whose text is separated by spaces. They have array types of their own.
    for (oid, array, name, element) in [(22, 1006, "int2vector", 21), (30, 1013, "oidvector", 26)] {
        let kind = Kind::SpacedList { element: Arc::clone(&types[&element]) };
        let list = Type::new(oid, name.into(), name.into(), Class::Base, kind);
        add(&mut types, list, array);
    }
    types
});

/// Adds a type. If `array` is not 0, also adds the array type with that OID.
fn add(types: &mut HashMap<u32, Arc<Type>>, element: Type, array: u32) {
    let element = Arc::new(element);
    types.insert(element.oid, Arc::clone(&element));
    if array != 0 {
        let delimiter = if element.typname == "box" { b';' } else { b',' };
        let (name, typname) = (format!("{}[]", element.name), format!("_{}", element.typname));
        let kind = Kind::Array { element, delimiter };
        types.insert(array, Arc::new(Type::new(array, name, typname, Class::Base, kind)));
    }
}

/// The properties that differ between built-in types.
#[derive(Clone, Copy)]
enum How {
    Bool,
    Number,
    Json,
    Jsonb,
    Timestamp,
    TimestampTz,
    Text,
    Range,
    Multirange,
    Record,
    Opaque,
    Pseudo,
}

/// OID, OID of the array type (0 if there is none), name in `pg_type`, name by `format_type`.
#[rustfmt::skip]
const SCALARS: &[(u32, u32, &str, &str, How)] = &[
    (16, 1000, "bool", "boolean", How::Bool),
    (17, 1001, "bytea", "bytea", How::Text),
    (18, 1002, "char", "\"char\"", How::Text),
    (19, 1003, "name", "name", How::Text),
    (20, 1016, "int8", "bigint", How::Number),
    (21, 1005, "int2", "smallint", How::Number),
    (23, 1007, "int4", "integer", How::Number),
    (24, 1008, "regproc", "regproc", How::Text),
    (25, 1009, "text", "text", How::Text),
    (26, 1028, "oid", "oid", How::Text),
    (27, 1010, "tid", "tid", How::Text),
    (28, 1011, "xid", "xid", How::Text),
    (29, 1012, "cid", "cid", How::Text),
    (114, 199, "json", "json", How::Json),
    (142, 143, "xml", "xml", How::Text),
    (194, 0, "pg_node_tree", "pg_node_tree", How::Text),
    (600, 1017, "point", "point", How::Text),
    (601, 1018, "lseg", "lseg", How::Text),
    (602, 1019, "path", "path", How::Text),
    (603, 1020, "box", "box", How::Text),
    (604, 1027, "polygon", "polygon", How::Text),
    (628, 629, "line", "line", How::Text),
    (650, 651, "cidr", "cidr", How::Text),
    (700, 1021, "float4", "real", How::Number),
    (701, 1022, "float8", "double precision", How::Number),
    (718, 719, "circle", "circle", How::Text),
    (774, 775, "macaddr8", "macaddr8", How::Text),
    (790, 791, "money", "money", How::Text),
    (829, 1040, "macaddr", "macaddr", How::Text),
    (869, 1041, "inet", "inet", How::Text),
    (1033, 1034, "aclitem", "aclitem", How::Text),
    (1042, 1014, "bpchar", "character", How::Text),
    (1043, 1015, "varchar", "character varying", How::Text),
    (1082, 1182, "date", "date", How::Text),
    (1083, 1183, "time", "time without time zone", How::Text),
    (1114, 1115, "timestamp", "timestamp without time zone", How::Timestamp),
    (1184, 1185, "timestamptz", "timestamp with time zone", How::TimestampTz),
    (1186, 1187, "interval", "interval", How::Text),
    (1266, 1270, "timetz", "time with time zone", How::Text),
    (1560, 1561, "bit", "bit", How::Text),
    (1562, 1563, "varbit", "bit varying", How::Text),
    (1700, 1231, "numeric", "numeric", How::Number),
    (1790, 2201, "refcursor", "refcursor", How::Text),
    (2202, 2207, "regprocedure", "regprocedure", How::Text),
    (2203, 2208, "regoper", "regoper", How::Text),
    (2204, 2209, "regoperator", "regoperator", How::Text),
    (2205, 2210, "regclass", "regclass", How::Text),
    (2206, 2211, "regtype", "regtype", How::Text),
    (2950, 2951, "uuid", "uuid", How::Text),
    (2970, 2949, "txid_snapshot", "txid_snapshot", How::Text),
    (3220, 3221, "pg_lsn", "pg_lsn", How::Text),
    (3361, 0, "pg_ndistinct", "pg_ndistinct", How::Text),
    (3402, 0, "pg_dependencies", "pg_dependencies", How::Text),
    (3614, 3643, "tsvector", "tsvector", How::Text),
    (3615, 3645, "tsquery", "tsquery", How::Text),
    (3642, 3644, "gtsvector", "gtsvector", How::Text),
    (3734, 3735, "regconfig", "regconfig", How::Text),
    (3769, 3770, "regdictionary", "regdictionary", How::Text),
    (3802, 3807, "jsonb", "jsonb", How::Jsonb),
    (3904, 3905, "int4range", "int4range", How::Range),
    (3906, 3907, "numrange", "numrange", How::Range),
    (3908, 3909, "tsrange", "tsrange", How::Range),
    (3910, 3911, "tstzrange", "tstzrange", How::Range),
    (3912, 3913, "daterange", "daterange", How::Range),
    (3926, 3927, "int8range", "int8range", How::Range),
    (4072, 4073, "jsonpath", "jsonpath", How::Text),
    (4089, 4090, "regnamespace", "regnamespace", How::Text),
    (4096, 4097, "regrole", "regrole", How::Text),
    (4191, 4192, "regcollation", "regcollation", How::Text),
    (4451, 6150, "int4multirange", "int4multirange", How::Multirange),
    (4532, 6151, "nummultirange", "nummultirange", How::Multirange),
    (4533, 6152, "tsmultirange", "tsmultirange", How::Multirange),
    (4534, 6153, "tstzmultirange", "tstzmultirange", How::Multirange),
    (4535, 6155, "datemultirange", "datemultirange", How::Multirange),
    (4536, 6157, "int8multirange", "int8multirange", How::Multirange),
    (4600, 0, "pg_brin_bloom_summary", "pg_brin_bloom_summary", How::Text),
    (4601, 0, "pg_brin_minmax_multi_summary", "pg_brin_minmax_multi_summary", How::Text),
    (5017, 0, "pg_mcv_list", "pg_mcv_list", How::Text),
    (5038, 5039, "pg_snapshot", "pg_snapshot", How::Text),
    (5069, 271, "xid8", "xid8", How::Text),
    (705, 0, "unknown", "unknown", How::Pseudo),
    (2249, 2287, "record", "record", How::Record),
    (2275, 1263, "cstring", "cstring", How::Pseudo),
    (2277, 0, "anyarray", "anyarray", How::Opaque),
    (2278, 0, "void", "void", How::Pseudo),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_know_their_elements() {
        let boxes = get(1020).unwrap();
        assert_eq!(boxes.name, "box[]");
        assert_eq!(boxes.element().map(|(element, mark)| (element.oid, mark)), Some((603, b';')));
        assert!(get(2287).unwrap().is_opaque());
        assert_eq!(get(1013).unwrap().name, "oidvector[]");
        assert!(get(16_384).is_none() && get(71).is_none());
    }
}
