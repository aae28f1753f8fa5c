// Calls a running Kith with the official TypeScript client, with a key of each dialect.

import assert from "node:assert/strict";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const base = process.env.KITH_BASE;

async function connect(key, query = "") {
  const client = new Client({ name: "kith-test", version: "1.0.0" });
  const requestInit = { headers: { Authorization: `Bearer ${key}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${base}/mcp${query}`), { requestInit }));
  return client;
}

for (const dialect of ["agentcrm", "relm"]) {
  const key = process.env[`KITH_KEY_${dialect.toUpperCase()}`];
  const client = await connect(key);
  const { tools } = await client.listTools();
  assert(tools.some((tool) => tool.name === "move_deal_stage"));
  const call = async (name, args) => {
    const result = await client.callTool({ name, arguments: args });
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
    return result;
  };
  const title = dialect === "relm" ? "title" : "name";
  const made = (await call("create_deal", { [title]: "Rollout" })).structuredContent;
  assert.equal(made.stage, "lead");
  const moved = (await call("move_deal_stage", { id: made.id, stage: "won", reason: "signed" })).structuredContent;
  assert.equal(moved.outcome, "Moved 1 deal to won.");
  const listed = (await call("list_deals", { stage: "won" })).structuredContent;
  assert.equal(listed.data[0][title], "Rollout");
  const refused = await call("update_deal", { id: made.id, nmae: "x" });
  assert.equal(refused.isError, true);
  await assert.rejects(client.callTool({ name: "move_deal", arguments: {} }), /move_deal_stage/);
  const told = [];
  const operations = Array(4).fill({ method: "GET", path: `/v1/deals/${made.id}` });
  const four = { name: "batch", arguments: { operations } };
  const batch = await client.callTool(four, undefined, { onprogress: ({ progress, total }) => told.push([progress, total]) });
  assert.equal(batch.structuredContent.data.length, 4);
  assert(told.length > 0 && told.every(([progress, total], at) => total === 4 && progress > (told[at - 1]?.[0] ?? 0)), JSON.stringify(told));
  // A call that the client gives up ends, so that the next one is not kept waiting.
  const slow = { name: "query_sql", arguments: { sql: "select pg_sleep(25)" } };
  const began = Date.now();
  await assert.rejects(client.callTool(slow, undefined, { timeout: 500 }), /timed out/i);
  assert.equal((await call("query_sql", { sql: "select 7 as n" })).structuredContent.rows[0].n, 7);
  assert(Date.now() - began < 20_000);
  await client.close();

  const small = await connect(key, "?tools=core");
  assert((await small.listTools()).tools.length <= 16);
  await small.close();
}
await assert.rejects(connect("sk_live_nothing"), /401|Unauthorized|unauthorized/);
