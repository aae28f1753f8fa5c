SELECT c.email, count(d.id) AS deals, sum(d.amount_cents) AS cents FROM contacts c LEFT JOIN deals d ON d.contact_id = c.id WHERE c.email LIKE $1 GROUP BY c.id ORDER BY cents DESC NULLS LAST
