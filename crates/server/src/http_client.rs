//! The HTTP client for requests to other servers. It uses ring for TLS and trusts the system's certificates.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use hyper::http;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::clock::Clock;

/// The longest time for connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest time for a whole response.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Creates a client. It follows no redirects, because the servers are configured.
pub fn client() -> Result<Client, String> {
    client_within(ANSWER_LIMIT)
}

/// Creates a client like [`client`] that waits this long for a whole response.
pub fn client_within(limit: Duration) -> Result<Client, String> {
    use_ring();
    let builder = Client::builder().connect_timeout(CONNECT_LIMIT).timeout(limit).redirect(Policy::none());
    builder.build().map_err(|error| format!("can't make an HTTP client: {error}"))
}

/// Makes ring this process's TLS library, unless one is installed already.
pub fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Parses a URL whose answers are trusted: `https`, or `http` on this machine.
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

/// Why [`send`] returned no response.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// Sends a request that a library has built, to a URL that [`trusted_url`] accepts. A response body longer than `most_bytes` is
/// an error.
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

/// The seconds that an answer asks its caller to wait (`Retry-After`, RFC 9110): a number, or a date. A date is compared with the
/// answer's own `Date`, if it has one, because the clocks of two machines differ.
pub fn retry_after(headers: &http::HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text("retry-after")?;
    if let Ok(seconds) = asked.parse() {
        return Some(seconds);
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second());
    let now = text("date").and_then(date).unwrap_or_else(|| Clock::System.unix_seconds());
    date(asked).map(|at| u64::try_from(at - now).unwrap_or_default())
}

/// An error's message with the messages of its causes.
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

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        let asked = |headers: &[(&'static str, &str)]| {
            let pairs =
                headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            retry_after(&pairs.collect::<http::HeaderMap>())
        };
        let sent = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked(&[("retry-after", " 120 ")]), Some(120));
        assert_eq!(asked(&[sent, ("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT")]), Some(90));
        // What is over is no wait.
        assert_eq!(asked(&[sent, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(0));
        let in_an_hour = jiff::Timestamp::from_second(Clock::System.unix_seconds() + 3600).expect("a time");
        let in_an_hour =
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&in_an_hour).expect("a date");
        let wait = asked(&[("retry-after", &in_an_hour)]).expect("a wait");
        assert!((3500..=3600).contains(&wait), "{wait}");
        for none in ["", "soon", "-1", "1.5", "Sun, 06 Nov 1994"] {
            assert_eq!(asked(&[("retry-after", none)]), None, "{none}");
        }
        assert_eq!(asked(&[]), None);
    }
}
