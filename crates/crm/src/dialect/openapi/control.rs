//! The paths of events, and of what lives in the control plane: webhooks and their deliveries. The OpenAPI documents of all dialects,
//! `/llms.txt` and the pages are generated from one table.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::{Act, Reference, Wire, header_name, reference_to};
use crate::model::call::Method::{self, Delete, Get, Patch, Post, Put};

/// A method and a path.
#[derive(Debug)]
pub struct Task {
    /// The HTTP method.
    pub method: Method,
    /// The path, with placeholders such as `{id}`.
    pub path: &'static str,
    /// The description.
    pub about: &'static str,
    id: &'static str,
    summary: &'static str,
    /// The schema of the body; empty if there is none.
    body: &'static str,
    answer: ControlReturns,
    codes: &'static [&'static str],
}

/// The successful response of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlReturns {
    One(&'static str),
    Made(&'static str),
    Page(&'static str),
    Deleted,
}

/// The tags of these paths.
const WEBHOOKS: &str = "webhooks";
const EVENTS: &str = "events";
const SENDING: &str = "sending";
const AUTOMATIONS: &str = "automations";
const LOGS: &str = "logs";

/// All methods and paths, in reading order.
#[rustfmt::skip] // a table
pub const TASKS: &[Task] = &[
    Task { method: Post, path: "/v1/webhooks", id: "createWebhook", summary: "Create a webhook", body: "WebhookCreate",
        answer: ControlReturns::Made("MadeWebhook"), codes: &["target_not_allowed"],
        about: "Subscribes an address to events: `{url, events, enabled?, description?}`. Only this answer and that of a rotation have `secret`, which signs the payloads. Addresses in private networks are refused." },
    Task { method: Get, path: "/v1/webhooks", id: "listWebhooks", summary: "List webhooks", body: "", answer: ControlReturns::Page("Webhook"), codes: &["invalid_cursor"],
        about: "Lists the webhooks, newest first." },
    Task { method: Get, path: "/v1/webhooks/{id}", id: "getWebhook", summary: "Get a webhook", body: "", answer: ControlReturns::One("Webhook"), codes: &["not_found"],
        about: "Gets one webhook. `disabled_reason` says why Kith disabled it, `behind_since` that its queue is full." },
    Task { method: Patch, path: "/v1/webhooks/{id}", id: "updateWebhook", summary: "Change a webhook", body: "WebhookPatch",
        answer: ControlReturns::One("Webhook"), codes: &["not_found", "target_not_allowed"],
        about: "Changes the fields that are named. `{\"enabled\": true}` enables a webhook that was disabled." },
    Task { method: Delete, path: "/v1/webhooks/{id}", id: "deleteWebhook", summary: "Delete a webhook", body: "", answer: ControlReturns::Deleted, codes: &["not_found"],
        about: "Deletes a webhook and its deliveries." },
    Task { method: Post, path: "/v1/webhooks/{id}/rotate-secret", id: "rotateWebhookSecret", summary: "Replace a webhook's secret", body: "",
        answer: ControlReturns::One("RotatedWebhook"), codes: &["not_found"],
        about: "Creates another secret. For 24 hours payloads are signed with both. `relm-signature` then has two `v1`. A receiver that reads only the first one verifies with either secret too: the first attempt begins with the signature that the receiver took last (the new secret's after a rotation), and each further attempt changes the order." },
    Task { method: Post, path: "/v1/webhooks/{id}/test", id: "testWebhook", summary: "Send a test event", body: "",
        answer: ControlReturns::Made("WebhookDelivery"), codes: &["not_found", "validation_failed"],
        about: "Sends an event of type `webhook.test`, whatever events the webhook chooses. It is refused while the webhook's queue is full." },
    Task { method: Get, path: "/v1/webhooks/{id}/deliveries", id: "listWebhookDeliveries", summary: "List a webhook's deliveries", body: "",
        answer: ControlReturns::Page("WebhookDelivery"), codes: &["not_found", "invalid_cursor"],
        about: "Lists the deliveries of the last 30 days, newest first; of those that were delivered, and of those that failed, the newest 10,000. `?status=` chooses `pending`, `delivered` or `failed`." },
    Task { method: Post, path: "/v1/webhooks/{id}/replay/{delivery_id}", id: "replayWebhookDelivery", summary: "Send a delivery again", body: "",
        answer: ControlReturns::One("WebhookDelivery"), codes: &["not_found"],
        about: "Sends a delivery again, with the same `webhook-id` and body." },
    Task { method: Post, path: "/v1/webhooks/{id}/replay-failed", id: "replayFailedWebhookDeliveries", summary: "Send failed deliveries again", body: "ReplayFailed",
        answer: ControlReturns::One("Replayed"), codes: &["not_found"],
        about: "Sends the deliveries again that failed since a time, `{since}`, the oldest first: as many as the webhook's queue has room for. `has_more` says whether there are more." },
    Task { method: Post, path: "/v1/automations", id: "createAutomation", summary: "Create an automation", body: "AutomationCreate",
        answer: ControlReturns::Made("Automation"), codes: &[],
        about: "A rule: when a `trigger_event` fires and all `conditions` hold, its `actions` are done. They have a member's rights. What an automation writes can fire another one, at most twice in a row." },
    Task { method: Get, path: "/v1/automations", id: "listAutomations", summary: "List automations", body: "", answer: ControlReturns::Page("Automation"), codes: &["invalid_cursor"],
        about: "Lists the automations, newest first." },
    Task { method: Get, path: "/v1/automations/{id}", id: "getAutomation", summary: "Get an automation", body: "", answer: ControlReturns::One("Automation"), codes: &["not_found"],
        about: "Gets one automation. `disabled_reason` says why Kith switched it off, `behind_since` that its queue is full." },
    Task { method: Patch, path: "/v1/automations/{id}", id: "updateAutomation", summary: "Change an automation", body: "AutomationPatch",
        answer: ControlReturns::One("Automation"), codes: &["not_found"], about: "Changes the fields that are named." },
    Task { method: Delete, path: "/v1/automations/{id}", id: "deleteAutomation", summary: "Delete an automation", body: "", answer: ControlReturns::Deleted, codes: &["not_found"],
        about: "Deletes an automation and its runs. What it has written stays." },
    Task { method: Get, path: "/v1/automations/{id}/runs", id: "listAutomationRuns", summary: "List an automation's runs", body: "",
        answer: ControlReturns::Page("AutomationRun"), codes: &["not_found", "invalid_cursor"],
        about: "Lists the runs of the last 30 days, the newest 10,000, newest first: `success`, `error`, or `skipped` if the conditions did not hold or the automation was switched off first. `?status=` chooses." },
    Task { method: Get, path: "/v1/integrations/email", id: "getEmailIntegration", summary: "Get the e-mail integration", body: "",
        answer: ControlReturns::One("EmailIntegration"), codes: &[],
        about: "How the workspace sends and receives e-mail: `{configured, from_email, verified}`. `PUT {api_key: \"re_…\", from_email}` connects a Resend account, `PUT {provider: \"smtp\", url, from_email}` a mail server. Secrets are stored encrypted and never shown." },
    Task { method: Put, path: "/v1/integrations/email", id: "setEmailIntegration", summary: "Set the e-mail integration", body: "EmailIntegrationSet",
        answer: ControlReturns::One("EmailIntegration"), codes: &["target_not_allowed"],
        about: "Connects a Resend account, `{api_key, from_email}`, or a mail server, `{provider: \"smtp\", url, from_email}`. It replaces the previous integration. `webhook_secret` lets Resend bring received e-mail to `inbound_url`." },
    Task { method: Delete, path: "/v1/integrations/email", id: "deleteEmailIntegration", summary: "Remove the e-mail integration", body: "",
        answer: ControlReturns::One("RemovedEmailIntegration"), codes: &["not_found"],
        about: "Disconnects the provider and forgets its secrets. Queued e-mail fails." },
    Task { method: Get, path: "/v1/integrations/mailbox", id: "getMailbox", summary: "Get the mailbox", body: "",
        answer: ControlReturns::One("MailboxIntegration"), codes: &[],
        about: "The mailbox that Kith reads by IMAP: its settings without the password, `status`, `last_error`, and how many messages were new." },
    Task { method: Post, path: "/v1/integrations/mailbox", id: "connectMailbox", summary: "Connect a mailbox", body: "MailboxConnect",
        answer: ControlReturns::Made("MailboxIntegration"), codes: &["target_not_allowed"],
        about: "Connects a mailbox, in the place of a previous one: `{host, port?, username, password, tls?, folder?, address?, since?}`. Kith logs in at once, and refuses settings that do not work. New messages are recorded like those of `POST /v1/emails`; `since` adds those that came on that day or later. Nothing in the mailbox is changed." },
    Task { method: Delete, path: "/v1/integrations/mailbox", id: "disconnectMailbox", summary: "Disconnect the mailbox", body: "",
        answer: ControlReturns::One("RemovedMailbox"), codes: &["not_found"],
        about: "Disconnects the mailbox and forgets its password. What was recorded stays." },
    Task { method: Get, path: "/v1/email/domains", id: "listEmailDomains", summary: "List sending domains", body: "",
        answer: ControlReturns::Page("EmailDomain"), codes: &["email_not_configured", "email_rejected", "invalid_cursor"],
        about: "The sending domains of the connected Resend account. Resend answers; its refusals are `email_rejected`." },
    Task { method: Post, path: "/v1/email/domains", id: "createEmailDomain", summary: "Add a sending domain", body: "EmailDomainCreate",
        answer: ControlReturns::Made("EmailDomain"), codes: &["email_not_configured", "email_rejected"],
        about: "Adds a sending domain at Resend: `{name, region?}`. The answer has the DNS records to publish." },
    Task { method: Get, path: "/v1/email/domains/{id}", id: "getEmailDomain", summary: "Get a sending domain", body: "",
        answer: ControlReturns::One("EmailDomain"), codes: &["email_not_configured", "email_rejected", "not_found"],
        about: "Gets one sending domain with the status of its DNS records." },
    Task { method: Post, path: "/v1/email/domains/{id}/verify", id: "verifyEmailDomain", summary: "Verify a sending domain", body: "",
        answer: ControlReturns::One("EmailDomain"), codes: &["email_not_configured", "email_rejected", "not_found"],
        about: "Has Resend check the DNS records again." },
    Task { method: Get, path: REQUEST_LOG, id: "listLogs", summary: "List requests", body: "", answer: ControlReturns::Page("LoggedRequest"), codes: &["invalid_cursor"],
        about: "Lists the requests of the last 7 days, newest first: at most the newest 100,000. An entry is there some seconds after its request. `?status=404` or `?status=4xx`, `?method=POST` and `?since=` choose." },
    Task { method: Post, path: "/v1/automations/{id}/test", id: "testAutomation", summary: "Test an automation", body: "AutomationTest",
        answer: ControlReturns::One("AutomationTrial"), codes: &["not_found"],
        about: "Says what an automation would do with an event, `{event}` in the form of `GET /v1/events`: whether the event fires it, which conditions hold, and what each action would change. The actions are dry runs, each by itself: nothing is kept and nothing is sent." },
    Task { method: Get, path: EVENT_LOG, id: "listEvents", summary: "List events", body: "", answer: ControlReturns::Page("ChangeEvent"), codes: &["invalid_cursor"],
        about: "Lists changes, oldest first, as webhooks tell them. `?after=` takes the cursor of the last page, which an empty page has too; `?type=deal.*` chooses, and `?type=contact.updated` has no `contact.restored`. A custom table that is called like a record has its schema in the type: `public.company.created`. With `Accept: text/event-stream` the same as Server-Sent Events, without end: `id` is the cursor, and `Last-Event-ID` resumes." },
];

/// The description of `behind_since`.
const BEHIND: &str =
    "Since when its queue is full. Later events wait in the workspace's change log, and are queued as there is room.";

/// The log of requests.
const REQUEST_LOG: &str = "/v1/logs";

/// The events of a workspace, as a list and as a stream.
pub const EVENT_LOG: &str = "/v1/events";

/// Adds the paths to those of a document.
pub fn add(paths: &mut Value, reference: &Reference, responses: &mut Responses) {
    for task in TASKS {
        paths[task.path][task.method.name().to_lowercase()] = operation(task, &reference.wire, responses);
    }
}

/// The tags, with their descriptions.
pub fn tags() -> [Value; 5] {
    [
        json!({"name": WEBHOOKS, "description": "Addresses to which events are sent, and what was sent to them."}),
        json!({"name": AUTOMATIONS, "description": "Rules that act when events fire."}),
        json!({"name": SENDING, "description": "How e-mail is sent and received."}),
        json!({"name": LOGS, "description": "The requests that the workspace has got."}),
        json!({"name": EVENTS, "description": "What was changed, in order."}),
    ]
}

fn tag_of(task: &Task) -> &'static str {
    match task.path.split('/').nth(2) {
        Some("webhooks") => WEBHOOKS,
        Some("automations") => AUTOMATIONS,
        Some("integrations" | "email") => SENDING,
        Some("logs") => LOGS,
        _ => EVENTS,
    }
}

fn operation(task: &Task, wire: &Wire, responses: &mut Responses) -> Value {
    let shared = |name: &str| reference_to("parameters", name);
    let is_paged = matches!(task.answer, ControlReturns::Page(_));
    let is_keyed = task.method == Post;
    let segments = task.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments.map(|name| path_parameter(task, name)).collect();
    if task.path.ends_with("/runs") {
        let schema = json!({"type": "string", "enum": ["success", "error", "skipped"]});
        parameters.push(
            json!({"name": "status", "in": "query", "description": "Only runs with this status.", "schema": schema}),
        );
    }
    if task.path.ends_with("/deliveries") {
        parameters.push(json!({"name": "status", "in": "query", "description": "Only deliveries with this status.", "schema": status()}));
    }
    let query = |name: &str, about: &str| json!({"name": name, "in": "query", "description": about, "schema": {"type": "string"}});
    if task.path == REQUEST_LOG {
        let of = |name: &str, schema: Value, about: &str| json!({"name": name, "in": "query", "description": about, "schema": schema});
        let status = json!({"type": "string", "pattern": "^[1-5]([0-9][0-9]|xx)$", "examples": ["4xx"]});
        let methods = Method::ALL.map(Method::name);
        parameters.extend([
            of("status", status, "Only answers with this status: `404`, or `4xx` for all from 400 to 499."),
            of("method", json!({"type": "string", "enum": methods}), "Only requests with this method."),
            of("since", json!({"type": "string", "format": "date-time"}), "Only requests since this time."),
        ]);
    }
    if task.path == EVENT_LOG {
        parameters.push(query("after", "The cursor after which the events begin: `next_cursor`, or the `id` of a streamed event. `cursor` is the same."));
        parameters.push(query("type", "Types of events, separated by commas: `contact.created`, `deal.*`."));
    }
    if is_paged {
        parameters.extend(["limit", "cursor"].map(shared));
    }
    if wire.versions.is_some() {
        parameters.push(shared("version"));
    }
    if is_keyed {
        parameters.push(shared("idempotency_key"));
    }
    let mut operation = json!({
        "operationId": task.id,
        "summary": task.summary,
        "description": task.about,
        "tags": [tag_of(task)],
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !task.body.is_empty() {
        let schema = reference_to("schemas", task.body);
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    let mut answers = Map::new();
    let status = if matches!(task.answer, ControlReturns::Made(_)) { 201 } else { 200 };
    answers.insert(status.to_string(), answer(task, wire, status, is_keyed));
    responses.add(&mut answers, wire, |code| match code {
        "quota_exceeded" => true,
        "forbidden" | "workspace_read_only" | "unsupported_media_type" => task.method != Get,
        "idempotency_conflict" | "idempotency_in_progress" => is_keyed,
        "validation_failed" => !task.body.is_empty() || task.codes.contains(&code),
        code => task.codes.contains(&code),
    });
    operation["responses"] = answers.into();
    operation
}

fn answer(task: &Task, wire: &Wire, status: u16, is_keyed: bool) -> Value {
    let named = |name: &str| reference_to("schemas", name);
    let (act, row) = match task.answer {
        ControlReturns::One(name) | ControlReturns::Made(name) => (Act::Find, named(name)),
        ControlReturns::Page(name) => (Act::List, named(name)),
        ControlReturns::Deleted => (Act::Delete, Value::Null),
    };
    let mut headers = json!({"X-Request-Id": reference_to("headers", "request_id")});
    for (name, header) in [("Limit", "rate_limit"), ("Remaining", "rate_remaining"), ("Reset", "rate_reset")] {
        headers[format!("X-RateLimit-{name}")] = reference_to("headers", header);
    }
    if let Some(versions) = wire.versions {
        headers[header_name(versions)] = reference_to("headers", "version");
    }
    if is_keyed {
        headers["Idempotent-Replayed"] = reference_to("headers", "replayed");
    }
    let words = if status == 201 { "Created." } else { "Done." };
    json!({"description": words, "headers": headers, "content": {"application/json": {"schema": (wire.answer)(act, row)}}})
}

fn path_parameter(task: &Task, name: &str) -> Value {
    let about = match (name, tag_of(task)) {
        ("delivery_id", _) => "The delivery, `whd_…`.",
        (_, AUTOMATIONS) => "The automation, `auto_…`.",
        (_, SENDING) => "The domain's id at Resend.",
        _ => "The webhook, `whep_…`.",
    };
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": "string"}})
}

fn status() -> Value {
    json!({"type": "string", "enum": ["pending", "delivered", "failed"]})
}

/// The schemas of bodies and responses.
pub fn schemas(wire: &Wire) -> Vec<(&'static str, Value)> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let url = || json!({"type": "string", "format": "uri", "maxLength": 2048, "description": "The address, `https://` or `http://`."});
    let events = || {
        json!({"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"},
            "description": "Types of events: `contact.created`, `deal.*`, `deal.stage_changed`, `invoices.updated` of a table of your own, or `*` for all.",
            "examples": [["contact.created", "deal.*"]]})
    };
    let enabled = || json!({"type": "boolean", "description": "Whether events are sent."});
    let description = || json!({"type": ["string", "null"], "maxLength": 1000, "description": "A note for people."});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let or_null = |mut schema: Value| {
        schema["type"] = json!([schema["type"], "null"]);
        schema
    };
    let object = |kind: &str, properties: Value, more: Value| {
        let mut all = Map::new();
        if let Some(name) = wire.object {
            all.insert(name.to_owned(), json!({"type": "string", "const": kind}));
        }
        all.extend([properties, more].into_iter().filter_map(|it| it.as_object().cloned()).flatten());
        let names: Vec<&String> = all.keys().collect();
        json!({"type": "object", "required": names, "properties": all})
    };
    let webhook = || {
        json!({"id": text("`whep_…`"), "url": url(), "events": events(), "description": description(), "enabled": enabled(),
            "disabled_reason": or_null(text("Why Kith disabled it.")),
            "failing_since": or_null(time("The first failed attempt since the last delivery.")),
            "behind_since": or_null(time(BEHIND)),
            "created_by": text("The actor who created it: `api_key:ak_…`."),
            "created_at": time("Time of creation."), "updated_at": time("Time of the last change.")})
    };
    let secret = || text("`whsec_…`: signs the payloads. Shown this once.");
    let fields = |required: &[&str]| {
        let mut schema = json!({"type": "object", "additionalProperties": false,
            "properties": {"url": url(), "events": events(), "enabled": enabled(), "description": description()}});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    };
    let text_or_null = |about: &str| or_null(text(about));
    let mut event = json!({"type": "object", "required": ["id", "type", "created_at", "workspace_id", "mode", "data", "actor", "request_id", "run_id"],
        "properties": {"id": text("`evt_…`"), "type": text("`contact.created`"), "created_at": time("Time of the change."), "workspace_id": text("`ws_…`"),
            "mode": {"type": "string", "enum": ["live", "test"]},
            "data": {"type": "object", "additionalProperties": true, "description": "The record after the change; before it, if it was deleted permanently."},
            "previous": {"type": "object", "additionalProperties": true, "description": "The previous values of the fields that an update changed."},
            "actor": text("The actor."), "request_id": text_or_null("The request; null for a direct connection."),
            "run_id": text_or_null("The `X-Run-Id` of the request."), "undo_of": text("What the change undoes.")}});
    event["description"] = "Something that happened to a record. Webhooks send it too.".into();
    let objects = |about: &str| json!({"type": "array", "maxItems": 50, "items": {"type": "object", "additionalProperties": true}, "description": about});
    let rule = || {
        json!({"name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Its name."},
            "trigger_event": text("The events that fire it: `deal.stage_changed`, `contact.*`, `*`."), "enabled": enabled(),
            "conditions": objects("All must hold: `{field, op, value?}`. `field` is a path into the event's `data`, or into `previous`; `op` is eq, neq, contains, exists or in."),
            "actions": objects("Done in order: `{type: \"move_deal_stage\", stage, pipeline?}`, `{type: \"create_activity\", activity_type, subject?, body?}`, `{type: \"set_metadata\", target?, key, value}`, `{type: \"send_email\", to, subject, html?, text?, from?}` with placeholders such as `{{contact.first_name}}`.")})
    };
    let rule_fields = |required: &[&str]| {
        let mut schema = json!({"type": "object", "additionalProperties": false, "properties": rule()});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    };
    let mut automation = json!({"id": text("`auto_…`")});
    for (name, schema) in rule().as_object().into_iter().flatten() {
        automation[name] = schema.clone();
    }
    let of_automation = json!({"disabled_reason": or_null(text("Why Kith switched it off.")), "behind_since": or_null(time(BEHIND)),
        "created_by": text("The actor who created it."),
        "created_at": time("Time of creation."), "updated_at": time("Time of the last change.")});
    vec![
        ("Automation", object("automation", automation, of_automation)),
        ("AutomationCreate", rule_fields(&["name", "trigger_event", "actions"])),
        ("AutomationPatch", rule_fields(&[])),
        (
            "AutomationRun",
            object(
                "automation_run",
                json!({"id": text("`run_…`"), "automation_id": text("`auto_…`"), "event_id": text("`evt_…`"), "event_type": text("`deal.updated`"),
                    "status": {"type": "string", "enum": ["success", "error", "skipped"]},
                    "depth": {"type": "integer", "description": "0 if a person or key fired it, 1 if an automation did."},
                    "caused_by": or_null(text("The run or request that fired it.")),
                    "actions": objects("The outcome of each action: `{type, status, id?, error?}`."),
                    "error": or_null(text("What went wrong, or that the automation was switched off before this run.")), "duration_ms": {"type": ["integer", "null"], "description": "How long it took."},
                    "request_id": text("The request of its writes."), "created_at": time("Time of its event's arrival in the queue.")}),
                json!({}),
            ),
        ),
        (
            "AutomationTest",
            json!({"type": "object", "required": ["event"], "additionalProperties": false, "properties": {"event": {
                "type": "object", "required": ["type"], "additionalProperties": true, "description": "An event: `type`, `data`, and `previous` of an update.",
                "properties": {"type": text("`deal.stage_changed`"), "data": {"type": "object", "additionalProperties": true}, "previous": {"type": "object", "additionalProperties": true}}}}}),
        ),
        (
            "AutomationTrial",
            object(
                "automation_test",
                json!({"automation_id": text("`auto_…`"), "event_type": text("`deal.stage_changed`"),
                    "fires": {"type": "boolean", "description": "Whether the trigger chooses the event."},
                    "status": {"type": "string", "enum": ["success", "error", "skipped"], "description": "What its run would be recorded as."},
                    "conditions": objects("Each condition with the value that was `found`, and whether it `holds`."),
                    "actions": objects("What each action would do: `{type, status, error?, affected?, changes?, changes_truncated?}`. Empty if the run would be skipped."),
                    "error": or_null(text("What would go wrong."))}),
                json!({}),
            ),
        ),
        ("ChangeEvent", event),
        (
            "LoggedRequest",
            object(
                "request",
                json!({"id": text("`req_…`, the header `X-Request-Id`."), "created_at": time("When it came."), "method": text("`POST`"),
                    "path": text("The path without its query; tokens in it are masked."), "tool": or_null(text("The tool of MCP that was called.")),
                    "status": {"type": "integer", "description": "The status of the answer."}, "code": or_null(text("The code of the error.")),
                    "duration_ms": {"type": "number", "description": "How long it took, in milliseconds."},
                    "actor": or_null(text("`api_key:ak_…` or `user:u_…`")), "actor_name": or_null(text("The name of the key or the person.")),
                    "key_hint": or_null(text("The first and last characters of the key.")), "agent": or_null(text("The header `X-Agent`."))}),
                json!({}),
            ),
        ),
        ("Webhook", object("webhook", webhook(), json!({}))),
        ("MadeWebhook", object("webhook", webhook(), json!({"secret": secret()}))),
        (
            "RotatedWebhook",
            object(
                "webhook",
                webhook(),
                json!({"secret": secret(), "previous_secret_expires_at": time("Until then payloads are signed with the previous secret too.")}),
            ),
        ),
        ("WebhookCreate", fields(&["url", "events"])),
        ("WebhookPatch", fields(&[])),
        (
            "WebhookDelivery",
            object(
                "webhook_delivery",
                json!({"id": text("`whd_…`"), "event_id": text("`evt_…`, the header `webhook-id`."), "event_type": text("`contact.created`"),
                    "status": status(), "attempts": {"type": "integer", "description": "Attempts so far, at most 8."},
                    "response_status": {"type": ["integer", "null"], "description": "The status of the last answer."},
                    "response_body": or_null(text("The first 4 KiB of the last answer.")),
                    "duration_ms": {"type": ["integer", "null"], "description": "How long the last attempt took."},
                    "error": or_null(text("Why the last attempt failed.")),
                    "next_attempt_at": or_null(time("The next attempt of a pending delivery.")),
                    "created_at": time("Time of the event's arrival in the queue.")}),
                json!({}),
            ),
        ),
        (
            "ReplayFailed",
            json!({"type": "object", "required": ["since"], "additionalProperties": false, "properties": {"since": time("Deliveries that were queued at this time or later.")}}),
        ),
        (
            "Replayed",
            object(
                "replay",
                json!({"webhook_id": text("`whep_…`"), "since": time("The time of the request."), "replayed": {"type": "integer", "description": "How many deliveries are sent again."},
                    "has_more": {"type": "boolean", "description": "Whether there are more, for which there was no room."}}),
                json!({}),
            ),
        ),
    ]
}

/// The path in the form for readers: `/v1/webhooks/:id/test`.
pub fn readable_path(task: &Task) -> String {
    let segments = task.path.split('/');
    let segments =
        segments.map(|it| it.strip_prefix('{').map_or(it.into(), |it| format!(":{}", it.trim_end_matches('}'))));
    segments.collect::<Vec<_>>().join("/")
}
