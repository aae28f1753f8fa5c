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
        Sample { name: "curl", text: curl },
        Sample { name: "JavaScript", text: javascript },
        Sample { name: "Python", text: python },
        Sample { name: "MCP", text: mcp },
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
        Sample { name: "curl", text: curl },
        Sample { name: "JavaScript", text: javascript },
        Sample { name: "Python", text: python },
        Sample { name: "MCP", text: mcp },
    ]
}

fn claude_code(base: &str) -> String {
    format!("claude mcp add --transport http kith {base}/mcp \\\n  --header \"Authorization: Bearer $KEY\"")
}
