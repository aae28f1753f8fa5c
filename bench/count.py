#!/usr/bin/env python3
"""Counts what one request costs, without a clock: count.py KITH [KITH …], for example two builds of `target/release/kith`.

For each program it prints the instructions that the server executes for a request, counted by valgrind's callgrind from the
accepted connection downward, and the system calls that it makes, counted by strace. Both are the same whatever else the machine is
doing, so that two versions can be compared to a percent where times cannot. Neither counts what PostgreSQL does; bench.py does.
"""

import argparse
import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse

WARM_UP = 60
# The function that serves one connection. Older versions have it under the second name.
SERVES = re.compile(r"([\d,]+) \([^)]*\)\s+\S*(?:listener::serve_one|serve::accept)::\{\{closure\}\}")


class Server:
    """A running `kith serve` with a workspace."""

    def __init__(self, kith, work, wrapper=()):
        self.work = work
        line = [*wrapper, str(kith), "serve", "--listen", "127.0.0.1:0", "--data-dir", str(work / "data"), "--rate-limit", "0"]
        with (work / "log").open("w") as log:
            self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, cwd=work)
        first = self.process.stdout.readline()
        if not first.startswith("kith listening on "):
            sys.exit(f"{kith} did not start:\n{(work / 'log').read_text()}")
        address = urllib.parse.urlparse(first.split()[-1])
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=300)
        self.key = None
        self.key = self.ask("POST", "/v1/workspaces", {})["data"]["api_key"]
        self.made = 0
        self.ids = [self.create() for _ in range(WARM_UP)]

    def ask(self, method, path, body=None):
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path} was answered {answer.status}: {text[:500]}")
        return json.loads(text)

    def create(self):
        self.made += 1
        body = {"email": f"p{self.made}@example.com", "first_name": "Ann", "last_name": "Lee", "title": "CEO"}
        return self.ask("POST", "/v1/contacts", body)["data"]["id"]

    def cases(self):
        one = self.ids[3]
        point_select = {"sql": "select * from contacts where id = $1", "params": [one]}
        return {
            "GET by id": lambda: self.ask("GET", f"/v1/contacts/{one}"),
            "list of 50": lambda: self.ask("GET", "/v1/contacts?limit=50"),
            "create": self.create,
            "SQL point select": lambda: self.ask("POST", "/v1/sql", point_select),
        }

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def count_instructions(kith, work, requests):
    """The instructions of each case, a request."""
    out = work / "callgrind"
    server = Server(kith, work, ("valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"))
    control = lambda *what: subprocess.run(["callgrind_control", *what, str(server.process.pid)], check=True, capture_output=True)
    counts = {}
    for number, (name, ask) in enumerate(server.cases().items(), 1):
        for _ in range(WARM_UP):
            ask()
        control("-z")
        control("-i", "on")
        for _ in range(requests):
            ask()
        control("-d", name)
        control("-i", "off")
        line = ["callgrind_annotate", "--inclusive=yes", f"{out}.{number}"]
        listed = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        counts[name] = int(SERVES.search(listed).group(1).replace(",", "")) / requests
    server.stop()
    return counts


def count_system_calls(kith, work, requests):
    """The system calls of each case, a request."""
    server = Server(kith, work)
    counts = {}
    for name, ask in server.cases().items():
        for _ in range(WARM_UP):
            ask()
        summary = work / "strace"
        strace = subprocess.Popen(["strace", "-c", "-f", "-p", str(server.process.pid), "-o", summary], stderr=subprocess.PIPE, text=True)
        # It says when it has attached.
        strace.stderr.readline()
        for _ in range(requests):
            ask()
        strace.send_signal(signal.SIGINT)
        strace.wait()
        total = [line.split() for line in summary.read_text().splitlines() if line.endswith("total")]
        counts[name] = int(total[-1][3]) / requests
    server.stop()
    return counts


def main():
    parser = argparse.ArgumentParser(description="Counts the instructions and system calls of one request.")
    parser.add_argument("kith", nargs="+", type=pathlib.Path, help="the programs to compare")
    parser.add_argument("--requests", type=int, default=1000, help="how many requests each count is taken over (default 1000)")
    options = parser.parse_args()
    for tool in ("valgrind", "callgrind_control", "strace"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: install valgrind and strace.")
    for what, count in (("instructions", count_instructions), ("system calls", count_system_calls)):
        first = None
        for kith in options.kith:
            work = pathlib.Path(tempfile.mkdtemp(prefix="kith-count-"))
            # As root, Kith runs PostgreSQL as another user, which must be able to reach the data directory.
            work.chmod(0o755)
            try:
                counts = count(kith.resolve(), work, options.requests)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            first = first or counts
            print(f"{what} a request, {kith}")
            for name, value in counts.items():
                print(f"  {name:<18}{value:>12,.1f}  {value / first[name]:.3f} of the first")


if __name__ == "__main__":
    main()
