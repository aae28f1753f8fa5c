//! The messages of PostgreSQL's protocol that the relay itself reads or writes: a client's first packets, errors, and the
//! header of a server's messages.
//!
//! Source: PostgreSQL documentation, "Message Formats"; the limits are those of the server's `ProcessStartupPacket`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest startup packet that PostgreSQL takes, in bytes, without the length itself.
const LONGEST_STARTUP: usize = 10_000;
/// The maximum length of a name in PostgreSQL, in bytes.
const LONGEST_NAME: usize = 63;
/// Bytes of a cancel key: four up to protocol 3.0, up to 256 since 3.2. The process id comes before it.
const CANCEL_KEYS: std::ops::RangeInclusive<usize> = 4 + 4..=4 + 256;

const CANCEL: u32 = (1234 << 16) | 5678;
const TLS: u32 = (1234 << 16) | 5679;
const GSS: u32 = (1234 << 16) | 5680;

/// The CancelRequest for a process id and key.
pub(super) fn cancel_request(key: &[u8]) -> Vec<u8> {
    let len = u32::try_from(4 + 4 + key.len()).expect("a key of some bytes");
    [&len.to_be_bytes()[..], &CANCEL.to_be_bytes(), key].concat()
}

/// One of the packets that a client can begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// SSLRequest.
    Tls,
    /// GSSENCRequest.
    Gss,
    /// CancelRequest: the process id and the key, as BackendKeyData has them.
    Cancel(Vec<u8>),
    /// StartupMessage.
    Startup(Startup),
    /// A packet that PostgreSQL does not understand, with the answer to it.
    Wrong(Refusal),
}

impl Packet {
    /// Reads one packet and no byte after it. An impossible length is an error that is not answered.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
        let len = stream.read_u32().await? as usize;
        let len = len.checked_sub(4).filter(|len| (4..=LONGEST_STARTUP).contains(len));
        let len = len.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let mut packet = vec![0; len];
        stream.read_exact(&mut packet).await?;
        Ok(Packet::parse(&packet))
    }

    fn parse(packet: &[u8]) -> Packet {
        let Some((version, body)) = packet.split_first_chunk() else {
            return Packet::Wrong(Refusal::layout());
        };
        match u32::from_be_bytes(*version) {
            TLS if body.is_empty() => Packet::Tls,
            GSS if body.is_empty() => Packet::Gss,
            CANCEL if CANCEL_KEYS.contains(&body.len()) => Packet::Cancel(body.to_vec()),
            version if version >> 16 == 3 => Startup::parse(version, body).map_or_else(Packet::Wrong, Packet::Startup),
            version => {
                let (major, minor) = (version >> 16, version & 0xffff);
                let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
                Packet::Wrong(Refusal { code: "0A000", message })
            }
        }
    }
}

/// A StartupMessage. If a parameter is given twice, the last value counts, as in PostgreSQL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Startup {
    version: u32,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Startup {
    fn parse(version: u32, body: &[u8]) -> Result<Startup, Refusal> {
        let mut texts = body.split(|byte| *byte == 0);
        let mut parameters: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let name = texts.next().ok_or_else(Refusal::layout)?;
            if name.is_empty() {
                break;
            }
            let value = texts.next().ok_or_else(Refusal::layout)?.to_vec();
            match parameters.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => parameters.push((name.to_vec(), value)),
            }
        }
        // The empty name is the last byte: after it `split` returns one more empty piece and no others.
        match (texts.next(), texts.next()) {
            (Some([]), None) => Ok(Startup { version, parameters }),
            _ => Err(Refusal::layout()),
        }
    }

    /// The packet for the server, built from the parsed parameters. So the server reads the same parameters.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = vec![0; 4];
        packet.extend(self.version.to_be_bytes());
        for (name, value) in &self.parameters {
            for text in [name, value] {
                packet.extend(text);
                packet.push(0);
            }
        }
        packet.push(0);
        let len = u32::try_from(packet.len()).expect("a packet of some kilobytes");
        packet[..4].copy_from_slice(&len.to_be_bytes());
        packet
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The role. `None` if there is none, or if its name is too long: PostgreSQL would cut it to the name of another role.
    pub(super) fn role(&self) -> Option<&str> {
        let role = std::str::from_utf8(self.get("user")?).ok()?;
        (1..=LONGEST_NAME).contains(&role.len()).then_some(role)
    }

    /// Whether the client wants a replication session of either kind. A value that is not clearly false counts as true.
    pub(super) fn is_replication(&self) -> bool {
        let falses: [&[u8]; 4] = [b"false", b"off", b"no", b"0"];
        self.get("replication").is_some_and(|value| !falses.contains(&value.to_ascii_lowercase().as_slice()))
    }

    /// The names of role and database for an error.
    fn names(&self) -> [String; 2] {
        let user = self.get("user").unwrap_or_default();
        let database = self.get("database").unwrap_or(user);
        [user, database].map(|name| String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned())
    }
}

/// An error that ends the connection, with PostgreSQL's text and SQLSTATE.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    /// There are too many connections.
    pub(super) fn crowded() -> Refusal {
        Refusal { code: "53300", message: "sorry, too many clients already".into() }
    }

    /// The server is not running.
    pub(super) fn starting_up() -> Refusal {
        Refusal { code: "57P03", message: "the database system is starting up".into() }
    }

    /// The server is stopping.
    pub(super) fn shutting_down() -> Refusal {
        Refusal { code: "57P03", message: "the database system is shutting down".into() }
    }

    /// The client may not log in as this role, or not in this way.
    pub(super) fn rejected(startup: &Startup, address: std::net::IpAddr, is_encrypted: bool) -> Refusal {
        let [user, database] = startup.names();
        let what = if startup.is_replication() { "replication connection" } else { "connection" };
        let database = if startup.is_replication() { String::new() } else { format!(", database \"{database}\"") };
        let encryption = if is_encrypted { "SSL encryption" } else { "no encryption" };
        Refusal {
            code: "28000",
            message: format!(
                "pg_hba.conf rejects {what} for host \"{}\", user \"{user}\"{database}, {encryption}",
                address.to_canonical()
            ),
        }
    }

    fn layout() -> Refusal {
        let message = "invalid startup packet layout: expected terminator as last byte";
        Refusal { code: "08P01", message: message.into() }
    }

    /// The ErrorResponse.
    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = format!("SFATAL\0VFATAL\0C{}\0M{}\0\0", self.code, self.message);
        let len = u32::try_from(4 + fields.len()).expect("a message of some hundred bytes");
        [b"E", &len.to_be_bytes()[..], fields.as_bytes()].concat()
    }
}

/// The header of a server's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) tag: u8,
    /// The whole message, tag and length included.
    pub(super) len: usize,
}

impl Frame {
    /// Reads it from the front of a buffer. `None` if it is not complete yet.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Frame>> {
        let [tag, a, b, c, d, ..] = *bytes else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len < 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(Frame { tag, len: 1 + len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(body: &[u8]) -> Result<Startup, Refusal> {
        match Packet::parse(&[&196_608_u32.to_be_bytes()[..], body].concat()) {
            Packet::Startup(startup) => Ok(startup),
            Packet::Wrong(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_server_reads_the_role_that_was_checked() {
        let check = |body: &[u8], role: Option<&str>| {
            let read = startup(body).unwrap();
            assert_eq!(read.role(), role, "{body:?}");
            let sent = read.encode();
            let again = Packet::parse(&sent[4..]);
            assert_eq!(again, Packet::Startup(read), "{body:?}");
        };
        check(b"user\0a_d\0database\0x\0\0", Some("a_d"));
        check(b"user\0a_d\0user\0postgres\0\0", Some("postgres"));
        check(b"user\0postgres\0options\0-c a=b\0user\0a_d\0\0", Some("a_d"));
        check(b"database\0x\0\0", None);
        check(b"user\0\0database\0x\0\0", None);
        check(b"user\0\xff_d\0\0", None);
        check(&[b"user\0", &[b'x'; 62][..], b"_d\0\0"].concat(), None);
        check(&[b"user\0", &[b'x'; 61][..], b"_d\0\0"].concat(), Some(&format!("{}_d", "x".repeat(61))));
    }

    #[test]
    fn a_packet_ends_where_it_says() {
        for bad in
            [&b""[..], b"user\0a_d\0", b"user\0a_d", b"user\0", b"user", b"user\0a_d\0\0user\0postgres\0\0", b"\0\0"]
        {
            assert_eq!(startup(bad), Err(Refusal::layout()), "{bad:?}");
        }
        assert_eq!(startup(b"\0").unwrap().role(), None);
    }

    #[test]
    fn other_packets_are_told_apart() {
        let parse = |version: u32, body: &[u8]| Packet::parse(&[&version.to_be_bytes()[..], body].concat());
        assert_eq!(parse(TLS, b""), Packet::Tls);
        assert_eq!(parse(GSS, b""), Packet::Gss);
        assert_eq!(parse(CANCEL, b"12345678"), Packet::Cancel(b"12345678".to_vec()));
        assert_eq!(parse(CANCEL, &[7; 260]), Packet::Cancel(vec![7; 260]));
        for (version, body) in [(TLS, &b"x"[..]), (CANCEL, b"1234567"), (CANCEL, &[7; 261]), (131_072, b"x")] {
            assert!(matches!(parse(version, body), Packet::Wrong(Refusal { code: "0A000", .. })), "{version} {body:?}");
        }
    }

    #[test]
    fn a_value_of_replication_that_is_not_false_counts_as_true() {
        let asks =
            |value: &str| startup(format!("user\0a_d\0replication\0{value}\0\0").as_bytes()).unwrap().is_replication();
        assert!(!["false", "OFF", "no", "0"].iter().any(|value| asks(value)));
        assert!(["true", "on", "database", "1", "", "maybe"].iter().all(|value| asks(value)));
        assert!(!startup(b"user\0a_d\0\0").unwrap().is_replication());
    }

    #[test]
    fn a_frame_is_as_long_as_its_header_says() {
        assert_eq!(Frame::read(b"R\0\0\0").unwrap(), None);
        assert_eq!(Frame::read(b"R\0\0\0\x08\0\0\0\0").unwrap(), Some(Frame { tag: b'R', len: 9 }));
        assert!(Frame::read(b"R\0\0\0\x03").is_err());
    }
}
