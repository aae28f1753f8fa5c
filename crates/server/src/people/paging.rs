//! Pages of people's lists, with the same rules as pages of records.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, scope};

use crate::people::context::PersonContext;
use crate::store::control::lists::PagedList;

/// A page of an owner's list. `arguments` are for the list's conditions.
pub async fn page(
    context: &PersonContext<'_>,
    list: &PagedList,
    owner: &str,
    arguments: &[&str],
    ask: PageAsk,
) -> Result<Answer, Fault> {
    let scope = scope([list.from, owner].into_iter());
    let after = ask.cursor.as_deref().map(|cursor| place(cursor, scope)).transpose()?;
    let mut rows = context.app.store.control.list(list, owner, arguments, after.as_ref(), ask.limit + 1).await?;
    let has_more = rows.len() > ask.limit;
    rows.truncate(ask.limit);
    let next_cursor = has_more.then(|| {
        let at = |name: &str| rows.columns().iter().position(|column| *column.name == *name);
        let keys = list.order.map(|name| at(name).and_then(|column| rows.reread(ask.limit - 1, column)));
        Cursor { scope, keys: keys.into() }.encode()
    });
    let width = rows.columns().len();
    Ok(Answer::Page { entity: None, table: None, rows, width, next_cursor, limit: ask.limit })
}

/// The row that a cursor names: its time and id. A time that PostgreSQL can't parse does not come from a list.
fn place(cursor: &str, scope: u64) -> Result<(String, String), Fault> {
    let Ok([Some(at), Some(id)]) = <[Option<String>; 2]>::try_from(Cursor::decode(cursor, scope, 2)?.keys) else {
        return Err(Fault::InvalidCursor);
    };
    let time: jiff::Timestamp = at.parse().map_err(|_| Fault::InvalidCursor)?;
    if time.as_second() < 0 {
        return Err(Fault::InvalidCursor);
    }
    Ok((time.to_string(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: Option<&str>, id: Option<&str>, expected: bool) {
        let cursor = Cursor { scope: 7, keys: vec![at.map(str::to_owned), id.map(str::to_owned)] }.encode();
        assert_eq!(place(&cursor, 7).is_ok(), expected, "{at:?} {id:?}");
        assert!(place(&cursor, 8).is_err());
    }

    #[test]
    fn only_times_are_places() {
        check(Some("2026-11-22T18:16:08.123456+00:00"), Some("ak_1"), true);
        check(Some("2026-11-22T18:16:08Z"), Some(""), true);
        for bad in ["", "infinity", "now", "-009999-01-02T01:59:59Z", "1969-12-31T23:59:59Z", "2026-11-22"] {
            check(Some(bad), Some("ak_1"), false);
        }
        check(None, Some("ak_1"), false);
        check(Some("2026-11-22T18:16:08Z"), None, false);
    }
}
