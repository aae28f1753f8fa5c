//! Stealing the secret that sets actors, and forging or replaying values that were signed with it.

use reqwest::Method;
use serde_json::json;

use super::{Scene, outcome};
use crate::support::home;

/// A trap that records its arguments.
const TRAP: &str = "
    create table loot (what text);
    create function trap(what text) returns text language plpgsql as $$
    begin insert into public.loot values (what); return what; end $$";

async fn nothing_was_stolen(scene: &Scene) {
    let found = scene.prepare("select count(*) as v from loot").await;
    assert_eq!(found.v(), 0, "{}", scene.prepare("select * from loot").await.story());
}

async fn actors(scene: &Scene, email: &str) -> Vec<String> {
    let sql = format!("select actor as v from activity where subject_repr = '{email}' order by occurred_at, id");
    let found = scene.prepare(&sql).await;
    found.column("v").iter().map(|actor| actor.as_str().expect("an actor").to_owned()).collect()
}

#[tokio::test]
async fn a_statement_put_in_place_of_the_servers_is_not_given_the_secret() {
    let scene = Scene::new(home()).await;
    // In REST's own session a trigger drops the server's prepared statements and prepares its own under every name that the
    // session reports, and under names that are easy to guess.
    let trigger = "
        create function swap() returns trigger language plpgsql as $$
        declare name text; n int;
        begin
          begin
            for name in select p.name from pg_prepared_statements p loop
              execute format('deallocate %I', name);
              execute format('prepare %I (text, text, text) as select public.trap($1)', name);
            end loop;
          exception when insufficient_privilege then null; end;
          for n in 0..40 loop
            begin
              execute format('prepare s%s (text, text, text) as select public.trap($1)', n);
            exception when duplicate_prepared_statement then null; end;
          end loop;
          return new;
        end $$;
        create trigger swap before insert on contacts for each row execute function swap()";
    scene.prepare(TRAP).await;
    scene.prepare(trigger).await;
    for n in 0..20 {
        let made = scene.attacker.post("/v1/contacts", json!({"email": format!("swap{n}@a.example")})).await;
        assert_eq!(made.code, 201, "{}", made.story());
    }
    nothing_was_stolen(&scene).await;
    let listed = scene.attacker.sql("select name from pg_prepared_statements").await;
    assert_eq!(outcome(&listed), "42501", "{}", listed.story());
    scene.stands("statements put in place of the server's").await;
}

#[tokio::test]
async fn dropping_the_servers_statements_changes_nothing() {
    let scene = Scene::new(home()).await;
    let trigger = "
        create function drops() returns trigger language plpgsql as $$ begin execute 'deallocate all'; return new; end $$;
        create trigger drops before insert on contacts for each row execute function drops()";
    scene.prepare(trigger).await;
    for n in 0..10 {
        let made = scene.attacker.post("/v1/contacts", json!({"email": format!("drop{n}@a.example")})).await;
        assert_eq!(made.code, 201, "{}", made.story());
    }
    scene.stands("DEALLOCATE ALL in a trigger").await;
}

#[tokio::test]
async fn an_error_in_an_index_does_not_quote_the_servers_parameters() {
    let scene = Scene::new(home()).await;
    scene.prepare(TRAP).await;
    // A unique index is searched for an existing key. Its function raises an error and reads the error's context.
    let index = "
        create function quotes(email text) returns text language plpgsql immutable as $$
        declare words text;
        begin
          perform set_config('log_parameter_max_length_on_error', '-1', false);
          begin
            perform 1 / 0;
          exception when others then
            get stacked diagnostics words = pg_exception_context;
            if words ~* 'parameters' and words ~ '[0-9a-f]{32}|[A-Za-z0-9_-]{40}' then perform public.trap(words); end if;
          end;
          return lower(email);
        end $$;
        create unique index contacts_quotes on contacts (quotes(email::text));
        create unique index contacts_title on contacts (title, quotes(email::text))";
    scene.prepare(index).await;
    let body = json!({"email": "Twice@a.example", "title": "x"});
    scene.attacker.post("/v1/contacts", body.clone()).await.status(201);
    for _ in 0..6 {
        let reply = scene.attacker.post("/v1/contacts", body.clone()).await;
        assert_eq!(reply.code, 409, "{}", reply.story());
        let keyed = [("content-type", "application/json"), ("idempotency-key", "the same")];
        let reply = scene.attacker.send(Method::POST, "/v1/contacts", &keyed, body.to_string()).await;
        assert_eq!(reply.code, 409, "{}", reply.story());
    }
    nothing_was_stolen(&scene).await;
    scene.stands("errors that quote parameters").await;
}

#[tokio::test]
async fn a_signed_context_is_worth_nothing_in_another_transaction() {
    let scene = Scene::new(home()).await;
    scene.prepare("create table kept (context text)").await;
    // The context of one of the server's own requests, copied by the request itself …
    scene.prepare("insert into kept select current_setting('kith.context')").await;
    let signed = scene.prepare("select context as v from kept").await.v();
    assert!(signed.as_str().is_some_and(|it| it.contains("api_key:ak_")), "{signed}");
    // … and replayed in another request: an actor can be removed but not forged.
    let own = format!("postgres:{}", scene.place.role);
    let replays = [
        "select set_config('kith.context', (select context from kept), true)",
        "select set_config('kith.context', (select context from kept), false)",
        "select set_config('kith.context', replace(current_setting('kith.context'), 'api_key:ak_', 'api_key:ak_0'), true)",
        "select set_config('kith.context', current_setting('kith.context') || ' ', true)",
        "select set_config('kith.context', '', true)",
        "select set_config('kith.context', upper(current_setting('kith.context')), true)",
    ];
    for (n, replay) in replays.iter().enumerate() {
        let email = format!("replay{n}@a.example");
        scene.prepare(&format!("{replay}; insert into contacts (email) values ('{email}')")).await;
        assert_eq!(actors(&scene, &email).await, [own.as_str()], "{replay}");
    }
    // Also over psql: by one session within its transaction and after it.
    let mut psql = scene.session().await;
    let secret = scene.secret();
    for script in [
        format!(
            "begin; select kith.begin_request('{secret}', 'api_key:ak_real', null);
             insert into contacts (email) values ('r1@a.example');
             create table copied as select current_setting('kith.context') as context; commit"
        ),
        "begin; select set_config('kith.context', (select context from copied), true);
         insert into contacts (email) values ('r2@a.example'); commit"
            .into(),
        "select set_config('kith.context', (select context from copied), false)".into(),
        "insert into contacts (email) values ('r3@a.example')".into(),
    ] {
        psql.script(&script).await.expect("a script");
    }
    assert_eq!(actors(&scene, "r1@a.example").await, ["api_key:ak_real"]);
    assert_eq!(actors(&scene, "r2@a.example").await, [own.as_str()]);
    assert_eq!(actors(&scene, "r3@a.example").await, [own.as_str()]);
    scene.stands("replayed contexts").await;
}

#[tokio::test]
async fn a_guessed_secret_opens_nothing() {
    let scene = Scene::new(home()).await;
    let before = scene.prepare("select count(*) as v from activity").await.v();
    let neighbours = scene.home.kith.app.store.secret_of(&scene.neighbour_place).expose().to_owned();
    for secret in ["", "x", "kith", &*scene.place.database, &*neighbours, &scene.attacker.key] {
        for call in [
            "kith.begin_request($1, 'api_key:ak_forged', null)",
            "kith.record_conflict($1, 'contact', 'contacts_email_key', 'c_1', '{}')",
            "kith.claim_key($1, 'k', 'f', now())",
            "kith.keep_answer($1, 'k', 200, '{}')",
        ] {
            let reply = scene.attacker.sql_with(&format!("select {call}"), json!([secret])).await;
            assert_eq!(outcome(&reply), "28000", "{}", reply.story());
        }
    }
    assert_eq!(scene.prepare("select count(*) as v from activity").await.v(), before);
    scene.stands("guessed secrets").await;
}

#[tokio::test]
async fn a_trigger_cannot_change_who_acts() {
    let scene = Scene::new(home()).await;
    let trigger = "
        create function poses() returns trigger language plpgsql as $$
        begin
          perform set_config('kith.context', replace(current_setting('kith.context'), 'api_key:', 'user:'), true);
          begin perform kith.begin_request('guess', 'user:u_forged', null); exception when others then null; end;
          begin execute format('set role %I', current_user || '_s'); exception when others then null; end;
          begin update activity set actor = 'user:u_forged'; exception when others then null; end;
          begin delete from activity; exception when others then null; end;
          return new;
        end $$;
        create trigger aaa_poses before insert on contacts for each row execute function poses();
        create trigger zzz_poses after insert on contacts for each row execute function poses()";
    scene.prepare(trigger).await;
    scene.attacker.post("/v1/contacts", json!({"email": "pose@a.example"})).await.status(201);
    assert_eq!(actors(&scene, "pose@a.example").await, [format!("postgres:{}", scene.place.role)]);
    scene.stands("a trigger that poses").await;
}
