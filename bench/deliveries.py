#!/usr/bin/env python3
"""Measures what happens after a commit: webhooks from the commit to a local receiver, their rate, and what they cost when idle.

    bench/deliveries.py --kith target/release/kith

It prints one line per measurement, with the load average before it. Other work on the machine changes times and rates; the CPU
figures are reliable.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import statistics
import tempfile
import threading
import time

from bench import Kith, free_port, say

EMAIL = re.compile(rb'"email":"([^"]+)"')
LENGTH = re.compile(rb"content-length: (\d+)", re.I)
ROUNDS = 3
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kith-deliveries-", dir=options.dir))
    work.chmod(0o755)
    kith = Kith(options.kith, work, {"KITH_ALLOW_PRIVATE_TARGETS": "1"})
    receiver = Receiver()
    try:
        kith.start()
        for name in options.only:
            say(f"{name}; load average {os.getloadavg()[0]:.1f}")
            CASES[name](kith, receiver, options)
    finally:
        kith.stop()
        receiver.stop()
        if options.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def parse_options():
    parser = argparse.ArgumentParser(description="Measures webhooks of kith serve.")
    parser.add_argument("--kith", type=pathlib.Path, required=True, help="the kith program")
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES), help="these measurements only")
    parser.add_argument("--seconds", type=int, default=20, help="how long the measurements of time and of idle CPU take (default 20)")
    parser.add_argument("--events", type=int, default=20_000, help="how many events the measurement of the rate sends (default 20000)")
    parser.add_argument("--writes", type=int, default=2000, help="how many writes each measurement of their cost makes (default 2000)")
    parser.add_argument("--workspaces", type=int, default=1000, help="how many workspaces are idle (default 1000)")
    parser.add_argument("--dir", default="/var/tmp", help="where the data directory is made (default /var/tmp, which is on a disk)")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and the log")
    options = parser.parse_args()
    options.kith = options.kith.resolve()
    return options


class Receiver:
    """A fast receiver of webhooks in a process of its own. It answers 200 and keeps the time and the contact's address of each event."""

    def __init__(self):
        self.port = free_port()
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=receive, args=(self.port, other), daemon=True)
        self.process.start()
        self.pipe.recv()

    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self):
        """The events since the last call: (time, address)."""
        self.pipe.send("take")
        return self.pipe.recv()

    def count(self):
        self.pipe.send("count")
        return self.pipe.recv()

    def wait(self, count, limit):
        end = time.monotonic() + limit
        while self.count() < count:
            if time.monotonic() > end:
                say(f"  NOTE: {self.count()} of {count} events came within {limit} s")
                break
            time.sleep(0.05)
        return self.take()

    def stop(self):
        self.process.terminate()


def receive(port, pipe):
    came = []

    class Connection(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.read = transport, b""

        def data_received(self, data):
            self.read += data
            while (end := self.read.find(b"\r\n\r\n")) >= 0:
                length = LENGTH.search(self.read, 0, end)
                whole = end + 4 + (int(length[1]) if length else 0)
                if len(self.read) < whole:
                    return
                email = EMAIL.search(self.read, end, whole)
                came.append((time.monotonic(), email[1].decode() if email else None))
                self.read = self.read[whole:]
                self.transport.write(ANSWER)

    def asked():
        if pipe.recv() == "count":
            pipe.send(len(came))
        else:
            pipe.send(list(came))
            came.clear()

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connection, "127.0.0.1", port)
        loop.add_reader(pipe.fileno(), asked)
        pipe.send("ready")
        await server.serve_forever()

    asyncio.run(serve())


class Client:
    """A client with one open connection."""

    def __init__(self, kith, key):
        self.connection, self.key = http.client.HTTPConnection("127.0.0.1", kith.port, timeout=60), key

    def post(self, path, body):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        self.connection.request("POST", path, json.dumps(body), headers)
        reply = self.connection.getresponse()
        said = reply.read()
        if reply.status not in (200, 201):
            raise SystemExit(f"POST {path} gave {reply.status}: {said.decode()}")
        return json.loads(said)["data"]


def workspace(kith):
    kith.key = None
    return kith.post("/v1/workspaces", {})["data"]["api_key"]


def subscribe(kith, key, receiver, events=("contact.created",)):
    return Client(kith, key).post("/v1/webhooks", {"url": receiver.url(), "events": list(events)})


def measure_latency(kith, receiver, options):
    """From the answer to a write until the event arrives, with 50 writes a second."""
    writers, rate = 5, 50
    key = workspace(kith)
    subscribe(kith, key, receiver)
    Client(kith, key).post("/v1/contacts", {"email": "first@latency.example"})
    receiver.wait(1, 30)
    committed, start = {}, time.monotonic() + 0.2

    def write(writer):
        client = Client(kith, key)
        for turn in range(options.seconds * rate // writers):
            time.sleep(max(0, start + (turn + writer / writers) * writers / rate - time.monotonic()))
            email = f"w{writer}n{turn}@latency.example"
            client.post("/v1/contacts", {"email": email})
            committed[email] = time.monotonic()

    in_threads(write, writers)
    came = receiver.wait(len(committed), 60)
    times = sorted(1e3 * (at - committed[email]) for at, email in came if email in committed)
    share = lambda part: times[min(len(times) - 1, int(part * len(times)))]
    print(
        f"commit to arrival, {rate} writes a second: p50 {share(0.5):.1f} ms, p99 {share(0.99):.1f} ms, "
        f"worst {times[-1]:.1f} ms, of {len(times)} events (wanted 50 and 250)"
    )


def measure_rate(kith, receiver, options):
    """How many deliveries a second arrive at one fast receiver, with their queueing."""
    key = workspace(kith)
    subscribe(kith, key, receiver)
    client = Client(kith, key)
    client.post("/v1/contacts", {"email": "first@rate.example"})
    receiver.wait(1, 30)
    before = kith.cpu()
    chunk = 5000
    for first in range(0, options.events, chunk):
        sql = "insert into contacts (email) select 'r' || g || '@rate.example' from generate_series($1::int, $2::int) g"
        client.post("/v1/sql", {"sql": sql, "params": [first + 1, min(first + chunk, options.events)]})
    came = [at for at, _ in receiver.wait(options.events, 180)]
    after = kith.cpu()
    seconds = max(came) - min(came)
    kith_us, postgres_us = (1e6 * (late - early) / len(came) for early, late in zip(before, after))
    print(
        f"deliveries to one fast receiver: {len(came) / seconds:,.0f} a second for {seconds:.1f} s; CPU of each: kith {kith_us:.0f} µs, "
        f"PostgreSQL {postgres_us:.0f} µs, the insert and the event included (wanted 1,000 a second)"
    )


def measure_writes(kith, receiver, options):
    """The CPU of a write: where nobody listens anywhere, where somebody listens in another workspace, and where somebody listens."""
    key, other = workspace(kith), workspace(kith)
    cost_of_writes(kith, key, options, "warm")
    measured = {"nobody listens": [], "somebody listens in another workspace": [], "somebody listens here, the delivery included": []}
    for turn in range(ROUNDS):
        # Each round has all three, because the tables grow.
        nobody, elsewhere, here = measured.values()
        nobody.append(cost_of_writes(kith, key, options, f"nobody{turn}"))
        webhook = subscribe(kith, other, receiver)
        elsewhere.append(cost_of_writes(kith, key, options, f"other{turn}"))
        unsubscribe(kith, other, webhook)
        webhook = subscribe(kith, key, receiver)
        here.append(cost_of_writes(kith, key, options, f"here{turn}", lambda: receiver.wait(options.writes, 120)))
        unsubscribe(kith, key, webhook)
    for what, costs in measured.items():
        kith_us, postgres_us = (statistics.median(side) for side in zip(*costs))
        print(f"CPU of a create, {what}: kith {kith_us:.0f} µs, PostgreSQL {postgres_us:.0f} µs (medians of {ROUNDS})")


def unsubscribe(kith, key, webhook):
    kith.key = key
    kith.request("DELETE", f"/v1/webhooks/{webhook['id']}")


def cost_of_writes(kith, key, options, name, wait=None):
    # What the last step has caused in the background ends first.
    time.sleep(2)
    before, writers = kith.cpu(), 4

    def write(writer):
        client = Client(kith, key)
        for turn in range(options.writes // writers):
            client.post("/v1/contacts", {"email": f"{name}{writer}n{turn}@cost.example"})

    in_threads(write, writers)
    if wait:
        wait()
    # PostgreSQL's background processes go on for a moment.
    time.sleep(0.5)
    return [1e6 * (late - early) / options.writes for early, late in zip(before, kith.cpu())]


def measure_idle(kith, receiver, options):
    """The CPU of Kith with many workspaces in which nothing happens."""
    print_idle(kith, options, "the workspaces of the other measurements")
    keys = []
    started = time.monotonic()
    for _ in range(options.workspaces):
        keys.append(workspace(kith))
    say(f"{len(keys)} workspaces made in {time.monotonic() - started:.0f} s")
    print_idle(kith, options, f"{len(keys)} more workspaces")
    for key in keys:
        subscribe(kith, key, receiver)
    print_idle(kith, options, f"a webhook in each of the {len(keys)} (wanted: less than 1 % for kith)")
    client = Client(kith, keys[0])
    times = []
    receiver.take()
    for turn in range(20):
        client.post("/v1/contacts", {"email": f"t{turn}@idle.example"})
        committed = time.monotonic()
        times += [1e3 * (at - committed) for at, _ in receiver.wait(1, 30)]
    print(f"commit to arrival among them: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms")


def print_idle(kith, options, what):
    # The work that the last step has caused ends first.
    for _ in range(60):
        before = kith.cpu()
        time.sleep(2)
        if sum(kith.cpu()) - sum(before) < 0.3:
            break
    before = kith.cpu()
    time.sleep(options.seconds)
    kith_share, postgres_share = (100 * (late - early) / options.seconds for early, late in zip(before, kith.cpu()))
    print(f"idle, {what}: kith {kith_share:.2f} % of a core, PostgreSQL {postgres_share:.2f} %")


def in_threads(work, count):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CASES = {"writes": measure_writes, "latency": measure_latency, "rate": measure_rate, "idle": measure_idle}

if __name__ == "__main__":
    main()
