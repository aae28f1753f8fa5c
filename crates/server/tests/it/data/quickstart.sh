# 1. Create an anonymous workspace (no auth needed)
KEY=$(curl -sX POST https://www.tryagentcrm.com/v1/workspaces | jq -r .data.api_key)

# 2. Create a contact via the typed REST endpoint
curl -sX POST https://www.tryagentcrm.com/v1/contacts \
  -H "Authorization: Bearer $KEY" \
  -H "Content-Type: application/json" \
  --data '{"email":"sarah@acme.com","first_name":"Sarah"}'

# 3. Or drop to SQL for joins / aggregates
curl -sX POST https://www.tryagentcrm.com/v1/sql \
  -H "Authorization: Bearer $KEY" \
  -H "Content-Type: application/json" \
  --data @body.json
