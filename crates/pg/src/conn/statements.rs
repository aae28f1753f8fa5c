//! The statements that a connection has prepared on the server, by their SQL text.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BytesMut;
use foldhash::{HashMap, HashMapExt};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend::{self, BindError};
use ring::rand::{SecureRandom, SystemRandom};

use super::Boundary;
use super::reply::{Field, Keep, Reply, out_of_place};
use super::{Column, Conn, Description, Resetting};
use crate::error::{Error, ServerError};
use crate::types::{Type, TypeCache, is_builtin};

/// How many statements a connection keeps.
const CAPACITY: usize = 200;
/// How many bytes of this process's memory they may use, by an estimate.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// How many texts are remembered that were requested and not kept.
const REMEMBERED: usize = 64;

pub(super) struct Statements {
    by_sql: HashMap<Box<str>, PreparedStatement>,
    /// The prefix of their names. A tenant's code runs in the same session. If it could guess a name, it could prepare a
    /// statement of its own under it and receive the parameters that are meant for Kith's.
    prefix: String,
    /// Increases with every request.
    clock: u64,
    /// How many were prepared in all. Names are not reused.
    made: u64,
    /// The value of that count when the bytes were last counted.
    checked: u64,
    /// Statements that are no longer used but that the server still has.
    outdated: Vec<Arc<str>>,
    /// How many statements of a light reset the server has.
    pub(super) resets_kept: usize,
    /// Hashes of texts that were requested and not kept, the latest last, and whether they are kept if requested again.
    seen: VecDeque<(u64, bool)>,
    hashes: RandomState,
}

struct PreparedStatement {
    name: Arc<str>,
    /// Its number among all that were ever prepared.
    number: u64,
    made_at: Instant,
    /// The generation of the types when the statement was prepared.
    generation: u64,
    params: Vec<u32>,
    fields: Vec<Field>,
    /// Made from the two fields above, and from the types as they were known at this generation of the cache.
    description: Option<(u64, Arc<Description>)>,
    /// All its types are built in, so what is known of them does not change.
    has_lasting_types: bool,
    /// A column is or contains a composite, whose fields may change between requests. It is looked up each time.
    has_composites: bool,
    last_used: u64,
}

impl PreparedStatement {
    /// Roughly the bytes that it uses.
    fn bytes(&self, sql: &str) -> usize {
        let columns = self.description.iter().flat_map(|(_, description)| description.columns.iter());
        let columns = columns.map(|column| {
            let kind = if is_builtin(column.type_oid) { 0 } else { column.kind.all_bytes };
            kind.saturating_add(size_of::<Column>() + column.name.len() + column.type_name.len())
        });
        let fields = self.fields.iter().map(|field| size_of::<Field>() + field.name.len());
        // The numbers of the parameters' types are stored twice, like the names of the columns.
        let own = size_of::<PreparedStatement>() + sql.len() + self.name.len() + 8 * self.params.len();
        columns.chain(fields).fold(own, usize::saturating_add)
    }
}

/// A statement that is ready to be bound.
pub(super) struct Plan {
    pub(super) name: Arc<str>,
    pub(super) description: Arc<Description>,
    /// It was prepared for an earlier request: its parameters have the types inferred at that time.
    pub(super) is_old: bool,
}

impl Default for Statements {
    fn default() -> Statements {
        let mut random = [0; 12];
        SystemRandom::new().fill(&mut random).expect("the system has random numbers");
        let prefix = URL_SAFE_NO_PAD.encode(random);
        Statements {
            by_sql: HashMap::new(),
            prefix,
            clock: 0,
            made: 0,
            checked: 0,
            outdated: Vec::new(),
            resets_kept: 0,
            seen: VecDeque::new(),
            hashes: RandomState::new(),
        }
    }
}

impl Statements {
    /// Must be called when the server has dropped the statements too.
    pub(super) fn clear(&mut self) {
        self.by_sql.clear();
        self.outdated.clear();
        self.resets_kept = 0;
    }

    /// The name of a kept statement.
    pub(super) fn name_of(&self, sql: &str) -> Option<Arc<str>> {
        self.by_sql.get(sql).map(|prepared| prepared.name.clone())
    }

    /// The name of one of the statements of a light reset.
    pub(super) fn reset_name(&self, number: usize) -> String {
        format!("{}r{number}", self.prefix)
    }

    /// Whether the text was requested before and is therefore worth keeping.
    fn is_repeated(&mut self, sql: &str, generation: u64, max_age: Duration) -> bool {
        if let Some(kept) = self.by_sql.get(sql) {
            if kept.generation != generation || kept.made_at.elapsed() > max_age {
                self.outdate(sql);
            }
            return true;
        }
        let hash = self.hashes.hash_one(sql);
        match self.seen.iter().find(|(seen, _)| *seen == hash) {
            Some((_, is_worth_it)) => *is_worth_it,
            None => {
                self.remember(hash, true);
                false
            }
        }
    }

    fn remember(&mut self, hash: u64, is_worth_keeping: bool) {
        self.seen.retain(|(seen, _)| *seen != hash);
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((hash, is_worth_keeping));
    }

    fn never_keep(&mut self, sql: &str) {
        self.outdate(sql);
        let hash = self.hashes.hash_one(sql);
        self.remember(hash, false);
    }

    /// Drops the least recently used statements until the rest is within the limit of bytes. The server drops them when a
    /// statement is next prepared.
    pub(super) fn forget_excess(&mut self) {
        if self.checked == self.made {
            return;
        }
        self.checked = self.made;
        let sizes = self.by_sql.iter().map(|(sql, prepared)| prepared.bytes(sql));
        let mut total = sizes.fold(0, usize::saturating_add);
        if total <= MAX_BYTES {
            return;
        }
        let mut sizes: Vec<_> =
            self.by_sql.iter().map(|(sql, prepared)| (prepared.last_used, prepared.bytes(sql), sql.clone())).collect();
        sizes.sort_unstable();
        for (_, bytes, sql) in sizes {
            if total <= MAX_BYTES {
                break;
            }
            total -= bytes;
            self.outdate(&sql);
        }
    }

    /// Makes a statement be prepared again at its next use.
    pub(super) fn outdate(&mut self, sql: &str) {
        self.outdated.extend(self.by_sql.remove(sql).map(|prepared| prepared.name));
    }

    /// How many were outdated since a statement was last prepared.
    pub(super) fn outdated(&self) -> usize {
        self.outdated.len()
    }

    fn plan(&mut self, sql: &str, generation: u64) -> Option<Plan> {
        let prepared = self.by_sql.get_mut(sql)?;
        prepared.last_used = self.clock;
        match &prepared.description {
            Some((known_at, description))
                if prepared.has_lasting_types || (*known_at == generation && !prepared.has_composites) =>
            {
                let (name, description) = (prepared.name.clone(), description.clone());
                Some(Plan { name, description, is_old: true })
            }
            _ => None,
        }
    }

    /// Removes the least recently used statements until there is room for `more`, and returns their names. Those of the
    /// current request stay, whatever their number.
    fn make_room(&mut self, more: usize) -> Vec<Arc<str>> {
        let excess = (self.by_sql.len() + more).saturating_sub(CAPACITY);
        if excess == 0 {
            return Vec::new();
        }
        let older = self.by_sql.iter().filter(|(_, prepared)| prepared.last_used < self.clock);
        let mut oldest: Vec<_> = older.map(|(sql, each)| (each.last_used, sql.clone())).collect();
        oldest.sort_unstable();
        oldest.truncate(excess);
        let gone = oldest.into_iter().filter_map(|(_, sql)| self.by_sql.remove(&sql));
        gone.map(|prepared| prepared.name).collect()
    }
}

impl Conn {
    /// Returns the plans of statements, in the same order. Those that are not prepared yet are prepared in one round trip.
    ///
    /// After an error of the server (a table that does not exist) the connection is unchanged.
    pub(super) async fn plans<'s>(
        &mut self,
        sqls: impl Iterator<Item = &'s str> + Clone,
        types: &TypeCache,
    ) -> Result<Vec<Plan>, Error> {
        self.statements.clock += 1;
        let generation = types.generation();
        // Looks up all of them first, so that no statement of this request is dropped to make room for another.
        let known: Vec<_> = sqls.clone().map(|sql| self.statements.plan(sql, generation)).collect();
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        drop(known);
        // On the heap, because it is large and rare.
        Box::pin(self.new_plans(sqls, types, generation)).await
    }

    async fn new_plans<'s>(
        &mut self,
        sqls: impl Iterator<Item = &'s str> + Clone,
        types: &TypeCache,
        generation: u64,
    ) -> Result<Vec<Plan>, Error> {
        let made = self.statements.made;
        self.prepare(sqls.clone(), generation).await?;
        self.describe_anew(sqls.clone(), types).await?;
        let known = sqls.map(|sql| match self.statements.by_sql.get(sql) {
            Some(PreparedStatement { name, description: Some((_, description)), number, .. }) => {
                Ok(Plan { name: name.clone(), description: description.clone(), is_old: *number <= made })
            }
            _ => Err(Error::Protocol("a statement was not described".into())),
        });
        known.collect()
    }

    async fn prepare<'s>(&mut self, sqls: impl Iterator<Item = &'s str>, generation: u64) -> Result<(), Error> {
        let mut missing: Vec<(&str, Arc<str>, u64)> = Vec::new();
        for sql in sqls {
            let is_new = !self.statements.by_sql.contains_key(sql);
            if is_new && missing.iter().all(|(other, ..)| *other != sql) {
                self.statements.made += 1;
                let Statements { prefix, made, .. } = &self.statements;
                missing.push((sql, format!("{prefix}{made}").into(), *made));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // First, because the server skips what follows an error.
        let outdated = std::mem::take(&mut self.statements.outdated);
        for name in self.statements.make_room(missing.len()).into_iter().chain(outdated) {
            write(self.wire.outbox(), |outbox| frontend::close(b'S', &name, outbox))?;
        }
        for (sql, name, _) in &missing {
            let outbox = self.wire.outbox();
            write(outbox, |outbox| {
                frontend::parse(name, sql, [], outbox)?;
                frontend::describe(b'S', name, outbox)
            })?;
        }
        frontend::sync(self.wire.outbox());

        let mut missing = missing.into_iter();
        let mut params = Vec::new();
        let mut failure = None;
        loop {
            let fields = match self.reply(Keep::Nothing).await? {
                Reply::ParseComplete | Reply::CloseComplete => continue,
                Reply::Params => {
                    params = self.read_params()?;
                    continue;
                }
                Reply::Failed(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
                Reply::Ready => break,
                Reply::NoData => Vec::new(),
                Reply::Columns => self.read_fields()?,
                other => return Err(self.lost(out_of_place(&other))),
            };
            let Some((sql, name, number)) = missing.next() else {
                return Err(self.lost(out_of_place(&Reply::Columns)));
            };
            let params = std::mem::take(&mut params);
            let mut oids = params.iter().copied().chain(fields.iter().map(|field| field.type_oid));
            let prepared = PreparedStatement {
                has_lasting_types: oids.all(is_builtin),
                has_composites: false,
                description: None,
                last_used: self.statements.clock,
                name,
                number,
                made_at: Instant::now(),
                generation,
                params,
                fields,
            };
            self.statements.by_sql.insert(sql.into(), prepared);
        }
        failure.map_or(Ok(()), |error| Err(Error::Server(error)))
    }

    /// Describes statements with the current types. Looks up the types that are not known.
    async fn describe_anew<'s>(
        &mut self,
        sqls: impl Iterator<Item = &'s str> + Clone,
        types: &TypeCache,
    ) -> Result<(), Error> {
        let mut oids = Vec::new();
        for prepared in sqls.clone().filter_map(|sql| self.statements.by_sql.get(sql)) {
            oids.extend(unknown(&prepared.params, &prepared.fields, types));
        }
        let generation = types.generation();
        self.look_up(oids, types, Boundary::Sync).await?;
        for sql in sqls {
            if let Some(prepared) = self.statements.by_sql.get_mut(sql) {
                let description = describe(prepared.params.clone(), &prepared.fields, types);
                prepared.has_composites = prepared.fields.iter().any(|field| is_composite(field, types));
                prepared.description = Some((generation, Arc::new(description)));
            }
        }
        Ok(())
    }

    /// Whether this text was requested on this connection before. If a statement is kept for it, the statement is prepared
    /// again if the types have changed since or if it is older than `max_age`, because its parameters keep the types
    /// inferred when it was prepared.
    pub fn is_repeated(&mut self, sql: &str, types: &TypeCache, max_age: Duration) -> bool {
        self.statements.is_repeated(sql, types.generation(), max_age)
    }

    /// Makes later requests of this text prepare it again. They never count as repeated.
    pub fn never_keep(&mut self, sql: &str) {
        self.statements.never_keep(sql);
    }

    /// Makes the server drop the statements, and forgets them. Requires a connection without a transaction.
    pub(super) async fn drop_statements(&mut self) -> Result<(), Error> {
        self.statements.clear();
        if let Some(resetting) = &mut self.resetting {
            // The next answer read would be the reset's. A full reset drops the statements too.
            if let Resetting::Light { is_too_little, .. } = resetting {
                *is_too_little = true;
            }
            return Ok(());
        }
        self.simple("DEALLOCATE ALL").await
    }
}

/// The OIDs of a statement's types that are not known or may have changed.
pub(super) fn unknown(params: &[u32], fields: &[Field], types: &TypeCache) -> Vec<u32> {
    let params = params.iter().copied().filter(|oid| types.get(*oid).is_none());
    let unsure = fields.iter().filter(|field| types.get(field.type_oid).is_none() || is_composite(field, types));
    params.chain(unsure.map(|field| field.type_oid)).collect()
}

fn is_composite(field: &Field, types: &TypeCache) -> bool {
    types.get(field.type_oid).is_some_and(|known| known.has_fields())
}

pub(super) fn describe(params: Vec<u32>, fields: &[Field], types: &TypeCache) -> Description {
    let column = |field: &Field| {
        let oid = field.type_oid;
        let kind = types.get(oid).unwrap_or_else(|| Type::unknown(oid));
        Column::new(field.name.clone(), kind, field.table_oid, field.attnum)
    };
    Description { params, columns: fields.iter().map(column).collect() }
}

/// Appends messages. If one of them cannot be written, appends nothing and returns the error that the server would return.
pub(super) fn write(
    outbox: &mut BytesMut,
    messages: impl FnOnce(&mut BytesMut) -> io::Result<()>,
) -> Result<(), Error> {
    let before = outbox.len();
    messages(outbox).map_err(|error| {
        outbox.truncate(before);
        let message = error.to_string();
        match message.contains("embedded null") {
            true => ServerError::local("22021", "a statement must not contain a NUL"),
            false => ServerError::local("54000", &message),
        }
        .into()
    })
}

/// Appends Bind and Execute of a prepared statement (`""` is the unnamed one) for the unnamed portal.
pub(super) fn bind_and_execute<P: AsRef<str>>(
    outbox: &mut BytesMut,
    name: &str,
    params: &[Option<P>],
    max_rows: i32,
) -> Result<(), Error> {
    write(outbox, |outbox| {
        bind(outbox, name, params)?;
        frontend::execute("", max_rows, outbox)
    })
}

/// Appends Bind, with all parameters and results as text.
pub(super) fn bind<P: AsRef<str>>(outbox: &mut BytesMut, name: &str, params: &[Option<P>]) -> io::Result<()> {
    let value = |param: &Option<P>, buffer: &mut BytesMut| match param {
        Some(text) => {
            buffer.extend_from_slice(text.as_ref().as_bytes());
            Ok(IsNull::No)
        }
        None => Ok(IsNull::Yes),
    };
    frontend::bind("", name, [], params, value, [], outbox).map_err(|error| match error {
        BindError::Serialization(error) => error,
        BindError::Conversion(error) => io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(statements: &mut Statements, columns: usize) -> PreparedStatement {
        statements.made += 1;
        statements.clock += 1;
        let field = |n| Field { name: format!("column_{n}"), table_oid: 1, attnum: 1, type_oid: 25 };
        let fields: Vec<Field> = (0..columns).map(field).collect();
        let description = describe(vec![25; columns], &fields, &TypeCache::default());
        PreparedStatement {
            name: format!("s{}", statements.made).into(),
            number: statements.made,
            made_at: Instant::now(),
            generation: 0,
            params: vec![25; columns],
            fields,
            description: Some((0, Arc::new(description))),
            has_lasting_types: true,
            has_composites: false,
            last_used: statements.clock,
        }
    }

    #[test]
    fn statements_take_so_many_bytes_and_no_more() {
        let mut statements = Statements::default();
        for n in 0..150 {
            let prepared = wide(&mut statements, 1500);
            let sql = format!("insert into wide {n} {}", "column, ".repeat(1500));
            statements.by_sql.insert(sql.into(), prepared);
            statements.forget_excess();
            let total: usize = statements.by_sql.iter().map(|(sql, prepared)| prepared.bytes(sql)).sum();
            assert!(total <= MAX_BYTES, "{total}");
        }
        assert!(statements.by_sql.len() > 3);
        assert_eq!(statements.by_sql.len() + statements.outdated(), 150, "the server is told of each");
        assert!(statements.by_sql.keys().any(|sql| sql.starts_with("insert into wide 149 ")), "the latest stays");
        // A single statement that is too large is not kept.
        let huge = wide(&mut statements, 50_000);
        statements.by_sql.insert("huge".into(), huge);
        statements.forget_excess();
        assert!(statements.by_sql.is_empty());
    }
}
