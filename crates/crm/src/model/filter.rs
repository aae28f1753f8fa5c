//! Conditions on a list, as the caller said them and as the plan settled them.

use serde::{Deserialize, Serialize};

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `=`
    Eq,
    /// `<>`, or NULL
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
    /// Fits the SQL pattern, ignoring case.
    Like,
    /// Starts with the text, ignoring case.
    Starts,
    /// `IS NOT NULL` for true, `IS NULL` for false.
    Present,
    /// The array contains the value.
    Has,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A column.
    Column(String),
    /// A key of a JSON column: `custom.plan`.
    Key {
        /// The column.
        column: String,
        /// The key.
        key: String,
    },
    /// A relation of e-mails that is no column.
    Mail(MailRelation),
}

/// How an e-mail concerns a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailRelation {
    /// The contact sent it.
    FromContact,
    /// The contact is among its recipients.
    ToContact,
    /// The contact is its sender or recipient, of a copy too.
    Contact,
    /// The company's domain is among its addresses.
    Company,
    /// It belongs to the deal.
    Deal,
}

/// A condition as the caller said it. A parameter's name may be read in several ways (`x_after` is the
/// operator `after` on `x`, unless there is a column `x_after`): the readings stand in order of
/// preference, and the plan takes the first whose subject exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The parameter's name on the wire, for error texts.
    pub parameter: String,
    /// What it may mean.
    pub readings: Vec<Reading>,
}

/// One way to read a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What is compared.
    pub subject: Subject,
    /// How.
    pub op: Op,
    /// With what; several values for [`Op::In`] and [`Op::Has`], else one.
    pub values: Vec<String>,
}

/// Which rows are seen with regard to soft deletion.
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
