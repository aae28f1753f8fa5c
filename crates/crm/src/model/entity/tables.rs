//! The list of built-in tables.

use super::*;
use crate::model::email::EmailStatus;

/// The defaults of the built-in tables.
const RECORD: Entity = Entity {
    name: "",
    table: "",
    prefix: "",
    about: "",
    fields: &[],
    to_one: &[],
    to_many: &[],
    order: Order::Newest,
    writable: true,
    stamped: true,
    searchable: false,
    searched_together: false,
    named_by: NamedBy::Id,
    feature: None,
    associable: true,
    custom_fields: false,
    describes_tables: false,
    is_mail: false,
    is_feed: false,
    write_rule: WriteRule::Plain,
    refusals: Refusals { create: &[], update: &[], delete: &[] },
    deletion_note: None,
};

const COMPANY: ToOne = ToOne { key: "company", column: "company_id", table: "companies" };
const CONTACT: ToOne = ToOne { key: "contact", column: "contact_id", table: "contacts" };

/// Every built-in table.
pub const ENTITIES: &[Entity] = &[
    Entity {
        name: "company",
        table: "companies",
        prefix: "co",
        about: "Organisations. `domain` is unique among live companies, ignoring case.",
        fields: &[
            field("name", FieldKind::Text, "The company's name.").example(r#""Acme""#),
            field("domain", FieldKind::Text, "Its internet domain, for example acme.com.")
                .example(r#""acme.com""#)
                .normal_form("kith.normal_domain"),
            field("industry", FieldKind::Text, "Line of business.").example(r#""Robotics""#),
            field("size", FieldKind::Text, "Number of people, as a range: 11-50.").example(r#""11-50""#),
        ],
        to_many: &[
            ToMany { key: "contacts", table: "contacts", link: Link::Theirs("company_id") },
            ToMany { key: "deals", table: "deals", link: Link::Theirs("company_id") },
        ],
        searchable: true,
        searched_together: true,
        custom_fields: true,
        ..RECORD
    },
    Entity {
        name: "contact",
        table: "contacts",
        prefix: "c",
        about: "People. `email` is unique among live contacts, ignoring case.",
        fields: &[
            field("email", FieldKind::Email, "The person's address.")
                .example(r#""sarah@acme.com""#)
                .normal_form("kith.trimmed"),
            field("first_name", FieldKind::Text, "Given name.").example(r#""Sarah""#),
            field("last_name", FieldKind::Text, "Family name.").example(r#""Chen""#),
            field("phone", FieldKind::Text, "Telephone number, as written.").example(r#""+1 555 0100""#),
            field("title", FieldKind::Text, "Position held, for example CTO.").example(r#""CTO""#),
            field("company_id", FieldKind::Id("companies"), "The company the person works for."),
        ],
        to_one: &[COMPANY],
        searchable: true,
        searched_together: true,
        custom_fields: true,
        ..RECORD
    },
    Entity {
        name: "deal",
        table: "deals",
        prefix: "d",
        about: "Opportunities, each in a stage of a pipeline.",
        fields: &[
            field("name", FieldKind::Text, "The deal's name.").example(r#""Acme rollout""#),
            field("pipeline", FieldKind::Text, "Key of the pipeline; by default the default pipeline.")
                .filled()
                .example(r#""sales""#),
            field("stage", FieldKind::Text, "Key of the stage; by default the pipeline's first stage.")
                .filled()
                .example(r#""qualified""#),
            field("amount_cents", FieldKind::Integer, "Value in the currency's smallest unit.").example("1250000"),
            field("currency", FieldKind::Text, "ISO 4217 code.").example(r#""USD""#),
            field("close_date", FieldKind::Date, "Expected closing date.").example(r#""2026-12-31""#),
            field("contact_id", FieldKind::Id("contacts"), "The person the deal is with."),
            field("company_id", FieldKind::Id("companies"), "The company the deal is with."),
        ],
        to_one: &[CONTACT, COMPANY],
        searchable: true,
        searched_together: true,
        custom_fields: true,
        write_rule: WriteRule::InPipeline,
        refusals: Refusals { create: &["unknown_stage"], update: &["unknown_stage"], delete: &[] },
        ..RECORD
    },
    Entity {
        name: "activity",
        table: "activities",
        prefix: "act",
        about: "Notes, e-mails, calls, meetings and tasks that were logged.",
        fields: &[
            field("type", FieldKind::OneOf(&["note", "email", "call", "meeting", "task"]), "Kind of activity.")
                .filled()
                .example(r#""call""#),
            field("subject", FieldKind::Text, "One line.").example(r#""Intro call""#),
            field("body", FieldKind::Text, "The text.").example(r#""Wants a pilot in March.""#),
            field("contact_id", FieldKind::Id("contacts"), "The person it concerns."),
            field("deal_id", FieldKind::Id("deals"), "The deal it concerns."),
            field("company_id", FieldKind::Id("companies"), "The company it concerns."),
            field("occurred_at", FieldKind::Time, "Time of the activity.")
                .filled()
                .example(r#""2026-11-20T15:00:00+00:00""#),
        ],
        to_one: &[CONTACT, ToOne { key: "deal", column: "deal_id", table: "deals" }, COMPANY],
        searchable: true,
        searched_together: true,
        custom_fields: true,
        ..RECORD
    },
    Entity {
        name: "email",
        table: "emails",
        prefix: "e",
        about: "E-mail messages, attached to contacts and companies by their addresses.",
        fields: &[
            field("thread_id", FieldKind::Text, "The conversation's id at the provider.").example(r#""18c2f""#),
            field("provider", FieldKind::Text, "The mail provider, for example gmail.").example(r#""gmail""#),
            field("provider_msg_id", FieldKind::Text, "The message's id at the provider; unique with `provider`.")
                .example(r#""18c2f9a""#),
            field("direction", FieldKind::OneOf(&["inbound", "outbound"]), "Whether it was received or sent.")
                .example(r#""inbound""#),
            field("status", FieldKind::OneOf(EmailStatus::NAMES), "What became of a message that Kith sends.")
                .example(r#""sent""#),
            field("status_reason", FieldKind::Text, "The provider's words if it was refused, or why it waits and until when."),
            field("from_addr", FieldKind::Email, "Sender.")
                .example(r#""sarah@acme.com""#)
                .normal_form("kith.trimmed"),
            field("to_addrs", FieldKind::Emails, "Recipients.").filled().example(r#"["me@example.com"]"#),
            field("cc_addrs", FieldKind::Emails, "Recipients of copies.").filled().example("[]"),
            field("subject", FieldKind::Text, "Subject line.").example(r#""Pricing""#),
            field("snippet", FieldKind::Text, "The first words.").example(r#""Could you send""#),
            field("body_text", FieldKind::Text, "The text part.").example(r#""Could you send the price list?""#),
            field("body_html", FieldKind::Text, "The HTML part."),
            field("sent_at", FieldKind::Time, "Time of sending."),
            field("received_at", FieldKind::Time, "Time of receipt.").example(r#""2026-11-20T15:04:05+00:00""#),
            field("contact_ids", FieldKind::Ids("contacts"), "Contacts whose address is in from, to or cc.").filled(),
            field("company_ids", FieldKind::Ids("companies"), "Companies whose domain is in from, to or cc.").filled(),
            field("deal_ids", FieldKind::Ids("deals"), "Deals it belongs to.").filled(),
        ],
        to_many: &[
            ToMany { key: "contacts", table: "contacts", link: Link::Ours("contact_ids") },
            ToMany { key: "companies", table: "companies", link: Link::Ours("company_ids") },
            ToMany { key: "deals", table: "deals", link: Link::Ours("deal_ids") },
        ],
        order: Order::Mail,
        searchable: true,
        is_mail: true,
        refusals: Refusals { create: &["email_not_configured", "email_rejected"], update: &[], delete: &[] },
        ..RECORD
    },
    Entity {
        name: "list",
        table: "lists",
        prefix: "l",
        about: "Saved lists: a predicate over a table (dynamic) or chosen members (static).",
        fields: &[
            field("name", FieldKind::Text, "The list's name.").required().example(r#""CTOs""#),
            field("description", FieldKind::Text, "The list's purpose."),
            field("target_table", FieldKind::Text, "The table whose rows it holds.")
                .required()
                .example(r#""contacts""#),
            field("kind", FieldKind::OneOf(&["dynamic", "static"]), "The kind of list.")
                .filled()
                .example(r#""dynamic""#),
            field("filter_predicate", FieldKind::Text, "An SQL boolean over the target table.")
                .example(r#""title ILIKE $1""#),
            field("filter_params", FieldKind::JsonArray, "Values of $1… in the predicate.")
                .filled()
                .example(r#"["%cto%"]"#),
            field("config", FieldKind::JsonObject, "Columns and order of its rows.")
                .filled()
                .example(r#"{"columns": ["email", "company.name"], "order": ["-created_at"]}"#),
        ],
        searchable: true,
        ..RECORD
    },
    Entity {
        name: "list_member",
        table: "list_members",
        prefix: "lm",
        about: "Members of static lists.",
        fields: &[
            field("list_id", FieldKind::Id("lists"), "The list.").required(),
            field("member_id", FieldKind::Text, "The record's id.")
                .required()
                .example(r#""c_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("added_at", FieldKind::Time, "Time of the addition.").filled(),
            field("added_by", FieldKind::Text, "The actor that added it."),
        ],
        order: Order::NewestBy("added_at"),
        stamped: false,
        associable: false,
        ..RECORD
    },
    Entity {
        name: "pipeline",
        table: "pipelines",
        prefix: "pl",
        about: "Pipelines that deals move through.",
        fields: &[
            field("key", FieldKind::Text, "The name that deals use.").required().example(r#""renewals""#),
            field("label", FieldKind::Text, "The name that people read.").required().example(r#""Renewals""#),
            field("position", FieldKind::SmallInteger, "Place among the pipelines, 0 or more, stored as given; by default the last. A pipeline at a taken place moves the others.")
                .filled()
                .example("1"),
            field("is_default", FieldKind::Bool, "Whether deals without a pipeline go here.").filled(),
        ],
        order: Order::Position,
        named_by: NamedBy::Key,
        refusals: Refusals {
            create: &[],
            update: &["cannot_delete_default", "pipeline_in_use"],
            delete: &["cannot_delete_default", "pipeline_in_use"],
        },
        ..RECORD
    },
    Entity {
        name: "pipeline_stage",
        table: "pipeline_stages",
        prefix: "st",
        about: "The stages of each pipeline, in order.",
        fields: &[
            field("pipeline", FieldKind::Text, "Key of the pipeline.").required().example(r#""sales""#),
            field("key", FieldKind::Text, "The name that deals use.").required().example(r#""legal""#),
            field("label", FieldKind::Text, "The name that people read.").required().example(r#""Legal review""#),
            field("position", FieldKind::SmallInteger, "Place within the pipeline, 0 or more, stored as given; by default the last. A stage at a taken place moves the others.")
                .filled()
                .example("3"),
            field("is_won", FieldKind::Bool, "Whether a deal here is won.").filled(),
            field("is_lost", FieldKind::Bool, "Whether a deal here is lost.").filled(),
        ],
        order: Order::Position,
        named_by: NamedBy::KeyInPipeline,
        refusals: Refusals { create: &[], update: &["stage_in_use"], delete: &["stage_in_use"] },
        ..RECORD
    },
    Entity {
        name: "association",
        table: "associations",
        prefix: "as",
        about: "Associations between any two records, also of your own tables. They are deleted with a record that is deleted permanently.",
        fields: &[
            field("from_type", FieldKind::Text, "Kind of the first record.").required().example(r#""contact""#),
            field("from_id", FieldKind::Text, "Id of the first record.")
                .required()
                .example(r#""c_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("to_type", FieldKind::Text, "Kind of the second record.").required().example(r#""deal""#),
            field("to_id", FieldKind::Text, "Id of the second record.")
                .required()
                .example(r#""d_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("label", FieldKind::Text, "Meaning of the association.").example(r#""champion""#),
        ],
        feature: Some(Feature::Associations),
        associable: false,
        write_rule: WriteRule::Edge,
        ..RECORD
    },
    Entity {
        name: "custom_field",
        table: "custom_fields",
        prefix: "fld",
        about: "Definitions of the keys in `custom`. Values are checked on every write; existing values are checked when they are next written.",
        fields: &[
            field("object_type", FieldKind::OneOf(&["contact", "company", "deal", "activity"]), "The kind of record.")
                .required()
                .example(r#""contact""#),
            field("key", FieldKind::Text, "The key in `custom`.").required().example(r#""plan""#),
            field("label", FieldKind::Text, "The name that people read.").example(r#""Plan""#),
            field("type", FieldKind::OneOf(&["text", "number", "date", "bool", "select"]), "Type of its values.")
                .required()
                .example(r#""select""#),
            field("options", FieldKind::Json, "The choices of a select.").example(r#"["free", "pro"]"#),
            field("required", FieldKind::Bool, "Whether it must have a value.").filled().example("false"),
        ],
        associable: false,
        describes_tables: true,
        deletion_note: Some("The values stay, and are free-form from now on."),
        ..RECORD
    },
    Entity {
        name: "event",
        table: "activity",
        prefix: "a",
        about: "The feed of everything that was created, updated, deleted, restored or refused. Append-only.",
        fields: &[
            field("occurred_at", FieldKind::Time, "Time of the event.").filled(),
            field("actor", FieldKind::Text, "Actor: api_key:ak_…, user:u_…, automation:auto_…, postgres:<role>.")
                .filled()
                .example(r#""api_key:ak_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field(
                "verb",
                FieldKind::OneOf(&["created", "updated", "deleted", "restored", "conflict"]),
                "Kind of change.",
            )
            .filled()
            .example(r#""updated""#),
            field("subject_type", FieldKind::Text, "Kind of the record.").filled().example(r#""deal""#),
            field("subject_id", FieldKind::Text, "Id of the record.").example(r#""d_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("subject_repr", FieldKind::Text, "The record's name at the time.").example(r#""Acme rollout""#),
            field("changes", FieldKind::Json, "{column: {from, to}} of an update.")
                .example(r#"{"stage": {"from": "qualified", "to": "won"}}"#),
        ],
        order: Order::NewestBy("occurred_at"),
        writable: false,
        stamped: false,
        associable: false,
        is_feed: true,
        ..RECORD
    },
];
