//! Relm's filter parameters: `filter[field][op]=value`, or `field=value` for equality (docs/wire.md, "Filters").

use crate::dialect::agentcrm::filter::MAIL_RELATIONS;
use crate::dialect::relm::names::column_of;
use crate::dialect::{commas, stored_id};
use crate::model::entity::{Field, FieldKind, Need, by_table};
use crate::model::fault::{Fault, nearest};
use crate::model::filter::{Filter, Op, Reading, Subject};

/// An operator of a filter parameter.
#[derive(Debug)]
pub struct Operator {
    /// The name on the wire.
    pub name: &'static str,
    /// The operator in the model.
    pub op: Op,
    /// The syntax, for the documentation.
    pub shape: &'static str,
    /// The meaning, as Markdown.
    pub meaning: &'static str,
    /// The condition in words, for a sentence that begins with the field's name.
    pub about: &'static str,
}

/// All operators. `present` and `has` are Kith's additions for null and for arrays.
#[rustfmt::skip] // a table
pub const OPERATORS: &[Operator] = &[
    Operator { name: "eq",      op: Op::Eq,       shape: "?filter[field][eq]=v",               meaning: "`field = v`; the same as `?field=v`",                               about: "is this" },
    Operator { name: "neq",     op: Op::Neq,      shape: "?filter[field][neq]=v",              meaning: "`field <> v`, or the field is null",                                about: "is something else, or null" },
    Operator { name: "gt",      op: Op::Gt,       shape: "?filter[field][gt]=v",               meaning: "`field > v`",                                                       about: "is more or later than this" },
    Operator { name: "gte",     op: Op::Gte,      shape: "?filter[field][gte]=v",              meaning: "`field >= v`",                                                      about: "is this, more or later" },
    Operator { name: "lt",      op: Op::Lt,       shape: "?filter[field][lt]=v",               meaning: "`field < v`",                                                       about: "is less or earlier than this" },
    Operator { name: "lte",     op: Op::Lte,      shape: "?filter[field][lte]=v",              meaning: "`field <= v`",                                                      about: "is this, less or earlier" },
    Operator { name: "ilike",   op: Op::Contains, shape: "?filter[field][ilike]=v",            meaning: "fits the SQL pattern if `v` has a `%` (`%acme%`), else contains the text; ignoring case", about: "fits this pattern (with %), or contains this text; ignoring case" },
    Operator { name: "in",      op: Op::In,       shape: "?filter[field][in]=v1,v2",           meaning: "is one of `v1,v2`; a value with a comma in double quotes",          about: "is one of these" },
    Operator { name: "present", op: Op::Present,  shape: "?filter[field][present]=true|false", meaning: "has a value (`true`) or is null (`false`)",                         about: "has a value (true) or is null (false)" },
    Operator { name: "has",     op: Op::Has,      shape: "?filter[field][has]=v",              meaning: "the array has this among its values",                               about: "has this among its values" },
];

/// Whether the documentation lists this operator for a field. The server accepts more than that.
pub fn offered(op: Op, field: &Field) -> bool {
    use FieldKind::{
        Bool, Date, Email, Emails, Id, Ids, Integer, Json, JsonArray, JsonObject, OneOf, SmallInteger, Text, Time,
    };
    match op {
        Op::Eq => !matches!(field.kind, Emails | Ids(_) | Json | JsonArray | JsonObject),
        Op::Neq | Op::In => matches!(field.kind, Text | Email | OneOf(_) | Id(_) | Integer | SmallInteger | Date),
        Op::Gt | Op::Gte | Op::Lt | Op::Lte => matches!(field.kind, Integer | SmallInteger | Date | Time),
        Op::Contains | Op::Like => matches!(field.kind, Text | Email),
        Op::Present => field.need == Need::Optional && !matches!(field.kind, Bool | Json | JsonArray | JsonObject),
        Op::Has => matches!(field.kind, Emails | Ids(_)),
        Op::Starts => false,
    }
}

/// Splits a parameter's name into the field and the operator.
pub fn parts(parameter: &str) -> Option<(&str, &str)> {
    let Some(inner) = parameter.strip_prefix("filter[") else {
        return Some((parameter, "eq")).filter(|_| !parameter.starts_with("filter") || !parameter.contains('['));
    };
    let inner = inner.strip_suffix(']')?;
    Some(inner.rsplit_once("][").unwrap_or((inner, "eq")))
}

/// Reads a parameter as a filter.
pub fn filter(table: &str, parameter: &str, value: &str) -> Result<Filter, Fault> {
    let Some((field, name)) = parts(parameter) else {
        return Err(Fault::invalid_with_hint(
            format!("\"{parameter}\" is no filter."),
            "Write filter[field]=value or filter[field][op]=value.",
        ));
    };
    let Some(operator) = OPERATORS.iter().find(|it| it.name == name) else {
        let names: Vec<&str> = OPERATORS.iter().map(|it| it.name).collect();
        let near = nearest(name, names.iter().copied()).map_or(String::new(), |it| format!("Did you mean \"{it}\"? "));
        return Err(Fault::invalid_with_hint(
            format!("{parameter}: there is no operator \"{name}\"."),
            format!("{near}The operators are {}.", names.join(", ")),
        ));
    };
    let op = match operator.op {
        Op::Contains if has_wildcard(value) => Op::Like,
        op => op,
    };
    let values: Vec<String> = match op {
        Op::In => commas::values(value),
        Op::Present => vec![value.to_owned()],
        _ => vec![commas::one_value(value)],
    };
    let values: Vec<String> = values.into_iter().map(|value| stored_id(&value).into_owned()).collect();
    let readings = subjects(table, parameter, field)?.into_iter().map(|(subject, own)| Reading {
        subject,
        op: own.unwrap_or(op),
        values: values.clone(),
    });
    Ok(Filter { parameter: parameter.to_owned(), readings: readings.collect() })
}

/// Whether a value is an SQL pattern, which means that it has a `%` without a backslash before it.
fn has_wildcard(value: &str) -> bool {
    let mut escaped = false;
    value.chars().any(|character| {
        let is_wildcard = character == '%' && !escaped;
        escaped = character == '\\' && !escaped;
        is_wildcard
    })
}

/// The possible meanings of a name to sort by: a field, or a key of `metadata`.
pub fn subjects_to_sort_by(table: &str, name: &str) -> Result<Vec<Subject>, Fault> {
    let unknown = |near: Option<&str>| Fault::Invalid {
        message: format!("sort: there is no field \"{name}\"."),
        hint: near.map(|near| format!("Did you mean \"{near}\"?")),
    };
    let column = |name: &str| column_of(by_table(table), name).map(str::to_owned).map_err(unknown);
    if let Some((relation, field)) = name.split_once('.')
        && let Some(found) = by_table(table).and_then(|entity| entity.to_one.iter().find(|it| it.key == relation))
    {
        let key = column_of(by_table(found.table), field).map(str::to_owned).map_err(unknown)?;
        return Ok(vec![Subject::Key { column: relation.to_owned(), key }]);
    }
    Ok(vec![match name.split_once("->>") {
        Some((field, key)) => Subject::Key { column: column(field)?, key: key.to_owned() },
        None => Subject::Column(column(name)?),
    }])
}

/// The possible meanings of a field. Some of them have an operator of their own.
fn subjects(table: &str, parameter: &str, field: &str) -> Result<Vec<(Subject, Option<Op>)>, Fault> {
    let unknown = |near: Option<&str>| Fault::Unknown {
        what: "parameter",
        name: parameter.to_owned(),
        nearest: near.map(str::to_owned),
    };
    let column = |name: &str| column_of(by_table(table), name).map(str::to_owned).map_err(unknown);
    if let Some((name, key)) = field.split_once("->>") {
        return Ok(vec![(Subject::Key { column: column(name)?, key: key.to_owned() }, None)]);
    }
    let mut subjects = vec![(Subject::Column(column(field)?), None)];
    if let Some((_, relation, _)) = MAIL_RELATIONS.iter().find(|(name, ..)| *name == field) {
        subjects.push((Subject::Mail(*relation), Some(Op::Eq)));
    }
    if field == "since" {
        subjects.push((Subject::Column("occurred_at".into()), Some(Op::Gte)));
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parameter: &str, value: &str, column: &str, op: Op, values: &[&str]) {
        let reading = filter("deals", parameter, value).unwrap().readings.remove(0);
        let subject = match &reading.subject {
            Subject::Column(column) => column.clone(),
            Subject::Key { column, key } => format!("{column}.{key}"),
            Subject::Mail(relation) => format!("{relation:?}"),
        };
        assert_eq!((subject.as_str(), reading.op), (column, op), "{parameter}");
        assert_eq!(reading.values, values, "{parameter}");
    }

    #[track_caller]
    fn refused(parameter: &str, message: &str, hint: &str) {
        let fault = filter("deals", parameter, "v").expect_err(parameter);
        assert_eq!(fault.status(), 400);
        assert_eq!((fault.message().as_str(), fault.hint().as_deref().unwrap_or("")), (message, hint));
    }

    #[test]
    fn fields_and_operators_are_read() {
        check("filter[stage]", "won", "stage", Op::Eq, &["won"]);
        check("filter[stage][eq]", "a,b", "stage", Op::Eq, &["a,b"]);
        check("filter[stage][neq]", "won", "stage", Op::Neq, &["won"]);
        check("filter[value_cents][gte]", "1000000", "amount_cents", Op::Gte, &["1000000"]);
        check("filter[value_cents][gt]", "1", "amount_cents", Op::Gt, &["1"]);
        check("filter[value_cents][lt]", "1", "amount_cents", Op::Lt, &["1"]);
        check("filter[value_cents][lte]", "1", "amount_cents", Op::Lte, &["1"]);
        check("filter[title][ilike]", "50%", "name", Op::Like, &["50%"]);
        check("filter[title][ilike]", "%acme%", "name", Op::Like, &["%acme%"]);
        check("filter[title][ilike]", r"50\%", "name", Op::Contains, &[r"50\%"]);
        check("filter[title][ilike]", r"50\\%", "name", Op::Like, &[r"50\\%"]);
        check("filter[title][ilike]", "a_c", "name", Op::Contains, &["a_c"]);
        check("filter[title][ilike]", "", "name", Op::Contains, &[""]);
        check("filter[stage][in]", "won,\"a,b\"", "stage", Op::In, &["won", "a,b"]);
        check("filter[title]", "\"Acme, Inc\"", "name", Op::Eq, &["Acme, Inc"]);
        check("title", "Acme, Inc", "name", Op::Eq, &["Acme, Inc"]);
        check("filter[metadata->>plan]", "pro", "custom.plan", Op::Eq, &["pro"]);
        check("filter[metadata->>seats][gte]", "10", "custom.seats", Op::Gte, &["10"]);
        check("metadata->>plan", "pro", "custom.plan", Op::Eq, &["pro"]);
        check("filter[metadata->>a[0]]", "x", "custom.a[0]", Op::Eq, &["x"]);
        check("score", "1", "score", Op::Eq, &["1"]);
    }

    #[test]
    fn ids_are_looked_for_in_their_stored_form() {
        let tail = "01kaqz3v5t8w9x2y4z6a8b0c1d";
        let stored = [format!("c_{tail}"), format!("c_{tail}")];
        check("primary_contact_id", &format!("con_{tail}"), "contact_id", Op::Eq, &[&stored[0]]);
        let both = format!("con_{tail},c_{tail}");
        check("filter[primary_contact_id][in]", &both, "contact_id", Op::In, &[&stored[0], &stored[1]]);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_advice() {
        let operators = "The operators are eq, neq, gt, gte, lt, lte, ilike, in, present, has.";
        refused(
            "filter[stage][like]",
            "filter[stage][like]: there is no operator \"like\".",
            &format!("Did you mean \"ilike\"? {operators}"),
        );
        refused("filter[stage][]", "filter[stage][]: there is no operator \"\".", operators);
        refused(
            "filter[stage",
            "\"filter[stage\" is no filter.",
            "Write filter[field]=value or filter[field][op]=value.",
        );
        refused("filter[amount_cents]", "Unknown parameter \"filter[amount_cents]\".", "Did you mean \"value_cents\"?");
        refused("name", "Unknown parameter \"name\".", "Did you mean \"title\"?");
        refused("custom->>plan", "Unknown parameter \"custom->>plan\".", "Did you mean \"metadata\"?");
    }
}
