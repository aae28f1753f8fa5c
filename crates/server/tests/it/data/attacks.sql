-- Attacks by a workspace on its own guards, its feed, its neighbours and its server. tests/it/hostile/attacks.rs walks them in order,
-- in one workspace; after each, the built-in tables must be whole and no entry of the feed forged.
--
--   -- == a class of attacks; after it a neighbour must answer and the workspace's own REST must work
--   -- what is tried | the door | what comes: ok, any, SQLSTATEs or codes of the API
--   -- check: a query that must give true afterwards
--
-- Doors: sql is POST /v1/sql with the workspace's key; session is a session of the workspace's own role, statement by statement;
-- viewer, direct and viewer_direct are sessions of its viewer and of people's own roles.

-- set up: legit rows | sql | ok
insert into companies(name,domain) values('Acme','acme.com'); insert into contacts(email,first_name) values('a@acme.com','A'),('b@acme.com','B');
-- == built-in tables
-- set up: a trigger function | sql | ok
create function mine() returns trigger language plpgsql as $$begin return null; end$$;
-- drop built-in table | sql | 42501
drop table contacts cascade;
-- drop built-in in DO with exception handler | sql | ok
do $$ begin drop table contacts cascade; exception when others then raise notice '%', sqlerrm; end $$;
-- check: select to_regclass('public.contacts') is not null
-- rename built-in | sql | 42501
alter table contacts rename to x;
-- owner to d role | direct | 42501
alter table contacts owner to {{direct}};
-- unlogged | sql | 42501
alter table custom_fields set unlogged;
-- enable rls | sql | 42501
alter table contacts enable row level security;
-- force rls | sql | 42501
alter table contacts force row level security;
-- inherit from built-in | sql | 42501
create table x() inherits (contacts);
-- built-in inherits | sql | 0A000
create table p1(id text not null); alter table contacts inherit p1;
-- attach as partition | sql | 0A000
create table p2 (like contacts) partition by list (id); alter table p2 attach partition contacts default;
-- replica identity | sql | 42501
alter table contacts replica identity nothing;
-- of type | sql | 42501
create type ct as (id text, list_id text, member_id text, added_at timestamptz, added_by text, custom jsonb); alter table list_members of ct;
-- drop column | sql | 42501
alter table contacts drop column phone;
-- rename column | sql | 42501
alter table contacts rename column phone to fone;
-- retype column | sql | 42501
alter table contacts alter column phone type varchar(20);
-- drop id default | sql | 42501
alter table contacts alter column id drop default;
-- change id default | sql | 42501
alter table contacts alter column id set default 'x';
-- custom drop not null | sql | 42501
alter table contacts alter column custom drop not null;
-- created_at default | sql | 42501
alter table contacts alter column created_at set default '2000-01-01';
-- drop pk | sql | 42501
alter table contacts drop constraint contacts_pkey cascade;
-- drop email key | sql | 42501
drop index contacts_email_key;
-- rename email key | sql | 42501
alter index contacts_email_key rename to k2;
-- drop fk | sql | 42501
alter table contacts drop constraint contacts_company_id_fkey;
-- drop and readd constraint in one | sql | 42501
alter table list_members drop constraint list_members_list_id_member_id_key, add constraint list_members_list_id_member_id_key unique (list_id, added_at);
-- fk deferrable | sql | 42501
alter table contacts alter constraint contacts_company_id_fkey deferrable initially deferred;
-- fk not enforced | sql | 42501
alter table contacts alter constraint contacts_company_id_fkey not enforced;
-- rename constraint | sql | 42501
alter table contacts rename constraint contacts_custom_check to z;
-- drop check | sql | 42501
alter table contacts drop constraint contacts_custom_check;
-- disable trigger | sql | 42501
alter table contacts disable trigger "!kith_record";
-- disable trigger user | sql | 42501
alter table contacts disable trigger user;
-- disable trigger all | sql | 42501
alter table contacts disable trigger all;
-- enable replica trigger | sql | 42501
alter table contacts enable replica trigger "!kith_record";
-- enable (origin) trigger | sql | 42501
alter table contacts enable trigger "!kith_record";
-- drop trigger | sql | 42501
drop trigger "!kith_record" on contacts;
-- rename trigger | sql | 42501
alter trigger "!kith_record" on contacts rename to zz;
-- replace trigger | sql | 42501
create or replace trigger "!kith_record" after insert on contacts for each row execute function mine();
-- replace trigger with when false, same function | sql | 42501
create or replace trigger "!kith_record" after insert or update or delete on contacts for each row when (false) execute function kith.record_change('contact');
-- trigger with reserved name | sql | 42501
create trigger kith_zz before insert on contacts for each row execute function mine();
-- trigger that fires before those of the log | sql | 42501
create trigger " a" after update on contacts for each row execute function mine();
-- trigger with the name of the log's | sql | 42501
create trigger "!kith_record_insert" after insert on contacts for each row execute function mine();
-- trigger renamed so that it fires before those of the log | sql | 42501
create trigger zz9 after update on contacts for each row execute function mine(); alter trigger zz9 on contacts rename to "!kith";
-- trigger of an own table that fires before that of the log | sql | 42501
create table early (id int primary key); create trigger "!a" after update on early for each row execute function mine();
-- use the transition tables of the log's triggers | sql | 42501
create trigger zz9 after update on contacts referencing old table as kith_old new table as kith_new for each row execute function kith.record_change('contact');
-- make all triggers wait in the name of a table that the log's function reads | sql | ok
create table kith_old (id text); create table kith_new (id text); update contacts set title = title || '!'; delete from kith_old; drop table kith_old, kith_new;
-- rule on built-in | sql | 42501
create rule r as on delete to contacts do instead nothing;
-- rule do also on built-in | sql | 42501
create rule r as on insert to contacts do also notify x;
-- truncate | sql | 42501
truncate contacts, deals, companies, activities cascade;
-- truncate one | sql | 42501
truncate associations;
-- == guards
-- session_replication_role | sql | 42501
set session_replication_role = replica; delete from contacts;
-- event_triggers off | sql | 42501
set event_triggers = off;
-- alter event trigger | sql | 42501
alter event trigger kith_after_ddl disable;
-- drop event trigger | sql | 42501
drop event trigger kith_after_ddl;
-- create event trigger | sql | 42501
create function et() returns event_trigger language plpgsql as $$begin end$$; create event trigger e on ddl_command_start execute function et();
-- replace guard function | sql | 42501
create or replace function kith_guard.after_ddl() returns event_trigger language plpgsql as $$begin end$$;
-- write guard tables | sql | 42501
insert into kith_guard.migration(pid) values (pg_backend_pid());
-- delete facts | sql | 42501
delete from kith_guard.fact;
-- == secrets
-- read secret | sql | 42501
select * from kith.secret;
-- secret via lock | session | 42501
begin; lock table kith.secret in access share mode;
-- secret stats | sql | ok
select case when count(*)=0 then 'none' else 'LEAK' end from pg_stats where tablename='secret';
-- mac oracle | sql | 42501
select kith.context_mac('x','y');
-- current_context | sql | 42501
select * from kith.current_context();
-- wrong secret | sql | 28000
select kith.begin_request('x','api_key:FORGED',null);
-- null secret | sql | 28000
select kith.begin_request(null,'api_key:FORGED',null);
-- other workspace's secret | sql | 28000
select kith.begin_request('{{other_secret}}','api_key:FORGED',null);
-- record_conflict without secret | sql | 28000
select kith.record_conflict('x','contact','k','c_1','{"a":"FORGED"}');
-- write_entry | sql | 42501
select kith.write_entry('created','contact','x','FORGED',null);
-- write_change | sql | 42501
select kith.write_change('contact','x','FORGED','{}',null);
-- == activity
-- insert activity | sql | 42501
insert into activity(actor,verb,subject_type) values('api_key:FORGED','created','contact');
-- update activity | sql | 42501
update activity set actor='x';
-- delete activity | sql | 42501
delete from activity;
-- truncate activity | sql | 42501
truncate activity;
-- drop activity | sql | 42501
drop table activity;
-- alter activity | sql | 42501
alter table activity add column x int;
-- index on activity | sql | 42501
create index on activity(verb);
-- trigger on activity | sql | 42501
create trigger t before insert on activity for each row execute function mine();
-- fk to activity | sql | 42501
create table fa(id text references activity(id));
-- inherit activity | sql | 42501
create table ia() inherits (activity);
-- rule on activity | sql | 42501
create rule r as on insert to activity do instead nothing;
-- policy on activity | sql | 42501
create policy p on activity using (false);
-- view over activity insert | sql | 42501
create view va as select * from activity; insert into va(actor,verb,subject_type) values('api_key:FORGED','created','x');
-- rule writing activity | sql | 42501
create table rt(a int); create rule r as on insert to rt do also insert into activity(actor,verb,subject_type) values('api_key:FORGED','created','x'); insert into rt values(1);
-- definer function writing activity | sql | 42501
create function df() returns void language sql security definer as $$ insert into activity(actor,verb,subject_type) values('api_key:FORGED','created','x') $$; select df();
-- grant on activity to self (a warning only) | sql | ok
grant insert on activity to {{workspace}};
-- check: select not has_table_privilege('{{workspace}}','activity','insert')
-- lock activity exclusive | session | 42501
begin; lock table activity in exclusive mode;
-- == casts and triggers that forge
-- create cast json | sql | 42501
create type en as enum('a'); create function enj(en) returns json language sql as $$ select '{}'::json $$; create cast (en as json) with function enj(en);
-- create cast in DO | sql | 42501
do $$ begin execute 'create type en2 as enum(''a''); create function enj2(en2) returns json language sql as ''select null::json''; create cast (en2 as json) with function enj2(en2)'; end $$;
-- forge by record_change on own table | sql | 42501
create table ft(id text, first_name text, last_name text, email text, phone text); create trigger t after insert on ft for each row execute function kith.record_change('contact'); insert into ft values('c_x','FORGED');
-- forge by record_activity args | sql | ok
create table contact(id text, name text); create trigger t after insert on contact for each row execute function record_activity('contact'); insert into contact values('c_x','trick');
-- check: select count(*)=0 from activity where subject_repr='trick' and subject_type='contact'
-- check: select count(*)=1 from activity where subject_repr='trick' and subject_type='custom:contact'
-- record_activity before trigger | sql | 0A000
create table rb(id text); create trigger t before insert on rb for each row execute function record_activity(); insert into rb values('1');
-- record_activity statement trigger | sql | 0A000
create table rs(id text); create trigger t after insert on rs for each statement execute function record_activity(); insert into rs values('1');
-- second record_activity on built-in makes no second entry | sql | ok
create trigger zz after insert on contacts for each row execute function record_activity(); insert into contacts(email) values('second@x.y'); drop trigger zz on contacts;
-- check: select count(*)=1 from activity where subject_repr='second@x.y'
-- == functions of the system
-- replace record_activity | sql | 42501
create or replace function record_activity() returns trigger language plpgsql as $$begin return null; end$$;
-- drop record_activity | sql | 42501
drop function record_activity() cascade;
-- overload record_activity | sql | 42501
create function record_activity(int default 1) returns int language sql as 'select 1';
-- rename own function to record_activity | sql | 42501
create function ra(int) returns int language sql as 'select 1'; alter function ra(int) rename to record_activity;
-- alter function of kith | sql | 42501
alter function kith.record_change() security invoker;
-- set config on function | sql | 42501
alter function record_activity() set search_path = public;
-- == schemas and extensions
-- drop schema public | sql | 42501
drop schema public cascade;
-- create schema | sql | 42501
create schema s1;
-- rename schema | sql | 42501
alter schema public rename to p;
-- create in kith | sql | 42501
create table kith.t(a int);
-- replace a function of an extension | sql | 42501
create or replace function public.similarity(text,text) returns real language sql as 'select 1::real';
-- create in pg_catalog | sql | 42501
create function pg_catalog.f() returns int language sql as 'select 1';
-- temp table | sql | 42501
create temp table t(a int);
-- temp via pg_temp | sql | 42501
create function pg_temp.f() returns int language sql as 'select 1';
-- drop owned | sql | 42501
drop owned by {{workspace}};
-- reassign owned | direct | 42501
reassign owned by {{workspace}} to {{direct}};
-- create extension trusted | sql | 42501
create extension hstore;
-- create extension untrusted | sql | 42501 0A000
create extension dblink;
-- create extension if not exists installed | sql | ok
create extension if not exists pgcrypto; create extension if not exists vector; create extension if not exists "citext"; create extension if not exists pg_trgm;
-- drop extension | sql | 42501
drop extension citext cascade;
-- alter extension add | sql | 42501
alter extension pgcrypto add table contacts;
-- alter extension drop secret | sql | 42501
alter extension pgcrypto drop table kith.secret;
-- language | sql | 42501 0A000
create language plperl;
-- publication | sql | 42501
create publication p for all tables;
-- subscription | sql | 42501
create subscription s connection 'dbname={{other}}' publication p;
-- fdw | sql | 42501
create foreign data wrapper f;
-- server | sql | 42501
create server s foreign data wrapper postgres_fdw;
-- operator class | sql | 42501
create operator class oc for type int4 using btree as operator 1 <;
-- conversion | sql | 42501
create conversion c for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1;
-- transform | sql | 42501
create transform for int language plpgsql (from sql with function mine);
-- security label | sql | 42501 22023
security label on table contacts is 'x';
-- pgcrypto's OpenPGP functions | sql | 42501
select pgp_sym_encrypt('x', 'y');
-- their decryption | sql | 42501
select pgp_sym_decrypt('x'::bytea, 'y');
-- with keys | sql | 42501
select pgp_pub_decrypt('x'::bytea, 'y'::bytea);
-- a key's id | sql | 42501
select pgp_key_id('x'::bytea);
-- the headers of an armor | sql | 42501
select pgp_armor_headers('x');
-- armor | sql | 42501
select armor('x');
-- dearmor | sql | 42501
select dearmor('x');
-- armor in psql | direct | 42501
select public.armor('x');
-- armor by a viewer | viewer | 42501
select public.armor('x');
-- the right to call them | sql | 42501
grant execute on function public.armor(bytea), public.pgp_sym_decrypt(bytea, text) to {{workspace}}, public;
-- check: select not has_function_privilege('{{workspace}}', 'public.armor(bytea)', 'execute')
-- an aggregate over one of them | sql | 42501
create aggregate opened(text) (sfunc = public.pgp_sym_decrypt_bytea, stype = bytea);
-- a function of one's own in their place | sql | 42501
create or replace function public.armor(bytea) returns text language sql as 'select null::text';
-- the extension made anew | sql | 42501
drop extension pgcrypto cascade; create extension pgcrypto;
-- the extension updated | sql | 42501
alter extension pgcrypto update;
-- what pgcrypto is used for | sql | ok
select gen_random_bytes(8), gen_random_uuid(), digest('a', 'sha256'), hmac('a', 'b', 'sha256'), crypt('a', gen_salt('bf', 4)), decrypt(encrypt('a', '0123456789abcdef', 'aes'), '0123456789abcdef', 'aes');
-- == roles
-- create role | sql | 42501
create role evil superuser;
-- alter role superuser | sql | 42501
alter role {{workspace}} superuser;
-- alter system role password | sql | 42501
alter role {{system}} password 'x' login;
-- grant system role | sql | 42501
grant {{system}} to {{workspace}};
-- grant own role to viewer | sql | 42501
grant {{workspace}} to {{viewer}};
-- set role system | sql | 42501
set role {{system}};
-- set role other workspace | sql | 42501
set role {{other}};
-- set session authorization | sql | 42501
set session authorization postgres;
-- reset role in DO | sql | ok
do $$ begin execute 'reset role'; end $$; select current_user;
-- d role: set role none, then DDL | direct | 42501
set role none; create table downed(a int);
-- d role: set role none, alter built-in | direct | 42501
set role {{direct}}; alter table contacts add column q int;
-- d role owns nothing after create | direct | ok
create table dtab(a int); 
-- check: select pg_get_userbyid(relowner)='{{workspace}}' from pg_class where relname='dtab'
-- d role: function owner to d | direct | any
alter table dtab owner to {{direct}};
-- == the system catalogs, other databases, locks, large objects, files
-- update pg_class | sql | 42501
update pg_class set relowner=1 where relname='contacts';
-- delete pg_trigger | sql | 42501
delete from pg_trigger;
-- allow_system_table_mods | sql | 42501
set allow_system_table_mods = on;
-- advisory lock | sql | 42501
select pg_advisory_lock(1);
-- try advisory xact | sql | 42501
select pg_try_advisory_xact_lock(1,2);
-- large object | sql | 42501
select lo_create(0);
-- lo_from_bytea | sql | 42501
select lo_from_bytea(0,'x');
-- pg_notify | sql | 42501
select pg_notify('a','b');
-- wal message | sql | 42501
select pg_logical_emit_message(false,'a',repeat('x',1000));
-- export snapshot | sql | 42501
select pg_export_snapshot();
-- terminate | sql | 42501
select pg_terminate_backend(1);
-- cancel | sql | 42501
select pg_cancel_backend(1);
-- read file | sql | 42501
select pg_read_file('/etc/passwd');
-- ls dir | sql | 42501
select pg_ls_dir('.');
-- copy to file | sql | 0A000
copy contacts to '/tmp/x';
-- copy to file, in psql | session | 42501
copy contacts to '/tmp/x';
-- copy program | sql | 0A000
copy contacts to program 'id';
-- copy program, in psql | session | 42501
copy contacts to program 'id';
-- stat activity | sql | 42501
select * from pg_stat_activity;
-- stat activity function | sql | 42501
select * from pg_stat_get_activity(null);
-- locks | sql | 42501
select * from pg_locks;
-- stat database | sql | 42501
select * from pg_stat_database;
-- stat db function | sql | 42501
select pg_stat_get_db_xact_commit(oid) from pg_database;
-- backend functions | sql | 42501
select pg_stat_get_backend_idset();
-- settings of roles, which pg_dump reads | sql | ok
select * from pg_db_role_setting;
-- the same settings in pg_roles | sql | ok
select rolconfig from pg_roles;
-- pg_roles names readable | sql | ok
select count(rolname) from pg_roles;
-- shdepend | sql | 42501
select * from pg_shdepend;
-- comments of shared objects, which only the operator can write and pgAdmin reads | sql | ok
select * from pg_shdescription;
-- comment on the database | sql | 42501
comment on database {{workspace}} is 'x';
-- comment on a role | direct | 42501
comment on role {{direct}} is 'x';
-- authid | sql | 42501
select * from pg_authid;
-- control | sql | 42501
select * from pg_control_system();
-- wal lsn | sql | 42501
select pg_current_wal_lsn();
-- size of other db | sql | 42501
select pg_database_size('{{other}}');
-- pg_sleep works | sql | ok
select pg_sleep(0);
-- settings with paths hidden | sql | ok
select case when count(*)=0 then 'hidden' else 'LEAK' end from pg_settings where name in ('data_directory','hba_file','unix_socket_directories');
-- unlock what is not locked, as pools do | sql | ok
select pg_advisory_unlock_all();
-- PostgreSQL's own functions, moved aside | direct | 42501
select kith_guard.pg_advisory_lock(1);
-- the sessions of all | direct | 42501
select * from kith_guard.pg_stat_get_activity(null);
-- the locks of all | direct | 42501
select * from kith_guard.pg_lock_status();
-- a snapshot past its check | direct | 42501
select kith_guard.pg_export_snapshot();
-- == people's own sessions: locks, snapshots and statistics
-- advisory locks | direct | ok
select pg_advisory_lock(1), pg_try_advisory_lock(1, 2), pg_advisory_unlock(1, 2), pg_advisory_xact_lock_shared(3), pg_advisory_unlock_all();
-- a key of Kith's | direct | 42501
select pg_advisory_lock(7236455901);
-- the lock under which guards take turns | direct | 42501
select pg_try_advisory_xact_lock_shared(7236455903);
-- more locks than there may be (the watchdog may end the session first) | direct | 53400 57P01
select count(pg_advisory_lock(g)) from generate_series(1, 30000) g;
-- the same by pairs | direct | 53400 57P01
select count(pg_try_advisory_lock_shared(g, g)) from generate_series(1, 30000) g;
-- a viewer's lock | viewer_direct | 42501
select pg_advisory_lock(1);
-- a viewer's pool | viewer_direct | ok
select pg_advisory_unlock_all();
-- a hundred snapshots are enough | direct | 53400
begin; select count(pg_export_snapshot()) from generate_series(1, 200);
-- sessions of others | direct | ok
do $$ begin if exists (select from pg_stat_activity a where a.datname is distinct from current_database() or a.usename <> session_user and a.query <> '<insufficient privilege>') then raise exception 'seen'; end if; end $$;
-- sessions of others, by a viewer | viewer_direct | ok
do $$ begin if exists (select from pg_stat_activity a where a.datname is distinct from current_database() or a.usename <> session_user and a.query <> '<insufficient privilege>') then raise exception 'seen'; end if; end $$;
-- locks of others | direct | ok
do $$ begin if exists (select from pg_locks l left join pg_database d on d.oid = l.database where d.datname is distinct from current_database()) then raise exception 'seen'; end if; end $$;
-- statistics of others | direct | ok
do $$ begin if exists (select from pg_stat_database d where d.datid <> 0 and d.datname <> current_database() and (d.xact_commit, d.numbackends, d.tup_returned) is distinct from (null, null, null)) then raise exception 'seen'; end if; end $$;
-- sizes of others | direct | ok
do $$ begin if exists (select from pg_tablespace t where pg_tablespace_size(t.oid) is not null) then raise exception 'seen'; end if; end $$;
-- what blocks another's backend | direct | ok
do $$ begin if exists (select from generate_series(1, 100) p where pg_blocking_pids(p) <> '{}') then raise exception 'seen'; end if; end $$;
-- == people's own sessions: temporary objects
-- a temporary feed | direct | ok
create temp table activity (like public.activity); insert into contacts(email) values('temp1@x.y');
-- check: select count(*)=1 from public.activity where subject_repr='temp1@x.y' and verb='created'
-- temporary tables that triggers read | direct | ok
create temp table pipelines (like public.pipelines); create temp table pipeline_stages (like public.pipeline_stages); create temp table custom_fields (like public.custom_fields);
create temp table companies (like public.companies); create temp table contacts (like public.contacts); create temp table deals (like public.deals);
insert into public.deals(name) values('temp2'); insert into public.companies(domain) values('https://www.Temp2.example/'); insert into public.contacts(email) values(' temp2@x.y ');
-- check: select count(*)=1 from public.deals where name='temp2' and pipeline='sales' and stage='lead'
-- check: select count(*)=1 from public.companies where domain='temp2.example'
-- check: select count(*)=1 from public.activity where subject_repr='temp2@x.y'
-- a temporary definition of a custom field does not count | direct | ok
create temp table custom_fields (like public.custom_fields including defaults); insert into custom_fields(id,object_type,key,label,type) values('f','contact','k','K','number'); insert into contacts(email,custom) values('temp3@x.y','{"k":"text"}');
-- check: select count(*)=1 from public.contacts where email='temp3@x.y'
-- temporary catalogs that guards read | direct | 42501
create temp table pg_trigger as select * from pg_catalog.pg_trigger limit 0; create temp table pg_class as select oid, relname, relkind, relowner, relnamespace from pg_catalog.pg_class limit 0;
create temp table pg_attribute as select attrelid, attname, attnum, attisdropped, atttypid, attnotnull from pg_catalog.pg_attribute limit 0; create temp table pg_index as select * from pg_catalog.pg_index limit 0;
alter table public.contacts disable trigger "!kith_record";
-- a temporary pg_roles that exempts | direct | 42501
create temp table pg_roles as select 10::oid as oid, current_user as rolname, true as rolsuper union select 11::oid, session_user, true; drop trigger "!kith_record" on contacts;
-- a temporary table of roles | direct | 42501
create temp table role as select 'admin'::text as part, oid as role from pg_catalog.pg_roles where rolname in (current_user, session_user); drop trigger "!kith_record" on contacts;
-- a temporary view of what is observed | direct | 42501
create temp view observed as select * from kith_guard.fact; create temp view fact as select * from kith_guard.fact where false; drop index contacts_email_key;
-- temporary types | direct | ok
create type pg_temp.jsonb as (a int); create domain pg_temp.text as pg_catalog.text default 'FORGED'; create domain pg_temp.name as pg_catalog.name; create type pg_temp.regclass as enum ('FORGED'); create type pg_temp.oid as enum ('FORGED');
insert into contacts(email,first_name) values('temp4@x.y','T'); update contacts set first_name='U' where email='temp4@x.y'; delete from contacts where email='temp4@x.y';
-- check: select array_agg(verb order by id)='{created,updated,deleted}' from public.activity where subject_repr in ('T','U')
-- temporary types, then DDL on a built-in table | direct | 42501
create type pg_temp.name as enum ('x'); create type pg_temp.text as enum ('x'); create type pg_temp.oid as enum ('x'); alter table contacts drop column phone;
-- temporary functions | direct | ok
create function pg_temp.to_jsonb(anyelement) returns pg_catalog.jsonb language sql as $$ select '{"id":"FORGED"}'::pg_catalog.jsonb $$; create function pg_temp.current_setting(text, bool) returns text language sql as $$ select 'FORGED' $$;
create function pg_temp.write_entry(text,text,text,text,jsonb) returns text language sql as $$ select 'FORGED' $$; insert into contacts(email) values('temp5@x.y');
-- check: select count(*)=1 from public.activity where subject_repr='temp5@x.y' and subject_id like 'c\_%'
-- temporary operators | direct | ok
create function temp_eq(text,text) returns bool language sql as 'select true'; create operator pg_temp.= (leftarg=text, rightarg=text, function=temp_eq); insert into contacts(email) values('temp6@x.y');
-- check: select count(*)=1 from public.activity where subject_repr='temp6@x.y'
-- a path that begins with temporary objects | direct | ok
create temp table activity (like public.activity); create temp table secret as select true as one, ''::bytea as token_hash, ''::bytea as mac_key; set search_path = pg_temp, kith, kith_guard, public; insert into public.contacts(email) values('temp7@x.y');
-- check: select count(*)=1 from public.activity where subject_repr='temp7@x.y' and actor='postgres:{{direct}}'
-- a context signed with a temporary secret | direct | ok
create temp table secret as select true as one, sha256('x'::bytea) as token_hash, 'k'::bytea as mac_key; set search_path = pg_temp, kith, public; do $$ begin perform kith.begin_request('x', 'api_key:FORGED', null); exception when sqlstate '28000' then null; end $$; insert into public.contacts(email) values('temp8@x.y');
-- a subject by a temporary table's name | direct | ok
create temp table contact(id text, name text); create trigger t after insert on pg_temp.contact for each row execute function record_activity(); insert into contact values('c_x','temporary');
-- check: select count(*)=1 from public.activity where subject_repr='temporary' and subject_type='pg_temp.contact'
-- record_change on a temporary table | direct | 42501
create temp table ft(id text, first_name text, last_name text, email text, phone text); create trigger t after insert on ft for each row execute function kith.record_change('contact');
-- a temporary table under a built-in one | direct | 42501
create temp table heir () inherits (public.contacts);
-- a built-in table under a temporary one | direct | 42501 42809
create temp table parent (id text not null); alter table public.contacts inherit parent;
-- a rule on a temporary view writes no feed | direct | 42501
create temp view va as select * from public.activity; create rule r as on insert to va do instead insert into public.activity(actor,verb,subject_type) values('api_key:FORGED','created','x'); insert into va(actor) values('x');
-- a column that ends with the session, without an entry in the feed | direct | 42501
create type pg_temp.m as enum ('a'); alter table contacts add column m pg_temp.m;
-- of an array | direct | 42501
create type pg_temp.m as enum ('a'); create table ended (id integer, m pg_temp.m[]);
-- by a domain | direct | 42501
create type pg_temp.m as enum ('a'); create domain ended as pg_temp.m;
-- by a range | direct | 42501
create type pg_temp.m as enum ('a'); create type ended as range (subtype = pg_temp.m);
-- by an attribute | direct | 42501
create type pg_temp.m as enum ('a'); create type ended as (a integer, m pg_temp.m);
-- by a collation | direct | 42501
create collation pg_temp.m from "C"; alter table contacts add column m text collate pg_temp.m;
-- by what generates it | direct | 42501
create function pg_temp.m(text) returns text language sql immutable as 'select $1'; alter table contacts add column m text generated always as (pg_temp.m(first_name)) stored;
-- by a function that stays | direct | 42501
create type pg_temp.m as enum ('a'); create function ended(pg_temp.m) returns text language sql as $$ select 'x' $$;
-- what is temporary itself may | direct | ok
create type pg_temp.m as enum ('a'); create temp table t (id serial primary key, m pg_temp.m, k pg_temp.m[], n text default 'x'); create temp view v as select * from t; create function pg_temp.f(pg_temp.m) returns setof t language sql as 'select * from pg_temp.t'; create temp table u (id integer references t);
-- the API has none, caught or not | sql | ok
do $$ begin execute 'create temp table of_the_api(a int)'; exception when others then null; end $$;
-- check: select not exists (select from pg_class where relpersistence='t' and relname='of_the_api')
-- the API, by SELECT INTO | sql | 42501
select 1 as a into temp t;
-- the API, as a view | sql | 42501
create temp view t as select 1;
-- the API, as a sequence | sql | 42501
create temp sequence t;
-- the API, as a type | sql | 42501
create type pg_temp.t as enum ('a');
-- set up: a function that creates a temporary table | sql | ok
create function make_temp() returns void language plpgsql as $$ begin create temp table made(a int); end $$;
-- the API, by a function of the workspace's | sql | 42501
select make_temp();
-- the API, while a temporary table is filled | sql | 42501
create temp table activity as select make_temp()::text as a;
-- a viewer | viewer_direct | 42501
create temp table t(a int);
-- nobody's role | direct | 42501
set role none; create temp table t(a int);
-- == people's own sessions: schemas
-- a schema | direct | ok
create schema evil;
-- check: select pg_get_userbyid(nspowner)='{{workspace}}' from pg_namespace where nspname='evil'
-- public, as migrators do | direct | ok
create schema if not exists public; create schema if not exists "evil";
-- check: select count(*)=1 from pg_namespace where nspname='public' and pg_get_userbyid(nspowner)='{{system}}'
-- the role afterwards | direct | ok
create schema after1; do $$ begin if current_user <> '{{workspace}}' then raise exception 'another role'; end if; end $$; drop schema after1;
-- the role after an error | direct | ok
do $$ begin begin execute 'create schema kith_y'; exception when others then null; end; if current_user <> '{{workspace}}' then raise exception 'another role'; end if; end $$;
-- a name of Kith's | direct | 42501
create schema kith_evil;
-- kith itself | direct | 42501 42P06
create schema kith;
-- renamed to a name of Kith's | direct | 42501
alter schema evil rename to kith_evil;
-- given to the viewers | direct | 42501
alter schema evil owner to {{viewer}};
-- given to its maker | direct | 42501
alter schema evil owner to {{direct}};
-- made for the system | direct | 42501
create schema evil2 authorization {{system}};
-- made for a neighbour | direct | 42501
create schema evil2 authorization {{other}};
-- made for its maker | direct | ok
create schema evil3 authorization {{direct}};
-- check: select pg_get_userbyid(nspowner)='{{workspace}}' from pg_namespace where nspname='evil3'
-- with elements | direct | 42501
create schema evil4 create table t(a int);
-- with a grant to a neighbour | direct | 42501
create schema evil4 authorization {{workspace}} create table t(a int) grant select on t to {{other}};
-- as no role | direct | 42501
set role none; create schema evil5;
-- an extension as no role | direct | 42501
set role none; create extension hstore;
-- an extension in it | direct | 42501
create extension hstore schema evil;
-- a publication | direct | 42501
create publication p for tables in schema evil;
-- by a function with its owner's rights | direct | 42501
create function make_schema() returns void language plpgsql security definer as $$ begin execute 'create schema evil6'; end $$; select make_schema();
-- by a viewer | viewer_direct | 42501
create schema evil7;
-- by the API | sql | 42501
create schema evil8;
-- dropped by the API | sql | 42501
drop schema evil cascade;
-- drop public | direct | 42501
drop schema public cascade;
-- drop kith | direct | 42501
drop schema kith cascade;
-- drop the guards | direct | 42501
drop schema kith_guard cascade;
-- a right for a neighbour | direct | 42501
grant usage on schema evil to {{other}};
-- more than USAGE for viewers | direct | 42501
grant create on schema evil to {{viewer}};
-- for PUBLIC | direct | 42501
grant create on schema evil to public;
-- for those to come | direct | 42501
alter default privileges grant create on schemas to public;
-- tables for viewers | direct | 42501
create table evil.own(a int); alter default privileges in schema evil grant insert on tables to {{viewer}};
-- one table for viewers | direct | 42501
create table evil.own2(a int); grant insert on evil.own to {{viewer}};
-- a built-in table moved | direct | 42501
alter table contacts set schema evil;
-- inherited there | direct | 42501
create table evil.heir () inherits (public.contacts);
-- a forger's trigger there | direct | 42501
create table evil.ft(id text); create trigger t after insert on evil.ft for each row execute function kith.record_change('contact');
-- record_activity there | direct | 42501
create function evil.record_activity() returns trigger language plpgsql as $$ begin return null; end $$;
-- a subject there | direct | ok
create table evil.contact(id text, name text); create trigger t after insert on evil.contact for each row execute function record_activity(); insert into evil.contact values('c_x','elsewhere');
-- check: select count(*)=1 from public.activity where subject_repr='elsewhere' and subject_type='evil.contact'
-- a function with its owner's rights there | direct | ok
create function evil.df() returns int language sql security definer as 'select 1';
-- check: select not has_function_privilege('{{viewer}}', 'evil.df()', 'execute')
-- an operator with its owner's rights there | direct | 42501
create function evil.dop(int,int) returns bool language sql security definer as 'select true'; create operator evil.=== (leftarg=int, rightarg=int, function=evil.dop);
-- shadows of what triggers use | direct | ok
create table evil.activity (like public.activity); create table evil.contacts (like public.contacts); create table evil.custom_fields (like public.custom_fields); create table evil.pipelines (like public.pipelines); create table evil.pipeline_stages (like public.pipeline_stages);
create function evil.new_id(text) returns text language sql as $$ select 'FORGED' $$; create function evil.to_jsonb(anyelement) returns jsonb language sql as $$ select '{"id":"FORGED"}'::jsonb $$; create type evil.jsonb as (a int);
create function evil.eq(text,text) returns bool language sql as 'select true'; create operator evil.= (leftarg=text, rightarg=text, function=evil.eq); create function evil.cat(text,text) returns text language sql as $$ select 'FORGED' $$; create operator evil.|| (leftarg=text, rightarg=text, function=evil.cat);
set search_path = evil, public, pg_catalog; insert into public.contacts(email) values('evil1@x.y'); insert into public.deals(name) values('evil1');
-- check: select count(*)=1 from public.activity where subject_repr='evil1@x.y'
-- check: select count(*)=1 from public.deals where name='evil1' and pipeline='sales' and stage='lead'
-- shadows in a role's own path | direct | ok
set role none; alter role {{direct}} set search_path = evil, public, pg_catalog;
-- shadows in the API's path | sql | ok
alter role {{workspace}} set search_path = evil, public;
-- a trigger that changes the path of REST's session | sql | ok
create function repath() returns trigger language plpgsql as $$ begin perform set_config('search_path', 'evil, public', false); return new; end $$; create trigger repath before insert on contacts for each row execute function repath(); insert into contacts(email) values('evil2@x.y'); drop trigger repath on public.contacts;
-- check: select count(*)=1 from public.contacts where email='evil2@x.y'
-- an index there | direct | ok
create table evil.big(a int primary key, b text); create index concurrently evil_b on evil.big(b); reindex index concurrently evil.evil_b; drop index concurrently evil.evil_b;
-- gone as a whole | direct | ok
drop schema evil cascade; drop schema evil3;
-- == context
-- alter payload | session | ok
begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{}'); select set_config('kith.context', replace(current_setting('kith.context'),'ak_ok','ak_FORGED'), true); insert into contacts(email) values('r4@x.y'); commit;
-- check: select actor='postgres:{{workspace}}' from activity where subject_repr='r4@x.y'
-- extend payload | session | ok
begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{}'); select set_config('kith.context', current_setting('kith.context')||'x', true); insert into contacts(email) values('r5@x.y'); commit;
-- check: select actor='postgres:{{workspace}}' from activity where subject_repr='r5@x.y'
-- junk context | sql | ok
set kith.context='junk'; insert into contacts(email) values('r6@x.y'); set kith.context=''; insert into contacts(email) values('r7@x.y');
-- timezone change keeps attribution | session | ok
begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{"a":1}'); set local timezone='Asia/Tokyo'; set local datestyle='German'; set local bytea_output='escape'; insert into contacts(email) values('tz@x.y'); commit;
-- check: select actor='api_key:ak_ok' and custom='{"a":1}' from activity where subject_repr='tz@x.y'
-- actor with newline | sql | 28000
select kith.begin_request('{{secret}}',E'api_key:a\nFORGED',null);
-- empty actor, null actor | sql | 28000
select kith.begin_request('{{secret}}','',null), kith.begin_request('{{secret}}',null,null);
-- == operators, defaults, domains, types
-- operator shadowing in public + search_path | sql | ok
create function evil_cat(text,text) returns text language plpgsql as $$begin return 'FORGED'; end$$; create operator || (leftarg=text,rightarg=text,function=evil_cat);
create function evil_eq(text,text) returns bool language sql as 'select true'; create operator = (leftarg=text,rightarg=text,function=evil_eq);
set search_path=public,pg_catalog; insert into contacts(email,first_name) values('op@x.y','Op'); insert into deals(name) values('opd'); drop operator || (text,text); drop operator = (text,text);
-- check: select count(*)=1 from activity where subject_repr='Op'
-- trigger on built-in elevating | sql | ok
create function elev() returns trigger language plpgsql as $$begin begin execute 'set role {{system}}'; exception when others then null; end; begin insert into activity(actor,verb,subject_type) values('api_key:FORGED','created','x'); exception when others then null; end; return new; end$$;
create trigger aaa before insert on contacts for each row execute function elev(); create trigger zzz after insert on contacts for each row execute function elev(); insert into contacts(email) values('el@x.y'); drop trigger aaa on contacts; drop trigger zzz on contacts;
-- default expression elevating | sql | ok
create function defx() returns text language plpgsql as $$begin begin insert into activity(actor,verb,subject_type) values('api_key:FORGED','created','x'); exception when others then null; end; return current_user; end$$;
alter table contacts add column dx text default defx(); insert into contacts(email) values('dx@x.y') returning dx; 
-- check: select bool_and(dx='{{workspace}}') from contacts where email='dx@x.y'
-- domain with check running code inside to_jsonb | sql | ok
create function chk(text) returns bool language plpgsql as $$begin if current_user<>'{{workspace}}' then insert into activity(actor,verb,subject_type,subject_repr) values('api_key:FORGED','created','x','FORGED'); end if; return true; end$$;
create domain dd as text check (chk(value)); alter table contacts add column ddc dd; insert into contacts(email,ddc) values('dom@x.y','q'); update contacts set ddc='w' where email='dom@x.y'; delete from contacts where email='dom@x.y';
-- composite and range and enum columns | sql | ok
create type cmp as (a dd, b int); create type rng as range(subtype=text); alter table contacts add column cc cmp, add column rr rng, add column jj json, add column xx xml, add column vv vector(2), add column pt point;
insert into contacts(email,cc,rr,jj,xx,vv,pt) values('cmp@x.y',row('a',1),'[a,b]','{"a":1}','<a/>','[1,2]','(1,2)'); update contacts set jj='{"a":2}', pt='(3,4)' where email='cmp@x.y'; update contacts set jj=jj where email='cmp@x.y';
-- check: select count(*)=2 from activity where subject_repr='cmp@x.y'
-- range with subtype_diff | sql | any
create function sd(text,text) returns float8 language plpgsql immutable as $$begin insert into activity(actor,verb,subject_type) values(current_user||'FORGED','created','x'); return 1; end$$; create type rng2 as range(subtype=text, subtype_diff=sd); alter table contacts add column r2 rng2; insert into contacts(email,r2) values('r2r@x.y','[a,b]');
-- generated column with function | sql | ok
create function gen(text) returns text language plpgsql immutable as $$begin return current_user; end$$; create table gt(id text primary key, g text generated always as (gen(id)) stored); create trigger t after insert or update on gt for each row execute function record_activity(); insert into gt values('1');
-- check: select count(*)=1 from activity where subject_type='gt'
-- constraint trigger deferred record_activity | session | ok
create table ctt(id text); create constraint trigger t after insert on ctt deferrable initially deferred for each row execute function record_activity(); begin; select kith.begin_request('{{secret}}','api_key:ak_ok',null); insert into ctt values('def1'); commit;
-- check: select actor='api_key:ak_ok' from activity where subject_id='def1'
-- role change then deferred trigger | direct | ok
begin; insert into ctt values('def2'); set role none; commit;
-- check: select actor='postgres:{{direct}}' from activity where subject_id='def2'
-- == viewers
-- rls policy on custom_fields refused | sql | 42501
create policy p on custom_fields using (mine() is null); alter table custom_fields enable row level security;
-- viewer insert | viewer | 42501
insert into contacts(email) values('v@x.y');
-- viewer select | viewer | ok
select count(*) from contacts; select count(*) from activity; select count(*) from dtab;
-- viewer create table | viewer | 42501
create table vt(a int);
-- viewer begin_request with wrong secret | viewer | 28000
select kith.begin_request('x','y',null);
-- viewer definer function | sql | ok
create function vdef() returns void language sql security definer as $$ insert into contacts(email) values('vdef@x.y') $$;
-- viewer calls definer function | viewer_direct | 42501
set default_transaction_read_only=off; select vdef();
-- grant definer to public | sql | ok
grant execute on function vdef() to public; grant execute on function vdef() to {{viewer}};
-- viewer calls definer function again | viewer_direct | 42501
set default_transaction_read_only=off; select vdef();
-- alter function to definer | sql | ok
create function vinv() returns void language sql as $$ insert into contacts(email) values('vinv@x.y') $$; alter function vinv() security definer;
-- viewer calls it | viewer_direct | 42501
set default_transaction_read_only=off; select vinv();
-- replace definer keeps revoke | sql | ok
create or replace function vinv() returns void language sql security definer as $$ insert into contacts(email) values('vinv@x.y') $$;
-- viewer calls it again | viewer_direct | 42501
set default_transaction_read_only=off; select vinv();
-- default privileges give functions to viewer | sql | any
alter default privileges grant execute on functions to {{viewer}}; create function vdp() returns void language sql security definer as $$ insert into contacts(email) values('vdp@x.y') $$;
-- viewer calls it (default privileges) | viewer_direct | 42501
set default_transaction_read_only=off; select vdp();
-- grant insert to public | sql | 42501
grant insert on contacts to public;
-- grant column update to viewer | sql | 42501
grant update(email) on contacts to {{viewer}};
-- default privileges insert to public | sql | 42501
alter default privileges grant insert on tables to public;
-- definer view for viewer | sql | 42501
create view vw as select * from contacts; grant insert on vw to public;
-- create viewer-writable table in one | sql | 42501
do $$ begin create table vwt(a int); grant all on vwt to public; end $$;
-- == what a workspace may do
-- revoke own rights | sql | ok
revoke all on contacts from {{workspace}}; grant all on contacts to {{workspace}};
-- revoke own rights and insert | sql | 42501
revoke insert on contacts from {{workspace}}; insert into contacts(email) values('rev@x.y');
-- get it back | sql | ok
grant all on contacts to {{workspace}}; insert into contacts(email) values('rev@x.y');
-- revoke usage on kith from self | sql | any
revoke usage on schema kith from {{workspace}};
-- comment on built-in | sql | ok
comment on table contacts is 'Our people';
-- comment on activity | sql | 42501
comment on table activity is 'x';
-- add column, index, constraint, trigger | sql | ok
alter table contacts add column score int default 0 not null; create index on contacts(score); alter table contacts add constraint s check (score>=0); create trigger own after insert on contacts for each row execute function mine(); drop trigger own on contacts; alter table contacts drop constraint s; alter table contacts drop column score;
-- change free default | sql | ok
alter table deals alter column currency set default 'EUR';
-- set not null on phone | sql | any
alter table companies alter column name set not null;
-- reindex concurrently | sql | ok
reindex index concurrently contacts_email_key;
-- after reindex ddl still fine | sql | ok
create table after_re(a int);
-- reindex table | session | ok
reindex table contacts; vacuum full contacts; cluster contacts using contacts_pkey; create table after_re2(a int);
-- == nested statements
-- set up: a function with nested ddl | sql | ok
create function nd() returns int language plpgsql as $$begin execute 'alter table public.contacts disable trigger "!kith_record"'; return 1; end$$;
-- skip-listed command with nested ddl | sql | 42501
create materialized view mv as select nd();
-- nested ddl in view select | sql | 42501
create table as1 as select nd();
-- nested ddl in comment-like: refresh | sql | 42501
create materialized view mv2 as select 1 where false; refresh materialized view mv2; select nd();
-- ddl then exception rollback | sql | ok
do $$ begin begin execute 'alter table contacts disable trigger "!kith_record"'; exception when insufficient_privilege then null; end; end $$;
-- drop type cascade hits built-in column | sql | 42501
drop extension vector cascade;
-- own type cascade on own column | sql | ok
create type tt as enum('a'); alter table contacts add column ttc tt; drop type tt cascade;
-- index depends on extension | sql | 42501
alter index contacts_email_key depends on extension citext;
-- trigger depends on extension | sql | 42501
alter trigger "!kith_record" on contacts depends on extension citext;
-- lists cascade records deletions | sql | ok
insert into lists(name,target_table) values('casc','contacts'); insert into list_members(list_id,member_id) select id,'m1' from lists where name='casc'; delete from lists where name='casc';
-- check: select count(*)=1 from activity where subject_type='list_member' and verb='deleted'
-- update clears updated_at | sql | ok
update contacts set first_name='A2', updated_at='2000-01-01' where email='a@acme.com';
-- check: select updated_at>now()-interval '1 minute' from contacts where email='a@acme.com'
-- only updated_at set: unchanged, no entry | sql | ok
update contacts set updated_at='2000-01-01' where email='a@acme.com';
-- check: select updated_at>'2001-01-01' from contacts where email='a@acme.com'
-- == sizes
-- huge value clipped | sql | ok
insert into contacts(email,title) values('huge@x.y', repeat('é',2000000)); update contacts set title=repeat('x',3000000), phone=repeat(chr(1),400000) where email='huge@x.y'; delete from contacts where email='huge@x.y';
-- check: select max(octet_length(changes::text))<1048576 and count(*)=3 from activity where subject_repr='huge@x.y'
-- numeric blowup clipped | sql | ok
update contacts set custom=('{"n":1e130000}')::jsonb where email='b@acme.com'; update contacts set custom=(select jsonb_object_agg('k'||i, ('1e130000')::numeric) from generate_series(1,20) i) where email='b@acme.com'; update contacts set custom='{}' where email='b@acme.com';
-- check: select max(octet_length(changes::text))<1048576 from activity
-- 2000 relation limit | sql | 53400
set statement_timeout='120s'; do $$ begin for i in 1..100 loop execute format('create table lim%s(%s)', i, (select string_agg(format('a%s int unique', j), ',') from generate_series(1,20) j)); end loop; end $$;
-- forge diff: before-trigger changes after record | sql | ok
create function late() returns trigger language plpgsql as $$begin update contacts set phone='late' where id=new.id and phone is distinct from 'late'; return null; end$$; create trigger zlate after insert on contacts for each row execute function late(); insert into contacts(email) values('late@x.y'); drop trigger zlate on contacts;
-- check: select count(*)=2 from activity where subject_repr='late@x.y'
-- == frames
-- write in read only | session | 25006
begin read only; select 1; insert into contacts(email) values('ro@x.y');
-- definer in read only (viewer frame) | viewer | 25001 42501 25006
begin read only; select 1; set transaction read write;
-- pid table readable but empty | sql | ok
select count(*) from kith_guard.migration;
-- set quote_all_identifiers does not trip guard | sql | ok
set quote_all_identifiers=on; set standard_conforming_strings=off; set timezone='Asia/Tokyo'; create table qai(a int); set transform_null_equals=on; alter table qai add b int;
-- and does not open it | sql | 42501
set quote_all_identifiers=on; set standard_conforming_strings=off; set transform_null_equals=on; alter table contacts disable trigger "!kith_record";
-- prepared transaction | session | 55000 42501
begin; prepare transaction 'x';
-- alter role set config is self only | sql | ok
alter role current_user set work_mem='5MB'; alter role current_user reset work_mem;
-- == what can be made
-- create operator class lookalike family | sql | 42501
create operator family fam using btree;
-- create access method | sql | 42501
create access method am type index handler bthandler;
-- import foreign schema | sql | 42501 42704
import foreign schema s from server x into public;
-- create statistics etc allowed | sql | ok
create statistics st on email, phone from contacts; drop statistics st; create sequence sq; create view ok_v as select 1; create materialized view okm as select 1; create domain okd as int; create collation okc (provider=libc, locale='C');
-- create aggregate | sql | ok
create aggregate agg(int) (sfunc=int4pl, stype=int, initcond='0');
-- base type | sql | 42501 42704 42P13
create type bt; create function btin(cstring) returns bt language internal as 'textin';
-- language internal/c function | sql | 42501
create function cf() returns int language c as '/lib/x86_64-linux-gnu/libc.so.6','system';
-- pg_rewrite trick: table to view | sql | 42501 42809 0A000
create or replace view contacts as select 1;
-- alter table set without cluster / fillfactor allowed | sql | ok
alter table contacts set (fillfactor=90);
-- vacuum/analyze | sql | ok
vacuum analyze companies;
-- == values
-- pipelines: two defaults impossible | sql | ok
insert into pipelines(key,label,is_default) values('p2','P2',true); update pipelines set is_default=true where key='sales';
-- check: select count(*)=1 from pipelines where is_default
-- custom fields: bad values | sql | ok
insert into custom_fields(object_type,key,type,options) values('deal','n','number',null),('deal','s','select','["a"]'),('deal','b','bool',null),('deal','d','date',null),('deal','t','text',null);
-- number as string | sql | KF001
insert into deals(custom) values('{"n":"1"}');
-- update to bad | sql | KF001
insert into deals(name,custom) values('cf','{"n":1,"s":"a","b":true,"d":"2026-01-01","t":"x","free":[1]}'); update deals set custom=custom||'{"s":"b"}' where name='cf';
-- select option substring trick | sql | KF001
insert into deals(custom) values('{"s":["a"]}');
-- late before trigger can't dodge validation | sql | KF001
create function dodge() returns trigger language plpgsql as $$begin new.custom='{"n":"x"}'; return new; end$$; create trigger zzz before insert on deals for each row execute function dodge(); insert into deals(name) values('dodge');
-- clean | sql | ok
drop trigger if exists zzz on deals; delete from custom_fields;
-- conflict entry by the server | session | ok
begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{"request_id":"rq"}'); select kith.record_conflict('{{secret}}','contact','contacts_email_key','c_1','{"email":"a@acme.com"}'); commit;
-- check: select actor='api_key:ak_ok' and changes->'attempted'->>'email'='a@acme.com' and subject_id='c_1' from activity where verb='conflict'
-- select options must be array | sql | 23514
insert into custom_fields(object_type,key,type) values('deal','q','select');
-- association null label unique | sql | 23505
insert into associations(from_type,from_id,to_type,to_id) values('contact','1','deal','2'),('contact','1','deal','2');
-- == grants
-- viewer through an aggregate over a definer function | sql | 42501
create function sfd(int,int) returns int language plpgsql security definer as $$begin insert into contacts(email) values('agg@x.y'); return 1; end$$; create aggregate aggd(int) (sfunc=sfd, stype=int, initcond='0');
-- function of an aggregate made definer later | sql | 42501
create function sfi(int,int) returns int language plpgsql as $$begin return 1; end$$; create aggregate aggi(int) (sfunc=sfi, stype=int, initcond='0'); alter function sfi(int,int) security definer;
-- grant to another workspace's role (would block its DROP ROLE) | sql | 42501
grant select on contacts to {{other}};
-- grant to own d role | sql | 42501
grant select on contacts to {{direct}};
-- column grant to another workspace | sql | 42501
grant select (email) on contacts to {{other}};
-- function grant to another workspace | sql | 42501
create function gfn() returns int language sql as 'select 1'; grant execute on function gfn() to {{other}};
-- type, sequence grant | sql | 42501
create type gty as enum('a'); grant usage on type gty to {{other}};
-- default privileges to another workspace | sql | 42501
alter default privileges grant select on tables to {{other}};
-- policy for another workspace's role | sql | 42501
create table pol(a int); create policy p on pol to {{other}} using (true);
-- tables made with schema element grants | sql | 42501
do $$ begin create table dog(a int); execute 'grant select on dog to {{other}}'; end $$;
-- has_strangers is harmless to call | sql | ok
select kith_guard.has_strangers();
-- == names that stand in the way
-- disable RI trigger | sql | 42501 42704
do $$ declare n text; begin select tgname into n from pg_trigger where tgrelid='contacts'::regclass and tgisinternal limit 1; execute format('alter table contacts disable trigger %I', n); end $$;
-- alter table all in one with valid part | sql | 42501
alter table contacts add column zz int, disable trigger "!kith_record";
-- own trigger function in kith's place by search_path at fire time | sql | ok
create function write_entry(text,text,text,text,jsonb) returns text language plpgsql as $$begin raise exception 'hijack'; end$$; set search_path=public; insert into contacts(email) values('hij@x.y'); drop function write_entry(text,text,text,text,jsonb);
-- shadow pg_catalog functions by search_path | session | ok
create function to_jsonb(anyelement) returns jsonb language sql as $$select '{"id":"FORGED"}'::jsonb$$; create function sha256(bytea) returns bytea language sql as $$select 'x'::bytea$$; create function left(text,int) returns text language sql as $$select 'FORGED'$$; set search_path=public,pg_catalog; begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{}'); insert into contacts(email) values('shadow@x.y'); update contacts set phone='1' where email::text='shadow@x.y'; commit; drop function to_jsonb(anyelement); drop function sha256(bytea); drop function left(text,int);
-- check: select count(*)=2 and bool_and(actor='api_key:ak_ok') from activity where subject_repr='shadow@x.y'
-- shadowed functions and the guard | sql | 42501
create function pg_get_userbyid(oid) returns name language sql as $$select current_user$$; create function pg_backend_pid() returns int language sql as 'select 1'; set search_path=public,pg_catalog; alter table contacts disable trigger "!kith_record";
-- wide row entry | sql | ok
do $$ begin for i in 1..300 loop execute format('alter table lists add column %I text', 'w'||i||repeat('_',50)); end loop; end $$; insert into lists(name,target_table) values('wide','x'); do $$ declare s text; begin select string_agg(format('%I = repeat(chr(2), 1500)', 'w'||i||repeat('_',50)), ',') into s from generate_series(1,300) i; execute 'update lists set '||s||' where name=''wide'''; end $$;
-- check: select max(octet_length(changes::text)) < 1048576 from activity
-- context with percent and odd provenance | session | ok
begin; select kith.begin_request('{{secret}}','api_key:ak_ok','{"reason":"a\nb % \u00e9 ü \" "}'); insert into contacts(email) values('odd@x.y'); commit;
-- check: select actor='api_key:ak_ok' and custom->>'reason' = E'a\nb % é ü " ' from activity where subject_repr='odd@x.y'
-- context survives savepoints, lost after rollback to before | session | ok
begin; savepoint a; select kith.begin_request('{{secret}}','api_key:ak_ok','{}'); rollback to a; insert into contacts(email) values('sp@x.y'); commit;
-- check: select actor='postgres:{{workspace}}' from activity where subject_repr='sp@x.y'
-- == commands that commit in phases
-- backslashes as escapes | sql | 42501
set standard_conforming_strings = off; drop index concurrently contacts_email_key;
-- check: select indisvalid and indisready and indislive from pg_index where indexrelid = 'contacts_email_key'::regclass
-- backslashes as escapes in psql | session | 42501
set standard_conforming_strings = off; drop index concurrently companies_domain_key;
-- check: select indisvalid and indisready and indislive from pg_index where indexrelid = 'companies_domain_key'::regclass
-- a disabled trigger with backslashes as escapes | sql | 42501
set standard_conforming_strings = off; alter table contacts disable trigger "!kith_record";
-- an address in normal form with backslashes as escapes | sql | ok
set standard_conforming_strings = off; insert into contacts (email) values (E'\u200b norm@x.y '); insert into companies (name, domain) values ('Norm', 'https://www.Norm.example/x');
-- check: select (select count(*) from contacts where email = 'norm@x.y') = 1 and (select count(*) from companies where domain = 'norm.example') = 1
-- drop a built-in index concurrently | sql | 42501
drop index concurrently contacts_email_key;
-- check: select indisvalid and indisready and indislive from pg_index where indexrelid = 'contacts_email_key'::regclass
-- in other words | sql | 42501
DROP /* an index */ INDEX CONCURRENTLY IF EXISTS public."contacts_email_key" -- that is built in;
-- check: select indisvalid from pg_index where indexrelid = 'contacts_email_key'::regclass
-- in capitals | sql | 42501
drop index concurrently PUBLIC.CONTACTS_EMAIL_KEY;
-- with escapes | sql | 42501
drop index concurrently U&"contacts\005femail_key";
-- with other escapes | sql | 42501
drop index concurrently u&"contacts!005femail_key" uescape '!';
-- in psql | session | 42501
drop index concurrently companies_domain_key;
-- check: select indisvalid from pg_index where indexrelid = 'companies_domain_key'::regclass
-- by a person | direct | 42501
drop index concurrently emails_provider_msg_id_key;
-- check: select bool_and(indisvalid and indislive) from pg_index i join kith_guard.builtin b on b.relid = i.indrelid
-- in a DO block | sql | 42501 25001
do $$ begin execute 'drop index concurrently contacts_email_key'; end $$;
-- a primary key | sql | 42501 2BP01
drop index concurrently contacts_pkey;
-- duplicates are still refused | sql | 23505
insert into contacts (email) values ('phases@x.y'), ('PHASES@x.y');
-- set up: an index and a partition of one's own | sql | ok
create table phased (a int, b text); insert into phased values (1, 'x'); create index phased_a on phased (a); create table parted (a int) partition by list (a); create table parted_1 partition of parted for values in (1);
-- an index of one's own, concurrently | sql | ok
create index concurrently phased_b on phased (b);
-- rebuilt | sql | ok
reindex index concurrently phased_b;
-- a built-in one rebuilt | sql | ok
reindex table concurrently contacts;
-- check: select bool_and(indisvalid and indislive) from pg_index i join kith_guard.builtin b on b.relid = i.indrelid
-- dropped | sql | ok
drop index concurrently phased_a;
-- detached | session | ok
alter table parted detach partition parted_1 concurrently;
-- check: select not exists (select from pg_inherits where inhrelid = 'parted_1'::regclass)
-- ddl goes on | sql | ok
drop table phased, parted, parted_1;
-- == how values are written
-- set up: columns of many types | sql | ok
alter table companies add column f float8, add column r real, add column pt point, add column iv interval, add column dr daterange, add column by bytea, add column mo money, add column ar int[], add column js json;
insert into companies (name, f, r, pt, iv, dr, by, mo, ar, js) values ('written', 1.2345678901, 1.2345678, '(1.23456789,0)', '1 day', '[2026-01-01,2026-02-01)', '\x01', '1', '{1,2}', '{"a":1}');
-- fewer digits | sql | ok
set extra_float_digits = -15; update companies set f = 1.2345678902 where name = 'written'; update companies set r = 1.2345679 where name = 'written'; update companies set pt = '(1.23456788,0)' where name = 'written';
-- check: select count(*) = 4 from activity where subject_repr = 'written'
-- check: select changes -> 'f' ->> 'to' = '1.2345678902' from activity where subject_repr = 'written' and changes ? 'f'
-- other styles | sql | ok
set datestyle = 'German'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape'; set quote_all_identifiers = on; update companies set iv = '2 days', dr = '[2026-03-01,2026-04-01)', by = '\x02', mo = '2' where name = 'written';
-- check: select changes -> 'iv' ->> 'to' = '2 days' and changes -> 'dr' ->> 'to' = '[2026-03-01,2026-04-01)' and changes -> 'by' ->> 'to' = '\x02' from activity where subject_repr = 'written' and changes ? 'iv'
-- a session's own styles stay, and no value of the feed follows them | sql | ok
create table spans (id int primary key, iv interval, by bytea); set datestyle = 'German'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape'; insert into spans values (1, '2 days', '\x02'); insert into spans values (2, '2 days', '\x02'), (3, '2 days', '\x02'); update spans set iv = iv where id = 1; update spans set iv = '3 days' where id = 1; insert into companies (name, iv) values ('styled', '1 day'); update companies set iv = '4 days' where name = 'styled'; insert into companies (name, iv) values ('styled', '4 days'), ('styled', '4 days'); delete from companies where name = 'styled'; do $$ begin assert (current_setting('datestyle'), current_setting('intervalstyle'), current_setting('bytea_output')) = ('German, DMY', 'iso_8601', 'escape'); end $$; drop table spans;
-- check: select array_agg(distinct changes #>> '{iv,from}') = '{1 day,4 days}' from activity where subject_repr = 'styled' and changes ? 'iv'
-- what no JSON shows | sql | ok
update companies set f = 0 where name = 'written'; update companies set f = '-0' where name = 'written'; update companies set ar = '[0:1]={1,2}' where name = 'written'; update companies set js = '{"a": 1}' where name = 'written';
-- check: select count(*) = 9 from activity where subject_repr = 'written'
-- check: select changes -> 'ar' ->> 'to' = '[0:1]={1,2}' from activity where subject_repr = 'written' and changes ? 'ar'
-- the same in a table of one's own | sql | ok
create table weights (id int primary key, name text, f float8); create trigger t after insert or update or delete on weights for each row execute function record_activity(); insert into weights values (1, 'kilo', 0); set extra_float_digits = -15; update weights set f = '-0'; update weights set f = 1.2345678901; update weights set f = 1.2345678902;
-- check: select count(*) = 4 from activity where subject_type = 'weights'
-- nothing changes | sql | ok
update weights set f = f; update companies set f = f where name = 'written';
-- check: select count(*) = 4 from activity where subject_type = 'weights'
-- check: select count(*) = 9 from activity where subject_repr = 'written'
-- other values by another type | sql | ok
alter table weights alter column name type int using 7;
-- check: select count(*) = 1 from activity where subject_type = 'weights' and subject_id is null and verb = 'updated'
-- the same in a built-in table | sql | ok
alter table companies alter column f type text using 'x';
-- check: select count(*) = 1 from activity where subject_type = 'company' and subject_id is null
-- a change that rewrites nothing is none | sql | ok
alter table companies alter column f type varchar; alter table companies add column g text default 'x'; alter table companies drop column g, drop column f, drop column r, drop column pt, drop column iv, drop column dr, drop column by, drop column mo, drop column ar, drop column js;
-- check: select count(*) = 1 from activity where subject_type = 'company' and subject_id is null and subject_repr = 'all rows, by ALTER TABLE'
-- check: select count(*) = 1 from activity where subject_type = 'company' and subject_id is null and subject_repr = 'all rows, by a dropped column'
-- an entry of one's own about a rewrite | sql | 42501 0A000 42883
select kith.record_rewrite();
-- == what PostgreSQL calls without asking
-- set up: functions that write with their owner's rights | sql | ok
create function lends() returns void language plpgsql security definer as $$ begin insert into companies (name) values ('by a viewer'); end $$;
create function lends_diff(float8, float8) returns float8 language plpgsql immutable security definer as $$ begin perform public.lends(); return $1 - $2; end $$;
create function lends_equal(text, text) returns bool language plpgsql security definer as $$ begin perform public.lends(); return true; end $$;
create function differs(text, text) returns bool language plpgsql as $$ begin return $1 <> $2; end $$;
create function plain_diff(float8, float8) returns float8 language plpgsql immutable as $$ begin return $1 - $2; end $$;
create function plain_equal(text, text) returns bool language plpgsql as $$ begin return $1 = $2; end $$;
create type lent2 as range (subtype = float8, subtype_diff = plain_diff);
create operator === (leftarg = text, rightarg = text, function = plain_equal, negator = !==, restrict = eqsel);
create operator !== (leftarg = text, rightarg = text, function = differs, negator = ===, restrict = neqsel);
-- a range's subtype_diff | sql | 42501
create type lent as range (subtype = float8, subtype_diff = lends_diff);
-- made so later | sql | 42501
alter function plain_diff(float8, float8) security definer;
-- replaced later | sql | 42501
create or replace function plain_diff(float8, float8) returns float8 language plpgsql immutable security definer as $$ begin perform public.lends(); return 1; end $$;
-- an operator, which the planner calls for its negator | sql | 42501
create operator ==== (leftarg = text, rightarg = text, function = lends_equal, restrict = eqsel);
-- made so later | sql | 42501
alter routine plain_equal(text, text) security definer;
-- a viewer reads with them | viewer_direct | ok
set default_transaction_read_only = off; select count(*) from contacts where first_name operator(public.!==) 'A'; select '[1,2)'::lent2 && '[3,4)'::lent2;
-- check: select not exists (select from companies where name = 'by a viewer')
-- == kept answers
-- claim_key wrong secret | sql | 28000
select * from kith.claim_key('x','k','f',now());
-- keep_answer wrong secret | sql | 28000
select kith.keep_answer('x','k',200,'FORGED');
-- read stored answers | sql | 42501
select * from kith.idempotency;
-- write stored answers | sql | 42501
insert into kith.idempotency values('k','f',200,'FORGED',now());
-- drop search index (own index, allowed) | sql | any
drop index contacts_kith_search_idx;
-- replace search_text | sql | 42501
create or replace function kith.search_text(parts text[]) returns text language sql immutable as 'select null::text';
-- viewer searches | viewer | ok
select count(*) from kith.search('contacts','ada',5);
-- == programs, files, other servers
-- a language that can do anything | sql | 42501 0A000
create extension plpython3u;
-- the file wrapper | sql | 42501 0A000
create extension file_fdw;
-- the server's own files | sql | 42501
select pg_read_binary_file('global/pg_control');
-- the server's log | sql | 42501
select pg_current_logfile();
-- a library | sql | 42501
load '/tmp/x.so';
-- a program by COPY inside of a function | sql | 42501
do $$ begin execute 'copy (select 1) to program ''id'''; end $$;
-- a file by COPY inside of a function | sql | 42501
do $$ begin execute 'copy contacts(email) from ''/etc/passwd'''; end $$;
-- a large object from a file | sql | 42501
select lo_import('/etc/passwd');
-- a large object to a file | sql | 42501
select lo_export(1, '/tmp/x');
-- a table in a tablespace of the cluster | sql | 42501
create table tsx (a int) tablespace pg_global;
-- a server elsewhere | sql | 42501
create subscription s2 connection 'host=127.0.0.1 dbname=kith' publication p with (connect = false);
-- the control database's tables | sql | 0A000 42P01
select * from kith.public.workspaces;
-- the neighbour's tables | sql | 0A000
select * from {{other}}.public.contacts;
-- settings by the system view | sql | 42501 55P02
update pg_settings set setting = 'off' where name = 'fsync';
-- the settings' files | sql | 42501
select * from pg_file_settings;
-- who may log in | sql | 42501
select * from pg_hba_file_rules;
-- passwords | sql | 42501
select passwd from pg_shadow;
-- user mappings | sql | ok
select count(*) from pg_user_mappings;
-- the shared memory | sql | 42501
select * from pg_shmem_allocations;
-- the memory of backends | sql | 42501
select * from pg_backend_memory_contexts;
-- names of prepared statements | sql | 42501
select * from pg_prepared_statements;
-- and of others by their function | sql | 42501
select * from pg_prepared_statement();
-- a statistics row with values | sql | ok
select case when count(*) = 0 then 'none' else 'LEAK' end from pg_stats where schemaname in ('kith', 'kith_guard');
-- == the feed, once more
-- delete the rows that entries tell of | sql | ok
insert into contacts (email) values ('gone@x.y'); delete from contacts where email = 'gone@x.y';
-- check: select count(*) = 2 from activity where subject_repr = 'gone@x.y'
-- a view that hides entries | sql | 42501
create or replace view activity as select 1;
-- a table of the same name | sql | 42P07
create table activity (id text);
-- a table of the same name behind it | sql | 42501
create table kith.activity (id text);
-- partition of the feed | sql | 42501 42P17 42809
create table pa partition of activity default;
-- a foreign key that would cascade | sql | 42501
create table fc (id text references activity (id) on delete cascade);
-- grants on the feed to others | sql | ok
grant delete on activity to {{viewer}};
-- check: select not has_table_privilege('{{viewer}}', 'activity', 'delete')
-- own the feed | sql | 42501
alter table activity owner to current_user;
-- own the system's functions | sql | 42501
alter function kith.begin_request(text, text, text, text) owner to current_user;
-- replace begin_request | sql | 42501
create or replace function kith.begin_request(secret text, actor text, provenance text) returns void language sql as 'select';
-- no feed while constraints are deferred | sql | ok
set constraints all deferred; insert into contacts (email) values ('deferred@x.y');
-- check: select count(*) = 1 from activity where subject_repr = 'deferred@x.y'
-- replica triggers only | sql | 42501
alter table contacts enable replica trigger kith_touch;
-- merge and upsert leave entries | sql | ok
insert into contacts (email, phone) values ('ups@x.y', '1') on conflict do nothing; merge into contacts c using (values ('ups@x.y')) v(e) on c.email = v.e::citext when matched then update set phone = 'm';
-- check: select count(*) = 2 from activity where subject_repr = 'ups@x.y'
-- a CTE leaves entries | sql | ok
with w as (insert into contacts (email) values ('cte@x.y') returning id) update contacts set phone = '2' where id in (select id from w) or email = 'cte@x.y';
-- check: select count(*) >= 1 from activity where subject_repr = 'cte@x.y'
-- transaction control inside of a block | sql | 2D000
do $$ begin insert into contacts (email) values ('dc@x.y'); commit; end $$;
-- transaction control inside of a procedure | sql | 2D000
create procedure pc() language plpgsql as $$ begin rollback; end $$; call pc();
-- two phases | sql | invalid_request
prepare transaction 'x';
-- a savepoint | sql | invalid_request
savepoint a;
-- write as a viewer inside of its frame | viewer | 25006 42501
begin read only; select 1; insert into contacts (email) values ('vf@x.y');
-- == triggers and functions that keep pipelines, custom fields and associations
-- the trigger functions on a table of one's own | sql | 42501
create table own_stages (id text, key text, pipeline text, position int, deleted_at timestamptz); create trigger t before insert on own_stages for each row execute function kith.place_stage();
-- the renumbering on a table of one's own | sql | 42501
create table own_order (id text); create trigger t after delete on own_order for each statement execute function kith.order_stages();
-- the lock of pipelines on a table of one's own | sql | 42501
create table own_lock (id text); create trigger t before insert on own_lock for each statement execute function kith.await_order();
-- the index maker on a table of one's own | sql | 42501
create table own_fields (id text, object_type text, key text, type text, deleted_at timestamptz); create trigger t after insert on own_fields for each row execute function kith.index_field();
-- the linker on a table of one's own | sql | 42501
create table own_edges (from_type text, to_type text); create trigger t after insert on own_edges for each row execute function kith.link();
-- the triggers of pipelines dropped | sql | 42501
drop trigger kith_order_update on pipeline_stages;
-- the triggers of deals dropped | sql | 42501
drop trigger kith_place_named on deals;
-- the triggers of custom fields disabled | sql | 42501
alter table custom_fields disable trigger kith_index;
-- a key that would break out of its index's definition | sql | 23514
insert into custom_fields (object_type, key, type) values ('contact', 'x''); drop table contacts; --', 'text');
-- an id that would break out of its index's name | sql | ok
insert into custom_fields (id, object_type, key, type) values ('"; drop table contacts; --', 'contact', 'odd_id', 'text'); delete from custom_fields where key = 'odd_id';
-- check: select not exists (select from pg_indexes where indexname like '%drop table%')
-- a type that would break out of its trigger's definition | sql | ok
create table "o'dd ""things""" (id int primary key); insert into associations (from_type, from_id, to_type, to_id) values ('o''dd "things"', '1', 'o''dd "things"', '1'); insert into "o'dd ""things""" values (1); delete from "o'dd ""things""";
-- check: select not exists (select from associations where from_type = 'o''dd "things"')
-- a batch by a viewer | viewer | ok
select * from kith.write_each(array['insert into contacts (email) select ''wv@x.y'' returning id, true as created'], '[[[0]]]');
-- check: select not exists (select from contacts where email = 'wv@x.y')
-- a batch that claims another actor | sql | ok
select * from kith.write_each(array['insert into contacts (email) select ''we@x.y'' from kith.begin_request(''x'', ''api_key:ak_FORGED'', null) returning id, true as created'], '[[[0]]]');
-- check: select not exists (select from contacts where email = 'we@x.y')
-- the word for unknown stages harms nobody else | sql | ok
select set_config('kith.unknown_stage', 'refuse', false);
-- check: select coalesce(current_setting('kith.unknown_stage', true), '') <> 'refuse'
-- a stage that deals are in, removed in a DO block | sql | ok
insert into deals (name, stage) values ('held', 'won'); do $$ begin delete from pipeline_stages where key = 'won'; exception when others then raise notice '%', sqlerrm; end $$;
-- check: select exists (select from pipeline_stages where key = 'won' and deleted_at is null)
-- == what another transaction or an older snapshot hides
-- set up: a function for operators | sql | ok
create table seen_by (who text); create function bump(a text, b text) returns boolean language plpgsql as $$ begin insert into public.seen_by values (session_user); return true; end $$;
-- definer rights under an older snapshot | session | 42501
begin; set transaction isolation level repeatable read; select 1; alter function bump(text, text) security definer; commit;
-- an operator under an older snapshot | session | 42501
begin; set transaction isolation level serializable; select 1; create operator public.<<< (leftarg = text, rightarg = text, function = public.bump, restrict = eqsel); commit;
-- DDL in a block under an older snapshot | session | 42501
begin; set transaction isolation level repeatable read; do $$ begin execute 'create table snapshotted ()'; end $$; commit;
-- check: select to_regclass('public.snapshotted') is null
-- definer rights for an operator's function | sql | 42501
create operator public.<<< (leftarg = text, rightarg = text, function = public.bump, restrict = eqsel); alter function bump(text, text) security definer;
-- taking the guards' turn | sql | ok
select kith_guard.take_turn();
-- names of control characters | sql | 53400
do $$ declare n text := repeat(chr(1), 58); begin for t in 1..9 loop execute format('create table wide%s (%s)', t, (select string_agg(format('%I int', n || i), ', ') from generate_series(10001, 11500) i)); end loop; end $$;
-- names of control characters by renaming a type | sql | 53400
create type nm as enum (); do $$ begin for t in 1..6 loop execute format('create table wide%s (%s)', t, (select string_agg(format('c%s nm', i), ', ') from generate_series(1, 1500) i)); end loop; execute format('alter type nm rename to %I', repeat(chr(1), 63)); end $$;
-- == values that change with no trigger
-- a column dropped, and added with other values | sql | ok
alter table contacts add column sc int; update contacts set sc = 1; alter table contacts drop column sc; alter table contacts add column sc int default 99;
-- check: select exists (select from activity where subject_type = 'contact' and subject_id is null and subject_repr = 'all rows, by a dropped column')
-- a column dropped with its type | sql | ok
create domain dcol as int; alter table deals add column dc dcol; drop domain dcol cascade;
-- check: select exists (select from activity where subject_type = 'deal' and subject_id is null and subject_repr = 'all rows, by a dropped column')
-- a column dropped in a block that hides errors | sql | ok
alter table companies add column sc int; do $$ begin alter table companies drop column sc; exception when others then null; end $$;
-- check: select exists (select from activity where subject_type = 'company' and subject_id is null and subject_repr = 'all rows, by a dropped column')
-- the entry's trigger dropped | sql | 42501
drop event trigger kith_dropped_columns;
-- the entry's function called | sql | 42501 0A000
select kith.record_dropped_columns();
-- indexes of built-in tables by other spellings | session | 42501
drop/**/index/* */concurrently if exists nothing, "contacts_email_key";
-- a constraint that is not enforced | sql | 42501 0A000 42601
alter table contacts alter constraint contacts_company_id_fkey not enforced;
-- a key that may be broken until commit | sql | 42501
alter table contacts alter constraint contacts_company_id_fkey deferrable initially deferred;
-- == the change log
-- read the log | sql | 42501
select * from kith.change;
-- write the log | sql | 42501
insert into kith.change (xid, at, actor, via, relation, shape, key, op, verb, image) values ('1', now(), 'user:u_FORGED', 'request', 1, 1, 'x', 'I', 'created', '{}');
-- delete from the log | session | 42501
delete from kith.change;
-- forge a run | sql | 42501
insert into kith.run (actor, run_id) values ('user:u_FORGED', 'x');
-- name another in a run without the secret | session | 28000
select kith.begin_undo('guessed', 'run_x', 'user:u_FORGED', null, null, null);
-- mark changes as undone | session | 28000
select kith.end_undo('guessed', 'x', 'run', 'x', array[1, 2], true);
-- read runs without the secret | viewer | 28000
select kith.list_runs('guessed', '{}', 10);
-- more triggers than are allowed, of a function that is named as the log's is | sql | 53400
create function capture() returns trigger language plpgsql as $$ begin return null; end $$; create table trapped (id int primary key);
do $$ begin for i in 1..1100 loop execute format('create trigger t%s after insert on trapped for each row execute function public.capture()', i); end loop; end $$;
-- lift a seal | session | 28000
select kith.lift_seal('guessed');
-- write a change by the inner function | sql | 42501
select kith.begin_statement('contacts'::regclass, 'INSERT', 1, '{}');
-- the capture on a built-in table | sql | 42501
create trigger zz after insert on contacts for each row execute function kith.capture();
-- set up: a table of its own | sql | ok
create table captured (id int primary key, v text);
-- capture twice | sql | 42501
create trigger again after insert on captured for each row execute function kith.capture();
-- its moves on a table without partitions | sql | any
create trigger "!kith_moves" after update on captured referencing old table as kith_old new table as kith_new for each statement execute function kith.note_moves();
-- check: select not exists (select from pg_trigger where tgrelid = 'captured'::regclass and tgname = '!kith_moves')
-- its moves over other tables | sql | 42501
create trigger "!kith_moves" after update on captured referencing old table as kith_new new table as kith_old for each statement execute function kith.note_moves();
-- its moves without tables | sql | 42501
create trigger "!kith_moves" after update on captured for each statement execute function kith.note_moves();
-- capture never | sql | 42501
create or replace trigger "!kith_capture" after insert or update or delete on captured for each row when (false) execute function kith.capture();
-- disable the capture | sql | 42501
alter table captured disable trigger "!kith_capture";
-- disable all triggers | session | 42501
alter table captured disable trigger all;
-- drop the capture | sql | ok
drop trigger "!kith_capture" on captured;
-- check: select exists (select from pg_trigger where tgrelid = 'captured'::regclass and tgname = '!kith_capture')
-- replace the capture by a function of its own | sql | any
create or replace trigger "!kith_capture" after insert on captured for each row execute function mine();
-- check: select exists (select from pg_trigger t where tgrelid = 'captured'::regclass and tgname = '!kith_capture' and tgfoid = 'kith.capture'::regproc)
-- rename the capture | sql | 42501
alter trigger "!kith_capture" on captured rename to zz;
-- the command of a dump, which takes the place of what is there | session | ok
CREATE TRIGGER "!kith_capture" AFTER INSERT OR DELETE OR UPDATE ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.capture();
-- check: select exists (select from pg_trigger t where tgrelid = 'captured'::regclass and tgname = '!kith_capture' and tgfoid = 'kith.capture'::regproc and tgtype = 29)
-- with less than the log needs | session | 42501
CREATE TRIGGER "!kith_capture" AFTER INSERT ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.capture();
-- check: select exists (select from pg_trigger t where tgrelid = 'captured'::regclass and tgname = '!kith_capture' and tgtype = 29)
-- under the name of another of them | session | 42501
CREATE TRIGGER kith_truncate AFTER INSERT OR DELETE OR UPDATE ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.capture();
-- with another function behind the same words | session | any
CREATE TRIGGER "!kith_capture" AFTER INSERT OR DELETE OR UPDATE ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.note_statement();
-- check: select exists (select from pg_trigger t where tgrelid = 'captured'::regclass and tgname = '!kith_capture' and tgfoid = 'kith.capture'::regproc and tgtype = 29)
-- the command of a dump from inside a block | sql | 42710
do $$ begin execute 'CREATE TRIGGER "!kith_capture" AFTER INSERT OR DELETE OR UPDATE ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.capture()'; end $$;
-- the command of a dump, rolled back | session | any
begin; savepoint s; CREATE TRIGGER "!kith_capture" AFTER INSERT OR DELETE OR UPDATE ON public.captured FOR EACH ROW EXECUTE FUNCTION kith.capture(); rollback to s; commit;
-- check: select exists (select from pg_trigger t where tgrelid = 'captured'::regclass and tgname = '!kith_capture' and tgfoid = 'kith.capture'::regproc and tgtype = 29)
-- the command of a dump on a built-in table | session | 42710
CREATE TRIGGER "!kith_record" AFTER INSERT OR DELETE OR UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.capture();
-- the command of a dump on a built-in table under a free name | session | 42501
CREATE TRIGGER "!kith_capture" AFTER INSERT OR DELETE OR UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.capture();
