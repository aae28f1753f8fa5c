// Calls Kith with the clients of @hey-api/openapi-ts in agentcrm/ and relm/, which bin/clients generates.

import assert from "node:assert/strict";
import * as agent from "./agentcrm";
import { client as agentClient } from "./agentcrm/client.gen";
import * as relm from "./relm";
import { client as relmClient } from "./relm/client.gen";
import { code, typed } from "./typed";

agentClient.setConfig({ baseUrl: process.env.KITH_BASE ?? "", auth: process.env.KITH_KEY_AGENTCRM });
relmClient.setConfig({ baseUrl: process.env.KITH_BASE ?? "", auth: process.env.KITH_KEY_RELM });

async function callAgentCrm() {
  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const body: agent.ContactCreate = { email: `${name}@hey.example.com`, first_name: "Ada" };
    const { data } = await agent.createContact({ body });
    ids.push(typed(data!.data.id));
  }

  const page = await agent.listContacts({ query: { limit: 2 } });
  const contacts: agent.Contact[] = typed(page.data!.data);
  assert.equal(contacts.length, 2);
  assert.match(typed(contacts[0]!.email)!, /@/);

  const some = await agent.listContacts({ query: { email: ["a@hey.example.com", "c@hey.example.com"] } });
  assert.deepEqual(some.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await agent.getContact({ path: { id: ids[0]! } });
  assert.equal(typed(got.data!.data.company), null);
  const changed = await agent.updateContact({ path: { id: ids[0]! }, body: { title: "CTO" } });
  assert.equal(typed(changed.data!.data.title), "CTO");

  const list = await agent.createList({ body: { name: "hey", target_table: "contacts", kind: "static" } });
  const made: agent.SavedList = typed(list.data!.data);
  assert.equal(typed(made.kind), "static");
  const one = await agent.addListMembers({ path: { id: made.id }, body: { member_id: ids[0]! } });
  const member = typed(one.data!.data);
  assert.equal(Array.isArray(member) ? undefined : member.member_id, ids[0]);
  const several = await agent.addListMembers({ path: { id: made.id }, body: { member_ids: ids } });
  const members = typed(several.data!.data);
  assert.equal(Array.isArray(members) ? members.length : 0, 3);

  const deleted = await agent.deleteContact({ path: { id: ids[2]! } });
  assert.equal(typed(deleted.data!.data.id), ids[2]);
  const missing = await agent.getContact({ path: { id: ids[2]! } });
  assert.equal(code(typed(missing.error)), "not_found");
  const refused = await agent.createContact({ body: { company_id: ids[0]! } });
  assert.equal(code(refused.error), "invalid_reference");

  const found = await agent.search({ query: { q: "Ada" } });
  assert.ok(found.data!.data.some((hit) => typed(hit.id) === ids[0] && hit.object === "contact"));
}

async function callRelm() {
  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const body: relm.ContactCreate = { email: `${name}@hey.example.net`, first_name: "Ada" };
    const { data } = await relm.createContact({ body });
    ids.push(typed(data!.id));
  }

  const page = await relm.listContacts({ query: { limit: 2 } });
  const contacts: relm.Contact[] = typed(page.data!.data);
  assert.equal(contacts.length, 2);
  assert.match(typed(contacts[0]!.email)!, /@/);

  const some = await relm.listContacts({ query: { "filter[email][in]": ["a@hey.example.net", "c@hey.example.net"] } });
  assert.deepEqual(some.data!.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await relm.getContact({ path: { id: ids[0]! } });
  assert.equal(typed(got.data!.object), "contact");
  const changed = await relm.updateContact({ path: { id: ids[0]! }, body: { title: "CTO" } });
  assert.equal(typed(changed.data!.title), "CTO");

  const list = await relm.createList({ body: { name: "hey", target_table: "contacts", kind: "static" } });
  const made: relm.SavedList = typed(list.data!);
  assert.equal(typed(made.kind), "static");
  const one = await relm.addListMembers({ path: { id: made.id }, body: { member_id: ids[0]! } });
  const member = typed(one.data!);
  assert.equal("member_id" in member ? member.member_id : undefined, ids[0]);
  const several = await relm.addListMembers({ path: { id: made.id }, body: { member_ids: ids } });
  const members = typed(several.data!);
  assert.equal("data" in members ? members.data.length : 0, 3);

  const deleted = await relm.deleteContact({ path: { id: ids[2]! } });
  assert.equal(typed(deleted.data!.id), ids[2]);
  const missing = await relm.getContact({ path: { id: ids[2]! } });
  assert.equal(code(typed(missing.error)), "not_found");
  const refused = await relm.createContact({ body: { company_id: ids[0]! } });
  assert.equal(code(refused.error), "invalid_reference");

  const found = await relm.search({ query: { q: "Ada" } });
  assert.ok(found.data!.data.some((hit) => typed(hit.id) === ids[0] && hit.object === "contact"));
}

void callAgentCrm().then(callRelm);
