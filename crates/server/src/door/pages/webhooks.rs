//! The page /webhooks.

use crm::model::fault::Fault;

use crate::door::pages::layout::Page;
use crate::door::pages::visit::Visit;

/// The page.
pub async fn page(visit: &Visit<'_>, rest: &[&str]) -> Result<Option<Page>, Fault> {
    let _ = visit;
    let _ = rest;
    Ok(None)
}
