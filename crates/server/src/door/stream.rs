//! Events as a stream (Server-Sent Events): the pages of the list of events, one after the other, without end. The cursor of each
//! event is its id, so that a client that comes back goes on where it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crm::dialect::Dialect;
use crm::model::answer::{Answer, EventPage};
use crm::model::ask::{Ask, EventsAsk, Steps};
use crm::model::fault::Fault;

use crate::access::{self, Caller, Credential};
use crate::app::App;
use crate::hall::{self, Controls, Performed};

/// A comment is sent when nothing else was for so long, so that the connection stays open. It may wait for the
/// next look, so that at most 15 s pass.
const COMMENT_EVERY: Duration = Duration::from_secs(14);
/// How often events are looked for. The commits of this process are noticed at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most events of a look.
const MOST: usize = 50;

/// A stream of events.
pub struct EventStream {
    /// The state that doors share.
    pub app: Arc<App>,
    /// The caller.
    pub caller: Caller,
    /// What the caller was admitted with. The stream ends when it does.
    pub credential: Credential,
    /// The dialect of the events.
    pub dialect: &'static Dialect,
    /// The request.
    pub ask: EventsAsk,
}

struct StreamState {
    stream: EventStream,
    /// A page that was read and not sent.
    page: Option<EventPage>,
    committed: Arc<Notify>,
    silent_since: Instant,
}

impl EventStream {
    /// The body of the response, which begins with this page.
    pub fn body(self, first: EventPage) -> Body {
        let committed = self.app.wakes.watch(&self.caller.who.workspace_id, self.caller.who.mode);
        let state = StreamState { stream: self, page: Some(first), committed, silent_since: Instant::now() };
        Body::from_stream(stream::unfold(state, |mut state| async move {
            let text = state.next().await?;
            Some((Ok::<Bytes, Infallible>(text.into()), state))
        }))
    }

    /// The next page. `None` ends the stream; the client comes back with the last id.
    async fn read(&self) -> Option<EventPage> {
        if !self.app.ready.load(Ordering::Relaxed) || !access::is_valid(&self.app, &self.caller, &self.credential).await
        {
            return None;
        }
        let ask = Ask::Steps(Steps::Events(self.ask.clone()));
        match hall::perform(&self.app, &self.caller, &ask, &Controls::default()).await {
            Ok(Performed::Done(Answer::Events(page), _)) => Some(page),
            Ok(_) => None,
            Err(fault) => {
                if let Fault::Internal { cause, place } = &fault {
                    tracing::error!(cause, %place, "a stream of events failed");
                }
                None
            }
        }
    }
}

impl StreamState {
    /// The next text to send.
    async fn next(&mut self) -> Option<String> {
        loop {
            // Waiting begins before the look, so that no commit in between is missed.
            let committed = self.committed.clone();
            let mut came = std::pin::pin!(committed.notified());
            came.as_mut().enable();
            let page = match self.page.take() {
                Some(page) => page,
                None => self.stream.read().await?,
            };
            self.stream.ask.after = Some(page.cursor.clone());
            self.stream.ask.limit = MOST;
            if !page.events.is_empty() {
                self.silent_since = Instant::now();
                return Some(self.written(&page));
            }
            if page.has_more {
                continue;
            }
            if self.silent_since.elapsed() >= COMMENT_EVERY {
                self.silent_since = Instant::now();
                return Some(": nothing new\n\n".to_owned());
            }
            let _ = timeout_at(Instant::now() + LOOK_EVERY, came).await;
        }
    }

    fn written(&self, page: &EventPage) -> String {
        let event = |(event, cursor): &(crm::model::event::Event, String)| {
            let body = (self.stream.dialect.show_event)(event, page.source());
            format!("id: {cursor}\nevent: {}\ndata: {body}\n\n", event.event_type)
        };
        page.events.iter().map(event).collect()
    }
}
