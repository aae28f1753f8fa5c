//! Looks up what the labels of pipelines and stages in a call stand for.

use crm::dialect::tools;
use crm::model::ask::{Ask, STAGES, Single};
use crm::model::filter::Deleted;
use crm::model::page::PageAsk;
use futures_util::future::try_join;

use crm::model::fault::Fault;

use crate::access::Caller;
use crate::door::mcp::asked::answer;
use crate::door::mcp::session::Session;
use crate::hall::Controls;

/// The most pipelines, and the most stages, whose labels are known.
const MOST: usize = 200;

impl Session<'_, '_> {
    /// Puts the keys of pipelines and stages in the place of their labels.
    pub async fn use_keys(&self, caller: &Caller, ask: &mut Ask) -> Result<(), Fault> {
        let page = || PageAsk { limit: MOST, cursor: None };
        let all = |table: &str| -> Ask {
            let (filters, deleted, sort) = (Vec::new(), Deleted::Exclude, None);
            Single::List { table: table.to_owned(), filters, deleted, sort, page: page() }.into()
        };
        let (pipelines, stages) = (all("pipelines"), all(STAGES));
        let controls = Controls::default();
        let found =
            try_join(answer(self.app, caller, &pipelines, &controls), answer(self.app, caller, &stages, &controls));
        let ((pipelines, _), (stages, _)) = found.await?;
        tools::use_keys(ask, &tools::labelled(&pipelines), &tools::labelled(&stages));
        Ok(())
    }
}
