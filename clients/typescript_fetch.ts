// Calls Kith with the clients of openapi-generator's typescript-fetch in agentcrm/ and relm/, which bin/clients generates.

import assert from "node:assert/strict";
import * as agent from "./agentcrm";
import * as relm from "./relm";
import { typed } from "./typed";

/** The body of the error that `call` is answered with. */
async function refusal(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    if (error instanceof agent.ResponseError || error instanceof relm.ResponseError) return error.response.json();
    throw error;
  }
  throw new Error("the call is expected to fail");
}

async function callAgentCrm() {
  const configuration = new agent.Configuration({
    basePath: process.env.KITH_BASE,
    accessToken: process.env.KITH_KEY_AGENTCRM,
  });
  const contacts = new agent.ContactsApi(configuration);
  const lists = new agent.ListsApi(configuration);

  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const contactCreate: agent.ContactCreate = { email: `${name}@ts.example.com`, firstName: "Ada" };
    const made = await contacts.createContact({ contactCreate });
    ids.push(typed(made.data.id));
  }

  const page = await contacts.listContacts({ limit: 2 });
  const people: agent.Contact[] = typed(page.data);
  assert.equal(people.length, 2);
  assert.match(typed(people[0]!.email)!, /@/);

  const some = await contacts.listContacts({ email: ["a@ts.example.com", "c@ts.example.com"] });
  assert.deepEqual(some.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await contacts.getContact({ id: ids[0]! });
  assert.ok(typed(got.data.createdAt) instanceof Date);
  assert.equal(typed(got.data.company), null);
  const changed = await contacts.updateContact({ id: ids[0]!, contactPatch: { title: "CTO" } });
  assert.equal(typed(changed.data.title), "CTO");

  const list = await lists.createList({
    savedListCreate: { name: "ts", targetTable: "contacts", kind: agent.SavedListCreateKindEnum.Static },
  });
  const made: agent.SavedList = typed(list.data);
  assert.equal(typed(made.kind), "static");
  const one = await lists.addListMembers({ id: made.id, newMembers: { memberId: ids[0]! } });
  const member = typed(one.data);
  assert.equal(Array.isArray(member) ? undefined : member.memberId, ids[0]);
  const several = await lists.addListMembers({ id: made.id, newMembers: { memberIds: ids } });
  const members = typed(several.data);
  assert.equal(Array.isArray(members) ? members.length : 0, 3);

  const deleted = await contacts.deleteContact({ id: ids[2]! });
  assert.equal(typed(deleted.data.id), ids[2]);
  assert.ok(typed(deleted.data.deletedAt) instanceof Date);
  const missing = agent.NotFoundErrorFromJSON(await refusal(contacts.getContact({ id: ids[2]! })));
  assert.equal(typed(missing.error), agent.NotFoundErrorErrorEnum.NotFound);
  const wrong = await refusal(contacts.createContact({ contactCreate: { companyId: ids[0]! } }));
  assert.equal(agent.InvalidReferenceErrorFromJSON(wrong).error, "invalid_reference");

  const found = await new agent.SearchApi(configuration).search({ q: "Ada" });
  const hit = found.data.find((hit) => typed(hit.id) === ids[0]);
  assert.ok(hit && hit.object === "contact" && typed(hit.createdAt) instanceof Date && !("occurredAt" in hit));
}

async function callRelm() {
  const configuration = new relm.Configuration({ basePath: process.env.KITH_BASE, accessToken: process.env.KITH_KEY_RELM });
  const contacts = new relm.ContactsApi(configuration);
  const lists = new relm.ListsApi(configuration);

  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const contactCreate: relm.ContactCreate = { email: `${name}@ts.example.net`, firstName: "Ada" };
    const made = await contacts.createContact({ contactCreate });
    ids.push(typed(made.id));
  }

  const page = await contacts.listContacts({ limit: 2 });
  const people: relm.Contact[] = typed(page.data);
  assert.equal(people.length, 2);
  assert.match(typed(people[0]!.email)!, /@/);

  const some = await contacts.listContacts({ filterEmailIn: ["a@ts.example.net", "c@ts.example.net"] });
  assert.deepEqual(some.data.map((contact) => contact.id).sort(), [ids[0], ids[2]]);

  const got = await contacts.getContact({ id: ids[0]! });
  assert.ok(typed(got.createdAt) instanceof Date);
  assert.equal(typed(got.object), "contact");
  const changed = await contacts.updateContact({ id: ids[0]!, contactPatch: { title: "CTO" } });
  assert.equal(typed(changed.title), "CTO");

  const made: relm.SavedList = await lists.createList({
    savedListCreate: { name: "ts", targetTable: "contacts", kind: relm.SavedListCreateKindEnum.Static },
  });
  assert.equal(typed(made.kind), "static");
  const member = typed(await lists.addListMembers({ id: made.id, newMembers: { memberId: ids[0]! } }));
  assert.equal("memberId" in member ? member.memberId : undefined, ids[0]);
  const members = typed(await lists.addListMembers({ id: made.id, newMembers: { memberIds: ids } }));
  assert.equal("data" in members ? members.data.length : 0, 3);

  const deleted = await contacts.deleteContact({ id: ids[2]! });
  assert.equal(typed(deleted.id), ids[2]);
  assert.equal(typed(deleted.deleted), true);
  const missing = relm.NotFoundErrorFromJSON(await refusal(contacts.getContact({ id: ids[2]! })));
  assert.equal(typed(missing.error.code), "not_found");
  const wrong = await refusal(contacts.createContact({ contactCreate: { companyId: ids[0]! } }));
  assert.equal(relm.InvalidReferenceErrorFromJSON(wrong).error.code, "invalid_reference");

  const found = await new relm.SearchApi(configuration).search({ q: "Ada" });
  const hit = found.data.find((hit) => typed(hit.id) === ids[0]);
  assert.ok(hit && hit.object === "contact" && typed(hit.createdAt) instanceof Date && !("occurredAt" in hit));
}

void callAgentCrm().then(callRelm);
