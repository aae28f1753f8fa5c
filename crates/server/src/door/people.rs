//! The requests that people make under `/v1`, about accounts, workspaces and what belongs to them. They use a session, as a
//! cookie or Bearer token, and are answered in agentCRM's shape.

use axum::http::HeaderMap;

use crm::model::answer::Answer;
use crm::model::call::{Call, Method};
use crm::model::fault::Fault;
use crm::model::page::PageAsk;

use crate::access::limits;
use crate::app::App;
use crate::door::reply::{Envelope, PersonAnswer};
use crate::door::request::HttpRequest;
use crate::door::session::{AtDoor, Purpose, at_door};
use crate::door::{cookie, form, sign_in};
use crate::people::apps::grants;
use crate::people::auth::accounts::{self, SignedIn};
use crate::people::auth::sessions;
use crate::people::context::PersonContext;
use crate::people::workspace::{claims, connections, invitations, keys, members, workspaces};

/// The first path segments that this module serves.
const HERE: &[&str] = &["auth", "claim", "connection", "keys", "members", "workspaces"];

/// Whether this module serves a path.
pub fn is_here(path: &[String]) -> bool {
    path.first().is_some_and(|first| HERE.contains(&first.as_str()))
}

/// The resource that a path names.
#[derive(Clone, Copy)]
enum PeopleRoute<'a> {
    SignUp,
    LogIn,
    LogOut,
    Me,
    Sessions,
    EndSession(&'a str),
    VerifyEmail,
    RequestVerification,
    RequestReset,
    ResetPassword,
    ChangePassword,
    Workspaces,
    CreateWorkspace,
    DeleteWorkspace(&'a str),
    Claim(&'a str),
    Keys,
    CreateKey,
    RevokeKey(&'a str),
    RestoreKey(&'a str),
    RotateKeys,
    Members,
    ChangeRole,
    RemoveMember,
    Invite,
    Invites,
    Withdraw(&'a str),
    Accept(&'a str),
    Audit,
    Connection,
    Apps,
    DisconnectApp(&'a str),
    ChangeWorkspace(&'a str),
    StartSignIn(&'a str),
    SignInCallback(&'a str),
}

#[rustfmt::skip] // the table of routes is read in columns
fn route<'a>(method: Method, path: &[&'a str]) -> Option<PeopleRoute<'a>> {
    use Method::{Delete, Get, Patch, Post};
    Some(match (method, path) {
        (Post,   ["auth", "signup"])                 => PeopleRoute::SignUp,
        (Post,   ["auth", "login"])                  => PeopleRoute::LogIn,
        (Post,   ["auth", "logout"])                 => PeopleRoute::LogOut,
        (Get,    ["auth", "me"])                     => PeopleRoute::Me,
        (Get,    ["auth", "sessions"])               => PeopleRoute::Sessions,
        (Delete, ["auth", "sessions", id])           => PeopleRoute::EndSession(id),
        (Post,   ["auth", "verify-email"])           => PeopleRoute::VerifyEmail,
        (Post,   ["auth", "request-verification"])   => PeopleRoute::RequestVerification,
        (Post,   ["auth", "request-password-reset"]) => PeopleRoute::RequestReset,
        (Post,   ["auth", "reset-password"])         => PeopleRoute::ResetPassword,
        (Post,   ["auth", "change-password"])        => PeopleRoute::ChangePassword,
        (Get,    ["auth", "apps"])                   => PeopleRoute::Apps,
        (Delete, ["auth", "apps", id])               => PeopleRoute::DisconnectApp(id),
        (Get,    ["auth", "oidc", key, "start"])     => PeopleRoute::StartSignIn(key),
        (Get,    ["auth", "oidc", key, "callback"])  => PeopleRoute::SignInCallback(key),
        (Get,    ["workspaces"])                     => PeopleRoute::Workspaces,
        (Post,   ["workspaces"])                     => PeopleRoute::CreateWorkspace,
        (Patch,  ["workspaces", id])                 => PeopleRoute::ChangeWorkspace(id),
        (Delete, ["workspaces", id])                 => PeopleRoute::DeleteWorkspace(id),
        (Post,   ["claim", id])                      => PeopleRoute::Claim(id),
        (Get,    ["keys"])                           => PeopleRoute::Keys,
        (Post,   ["keys"])                           => PeopleRoute::CreateKey,
        (Post,   ["keys", "rotate"])                 => PeopleRoute::RotateKeys,
        (_,      ["keys", "rotate"])                 => return None,
        (Delete, ["keys", id])                       => PeopleRoute::RevokeKey(id),
        (Post,   ["keys", id, "restore"])            => PeopleRoute::RestoreKey(id),
        (Get,    ["members"])                        => PeopleRoute::Members,
        (Patch,  ["members"])                        => PeopleRoute::ChangeRole,
        (Delete, ["members"])                        => PeopleRoute::RemoveMember,
        (Post,   ["members", "invite"])              => PeopleRoute::Invite,
        (Get,    ["members", "invites"])             => PeopleRoute::Invites,
        (Delete, ["members", "invites", id])         => PeopleRoute::Withdraw(id),
        (Post,   ["members", "accept", token])       => PeopleRoute::Accept(token),
        (Get,    ["workspaces", "audit"])            => PeopleRoute::Audit,
        (Post,   ["connection"])                     => PeopleRoute::Connection,
        _                                            => return None,
    })
}

/// Serves a person's request.
pub async fn serve(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    path: Vec<String>,
) -> Result<PersonAnswer, Fault> {
    let app = request.app;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = Method::parse(request.head.method.as_str());
    let routed = method.and_then(|method| Some((method, route(method, &segments)?)));
    let purpose = match routed {
        Some((_, PeopleRoute::SignUp | PeopleRoute::LogIn)) => Purpose::BeginsSession,
        Some((_, PeopleRoute::CreateWorkspace)) => Purpose::MakesWorkspace,
        _ => Purpose::Other,
    };
    let AtDoor { visitor, has_key, renewed } = at_door(request, envelope, purpose).await?;
    let Some((method, route)) = routed else {
        let methods = Method::ALL.into_iter().filter(|method| route(*method, &segments).is_some());
        let allow: Vec<_> = methods.map(Method::name).collect();
        return Err(match allow.is_empty() {
            true => Fault::NoSuchPath { path: request.head.uri.path().to_owned() },
            false => Fault::MethodNotAllowed { allow },
        });
    };
    if has_key {
        return Err(Fault::NotSignedIn {
            message: "This path takes a person's session, not an API key.".into(),
            hint: "POST /v1/auth/login gives a session_token; send it as Authorization: Bearer <session token>.".into(),
        });
    }
    // If a route requires a person, the body is read only after the person is known.
    if needs_person(route) {
        visitor.person()?;
    }
    let body = request.form().await?;
    let call = request.call(method, path.clone(), &body)?;
    let context = PersonContext { app, visitor: &visitor };
    let mut done = act(app, &context, &call, &request.head.headers, route).await?;
    if let Some(token) = renewed.filter(|_| !done.sets_cookie()) {
        done = done.with_cookie(cookie::set(&token, &app.public_url));
    }
    Ok(done)
}

async fn act(
    app: &App,
    context: &PersonContext<'_>,
    call: &Call<'_>,
    headers: &HeaderMap,
    route: PeopleRoute<'_>,
) -> Result<PersonAnswer, Fault> {
    let (limits, now) = (&app.limits, context.app.clock.unix_seconds());
    let plain = || call.only_parameters(&[]);
    if takes_nothing(call.method, route) {
        call.no_fields()?;
    }
    match route {
        PeopleRoute::SignUp => {
            if let Some(address) = context.visitor.address {
                let network = limits::network(address);
                limits.take(&limits.new_accounts, network, now, "sign-ups an hour from this address")?;
            }
            let (credentials, name) = form::sign_up(call)?;
            accounts::sign_up(context, &credentials, name.as_deref()).await.map(|signed_in| welcome(app, signed_in))
        }
        PeopleRoute::LogIn => {
            let credentials = form::log_in(call)?;
            accounts::log_in(context, &credentials).await.map(|signed_in| welcome(app, signed_in))
        }
        PeopleRoute::LogOut => {
            plain()?;
            let answer = sessions::log_out(context).await?;
            Ok(PersonAnswer::from(answer).with_cookies(cookie::clear(&app.public_url)))
        }
        PeopleRoute::Me => plain().and_then(|()| accounts::me(context)).map(PersonAnswer::from),
        PeopleRoute::Sessions => {
            call.only_parameters(&["limit", "cursor"])?;
            sessions::list(context, form::page(call)?).await.map(PersonAnswer::from)
        }
        PeopleRoute::EndSession(id) => {
            plain()?;
            let answer = sessions::end(context, id).await?;
            let own = context.visitor.session_id.as_deref() == Some(id);
            let done = PersonAnswer::from(answer);
            Ok(if own { done.with_cookies(cookie::clear(&app.public_url)) } else { done })
        }
        PeopleRoute::VerifyEmail => {
            accounts::verify_email(context, &form::only_field(call, "token")?).await.map(PersonAnswer::from)
        }
        PeopleRoute::RequestVerification => {
            form::empty(call)?;
            accounts::request_verification(context).await.map(accepted)
        }
        PeopleRoute::RequestReset => {
            accounts::request_password_reset(context, &form::only_field(call, "email")?).map(accepted)
        }
        PeopleRoute::ResetPassword => {
            accounts::reset_password(context, &form::password_reset(call)?).await.map(PersonAnswer::from)
        }
        PeopleRoute::ChangePassword => {
            accounts::change_password(context, &form::password_change(call)?).await.map(PersonAnswer::from)
        }
        PeopleRoute::Workspaces => {
            call.only_parameters(&["limit", "cursor"])?;
            workspaces::list(context, form::page(call)?).await.map(PersonAnswer::from)
        }
        PeopleRoute::CreateWorkspace => {
            match (&context.visitor.person, context.visitor.address) {
                (Some(person), _) => {
                    let who = person.id.clone();
                    limits.take(&limits.made_workspaces, who, now, "workspaces an hour of one person")?;
                }
                (None, Some(address)) => {
                    let network = limits::network(address);
                    limits.take(&limits.anonymous_workspaces, network, now, "workspaces an hour from this address")?;
                }
                (None, None) => {}
            }
            workspaces::create(context, form::workspace_name(call)?.as_deref()).await.map(PersonAnswer::from)
        }
        PeopleRoute::ChangeWorkspace(id) => {
            let change = form::workspace_change(call)?;
            workspaces::change(context, id, change).await.map(|answer| PersonAnswer::of(answer, id))
        }
        PeopleRoute::DeleteWorkspace(id) => {
            let name = form::only_field(call, "name")?;
            workspaces::delete(context, id, &name).await.map(PersonAnswer::from)
        }
        PeopleRoute::Claim(id) => {
            plain()?;
            claims::claim(context, id).await.map(|answer| PersonAnswer::of(answer, id))
        }
        PeopleRoute::Keys => page_in_workspace(call, |ws, page| keys::list(context, ws, page)).await,
        PeopleRoute::CreateKey => {
            call.only_parameters(&["ws"])?;
            let ws = named(call, "ws")?;
            keys::create(context, ws, &form::key(call)?).await.map(|answer| PersonAnswer::of(answer, ws))
        }
        PeopleRoute::RevokeKey(id) => in_workspace(call, |ws| keys::revoke(context, ws, id)).await,
        PeopleRoute::RestoreKey(id) => in_workspace(call, |ws| keys::restore(context, ws, id)).await,
        PeopleRoute::RotateKeys => in_workspace(call, |ws| keys::rotate(context, ws)).await,
        PeopleRoute::Members => page_in_workspace(call, |ws, page| members::list(context, ws, page)).await,
        PeopleRoute::ChangeRole => {
            let (ws, user_id) = ws_and_user(call)?;
            members::change_role(context, ws, user_id, form::role(call)?)
                .await
                .map(|answer| PersonAnswer::of(answer, ws))
        }
        PeopleRoute::RemoveMember => {
            let (ws, user_id) = ws_and_user(call)?;
            members::remove(context, ws, user_id).await.map(|answer| PersonAnswer::of(answer, ws))
        }
        PeopleRoute::Invite => {
            plain()?;
            let person = context.visitor.person()?;
            limits.take(&limits.invitations, person.id.clone(), now, "invitations an hour by one person")?;
            let form = form::invitation(call)?;
            let answer = invitations::create(context, &form.workspace_id, &form.email, form.role).await?;
            Ok(PersonAnswer::of(answer, &form.workspace_id))
        }
        PeopleRoute::Invites => page_in_workspace(call, |ws, page| invitations::list(context, ws, page)).await,
        PeopleRoute::Withdraw(id) => in_workspace(call, |ws| invitations::withdraw(context, ws, id)).await,
        PeopleRoute::Accept(token) => {
            plain()?;
            let (answer, workspace_id) = invitations::accept(context, token).await?;
            Ok(PersonAnswer::of(answer, &workspace_id))
        }
        PeopleRoute::Audit => page_in_workspace(call, |ws, page| members::audit(context, ws, page)).await,
        PeopleRoute::Connection => in_workspace(call, |ws| connections::open(context, ws)).await,
        PeopleRoute::Apps => page_in_workspace(call, |ws, page| grants::list(context, ws, page)).await,
        PeopleRoute::DisconnectApp(id) => in_workspace(call, |ws| grants::disconnect(context, ws, id)).await,
        PeopleRoute::StartSignIn(key) => sign_in::start(app, context, call, headers, key).await,
        PeopleRoute::SignInCallback(key) => sign_in::callback(context, call, headers, key).await,
    }
}

/// Whether a route requires a session.
fn needs_person(route: PeopleRoute<'_>) -> bool {
    use PeopleRoute::{
        CreateWorkspace, LogIn, RequestReset, ResetPassword, SignInCallback, SignUp, StartSignIn, VerifyEmail,
    };
    let is_for_all = matches!(
        route,
        SignUp
            | LogIn
            | VerifyEmail
            | RequestReset
            | ResetPassword
            | CreateWorkspace
            | StartSignIn(_)
            | SignInCallback(_)
    );
    !is_for_all
}

/// Whether a route takes no body: the path alone says what to change.
fn takes_nothing(method: Method, route: PeopleRoute<'_>) -> bool {
    use PeopleRoute::DeleteWorkspace;
    use PeopleRoute::{
        ChangePassword, ChangeRole, ChangeWorkspace, CreateKey, CreateWorkspace, Invite, LogIn, RequestReset,
    };
    use PeopleRoute::{RequestVerification, ResetPassword, SignUp, VerifyEmail};
    let by_its_fields = matches!(
        route,
        SignUp
            | LogIn
            | VerifyEmail
            | RequestVerification
            | RequestReset
            | ResetPassword
            | ChangePassword
            | CreateWorkspace
            | ChangeWorkspace(_)
            | DeleteWorkspace(_)
            | CreateKey
            | ChangeRole
            | Invite
    );
    method != Method::Get && !by_its_fields
}

/// Runs an act in the workspace that `?ws=` names.
async fn in_workspace<'a, F>(call: &'a Call<'_>, act: impl FnOnce(&'a str) -> F) -> Result<PersonAnswer, Fault>
where
    F: Future<Output = Result<Answer, Fault>>,
{
    call.only_parameters(&["ws"])?;
    let ws = named(call, "ws")?;
    act(ws).await.map(|answer| PersonAnswer::of(answer, ws))
}

/// Returns a page of a list in the workspace that `?ws=` names.
async fn page_in_workspace<'a, F>(
    call: &'a Call<'_>,
    list: impl FnOnce(&'a str, PageAsk) -> F,
) -> Result<PersonAnswer, Fault>
where
    F: Future<Output = Result<Answer, Fault>>,
{
    call.only_parameters(&["ws", "limit", "cursor"])?;
    let (ws, page) = (named(call, "ws")?, form::page(call)?);
    list(ws, page).await.map(|answer| PersonAnswer::of(answer, ws))
}

fn ws_and_user<'a>(call: &'a Call<'_>) -> Result<(&'a str, &'a str), Fault> {
    call.only_parameters(&["ws", "user_id"])?;
    Ok((named(call, "ws")?, named(call, "user_id")?))
}

fn named<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a str, Fault> {
    let value = call.parameter(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| Fault::invalid(format!("The parameter \"{name}\" is needed: ?{name}=…")))
}

fn welcome(app: &App, signed_in: SignedIn) -> PersonAnswer {
    PersonAnswer::from(signed_in.answer).with_cookie(cookie::set(&signed_in.token, &app.public_url))
}

/// An answer with status 202: the request is accepted and will be carried out later.
fn accepted(answer: Answer) -> PersonAnswer {
    PersonAnswer { status: Some(202), ..PersonAnswer::from(answer) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crm::dialect::openapi::people::ERRANDS;

    use super::*;

    /// All paths and methods of this module, found by trying all words that its routes use.
    fn routed() -> Vec<(Method, Vec<&'static str>)> {
        let words: HashSet<&str> =
            ERRANDS.iter().flat_map(|it| it.path.split('/').skip(2)).chain(HERE.iter().copied()).collect();
        let mut paths: Vec<Vec<&str>> = HERE.iter().map(|first| vec![*first]).collect();
        let mut all = paths.clone();
        for _ in 0..3 {
            paths =
                paths.iter().flat_map(|path| words.iter().map(|word| [path.as_slice(), &[word]].concat())).collect();
            all.extend(paths.iter().cloned());
        }
        let pairs = all.into_iter().flat_map(|path| Method::ALL.map(|method| (method, path.clone())));
        pairs.filter(|(method, path)| route(*method, path).is_some()).collect()
    }

    fn fits(template: &str, path: &[&str]) -> bool {
        let template: Vec<&str> = template.split('/').skip(2).collect();
        template.len() == path.len() && template.iter().zip(path).all(|(a, b)| a.starts_with('{') || a == b)
    }

    #[test]
    fn what_is_documented_is_routed_and_the_other_way_round() {
        for errand in ERRANDS {
            let path: Vec<&str> = errand.path.split('/').skip(2).collect();
            assert!(route(errand.method, &path).is_some(), "{} {} leads nowhere", errand.method.name(), errand.path);
        }
        for (method, path) in routed() {
            let is_there = ERRANDS.iter().any(|errand| errand.method == method && fits(errand.path, &path));
            assert!(
                is_there || (method, &*path) == (Method::Post, &["workspaces"]),
                "{} {path:?} is not documented",
                method.name()
            );
        }
    }
}
