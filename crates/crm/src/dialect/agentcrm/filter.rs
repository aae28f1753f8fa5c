//! agentCRM's filter parameters: `column=value`, `column_after=`, `custom.key=` and so on (docs/wire.md, "Filters").

use crate::dialect::{commas, stored_id};
use crate::model::entity::{Field, FieldKind, Need};
use crate::model::filter::{Filter, MailRelation, Op, Reading, Subject};

/// A form of a filter parameter.
#[derive(Debug)]
pub struct Form {
    /// The end of the parameter's name, after the column's name. It is empty for equality.
    pub suffix: &'static str,
    /// The operator.
    pub op: Op,
    /// The syntax, for the documentation.
    pub shape: &'static str,
    /// The condition in SQL, as Markdown.
    pub meaning: &'static str,
    /// The condition in words, for a sentence that begins with the column's name.
    pub about: &'static str,
}

/// All forms of filter parameters.
#[rustfmt::skip] // a table
pub const FORMS: &[Form] = &[
    Form { suffix: "",          op: Op::Eq,       shape: "?col=v",                   meaning: "`col = $1`",               about: "is this, or one of several values separated by commas" },
    Form { suffix: "_after",    op: Op::Gt,       shape: "?col_after=ISO",           meaning: "`col > $1`",               about: "is later than this" },
    Form { suffix: "_before",   op: Op::Lte,      shape: "?col_before=ISO",          meaning: "`col <= $1`",              about: "is this or earlier" },
    Form { suffix: "_gte",      op: Op::Gte,      shape: "?col_gte=N",               meaning: "`col >= $1`",              about: "is at least this" },
    Form { suffix: "_lte",      op: Op::Lte,      shape: "?col_lte=N",               meaning: "`col <= $1`",              about: "is at most this" },
    Form { suffix: "_contains", op: Op::Contains, shape: "?col_contains=substr",     meaning: "`col ILIKE '%substr%'`",   about: "contains this text, ignoring case" },
    Form { suffix: "_starts",   op: Op::Starts,   shape: "?col_starts=prefix",       meaning: "`col ILIKE 'prefix%'`",    about: "begins with this text, ignoring case" },
    Form { suffix: "_present",  op: Op::Present,  shape: "?col_present=true|false",  meaning: "`col IS [NOT] NULL`",      about: "has a value (true) or is null (false)" },
    Form { suffix: "_has",      op: Op::Has,      shape: "?col_has=v",               meaning: "`col @> ARRAY[v]`",        about: "has this among its values" },
];

/// Whether the documentation lists this filter for a field. The server accepts more than that.
pub fn offered(op: Op, suffix: &str, field: &Field) -> bool {
    use FieldKind::{
        Bool, Date, Email, Emails, Id, Ids, Integer, Json, JsonArray, JsonObject, OneOf, SmallInteger, Text, Time,
    };
    let is_time = matches!(field.kind, Date | Time);
    let is_number = matches!(field.kind, Integer | SmallInteger);
    match op {
        Op::Eq => is_time || is_number || matches!(field.kind, Text | Email | Bool | Id(_) | OneOf(_)),
        Op::Gt => is_time,
        Op::Gte => is_time || is_number,
        Op::Lte => is_time || (is_number && suffix == "_lte"),
        Op::Contains | Op::Like | Op::Starts => matches!(field.kind, Text | Email),
        Op::Present => field.need == Need::Optional && !matches!(field.kind, Json | JsonArray | JsonObject),
        Op::Has => matches!(field.kind, Emails | Ids(_)),
        Op::Neq | Op::Lt | Op::In => false,
    }
}

/// Parameters of `/v1/emails` that are not columns.
pub const MAIL_RELATIONS: &[(&str, MailRelation, &str)] = &[
    ("from_contact", MailRelation::FromContact, "Mail that this contact sent."),
    ("to_contact", MailRelation::ToContact, "Mail that this contact is a recipient of."),
    ("involves_contact", MailRelation::Contact, "Mail that this contact sent or received, copies included."),
    ("involves_company", MailRelation::Company, "Mail from or to this company's domain."),
    ("involves_deal", MailRelation::Deal, "Mail that belongs to this deal."),
];

/// Reads a parameter as a filter. The plan knows the columns and chooses one of the readings.
pub fn filter(name: &str, value: &str) -> Filter {
    let mut readings = vec![equals(Subject::Column(name.to_owned()), value)];
    let whole = || vec![stored_id(value).into_owned()];
    let mut keys = Vec::new();
    for Form { suffix, op, .. } in FORMS.iter().filter(|form| !form.suffix.is_empty()) {
        if let Some(column) = name.strip_suffix(suffix).filter(|column| !column.is_empty()) {
            let values = if *op == Op::Has { list(value) } else { whole() };
            readings.push(Reading { subject: Subject::Column(column.to_owned()), op: *op, values: values.clone() });
            keys.extend(key_of(column).map(|subject| Reading { subject, op: *op, values }));
        }
    }
    readings.extend(key_of(name).map(|key| equals(key, value)));
    readings.extend(keys);
    if let Some((_, relation, _)) = MAIL_RELATIONS.iter().find(|(parameter, ..)| *parameter == name) {
        readings.push(Reading { subject: Subject::Mail(*relation), op: Op::Eq, values: whole() });
    }
    if name == "since" {
        readings.push(Reading { subject: Subject::Column("occurred_at".into()), op: Op::Gte, values: whole() });
    }
    Filter { parameter: name.to_owned(), readings }
}

/// The possible meanings of a name to sort by: a column, or a key of a JSON column.
pub fn subjects(name: &str) -> Vec<Subject> {
    [Subject::Column(name.to_owned())].into_iter().chain(key_of(name)).collect()
}

/// The key in a name such as `custom.plan`.
fn key_of(name: &str) -> Option<Subject> {
    let (column, key) = name.split_once('.')?;
    Some(Subject::Key { column: column.to_owned(), key: key.to_owned() })
}

fn equals(subject: Subject, value: &str) -> Reading {
    let values = list(value);
    let op = if values.len() == 1 { Op::Eq } else { Op::In };
    Reading { subject, op, values }
}

/// Splits a value at commas. Ids are converted to their stored form.
fn list(text: &str) -> Vec<String> {
    commas::values(text).iter().map(|value| stored_id(value).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_column_first_and_an_operator_second() {
        let readings = filter("signed_after", "2026-01-01").readings;
        assert_eq!(readings[0].subject, Subject::Column("signed_after".into()));
        assert_eq!((&readings[1].subject, readings[1].op), (&Subject::Column("signed".into()), Op::Gt));
    }

    #[test]
    fn a_key_takes_operators_too() {
        let readings = filter("custom.nps_gte", "9").readings;
        let key = |key: &str| Subject::Key { column: "custom".into(), key: key.into() };
        let keys: Vec<_> = readings.iter().filter(|it| matches!(it.subject, Subject::Key { .. })).collect();
        assert_eq!((&keys[0].subject, keys[0].op), (&key("nps_gte"), Op::Eq));
        assert_eq!((&keys[1].subject, keys[1].op, keys.len()), (&key("nps"), Op::Gte, 2));
    }
}
