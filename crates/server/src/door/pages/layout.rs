//! The frame of all pages of a signed-in person: the sidebar with the navigation, the bar with the page's name, the search, and
//! the dialogs that every page has. docs/pages.md says what tests and screen readers rely on.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crm::model::who::{Mode, Role};

use crate::door::pages::parts::{self, Hand, icon};
use crate::door::pages::visit::{MemberPlace, PageVisit};
use crate::door::pages::{FOR_PROGRAMS, addresses, assets};

/// A page without its frame.
pub struct Page {
    /// The page's name: its heading, and the beginning of its title.
    pub title: String,
    /// The path of the entry of the navigation that is open: `/contacts`.
    pub nav: String,
    /// What leads to the heading: a link to the table of a record.
    pub crumb: Markup,
    /// What stands beside the heading: a count, a link.
    pub beside: Markup,
    /// The buttons of the bar.
    pub actions: Markup,
    /// The content.
    pub body: Markup,
    /// Whether the content fills the window and scrolls by itself.
    pub is_full: bool,
    /// The page's scripts, modules of the assets. `core.js` is always there.
    pub scripts: &'static [&'static str],
}

impl Page {
    /// A page with a name, an open entry of the navigation and a content.
    pub fn new(title: impl Into<String>, nav: impl Into<String>, body: Markup) -> Page {
        let (crumb, beside, actions) = (html! {}, html! {}, html! {});
        Page { title: title.into(), nav: nav.into(), crumb, beside, actions, body, is_full: false, scripts: &[] }
    }
}

struct Entry {
    path: &'static str,
    label: &'static str,
    icon: &'static str,
}

const fn entry(path: &'static str, label: &'static str, icon: &'static str) -> Entry {
    Entry { path, label, icon }
}

const FIRST: &[Entry] =
    &[entry("/", "Home", "house"), entry("/activity", "Activity", "activity"), entry("/runs", "Runs", "history")];
const RECORDS: &[Entry] = &[
    entry("/contacts", "Contacts", "contact-round"),
    entry("/companies", "Companies", "building-2"),
    entry("/deals", "Deals", "square-kanban"),
    entry("/activities", "Activities", "notebook-pen"),
    entry("/emails", "Emails", "mail"),
    entry("/lists", "Lists", "list"),
];
const CONTROL: &[Entry] = &[
    entry("/webhooks", "Webhooks", "webhook"),
    entry("/automations", "Automations", "workflow"),
    entry("/schema", "Schema", "table-properties"),
    entry("/sql", "SQL", "square-terminal"),
    entry("/logs", "Logs", "scroll-text"),
    entry("/api-keys", "API keys", "key-round"),
    entry("/members", "Members", "users-round"),
    entry("/settings", "Settings", "settings-2"),
];
/// The bar at the bottom of a phone's screen.
const PHONE: &[Entry] = &[
    entry("/", "Home", "house"),
    entry("/activity", "Activity", "activity"),
    entry("/contacts", "Contacts", "contact-round"),
    entry("/deals", "Deals", "square-kanban"),
    entry("/runs", "Runs", "history"),
];

/// The head of every page: the pages of people who are not signed in have it too.
pub fn head(title: &str, description: Option<&str>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            title { (title) " · Kith" }
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="for-programs" content=(serde_json::Value::from(FOR_PROGRAMS));
            @if let Some(description) = description { meta name="description" content=(description); }
            link rel="preload" href=(assets::address("fonts/hanken-grotesk-latin.woff2")) as="font" type="font/woff2" crossorigin;
            link rel="stylesheet" href=(assets::address("kith.css"));
            link rel="stylesheet" href=(assets::address("pages.css"));
            link rel="icon" href=(ICON);
        }
    }
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 22 22'%3E\
    %3Cpath fill='%23808680' d='M3 1.5h2v19H3z'/%3E%3Ccircle fill='%23808680' cx='13' cy='6.25' r='4.25'/%3E\
    %3Crect fill='%23129c8f' x='9' y='12.5' width='8' height='8' rx='1.6'/%3E%3C/svg%3E";

/// The logo: the margin of a ledger with a person and an agent on it.
pub fn logo() -> Markup {
    PreEscaped(
        "<svg class=\"logo\" viewBox=\"0 0 22 22\" aria-hidden=\"true\"><path d=\"M3 1.5h2v19H3z\"/>\
         <circle cx=\"13\" cy=\"6.25\" r=\"4.25\"/><rect x=\"9\" y=\"12.5\" width=\"8\" height=\"8\" rx=\"1.6\"/></svg>"
            .to_owned(),
    )
}

/// The whole document of a page.
pub fn document(visit: &PageVisit<'_>, page: &Page, tables: &[String]) -> Markup {
    let mode = visit.place.as_ref().map_or(Mode::Live, |place| place.mode);
    let theme = visit.cookie("kith_theme").filter(|theme| matches!(*theme, "light" | "dark"));
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            (head(&page.title, None))
            body.app data-mode=(mode.name()) data-workspace=[visit.place.as_ref().map(|it| it.workspace.id.as_str())]
                data-person=(visit.session.person.person.id) data-csrf=(visit.session.csrf()) data-may-write[visit.may_write()]
            {
                a.skip.btn.main href="#main" { "Skip to the content" }
                (sidebar(visit, page, tables))
                div.page {
                    header.top {
                        button.btn.bare.square.only-phone type="button" popovertarget="side" aria-label="Menu" { (icon("menu")) }
                        (page.crumb)
                        h1.cut { (page.title) }
                        (page.beside)
                        @if mode == Mode::Test { span.chip.wait { "Test data" } }
                        @if visit.place.is_some() {
                            button.search type="button" data-open="palette" aria-label="Search" aria-keyshortcuts="Control+K" {
                                (icon("search")) span { "Search" } kbd.push aria-hidden="true" data-keys="Ctrl K" {}
                            }
                        }
                        div.btns { (page.actions) }
                    }
                    main #main tabindex="-1" class=[page.is_full.then_some("fill")] { (page.body) }
                }
                (phone_bar(page))
                (account_menu(visit))
                (palette())
                (new_workspace())
                div #toast .toast popover="manual" role="status" aria-live="polite" { span {} }
                div #alerts .alerts {}
                script type="module" src=(assets::address("core.js")) {}
                @if visit.place.is_some() { script type="module" src=(assets::address("palette.js")) {} }
                @for script in page.scripts { script type="module" src=(assets::address(script)) {} }
            }
        }
    }
}

fn sidebar(visit: &PageVisit<'_>, page: &Page, tables: &[String]) -> Markup {
    html! {
        aside.side #side popover aria-label="Sidebar" {
            div.switcher {
                (logo())
                @if let Some(place) = &visit.place { (switcher(visit, place)) } @else { span.cut { "Kith" } }
            }
            nav aria-label="Main" {
                (links(if visit.place.is_some() { FIRST } else { &FIRST[..1] }, page))
                @if visit.place.is_some() {
                    h2 { "Records" }
                    (links(RECORDS, page))
                    @for table in tables {
                        (link(&addresses::table_address(table), table, "table-2", page))
                    }
                    h2 { "Control room" }
                    (links(CONTROL, page))
                }
            }
            div.shift {
                @if let Some(place) = &visit.place {
                    @if place.workspace.role == Role::Viewer { p.note { (icon("eye")) span { "You may look at everything and change nothing." } } }
                }
                @let person = &visit.session.person.person;
                @let name = person.name.as_deref().unwrap_or(&person.email);
                button.nav type="button" popovertarget="account" aria-haspopup="menu" title=(name) {
                    (Hand::person(&person.id, name))
                    span.cut.signed-in data-text=(name) aria-hidden="true" {}
                    span.push.meta { "Account" }
                    svg.icon aria-hidden="true" { (use_icon("chevrons-up-down")) }
                }
            }
        }
    }
}

/// The reference of an icon, for an element that has classes of its own.
fn use_icon(name: &str) -> Markup {
    html! { use href={ (assets::address("icons.svg")) "#" (name) } {} }
}

fn switcher(visit: &PageVisit<'_>, place: &MemberPlace) -> Markup {
    html! {
        select.pick.bare aria-label="Workspace" data-switch-workspace autocomplete="off" {
            @for workspace in &visit.workspaces {
                option value=(workspace.id) selected[workspace.id == place.workspace.id] { (workspace.name) }
            }
            option value="new" { "New workspace…" }
        }
        label.mode-switch {
            input.switch type="checkbox" role="switch" data-switch-mode checked[place.mode == Mode::Test] autocomplete="off";
            " Test mode"
        }
    }
}

fn links(entries: &[Entry], page: &Page) -> Markup {
    html! { @for it in entries { (link(it.path, it.label, it.icon, page)) } }
}

fn link(path: &str, label: &str, name: &str, page: &Page) -> Markup {
    let current = (page.nav == path).then_some("page");
    html! { a.nav href=(path) title=(label) aria-current=[current] { (icon(name)) span { (label) } } }
}

fn phone_bar(page: &Page) -> Markup {
    html! {
        nav.tabbar aria-label="Bottom bar" {
            @for it in PHONE {
                a href=(it.path) aria-current=[(page.nav == it.path).then_some("page")] { (icon(it.icon)) (it.label) }
            }
        }
    }
}

fn account_menu(visit: &PageVisit<'_>) -> Markup {
    html! {
        div.menu.up #account popover role="menu" aria-label="Account" {
            h3 role="presentation" { (visit.session.person.person.email) }
            button type="button" role="menuitem" data-theme-toggle { (icon("moon")) "Light or dark" }
            button type="button" role="menuitem" data-open="keys" { (icon("keyboard")) "Keyboard" }
            a href="/docs" role="menuitem" { (icon("book-open")) "Documentation" }
            hr;
            button type="button" role="menuitem" data-log-out { (icon("log-out")) "Log out" }
        }
        (dialog("keys", "Keyboard", html! {
            dl.facts {
                @for (key, does) in KEYS { dt { kbd { (key) } } dd { (does) } }
            }
            p.btns { button.btn type="button" data-close { "Close" } }
        }))
    }
}

const KEYS: &[(&str, &str)] = &[
    ("Ctrl K", "Search and jump"),
    ("G then H A R C D S", "Home, activity, runs, contacts, deals, SQL"),
    ("C", "New record of this page"),
    ("J K", "Next row, row before"),
    ("← → ↑ ↓", "The cells beside, above and below"),
    ("Enter", "Edit the cell; open the record"),
    ("F2", "Edit the name"),
    ("X", "Select the row"),
    ("Shift ← →", "Move a card on the board"),
    ("U", "Undo the last thing you did"),
    ("Ctrl Enter", "Run the SQL"),
    ("?", "This list"),
];

/// A dialog that a button with `data-open="ID"` opens. It is a template, so that the labels in it are in the page only while it
/// is open: what finds a field by its label finds one.
pub fn dialog(id: &str, title: &str, content: Markup) -> Markup {
    let heading = format!("{id}-heading");
    html! {
        template id=(id) {
            dialog aria-labelledby=(heading) { div { h2 id=(heading) { (title) } (content) } }
        }
    }
}

fn palette() -> Markup {
    html! {
        template #palette {
            dialog.palette aria-label="Search" {
                div {
                    div.search-line {
                        (icon("search"))
                        input type="search" name="q" aria-label="Search" placeholder="Search records, or a page" aria-controls="found" autocomplete="off" spellcheck="false";
                        kbd aria-hidden="true" { "Esc" }
                    }
                    ul #found role="listbox" aria-label="Results" tabindex="0" {}
                    p.sr #found-count role="status" {}
                }
            }
        }
    }
}

fn new_workspace() -> Markup {
    html! {
        (dialog("new-workspace", "New workspace", html! {
            form.form data-new-workspace novalidate {
                (parts::field("workspace-name", "Name", "", html! {
                    input.input #workspace-name name="name" maxlength="200" autocomplete="off";
                }))
                p.btns {
                    button.btn.main type="submit" { "Create" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
        }))
    }
}
