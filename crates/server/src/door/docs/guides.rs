//! The guides of the documentation: how programs are connected, and how a change is tried and taken back.

use maud::{Markup, html};

use crate::door::pages::public::{plain, samples};
use crate::door::pages::samples as code;

/// Dry runs, limits and undo.
pub fn safety(base: &str) -> Markup {
    html! {
        h2 #safety { a href="#safety" { "Dry runs and undo" } }
        p {
            "Every write takes " code.inline { "X-Dry-Run: true" } ", which answers with what would change and keeps nothing, and "
            code.inline { "X-Max-Affected: N" } ", which keeps nothing if more than N rows would change. All that a key does under one "
            code.inline { "X-Run-Id" } " is a run, and is undone as a whole."
        }
        (samples("safety", "Dry runs and undo", &code::safety(base)))
        p { "An undo puts back each column that still has the value that the change left. Anything that somebody has changed since is a conflict, and then nothing is undone, unless "
            code.inline { "{\"on_conflict\": \"skip\"}" } " says otherwise." }
    }
}

/// MCP for the usual programs.
pub fn mcp(base: &str) -> Markup {
    let address = format!("{base}/mcp");
    html! {
        h2 #mcp { a href="#mcp" { "MCP" } }
        p {
            "The address is " code.inline { (address) } ", with any key as Bearer token. "
            code.inline { "/mcp?tools=core" } " lists a small set of tools that covers everything. The examples expect the key in " code.inline { "KITH_KEY" } "."
        }
        (samples("mcp-clients", "Program", &code::mcp(base)))
        p {
            "Apps that can hold no key, such as ChatGPT and Claude on the web, on the desktop and on the phone, connect by OAuth: add a connector with the address "
            code.inline { (address) } " and agree on the page that opens. The address must be reachable from the internet and begin with " code.inline { "https://" } "."
        }
        p { "Tools that write take " code.inline { "dry_run" } ", " code.inline { "max_affected" } ", " code.inline { "run_id" } " and " code.inline { "reason" } ", like the headers of REST." }
    }
}

/// Direct connections.
pub fn psql() -> Markup {
    html! {
        h2 #psql { a href="#psql" { "psql" } }
        p {
            "A member gets a URL of their own in the settings of the workspace, or with a session from " code.inline { "POST /v1/connection" }
            ". psql, pg_dump, ORMs and BI tools work on it. What it writes stands in the activity feed as " code.inline { "postgres:<role>" } "."
        }
        (plain("psql \"$URL\" -c \"select stage, sum(amount_cents) from deals group by 1\""))
    }
}
