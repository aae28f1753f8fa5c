//! The statements that create an association if both records exist and the association does not.

use crate::plan::link::{End, Link};
use crate::sql::{Label, Sql};

/// Three statements: the insert, the check that both records exist, and the association that existed before.
pub fn link(link: &Link<'_>) -> Vec<Sql> {
    let mut make = Sql::new("INSERT INTO public.associations AS t (");
    for (at, (column, _)) in link.create.values.iter().enumerate() {
        make.push(if at > 0 { ", " } else { "" }).name(column);
    }
    make.push(") SELECT ");
    for (at, (column, value)) in link.create.values.iter().enumerate() {
        make.push(if at > 0 { ", " } else { "" }).bind(value.clone(), Label::Column((*column).to_owned()));
    }
    make.push(" WHERE ");
    is_there(&mut make, &link.from);
    make.push(" AND ");
    is_there(&mut make, &link.to);
    make.push(" ON CONFLICT DO NOTHING RETURNING t.*");

    let mut ends = Sql::new("SELECT ");
    is_there(&mut ends, &link.from);
    ends.push(" AS from_is_there, ");
    is_there(&mut ends, &link.to);
    ends.push(" AS to_is_there");

    let mut known = Sql::new("SELECT t.* FROM public.associations AS t WHERE t.deleted_at IS NULL");
    for (condition, value) in [
        (" AND t.from_type = ", &link.from.kind),
        (" AND t.from_id = ", &link.from.id),
        (" AND t.to_type = ", &link.to.kind),
        (" AND t.to_id = ", &link.to.id),
    ] {
        known.push(condition).bind(Some(value.clone()), Label::Own);
    }
    known.push(" AND t.label IS NOT DISTINCT FROM ").bind(link.label.clone(), Label::Own);
    vec![make, ends, known]
}

fn is_there(sql: &mut Sql, end: &End<'_>) {
    sql.push("EXISTS (SELECT FROM ").table(&end.table.name).push(" AS r WHERE ").column("r", end.key);
    if end.table.entity().is_none() {
        // The key can have any type. An id that does not fit the type names no record.
        sql.push("::text");
    }
    sql.push(" = ").bind(Some(end.id.clone()), Label::Own);
    if end.table.soft_deletes() {
        sql.push(" AND r.deleted_at IS NULL");
    }
    sql.push(")");
}
