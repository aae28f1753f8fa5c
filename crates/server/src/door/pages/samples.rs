//! The samples of code on the public pages: the same few requests in curl, JavaScript and Python, in both dialects, and how
//! programs that speak MCP are set up.

use crate::door::pages::public::Sample;

/// The first requests, without an account.
pub fn quickstart(base: &str) -> [Sample<'static>; 4] {
    let curl = format!(
        "# 1. Create an anonymous workspace (no auth needed)\n\
         KEY=$(curl -sX POST {base}/v1/workspaces | jq -r .data.api_key)\n\
         \n\
         # 2. Create a contact via the typed REST endpoint\n\
         curl -sX POST {base}/v1/contacts \\\n\
         \x20 -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" \\\n\
         \x20 --data '{{\"email\":\"sarah@acme.com\",\"first_name\":\"Sarah\"}}'\n\
         \n\
         # 3. Or drop to SQL for joins / aggregates\n\
         curl -sX POST {base}/v1/sql \\\n\
         \x20 -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" \\\n\
         \x20 --data '{{\"sql\":\"select count(*) from contacts\"}}'"
    );
    let javascript = format!(
        "// 1. A workspace, without an account\n\
         const made = await fetch(\"{base}/v1/workspaces\", {{ method: \"POST\" }});\n\
         const {{ data }} = await made.json();\n\
         const headers = {{ Authorization: `Bearer ${{data.api_key}}`, \"Content-Type\": \"application/json\" }};\n\
         \n\
         // 2. A contact\n\
         await fetch(\"{base}/v1/contacts\", {{\n\
         \x20 method: \"POST\", headers,\n\
         \x20 body: JSON.stringify({{ email: \"sarah@acme.com\", first_name: \"Sarah\" }}),\n\
         }});\n\
         \n\
         // 3. SQL\n\
         await fetch(\"{base}/v1/sql\", {{\n\
         \x20 method: \"POST\", headers,\n\
         \x20 body: JSON.stringify({{ sql: \"select count(*) from contacts\" }}),\n\
         }});"
    );
    let python = format!(
        "import requests\n\
         \n\
         # 1. A workspace, without an account\n\
         key = requests.post(\"{base}/v1/workspaces\").json()[\"data\"][\"api_key\"]\n\
         kith = requests.Session()\n\
         kith.headers[\"Authorization\"] = f\"Bearer {{key}}\"\n\
         \n\
         # 2. A contact\n\
         kith.post(\"{base}/v1/contacts\", json={{\"email\": \"sarah@acme.com\", \"first_name\": \"Sarah\"}})\n\
         \n\
         # 3. SQL\n\
         kith.post(\"{base}/v1/sql\", json={{\"sql\": \"select count(*) from contacts\"}})"
    );
    let mcp = claude_code(base);
    [
        Sample { name: "curl".into(), text: curl },
        Sample { name: "JavaScript".into(), text: javascript },
        Sample { name: "Python".into(), text: python },
        Sample { name: "MCP".into(), text: mcp },
    ]
}

/// The same with a Relm key.
pub fn relm(base: &str) -> [Sample<'static>; 3] {
    let curl = format!(
        "curl -X POST {base}/v1/deals \\\n\
         \x20 -H \"Authorization: Bearer $RELM_KEY\" \\\n\
         \x20 -H \"Idempotency-Key: rollout-1\" \\\n\
         \x20 -H \"Content-Type: application/json\" \\\n\
         \x20 -d '{{\"title\":\"Rollout\",\"stage\":\"lead\",\"value_cents\":1250000}}'"
    );
    let javascript = format!(
        "const reply = await fetch(\"{base}/v1/deals\", {{\n\
         \x20 method: \"POST\",\n\
         \x20 headers: {{ Authorization: `Bearer ${{process.env.RELM_KEY}}`, \"Content-Type\": \"application/json\", \"Idempotency-Key\": \"rollout-1\" }},\n\
         \x20 body: JSON.stringify({{ title: \"Rollout\", stage: \"lead\", value_cents: 1250000 }}),\n\
         }});\n\
         const deal = await reply.json();"
    );
    let python = format!(
        "import os, requests\n\
         deal = requests.post(\n\
         \x20   \"{base}/v1/deals\",\n\
         \x20   headers={{\"Authorization\": \"Bearer \" + os.environ[\"RELM_KEY\"], \"Idempotency-Key\": \"rollout-1\"}},\n\
         \x20   json={{\"title\": \"Rollout\", \"stage\": \"lead\", \"value_cents\": 1250000}},\n\
         ).json()"
    );
    [
        Sample { name: "curl".into(), text: curl },
        Sample { name: "JavaScript".into(), text: javascript },
        Sample { name: "Python".into(), text: python },
    ]
}

/// A filtered list.
pub fn filters(base: &str) -> [Sample<'static>; 3] {
    let curl = format!(
        "curl -s \"{base}/v1/deals?stage=qualified&amount_cents_gte=1000000&limit=20\" \\\n\
         \x20 -H \"Authorization: Bearer $KEY\""
    );
    let javascript = format!(
        "const query = new URLSearchParams({{ stage: \"qualified\", amount_cents_gte: 1000000, limit: 20 }});\n\
         const deals = await (await fetch(`{base}/v1/deals?${{query}}`, {{ headers }})).json();"
    );
    let python = format!(
        "deals = kith.get(\n\
         \x20   \"{base}/v1/deals\",\n\
         \x20   params={{\"stage\": \"qualified\", \"amount_cents_gte\": 1000000, \"limit\": 20}},\n\
         ).json()"
    );
    [
        Sample { name: "curl".into(), text: curl },
        Sample { name: "JavaScript".into(), text: javascript },
        Sample { name: "Python".into(), text: python },
    ]
}

/// A dry run, a run and its undo.
pub fn safety(base: &str) -> [Sample<'static>; 3] {
    let curl = format!(
        "# What would this change? Nothing is kept.\n\
         curl -s -X PATCH {base}/v1/deals/d_… -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" -H \"X-Dry-Run: true\" -d '{{\"stage\":\"won\"}}'\n\
         \n\
         # Do it in a run, and take the run back\n\
         curl -s -X PATCH {base}/v1/deals/d_… -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" -H \"X-Run-Id: tidy-up\" -d '{{\"stage\":\"won\"}}'\n\
         curl -s -X POST {base}/v1/runs/tidy-up/undo -H \"Authorization: Bearer $KEY\""
    );
    let javascript = format!(
        "const patch = (more) => fetch(\"{base}/v1/deals/d_…\", {{\n\
         \x20 method: \"PATCH\", headers: {{ ...headers, ...more }}, body: JSON.stringify({{ stage: \"won\" }}),\n\
         }});\n\
         await patch({{ \"X-Dry-Run\": \"true\" }});\n\
         await patch({{ \"X-Run-Id\": \"tidy-up\" }});\n\
         await fetch(\"{base}/v1/runs/tidy-up/undo\", {{ method: \"POST\", headers }});"
    );
    let python = format!(
        "deal = \"{base}/v1/deals/d_…\"\n\
         kith.patch(deal, json={{\"stage\": \"won\"}}, headers={{\"X-Dry-Run\": \"true\"}})\n\
         kith.patch(deal, json={{\"stage\": \"won\"}}, headers={{\"X-Run-Id\": \"tidy-up\"}})\n\
         kith.post(\"{base}/v1/runs/tidy-up/undo\")"
    );
    [
        Sample { name: "curl".into(), text: curl },
        Sample { name: "JavaScript".into(), text: javascript },
        Sample { name: "Python".into(), text: python },
    ]
}

/// How programs that speak MCP are set up.
pub fn mcp(base: &str) -> [Sample<'static>; 5] {
    let codex = format!(
        "# ~/.codex/config.toml\n\
         [mcp_servers.kith]\n\
         url = \"{base}/mcp\"\n\
         bearer_token_env_var = \"KITH_KEY\""
    );
    let cursor = format!(
        "// ~/.cursor/mcp.json\n\
         {{\"mcpServers\": {{\"kith\": {{\n\
         \x20 \"url\": \"{base}/mcp\",\n\
         \x20 \"headers\": {{\"Authorization\": \"Bearer ${{env:KITH_KEY}}\"}}\n\
         }}}}}}"
    );
    let vs_code = format!(
        "// .vscode/mcp.json; it asks for the key and keeps it\n\
         {{\n\
         \x20 \"inputs\": [{{\"type\": \"promptString\", \"id\": \"kith\", \"description\": \"Kith API key\", \"password\": true}}],\n\
         \x20 \"servers\": {{\"kith\": {{\"type\": \"http\", \"url\": \"{base}/mcp\",\n\
         \x20   \"headers\": {{\"Authorization\": \"Bearer ${{input:kith}}\"}}}}}}\n\
         }}"
    );
    let chatgpt = format!(
        "# ChatGPT and Claude's apps: settings, connectors, add one with this address.\n\
         # They sign in by OAuth and need no key.\n\
         {base}/mcp"
    );
    [
        Sample { name: "Claude Code".into(), text: claude_code(base).replace("$KEY", "$KITH_KEY") },
        Sample { name: "ChatGPT".into(), text: chatgpt },
        Sample { name: "Cursor".into(), text: cursor },
        Sample { name: "Codex".into(), text: codex },
        Sample { name: "VS Code".into(), text: vs_code },
    ]
}

/// How a key is used.
pub fn with_a_key(base: &str) -> [Sample<'static>; 4] {
    let curl = format!(
        "curl -s {base}/v1/contacts \\\n\
         \x20 -H \"Authorization: Bearer $KITH_KEY\" \\\n\
         \x20 -H \"X-Agent: scout\" -H \"X-Run-Id: enrich-1\" \\\n\
         \x20 -H \"X-Reason: the signature has a new phone\""
    );
    let javascript = format!(
        "const headers = {{ Authorization: `Bearer ${{process.env.KITH_KEY}}`, \"X-Agent\": \"scout\" }};\n\
         const contacts = await (await fetch(\"{base}/v1/contacts\", {{ headers }})).json();"
    );
    let python = format!(
        "import os, requests\n\
         kith = requests.Session()\n\
         kith.headers[\"Authorization\"] = \"Bearer \" + os.environ[\"KITH_KEY\"]\n\
         kith.headers[\"X-Agent\"] = \"scout\"\n\
         contacts = kith.get(\"{base}/v1/contacts\").json()"
    );
    let mcp = claude_code(base).replace("$KEY", "$KITH_KEY");
    [
        Sample { name: "curl".into(), text: curl },
        Sample { name: "JavaScript".into(), text: javascript },
        Sample { name: "Python".into(), text: python },
        Sample { name: "MCP".into(), text: mcp },
    ]
}

fn claude_code(base: &str) -> String {
    format!("claude mcp add --transport http kith {base}/mcp \\\n  --header \"Authorization: Bearer $KEY\"")
}
