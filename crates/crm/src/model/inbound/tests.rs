//! Tests of received messages.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> InboundEmail {
    InboundEmail::parse(text.replace('\n', "\r\n").as_bytes())
}

#[track_caller]
fn check_text(raw: &[u8], text: Option<&str>) {
    assert_eq!(InboundEmail::parse(raw).text.as_deref(), text, "{}", String::from_utf8_lossy(raw));
}

#[test]
fn a_message_is_read() {
    let email = read(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:22 +0000\nFrom: =?utf-8?q?Zo=C3=AB?= <zoe@acme.example>\n\
         To: \"Ada, L\" <ada@shop.example>,\n bob@b.example, ADA@shop.example\nCc: Team: cat@c.example, dan@d.example;\n\
         Reply-To: help@acme.example\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n =?utf-8?B?IGFu?= Sie\nDate: Tue, 14 Nov 2023 23:13:20 +0100\n\
         Message-ID: <1@acme.example>\nIn-Reply-To: <2@shop.example>\nReferences: <0@shop.example>\n <2@shop.example>\n\nHello\n\nyou\n",
    );
    assert_eq!(email.message_id, "<1@acme.example>");
    assert_eq!(email.references, ["<0@shop.example>", "<2@shop.example>"]);
    let from = email.from.expect("a sender");
    assert_eq!((from.name.as_deref(), from.address.as_str()), (Some("Zoë"), "zoe@acme.example"));
    assert_eq!(email.to, ["ada@shop.example", "bob@b.example"]);
    assert_eq!(email.cc, ["cat@c.example", "dan@d.example"]);
    assert_eq!(email.reply_to, ["help@acme.example"]);
    assert_eq!(email.subject.as_deref(), Some("Grüße an Sie"));
    assert_eq!((email.sent_ms, email.received_ms), (Some(1_700_000_000_000), Some(1_700_000_002_000)));
    assert_eq!(email.text.as_deref(), Some("Hello\n\nyou\n"));
    assert_eq!((email.html, email.is_automatic, email.truncated), (None, false, Vec::<String>::new()));
}

#[test]
fn the_text_is_that_of_the_parts() {
    let alternative = "Content-Type: multipart/alternative; boundary=b\n\npreamble\n--b\nContent-Type: text/plain\n\nplain\n--b\n\
                       Content-Type: text/html\n\n<p>rich</p>\n--b--\nepilogue\n";
    let email = read(alternative);
    assert_eq!((email.text.as_deref(), email.html.as_deref()), (Some("plain"), Some("<p>rich</p>")));
    // A mailing list's footer beside alternatives, and HTML without a text.
    let inner = alternative.replace("boundary=b", "boundary=c").replace("--b", "--c");
    let email = read(&format!("Content-Type: multipart/mixed; boundary=\"b\"\n\n--b\n{inner}--b\n\nfooter\n--b--\n"));
    assert_eq!(email.text.as_deref(), Some("plain\nfooter"));
    let email = read(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<style>x{}</style><p>One<br>two &amp; three</p>\n--b\n\nfooter",
    );
    assert_eq!(email.text.as_deref(), Some("One\ntwo & three\nfooter"));
    let email = read("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+SGVsbG88L2I+\n");
    assert_eq!((email.text.as_deref(), email.html.as_deref()), (Some("Hello"), Some("<b>Hello</b>")));
}

#[test]
fn files_are_listed() {
    let email = read(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nText\n--b\nContent-Type: application/pdf; name=\"x.pdf\"\n\
         Content-Disposition: attachment; filename*=utf-8''Angebot%20%C3%BC.pdf\nContent-Transfer-Encoding: base64\n\nAAAAAAAA\nAAAA\n--b\n\
         Content-Type: message/rfc822\n\nSubject: inner\nFrom: evil@x.example\n\ninner\n--b\nContent-Type: text/csv\n\na,b\n--b--",
    );
    let listed: Vec<_> =
        email.files.iter().map(|it| (it.filename.as_str(), it.content_type.as_str(), it.bytes)).collect();
    assert_eq!(
        listed,
        [("Angebot ü.pdf", "application/pdf", 9), ("message.eml", "message/rfc822", 45), ("attachment", "text/csv", 3)]
    );
    assert_eq!((email.text.as_deref(), email.from), (Some("Text"), None));
}

#[test]
fn charsets_and_encodings_are_decoded() {
    let of = |charset: &str, encoding: &str, body: &[u8]| {
        let head = format!("Content-Type: text/plain{charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    check_text(&of("; charset=koi8-r", "8bit", b"\xf0\xd2\xc9\xd7\xc5\xd4"), Some("Привет"));
    check_text(&of("; charset=\"Shift_JIS\"", "8bit", b"\x93\xfa\x96{"), Some("日本"));
    check_text(&of("; charset=iso-2022-jp", "7bit", b"\x1b$BF|K\\\x1b(B"), Some("日本"));
    check_text(&of("", "7bit", b"\x1b$BF|K\\\x1b(B"), Some("日本"));
    check_text(&of("; charset=gb2312", "base64", b"1tDOxA=="), Some("中文"));
    check_text(&of("; charset=utf-16be", "base64", b"AEgAaQ=="), Some("Hi"));
    check_text(&of("; charset=utf-7", "7bit", b"Hi +AOQ-"), Some("Hi ä"));
    check_text(&of("", "8bit", b"caf\xe9"), Some("café"));
    check_text(&of("; charset=us-ascii", "8bit", "café".as_bytes()), Some("café"));
    check_text(&of("; charset=utf-8", "8bit", b"caf\xe9"), Some("café"));
    check_text(
        &of("; charset=utf-8", "8bit", "Grüße, süße \u{fffd}".as_bytes().split_last().unwrap().1),
        Some("Grüße, süße \u{fffd}"),
    );
    check_text(&of("; charset=no-such-charset", "8bit", b"caf\xe9"), Some("café"));
    check_text(&of("; charset=utf-8", "quoted-printable", b"a=C3=A4=\r\nb=ZZ=3"), Some("aäb=ZZ=3"));
    check_text(&of("", "base64", b"SGVs!b\r\nG8"), Some("Hello"));
    check_text(&of("", "x-unknown", b"as it is"), Some("as it is"));
    check_text(&of("", "8bit", b"a\0b\r\nc"), Some("ab\nc"));
    let raw = b"Subject: caf\xe9\r\nFrom: Ren\xe9 <r@x.example>\r\n\r\n";
    let email = InboundEmail::parse(raw);
    assert_eq!(email.subject.as_deref(), Some("café"));
    assert_eq!(email.from.and_then(|from| from.name).as_deref(), Some("René"));
}

#[test]
fn what_is_malformed_is_read_as_far_as_it_can_be() {
    check_text(b"just words\nand more", Some("just words\nand more"));
    check_text(b"From someone Tue Nov 14\nSubject: x\n\nbody", Some("body"));
    check_text(b"Subject: x\nno empty line: here it begins? No.\nYes", Some("no empty line: here it begins? No.\nYes"));
    check_text(b"\r\n\r\nonly a body", Some("\nonly a body"));
    check_text(b"", None);
    check_text(b"Content-Type: multipart/mixed\r\n\r\nno boundary", Some("no boundary"));
    check_text(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnever begun", Some("never begun"));
    check_text(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever ended", Some("never ended"));
    check_text(b"Content-Type: ;;;\r\n\r\nx", Some("x"));
    for date in
        ["", "yesterday", "Tue, 99 Nov 2023 99:99:99", "Mon, 1 Jan 1901 00:00:00 +0000", "1 Jan 99999 00:00:00 +0000"]
    {
        assert_eq!(read(&format!("Date: {date}\n\n")).sent_ms, None, "{date}");
    }
    let email = read("From: nobody\nTo: undisclosed-recipients:;\nMessage-ID: no brackets@x\nSubject:\n\n");
    assert_eq!(email.from.map(|it| it.address).as_deref(), Some("nobody"));
    assert_eq!((email.to.len(), email.message_id.as_str(), email.subject), (0, "<nobrackets@x>", None));
    let (one, two) = (read("Subject: a\n\nx"), read("Subject: a\n\ny"));
    assert!(one.message_id.starts_with("sha256:") && one.message_id.len() == 47 && one.message_id != two.message_id);
    assert!(read("Auto-Submitted: auto-replied\n\n").is_automatic && !read("Auto-Submitted: no\n\n").is_automatic);
}

#[test]
fn a_bomb_is_cut() {
    let many: Vec<String> = (0..10_000).map(|it| format!("p{it}@many.example")).collect();
    let email = read(&format!("To: {}\nCc: {}\n\n", many.join(",\n "), many.join(", ")));
    assert_eq!((email.to.len(), email.cc.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    assert_eq!(email.truncated, ["to", "cc"]);
    assert_eq!(email.to[999], "p999@many.example");
    // Heads: one field of megabytes, and a million fields.
    let email = read(&format!(
        "Subject: {}\nX: {}\n{}\nbody",
        "s".repeat(3_000_000),
        "x".repeat(1_000_000),
        "a: b\n".repeat(500_000)
    ));
    assert_eq!(email.subject.map(|it| it.len()), Some(998));
    assert_eq!(email.text.as_deref(), Some("body"));
    let email = read(&format!("References: {}\nMessage-ID: <{}>\n\n", "<a@b> <c@d> ".repeat(50_000), "m".repeat(5000)));
    assert_eq!(email.references, ["<a@b>", "<c@d>"]);
    assert!(email.message_id.starts_with("sha256:"));
    // Parts: deep, many, and messages within messages.
    let deep: String =
        (0..50_000).map(|it| format!("Content-Type: multipart/mixed; boundary=b{it}\n\n--b{it}\n")).collect();
    assert_eq!(read(&deep).truncated, ["attachments"]);
    let email = read(&format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(500_000)));
    assert!(email.text.is_some_and(|text| text.len() < 1000) && email.truncated == ["attachments"]);
    let email =
        read(&format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\nContent-Type: a/b\n\n\n".repeat(300)));
    assert_eq!((email.files.len(), email.truncated), (MAX_FILES, vec!["attachments".to_owned()]));
    let nested = "Content-Type: message/rfc822\n\n".repeat(200_000);
    assert_eq!(read(&nested).files.len(), 1);
    let digest = "Content-Type: multipart/digest; boundary=b\n\n--b\n\n".repeat(100_000);
    assert!(read(&digest).files.len() <= MAX_FILES);
    // Texts.
    let email = read(&format!("Content-Type: text/html\n\n{}", "<p>word</p>".repeat(700_000)));
    assert_eq!(email.html.map(|it| it.len()), Some(MAX_TEXT_BYTES));
    assert!(email.text.is_some_and(|it| it.starts_with("word\nword")));
    assert_eq!(email.truncated, ["html"]);
}

#[test]
fn what_a_caller_fills_in_fits_too() {
    let email = InboundEmail {
        to: (0..2000).map(|it| format!("p{it}@x.example")).chain(["a, b@x.example".to_owned()]).collect(),
        html: Some(format!("<p>{}\0</p>", "ä".repeat(MAX_TEXT_BYTES))),
        subject: Some("a\r\nb".into()),
        ..InboundEmail::default()
    };
    let email = email.within_limits();
    assert_eq!((email.to.len(), email.subject.as_deref()), (MAX_ADDRESSES, Some("a b")));
    assert!(email.html.is_some_and(|it| it.len() <= MAX_TEXT_BYTES && !it.contains('\0')));
    assert!(email.text.is_some_and(|it| it.starts_with("ää")));
    assert_eq!(email.truncated, ["to", "html"]);
}

#[test]
fn times_and_ids_of_a_providers_answer_are_read() {
    let at = Some(1_700_000_000_000);
    for text in [
        "2023-11-14T22:13:20.674981+00:00",
        "2023-11-14T22:13:20Z",
        "2023-11-14 23:13:20+01:00",
        "Tue, 14 Nov 2023 22:13:20 +0000",
    ] {
        assert_eq!(time_ms(text), at, "{text}");
    }
    for text in ["", "x", "2023-99-99T99:99:99Z", "9999-01-01T00:00:00Z"] {
        assert_eq!(time_ms(text), None, "{text}");
    }
    assert_eq!(message_ids("<a@b> <c@d>\r\n\t<e@f><g@h> junk"), ["<a@b>", "<c@d>", "<e@f>", "<g@h>"]);
}

/// Pieces of messages, in any order.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: multipart/alternative; boundary=\"c\"\r\n",
        "--b\r\n",
        "--b--\r\n",
        "--c\n",
        "Content-Type: text/html; charset=gbk\r\n",
        "Content-Type: message/rfc822\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "\r\n",
        "\n",
        "=C3=",
        "<p>&#x110000;&amp",
        "<!--",
        "To: a@b, \"c",
        "From: =?utf-8?b?w",
        "Subject: =?x?q?=?=",
        "Date: Tue, 31 Feb 2023 25:61:61 +9999\r\n",
        "Received: from x by y; \r\n",
        "References: <a@b> <",
        "Message-ID: <\r\n",
        " folded\r\n",
        "Content-Disposition: attachment; filename*0*=utf-8''%e2%; filename*1=x\r\n",
        "Content-Type: multipart/digest; boundary=b\r\n",
        "\0",
        "\u{1b}$B",
        "(((",
        "From ",
    ];
    prop_oneof![
        proptest::sample::select(PIECES).prop_map(|it| it.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_can_be_read(pieces in proptest::collection::vec(piece(), 0..40)) {
        let raw = pieces.concat();
        let email = InboundEmail::parse(&raw);
        prop_assert_eq!(InboundEmail::parse(&raw), email.clone());
        let texts = email.to.iter().chain(&email.references).chain(&email.text).chain(&email.html).chain(&email.subject);
        prop_assert!(texts.chain([&email.message_id]).all(|text| !text.contains('\0')));
        prop_assert!(email.message_id.len() <= 1000 && !email.message_id.is_empty());
    }
}
