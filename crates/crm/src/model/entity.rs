//! The built-in tables, as one const table that parser, plan, OpenAPI, documentation and tests all read.
//!
//! Names are those of the physical schema (`migrations/workspace`), which is agentCRM's; the Relm dialect
//! renames on the wire only.

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
}

/// A column of a built-in table.
#[derive(Debug)]
pub struct Field {
    /// The column's name.
    pub name: &'static str,
    /// The type, for documentation.
    pub kind: FieldKind,
    /// One short sentence.
    pub about: &'static str,
}

/// The types that built-in columns have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FieldKind {
    Text,
    Email,
    Emails,
    Integer,
    Bool,
    Date,
    Time,
    Json,
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

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> Field {
    Field { name, kind, about }
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
            field("name", FieldKind::Text, "What the company is called."),
            field("domain", FieldKind::Text, "Its internet domain, for example acme.com."),
            field("industry", FieldKind::Text, "What it does."),
            field("size", FieldKind::Text, "Number of people, as a range: 11-50."),
        ],
        to_one: &[],
        to_many: &[
            ToMany { key: "contacts", table: "contacts", link: Link::Theirs("company_id") },
            ToMany { key: "deals", table: "deals", link: Link::Theirs("company_id") },
        ],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "contact",
        table: "contacts",
        prefix: "c",
        about: "People. `email` is unique among live contacts, ignoring case.",
        fields: &[
            field("email", FieldKind::Email, "The person's address."),
            field("first_name", FieldKind::Text, "Given name."),
            field("last_name", FieldKind::Text, "Family name."),
            field("phone", FieldKind::Text, "Telephone number, as written."),
            field("title", FieldKind::Text, "Position held, for example CTO."),
            field("company_id", FieldKind::Id("companies"), "The company the person works for."),
        ],
        to_one: &[COMPANY],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "deal",
        table: "deals",
        prefix: "d",
        about: "Opportunities, each in a stage of a pipeline.",
        fields: &[
            field("name", FieldKind::Text, "What the deal is called."),
            field("pipeline", FieldKind::Text, "Key of the pipeline; the default one where left out."),
            field("stage", FieldKind::Text, "Key of the stage; the pipeline's first where left out."),
            field("amount_cents", FieldKind::Integer, "Value in the currency's smallest unit."),
            field("currency", FieldKind::Text, "ISO 4217 code."),
            field("close_date", FieldKind::Date, "When it is expected to close."),
            field("contact_id", FieldKind::Id("contacts"), "The person the deal is with."),
            field("company_id", FieldKind::Id("companies"), "The company the deal is with."),
        ],
        to_one: &[CONTACT, COMPANY],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "activity",
        table: "activities",
        prefix: "act",
        about: "Notes, e-mails, calls, meetings and tasks that were logged.",
        fields: &[
            field("type", FieldKind::OneOf(&["note", "email", "call", "meeting", "task"]), "What kind of activity."),
            field("subject", FieldKind::Text, "One line."),
            field("body", FieldKind::Text, "The text."),
            field("contact_id", FieldKind::Id("contacts"), "The person it concerns."),
            field("deal_id", FieldKind::Id("deals"), "The deal it concerns."),
            field("company_id", FieldKind::Id("companies"), "The company it concerns."),
            field("occurred_at", FieldKind::Time, "When it happened."),
        ],
        to_one: &[CONTACT, ToOne { key: "deal", column: "deal_id", table: "deals" }, COMPANY],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "email",
        table: "emails",
        prefix: "e",
        about: "E-mail messages, attached to contacts and companies by their addresses.",
        fields: &[
            field("thread_id", FieldKind::Text, "The conversation's id at the provider."),
            field("provider", FieldKind::Text, "Where it came from, for example gmail."),
            field("provider_msg_id", FieldKind::Text, "The message's id there; unique with `provider`."),
            field("direction", FieldKind::OneOf(&["inbound", "outbound"]), "Whether it came in or went out."),
            field("from_addr", FieldKind::Email, "Sender."),
            field("to_addrs", FieldKind::Emails, "Recipients."),
            field("cc_addrs", FieldKind::Emails, "Recipients of copies."),
            field("subject", FieldKind::Text, "Subject line."),
            field("snippet", FieldKind::Text, "The first words."),
            field("body_text", FieldKind::Text, "The text part."),
            field("body_html", FieldKind::Text, "The HTML part."),
            field("sent_at", FieldKind::Time, "When it was sent."),
            field("received_at", FieldKind::Time, "When it was received."),
            field("contact_ids", FieldKind::Ids("contacts"), "Contacts whose address is in from, to or cc."),
            field("company_ids", FieldKind::Ids("companies"), "Companies whose domain is in from, to or cc."),
            field("deal_ids", FieldKind::Ids("deals"), "Deals it belongs to."),
        ],
        to_one: &[],
        to_many: &[
            ToMany { key: "contacts", table: "contacts", link: Link::Ours("contact_ids") },
            ToMany { key: "companies", table: "companies", link: Link::Ours("company_ids") },
            ToMany { key: "deals", table: "deals", link: Link::Ours("deal_ids") },
        ],
        order: Order::Mail,
        writable: true,
    },
    Entity {
        name: "list",
        table: "lists",
        prefix: "l",
        about: "Saved lists: a predicate over a table (dynamic) or chosen members (static).",
        fields: &[
            field("name", FieldKind::Text, "What the list is called."),
            field("description", FieldKind::Text, "What it is for."),
            field("target_table", FieldKind::Text, "The table whose rows it holds."),
            field("kind", FieldKind::OneOf(&["dynamic", "static"]), "How its rows are found."),
            field("filter_predicate", FieldKind::Text, "An SQL boolean over the target table."),
            field("filter_params", FieldKind::Json, "Values of $1… in the predicate."),
            field("config", FieldKind::Json, "Columns and order of its rows."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "list_member",
        table: "list_members",
        prefix: "lm",
        about: "Members of static lists.",
        fields: &[
            field("list_id", FieldKind::Id("lists"), "The list."),
            field("member_id", FieldKind::Text, "The record's id."),
            field("added_at", FieldKind::Time, "When it was added."),
            field("added_by", FieldKind::Text, "Who added it."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::NewestBy("added_at"),
        writable: true,
    },
    Entity {
        name: "pipeline",
        table: "pipelines",
        prefix: "pl",
        about: "Pipelines that deals move through.",
        fields: &[
            field("key", FieldKind::Text, "The name that deals use."),
            field("label", FieldKind::Text, "The name that people read."),
            field("position", FieldKind::Integer, "Place among the pipelines."),
            field("is_default", FieldKind::Bool, "Whether deals that name none go here."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::Position,
        writable: true,
    },
    Entity {
        name: "pipeline_stage",
        table: "pipeline_stages",
        prefix: "st",
        about: "The stages of each pipeline, in order.",
        fields: &[
            field("pipeline", FieldKind::Text, "Key of the pipeline."),
            field("key", FieldKind::Text, "The name that deals use."),
            field("label", FieldKind::Text, "The name that people read."),
            field("position", FieldKind::Integer, "Place within the pipeline."),
            field("is_won", FieldKind::Bool, "Whether a deal here is won."),
            field("is_lost", FieldKind::Bool, "Whether a deal here is lost."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::Position,
        writable: true,
    },
    Entity {
        name: "association",
        table: "associations",
        prefix: "as",
        about: "Edges between any two records.",
        fields: &[
            field("from_type", FieldKind::Text, "What kind of record it starts at."),
            field("from_id", FieldKind::Text, "The record it starts at."),
            field("to_type", FieldKind::Text, "What kind of record it leads to."),
            field("to_id", FieldKind::Text, "The record it leads to."),
            field("label", FieldKind::Text, "What it means."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "custom_field",
        table: "custom_fields",
        prefix: "fld",
        about: "Definitions of the keys in `custom`; values are checked on every write.",
        fields: &[
            field("object_type", FieldKind::OneOf(&["contact", "company", "deal", "activity"]), "Whose field it is."),
            field("key", FieldKind::Text, "The key in `custom`."),
            field("label", FieldKind::Text, "The name that people read."),
            field("type", FieldKind::OneOf(&["text", "number", "date", "bool", "select"]), "What values it takes."),
            field("options", FieldKind::Json, "The choices of a select."),
            field("required", FieldKind::Bool, "Whether it must have a value."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::Newest,
        writable: true,
    },
    Entity {
        name: "event",
        table: "activity",
        prefix: "a",
        about: "The feed of everything that was created, updated, deleted, restored or refused. Append-only.",
        fields: &[
            field("occurred_at", FieldKind::Time, "When it happened."),
            field("actor", FieldKind::Text, "Who did it: api_key:ak_…, user:u_…, automation:auto_…, postgres:<role>."),
            field(
                "verb",
                FieldKind::OneOf(&["created", "updated", "deleted", "restored", "conflict"]),
                "What happened.",
            ),
            field("subject_type", FieldKind::Text, "What kind of record it happened to."),
            field("subject_id", FieldKind::Text, "The record."),
            field("subject_repr", FieldKind::Text, "The record's name at the time."),
            field("changes", FieldKind::Json, "{column: {from, to}} of an update."),
        ],
        to_one: &[],
        to_many: &[],
        order: Order::NewestBy("occurred_at"),
        writable: false,
    },
];

/// Columns of every record that callers may read but never write.
pub const READ_ONLY_COLUMNS: &[&str] = &["id", "created_at", "updated_at", "deleted_at"];

#[cfg(test)]
mod tests {
    use super::*;

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
