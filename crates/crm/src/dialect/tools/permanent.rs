//! Which asks remove something for good. A person confirms them first.

use crate::dialect::route::{Operation, route};
use crate::model::ask::{Ask, Single};
use crate::model::call::Method;
use crate::model::control::ControlAsk;
use crate::model::entity::by_table;
use crate::model::operation;

/// Whether an ask may remove something that nothing brings back but an undo. A table of the workspace's own may keep its deleted rows;
/// a dry run shows that.
pub fn may_remove(ask: &Ask) -> bool {
    match ask {
        Ask::Single(Single::Delete { table, hard, .. }) => *hard || !hides(table),
        Ask::Control(ControlAsk::Delete { .. } | ControlAsk::RemoveIntegration | ControlAsk::DisconnectMailbox) => true,
        Ask::Operations(operations) => operations.iter().any(removes),
        Ask::Single(_) | Ask::Steps(_) | Ask::Control(_) => false,
    }
}

/// Whether deletions in a table hide the row.
fn hides(table: &str) -> bool {
    by_table(table).is_some_and(|entity| entity.stamped)
}

fn removes(operation: &operation::Operation) -> bool {
    if operation.method != Method::Delete {
        return false;
    }
    let is_hard =
        operation.query.iter().any(|(name, value)| name == "hard" && !matches!(value.as_str(), "false" | "0"));
    let path: Vec<&str> = operation.path.iter().map(String::as_str).collect();
    is_hard
        || match route(Method::Delete, &path) {
            // A reference can stand for any table.
            Some(Operation::Delete(table, _)) => !hides(table),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, query: &[(&str, &str)], expected: bool) {
        let operation = operation::Operation {
            method,
            path: path.split('/').map(str::to_owned).collect(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: None,
            name: None,
        };
        assert_eq!(may_remove(&Ask::Operations(vec![operation])), expected, "{method:?} {path} {query:?}");
    }

    #[test]
    fn a_batch_that_removes_for_good_is_known_by_its_operations() {
        check(Method::Delete, "contacts/c_1", &[], false);
        check(Method::Delete, "contacts/c_1", &[("hard", "false")], false);
        for hard in ["true", "1", "", "maybe"] {
            check(Method::Delete, "contacts/c_1", &[("hard", hard)], true);
        }
        check(Method::Delete, "invoices/1", &[], true);
        check(Method::Delete, "$a.table/1", &[], true);
        check(Method::Delete, "pipelines/sales/stages/won", &[], false);
        check(Method::Delete, "pipelines/sales/stages/won", &[("hard", "true")], true);
        check(Method::Delete, "lists/l_1/members/c_1", &[], false);
        check(Method::Post, "contacts", &[], false);
    }
}
