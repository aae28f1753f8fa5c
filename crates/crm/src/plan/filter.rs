//! Filters settled: which column each one means, and whether its operator fits that column's type.

use crate::model::catalog::{Column, Table};
use crate::model::fault::Fault;
use crate::model::filter::{Filter, MailRelation, Op, Reading, Subject};
use crate::model::value::TypeKind;

/// A condition that makes sense for its table.
#[derive(Debug)]
pub struct Condition<'a> {
    /// The parameter's name on the wire, for error texts.
    pub parameter: String,
    /// What is compared.
    pub operand: Operand<'a>,
    /// How.
    pub op: Op,
    /// With what.
    pub values: Vec<String>,
}

/// The left side of a condition.
#[derive(Debug)]
pub enum Operand<'a> {
    /// A column.
    Column(&'a Column),
    /// A key of a JSON column.
    Key {
        /// The column.
        column: &'a Column,
        /// The key.
        key: String,
    },
    /// A relation of e-mails.
    Mail(MailRelation),
}

/// Settles all filters of a list. `own` are the parameters that are no filters, for the hint on a mistyped one.
pub fn plan<'a>(table: &'a Table, filters: &[Filter], own: &[&str]) -> Result<Vec<Condition<'a>>, Fault> {
    filters.iter().map(|filter| condition(table, filter, own)).collect()
}

fn condition<'a>(table: &'a Table, filter: &Filter, own: &[&str]) -> Result<Condition<'a>, Fault> {
    let found = filter.readings.iter().find_map(|reading| Some((operand(table, &reading.subject)?, reading)));
    let Some((operand, reading)) = found else {
        let columns = table.columns.iter().map(|column| column.name.as_str());
        return Err(Fault::unknown_parameter(&filter.parameter, columns.chain(own.iter().copied())));
    };
    check(&operand, reading, &filter.parameter)?;
    Ok(Condition { parameter: filter.parameter.clone(), operand, op: reading.op, values: reading.values.clone() })
}

fn operand<'a>(table: &'a Table, subject: &Subject) -> Option<Operand<'a>> {
    match subject {
        Subject::Column(name) => table.column(name).map(Operand::Column),
        Subject::Key { column, key } => {
            let column = table.column(column).filter(|column| column.kind == TypeKind::Json)?;
            Some(Operand::Key { column, key: key.clone() })
        }
        Subject::Mail(relation) => (table.entity()?.table == "emails").then_some(Operand::Mail(*relation)),
    }
}

/// Refuses an operator that the type does not have, and says which to use.
fn check(operand: &Operand<'_>, reading: &Reading, parameter: &str) -> Result<(), Fault> {
    let Operand::Column(column) = operand else { return Ok(()) };
    let refuse = |hint: String| {
        Err(Fault::invalid_with_hint(
            format!("{parameter}: this comparison does not fit \"{}\", which is {}.", column.name, column.type_name),
            hint,
        ))
    };
    let name = &column.name;
    match (reading.op, &column.kind) {
        (Op::Present, _) if !matches!(reading.values[0].as_str(), "true" | "false") => {
            Err(Fault::invalid(format!("{parameter} must be true or false, not \"{}\".", reading.values[0])))
        }
        (Op::Present, _) | (Op::Has, TypeKind::Array(_)) => Ok(()),
        (Op::Has, _) => refuse(format!("Use {name}=value.")),
        (_, TypeKind::Array(_)) => refuse(format!("Use {name}_has=value.")),
        (_, TypeKind::Json) => refuse(format!("Use {name}.key=value.")),
        (_, TypeKind::Vector) => refuse("Use POST /v1/sql for distances.".into()),
        (Op::Gt | Op::Gte | Op::Lt | Op::Lte, TypeKind::Number | TypeKind::Time) => Ok(()),
        (Op::Gt | Op::Gte | Op::Lt | Op::Lte, _) => {
            refuse(format!("It is for numbers, dates and times; use {name}=value."))
        }
        (Op::Contains | Op::Starts | Op::Ilike, TypeKind::Text) => Ok(()),
        (Op::Contains | Op::Starts | Op::Ilike, _) => refuse(format!("It is for text; use {name}=value.")),
        (
            Op::Eq | Op::Neq | Op::In,
            TypeKind::Text | TypeKind::Number | TypeKind::Bool | TypeKind::Time | TypeKind::Other,
        ) => Ok(()),
    }
}
