#!/usr/bin/env python3
"""Measures the server time of every page, as a signed-in member sees it on the data of the benchmark (load.sql).

    bench/pages.py --kith target/release/kith

The time is the one that Kith itself logs of a page, from the first byte of the request to the whole document. It prints a table in
Markdown with the median and the slowest of the rounds, and exits with 1 if a page's median is over the limit.
"""

import argparse
import http.client
import json
import pathlib
import re
import shutil
import statistics
import tempfile

from bench import Kith, load, say

PASSWORD = "correct horse battery"
LINE = re.compile(r"\x1b\[[0-9;]*m")
RUNS, NOTES, MAILS = 200, 20_000, 5_000


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kith-pages-", dir=options.dir))
    work.chmod(0o755)
    kith = Kith(options.kith, work, {"KITH_LOG": "debug", "KITH_ALLOW_PRIVATE_TARGETS": "1"})
    try:
        kith.start()
        token = kith.post("/v1/auth/signup", {"email": "member@bench.example", "password": PASSWORD, "name": "Member"})["data"]["session_token"]
        kith.key = token
        kith.key = kith.post("/v1/workspaces", {"name": "Bench"})["data"]["api_key"]
        load(kith)
        pages = Pages(kith, token)
        if options.settle:
            pages.settle()
        measured = {path: pages.measure(path, options.rounds) for path in pages.paths()}
        print_table(measured, options.limit)
        if any(statistics.median(times) > options.limit for times in measured.values()):
            raise SystemExit(1)
    finally:
        kith.stop()
        if options.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def parse_options():
    parser = argparse.ArgumentParser(description="Measures the server time of every page.")
    parser.add_argument("--kith", type=pathlib.Path, required=True, help="the kith program")
    parser.add_argument("--rounds", type=int, default=7, help="how often each page is asked for, after a first time (default 7)")
    parser.add_argument("--limit", type=float, default=100, help="milliseconds that a page may take (default 100)")
    parser.add_argument("--dir", default="/var/tmp", help="where the data directory is made (default /var/tmp, which is on a disk)")
    parser.add_argument("--settle", action=argparse.BooleanOptionalAction, default=True, help="analyze the tables first, as Kith does in time by itself")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and the logs")
    options = parser.parse_args()
    options.kith = options.kith.resolve()
    return options


class Pages:
    """The pages of a workspace that has the data of the benchmark and one of everything else."""

    def __init__(self, kith, token):
        self.kith, self.token, self.log = kith, token, kith.work / "kith.log"
        one = lambda table: kith.sql(f"select id, company_id from {table} order by created_at, id limit 1")["rows"][0]
        self.contact = one("contacts")
        self.company, self.deal = self.contact["company_id"], one("deals")["id"]
        made = lambda path, body: kith.post(path, body)["data"]["id"]
        for key, kind in [("segment", "text"), ("score", "number")]:
            kith.post("/v1/schema/fields", {"object_type": "contact", "key": key, "label": key.title(), "type": kind})
        kith.sql(
            f"insert into activities (type, subject, contact_id) select 'note', 'Note ' || c.n, c.id"
            f" from (select id, row_number() over (order by id) as n from contacts limit {NOTES}) c"
        )
        kith.sql(
            f"insert into emails (direction, from_addr, to_addrs, subject, received_at) select 'inbound', c.email, array['us@bench.example'], 'Hello ' || c.n, now()"
            f" from (select email, row_number() over (order by id) as n from contacts limit {MAILS}) c"
        )
        self.activity = kith.sql("select id from activities limit 1")["rows"][0]["id"]
        self.email = kith.sql("select id from emails limit 1")["rows"][0]["id"]
        self.list = made("/v1/lists", {"name": "Directors", "target_table": "contacts", "kind": "dynamic", "filter_predicate": "title = 'Director'"})
        self.webhook = made("/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["list.deleted"]})
        self.rule = made("/v1/automations", {"name": "Chase", "trigger_event": "deal.stage_changed", "actions": [{"type": "create_activity", "activity_type": "task"}]})
        self.kith.sql("create table shipments (id int primary key generated always as identity, code text, contact_id text references contacts (id), created_at timestamptz default now())")
        self.kith.sql("insert into shipments (code, contact_id) select 'SH-' || row_number() over (), id from contacts limit 10000")
        for number in range(RUNS):
            self.patch(f"/v1/contacts/{self.contact['id']}", {"title": f"Title {number}"}, {"X-Agent": f"agent{number % 7}", "X-Run-Id": f"run-{number}", "X-Reason": "Its profile says so"})
        self.run = json.loads(kith.request("GET", "/v1/runs?limit=1")[1])["data"][0]["id"]

    def patch(self, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.kith.port, timeout=60)
        connection.request("PATCH", path, json.dumps(body), {"Content-Type": "application/json", "Authorization": f"Bearer {self.kith.key}"} | headers)
        assert connection.getresponse().status == 200
        connection.close()

    def settle(self):
        self.kith.sql("analyze")

    def paths(self):
        contact = self.contact["id"]
        return [
            "/", "/contacts", "/contacts?sort=email", "/contacts?title=Director&sort=-last_name", "/contacts?first_name_contains=irst12", f"/contacts/{contact}",
            "/companies", f"/companies/{self.company}", "/deals", "/deals?view=table", "/deals?view=table&sort=company_id", f"/deals/{self.deal}",
            "/activities", f"/activities/{self.activity}", "/emails", f"/emails/{self.email}", "/lists", f"/lists/{self.list}", "/tables/shipments", "/tables/shipments/1", "/activity",
            "/activity?actor=agents", "/runs", f"/runs/{self.run}", "/webhooks", f"/webhooks/{self.webhook}", "/automations", f"/automations/{self.rule}", "/schema", "/sql", "/logs",
            "/api-keys", "/members", "/settings", "/import?table=contacts", "/nowhere",
        ]

    def measure(self, path, rounds):
        times = []
        for round in range(rounds + 1):
            connection = http.client.HTTPConnection("127.0.0.1", self.kith.port, timeout=60)
            connection.request("GET", path, headers={"Accept": "text/html", "Cookie": f"kith_session={self.token}"})
            reply = connection.getresponse()
            reply.read()
            assert reply.status == (404 if path == "/nowhere" else 200), f"{path}: {reply.status}"
            if round > 0:
                times.append(self.logged(reply.getheader("x-request-id")))
            connection.close()
        return times

    def logged(self, request_id):
        """The milliseconds that Kith logged of a page."""
        for line in reversed(LINE.sub("", self.log.read_text()).splitlines()):
            if request_id in line and (took := re.search(r"took_us=(\d+)", line)):
                return int(took[1]) / 1000
        raise SystemExit(f"The log says nothing of {request_id}.")


def print_table(measured, limit):
    shown = lambda path: re.sub(r"/[a-z]+_[0-9a-z]{26}", "/:id", path)
    print("| page | median ms | slowest ms |\n|---|---:|---:|")
    for path, times in measured.items():
        over = " (over the limit)" if statistics.median(times) > limit else ""
        print(f"| `{shown(path)}` | {statistics.median(times):.0f} | {max(times):.0f}{over} |")


if __name__ == "__main__":
    main()
