//! The data plane over HTTP: parses a request in its key's dialect and has the hall perform it.

use crm::model::answer::Answer;
use crm::model::ask::{Ask, EMAILS, EventsAsk, Steps};
use crm::model::call::{Call, Method, is_message};
use crm::model::email::MAX_SENDING_BODY_BYTES;
use crm::model::fault::Fault;

use crate::access::{self, Caller, Credential};
use crate::door::csv::{self, CsvFile};
use crate::door::operations::Operations;
use crate::door::reply::{Envelope, Served, StreamedBody};
use crate::door::request::{HttpRequest, MAX_BODY_BYTES};
use crate::door::stream::EventStream;
use crate::hall::{self, Controls, Idempotency, Performed};
use crate::store::room::Room;

/// Serves a request to a path below `/v1`.
pub async fn serve(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    path: Vec<String>,
) -> Result<Served, Fault> {
    let Some(token) = request.bearer()? else {
        return Err(Fault::Unauthorized { message: "This path needs an API key.".into() });
    };
    let caller = admit(request, envelope, token).await?;
    answer(request, envelope, path, (caller, Credential::Key(token.to_owned()))).await
}

/// Performs the call of a caller who was admitted with this credential.
pub async fn answer(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    path: Vec<String>,
    (caller, credential): (Caller, Credential),
) -> Result<Served, Fault> {
    choose_version(request, envelope)?;
    let Some(method) = Method::parse(request.head.method.as_str()) else {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let allow = (envelope.dialect.methods)(&segments).into_iter().map(Method::name).collect();
        return Err(Fault::MethodNotAllowed { allow });
    };
    let limits = request.limits()?;
    let room = Room::new(request.app.memory.answers.clone(), caller.owner.clone(), caller.who.workspace_id.clone());
    envelope.room = Some(room.clone());
    let most = most_bytes(method, &path, header(request, "content-type"));
    let body = request.body(&caller, most).await?;
    let call = request.call(method, path, &body)?;
    let mut ask = envelope.dialect.read_call(&call);
    if body.len() > MAX_BODY_BYTES && ask.as_ref().is_ok_and(|ask| !sends(ask)) {
        ask = Err(Fault::PayloadTooLarge { limit: MAX_BODY_BYTES });
    }
    let streamed = as_stream(&mut ask, request);
    envelope.table = ask.as_ref().ok().and_then(|ask| ask.table()).map(str::to_owned);
    let is_file = method == Method::Get && csv::is_wanted(header(request, "accept"));
    if let Some(list) = ask.as_ref().ok().filter(|_| is_file).and_then(csv::of_list) {
        let file = CsvFile::new(request.app.clone(), caller, credential, envelope.dialect, list);
        let file_name = envelope.table.as_deref().map(file_name);
        // On the heap, like all that most calls do not need.
        let body = Box::pin(file.body()).await?;
        return Ok(Served::Stream(StreamedBody { content_type: csv::CONTENT_TYPE, body, file_name }));
    }
    if !limits.preferences.is_empty() && ask.as_ref().is_ok_and(|ask| ask.writes()) {
        envelope.preferences = Some(limits.preferences.join(", "));
    }
    let envelope = &*envelope;
    let render = |result: &Result<Answer, Fault>| envelope.show(result);
    let key = if method == Method::Post { request.idempotency_key()? } else { None };
    let idempotency = match key {
        Some(key) => Some(Idempotency::new(key, said(&call, envelope.dialect.name), call.body, &render)?),
        None => None,
    };
    // The ask owns all that it needs from the body.
    drop(call);
    if let Ok(Ask::Operations(_) | Ask::Steps(Steps::SendEmail { .. })) = &ask {
        // Each operation is copied when its turn comes, and a message when it is read.
        body.hold_copy().await?;
    }
    let values = body.into_values();
    let operations = Operations { envelope };
    let controls = Controls { idempotency, wire: Some(&operations), values: values.as_ref(), ..Controls::of(&limits) };
    // Awaited where it is made: in a variable it would be held twice, there and while it runs.
    let performed = room
        .around(async {
            match ask {
                Ok(ask) => hall::perform(request.app, &caller, &ask, &controls).await,
                Err(fault) => hall::refuse(request.app, &caller, fault, &controls).await,
            }
        })
        .await?;
    Ok(match performed {
        Performed::Done(Answer::Events(page), _) => match streamed {
            Some(ask) => {
                let (app, dialect) = (request.app.clone(), envelope.dialect);
                let body = EventStream { app, caller, credential, dialect, ask }.body(page);
                Served::Stream(StreamedBody { content_type: "text/event-stream", body, file_name: None })
            }
            None => Served::Answer(Answer::Events(page)),
        },
        Performed::Done(answer, _) => Served::Answer(answer),
        Performed::Stored(reply) => Served::Written { reply, is_replay: false },
        Performed::Replayed(reply) => Served::Written { reply, is_replay: true },
    })
}

/// The most bytes of a body. The files of an e-mail need more than other calls.
fn most_bytes(method: Method, path: &[String], content_type: Option<&str>) -> usize {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (method, path.as_slice()) {
        (Method::Post, [EMAILS]) if !is_message(content_type) => MAX_SENDING_BODY_BYTES,
        (Method::Post, ["batch"]) => MAX_SENDING_BODY_BYTES,
        _ => MAX_BODY_BYTES,
    }
}

/// Whether an ask sends e-mail, or may.
fn sends(ask: &Ask) -> bool {
    match ask {
        Ask::Steps(Steps::SendEmail { .. }) => true,
        Ask::Operations(operations) => operations.iter().any(|it| it.method == Method::Post && it.path == [EMAILS]),
        _ => false,
    }
}

fn header<'a>(request: &HttpRequest<'a>, name: &str) -> Option<&'a str> {
    request.head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name of a table's file. A table may have any name, a file's header may not.
pub fn file_name(table: &str) -> String {
    let kept = |it: char| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '_' };
    format!("{}.csv", table.chars().map(kept).collect::<String>())
}

/// The ask for events, if the client wants them as a stream. It goes on after the last event that the client got.
fn as_stream(ask: &mut Result<Ask, Fault>, request: &HttpRequest<'_>) -> Option<EventsAsk> {
    let Ok(Ask::Steps(Steps::Events(ask))) = ask else { return None };
    if !header(request, "accept").is_some_and(|accepted| accepted.contains("text/event-stream")) {
        return None;
    }
    if let Some(last) = header(request, "last-event-id").filter(|id| !id.is_empty()) {
        ask.after = Some(last.to_owned());
    }
    Some(ask.clone())
}

/// Admits a call with a key. From here on the answer is in the key's dialect, even if the key has ended.
pub async fn admit(request: &mut HttpRequest<'_>, envelope: &mut Envelope<'_>, token: &str) -> Result<Caller, Fault> {
    envelope.dialect = crm::dialect::of_key(token).unwrap_or(envelope.dialect);
    match access::admit_key_from(request.app, token, request.peer, request.provenance()).await {
        Ok(caller) => {
            envelope.admitted(Some(&caller.who), caller.rate);
            Ok(caller)
        }
        Err(refused) => Err(envelope.refused(*refused)),
    }
}

/// Chooses the version of the dialect that the request asks for, if the dialect has versions.
pub fn choose_version(request: &HttpRequest<'_>, envelope: &mut Envelope<'_>) -> Result<(), Fault> {
    if let Some(versions) = envelope.dialect.versions {
        let asked = request.head.headers.get(versions.header);
        let asked = asked.map(|value| String::from_utf8_lossy(value.as_bytes()));
        envelope.version = Some(versions.choose(asked.as_deref())?);
    }
    Ok(())
}

/// The content of a call besides its body.
fn said<'a>(call: &'a Call<'_>, dialect: &'a str) -> impl Iterator<Item = &'a str> {
    let query = call.query.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    [dialect].into_iter().chain(call.path.iter().map(String::as_str)).chain(["?"]).chain(query)
}
