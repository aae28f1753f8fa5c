//! Two transactions that together do what the guards refuse to each one alone.

use std::time::Duration;

use super::{Scene, outcome_of};
use crate::support::home;

const CREATE: &str =
    "create operator public.<<< (leftarg = text, rightarg = text, function = public.bump, restrict = eqsel)";
const ALTER: &str = "alter function public.bump(text, text) security definer";

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
    assert_eq!(race(&scene, CREATE, ALTER).await, ["ok", "42501"]);
    scene.prepare("drop operator public.<<< (text, text)").await;
    assert_eq!(race(&scene, ALTER, CREATE).await, ["ok", "42501"]);
    scene.stands("two transactions").await;
}

/// The results of two statements. The second begins while the first one's transaction is open.
async fn race(scene: &Scene, first: &str, second: &str) -> [String; 2] {
    let (mut one, mut other) = (scene.session().await, scene.session().await);
    let held = format!("begin; {first}; select pg_sleep(2); commit");
    let later = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        other.script(second).await
    };
    let (first, second) = tokio::join!(one.script(&held), later);
    [outcome_of(first), outcome_of(second)]
}
