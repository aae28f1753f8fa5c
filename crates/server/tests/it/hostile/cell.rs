//! What the administrator of a cell sees: no database is open to all roles, and no tenant's role has additional rights.

use pg::Conn;

use super::{Scene, outcome_of};
use crate::support::home;

async fn names(admin: &mut Conn, sql: &str) -> Vec<String> {
    let rows = admin.query(sql, &[]).await.expect("an answer");
    (0..rows.len()).map(|row| rows.text(row, 0).unwrap_or("NULL").to_owned()).collect()
}

#[tokio::test]
async fn everybody_may_connect_to_no_database_at_all() {
    let scene = Scene::new(home()).await;
    let mut admin = scene.administrator("postgres").await;
    // A database without an ACL is open to PUBLIC. acldefault() says so.
    let open = "SELECT d.datname FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
                 WHERE a.grantee = 0 AND d.datallowconn";
    assert_eq!(names(&mut admin, open).await, Vec::<String>::new(), "databases on which PUBLIC has a right");
    let all = names(&mut admin, "SELECT datname FROM pg_database").await;
    assert!(all.len() > 5, "{all:?}");
    // A workspace's role may connect only to its own database.
    let strangers = "SELECT r.rolname || ' in ' || d.datname FROM pg_roles AS r CROSS JOIN pg_database AS d
                      WHERE r.rolname ~ '^w_' AND d.datallowconn AND has_database_privilege(r.oid, d.oid, 'CONNECT')
                        AND NOT starts_with(r.rolname, d.datname)";
    assert_eq!(names(&mut admin, strangers).await, Vec::<String>::new(), "roles that may connect elsewhere");
    // Members' own roles create schemas, and the workspace's role what is temporary in their sessions.
    let more = "SELECT r.rolname || ' in ' || d.datname FROM pg_roles AS r CROSS JOIN pg_database AS d
                 WHERE r.rolname ~ '^w_' AND d.datallowconn
                   AND (has_database_privilege(r.oid, d.oid, 'CREATE') AND NOT (r.rolname ~ '_d$' AND starts_with(r.rolname, d.datname))
                        OR has_database_privilege(r.oid, d.oid, 'TEMPORARY') AND r.rolname <> d.datname)";
    assert_eq!(names(&mut admin, more).await, Vec::<String>::new(), "roles with CREATE or TEMPORARY on a database");
}

/// PUBLIC may execute a function that nobody has revoked from it.
#[tokio::test]
async fn who_may_execute_kiths_functions_is_said_of_each() {
    let scene = Scene::new(home()).await;
    let mut admin = scene.administrator(&scene.place.database).await;
    let silent = "SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                   WHERE n.nspname IN ('kith', 'kith_guard') AND p.proacl IS NULL ORDER BY 1";
    assert_eq!(names(&mut admin, silent).await, Vec::<String>::new(), "functions without an ACL");
    let all = names(&mut admin, "SELECT proname FROM pg_proc WHERE pronamespace = 'kith'::regnamespace").await;
    assert!(all.len() > 100, "{all:?}");
}

#[tokio::test]
async fn a_tenants_role_has_no_attributes_and_no_memberships() {
    let scene = Scene::new(home()).await;
    let mut admin = scene.administrator("postgres").await;
    let strong = "SELECT rolname FROM pg_roles WHERE rolname ~ '^w_'
                   AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                        OR (rolname ~ '_s$' AND rolcanlogin) OR rolcanlogin AND rolconnlimit < 1 AND rolname !~ '_d$')";
    assert_eq!(names(&mut admin, strong).await, Vec::<String>::new(), "roles that are more than a tenant's may be");
    let members = "SELECT m.rolname || ' in ' || g.rolname FROM pg_auth_members AS a
                     JOIN pg_roles AS m ON m.oid = a.member JOIN pg_roles AS g ON g.oid = a.roleid
                    WHERE m.rolname ~ '^w_' AND NOT (m.rolname ~ '_d$' AND g.rolname ~ '^w_' AND g.rolname !~ '_s$'
                                                     AND starts_with(m.rolname, regexp_replace(g.rolname, '_r$', '')))";
    assert_eq!(names(&mut admin, members).await, Vec::<String>::new(), "memberships of tenants' roles");
    let owned = "SELECT d.datname FROM pg_database AS d JOIN pg_roles AS r ON r.oid = d.datdba WHERE r.rolname ~ '^w_'";
    assert_eq!(names(&mut admin, owned).await, Vec::<String>::new(), "databases that a tenant owns");
    let at_work = names(&mut admin, "SELECT rolname FROM pg_roles WHERE rolname ~ '^w_' AND rolcanlogin").await;
    assert!(at_work.len() >= 4, "{at_work:?}");
}

#[tokio::test]
async fn a_session_gets_into_no_other_database() {
    let scene = Scene::new(home()).await;
    let cells = &scene.home.kith.app.store.cells;
    let mut admin = scene.administrator("postgres").await;
    let others = names(&mut admin, "SELECT datname FROM pg_database WHERE datallowconn").await;
    let mut refused = 0;
    for database in others.iter().filter(|database| **database != *scene.place.database) {
        for role in [&scene.place.role, &scene.place.viewer] {
            let came = outcome_of(cells.tenant(scene.place.cell, role, database).await);
            // A prepared database may have been dropped since.
            assert!(came == "42501" || came == "3D000", "{role} in {database}: {came}");
            refused += 1;
        }
    }
    assert!(refused >= 8, "{others:?}");
    let system = outcome_of(cells.tenant(scene.place.cell, &scene.place.system, &scene.place.database).await);
    assert!(system == "28000" || system == "28P01", "{system}");
    scene.stands("log-ins to other databases").await;
}
