//! Resolves filters: finds the column of each filter and checks that its operator fits the column's type.

use crate::model::catalog::{Column, CustomKind, Table};
use crate::model::fault::{Fault, Instead, nearest};
use crate::model::filter::{Filter, MailRelation, Op, Reading, Subject};
use crate::model::value::{AMBIGUOUS, TypeKind, integer, is_ambiguous, with_offset_sign};

/// A condition on the rows of a table.
#[derive(Debug)]
pub struct Condition<'a> {
    /// The parameter's name on the wire, for error messages.
    pub parameter: String,
    /// The left side.
    pub operand: Operand<'a>,
    /// The operator.
    pub op: Op,
    /// The values on the right side.
    pub values: Vec<String>,
    /// The database function that normalizes the values, if the column stores normalized ones.
    pub normal_form: Option<&'static str>,
}

impl Condition<'_> {
    /// An e-mail has one sender. The other relations of e-mails are no equality, because an e-mail can involve several contacts.
    fn is_equality(&self) -> bool {
        let may_be = match self.operand {
            Operand::Mail(relation) => relation == MailRelation::FromContact,
            Operand::Column(_) | Operand::Key { .. } => true,
        };
        may_be && matches!(self.op, Op::Eq | Op::In)
    }

    /// A text that is the same for conditions with the same meaning.
    pub fn identity(&self) -> String {
        let operand = match &self.operand {
            Operand::Column(column) => format!("column {}", column.name),
            Operand::Key { column, key, .. } => format!("key {} {key}", column.name),
            Operand::Mail(relation) => format!("mail {relation:?}"),
        };
        format!("{operand}\n{:?}\n{}", self.op, self.values.join("\n"))
    }
}

/// The left side of a condition.
#[derive(Debug)]
pub enum Operand<'a> {
    /// A column of the table.
    Column(&'a Column),
    /// A key of a JSON column.
    Key {
        /// The JSON column.
        column: &'a Column,
        /// The key in that column.
        key: String,
        /// The declared type of the key. A key without one is text.
        declared: Option<CustomKind>,
    },
    /// A relation of e-mails.
    Mail(MailRelation),
}

/// Resolves all filters of a list. `own` has the parameters that are not filters, for the hint about a misspelled one.
pub fn plan<'a>(table: &'a Table, filters: &[Filter], own: &[&str]) -> Result<Vec<Condition<'a>>, Fault> {
    let mut conditions: Vec<Condition<'a>> = Vec::with_capacity(filters.len());
    for filter in filters {
        let next = condition(table, filter, own)?;
        match conditions.iter_mut().find(|it| it.parameter == next.parameter && it.is_equality() && next.is_equality())
        {
            // A repeated parameter means any of its values.
            Some(same) => {
                same.values.extend(next.values);
                same.op = Op::In;
            }
            None => conditions.push(next),
        }
    }
    Ok(conditions)
}

fn condition<'a>(table: &'a Table, filter: &Filter, own: &[&str]) -> Result<Condition<'a>, Fault> {
    let Some((operand, reading)) = chosen(table, filter) else {
        let known = table.columns.iter().map(|column| column.name.as_str()).chain(own.iter().copied());
        let name = match filter.readings.first().map(|reading| &reading.subject) {
            Some(Subject::Column(column) | Subject::Key { column, .. }) => column,
            Some(Subject::Mail(_)) | None => &filter.parameter,
        };
        let nearest = nearest(name, known);
        return Err(Fault::Unknown { what: "parameter", name: filter.parameter.clone(), nearest });
    };
    check(&operand, reading, &filter.parameter)?;
    if let (Operand::Column(column), Some(value)) = (&operand, reading.values.iter().find(|value| is_ambiguous(value)))
        && column.kind == TypeKind::Time
    {
        return Err(Fault::invalid(format!("{}: \"{value}\" ({}) {AMBIGUOUS}.", filter.parameter, column.type_name)));
    }
    let values = reading.values.iter().map(|value| meant(&operand, value)).collect();
    let normal_form = match (&operand, reading.op) {
        (Operand::Column(column), Op::Eq | Op::Neq | Op::In) => {
            table.entity().and_then(|entity| entity.normal_form(&column.name))
        }
        _ => None,
    };
    Ok(Condition { parameter: filter.parameter.clone(), operand, op: reading.op, values, normal_form })
}

/// The first reading whose subject exists. Every key of a JSON column may exist, so one that is declared comes before one that is not:
/// `custom.nps_gte` is a comparison of `nps`, if that is declared and `nps_gte` is not.
fn chosen<'a, 'f>(table: &'a Table, filter: &'f Filter) -> Option<(Operand<'a>, &'f Reading)> {
    let mut found = filter.readings.iter().filter_map(|reading| Some((operand(table, &reading.subject)?, reading)));
    let first = found.next()?;
    if !matches!(first.0, Operand::Key { declared: None, .. }) {
        return Some(first);
    }
    let declared = found.find(|(operand, _)| matches!(operand, Operand::Key { declared: Some(_), .. }));
    Some(declared.unwrap_or(first))
}

/// Converts a value to the form that the operand's type accepts.
fn meant(operand: &Operand<'_>, value: &str) -> String {
    match operand {
        Operand::Column(Column { kind: TypeKind::Integer, .. }) => integer(value.to_owned()),
        Operand::Column(Column { kind: TypeKind::Array(item), .. }) if **item == TypeKind::Integer => {
            integer(value.to_owned())
        }
        Operand::Column(Column { kind: TypeKind::Time, .. })
        | Operand::Key { declared: Some(CustomKind::Date), .. } => with_offset_sign(value).into_owned(),
        Operand::Column(_) | Operand::Key { .. } | Operand::Mail(_) => value.to_owned(),
    }
}

fn operand<'a>(table: &'a Table, subject: &Subject) -> Option<Operand<'a>> {
    match subject {
        Subject::Column(name) => table.column(name).map(Operand::Column),
        Subject::Key { column, key } => {
            let column = table.column(column).filter(|column| column.kind == TypeKind::Json)?;
            let declared = table.custom_kind(&column.name, key);
            Some(Operand::Key { column, key: key.clone(), declared })
        }
        Subject::Mail(relation) => table.entity()?.is_mail.then_some(Operand::Mail(*relation)),
    }
}

/// Refuses an operator that the type does not support. The error names a suitable one.
fn check(operand: &Operand<'_>, reading: &Reading, parameter: &str) -> Result<(), Fault> {
    match operand {
        Operand::Column(column) => check_column(column, reading, parameter),
        Operand::Key { key, declared, .. } => check_key(key, *declared, reading, parameter),
        Operand::Mail(_) => Ok(()),
    }
}

fn check_key(key: &str, declared: Option<CustomKind>, reading: &Reading, parameter: &str) -> Result<(), Fault> {
    use CustomKind::{Bool, Date, Number, Select, Text};
    match (reading.op, declared) {
        (Op::Present, _) => check_flag(reading, parameter),
        (Op::Eq | Op::Neq | Op::In, _)
        | (Op::Gt | Op::Gte | Op::Lt | Op::Lte, Some(Number | Date))
        | (Op::Contains | Op::Like | Op::Starts, None | Some(Text | Select)) => Ok(()),
        (Op::Gt | Op::Gte | Op::Lt | Op::Lte, None) => Err(Fault::invalid_with_hint(
            format!(
                "{parameter}: \"{key}\" has no declared type, so it is compared as text, which has no such comparison."
            ),
            "Declare the key in custom_fields, as a number or a date.",
        )),
        (_, declared @ (None | Some(Text | Select | Number | Bool | Date))) => {
            let kind = declared.map_or("free-form", CustomKind::name);
            Err(Fault::invalid(format!("{parameter}: this comparison does not fit \"{key}\", which is {kind}.")))
        }
    }
}

/// Checks the value of `present`, which is true or false.
fn check_flag(reading: &Reading, parameter: &str) -> Result<(), Fault> {
    match reading.values[0].as_str() {
        "true" | "false" => Ok(()),
        other => Err(Fault::invalid(format!("{parameter} must be true or false, not \"{other}\"."))),
    }
}

fn check_column(column: &Column, reading: &Reading, parameter: &str) -> Result<(), Fault> {
    let refuse = |instead: Instead| {
        let (column, type_name) = (column.name.clone(), column.type_name.clone());
        Err(Fault::FilterTypeMismatch { parameter: parameter.to_owned(), column, type_name, instead })
    };
    match (reading.op, &column.kind) {
        (Op::Present, _) => check_flag(reading, parameter),
        (Op::Has, TypeKind::Array(_)) => Ok(()),
        (Op::Has, _) => refuse(Instead::Equality),
        (_, TypeKind::Array(_)) => refuse(Instead::Has),
        (_, TypeKind::Json) => refuse(Instead::Key),
        (_, TypeKind::Vector) => refuse(Instead::Distance),
        (Op::Gt | Op::Gte | Op::Lt | Op::Lte, TypeKind::Integer | TypeKind::Number | TypeKind::Time) => Ok(()),
        (Op::Gt | Op::Gte | Op::Lt | Op::Lte, _) => refuse(Instead::EqualityNotOrder),
        (Op::Contains | Op::Like | Op::Starts, TypeKind::Text) => Ok(()),
        (Op::Contains | Op::Like | Op::Starts, _) => refuse(Instead::EqualityNotText),
        (
            Op::Eq | Op::Neq | Op::In,
            TypeKind::Text | TypeKind::Integer | TypeKind::Number | TypeKind::Bool | TypeKind::Time | TypeKind::Other,
        ) => Ok(()),
    }
}
