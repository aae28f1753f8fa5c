//! A statement that fails if a table no longer matches the catalog. It runs in the transaction of a plan, so that no
//! row is read or written by an old key or in an old type, no matter how the table was changed.
//!
//! A plan on a built-in table needs it only for the parts that a workspace can change.

use crate::model::catalog::Table;
use crate::plan::Plan;
use crate::plan::filter::{Condition, Operand};
use crate::plan::list::OrderKey;
use crate::sql::{Label, Sql};

/// The prefix of the relation name that the statement fails to find (SQLSTATE 42P01).
pub const CHANGED: &str = "kith.changed_";

/// The statement for a plan, if it needs one.
pub fn unchanged(plan: &Plan<'_>) -> Option<Sql> {
    let table = plan.table()?;
    let is_own = |name: &str| match table.entity() {
        Some(entity) => !entity.columns().any(|field| field.name == name),
        None => true,
    };
    match plan {
        Plan::List(list)
            if list.conditions.iter().any(by_declared_key) || list.order.keys.iter().any(is_declared_key) =>
        {
            Some(statement(table, true))
        }
        Plan::Create(create) => create.values.iter().any(|(name, _)| is_own(name)).then(|| statement(table, false)),
        Plan::Update(update) => update.changes.iter().any(|(name, _)| is_own(name)).then(|| statement(table, false)),
        // A column that the catalog does not know would keep the value of the record that goes.
        Plan::Merge(_) => Some(statement(table, false)),
        Plan::List(_) | Plan::Find(_) | Plan::Delete(_) | Plan::Restore(_) => {
            (table.entity().is_none() && table.writable).then(|| statement(table, false))
        }
        Plan::Link(_) | Plan::Search(_) | Plan::Tables(_) | Plan::Schema(_) => None,
    }
}

/// Whether the condition compares a key of `custom`. Such a key is compared as its declared type.
fn by_declared_key(condition: &Condition<'_>) -> bool {
    matches!(&condition.operand, Operand::Key { column, .. } if column.name == "custom")
}

/// Whether the rows are sorted by a key of `custom`.
fn is_declared_key(key: &OrderKey<'_>) -> bool {
    matches!(key, OrderKey::Key { column, .. } if *column == "custom")
}

fn statement(table: &Table, with_fields: bool) -> Sql {
    let shape = &table.shape;
    let own = |text: &str| Some(text.to_owned());
    let mut sql = Sql::new("SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = ");
    sql.bind(own(&shape.oid), Label::Own).push("::pg_catalog.oid AND c.xmin::pg_catalog.text = ");
    sql.bind(own(&shape.version), Label::Own);
    sql.push(
        " AND COALESCE((SELECT i.indexrelid FROM pg_catalog.pg_index AS i \
         WHERE i.indrelid = c.oid AND i.indisprimary), 0::pg_catalog.oid) = ",
    );
    sql.bind(own(shape.key.as_deref().unwrap_or("0")), Label::Own).push("::pg_catalog.oid");
    if with_fields && let Some(entity) = table.entity() {
        let mut fields: Vec<_> = table.fields.iter().map(|it| format!("{} {}", it.key, it.kind.name())).collect();
        fields.sort_unstable();
        sql.push(
            " AND COALESCE((SELECT pg_catalog.string_agg(f.name, ',' ORDER BY f.name COLLATE \"C\") FROM (\
             SELECT g.key || ' ' || g.type FROM public.custom_fields AS g \
             WHERE g.deleted_at IS NULL AND g.object_type = ",
        );
        sql.bind(own(entity.name), Label::Own).push(") AS f (name)), '') = ");
        sql.bind(Some(fields.join(",")), Label::Own);
    }
    sql.push(") THEN NULL ELSE pg_catalog.textcat(").literal(CHANGED).push(", ");
    sql.bind(own(&shape.oid), Label::Own).push(")::pg_catalog.regclass END");
    sql
}
