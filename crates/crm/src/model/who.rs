//! The caller of a request: the role, the mode and the features of the plan.

use std::sync::Arc;

use crate::model::fault::Fault;
use crate::model::lifecycle::Phase;

/// The role of a key or a member in a workspace, from the fewest rights to the most. The sessions of a viewer are
/// read-only in PostgreSQL itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Can read.
    Viewer,
    /// Can read and write.
    Member,
    /// Can read, write and manage members.
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

    /// Parses a role's name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::Owner, Role::Member, Role::Viewer].into_iter().find(|role| role.name() == name)
    }
}

/// One of the two data sets of a workspace. Keys with `sk_test_` see the test data; all other keys see the live data.
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

    /// Parses a mode's name.
    pub fn parse(name: &str) -> Option<Mode> {
        [Mode::Live, Mode::Test].into_iter().find(|mode| mode.name() == name)
    }
}

/// The caller of an ask. The control plane provides it.
#[derive(Clone, Debug)]
pub struct Who {
    /// `ws_…`
    pub workspace_id: Arc<str>,
    /// The actor for the activity feed: `api_key:ak_…`, `user:u_…`, `automation:auto_…`.
    pub actor: Arc<str>,
    /// The caller's rights.
    pub role: Role,
    /// The data set that the caller sees.
    pub mode: Mode,
    /// The phase of the workspace, which decides whether it can be written.
    pub phase: Phase,
    /// The features of the workspace's plan.
    pub features: Features,
    /// Whether the caller may run SQL of their own. A person may connect an app without that right.
    pub may_run_sql: bool,
    /// Whether the workspace's e-mail and webhooks leave. If not, they wait.
    pub sends: bool,
}

/// A feature that a billing plan can lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Associations between records.
    Associations,
}

/// The features of a workspace's billing plan. A plan has all of them, unless the operator configures it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Associations between records.
    pub associations: bool,
}

impl Features {
    /// Whether the plan has the feature.
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

/// The caller's description of the run that a request belongs to: the headers `X-Agent`, `X-Run-Id` and `X-Reason`. It
/// is stored in `custom` of every activity entry that the request causes.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The header `X-Agent`.
    pub agent: Option<String>,
    /// The header `X-Run-Id`.
    pub run_id: Option<String>,
    /// The header `X-Reason`.
    pub reason: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// The run or request that fired an automation. Only the run records it.
    pub caused_by: Option<String>,
}

/// Maximum length of a text of the provenance, in bytes. Longer headers are cut.
pub const MAX_PROVENANCE_BYTES: usize = 500;

impl Provenance {
    /// Creates the provenance of a request. The texts are cut to 500 bytes. Invalid UTF-8 is replaced, or removed at the end.
    pub fn new(request_id: &str, agent: Option<&[u8]>, run_id: Option<&[u8]>, reason: Option<&[u8]>) -> Provenance {
        let cut = |said: &[u8], most: usize| {
            let text = String::from_utf8_lossy(&said[..said.len().min(most)]);
            text.trim_end_matches('\u{fffd}').to_owned()
        };
        let text = |said: &[u8]| cut(said, MAX_PROVENANCE_BYTES);
        Provenance {
            agent: agent.map(text),
            run_id: run_id.map(|said| cut(said, MAX_RUN_ID_CHARACTERS * 4)),
            reason: reason.map(text),
            request_id: request_id.to_owned(),
            caused_by: None,
        }
    }

    /// The JSON object for `activity.custom`, with further members for the database. It stores none of these.
    pub fn to_json(&self, further: &[(&str, serde_json::Value)]) -> String {
        let mut object = serde_json::Map::new();
        let said = [("agent", &self.agent), ("run_id", &self.run_id), ("reason", &self.reason)];
        for (key, value) in said {
            if let Some(value) = value {
                object.insert(key.into(), value.as_str().into());
            }
        }
        object.insert("request_id".into(), self.request_id.as_str().into());
        if let Some(cause) = &self.caused_by {
            object.insert("caused_by".into(), cause.as_str().into());
        }
        object.extend(further.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        serde_json::Value::Object(object).to_string()
    }
}

/// Maximum length of a run's name, in characters.
const MAX_RUN_ID_CHARACTERS: usize = 200;

/// Refuses a name of a run that is empty or too long, and one that a header cannot carry as it is. The bytes must be UTF-8: with
/// replaced bytes two runs would have one name.
pub fn checked_run_id(name: &[u8]) -> Result<(), Fault> {
    let refused = |why: &str| Err(Fault::invalid(format!("The id of a run (run_id, X-Run-Id) {why}.")));
    let Ok(text) = std::str::from_utf8(name) else { return refused("must be UTF-8") };
    if !(1..=MAX_RUN_ID_CHARACTERS).contains(&text.chars().count()) {
        return refused(&format!("has 1 to {MAX_RUN_ID_CHARACTERS} characters"));
    }
    if text.chars().any(char::is_control) {
        return refused("has no control characters");
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return refused("does not begin or end with a space");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_is_what_a_header_can_carry() {
        for good in ["a", "Müller 7", &"ü".repeat(MAX_RUN_ID_CHARACTERS)] {
            assert_eq!(checked_run_id(good.as_bytes()), Ok(()), "{good}");
        }
        let long = "x".repeat(MAX_RUN_ID_CHARACTERS + 1);
        for bad in [
            &b""[..],
            b"M\xfcller",
            b"\xff\xfe",
            b"a\nb",
            b"a\tb",
            "a\u{85}b".as_bytes(),
            b" a",
            b"a ",
            long.as_bytes(),
        ] {
            assert!(checked_run_id(bad).is_err(), "{bad:?}");
        }
    }
}
