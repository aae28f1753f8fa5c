//! Relm's wire format (`sk_live_…` and `sk_test_…` keys): the same records under Relm's names.

pub mod filter;
pub mod names;
mod read;
mod record;
pub mod reference;
mod show;

use crate::dialect::{Dialect, Versions, route};

/// Relm's versions.
pub static VERSIONS: Versions = Versions { header: "relm-version", known: &["2026-07-02"] };

/// Relm's dialect.
pub static RELM: Dialect = Dialect {
    name: "relm",
    key_prefixes: &["sk_live_", "sk_test_"],
    versions: Some(&VERSIONS),
    read: read::read,
    methods: route::methods,
    show: show::show,
    show_value: show::show_value,
    show_fault: show::show_fault,
    reference: &reference::REFERENCE,
};
