//! What entries of the feed and runs name only by ids: those who act, which are people, keys and automations, and the currencies of
//! changed amounts.

use std::collections::{BTreeSet, HashMap};

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

/// The names of actors, and the currencies of deals.
#[derive(Default)]
pub struct Names {
    /// By `user:u_…`, `api_key:ak_…`, `automation:auto_…`.
    actors: HashMap<String, String>,
    /// By the deal's id.
    currencies: HashMap<String, String>,
}

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
        Names { actors: names, currencies: currencies(visit, entries).await }
    }

    /// The currency of a deal whose amount an entry changed; empty if it is not known.
    pub fn currency(&self, deal: &str) -> &str {
        self.currencies.get(deal).map_or("", String::as_str)
    }

    /// The name of an actor: the agent's, or that of the person, key or automation.
    pub fn who(&self, actor: &str, agent: Option<&str>) -> String {
        if let Some(agent) = agent.filter(|agent| !agent.is_empty()) {
            return agent.to_owned();
        }
        if let Some(name) = self.actors.get(actor) {
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

/// The currencies of the deals whose amounts the entries changed.
async fn currencies(visit: &PageVisit<'_>, entries: &[Value]) -> HashMap<String, String> {
    let changed = entries.iter().filter(|it| it["changes"]["amount_cents"].is_object());
    let ids = changed.filter_map(|it| it["subject_id"].as_str().or(it["id"].as_str()));
    let ids: BTreeSet<&str> = ids.filter(|id| id.starts_with("d_")).take(MOST).collect();
    if ids.is_empty() {
        return HashMap::new();
    }
    let path = format!("deals?id={}&include_deleted=true&limit={MOST}", Vec::from_iter(ids).join(","));
    let listed = visit.get(&path).await.unwrap_or_default();
    let deals = listed["data"].as_array().into_iter().flatten();
    deals.filter_map(|deal| Some((said(deal, "id")?, said(deal, "currency")?))).collect()
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
