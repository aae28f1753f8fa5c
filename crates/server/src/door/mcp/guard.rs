//! Refuses requests that name another host, and requests from pages of other sites. Otherwise a page could make a browser
//! on the server's machine call it under a name of its own (DNS rebinding).

use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;

use crm::model::fault::Fault;

/// Checks the host and the origin of a request against the public address.
pub fn check(head: &Parts, public_url: &str) -> Result<(), Fault> {
    let host = host(head);
    if !host.as_ref().is_some_and(|host| is_own_host(host, public_url)) {
        return Err(Fault::Forbidden {
            message: format!(
                "This server does not answer for the host \"{}\". A proxy must pass on the Host header; the operator sets --public-url.",
                host.map(|host| host.to_string()).unwrap_or_default()
            ),
        });
    }
    let mut origins = head.headers.get_all(header::ORIGIN).iter();
    match origins.all(|origin| origin.to_str().is_ok_and(|origin| is_own_origin(origin, host.as_ref(), public_url))) {
        true => Ok(()),
        false => Err(Fault::Forbidden { message: "Requests from pages of other sites are not answered.".into() }),
    }
}

/// The host that the request names. HTTP/2 and absolute addresses have it in the address.
fn host(head: &Parts) -> Option<Authority> {
    if let Some(authority) = head.uri.authority() {
        return Some(authority.clone());
    }
    let mut lines = head.headers.get_all(header::HOST).iter();
    let (first, more) = (lines.next()?, lines.next());
    first.to_str().ok().filter(|_| more.is_none())?.parse().ok()
}

fn is_own_host(host: &Authority, public_url: &str) -> bool {
    let (scheme, public) = parts(public_url);
    let public: Option<Authority> = public.parse().ok();
    let is_public = public.is_some_and(|public| {
        let same_name = public.host().eq_ignore_ascii_case(host.host());
        // Behind an address that stands for all, any address of the machine is its own.
        let is_any = matches!(public.host(), "0.0.0.0" | "[::]") && is_address(host.host());
        (same_name || is_any) && port(&public, scheme) == port(host, scheme)
    });
    is_public || is_loopback(host.host())
}

/// Whether a page of this origin is served by this server.
fn is_own_origin(origin: &str, host: Option<&Authority>, public_url: &str) -> bool {
    let ((scheme, authority), (public_scheme, public)) = (parts(origin), parts(public_url));
    let (Ok(own), Ok(public)) = (authority.parse::<Authority>(), public.parse::<Authority>()) else { return false };
    let is_same = |other: &Authority, other_scheme: &str| {
        own.host().eq_ignore_ascii_case(other.host()) && port(&own, scheme) == port(other, other_scheme)
    };
    if scheme == public_scheme && is_same(&public, public_scheme) {
        return true;
    }
    scheme == "http" && is_loopback(own.host()) && host.is_some_and(|host| is_same(host, "http"))
}

/// The scheme and the host of an address, without its path.
fn parts(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    (scheme, rest.split(['/', '?', '#']).next().unwrap_or(rest))
}

fn port(authority: &Authority, scheme: &str) -> u16 {
    authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 })
}

fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn allows(public_url: &str, host: &str, origin: Option<&str>) -> bool {
        let mut request = Request::builder().uri("/mcp").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        check(&request.body(()).expect("a request").into_parts().0, public_url).is_ok()
    }

    #[test]
    fn only_the_public_host_and_loopback_are_answered() {
        let url = "https://crm.example";
        for host in ["crm.example", "CRM.example:443", "localhost:8484", "127.0.0.1:1", "[::1]:8484"] {
            assert!(allows(url, host, None), "{host}");
        }
        for host in ["evil.example", "crm.example:8484", "crm.example.evil.example", "203.0.113.7", "", "a b"] {
            assert!(!allows(url, host, None), "{host}");
        }
        assert!(allows("http://0.0.0.0:8484", "10.0.0.7:8484", None));
        assert!(!allows("http://0.0.0.0:8484", "evil.example:8484", None));
        assert!(!allows("http://127.0.0.1:8484", "10.0.0.7:8484", None));
    }

    #[test]
    fn only_own_pages_are_answered() {
        let url = "https://crm.example";
        assert!(allows(url, "crm.example", Some("https://crm.example")));
        assert!(allows(url, "crm.example", Some("https://crm.example:443")));
        assert!(allows(url, "localhost:8484", Some("http://localhost:8484")));
        for origin in ["https://evil.example", "http://crm.example", "null", "", "http://localhost:9", "file://"] {
            assert!(!allows(url, "crm.example", Some(origin)), "{origin}");
        }
        assert!(!allows(url, "localhost:8484", Some("http://localhost:6274")));
    }
}
