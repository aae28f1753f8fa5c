//! The reference, `/docs/reference`: every method and path with samples in each language and dialect. It is written from the tables that
//! the code itself reads.

use maud::{Markup, html};

use crate::door::docs::calls::Calls;
use crate::door::docs::page::prose;
use crate::door::docs::paths::{PathGroup, Referenced, of_keys, of_people};
use crate::door::pages::parts::icon;
use crate::door::pages::public::{PublicPage, document, samples};

/// The page.
pub fn page(base: &str) -> String {
    let calls = Calls::new(base);
    let groups: Vec<PathGroup> = of_keys().into_iter().chain([of_people()]).collect();
    let body = html! {
        div.wrap.docs {
            nav aria-label="Reference" { (contents(&groups)) }
            main.prose #main {
                p.only-narrow { button.btn type="button" popovertarget="contents" { (icon("list")) "Contents" } }
                div.menu #contents popover { (contents(&groups)) }
                h1 { "Reference" }
                p.lead {
                    "Every path with a call in curl, JavaScript and Python, for keys of both dialects. " code.inline { "KITH_KEY" }
                    " is a key that begins with " code.inline { "acrm_" } ", " code.inline { "RELM_KEY" } " one that begins with " code.inline { "sk_" }
                    ", and " code.inline { "KITH_SESSION" } " the token of a person’s session. The " a href="/docs/api" { "API explorer" } " has each answer."
                }
                @for group in &groups {
                    h2 id=(group_anchor(group)) { a href={ "#" (group_anchor(group)) } { (group.title) } }
                    @for path in &group.paths { (entry(path, &calls)) }
                }
            }
        }
    };
    document(
        base,
        &PublicPage {
            title: "Reference",
            description: "Every path of Kith's API with a call in curl, JavaScript and Python, in both dialects.",
            nav: "/docs/reference",
            body,
        },
    )
    .into_string()
}

fn group_anchor(group: &PathGroup) -> String {
    group.title.to_lowercase().replace(',', "").replace(' ', "-")
}

fn contents(groups: &[PathGroup]) -> Markup {
    html! {
        h2 { "Reference" }
        @for group in groups { a href={ "#" (group_anchor(group)) } { (group.title) } }
    }
}

fn entry(path: &Referenced, calls: &Calls) -> Markup {
    let (anchor, made) = (path.anchor(), calls.samples(path.method, path.path));
    html! {
        section.call-entry id=(anchor) {
            h3 { span class={ "verb mono " (path.method.name().to_lowercase()) } { (path.method.name()) } " " a href={ "#" (anchor) } { code class="path" { (path.shown) } } }
            p.soft { (prose(path.about)) }
            @if !made.is_empty() { (samples(&format!("call-{anchor}"), &format!("{} {}", path.method.name(), path.shown), &made)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_has_samples_in_each_dialect_that_has_it() {
        let calls = Calls::new("https://kith.example");
        let mut anchors = BTreeSet::new();
        for group in of_keys() {
            for path in group.paths {
                let samples = calls.samples(path.method, path.path);
                // Only without a key a workspace is made, and that is said in one dialect.
                let expected = if path.path == "/v1/workspaces" { 3 } else { 6 };
                assert_eq!(samples.len(), expected, "{} {}", path.method.name(), path.path);
                assert!(anchors.insert(path.anchor()), "{}", path.anchor());
            }
        }
        for path in of_people().paths {
            assert!(calls.samples(path.method, path.path).len() >= 3, "{} {}", path.method.name(), path.path);
            assert!(anchors.insert(path.anchor()), "{}", path.anchor());
        }
    }
}
