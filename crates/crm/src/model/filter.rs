//! Conditions on a list, as the caller said them and as the plan settled them.

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Starts with the text, ignoring case.
    Starts,
    /// Matches an ILIKE pattern.
    Ilike,
    /// `IS NOT NULL` for true, `IS NULL` for false.
    Present,
    /// The array contains the value.
    Has,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A column.
    Column(String),
    /// A key of the record's free-form field.
    Custom(String),
    /// A relation of e-mails that is no column: `from_contact` and its like.
    Relation(String),
}

/// A condition as the caller said it. A parameter's name may be read in several ways (`x_after` is the
/// operator `after` on `x`, unless there is a column `x_after`): the readings stand in order of
/// preference, and the plan takes the first whose subject exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The parameter's name on the wire, for error texts.
    pub parameter: String,
    /// What it may mean.
    pub readings: Vec<(Subject, Op)>,
    /// The value; several for [`Op::In`].
    pub values: Vec<String>,
}

/// Which rows are seen with regard to soft deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Deleted {
    /// Only rows that are not deleted.
    #[default]
    Exclude,
    /// All rows.
    Include,
    /// Only deleted rows.
    Only,
}
