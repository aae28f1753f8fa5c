-- What the expressions of values.txt are made of.
create extension if not exists citext;
create extension if not exists hstore;
create extension if not exists vector;
create extension if not exists ltree;
create extension if not exists cube;
create extension if not exists isn;
create type mood as enum ('sad', 'ok', 'it''s "q"', '{curly}, back\slash');
create domain posint as int check (value > 0);
create domain posint2 as posint;
create domain money_d as numeric(10, 2);
create domain tags as text[];
create domain document as json;
create type unit as ();
create type single as (a text);
create type addr as (street text, zip int, feeling mood);
create type person as (name text, home addr, labels text[]);
create type numbers as (a float8, bb numeric, b int8, "C c" timestamptz, d json, e hstore, f box[]);
create type nested as (people person[], numbers numbers, "é ""q""" posint2);
create domain home as addr;
create type fr as range (subtype = float8);
create table contacts_b (id text primary key, email citext, score numeric(12, 4), created_at timestamptz,
  custom jsonb, dropped int, mood mood, tags text[]);
alter table contacts_b drop column dropped;
insert into contacts_b values
  ('c_1', 'A@x.com', 1.5, '2026-01-02 03:04:05.6+00', '{"b": 1, "aa": [null, 1.50]}', 'ok', '{a,"b c"}'),
  ('c_2', null, null, null, null, null, null);
create type weird as (n int);
create type label as enum ('x');
create function label_json(label) returns json language sql immutable as $$ select '{"own": "cast"}'::json $$;
create cast (label as json) with function label_json(label);
