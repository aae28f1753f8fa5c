SELECT d.id, d.name, d.stage, d.amount_cents, d.currency, d.close_date,
       (SELECT co.name FROM public.companies AS co WHERE co.id = d.company_id) AS company,
       (SELECT nullif(concat_ws(' ', c.first_name, c.last_name), '') FROM public.contacts AS c WHERE c.id = d.contact_id) AS contact
FROM public.pipeline_stages AS s
CROSS JOIN LATERAL (SELECT d.* FROM public.deals AS d WHERE d.pipeline = s.pipeline AND d.stage = s.key AND d.deleted_at IS NULL
                    ORDER BY d.created_at DESC, d.id DESC LIMIT $2::integer) AS d
WHERE s.pipeline = $1::text AND s.deleted_at IS NULL
ORDER BY d.stage, d.created_at DESC, d.id DESC
