//! The addresses that events are sent to. They come from callers, so this is where requests to private networks are refused:
//! in the look-up of names that the HTTP client itself uses, so that what was checked is what is connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crm::plan::control::MAX_URL_CHARACTERS;

use crate::http_client::{retry_after, use_ring, with_causes};

/// The longest time for a whole attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);
/// The longest time for a document.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(5);
/// The longest time for connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The longest time for a look-up of a name outside of an attempt: somebody waits for the answer.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);
/// The longest time for reading the body of an answer whose status is known.
const BODY_LIMIT: Duration = Duration::from_secs(2);
/// How much of an answer's body is read.
const MOST_BODY_BYTES: usize = 4096;
/// The longest `Retry-After` that is honoured, in seconds.
const LONGEST_RETRY_AFTER: u64 = 24 * 60 * 60;

/// IPv4 networks that are not the public internet (IANA's registry of special purposes), and one public address at which each
/// machine of Azure reaches the platform that runs it, as others do at 169.254.169.254.
const PRIVATE_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// All public IPv6 addresses are in this network.
const PUBLIC_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Parts of it that are not public, or that lead to an IPv4 address: protocol assignments with Teredo, documentation, 6to4.
const PRIVATE_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Names that belong to private networks, however they are resolved.
const PRIVATE_NAMES: &[&str] = &["localhost", "local", "internal", "home.arpa"];

/// Whether an address is on the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !PRIVATE_V4
            .iter()
            .any(|(network, bits)| Ipv4Net::new(*network, *bits).is_ok_and(|network| network.contains(&address))),
        IpAddr::V6(address) => {
            let is_in = |(network, bits): &(Ipv6Addr, u8)| {
                Ipv6Net::new(*network, *bits).is_ok_and(|network| network.contains(&address))
            };
            is_in(&PUBLIC_V6) && !PRIVATE_V6.iter().any(is_in)
        }
    }
}

/// The addresses of a name.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up. Tests supply their own.
pub trait LookUp: Send + Sync + 'static {
    /// The addresses of a name.
    fn addresses(&self, name: &str) -> Found;
}

/// The operating system's resolver.
pub struct SystemLookUp;

impl LookUp for SystemLookUp {
    fn addresses(&self, name: &str) -> Found {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Which addresses are allowed, and how names are looked up.
#[derive(Clone)]
struct TargetGuard {
    allows_private: bool,
    look_up: Arc<dyn LookUp>,
}

impl TargetGuard {
    fn allows(&self, address: IpAddr) -> bool {
        self.allows_private || is_public(address)
    }

    fn allows_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_private =
            |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|it| it.is_empty() || it.ends_with('.'));
        self.allows_private || !PRIVATE_NAMES.iter().any(is_private)
    }

    /// The addresses of a name. There are none if the look-up fails or takes too long.
    async fn addresses_in_time(&self, name: &str) -> Vec<IpAddr> {
        let found = tokio::time::timeout(LOOK_UP_LIMIT, self.look_up.addresses(name)).await;
        found.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// An error that says that an address is not allowed, passed through the HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("the address is in a private network, or on this machine")]
struct NotPublic;

impl Resolve for TargetGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            if !guard.allows_name(name.as_str()) {
                return Err(NotPublic.into());
            }
            let found = guard.look_up.addresses(name.as_str()).await?;
            // One private address among public ones is reason enough to refuse: somebody tries something.
            if found.iter().any(|address| !guard.allows(*address)) {
                return Err(NotPublic.into());
            }
            // The client puts the URL's port in place of 0.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Sends to the addresses that callers name.
pub struct Targets {
    guard: TargetGuard,
    client: Client,
}

/// Why an address can't be used.
#[derive(Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// It is not an address of a web server. The text completes "The address …".
    Malformed(String),
    /// It is in a private network, or on this machine.
    NotAllowed,
}

/// A request to a target.
pub struct Outgoing<'a> {
    /// The address.
    pub url: &'a str,
    /// Headers besides `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: String,
}

/// A target's answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u64>,
}

/// The outcome of a request to a target.
#[derive(Debug)]
pub struct Attempted {
    /// The answer, or the words for why there is none.
    pub answer: Result<Answered, String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl Targets {
    /// Creates the client. With `allows_private`, addresses in private networks are allowed too.
    pub fn new(allows_private: bool, look_up: Arc<dyn LookUp>) -> Result<Targets, String> {
        use_ring();
        let guard = TargetGuard { allows_private, look_up };
        let client = Client::builder()
            .user_agent(concat!("Kith/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(guard.clone()))
            // A proxy of the environment would resolve names by itself, past the guard.
            .no_proxy()
            // The target of a redirect was not checked.
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ATTEMPT_LIMIT)
            .pool_max_idle_per_host(32)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| format!("can't make an HTTP client: {error}"))?;
        Ok(Targets { guard, client })
    }

    /// Checks an address that a caller wants to save, and returns its normal form. A name that can't be resolved now is
    /// allowed, because it is checked again at each use.
    pub async fn check(&self, text: &str) -> Result<String, BadTarget> {
        let url = self.parse(text)?;
        if url.as_str().len() > MAX_URL_CHARACTERS {
            return Err(BadTarget::Malformed(format!(
                "has more than {MAX_URL_CHARACTERS} characters when it is written in full"
            )));
        }
        if let Some(url::Host::Domain(name)) = url.host()
            && self.guard.addresses_in_time(name).await.iter().any(|address| !self.guard.allows(*address))
        {
            return Err(BadTarget::NotAllowed);
        }
        Ok(url.into())
    }

    /// Parses an address and refuses one that names a private address literally. The client does not look such a host up.
    fn parse(&self, text: &str) -> Result<Url, BadTarget> {
        let malformed = |what: &str| BadTarget::Malformed(what.to_owned());
        let url = Url::parse(text.trim()).map_err(|error| BadTarget::Malformed(format!("is no URL: {error}")))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(malformed("must begin with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed("may not contain a user name or password"));
        }
        if url.fragment().is_some() {
            return Err(malformed("may not contain a fragment (#…)"));
        }
        let is_allowed = match url.host() {
            None => return Err(malformed("has no host")),
            Some(url::Host::Ipv4(address)) => self.guard.allows(address.into()),
            Some(url::Host::Ipv6(address)) => self.guard.allows(address.into()),
            Some(url::Host::Domain(name)) => self.guard.allows_name(name),
        };
        if is_allowed { Ok(url) } else { Err(BadTarget::NotAllowed) }
    }

    /// The address of a host that a caller names, if it may be connected to. `None` if it has none now.
    pub async fn address_of(&self, host: &str) -> Result<Option<IpAddr>, BadTarget> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) if !self.guard.allows_name(host) => return Err(BadTarget::NotAllowed),
            Err(_) => self.guard.addresses_in_time(host).await,
        };
        match found.iter().any(|address| !self.guard.allows(*address)) {
            true => Err(BadTarget::NotAllowed),
            false => Ok(found.first().copied()),
        }
    }

    /// Sends a request and reads the beginning of the answer.
    pub async fn send(&self, outgoing: Outgoing<'_>) -> Attempted {
        let started = Instant::now();
        let answer = self.attempt(outgoing).await;
        Attempted { answer, duration_ms: started.elapsed().as_millis() as u64 }
    }

    /// Fetches a JSON document of at most this many bytes, within some seconds, because a person waits for it. The text of the error
    /// completes a sentence.
    pub async fn fetch_json(&self, url: &str, most_bytes: usize) -> Result<String, String> {
        let in_words = |error| in_words(error, DOCUMENT_LIMIT);
        let url = self.parse(url).map_err(|bad| bad.to_string())?;
        let request = self.client.get(url).header("accept", "application/json").timeout(DOCUMENT_LIMIT);
        let mut response = request.send().await.map_err(in_words)?;
        if response.status() != 200 {
            return Err(format!("it answers {}.", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(in_words)? {
            if body.len() + chunk.len() > most_bytes {
                return Err(format!("it is longer than {most_bytes} bytes."));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| "it is not UTF-8 text.".to_owned())
    }

    async fn attempt(&self, outgoing: Outgoing<'_>) -> Result<Answered, String> {
        let url = self.parse(outgoing.url).map_err(|bad| bad.to_string())?;
        let mut request = self.client.post(url).header("content-type", "application/json").body(outgoing.body);
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| in_words(error, ATTEMPT_LIMIT))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers()).map(|seconds| seconds.min(LONGEST_RETRY_AFTER));
        let body = beginning(response).await;
        Ok(Answered { status, body, retry_after })
    }
}

impl std::fmt::Display for BadTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadTarget::Malformed(what) => write!(f, "The address {what}."),
            BadTarget::NotAllowed => f.write_str("The address leads to a private network, or to this machine."),
        }
    }
}

/// The beginning of a body, as text that PostgreSQL can hold. What can't be read in time is left out.
async fn beginning(mut response: reqwest::Response) -> String {
    let (mut body, end) = (Vec::new(), tokio::time::Instant::now() + BODY_LIMIT);
    while body.len() < MOST_BODY_BYTES {
        match tokio::time::timeout_at(end, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk[..chunk.len().min(MOST_BODY_BYTES - body.len())]),
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&body).replace('\0', "\u{fffd}")
}

/// Why there is no answer. The address is left out: it may contain a token.
fn in_words(error: reqwest::Error, limit: Duration) -> String {
    if error.is_timeout() {
        return format!("No answer within {} seconds.", limit.as_secs());
    }
    let words = with_causes(&error.without_url());
    if words.contains(&NotPublic.to_string()) { BadTarget::NotAllowed.to_string() } else { format!("{words}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_form() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001:0:4136:e378::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "168.63.129.17",
            "172.32.0.1",
            "192.169.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
    }

    struct Says(&'static [&'static str]);

    impl LookUp for Says {
        fn addresses(&self, _name: &str) -> Found {
            let found = self.0.iter().map(|it| it.parse().expect("an address")).collect();
            Box::pin(async move { Ok(found) })
        }
    }

    fn targets(allows_private: bool, addresses: &'static [&'static str]) -> Targets {
        Targets::new(allows_private, Arc::new(Says(addresses))).expect("a client")
    }

    #[tokio::test]
    async fn addresses_are_checked_when_they_are_saved() {
        let public = targets(false, &["1.1.1.1"]);
        assert_eq!(public.check("HTTPS://Hooks.Example:443/a?b=c").await, Ok("https://hooks.example/a?b=c".into()));
        for literal in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://[::1]:80/",
            "http://0/",
            "http://[::ffff:169.254.169.254]/",
            "http://localhost/",
            "http://a.localhost./",
            "http://metadata.google.internal/",
        ] {
            assert_eq!(public.check(literal).await, Err(BadTarget::NotAllowed), "{literal}");
        }
        for malformed in
            ["", "hooks.example", "ftp://a.example/", "http://u:p@a.example/", "http://a.example/#x", "http://"]
        {
            let refused = public.check(malformed).await;
            assert!(matches!(refused, Err(BadTarget::Malformed(_))), "{malformed}: {refused:?}");
        }
        // In its normal form a path is percent-encoded.
        let long = |letter: &str| format!("https://a.example/{}", letter.repeat(1000));
        assert!(public.check(&long("a")).await.is_ok());
        assert!(matches!(public.check(&long("é")).await, Err(BadTarget::Malformed(_))));
        for mixed in [&["10.0.0.1"][..], &["1.1.1.1", "fd00::1"]] {
            let refused = targets(false, mixed).check("https://hooks.example/").await;
            assert_eq!(refused, Err(BadTarget::NotAllowed), "{mixed:?}");
        }
        assert!(targets(true, &["10.0.0.1"]).check("http://localhost:80/").await.is_ok());
    }

    #[tokio::test]
    async fn a_document_is_not_fetched_from_a_private_address() {
        // Something listens there, so that only the guard keeps it from being read.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let public = targets(false, &["127.0.0.1"]);
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "app.example"] {
            let why = public.fetch_json(&format!("http://{host}:{port}/app.json"), 1000).await.expect_err(host);
            assert_eq!(why, BadTarget::NotAllowed.to_string(), "{host}");
        }
        let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(connected.is_err(), "nobody has connected");
    }
}
