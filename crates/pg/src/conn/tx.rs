//! The raw SQL path: statements one by one in a transaction that is committed explicitly. They are not prepared by name. A
//! prelude that the connection has already prepared is reused.
//!
//! It uses Flush, not Sync, so that everything before a commit can still be rolled back. A portal is read in chunks: the
//! rest of a cut result is simply not read.

use std::borrow::Cow;
use std::ops::DerefMut;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::Boundary;
use super::collect::{Collect, End};
use super::reply::{Keep, Reply, out_of_place};
use super::statements::{bind, bind_and_execute, describe, unknown, write};
use super::{Begin, Caps, Conn, Description, Format, Outcome, Rows, Truncated, command};
use crate::error::{Error, ServerError};
use crate::types::TypeCache;

/// The number of rows requested at first, before their size is known.
const FIRST_CHUNK: usize = 50;
/// How much of a COPY's data is read to keep the connection usable.
const MAX_COPY_DRAIN: usize = 1024 * 1024;

/// A transaction on a connection. If it is dropped without a commit or rollback, the connection is unclean.
///
/// It uses a borrowed connection (`Tx<&mut Conn>`) or owns a leased one (`Tx<Lease>`).
pub struct Tx<C: DerefMut<Target = Conn>> {
    conn: C,
    /// No BEGIN was sent.
    bare: bool,
    /// Statements of the frame whose answers have not been read.
    unread: usize,
    /// An error ended it, and the server has sent ReadyForQuery.
    failed: bool,
    current: Option<Current>,
}

/// The current statement.
struct Current {
    sql: String,
    description: Description,
    /// The server's unnamed statement is this one.
    is_parsed: bool,
}

impl Conn {
    /// Begins a transaction for statements one by one. Sends nothing yet: the frame and its preludes are sent with the first
    /// statement.
    pub async fn begin(&mut self, begin: Begin<'_>) -> Result<Tx<&mut Conn>, Error> {
        Tx::begin(self, begin)
    }

    fn write_frame(&mut self, frame: &[&str], preludes: &[super::Statement<'_>]) -> Result<(), Error> {
        let outbox = self.wire.outbox();
        let parse = |outbox: &mut _, sql: &str| write(outbox, |outbox| frontend::parse("", sql, [], outbox));
        for sql in frame {
            parse(outbox, sql)?;
            bind_and_execute::<&str>(outbox, "", &[], 0)?;
        }
        for prelude in preludes {
            match self.statements.name_of(prelude.sql) {
                Some(name) => bind_and_execute(outbox, &name, prelude.params, 0)?,
                None => {
                    parse(outbox, prelude.sql)?;
                    bind_and_execute(outbox, "", prelude.params, 0)?;
                }
            }
        }
        Ok(())
    }
}

impl<C: DerefMut<Target = Conn>> Tx<C> {
    /// Begins a transaction on a connection, as [`Conn::begin`] does.
    pub fn begin(mut conn: C, begin: Begin<'_>) -> Result<Tx<C>, Error> {
        conn.begin_request()?;
        let (frame, preludes): (&[&str], _) = match begin {
            Begin::Bare => (&[], &[][..]),
            Begin::ReadWrite(preludes) => (&["BEGIN"], preludes),
            Begin::ReadOnly(preludes) => (&["BEGIN READ ONLY", "SELECT 1"], preludes),
        };
        let written = conn.write_frame(frame, preludes);
        if let Err(error) = written {
            conn.wire.outbox().clear();
            conn.end_request();
            return Err(error);
        }
        let unread = frame.len() + preludes.len();
        let bare = matches!(begin, Begin::Bare);
        Ok(Tx { conn, bare, unread, failed: false, current: None })
    }

    /// Adds statements that are sent together with the next one, or with the end of the transaction: some without parameters,
    /// then preludes. Their errors are those of what they are sent with. Nothing is sent under a name, because code that ran
    /// in the transaction may have replaced what the name stands for.
    pub fn add(&mut self, statements: &[&str], preludes: &[super::Statement<'_>]) -> Result<(), Error> {
        self.usable()?;
        self.current = None;
        let outbox = self.conn.wire.outbox();
        let written = statements
            .iter()
            .try_for_each(|sql| unnamed(outbox, sql, &[]))
            .and_then(|()| preludes.iter().try_for_each(|prelude| unnamed(outbox, prelude.sql, prelude.params)));
        self.unread += statements.len() + preludes.len();
        written.map_err(|error| self.conn.lost(error))
    }

    /// Prepares a statement and reads its parameters and columns. Transaction control is refused.
    ///
    /// After an error the transaction can only be rolled back.
    pub async fn prepare(&mut self, sql: &str, types: &TypeCache) -> Result<Description, Error> {
        self.usable()?;
        if command::is_transaction_control(sql) {
            let message = "transaction control is not possible here";
            return Err(ServerError::local("25001", message).into());
        }
        self.current = None;
        write(self.conn.wire.outbox(), |outbox| {
            frontend::parse("", sql, [], outbox)?;
            frontend::describe(b'S', "", outbox)
        })?;
        // A statement that runs by itself must not run in the transaction that its own Parse began.
        match self.bare {
            true => frontend::sync(self.conn.wire.outbox()),
            false => frontend::flush(self.conn.wire.outbox()),
        }
        self.read_frame().await?;

        let mut params = Vec::new();
        let fields = loop {
            match self.conn.reply(Keep::Nothing).await? {
                Reply::ParseComplete | Reply::CloseComplete => {}
                Reply::Params => params = self.conn.read_params()?,
                Reply::Columns => break self.conn.read_fields()?,
                Reply::NoData => break Vec::new(),
                Reply::Failed(error) if self.bare => {
                    self.failed = true;
                    self.conn.until_ready().await?;
                    return Err(Error::Server(error));
                }
                Reply::Failed(error) => return Err(self.fail(error).await),
                other => return Err(self.conn.lost(out_of_place(&other))),
            }
        };
        if self.bare {
            self.conn.until_ready().await?;
        }

        let oids = unknown(&params, &fields, types);
        let is_parsed = oids.is_empty();
        let boundary = if self.bare { Boundary::Sync } else { Boundary::Flush };
        match self.conn.look_up(oids, types, boundary).await {
            Err(Error::Server(error)) if !self.bare => return Err(self.fail(error).await),
            looked_up => looked_up?,
        }
        let description = describe(params, &fields, types);
        let sql = sql.to_owned();
        self.current = Some(Current { sql, description: description.clone(), is_parsed });
        Ok(description)
    }

    /// Runs the statement that was prepared last, and reads its rows up to the caps.
    ///
    /// After an error the transaction can only be rolled back. COPY is ended; if that takes too long, the connection is
    /// broken.
    pub async fn execute(
        &mut self,
        params: &[Option<Cow<'_, str>>],
        format: Format,
        caps: Caps,
        types: &TypeCache,
    ) -> Result<Outcome, Error> {
        self.usable()?;
        let Some(mut current) = self.current.take() else {
            return Err(Error::Protocol("nothing was prepared".into()));
        };
        write(self.conn.wire.outbox(), |outbox| {
            if !current.is_parsed {
                frontend::parse("", &current.sql, [], outbox)?;
            }
            bind(outbox, "", params)
        })?;
        let mut collect = Collect::new(&current.description, format, caps);
        let tag = self.fetch(&mut collect, caps).await?;
        if collect.stale_type {
            types.clear();
        }
        if collect.is_too_large {
            return Err(Error::ValueTooLarge { limit: caps.max_value_bytes });
        }
        let tag = tag.unwrap_or_else(|| command::of_cut_result(&current.sql));
        current.is_parsed = true;
        self.current = Some(current);
        Ok(Outcome { rows: collect.rows, tag, truncated: collect.truncated })
    }

    /// Runs the statement that was prepared last to its end, without parameters, and drops its rows. The
    /// result has only the tag.
    ///
    /// After an error the transaction can only be rolled back.
    pub async fn discard(&mut self) -> Result<Outcome, Error> {
        self.usable()?;
        let Some(mut current) = self.current.take() else {
            return Err(Error::Protocol("nothing was prepared".into()));
        };
        let outbox = self.conn.wire.outbox();
        write(outbox, |outbox| {
            if !current.is_parsed {
                frontend::parse("", &current.sql, [], outbox)?;
            }
            Ok(())
        })?;
        bind_and_execute::<&str>(outbox, "", &[], 0)?;
        frontend::flush(outbox);
        let tag = match self.conn.statement_end(None).await? {
            End::Complete(tag) => tag,
            End::Suspended => String::new(),
            End::Failed { error, .. } => return Err(self.fail(error).await),
            copy => return Err(self.refuse_copy(copy).await),
        };
        current.is_parsed = true;
        self.current = Some(current);
        Ok(Outcome { rows: Rows::new(Arc::default()), tag, truncated: None })
    }

    /// What holds the connection.
    pub fn holder(&mut self) -> &mut C {
        &mut self.conn
    }

    /// Commits. A deferred constraint can still fail; this is returned as the server's error.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.failed {
            self.end("ROLLBACK").await?;
            return Err(rolled_back());
        }
        if self.bare {
            frontend::sync(self.conn.wire.outbox());
            let failure = self.conn.until_ready().await?;
            self.conn.settle().await?;
            self.conn.end_request();
            return failure.map_or(Ok(()), |error| Err(Error::Server(error)));
        }
        match self.end("COMMIT").await?.as_str() {
            "COMMIT" => Ok(()),
            _ => Err(rolled_back()),
        }
    }

    /// Rolls the transaction back.
    pub async fn rollback(mut self) -> Result<(), Error> {
        if self.bare && !self.failed {
            // An implicit transaction has no ROLLBACK. An error rolls it back.
            let unsent = frontend::describe(b'S', "no such statement", self.conn.wire.outbox());
            unsent.map_err(Error::Io)?;
            frontend::sync(self.conn.wire.outbox());
            self.conn.until_ready().await?;
            self.failed = true;
        }
        if self.bare {
            self.conn.settle().await?;
            self.conn.end_request();
            return Ok(());
        }
        self.end("ROLLBACK").await.map(|_| ())
    }

    /// Sends COMMIT or ROLLBACK. Returns the server's tag for it.
    async fn end(&mut self, how: &str) -> Result<String, Error> {
        let outbox = self.conn.wire.outbox();
        write(outbox, |outbox| frontend::parse("", how, [], outbox))?;
        bind_and_execute::<&str>(outbox, "", &[], 0)?;
        frontend::sync(outbox);
        self.conn.send_due_reset()?;
        let mut failure = None;
        let mut tag = String::new();
        loop {
            match self.conn.reply(Keep::Nothing).await? {
                Reply::Complete => tag = self.conn.read_tag(),
                Reply::Failed(error) => {
                    failure.get_or_insert(error);
                }
                Reply::Ready => break,
                // Also reads the answers to a frame without statements.
                _ => {}
            }
        }
        self.conn.settle().await?;
        self.conn.end_request();
        failure.map_or(Ok(tag), |error| Err(Error::Server(error)))
    }

    fn usable(&self) -> Result<(), Error> {
        if self.failed { Err(rolled_back()) } else { Ok(()) }
    }

    /// Reads the answers to BEGIN and the preludes.
    async fn read_frame(&mut self) -> Result<(), Error> {
        while self.unread > 0 {
            match self.conn.statement_end(None).await? {
                End::Complete(_) | End::Suspended => self.unread -= 1,
                End::Failed { error, .. } => return Err(self.fail(error).await),
                End::CopyIn | End::CopyOut | End::CopyBoth => {
                    return Err(self.conn.lost(Error::Copy));
                }
            }
        }
        Ok(())
    }

    /// Executes the bound portal in chunks. Returns the tag, or `None` if the result was cut.
    async fn fetch(&mut self, collect: &mut Collect, caps: Caps) -> Result<Option<String>, Error> {
        let wanted = caps.max_rows.saturating_add(1);
        let mut chunk = FIRST_CHUNK;
        let mut chunks = 0;
        loop {
            let rows = chunk.min(wanted.saturating_sub(collect.seen)).max(1);
            let max_rows = i32::try_from(rows).unwrap_or(i32::MAX);
            let outbox = self.conn.wire.outbox();
            write(outbox, |outbox| frontend::execute("", max_rows, outbox))?;
            frontend::flush(outbox);
            chunks += 1;
            match self.conn.statement_end(Some(collect)).await? {
                End::Complete(tag) if chunks > 1 => return Ok(Some(recount(&tag, collect.seen))),
                End::Complete(tag) => return Ok(Some(tag)),
                End::Failed { error, .. } => return Err(self.fail(error).await),
                copy @ (End::CopyIn | End::CopyOut | End::CopyBoth) => return Err(self.refuse_copy(copy).await),
                End::Suspended => {}
            }
            if collect.seen > caps.max_rows {
                collect.truncated.get_or_insert(Truncated::Rows);
            }
            if collect.is_too_large || collect.truncated.is_some() {
                // An open portal would prevent its tables from being altered.
                write(self.conn.wire.outbox(), |outbox| frontend::close(b'P', "", outbox))?;
                return Ok(None);
            }
            chunk = next_chunk(collect, caps);
        }
    }

    /// Synchronizes with the server after an error for which no Sync was sent yet.
    async fn fail(&mut self, error: Box<ServerError>) -> Error {
        self.failed = true;
        frontend::sync(self.conn.wire.outbox());
        match self.conn.until_ready().await {
            Ok(_) => Error::Server(error),
            Err(lost) => lost,
        }
    }

    /// Ends a COPY: sends no data for it, or reads the server's data to the end if there is little.
    async fn refuse_copy(&mut self, copy: End) -> Error {
        self.failed = true;
        match copy {
            End::CopyIn => {
                let written = frontend::copy_fail("COPY is not available here", self.conn.wire.outbox());
                if written.is_err() {
                    return self.conn.lost(Error::Copy);
                }
            }
            End::CopyOut => {}
            _ => return self.conn.lost(Error::Copy),
        }
        frontend::sync(self.conn.wire.outbox());
        let mut drained = 0;
        loop {
            match self.conn.reply(Keep::Nothing).await {
                Ok(Reply::Ready) => return Error::Copy,
                Ok(Reply::CopyData(len)) if drained + len > MAX_COPY_DRAIN => {
                    return self.conn.lost(Error::Copy);
                }
                Ok(Reply::CopyData(len)) => drained += len,
                Ok(_) => {}
                Err(_) => return Error::Copy,
            }
        }
    }
}

/// Appends a statement that is not kept.
fn unnamed(outbox: &mut BytesMut, sql: &str, params: &[Option<Cow<'_, str>>]) -> Result<(), Error> {
    write(outbox, |outbox| frontend::parse("", sql, [], outbox))?;
    bind_and_execute(outbox, "", params, 0)
}

/// The number of rows that should fill the rest of the caps, estimated from the rows so far.
fn next_chunk(collect: &Collect, caps: Caps) -> usize {
    let kept = collect.rows.bytes();
    let row = (kept / collect.rows.len().max(1)).max(1);
    (caps.max_bytes.saturating_sub(kept) / row).clamp(FIRST_CHUNK, 10_000)
}

/// The tag of a portal that was read in chunks counts only the last chunk.
fn recount(tag: &str, rows: usize) -> String {
    match tag.rsplit_once(' ') {
        Some((command, count)) if count.parse::<u64>().is_ok() => format!("{command} {rows}"),
        _ => tag.into(),
    }
}

fn rolled_back() -> Error {
    ServerError::local("40000", "the transaction was rolled back").into()
}
