//! The listener: accepts connections while there is room for them, serves them, and ends those that send nothing, or read
//! nothing, for too long.

mod answer;
mod connection;
mod connections;
mod self_waking;
mod socket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tower::ServiceExt;

use crate::app::App;
use crate::door::listener::answer::AnswerBody;
use crate::door::listener::connection::{Ending, Exchange};
use crate::door::listener::connections::{Admitted, Connections};
use crate::door::listener::self_waking::poll_again;
use crate::door::listener::socket::{Refuse, Socket};
use crate::door::reply::Takes;
use crate::door::request_line::Forgiving;
use crate::door::{self, Peer, heads};

/// How long requests in progress may take to finish after SIGTERM. It is longer than any statement may run.
const DRAIN_LIMIT: Duration = Duration::from_secs(40);
/// How long a connection that is told to close may take to do so.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often connections are checked. If a bound is short, they are checked more often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Requests of one connection at once (HTTP/2).
const STREAMS: u32 = 32;
/// Bytes of a body that a client may send before any are read, per request and per connection (HTTP/2).
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The most bytes that are read ahead, which bounds a head (HTTP/1), and the most that wait to be written.
const BUFFER: usize = 128 * 1024;
/// How often an HTTP/2 client is pinged, and how long it may take to reply.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Answers smaller than this use no room of the budget, except if many share a connection.
const SMALL_ANSWER: usize = 64 * 1024;

/// Raises this process's limit of open files to the maximum, and returns the limit.
pub fn raise_file_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If this fails, the current limit has to do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Serves new connections until `stop`. Then the requests in progress finish.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>) -> Result<(), String> {
    let (files, bounds) = (raise_file_limit(), app.bounds.clone());
    let most = bounds.connections.min(files.saturating_sub(bounds.files_in_reserve).max(files / 2));
    let connections = Connections::new(bounds, most, app.proxies.clone());
    let (tell, told) = watch::channel(());
    let serving = Arc::new(Serving {
        builder: builder(),
        router: door::router(app.clone()),
        refuse: {
            let app = app.clone();
            Arc::new(move |status| heads::written(&app, status))
        },
        app,
    });
    let mut looks = pin!(look(&connections, &serving.app));
    let accepts = accept(&listener, &connections, &serving, &told);
    tokio::select! {
        () = &mut looks => {}
        () = accepts => {}
        () = stop => {}
    }
    serving.app.ready.store(false, Ordering::Relaxed);
    drop((listener, told));
    let _ = tell.send(());
    tokio::select! {
        () = &mut looks => {}
        drained = timeout(DRAIN_LIMIT, tell.closed()) => if drained.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
    Ok(())
}

/// What all connections share.
struct Serving {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    refuse: Arc<Refuse>,
    app: App,
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(BUFFER as u32);
    builder
}

/// Checks the connections from time to time. Runs until cancelled.
async fn look(connections: &Connections, app: &App) {
    let bounds = &app.bounds;
    let shortest = [bounds.first_request, bounds.head, bounds.idle, bounds.unread].into_iter().min();
    let often = shortest.map_or(LOOK_EVERY, |shortest| LOOK_EVERY.min(shortest / 4)).max(Duration::from_millis(1));
    let mut often = interval(often);
    loop {
        often.tick().await;
        connections.sweep(&app.memory.answers);
    }
}

/// Accepts connections. Runs until cancelled.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Connections>,
    serving: &Arc<Serving>,
    told: &watch::Receiver<()>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // There are no file descriptors left, or the client has already gone. Neither is a reason to stop.
                tracing::warn!(%error, "can't accept a connection");
                connections.make_room();
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        match connections.place(peer.ip()) {
            Some(place) => {
                let served = serve_one(serving.clone(), stream, peer, place, told.clone());
                drop(tokio::spawn(poll_again(served)));
            }
            None => turn_away(serving, &stream),
        }
        connections.turnover().await;
    }
}

/// Answers that there is no room, if that is possible without waiting, and closes.
fn turn_away(serving: &Serving, stream: &TcpStream) {
    let _ = stream.try_write(&heads::no_room(&serving.app));
}

/// Serves a connection until it ends.
async fn serve_one(
    serving: Arc<Serving>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Admitted,
    mut told: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    let connection = place.connection.clone();
    let socket = Socket::new(stream, connection.clone(), serving.refuse.clone());
    let service = service_fn(|request: Request<Incoming>| {
        answer(serving.clone(), connection.ask(request.version()), peer, request)
    });
    let io = TokioIo::new(Forgiving::new(socket));
    let mut served = pin!(serving.builder.serve_connection_with_upgrades(io, service));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            biased;
            done = served.as_mut() => {
                if let Err(error) = done {
                    tracing::debug!(%error, "a connection ended badly");
                }
                return;
            }
            _ = told.changed(), if !is_leaving => {
                is_leaving = true;
                served.as_mut().graceful_shutdown();
            }
            end = place.connection.ended() => match end {
                Ending::Cut => return,
                Ending::Idle => {
                    served.as_mut().graceful_shutdown();
                    let _ = timeout(FAREWELL, served).await;
                    return;
                }
            }
        }
    }
}

/// Answers a request.
async fn answer(
    serving: Arc<Serving>,
    exchange: Arc<Exchange>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut response = match heads::check(&request) {
        Ok(()) => {
            request.extensions_mut().insert(Peer(peer));
            serving.router.clone().oneshot(request.map(Body::new)).await?
        }
        Err(fault) => heads::refuse(&serving.app, heads::dialect_of(&request), fault),
    };
    if let Some(Takes(room)) = response.extensions_mut().remove::<Takes>() {
        match response.body().size_hint().exact().map(|bytes| bytes as usize) {
            Some(bytes) if bytes > SMALL_ANSWER || exchange.connection.is_http2() => {
                room.keep(bytes);
                exchange.takes(room);
            }
            Some(_) => {}
            // Its call is still in progress, and says itself how much room it holds.
            None => exchange.takes(room),
        }
    }
    Ok(response.map(|body| AnswerBody::new(body, exchange)))
}
