//! Relm's filters over HTTP: every operator, keys of `metadata`, and what is refused.

use serde_json::{Value, json};

use crate::support::{Agent, relm};

async fn titles(relm: &Agent, query: &str) -> Vec<String> {
    let page = relm.get(&format!("/v1/deals?{query}")).await.status(200);
    let mut titles: Vec<String> =
        page.column("title").iter().map(|it| it.as_str().unwrap_or("null").to_owned()).collect();
    titles.sort();
    titles
}

async fn with_deals() -> Agent {
    let relm = relm().await;
    for body in [
        json!({"title": "A", "value_cents": 100, "currency": "EUR", "close_date": "2026-01-01", "metadata": {"plan": "pro", "seats": 9}}),
        json!({"title": "B", "value_cents": 200, "currency": "USD", "close_date": "2026-02-01", "metadata": {"plan": "free", "seats": 10}}),
        json!({"title": "C", "value_cents": 300, "currency": null, "stage": "won", "metadata": {"plan": "pro, plus", "seats": 100}}),
        json!({"title": "50%, \"off\"", "value_cents": null, "currency": null}),
    ] {
        relm.post("/v1/deals", body).await.status(201);
    }
    relm
}

#[tokio::test]
async fn every_operator_compares() {
    let relm = with_deals().await;
    let special = "50%, \"off\"";
    for (query, expected) in [
        ("filter[title]=A", vec!["A"]),
        ("filter[title][eq]=A", vec!["A"]),
        ("title=A", vec!["A"]),
        ("filter[value_cents][gt]=200", vec!["C"]),
        ("filter[value_cents][gte]=200", vec!["B", "C"]),
        ("filter[value_cents][lt]=200", vec!["A"]),
        ("filter[value_cents][lte]=200", vec!["A", "B"]),
        ("filter[value_cents][gt]=100&filter[value_cents][lt]=300", vec!["B"]),
        ("filter[close_date][gte]=2026-01-15", vec!["B"]),
        ("filter[currency][neq]=EUR", vec![special, "B", "C"]),
        ("filter[currency][in]=EUR,USD", vec!["A", "B"]),
        ("filter[title][in]=A,%2250%25,%20%22%22off%22%22%22", vec![special, "A"]),
        ("filter[title][ilike]=a", vec!["A"]),
        ("filter[title][ilike]=OFF", vec![special]),
        ("filter[title][ilike]=%25", vec![special, "A", "B", "C"]),
        ("filter[title][ilike]=%25OFF%25", vec![special]),
        ("filter[title][ilike]=50%25", vec![special]),
        ("filter[title][ilike]=off%25", vec![]),
        ("filter[title][ilike]=50%5C%25%25", vec![special]),
        ("filter[title][ilike]=__%25", vec![special]),
        ("filter[title][ilike]=0%5C%25", vec![]),
        ("filter[title][ilike]=", vec![special, "A", "B", "C"]),
        ("filter[metadata->>plan][ilike]=pro%25", vec!["A", "C"]),
        ("filter[title][ilike]=_", vec![]),
        ("filter[currency][present]=false", vec![special, "C"]),
        ("filter[stage]=won&filter[value_cents][gte]=300", vec!["C"]),
        ("filter%5Bstage%5D=won", vec!["C"]),
        ("filter[created_at][gt]=2020-01-01T00:00:00Z&stage=won", vec!["C"]),
        ("filter[metadata->>plan]=pro", vec!["A"]),
        ("filter[metadata->>plan][neq]=pro", vec![special, "B", "C"]),
        ("filter[metadata->>plan][in]=free,%22pro,%20plus%22", vec!["B", "C"]),
        ("filter[metadata->>plan][ilike]=PLUS", vec!["C"]),
        ("metadata->>plan=free", vec!["B"]),
    ] {
        assert_eq!(titles(&relm, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_key_with_a_definition_is_compared_as_its_type() {
    let relm = with_deals().await;
    relm.get("/v1/deals?filter[metadata->>seats][gte]=10").await.fault(400, "invalid_request");
    let field = json!({"object_type": "deal", "key": "seats", "type": "number"});
    relm.post("/v1/schema/fields", field).await.status(201);
    assert_eq!(titles(&relm, "filter[metadata->>seats][gte]=10").await, ["B", "C"]);
    assert_eq!(titles(&relm, "filter[metadata->>seats][lt]=10").await, ["A"]);
    assert_eq!(titles(&relm, "filter[metadata->>seats]=10.0").await, ["B"]);
    relm.get("/v1/deals?filter[metadata->>seats]=many").await.fault(400, "invalid_request").says("seats");
}

#[tokio::test]
async fn records_are_found_by_those_they_belong_to() {
    let relm = relm().await;
    let contact = relm.post("/v1/contacts", json!({"email": "ada@example.com"})).await.status(201).text("/id");
    relm.post("/v1/deals", json!({"title": "T", "primary_contact_id": contact})).await.status(201);
    relm.post("/v1/deals", json!({"title": "U"})).await.status(201);
    assert_eq!(titles(&relm, &format!("primary_contact_id={contact}")).await, ["T"]);
    let stored = contact.replacen("con_", "c_", 1);
    assert_eq!(titles(&relm, &format!("filter[primary_contact_id]={stored}")).await, ["T"]);
    assert_eq!(titles(&relm, &format!("filter[primary_contact_id][neq]={stored}")).await, ["U"]);
    assert_eq!(relm.get("/v1/contacts?email=ADA@example.com").await.status(200).column("id"), [json!(contact)]);
    assert_eq!(relm.get("/v1/contacts?id=none").await.status(200).data(), json!([]));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_relms_words() {
    let relm = with_deals().await;
    for (query, part) in [
        ("filter[valu_cents]=1", "Did you mean \"value_cents\"?"),
        ("filter[amount_cents][gte]=1", "Did you mean \"value_cents\"?"),
        ("name=A", "Did you mean \"title\"?"),
        ("titel=A", "Did you mean \"title\"?"),
        ("filter[title][like]=A", "Did you mean \"ilike\"?"),
        ("filter[title][regex]=A", "The operators are eq, neq, gt, gte, lt, lte, ilike, in"),
        ("filter[title=A", "filter[field][op]=value"),
        ("filter[value_cents]=many", "filter[value_cents]: invalid input syntax for type bigint: \"many\""),
        ("filter[value_cents][gte]=", "filter[value_cents][gte]"),
        ("filter[close_date]=tomorrow-ish", "type date"),
        ("filter[title][gte]=A", "\"title\", which is text"),
        ("filter[title][gte]=A", "use filter[title]=value."),
        ("filter[value_cents][ilike]=1", "\"value_cents\", which is bigint"),
        (
            "filter[value_cents][gte]=99999999999999999999",
            "value \"99999999999999999999\" is out of range for type bigint",
        ),
        (
            "filter[close_date][gt]=2026-02-30",
            "filter[close_date][gt]: date/time field value out of range: \"2026-02-30\"; it is compared as date.",
        ),
        ("filter[value_cents]=", "invalid input syntax for type bigint"),
        ("filter[title][ilike]=%25%5C", "escape character"),
        ("filter[metadata]=1", "Use filter[metadata->>key]=value."),
        ("filter[custom->>plan]=pro", "Did you mean \"metadata\"?"),
        ("value_cents_gte=1", "Unknown parameter \"value_cents_gte\""),
        ("include_deleted=perhaps", "true or false"),
    ] {
        relm.get(&format!("/v1/deals?{query}")).await.fault(400, "invalid_request").says(part);
    }
    relm.sql("alter table deals add column score int").await.status(200);
    relm.get("/v1/deals?filter[scor][gte]=1").await.fault(400, "invalid_request").says("Did you mean \"score\"?");
    relm.get("/v1/emails?filter[to_addrs]=a@b.example")
        .await
        .fault(400, "invalid_request")
        .says("Use filter[to_addrs][has]=value.");
}

#[tokio::test]
async fn mail_is_found_by_whom_it_concerns() {
    let relm = relm().await;
    let contact = relm.post("/v1/contacts", json!({"email": "ada@example.com"})).await.status(201).text("/id");
    let body = json!({"from_addr": "ada@example.com", "to_addrs": ["me@example.org"], "subject": "Hi"});
    let mail = relm.post("/v1/emails", body).await.status(201);
    assert_eq!((mail.at("/object"), mail.at("/contact_ids")), (json!("email"), json!([contact])));
    for query in [
        format!("from_contact={contact}"),
        format!("filter[involves_contact]={contact}"),
        format!("filter[contact_ids][has]={contact}"),
        "filter[to_addrs][has]=ME@example.org".into(),
    ] {
        assert_eq!(
            relm.get(&format!("/v1/emails?{query}")).await.status(200).column("id"),
            [mail.at("/id")],
            "{query}"
        );
    }
    assert_eq!(
        relm.get(&format!("/v1/emails?to_contact={contact}")).await.status(200).data(),
        Value::Array(Vec::new())
    );
}
