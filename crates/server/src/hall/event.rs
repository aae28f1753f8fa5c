//! The events of a change, with their ids.

use ring::digest::{Context, SHA256};

use crm::model::event::Event;
use crm::model::fault::Fault;
use crm::model::id;
use crm::plan::events::Change;

/// The events of a change. Their ids follow from the database and the change.
pub fn events_of(database: &str, change: &Change) -> Result<Vec<Event>, Fault> {
    let at: jiff::Timestamp = change.at.parse().map_err(|error| Fault::internal(format!("{}: {error}", change.at)))?;
    let at = at.as_millisecond().unsigned_abs();
    Ok(change.events(|number| event_id(database, &change.seq.to_string(), at, number)))
}

/// The id of an event of a change. `at` is the time of the change, Unix milliseconds.
pub fn event_id(database: &str, seq: &str, at: u64, number: usize) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(format!("{database} {seq} {number}").as_bytes());
    let mut tail = [0; 10];
    tail.copy_from_slice(&hash.finish().as_ref()[..10]);
    id::make("evt", at, tail)
}
