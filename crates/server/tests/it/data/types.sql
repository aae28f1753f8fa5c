create type mood as enum ('sad', 'ok', 'it''s "q"');
create domain posint as int check (value > 0);
create domain money_d as numeric(10, 2);
create type addr as (street text, zip int, feeling mood);
create type person as (name text, home addr, labels text[]);
create type fr as range (subtype = float8);
create table contacts_b (id text primary key, email citext, score numeric(12, 4), created_at timestamptz, custom jsonb,
                         dropped int, mood mood, tags text[]);
alter table contacts_b drop column dropped;
insert into contacts_b values
  ('c_1', 'A@x.com', 1.5, '2026-01-02 03:04:05.6+00', '{"b": 1, "aa": [null, 1.50]}', 'ok', '{a,"b c"}'),
  ('c_2', null, null, null, null, null, null);
