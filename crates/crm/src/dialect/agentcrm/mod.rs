//! agentCRM's wire format, for keys with `acrm_dev_…` and `acrm_live_…`. Its names are those of the physical schema.

pub mod filter;
mod read;
pub mod reference;
mod show;

use crate::dialect::{Dialect, route};

pub use show::{show, show_fault};

/// The dialect's name.
const NAME: &str = "agentcrm";

/// agentCRM's dialect. Callers without a key get it too.
pub static AGENTCRM: Dialect = Dialect {
    name: NAME,
    key_prefixes: &["acrm_dev_", "acrm_live_"],
    versions: None,
    read: read::read,
    methods: route::methods,
    show: show::show,
    show_value: show::show_value,
    show_event: show::show_event,
    show_fault: show::show_fault,
    change_words: &show::CHANGE_WORDS,
    reference: &reference::REFERENCE,
};
