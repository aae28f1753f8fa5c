// Runs the official conformance suite of MCP against a running Kith: every scenario of a server, in each version of the protocol, and
// those of an authorization server. conformance.yml lists the scenarios that do not fit, with the reasons.
//
// The suite sends no key, so that its requests go through a proxy here, which adds one. It expects tools, prompts and resources of
// certain names; where Kith has one of the kind, the proxy changes the name, and the answer is Kith's own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import http from "node:http";
import path from "node:path";

const base = process.env.KITH_BASE;
const key = process.env.KITH_KEY_AGENTCRM;
const suite = path.resolve("node_modules/@modelcontextprotocol/conformance/dist/index.js");
const exceptions = process.env.KITH_CONFORMANCE_EXCEPTIONS;
const versions = ["2025-06-18", "2025-11-25", "2026-07-28"];

async function api(method, path, body, bearer = key) {
  const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
  const response = await fetch(base + path, { method, headers, body: JSON.stringify(body) });
  assert(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

const contact = (await api("POST", "/v1/contacts", { first_name: "123" })).data;
const reads = Array.from({ length: 6 }, () => ({ method: "GET", path: `/v1/contacts/${contact.id}` }));
// What the suite names, and what it gets.
const tools = {
  test_simple_text: { name: "list_contacts", arguments: {} },
  test_error_handling: { name: "get_contact", arguments: { id: "c_00000000000000000000000000" } },
  test_tool_with_progress: { name: "batch", arguments: { operations: reads } },
};
const prompts = {
  test_simple_prompt: () => ({ name: "review_pipeline", arguments: {} }),
  test_prompt_with_arguments: (given) => ({ name: "prepare_meeting", arguments: { contact: Object.values(given ?? {}).join(" ") } }),
};
const resources = { "test://static-text": "crm://schema", "test://template/123/data": `crm://contact/${contact.id}` };

/** Changes the names in a message. */
function renamed(message) {
  const { method, params } = message;
  if (method === "tools/call" && tools[params?.name]) Object.assign(params, tools[params.name]);
  if (method === "prompts/get" && prompts[params?.name]) Object.assign(params, prompts[params.name](params.arguments));
  if (method === "resources/read" && resources[params?.uri]) params.uri = resources[params.uri];
  if (method === "completion/complete" && params?.ref?.name === "test_prompt_with_arguments") {
    Object.assign(params, { ref: { type: "ref/prompt", name: "prepare_meeting" }, argument: { name: "contact", value: "123" } });
  }
  return message;
}

const proxy = http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  let body = Buffer.concat(parts);
  const headers = { ...request.headers, authorization: `Bearer ${key}` };
  try {
    const message = JSON.parse(body.toString());
    const before = message.params?.name ?? message.params?.uri;
    body = Buffer.from(JSON.stringify(renamed(message)));
    const after = message.params?.name ?? message.params?.uri;
    if (headers["mcp-name"] === before && before !== after) headers["mcp-name"] = after;
  } catch {
    // It is sent as it is.
  }
  if (request.method === "POST") headers["content-length"] = body.length;
  delete headers["transfer-encoding"];
  const to = new URL(base);
  const onward = http.request({ host: to.hostname, port: to.port, path: request.url, method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  onward.end(body);
});
await new Promise((listening) => proxy.listen(0, "127.0.0.1", listening));
const proxied = `http://127.0.0.1:${proxy.address().port}/mcp`;

/** Runs the suite. `hears` gets each piece of its output. */
async function run(args, hears = () => {}) {
  let output = "";
  const child = spawn(process.execPath, [suite, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      output += data;
      hears(output);
    });
  }
  const status = await new Promise((ended) => child.on("close", ended));
  return { status, output };
}

let failed = false;
for (const version of versions) {
  const args = ["server", "--url", proxied, "--suite", "all", "--spec-version", version, "--expected-failures", exceptions];
  const { status, output } = await run(args);
  console.log(output.slice(output.indexOf("=== SUMMARY")));
  console.log(`server ${version}: ${status === 0 ? "as expected" : "not as expected"}`);
  failed ||= status !== 0;
}
proxy.close();

// The suite opens no browser. It names the address to which a person would go; this person agrees to everything.
const session = process.env.KITH_SESSION;
const port = 20_000 + (process.pid % 20_000);
const registered = await api("POST", "/oauth/register", { client_name: "Conformance", redirect_uris: [`http://127.0.0.1:${port}/callback`] });
const authorization = ["authorization", "--url", base, "--client-id", registered.client_id, "--resource", `${base}/mcp`, "--port", `${port}`];
let agreed = false;
const { status, output } = await run(authorization, (said) => {
  const address = said.match(/^\S*\/oauth\/authorize\?\S+$/m)?.[0];
  if (address && !agreed) {
    agreed = true;
    agree(address).catch((error) => {
      console.error(error);
      process.exit(1);
    });
  }
});
console.log(output);
assert(agreed && status === 0 && !/FAILURE|[1-9]\d* failed/.test(output), `authorization: exit status ${status}`);
assert(!failed);

async function agree(address) {
  const cookie = `kith_session=${session}`;
  const page = await (await fetch(address, { headers: { cookie } })).text();
  const csrf = page.match(/name="csrf" value="([^"]*)"/)[1];
  const fields = { request: new URL(address).search.slice(1), csrf, workspace: process.env.KITH_WORKSPACE, decision: "allow", "crm:read": "yes" };
  const form = { method: "POST", headers: { cookie }, body: new URLSearchParams(fields), redirect: "manual" };
  const answer = await fetch(`${base}/oauth/authorize`, form);
  assert.equal(answer.status, 303, await answer.text());
  await fetch(answer.headers.get("location"));
}
