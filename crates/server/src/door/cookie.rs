//! The session's cookie: how it is set and read, and for which requests it is valid. A browser sends it with every request that
//! a page makes to Kith, so a request that changes something must not come from a page of another site.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use crm::model::fault::Fault;

use crate::people::auth::sessions::SESSION_SECONDS;
use crate::people::auth::sign_in::LASTS_SECONDS;

/// How long choices are remembered: a year.
const PREFERENCE_SECONDS: i64 = 365 * 24 * 60 * 60;

/// The session's cookie without TLS. Earlier versions used this name with TLS too, so it is still read there.
const NAME: &str = "kith_session";
/// The session's cookie with TLS. Browsers accept a name with this prefix only from this host itself.
const NAME_WITH_TLS: &str = "__Host-kith_session";

fn has_tls(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

fn session_name(public_url: &str) -> &'static str {
    if has_tls(public_url) { NAME_WITH_TLS } else { NAME }
}

/// The cookie of a sign-in that continues at a provider.
fn sign_in_name(public_url: &str) -> &'static str {
    if has_tls(public_url) { "__Host-kith_sign_in" } else { "kith_sign_in" }
}

/// Sets the cookie of a sign-in that continues at a provider. The browser returns from there by a link, so the cookie is Lax.
pub fn set_sign_in(token: &str, public_url: &str) -> String {
    written(sign_in_name(public_url), token, LASTS_SECONDS, public_url)
}

/// Deletes the sign-in cookie.
pub fn clear_sign_in(public_url: &str) -> String {
    written(sign_in_name(public_url), "", 0, public_url)
}

/// The token of the sign-in cookie, if the request has one.
pub fn sign_in_token<'a>(headers: &'a HeaderMap, public_url: &str) -> Option<&'a str> {
    found(headers, sign_in_name(public_url))
}

/// Sets the session's cookie.
pub fn set(token: &str, public_url: &str) -> String {
    written(session_name(public_url), token, SESSION_SECONDS, public_url)
}

/// Deletes the session's cookie under each of its names.
pub fn clear(public_url: &str) -> impl Iterator<Item = String> {
    let names = if has_tls(public_url) { &[NAME_WITH_TLS, NAME][..] } else { &[NAME] };
    names.iter().map(move |name| written(name, "", 0, public_url))
}

fn written(name: &str, token: &str, max_age_seconds: i64, public_url: &str) -> String {
    let secure = if has_tls(public_url) { "; Secure" } else { "" };
    format!("{name}={token}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// The session's cookie of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCookie<'a> {
    /// The session's token.
    pub token: &'a str,
    /// Whether the cookie has a name that is no longer used for new cookies.
    pub is_old: bool,
}

/// The session's cookie, if the request has one.
pub fn session<'a>(headers: &'a HeaderMap, public_url: &str) -> Option<SessionCookie<'a>> {
    let name = session_name(public_url);
    let found = |wanted| found(headers, wanted).map(|token| SessionCookie { token, is_old: wanted != name });
    found(name).or_else(|| found(NAME))
}

/// A cookie that remembers a choice which is no secret. The session's cookie decides what the person may see.
pub fn preference(name: &str, value: &str, public_url: &str) -> String {
    written(name, value, PREFERENCE_SECONDS, public_url)
}

/// The value of a cookie, if the request has it.
pub fn found<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, token)| *name == wanted && !token.is_empty()).map(|(_, token)| token)
}

/// Refuses a request that changes something and comes from another site's page. Browsers state a request's origin in
/// Sec-Fetch-Site, or in Origin for requests that change something; the oldest use only Referer. A request without these
/// headers does not come from a browser; its sender knows the token.
pub fn keep_to_own_pages(head: &Parts, public_url: &str) -> Result<(), Fault> {
    if matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_own = |origin: &str| is_origin_of(origin, public_url) || is_host(origin, host(head));
    let site = text("sec-fetch-site").map(|site| matches!(site, "same-origin" | "none"));
    let origin = text("origin").map(is_own);
    let own = match (site, origin) {
        (None, None) => text("referer").is_none_or(|page| is_own(origin_of(page))),
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    };
    if own {
        return Ok(());
    }
    Err(Fault::Forbidden {
        message:
            "This request comes from a page of another site. A session's cookie speaks for Kith's own pages and for \
                  programs that are no browser; others send the session token as Authorization: Bearer <session token>."
                .into(),
    })
}

fn host(head: &Parts) -> Option<&str> {
    let header = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| head.uri.authority().map(|authority| authority.as_str()))
}

/// Whether an address starts with this origin: scheme, host and port.
fn is_origin_of(origin: &str, url: &str) -> bool {
    url.contains("://") && origin.eq_ignore_ascii_case(origin_of(url))
}

/// The origin at the start of an address. If the address has no scheme, all of it.
fn origin_of(url: &str) -> &str {
    let Some(start) = url.find("://").map(|at| at + 3) else { return url };
    url[start..].find(['/', '?', '#', '\\']).map_or(url, |end| &url[..start + end])
}

fn is_host(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; not_kith_session=x".parse().unwrap());
        assert_eq!(session(&headers, "http://x"), None);
        headers.append(header::COOKIE, "c=d;kith_session=kst_1 ; e=f".parse().unwrap());
        assert_eq!(session(&headers, "http://x"), Some(SessionCookie { token: "kst_1", is_old: false }));
        assert_eq!(session(&headers, "https://x"), Some(SessionCookie { token: "kst_1", is_old: true }));
        headers.append(header::COOKIE, "__Host-kith_session=kst_2".parse().unwrap());
        assert_eq!(session(&headers, "https://x"), Some(SessionCookie { token: "kst_2", is_old: false }));
        assert_eq!(session(&headers, "http://x"), Some(SessionCookie { token: "kst_1", is_old: false }));
    }

    #[test]
    fn secure_where_the_public_address_is() {
        assert_eq!(set("t", "http://x"), "kith_session=t; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
        let of_host = "__Host-kith_session=t; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set("t", "https://x"), of_host);
        let cleared = ["__Host-kith_session", "kith_session"]
            .map(|name| format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"));
        assert_eq!(clear("https://x").collect::<Vec<_>>(), cleared);
        assert_eq!(clear("http://x").collect::<Vec<_>>(), ["kith_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"]);
    }

    #[test]
    fn origins_are_compared_whole() {
        assert!(is_origin_of("https://kith.example", "https://kith.example/below"));
        assert!(is_origin_of("https://KITH.example:8443", "https://kith.example:8443"));
        assert!(!is_origin_of("https://kith.example", "https://kith.example.evil.example"));
        assert!(!is_origin_of("http://kith.example", "https://kith.example"));
        assert_eq!(origin_of("https://kith.example/a?b=https://c.example"), "https://kith.example");
        assert_eq!(origin_of("https://kith.example@evil.example/"), "https://kith.example@evil.example");
        assert_eq!(origin_of("about:blank"), "about:blank");
        assert!(is_host("http://localhost:8484", Some("localhost:8484")));
        assert!(!is_host("null", Some("localhost:8484")));
        assert!(!is_host("http://localhost:8484.evil.example", Some("localhost:8484")));
        assert!(!is_host("http://evil.example", None));
    }
}
