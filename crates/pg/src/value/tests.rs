//! Tests with literals, and the guarantee that every input produces JSON.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::types::{Class, Field, Fields, TypeCache};

const LIMIT: usize = 1 << 20;

fn builtin(oid: u32) -> Arc<Type> {
    TypeCache::default().get(oid).unwrap()
}

fn made(kind: Kind) -> Arc<Type> {
    let (name, typname) = ("made".into(), "made".into());
    Arc::new(Type::new(99_999, name, typname, Class::Base, kind))
}

fn composite(fields: &[(&str, Arc<Type>)]) -> Kind {
    let field = |(name, kind): &(&str, Arc<Type>)| Field { name: (*name).into(), kind: kind.clone() };
    Kind::Composite(Arc::new(Fields::new(fields.iter().map(field).collect())))
}

fn array(element: Arc<Type>, delimiter: u8) -> Kind {
    Kind::Array { element, delimiter }
}

/// One type of each kind, some inside others.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    // bool, int4, text, json, jsonb, timestamptz, record, int2vector, timestamp
    let simple = [16, 23, 25, 114, 3802, 1184, 2249, 22, 1114].map(builtin);
    let address = made(composite(&[
        ("street", builtin(25)),
        ("no", builtin(23)),
        ("tags", builtin(1009)),
        ("more", builtin(114)),
        ("at", builtin(1184)),
    ]));
    let mut kinds: Vec<Kind> = simple.iter().map(|each| each.kind.clone()).collect();
    kinds.extend([1007, 1009, 199, 1020, 2287, 1006].map(|oid| builtin(oid).kind.clone()));
    kinds.push(Kind::Hstore);
    kinds.push(address.kind.clone());
    kinds.push(array(address.clone(), b','));
    kinds.push(array(made(Kind::Hstore), b','));
    kinds.push(composite(&[("people", made(array(address, b','))), ("", made(Kind::Hstore))]));
    kinds.push(composite(&[]));
    kinds
});

fn rendered(kind: &Kind, text: &[u8]) -> (Fit, String) {
    let mut out = b"before".to_vec();
    let fit = render(kind, text, LIMIT, &mut out);
    (fit, String::from_utf8(out.split_off(6)).unwrap())
}

fn check(kind: &Kind, text: &str, expected: &str) {
    assert_eq!(rendered(kind, text.as_bytes()), (Fit::Whole, expected.into()), "{text}");
}

#[test]
fn numbers_lose_exponents_and_negative_zeros() {
    for (text, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1e+3", "1000"),
        ("1.5e-07", "0.00000015"),
        ("-12.5e1", "-125"),
        ("12.345e1", "123.45"),
        ("0.05e1", "0.5"),
        ("1.50", "1.50"),
        ("1e2147483647", "1e2147483647"),
        ("1e-16384", "1e-16384"),
        ("1e131072", "1e131072"),
        ("NaN", r#""NaN""#),
        ("-Infinity", r#""-Infinity""#),
        ("007", r#""007""#),
        ("1.", r#""1.""#),
        ("", r#""""#),
    ] {
        check(&Kind::Number, text, expected);
    }
    assert_eq!(rendered(&Kind::Number, b"1e131071").1.len(), 131_072);
}

#[test]
fn what_jsonb_would_refuse_in_json_stays_as_it_is() {
    for text in [r#""\u0000""#, r#""\ud800""#, r#"{"\udc00":1}"#, r#""\ud800\u0041""#, "[1e131072]"] {
        check(&Kind::Json, text, text);
    }
    check(&Kind::Json, r#"{"bb":"\u0000","a":1E1}"#, r#"{"a":10,"bb":"\u0000"}"#);
}

#[test]
fn malformed_text_becomes_a_string() {
    for (kind, text) in [
        (&Kind::Json, r#"{"a":1"#),
        (&Kind::Json, "[1,]"),
        (&Kind::Json, "nul"),
        (&Kind::Json, "{1:2}"),
        (&Kind::Json, "1 2"),
        (&Kind::Bool, "true"),
        (&Kind::TimestampTz, "02.01.2026 03:04:05 CET"),
        (&Kind::Hstore, r#""a"=>1"#),
        (&builtin(1007).kind, "{1,{2}"),
        (&builtin(1007).kind, "{{{{{{{1}}}}}}}"),
        (&builtin(1007).kind, "{1,}"),
        (&builtin(1007).kind, "{1}}"),
        (&builtin(1007).kind, "[0:1]"),
        (&builtin(1009).kind, r#"{"a\"#),
        (&Kind::Record, "(a"),
        (&Kind::Record, r#"("a)"#),
    ] {
        let mut expected = Vec::new();
        quote(text.as_bytes(), &mut expected);
        check(kind, text, std::str::from_utf8(&expected).unwrap());
    }
}

#[test]
fn a_composite_that_was_altered_is_said_to_be_stale() {
    let kind = composite(&[("a", builtin(23)), ("b", builtin(23))]);
    assert_eq!(rendered(&kind, b"(1,2,x)"), (Fit::StaleType, r#"{"a":1,"b":2,"f3":"x"}"#.into()));
    assert_eq!(rendered(&kind, b"(1)"), (Fit::StaleType, r#"{"a":1}"#.into()));
}

#[test]
fn little_text_does_not_become_very_much_json() {
    let floats = format!("{{{}}}", vec!["1e300"; 100_000].join(","));
    let numbers = format!("[{}]", vec!["1e131000"; 100_000].join(","));
    for (kind, text) in [(&builtin(1022).kind, floats), (&Kind::Json, numbers)] {
        let mut out = Vec::new();
        assert_eq!(render(kind, text.as_bytes(), LIMIT, &mut out), Fit::TooLarge);
        assert!(out.len() <= LIMIT + 8, "{}", out.len());
    }
}

#[test]
fn depth_and_disorder_cost_linear_time() {
    let depth = 200_000;
    let objects = r#"{"bb":0,"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    let arrays = "[".repeat(depth) + "-0" + &"]".repeat(depth);
    let keys: Vec<String> = (0..depth).rev().map(|key| format!("\"{key}\":{{}}")).collect();
    let wide = format!("{{{}}}", keys.join(","));
    for text in [objects, arrays, wide] {
        let mut out = Vec::new();
        assert_eq!(render(&Kind::Json, text.as_bytes(), usize::MAX, &mut out), Fit::Whole);
        assert_eq!(out.len(), text.len() - usize::from(text.contains("-0")));
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    assert_eq!(rendered(&Kind::Text, b"a\xffb").1, "\"a\u{fffd}b\"");
    assert_eq!(rendered(&Kind::Json, b"\"\xff\"").1, "\"\\\"\u{fffd}\\\"\"");
}

/// Real literals that the mutations start from.
const SEEDS: &[&str] = &[
    "[2:3][1:1]={{1},{NULL}}",
    r#"{"a \"b\" \\",NULL,x,"{}"}"#,
    r#"("1 ""Main"" St, \\x",,"{""a"",b}","{""k"":1}","2026-01-02 03:04:05+00")"#,
    r#"{"(a,1,,,)","(\"b c\",2,\"{x,\"\"y\"\"}\",,\"2026-01-02 03:04:05+00\")"}"#,
    r#"{"b": [1e5, -0.0, {"d": 1, "c": "\u00e9\ud83d\ude00"}], "a": {}, "a": null}"#,
    r#"{"{\"b\":1,\"a\":[1E2]}"}"#,
    r#""a"=>"1", "b \"q\""=>NULL"#,
    "2026-01-02 03:04:05.678+05:30 BC",
    "((0,0),(1,1));((2,2),(3,3))",
    "-12.500e-10",
    "1 2 3",
    "(,)",
    "t",
];

fn is_json(kind: &Kind, text: &[u8]) -> Result<(), TestCaseError> {
    // Text of type jsonb is assumed to be JSON.
    if matches!(kind, Kind::Jsonb) {
        return Ok(());
    }
    let (_, json) = rendered(kind, text);
    let read = serde_json::from_str::<&serde_json::value::RawValue>(&json);
    prop_assert!(read.is_ok(), "{:?} of {:?}: {}", kind, String::from_utf8_lossy(text), json);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_json(text in prop::collection::vec(any::<u8>(), 0..40)) {
        for kind in KINDS.iter() {
            is_json(kind, &text)?;
        }
    }

    #[test]
    fn any_punctuation_gives_json(text in r#"[\[\]{}()",;:=\\> \-+.0-2aeEnu]{0,24}"#) {
        for kind in KINDS.iter() {
            is_json(kind, text.as_bytes())?;
        }
    }

    #[test]
    fn mutated_literals_give_json(
        seed in prop::sample::select(SEEDS),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4),
    ) {
        let mut text = seed.as_bytes().to_vec();
        for (place, byte, what) in edits {
            let at = place.index(text.len() + 1);
            match what {
                0 if at < text.len() => text[at] = byte,
                1 if at < text.len() => drop(text.remove(at)),
                2 => text.truncate(at),
                _ => text.insert(at, b"\"\\{}(),[]"[usize::from(byte) % 9]),
            }
        }
        for kind in KINDS.iter() {
            is_json(kind, &text)?;
        }
    }

    #[test]
    fn what_was_quoted_reads_back(text in any::<String>()) {
        let (_, json) = rendered(&Kind::Text, text.as_bytes());
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.as_str());
        let (mut element, mut field) = ("{".to_owned(), "(".to_owned());
        crate::params::quote_array_element(&mut element, &text);
        crate::params::quote_record_field(&mut field, &text);
        let (_, json) = rendered(&builtin(1009).kind, (element + "}").as_bytes());
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), vec![text.clone()]);
        let (_, json) = rendered(&Kind::Record, (field + ")").as_bytes());
        let record: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(record["f1"].as_str(), Some(text.as_str()));
    }
}
