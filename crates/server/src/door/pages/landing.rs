//! The landing page, `/` without a session: what Kith is, the quickstart, and a workspace at once.

use maud::{Markup, html};

use crate::door::pages::parts::{Hand, icon};
use crate::door::pages::public::{PublicPage, document, plain, samples};
use crate::door::pages::{layout, samples as code};

/// The landing page of a public address.
pub fn landing(base: &str) -> Markup {
    let body = html! {
        main #main {
            (hero())
            section.wrap aria-label="Quickstart" { (samples("start", "Quickstart", &code::quickstart(base))) }
            div.wrap.points { (signed()) (undone()) (rules()) (spoken()) (one_binary()) }
            (made())
        }
    };
    document(
        base,
        &PublicPage {
            title: "The CRM that AI agents run on",
            description: "Contacts, companies, deals and e-mails in a PostgreSQL database of the agent's own, over REST, SQL and MCP. \
            People see who changed what and why, and take it back.",
            nav: "/",
            body,
        },
    )
}

fn hero() -> Markup {
    html! {
        section.wrap.hero {
            div {
                h1 { "The CRM that AI agents run on" }
                p.lead {
                    "Agents do the work, you keep the book. They write through REST, SQL or MCP into a PostgreSQL database of their \
                     own. You see who made each change and why, and you can take it back."
                }
                div.btns {
                    button.btn.main.tall type="button" data-make { "Make me a workspace" }
                    a.btn.tall href="/docs" { "Read the docs" }
                }
                p.faint.small.after { "No account, no form. The first request gives you a key." }
            }
            (sheet())
        }
    }
}

/// An example of what the feed shows.
fn sheet() -> Markup {
    html! {
        div.sheet role="group" aria-label="Example: an agent’s run on a contact" {
            header { (Hand::person("u_3", "Ingrid Halvorsen")) b { "Ingrid Halvorsen" } span.soft.cut { "Halden Freight" } span.push.faint { "Example" } }
            ol.ledger {
                li.entry.run {
                    time { "14:28" } (Hand::agent("scout"))
                    div {
                        p.say { b { "scout" } " changed 3 fields" }
                        p.why { "Her profile says Head of Operations since October; the phone is from the new signature." }
                        div.do {
                            dl.diff {
                                div { dt { "title" } dd { del { "Operations Manager" } ins { "Head of Operations" } } }
                                div { dt { "phone" } dd { ins { "+47 32 55 01 84" } } }
                                div { dt { "region" } dd { del { "Norway" } ins { "Nordics" } } }
                            }
                        }
                        p.undo { button.btn.mini type="button" data-undo-example { (icon("undo-2")) span { "Undo the run" } } }
                    }
                }
                li.entry {
                    time { "13:21" } span.hand.auto aria-hidden="true" { (icon("zap")) }
                    div { p.say { b { "Proposal out, then chase" } " made a task" } p.soft { "Call about the revised quote" } }
                }
                li.entry {
                    time { "13:19" } (Hand::person("u_5", "Tomás Rey"))
                    div {
                        p.say { b { "Tomás Rey" } " moved Reefer liners 2027" }
                        dl.diff { div { dt { "stage" } dd { del { "qualified" } ins { "proposal" } } } }
                    }
                }
                li.entry {
                    time { "11:02" } span.hand.psql aria-hidden="true" data-letters=">_" {}
                    div {
                        p.say { b { "priya over psql" } " changed 1 field" }
                        dl.diff { div { dt { "segment" } dd { del { "lead" } ins { "customer" } } } }
                    }
                }
            }
        }
    }
}

fn signed() -> Markup {
    let hands: [(Markup, &str, &str); 4] = [
        (Hand::person("u_1", "Ada Moreau"), "A person", "in the pages, with a session"),
        (Hand::agent("scout"), "An agent", "with its key, its run and its reason"),
        (html! { span.hand.auto aria-hidden="true" { (icon("zap")) } }, "An automation", "when, if, then"),
        (
            html! { span.hand.psql aria-hidden="true" data-letters=">_" {} },
            "A psql session",
            "straight to PostgreSQL, under the same triggers",
        ),
    ];
    html! {
        section.point {
            (Hand::agent("scout"))
            div {
                h2 { "Every change is signed." }
                p {
                    "Round is a person, square is an agent, a diamond is a rule that you wrote, an open slab is a psql session. The \
                     database’s own triggers write the line, so that a script or an SQL statement is in the book like everything else."
                }
            }
            dl.rows.hands {
                @for (hand, who, how) in hands {
                    div { dt { (hand) } dd.btns { b { (who) } span.soft { (how) } } }
                }
            }
        }
    }
}

fn undone() -> Markup {
    html! {
        section.point {
            (Hand::person("u_1", "Ada Moreau"))
            div {
                h2 { "Look before, take back after." }
                p {
                    "Any write can be a dry run that says what it would change, and can be stopped at a number of rows. Whatever one agent \
                     did in one run is undone as a whole, column by column, unless somebody has changed it since."
                }
            }
            (plain("curl -X POST …/v1/sql -H \"X-Dry-Run: true\" \\\n  --data '{\"sql\":\"update deals set stage = $1\",\"params\":[\"won\"]}'\n\
                # \"affected\": {\"deals\": {\"updated\": 214}}, and nothing is kept\n\n\
                curl -X POST …/v1/runs/enrich-2026-11-28/undo\n# \"undone\": 31"))
        }
    }
}

fn rules() -> Markup {
    html! {
        section.point {
            span.hand.auto aria-hidden="true" { (icon("zap")) }
            div {
                h2 { "Rules that read like sentences." }
                p { "When, if, then. A rule writes with its own hand, and what it does may set off one more rule, never a third." }
            }
            div.sheet role="group" aria-label="Example: a rule" {
                header { span.hand.auto aria-hidden="true" { (icon("zap")) } b { "Proposal out, then chase" } span.push.faint { "Example" } }
                dl.facts {
                    dt { "When" } dd { "a deal’s stage changes" }
                    dt { "If" } dd { code { "new_stage" } " is " b { "proposal" } }
                    dt { "Then" } dd { "log a task, " b { "Call about the quote" } }
                }
            }
        }
    }
}

fn spoken() -> Markup {
    html! {
        section.point {
            span.hand.psql aria-hidden="true" data-letters=">_" {}
            div {
                h2 { "It speaks what your agent speaks." }
                p {
                    "Two dialects of REST, raw SQL, MCP and plain psql, on one set of rows. A client that was written for agentCRM or for \
                     Relm works with its base URL changed."
                }
            }
            dl.rows {
                @for (name, how) in [
                    ("agentCRM", "{\"data\": {\"name\": \"Reefer liners\", \"amount_cents\": 4820000}}"),
                    ("Relm", "{\"object\": \"deal\", \"title\": \"Reefer liners\", \"value_cents\": 4820000}"),
                    ("SQL", "kith=> select name, amount_cents from deals"),
                    ("MCP", "tools/call get_deal {\"id\": \"deal_…\"}"),
                ] {
                    div { dt { b { (name) } } dd { code.soft { (how) } } }
                }
            }
        }
    }
}

fn one_binary() -> Markup {
    html! {
        section.point {
            (layout::logo())
            div {
                h2 { "One program, and your data stays in PostgreSQL." }
                p { "Run it where you like. It brings a database with it, or takes yours. Each workspace is a database of its own." }
            }
            dl.rows {
                div { dt { b { "Self-hosted" } } dd.soft { "one binary, MIT or Apache 2.0" } }
                div { dt { b { "Yours" } } dd.soft { "pg_dump, psql and any ORM work on it" } }
                div { dt { b { "Open" } } dd { a.link href="/docs/api" { "API explorer" } ", " a.link href="/openapi.json" { "OpenAPI 3.1" } ", " a.link href="/llms.txt" { "llms.txt" } ", " a.link href="/docs" { "documentation" } } }
            }
        }
    }
}

/// The dialog that shows a new workspace.
fn made() -> Markup {
    layout::dialog(
        "made",
        "Your workspace is made",
        html! {
            p.soft {
                "This key is shown this once: give it to your agent. Claim the workspace within 7 days to keep on writing; unclaimed, it is \
                 deleted after 14."
            }
            p.secret.mono { span.grow #made-key {} }
            p.btns {
                a.btn.main #made-claim href="/login" { "Claim it" }
                button.btn type="button" data-to-clipboard="made-key" { (icon("copy")) span { "To the clipboard" } }
                button.btn.bare type="button" data-close { "I have it" }
            }
        },
    )
}
