//! The names of those who act: people, keys, automations. Entries of the feed and runs have only ids.

use std::collections::HashMap;

use maud::{Markup, html};
use serde_json::Value;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;

use crate::door::pages::parts::Hand;
use crate::door::pages::visit::PageVisit;
use crate::people::context::PersonContext;
use crate::people::workspace::{keys, members};

/// The most people, keys and automations whose names are read.
const MOST: usize = 200;

/// The names of actors: `user:u_…`, `api_key:ak_…`, `automation:auto_…`.
#[derive(Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The names of the actors of some entries or runs. Only the lists that are needed are read, and what can't be read is left
    /// without names. An entry with an agent needs no name of its key.
    pub async fn of(visit: &PageVisit<'_>, entries: &[Value]) -> Names {
        let needs = |kind: &str| {
            let is_nameless = |it: &Value| it["agent"].is_null() && it["custom"]["agent"].is_null();
            let acts = |it: &&Value| it["actor"].as_str().is_some_and(|actor| actor.starts_with(kind));
            entries.iter().filter(acts).any(is_nameless)
        };
        let mut names = HashMap::new();
        let visitor = visit.session.visitor();
        let context = PersonContext { app: visit.app, visitor: &visitor };
        let Ok(place) = visit.place() else { return Names::default() };
        let ask = || PageAsk { limit: MOST, ..PageAsk::default() };
        if needs("user:") || needs("api_key:") {
            let listed = members::list(&context, &place.workspace.id, ask()).await;
            for row in rows(visit, listed) {
                let name = said(&row, "name").or_else(|| said(&row, "email"));
                add(&mut names, "user", said(&row, "user_id"), name);
            }
        }
        if needs("api_key:") {
            let listed = keys::list(&context, &place.workspace.id, ask()).await;
            for row in rows(visit, listed) {
                // A key without a name is told by its person.
                let owner = said(&row, "user_id").and_then(|id| names.get(&format!("user:{id}")).cloned());
                let name = said(&row, "name").map(|name| format!("{name} (key)"));
                let name = name.or_else(|| owner.map(|owner| format!("{owner}’s key")));
                let name = name.or_else(|| said(&row, "hint").map(|hint| format!("key {hint}")));
                add(&mut names, "api_key", said(&row, "id"), name);
            }
        }
        if needs("automation:")
            && let Ok(listed) = visit.get(&format!("automations?limit={MOST}")).await
        {
            for row in listed["data"].as_array().into_iter().flatten() {
                add(&mut names, "automation", said(row, "id"), said(row, "name"));
            }
        }
        Names(names)
    }

    /// The name of an actor: the agent's, or that of the person, key or automation.
    pub fn who(&self, actor: &str, agent: Option<&str>) -> String {
        if let Some(agent) = agent.filter(|agent| !agent.is_empty()) {
            return agent.to_owned();
        }
        if let Some(name) = self.0.get(actor) {
            return name.clone();
        }
        match actor.split_once(':') {
            Some(("user", _)) => "A former member",
            Some(("api_key", _)) => "An API key",
            Some(("automation", _)) => "An automation",
            Some(("postgres", _)) => "psql",
            _ => "Kith",
        }
        .to_owned()
    }

    /// The hand of an actor.
    pub fn hand(&self, actor: &str, agent: Option<&str>) -> Markup {
        let agent = agent.filter(|agent| !agent.is_empty());
        match (actor.split_once(':'), agent) {
            (Some(("user", id)), None) => Hand::person(id, &self.who(actor, None)),
            (Some(("user", _)), Some(agent)) => Hand::agent(agent),
            (Some(("automation" | "postgres", _)), _) => Hand::of(actor, agent),
            _ => Hand::agent(self.who(actor, agent).trim_start_matches("key ")),
        }
    }

    /// The hand and the name.
    pub fn shown(&self, actor: &str, agent: Option<&str>) -> Markup {
        html! { span.who { (self.hand(actor, agent)) span.cut { (self.who(actor, agent)) } } }
    }
}

fn rows(visit: &PageVisit<'_>, listed: Result<Answer, Fault>) -> Vec<Value> {
    let shown = listed.and_then(|listed| visit.shown(&listed)).unwrap_or_default();
    shown["data"].as_array().cloned().unwrap_or_default()
}

fn said(row: &Value, name: &str) -> Option<String> {
    row[name].as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn add(names: &mut HashMap<String, String>, kind: &str, id: Option<String>, name: Option<String>) {
    if let (Some(id), Some(name)) = (id, name) {
        names.insert(format!("{kind}:{id}"), name);
    }
}
