//! Snapshots of the same requests in each dialect, and the asks that they are read as.

use std::fmt::Write as _;

use crm::dialect::{DIALECTS, Dialect};
use crm::model::call::{Call, Method, parse_path, parse_query};
use serde_json::{Value, json};

use crate::{check, ids};

/// Returns the ask that a dialect reads, or the fault.
fn read(dialect: &Dialect, request: &str, body: &Value) -> String {
    let (method, address) = request.split_once(' ').expect("a method and an address");
    let address = ids(address);
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let body = if body.is_null() { Vec::new() } else { ids(&body.to_string()).into_bytes() };
    let call = Call {
        method: Method::parse(method).expect("a method"),
        path: parse_path(path).expect("a path"),
        query: parse_query(query).expect("a query"),
        content_type: Some("application/json"),
        body: &body,
    };
    match dialect.read_call(&call) {
        Ok(ask) => format!("{ask:#?}"),
        Err(fault) => format!("{} {}: {}", fault.status(), fault.code(), fault.message()),
    }
}

/// A snapshot of pairs of requests: the first in agentCRM's dialect, the second in Relm's.
#[track_caller]
fn snapshot(name: &str, pairs: &[[(&str, Value); 2]]) {
    let mut text = String::new();
    for pair in pairs {
        let asks: Vec<String> =
            pair.iter().zip(DIALECTS).map(|((request, body), it)| read(it, request, body)).collect();
        for (at, (request, body)) in pair.iter().enumerate() {
            let body = if body.is_null() { String::new() } else { format!(" {body}") };
            let _ = writeln!(text, "== {}: {request}{body}", DIALECTS[at].name);
            // If both asks are equal, the ask is written only once, after the second request.
            if at == 1 || asks[0] != asks[1] {
                let _ = writeln!(text, "{}\n", asks[at]);
            }
        }
    }
    check(name, &text);
}

/// A request that is the same in both dialects.
fn same(request: &str, body: Value) -> [(&str, Value); 2] {
    [(request, body.clone()), (request, body)]
}

#[test]
fn requests_for_records() {
    snapshot(
        "requests_records",
        &[
            [
                ("POST deals", json!({"name": "T", "amount_cents": 5, "contact_id": "c_~", "custom": {"a": 1}})),
                (
                    "POST deals",
                    json!({"title": "T", "value_cents": 5, "primary_contact_id": "con_~", "metadata": {"a": 1}}),
                ),
            ],
            [
                ("PATCH contacts/con_~", json!({"title": "CTO", "custom": null})),
                ("PATCH contacts/c_~", json!({"title": "CTO", "metadata": null})),
            ],
            [("GET deals/d_~", Value::Null), ("GET deals/deal_~?expand=primary_contact,company", Value::Null)],
            same("GET companies/cmp_~?include_deleted=true", Value::Null),
            same("DELETE companies/co_~", Value::Null),
            same("DELETE companies/co_~?hard=true", Value::Null),
            same("POST companies/co_~/restore", Value::Null),
            [
                (
                    "POST deals/d_~/merge",
                    json!({"from": ["deal_~"], "prefer": {"amount_cents": "d_~", "custom.plan": "d_~"}}),
                ),
                (
                    "POST deals/deal_~/merge",
                    json!({"from": ["d_~"], "prefer": {"value_cents": "d_~", "metadata.plan": "d_~"}}),
                ),
            ],
            same("POST contacts/c_~/merge", json!({"from": []})),
            same("POST contacts/c_~/merge", json!({"prefer": {}})),
            [
                (
                    "POST deals/assert",
                    json!({"match": ["name", "custom.ext"], "data": {"name": "T", "custom": {"ext": 7}}}),
                ),
                (
                    "POST deals/assert",
                    json!({"match": ["title", "metadata.ext"], "data": {"title": "T", "metadata": {"ext": 7}}}),
                ),
            ],
            same("POST contacts/assert", json!({"match": ["email"], "data": {}})),
            same("GET contacts/search?q=ada&limit=5", Value::Null),
            same("GET search?q=ada", Value::Null),
            same("GET projects/7", Value::Null),
            same("POST projects", json!({"title": "own", "custom": {}})),
        ],
    );
}

#[test]
fn requests_for_lists() {
    snapshot(
        "requests_lists",
        &[
            same("GET contacts", Value::Null),
            same("GET contacts?limit=999&cursor=x", Value::Null),
            [
                ("GET deals?name=a&stage=a,\"b,c\"", Value::Null),
                ("GET deals?title=a&filter[stage][in]=a,\"b,c\"", Value::Null),
            ],
            [
                ("GET deals?amount_cents_gte=5&close_date_after=2026-01-01", Value::Null),
                ("GET deals?filter[value_cents][gte]=5&filter[close_date][gt]=2026-01-01", Value::Null),
            ],
            [("GET deals?name_contains=50%25", Value::Null), ("GET deals?filter[title][ilike]=50%25", Value::Null)],
            [("GET deals?contact_id=con_~", Value::Null), ("GET deals?primary_contact_id=c_~", Value::Null)],
            [("GET deals?custom.plan=pro", Value::Null), ("GET deals?filter[metadata->>plan]=pro", Value::Null)],
            [("GET emails?deal_ids_has=d_~", Value::Null), ("GET emails?filter[deal_ids][has]=deal_~", Value::Null)],
            same("GET emails?involves_company=co_~", Value::Null),
            same("GET lists/l_~/rows?limit=10", Value::Null),
        ],
    );
}

#[test]
fn requests_for_everything_else() {
    snapshot(
        "requests_others",
        &[
            same("POST sql", json!({"sql": "select $1", "params": ["c_~", 1.0, null]})),
            [
                ("POST contacts/batch", json!({"contacts": [{"email": "a@x.com", "custom": {}}, 7]})),
                (
                    "POST contacts/batch",
                    json!({"contacts": [{"email": "a@x.com", "metadata": {}}, 7], "dedup_on": ["phone"]}),
                ),
            ],
            same(
                "POST batch",
                json!({"operations": [
                    {"method": "POST", "path": "/v1/companies", "body": {"name": "A"}, "ref": "co"},
                    {"method": "GET", "path": "/v1/companies/$co.id?include_deleted=true"},
                ]}),
            ),
            same("POST lists/l_~/members", json!({"member_ids": ["c_~", "con_~"]})),
            same("DELETE lists/l_~/members/con_~", Value::Null),
            same("POST associations", json!({"from_id": "con_~", "to_id": "cmp_~", "label": "advises"})),
            same("GET pipelines/sales/stages", Value::Null),
            [
                ("POST pipelines/sales/stages", json!({"key": "k", "custom": {}})),
                ("POST pipeline/stages", json!({"key": "k", "metadata": {}})),
            ],
            same("PATCH pipelines/sales/stages/lead", json!({"label": "Lead"})),
            same("POST schema/fields", json!({"object_type": "contact", "key": "tier", "type": "text"})),
            same("GET tables", Value::Null),
            same("GET schema", Value::Null),
        ],
    );
}

#[test]
fn requests_that_are_refused() {
    snapshot(
        "requests_refused",
        &[
            same("PUT contacts", Value::Null),
            same("DELETE contacts", Value::Null),
            same("GET nothing/at/all/here", Value::Null),
            same("GET contacts?limit=0", Value::Null),
            same("GET tables?x=1", Value::Null),
            same("GET contacts?include_deleted=perhaps", Value::Null),
            same("DELETE contacts/c_~", json!({"a": 1})),
            same("POST sql", json!({"sql": 1})),
            same("POST batch", json!({"operations": []})),
            same("POST batch", json!({"operations": [{"method": "GET", "path": "/v1/contacts/$a.id"}]})),
            same("POST contacts/c_~/restore", json!({"a": 1})),
        ],
    );
}
