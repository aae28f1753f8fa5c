//! agentCRM's filter parameters (its seed, "Filter conventions").

use crate::dialect::stored_id;
use crate::model::filter::{Filter, MailRelation, Op, Reading, Subject};

/// What a parameter's name may end in, and what that means.
const SUFFIXES: &[(&str, Op)] = &[
    ("_after", Op::Gt),
    ("_before", Op::Lte),
    ("_gte", Op::Gte),
    ("_lte", Op::Lte),
    ("_contains", Op::Contains),
    ("_starts", Op::Starts),
    ("_present", Op::Present),
    ("_has", Op::Has),
];

/// Parameters of `/v1/emails` that are no columns.
const MAIL_RELATIONS: &[(&str, MailRelation)] = &[
    ("from_contact", MailRelation::FromContact),
    ("to_contact", MailRelation::ToContact),
    ("involves_contact", MailRelation::Contact),
    ("involves_company", MailRelation::Company),
    ("involves_deal", MailRelation::Deal),
];

/// Reads one parameter. Which of its readings holds is for the plan to say, which knows the columns.
pub fn filter(name: &str, value: &str) -> Filter {
    let mut readings = vec![equals(Subject::Column(name.to_owned()), value)];
    let whole = || vec![stored_id(value).into_owned()];
    for (suffix, op) in SUFFIXES {
        if let Some(column) = name.strip_suffix(suffix).filter(|column| !column.is_empty()) {
            let values = if *op == Op::Has { list(value) } else { whole() };
            readings.push(Reading { subject: Subject::Column(column.to_owned()), op: *op, values });
        }
    }
    if let Some((column, key)) = name.split_once('.') {
        readings.push(equals(Subject::Key { column: column.to_owned(), key: key.to_owned() }, value));
    }
    if let Some((_, relation)) = MAIL_RELATIONS.iter().find(|(parameter, _)| *parameter == name) {
        readings.push(Reading { subject: Subject::Mail(*relation), op: Op::Eq, values: whole() });
    }
    if name == "since" {
        readings.push(Reading { subject: Subject::Column("occurred_at".into()), op: Op::Gte, values: whole() });
    }
    Filter { parameter: name.to_owned(), readings }
}

fn equals(subject: Subject, value: &str) -> Reading {
    let values = list(value);
    let op = if values.len() == 1 { Op::Eq } else { Op::In };
    Reading { subject, op, values }
}

/// `a,b` is two values; a value with a comma in it is written in double quotes, a quote in quotes twice.
fn list(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = quoted(rest).unwrap_or_else(|| {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        });
        values.push(stored_id(&value).into_owned());
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return values,
        }
    }
}

/// A value in quotes and what follows it, if the text begins with a whole one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let body = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = body.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('"', Some((_, '"'))) => {
                value.push('"');
                characters.next();
            }
            ('"', None | Some((_, ','))) => return Some((value, &body[at + 1..])),
            ('"', Some(_)) => return None,
            (other, _) => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(list(text), expected, "{text}");
    }

    #[test]
    fn values_are_split_at_commas_outside_quotes() {
        check("a", &["a"]);
        check("", &[""]);
        check("a,b", &["a", "b"]);
        check("a,", &["a", ""]);
        check("\"a,b\"", &["a,b"]);
        check("\"a,b\",c", &["a,b", "c"]);
        check("\"say \"\"hi\"\", you\"", &["say \"hi\", you"]);
        check("\"open", &["\"open"]);
        check("\"a\"b", &["\"a\"b"]);
        check("é,\"ü,ö\"", &["é", "ü,ö"]);
    }

    #[test]
    fn a_name_is_a_column_first_and_an_operator_second() {
        let readings = filter("signed_after", "2026-01-01").readings;
        assert_eq!(readings[0].subject, Subject::Column("signed_after".into()));
        assert_eq!((&readings[1].subject, readings[1].op), (&Subject::Column("signed".into()), Op::Gt));
    }
}
