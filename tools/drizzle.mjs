// Migrates with drizzle, which keeps its journal in a schema of its own, and reads with its query builder.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import { integer, pgTable, text } from "drizzle-orm/pg-core";

mkdirSync("drizzle/meta", { recursive: true });
const entry = (idx) => ({ idx, version: "7", when: 1700000000000 + idx, tag: `000${idx}_step`, breakpoints: true });
writeFileSync("drizzle/meta/_journal.json", JSON.stringify({ version: "7", dialect: "postgresql", entries: [entry(0), entry(1)] }));
writeFileSync("drizzle/0000_step.sql", 'CREATE SCHEMA IF NOT EXISTS "public";\n--> statement-breakpoint\nCREATE TABLE "orders" ("id" integer PRIMARY KEY, "contact_id" text REFERENCES "contacts"("id"), "note" text);');
writeFileSync("drizzle/0001_step.sql", 'ALTER TABLE "orders" ADD COLUMN "total" integer DEFAULT 0 NOT NULL;\n--> statement-breakpoint\nCREATE INDEX "orders_contact" ON "orders" ("contact_id");');

const db = drizzle(process.env.KITH_URL);
await migrate(db, { migrationsFolder: "drizzle" });
await migrate(db, { migrationsFolder: "drizzle" });

const contacts = pgTable("contacts", { id: text().primaryKey(), email: text() });
const orders = pgTable("orders", { id: integer().primaryKey(), contactId: text("contact_id"), total: integer() });
const made = await db.execute("INSERT INTO contacts (email) VALUES ('d@drizzle.example') RETURNING id");
await db.insert(orders).values({ id: 1, contactId: made.rows[0].id, total: 5 });
const found = await db.select({ email: contacts.email }).from(orders).innerJoin(contacts, eq(orders.contactId, contacts.id));
assert.deepEqual(found, [{ email: "d@drizzle.example" }]);
const journal = await db.execute("SELECT count(*)::int AS n FROM drizzle.__drizzle_migrations");
assert.equal(journal.rows[0].n, 2);
await db.$client.end();
