//! The environment of the tests: one Kith in this process, with a workspace for each test, or the real binary as a child
//! process.

mod agent;
mod child;
mod dir;
mod home;
mod imap;
mod mailbox;
mod numbers;
mod raw;
mod receiver;
mod relm;
mod reply;
mod resend;
mod stream;

pub use agent::{Agent, stranger_at};
pub use child::{Child, postmaster, superuser};
pub use dir::TempDir;
pub use home::{
    Home, agent, agent_at, arena, bounded_door, config_of_another, door, door_of, home, house_with_plans,
    newer_process, other_process, psql, stranger,
};
pub use imap::{Dovecot, PASSWORD, dovecot};
pub use mailbox::mailbox;
pub use numbers::Numbers;
pub use raw::{Answer, Raw, Streams};
pub use receiver::{Received, Receiver};
pub use relm::{both, relm};
pub use reply::Reply;
pub use resend::{message_id_of, resend};
pub use stream::{StreamReader, StreamedEvent};

use serde_json::Value;

/// JSON from its text with every digit preserved: `json!` has no numbers beyond 64 bits.
#[track_caller]
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
