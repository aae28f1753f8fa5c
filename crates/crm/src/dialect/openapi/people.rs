//! What people do on the control plane: accounts, claims, keys, members, connections. One table, from which the OpenAPI
//! document, `/llms.txt` and the pages are written; the server holds its routes to it.
//!
//! These paths take a person's session, not a key, and are answered in agentCRM's shape, so one dialect describes them.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::{Act, Reference, reference_to};
use crate::model::call::Method::{self, Delete, Get, Patch, Post};
use crate::model::who::{Mode, Role};

/// A path with a method, for people.
#[derive(Debug)]
pub struct Errand {
    /// The method.
    pub method: Method,
    /// The path, with `{id}` … for what is put in.
    pub path: &'static str,
    /// Its name in the document.
    pub id: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What it does and what comes of it.
    pub about: &'static str,
    /// Whether it takes a session.
    pub caller: Credentials,
    /// Its query parameters.
    pub query: &'static [BodyField],
    /// The fields of its body; none where it reads none.
    pub body: &'static [BodyField],
    /// What comes of it.
    answer: Returns,
    /// The codes that it may end in, beyond those of all.
    codes: &'static [&'static str],
}

/// Who may go on an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever comes.
    Anybody,
    /// Who shows a session.
    Person,
}

/// A field of a body, or a query parameter.
#[derive(Debug)]
pub struct BodyField {
    /// Its name.
    pub name: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    kind: BodyKind,
    about: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum BodyKind {
    Text,
    Email,
    Name,
    Password,
    Dialect,
    Mode,
    Role,
    Invited,
}

/// What comes of an errand.
#[derive(Clone, Copy, Debug)]
enum Returns {
    /// 200 and one of these.
    One(&'static str),
    /// 200 and a page of these.
    Page(&'static str),
    /// 201 and what was made.
    Made(&'static str),
    /// 202: it will be done.
    Accepted(&'static str),
    /// 302: the browser goes on elsewhere.
    Away,
}

const fn field(name: &'static str, kind: BodyKind, about: &'static str) -> BodyField {
    BodyField { name, required: true, kind, about }
}

const fn optional(name: &'static str, kind: BodyKind, about: &'static str) -> BodyField {
    BodyField { name, required: false, kind, about }
}

const WS: BodyField = field("ws", BodyKind::Text, "The workspace, `ws_…`.");
const USER: BodyField = field("user_id", BodyKind::Text, "The member, `u_…`.");
const EMAIL: BodyField = field("email", BodyKind::Email, "The e-mail address.");
const NEW_PASSWORD: BodyField = field("password", BodyKind::Password, "The new password: 10 to 256 characters.");
const TOKEN: BodyField = field("token", BodyKind::Text, "The token from the e-mail.");

const TAG: &str = "people";

/// Every path and method for people, in reading order.
#[rustfmt::skip] // a table
pub const ERRANDS: &[Errand] = &[
    Errand { method: Post, path: "/v1/auth/signup", id: "signUp", summary: "Make an account", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL, NEW_PASSWORD, optional("name", BodyKind::Name, "What you are called.")], answer: Returns::Made("OpenedSession"),
        codes: &["conflict"],
        about: "Makes an account and begins its first session: `{user, session_token}`. An e-mail is sent that verifies the address. 409 where the address has an account." },
    Errand { method: Post, path: "/v1/auth/login", id: "logIn", summary: "Begin a session", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL, field("password", BodyKind::Text, "The password.")], answer: Returns::One("OpenedSession"), codes: &[],
        about: "Begins a session: `{user, session_token}`. Ten failures of an account or an address within 15 minutes: 429 with `Retry-After`." },
    Errand { method: Get, path: "/v1/auth/oidc/{provider}/start", id: "startSignIn", summary: "Sign in elsewhere", caller: Credentials::Anybody,
        query: &[optional("next", BodyKind::Text, "The path of this Kith to which it leads in the end.")], body: &[], answer: Returns::Away, codes: &["not_found"],
        about: "For a browser: leads to an OpenID Connect provider, `google` or `oidc`, where one is configured, and from there back to a session." },
    Errand { method: Get, path: "/v1/auth/oidc/{provider}/callback", id: "finishSignIn", summary: "Come back from elsewhere", caller: Credentials::Anybody,
        query: &[optional("code", BodyKind::Text, "What the provider gave."), optional("state", BodyKind::Text, "What was handed along.")],
        body: &[], answer: Returns::Away, codes: &["not_found"],
        about: "Where the provider sends the browser back to: sets the session's cookie and leads to `next`, or to `/login?error=…`, which says why not." },
    Errand { method: Post, path: "/v1/auth/logout", id: "logOut", summary: "End this session", caller: Credentials::Person, query: &[],
        body: &[], answer: Returns::One("Ended"), codes: &[],
        about: "Ends the session that is shown. Clerk's sessions end at Clerk." },
    Errand { method: Get, path: "/v1/auth/me", id: "getMe", summary: "Say who I am", caller: Credentials::Person, query: &[], body: &[],
        answer: Returns::One("Me"), codes: &[], about: "Whose session it is." },
    Errand { method: Get, path: "/v1/auth/sessions", id: "listSessions", summary: "List my sessions", caller: Credentials::Person, query: &[], body: &[],
        answer: Returns::Page("Session"), codes: &[], about: "The sessions that work, the newest first." },
    Errand { method: Delete, path: "/v1/auth/sessions/{id}", id: "endSession", summary: "End a session of mine", caller: Credentials::Person, query: &[], body: &[],
        answer: Returns::One("Ended"), codes: &["not_found"], about: "Ends a session of the caller's." },
    Errand { method: Post, path: "/v1/auth/verify-email", id: "verifyEmail", summary: "Verify an address", caller: Credentials::Anybody, query: &[],
        body: &[TOKEN], answer: Returns::One("Me"), codes: &[], about: "Verifies the address that the e-mail was sent to." },
    Errand { method: Post, path: "/v1/auth/request-verification", id: "requestVerification", summary: "Send that e-mail again", caller: Credentials::Person, query: &[],
        body: &[], answer: Returns::Accepted("Me"), codes: &[], about: "Sends the e-mail that verifies the caller's address again." },
    Errand { method: Post, path: "/v1/auth/request-password-reset", id: "requestPasswordReset", summary: "Send a link for a new password", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL], answer: Returns::Accepted("Requested"), codes: &[], about: "Sends a link by which to choose a new password, if the address has an account; always 202." },
    Errand { method: Post, path: "/v1/auth/reset-password", id: "resetPassword", summary: "Choose a new password", caller: Credentials::Anybody, query: &[],
        body: &[TOKEN, NEW_PASSWORD], answer: Returns::One("Me"), codes: &[],
        about: "Ends all other sessions. If the address was never verified before, the account's keys and connections end too." },
    Errand { method: Post, path: "/v1/auth/change-password", id: "changePassword", summary: "Change my password", caller: Credentials::Person, query: &[],
        body: &[field("current_password", BodyKind::Text, "The password until now."), NEW_PASSWORD], answer: Returns::One("Me"),
        codes: &["forbidden"], about: "Ends all other sessions." },
    Errand { method: Get, path: "/v1/workspaces", id: "listWorkspaces", summary: "List my workspaces", caller: Credentials::Person, query: &[], body: &[],
        answer: Returns::Page("Belonging"), codes: &[], about: "The workspaces that the caller belongs to, and the caller's role in each." },
    Errand { method: Post, path: "/v1/claim/{ws_id}", id: "claimWorkspace", summary: "Claim a workspace", caller: Credentials::Person, query: &[],
        body: &[], answer: Returns::One("Claimed"), codes: &["not_found", "conflict"],
        about: "An anonymous workspace becomes the caller's: its dev key ends, `api_key` is a live one. 409 where somebody owns it. `claim_url` is the page for this." },
    Errand { method: Get, path: "/v1/keys", id: "listKeys", summary: "List a workspace's keys", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::Page("Key"), codes: &["not_found"], about: "The keys that work, with when each was last used; never the keys themselves." },
    Errand { method: Post, path: "/v1/keys", id: "createKey", summary: "Make a key", caller: Credentials::Person, query: &[WS],
        body: &[optional("name", BodyKind::Name, "What it is called."), optional("dialect", BodyKind::Dialect, "What it speaks."),
            optional("mode", BodyKind::Mode, "Which data it sees. Test data is apart from the live, for Relm's keys."),
            optional("role", BodyKind::Role, "What it may do; no more than its maker. A viewer's key is read-only.")],
        answer: Returns::Made("MadeKey"), codes: &["forbidden", "not_found"],
        about: "`acrm_live_…`, or with dialect `relm` `sk_live_…` and `sk_test_…`. The answer is the only one with `api_key` in it." },
    Errand { method: Post, path: "/v1/keys/rotate", id: "rotateKeys", summary: "Replace my live keys", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::One("Rotated"), codes: &["not_found"], about: "Ends the caller's live agentCRM keys and makes a new one. Relm's keys stay." },
    Errand { method: Delete, path: "/v1/keys/{id}", id: "deleteKey", summary: "End a key", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::One("Ended"), codes: &["not_found"], about: "Ends a key within a second. Owners end any, others their own." },
    Errand { method: Get, path: "/v1/members", id: "listMembers", summary: "List a workspace's members", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::Page("Member"), codes: &["not_found"], about: "The members and their roles: `owner`, `member`, `viewer`." },
    Errand { method: Patch, path: "/v1/members", id: "changeRole", summary: "Change a member's role", caller: Credentials::Person, query: &[WS, USER],
        body: &[field("role", BodyKind::Role, "What they may do from now on.")], answer: Returns::One("Changed"),
        codes: &["forbidden", "not_found", "last_owner"],
        about: "Keys above the new role end, and direct connections. For owners." },
    Errand { method: Delete, path: "/v1/members", id: "removeMember", summary: "Remove a member", caller: Credentials::Person, query: &[WS, USER], body: &[],
        answer: Returns::One("Ended"), codes: &["forbidden", "not_found", "last_owner"],
        about: "Their keys and connections end at once. Owners remove anybody, anybody may leave; the last owner can't: 409 `last_owner`." },
    Errand { method: Post, path: "/v1/members/invite", id: "inviteMember", summary: "Invite by e-mail", caller: Credentials::Person, query: &[],
        body: &[field("workspace_id", BodyKind::Text, "The workspace, `ws_…`."), EMAIL, optional("role", BodyKind::Invited, "What they may do.")],
        answer: Returns::Made("Invited"), codes: &["forbidden", "not_found", "already_member"],
        about: "An e-mail goes out; the answer has `token` and `accept_url` for a week. For owners." },
    Errand { method: Get, path: "/v1/members/invites", id: "listInvites", summary: "List open invitations", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::Page("Invitation"), codes: &["forbidden", "not_found"], about: "The invitations that nobody has accepted yet. For owners." },
    Errand { method: Delete, path: "/v1/members/invites/{id}", id: "withdrawInvite", summary: "Take an invitation back", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::One("Ended"), codes: &["forbidden", "not_found"], about: "Its token is void from now on. For owners." },
    Errand { method: Post, path: "/v1/members/accept/{token}", id: "acceptInvite", summary: "Accept an invitation", caller: Credentials::Person, query: &[],
        body: &[], answer: Returns::One("Joined"), codes: &["forbidden", "not_found"], about: "Makes the caller a member: `{workspace_id, role, api_key}`. For the invited address alone: 403 to others." },
    Errand { method: Post, path: "/v1/connection", id: "openConnection", summary: "Connect to PostgreSQL", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::One("Connection"), codes: &["forbidden", "not_found"],
        about: "`{url, role}`: a postgres:// URL for psql and its like, on the live data under a role of the caller's own; asking again replaces the password." },
    Errand { method: Get, path: "/v1/workspaces/audit", id: "listAudit", summary: "Say who did what", caller: Credentials::Person, query: &[WS], body: &[],
        answer: Returns::Page("AuditEntry"), codes: &["forbidden", "not_found"],
        about: "Who made, rotated, ended, invited, removed and claimed what, the newest first. For owners." },
];

/// Adds the errands to a document's paths.
pub fn add(paths: &mut Value, reference: &Reference, responses: &mut Responses) {
    for errand in reference.errands {
        paths[errand.path][errand.method.name().to_lowercase()] = operation(errand, reference, responses);
    }
}

/// The tag of all of them.
pub fn tag() -> Value {
    json!({"name": TAG, "description": "Accounts, claims, keys, members, connections. These paths take a person's session, not an API key."})
}

/// How a session is shown.
pub fn add_schemes(schemes: &mut Value) {
    schemes["session"] = json!({"type": "http", "scheme": "bearer",
        "description": "A person's session: `session_token` of a sign-up or a log-in, or a Clerk session's JWT where Clerk is configured."});
    schemes["sessionCookie"] = json!({"type": "apiKey", "in": "cookie", "name": "kith_session",
        "description": "The same session, as a browser or another program keeps it. Over TLS the cookie is `__Host-kith_session`. It does not speak for the pages of other sites."});
}

/// Either way to show a session.
pub fn session() -> Value {
    json!([{"session": []}, {"sessionCookie": []}])
}

fn operation(errand: &Errand, reference: &Reference, responses: &mut Responses) -> Value {
    let segments = errand.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments.map(path_parameter).collect();
    parameters.extend(errand.query.iter().map(|field| {
        json!({"name": field.name, "in": "query", "required": field.required, "description": field.about, "schema": schema_of(field.kind)})
    }));
    let is_paged = matches!(errand.answer, Returns::Page(_));
    if is_paged {
        parameters.extend(["limit", "cursor"].map(|name| reference_to("parameters", name)));
    }
    let mut operation = json!({
        "operationId": errand.id,
        "summary": errand.summary,
        "description": errand.about,
        "tags": [TAG],
        "security": if errand.caller == Credentials::Person { session() } else { json!([]) },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !errand.body.is_empty() {
        let required = errand.body.iter().any(|field| field.required);
        operation["requestBody"] =
            json!({"required": required, "content": {"application/json": {"schema": body(errand.body)}}});
    }
    let mut answers = Map::new();
    let (status, answer) = answer(errand, reference);
    answers.insert(status.to_string(), answer);
    responses.add(&mut answers, &reference.wire, |code| match code {
        "conflict" => false,
        "invalid_cursor" => is_paged,
        // A body is looked at where none is taken, too: what it says is not passed over.
        "unsupported_media_type" => errand.method != Get,
        code => errand.codes.contains(&code),
    });
    if errand.codes.contains(&"conflict") {
        answers.insert("409".into(), taken());
    }
    operation["responses"] = answers.into();
    operation
}

fn path_parameter(name: &str) -> Value {
    let (about, schema) = match name {
        "provider" => ("The provider.", json!({"type": "string", "enum": ["google", "oidc"]})),
        "ws_id" => ("The workspace, `ws_…`.", json!({"type": "string"})),
        "token" => ("The invitation's token.", json!({"type": "string"})),
        _ => ("What the list calls `id`.", json!({"type": "string"})),
    };
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema})
}

fn schema_of(kind: BodyKind) -> Value {
    let names = |names: &[&str]| json!({"type": "string", "enum": names});
    match kind {
        BodyKind::Text => json!({"type": "string"}),
        BodyKind::Email => json!({"type": "string", "format": "email", "maxLength": 254}),
        BodyKind::Name => json!({"type": ["string", "null"], "maxLength": 200}),
        BodyKind::Password => json!({"type": "string", "minLength": 10, "maxLength": 256}),
        BodyKind::Dialect => names(&["agentcrm", "relm"]),
        BodyKind::Mode => names(&[Mode::Live.name(), Mode::Test.name()]),
        BodyKind::Role => names(&[Role::Owner, Role::Member, Role::Viewer].map(Role::name)),
        BodyKind::Invited => names(&[Role::Member, Role::Viewer].map(Role::name)),
    }
}

fn body(fields: &[BodyField]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), described(field))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn described(field: &BodyField) -> Value {
    let mut schema = schema_of(field.kind);
    schema["description"] = field.about.into();
    schema
}

fn answer(errand: &Errand, reference: &Reference) -> (u16, Value) {
    let named = |name: &str| reference_to("schemas", name);
    let mut headers = json!({"X-Request-Id": reference_to("headers", "request_id")});
    if errand.caller == Credentials::Person {
        for (name, header) in [("Limit", "rate_limit"), ("Remaining", "rate_remaining"), ("Reset", "rate_reset")] {
            headers[format!("X-RateLimit-{name}")] = reference_to("headers", header);
        }
    }
    let (status, words, data) = match errand.answer {
        Returns::One(name) => (200, "Returns.", named(name)),
        Returns::Page(name) => (200, "Returns.", named(name)),
        Returns::Made(name) => (201, "Returns; what was made.", named(name)),
        Returns::Accepted(name) => (202, "It will be done.", named(name)),
        Returns::Away => {
            headers["Location"] =
                json!({"required": true, "description": "Where the browser goes.", "schema": {"type": "string"}});
            (302, "On to another address.", named("Away"))
        }
    };
    let act = if matches!(errand.answer, Returns::Page(_)) { Act::List } else { Act::Find };
    let schema = (reference.wire.answer)(act, data);
    (status, json!({"description": words, "headers": headers, "content": {"application/json": {"schema": schema}}}))
}

/// Somebody was there before; not a record's unique value, as with other paths.
fn taken() -> Value {
    json!({
        "description": "`conflict`: Somebody was there before: the address has an account, or the workspace an owner.",
        "headers": {"X-Request-Id": reference_to("headers", "request_id")},
        "content": {"application/json": {"schema": reference_to("schemas", "TakenError")}},
    })
}

/// The schemas that the answers refer to.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let or_null = |mut schema: Value| {
        schema["type"] = json!([schema["type"], "null"]);
        schema
    };
    let object = |properties: Value| {
        let names: Vec<String> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        json!({"type": "object", "required": names, "properties": properties})
    };
    let role = || schema_of(BodyKind::Role);
    let user = || reference_to("schemas", "User");
    let ws = || text("`ws_…`");
    let api_key = || text("The key: a Bearer token. Shown this once.");
    let key = || {
        json!({"id": text("`ak_…`"), "name": or_null(text("What it is called.")), "hint": text("Its first and last characters."),
            "dialect": schema_of(BodyKind::Dialect), "mode": schema_of(BodyKind::Mode), "role": role(), "created_at": time("When it was made.")})
    };
    let with = |mut properties: Value, more: Value| {
        for (name, schema) in more.as_object().into_iter().flatten() {
            properties[name] = schema.clone();
        }
        object(properties)
    };
    vec![
        (
            "User",
            object(
                json!({"id": text("`u_…`"), "email": text("The address, in lower case."), "name": or_null(text("What they are called.")),
            "email_verified": {"type": "boolean", "description": "Whether the address is known to be theirs."}, "created_at": time("Since when.")}),
            ),
        ),
        ("Me", object(json!({"user": user()}))),
        (
            "OpenedSession",
            object(
                json!({"user": user(), "session_token": text("`kst_…`: the Bearer token of the session. Shown this once.")}),
            ),
        ),
        (
            "Session",
            object(
                json!({"id": text("`ses_…`"), "created_at": time("Since when."), "last_used_at": time("When it was last used."),
            "user_agent": or_null(text("The program that began it.")), "current": {"type": "boolean", "description": "Whether it is this one."}}),
            ),
        ),
        ("Ended", {
            let mut ended = object(json!({"id": or_null(text("What ended.")), "deleted_at": or_null(time("When."))}));
            ended["properties"]["hint"] = text("Where to end what is not Kith's to end.");
            ended
        }),
        ("Requested", object(json!({"email": text("The address.")}))),
        ("Claimed", object(json!({"workspace_id": ws(), "api_key": api_key()}))),
        (
            "Key",
            with(
                key(),
                json!({"user_id": or_null(text("Whose it is, `u_…`.")), "last_used_at": or_null(time("When it was last used, to the minute."))}),
            ),
        ),
        ("MadeKey", with(key(), json!({"workspace_id": ws(), "api_key": api_key()}))),
        ("Rotated", object(json!({"id": text("`ak_…`"), "workspace_id": ws(), "api_key": api_key()}))),
        (
            "Member",
            object(
                json!({"user_id": text("`u_…`"), "email": text("Their address."), "name": or_null(text("What they are called.")),
            "role": role(), "created_at": time("Since when.")}),
            ),
        ),
        ("Changed", object(json!({"user_id": text("`u_…`"), "workspace_id": ws(), "role": role()}))),
        (
            "Invited",
            object(
                json!({"id": text("`inv_…`"), "workspace_id": ws(), "email": text("Whom it is for."), "role": schema_of(BodyKind::Invited),
            "token": text("What accepts it."), "accept_url": {"type": "string", "format": "uri", "description": "The page that accepts it."},
            "expires_at": time("Until when.")}),
            ),
        ),
        (
            "Belonging",
            object(
                json!({"id": ws(), "name": or_null(text("What it is called.")), "role": role(), "created_at": time("Since when.")}),
            ),
        ),
        (
            "Invitation",
            object(
                json!({"id": text("`inv_…`"), "email": text("Whom it is for."), "role": schema_of(BodyKind::Invited),
                "invited_by": text("By whom, `u_…`."), "created_at": time("Since when."), "expires_at": time("Until when.")}),
            ),
        ),
        ("Joined", object(json!({"workspace_id": ws(), "role": role(), "api_key": api_key()}))),
        (
            "Connection",
            object(
                json!({"url": text("`postgres://…`, for psql as it stands."), "role": text("The PostgreSQL role.")}),
            ),
        ),
        (
            "AuditEntry",
            object(json!({"id": text("`au_…`"), "occurred_at": time("When."), "actor": text("Who: `user:u_…`."),
            "action": text("What: `key.created`, `member.invited` …"), "subject": or_null(text("To what.")),
            "details": {"type": "object", "additionalProperties": true, "description": "What else there is to say."}})),
        ),
        ("Away", object(json!({"location": text("The same as the header.")}))),
        ("TakenError", {
            let mut error =
                object(json!({"error": {"type": "string", "const": "conflict"}, "message": text("What went wrong."),
                "request_id": text("`req_…`, to report when something is wrong."),
                "docs_url": {"type": "string", "format": "uri", "description": "The documentation of this code."}}));
            error["properties"]["hint"] = text("What to do about it.");
            error
        }),
    ]
}

/// An errand as documentation for reading writes it: `POST /v1/keys?ws= {name?, role?}`.
pub fn readable(errand: &Errand) -> String {
    let segments = errand
        .path
        .split('/')
        .map(|it| it.strip_prefix('{').map_or(it.to_owned(), |it| format!(":{}", it.trim_end_matches('}'))));
    let mut text = format!("{} {}", errand.method.name(), segments.collect::<Vec<_>>().join("/"));
    for (at, field) in errand.query.iter().filter(|field| field.required).enumerate() {
        text = format!("{text}{}{}=", if at == 0 { '?' } else { '&' }, field.name);
    }
    let fields: Vec<String> =
        errand.body.iter().map(|it| format!("{}{}", it.name, if it.required { "" } else { "?" })).collect();
    if fields.is_empty() { text } else { format!("{text} {{{}}}", fields.join(", ")) }
}
