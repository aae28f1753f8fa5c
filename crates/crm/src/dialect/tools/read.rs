//! Reads the arguments of a tool as asks. A tool is one ask; a tool that gets a contact, a company or a deal has further
//! asks for the records beside it.

use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::dialect::controls::{self, Limits};
use crate::dialect::route::Operation;
use crate::dialect::stored_id;
use crate::dialect::tools::argument::Argument;
use crate::dialect::tools::filter::{equals, filters};
use crate::dialect::tools::names::{column_of, in_own_names, own, put, slug, table_of_id, word};
use crate::dialect::tools::permanent::may_remove;
use crate::dialect::tools::said::{Said, View};
use crate::dialect::tools::schema::{
    CONFIRM, MATCH_ON, arguments as known_arguments, name_argument, takes_columns, takes_confirm,
};
use crate::dialect::tools::{Act, ControlAct, Tool, log};
use crate::model::ask::{Ask, EMAILS, PipelineName, Single, Steps};
use crate::model::control::ControlAsk;
use crate::model::entity::{Entity, FieldKind, by_table, by_word};
use crate::model::fault::{Fault, nearest};
use crate::model::filter::Filter;
use crate::model::who::checked_run_id;

/// Rows of a page if the call has no `limit`. Models pay for each of them.
const DEFAULT_LIMIT: usize = 25;
const DEFAULT_SEARCH_LIMIT: usize = 10;
/// Records of each kind that are shown beside a record.
const BESIDE: usize = 5;

/// The tokens of an answer, by default and at most. An answer is cut to them.
const DEFAULT_TOKENS: usize = 8_000;
const MAX_TOKENS: usize = 50_000;

/// A tool's arguments, read.
#[derive(Debug)]
pub struct ToolAsk {
    /// The ask.
    pub ask: Ask,
    /// Further asks, whose records are shown with the answer.
    pub beside: Vec<Beside>,
    /// How the answer is shown.
    pub view: View,
    /// The argument `reason`.
    pub reason: Option<String>,
    /// The argument `run_id`.
    pub run_id: Option<String>,
    /// The arguments `dry_run` and `max_affected`.
    pub limits: Limits,
    /// The argument `confirm`.
    pub is_confirmed: bool,
}

impl ToolAsk {
    /// Whether a person must confirm it first.
    pub fn is_unconfirmed(&self) -> bool {
        !self.is_confirmed && may_remove(&self.ask)
    }

    /// Whether the outcome is told by what the change log has.
    pub fn wants_effect(&self) -> bool {
        let is_counted = match &self.ask {
            Ask::Single(_) | Ask::Operations(_) => true,
            Ask::Steps(steps) => matches!(steps, Steps::AddMembers { .. } | Steps::Sql { .. }),
            Ask::Control(_) => false,
        };
        is_counted && self.view.act.writes()
    }
}

/// An ask whose records are shown with the answer to another one.
#[derive(Debug)]
pub struct Beside {
    /// The key of the records in the answer.
    pub key: &'static str,
    /// The ask.
    pub ask: Ask,
}

/// Reads the arguments of a tool. `limit` replaces the limit of the call, if there is one.
pub fn read(
    tool: &Tool,
    dialect: &Dialect,
    arguments: Map<String, Value>,
    limit: Option<usize>,
) -> Result<ToolAsk, Fault> {
    let known = known_arguments(tool, dialect);
    let mut said = Said { tool, dialect, values: renamed(tool, dialect, arguments, known)? };
    said.check(known)?;
    let (reason, run_id, limits) = match tool.kind.act.changes_records() {
        true => (said.text("reason")?, said.run_id()?, controls::of_arguments(&mut said.values)?),
        false => (None, None, Limits::default()),
    };
    let mut view = said.view()?;
    if let Some(limit) = limit {
        view.limit = limit;
    }
    let is_paged = known.iter().any(|it| it.name == "limit");
    if is_paged {
        said.values.insert("limit".into(), view.limit.into());
    }
    let mut beside = Vec::new();
    let is_confirmed = takes_confirm(tool) && said.flag(CONFIRM)?;
    let ask = said.ask(&mut view, &mut beside)?;
    view.is_empty = match &ask {
        Ask::Single(Single::Update { values, .. }) | Ask::Control(ControlAsk::Update { values, .. }) => {
            values.is_empty()
        }
        _ => false,
    };
    Ok(ToolAsk { ask, beside, view, reason, run_id, limits, is_confirmed })
}

/// Renames arguments that have the name of the other dialect, or a common other name.
fn renamed(
    tool: &Tool,
    dialect: &Dialect,
    arguments: Map<String, Value>,
    known: &[Argument],
) -> Result<Map<String, Value>, Fault> {
    const ALIASES: &[(&str, &str)] = &[("q", "query"), ("query", "sql"), ("expand[]", "expand")];
    let is_known = |name: &str| known.iter().any(|it| it.name == name);
    let mut renamed = Map::with_capacity(arguments.len());
    for (name, value) in arguments {
        let by_act = log::alias(tool.kind.act, &name);
        let alias = ALIASES.iter().find(|(from, to)| *from == name && is_known(to)).map(|(_, to)| *to);
        // A model may name the record by its kind: `deal_id`.
        let is_its_id = |entity: &Entity| name.strip_suffix("_id") == Some(entity.name) && is_known("id");
        let alias = alias.or(tool.entity.filter(|entity| is_its_id(entity)).map(|_| "id"));
        let own = tool.entity.map_or(name.as_str(), |entity| own(dialect, entity, &name));
        let alias = by_act.or(alias);
        let right = match is_known(&name) {
            true => name,
            false => alias.or(Some(own).filter(|own| is_known(own))).map_or(name.clone(), str::to_owned),
        };
        put(&mut renamed, right, value)?;
    }
    Ok(renamed)
}

impl Said<'_> {
    /// Refuses a call that lacks an argument or has an unknown one.
    fn check(&self, known: &[Argument]) -> Result<(), Fault> {
        let names = || known.iter().map(|it| it.name.as_str());
        if !takes_columns(self.tool)
            && let Some(name) = self.values.keys().find(|name| !names().any(|known| known == *name))
        {
            return Err(unknown(name, names()));
        }
        let missing = known.iter().find(|it| it.is_required && self.values.get(&it.name).is_none_or(Value::is_null));
        match missing {
            None => Ok(()),
            Some(missing) => {
                // A misspelled name is the likely reason for a missing one.
                let mut extra = self.values.keys().filter(|name| !names().any(|known| known == *name));
                match extra.find(|name| nearest(name, [missing.name.as_str()].into_iter()).is_some()) {
                    Some(name) => Err(unknown(name, [missing.name.as_str()].into_iter())),
                    None => Err(Fault::invalid_with_hint(
                        format!("{} requires \"{}\".", self.tool.name(), missing.name),
                        format!("The arguments are {}.", names().collect::<Vec<_>>().join(", ")),
                    )),
                }
            }
        }
    }

    fn run_id(&mut self) -> Result<Option<String>, Fault> {
        let run_id = self.text("run_id")?;
        run_id.as_ref().map_or(Ok(()), |text| checked_run_id(text.as_bytes()))?;
        Ok(run_id)
    }

    fn view(&mut self) -> Result<View, Fault> {
        let act = self.tool.kind.act;
        let reads = |name| match act {
            Act::List | Act::ListRows | Act::ListStages | Act::Search | Act::Find => true,
            Act::ListRuns
            | Act::ListChanges
            | Act::ListEvents
            | Act::Control(ControlAct::List | ControlAct::History, _) => matches!(name, "limit" | "max_tokens"),
            Act::Fetch | Act::Describe | Act::Query | Act::Execute | Act::Operations | Act::Request | Act::Undo => {
                name == "max_tokens"
            }
            _ => false,
        };
        let mut view = View {
            act,
            table: self.tool.entity.map(|entity| entity.table.to_owned()),
            fields: Vec::new(),
            is_detailed: false,
            max_tokens: DEFAULT_TOKENS,
            named: None,
            is_hard: false,
            is_empty: false,
            limit: if act == Act::Search { DEFAULT_SEARCH_LIMIT } else { DEFAULT_LIMIT },
        };
        if reads("max_tokens")
            && let Some(text) = self.number("max_tokens")?
        {
            let tokens = text.parse::<u64>().ok().filter(|tokens| *tokens > 0);
            let refuse = || Fault::invalid(format!("\"max_tokens\" must be a number from 1 to {MAX_TOKENS}."));
            view.max_tokens = tokens.ok_or_else(refuse)?.min(MAX_TOKENS as u64) as usize;
        }
        if reads("limit")
            && let Some(text) = self.number("limit")?
        {
            view.limit = crate::model::page::parse_limit(Some(&text))?;
        }
        if reads("response_format") {
            view.is_detailed = match self.text("response_format")?.as_deref() {
                None | Some("concise") => false,
                Some("detailed") => true,
                Some(other) => {
                    let message = format!("\"response_format\" is concise or detailed, not \"{other}\".");
                    return Err(Fault::invalid(message));
                }
            };
            view.fields = match self.values.remove("fields") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::String(names)) => names.split(',').map(|name| name.trim().to_owned()).collect(),
                Some(Value::Array(names)) => {
                    let names: Option<Vec<String>> = names.iter().map(|it| it.as_str().map(str::to_owned)).collect();
                    names.ok_or_else(|| Fault::invalid("\"fields\" must be an array of field names."))?
                }
                Some(_) => return Err(Fault::invalid("\"fields\" must be an array of field names.")),
            };
        }
        Ok(view)
    }

    /// The table of the call: the tool's own, or the argument.
    fn table(&mut self) -> Result<String, Fault> {
        match self.tool.entity {
            Some(entity) => Ok(entity.table.to_owned()),
            None => {
                let table = self.required("table")?;
                // A model may name a table by its records: `contact`, `People`. The table `activity` is the feed.
                let slug = slug(&table);
                let is_label = slug != table;
                let named = by_word(&slug).filter(|it| by_table(&table).is_none() && (is_label || it.name == table));
                Ok(named.map_or(table, |entity| entity.table.to_owned()))
            }
        }
    }

    fn pipeline(&mut self) -> Result<PipelineName, Fault> {
        Ok(self.text("pipeline")?.map_or(PipelineName::Default, PipelineName::Key))
    }

    /// The record's fields: the arguments that are left, or the argument `values`.
    fn fields(&mut self, table: &str) -> Result<Map<String, Value>, Fault> {
        let fields = match self.tool.entity {
            Some(_) => std::mem::take(&mut self.values),
            None => self.object("values")?,
        };
        self.in_own_names(table, fields)
    }

    fn in_own_names(&self, table: &str, mut fields: Map<String, Value>) -> Result<Map<String, Value>, Fault> {
        let Some(entity) = by_table(table) else { return Ok(fields) };
        for (name, value) in &mut fields {
            if let Some(word) = value.as_str().and_then(|text| word(entity, column_of(entity, name), text)) {
                *value = word.into();
            }
        }
        in_own_names(self.dialect, entity, fields)
    }

    fn ask(&mut self, view: &mut View, beside: &mut Vec<Beside>) -> Result<Ask, Fault> {
        let act = self.tool.kind.act;
        if self.tool.entity.is_none()
            && let Some(ask) = self.elsewhere(act, view)
        {
            return ask;
        }
        match act {
            Act::Search => {
                let words = self.required("query")?;
                self.values.insert("q".into(), words.into());
                self.rest(Operation::SearchAll)
            }
            Act::Fetch => self.fetch(view),
            Act::Describe => {
                view.table = self.text("table")?;
                self.rest(Operation::Schema)
            }
            Act::List => self.list(view),
            Act::Find => self.find(view, beside),
            Act::Create => {
                let table = self.table()?;
                view.table = Some(table.clone());
                let matching = self.tool.entity.is_none().then(|| self.values.remove(MATCH_ON)).flatten();
                let fields = self.fields(&table)?;
                match matching.filter(|names| !names.is_null()) {
                    None => self.arguments(Operation::Create(&table), fields),
                    Some(names) => self.assert(&table, names, fields),
                }
            }
            Act::Update => {
                let table = self.table()?;
                view.table = Some(table.clone());
                let id = self.required(name_argument(self.tool))?;
                let fields = self.fields(&table)?;
                self.arguments(Operation::Update(&table, &id), fields)
            }
            Act::Delete => self.delete(view),
            Act::Restore => {
                let (table, id) = (self.table()?, self.required("id")?);
                view.table = Some(table.clone());
                self.rest(Operation::Restore(&table, &id))
            }
            Act::Merge => {
                let (table, id) = (self.table()?, self.required("id")?);
                view.table = Some(table.clone());
                let prefer = self.object("prefer")?;
                self.values.insert("prefer".into(), Value::Object(self.in_own_names(&table, prefer)?));
                self.rest(Operation::Merge(&table, &id))
            }
            Act::SendEmail => {
                view.table = Some(EMAILS.to_owned());
                self.rest(Operation::SendEmail)
            }
            Act::Upsert => self.upsert(),
            Act::Move => {
                let id = self.required("id")?;
                view.named = self.values.get("stage").and_then(Value::as_str).map(str::to_owned);
                self.rest(Operation::Update("deals", &id))
            }
            Act::ListStages => {
                let pipeline = self.pipeline()?;
                self.rest(Operation::Stages(pipeline))
            }
            Act::CreateStage => {
                let pipeline = self.pipeline()?;
                let fields = self.fields("pipeline_stages")?;
                self.arguments(Operation::CreateStage(pipeline), fields)
            }
            Act::UpdateStage => {
                let (pipeline, key) = (self.pipeline()?, self.required("key")?);
                let fields = self.fields("pipeline_stages")?;
                self.arguments(Operation::UpdateStage(pipeline, &key), fields)
            }
            Act::DeleteStage => {
                let (pipeline, key) = (self.pipeline()?, self.required("key")?);
                self.rest(Operation::DeleteStage(pipeline, &key))
            }
            Act::ListRows => {
                let id = self.required("list_id")?;
                self.rest(Operation::ListRows(&id))
            }
            Act::AddMembers => {
                let id = self.required("list_id")?;
                self.rest(Operation::AddMembers(&id))
            }
            Act::RemoveMember => {
                let (id, member) = (self.required("list_id")?, self.required("member_id")?);
                self.rest(Operation::RemoveMember(&id, &member))
            }
            Act::Query | Act::Execute => self.rest(Operation::Sql),
            Act::Request => self.request(view),
            Act::Import | Act::OpenRun => Err(Fault::internal("an act without a tool")),
            Act::Control(act, resource) => self.control(act, resource, view),
            Act::Operations
            | Act::ListRuns
            | Act::FindRun
            | Act::ListChanges
            | Act::FinishRun
            | Act::Undo
            | Act::ListEvents => self.log(act, view),
        }
    }

    fn fetch(&mut self, view: &mut View) -> Result<Ask, Fault> {
        let id = self.required("id")?;
        let (table, id) = match (table_of_id(&id), id.split_once('/')) {
            (Some(entity), _) => (entity.table.to_owned(), id),
            (None, Some((table, id))) => (table.to_owned(), id.to_owned()),
            (None, None) => {
                return Err(Fault::invalid_with_hint(
                    format!("\"{id}\" is not the id of a built-in record."),
                    "Use an id that search or list_records returned. For a table of your own, write table/id.",
                ));
            }
        };
        view.table = Some(table.clone());
        self.arguments(Operation::Find(&table, &id), Map::new())
    }

    fn find(&mut self, view: &mut View, beside: &mut Vec<Beside>) -> Result<Ask, Fault> {
        let table = self.table()?;
        let id = self.required(name_argument(self.tool))?;
        view.table = Some(table.clone());
        if let Some(entity) = by_table(&table).filter(|_| view.fields.is_empty()) {
            self.add_beside(entity, &stored_id(&id), beside)?;
        }
        self.rest(Operation::Find(&table, &id))
    }

    /// The newest activities of a contact, company or deal, and the associations from and to it.
    fn add_beside(&self, entity: &Entity, id: &str, beside: &mut Vec<Beside>) -> Result<(), Fault> {
        let activities = by_table("activities").into_iter().flat_map(|it| it.fields);
        let link = activities.into_iter().find(|field| field.kind == FieldKind::Id(entity.table));
        let Some(link) = link else { return Ok(()) };
        for (key, table, column) in [
            ("activities", "activities", link.name),
            ("associations", "associations", "from_id"),
            ("associations", "associations", "to_id"),
        ] {
            let filter = equals(column, id.to_owned());
            let mut ask =
                self.arguments(Operation::List(table), [("limit".to_owned(), BESIDE.into())].into_iter().collect())?;
            if let Ask::Single(Single::List { filters, .. }) = &mut ask {
                filters.push(filter);
            }
            beside.push(Beside { key, ask });
        }
        Ok(())
    }

    fn list(&mut self, view: &mut View) -> Result<Ask, Fault> {
        let table = self.table()?;
        view.table = Some(table.clone());
        let conditions = self.object("filter")?;
        let filters: Vec<Filter> = conditions
            .into_iter()
            .map(|(name, value)| filters(&table, &name, value))
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        let rest = std::mem::take(&mut self.values);
        let rest = self.in_own_names(&table, rest)?;
        let mut ask = self.arguments(Operation::List(&table), rest)?;
        if let Ask::Single(Single::List { filters: own, .. }) = &mut ask {
            own.extend(filters);
        }
        Ok(ask)
    }

    fn delete(&mut self, view: &mut View) -> Result<Ask, Fault> {
        let table = self.table()?;
        let id = self.required(name_argument(self.tool))?;
        view.table = Some(table.clone());
        let hard = self.flag("hard")?;
        view.is_hard = hard;
        let mut rest = std::mem::take(&mut self.values);
        if hard {
            rest.insert("hard".into(), true.into());
        }
        self.arguments(Operation::Delete(&table, &id), rest)
    }

    /// Creates a record, or updates the one that matches by these fields.
    fn assert(&self, table: &str, names: Value, fields: Map<String, Value>) -> Result<Ask, Fault> {
        let own_name =
            |name: &str| by_table(table).map_or(name.to_owned(), |it| own(self.dialect, it, name).to_owned());
        let names = match names {
            Value::Array(names) => {
                names.into_iter().map(|it| it.as_str().map(own_name).map_or(it, Value::from)).collect()
            }
            Value::String(name) => own_name(&name).into(),
            other => other,
        };
        let arguments = [("match".to_owned(), names), ("data".to_owned(), Value::Object(fields))];
        self.arguments(Operation::Assert(table), arguments.into_iter().collect())
    }

    fn upsert(&mut self) -> Result<Ask, Fault> {
        if let Some(Value::Array(rows)) = self.values.get_mut("contacts") {
            let rows = std::mem::take(rows);
            let rows = rows.into_iter().map(|row| match row {
                Value::Object(fields) => self.in_own_names("contacts", fields).map(Value::Object),
                other => Ok(other),
            });
            let rows: Vec<Value> = rows.collect::<Result<_, _>>()?;
            self.values.insert("contacts".into(), Value::Array(rows));
        }
        self.rest(Operation::Batch("contacts"))
    }
}

/// An argument that does not exist, with the nearest one that does.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Fault {
    match nearest(name, known.clone()) {
        Some(near) => Fault::Unknown { what: "argument", name: name.to_owned(), nearest: Some(near) },
        None => Fault::invalid_with_hint(
            format!("Unknown argument \"{name}\"."),
            format!("The arguments are {}.", known.collect::<Vec<_>>().join(", ")),
        ),
    }
}
