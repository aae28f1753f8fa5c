//! The list of events: the published changes of a workspace, oldest first.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crm::model::answer::{Answer, EventPage};
use crm::model::ask::EventsAsk;
use crm::model::event::{Event, EventSource, chooses};
use crm::model::fault::Fault;

use crate::access::Caller;
use crate::app::App;
use crate::hall::event::events_of;
use crate::hall::publish::{PublishUntil, publish};
use crate::store::tenant::Access;

/// The most changes that one page looks at. A page of few events of many has a cursor to go on from.
const MOST_LOOKED_AT: usize = 5000;
/// The changes that are read at a time.
const CHUNK: usize = 200;
/// The beginning of a cursor's text, before it is encoded.
const CURSOR: &str = "e";

/// A page of events.
pub(super) async fn page(app: &App, caller: &Caller, ask: &EventsAsk) -> Result<Answer, Fault> {
    let place = &caller.database;
    let source = EventSource { workspace_id: &caller.who.workspace_id, mode: caller.who.mode.name() };
    let (mut position, mut passed) = match &ask.after {
        Some(cursor) => read_cursor(cursor)?,
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
                if ask.types.is_empty() || ask.types.iter().any(|it| chooses(it, &event.event_type)) {
                    events.push((event, write_cursor(at, number + 1)));
                }
            }
            (position, passed, from) = (at, all, at);
        }
        if is_last {
            has_more = false;
            break;
        }
    }
    let cursor = write_cursor(position, passed);
    let (workspace_id, mode) = (source.workspace_id.to_owned(), caller.who.mode.name());
    Ok(Answer::Events(EventPage { events, cursor, has_more, limit: ask.limit, workspace_id, mode }))
}

/// A cursor: the position of a change, and how many of its events were given.
fn write_cursor(position: i64, passed: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR}{position}.{passed}"))
}

fn read_cursor(text: &str) -> Result<(i64, usize), Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::InvalidCursor)?;
    let text = String::from_utf8(bytes).map_err(|_| Fault::InvalidCursor)?;
    let (position, passed) =
        text.strip_prefix(CURSOR).and_then(|text| text.split_once('.')).ok_or(Fault::InvalidCursor)?;
    let position: i64 = position.parse().map_err(|_| Fault::InvalidCursor)?;
    let passed: usize = passed.parse().map_err(|_| Fault::InvalidCursor)?;
    if position < 0 || passed > 3 || write_cursor(position, passed) != URL_SAFE_NO_PAD.encode(text.as_bytes()) {
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
            assert_eq!(read_cursor(&write_cursor(cursor.0, cursor.1)), Ok(cursor));
        }
        for bad in [
            "",
            "x",
            &URL_SAFE_NO_PAD.encode("e07.1"),
            &URL_SAFE_NO_PAD.encode("e-7.1"),
            &URL_SAFE_NO_PAD.encode("e7.9"),
        ] {
            assert_eq!(read_cursor(bad), Err(Fault::InvalidCursor), "{bad}");
        }
    }
}
