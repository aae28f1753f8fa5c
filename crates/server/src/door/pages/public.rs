//! The frame of the pages that people see without an account: the landing page, the documentation, the changelog. Nothing in
//! them depends on the reader.

use std::borrow::Cow;

use maud::{DOCTYPE, Markup, html};

use crate::door::pages::parts::icon;
use crate::door::pages::{assets, layout};

/// A public page without its frame.
pub struct PublicPage<'a> {
    /// The page's name: the beginning of its title.
    pub title: &'a str,
    /// What search engines show.
    pub description: &'a str,
    /// The path of the open entry of the navigation.
    pub nav: &'a str,
    /// The content, with `main` and the one `h1`.
    pub body: Markup,
}

const LINKS: &[(&str, &str)] =
    &[("/docs", "Docs"), ("/docs/api", "API"), ("/docs/errors", "Errors"), ("/changelog", "Changelog")];

/// The whole document of a public page, for Kith's public address.
pub fn document(base: &str, page: &PublicPage<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::head(page.title, Some(page.description)))
            body.public {
                a.skip.btn.main href="#main" { "Skip to the content" }
                header.wrap.top {
                    a.brand href="/" { (layout::logo()) "Kith" }
                    nav aria-label="Kith" {
                        @for (path, name) in LINKS {
                            a href=(path) aria-current=[(page.nav == *path).then_some("page")] { (name) }
                        }
                    }
                    div.btns.push {
                        a.btn.bare href="/login" { "Sign in" }
                        a.btn.main href="/signup" { "Sign up" }
                    }
                }
                (page.body)
                footer.wrap.btns.colophon {
                    span { "Kith " (env!("CARGO_PKG_VERSION")) " at " code { (base) } }
                    a href="/docs" { "Docs" }
                    a href="/openapi.json" { "OpenAPI" }
                    a href="/llms.txt" { "llms.txt" }
                    a href="/changelog" { "Changelog" }
                    span.push { "MIT or Apache 2.0" }
                }
                div #toast .toast popover="manual" role="status" aria-live="polite" { span {} }
                div #alerts .alerts {}
                script type="module" src=(assets::address("core.js")) {}
                script type="module" src=(assets::address("public.js")) {}
            }
        }
    }
}

/// A sample of code: a language and the lines.
pub struct Sample<'a> {
    /// The name on the tab.
    pub name: Cow<'a, str>,
    /// The lines.
    pub text: String,
}

/// Samples beside each other, one shown at a time, with a button that copies the shown one. `id` is of this page alone.
pub fn samples(id: &str, label: &str, samples: &[Sample<'_>]) -> Markup {
    html! {
        div.code data-tabs {
            header.bar {
                div.tabs role="tablist" aria-label=(label) {
                    @for (at, sample) in samples.iter().enumerate() {
                        button type="button" role="tab" id={ (id) "-tab-" (at) } aria-controls={ (id) "-" (at) }
                            aria-selected=(if at == 0 { "true" } else { "false" }) tabindex=[(at > 0).then_some("-1")] { (sample.name) }
                    }
                }
                button.btn.bare.mini.push type="button" data-copy={ (id) "-0" } { (icon("copy")) span { "Copy" } }
            }
            @for (at, sample) in samples.iter().enumerate() {
                pre id={ (id) "-" (at) } role="tabpanel" aria-labelledby={ (id) "-tab-" (at) } tabindex="0" hidden[at > 0] {
                    code { (lines(&sample.text)) }
                }
            }
        }
    }
}

/// One sample without a button.
pub fn plain(text: &str) -> Markup {
    html! { div.code { pre tabindex="0" { code { (lines(text)) } } } }
}

/// Lines of code, with the comments marked.
fn lines(text: &str) -> Markup {
    let is_comment = |line: &str| line.starts_with("# ") || line.starts_with("// ");
    html! {
        @for (at, line) in text.lines().enumerate() {
            @if at > 0 { "\n" }
            @if is_comment(line) { span.cm { (line) } } @else { (line) }
        }
    }
}
