//! Two hundred odd messages, made by code, and random ones: each is recorded and can be read again.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{raw, record};
use crate::support::agent;

/// A message with its name.
type Odd = (String, Vec<u8>);

fn odd(name: impl Into<String>, head: &str, body: &[u8]) -> Odd {
    let head = head.replace('\n', "\r\n");
    (name.into(), [head.as_bytes(), b"\r\n", body].concat())
}

/// Texts in charsets, declared, undeclared and declared wrongly, in each transfer encoding.
fn charsets() -> Vec<Odd> {
    const SAMPLES: &[(&str, &[u8])] = &[
        ("utf-8", "Grüße, 日本, 🎉".as_bytes()),
        ("iso-8859-1", b"Gr\xfc\xdfe"),
        ("iso-8859-15", b"10 \xa4"),
        ("windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2"),
        ("windows-1256", b"\xe3\xd1\xcd\xc8\xc7"),
        ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4"),
        ("shift_jis", b"\x93\xfa\x96{"),
        ("euc-jp", b"\xc6\xfc\xcb\xdc"),
        ("iso-2022-jp", b"\x1b$BF|K\\\x1b(B"),
        ("gb2312", b"\xd6\xd0\xce\xc4"),
        ("gb18030", b"\x81\x30\x81\x30"),
        ("big5", b"\xa4\xa4\xa4\xe5"),
        ("euc-kr", b"\xc7\xd1\xb1\xdb"),
        ("tis-620", b"\xe4\xb7\xc2"),
        ("utf-16", b"\xff\xfeH\0i\0"),
        ("utf-7", b"Hi +AOQ-"),
        ("iso-8859-2", b"\xbfyw"),
        ("windows-874", b"\xe4\xb7\xc2"),
        ("macintosh", b"\x8a\x9a"),
        ("no-such-charset", b"caf\xe9 \xff\xfe"),
        ("", b"\x00\x01\x02 \x7f \xc3\x28"),
    ];
    let mut all = Vec::new();
    for (charset, bytes) in SAMPLES {
        for encoding in ["8bit", "base64", "quoted-printable"] {
            let body = match encoding {
                "base64" => base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes).into_bytes(),
                "quoted-printable" => bytes.iter().flat_map(|byte| format!("={byte:02X}").into_bytes()).collect(),
                _ => bytes.to_vec(),
            };
            for kind in ["plain", "html"] {
                let head = format!(
                    "Subject: {charset}\nContent-Type: text/{kind}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n"
                );
                all.push(odd(format!("{charset} {encoding} {kind}"), &head, &body));
            }
        }
    }
    all
}

/// Heads that are wrong, strange or huge.
fn heads() -> Vec<Odd> {
    let long = "x".repeat(300_000);
    let many: Vec<String> = (0..10_000).map(|it| format!("Person {it} <p{it}@many.example>")).collect();
    let heads = [
        ("Date: yesterday\n", "a bad date"),
        ("Date: Tue, 31 Feb 2023 25:61:61 +9999\n", "an impossible date"),
        ("Date: Fri, 13 Dec 1901 20:45:52 GMT\n", "a date long ago"),
        ("Date: Mon, 1 Jan 9999 00:00:00 +0000\n", "a date far ahead"),
        ("Date: Mon, 1 Jan 999999999999 00:00:00 +0000\n", "a date beyond numbers"),
        ("Date:\n", "an empty date"),
        ("Date: Thu, 01 Jan 1970 00:00:00 -0000 (comment (nested))\n", "a date with comments"),
        ("From:\n", "no sender"),
        ("From: <>\n", "an empty sender"),
        ("From: undisclosed\n", "a sender without a domain"),
        ("From: \"a, b\" <x@y.example>, second@y.example\n", "two senders"),
        ("From: =?utf-8?b?4pyI?= <plane@y.example>\n", "an encoded name"),
        ("From: =?utf-8?b?broken\n", "a broken encoded word"),
        ("From: =?x-unknown?q?=ff=fe?= <a@b.example>\n", "an unknown charset of a word"),
        ("From: a@b@c.example\n", "two at signs"),
        ("From: \"\\\"quoted\\\"\"@y.example\n", "a quoted local part"),
        ("From: ünï@bücher.example\n", "an address in Unicode"),
        ("To: undisclosed-recipients:;\n", "an empty group"),
        ("To: Team: a@b.example, c@d.example; e@f.example\n", "a group"),
        ("To: ,,,;;; a@b.example ,, <<c@d.example>>\n", "commas"),
        ("To: a@b.example\nTo: c@d.example\nCc: e@f.example\nCc: g@h.example\n", "repeated fields"),
        ("Subject: =?utf-8?q?a?=\n =?utf-8?q?_b?=\n\tc\n", "a folded subject"),
        ("Subject:\n \n \n x\n", "empty folds"),
        ("Subject: a\0b\u{1}c\n", "control characters"),
        ("SUBJECT : spaced\n", "a space before the colon"),
        ("Message-ID: <a@b>\n", "a Message-ID"),
        ("Message-ID: no brackets and spaces\n", "a Message-ID without brackets"),
        ("Message-ID: <>\n", "an empty Message-ID"),
        ("Message-ID: <'; DROP TABLE emails; --@x>\n", "a Message-ID with SQL"),
        ("References: <a@b><c@d>, <e@f> junk <g@h\n", "broken references"),
        ("Content-Type: text/plain; charset\n", "a parameter without a value"),
        ("Content-Type: /\n", "an empty type"),
        ("Content-Type: multipart/mixed; boundary=\"\"\n", "an empty boundary"),
        ("Content-Type: multipart/mixed; boundary=\"a b\"\n", "a boundary with a space"),
        ("Content-Type: multipart/alternative\n", "no boundary"),
        ("Content-Transfer-Encoding: rot13\n", "an unknown transfer encoding"),
        ("Content-Type: text/plain; name*0*=utf-8''%ff; name*1=\"x\0.txt\"\n", "a broken name in pieces"),
        ("From me Tue Nov 14 22:13:20 2023\nSubject: mbox\n", "a mailbox file"),
        ("no field at all\nSubject: late\n", "a line that is no field"),
        ("", "no head"),
        ("\n\n\n", "empty lines"),
    ];
    let mut all: Vec<Odd> = heads.iter().map(|(head, name)| odd(*name, head, b"The text.\r\n")).collect();
    all.push(odd("a huge subject", &format!("Subject: {long}\n"), b"x"));
    all.push(odd("a huge unknown field", &format!("X-Long: {long}\nSubject: after\n"), b"x"));
    all.push(odd("a hundred thousand fields", &"X-A: b\n".repeat(100_000), b"x"));
    all.push(odd("ten thousand recipients", &format!("To: {}\n", many.join(", ")), b"x"));
    all.push(odd("ten thousand recipients of copies", &format!("Cc: {}\n", many.join(",\n\t")), b"x"));
    all.push(odd("a huge address", &format!("To: {long}@x.example\n"), b"x"));
    all.push(odd("a huge Message-ID", &format!("Message-ID: <{long}@x>\n"), b"x"));
    all.push(odd("a huge boundary", &format!("Content-Type: multipart/mixed; boundary={long}\n"), b"x"));
    all.push(odd("many references", &format!("References: {}\n", "<r@x>\n ".repeat(20_000)), b"x"));
    all.push(odd("nested comments", &format!("From: {}a@b.example\n", "(".repeat(50_000)), b"x"));
    all
}

/// Bodies of many parts.
fn bodies() -> Vec<Odd> {
    let mixed = "Content-Type: multipart/mixed; boundary=b\n";
    let deep = |levels: usize| -> String {
        let open: String =
            (0..levels).map(|it| format!("Content-Type: multipart/mixed; boundary=b{it}\r\n\r\n--b{it}\r\n")).collect();
        let close: String = (0..levels).rev().map(|it| format!("\r\n--b{it}--\r\n")).collect();
        format!("{open}\r\nThe text.\r\n{close}")
    };
    let mut all = Vec::new();
    for levels in [1, 2, 5, 19, 20, 21, 100, 20_000] {
        all.push((format!("{levels} levels"), deep(levels).into_bytes()));
    }
    for (name, body) in [
        ("no parts", String::new()),
        ("only an end", "--b--\r\n".into()),
        ("an empty part", "--b\r\n--b--\r\n".into()),
        ("an unended part", "--b\r\n\r\nx".into()),
        ("an epilogue", "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\nnot me\r\n--b--".into()),
        ("a hundred thousand parts", "--b\r\n\r\nx\r\n".repeat(100_000)),
        ("a thousand files", "--b\r\nContent-Type: a/b\r\n\r\nx\r\n".repeat(1000)),
        ("a message within", "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--".into()),
        ("a calendar", "--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n--b--".into()),
        (
            "a broken file",
            "--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n@@@@\r\n--b--".into(),
        ),
        ("an inline text file", "--b\r\nContent-Disposition: inline; filename=x.txt\r\n\r\nx\r\n--b--".into()),
        ("two texts", "--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>two</b>\r\n--b--".into()),
    ] {
        all.push(odd(name, mixed, body.as_bytes()));
    }
    for (name, html) in [
        ("unclosed tags", "<p><b><i>x".repeat(1000)),
        ("a comment bomb", "<!--".repeat(100_000)),
        ("entities", "&amp;&lt;&#x110000;&#99999999999;&nosuch;&".repeat(1000)),
        ("a script", "<script>alert(1)</script><style>b{}</style><p>The text.".into()),
        ("angle brackets", "<".repeat(500_000)),
        ("long words", "ä".repeat(600_000)),
    ] {
        all.push(odd(format!("html: {name}"), "Content-Type: text/html; charset=utf-8\n", html.as_bytes()));
    }
    all.push(odd("messages within messages", "", "Content-Type: message/rfc822\r\n\r\n".repeat(50_000).as_bytes()));
    all.push(("nested messages".into(), "Content-Type: message/rfc822\r\n\r\n".repeat(50_000).into_bytes()));
    all.push((
        "nested digests".into(),
        "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n".repeat(20_000).into_bytes(),
    ));
    all.push(odd("a million words", "", "word ".repeat(1_000_000).as_bytes()));
    all.push(odd("a line of megabytes", "", "x".repeat(5_000_000).as_bytes()));
    all.push(odd("bare line feeds", "Subject: x\n", b"a\nb\nc\rd\n"));
    all.push(("nothing".into(), Vec::new()));
    all.push(("one byte".into(), vec![0xff]));
    all.push(("all bytes".into(), (0..=u8::MAX).cycle().take(5000).collect()));
    all
}

#[tokio::test]
async fn two_hundred_odd_messages_are_recorded_and_can_be_read() {
    let agent = agent().await;
    let all: Vec<Odd> = [charsets(), heads(), bodies()].concat();
    assert!(all.len() >= 200, "{}", all.len());
    for (name, message) in all {
        let reply = raw(&agent, &[], message).await;
        // Two of them have the same bytes, or the same Message-ID.
        assert!(reply.code == 201 || reply.code == 200, "{name}: {}", reply.story());
        let made = record(&reply);
        let id = made["id"].as_str().unwrap_or_else(|| panic!("{name}: {}", reply.story()));
        let read = record(&agent.get(&format!("/v1/emails/{id}")).await.status(200));
        for field in ["subject", "from_addr", "to_addrs", "body_text", "body_html", "received_at", "custom"] {
            assert_eq!(read[field], made[field], "{name}: {field}");
        }
        let received = read["received_at"].as_str().unwrap_or_default();
        assert!(received.starts_with("20") || received.starts_with("1970"), "{name}: {received}");
        match name.as_str() {
            "ten thousand recipients" => {
                assert_eq!(read["to_addrs"].as_array().map(Vec::len), Some(1000));
                assert_eq!(read["custom"]["truncated"], json!(["to"]));
            }
            "a group" => assert_eq!(read["to_addrs"], json!(["a@b.example", "c@d.example", "e@f.example"])),
            "a script" => assert_eq!(read["body_text"], "The text."),
            "19 levels" | "5 levels" => assert_eq!(read["body_text"], "The text.\n", "{read}"),
            "20000 levels" => assert_eq!(read["custom"]["truncated"], json!(["attachments"])),
            "no head" => assert!(read["body_text"].as_str().is_some_and(|it| it.contains("The text.")), "{read}"),
            _ => {}
        }
    }
    // A page of them, the search and the feed show them all.
    agent.get("/v1/emails?limit=50").await.status(200);
    agent.get("/v1/emails/search?q=The+text").await.status(200);
    agent.get("/v1/activity?limit=200").await.status(200);
}

#[tokio::test]
async fn no_message_is_a_fault_of_kith() {
    let agent = agent().await;
    const PIECES: &[&str] = &[
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "\r\n",
        "--b\r\n",
        "--b--",
        "From: ",
        "<a@b.example>",
        "To: \"",
        "Subject: =?utf-8?q?",
        "?=",
        "=C3",
        "\0",
        "Message-ID: <x",
        ">\r\n",
        "Date: 1 Jan 2020",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Type: text/html\r\n",
        "&#x",
        "<p>",
        "References: <r@x>\r\n",
        " ",
        "\\",
        "{}",
        "'",
    ];
    let piece = prop_oneof![
        proptest::sample::select(PIECES).prop_map(|it| it.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let messages = proptest::collection::vec(piece, 0..25);
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..150 {
        let message = messages.new_tree(&mut runner).expect("a message").current().concat();
        let reply = raw(&agent, &[], message.clone()).await;
        let said = String::from_utf8_lossy(&message);
        assert!(reply.code == 201 || reply.code == 200, "{said:?}: {}", reply.story());
        assert_ne!(record(&reply)["id"], Value::Null);
    }
}
