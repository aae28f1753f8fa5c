-- The timeline of a record, newest first: entries of the feed, activities and e-mails.
-- $1: its kind in the feed; $2: its id; $3: contact_id, company_id, deal_id or null; $4, $5: the last item shown, or null.
SELECT t.kind, t.id, t.at, t.entry, made.entry AS made
FROM (
    (SELECT 'change' AS kind, a.id, a.occurred_at AS at, to_jsonb(a) AS entry
     FROM public.activity AS a
     WHERE a.subject_type = $1::text AND a.subject_id = $2::text
       AND ($4::timestamptz IS NULL OR (a.occurred_at, a.id) < ($4::timestamptz, $5::text))
     ORDER BY a.occurred_at DESC, a.id DESC
     LIMIT 51)
    UNION ALL
    (SELECT 'note', n.id, n.occurred_at, to_jsonb(n)
     FROM public.activities AS n
     WHERE n.deleted_at IS NULL
       AND CASE $3::text WHEN 'contact_id' THEN n.contact_id WHEN 'company_id' THEN n.company_id WHEN 'deal_id' THEN n.deal_id END = $2::text
       AND ($4::timestamptz IS NULL OR (n.occurred_at, n.id) < ($4::timestamptz, $5::text))
     ORDER BY n.occurred_at DESC, n.id DESC
     LIMIT 51)
    UNION ALL
    (SELECT 'mail', m.id, coalesce(m.received_at, m.sent_at, m.created_at),
            jsonb_build_object('id', m.id, 'direction', m.direction, 'from_addr', m.from_addr, 'to_addrs', m.to_addrs, 'subject', m.subject,
                'snippet', left(coalesce(m.snippet, m.body_text), 300))
     FROM public.emails AS m
     WHERE m.deleted_at IS NULL
       AND CASE $3::text WHEN 'contact_id' THEN m.contact_ids @> ARRAY[$2::text] WHEN 'company_id' THEN m.company_ids @> ARRAY[$2::text]
             WHEN 'deal_id' THEN m.deal_ids @> ARRAY[$2::text] ELSE false END
       AND ($4::timestamptz IS NULL OR (coalesce(m.received_at, m.sent_at, m.created_at), m.id) < ($4::timestamptz, $5::text))
     ORDER BY coalesce(m.received_at, m.sent_at, m.created_at) DESC, m.id DESC
     LIMIT 51)
) AS t
-- Activities and e-mails say nothing of their author; the entry of their creation does.
LEFT JOIN LATERAL (
    SELECT to_jsonb(a) AS entry
    FROM public.activity AS a
    WHERE t.kind <> 'change' AND a.subject_id = t.id AND a.subject_type = CASE t.kind WHEN 'note' THEN 'activity' ELSE 'email' END
      AND a.verb = 'created'
    LIMIT 1
) AS made ON true
ORDER BY t.at DESC, t.id DESC
LIMIT 51
