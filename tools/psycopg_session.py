"""Works in a direct session with psycopg: copies, cursors, pipelines, temporary tables and advisory locks."""

import os

import psycopg

with psycopg.connect(os.environ["KITH_URL"]) as conn:
    with conn.cursor() as cursor:
        with cursor.copy("COPY contacts (email, first_name) FROM STDIN") as copy:
            for n in range(50):
                copy.write_row((f"p{n}@psycopg.example", f"P{n}"))
    conn.commit()

    # A load by a temporary table, as import scripts do.
    with conn.transaction():
        conn.execute("CREATE TEMP TABLE incoming (LIKE contacts INCLUDING DEFAULTS) ON COMMIT DROP")
        conn.execute("INSERT INTO incoming (email, first_name) VALUES ('P1@psycopg.example', 'Changed'), ('new@psycopg.example', 'New')")
        conn.execute(
            "UPDATE contacts c SET first_name = i.first_name FROM incoming i WHERE i.email = c.email")
        conn.execute(
            "INSERT INTO contacts (email, first_name) SELECT i.email, i.first_name FROM incoming i"
            " WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.email = i.email)")
    names = conn.execute("SELECT first_name FROM contacts WHERE email = 'p1@PSYCOPG.example'").fetchall()
    assert names == [("Changed",)], names

    with conn.cursor(name="walk") as cursor:
        cursor.execute("SELECT email FROM contacts ORDER BY email")
        assert len(cursor.fetchmany(20)) == 20 and len(cursor.fetchall()) == 31
    with conn.pipeline():
        counts = [conn.execute("SELECT count(*) FROM contacts WHERE email = %s", (f"p{n}@psycopg.example",)) for n in range(10)]
        assert [cursor.fetchone() for cursor in counts] == [(1,)] * 10
    conn.commit()

    with psycopg.connect(os.environ["KITH_URL"], autocommit=True) as other:
        take = "SELECT pg_try_advisory_lock(42)"
        assert conn.execute(take).fetchone() == (True,)
        assert other.execute(take).fetchone() == (False,)
        assert conn.execute("SELECT pg_advisory_unlock(42)").fetchone() == (True,)
        assert other.execute(take).fetchone() == (True,)

    tables = conn.execute("SELECT count(*) FROM activity WHERE subject_repr = 'Changed'").fetchone()
    assert tables == (1,), tables
