#!/usr/bin/env python3
"""What the change log costs: log.py KITH [KITH …], for example two builds of `target/release/kith`.

For each program it prints the CPU time of Kith and PostgreSQL for one create and for the dry run of one, for each row of a bulk
UPDATE by SQL, and for the undo of that; and how many bytes on disk a change takes, in the log and in the feed, with their indexes. The
programs take turns, so that what else the machine does meets all of them alike. A program without a log shows no undo and no log.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import tempfile
import time

import count

ROWS = 20_000
ROUNDS = 5
CREATES = 400


def tree(root):
    """A process and all that it has started."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def nanoseconds(process):
    """The CPU time of all threads of a process."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            total += int(pathlib.Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


class Subject:
    """A program with a workspace of its own."""

    def __init__(self, kith):
        self.kith = kith
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="kith-log-"))
        # As root, Kith runs PostgreSQL as another user, which must be able to reach the data directory.
        self.work.chmod(0o755)
        self.server = count.Server(kith.resolve(), self.work)
        self.taken = {}

    def ask(self, method, path, body=None, **headers):
        """The status and the answer. A program that knows no such path answers 404."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"content-type": "application/json", "authorization": f"Bearer {self.server.key}"}
        self.server.connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = self.server.connection.getresponse()
        return answer.status, json.loads(answer.read() or "{}")

    def sql(self, text, **headers):
        status, answer = self.ask("POST", "/v1/sql", {"sql": text}, **headers)
        assert status == 200, answer
        return answer["data"]["rows"]

    def take(self, name, times, act):
        """Takes the CPU time of `act`, in microseconds for each of `times`. Processes that end meanwhile are not counted."""
        before = {process: nanoseconds(process) for process in tree(self.server.process.pid)}
        act()
        after = {process: nanoseconds(process) for process in tree(self.server.process.pid)}
        spent = sum(value - before.get(process, 0) for process, value in after.items() if value)
        self.taken.setdefault(name, []).append(spent / 1000 / times)

    def creates(self, **headers):
        for number in range(CREATES):
            self.server.made += 1
            body = {"email": f"p{self.server.made}@example.com", "first_name": "Ann", "last_name": "Lee", "title": "CEO"}
            status, answer = self.ask("POST", "/v1/contacts", body, **headers)
            assert status < 300, answer

    def sizes(self):
        """The rows and bytes of the log and the feed. Their sizes may be read by anybody, the rows of the log are estimated."""
        self.sql("select 1")
        query = """select c.relname as name, pg_total_relation_size(c.oid) as bytes from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where (n.nspname, c.relname) in (('kith', 'change'), ('public', 'activity'))"""
        return {row["name"]: int(row["bytes"]) for row in self.sql(query)}

    def bulk(self, round_number):
        run = f"bulk-{round_number}"
        before = self.sizes()
        self.take(f"UPDATE, a row of {ROWS}", ROWS, lambda: self.sql(f"update contacts set title = 'Chief {round_number}' where email like 'bulk%'", x_run_id=run))
        after = self.sizes()
        for table, name in (("change", "bytes of a change, in the log"), ("activity", "bytes of a change, in the feed")):
            if table in after:
                self.taken.setdefault(name, []).append((after[table] - before[table]) / ROWS)
        began = time.monotonic()
        status, answer = 0, None

        def undo():
            nonlocal status, answer
            status, answer = self.ask("POST", f"/v1/runs/{run}/undo", {})

        self.take(f"undo, a row of {ROWS}", ROWS, undo)
        if status == 200:
            self.taken.setdefault(f"seconds to undo {ROWS} rows", []).append(time.monotonic() - began)
        else:
            self.taken[f"undo, a row of {ROWS}"].pop()

    def stop(self):
        self.server.stop()
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Measures what the change log costs.")
    parser.add_argument("kith", nargs="+", type=pathlib.Path, help="the programs to compare")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured; the median is shown (default {ROUNDS})")
    options = parser.parse_args()
    subjects = [Subject(kith) for kith in options.kith]
    for subject in subjects:
        subject.sql(f"insert into contacts (email, first_name, last_name) select 'bulk' || n || '@example.com', 'Ann', 'Lee' from generate_series(1, {ROWS}) n")
    # Each server first clones databases for workspaces to come.
    time.sleep(20)
    for subject in subjects:
        subject.server.connection.close()
        subject.creates()
    for number in range(options.rounds):
        for subject in subjects:
            subject.take("create", CREATES, subject.creates)
            if subject.ask("GET", "/v1/runs")[0] == 200:
                subject.take("dry run of a create", CREATES, lambda subject=subject: subject.creates(x_dry_run="true"))
        for subject in subjects:
            subject.bulk(number)
    first = {name: statistics.median(values) for name, values in subjects[0].taken.items() if values}
    for subject in subjects:
        print(f"{subject.kith}, CPU microseconds")
        for name, values in subject.taken.items():
            if values:
                value = statistics.median(values)
                ratio = f"  {value / first[name]:.3f} of the first" if first.get(name) else ""
                print(f"  {name:<34}{value:>10,.1f}{ratio}")
        subject.stop()


if __name__ == "__main__":
    main()
