//! Plans as SQL: a value of text and parameters, joined, never formatted from the caller's words.
//!
//! The only room of this crate that writes SQL. Every identifier goes through one quote function, every
//! value is a parameter.

pub mod batch;
pub mod catalog;
pub mod conflict;
pub mod context;
pub mod describe;
pub mod filter;
pub mod idempotency;
pub mod link;
pub mod read;
pub mod saved;
pub mod search;
pub mod unchanged;
pub mod wrap;
pub mod write;

use crate::plan::Plan;

/// Room for most statements, so that they grow without moving.
const USUAL_LENGTH: usize = 512;

/// A statement: text, parameters in PostgreSQL's text form, and what each parameter is, so that a complaint
/// of PostgreSQL about `$3` can name the field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sql {
    /// The text, with `$1…`.
    pub text: String,
    /// The parameters; `None` is NULL.
    pub params: Vec<Option<String>>,
    /// What each parameter is.
    pub labels: Vec<Label>,
    /// Whether a result that is too large may be cut; else the request fails, and nothing of it is kept.
    pub may_be_cut: bool,
    /// Whether it removes a row, so that a foreign key's refusal means that other rows refer to it.
    pub removes: bool,
}

/// What a parameter is, in the caller's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A column's new value.
    Column(String),
    /// A filter's value.
    Filter {
        /// The parameter's name on the wire.
        parameter: String,
        /// The type of what it is compared with.
        type_name: String,
    },
    /// The id in the path.
    Id,
    /// A key out of a cursor.
    Cursor,
    /// A value that Kith itself gives.
    Own,
}

impl Sql {
    /// A statement that begins with this text.
    pub fn new(text: &str) -> Sql {
        let mut sql = Sql { text: String::with_capacity(USUAL_LENGTH), ..Sql::default() };
        sql.text.push_str(text);
        sql
    }

    /// The same, whose result may be cut.
    pub fn cuttable(mut self) -> Sql {
        self.may_be_cut = true;
        self
    }

    /// Appends SQL of Kith's own. `'static`, so that no caller's word can get here.
    pub fn push(&mut self, text: &'static str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Appends an identifier, quoted.
    pub fn name(&mut self, identifier: &str) -> &mut Sql {
        quote(identifier, &mut self.text);
        self
    }

    /// Appends `t."column"`.
    pub fn column(&mut self, alias: &'static str, column: &str) -> &mut Sql {
        self.push(alias).push(".").name(column)
    }

    /// Appends a table of schema `public`.
    pub fn table(&mut self, table: &str) -> &mut Sql {
        self.push("public.").name(table)
    }

    /// Appends a whole number.
    pub fn number(&mut self, number: usize) -> &mut Sql {
        self.text.push_str(&number.to_string());
        self
    }

    /// Appends a parameter.
    pub fn bind(&mut self, value: Option<String>, label: Label) -> &mut Sql {
        self.params.push(value);
        self.labels.push(label);
        self.text.push('$');
        self.number(self.params.len())
    }

    /// Appends a string literal, in a form that no session setting reads otherwise.
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

    /// Appends SQL text that the workspace itself wrote and that PostgreSQL has printed back (an index's
    /// expression); it runs in the workspace's own session.
    pub fn workspace_text(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }
}

/// Writes an identifier in double quotes.
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

/// The statements of a plan, to be run in one transaction, the main one first, one that doubts the catalog last.
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
        Plan::Search(search) => vec![search::search(search)],
        Plan::Tables => vec![describe::tables()],
        Plan::Schema => vec![describe::schema()],
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
