//! A receiver of webhooks: an HTTP server that keeps what it gets and answers as a test says.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How long a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Received {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        super::parse(&self.body)
    }
}

type Answer = Arc<dyn Fn(usize, Received) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

#[derive(Default)]
struct Kept {
    requests: Mutex<Vec<Received>>,
    came: Notify,
}

/// A running receiver. It ends with the test's runtime.
pub struct Receiver {
    /// `http://127.0.0.1:…`
    pub base: String,
    kept: Arc<Kept>,
}

impl Receiver {
    /// Starts a receiver that answers 200.
    pub async fn start() -> Receiver {
        Receiver::answering(|_, _| async { 200 }).await
    }

    /// Starts a receiver with these answers: a status, or a whole response. The number counts requests from 0.
    pub async fn answering<F, A>(answer: impl Fn(usize, Received) -> F + Send + Sync + 'static) -> Receiver
    where
        F: Future<Output = A> + Send + 'static,
        A: IntoAnswer,
    {
        let answer: Answer = Arc::new(move |number, request| {
            let answered = answer(number, request);
            Box::pin(async move { answered.await.into_answer() })
        });
        let kept = Arc::<Kept>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let of_server = kept.clone();
        let router = Router::new().fallback(move |request: Request<Body>| {
            let (kept, answer) = (of_server.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.expect("a body");
                let body = String::from_utf8(body.to_vec()).expect("text");
                let received = Received { headers: head.headers, body };
                let number = {
                    let mut requests = kept.requests.lock().expect("the requests");
                    requests.push(received.clone());
                    requests.len() - 1
                };
                kept.came.notify_waiters();
                answer(number, received).await
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { base, kept }
    }

    /// An address at the receiver.
    pub fn url(&self) -> String {
        format!("{}/hook", self.base)
    }

    /// What it got so far.
    pub fn received(&self) -> Vec<Received> {
        self.kept.requests.lock().expect("the requests").clone()
    }

    /// Waits until it has got this many requests, and returns all.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        let enough = async {
            loop {
                let came = self.kept.came.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                // A request may come between the look and the wait.
                let _ = tokio::time::timeout(Duration::from_millis(200), came).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, enough).await;
        found.unwrap_or_else(|_| panic!("{} of {count} requests came", self.received().len()))
    }
}

/// What a receiver can answer with.
pub trait IntoAnswer {
    fn into_answer(self) -> Response;
}

impl IntoAnswer for u16 {
    fn into_answer(self) -> Response {
        axum::http::StatusCode::from_u16(self).expect("a status").into_response()
    }
}

impl IntoAnswer for Response {
    fn into_answer(self) -> Response {
        self
    }
}
