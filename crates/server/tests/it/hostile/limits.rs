//! Using more than a fair share in one statement: locks, memory, disk, time.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Scene, outcome};
use crate::support::arena;

/// A statement's time limit, and how long its end may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(32);
const NOISE: Duration = Duration::from_secs(120);

/// Runs attacks one after the other. Each must end with one of the codes.
async fn each(class: &str, attacks: &[(&str, &str, &[&str])]) {
    let scene = Scene::new(arena()).await;
    let mut offences = Vec::new();
    for (name, sql, expected) in attacks {
        let begun = Instant::now();
        let reply = scene.attacker.sql(sql).await;
        let (came, took) = (outcome(&reply), begun.elapsed());
        println!("{class}: {name}: {came} after {took:?}");
        // On a busy machine, what is allowed may also end at the limit of time.
        let is_late = came == "statement_timeout" && expected.contains(&"ok");
        if !is_late && !expected.contains(&came.as_str()) {
            offences.push(format!("{name}: {came}, not {expected:?}: {}", reply.story()));
        }
        if took > LIMIT + NOISE {
            offences.push(format!("{name} took {took:?}"));
        }
        match scene.look(name).await {
            Ok(took) => println!("after {name}: the neighbour was answered in {took:?}"),
            Err(offence) => offences.push(offence),
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n\n"));
}

#[tokio::test]
async fn the_lock_table_stays_large_enough() {
    let attacks: &[(&str, &str, &[&str])] = &[
        (
            "advisory locks",
            "do $$ begin for i in 1..30000 loop perform pg_advisory_lock(i); end loop; end $$",
            &["42501"],
        ),
        (
            "advisory locks by another name",
            "select count(pg_try_advisory_xact_lock_shared(i)) from generate_series(1, 30000) i",
            &["42501"],
        ),
        (
            "many subtransactions",
            "do $$ begin for i in 1..20000 loop
                 begin insert into contacts (phone) values (i::text); if i % 2 = 0 then raise exception 'x'; end if;
                 exception when others then null; end;
                 exit when i > 2000;
             end loop; end $$",
            &["ok"],
        ),
        (
            "nested subtransactions",
            "create function deep(n int) returns int language plpgsql as $$ begin
                 insert into lists (name, target_table) values (n::text, 'contacts');
                 return deep(n + 1);
             exception when division_by_zero then return 0; end $$; select deep(1)",
            &["54001", "53200", "statement_timeout"],
        ),
        (
            "locks on two thousand tables, in every mode",
            "do $$ declare t record; n int := 0; begin
                 for i in 1..950 loop execute format('create table l%s (a int)', i); end loop;
                 for round in 1..10 loop
                     for t in select relname from pg_class where relname ~ '^l[0-9]+$' loop
                         execute format('lock table %I in access share mode', t.relname);
                         execute format('lock table %I in row exclusive mode', t.relname);
                         n := n + 2;
                     end loop;
                 end loop;
             end $$",
            &["ok"],
        ),
        (
            "locks on rows",
            "insert into contacts (phone) select i::text from generate_series(1, 5000) i;
             select count(*) from (select id from contacts for update) t",
            &["ok"],
        ),
        (
            "more relations than are allowed",
            "do $$ begin for i in 1..1500 loop execute format('create table more%s (a int primary key)', i); end loop; end $$",
            &["53400", "statement_timeout"],
        ),
    ];
    each("locks", attacks).await;
}

#[tokio::test]
async fn a_workspace_holds_no_more_than_one_command_can_drop() {
    let attacks: &[(&str, &str, &[&str])] = &[
        (
            "a domain with thousands of checks",
            "do $$ begin execute 'create domain d as int ' || (
                 select string_agg(format('constraint c%s check (value <> %s)', i, i), ' ') from generate_series(1, 6000) i); end $$",
            &["53400"],
        ),
        (
            "checks that come one by one",
            "create domain e as int; do $$ begin for i in 1..6000 loop
                 execute format('alter domain e add constraint c%s check (value <> %s)', i, i); end loop; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "a table with thousands of checks",
            "do $$ begin execute 'create table c (a int, ' || (
                 select string_agg(format('check (a <> %s)', i), ', ') from generate_series(1, 6000) i) || ')'; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "types",
            "do $$ begin for i in 1..1200 loop execute format('create type t%s as enum (''a'')', i); end loop; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "values of an enum",
            "do $$ begin execute 'create type big as enum (' || (
                 select string_agg(quote_literal('v' || i), ', ') from generate_series(1, 12000) i) || ')'; end $$",
            &["53400"],
        ),
        (
            "functions",
            "do $$ begin for i in 1..2500 loop execute format('create function f%s() returns int language sql as ''select 1''', i); end loop; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "triggers",
            "create table g (a int); create function g() returns trigger language plpgsql as $$ begin return null; end $$;
             do $$ begin for i in 1..1200 loop
                 execute format('create trigger g%s after insert on g for each row execute function g()', i); end loop; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "defaults",
            "do $$ begin for i in 1..10 loop execute format('create table h%s (', i) || (
                 select string_agg(format('a%s int default %s', j, j), ', ') from generate_series(1, 1200) j) || ')'; end loop; end $$",
            &["53400"],
        ),
        (
            "operators",
            "create function o(int, int) returns bool language sql as 'select true';
             do $$ declare a text; b text; c text; d text; begin
                 foreach a in array array['<', '>', '&', '|', '#', '~'] loop foreach b in array array['<', '>', '&', '|', '#', '~'] loop
                 foreach c in array array['<', '>', '&', '|', '#', '~'] loop foreach d in array array['<', '>', '&', '|', '#', '~'] loop
                 execute format('create operator %s (leftarg = int, rightarg = int, function = o)', a || b || c || d);
                 end loop; end loop; end loop; end loop; end $$",
            &["53400", "statement_timeout"],
        ),
        (
            "columns",
            "do $$ begin for i in 1..20 loop execute format('create table k%s (', i) || (
                 select string_agg(format('a%s int', j), ', ') from generate_series(1, 1500) j) || ')'; end loop; end $$",
            &["53400"],
        ),
    ];
    each("objects", attacks).await;
}

#[tokio::test]
async fn tables_are_served_however_wide_they_are() {
    let scene = Scene::new(arena()).await;
    // Almost as many columns and as many bytes of names as there may be. In the longest names each character has six bytes in JSON.
    let wide = "do $$ begin for i in 1..12 loop execute format('create table k%s (id int primary key, ', i) || (
                    select string_agg(format('%I int', j || case when i <= 5 then repeat(chr(1), 59) else 'a' end), ', ')
                    from generate_series(1, 1500) j) || ')'; end loop; end $$";
    scene.prepare(wide).await;
    let own = scene.attacker.post("/v1/k1", json!({"id": 1})).await;
    assert_eq!(own.code, 201, "{}", own.story());
    scene.stands("18,000 columns").await;
}

#[tokio::test]
async fn memory_and_disk_are_bounded() {
    // On a busy machine the time limit may be reached first.
    let attacks: &[(&str, &str, &[&str])] = &[
        (
            "a string of a gigabyte",
            "select length(repeat('x', 1000000000)) as n",
            &["ok", "53200", "statement_timeout"],
        ),
        (
            "a string of more",
            "select repeat(repeat('x', 1000000), 2000)",
            &["54000", "53200", "XX000", "statement_timeout"],
        ),
        ("a value too large to send", "select repeat('x', 20000000) as v", &["result_too_large", "statement_timeout"]),
        (
            "a huge array",
            "select array_fill(0, array[200000000])",
            &["54000", "53200", "result_too_large", "22023", "statement_timeout"],
        ),
        (
            "one object of all rows",
            "select length(json_agg(repeat('x', 100))::text) from generate_series(1, 3000000) i",
            &["ok", "54000", "53200", "statement_timeout"],
        ),
        (
            "a memory limit of its own",
            "set work_mem = '1GB'; set hash_mem_multiplier = 1000; select count(*) from (select repeat(i::text, 20) from generate_series(1, 3000000) i group by 1) t",
            &["ok", "53200", "53400", "statement_timeout"],
        ),
        (
            "a sort on disk",
            "set work_mem = '64kB'; select count(*) from (select repeat(i::text, 30) as s from generate_series(1, 8000000) i order by 1 offset 0) t",
            &["53400", "statement_timeout"],
        ),
        (
            "a hash on disk",
            "set work_mem = '64kB'; select count(distinct s) from (select repeat(i::text, 40) as s from generate_series(1, 8000000) i) t",
            &["53400", "statement_timeout"],
        ),
        ("no limit to what is on disk", "set temp_file_limit = -1", &["42501"]),
        ("temporary tables", "create temp table t as select generate_series(1, 10)", &["42501"]),
        ("a regular expression", "select repeat('a', 30000) ~ '(a*)*(a*)*b'", &["ok", "2201B", "statement_timeout"]),
        (
            "deep recursion",
            "with recursive r(n) as (select 1 union all select n + 1 from r) select max(n) from (select n from r limit 3000000) t",
            &["ok", "statement_timeout", "53400"],
        ),
        ("deep nesting", &deep_nesting(), &["54001", "42601"]),
    ];
    each("memory and disk", attacks).await;
}

fn deep_nesting() -> String {
    format!("select {}1{}", "(".repeat(50_000), ")".repeat(50_000))
}

/// The message of the limit on temporary files.
#[tokio::test]
async fn the_limit_on_temporary_files_says_what_it_is() {
    let scene = Scene::new(arena()).await;
    scene.prepare("create table big as select repeat(i::text, 100) as s from generate_series(1, 1000) i").await;
    let sql =
        "set work_mem = '64kB'; select count(*) from (select a.s || b.s as s from big a, big b order by 1 offset 0) t";
    let reply = scene.attacker.sql(sql).await;
    assert!(["53400", "statement_timeout"].contains(&outcome(&reply).as_str()), "{}", reply.story());
    if outcome(&reply) == "53400" {
        assert_eq!(reply.code, 400, "{}", reply.story());
        assert!(reply.text("/message").contains("temporary file"), "{}", reply.story());
    }
    scene.stands("temporary files").await;
}

/// A loop that catches every cancellation still ends: the watchdog ends it, which no code can catch. Endless rows are
/// bounded by the same time.
#[tokio::test]
async fn what_does_not_let_itself_be_cancelled_is_ended() {
    let scene = Scene::new(arena()).await;
    scene.prepare("create table heap (a text)").await;
    let stubborn = "set statement_timeout = '100ms'; do $$ begin loop
             begin loop perform 1; end loop; exception when query_canceled then null; end;
         end loop; end $$";
    let stubborn_trigger = "
        create table trapdoor (id text primary key);
        create function forever() returns trigger language plpgsql as $$ begin loop
            begin perform pg_sleep(100); exception when query_canceled then null; end;
        end loop; end $$;
        create trigger forever before insert on trapdoor for each row execute function forever()";
    scene.prepare(stubborn_trigger).await;
    let heap = "insert into heap select repeat(md5(i::text), 100) from (select generate_series(1, 1000000000) as i) s";
    let (agent, begun) = (&scene.attacker, Instant::now());
    let timed = async |what: &str, reply: crate::support::Reply| {
        println!("{what}: {} after {:?}", outcome(&reply), begun.elapsed());
        assert_eq!(reply.code, 408, "{what}: {}", reply.story());
        assert!(begun.elapsed() < LIMIT + NOISE, "{what} took {:?}", begun.elapsed());
    };
    tokio::join!(
        async { timed("a loop in SQL", agent.sql(stubborn).await).await },
        async { timed("a loop in REST", agent.post("/v1/trapdoor", json!({"id": "x"})).await).await },
        async { timed("rows without end", agent.sql(heap).await).await },
        async {
            // In the middle of the statement.
            tokio::time::sleep(Duration::from_secs(2)).await;
            scene.stands("statements that don't end, at work").await;
        },
    );
    scene.stands("statements that don't end").await;
    let size = scene.prepare("select pg_total_relation_size('heap') as v").await.v();
    println!("rows without end left a table of {size} bytes");
}
