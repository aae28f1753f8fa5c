//! The progress of a long call, for clients that ask for it: notifications on the call's own answer, which is then a stream of
//! events that ends with the result. A call that is done before there is anything to tell is answered like any other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crm::dialect::Reply;

use crate::door::mcp::rpc::{self, RpcError};
use crate::door::reply::{Envelope, StreamedBody};
use crate::hall::Progress;
use crate::store::STATEMENT_LIMIT_SECONDS;
use crate::store::room::Room;

const EVENTS: &str = "text/event-stream";
/// How often a step that goes on is told of.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whether the client takes a stream of events.
pub fn may_be_sent(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.split(',').any(|it| it.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(EVENTS)))
}

/// How far a call is.
#[derive(Clone, Copy, Debug)]
struct Steps {
    done: usize,
    of: usize,
    /// When the last step was done.
    at: Instant,
}

/// A call whose progress may be wanted.
pub struct CallProgress {
    /// Every step has a place here, because a call has few.
    steps: UnboundedSender<Steps>,
    wanted: Mutex<Option<WantedProgress>>,
}

/// What a stream of events needs of the call.
struct WantedProgress {
    /// The id of the request.
    id: Value,
    token: Value,
    /// What the steps are.
    steps: &'static str,
    /// The status and the headers.
    head: Parts,
    /// The room that the answer holds.
    room: Option<Arc<Room>>,
}

impl CallProgress {
    /// A call, and who notices its progress.
    pub fn new() -> (Arc<CallProgress>, Observer) {
        let (sender, steps) = unbounded_channel();
        let now = Instant::now();
        let observer = Observer { steps, last: Steps { done: 0, of: 0, at: now }, told: 0.0, looked_at: now };
        (Arc::new(CallProgress { steps: sender, wanted: Mutex::default() }), observer)
    }

    /// Records what the answer needs if the request has a token. True if its progress is wanted.
    pub fn is_wanted(
        &self,
        id: &Value,
        params: &Map<String, Value>,
        steps: &'static str,
        envelope: &Envelope<'_>,
    ) -> bool {
        let token = params.get("_meta").and_then(|meta| meta.get("progressToken"));
        let Some(token @ (Value::String(_) | Value::Number(_))) = token else { return false };
        let reply = Reply { status: 200, headers: Vec::new(), body: Vec::new() };
        let stream = StreamedBody { content_type: EVENTS, body: Body::empty(), file_name: None };
        let (mut head, _) = envelope.respond(reply, Some(stream)).into_parts();
        // Proxies would keep the events until the end.
        head.headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        let (id, token, room) = (id.clone(), token.clone(), envelope.room.clone());
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(WantedProgress { id, token, steps, head, room });
        true
    }

    fn take(&self) -> Option<WantedProgress> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Progress for CallProgress {
    fn done(&self, done: usize, of: usize) {
        // Nobody notices it any more when the client has gone.
        let _ = self.steps.send(Steps { done, of, at: Instant::now() });
    }
}

/// What a client is told.
#[derive(Debug, PartialEq)]
struct News {
    /// Done steps, and the share of its time that the next one has used.
    progress: f64,
    done: usize,
    of: usize,
    /// How long the next step has been running, in seconds.
    runs: u64,
}

/// Notices what is new.
pub struct Observer {
    steps: UnboundedReceiver<Steps>,
    last: Steps,
    /// The progress that was last told.
    told: f64,
    looked_at: Instant,
}

impl Observer {
    /// Waits for news. That the last step is done is none before there was other news: the result says it.
    async fn news(&mut self) -> News {
        loop {
            tokio::select! {
                // A batch that runs again is not told of until it is further than before.
                Some(steps) = self.steps.recv() => if self.last.of == 0 || steps.done > self.last.done {
                    self.last = steps;
                },
                () = sleep_until(self.looked_at + TELL_EVERY) => {}
            }
            self.looked_at = Instant::now();
            let is_all = self.last.done == self.last.of;
            let Some(news) = news(self.last, self.looked_at).filter(|it| it.progress > self.told) else { continue };
            if is_all && self.told == 0.0 {
                continue;
            }
            self.told = news.progress;
            return news;
        }
    }
}

/// What there is to tell; `None` before the first step.
fn news(Steps { done, of, at }: Steps, now: Instant) -> Option<News> {
    if of == 0 {
        return None;
    }
    let runs = if done < of { now.saturating_duration_since(at) } else { Duration::ZERO };
    // No step takes longer than the limit. Progress must grow, so the share counts hundredths.
    let share = (runs.as_secs_f64() / STATEMENT_LIMIT_SECONDS as f64).min(0.99);
    let progress = done as f64 + (share * 100.0).floor() / 100.0;
    Some(News { progress, done, of, runs: runs.as_secs() })
}

impl WantedProgress {
    fn event(&self, News { progress, done, of, runs }: News) -> Bytes {
        let mut message = format!("{done} of {of} {} done", self.steps);
        if runs > 0 {
            message += &format!("; the next one has been running for {runs} s");
        }
        let params = json!({"progressToken": self.token, "progress": progress, "total": of, "message": message});
        let notification = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        event(notification.to_string().as_bytes())
    }

    /// The result as the last event.
    async fn last(&self, answered: Option<Response>) -> Bytes {
        let failed = || event(&rpc::error(Some(&self.id), &RpcError::internal()));
        let Some(response) = answered.filter(|response| response.status() == StatusCode::OK) else { return failed() };
        let Ok(body) = axum::body::to_bytes(response.into_body(), usize::MAX).await else { return failed() };
        let event = event(&body);
        if let Some(room) = &self.room {
            room.keep(event.len());
        }
        event
    }
}

/// An event of the stream. A message is one line of JSON.
fn event(message: &[u8]) -> Bytes {
    [b"event: message\ndata: ", message, b"\n\n"].concat().into()
}

/// A call that is being answered by events. Dropping it ends the call.
struct EventAnswer {
    call: JoinSet<Response>,
    observer: Observer,
    wanted: WantedProgress,
    news: Option<News>,
}

impl EventAnswer {
    /// The next event, and whether it is the last.
    async fn next(&mut self) -> (Bytes, bool) {
        if let Some(news) = self.news.take() {
            return (self.wanted.event(news), false);
        }
        tokio::select! {
            news = self.observer.news() => (self.wanted.event(news), false),
            answered = self.call.join_next() => (self.wanted.last(answered.and_then(Result::ok)).await, true),
        }
    }
}

/// Answers a call: by its own response, or by events from the first news on.
pub async fn answered<C>(mut call: Pin<Box<C>>, progress: Arc<CallProgress>, mut observer: Observer) -> Response
where
    C: Future<Output = Response> + Send + 'static,
{
    let news = tokio::select! {
        biased;
        response = &mut call => return response,
        news = observer.news() => news,
    };
    let Some(mut wanted) = progress.take() else { return call.await };
    // In a task of its own it does not wait for a client that reads slowly.
    let mut running = JoinSet::new();
    running.spawn(call);
    let head = std::mem::replace(&mut wanted.head, Response::new(()).into_parts().0);
    let answer = EventAnswer { call: running, observer, wanted, news: Some(news) };
    let events = stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        let (event, is_last) = answer.next().await;
        Some((Ok::<Bytes, Infallible>(event), (!is_last).then_some(answer)))
    });
    Response::from_parts(head, Body::from_stream(events))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn events_are_sent_to_those_that_take_them() {
        let takes = |accept: &'static str| {
            may_be_sent(&[(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
        };
        assert!(takes("application/json, text/event-stream") && takes("Text/Event-Stream;q=0.5"));
        assert!(!takes("*/*") && !takes("application/json") && !takes("") && !may_be_sent(&HeaderMap::new()));
    }

    #[test]
    fn progress_grows_with_each_step_and_while_one_runs() {
        let at = Instant::now();
        let after = |done, of, seconds| {
            news(Steps { done, of, at }, at + Duration::from_secs(seconds)).map(|it| (it.progress, it.runs))
        };
        assert_eq!(after(0, 0, 5), None);
        assert_eq!(after(0, 3, 0), Some((0.0, 0)));
        assert_eq!(after(1, 3, 3), Some((1.1, 3)));
        assert_eq!(after(1, 3, 300), Some((1.99, 300)));
        assert_eq!(after(3, 3, 9), Some((3.0, 0)));
    }

    #[tokio::test]
    async fn there_is_news_when_a_step_is_done() {
        let (progress, mut observer) = CallProgress::new();
        progress.done(0, 3);
        assert_eq!(observer.news().now_or_never(), None);
        progress.done(1, 3);
        progress.done(2, 3);
        // The batch runs again.
        progress.done(1, 3);
        let news = |done| Some(News { progress: done as f64, done, of: 3, runs: 0 });
        assert_eq!(observer.news().now_or_never(), news(1));
        assert_eq!(observer.news().now_or_never(), news(2));
        assert_eq!(observer.news().now_or_never(), None);
        progress.done(3, 3);
        assert_eq!(observer.news().now_or_never(), news(3));
        let (quick, mut observer) = CallProgress::new();
        quick.done(0, 1);
        quick.done(1, 1);
        assert_eq!(observer.news().now_or_never(), None, "the result says it");
    }
}
