//! `/export/TABLE.csv`: a table's live rows as a file for spreadsheets, with the filters of the address.

use axum::http::{HeaderValue, header};
use axum::response::Response;

use crm::dialect::agentcrm::AGENTCRM;
use crm::model::call::{Call, Method};
use crm::model::fault::Fault;

use crate::access::Credential;
use crate::door::csv::{self, CsvFile};
use crate::door::pages::visit::PageVisit;
use crate::door::rest;

/// Parameters that would add rows that are deleted, and those of the page of a table that are no filters.
const LEFT_OUT: &[&str] = &["include_deleted", "only_deleted", "view", "cursor", "back", "limit", "columns"];

/// The file at an address; `None` if the address is of none.
pub async fn file(visit: &PageVisit<'_>, segments: &[String]) -> Result<Option<Response>, Fault> {
    let [first, name] = segments else { return Ok(None) };
    let Some(table) = name.strip_suffix(".csv").filter(|table| first == "export" && !table.is_empty()) else {
        return Ok(None);
    };
    let place = visit.place()?;
    let query = visit.query.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())).cloned().collect();
    let path = vec![table.to_owned()];
    let call = Call { method: Method::Get, path, query, content_type: None, body: &[] };
    let ask = AGENTCRM.read_call(&call)?;
    let Some(list) = csv::of_list(&ask) else { return Ok(None) };
    let credential = Credential::Session(visit.session.token.to_owned());
    let file = CsvFile::new(visit.app.clone(), place.caller.clone(), credential, &AGENTCRM, list).for_spreadsheets();
    let mut response = Response::new(file.body().await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(csv::CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", rest::file_name(table))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(Some(response))
}
