//! The built-in tables, as one const table that parser, plan, OpenAPI, documentation and tests all read.
//!
//! Names are those of the physical schema (`migrations/workspace`), which is agentCRM's; the Relm dialect
//! renames on the wire only.

use crate::model::who::Feature;

/// A built-in table.
#[derive(Debug)]
pub struct Entity {
    /// What one record is called: `contact`. It is the activity feed's `subject_type` too.
    pub name: &'static str,
    /// The table: `contacts`.
    pub table: &'static str,
    /// The prefix of its ids, without the underscore.
    pub prefix: &'static str,
    /// One sentence for documentation.
    pub about: &'static str,
    /// Its own columns, without the ones every record has.
    pub fields: &'static [Field],
    /// Rows that a record points to, shown with it.
    pub to_one: &'static [ToOne],
    /// Rows that point to a record, shown with it.
    pub to_many: &'static [ToMany],
    /// What a list is sorted by.
    pub order: Order,
    /// Whether the workspace may write it; the activity feed is written by triggers alone.
    pub writable: bool,
    /// Whether it has [`STAMPS`], without which a deletion is for good.
    pub stamped: bool,
    /// Whether a few words find its records.
    pub searchable: bool,
    /// Whether it is one of the tables that are searched together.
    pub searched_together: bool,
    /// How a path names one of its records.
    pub named_by: NamedBy,
    /// The billing feature that it belongs to.
    pub feature: Option<Feature>,
    /// Whether its records can be associated with others.
    pub associable: bool,
    /// Whether keys of `custom` can be defined for its records.
    pub custom_fields: bool,
    /// Whether its rows describe other tables, so that the catalog is read again once they change.
    pub describes_tables: bool,
    /// Whether its records are e-mails, which relate to contacts, companies and deals by their addresses.
    pub is_mail: bool,
    /// Whether it is the feed, whose `changes` are in the words of the changed table.
    pub is_feed: bool,
    /// What is checked on a write beyond its columns.
    pub write_rule: WriteRule,
    /// The codes by which triggers refuse a write.
    pub refusals: Refusals,
    /// What the caller should know of a deletion.
    pub deletion_note: Option<&'static str>,
}

/// How a path names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// By its id.
    Id,
    /// By the column `key`, or by its id.
    Key,
    /// By the column `key` within a pipeline, or by its id.
    KeyInPipeline,
}

/// What is checked on a write beyond its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRule {
    /// Nothing.
    Plain,
    /// It joins two records, which must be there and can't be changed afterwards.
    Edge,
    /// It stands in a stage of a pipeline.
    InPipeline,
}

/// The codes by which triggers refuse writes, beyond those that any table's writes may end in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Refusals {
    pub create: &'static [&'static str],
    pub update: &'static [&'static str],
    pub delete: &'static [&'static str],
}

/// What most built-in tables have in common.
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

/// A column of a built-in table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The column's name.
    pub name: &'static str,
    /// The type, for documentation.
    pub kind: FieldKind,
    /// One short sentence.
    pub about: &'static str,
    /// Whether it always has a value, and who gives it.
    pub need: Need,
    /// A value to show, as JSON; empty where there is none to show.
    pub example: &'static str,
    /// The function of the database that gives a value's normal form, if values have one.
    pub normal_form: Option<&'static str>,
}

/// Whether a column always has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may be null.
    Optional,
    /// It is never null; left out, it gets a value by itself.
    Filled,
    /// It is never null, and a new record must name it.
    Required,
}

/// The types that built-in columns have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FieldKind {
    Text,
    Email,
    Emails,
    Integer,
    /// Of 32 bits.
    SmallInteger,
    Bool,
    Date,
    Time,
    Json,
    JsonArray,
    JsonObject,
    /// The id of a record of the named table.
    Id(&'static str),
    /// Several ids of records of the named table.
    Ids(&'static str),
    OneOf(&'static [&'static str]),
}

/// `company` on a contact: the row that `column` names.
#[derive(Debug)]
pub struct ToOne {
    /// The key under which the row is shown.
    pub key: &'static str,
    /// The column that holds its id.
    pub column: &'static str,
    /// The table it is in.
    pub table: &'static str,
}

/// `contacts` on a company: the newest live rows that belong to a record.
#[derive(Debug)]
pub struct ToMany {
    /// The key under which the rows are shown.
    pub key: &'static str,
    /// The table they are in.
    pub table: &'static str,
    /// How they belong to the record.
    pub link: Link,
}

/// How rows belong to a record.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// This column of theirs holds the record's id.
    Theirs(&'static str),
    /// This array column of the record's holds their ids.
    Ours(&'static str),
}

/// Rows shown at most for a [`ToMany`] that is linked by a column of theirs.
pub const RELATED_ROWS: usize = 10;

/// What a list is sorted by; the id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `created_at`, newest first.
    Newest,
    /// When the mail was received or sent, newest first.
    Mail,
    /// The named time column, newest first.
    NewestBy(&'static str),
    /// `position`, ascending.
    Position,
}

/// The built-in table of that name.
pub fn by_table(table: &str) -> Option<&'static Entity> {
    ENTITIES.iter().find(|entity| entity.table == table)
}

impl Entity {
    /// The function of the database that gives the normal form of a column's values, if they have one.
    pub fn normal_form(&self, column: &str) -> Option<&'static str> {
        self.fields.iter().find(|field| field.name == column)?.normal_form
    }

    /// All its columns, the shared ones included, in the order in which they are shown.
    pub fn columns(&self) -> impl Iterator<Item = Field> {
        let id = field("id", FieldKind::Id(self.table), "Made by the server; sorts by time.").filled();
        let stamps = if self.stamped { STAMPS } else { &[] };
        [id].into_iter().chain(self.fields.iter().copied()).chain([CUSTOM]).chain(stamps.iter().copied())
    }
}

/// The free-form field that every record has.
pub const CUSTOM: Field =
    field("custom", FieldKind::JsonObject, "Free-form fields; keys defined in custom_fields are checked.").filled();

/// The columns that say when a record was made, changed and hidden.
pub const STAMPS: &[Field] = &[
    field("created_at", FieldKind::Time, "When it was made.").filled(),
    field("updated_at", FieldKind::Time, "When it was last changed.").filled(),
    field("deleted_at", FieldKind::Time, "When it was deleted; null while it is live."),
];

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> Field {
    Field { name, kind, about, need: Need::Optional, example: "", normal_form: None }
}

impl Field {
    const fn filled(self) -> Field {
        Field { need: Need::Filled, ..self }
    }

    const fn required(self) -> Field {
        Field { need: Need::Required, ..self }
    }

    const fn example(self, json: &'static str) -> Field {
        Field { example: json, ..self }
    }

    const fn normal_form(self, function: &'static str) -> Field {
        Field { normal_form: Some(function), ..self }
    }
}

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
            field("name", FieldKind::Text, "What the company is called.").example(r#""Acme""#),
            field("domain", FieldKind::Text, "Its internet domain, for example acme.com.")
                .example(r#""acme.com""#)
                .normal_form("kith.normal_domain"),
            field("industry", FieldKind::Text, "What it does.").example(r#""Robotics""#),
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
            field("name", FieldKind::Text, "What the deal is called.").example(r#""Acme rollout""#),
            field("pipeline", FieldKind::Text, "Key of the pipeline; the default one where left out.")
                .filled()
                .example(r#""sales""#),
            field("stage", FieldKind::Text, "Key of the stage; the pipeline's first where left out.")
                .filled()
                .example(r#""qualified""#),
            field("amount_cents", FieldKind::Integer, "Value in the currency's smallest unit.").example("1250000"),
            field("currency", FieldKind::Text, "ISO 4217 code.").example(r#""USD""#),
            field("close_date", FieldKind::Date, "When it is expected to close.").example(r#""2026-12-31""#),
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
            field("type", FieldKind::OneOf(&["note", "email", "call", "meeting", "task"]), "What kind of activity.")
                .filled()
                .example(r#""call""#),
            field("subject", FieldKind::Text, "One line.").example(r#""Intro call""#),
            field("body", FieldKind::Text, "The text.").example(r#""Wants a pilot in March.""#),
            field("contact_id", FieldKind::Id("contacts"), "The person it concerns."),
            field("deal_id", FieldKind::Id("deals"), "The deal it concerns."),
            field("company_id", FieldKind::Id("companies"), "The company it concerns."),
            field("occurred_at", FieldKind::Time, "When it happened.")
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
            field("provider", FieldKind::Text, "Where it came from, for example gmail.").example(r#""gmail""#),
            field("provider_msg_id", FieldKind::Text, "The message's id there; unique with `provider`.")
                .example(r#""18c2f9a""#),
            field("direction", FieldKind::OneOf(&["inbound", "outbound"]), "Whether it came in or went out.")
                .example(r#""inbound""#),
            field("from_addr", FieldKind::Email, "Sender.")
                .example(r#""sarah@acme.com""#)
                .normal_form("kith.trimmed"),
            field("to_addrs", FieldKind::Emails, "Recipients.").filled().example(r#"["me@example.com"]"#),
            field("cc_addrs", FieldKind::Emails, "Recipients of copies.").filled().example("[]"),
            field("subject", FieldKind::Text, "Subject line.").example(r#""Pricing""#),
            field("snippet", FieldKind::Text, "The first words.").example(r#""Could you send""#),
            field("body_text", FieldKind::Text, "The text part.").example(r#""Could you send the price list?""#),
            field("body_html", FieldKind::Text, "The HTML part."),
            field("sent_at", FieldKind::Time, "When it was sent."),
            field("received_at", FieldKind::Time, "When it was received.").example(r#""2026-11-20T15:04:05+00:00""#),
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
        ..RECORD
    },
    Entity {
        name: "list",
        table: "lists",
        prefix: "l",
        about: "Saved lists: a predicate over a table (dynamic) or chosen members (static).",
        fields: &[
            field("name", FieldKind::Text, "What the list is called.").required().example(r#""CTOs""#),
            field("description", FieldKind::Text, "What it is for."),
            field("target_table", FieldKind::Text, "The table whose rows it holds.")
                .required()
                .example(r#""contacts""#),
            field("kind", FieldKind::OneOf(&["dynamic", "static"]), "How its rows are found.")
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
            field("added_at", FieldKind::Time, "When it was added.").filled(),
            field("added_by", FieldKind::Text, "Who added it."),
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
            field("position", FieldKind::SmallInteger, "Place among the pipelines, 0 or more: kept as it is given, the last if left out; who has it makes way.")
                .filled()
                .example("1"),
            field("is_default", FieldKind::Bool, "Whether deals that name none go here.").filled(),
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
            field("position", FieldKind::SmallInteger, "Place within the pipeline, 0 or more: kept as it is given, the last if left out; who has it makes way.")
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
        about: "Edges between any two records, tables of your own included; they go with a record that is deleted for good.",
        fields: &[
            field("from_type", FieldKind::Text, "What kind of record it starts at.").required().example(r#""contact""#),
            field("from_id", FieldKind::Text, "The record it starts at.")
                .required()
                .example(r#""c_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("to_type", FieldKind::Text, "What kind of record it leads to.").required().example(r#""deal""#),
            field("to_id", FieldKind::Text, "The record it leads to.")
                .required()
                .example(r#""d_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field("label", FieldKind::Text, "What it means.").example(r#""champion""#),
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
        about: "Definitions of the keys in `custom`; values are checked on every write, those that were there before when they are next written.",
        fields: &[
            field("object_type", FieldKind::OneOf(&["contact", "company", "deal", "activity"]), "Whose field it is.")
                .required()
                .example(r#""contact""#),
            field("key", FieldKind::Text, "The key in `custom`.").required().example(r#""plan""#),
            field("label", FieldKind::Text, "The name that people read.").example(r#""Plan""#),
            field("type", FieldKind::OneOf(&["text", "number", "date", "bool", "select"]), "What values it takes.")
                .required()
                .example(r#""select""#),
            field("options", FieldKind::Json, "The choices of a select.").example(r#"["free", "pro"]"#),
            field("required", FieldKind::Bool, "Whether it must have a value.").filled().example("false"),
        ],
        associable: false,
        describes_tables: true,
        deletion_note: Some("The values stay where they are; from now on they are free-form."),
        ..RECORD
    },
    Entity {
        name: "event",
        table: "activity",
        prefix: "a",
        about: "The feed of everything that was created, updated, deleted, restored or refused. Append-only.",
        fields: &[
            field("occurred_at", FieldKind::Time, "When it happened.").filled(),
            field("actor", FieldKind::Text, "Who did it: api_key:ak_…, user:u_…, automation:auto_…, postgres:<role>.")
                .filled()
                .example(r#""api_key:ak_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
            field(
                "verb",
                FieldKind::OneOf(&["created", "updated", "deleted", "restored", "conflict"]),
                "What happened.",
            )
            .filled()
            .example(r#""updated""#),
            field("subject_type", FieldKind::Text, "What kind of record it happened to.").filled().example(r#""deal""#),
            field("subject_id", FieldKind::Text, "The record.").example(r#""d_01kaqz3v5t8w9x2y4z6a8b0c1d""#),
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

/// Columns of every record that callers may read but never write.
pub const READ_ONLY_COLUMNS: &[&str] = &["id", "created_at", "updated_at", "deleted_at"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_fields_are_defined_for_the_tables_that_may_have_them() {
        let definitions = ENTITIES.iter().find(|entity| entity.describes_tables).expect("a table of definitions");
        let kind = definitions.fields.iter().find(|field| field.name == "object_type").map(|field| field.kind);
        let mut names: Vec<&str> =
            ENTITIES.iter().filter(|entity| entity.custom_fields).map(|entity| entity.name).collect();
        let FieldKind::OneOf(listed) = kind.expect("its column") else { panic!("{kind:?}") };
        let mut listed = listed.to_vec();
        names.sort_unstable();
        listed.sort_unstable();
        assert_eq!(names, listed);
    }

    #[test]
    fn names_prefixes_and_relations_hold_together() {
        for (at, entity) in ENTITIES.iter().enumerate() {
            for other in &ENTITIES[at + 1..] {
                assert_ne!(entity.table, other.table);
                assert_ne!(entity.prefix, other.prefix);
                assert_ne!(entity.name, other.name);
            }
            for relation in entity.to_one {
                assert!(by_table(relation.table).is_some(), "{}", relation.key);
                assert!(entity.fields.iter().any(|field| field.name == relation.column), "{}", relation.key);
            }
            for relation in entity.to_many {
                let owner = match relation.link {
                    Link::Theirs(column) => (by_table(relation.table).expect("a built-in table"), column),
                    Link::Ours(column) => (entity, column),
                };
                assert!(owner.0.fields.iter().any(|field| field.name == owner.1), "{}", relation.key);
            }
        }
    }
}
