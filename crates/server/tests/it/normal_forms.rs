//! How the database normalizes values: addresses and domains, references, stages and custom fields, over every interface.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both, psql};

async fn stored(agent: &Agent, table: &str, field: &str, value: &str) -> Value {
    let made = agent.post(&format!("/v1/{table}"), json!({field: value})).await.status(201);
    let stored = made.data()[field].clone();
    agent.delete(&format!("/v1/{table}/{}?hard=true", made.id())).await.status(200);
    stored
}

#[tokio::test]
async fn an_address_loses_what_surrounds_it() {
    let agent = agent().await;
    for (sent, expected) in [
        ("ada@acme.example", json!("ada@acme.example")),
        ("  Ada@Acme.example\t", json!("Ada@Acme.example")),
        ("\u{200b}ada@acme.example\u{feff}", json!("ada@acme.example")),
        ("\u{a0}\u{2060}ada@acme.example\u{3000}\u{200d}", json!("ada@acme.example")),
        // What is within an address belongs to it.
        ("a\u{200b}da@acme.example", json!("a\u{200b}da@acme.example")),
        ("\"a da\"@acme.example\r\n", json!("\"a da\"@acme.example")),
        ("", Value::Null),
        (" \u{200b} ", Value::Null),
        ("\u{61c} ada@acme.example\u{61c}\u{206f}", json!("ada@acme.example")),
        (
            "\u{34f}\u{17b4}\u{180f}ada@acme.example\u{3164}\u{fe0f}\u{fffb}\u{1d173}\u{e007f}",
            json!("ada@acme.example"),
        ),
        ("\u{61c}", Value::Null),
    ] {
        assert_eq!(stored(&agent, "contacts", "email", sent).await, expected, "{sent:?}");
        assert_eq!(stored(&agent, "emails", "from_addr", sent).await, expected, "{sent:?}");
    }
    // The normalized value is the one that is unique, searched and shown in the feed.
    let first = agent.post("/v1/contacts", json!({"email": "ada@acme.example"})).await.status(201).id();
    let taken = agent.post("/v1/contacts", json!({"email": "\u{200b}ADA@acme.example "})).await;
    assert_eq!(taken.fault(409, "conflict").text("/existing_id"), first);
    let found = agent.get("/v1/contacts?email=ada@acme.example%E2%80%8B").await.status(200);
    assert_eq!(found.column("id"), [json!(first)]);
    agent.sql("insert into contacts (email) values (E' bob@acme.example\\u200b')").await.status(200);
    let bob = agent.sql("select email as v from contacts where email like 'bob%'").await.status(200);
    assert_eq!(bob.v(), "bob@acme.example");
    let changed = agent.patch(&format!("/v1/contacts/{first}"), json!({"email": " \u{feff}"})).await.status(200);
    assert_eq!(changed.data()["email"], Value::Null);
}

/// A batch compares addresses in Kith before PostgreSQL trims them.
#[tokio::test]
async fn a_batch_knows_every_character_that_an_address_loses() {
    let agent = agent().await;
    let sql = "select chr(n) as c from generate_series(1, 920000) n
                where (n < 55296 or n > 57343) and (n < 131072 or n > 917503) and kith.trimmed(chr(n)) is null";
    let blanks = agent.sql(sql).await.status(200).at("/data/rows");
    let blanks: Vec<&str> = blanks.as_array().unwrap().iter().map(|row| row["c"].as_str().unwrap()).collect();
    assert!(blanks.len() > 90, "{} characters", blanks.len());
    let rows: Vec<Value> = blanks.iter().map(|blank| json!({"email": format!("{blank}a@b.example{blank}")})).collect();
    let outcomes = agent.post("/v1/contacts/batch", json!({"contacts": rows})).await.status(200);
    assert!(!outcomes.column("status").contains(&json!("error")), "{}", outcomes.story());
    assert_eq!(agent.get("/v1/contacts").await.column("email"), ["a@b.example"]);
}

#[tokio::test]
async fn a_domain_is_stored_bare_and_in_unicode() {
    let agent = agent().await;
    for (sent, expected) in [
        ("acme.example", json!("acme.example")),
        ("HTTPS://www.Acme.example:8443/path?q#f", json!("acme.example")),
        ("http://acme.example", json!("acme.example")),
        ("//acme.example/", json!("acme.example")),
        ("www.acme.example.", json!("acme.example")),
        ("\u{200b}acme.example \u{feff}", json!("acme.example")),
        ("www.com", json!("www.com")),
        ("xn--bcher-kva.example", json!("bücher.example")),
        ("BÜCHER.example", json!("bücher.example")),
        ("https://www.XN--BCHER-KVA.example/", json!("bücher.example")),
        ("xn--fiqs8s.xn--fiqs8s", json!("中国.中国")),
        ("xn--80a1acny.xn--p1ai", json!("почта.рф")),
        ("中国。中国", json!("中国.中国")),
        ("xn--zz", json!("xn--zz")),
        ("xn--999999999999999999999999999999999999", json!("xn--999999999999999999999999999999999999")),
        ("xn--", json!("xn--")),
        ("", Value::Null),
        ("https://", Value::Null),
        (" . ", Value::Null),
        // Schemes without slashes, with one, with too many, twice, and as a word before a port.
        ("http:acme.example", json!("acme.example")),
        ("http:/acme.example", json!("acme.example")),
        ("http:///acme.example", json!("acme.example")),
        ("http//acme.example", json!("acme.example")),
        ("https//:acme.example", json!("acme.example")),
        ("http://https://acme.example", json!("acme.example")),
        ("https:\\\\www.acme.example\\x", json!("acme.example")),
        ("ftp://acme.example", json!("acme.example")),
        ("/acme.example", json!("acme.example")),
        ("http:80", json!("http")),
        ("http:", Value::Null),
        // www. alone leaves nothing. Without the point it is a name.
        ("www.", Value::Null),
        ("http://www./", Value::Null),
        ("www", json!("www")),
        ("www.www.com", json!("www.com")),
        ("www.www.acme.example", json!("acme.example")),
        ("www2.acme.example", json!("www2.acme.example")),
        // Users, ports, paths and final dots, together and in any order.
        ("https://user@acme.example:80/p?q#f", json!("acme.example")),
        ("https://user:secret@acme.example/", json!("acme.example")),
        ("acme.example?utm=1", json!("acme.example")),
        ("acme.example#top", json!("acme.example")),
        ("acme.example:443.", json!("acme.example")),
        ("acme.example.:443", json!("acme.example")),
        ("acme.example..", json!("acme.example")),
        (".acme.example", json!("acme.example")),
        ("acme.example:", json!("acme.example")),
        (":80", Value::Null),
        ("localhost:3000", json!("localhost")),
        ("dead.beef:80", json!("dead.beef")),
        // A mail address is its domain.
        ("ann@acme.example", json!("acme.example")),
        ("Ann <ann@Acme.example>", json!("acme.example")),
        ("mailto:ann@acme.example", json!("acme.example")),
        ("ann@", Value::Null),
        // IP addresses.
        ("192.168.0.1:8080", json!("192.168.0.1")),
        ("http://[2001:DB8:0:0::1]:80/", json!("2001:db8::1")),
        ("2001:db8::1", json!("2001:db8::1")),
        ("[IPv6:2001:db8::1]", json!("2001:db8::1")),
        // Emoji, joiners, and characters that are ignored or have another width.
        ("xn--ls8h.la", json!("💩.la")),
        ("❤\u{fe0f}.ws", json!("❤.ws")),
        ("ac\u{200b}me\u{ad}.example", json!("acme.example")),
        ("ｈｔｔｐｓ：／／ｗｗｗ．ａｃｍｅ．ｅｘａｍｐｌｅ／", json!("acme.example")),
        ("xn--mgba3gch31f060k.example", json!("نامه\u{200c}ای.example")),
        ("xn--strae-oqa.example", json!("straße.example")),
        ("Www.XN--BCHER-KVA.example.", json!("bücher.example")),
        // These are no domains, and stay what they are, in lower case.
        ("a b.com", json!("a b.com")),
        ("Acme_Inc", json!("acme_inc")),
    ] {
        assert_eq!(stored(&agent, "companies", "domain", sent).await, expected, "{sent:?}");
        // The normal form is its own normal form, so that a record can be written back as it was read.
        let again =
            "select kith.normal_domain(kith.normal_domain($1)) is not distinct from kith.normal_domain($1) as v";
        assert_eq!(agent.sql_with(again, json!([sent])).await.status(200).v(), true, "{sent:?}");
    }
}

#[tokio::test]
async fn a_domain_is_found_in_any_form() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"domain": "xn--bcher-kva.example"})).await.status(201).id();
    let other = agent.post("/v1/companies", json!({"domain": "acme.example"})).await.status(201).id();
    for form in
        ["xn--bcher-kva.example", "b%C3%BCcher.example", "https://www.B%C3%9CCHER.example/", "XN--BCHER-KVA.EXAMPLE."]
    {
        let found = agent.get(&format!("/v1/companies?domain={form}")).await.status(200);
        assert_eq!(found.column("id"), [json!(company)], "{form}");
        let found = agent.get(&format!("/v1/companies?domain_not={form}")).await;
        if found.code == 200 {
            assert_eq!(found.column("id"), [json!(other)], "{form}");
        }
    }
    let taken = agent.post("/v1/companies", json!({"domain": "www.bücher.example"})).await;
    assert_eq!(taken.fault(409, "conflict").text("/existing_id"), company);
    // The same applies to mails, whichever form they and the contacts have.
    let contacts = ["a@bücher.example", "b@xn--bcher-kva.example"].map(|email| json!({"email": email}));
    for contact in contacts {
        agent.post("/v1/contacts", contact).await.status(201);
    }
    for form in ["bücher.example", "xn--bcher-kva.example", "BÜCHER.Example"] {
        let mail = json!({"from_addr": format!("A <a@{form}>"), "to_addrs": [format!("b@{form}")]});
        let mail = agent.post("/v1/emails", mail).await.status(201);
        assert_eq!(mail.data()["company_ids"], json!([company]), "{form}");
        assert_eq!(mail.data()["contact_ids"].as_array().map(Vec::len), Some(2), "{form}: {}", mail.story());
    }
}

#[tokio::test]
async fn each_recipient_is_an_element() {
    let agent = agent().await;
    let made = async |addresses: Value| {
        let mail =
            agent.post("/v1/emails", json!({"from_addr": "x@y.example", "to_addrs": addresses})).await.status(201);
        mail.data()["to_addrs"].clone()
    };
    for (sent, expected) in [
        (json!(["a@x.example, b@x.example"]), json!(["a@x.example", "b@x.example"])),
        (json!(["a@x.example;b@x.example", " c@x.example "]), json!(["a@x.example", "b@x.example", "c@x.example"])),
        (
            json!(["\"Lovelace, Ada\" <ada@x.example>, Bob <bob@x.example>"]),
            json!(["\"Lovelace, Ada\" <ada@x.example>", "Bob <bob@x.example>"]),
        ),
        (json!(["Lovelace, Ada <ada@x.example>"]), json!(["Lovelace, Ada <ada@x.example>"])),
        (json!(["", " ", "a@x.example,", "\u{200b}", " , ;"]), json!(["a@x.example"])),
        (json!(["a@x.example, ;b@x.example"]), json!(["a@x.example", "b@x.example"])),
        (
            json!(["a@x.example,,, ;b@x.example,", " ; ,c@x.example"]),
            json!(["a@x.example", "b@x.example", "c@x.example"]),
        ),
        (json!(["a@x.example b@x.example\tc@x.example"]), json!(["a@x.example", "b@x.example", "c@x.example"])),
        (json!(["a@x.example\r\nb@x.example\n"]), json!(["a@x.example", "b@x.example"])),
        (json!(["A <a@x.example>\r\nB <b@x.example>"]), json!(["A <a@x.example>", "B <b@x.example>"])),
        (json!(["Team: a@x.example, B <b@x.example>;"]), json!(["a@x.example", "B <b@x.example>"])),
        (json!(["\"Team, A\": a@x.example;c@x.example"]), json!(["a@x.example", "c@x.example"])),
        (json!(["undisclosed-recipients:;"]), json!(["undisclosed-recipients:;"])),
        (json!(["\"a,b;c@d\"@x.example, \"x:y\"@x.example"]), json!(["\"a,b;c@d\"@x.example", "\"x:y\"@x.example"])),
        (
            json!(["a@x.example (Ann, from Sales), (B) b@x.example"]),
            json!(["a@x.example (Ann, from Sales)", "(B) b@x.example"]),
        ),
        (json!(["\"a@x.example b@x.example\" <c@x.example>"]), json!(["\"a@x.example b@x.example\" <c@x.example>"])),
        (json!(["mailto:a@x.example"]), json!(["a@x.example"])),
        (json!(["a@[IPv6:2001:db8::1], b@x.example"]), json!(["a@[IPv6:2001:db8::1]", "b@x.example"])),
        (json!([]), json!([])),
        (Value::Null, json!([])),
    ] {
        assert_eq!(made(sent.clone()).await, expected, "{sent}");
    }
    let ada = agent.post("/v1/contacts", json!({"email": "ada@x.example"})).await.status(201).id();
    let mail = json!({"from_addr": "x@y.example", "cc_addrs": ["b@x.example, Ada <ADA@x.example>"]});
    let mail = agent.post("/v1/emails", mail).await.status(201);
    assert_eq!(mail.data()["contact_ids"], json!([ada]));
    let found = agent.get(&format!("/v1/emails?involves_contact={ada}")).await.status(200);
    assert_eq!(found.column("id"), [json!(mail.id())]);
}

#[tokio::test]
async fn a_mail_belongs_to_the_people_of_its_addresses_however_they_are_written() {
    let agent = agent().await;
    let mut ids = Vec::new();
    for email in ["ann@x.example", "\"b,c@d\"@x.example", "Eve@BÜCHER.example", "f@xn--bcher-kva.example"] {
        ids.push(agent.post("/v1/contacts", json!({"email": email})).await.status(201).id());
    }
    let company = agent.post("/v1/companies", json!({"domain": "bücher.example"})).await.status(201).id();
    let [ann, quoted, eve, f] = ids.try_into().expect("four contacts");
    for (sender, expected) in [
        ("ANN@X.EXAMPLE", vec![&ann]),
        ("Ann <ann@x.example>", vec![&ann]),
        ("\"Example, Ann (Sales)\" <ann@x.example>", vec![&ann]),
        ("Ann\r\n <ann@x.example>", vec![&ann]),
        ("\u{200b}<ann@x.example>\u{feff}", vec![&ann]),
        ("ann@x.example (Ann <the first>)", vec![&ann]),
        ("ann@x.example <Ann>", vec![&ann]),
        ("(Ann) ann@x.example", vec![&ann]),
        ("mailto:ann@x.example", vec![&ann]),
        ("Ann <ann@x.example>, \"b,c@d\"@x.example", vec![&ann, &quoted]),
        ("Team: ann@x.example, \"B\" <\"b,c@d\"@x.example>;", vec![&ann, &quoted]),
        ("\"b,c@d\"@x.example", vec![&quoted]),
        ("eve@xn--bcher-kva.example", vec![&eve]),
        ("EVE@bücher.EXAMPLE", vec![&eve]),
        ("f@Bücher.example; eve@XN--BCHER-KVA.example", vec![&eve, &f]),
        ("ann at x.example", vec![]),
        ("xann@x.example", vec![]),
    ] {
        for field in ["from_addr", "to_addrs", "cc_addrs"] {
            let value = if field == "from_addr" { json!(sender) } else { json!([sender]) };
            let mail = agent.post("/v1/emails", json!({field: value})).await.status(201);
            assert_eq!(mail.data()["contact_ids"], json!(expected), "{field} {sender:?}\n{}", mail.story());
            let companies = if expected.contains(&&eve) { json!([company]) } else { json!([]) };
            assert_eq!(mail.data()["company_ids"], companies, "{field} {sender:?}\n{}", mail.story());
            // The filters by sender and by recipient read the addresses alike.
            for contact in &expected {
                for (filter, fields) in [
                    ("from_contact", &["from_addr"][..]),
                    ("to_contact", &["to_addrs"]),
                    ("involves_contact", &[field]),
                ] {
                    let found = agent.get(&format!("/v1/emails?{filter}={contact}&limit=200")).await.status(200);
                    assert_eq!(
                        found.column("id").contains(&json!(mail.id())),
                        fields.contains(&field),
                        "{filter} {field} {sender:?}"
                    );
                }
            }
        }
    }
}

/// Columns of emails that are never null for readers.
const ARRAYS: [&str; 5] = ["to_addrs", "cc_addrs", "contact_ids", "company_ids", "deal_ids"];

#[tokio::test]
async fn null_is_the_empty_array_of_an_email() {
    let agent = agent().await;
    let is_empty = |reply: &Reply, row: &Value| {
        for column in ARRAYS {
            assert_eq!(row[column], json!([]), "{column}: {}", reply.story());
        }
    };
    let mut nulls = json!({"from_addr": "x@y.example"});
    ARRAYS.iter().for_each(|column| nulls[*column] = Value::Null);
    let made = agent.post("/v1/emails", nulls.clone()).await.status(201);
    is_empty(&made, &made.data());
    let path = format!("/v1/emails/{}", made.id());
    let mut of = Vec::new();
    for table in ["contacts", "companies", "deals"] {
        of.push(agent.post(&format!("/v1/{table}"), json!({"custom": {}})).await.status(201).id());
    }
    let full = json!({"to_addrs": ["a@x.example"], "cc_addrs": ["b@x.example"], "contact_ids": [of[0]], "company_ids": [of[1]],
        "deal_ids": [of[2]]});
    agent.patch(&path, full).await.status(200);
    nulls.as_object_mut().expect("an object").remove("from_addr");
    let emptied = agent.patch(&path, nulls).await.status(200);
    is_empty(&emptied, &emptied.data());
    agent
        .sql(
            "insert into emails (id, to_addrs, cc_addrs, contact_ids, company_ids, deal_ids) values ('e_1', null, null, null, null, null);
             insert into emails (id, to_addrs) values ('e_2', array['a@x.example']);
             update emails set to_addrs = null, cc_addrs = null, contact_ids = null, company_ids = null, deal_ids = null where id = 'e_2'",
        )
        .await
        .status(200);
    psql(&agent)
        .await
        .script("do $$ begin execute 'insert into emails (id, to_addrs) values (''e_3'', null)'; end $$")
        .await
        .expect("an email by psql");
    for id in ["e_1", "e_2", "e_3"] {
        let shown = agent.get(&format!("/v1/emails/{id}")).await.status(200);
        is_empty(&shown, &shown.data());
    }
    // In answers they are never null.
    let nullable =
        "select count(*) as v from information_schema.columns where table_name = 'emails' and is_nullable = 'YES'
                    and column_name in ('to_addrs', 'cc_addrs', 'contact_ids', 'company_ids', 'deal_ids')";
    assert_eq!(agent.sql(nullable).await.status(200).v(), 0);
}

#[tokio::test]
async fn a_reference_names_a_live_record() {
    let (relm, agent) = both().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    let contact = agent.post("/v1/contacts", json!({"company_id": company})).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D", "contact_id": contact})).await.status(201).id();
    for path in [format!("companies/{company}"), format!("contacts/{contact}"), format!("deals/{deal}")] {
        agent.delete(&format!("/v1/{path}")).await.status(200);
    }
    let dead = [
        ("contacts", "company_id", company.as_str()),
        ("deals", "company_id", &company),
        ("deals", "contact_id", &contact),
        ("activities", "company_id", &company),
        ("activities", "contact_id", &contact),
        ("activities", "deal_id", &deal),
    ];
    for (table, field, id) in dead {
        let live = agent.post(&format!("/v1/{table}"), json!({})).await.status(201).id();
        for id in [id, "c_00000000000000000000000000"] {
            let refused = agent.post(&format!("/v1/{table}"), json!({field: id})).await.fault(422, "invalid_reference");
            assert_eq!(refused.text("/field"), field, "{}", refused.story());
            let patched = agent.patch(&format!("/v1/{table}/{live}"), json!({field: id})).await;
            patched.fault(422, "invalid_reference");
        }
        let sql = format!("insert into {table} ({field}) values ('{id}')");
        let refused = agent.sql(&sql).await;
        assert_eq!(refused.at("/code"), "23503", "{}", refused.story());
    }
    let refused = relm.post("/v1/deals", json!({"title": "D", "primary_contact_id": contact})).await;
    assert_eq!(refused.code, 422, "{}", refused.story());
    assert_eq!(refused.text("/error/code"), "invalid_reference");
    assert_eq!(refused.text("/error/field"), "primary_contact_id");
    // A reference to a record that was deleted later remains, and the referring record can still be changed.
    agent.post(&format!("/v1/contacts/{contact}/restore"), json!({})).await.status(200);
    let renamed = agent.patch(&format!("/v1/contacts/{contact}"), json!({"first_name": "Ada"})).await.status(200);
    assert_eq!(renamed.data()["company_id"], json!(company));
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"company_id": company})).await.status(200);
    agent.post(&format!("/v1/companies/{company}/restore"), json!({})).await.status(200);
    agent.post("/v1/contacts", json!({"company_id": company})).await.status(201);
}

#[tokio::test]
async fn a_mail_names_live_records() {
    let (relm, agent) = both().await;
    for (table, field, unknown) in [
        ("contacts", "contact_ids", "c_00000000000000000000000000"),
        ("companies", "company_ids", "co_none"),
        ("deals", "deal_ids", ""),
    ] {
        let live = agent.post(&format!("/v1/{table}"), json!({"custom": {}})).await.status(201).id();
        let dead = agent.post(&format!("/v1/{table}"), json!({"custom": {}})).await.status(201).id();
        agent.delete(&format!("/v1/{table}/{dead}")).await.status(200);
        let mail = agent.post("/v1/emails", json!({field: [live]})).await.status(201).id();
        for id in [dead.as_str(), unknown] {
            for client in [&agent, &relm] {
                for refused in [
                    client.post("/v1/emails", json!({field: [live, id]})).await,
                    client.patch(&format!("/v1/emails/{mail}"), json!({field: [live, id]})).await,
                ] {
                    let refused = refused.fault(422, "invalid_reference");
                    assert_eq!(refused.error()["field"], field, "{}", refused.story());
                }
            }
            for sql in [
                format!("insert into emails ({field}) values (array['{live}', '{id}'])"),
                format!("insert into emails ({field}) select array['{id}'] from generate_series(1, 2)"),
                format!("update emails set {field} = {field} || '{id}'::text where id = '{mail}'"),
            ] {
                let refused = agent.sql(&sql).await.fault(400, "sql_error");
                assert_eq!(refused.at("/code"), "23503", "{}", refused.story());
            }
        }
        // A mail keeps the records that were deleted later, and can be changed otherwise.
        agent.delete(&format!("/v1/{table}/{live}")).await.status(200);
        let other = agent.post(&format!("/v1/{table}"), json!({"custom": {}})).await.status(201).id();
        agent.patch(&format!("/v1/emails/{mail}"), json!({"subject": "S"})).await.status(200);
        agent.patch(&format!("/v1/emails/{mail}"), json!({field: [live, other]})).await.status(200);
    }
}

#[tokio::test]
async fn rows_of_a_backup_are_taken_as_they_were() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
    let contact = agent.post("/v1/contacts", json!({"company_id": company})).await.status(201).id();
    let gone = agent.post("/v1/contacts", json!({})).await.status(201).id();
    agent.post("/v1/deals", json!({"name": "D", "contact_id": contact, "company_id": company})).await.status(201);
    agent.post("/v1/activities", json!({"contact_id": contact})).await.status(201);
    agent.post("/v1/emails", json!({"contact_ids": [contact, gone], "company_ids": [company]})).await.status(201);
    let list = agent
        .post("/v1/lists", json!({"name": "L", "target_table": "contacts", "kind": "static"}))
        .await
        .status(201)
        .id();
    agent.post(&format!("/v1/lists/{list}/members"), json!({"member_id": gone})).await.status(201);
    for path in [
        format!("companies/{company}"),
        format!("contacts/{contact}"),
        format!("contacts/{gone}?hard=true"),
        format!("lists/{list}"),
    ] {
        agent.delete(&format!("/v1/{path}")).await.status(200);
    }
    // The tables are saved, emptied, and filled again in the order of their references, as pg_restore does it.
    for table in ["companies", "contacts", "deals", "activities", "emails", "lists", "list_members"] {
        agent.sql(&format!("create table saved_{table} as select * from {table}")).await.status(200);
    }
    for table in ["list_members", "lists", "emails", "activities", "deals", "contacts", "companies"] {
        agent.sql(&format!("delete from {table}")).await.status(200);
    }
    for table in ["companies", "contacts", "deals", "activities", "emails", "lists", "list_members"] {
        agent.sql(&format!("insert into {table} select * from saved_{table}")).await.status(200);
        let differs = format!(
            "select count(*) as v from {table} t full join saved_{table} s using (id) where to_jsonb(t) is distinct from to_jsonb(s)"
        );
        assert_eq!(agent.sql(&differs).await.status(200).v(), 0, "{table}");
    }
}

#[tokio::test]
async fn addresses_are_compared_without_case_whatever_is_searched() {
    let agent = agent().await;
    let ada = agent.post("/v1/contacts", json!({"email": "Ada@Acme.example"})).await.status(201).id();
    agent.post("/v1/emails", json!({"from_addr": "ADA@acme.example"})).await.status(201);
    for condition in [
        "email = 'ada@ACME.example'",
        "'ada@ACME.example' = email",
        "email = 'ada@ACME.example'::public.citext",
        "email in ('x', 'ADA@acme.example')",
        "email = any ('{ADA@acme.example}')",
        "email <> 'x' and not email <> 'ADA@ACME.EXAMPLE'",
        "email like 'ada@%' and email ~ '^ADA' and email !~~ 'B%'",
        "email between 'ADA' and 'ADB'",
        "email = (select m.from_addr from public.emails m)",
        "email in (select m.from_addr from public.emails m)",
        "strpos(email, 'ACME') = 5 and replace(email, 'ADA', 'x') = 'x@Acme.example' and split_part(email, 'D', 1) = 'A'",
        "regexp_match(email, 'ACME') is not null and regexp_replace(email, 'ADA', 'x') = 'x@Acme.example'",
        "(select max(c.email) = 'ADA@ACME.example' from public.contacts c)",
    ] {
        for path in ["", "pg_catalog", "public", "pg_catalog, pg_temp", "public, pg_catalog"] {
            let path = if path.is_empty() { "''" } else { path };
            let sql = format!("set local search_path = {path}; select id as v from public.contacts where {condition}");
            assert_eq!(agent.sql(&sql).await.status(200).v(), ada, "{path}: {condition}");
            // A function that pins its path.
            let function = format!(
                "create function public.f() returns text language sql set search_path = {path} as $$ select id from public.contacts where {condition} $$"
            );
            agent.sql(&format!("{function}; select public.f() as v")).await.status(200);
            assert_eq!(agent.sql("select f() as v").await.status(200).v(), ada, "{path}: {condition}");
            agent.sql("drop function f()").await.status(200);
        }
    }
    // The operator is the one that the unique index serves.
    let sql = "select count(*) as v from pg_index i join pg_opclass c on c.oid = i.indclass[0] join pg_amop a on a.amopfamily = c.opcfamily
                where i.indexrelid = 'contacts_email_key'::regclass and a.amopopr = 'pg_catalog.=(public.citext, public.citext)'::regoperator";
    assert_eq!(agent.sql(sql).await.status(200).v(), 1);
    let sql = "set local search_path = ''; insert into public.contacts (email) values ('ADA@ACME.EXAMPLE')";
    assert_eq!(agent.sql(sql).await.fault(400, "sql_error").at("/code"), "23505");
    // Extensions stay where clients expect them, and the operators are theirs.
    let sql = "select (select extnamespace::regnamespace::text from pg_extension where extname = 'citext') || ' '
                      || (select count(*) from pg_operator o join pg_depend d on d.classid = 'pg_operator'::regclass and d.objid = o.oid and d.deptype = 'e'
                           where 'public.citext'::regtype in (o.oprleft, o.oprright) and o.oprnamespace <> 'pg_catalog'::regnamespace) as v";
    assert_eq!(agent.sql(sql).await.status(200).v(), "public 0");
}

#[tokio::test]
async fn a_refused_truncate_says_what_to_do_instead() {
    let (relm, agent) = both().await;
    for sql in [
        "truncate contacts",
        "TRUNCATE TABLE companies, public.deals",
        "truncate contacts cascade",
        "truncate list_members",
        "truncate lists",
    ] {
        for client in [&agent, &relm] {
            let refused = client.sql(sql).await.fault(403, "sql_error").says("DELETE FROM ");
            assert!(!refused.story().contains("CASCADE"), "{}", refused.story());
            assert!(refused.story().contains("42501"), "{}", refused.story());
        }
    }
    agent.sql("create table mine (id int primary key); create table other (id int references mine)").await.status(200);
    agent.sql("truncate mine").await.fault(400, "sql_error").says("TRUNCATE ... CASCADE");
    agent.sql("truncate mine cascade").await.status(200);
}

#[tokio::test]
async fn a_custom_field_is_checked_when_its_value_changes() {
    let agent = agent().await;
    let made = agent.post("/v1/contacts", json!({"custom": {"size": "big", "note": "x"}})).await.status(201).id();
    let bare = agent.post("/v1/contacts", json!({})).await.status(201).id();
    for definition in [
        json!({"object_type": "contact", "key": "size", "type": "number"}),
        json!({"object_type": "contact", "key": "tier", "type": "text", "required": true}),
    ] {
        agent.post("/v1/custom_fields", definition).await.status(201);
    }
    let path = format!("/v1/contacts/{made}");
    agent.patch(&path, json!({"custom": {"note": "y"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"size": "big", "note": "z"}})).await.status(200);
    agent.patch(&format!("/v1/contacts/{bare}"), json!({"custom": {"note": "y"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"size": "huge"}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"tier": 1}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"size": 3, "tier": "gold"}})).await.status(200);
    agent.patch(&path, json!({"custom": {"tier": null}})).await.fault(422, "invalid_metadata");
    agent.patch(&path, json!({"custom": {"size": null}})).await.status(200);
    agent.post("/v1/contacts", json!({"custom": {"size": 1}})).await.fault(422, "invalid_metadata");
    let sql = format!("update contacts set custom = custom || '{{\"size\": \"big\"}}' where id = '{made}'");
    let refused = agent.sql(&sql).await;
    assert_eq!(refused.at("/code"), "KF001", "{}", refused.story());
}

#[tokio::test]
async fn a_stage_is_not_both_won_and_lost() {
    let (relm, agent) = both().await;
    let both = json!({"pipeline": "sales", "key": "odd", "label": "Odd", "is_won": true, "is_lost": true});
    agent.post("/v1/pipeline_stages", both).await.fault(422, "validation_failed").says("both won and lost");
    let stage =
        relm.post("/v1/pipelines/sales/stages", json!({"key": "x", "label": "X", "is_won": true, "is_lost": true}));
    assert_eq!(stage.await.code, 422);
    let won = agent.get("/v1/pipeline_stages?key=won").await.status(200).column("id")[0].clone();
    let path = format!("/v1/pipeline_stages/{}", won.as_str().expect("an id"));
    let patched = agent.patch(&path, json!({"is_lost": true})).await;
    assert_eq!(patched.fault(422, "validation_failed").text("/field"), "is_lost");
    agent.patch(&path, json!({"is_lost": true, "is_won": false})).await.status(200);
    let refused = agent.sql("update pipeline_stages set is_won = true, is_lost = true").await;
    assert_eq!(refused.at("/code"), "23514", "{}", refused.story());
    // A later trigger of the workspace can't circumvent this.
    agent
        .sql(
            "create function won() returns trigger language plpgsql as $$ begin new.is_won = true; new.is_lost = true; return new; end $$;
             create trigger zzz before update on pipeline_stages for each row execute function won()",
        )
        .await
        .status(200);
    let refused = agent.sql("update pipeline_stages set label = 'x'").await;
    assert_eq!(refused.at("/code"), "23514", "{}", refused.story());
}

#[tokio::test]
async fn a_deal_keeps_its_stage() {
    let agent = agent().await;
    let deal = agent.post("/v1/deals", json!({"name": "D", "stage": null})).await.status(201);
    assert_eq!(deal.data()["stage"], "lead");
    let path = format!("/v1/deals/{}", deal.id());
    agent.patch(&path, json!({"stage": null})).await.fault(422, "validation_failed");
    assert_eq!(agent.get(&path).await.status(200).data()["stage"], "lead");
}
