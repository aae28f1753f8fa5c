//! Relm's wire format (`sk_live_…` and `sk_test_…` keys): the same records under Relm's names.

use crate::dialect::Dialect;
use crate::dialect::agentcrm::AGENTCRM;

/// Relm's dialect.
pub static RELM: Dialect = Dialect {
    name: "relm",
    key_prefixes: &["sk_live_", "sk_test_"],
    read: |call| (AGENTCRM.read)(call),
    methods: |path| (AGENTCRM.methods)(path),
    show: |answer, meta| (AGENTCRM.show)(answer, meta),
    show_fault: |fault, meta| (AGENTCRM.show_fault)(fault, meta),
    reference: AGENTCRM.reference,
};
