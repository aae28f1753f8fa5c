-- The figures of Home: one row. Days are those of UTC. The feed is read back to 20,000 entries: days before the oldest of them are left
-- out. New records are counted up to 10,001.
with recent as materialized (
  select a.occurred_at, a.actor, nullif(a.custom ->> 'agent', '') as agent, a.custom ->> 'run_id' as run
    from public.activity a
   where a.occurred_at >= date_trunc('day', now()) - interval '13 days' and a.verb <> 'conflict'
   order by a.occurred_at desc, a.id desc limit 20000),
reach as (
  select count(*) = 20000 as is_cut, case when count(*) = 20000 then min(occurred_at) else date_trunc('day', now()) - interval '13 days' end as since from recent),
counted as (
  select date_trunc('day', occurred_at) as day,
         count(*) filter (where actor like 'api_key:%' or agent is not null) as agents,
         count(*) filter (where actor like 'user:%' and agent is null) as people,
         count(*) filter (where actor like 'automation:%') as automations,
         count(*) filter (where actor like 'postgres:%') as psql
    from recent group by 1),
days as (
  select to_char(s.day, 'YYYY-MM-DD') as day, coalesce(c.agents, 0) as agents, coalesce(c.people, 0) as people,
         coalesce(c.automations, 0) as automations, coalesce(c.psql, 0) as psql
    from reach, generate_series(date_trunc('day', reach.since), date_trunc('day', now()), interval '1 day') as s(day)
    left join counted c on c.day = s.day),
agents as (
  select coalesce(agent, actor) as name, max(agent) as agent, max(actor) as actor, count(*) as writes, count(distinct run) as runs, max(occurred_at) as last_at
    from recent where actor like 'api_key:%' and occurred_at > now() - interval '7 days'
   group by coalesce(agent, actor) order by writes desc, 1 limit 8),
open_deals as (
  select d.id, d.name, d.currency, d.amount_cents, d.close_date from public.deals d
    left join public.pipeline_stages s on s.pipeline = d.pipeline and s.key = d.stage and s.deleted_at is null
   where d.deleted_at is null and not coalesce(s.is_won or s.is_lost, false))
select (select coalesce(jsonb_agg(jsonb_build_object('currency', currency, 'cents', cents, 'deals', deals) order by cents desc), '[]')
          from (select coalesce(currency, '') as currency, sum(amount_cents) as cents, count(*) as deals
                  from open_deals group by 1 order by 2 desc nulls last limit 6) as by_currency) as open,
       (select count(*) from (select from public.contacts where deleted_at is null and created_at > now() - interval '7 days' limit 10001) as few) as contacts,
       (select count(*) from (select from public.companies where deleted_at is null and created_at > now() - interval '7 days' limit 10001) as few) as companies,
       (select count(*) from (select from public.deals where deleted_at is null and created_at > now() - interval '7 days' limit 10001) as few) as deals,
       (select count(*) from recent where occurred_at > now() - interval '1 day') as writes,
       (select is_cut and since > now() - interval '1 day' from reach) as has_more_writes,
       (select coalesce(jsonb_agg(to_jsonb(d) order by d.day), '[]') from days d) as days,
       (select coalesce(jsonb_agg(to_jsonb(g) order by g.writes desc, g.name), '[]') from agents g) as agents,
       (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'close_date', close_date, 'cents', amount_cents, 'currency', currency)
                                  order by close_date, id), '[]')
          from (select * from open_deals where close_date >= current_date order by close_date, id limit 5) as soon) as soon
