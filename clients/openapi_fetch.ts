// Calls Kith with openapi-fetch, by the types that openapi-typescript writes: agentcrm.ts and relm.ts, which bin/clients generates.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths as AgentCrm } from "./agentcrm";
import type { paths as Relm } from "./relm";
import { code, typed } from "./typed";

function options(key: string | undefined) {
  return { baseUrl: process.env.KITH_BASE ?? "", headers: { Authorization: `Bearer ${key}` } };
}

async function agentcrm() {
  const kith = createClient<AgentCrm>(options(process.env.KITH_KEY_AGENTCRM));
  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const { data } = await kith.POST("/v1/contacts", { body: { email: `${name}@fetch.example.com`, first_name: "Ada" } });
    ids.push(typed(data!.data.id));
  }

  const page = await kith.GET("/v1/contacts", { params: { query: { limit: 2 } } });
  assert.equal(page.data!.data.length, 2);
  const email: string | null = typed(page.data!.data[0]!.email);
  assert.match(email!, /@/);

  const query = { email: ["a@fetch.example.com", "c@fetch.example.com"] };
  const repeated = await kith.GET("/v1/contacts", { params: { query } });
  assert.deepEqual(repeated.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);
  const commas = await kith.GET("/v1/contacts", {
    params: { query },
    querySerializer: { array: { style: "form", explode: false } },
  });
  assert.deepEqual(commas.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await kith.GET("/v1/contacts/{id}", { params: { path: { id: ids[0]! } } });
  assert.equal(typed(got.data!.data.company), null);
  const changed = await kith.PATCH("/v1/contacts/{id}", { params: { path: { id: ids[0]! } }, body: { title: "CTO" } });
  const title: string | null = typed(changed.data!.data.title);
  assert.equal(title, "CTO");

  const list = await kith.POST("/v1/lists", { body: { name: "fetch", target_table: "contacts", kind: "static" } });
  const kind: "dynamic" | "static" = typed(list.data!.data.kind);
  assert.equal(kind, "static");
  const path = { id: list.data!.data.id };
  const one = await kith.POST("/v1/lists/{id}/members", { params: { path }, body: { member_id: ids[0]! } });
  const member = typed(one.data!.data);
  assert.equal(Array.isArray(member) ? undefined : member.member_id, ids[0]);
  const several = await kith.POST("/v1/lists/{id}/members", { params: { path }, body: { member_ids: ids } });
  const members = typed(several.data!.data);
  assert.equal(Array.isArray(members) ? members.length : 0, 3);

  const deleted = await kith.DELETE("/v1/contacts/{id}", { params: { path: { id: ids[2]! } } });
  assert.equal(typed(deleted.data!.data.id), ids[2]);
  const missing = await kith.GET("/v1/contacts/{id}", { params: { path: { id: ids[2]! } } });
  assert.equal(code(typed(missing.error)), "not_found");
  const refused = await kith.POST("/v1/contacts", { body: { company_id: ids[0]! } });
  assert.equal(code(refused.error), "invalid_reference");

  const found = await kith.GET("/v1/search", { params: { query: { q: "Ada" } } });
  assert.ok(found.data!.data.some((hit) => typed(hit.id) === ids[0] && hit.object === "contact"));
}

async function relm() {
  const kith = createClient<Relm>(options(process.env.KITH_KEY_RELM));
  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const { data } = await kith.POST("/v1/contacts", { body: { email: `${name}@fetch.example.net`, first_name: "Ada" } });
    ids.push(typed(data!.id));
  }

  const page = await kith.GET("/v1/contacts", { params: { query: { limit: 2 } } });
  assert.equal(page.data!.data.length, 2);
  const email: string | null = typed(page.data!.data[0]!.email);
  assert.match(email!, /@/);

  const query = { "filter[email][in]": ["a@fetch.example.net", "c@fetch.example.net"] };
  const repeated = await kith.GET("/v1/contacts", { params: { query } });
  assert.deepEqual(repeated.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);
  const commas = await kith.GET("/v1/contacts", {
    params: { query },
    querySerializer: { array: { style: "form", explode: false } },
  });
  assert.deepEqual(commas.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await kith.GET("/v1/contacts/{id}", { params: { path: { id: ids[0]! } } });
  assert.equal(typed(got.data!.object), "contact");
  const changed = await kith.PATCH("/v1/contacts/{id}", { params: { path: { id: ids[0]! } }, body: { title: "CTO" } });
  const title: string | null = typed(changed.data!.title);
  assert.equal(title, "CTO");

  const list = await kith.POST("/v1/lists", { body: { name: "fetch", target_table: "contacts", kind: "static" } });
  const kind: "dynamic" | "static" = typed(list.data!.kind);
  assert.equal(kind, "static");
  const path = { id: list.data!.id };
  const one = await kith.POST("/v1/lists/{id}/members", { params: { path }, body: { member_id: ids[0]! } });
  const member = typed(one.data!);
  assert.equal("member_id" in member ? member.member_id : undefined, ids[0]);
  const several = await kith.POST("/v1/lists/{id}/members", { params: { path }, body: { member_ids: ids } });
  const members = typed(several.data!);
  assert.equal("data" in members ? members.data.length : 0, 3);

  const deleted = await kith.DELETE("/v1/contacts/{id}", { params: { path: { id: ids[2]! } } });
  assert.equal(typed(deleted.data!.id), ids[2]);
  const missing = await kith.GET("/v1/contacts/{id}", { params: { path: { id: ids[2]! } } });
  assert.equal(code(typed(missing.error)), "not_found");
  const refused = await kith.POST("/v1/contacts", { body: { company_id: ids[0]! } });
  assert.equal(code(refused.error), "invalid_reference");

  const found = await kith.GET("/v1/search", { params: { query: { q: "Ada" } } });
  assert.ok(found.data!.data.some((hit) => typed(hit.id) === ids[0] && hit.object === "contact"));
}

void agentcrm().then(relm);
