//! Two transactions that together do what the guards refuse to each.

use std::time::Duration;

use tokio::time::timeout;

use super::{Scene, outcome_of};
use crate::support::home;

#[tokio::test]
async fn two_transactions_give_no_operator_definer_rights() {
    let scene = Scene::new(home()).await;
    scene
        .prepare(
            "create table seen (who text);
             create function bump(a text, b text) returns boolean language plpgsql as $$
             begin insert into public.seen values (session_user); return true; end $$",
        )
        .await;
    let (mut first, mut second) = (scene.session().await, scene.session().await);
    let create = "begin; create operator public.<<< (leftarg = text, rightarg = text, function = public.bump, restrict = eqsel)";
    first.script(create).await.expect("an operator");
    let mut alter = Box::pin(second.script("alter function bump(text, text) security definer"));
    timeout(Duration::from_millis(700), &mut alter).await.expect_err("it waits for the other transaction");
    first.script("commit").await.expect("a commit");
    assert_eq!(outcome_of(alter.await), "42501");

    // The other way round.
    scene.prepare("drop operator public.<<< (text, text)").await;
    second.script("begin; alter function bump(text, text) security definer").await.expect("no operator uses it");
    let mut create = Box::pin(first.script(create.trim_start_matches("begin; ")));
    timeout(Duration::from_millis(700), &mut create).await.expect_err("it waits for the other transaction");
    second.script("commit").await.expect("a commit");
    assert_eq!(outcome_of(create.await), "42501");
    scene.stands("two transactions").await;
}
