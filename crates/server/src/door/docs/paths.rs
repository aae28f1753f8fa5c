//! The methods and paths that the documentation lists, by group. They come from the tables that the dialects read.

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::llms::readable_path;
use crm::dialect::openapi::control::{self, TASKS};
use crm::dialect::openapi::people::readable;
use crm::dialect::openapi::{Act, Endpoint};
use crm::model::call::Method;

/// A method and a path.
pub struct Referenced {
    /// The method.
    pub method: Method,
    /// The path with placeholders, as the OpenAPI documents have it.
    pub path: &'static str,
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
            &[Act::List, Act::Search, Act::SearchAll, Act::Create, Act::Assert, Act::Batch, Act::Import, Act::Find],
        ),
        ("Changes", &[Act::Update, Act::Delete, Act::Restore, Act::Merge]),
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
        found
            .map(|it| Referenced { method: it.method, path: it.path, shown: readable_path(it), about: it.about })
            .collect()
    };
    let mut all: Vec<PathGroup> =
        groups.into_iter().enumerate().map(|(at, (title, acts))| PathGroup { title, paths: of(at, acts) }).collect();
    let task = |it: &control::Task| Referenced {
        method: it.method,
        path: it.path,
        shown: control::readable_path(it),
        about: it.about,
    };
    all.push(PathGroup { title: "Webhooks, automations, e-mail and events", paths: TASKS.iter().map(task).collect() });
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
