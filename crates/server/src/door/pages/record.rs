//! The page /record.

use crm::model::fault::Fault;

use crate::door::pages::layout::Page;
use crate::door::pages::visit::Visit;

/// The page.
pub async fn page(visit: &Visit<'_>, table: &str, id: &str) -> Result<Option<Page>, Fault> {
    let _ = visit;
    let _ = table;
    let _ = id;
    Ok(None)
}
