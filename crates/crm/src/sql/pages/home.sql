-- The figures of Home: one row. Days are those of UTC. The feed is read back to 50,000 entries.
with recent as materialized (
  select a.occurred_at, a.actor, nullif(a.custom ->> 'agent', '') as agent,
         coalesce(a.custom ->> 'run_id', a.custom ->> 'request_id') as run
    from public.activity a
   where a.occurred_at >= date_trunc('day', now()) - interval '13 days' and a.verb <> 'conflict'
   order by a.occurred_at desc, a.id desc limit 50000),
open_deals as (
  select d.* from public.deals d
    left join public.pipeline_stages s on s.pipeline = d.pipeline and s.key = d.stage and s.deleted_at is null
   where d.deleted_at is null and not coalesce(s.is_won or s.is_lost, false)),
days as (
  select to_char(day, 'YYYY-MM-DD') as day,
         count(r.actor) filter (where r.actor like 'api_key:%' or r.agent is not null) as agents,
         count(r.actor) filter (where r.actor like 'user:%' and r.agent is null) as people,
         count(r.actor) filter (where r.actor like 'automation:%') as automations,
         count(r.actor) filter (where r.actor like 'postgres:%') as psql
    from generate_series(date_trunc('day', now()) - interval '13 days', date_trunc('day', now()), interval '1 day') as day
    left join recent r on r.occurred_at >= day and r.occurred_at < day + interval '1 day'
   group by day),
agents as (
  select coalesce(agent, actor) as name, max(agent) as agent, max(actor) as actor, count(*) as writes, count(distinct run) as runs, max(occurred_at) as last_at
    from recent where actor like 'api_key:%' and occurred_at > now() - interval '7 days'
   group by coalesce(agent, actor) order by writes desc, 1 limit 8)
select (select coalesce(jsonb_agg(jsonb_build_object('currency', currency, 'cents', cents, 'deals', deals) order by cents desc), '[]')
          from (select coalesce(currency, '') as currency, sum(amount_cents) as cents, count(*) as deals
                  from open_deals group by 1 order by 2 desc nulls last limit 6) as by_currency) as open,
       (select count(*) from open_deals) as open_deals,
       (select count(*) from public.contacts where deleted_at is null and created_at > now() - interval '7 days') as contacts,
       (select count(*) from public.companies where deleted_at is null and created_at > now() - interval '7 days') as companies,
       (select count(*) from public.deals where deleted_at is null and created_at > now() - interval '7 days') as deals,
       (select count(*) from recent where occurred_at > now() - interval '1 day') as writes,
       (select coalesce(jsonb_agg(to_jsonb(d) order by d.day), '[]') from days d) as days,
       (select coalesce(jsonb_agg(to_jsonb(g) order by g.writes desc, g.name), '[]') from agents g) as agents,
       (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'close_date', close_date, 'cents', amount_cents, 'currency', currency)
                                  order by close_date, id), '[]')
          from (select * from open_deals where close_date >= current_date order by close_date, id limit 5) as soon) as soon
