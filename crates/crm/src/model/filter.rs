//! Filters of a list, as the caller writes them. The plan resolves them to conditions on columns.

use serde::{Deserialize, Serialize};

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `=`
    Eq,
    /// `<>`, or the value is NULL.
    Neq,
    /// `>`
    Gt,
    /// `>=`
    Gte,
    /// `<`
    Lt,
    /// `<=`
    Lte,
    /// One of several values.
    In,
    /// Contains the text, ignoring case.
    Contains,
    /// Matches the SQL pattern, ignoring case.
    Like,
    /// Starts with the text, ignoring case.
    Starts,
    /// `IS NOT NULL` for true, `IS NULL` for false.
    Present,
    /// The array contains the value.
    Has,
}

/// The left side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A column, by its name.
    Column(String),
    /// A key of a JSON column: `custom.plan`.
    Key {
        /// The name of the JSON column.
        column: String,
        /// The key in that column.
        key: String,
    },
    /// A relation between e-mails and records. It is not a column.
    Mail(MailRelation),
}

/// A relation between an e-mail and a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailRelation {
    /// The contact sent it.
    FromContact,
    /// The contact is among its recipients.
    ToContact,
    /// The contact is its sender or a recipient, including recipients of copies.
    Contact,
    /// One of its addresses has the company's domain.
    Company,
    /// It belongs to the deal.
    Deal,
}

/// A condition as the caller writes it. The name of a parameter can have several meanings: `x_after` is the operator
/// `after` on `x`, unless the table has a column `x_after`. The plan uses the first reading whose subject exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The parameter's name on the wire, for error messages.
    pub parameter: String,
    /// The possible meanings, in order of preference.
    pub readings: Vec<Reading>,
}

/// A possible meaning of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The left side.
    pub subject: Subject,
    /// The operator.
    pub op: Op,
    /// The values. [`Op::In`] and [`Op::Has`] can have several; the other operators have one.
    pub values: Vec<String>,
}

/// The column by which a list is sorted, as the caller writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// The name on the wire, for error messages.
    pub said: String,
    /// The possible meanings of the name, in order of preference.
    pub subjects: Vec<Subject>,
    /// Whether the largest value comes first.
    pub descending: bool,
}

/// Whether soft-deleted rows are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Deleted {
    /// Only rows that are not deleted.
    #[default]
    Exclude,
    /// All rows.
    Include,
    /// Only deleted rows.
    Only,
}
