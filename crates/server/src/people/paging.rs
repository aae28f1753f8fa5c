//! Pages of people's lists.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;

use crate::people::context::PersonContext;
use crate::store::control::lists::PagedList;

/// A page of an owner's list. `arguments` are for the list's conditions.
pub async fn page(
    context: &PersonContext<'_>,
    list: &PagedList,
    owner: &str,
    arguments: &[&str],
    ask: PageAsk,
) -> Result<Answer, Fault> {
    context.app.store.control.page(list, owner, arguments, &ask).await
}
