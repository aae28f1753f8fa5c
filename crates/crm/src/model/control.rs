//! Asks about what lives in the control plane: webhook endpoints and their deliveries, automations, the e-mail integration and the
//! sending domains at its provider. They pass the same hall as asks about records.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::page::PageAsk;

/// A kind of thing in the control plane that callers create, change and delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Addresses that events are sent to.
    Webhooks,
    /// Rules that act when events fire.
    Automations,
    /// Sending domains at the e-mail provider.
    Domains,
}

impl Resource {
    /// The path's first segment, for error messages: `webhooks`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Webhooks => "webhooks",
            Resource::Automations => "automations",
            Resource::Domains => "email/domains",
        }
    }

    /// The name of one of them: `webhook`.
    pub fn one(self) -> &'static str {
        match self {
            Resource::Webhooks => "webhook",
            Resource::Automations => "automation",
            Resource::Domains => "email_domain",
        }
    }

    /// The prefix of their ids, without the underscore.
    pub fn prefix(self) -> &'static str {
        match self {
            Resource::Webhooks => "whep",
            Resource::Automations => "auto",
            // The provider makes them.
            Resource::Domains => "",
        }
    }
}

/// The name of one run of an automation.
pub const RUN: &str = "automation_run";
/// The name of the e-mail integration.
pub const INTEGRATION: &str = "email_integration";
/// The name of the mailbox that is read.
pub const MAILBOX: &str = "mailbox";
/// The name of one request in the log.
pub const REQUEST: &str = "request";
/// The name of what an automation would do.
pub const TRIAL: &str = "automation_test";
/// The name of one delivery.
pub const DELIVERY: &str = "webhook_delivery";

/// An ask about the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ControlAsk {
    /// Lists a page, newest first.
    List {
        /// What is listed.
        resource: Resource,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Finds one by its id.
    Find {
        /// What is searched.
        resource: Resource,
        /// The id.
        id: String,
    },
    /// Creates one.
    Create {
        /// What is created.
        resource: Resource,
        /// The fields of the request.
        values: Map<String, Value>,
        /// The dialect of the request. A webhook's events are written in it.
        dialect: String,
    },
    /// Changes some fields of one.
    Update {
        /// What is changed.
        resource: Resource,
        /// The id.
        id: String,
        /// The fields of the request.
        values: Map<String, Value>,
    },
    /// Deletes one.
    Delete {
        /// What is deleted.
        resource: Resource,
        /// The id.
        id: String,
    },
    /// Replaces a webhook endpoint's secret. The previous one is valid for another day.
    RotateSecret {
        /// The endpoint's id.
        id: String,
    },
    /// Sends a test event to a webhook endpoint.
    TestWebhook {
        /// The endpoint's id.
        id: String,
    },
    /// Lists a page of a webhook endpoint's deliveries, newest first.
    Deliveries {
        /// The endpoint's id.
        id: String,
        /// The status of the deliveries, if only one is wanted.
        status: Option<String>,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Lists a page of an automation's runs, newest first.
    Runs {
        /// The automation's id.
        id: String,
        /// The status of the runs, if only one is wanted.
        status: Option<String>,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Finds the e-mail integration.
    Integration,
    /// Sets the e-mail integration.
    SetIntegration {
        /// The fields of the request.
        values: Map<String, Value>,
    },
    /// Removes the e-mail integration.
    RemoveIntegration,
    /// Finds the mailbox that is read.
    Mailbox,
    /// Connects a mailbox, in the place of a previous one.
    ConnectMailbox {
        /// The fields of the request.
        values: Map<String, Value>,
    },
    /// Disconnects the mailbox.
    DisconnectMailbox,
    /// Has the provider check the DNS records of a sending domain.
    VerifyDomain {
        /// The domain's id at the provider.
        id: String,
    },
    /// Lists a page of the requests that the workspace has got, newest first.
    Logs {
        /// The filters, by name: status, method, since.
        filters: Map<String, Value>,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Says what an automation would do with an event. Nothing is kept.
    TestAutomation {
        /// The automation's id.
        id: String,
        /// The fields of the request.
        values: Map<String, Value>,
        /// The dialect of the request, in which the event is written.
        dialect: String,
    },
    /// Sends a delivery again.
    Replay {
        /// The endpoint's id.
        id: String,
        /// The delivery's id.
        delivery_id: String,
    },
    /// Sends all deliveries again that failed since a time.
    ReplayFailed {
        /// The endpoint's id.
        id: String,
        /// The fields of the request.
        values: Map<String, Value>,
    },
}

impl ControlAsk {
    /// The name of what the answer shows.
    pub fn object(&self) -> &'static str {
        match self {
            ControlAsk::List { resource, .. }
            | ControlAsk::Find { resource, .. }
            | ControlAsk::Create { resource, .. }
            | ControlAsk::Update { resource, .. }
            | ControlAsk::Delete { resource, .. } => resource.one(),
            ControlAsk::RotateSecret { .. } => Resource::Webhooks.one(),
            ControlAsk::TestWebhook { .. } | ControlAsk::Deliveries { .. } | ControlAsk::Replay { .. } => DELIVERY,
            ControlAsk::Runs { .. } => RUN,
            ControlAsk::Integration | ControlAsk::SetIntegration { .. } | ControlAsk::RemoveIntegration => INTEGRATION,
            ControlAsk::Mailbox | ControlAsk::ConnectMailbox { .. } | ControlAsk::DisconnectMailbox => MAILBOX,
            ControlAsk::VerifyDomain { .. } => Resource::Domains.one(),
            ControlAsk::Logs { .. } => REQUEST,
            ControlAsk::TestAutomation { .. } => TRIAL,
            ControlAsk::ReplayFailed { .. } => "replay",
        }
    }

    /// Whether the ask changes something.
    pub fn writes(&self) -> bool {
        match self {
            ControlAsk::List { .. }
            | ControlAsk::Find { .. }
            | ControlAsk::Deliveries { .. }
            | ControlAsk::Runs { .. }
            | ControlAsk::Logs { .. }
            | ControlAsk::Mailbox
            | ControlAsk::Integration => false,
            ControlAsk::Create { .. }
            | ControlAsk::Update { .. }
            | ControlAsk::Delete { .. }
            | ControlAsk::RotateSecret { .. }
            | ControlAsk::TestWebhook { .. }
            | ControlAsk::SetIntegration { .. }
            | ControlAsk::RemoveIntegration
            | ControlAsk::ConnectMailbox { .. }
            | ControlAsk::DisconnectMailbox
            | ControlAsk::VerifyDomain { .. }
            // It does the work of writes, although it keeps nothing.
            | ControlAsk::TestAutomation { .. }
            | ControlAsk::Replay { .. }
            | ControlAsk::ReplayFailed { .. } => true,
        }
    }
}
