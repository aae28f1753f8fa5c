select stage, count(*) as deals, sum(amount_cents) as cents
from deals
where deleted_at is null
group by stage
order by cents desc nulls last
