"""Uses asyncpg's pool with its defaults: ten sessions, each reset on release."""

import asyncio
import os

import asyncpg


async def work(pool, n):
    async with pool.acquire() as conn:
        async with conn.transaction():
            await conn.execute("INSERT INTO contacts (email) VALUES ($1)", f"a{n}@asyncpg.example")
        return await conn.fetchval("SELECT email FROM contacts WHERE email = $1", f"A{n}@asyncpg.example")


async def main():
    async with asyncpg.create_pool(os.environ["KITH_URL"]) as pool:
        found = await asyncio.gather(*(work(pool, n) for n in range(40)))
        assert sorted(found) == sorted(f"a{n}@asyncpg.example" for n in range(40)), found
        async with pool.acquire() as conn:
            await conn.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")
            await conn.execute("CREATE TABLE moods (id serial PRIMARY KEY, mood mood, tags citext[])")
            await conn.executemany("INSERT INTO moods (mood, tags) VALUES ($1, $2)", [("happy", ["A", "b"]), ("sad", None)])
            row = await conn.fetchrow("SELECT * FROM moods WHERE 'a' = ANY (tags)")
            assert (row["mood"], row["tags"]) == ("happy", ["A", "b"]), row
            await conn.execute("SELECT pg_advisory_lock(1)")
        # The release has unlocked it.
        async with pool.acquire() as one, pool.acquire() as other:
            for conn in (one, other):
                assert await conn.fetchval("SELECT pg_try_advisory_xact_lock(1)")
            await one.copy_records_to_table("moods", records=[("happy",)], columns=["mood"])


asyncio.run(main())
