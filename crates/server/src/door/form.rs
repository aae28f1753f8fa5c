//! The bodies and parameters of people's requests, parsed into typed arguments. All their fields are text. A form may hold a
//! password, so it is never logged or printed.

use serde_json::{Map, Value};

use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::page::{PageAsk, parse_limit};
use crm::model::value::name_of;
use crm::model::who::Role;

use crate::people::auth::accounts::{Credentials, PasswordChange, PasswordReset};
use crate::people::workspace::keys::KeyRequest;
use crate::people::workspace::workspaces::{SendingSwitch, WorkspaceChange};

/// The fields of a body.
pub struct Form(Map<String, Value>);

impl Form {
    /// Parses a body that may have these fields and no others.
    pub fn read(call: &Call<'_>, known: &[&str]) -> Result<Form, Fault> {
        let body = call.object()?;
        match body.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Form(body)),
            Some(unknown) => Err(Fault::unknown_field(unknown, known.iter().copied())),
        }
    }

    /// A field's text, if the field is given.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Fault::invalid(format!("\"{name}\" takes text without the character U+0000.")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Fault::invalid(format!("\"{name}\" takes text, not {}.", name_of(other)))),
        }
    }

    /// A field's text. The field is required.
    pub fn required(&self, name: &str) -> Result<&str, Fault> {
        self.text(name)?.ok_or_else(|| Fault::invalid(format!("\"{name}\" is missing.")))
    }

    fn owned(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    /// `role`, if it is given.
    pub fn role(&self) -> Result<Option<Role>, Fault> {
        let Some(role) = self.text("role")? else { return Ok(None) };
        Role::parse(role).map(Some).ok_or_else(|| {
            Fault::invalid_with_hint(format!("There is no role \"{role}\"."), "role is owner, member or viewer.")
        })
    }
}

/// Parses the body `{email, password, name?}`.
pub fn sign_up(call: &Call<'_>) -> Result<(Credentials, Option<String>), Fault> {
    call.only_parameters(&[])?;
    let form = Form::read(call, &["email", "password", "name"])?;
    let credentials =
        Credentials { email: form.required("email")?.to_owned(), password: form.required("password")?.to_owned() };
    Ok((credentials, form.owned("name")?))
}

/// Parses the body `{email, password}`.
pub fn log_in(call: &Call<'_>) -> Result<Credentials, Fault> {
    call.only_parameters(&[])?;
    let form = Form::read(call, &["email", "password"])?;
    Ok(Credentials { email: form.required("email")?.to_owned(), password: form.required("password")?.to_owned() })
}

/// Parses a body with exactly this field, and returns its text.
pub fn only_field(call: &Call<'_>, name: &str) -> Result<String, Fault> {
    call.only_parameters(&[])?;
    Ok(Form::read(call, &[name])?.required(name)?.to_owned())
}

/// Accepts only a body without fields.
pub fn empty(call: &Call<'_>) -> Result<(), Fault> {
    call.only_parameters(&[])?;
    Form::read(call, &[]).map(drop)
}

/// Parses the body `{token, password}`.
pub fn password_reset(call: &Call<'_>) -> Result<PasswordReset, Fault> {
    call.only_parameters(&[])?;
    let form = Form::read(call, &["token", "password"])?;
    Ok(PasswordReset { token: form.required("token")?.to_owned(), password: form.required("password")?.to_owned() })
}

/// Parses the body `{current_password, password}`.
pub fn password_change(call: &Call<'_>) -> Result<PasswordChange, Fault> {
    call.only_parameters(&[])?;
    let form = Form::read(call, &["current_password", "password"])?;
    let (current, new) = (form.required("current_password")?, form.required("password")?);
    Ok(PasswordChange { current: current.to_owned(), new: new.to_owned() })
}

/// Parses the body `{name?}`.
pub fn workspace_name(call: &Call<'_>) -> Result<Option<String>, Fault> {
    call.only_parameters(&[])?;
    Form::read(call, &["name"])?.owned("name")
}

/// Parses the body `{name?, sending?, held?}` with a name, a position of the switch, or both.
pub fn workspace_change(call: &Call<'_>) -> Result<WorkspaceChange, Fault> {
    call.only_parameters(&[])?;
    let form = Form::read(call, &["name", "sending", "held"])?;
    let name = form.owned("name")?;
    let only_name = name.is_some() && !form.0.contains_key("sending") && !form.0.contains_key("held");
    let switch = if only_name { None } else { Some(switch(&form)?) };
    Ok(WorkspaceChange { name, switch })
}

fn switch(form: &Form) -> Result<SendingSwitch, Fault> {
    let held = form.text("held")?;
    match (form.0.get("sending"), held) {
        (Some(Value::Bool(false)), None) => Ok(SendingSwitch::Off),
        (Some(Value::Bool(true)), None | Some("release")) => Ok(SendingSwitch::Release),
        (Some(Value::Bool(true)), Some("drop")) => Ok(SendingSwitch::Drop),
        (Some(Value::Bool(false)), Some(_)) => {
            Err(Fault::invalid("\"held\" says what happens to what has waited, so it goes with \"sending\": true."))
        }
        (Some(Value::Bool(true)), Some(other)) => Err(Fault::invalid_with_hint(
            format!("\"held\" is release or drop, not \"{other}\"."),
            "Leave it out to release.",
        )),
        (None | Some(Value::Null), _) => Err(Fault::invalid_with_hint(
            "\"sending\" is missing.",
            "Send \"name\" to rename the workspace, or \"sending\" to hold or release what leaves it.",
        )),
        (Some(other), _) => Err(Fault::invalid(format!("\"sending\" takes true or false, not {}.", name_of(other)))),
    }
}

/// Parses the body `{name?, dialect?, mode?, role?}`.
pub fn key(call: &Call<'_>) -> Result<KeyRequest, Fault> {
    let form = Form::read(call, &["name", "dialect", "mode", "role"])?;
    Ok(KeyRequest {
        name: form.owned("name")?,
        dialect: form.owned("dialect")?,
        mode: form.owned("mode")?,
        role: form.role()?,
    })
}

/// Parses the body `{role}`.
pub fn role(call: &Call<'_>) -> Result<Role, Fault> {
    let role = Form::read(call, &["role"])?.role()?;
    role.ok_or_else(|| Fault::invalid("\"role\" is needed: owner, member or viewer."))
}

/// The fields of an invitation.
pub struct InvitationForm {
    /// `workspace_id`: the workspace to invite to.
    pub workspace_id: String,
    /// `email`: the address of the invited person.
    pub email: String,
    /// `role`: the role that the person gets.
    pub role: Option<Role>,
}

/// Parses the body `{workspace_id, email, role?}`.
pub fn invitation(call: &Call<'_>) -> Result<InvitationForm, Fault> {
    let form = Form::read(call, &["workspace_id", "email", "role"])?;
    let needed = |name: &str, what: &str| {
        let value = form.text(name)?.map(str::to_owned);
        value.ok_or_else(|| Fault::invalid(format!("\"{name}\" is needed: {what}.")))
    };
    Ok(InvitationForm {
        workspace_id: needed("workspace_id", "the workspace to invite to")?,
        email: needed("email", "whom to invite")?,
        role: form.role()?,
    })
}

/// Parses the parameters `?limit=…&cursor=…`.
pub fn page(call: &Call<'_>) -> Result<PageAsk, Fault> {
    let cursor = call.parameter("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    Ok(PageAsk { limit: parse_limit(call.parameter("limit"))?, cursor })
}
