//! The table of tools.

use crate::dialect::tools::{Act, ControlAct, Kind};
use crate::model::control::Resource::{Automations, Domains, Webhooks};

const TOOL: Kind = Kind { name: "", title: "", about: "", act: Act::Search, tables: &[], is_core: false };
const CORE: Kind = Kind { is_core: true, ..TOOL };

const RECORDS: &[&str] = &["contacts", "companies", "deals"];

/// Every tool, in the order in which they are listed.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "search",
        title: "Search the CRM",
        about: "Finds contacts, companies, deals and activities by a few words, best match first. Typos are tolerated.",
        act: Act::Search,
        ..CORE
    },
    Kind {
        name: "fetch",
        title: "Fetch a record",
        about: "Gets one record of any kind as text, by an id of `search`.",
        act: Act::Fetch,
        ..CORE
    },
    Kind {
        name: "describe_schema",
        title: "Describe the tables",
        about: "Lists all tables and their columns. With `table`: the types, defaults, keys and indexes of one table.",
        act: Act::Describe,
        ..CORE
    },
    Kind {
        name: "list_records",
        title: "List records",
        about: "Lists a page of any table, newest first, also of `runs`, `events` (oldest first), `webhooks`, `automations`, `logs`, `email/domains`, `lists/{id}/rows`, `runs/{id}/changes`, `webhooks/{id}/deliveries` and `automations/{id}/runs`. `filter` selects rows, for example {\"stage\": \"won\", \"close_date\": {\"gte\": \"2026-01-01\"}}.",
        act: Act::List,
        ..CORE
    },
    Kind {
        name: "get_record",
        title: "Get a record",
        about: "Gets one record of any table; `integrations` with the id `email` or `mailbox` is how e-mail is set up. A contact, company or deal comes with its newest activities and its associations.",
        act: Act::Find,
        ..CORE
    },
    Kind {
        name: "create_record",
        title: "Create a record",
        about: "Creates one record in any table. A taken e-mail address or domain is refused with `existing_id`; others of the same name are `possible_duplicates`.",
        act: Act::Create,
        ..CORE
    },
    Kind {
        name: "update_record",
        title: "Update a record",
        about: "Changes the named fields of one record. JSON fields are merged; a key that is null is removed. A list is replaced, unless its value is {\"$append\": […]} or {\"$remove\": […]}; {\"$if_empty\": …} fills a field only.",
        act: Act::Update,
        ..CORE
    },
    Kind {
        name: "delete_record",
        title: "Delete a record",
        about: "Hides one record; restore_record undoes this. `hard` removes it for good and requires `confirm`.",
        act: Act::Delete,
        ..CORE
    },
    Kind {
        name: "restore_record",
        title: "Restore a record",
        about: "Undoes the deletion of a record.",
        act: Act::Restore,
        ..CORE
    },
    Kind {
        name: "merge_records",
        title: "Merge records",
        about: "Merges duplicates of one table: the records `from` become part of the record `id`. It keeps its values, takes theirs for its empty fields, and gets all that refers to them. `undo` takes it back.",
        act: Act::Merge,
        ..TOOL
    },
    Kind {
        name: "upsert_contacts",
        title: "Create or update contacts",
        about: "Creates up to 500 contacts, or updates those with the same `dedup_on` values. Each row succeeds or fails on its own.",
        act: Act::Upsert,
        tables: &["contacts"],
        ..CORE
    },
    Kind {
        name: "log_activity",
        title: "Log an activity",
        about: "Records a note, e-mail, call, meeting or task of a contact, company or deal.",
        act: Act::Create,
        tables: &["activities"],
        ..CORE
    },
    Kind {
        name: "get_list_rows",
        title: "Get the rows of a saved list",
        about: "Lists a page of the records that a saved list, dynamic or static, has at present.",
        act: Act::ListRows,
        ..TOOL
    },
    Kind {
        name: "query_sql",
        title: "Query with SQL (read-only)",
        about: "Runs one read-only PostgreSQL statement on the workspace's database. `params` are $1, $2 …. Tables and columns: describe_schema.",
        act: Act::Query,
        ..CORE
    },
    Kind {
        name: "execute_sql",
        title: "Execute SQL",
        about: "Runs PostgreSQL statements that may change data or tables, in one transaction: up to 50, or one with `params`.",
        act: Act::Execute,
        ..CORE
    },
    Kind {
        name: "batch",
        title: "Do several things at once",
        about: "Runs 1 to 100 operations of the REST API in one transaction, in order: all are kept, or none. What removes something for good requires `confirm`. \"$ref.id\" as a whole text of a body or part of a path is the id of an earlier operation's record.",
        act: Act::Operations,
        ..CORE
    },
    Kind {
        name: "call_api",
        title: "Make any other request",
        about: "Makes a request of the REST API that writes, for what has no tool here: POST /v1/{table}/{id}/merge {from, prefer}; /v1/webhooks/{id}/test, /rotate-secret, /replay/{delivery_id}, /replay-failed; /v1/automations/{id}/test; /v1/runs, /v1/runs/{id}/finish; /v1/email/domains, /{id}/verify; /v1/lists/{id}/members; /v1/pipelines/{key}/stages; /v1/imports?table= with body {csv}; PUT or DELETE /v1/integrations/email; POST or DELETE /v1/integrations/mailbox. list_records and get_record read what it sets up.",
        act: Act::Request,
        ..CORE
    },
    Kind {
        name: "undo",
        title: "Undo changes",
        about: "Puts back what a run, a request or one entry of the activity feed changed. Records that were changed since are conflicts.",
        act: Act::Undo,
        ..CORE
    },
    Kind {
        name: "create_{one}",
        title: "Create {a} {one}",
        about: "Creates {a} {one}.",
        act: Act::Create,
        tables: RECORDS,
        ..TOOL
    },
    Kind {
        name: "get_{one}",
        title: "Get {a} {one}",
        about: "Gets {a} {one} with its newest activities and its associations.",
        act: Act::Find,
        tables: RECORDS,
        ..TOOL
    },
    Kind {
        name: "update_{one}",
        title: "Update {a} {one}",
        about: "Changes the named fields of {a} {one}.",
        act: Act::Update,
        tables: RECORDS,
        ..TOOL
    },
    Kind {
        name: "list_{many}",
        title: "List {many}",
        about: "Lists a page of {many}, newest first.",
        act: Act::List,
        tables: &["contacts", "companies", "deals", "activities"],
        ..TOOL
    },
    Kind {
        name: "move_deal_stage",
        title: "Move a deal to a stage",
        about: "Moves a deal to a stage of its pipeline, or of another one.",
        act: Act::Move,
        tables: &["deals"],
        ..TOOL
    },
    Kind {
        name: "create_association",
        title: "Associate two records",
        about: "Associates two records of any kind. An association that exists already is returned.",
        act: Act::Create,
        tables: &["associations"],
        ..TOOL
    },
    Kind {
        name: "list_pipelines",
        title: "List pipelines",
        about: "Lists the pipelines by position.",
        act: Act::List,
        tables: &["pipelines"],
        ..TOOL
    },
    Kind {
        name: "create_pipeline",
        title: "Create a pipeline",
        about: "Creates a pipeline. It has no stages yet.",
        act: Act::Create,
        tables: &["pipelines"],
        ..TOOL
    },
    Kind {
        name: "update_pipeline",
        title: "Update a pipeline",
        about: "Changes the label, the position or the default of a pipeline.",
        act: Act::Update,
        tables: &["pipelines"],
        ..TOOL
    },
    Kind {
        name: "delete_pipeline",
        title: "Delete a pipeline",
        about: "Deletes a pipeline. The default one, and one that deals are in, are refused.",
        act: Act::Delete,
        tables: &["pipelines"],
        ..TOOL
    },
    Kind {
        name: "list_pipeline_stages",
        title: "List stages",
        about: "Lists the stages of a pipeline by position.",
        act: Act::ListStages,
        tables: &["pipeline_stages"],
        ..TOOL
    },
    Kind {
        name: "create_pipeline_stage",
        title: "Create a stage",
        about: "Adds a stage to a pipeline, by default at the end.",
        act: Act::CreateStage,
        tables: &["pipeline_stages"],
        ..TOOL
    },
    Kind {
        name: "update_pipeline_stage",
        title: "Update a stage",
        about: "Changes the label, the position or the meaning of a stage.",
        act: Act::UpdateStage,
        tables: &["pipeline_stages"],
        ..TOOL
    },
    Kind {
        name: "delete_pipeline_stage",
        title: "Delete a stage",
        about: "Deletes a stage. A stage that deals are in is refused.",
        act: Act::DeleteStage,
        tables: &["pipeline_stages"],
        ..TOOL
    },
    Kind {
        name: "add_list_members",
        title: "Add members to a list",
        about: "Adds records to a static list. Existing members stay.",
        act: Act::AddMembers,
        tables: &["list_members"],
        ..TOOL
    },
    Kind {
        name: "remove_list_member",
        title: "Remove a member from a list",
        about: "Removes a record from a static list. The record itself stays.",
        act: Act::RemoveMember,
        tables: &["list_members"],
        ..TOOL
    },
    Kind {
        name: "list_runs",
        title: "List runs",
        about: "Lists runs, newest first: what a key or person changed under one run_id.",
        act: Act::ListRuns,
        ..TOOL
    },
    Kind {
        name: "get_run",
        title: "Get a run",
        about: "Gets a run with the counts of the rows it changed and whether it can be undone.",
        act: Act::FindRun,
        ..TOOL
    },
    Kind {
        name: "list_run_changes",
        title: "List the changes of a run",
        about: "Lists the changed rows of a run, oldest first, with the old and new values.",
        act: Act::ListChanges,
        ..TOOL
    },
    Kind {
        name: "finish_run",
        title: "Finish a run",
        about: "Ends a run. Later writes under its run_id are refused.",
        act: Act::FinishRun,
        ..TOOL
    },
    Kind {
        name: "list_events",
        title: "List events",
        about: "Lists what was changed in the workspace, oldest first. next_cursor is there on an empty page too; it leads to later events.",
        act: Act::ListEvents,
        ..TOOL
    },
    Kind {
        name: "list_webhooks",
        title: "List webhooks",
        about: "Lists the webhooks, newest first.",
        act: Act::Control(ControlAct::List, Webhooks),
        ..TOOL
    },
    Kind {
        name: "get_webhook",
        title: "Get a webhook",
        about: "Gets a webhook. `disabled_reason` says why Kith disabled it.",
        act: Act::Control(ControlAct::Find, Webhooks),
        ..TOOL
    },
    Kind {
        name: "create_webhook",
        title: "Create a webhook",
        about: "Subscribes a public address to events. Only this answer has the `secret` that signs them.",
        act: Act::Control(ControlAct::Create, Webhooks),
        ..TOOL
    },
    Kind {
        name: "update_webhook",
        title: "Update a webhook",
        about: "Changes the named fields of a webhook. `enabled: true` enables one that was disabled.",
        act: Act::Control(ControlAct::Update, Webhooks),
        ..TOOL
    },
    Kind {
        name: "delete_webhook",
        title: "Delete a webhook",
        about: "Deletes a webhook and its deliveries for good. Requires `confirm`.",
        act: Act::Control(ControlAct::Delete, Webhooks),
        ..TOOL
    },
    Kind {
        name: "rotate_webhook_secret",
        title: "Replace a webhook's secret",
        about: "Creates another secret, which the answer has. For 24 hours both sign.",
        act: Act::Control(ControlAct::RotateSecret, Webhooks),
        ..TOOL
    },
    Kind {
        name: "test_webhook",
        title: "Test a webhook",
        about: "Queues a test event for the webhook's address.",
        act: Act::Control(ControlAct::Test, Webhooks),
        ..TOOL
    },
    Kind {
        name: "list_webhook_deliveries",
        title: "List a webhook's deliveries",
        about: "Lists what was sent to a webhook in the last 30 days, newest first, with the responses.",
        act: Act::Control(ControlAct::History, Webhooks),
        ..TOOL
    },
    Kind {
        name: "replay_webhook_deliveries",
        title: "Send deliveries again",
        about: "Sends one delivery again (`delivery_id`), or all that failed since a time (`since`).",
        act: Act::Control(ControlAct::Replay, Webhooks),
        ..TOOL
    },
    Kind {
        name: "list_automations",
        title: "List automations",
        about: "Lists the automations, newest first.",
        act: Act::Control(ControlAct::List, Automations),
        ..TOOL
    },
    Kind {
        name: "get_automation",
        title: "Get an automation",
        about: "Gets an automation. `disabled_reason` says why Kith switched it off.",
        act: Act::Control(ControlAct::Find, Automations),
        ..TOOL
    },
    Kind {
        name: "create_automation",
        title: "Create an automation",
        about: "Creates a rule: when the trigger event fires and all conditions hold, its actions are done.",
        act: Act::Control(ControlAct::Create, Automations),
        ..TOOL
    },
    Kind {
        name: "update_automation",
        title: "Update an automation",
        about: "Changes the named fields of an automation.",
        act: Act::Control(ControlAct::Update, Automations),
        ..TOOL
    },
    Kind {
        name: "delete_automation",
        title: "Delete an automation",
        about: "Deletes an automation and its runs for good. Requires `confirm`. What it has written stays.",
        act: Act::Control(ControlAct::Delete, Automations),
        ..TOOL
    },
    Kind {
        name: "list_automation_runs",
        title: "List an automation's runs",
        about: "Lists how often an automation ran in the last 30 days, newest first, and what came of it.",
        act: Act::Control(ControlAct::History, Automations),
        ..TOOL
    },
    Kind {
        name: "send_email",
        title: "Send an e-mail",
        about: "Sends an e-mail through the workspace's provider and records it. A test key only simulates it. `status` is sent, queued (tried again), held (sending is switched off) or simulated.",
        act: Act::SendEmail,
        ..TOOL
    },
    Kind {
        name: "get_email_integration",
        title: "Get the e-mail integration",
        about: "Says whether the workspace can send e-mail, by which provider and as whom.",
        act: Act::Control(ControlAct::Integration, Domains),
        ..TOOL
    },
    Kind {
        name: "set_email_integration",
        title: "Set the e-mail integration",
        about: "Connects the workspace's Resend account (`api_key`) or mail server (`provider: smtp`, `url`). The secrets are never shown again.",
        act: Act::Control(ControlAct::SetIntegration, Domains),
        ..TOOL
    },
    Kind {
        name: "list_email_domains",
        title: "List sending domains",
        about: "Lists the sending domains of the connected Resend account.",
        act: Act::Control(ControlAct::List, Domains),
        ..TOOL
    },
    Kind {
        name: "add_email_domain",
        title: "Add a sending domain",
        about: "Adds a sending domain at Resend. The answer has the DNS records to publish.",
        act: Act::Control(ControlAct::Create, Domains),
        ..TOOL
    },
    Kind {
        name: "get_email_domain",
        title: "Get a sending domain",
        about: "Gets a sending domain with its DNS records and their status.",
        act: Act::Control(ControlAct::Find, Domains),
        ..TOOL
    },
    Kind {
        name: "verify_email_domain",
        title: "Verify a sending domain",
        about: "Has Resend check the DNS records of a sending domain again.",
        act: Act::Control(ControlAct::Verify, Domains),
        ..TOOL
    },
];
