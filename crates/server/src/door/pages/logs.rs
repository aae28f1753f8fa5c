//! The page /logs.

use crm::model::fault::Fault;

use crate::door::pages::layout::Page;
use crate::door::pages::visit::Visit;

/// The page.
pub async fn page(visit: &Visit<'_>) -> Result<Option<Page>, Fault> {
    let _ = visit;
    Ok(None)
}
