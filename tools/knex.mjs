// Migrates with knex, in `public` and in a schema of its own, and rolls back.

import assert from "node:assert/strict";
import knex from "knex";

const migrations = [
  {
    name: "1_notes",
    up: async (db) => {
      await db.schema.createTable("notes", (table) => {
        table.increments();
        table.string("contact_id").references("contacts.id").onDelete("CASCADE");
        table.enum("kind", ["call", "mail"], { useNative: true, enumName: "note_kind" });
        table.timestamps(true, true);
      });
      await db.schema.alterTable("contacts", (table) => table.integer("score").index());
    },
    down: async (db) => {
      await db.schema.alterTable("contacts", (table) => table.dropColumn("score"));
      await db.schema.dropTable("notes");
      await db.raw("DROP TYPE note_kind");
    },
  },
];
const migrationSource = {
  getMigrations: async () => migrations,
  getMigrationName: (migration) => migration.name,
  getMigration: async (migration) => migration,
};

for (const schemaName of [undefined, "knex"]) {
  const db = knex({ client: "pg", connection: process.env.KITH_URL, migrations: { migrationSource, schemaName } });
  await db.schema.createSchemaIfNotExists("public");
  await db.schema.createSchemaIfNotExists("knex");
  const [, done] = await db.migrate.latest();
  assert.deepEqual(done, ["1_notes"]);
  const [contact] = await db("contacts").insert({ email: `${schemaName}@knex.example`, score: 3 }).returning(["id"]);
  await db("notes").insert({ contact_id: contact.id, kind: "call" });
  const rows = await db("contacts").join("notes", "notes.contact_id", "contacts.id").where("score", ">", 2).select("kind");
  assert.deepEqual(rows, [{ kind: "call" }]);
  assert.ok((await db("contacts").columnInfo()).score);
  await db.migrate.rollback();
  assert.equal(await db.schema.hasTable("notes"), false);
  await db.destroy();
}
