-- Writes of the last day by actor and agent, of the latest 20,000.
select actor, agent, count(*) as writes
  from (select a.actor, nullif(a.custom ->> 'agent', '') as agent from public.activity a
         where a.occurred_at > now() - interval '1 day' and a.verb <> 'conflict'
         order by a.occurred_at desc, a.id desc limit 20000) as latest
 group by actor, agent order by writes desc, actor limit 12
