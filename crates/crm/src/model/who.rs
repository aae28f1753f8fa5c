//! Who is calling, and what they may do.

use std::sync::Arc;

use crate::model::lifecycle::Phase;

/// What a key or member may do in a workspace, from the least to the most. A viewer's sessions are read-only in PostgreSQL
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Reads, writes, and decides who else may.
    Owner,
}

impl Role {
    /// The role's name on the wire and in the control database.
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Member => "member",
            Role::Viewer => "viewer",
        }
    }

    /// Reads a role's name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::Owner, Role::Member, Role::Viewer].into_iter().find(|role| role.name() == name)
    }
}

/// Which of a workspace's two data sets: live, or the test data that `sk_test_` keys see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The real data.
    Live,
    /// The test data, in a database of its own.
    Test,
}

impl Mode {
    /// The mode's name on the wire and in the control database.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Test => "test",
        }
    }

    /// Reads a mode's name.
    pub fn parse(name: &str) -> Option<Mode> {
        [Mode::Live, Mode::Test].into_iter().find(|mode| mode.name() == name)
    }
}

/// The caller of an ask, as the control plane knows it.
#[derive(Clone, Debug)]
pub struct Who {
    /// `ws_…`
    pub workspace_id: Arc<str>,
    /// What the activity feed will say: `api_key:ak_…`, `user:u_…`, `automation:auto_…`.
    pub actor: Arc<str>,
    /// What the caller may do.
    pub role: Role,
    /// Which data set the caller sees.
    pub mode: Mode,
    /// How far the workspace is in its life; decides whether it may still be written.
    pub phase: Phase,
    /// What the workspace's plan has.
    pub features: Features,
}

/// Something that a billing plan may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Associations between records.
    Associations,
}

/// What a workspace's billing plan has beyond records; everything, unless the operator says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Associations between records.
    pub associations: bool,
}

impl Features {
    /// Whether the plan has it.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::Associations => self.associations,
        }
    }
}

impl Default for Features {
    fn default() -> Features {
        Features { associations: true }
    }
}

/// What the caller says of the run that a request belongs to (the `X-Agent`, `X-Run-Id` and `X-Reason`
/// headers). It is kept in the `custom` of every activity entry that the request causes.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// `X-Agent`
    pub agent: Option<String>,
    /// `X-Run-Id`
    pub run_id: Option<String>,
    /// `X-Reason`
    pub reason: Option<String>,
    /// The id of the request itself.
    pub request_id: String,
}

/// Longest text of a provenance that is kept, in bytes.
const MAX_PROVENANCE_BYTES: usize = 500;

impl Provenance {
    /// The provenance of a request. The texts are cut to 500 bytes, and to what is UTF-8 of them.
    pub fn new(request_id: &str, agent: Option<&[u8]>, run_id: Option<&[u8]>, reason: Option<&[u8]>) -> Provenance {
        let text = |said: &[u8]| {
            let text = String::from_utf8_lossy(&said[..said.len().min(MAX_PROVENANCE_BYTES)]);
            text.trim_end_matches('\u{fffd}').to_owned()
        };
        Provenance {
            agent: agent.map(text),
            run_id: run_id.map(text),
            reason: reason.map(text),
            request_id: request_id.to_owned(),
        }
    }

    /// The JSON object that goes into `activity.custom`.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        let said = [("agent", &self.agent), ("run_id", &self.run_id), ("reason", &self.reason)];
        for (key, value) in said {
            if let Some(value) = value {
                object.insert(key.into(), value.as_str().into());
            }
        }
        object.insert("request_id".into(), self.request_id.as_str().into());
        serde_json::Value::Object(object).to_string()
    }
}
