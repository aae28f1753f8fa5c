//! Operations on what lives in the control plane: their routes, their bodies, and how they are read. All names are the same in
//! every dialect.

use crate::dialect::arguments::Arguments;
use crate::dialect::read::page;
use crate::dialect::route::Body;
use crate::model::call::Method;
use crate::model::control::{ControlAsk, Resource};
use crate::model::fault::Fault;

/// An operation with its path arguments.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are clear
pub enum ControlOperation<'a> {
    List(Resource),
    Create(Resource),
    Find(Resource, &'a str),
    Update(Resource, &'a str),
    Delete(Resource, &'a str),
    RotateSecret(&'a str),
    TestWebhook(&'a str),
    Deliveries(&'a str),
    Replay(&'a str, &'a str),
    ReplayFailed(&'a str),
}

/// Returns the operation of a method and a path below `/v1`, if there is one.
#[rustfmt::skip] // the table of routes is aligned in columns
pub fn route<'a>(method: Method, path: &[&'a str]) -> Option<ControlOperation<'a>> {
    use Method::{Delete, Get, Patch, Post};
    use Resource::Webhooks;
    Some(match (method, path) {
        (Get,    ["webhooks"])                         => ControlOperation::List(Webhooks),
        (Post,   ["webhooks"])                         => ControlOperation::Create(Webhooks),
        (Get,    ["webhooks", id])                     => ControlOperation::Find(Webhooks, id),
        (Patch,  ["webhooks", id])                     => ControlOperation::Update(Webhooks, id),
        (Delete, ["webhooks", id])                     => ControlOperation::Delete(Webhooks, id),
        (Post,   ["webhooks", id, "rotate-secret"])    => ControlOperation::RotateSecret(id),
        (Post,   ["webhooks", id, "test"])             => ControlOperation::TestWebhook(id),
        (Get,    ["webhooks", id, "deliveries"])       => ControlOperation::Deliveries(id),
        (Post,   ["webhooks", id, "replay", delivery]) => ControlOperation::Replay(id, delivery),
        (Post,   ["webhooks", id, "replay-failed"])    => ControlOperation::ReplayFailed(id),
        _                                              => return None,
    })
}

impl ControlOperation<'_> {
    /// The use of the request's body.
    pub fn body(&self) -> Body {
        match self {
            ControlOperation::Create(_) | ControlOperation::Update(..) | ControlOperation::ReplayFailed(_) => {
                Body::Fields
            }
            ControlOperation::Delete(..)
            | ControlOperation::RotateSecret(_)
            | ControlOperation::TestWebhook(_)
            | ControlOperation::Replay(..) => Body::Empty,
            ControlOperation::List(_) | ControlOperation::Find(..) | ControlOperation::Deliveries(_) => Body::Ignored,
        }
    }
}

/// Reads an operation's arguments, in a dialect.
pub fn read(said: &mut Arguments<'_>, operation: &ControlOperation<'_>, dialect: &str) -> Result<ControlAsk, Fault> {
    said.only_options(match operation {
        ControlOperation::List(_) => &["limit", "cursor"],
        ControlOperation::Deliveries(_) => &["status", "limit", "cursor"],
        _ => &[],
    })?;
    let id = |id: &&str| (*id).to_owned();
    let values = std::mem::take(&mut said.fields);
    Ok(match operation {
        ControlOperation::List(resource) => ControlAsk::List { resource: *resource, page: page(said)? },
        ControlOperation::Deliveries(it) => {
            ControlAsk::Deliveries { id: id(it), status: said.option("status").map(str::to_owned), page: page(said)? }
        }
        ControlOperation::Create(resource) => {
            ControlAsk::Create { resource: *resource, values, dialect: dialect.to_owned() }
        }
        ControlOperation::Find(resource, it) => ControlAsk::Find { resource: *resource, id: id(it) },
        ControlOperation::Update(resource, it) => ControlAsk::Update { resource: *resource, id: id(it), values },
        ControlOperation::Delete(resource, it) => ControlAsk::Delete { resource: *resource, id: id(it) },
        ControlOperation::RotateSecret(it) => ControlAsk::RotateSecret { id: id(it) },
        ControlOperation::TestWebhook(it) => ControlAsk::TestWebhook { id: id(it) },
        ControlOperation::Replay(it, delivery) => ControlAsk::Replay { id: id(it), delivery_id: id(delivery) },
        ControlOperation::ReplayFailed(it) => ControlAsk::ReplayFailed { id: id(it), values },
    })
}
