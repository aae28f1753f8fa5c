-- What the benchmark works on: 10,000 companies, 100,000 contacts, 20,000 deals. Run through POST /v1/sql, one statement a call,
-- each of them once for every chunk of 5,000 numbers up to the count in front of it; $1 and $2 are the chunk's first and last.

-- 10000
insert into companies (name, domain, industry, size)
select 'Company ' || n, 'company' || n || '.example', (array['software', 'retail', 'health', 'energy'])[1 + n % 4], '11-50'
from generate_series($1::int, $2::int) n;

-- 100000
insert into contacts (email, first_name, last_name, phone, title, company_id, custom)
select 'person' || n || '@company' || k.k || '.example', 'First' || n % 997, 'Last' || n % 9973, '+1 555 ' || n,
       (array['Engineer', 'Buyer', 'Director', 'Founder'])[1 + n % 4], c.id, jsonb_build_object('score', n % 100)
from generate_series($1::int, $2::int) n
cross join lateral (select 1 + n % 10000 as k) k
join companies c on lower(c.domain) = 'company' || k.k || '.example';

-- 20000
insert into deals (name, stage, amount_cents, currency, contact_id, company_id)
select 'Deal ' || n, (array['lead', 'qualified', 'proposal', 'won', 'lost'])[1 + n % 5], n * 100, 'USD', c.id, c.company_id
from generate_series($1::int, $2::int) n
join contacts c on c.email = 'person' || n || '@company' || 1 + n % 10000 || '.example';

-- 1
create table bench_ids (page int primary key, ids text[] not null);

-- 1
insert into bench_ids
select 1 + n / 50, array_agg(id)
from (select id, row_number() over (order by md5(id)) - 1 as n from contacts) c
group by 1 + n / 50;

-- 1
analyze;
