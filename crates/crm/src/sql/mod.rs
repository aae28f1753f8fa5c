//! SQL statements as values of text and parameters. They are appended part by part, never formatted from the caller's
//! text.
//!
//! This is the only module of the crate that writes SQL. Every identifier is quoted by one function. Every value is a
//! parameter.

pub mod batch;
pub mod catalog;
pub mod conflict;
pub mod context;
pub mod describe;
pub mod edits;
pub mod email;
pub mod events;
pub mod filter;
pub mod idempotency;
pub mod inbound;
pub mod link;
pub mod log;
pub mod merge;
pub mod pages;
pub mod read;
pub mod saved;
pub mod search;
pub mod unchanged;
pub mod wrap;
pub mod write;

use crate::plan::Plan;

/// The initial capacity of a statement, which is enough for most of them.
const USUAL_LENGTH: usize = 512;

/// A statement: its text, and its parameters in PostgreSQL's text form. Each parameter has a label, so that an error of
/// PostgreSQL about `$3` can name the field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sql {
    /// The text, with `$1…`.
    pub text: String,
    /// The parameters; `None` is NULL.
    pub params: Vec<Option<String>>,
    /// The label of each parameter.
    pub labels: Vec<Label>,
    /// Whether a result that is too large can be cut. If not, the request fails, and nothing of it is kept.
    pub may_be_cut: bool,
    /// Whether the statement removes a row. An error of a foreign key then means that other rows refer to the row.
    pub removes: bool,
    /// Whether the statement inserts one row of a built-in table.
    pub inserts_one: bool,
}

/// The meaning of a parameter, in the caller's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A column's new value.
    Column(String),
    /// A filter's value.
    Filter {
        /// The parameter's name on the wire.
        parameter: String,
        /// The type that it is compared as.
        type_name: String,
    },
    /// The id in the path of the request.
    Id,
    /// A key of a cursor.
    Cursor,
    /// A value that Kith provides.
    Own,
}

impl Sql {
    /// A statement that begins with `text`.
    pub fn new(text: &str) -> Sql {
        let mut sql = Sql { text: String::with_capacity(USUAL_LENGTH), ..Sql::default() };
        sql.text.push_str(text);
        sql
    }

    /// Marks the statement: its result can be cut.
    pub fn cuttable(mut self) -> Sql {
        self.may_be_cut = true;
        self
    }

    /// Appends SQL that Kith wrote. The text is `'static`, so it cannot come from a caller.
    pub fn push(&mut self, text: &'static str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Appends an identifier in quotes.
    pub fn name(&mut self, identifier: &str) -> &mut Sql {
        quote(identifier, &mut self.text);
        self
    }

    /// Appends `t."column"`.
    pub fn column(&mut self, alias: &'static str, column: &str) -> &mut Sql {
        self.push(alias).push(".").name(column)
    }

    /// Appends the name of a table in schema `public`.
    pub fn table(&mut self, table: &str) -> &mut Sql {
        self.push("public.").name(table)
    }

    /// Appends a whole number.
    pub fn number(&mut self, number: usize) -> &mut Sql {
        self.text.push_str(&number.to_string());
        self
    }

    /// Appends a parameter, as `$1…`.
    pub fn bind(&mut self, value: Option<String>, label: Label) -> &mut Sql {
        self.params.push(value);
        self.labels.push(label);
        self.text.push('$');
        self.number(self.params.len())
    }

    /// Appends a string literal in a form that does not depend on session settings.
    pub fn literal(&mut self, text: &str) -> &mut Sql {
        self.text.push_str("E'");
        for character in text.chars() {
            if matches!(character, '\'' | '\\') {
                self.text.push('\\');
            }
            self.text.push(character);
        }
        self.push("'")
    }

    /// Appends SQL that the workspace wrote: a type or an expression as PostgreSQL prints it, or the caller's own SQL.
    /// It runs in a session of the workspace.
    pub fn workspace_text(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }
}

/// Appends an identifier in double quotes.
fn quote(identifier: &str, out: &mut String) {
    out.push('"');
    for character in identifier.chars() {
        if character == '"' {
            out.push('"');
        }
        out.push(character);
    }
    out.push('"');
}

/// The statements of a plan, for one transaction. The main statement is the first one. The check of the catalog, if
/// there is one, is the last.
pub fn statements(plan: &Plan<'_>) -> Vec<Sql> {
    let mut statements = own_statements(plan);
    statements.extend(unchanged::unchanged(plan));
    statements
}

fn own_statements(plan: &Plan<'_>) -> Vec<Sql> {
    match plan {
        Plan::List(list) => [read::list(list)].into_iter().chain(list.within.as_ref().map(read::pipeline)).collect(),
        Plan::Find(find) => read::find(find),
        Plan::Create(create) => vec![write::create(create)],
        Plan::Link(link) => link::link(link),
        Plan::Update(update) => vec![write::update(update)],
        Plan::Delete(delete) => vec![write::delete(delete)],
        Plan::Restore(restore) => vec![write::restore(restore)],
        Plan::Merge(merge) => merge::merge(merge),
        Plan::Search(search) => vec![search::search(search)],
        Plan::Tables(_) => vec![describe::tables()],
        Plan::Schema(table) => vec![describe::schema(table.map(|table| table.name.as_str()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_and_values_are_parameters() {
        let mut sql = Sql::new("SELECT ");
        sql.name("a\"; DROP TABLE x; --").push(" = ").bind(Some("v".into()), Label::Own);
        assert_eq!(sql.text, "SELECT \"a\"\"; DROP TABLE x; --\" = $1");
        assert_eq!(sql.params, [Some("v".to_owned())]);
    }
}
