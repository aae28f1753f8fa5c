//! Relm's wire format, for keys with `sk_live_…` and `sk_test_…`. It has the same records under Relm's names.

pub mod filter;
pub mod names;
mod read;
mod record;
pub mod reference;
mod show;

use crate::dialect::{Dialect, Versions, route};

/// The dialect's name.
const NAME: &str = "relm";

/// The versions of Relm's API.
pub static VERSIONS: Versions = Versions { header: "relm-version", known: &["2026-07-02"] };

/// Relm's dialect. Only requests with its keys use it.
pub static RELM: Dialect = Dialect {
    name: NAME,
    key_prefixes: &["sk_live_", "sk_test_"],
    versions: Some(&VERSIONS),
    read: read::read,
    methods: route::methods,
    show: show::show,
    show_value: show::show_value,
    show_event: show::show_event,
    show_fault: show::show_fault,
    change_words: &show::CHANGE_WORDS,
    reference: &reference::REFERENCE,
};
