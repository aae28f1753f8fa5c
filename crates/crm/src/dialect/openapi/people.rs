//! The paths for people on the control plane: accounts, claims, keys, members, connections. The OpenAPI document,
//! `/llms.txt` and the pages are generated from one table. A test of the server compares its routes with it.
//!
//! These paths require a person's session instead of a key. Their responses are in agentCRM's format, so only one
//! dialect describes them.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::{Act, Reference, reference_to};
use crate::model::call::Method::{self, Delete, Get, Patch, Post};
use crate::model::who::{Mode, Role};

/// A method and a path for people.
#[derive(Debug)]
pub struct Errand {
    /// The HTTP method.
    pub method: Method,
    /// The path, with placeholders such as `{id}`.
    pub path: &'static str,
    /// The operation's id in the document.
    pub id: &'static str,
    /// The summary, in a few words.
    pub summary: &'static str,
    /// The description.
    pub about: &'static str,
    /// Whether it requires a session.
    pub caller: Credentials,
    /// The query parameters.
    pub query: &'static [BodyField],
    /// The fields of the body. If it is empty, the request has no body.
    pub body: &'static [BodyField],
    /// The successful response.
    answer: PeopleReturns,
    /// The error codes, beyond those of every request.
    codes: &'static [&'static str],
}

/// The credentials that a path requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// No credentials.
    Anybody,
    /// A person's session.
    Person,
}

/// A field of a body, or a query parameter.
#[derive(Debug)]
pub struct BodyField {
    /// The name on the wire.
    pub name: &'static str,
    /// Whether it is required.
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
    Flag,
    Held,
}

/// The successful response of a path.
#[derive(Clone, Copy, Debug)]
enum PeopleReturns {
    /// 200 with an object of this schema.
    One(&'static str),
    /// 200 with a page of this schema.
    Page(&'static str),
    /// 201 with the new object.
    Made(&'static str),
    /// 202: the work is done later.
    Accepted(&'static str),
    /// 302: the browser is redirected.
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

/// All methods and paths for people, in reading order.
#[rustfmt::skip] // a table
pub const ERRANDS: &[Errand] = &[
    Errand { method: Post, path: "/v1/auth/signup", id: "signUp", summary: "Create an account", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL, NEW_PASSWORD, optional("name", BodyKind::Name, "Your name.")], answer: PeopleReturns::Made("OpenedSession"),
        codes: &["conflict"],
        about: "Creates an account and begins its first session: `{user, session_token}`. An e-mail is sent that verifies the address. 409 if the address has an account." },
    Errand { method: Post, path: "/v1/auth/login", id: "logIn", summary: "Begin a session", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL, field("password", BodyKind::Text, "The password.")], answer: PeopleReturns::One("OpenedSession"), codes: &[],
        about: "Begins a session: `{user, session_token}`. After ten failures of an account or an address within 15 minutes: 429 with `Retry-After`." },
    Errand { method: Get, path: "/v1/auth/oidc/{provider}/start", id: "startSignIn", summary: "Sign in with a provider", caller: Credentials::Anybody,
        query: &[optional("next", BodyKind::Text, "The path of this Kith that is opened after the sign-in.")], body: &[], answer: PeopleReturns::Away, codes: &["not_found"],
        about: "For a browser: redirects to an OpenID Connect provider, `google` or `oidc`, if one is configured. The sign-in there begins a session." },
    Errand { method: Get, path: "/v1/auth/oidc/{provider}/callback", id: "finishSignIn", summary: "Finish a sign-in with a provider", caller: Credentials::Anybody,
        query: &[optional("code", BodyKind::Text, "The code from the provider."), optional("state", BodyKind::Text, "The state that was sent to the provider.")],
        body: &[], answer: PeopleReturns::Away, codes: &["not_found"],
        about: "The provider redirects the browser to this path. It sets the session's cookie and redirects to `next`, or to `/login?error=…` with the reason." },
    Errand { method: Post, path: "/v1/auth/logout", id: "logOut", summary: "End this session", caller: Credentials::Person, query: &[],
        body: &[], answer: PeopleReturns::One("Ended"), codes: &[],
        about: "Ends the session of the request. Clerk's sessions end at Clerk." },
    Errand { method: Get, path: "/v1/auth/me", id: "getMe", summary: "Get my account", caller: Credentials::Person, query: &[], body: &[],
        answer: PeopleReturns::One("Me"), codes: &[], about: "Returns the account of the session." },
    Errand { method: Get, path: "/v1/auth/sessions", id: "listSessions", summary: "List my sessions", caller: Credentials::Person, query: &[], body: &[],
        answer: PeopleReturns::Page("Session"), codes: &[], about: "The active sessions, newest first." },
    Errand { method: Delete, path: "/v1/auth/sessions/{id}", id: "endSession", summary: "End a session of mine", caller: Credentials::Person, query: &[], body: &[],
        answer: PeopleReturns::One("Ended"), codes: &["not_found"], about: "Ends one of the caller's sessions." },
    Errand { method: Get, path: "/v1/auth/apps", id: "listApps", summary: "List connected apps", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::Page("App"), codes: &["not_found"], about: "The apps connected to a workspace by OAuth. Owners see all, others their own." },
    Errand { method: Delete, path: "/v1/auth/apps/{id}", id: "disconnectApp", summary: "Disconnect an app", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Ended"), codes: &["not_found"], about: "Ends all tokens of an app within a second. Owners can disconnect any app, others only their own." },
    Errand { method: Post, path: "/v1/auth/verify-email", id: "verifyEmail", summary: "Verify an address", caller: Credentials::Anybody, query: &[],
        body: &[TOKEN], answer: PeopleReturns::One("Me"), codes: &[], about: "Verifies the address that the e-mail was sent to." },
    Errand { method: Post, path: "/v1/auth/request-verification", id: "requestVerification", summary: "Send the verification e-mail again", caller: Credentials::Person, query: &[],
        body: &[], answer: PeopleReturns::Accepted("Me"), codes: &[], about: "Sends the e-mail that verifies the caller's address again." },
    Errand { method: Post, path: "/v1/auth/request-password-reset", id: "requestPasswordReset", summary: "Send a link for a new password", caller: Credentials::Anybody, query: &[],
        body: &[EMAIL], answer: PeopleReturns::Accepted("Requested"), codes: &[], about: "Sends a link for choosing a new password, if the address has an account. Always 202." },
    Errand { method: Post, path: "/v1/auth/reset-password", id: "resetPassword", summary: "Choose a new password", caller: Credentials::Anybody, query: &[],
        body: &[TOKEN, NEW_PASSWORD], answer: PeopleReturns::One("Me"), codes: &[],
        about: "Ends all other sessions. If the address was never verified before, the account's keys and connections end too." },
    Errand { method: Post, path: "/v1/auth/change-password", id: "changePassword", summary: "Change my password", caller: Credentials::Person, query: &[],
        body: &[field("current_password", BodyKind::Text, "The current password."), NEW_PASSWORD], answer: PeopleReturns::One("Me"),
        codes: &["forbidden"], about: "Ends all other sessions." },
    Errand { method: Get, path: "/v1/workspaces", id: "listWorkspaces", summary: "List my workspaces", caller: Credentials::Person, query: &[], body: &[],
        answer: PeopleReturns::Page("Belonging"), codes: &[], about: "The workspaces that the caller belongs to, and the caller's role in each." },
    Errand { method: Patch, path: "/v1/workspaces/{ws_id}", id: "changeWorkspace", summary: "Rename a workspace, or stop or release what leaves", caller: Credentials::Person, query: &[],
        body: &[optional("name", BodyKind::Text, "The new name."), optional("sending", BodyKind::Flag, "Whether e-mail and webhooks leave."), optional("held", BodyKind::Held, "With `sending: true`: what happens to what has waited.")],
        answer: PeopleReturns::One("Switched"), codes: &["forbidden", "not_found", "validation_failed"],
        about: "`{name}` renames the workspace. `{sending: false}` holds all e-mail and webhooks. Each answer then says so (`_meta.sending`, the header `X-Sending: held`). `{sending: true}` releases them, or drops them with `held: \"drop\"`. For owners." },
    Errand { method: Delete, path: "/v1/workspaces/{ws_id}", id: "deleteWorkspace", summary: "Delete a workspace", caller: Credentials::Person, query: &[],
        body: &[field("name", BodyKind::Text, "Its name, or its id if it has no name, so that no other workspace is deleted by mistake.")],
        answer: PeopleReturns::One("Ended"), codes: &["forbidden", "not_found", "validation_failed"],
        about: "Its keys, members and connections end at once. Its data is dropped after 7 days. For owners." },
    Errand { method: Post, path: "/v1/claim/{ws_id}", id: "claimWorkspace", summary: "Claim a workspace", caller: Credentials::Person, query: &[],
        body: &[], answer: PeopleReturns::One("Claimed"), codes: &["not_found", "conflict"],
        about: "Makes the caller the owner of an anonymous workspace. Its dev key ends; `api_key` is a live key. 409 if it has an owner. `claim_url` is the page for this." },
    Errand { method: Get, path: "/v1/keys", id: "listKeys", summary: "List a workspace's keys", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::Page("Key"), codes: &["not_found"], about: "The active keys with the time of their last use, without the keys themselves." },
    Errand { method: Post, path: "/v1/keys", id: "createKey", summary: "Create a key", caller: Credentials::Person, query: &[WS],
        body: &[optional("name", BodyKind::Name, "The key's name."), optional("dialect", BodyKind::Dialect, "The dialect of the key."),
            optional("mode", BodyKind::Mode, "The data that the key sees. Test data is separate from live data and only for Relm's keys."),
            optional("role", BodyKind::Role, "The key's role, at most that of its creator. A viewer's key is read-only.")],
        answer: PeopleReturns::Made("MadeKey"), codes: &["forbidden", "not_found"],
        about: "`acrm_live_…`, or with dialect `relm` `sk_live_…` and `sk_test_…`. Only this answer has `api_key`." },
    Errand { method: Post, path: "/v1/keys/rotate", id: "rotateKeys", summary: "Replace my live keys", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Rotated"), codes: &["not_found"], about: "Ends the caller's live agentCRM keys and creates a new one. Relm's keys stay." },
    Errand { method: Delete, path: "/v1/keys/{id}", id: "deleteKey", summary: "End a key", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Ended"), codes: &["not_found"], about: "Ends a key within a second. Owners can end any key, others only their own." },
    Errand { method: Post, path: "/v1/keys/{id}/restore", id: "restoreKey", summary: "Take back the end of a key", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Restored"), codes: &["not_found"],
        about: "For 10 minutes: undoes the DELETE. Owners can restore any key, others only their own. Keys that ended otherwise stay ended." },
    Errand { method: Get, path: "/v1/members", id: "listMembers", summary: "List a workspace's members", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::Page("Member"), codes: &["not_found"], about: "The members and their roles: `owner`, `member`, `viewer`." },
    Errand { method: Patch, path: "/v1/members", id: "changeRole", summary: "Change a member's role", caller: Credentials::Person, query: &[WS, USER],
        body: &[field("role", BodyKind::Role, "The new role.")], answer: PeopleReturns::One("Changed"),
        codes: &["forbidden", "not_found", "last_owner"],
        about: "Keys above the new role and all direct connections end. For owners." },
    Errand { method: Delete, path: "/v1/members", id: "removeMember", summary: "Remove a member", caller: Credentials::Person, query: &[WS, USER], body: &[],
        answer: PeopleReturns::One("Ended"), codes: &["forbidden", "not_found", "last_owner"],
        about: "The member's keys and connections end at once. Owners can remove anybody, and anybody can leave, except the last owner: 409 `last_owner`." },
    Errand { method: Post, path: "/v1/members/invite", id: "inviteMember", summary: "Invite by e-mail", caller: Credentials::Person, query: &[],
        body: &[field("workspace_id", BodyKind::Text, "The workspace, `ws_…`."), EMAIL, optional("role", BodyKind::Invited, "The new member's role.")],
        answer: PeopleReturns::Made("Invited"), codes: &["forbidden", "not_found", "already_member"],
        about: "Sends an e-mail. The answer has `token` and `accept_url`, which are valid for a week. For owners." },
    Errand { method: Get, path: "/v1/members/invites", id: "listInvites", summary: "List open invitations", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::Page("Invitation"), codes: &["forbidden", "not_found"], about: "The invitations that nobody has accepted yet. For owners." },
    Errand { method: Delete, path: "/v1/members/invites/{id}", id: "withdrawInvite", summary: "Take an invitation back", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Ended"), codes: &["forbidden", "not_found"], about: "Its token becomes invalid. For owners." },
    Errand { method: Post, path: "/v1/members/accept/{token}", id: "acceptInvite", summary: "Accept an invitation", caller: Credentials::Person, query: &[],
        body: &[], answer: PeopleReturns::One("Joined"), codes: &["forbidden", "not_found"], about: "Makes the caller a member: `{workspace_id, role, api_key}`. Only for the invited address: 403 for others." },
    Errand { method: Post, path: "/v1/connection", id: "openConnection", summary: "Connect to PostgreSQL", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::One("Connection"), codes: &["forbidden", "not_found"],
        about: "`{url, role}`: a postgres:// URL for psql and similar programs. It opens the live data under a role of the caller's own. A new request replaces the password." },
    Errand { method: Get, path: "/v1/workspaces/audit", id: "listAudit", summary: "List the audit log", caller: Credentials::Person, query: &[WS], body: &[],
        answer: PeopleReturns::Page("AuditEntry"), codes: &["forbidden", "not_found"],
        about: "The log of keys, members, invitations and claims, newest first. For owners." },
];

/// Adds the paths for people to those of a document.
pub fn add(paths: &mut Value, reference: &Reference, responses: &mut Responses) {
    for errand in reference.errands {
        paths[errand.path][errand.method.name().to_lowercase()] = operation(errand, reference, responses);
    }
}

/// The tag of these paths.
pub fn tag() -> Value {
    json!({"name": TAG, "description": "Accounts, claims, keys, members, connections. These paths take a person's session, not an API key."})
}

/// Adds the security schemes of a session.
pub fn add_schemes(schemes: &mut Value) {
    schemes["session"] = json!({"type": "http", "scheme": "bearer",
        "description": "A person's session: `session_token` of a sign-up or a log-in, or a Clerk session's JWT where Clerk is configured."});
    schemes["sessionCookie"] = json!({"type": "apiKey", "in": "cookie", "name": "kith_session",
        "description": "The same session, as a browser or another program keeps it. Over TLS the cookie is `__Host-kith_session`. It is not accepted from pages of other sites."});
}

/// The security requirement of a session: either of the two schemes.
pub fn session() -> Value {
    json!([{"session": []}, {"sessionCookie": []}])
}

fn operation(errand: &Errand, reference: &Reference, responses: &mut Responses) -> Value {
    let segments = errand.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments.map(path_parameter).collect();
    parameters.extend(errand.query.iter().map(|field| {
        json!({"name": field.name, "in": "query", "required": field.required, "description": field.about, "schema": schema_of(field.kind)})
    }));
    let is_paged = matches!(errand.answer, PeopleReturns::Page(_));
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
        // The content type of a body is checked even if the path takes no fields.
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
        _ => ("The `id` in the list.", json!({"type": "string"})),
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
        BodyKind::Flag => json!({"type": "boolean"}),
        BodyKind::Held => names(&["release", "drop"]),
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
        PeopleReturns::One(name) => (200, "Done.", named(name)),
        PeopleReturns::Page(name) => (200, "Done.", named(name)),
        PeopleReturns::Made(name) => (201, "Created.", named(name)),
        PeopleReturns::Accepted(name) => (202, "Accepted; the work is done later.", named(name)),
        PeopleReturns::Away => {
            headers["Location"] =
                json!({"required": true, "description": "The address for the browser.", "schema": {"type": "string"}});
            (302, "A redirect to another address.", named("Away"))
        }
    };
    let act = if matches!(errand.answer, PeopleReturns::Page(_)) { Act::List } else { Act::Find };
    let schema = (reference.wire.answer)(act, data);
    (status, json!({"description": words, "headers": headers, "content": {"application/json": {"schema": schema}}}))
}

/// The response to a conflict on these paths. Unlike other conflicts, it is not about the unique value of a record.
fn taken() -> Value {
    json!({
        "description": "`conflict`: The address already has an account, or the workspace already has an owner.",
        "headers": {"X-Request-Id": reference_to("headers", "request_id")},
        "content": {"application/json": {"schema": reference_to("schemas", "TakenError")}},
    })
}

/// The schemas that the responses refer to.
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
        json!({"id": text("`ak_…`"), "name": or_null(text("The key's name.")), "hint": text("Its first and last characters."),
            "dialect": schema_of(BodyKind::Dialect), "mode": schema_of(BodyKind::Mode), "role": role(), "created_at": time("Time of creation.")})
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
                json!({"id": text("`u_…`"), "email": text("The address, in lower case."), "name": or_null(text("The name.")),
            "email_verified": {"type": "boolean", "description": "Whether the address is verified."}, "created_at": time("Time of creation.")}),
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
                json!({"id": text("`ses_…`"), "created_at": time("Time of creation."), "last_used_at": time("Time of the last use."),
            "user_agent": or_null(text("The program that began the session.")), "current": {"type": "boolean", "description": "Whether it is the session of this request."}}),
            ),
        ),
        (
            "App",
            object(
                json!({"id": text("`og_…`"), "client_id": text("The app's id, or the address of its metadata."), "name": text("The app's name."),
            "user_id": text("The person who connected it, `u_…`."), "mode": text("`live` or `test`."),
            "scopes": {"type": "array", "items": {"type": "string"}, "description": "Its rights: `crm:read`, `crm:write`, `crm:sql`."},
            "created_at": time("Time of the consent."), "last_used_at": or_null(time("Time of the last new token."))}),
            ),
        ),
        ("Ended", {
            let mut ended = object(json!({"id": or_null(text("Its id.")), "deleted_at": or_null(time("The time."))}));
            ended["properties"]["hint"] = text("How to end a session that Kith can't end.");
            ended
        }),
        ("Restored", object(json!({"id": text("`ak_…`"), "restored_at": time("The time.")}))),
        ("Requested", object(json!({"email": text("The address.")}))),
        ("Claimed", object(json!({"workspace_id": ws(), "api_key": api_key()}))),
        (
            "Key",
            with(
                key(),
                json!({"user_id": or_null(text("Its user, `u_…`.")), "last_used_at": or_null(time("Time of the last use, to the minute."))}),
            ),
        ),
        ("MadeKey", with(key(), json!({"workspace_id": ws(), "api_key": api_key()}))),
        ("Rotated", object(json!({"id": text("`ak_…`"), "workspace_id": ws(), "api_key": api_key()}))),
        (
            "Member",
            object(
                json!({"user_id": text("`u_…`"), "email": text("Their address."), "name": or_null(text("The member's name.")),
            "role": role(), "created_at": time("Time of joining.")}),
            ),
        ),
        ("Changed", object(json!({"user_id": text("`u_…`"), "workspace_id": ws(), "role": role()}))),
        (
            "Invited",
            object(
                json!({"id": text("`inv_…`"), "workspace_id": ws(), "email": text("The invited address."), "role": schema_of(BodyKind::Invited),
            "token": text("Accepts the invitation."), "accept_url": {"type": "string", "format": "uri", "description": "The page that accepts it."},
            "expires_at": time("Time of expiry.")}),
            ),
        ),
        (
            "Belonging",
            object(json!({"id": ws(), "name": or_null(text("The name.")), "role": role(),
                "sending": {"type": "boolean", "description": "Whether e-mail and webhooks leave."}, "created_at": time("Time of creation.")})),
        ),
        ("Switched", {
            let counts = |about: &str| {
                json!({"type": "object", "description": about, "required": ["emails", "deliveries"],
                "properties": {"emails": {"type": "integer"}, "deliveries": {"type": "integer"}}})
            };
            object(
                json!({"id": ws(), "sending": {"type": "boolean", "description": "Whether e-mail and webhooks leave."},
                "held": counts("What waits."), "released": counts("What has waited and leaves now."), "dropped": counts("What has waited and never leaves.")}),
            )
        }),
        (
            "Invitation",
            object(
                json!({"id": text("`inv_…`"), "email": text("The invited address."), "role": schema_of(BodyKind::Invited),
                "invited_by": text("The inviting owner, `u_…`."), "created_at": time("Time of creation."), "expires_at": time("Time of expiry.")}),
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
            object(json!({"id": text("`au_…`"), "occurred_at": time("Time."), "actor": text("Actor: `user:u_…`."),
            "action": text("Action: `key.created`, `member.invited` …"), "subject": or_null(text("The affected object.")),
            "details": {"type": "object", "additionalProperties": true, "description": "Further details."}})),
        ),
        ("Away", object(json!({"location": text("The same as the header.")}))),
        ("TakenError", {
            let mut error =
                object(json!({"error": {"type": "string", "const": "conflict"}, "message": text("The message."),
                "request_id": text("`req_…`, to report when something is wrong."),
                "docs_url": {"type": "string", "format": "uri", "description": "The documentation of this code."}}));
            error["properties"]["hint"] = text("Advice for the caller.");
            error
        }),
    ]
}

/// The method, path, query and body in the form for readers: `POST /v1/keys?ws= {name?, role?}`.
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
