//! Lists at the desk go page by page, by the same rules as lists of records.

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, parse_limit, scope};

use crate::people::context::PersonContext;
use crate::store::control::lists::List;
use crate::store::fault::of_connection;

/// The page that a call asks for.
pub fn asked(call: &Call<'_>) -> Result<PageAsk, Fault> {
    let cursor = call.parameter("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    Ok(PageAsk { limit: parse_limit(call.parameter("limit"))?, cursor })
}

/// A page of a list. `beside` is what the list wants to know beside whose it is.
pub async fn page(
    context: &PersonContext<'_>,
    list: &List,
    whose: &str,
    beside: &[&str],
    ask: PageAsk,
) -> Result<Answer, Fault> {
    let scope = scope([list.from, whose].into_iter());
    let after = ask.cursor.as_deref().map(|cursor| place(cursor, scope)).transpose()?;
    let rows = context.store.control.list(list, whose, beside, after.as_ref(), ask.limit + 1).await;
    let mut rows = rows.map_err(of_connection)?;
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

/// The place that a cursor names: a time and a name. Times that PostgreSQL would not read are no page's end.
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
