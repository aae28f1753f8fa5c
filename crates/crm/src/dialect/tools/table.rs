//! The table of tools.

use crate::dialect::tools::{Act, Kind};

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
        about: "Lists a page of any table, newest first. `filter` selects rows, for example {\"stage\": \"won\", \"close_date\": {\"gte\": \"2026-01-01\"}}.",
        act: Act::List,
        ..CORE
    },
    Kind {
        name: "get_record",
        title: "Get a record",
        about: "Gets one record of any table. A contact, company or deal comes with its newest activities and its associations.",
        act: Act::Find,
        ..CORE
    },
    Kind {
        name: "create_record",
        title: "Create a record",
        about: "Creates one record in any table. A taken e-mail address or domain is refused with `existing_id`.",
        act: Act::Create,
        ..CORE
    },
    Kind {
        name: "update_record",
        title: "Update a record",
        about: "Changes the named fields of one record. JSON fields are merged; a key that is null is removed.",
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
        ..CORE
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
];
