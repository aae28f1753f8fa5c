//! Filters of lists, on every type of column.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn list(agent: &Agent, table: &str, filters: &[(&str, &str)]) -> Reply {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(filters);
    agent.get(&format!("/v1/{table}?{}", url.query().unwrap())).await
}

/// The rows that a filter finds in a table of ten (`id` 1 to 10, sorted by it).
async fn check(agent: &Agent, filter: &str, value: &str, expected: &[u64]) {
    let reply = list(agent, "kinds", &[(filter, value)]).await.status(200);
    assert_eq!(reply.column("id"), expected, "{filter}={value}\n{}", reply.story());
}

async fn refused(agent: &Agent, filter: &str, value: &str, words: &[&str]) {
    let mut reply = list(agent, "kinds", &[(filter, value)]).await.fault(400, "invalid_request");
    for word in words {
        reply = reply.says(word);
    }
}

async fn kinds() -> Agent {
    let agent = agent().await;
    agent
        .sql("create type mood as enum ('sad', 'ok');
              create table kinds (id int primary key, t text, c citext, n numeric, i bigint, f float8, b boolean, ts timestamptz, d date,
                                  u uuid, m mood, a text[], ai int[], ac citext[], v vector(2), j jsonb, js json, ip inet, r int4range,
                                  iv interval, x varchar(20), t_after text, \"Odd \"\"name\" text)")
        .await
        .status(200);
    agent
        .sql("insert into kinds select g, 't' || g, 'C' || g, g / 4.0, g * 10000000000, g / 4.0, g > 5, '2026-01-01T12:00:00Z'::timestamptz + g * interval '1 day',
                '2026-01-01'::date + g, ('11111111-1111-1111-1111-' || lpad(g::text, 12, '0'))::uuid, case when g > 5 then 'ok' else 'sad' end::mood,
                array['a' || g, 'all', 'x,y'], array[g, 0], array['A' || g], '[1,2]', jsonb_build_object('k', g, 's', 'v' || g, 'b', g > 5, 'n.o', 'dot', 'nil', null),
                json_build_object('k', g), '10.0.0.0'::inet + g, int4range(g, g + 2), g * interval '1 hour', 'x' || g, 'after' || g, 'odd' || g
              from generate_series(1, 9) g;
              insert into kinds (id) values (10)")
        .await
        .status(200);
    agent
}

#[tokio::test]
async fn equality_fits_every_scalar() {
    let agent = kinds().await;
    for (filter, value) in [
        ("id", "3"),
        ("t", "t3"),
        ("c", "c3"),
        ("n", "0.75"),
        ("n", "0.7500"),
        ("i", "30000000000"),
        ("f", "0.75"),
        ("ts", "2026-01-04T12:00:00Z"),
        ("ts", "2026-01-04T14:00:00+02:00"),
        ("ts", "2026-01-04 12:00"),
        ("d", "2026-01-04"),
        ("u", "11111111-1111-1111-1111-000000000003"),
        ("ip", "10.0.0.3"),
        ("r", "\"[3,5)\""),
        ("iv", "3 hours"),
        ("x", "x3"),
        ("j.k", "3"),
        ("j.s", "v3"),
        ("js.k", "3"),
        ("Odd \"name", "odd3"),
        ("t_after", "after3"),
    ] {
        check(&agent, filter, value, &[3]).await;
    }
    check(&agent, "b", "true", &[6, 7, 8, 9]).await;
    check(&agent, "b", "f", &[1, 2, 3, 4, 5]).await;
    check(&agent, "m", "sad", &[1, 2, 3, 4, 5]).await;
    check(&agent, "j.b", "true", &[6, 7, 8, 9]).await;
    check(&agent, "j.n.o", "dot", &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    check(&agent, "j.none", "x", &[]).await;
    check(&agent, "t", "T3", &[]).await;
}

#[tokio::test]
async fn several_values_are_any_of_them() {
    let agent = kinds().await;
    for (filter, value) in [
        ("id", "3,5"),
        ("t", "t3,t5"),
        ("t", "\"t3\",t5,zzz"),
        ("c", "C3,c5"),
        ("n", "0.75,1.25"),
        ("ts", "2026-01-04T12:00Z,2026-01-06T12:00Z"),
        ("u", "11111111-1111-1111-1111-000000000003,11111111-1111-1111-1111-000000000005"),
        ("j.s", "v3,v5"),
        ("ip", "10.0.0.3,10.0.0.5"),
    ] {
        check(&agent, filter, value, &[3, 5]).await;
    }
    check(&agent, "m", "sad,ok", &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    agent.sql("update kinds set t = 'x,y' where id = 1; update kinds set t = 'say \"hi\"' where id = 2; update kinds set t = '' where id = 4").await.status(200);
    check(&agent, "t", "\"x,y\"", &[1]).await;
    check(&agent, "t", "\"x,y\",t5", &[1, 5]).await;
    check(&agent, "t", "\"say \"\"hi\"\"\"", &[2]).await;
    check(&agent, "t", "", &[4]).await;
    check(&agent, "t", "t3,", &[3, 4]).await;
}

#[tokio::test]
async fn times_and_numbers_have_an_order() {
    let agent = kinds().await;
    check(&agent, "ts_after", "2026-01-08T12:00:00Z", &[8, 9]).await;
    check(&agent, "ts_before", "2026-01-03T12:00:00Z", &[1, 2]).await;
    check(&agent, "ts_gte", "2026-01-09T12:00:00Z", &[8, 9]).await;
    check(&agent, "ts_lte", "2026-01-02T12:00:00Z", &[1]).await;
    check(&agent, "d_after", "2026-01-08", &[8, 9]).await;
    check(&agent, "d_before", "2026-01-03", &[1, 2]).await;
    check(&agent, "n_gte", "2.0", &[8, 9]).await;
    check(&agent, "n_lte", "0.5", &[1, 2]).await;
    check(&agent, "n_after", "2.0", &[9]).await;
    check(&agent, "i_gte", "80000000000", &[8, 9]).await;
    check(&agent, "f_lte", "0.3", &[1]).await;
    check(&agent, "id_gte", "9", &[9, 10]).await;
    let reply = list(&agent, "kinds", &[("n_gte", "0.5"), ("n_lte", "1"), ("b", "false")]).await.status(200);
    assert_eq!(reply.column("id"), [2, 3, 4]);
}

#[tokio::test]
async fn texts_are_searched_ignoring_case_and_taking_wildcards_literally() {
    let agent = kinds().await;
    agent.sql("update kinds set t = case id when 1 then '100% sure' when 2 then 'a_b' when 3 then 'a\\b' when 4 then 'ÄRGER' else t end").await.status(200);
    check(&agent, "t_contains", "%", &[1]).await;
    check(&agent, "t_contains", "_", &[2]).await;
    check(&agent, "t_contains", "\\", &[3]).await;
    check(&agent, "t_contains", "ärger", &[4]).await;
    check(&agent, "t_contains", "T", &[5, 6, 7, 8, 9]).await;
    check(&agent, "t_starts", "A", &[2, 3]).await;
    check(&agent, "t_starts", "a_", &[2]).await;
    check(&agent, "t_starts", "b", &[]).await;
    check(&agent, "t_contains", "x,y", &[]).await;
    check(&agent, "t_contains", "", &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    check(&agent, "c_contains", "C7", &[7]).await;
    check(&agent, "c_starts", "c7", &[7]).await;
    check(&agent, "x_starts", "X7", &[7]).await;
}

#[tokio::test]
async fn presence_fits_every_column() {
    let agent = kinds().await;
    let columns = ["t", "c", "n", "i", "f", "b", "ts", "d", "u", "m", "a", "ai", "v", "j", "js", "ip", "r", "iv", "x"];
    for column in columns {
        check(&agent, &format!("{column}_present"), "false", &[10]).await;
        check(&agent, &format!("{column}_present"), "true", &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
        refused(&agent, &format!("{column}_present"), "maybe", &[column, "true or false"]).await;
    }
}

#[tokio::test]
async fn arrays_have_their_values() {
    let agent = kinds().await;
    check(&agent, "a_has", "a3", &[3]).await;
    check(&agent, "a_has", "all", &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    check(&agent, "a_has", "all,a3", &[3]).await;
    check(&agent, "a_has", "a3,a4", &[]).await;
    check(&agent, "a_has", "\"x,y\",a3", &[3]).await;
    check(&agent, "a_has", "NULL", &[]).await;
    check(&agent, "a_has", "{}\"\\", &[]).await;
    check(&agent, "ai_has", "3", &[3]).await;
    check(&agent, "ai_has", "3.0", &[3]).await;
    check(&agent, "ac_has", "a3", &[3]).await;
    refused(&agent, "ai_has", "x", &["ai_has", "integer"]).await;
}

#[tokio::test]
async fn a_value_that_is_none_of_the_type_names_column_and_type() {
    let agent = kinds().await;
    for (filter, value, type_name) in [
        ("id", "x", "integer"),
        ("id", "", "integer"),
        ("id", "1.5", "integer"),
        ("id", "1,x", "integer"),
        ("id", "99999999999999", "integer"),
        ("n", "x", "numeric"),
        ("n_gte", "", "numeric"),
        ("f_lte", "x", "double precision"),
        ("b", "maybe", "boolean"),
        ("ts", "x", "timestamp"),
        ("ts_after", "yesterdayish", "timestamp"),
        ("ts_after", "", "timestamp"),
        ("d_before", "2026-02-30", "date"),
        ("u", "x", "uuid"),
        ("m", "angry", "mood"),
        ("ip", "x", "inet"),
        ("r", "x", "range"),
        ("iv", "x", "interval"),
    ] {
        let column = filter.split('_').next().unwrap();
        refused(&agent, filter, value, &[column, type_name]).await;
    }
}

#[tokio::test]
async fn a_comparison_that_does_not_fit_says_what_does() {
    let agent = kinds().await;
    for (filter, hint) in [
        ("t_gte", "t=value"),
        ("c_before", "c=value"),
        ("b_after", "b=value"),
        ("n_contains", "n=value"),
        ("ts_starts", "ts=value"),
        ("t_has", "t=value"),
        ("a", "a_has=value"),
        ("a_contains", "a_has=value"),
        ("j", "j.key=value"),
        ("j_gte", "j.key=value"),
        ("v", "/v1/sql"),
    ] {
        refused(&agent, filter, "1", &[hint]).await;
    }
    // A column with exactly that name takes precedence. Its suffix then has no meaning.
    check(&agent, "t_after", "after3", &[3]).await;
    refused(&agent, "t.k", "1", &["t.k"]).await;
    refused(&agent, "_gte", "1", &["_gte"]).await;
    refused(&agent, "nope_gte", "1", &["nope_gte"]).await;
}

#[tokio::test]
async fn quotes_and_backslashes_in_keys_and_values_are_text() {
    let agent = agent().await;
    for key in ["it's", "a\\b", "\"q\"", "$1", "é", "a b", "--", "x'); select 1; --"] {
        let id = agent.post("/v1/contacts", json!({"custom": {key: "v'\\\""}})).await.status(201).id();
        let reply = list(&agent, "contacts", &[(&format!("custom.{key}"), "v'\\\"")]).await.status(200);
        assert_eq!(reply.column("id"), [json!(id)], "{key}");
    }
}

#[tokio::test]
async fn mails_are_found_by_whom_they_concern() {
    let agent = agent().await;
    let contact = async |email: &str| agent.post("/v1/contacts", json!({"email": email})).await.status(201).id();
    let (ann, bob, cat) =
        (contact("ann@a.example").await, contact("bob@b.example").await, contact("cat@c.example").await);
    let company = agent.post("/v1/companies", json!({"domain": "A.example"})).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D"})).await.status(201).id();
    for mail in [
        json!({"subject": "1", "from_addr": "Ann <ANN@a.example>", "to_addrs": ["bob@b.example"], "received_at": "2026-01-01T00:00:00Z"}),
        json!({"subject": "2", "from_addr": "bob@b.example", "to_addrs": ["Ann <ann@a.example>"], "cc_addrs": ["cat@c.example"],
               "received_at": "2026-01-02T00:00:00Z"}),
        json!({"subject": "3", "from_addr": "x@y.example", "deal_ids": [deal], "received_at": "2026-01-03T00:00:00Z"}),
    ] {
        agent.post("/v1/emails", mail).await.status(201);
    }
    let check = async |filter: &str, id: &str, expected: &[&str]| {
        let reply = list(&agent, "emails", &[(filter, id)]).await.status(200);
        assert_eq!(reply.column("subject"), expected, "{filter} {}", reply.story());
    };
    check("from_contact", &ann, &["1"]).await;
    check("to_contact", &ann, &["2"]).await;
    check("involves_contact", &ann, &["2", "1"]).await;
    check("involves_contact", &cat, &["2"]).await;
    check("to_contact", &cat, &[]).await;
    check("from_contact", &bob, &["2"]).await;
    check("involves_company", &company, &["2", "1"]).await;
    check("involves_deal", &deal, &["3"]).await;
    check("from_contact", "c_none", &[]).await;
    // A mail has one sender, so several are any of them. It can have several recipients.
    let several = async |filter: &str| {
        list(&agent, "emails", &[(filter, &ann), (filter, &bob)]).await.status(200).column("subject")
    };
    assert_eq!(several("from_contact").await, ["2", "1"]);
    assert_eq!(several("to_contact").await, Vec::<Value>::new());
    assert_eq!(several("involves_contact").await, ["2", "1"]);
    check("contact_ids_has", &ann, &["2", "1"]).await;
    let last = list(&agent, "emails", &[("involves_contact", &ann), ("limit", "1")]).await.status(200);
    assert_eq!(last.column("subject"), ["2"]);
    list(&agent, "contacts", &[("from_contact", &ann)]).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn the_feed_is_filtered_by_time_subject_actor_and_verb() {
    let agent = agent().await;
    let first = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let feed = list(&agent, "activity", &[("subject_type", "contact"), ("subject_id", &first)]).await.status(200);
    let (at, actor) = (feed.text("/data/0/occurred_at"), feed.text("/data/0/actor"));
    agent.delete(&format!("/v1/contacts/{first}")).await.status(200);
    let verbs = async |filters: &[(&str, &str)]| list(&agent, "activity", filters).await.status(200).column("verb");
    assert_eq!(verbs(&[("since", &at)]).await, ["deleted", "created"]);
    assert_eq!(verbs(&[("occurred_at_after", &at)]).await, ["deleted"]);
    assert_eq!(verbs(&[("verb", "deleted")]).await, ["deleted"]);
    assert_eq!(verbs(&[("actor", &actor), ("verb", "created,deleted")]).await, ["deleted", "created"]);
    assert_eq!(verbs(&[("since", "2999-01-01")]).await, Vec::<Value>::new());
    list(&agent, "activity", &[("since", "x")]).await.fault(400, "invalid_request").says("since");
}

#[tokio::test]
async fn a_value_out_of_range_is_refused_by_column_and_type() {
    let agent = agent().await;
    for (query, said) in [
        ("contacts?created_at_before=2026-02-30T00:00:00Z", ["created_at_before", "timestamp with time zone"]),
        ("contacts?created_at_after=x", ["created_at_after", "timestamp with time zone"]),
        ("deals?close_date=2026-13-01", ["close_date", "date"]),
        ("deals?close_date_gte=99999999-01-01", ["close_date_gte", "date"]),
        ("deals?amount_cents_gte=99999999999999999999", ["amount_cents_gte", "bigint"]),
        ("deals?amount_cents=1,x", ["amount_cents", "bigint"]),
        ("pipeline_stages?position_lte=1e99", ["position_lte", "integer"]),
    ] {
        let mut reply = agent.get(&format!("/v1/{query}")).await.fault(400, "invalid_request");
        for words in said {
            reply = reply.says(words);
        }
    }
}
