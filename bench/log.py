#!/usr/bin/env python3
"""Measures what the change log costs: log.py KITH [KITH …], for example two builds of `target/release/kith`.

For each program it prints the CPU time of Kith and PostgreSQL for a create and for the dry run of one, for each row of a bulk UPDATE by
SQL, and for each row of the undo of that; the seconds that the undo takes; and the bytes on disk of a change, in the log and in the feed,
with their indexes. The programs take turns, a second each, so that what else the machine does meets all of them alike; a ratio is the median
of those of the turns. The creates come first, because PostgreSQL tidies up after bulk writes for a while. One without a log shows no undo.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import tempfile
import time

from bench import Kith
from deliveries import Client, in_threads

ROWS = 20_000
CREATES = 1_000
CALLERS = 4
TURNS = 5
SIZES = """select c.relname as name, pg_total_relation_size(c.oid) as bytes from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where (n.nspname, c.relname) in (('kith', 'change'), ('public', 'activity'))"""
TABLES = {"change": "bytes of a change, in the log", "activity": "bytes of a change, in the feed"}


class Measured:
    """A program with a workspace of its own, and what was measured of it."""

    def __init__(self, program):
        self.program, self.figures, self.made = program, {}, 0
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="kith-log-"))
        # As root, Kith runs PostgreSQL as another user, which must be able to reach the data directory.
        self.work.chmod(0o755)
        self.kith = Kith(program.resolve(), self.work)
        self.kith.start()
        self.kith.key = self.kith.post("/v1/workspaces", {})["data"]["api_key"]
        self.kith.sql(f"insert into contacts (email, first_name, last_name) select 'bulk' || n || '@example.com', 'Ann', 'Lee' from generate_series(1, {ROWS}) n")
        self.has_log = self.kith.request("GET", "/v1/runs")[0] == 200

    def note(self, name, figure):
        self.figures.setdefault(name, []).append(figure)

    def cpu_of(self, name, times, act):
        """Notes the CPU time of `act` in microseconds, for each of so many times."""
        before = sum(self.kith.cpu())
        act()
        self.note(name, 1e6 * (sum(self.kith.cpu()) - before) / times)

    def send(self, client, path, body, headers):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.kith.key}"} | headers
        client.request("POST", path, json.dumps(body), headers)
        reply = client.getresponse()
        said = reply.read()
        if reply.status not in (200, 201):
            raise SystemExit(f"POST {path} gave {reply.status}: {said.decode()}")

    def creates(self, headers={}, callers=1):
        def create(caller):
            client = Client(self.kith, self.kith.key).connection
            for turn in range(CREATES // callers):
                contact = {"email": f"p{self.made}.{caller}.{turn}@example.com", "first_name": "Ann", "last_name": "Lee", "title": "CEO"}
                self.send(client, "/v1/contacts", contact, headers)

        self.made += 1
        in_threads(create, callers)

    def sizes(self):
        return {row["name"]: int(row["bytes"]) for row in self.kith.sql(SIZES)["rows"]}

    def write_in_bulk(self, number):
        client, run = Client(self.kith, self.kith.key).connection, f"bulk-{number}"
        update = {"sql": f"update contacts set title = 'Chief {number}' where email like 'bulk%'"}
        before = self.sizes()
        self.cpu_of("UPDATE, a row", ROWS, lambda: self.send(client, "/v1/sql", update, {"X-Run-Id": run}))
        for table, bytes_now in self.sizes().items():
            self.note(TABLES[table], (bytes_now - before[table]) / ROWS)
        if self.has_log:
            began = time.monotonic()
            self.cpu_of("undo, a row", ROWS, lambda: self.send(client, f"/v1/runs/{run}/undo", {}, {}))
            self.note(f"seconds to undo {ROWS} rows", time.monotonic() - began)

    def stop(self):
        self.kith.stop()
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Measures what the change log costs.")
    parser.add_argument("kith", nargs="+", type=pathlib.Path, help="the programs to compare")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; the median is shown (default 5)")
    options = parser.parse_args()
    all_measured = [Measured(program) for program in options.kith]
    try:
        # Each server first clones databases for workspaces to come.
        time.sleep(20)
        for measured in all_measured:
            measured.creates()
        for _ in range(options.rounds * TURNS):
            for measured in all_measured:
                measured.cpu_of("create, by one caller", CREATES, measured.creates)
                measured.cpu_of(f"create, by {CALLERS} callers", CREATES, lambda: measured.creates(callers=CALLERS))
                if measured.has_log:
                    measured.cpu_of("dry run, by one caller", CREATES, lambda: measured.creates({"X-Dry-Run": "true"}))
        for number in range(options.rounds):
            for measured in all_measured:
                measured.write_in_bulk(number)
    finally:
        for measured in all_measured:
            measured.stop()
        show(all_measured)


def show(all_measured):
    first = all_measured[0].figures
    for measured in all_measured:
        print(f"{measured.program}, CPU in microseconds")
        for name, figures in measured.figures.items():
            ratios = [figure / of_first for figure, of_first in zip(figures, first.get(name, ())) if of_first]
            ratio = f"  {statistics.median(ratios):.3f} of the first" if ratios else ""
            print(f"  {name:<34}{statistics.median(figures):>10,.1f}{ratio}")


if __name__ == "__main__":
    main()
