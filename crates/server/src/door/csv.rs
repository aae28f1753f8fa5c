//! Lists as CSV files: the pages of a list, one after the other, until the last one. A page is read when the client has taken the one
//! before, so that a long file takes little memory.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;

use crm::dialect::Dialect;
use crm::dialect::csv::{self, CsvCells};
use crm::model::answer::Answer;
use crm::model::ask::{Ask, Single};
use crm::model::fault::Fault;

use crate::access::{self, Caller, Credential};
use crate::app::App;
use crate::hall::{self, Controls, Performed};
use crate::store::room::Room;

/// The content type of the files.
pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8";

/// The rows that are read at a time.
const ROWS: usize = 200;

/// A file that is sent page by page.
pub struct CsvFile {
    /// The state that doors share.
    pub app: Arc<App>,
    /// The caller.
    pub caller: Caller,
    /// What the caller was admitted with. The file breaks off when it ends.
    pub credential: Credential,
    /// The dialect of the names.
    pub dialect: &'static Dialect,
    /// How cells are written.
    pub cells: CsvCells,
    /// The list.
    ask: Ask,
}

/// Whether an `Accept` header asks for a file.
pub fn is_wanted(accept: Option<&str>) -> bool {
    let mut types = accept.unwrap_or_default().split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    types.any(|it| it.eq_ignore_ascii_case("text/csv"))
}

/// The list of all rows for a file; `None` if an ask is no list.
pub fn of_list(ask: &Ask) -> Option<Ask> {
    let Ask::Single(Single::List { .. }) = ask else { return None };
    let mut ask = ask.clone();
    if let Ask::Single(Single::List { page, .. }) = &mut ask {
        page.limit = ROWS;
    }
    Some(ask)
}

impl CsvFile {
    /// Creates a file for a list of [`of_list`].
    pub fn new(app: Arc<App>, caller: Caller, credential: Credential, dialect: &'static Dialect, ask: Ask) -> CsvFile {
        CsvFile { app, caller, credential, dialect, cells: CsvCells::Plain, ask }
    }

    /// The same file, with cells that are safe in spreadsheets.
    pub fn for_spreadsheets(mut self) -> CsvFile {
        self.cells = CsvCells::ForSpreadsheets;
        self
    }

    /// The body of the response. The first page is read at once, so that a refusal is an answer and no broken file.
    pub async fn body(mut self) -> Result<Body, Fault> {
        let (text, more) = self.page(true).await?;
        let first = stream::iter([Ok::<Bytes, io::Error>(text)]);
        let rest = stream::unfold(more.then_some(self), |file| async move {
            let mut file = file?;
            Some(match file.next().await {
                Ok((text, more)) => (Ok(text), more.then_some(file)),
                Err(fault) => {
                    if let Fault::Internal { cause, place } = &fault {
                        tracing::error!(cause, %place, "a CSV file failed");
                    }
                    // The connection is closed without an end of the body, so that the client knows that rows are missing.
                    (Err(io::Error::other(fault.message())), None)
                }
            })
        });
        Ok(Body::from_stream(futures_util::StreamExt::chain(first, rest)))
    }

    async fn next(&mut self) -> Result<(Bytes, bool), Fault> {
        if !access::is_valid(&self.app, &self.caller, &self.credential).await {
            return Err(Fault::Unauthorized { message: "The key or session has ended.".into() });
        }
        self.page(false).await
    }

    /// The text of the next page, and whether there is another one.
    async fn page(&mut self, is_first: bool) -> Result<(Bytes, bool), Fault> {
        let (owner, workspace_id) = (self.caller.owner.clone(), self.caller.who.workspace_id.clone());
        let room = Room::new(self.app.memory.answers.clone(), owner, workspace_id);
        let performed = room.around(hall::perform(&self.app, &self.caller, &self.ask, &Controls::default())).await?;
        let Performed::Done(Answer::Page { entity, rows, width, next_cursor, .. }, _) = performed else {
            return Err(Fault::internal("a list that is no page"));
        };
        let mut text = match is_first {
            true => csv::header(self.dialect, entity, &rows, width, self.cells),
            false => Vec::new(),
        };
        text.extend_from_slice(&csv::page(self.dialect, &rows, width, self.cells));
        let has_more = next_cursor.is_some();
        if let Ask::Single(Single::List { page, .. }) = &mut self.ask {
            page.cursor = next_cursor;
        }
        Ok((text.into(), has_more))
    }
}
