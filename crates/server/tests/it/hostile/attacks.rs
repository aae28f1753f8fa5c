//! Runs the attacks of `data/attacks.sql`, which describes its format.

use crm::model::split::statements;
use pg::Conn;

use super::{Scene, is_true, outcome, outcome_of};
use crate::support::home;

const ATTACKS: &str = include_str!("../data/attacks.sql");

/// True while the guards find the built-in tables unchanged and the feed names only actual actors.
const INVARIANT: &str = "
    select not exists (select from kith_guard.fact f left join kith_guard.observed o using (relid, kind, name)
                        where o.value is distinct from f.value)
       and not exists (select from public.activity a where a.actor::pg_catalog.text not like 'postgres:%' and a.actor <> 'api_key:ak_ok'
                        and a.actor not like 'api_key:ak\\_%' or a.actor like '%FORGED%' or a.subject_repr like '%FORGED%')
       and (select count(*) from public.activity) >= (select count(*) from public.contacts)";

struct Attack {
    name: String,
    door: String,
    expected: String,
    body: String,
    checks: Vec<String>,
}

enum Entry {
    Class(String),
    Attack(Attack),
}

fn read(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        if line.starts_with("--   ") {
            continue;
        }
        if let Some(class) = line.strip_prefix("-- == ") {
            entries.push(Entry::Class(class.to_owned()));
        } else if let (Some(check), Some(Entry::Attack(attack))) = (line.strip_prefix("-- check: "), entries.last_mut())
        {
            attack.checks.push(check.to_owned());
        } else if let (Some(head), true) = (line.strip_prefix("-- "), line.matches(" | ").count() >= 2) {
            let mut parts = head.rsplitn(3, " | ").map(str::to_owned);
            let mut next = || parts.next().expect("three parts");
            let (expected, door, name) = (next(), next(), next());
            entries.push(Entry::Attack(Attack { name, door, expected, body: String::new(), checks: Vec::new() }));
        } else if let Some(Entry::Attack(attack)) = entries.last_mut() {
            attack.body.push_str(line);
            attack.body.push('\n');
        }
    }
    entries
}

/// Runs a body with its own transactions as it is, and any other statement by statement, until one fails.
async fn walk(conn: &mut Conn, body: &str) -> String {
    if body.contains("begin;") || body.contains("begin read only;") {
        return outcome_of(conn.script(body).await);
    }
    for statement in statements(body) {
        let statement = statement.expect("statements that can be told apart");
        let came = outcome_of(conn.script(statement.text).await);
        if came != "ok" {
            return came;
        }
    }
    "ok".into()
}

#[tokio::test]
async fn every_attack_is_refused_or_changes_nothing() {
    let scene = Scene::new(home()).await;
    let (direct, viewer_direct) = (format!("{}_p_d", scene.place.role), format!("{}_v_d", scene.place.role));
    make_people(&scene, &direct, &viewer_direct).await;
    let places = [
        ("{{workspace}}", scene.place.role.to_string()),
        ("{{system}}", scene.place.system.to_string()),
        ("{{viewer}}", scene.place.viewer.to_string()),
        ("{{direct}}", direct.clone()),
        ("{{viewer_direct}}", viewer_direct.clone()),
        ("{{other}}", scene.neighbour_place.role.to_string()),
        ("{{secret}}", scene.secret()),
        ("{{other_secret}}", scene.home.kith.app.store.secret_of(&scene.neighbour_place).expose().to_owned()),
    ];
    let fill = |text: &str| places.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value));
    let mut witness = scene.session().await;
    let (mut offences, mut attacks, mut class) = (Vec::new(), 0, String::new());
    for entry in read(ATTACKS) {
        let attack = match entry {
            Entry::Attack(attack) => attack,
            Entry::Class(next) => {
                end_of_class(&scene, &class, &mut offences).await;
                class = next;
                continue;
            }
        };
        attacks += 1;
        let body = fill(&attack.body);
        let (came, story) = match attack.door.as_str() {
            "sql" => {
                let reply = scene.attacker.sql(&body).await;
                (outcome(&reply), reply.story())
            }
            door => {
                let role = match door {
                    "session" => &*scene.place.role,
                    "viewer" => &*scene.place.viewer,
                    "direct" => &direct,
                    "viewer_direct" => &viewer_direct,
                    other => panic!("no door {other:?}"),
                };
                (walk(&mut scene.session_as(role).await, &body).await, body.clone())
            }
        };
        let mut wrong = Vec::new();
        if attack.expected != "any" && !attack.expected.split(' ').any(|expected| expected == came) {
            wrong.push(format!("gave {came}, not {}: {story}", attack.expected));
        }
        for check in attack.checks.iter().map(|check| fill(check)).chain([INVARIANT.to_owned()]) {
            let is_so = is_true(&mut witness, &check).await;
            if !matches!(is_so, Ok(true)) {
                wrong.push(format!("is not so afterwards ({is_so:?}): {check}"));
                witness = scene.session().await;
            }
        }
        offences.extend(wrong.into_iter().map(|what| format!("{class}: {}: {what}", attack.name)));
    }
    end_of_class(&scene, &class, &mut offences).await;
    println!("{attacks} attacks");
    assert!(attacks >= 400, "only {attacks} attacks were read, not 400");
    assert!(offences.is_empty(), "{} of {attacks} attacks:\n{}", offences.len(), offences.join("\n\n"));
}

async fn end_of_class(scene: &Scene, class: &str, offences: &mut Vec<String>) {
    match scene.look(class).await {
        Ok(took) => println!("after {class}: the neighbour was answered in {took:?}"),
        Err(offence) => offences.push(offence),
    }
}

/// The roles that users connect as: members of the workspace's roles, with no objects of their own.
async fn make_people(scene: &Scene, direct: &str, viewer_direct: &str) {
    let cells = &scene.home.kith.app.store.cells;
    let (database, role, viewer) = (&scene.place.database, &scene.place.role, &scene.place.viewer);
    let script = format!(
        "CREATE ROLE {direct} LOGIN NOINHERIT PASSWORD '{}'; ALTER ROLE {direct} SET role = '{role}';
         CREATE ROLE {viewer_direct} LOGIN NOINHERIT PASSWORD '{}'; ALTER ROLE {viewer_direct} SET role = '{viewer}';
         GRANT {role} TO {direct} WITH INHERIT FALSE, SET TRUE; GRANT {viewer} TO {viewer_direct} WITH INHERIT FALSE, SET TRUE;
         GRANT CONNECT ON DATABASE {database} TO {direct}, {viewer_direct}; GRANT CREATE ON DATABASE {database} TO {direct};",
        cells.verifier(direct),
        cells.verifier(viewer_direct),
    );
    scene.administrator("postgres").await.script(&script).await.expect("people's roles");
}
