//! Conditions as SQL. Values are parameters of the column's own type. So indexes can be used, and PostgreSQL checks the
//! values.

use crate::model::catalog::CustomKind;
use crate::model::filter::{MailRelation, Op};
use crate::model::value::array_of_texts;
use crate::plan::filter::{Condition, Operand};
use crate::sql::{Label, Sql};

/// Appends ` AND …` for each condition.
pub fn conditions(sql: &mut Sql, conditions: &[Condition<'_>]) {
    for condition in conditions {
        sql.push(" AND ");
        match &condition.operand {
            Operand::Mail(relation) => mail(sql, *relation, condition),
            Operand::Column(_) | Operand::Key { .. } => compare(sql, condition),
        }
    }
}

/// The label of the condition's values, for the error of a value that does not fit the type.
fn label(condition: &Condition<'_>) -> Label {
    let type_name = match &condition.operand {
        Operand::Column(column) => column.type_name.as_str(),
        Operand::Key { declared, .. } => declared.map_or("text", CustomKind::name),
        Operand::Mail(_) => "text",
    };
    Label::Filter { parameter: condition.parameter.clone(), type_name: type_name.to_owned() }
}

fn operand(sql: &mut Sql, condition: &Condition<'_>) {
    match &condition.operand {
        Operand::Column(column) => sql.column("t", &column.name),
        // The key is a literal, so that an index on the expression can be used.
        Operand::Key { column, key, declared } => value_of_key(sql, &column.name, key, *declared),
        Operand::Mail(_) => sql,
    };
}

/// Appends the value of a key of a JSON column, as the key's declared type.
pub fn value_of_key<'s>(sql: &'s mut Sql, column: &str, key: &str, declared: Option<CustomKind>) -> &'s mut Sql {
    match declared.and_then(typed) {
        Some(value) => sql.push(value).column("t", column).push(", ").literal(key).push(")"),
        None => sql.push("(").column("t", column).push(" ->> ").literal(key).push(")"),
    }
}

/// The start of the function call that converts a key's value to its type. Texts need no conversion.
fn typed(kind: CustomKind) -> Option<&'static str> {
    match kind {
        CustomKind::Number => Some("kith.custom_number("),
        CustomKind::Bool => Some("kith.custom_bool("),
        CustomKind::Date => Some("kith.custom_date("),
        CustomKind::Text | CustomKind::Select => None,
    }
}

/// The number of characters of a text that the index of a custom field covers (`kith.custom_text`).
const INDEXED_CHARACTERS: usize = 200;

/// Writes the condition on a text field in a form that uses the field's index. Returns true if this form is complete.
/// Otherwise the caller appends the exact condition.
fn by_index(sql: &mut Sql, condition: &Condition<'_>) -> bool {
    let Operand::Key { column, key, declared: Some(CustomKind::Text | CustomKind::Select) } = &condition.operand else {
        return false;
    };
    if !matches!(condition.op, Op::Eq | Op::In) {
        return false;
    }
    let beginnings = condition.values.iter().map(|value| value.chars().take(INDEXED_CHARACTERS).collect());
    let beginnings: Vec<String> = beginnings.collect();
    let label = label(condition);
    sql.push("kith.custom_text(").column("t", &column.name).push(", ").literal(key).push(")");
    // A single value is compared with `=`, because an index scan for several values returns no order.
    match beginnings.as_slice() {
        [one] => sql.push(" = ").bind(Some(one.clone()), label),
        several => sql.push(" = ANY (").bind(Some(array_of_texts(several)), label).push(")"),
    };
    // The condition is not repeated if it is complete, because PostgreSQL would estimate it as twice as selective.
    let says_all = condition.values.iter().all(|value| value.chars().count() < INDEXED_CHARACTERS);
    if !says_all {
        sql.push(" AND ");
    }
    says_all
}

fn compare(sql: &mut Sql, condition: &Condition<'_>) {
    let value = || condition.values.first().cloned();
    let label = || label(condition);
    if by_index(sql, condition) {
        return;
    }
    operand(sql, condition);
    match condition.op {
        Op::Eq => one(sql.push(" = "), condition),
        Op::Neq => one(sql.push(" IS DISTINCT FROM "), condition),
        Op::Gt => sql.push(" > ").bind(value(), label()),
        Op::Gte => sql.push(" >= ").bind(value(), label()),
        Op::Lt => sql.push(" < ").bind(value(), label()),
        Op::Lte => sql.push(" <= ").bind(value(), label()),
        Op::In => several(sql.push(" = ANY ("), condition).push(")"),
        Op::Has => sql.push(" @> ").bind(Some(array_of_texts(&condition.values)), label()),
        Op::Contains => sql.push(" ILIKE ").bind(value().map(|text| format!("%{}%", escape(&text))), label()),
        Op::Like => sql.push(" ILIKE ").bind(value(), label()),
        Op::Starts => sql.push(" ILIKE ").bind(value().map(|text| format!("{}%", escape(&text))), label()),
        Op::Present if condition.values[0] == "true" => sql.push(" IS NOT NULL"),
        Op::Present => sql.push(" IS NULL"),
    };
}

/// The condition's value in the normal form of the column. A value with an empty normal form equals no stored value.
fn one<'s>(sql: &'s mut Sql, condition: &Condition<'_>) -> &'s mut Sql {
    let (value, label) = (condition.values.first().cloned(), label(condition));
    match (&condition.operand, condition.normal_form) {
        (Operand::Column(column), Some(function)) => {
            sql.push("coalesce(").push(function).push("(").bind(value, label).push("::text), '')::");
            sql.workspace_text(&column.type_name)
        }
        _ => sql.bind(value, label),
    }
}

/// The condition's values as an array, in the normal form of the column.
fn several<'s>(sql: &'s mut Sql, condition: &Condition<'_>) -> &'s mut Sql {
    let (values, label) = (Some(array_of_texts(&condition.values)), label(condition));
    match (&condition.operand, condition.normal_form) {
        (Operand::Column(column), Some(function)) => {
            sql.push("ARRAY(SELECT coalesce(").push(function).push("(v), '')::").workspace_text(&column.type_name);
            sql.push(" FROM unnest(").bind(values, label).push("::text[]) AS v)")
        }
        _ => sql.bind(values, label),
    }
}

/// Escapes `%` and `_`, so that they are not wildcards.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Only a sender can be any of several contacts.
fn sent_by_any(sql: &mut Sql, condition: &Condition<'_>) {
    let ids = || Some(array_of_texts(&condition.values));
    sql.column("t", "contact_ids").push(" && ").bind(ids(), label(condition)).push("::text[]");
    sql.push(" AND EXISTS (SELECT FROM public.contacts AS c WHERE c.id = ANY (").bind(ids(), label(condition));
    sql.push("::text[]) AND c.email = ANY (kith.address_forms(t.from_addr::text)))");
}

/// Compares the array columns of an e-mail, which have indexes. The addresses tell the sender from the recipients.
fn mail(sql: &mut Sql, relation: MailRelation, condition: &Condition<'_>) {
    let id = || condition.values.first().cloned();
    let label = || label(condition);
    if let [_, _, ..] = condition.values.as_slice() {
        return sent_by_any(sql, condition);
    }
    let column = match relation {
        MailRelation::FromContact | MailRelation::ToContact | MailRelation::Contact => "contact_ids",
        MailRelation::Company => "company_ids",
        MailRelation::Deal => "deal_ids",
    };
    sql.column("t", column).push(" @> ARRAY[").bind(id(), label()).push("]::text[]");
    let address = match relation {
        MailRelation::FromContact => "ANY (kith.address_forms(t.from_addr::text))",
        MailRelation::ToContact => {
            "ANY (ARRAY(SELECT unnest(kith.address_forms(a::text)) FROM unnest(t.to_addrs) AS a))"
        }
        MailRelation::Contact | MailRelation::Company | MailRelation::Deal => return,
    };
    sql.push(" AND (SELECT c.email FROM public.contacts AS c WHERE c.id = ").bind(id(), label()).push(") = ");
    sql.push(address);
}
