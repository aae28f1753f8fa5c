//! A statement's replies from BindComplete to its end. Its rows are rendered as they arrive.

use super::reply::{Keep, Reply, out_of_place};
use super::{Caps, Conn, Description, Format, Rows, Truncated, Want};
use crate::error::{Error, ServerError};
use crate::value::{self, Fit};

/// [`Rows`] has 31 bits for a position.
const MAX_BYTES: usize = 1 << 30;

/// Rows that are being read.
pub(super) struct Collect {
    pub(super) rows: Rows,
    pub(super) truncated: Option<Truncated>,
    /// A value was larger than the cap, so there is no result.
    pub(super) is_too_large: bool,
    /// The fields of a composite were not those that its type is known to have.
    pub(super) stale_type: bool,
    /// How many rows arrived, kept or not.
    pub(super) seen: usize,
    /// Whether a result that would be cut is an error instead.
    pub(super) is_whole: bool,
    /// Whether the connection is closed immediately at a value that is too large.
    pub(super) breaks_off: bool,
    pub(super) format: Format,
    pub(super) caps: Caps,
}

impl Collect {
    pub(super) fn new(description: &Description, format: Format, caps: Caps) -> Collect {
        Collect {
            rows: Rows::new(description.columns.clone()),
            truncated: None,
            is_too_large: false,
            stale_type: false,
            seen: 0,
            is_whole: false,
            breaks_off: false,
            format,
            caps: Caps {
                max_rows: caps.max_rows,
                max_bytes: caps.max_bytes.min(MAX_BYTES),
                max_value_bytes: caps.max_value_bytes.min(MAX_BYTES - 1),
            },
        }
    }

    /// The same, for what the caller wants of the rows.
    pub(super) fn wanted(mut self, want: Want) -> Collect {
        if let Want::Whole { max_bytes } = want {
            self.is_whole = true;
            self.caps.max_bytes = max_bytes.min(MAX_BYTES);
        }
        self
    }

    /// Drops rows beyond the caps.
    fn cut(&mut self) {
        self.truncated = Some(Truncated::Bytes);
        self.is_too_large |= self.is_whole;
    }

    /// What to do with the next row.
    fn keep(&self) -> Keep {
        let is_over = self.is_too_large || self.truncated.is_some();
        if is_over { Keep::Nothing } else { Keep::Within(self.caps) }
    }

    /// Reads the body of a DataRow.
    fn row(&mut self, body: &[u8]) -> Result<(), Error> {
        self.seen += 1;
        if self.rows.len() >= self.caps.max_rows {
            self.truncated = Some(Truncated::Rows);
            return Ok(());
        }
        let malformed = || Error::Protocol("a row that is not as it was described".into());
        let (count, mut rest) = body.split_first_chunk().ok_or_else(malformed)?;
        if usize::from(u16::from_be_bytes(*count)) != self.rows.columns().len() {
            return Err(malformed());
        }
        for column in 0..self.rows.columns().len() {
            let (len, after) = rest.split_first_chunk().ok_or_else(malformed)?;
            // -1 means NULL.
            let text = match usize::try_from(i32::from_be_bytes(*len)) {
                Ok(len) => {
                    let (text, next) = after.split_at_checked(len).ok_or_else(malformed)?;
                    rest = next;
                    Some(text)
                }
                Err(_) => {
                    rest = after;
                    None
                }
            };
            self.cell(column, text);
            if self.is_too_large || self.rows.bytes() > self.caps.max_bytes {
                self.rows.drop_partial_row();
                self.cut();
                return Ok(());
            }
        }
        self.rows.end_row();
        Ok(())
    }

    fn cell(&mut self, column: usize, text: Option<&[u8]>) {
        let limit = self.caps.max_value_bytes;
        match (self.format, text) {
            (Format::Json, Some(text)) => {
                let (kind, data) = self.rows.kind_and_data(column);
                match value::render(&kind.kind, text, limit, data) {
                    Fit::Whole => {}
                    Fit::StaleType => self.stale_type = true,
                    Fit::TooLarge => self.is_too_large = true,
                }
            }
            (Format::Json, None) => self.rows.kind_and_data(column).1.extend_from_slice(b"null"),
            (Format::Text, Some(text)) if text.len() > limit => self.is_too_large = true,
            (Format::Text, Some(text)) => self.rows.kind_and_data(column).1.extend_from_slice(text),
            (Format::Text, None) => return self.rows.end_cell(true),
        }
        self.rows.end_cell(false);
    }
}

/// How a statement ended.
pub(super) enum End {
    /// With this tag. `None` for an empty statement.
    Complete(String),
    /// There are more rows than were requested.
    Suspended,
    Failed {
        error: Box<ServerError>,
        /// Whether it had been bound. A stale prepared statement fails before that.
        bound: bool,
    },
    /// COPY FROM: the server waits for data.
    CopyIn,
    /// COPY TO: the server sends data.
    CopyOut,
    /// The server starts replication.
    CopyBoth,
}

impl Conn {
    /// Reads the replies to Bind and Execute. Without `collect` the rows are skipped.
    pub(super) async fn statement_end(&mut self, mut collect: Option<&mut Collect>) -> Result<End, Error> {
        let mut bound = false;
        loop {
            let keep = collect.as_ref().map_or(Keep::Nothing, |collect| collect.keep());
            match (self.reply(keep).await?, &mut collect) {
                (Reply::BindComplete, _) => bound = true,
                (Reply::ParseComplete | Reply::CloseComplete, _) => {}
                (Reply::Row, Some(collect)) => {
                    let taken = collect.row(self.wire.bytes());
                    self.broken |= taken.is_err();
                    taken?;
                }
                (Reply::WideRow, Some(collect)) => collect.cut(),
                (Reply::HugeValue, Some(collect)) => collect.is_too_large = true,
                (Reply::Complete, _) => return Ok(End::Complete(self.read_tag())),
                (Reply::Empty, _) => return Ok(End::Complete(String::new())),
                (Reply::Suspended, _) => return Ok(End::Suspended),
                (Reply::Failed(error), _) => return Ok(End::Failed { error, bound }),
                (Reply::CopyIn, _) => return Ok(End::CopyIn),
                (Reply::CopyOut, _) => return Ok(End::CopyOut),
                (Reply::CopyBoth, _) => return Ok(End::CopyBoth),
                (other, _) => return Err(self.lost(out_of_place(&other))),
            }
            if let Some(collect) = collect.as_ref().filter(|it| it.is_too_large && it.breaks_off) {
                let limit = collect.caps.max_value_bytes;
                return Err(self.lost(Error::ValueTooLarge { limit }));
            }
        }
    }

    /// Reads up to the next ReadyForQuery. Returns the first error before it.
    pub(super) async fn until_ready(&mut self) -> Result<Option<Box<ServerError>>, Error> {
        let mut failure = None;
        loop {
            match self.reply(Keep::Nothing).await? {
                Reply::Ready => return Ok(failure),
                Reply::Failed(error) => {
                    failure.get_or_insert(error);
                }
                // Otherwise the server would wait for data.
                Reply::CopyIn | Reply::CopyBoth => return Err(self.lost(Error::Copy)),
                _ => {}
            }
        }
    }

    /// Marks the connection broken.
    pub(super) fn lost(&mut self, error: Error) -> Error {
        self.broken = true;
        error
    }
}
