//! Kith's own requests to a server: a query with text rows, a script, a reset, the lookup of types.

use postgres_protocol::message::frontend;

use super::Boundary;
use super::collect::{Collect, End};
use super::reply::{Keep, Reply, out_of_place};
use super::statements::{bind, bind_and_execute, describe, write};
use super::{Caps, Conn, Doubt, Format, Reset, Resetting, Rows};
use crate::error::Error;
use crate::types::{TypeCache, lookup};

/// Kith's own queries have small results. These limits only catch mistakes.
const CAPS: Caps = Caps { max_rows: 1_000_000, max_bytes: 256 << 20, max_value_bytes: 64 << 20 };

/// The parts of DISCARD ALL (PostgreSQL documentation, DISCARD), except two. Cached plans of functions hold no session state
/// and are expensive to create again, which would more than double the cost of the next request. Advisory locks are not
/// released, so a role that may take some must not be given sessions that others use (Kith's tenants may not take any).
const RESET: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; CLOSE ALL; UNLISTEN *; \
                     DISCARD TEMP; DISCARD SEQUENCES";

/// A light reset. It must be in a transaction of its own, because deferred triggers run code at a commit too.
const LIGHT_RESET: &[&str] =
    &["SET SESSION AUTHORIZATION DEFAULT", "RESET ALL", "CLOSE ALL", "UNLISTEN *", "DISCARD SEQUENCES"];

/// A row with one column that is false, as the protocol encodes it.
const FALSE_ROW: &[u8] = b"\x00\x01\x00\x00\x00\x01f";

impl Conn {
    /// Runs one statement by itself. Its rows are returned as text. Nothing stays prepared.
    pub async fn query(&mut self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Error> {
        self.begin_request()?;
        let result = self.text_rows(sql, params, Boundary::Sync).await;
        if self.broken {
            return result;
        }
        self.settle().await?;
        self.end_request();
        result
    }

    /// Runs several statements by the simple protocol, as one transaction unless they say otherwise. Only for Kith's own
    /// SQL: there are no parameters and no limits.
    pub async fn script(&mut self, sql: &str) -> Result<(), Error> {
        self.begin_request()?;
        let result = self.simple(sql).await;
        if self.broken {
            return result;
        }
        self.settle().await?;
        self.end_request();
        result
    }

    /// Restores the state that the connection had at log-in: ends an open transaction and discards the session's state,
    /// except advisory locks. Requires a connection without an unfinished request.
    pub async fn reset(&mut self) -> Result<(), Error> {
        if self.busy || self.broken {
            return Err(Error::Protocol("a reset in the middle of a request".into()));
        }
        self.busy = true;
        if self.is_in_light_reset() {
            self.until_ready().await?;
            self.resetting = None;
        }
        if self.resetting.is_none() {
            self.settle().await?;
            self.send_reset(Reset::Full)?;
        }
        self.statements.clear();
        let failure = self.until_ready().await?;
        (self.resetting, self.at_end) = (None, None);
        self.end_request();
        failure.map_or(Ok(()), |error| Err(Error::Server(error)))
    }

    /// Reads the result of a light reset, if one is in progress. Usually the answer has already arrived. A full reset
    /// follows if the light one failed or was not enough.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let Some(Resetting::Light { steps, is_too_little }) = self.resetting else { return Ok(()) };
        if self.busy || self.broken {
            return Err(Error::Protocol("a reset in the middle of a request".into()));
        }
        self.busy = true;
        let mut is_enough = !is_too_little;
        loop {
            match self.reply(Keep::Within(CAPS)).await? {
                Reply::Row => is_enough &= self.wire.bytes() == FALSE_ROW,
                Reply::Failed(_) => is_enough = false,
                Reply::Ready => break,
                _ => {}
            }
        }
        self.resetting = None;
        self.end_request();
        if !is_enough {
            return self.reset().await;
        }
        self.statements.resets_kept = steps.max(self.statements.resets_kept);
        Ok(())
    }

    /// Appends the pending reset to the messages to be sent.
    pub(super) fn send_due_reset(&mut self) -> Result<(), Error> {
        self.at_end.take().map_or(Ok(()), |reset| self.send_reset(reset))
    }

    fn send_reset(&mut self, reset: Reset) -> Result<(), Error> {
        match reset {
            Reset::Full => {
                write(self.wire.outbox(), |outbox| frontend::query(RESET, outbox))?;
                self.resetting = Some(Resetting::Full);
            }
            Reset::Light(doubt) => {
                let steps = self.send_light_reset(doubt)?;
                self.resetting = Some(Resetting::Light { steps, is_too_little: false });
            }
        }
        Ok(())
    }

    /// The statements are prepared at the first reset of this kind and then kept. Returns their number.
    fn send_light_reset(&mut self, doubt: Option<Doubt>) -> Result<usize, Error> {
        let outbox = self.wire.outbox();
        let steps = LIGHT_RESET.iter().map(|sql| (*sql, None));
        let asked = doubt.as_ref().map(|doubt| (doubt.sql, Some(doubt.param.as_str())));
        for (number, (sql, param)) in steps.chain(asked).enumerate() {
            let name = self.statements.reset_name(number);
            if number >= self.statements.resets_kept {
                write(outbox, |outbox| frontend::parse(&name, sql, [], outbox))?;
            }
            let params = [param];
            bind_and_execute(outbox, &name, if param.is_some() { &params } else { &[] }, 0)?;
        }
        frontend::sync(outbox);
        Ok(LIGHT_RESET.len() + usize::from(doubt.is_some()))
    }

    /// Sends text by the simple protocol. Returns its first error.
    pub(super) async fn simple(&mut self, sql: &str) -> Result<(), Error> {
        write(self.wire.outbox(), |outbox| frontend::query(sql, outbox))?;
        match self.until_ready().await? {
            Some(error) => Err(Error::Server(error)),
            None => Ok(()),
        }
    }

    /// Looks up types, and stores them and all types that they contain in the cache.
    pub(super) async fn look_up(&mut self, oids: Vec<u32>, types: &TypeCache, boundary: Boundary) -> Result<(), Error> {
        if oids.is_empty() {
            return Ok(());
        }
        let generation = types.generation();
        let list: Vec<String> = oids.iter().map(u32::to_string).collect();
        let list = format!("{{{}}}", list.join(","));
        let rows = self.text_rows(lookup::QUERY, &[Some(&list)], boundary).await?;
        types.insert(generation, lookup::read(&rows, types));
        Ok(())
    }

    async fn text_rows(&mut self, sql: &str, params: &[Option<&str>], boundary: Boundary) -> Result<Rows, Error> {
        write(self.wire.outbox(), |outbox| {
            frontend::parse("", sql, [], outbox)?;
            bind(outbox, "", params)?;
            frontend::describe(b'P', "", outbox)?;
            frontend::execute("", 0, outbox)?;
            match boundary {
                Boundary::Sync => frontend::sync(outbox),
                Boundary::Flush => frontend::flush(outbox),
            }
            Ok(())
        })?;
        let result = self.described_rows().await?;
        if boundary == Boundary::Flush {
            return result;
        }
        match self.until_ready().await? {
            Some(error) => result.and(Err(Error::Server(error))),
            None => result,
        }
    }

    /// Reads columns and rows. After the outer error the connection is lost.
    async fn described_rows(&mut self) -> Result<Result<Rows, Error>, Error> {
        let fields = loop {
            match self.reply(Keep::Nothing).await? {
                Reply::ParseComplete | Reply::BindComplete => {}
                Reply::CloseComplete => {}
                Reply::Columns => break self.read_fields()?,
                Reply::NoData => break Vec::new(),
                Reply::Failed(error) => return Ok(Err(Error::Server(error))),
                other => return Err(self.lost(out_of_place(&other))),
            }
        };
        let description = describe(Vec::new(), &fields, &TypeCache::default());
        let mut collect = Collect::new(&description, Format::Text, CAPS);
        let end = self.statement_end(Some(&mut collect)).await?;
        Ok(match end {
            End::Failed { error, .. } => Err(Error::Server(error)),
            End::CopyIn | End::CopyOut | End::CopyBoth => return Err(self.lost(Error::Copy)),
            _ if collect.is_too_large || collect.truncated.is_some() => {
                Err(Error::ValueTooLarge { limit: CAPS.max_value_bytes })
            }
            End::Complete(_) | End::Suspended => Ok(collect.rows),
        })
    }
}
