//! Performs one ask of a tool.

use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::change::ChangeSet;
use crm::model::fault::Fault;

use crate::access::Caller;
use crate::app::App;
use crate::hall::{self, Controls, Performed};

/// The answer to an ask, and what it changed by the change log, if the controls want that.
pub async fn answer(
    app: &App,
    caller: &Caller,
    ask: &Ask,
    controls: &Controls<'_>,
) -> Result<(Answer, Option<ChangeSet>), Fault> {
    match hall::perform(app, caller, ask, controls).await? {
        Performed::Done(answer, committed) => Ok((answer, committed.effect.map(|effect| *effect))),
        Performed::Stored(_) | Performed::Replayed(_) => Err(Fault::internal("a reply that was not asked for")),
    }
}
