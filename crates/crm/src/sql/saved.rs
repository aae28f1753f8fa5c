//! The statements of saved lists: a page of rows, and the members of static lists.

use crate::model::catalog::Table;
use crate::model::value::array_of_texts;
use crate::plan::saved::{ColumnRef, ListRows, SortKey};
use crate::sql::{Label, Sql};

/// Selects the rows of a page and one more row. The parameters of the predicate come first and have no values here.
/// PostgreSQL determines their types.
///
/// The predicate is in its own scope, in which only the columns of the target table have bare names. The joined
/// relations are visible there under their names. A scope between the two has each of their columns twice, so a bare
/// name of one is ambiguous and refused, instead of being read as a column of the target table. The predicate is a
/// WHERE clause, so PostgreSQL itself refuses aggregates and window functions. PostgreSQL pulls up all these
/// sub-selects, so indexes can be used.
pub fn rows(list: &ListRows<'_>) -> Sql {
    let mut sql = Sql::new("SELECT ");
    for _ in list.params() {
        sql.params.push(None);
        sql.labels.push(Label::Own);
    }
    if list.columns.is_empty() {
        sql.push("t.*, ");
    }
    for shown in &list.columns {
        column_ref(&mut sql, &shown.column);
        sql.push(" AS ").name(&shown.name).push(", ");
    }
    for (at, key) in list.order.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        // PostgreSQL reads the text form of every value without a change. The JSON of an array or a jsonb would be read
        // differently.
        sql.push("(");
        column_ref(&mut sql, &key.column);
        sql.push(")::text AS \"kith:order\"");
    }
    sql.push(" FROM ").table(&list.table.name).push(" AS t");
    for relation in &list.relations {
        sql.push(" LEFT JOIN ").table(&relation.table.name).push(" AS ").name(relation.key).push(" ON ");
        sql.name(relation.key).push(".id = ").column("t", relation.column);
    }
    match list.predicate {
        Some(predicate) => {
            sql.push(" CROSS JOIN LATERAL (SELECT FROM ");
            for relation in &list.relations {
                for twin in [" one", " two"] {
                    sql.push("(SELECT ").name(relation.key).push(".*) AS ");
                    sql.name(&format!("{}{twin}", relation.key)).push(", ");
                }
            }
            sql.push("LATERAL (SELECT FROM (SELECT t.*) AS ").name(&list.table.name);
            sql.push(" WHERE (").workspace_text(predicate).push("\n)) AS q) AS p WHERE true");
        }
        None => {
            sql.push(" JOIN public.list_members AS m ON m.member_id = ").column("t", list.key).push("::text");
            sql.push(" WHERE m.list_id = ").bind(Some(list.saved.id.clone()), Label::Own);
        }
    }
    if list.table.soft_deletes() {
        sql.push(" AND t.deleted_at IS NULL");
    }
    if let Some(cursor) = &list.cursor {
        sql.push(" AND ");
        after(&mut sql, &list.order, cursor);
    }
    sql.push(" ORDER BY ");
    for (at, key) in list.order.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        column_ref(&mut sql, &key.column);
        sql.push(if key.descending { " DESC" } else { " ASC" });
    }
    sql.push(" LIMIT ").number(list.limit + 1);
    sql
}

/// Plans the same query without running it. PostgreSQL refuses it as it would refuse the query, unless it takes a row to see the error.
pub fn check(list: &ListRows<'_>) -> Sql {
    let mut sql = rows(list);
    sql.text.insert_str(0, "EXPLAIN ");
    sql
}

fn column_ref(sql: &mut Sql, place: &ColumnRef<'_>) {
    match place.relation {
        Some(relation) => sql.name(relation).push(".").name(place.column),
        None => sql.column("t", place.column),
    };
    if let Some(key) = &place.key {
        sql.push(" -> ").literal(key);
    }
}

/// Appends the condition that a row comes after the cursor, key by key. NULLs are last in an ascending key and first in
/// a descending one.
fn after(sql: &mut Sql, keys: &[SortKey<'_>], values: &[Option<String>]) {
    let ([key, rest @ ..], [value, later @ ..]) = (keys, values) else {
        sql.push("false");
        return;
    };
    sql.push("(");
    match (key.descending, value) {
        (false, None) => {
            sql.push("false");
        }
        (true, None) => {
            column_ref(sql, &key.column);
            sql.push(" IS NOT NULL");
        }
        (true, Some(_)) => {
            column_ref(sql, &key.column);
            sql.push(" < ").bind(value.clone(), Label::Cursor);
        }
        (false, Some(_)) => {
            sql.push("(");
            column_ref(sql, &key.column);
            sql.push(" > ").bind(value.clone(), Label::Cursor).push(" OR ");
            column_ref(sql, &key.column);
            sql.push(" IS NULL)");
        }
    }
    sql.push(" OR (");
    column_ref(sql, &key.column);
    match value {
        Some(_) => sql.push(" = ").bind(value.clone(), Label::Cursor),
        None => sql.push(" IS NULL"),
    };
    sql.push(" AND ");
    after(sql, rest, later);
    sql.push("))");
}

/// Selects the saved list.
pub fn find(id: &str) -> Sql {
    let mut sql = Sql::new("SELECT t.* FROM public.lists AS t WHERE t.id = ");
    sql.bind(Some(id.to_owned()), Label::Id).push(" AND t.deleted_at IS NULL");
    sql
}

/// Selects the list of a member.
pub fn list_of(member: &str) -> Sql {
    let mut sql = Sql::new("SELECT t.list_id FROM public.list_members AS t WHERE t.id = ");
    sql.bind(Some(member.to_owned()), Label::Id);
    sql
}

/// Selects the ids that do not name a live row of the table.
pub fn missing(table: &Table, key: &str, ids: &[String]) -> Sql {
    let mut sql = Sql::new("SELECT i.id FROM unnest(");
    sql.bind(Some(array_of_texts(ids)), Label::Own).push("::text[]) AS i(id) WHERE NOT EXISTS (SELECT FROM ");
    sql.table(&table.name).push(" AS t WHERE ").column("t", key).push("::text = i.id");
    if table.soft_deletes() {
        sql.push(" AND t.deleted_at IS NULL");
    }
    sql.push(")");
    sql
}

/// Two statements: one adds members and leaves existing ones unchanged, one selects all of the named members.
pub fn add_members(list_id: &str, ids: &[String], actor: &str) -> [Sql; 2] {
    let mut add = Sql::new("INSERT INTO public.list_members (list_id, member_id, added_by) SELECT ");
    add.bind(Some(list_id.to_owned()), Label::Own).push(", i.id, ").bind(Some(actor.to_owned()), Label::Own);
    add.push(" FROM unnest(").bind(Some(array_of_texts(ids)), Label::Own).push("::text[]) AS i(id)");
    add.push(" ON CONFLICT (list_id, member_id) DO NOTHING");
    let mut show = Sql::new("SELECT m.* FROM public.list_members AS m WHERE m.list_id = ");
    show.bind(Some(list_id.to_owned()), Label::Own).push(" AND m.member_id = ANY (");
    show.bind(Some(array_of_texts(ids)), Label::Own).push("::text[]) ORDER BY m.added_at, m.id");
    [add, show]
}

/// Selects a member of a static list.
pub fn member(list_id: &str, member_id: &str) -> Sql {
    let mut sql = Sql::new("SELECT FROM public.list_members AS m WHERE m.list_id = ");
    sql.bind(Some(list_id.to_owned()), Label::Own).push(" AND m.member_id = ");
    sql.bind(Some(member_id.to_owned()), Label::Own);
    sql
}

/// Removes a member of a static list.
pub fn remove_member(list_id: &str, member_id: &str) -> Sql {
    let mut sql = Sql::new("DELETE FROM public.list_members AS m WHERE m.list_id = ");
    sql.bind(Some(list_id.to_owned()), Label::Own).push(" AND m.member_id = ");
    sql.bind(Some(member_id.to_owned()), Label::Own).push(" RETURNING m.member_id AS id, now() AS deleted_at");
    sql
}
