//! Compares the OpenAPI document with the routes, and checks that it is consistent.

use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::dialect::{DIALECTS, Dialect};

/// All methods and paths of a dialect's document, without those that no dialect reads: sign-up, the paths for people, a provider's webhook.
fn operations(dialect: &Dialect) -> Vec<(Vec<String>, String, Value)> {
    let document = document(dialect.reference, "https://kith.example");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let segments: Vec<String> = path.strip_prefix("/v1/").unwrap().split('/').map(str::to_owned).collect();
        for (method, operation) in item.as_object().unwrap() {
            let is_read =
                operation["operationId"] != "createWorkspace" && operation["operationId"] != "receiveFromResend";
            if is_read && operation["tags"][0] != "people" {
                found.push((segments.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    found
}

#[test]
fn every_documented_path_is_routed() {
    for dialect in DIALECTS {
        for (path, method, _) in operations(dialect) {
            let sample: Vec<&str> =
                path.iter().map(|it| if it == "{table}" { "projects" } else { it.trim_matches(['{', '}']) }).collect();
            let routed = (dialect.methods)(&sample);
            assert!(routed.iter().any(|it| it.name() == method), "{method} {path:?} leads nowhere");
        }
    }
}

#[test]
fn every_routed_path_is_documented() {
    let words = "sql tables schema fields contacts batch pipeline pipelines stages lists projects search restore rows members webhooks test rotate-secret deliveries replay replay-failed events automations logs runs x";
    for dialect in DIALECTS {
        let documented = operations(dialect);
        let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
        for _ in 0..4 {
            let longer = paths.iter().flat_map(|path| words.split(' ').map(|word| [path.as_slice(), &[word]].concat()));
            paths.extend(longer.collect::<HashSet<_>>());
        }
        for path in paths.iter().filter(|path| !path.is_empty()) {
            for method in (dialect.methods)(path) {
                let fits = |template: &[String]| {
                    template.len() == path.len() && template.iter().zip(path).all(|(a, b)| a.starts_with('{') || a == b)
                };
                let is_there = documented.iter().any(|(path, name, _)| name == method.name() && fits(path));
                assert!(is_there, "{} {path:?} is not documented", method.name());
            }
        }
    }
}

fn walk<'a>(value: &'a Value, look: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            look(key, value);
            walk(value, look);
        }),
        Value::Array(items) => items.iter().for_each(|value| walk(value, look)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_every_component_is_used() {
    for dialect in DIALECTS {
        let document = document(dialect.reference, "https://kith.example");
        let mut used = HashSet::new();
        walk(&document, &mut |key, value| {
            if let ("$ref", Some(pointer)) = (key, value.as_str()) {
                let pointer = pointer.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(pointer).is_some(), "{pointer}");
                used.insert(pointer.to_owned());
            }
            // A description may name a schema in words.
            if let ("description", Some(text)) = (key, value.as_str()) {
                used.extend(text.split('`').skip(1).step_by(2).map(|name| format!("/components/schemas/{name}")));
            }
        });
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind}/{name} is not used");
            }
        }
    }
}

#[test]
fn schemas_have_names_of_their_own() {
    for dialect in DIALECTS {
        let own = (dialect.reference.wire.schemas)();
        for (at, (name, _)) in own.iter().enumerate() {
            assert!(ENTITIES.iter().all(|entity| *name != pascal(entity.name)), "{name}");
            assert!(own[at + 1..].iter().all(|(other, _)| other != name), "{name}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_all_their_parameters() {
    for dialect in DIALECTS {
        let mut ids = HashSet::new();
        for (path, method, operation) in operations(dialect) {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path:?}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let names: Vec<&str> = parameters.iter().filter_map(|it| it["name"].as_str()).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{method} {path:?}: {names:?}");
            for name in path.iter().filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')) {
                assert!(names.contains(&name), "{method} {path:?} has no parameter {name}");
            }
            for word in ["summary", "description", "tags"] {
                assert!(!operation[word].is_null(), "{method} {path:?} has no {word}");
            }
        }
    }
}

#[test]
fn examples_are_json() {
    for entity in ENTITIES {
        for field in entity.fields.iter().filter(|field| !field.example.is_empty()) {
            let example = serde_json::from_str::<Value>(field.example);
            assert!(example.is_ok(), "{}.{}: {}", entity.table, field.name, field.example);
        }
    }
}
