//! The schemas of e-mail that is sent, of the integration that sends it, and of sending domains.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::{Act, Reference, Wire, reference_to};
use crate::model::entity::by_table;

/// What the description of `POST /v1/emails` says about sending.
pub const ABOUT: &str = "A body with `from_addr` (or neither `from` nor `to`) records an e-mail. A body with `to` sends one and records it: `status` is `sent`, \
`queued` (202: the provider can't be reached, and it is tried again), `held` (202: sending is switched off) or `simulated` (with a test key). \
A batch sends after its commit. With the content type `message/rfc822` the body is a raw message that was received: it is recorded, put into its conversation, and \
logged as an activity of type `email` if others sent it. A message that is there already, by its Message-ID, is answered with 200 and its record.";
/// The schema of the body that sends one.
pub const BODY: &str = "EmailSend";
/// The description of the response to a message that is there already.
pub const KNOWN: &str = "A dry run: nothing was kept. Or the message was recorded before.";
/// The content type of a raw message.
pub const RAW: &str = "message/rfc822";
/// The description of the response to an e-mail that has not left yet.
pub const LATER: &str = "It has not left yet: `status` is `queued` or `held`.";

/// Adds the path that the provider calls when e-mail comes. Like those for people it has one shape.
pub fn add_inbound(paths: &mut Value, reference: &Reference, responses: &mut Responses) {
    let header = |name: &str, about: &str| json!({"name": name, "in": "header", "required": true, "description": about, "schema": {"type": "string"}});
    let taken = json!({"type": "object", "required": ["received"], "properties": {
        "received": {"type": "boolean", "const": true},
        "id": {"type": "string", "description": "The record of the e-mail, `e_…`."},
        "created": {"type": "boolean", "description": "Whether it is new."}}});
    let mut answers = Map::new();
    answers.insert(
        "200".into(),
        json!({
            "description": "The event was taken. Events of other types are ignored.",
            "headers": {"X-Request-Id": reference_to("headers", "request_id")},
            "content": {"application/json": {"schema": (reference.wire.answer)(Act::Find, taken)}},
        }),
    );
    responses.add(&mut answers, &reference.wire, |code| {
        ["workspace_read_only", "validation_failed", "conflict", "sql_error", "email_not_configured"].contains(&code)
    });
    paths["/v1/inbound/resend"]["post"] = json!({
        "operationId": "receiveFromResend",
        "summary": "Take Resend's webhook",
        "description": "The address for a webhook at Resend with the event `email.received`. Its signature (Svix) is the credential; the secret is `webhook_secret` of `PUT /v1/integrations/email`.",
        "tags": ["emails"],
        "security": [],
        "parameters": [
            {"name": "ws", "in": "query", "required": true, "description": "The workspace, `ws_…`.", "schema": {"type": "string"}},
            header("svix-id", "The call's id. `webhook-id` is the same."),
            header("svix-timestamp", "When it was signed, Unix seconds. `webhook-timestamp` is the same."),
            header("svix-signature", "Its signatures, `v1,…`. `webhook-signature` is the same."),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["type"], "properties": {
            "type": {"type": "string", "examples": ["email.received"]},
            "data": {"type": "object", "properties": {"email_id": {"type": "string", "description": "The id of the message at Resend."}}}}}}}},
        "responses": answers,
    });
}

/// The schemas of bodies and responses.
pub fn schemas(wire: &Wire) -> Vec<(&'static str, Value)> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let text_or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    let addresses = |about: &str| json!({"description": about, "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 50}, {"type": "null"}]});
    let custom = by_table("emails").map_or("custom", |entity| (wire.column)(entity, "custom"));
    let mut message = json!({
        "from": text_or_null("The sender, `ada@example.com` or `Ada <ada@example.com>`; by default the integration's `from_email`."),
        "to": addresses("The recipients. To, cc and bcc have at most 50 together."),
        "cc": addresses("The recipients of copies."),
        "bcc": addresses("Recipients whom the others do not see."),
        "reply_to": addresses("Where answers go."),
        "subject": text("One line."),
        "html": text_or_null("The HTML part. It requires this or `text`."),
        "text": text_or_null("The text part."),
        "headers": {"type": ["object", "null"], "additionalProperties": {"type": "string"}, "maxProperties": 50, "description": "Additional headers."},
        "attachments": {"type": ["array", "null"], "maxItems": 50, "description": "Files, at most 10 MiB in all before they are encoded. The body has at most 16 MiB.", "items": {
            "type": "object", "required": ["filename", "content"], "additionalProperties": false, "properties": {
                "filename": text("The file's name."), "content": text("The content in base64."),
                "content_type": text_or_null("The media type."), "content_id": text_or_null("The id by which `html` shows it: `cid:…`.")}}},
        "in_reply_to": text_or_null("The message that it answers: the id of a recorded e-mail, or a Message-ID."),
        "deal_ids": {"type": ["array", "null"], "items": {"type": "string"}, "description": "Deals that it concerns."},
    });
    message[custom] = json!({"type": ["object", "null"], "additionalProperties": true, "description": "Free-form fields of the record."});
    let object = |kind: &str, properties: Value| {
        let mut all = Map::new();
        if let Some(name) = wire.object {
            all.insert(name.to_owned(), json!({"type": "string", "const": kind}));
        }
        all.extend(properties.as_object().cloned().unwrap_or_default());
        let names: Vec<&String> = all.keys().collect();
        json!({"type": "object", "required": names, "properties": all})
    };
    let integration = || {
        json!({
            "configured": {"type": "boolean", "description": "Whether the workspace can send."},
            "provider": {"type": ["string", "null"], "enum": ["resend", "smtp", null]},
            "from_email": text_or_null("The sender of e-mail that names none."),
            "inbound_url": text_or_null("Resend: the address for a webhook at Resend with the event `email.received`."),
            "receives": {"type": "boolean", "description": "Whether that webhook's secret is set."},
            "last_error": text_or_null("Why the integration can't be used: its secrets can't be decrypted."),
            "verified": {"type": "boolean", "description": "Whether the provider accepts e-mail from `from_email`: its domain is verified, or the mail server accepts the log-in."},
        })
    };
    let mut removed = integration();
    removed["deleted"] = json!({"type": "boolean", "const": true});
    let mailbox = json!({
        "configured": {"type": "boolean", "description": "Whether a mailbox is connected."},
        "host": text_or_null("The IMAP server."),
        "port": {"type": ["integer", "null"], "description": "Its port."},
        "username": text_or_null("The user."),
        "tls": {"type": ["string", "null"], "enum": ["implicit", "required", "none", null]},
        "folder": text_or_null("The folder that is read."),
        "address": text_or_null("The address whose e-mail it has, if the user's name is none."),
        "status": {"type": ["string", "null"], "enum": ["connecting", "connected", "failing", null]},
        "last_error": text_or_null("Why it can't be read, or why a message was refused."),
        "last_checked_at": {"type": ["string", "null"], "format": "date-time", "description": "When it was last read up to its end."},
        "received": {"type": "integer", "description": "How many messages were new."},
        "created_at": {"type": ["string", "null"], "format": "date-time", "description": "When it was connected."},
    });
    let gone =
        json!({"configured": {"type": "boolean", "const": false}, "deleted": {"type": "boolean", "const": true}});
    let domain = json!({
        "id": text("The domain's id at Resend."), "name": text("`mail.example.com`"), "status": text("`not_started`, `pending`, `verified` …"),
    });
    let mut domain = object("email_domain", domain);
    domain["additionalProperties"] = true.into();
    vec![
        (
            BODY,
            json!({"type": "object", "required": ["to", "subject"], "additionalProperties": false, "properties": message,
                "examples": [{"from": "Ada <ada@example.com>", "to": "sarah@acme.com", "subject": "Pricing", "text": "Hello Sarah …"}]}),
        ),
        ("EmailIntegration", object("email_integration", integration())),
        ("RemovedEmailIntegration", object("email_integration", removed)),
        (
            "EmailIntegrationSet",
            json!({"type": "object", "required": ["from_email"], "additionalProperties": false, "properties": {
                "provider": {"type": ["string", "null"], "enum": ["resend", "smtp", null], "description": "By default `resend`."},
                "api_key": text_or_null("Resend: the account's key, `re_…`."),
                "url": text_or_null("SMTP: `smtp://user:password@host:587` or `smtps://…`; or the four fields that follow."),
                "host": text_or_null("SMTP: the server."),
                "port": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535, "description": "SMTP: its port."},
                "username": text_or_null("SMTP: the user."), "password": text_or_null("SMTP: the password."),
                "tls": {"type": ["string", "null"], "enum": ["implicit", "required", "opportunistic", "none", null],
                    "description": "SMTP: how the connection is encrypted. With a password by default `required`."},
                "from_email": text("The sender of e-mail that names none."),
                "webhook_secret": text_or_null("Resend: the signing secret of a webhook for `inbound_url`, `whsec_…`. If it is left out, the present one stays; null removes it."),
            }, "examples": [{"api_key": "re_123", "from_email": "Ada <ada@example.com>"}]}),
        ),
        ("MailboxIntegration", object("mailbox", mailbox)),
        ("RemovedMailbox", object("mailbox", gone)),
        (
            "MailboxConnect",
            json!({"type": "object", "required": ["host", "username", "password"], "additionalProperties": false, "properties": {
                "host": text("The IMAP server, `imap.example.com`."),
                "port": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535, "description": "By default 993, or 143 without `implicit`."},
                "username": text("The user."), "password": text("The password, or an app password. It is stored encrypted and never shown."),
                "tls": {"type": ["string", "null"], "enum": ["implicit", "required", "none", null],
                    "description": "How the connection is encrypted: from the start, by STARTTLS, or never. By default `implicit`; on port 143 `required`."},
                "folder": text_or_null("The folder that is read, by default `INBOX`."),
                "address": text_or_null("The address whose e-mail it has, if `username` is none. Messages from it are outbound."),
                "since": text_or_null("A day, `2026-11-01`. Messages that came on that day or later are recorded too."),
            }, "examples": [{"host": "imap.example.com", "username": "ada@example.com", "password": "app-password"}]}),
        ),
        ("EmailDomain", domain),
        (
            "EmailDomainCreate",
            json!({"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
                "name": text("The domain, `mail.example.com`."), "region": text_or_null("Where Resend sends from: `us-east-1`, `eu-west-1` …")}}),
        ),
    ]
}
