//! The server's messages, one at a time. Asynchronous messages are handled here, errors are parsed, and rows are measured
//! before they are kept.

use postgres_protocol::message::backend::{self as tags};

use super::wire::Header;
use super::{Caps, Conn};
use crate::alarm::Alarm;
use crate::allowance;
use crate::error::{Error, ServerError};

/// The maximum length of messages that are not rows. 1,600 columns with long names take a tenth of it.
const MAX_CONTROL: usize = 1024 * 1024;
/// How much of an error is kept. A tenant can raise one with a message of any length; the SQLSTATE comes before the message.
const MAX_ERROR: usize = 64 * 1024;
/// CopyBothResponse, for which `postgres_protocol` has no constant.
const COPY_BOTH_RESPONSE_TAG: u8 = b'W';

/// A message that belongs to a request. If it has a body, the body is in the wire's buffer.
#[derive(Debug)]
pub(super) enum Reply {
    ParseComplete,
    BindComplete,
    CloseComplete,
    /// ParameterDescription.
    Params,
    /// RowDescription.
    Columns,
    NoData,
    /// A row within the caps.
    Row,
    /// A row whose values are each within the caps, but which is too large as a whole. It has not been read to its end.
    WideRow,
    /// A row with a value larger than the cap. It has not been read to its end.
    HugeValue,
    /// CommandComplete.
    Complete,
    Suspended,
    Empty,
    /// An error after which the connection remains usable.
    Failed(Box<ServerError>),
    CopyIn,
    CopyOut,
    CopyBoth,
    /// Skipped data of a COPY, with its number of bytes.
    CopyData(usize),
    CopyDone,
    Auth,
    KeyData,
    /// ReadyForQuery. Its status is in [`Conn::status`].
    Ready,
}

/// What to do with rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    /// Skip them, whatever their size.
    Nothing,
    /// Keep them as far as they are within the caps.
    Within(Caps),
}

impl Conn {
    /// Returns the next message that belongs to the request. An error that ends the connection marks it broken. If the
    /// watchdog ended it, the error says why.
    pub(super) async fn reply(&mut self, keep: Keep) -> Result<Reply, Error> {
        let reply = self.next_reply(keep).await;
        reply.map_err(|error| {
            self.broken = true;
            self.wire.alarm().and_then(Alarm::error).unwrap_or(error)
        })
    }

    async fn next_reply(&mut self, keep: Keep) -> Result<Reply, Error> {
        loop {
            let header = self.wire.header().await?;
            match header.tag {
                tags::DATA_ROW_TAG => match keep {
                    Keep::Nothing => self.wire.skip(header),
                    Keep::Within(caps) => return self.row(header, caps).await,
                },
                tags::NOTICE_RESPONSE_TAG | tags::NOTIFICATION_RESPONSE_TAG => self.wire.skip(header),
                tags::PARAMETER_STATUS_TAG => self.parameter_status(header).await?,
                tags::ERROR_RESPONSE_TAG => {
                    self.wire.body(header.len.min(MAX_ERROR)).await?;
                    let error = ServerError::parse(self.wire.bytes());
                    self.wire.skip(header);
                    return match error.is_fatal() {
                        true => Err(error.into()),
                        false => Ok(Reply::Failed(Box::new(error))),
                    };
                }
                tags::COPY_DATA_TAG => {
                    self.wire.skip(header);
                    return Ok(Reply::CopyData(header.len));
                }
                _ => return self.control(header).await,
            }
        }
    }

    async fn control(&mut self, header: Header) -> Result<Reply, Error> {
        if header.len > MAX_CONTROL {
            return Err(unexpected(header.tag));
        }
        self.wire.body(header.len).await?;
        Ok(match header.tag {
            tags::PARSE_COMPLETE_TAG => Reply::ParseComplete,
            tags::BIND_COMPLETE_TAG => Reply::BindComplete,
            tags::CLOSE_COMPLETE_TAG => Reply::CloseComplete,
            tags::PARAMETER_DESCRIPTION_TAG => Reply::Params,
            tags::ROW_DESCRIPTION_TAG => Reply::Columns,
            tags::NO_DATA_TAG => Reply::NoData,
            tags::COMMAND_COMPLETE_TAG => Reply::Complete,
            tags::PORTAL_SUSPENDED_TAG => Reply::Suspended,
            tags::EMPTY_QUERY_RESPONSE_TAG => Reply::Empty,
            tags::COPY_IN_RESPONSE_TAG => Reply::CopyIn,
            tags::COPY_OUT_RESPONSE_TAG => Reply::CopyOut,
            COPY_BOTH_RESPONSE_TAG => Reply::CopyBoth,
            tags::COPY_DONE_TAG => Reply::CopyDone,
            tags::AUTHENTICATION_TAG => Reply::Auth,
            tags::BACKEND_KEY_DATA_TAG => Reply::KeyData,
            tags::READY_FOR_QUERY_TAG => match self.wire.bytes() {
                [status @ (b'I' | b'T' | b'E')] => {
                    self.status = *status;
                    Reply::Ready
                }
                _ => return Err(unexpected(header.tag)),
            },
            tag => return Err(unexpected(tag)),
        })
    }

    /// Keeps a row if its values are within the caps. Its header does not say how long each value is, so a row that could
    /// contain a value larger than the cap is read value by value.
    async fn row(&mut self, header: Header, caps: Caps) -> Result<Reply, Error> {
        self.pay_for(header.len.min(caps.max_bytes.max(caps.max_value_bytes))).await?;
        if header.len <= caps.max_value_bytes {
            self.wire.body(header.len).await?;
            return Ok(Reply::Row);
        }
        self.wire.body(2.min(header.len)).await?;
        let count = match *self.wire.bytes() {
            [a, b] => u16::from_be_bytes([a, b]),
            _ => return Err(unexpected(header.tag)),
        };
        let room = caps.max_bytes.max(caps.max_value_bytes);
        let mut read = 2;
        let mut reply = Reply::Row;
        for _ in 0..count {
            if read + 4 > header.len {
                return Err(unexpected(header.tag));
            }
            self.wire.body(read + 4).await?;
            read += 4;
            let len = match self.wire.bytes()[read - 4..] {
                [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).max(0) as usize,
                _ => return Err(unexpected(header.tag)),
            };
            reply = match () {
                () if len > caps.max_value_bytes => Reply::HugeValue,
                () if read.saturating_add(len) > room => Reply::WideRow,
                () if read + len > header.len => return Err(unexpected(header.tag)),
                () => {
                    self.wire.body(read + len).await?;
                    read += len;
                    continue;
                }
            };
            break;
        }
        match reply {
            Reply::Row => self.wire.body(header.len).await?,
            _ => self.wire.skip(header),
        }
        Ok(reply)
    }

    /// Waits until this many more bytes of rows are allowed. Each row is counted twice: as received, and as kept.
    async fn pay_for(&mut self, bytes: usize) -> Result<(), Error> {
        self.unpaid += bytes;
        if self.unpaid < allowance::STEP {
            return Ok(());
        }
        match allowance::grow(2 * std::mem::take(&mut self.unpaid)).await {
            true => Ok(()),
            false => Err(Error::Busy("large results take all the room that there is for them".into())),
        }
    }

    async fn parameter_status(&mut self, header: Header) -> Result<(), Error> {
        self.wire.body(header.len.min(MAX_ERROR)).await?;
        let mut parts = self.wire.bytes().split(|byte| *byte == 0);
        let mut next = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let (name, value) = (next(), next());
        self.wire.skip(header);
        self.settings.report(&name, value);
        Ok(())
    }

    /// Parameter types from the body of a [`Reply::Params`].
    pub(super) fn read_params(&mut self) -> Result<Vec<u32>, Error> {
        let params = params(self.wire.bytes());
        params.ok_or_else(|| self.lost(unexpected(tags::PARAMETER_DESCRIPTION_TAG)))
    }

    /// Columns without their types, from the body of a [`Reply::Columns`].
    pub(super) fn read_fields(&mut self) -> Result<Vec<Field>, Error> {
        let fields = fields(self.wire.bytes());
        fields.ok_or_else(|| self.lost(unexpected(tags::ROW_DESCRIPTION_TAG)))
    }

    /// The command tag from the body of a [`Reply::Complete`].
    pub(super) fn read_tag(&self) -> String {
        let body = self.wire.bytes();
        let tag = body.strip_suffix(&[0]).unwrap_or(body);
        String::from_utf8_lossy(tag).into_owned()
    }
}

/// A column as RowDescription describes it.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) table_oid: u32,
    pub(super) attnum: i16,
    pub(super) type_oid: u32,
}

fn params(body: &[u8]) -> Option<Vec<u32>> {
    let (count, rest) = body.split_first_chunk()?;
    let (oids, _) = rest.as_chunks::<4>();
    let oids = oids.get(..usize::from(u16::from_be_bytes(*count)))?;
    Some(oids.iter().map(|oid| u32::from_be_bytes(*oid)).collect())
}

fn fields(body: &[u8]) -> Option<Vec<Field>> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut fields = Vec::with_capacity(usize::from(u16::from_be_bytes(*count)));
    for _ in 0..u16::from_be_bytes(*count) {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        // Table, column number, type, and three more fields that text mode does not need.
        let (numbers, after) = rest[end + 1..].split_first_chunk::<18>()?;
        let [a, b, c, d, e, f, g, h, i, j, ..] = *numbers;
        fields.push(Field {
            name,
            table_oid: u32::from_be_bytes([a, b, c, d]),
            attnum: i16::from_be_bytes([e, f]),
            type_oid: u32::from_be_bytes([g, h, i, j]),
        });
        rest = after;
    }
    Some(fields)
}

fn unexpected(tag: u8) -> Error {
    Error::Protocol(format!("an unexpected or malformed message {:?}", char::from(tag)))
}

/// For a reply that is not allowed at this point.
pub(super) fn out_of_place(reply: &Reply) -> Error {
    Error::Protocol(format!("{reply:?} came out of place"))
}
