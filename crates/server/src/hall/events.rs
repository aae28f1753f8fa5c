//! The list of events: the published changes of a workspace, oldest first.

use crm::model::answer::{Answer, EventPage};
use crm::model::ask::EventsAsk;
use crm::model::event::{Event, EventSource, matches};
use crm::model::fault::Fault;
use crm::model::page::{Cursor, scope};
use crm::plan::events::MOST_EVENTS;

use crate::access::Caller;
use crate::app::App;
use crate::hall::event::events_of;
use crate::hall::publish::{PublishUntil, publish};
use crate::store::tenant::Access;

/// The most changes that one page looks at. A page of few events of many has a cursor to go on from.
const MOST_LOOKED_AT: usize = 5000;
/// The changes that are read at a time.
const CHUNK: usize = 200;

/// A page of events.
pub(super) async fn page(app: &App, caller: &Caller, ask: &EventsAsk) -> Result<Answer, Fault> {
    let place = &caller.database;
    let source = EventSource { workspace_id: &caller.who.workspace_id, mode: caller.who.mode.name() };
    // The log of another workspace may be as long, so a cursor says whose it is.
    let scope = scope(["events", source.workspace_id, source.mode].into_iter());
    let (mut position, mut passed) = match &ask.after {
        Some(cursor) => read_cursor(scope, cursor)?,
        None => (0, 0),
    };
    publish(app, place, source, PublishUntil::Done).await?;
    let access = if crm::plan::reads_only(&caller.who) { Access::ReadOnly } else { Access::Full };
    let tenant = app.store.tenant(place, access).await?;
    let secret = app.store.secret_of(place);
    let mut events: Vec<(Event, String)> = Vec::new();
    let (mut looked_at, mut chunk, mut has_more) = (0, CHUNK, true);
    // The events of one change share its position. `passed` counts those that earlier pages had.
    let mut from = if passed > 0 { position - 1 } else { position };
    'pages: while looked_at < MOST_LOOKED_AT {
        let changes = match tenant.published(secret.expose(), (position, from), chunk).await {
            Err(Fault::ResultTooLarge { .. }) if chunk > 1 => {
                chunk /= 2;
                continue;
            }
            changes => changes?,
        };
        looked_at += changes.len();
        let is_last = changes.len() < chunk;
        for change in changes {
            let at = change.position.unwrap_or_default();
            let done = if at == position { passed } else { 0 };
            let of_change = events_of(&place.database, &change)?;
            let all = of_change.len();
            for (number, event) in of_change.into_iter().enumerate().skip(done) {
                if events.len() == ask.limit {
                    if number > 0 {
                        (position, passed) = (at, number);
                    }
                    break 'pages;
                }
                if ask.types.is_empty() || ask.types.iter().any(|it| matches(it, &event.event_type)) {
                    events.push((event, write_cursor(scope, at, number + 1)));
                }
            }
            (position, passed, from) = (at, all, at);
        }
        if is_last {
            has_more = false;
            break;
        }
    }
    let cursor = write_cursor(scope, position, passed);
    let (workspace_id, mode) = (source.workspace_id.to_owned(), caller.who.mode.name());
    Ok(Answer::Events(EventPage { events, cursor, has_more, limit: ask.limit, workspace_id, mode }))
}

/// A cursor: the position of a change, and how many of its events were given.
fn write_cursor(scope: u64, position: i64, passed: usize) -> String {
    Cursor { scope, keys: vec![Some(position.to_string()), Some(passed.to_string())] }.encode()
}

fn read_cursor(scope: u64, text: &str) -> Result<(i64, usize), Fault> {
    let keys = Cursor::decode(text, scope, 2)?.keys;
    let [Some(position), Some(passed)] = &keys[..] else { return Err(Fault::InvalidCursor) };
    let position: i64 = position.parse().map_err(|_| Fault::InvalidCursor)?;
    let passed: usize = passed.parse().map_err(|_| Fault::InvalidCursor)?;
    if position < 0 || passed > MOST_EVENTS || write_cursor(scope, position, passed) != text {
        return Err(Fault::InvalidCursor);
    }
    Ok((position, passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [(0, 0), (7, 1), (i64::MAX, 3)] {
            assert_eq!(read_cursor(5, &write_cursor(5, cursor.0, cursor.1)), Ok(cursor));
        }
        let written = |keys: &[&str]| {
            let keys = keys.iter().map(|key| Some((*key).to_owned())).collect();
            Cursor { scope: 5, keys }.encode()
        };
        for bad in [
            String::new(),
            "x".to_owned(),
            write_cursor(6, 7, 1),
            written(&["7"]),
            written(&["07", "1"]),
            written(&["+7", "1"]),
            written(&["-7", "1"]),
            written(&["7", "9"]),
            written(&["7", "1", "1"]),
            Cursor { scope: 5, keys: vec![Some("7".to_owned()), None] }.encode(),
        ] {
            assert_eq!(read_cursor(5, &bad), Err(Fault::InvalidCursor), "{bad}");
        }
    }
}
