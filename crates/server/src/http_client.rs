//! What Kith asks of others by HTTP: a client over ring's TLS that trusts the certificates that the system trusts.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use hyper::http;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// How long a connection may take to be there.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take, the whole of it.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A client. It follows no redirect: whom to ask is configured.
pub fn client() -> Result<Client, String> {
    use_ring();
    let builder = Client::builder().connect_timeout(CONNECT_LIMIT).timeout(ANSWER_LIMIT).redirect(Policy::none());
    builder.build().map_err(|error| format!("can't make an HTTP client: {error}"))
}

/// Makes ring this process's TLS library; nothing happens where one is chosen already.
pub fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An address that may be asked for what is trusted then: by TLS, or on this machine.
pub fn trusted_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(format!("{text:?} must begin with https://; http:// is for this machine alone")),
    }
}

/// The body of what answers a GET with 200, if it is no longer than so many bytes.
pub async fn get(client: &Client, url: &Url, most_bytes: usize) -> Result<Vec<u8>, String> {
    let response = client.get(url.clone()).send().await.map_err(|error| with_causes(&error))?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    body(response, most_bytes).await
}

/// Why a request of [`send`] has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// The answer to a request that a library has made, if its body is no longer than so many bytes. Only who may be trusted is
/// asked.
pub async fn send(
    client: &Client,
    request: http::Request<Vec<u8>>,
    most_bytes: usize,
) -> Result<http::Response<Vec<u8>>, Unanswered> {
    trusted_url(&request.uri().to_string()).map_err(Unanswered)?;
    let request = request.try_into().map_err(|error| Unanswered(with_causes(&error)))?;
    let response = client.execute(request).await.map_err(|error| Unanswered(with_causes(&error)))?;
    let mut answer = http::Response::new(Vec::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    *answer.body_mut() = body(response, most_bytes).await.map_err(Unanswered)?;
    Ok(answer)
}

async fn body(mut response: reqwest::Response, most_bytes: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| with_causes(&error))? {
        if body.len() + chunk.len() > most_bytes {
            return Err(format!("the answer is longer than {most_bytes} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What happened and why: the first words alone only say that it did.
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        words = format!("{words}: {it}");
        cause = it.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for good in ["https://clerk.example.com", "http://localhost:1/x", "http://127.0.0.1:9", "http://[::1]:9/"] {
            assert!(trusted_url(good).is_ok(), "{good}");
        }
        for bad in ["clerk.example.com", "http://clerk.example.com", "http://127.0.0.1.example.com", "file:///x", ""] {
            assert!(trusted_url(bad).is_err(), "{bad}");
        }
    }
}
