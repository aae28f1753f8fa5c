// Calls a running Kith with the command line of the MCP Inspector, with a key of each dialect. --strict fails if a tool's schema
// could not be read by some client.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";

const base = process.env.KITH_BASE;
const program = path.resolve("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");

function line(key, query, more) {
  return [program, "--cli", "--transport", "http", "--server-url", `${base}/mcp${query}`, "--header", `Authorization: Bearer ${key}`, ...more];
}

function inspect(key, ...more) {
  return JSON.parse(execFileSync(process.execPath, line(key, "", more), { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

for (const dialect of ["agentcrm", "relm"]) {
  const key = process.env[`KITH_KEY_${dialect.toUpperCase()}`];
  const email = `ada@${dialect}.example`;
  assert(inspect(key, "--method", "tools/list", "--strict").tools.length > 30);
  const made = inspect(key, "--method", "tools/call", "--tool-name", "create_contact", "--tool-arg", `email=${email}`);
  assert.equal(made.structuredContent.outcome, "Created 1 contact.");
  const id = made.structuredContent.id;
  const got = inspect(key, "--method", "tools/call", "--tool-name", "get_contact", "--tool-arg", `id=${id}`);
  assert.equal(got.structuredContent.email, email);
  assert.equal(inspect(key, "--method", "resources/list").resources[0].uri, "crm://schema");
  const read = inspect(key, "--method", "resources/read", "--uri", `crm://contact/${id}`);
  assert(read.contents[0].text.includes(email));
  assert.equal(inspect(key, "--method", "prompts/list").prompts.length, 4);
  const prompt = inspect(key, "--method", "prompts/get", "--prompt-name", "prepare_meeting", "--prompt-args", "contact=Ada");
  assert.match(prompt.messages[0].content.text, /with Ada\./);
}
const refused = spawnSync(process.execPath, line("sk_live_nothing", "", ["--method", "tools/list"]), { encoding: "utf8" });
assert.notEqual(refused.status, 0);
assert.match(refused.stdout + refused.stderr, /auth|401/i);
