//! Forwards the messages of a log-in and detects its end. Client and server authenticate each other; the relay never learns
//! a password.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::client::Client;
use super::message::Frame;
use super::sessions::Session;

/// Bytes that a client may send before it is authenticated. A SASL message has at most 1024.
const MOST_FROM_CLIENT: usize = 64 * 1024;
/// The server's messages in a log-in are shorter than this.
const LONGEST_MESSAGE: usize = 64 * 1024;

const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const ERROR_RESPONSE: u8 = b'E';
const BACKEND_KEY_DATA: u8 = b'K';
const READY_FOR_QUERY: u8 = b'Z';

/// Forwards messages until the server accepts or refuses the client. Returns what the server has sent since it accepted the
/// client, from AuthenticationOk on; the client has not received this yet. `None` after a refusal, which the client has
/// received.
///
/// # Errors
/// The client or the server has disconnected, or has sent something that is not part of a log-in (`InvalidData`).
pub(super) async fn authenticate(client: &mut Client, server: &mut UnixStream) -> io::Result<Option<BytesMut>> {
    let mut inbox = BytesMut::with_capacity(4096);
    let mut from_client = 0;
    loop {
        while let Some(message) = message(&inbox)? {
            if message == AUTHENTICATION_OK {
                return Ok(Some(inbox));
            }
            let (len, is_refusal) = (message.len(), message[0] == ERROR_RESPONSE);
            client.write_all(&inbox.split_to(len)).await?;
            if is_refusal {
                return client.flush().await.map(|()| None);
            }
        }
        client.flush().await?;
        from_client += exchange(client, server, &mut inbox).await?;
        if from_client > MOST_FROM_CLIENT {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Sends AuthenticationOk and the messages up to ReadyForQuery to the client, and stores the session's key.
pub(super) async fn settle(
    client: &mut Client,
    server: &mut UnixStream,
    mut inbox: BytesMut,
    session: &mut Session,
) -> io::Result<()> {
    loop {
        let (mut done, mut is_settled) = (0, false);
        // A message that is too long contains nothing that is needed here. The rest is forwarded unread.
        while !is_settled && let Some(message) = message(&inbox[done..]).unwrap_or(Some(&[READY_FOR_QUERY])) {
            is_settled = message[0] == READY_FOR_QUERY;
            if message[0] == BACKEND_KEY_DATA {
                session.set_key(&message[5..]);
            }
            done += message.len();
        }
        let done = if is_settled { inbox.len() } else { done };
        client.write_all(&inbox.split_to(done)).await?;
        client.flush().await?;
        if is_settled {
            return Ok(());
        }
        exchange(client, server, &mut inbox).await?;
    }
}

/// Reads from the server, or forwards bytes of the client and returns their number, whichever is ready first.
async fn exchange(client: &mut Client, server: &mut UnixStream, inbox: &mut BytesMut) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    tokio::select! {
        read = server.read_buf(inbox) => ended(read?).map(|()| 0),
        read = client.read(&mut buffer) => {
            let len = read?;
            ended(len)?;
            server.write_all(&buffer[..len]).await?;
            Ok(len)
        }
    }
}

fn ended(len: usize) -> io::Result<()> {
    if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The message at the front of a buffer; `None` if it is not complete yet.
fn message(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    match Frame::read(bytes)? {
        Some(frame) if frame.len > LONGEST_MESSAGE => Err(io::ErrorKind::InvalidData.into()),
        Some(frame) => Ok(bytes.get(..frame.len)),
        None => Ok(None),
    }
}
