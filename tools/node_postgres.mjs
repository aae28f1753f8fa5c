// Uses node-postgres' pool with its defaults, named statements and notifications.

import assert from "node:assert/strict";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.KITH_URL });
const insert = { name: "insert", text: "INSERT INTO contacts (email, custom) VALUES ($1, $2) RETURNING id" };
const ids = await Promise.all(
  Array.from({ length: 40 }, async (_, n) => {
    const { rows } = await pool.query({ ...insert, values: [`n${n}@node.example`, { n }] });
    return rows[0].id;
  }),
);
assert.equal(new Set(ids).size, 40);
assert.equal(pool.totalCount, 10);

const client = await pool.connect();
await client.query("BEGIN");
await client.query("CREATE TEMP TABLE picked ON COMMIT DROP AS SELECT id FROM contacts WHERE custom ->> 'n' = '7'");
const { rows } = await client.query("SELECT c.email FROM contacts c JOIN picked USING (id)");
assert.deepEqual(rows, [{ email: "n7@node.example" }]);
await client.query("COMMIT");
const heard = new Promise((resolve) => client.once("notification", resolve));
await client.query("LISTEN changed");
await pool.query("NOTIFY changed, 'contacts'");
assert.equal((await heard).payload, "contacts");
client.release();
await pool.end();
