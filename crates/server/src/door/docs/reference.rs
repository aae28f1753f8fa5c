//! The reference, `/docs/reference`: every method and path with samples in each language and dialect. It is written from the tables that
//! the code itself reads.

use maud::{Markup, html};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::llms::readable_path;
use crm::dialect::openapi::control::{self, TASKS};
use crm::dialect::openapi::people::readable;
use crm::dialect::openapi::{Act, Endpoint};
use crm::model::call::Method;

use crate::door::docs::calls::Calls;
use crate::door::docs::page::prose;
use crate::door::pages::parts::icon;
use crate::door::pages::public::{PublicPage, document, samples};

/// A method and a path.
pub struct Referenced {
    /// The method.
    pub method: Method,
    /// The path with placeholders, as the OpenAPI documents have it.
    path: &'static str,
    /// The path as people read it.
    pub shown: String,
    /// What it does.
    pub about: &'static str,
}

impl Referenced {
    /// The anchor of its entry.
    pub fn anchor(&self) -> String {
        let plain = self.path.replace(['{', '}'], "").replace('/', "-");
        format!("{}{}", self.method.name().to_lowercase(), plain.trim_start_matches("-v1"))
    }
}

/// A group of paths.
pub struct PathGroup {
    /// The heading.
    pub title: &'static str,
    /// The paths, in reading order.
    pub paths: Vec<Referenced>,
}

/// The paths for keys, by group.
pub fn of_keys() -> Vec<PathGroup> {
    let groups: [(&str, &[Act]); 6] = [
        ("Workspace and SQL", &[Act::SignUp, Act::Sql, Act::Operations, Act::Tables, Act::Schema]),
        (
            "Records of any table",
            &[Act::List, Act::Search, Act::SearchAll, Act::Create, Act::Batch, Act::Import, Act::Find],
        ),
        ("Changes", &[Act::Update, Act::Delete, Act::Restore]),
        ("Runs and undo", &[Act::OpenRun, Act::ListRuns, Act::FindRun, Act::RunChanges, Act::FinishRun, Act::Undo]),
        ("Saved lists", &[Act::ListRows, Act::AddMembers, Act::RemoveMember]),
        ("Custom fields, pipelines and stages", &[Act::Stages, Act::CreateStage]),
    ];
    let last = groups.len() - 1;
    let is_in = |it: &Endpoint, at: usize, acts: &[Act]| match it.alias {
        Some(_) => at == last,
        None => acts.contains(&it.act),
    };
    let of = |at: usize, acts: &[Act]| {
        let found = AGENTCRM.reference.endpoints.iter().filter(|it| is_in(it, at, acts));
        found.map(|it| Referenced { method: it.method, path: it.path, shown: readable_path(it), about: it.about }).collect()
    };
    let mut all: Vec<PathGroup> =
        groups.into_iter().enumerate().map(|(at, (title, acts))| PathGroup { title, paths: of(at, acts) }).collect();
    let task = |it: &control::Task| Referenced {
        method: it.method,
        path: it.path,
        shown: control::readable_path(it),
        about: it.about,
    };
    all.push(PathGroup {
        title: "Webhooks, automations, e-mail and events",
        paths: TASKS.iter().map(task).collect(),
    });
    all
}

/// The paths that need a person's session.
pub fn of_people() -> PathGroup {
    let errand = |it: &crm::dialect::openapi::people::Errand| {
        let rest = readable(it);
        let shown = rest.trim_start_matches(it.method.name()).trim_start().to_owned();
        Referenced { method: it.method, path: it.path, shown, about: it.about }
    };
    PathGroup { title: "People", paths: AGENTCRM.reference.errands.iter().map(errand).collect() }
}

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
                assert_eq!(samples.len(), 6, "{} {}", path.method.name(), path.path);
                assert!(anchors.insert(path.anchor()), "{}", path.anchor());
            }
        }
        for path in of_people().paths {
            assert!(calls.samples(path.method, path.path).len() >= 3, "{} {}", path.method.name(), path.path);
            assert!(anchors.insert(path.anchor()), "{}", path.anchor());
        }
    }
}
