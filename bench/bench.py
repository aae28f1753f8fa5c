#!/usr/bin/env python3
"""Measures `kith serve` against pgbench: one machine, one data directory, one run, alternately.

pgbench runs the same SQL as Kith over the same Unix socket, logged in as the workspace's own role. The SQL and the log-in are
printed by crates/server/examples/bench_helper.rs, which links the library; `kith` itself prints no passwords. pgbench's rate is the
maximum. The ratio says how much of it remains over HTTP, with authentication, dialects and logs. Noise of the machine affects both,
so the ratio and the CPU per request are reliable when the rates are not.

`bench_helper login DATA_DIR WORKSPACE` prints one line of JSON:
    {"socket_dir", "port", "database", "role", "password", "settings"?: {name: value}}
`bench_helper sql` prints one line of JSON with the keys get, list, create and sql. Each is a statement or a list of statements that
are sent together, without waiting in between; a statement is its text, or {"sql": text, "params": [value of $1, …]}. Of the
values, ":id" is a contact's id, ":email" an unused address, and any other ":name" that field of the login line.
Without params, $1 is ":id".
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
CHUNK = 5_000
IDS_A_PAGE = 50  # as load.sql makes them
CONTACTS = 100_000
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

# The p50 of get_contact over MCP may be this many times that of a GET over REST, if both return the same fields. By itself,
# get_contact also reads the contact's activities and associations.
MOST_TIMES_REST = 1.5
# The calls over which Kith's memory must not grow, and by how many MB it may vary.
MCP_CALLS, MOST_GROWTH_MB = 100_000, 8

# The measurements, and the minimum share of pgbench's rate that Kith must reach.
CASES = {"get": ("GET by id", 0.40), "list": ("list of 50", 0.45), "create": ("create", 0.70), "sql": ("SQL point select", None)}


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kith-bench-", dir=options.dir))
    # As root, Kith runs PostgreSQL as another user, which must be able to reach the data directory.
    work.chmod(0o755)
    kith = Kith(options.kith, work)
    try:
        first_start = kith.start()
        say(f"first start, with initdb: {first_start:.2f} s")
        workspace = kith.post("/v1/workspaces", {})["data"]
        kith.key = workspace["api_key"]
        load(kith)
        ids = write_ids(kith, work)
        bench = Bench(options, kith, workspace["workspace_id"], work, ids)
        results = bench.run()
        print_results(results)
        print_mcp(bench, kith)
        print(f"RSS of kith after the benchmark: {kith.rss_mb():.1f} MB")
        print_workspaces(kith, options.workspaces)
        print_cold_starts(kith, 5)
    finally:
        kith.stop()
        if options.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def parse_options():
    parser = argparse.ArgumentParser(description="Measures kith serve against pgbench.")
    parser.add_argument("--kith", type=pathlib.Path, required=True, help="the kith program")
    parser.add_argument("--helper", type=pathlib.Path, required=True, help="the program bench_helper")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured on each side (default 3)")
    parser.add_argument("--seconds", type=int, default=8, help="how long each measurement takes (default 8)")
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES), help="these cases only")
    parser.add_argument("--workspaces", type=int, default=20, help="how many workspaces are made for their median (default 20)")
    parser.add_argument("--dir", default="/var/tmp", help="where the data directory is made (default /var/tmp, which is on a disk)")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and the logs")
    options = parser.parse_args()
    options.kith, options.helper = options.kith.resolve(), options.helper.resolve()
    return options


class Kith:
    """A `kith serve` on a free port."""

    def __init__(self, program, work, settings={}):
        self.program, self.work, self.data_dir, self.settings = program, work, work / "data", settings
        self.port, self.key, self.process = free_port(), None, None

    def start(self):
        """Starts it and returns the seconds until it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KITH_") or name == "KITH_PG_BIN"}
        environment |= {"KITH_RATE_LIMIT": "0", "KITH_POSTGRES_LISTEN": "off"} | self.settings
        arguments = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data_dir]
        with open(self.work / "kith.log", "ab") as log:
            started = time.monotonic()
            self.process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() - started > 120:
                raise SystemExit(f"kith serve did not come up; it said:\n{(self.work / 'kith.log').read_text()[-4000:]}")
            time.sleep(0.002)
        return time.monotonic() - started

    def is_ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            if self.key:
                headers["Authorization"] = f"Bearer {self.key}"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def post(self, path, body):
        status, reply = self.request("POST", path, body)
        if status not in (200, 201):
            raise SystemExit(f"POST {path} gave {status}: {reply.decode()}\nfor {json.dumps(body)[:1000]}")
        return json.loads(reply)

    def sql(self, sql, *params):
        return self.post("/v1/sql", {"sql": sql, "params": list(params)})["data"]

    def rss_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def cpu(self):
        """The CPU seconds used so far, by kith and by its PostgreSQL."""
        by_pid = {stat.pid: stat for stat in read_stats()}
        kith = by_pid[self.process.pid]
        postgres = 0.0
        for postmaster in (stat for stat in by_pid.values() if stat.parent == kith.pid and stat.name == "postgres"):
            # Backends that have ended are counted in the postmaster's times of its children.
            postgres += postmaster.own + postmaster.ended_children
            postgres += sum(stat.own for stat in by_pid.values() if stat.parent == postmaster.pid)
        return kith.own, postgres


class Stat:
    """One line of /proc/PID/stat, times in seconds."""

    def __init__(self, line):
        self.pid, self.name = int(line.split(" ", 1)[0]), line[line.index("(") + 1 : line.rindex(")")]
        fields = line[line.rindex(")") + 2 :].split()
        self.parent = int(fields[1])
        self.own = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
        self.ended_children = (int(fields[13]) + int(fields[14])) / TICKS_A_SECOND


def read_stats():
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield Stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                pass


def load(kith):
    started = time.monotonic()
    for count, sql in re.findall(r"^-- (\d+)\n(.+?);$", (HERE / "load.sql").read_text(), re.M | re.S):
        if "$1" not in sql:
            kith.sql(sql)
            continue
        for first in range(1, int(count) + 1, CHUNK):
            kith.sql(sql, first, min(first + CHUNK - 1, int(count)))
    counts = ", ".join(f"(select count(*) from {table}) as {table}" for table in ("contacts", "companies", "deals"))
    loaded = kith.sql(f"select {counts}")["rows"][0]
    say("loaded " + ", ".join(f"{count} {table}" for table, count in loaded.items()) + f" in {time.monotonic() - started:.0f} s")


def write_ids(kith, work):
    """A file of contact ids for wrk."""
    ids = work / "ids"
    pages = [kith.sql("select ids from bench_ids where page > $1 and page <= $2", at, at + 100)["rows"] for at in range(0, 400, 100)]
    ids.write_text("".join(f"{id}\n" for rows in pages for row in rows for id in row["ids"]))
    return ids


def ask(helper, *arguments):
    """Returns the helper's output, parsed as JSON."""
    done = subprocess.run([helper, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return json.loads(done.stdout)


class Bench:
    def __init__(self, options, kith, workspace_id, work, ids):
        self.options, self.kith, self.work, self.ids = options, kith, work, ids
        self.login = ask(options.helper, "login", kith.data_dir, workspace_id)
        self.statements = ask(options.helper, "sql")
        self.pgbench = find_pgbench()

    def run(self):
        results = {name: [] for name in self.options.only}
        for name in results:
            self.wrk(name, 2)
        for round in range(1, self.options.rounds + 1):
            for name, measured in results.items():
                say(f"round {round}: {CASES[name][0]}")
                measured.append({"pgbench": self.run_pgbench(name), "kith": self.wrk(name, self.options.seconds)})
        return results

    def run_pgbench(self, name):
        script = PgbenchScript(name, self.statements[name], self.login)
        path = self.work / f"{name}.pgbench"
        path.write_text(script.text)
        login = self.login
        settings = [f"{key}={value}" for key, value in login.get("settings", {}).items()]
        environment = os.environ | {
            "PGPASSWORD": login["password"],
            "PGOPTIONS": " ".join("-c " + re.sub(r"([\\\s])", r"\\\1", setting) for setting in settings),
            "LD_LIBRARY_PATH": library_path(self.pgbench),
        }
        command = [self.pgbench, "--no-vacuum", "--protocol=prepared", "--client=8", "--jobs=2", f"--time={self.options.seconds}"]
        command += [f"--define={key}={value}" for key, value in script.variables.items()]
        command += ["--file", path, "--host", login["socket_dir"], "--port", str(login["port"])]
        command += ["--username", login["role"], login["database"]]
        _, before = self.kith.cpu()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        _, after = self.kith.cpu()
        if done.returncode:
            raise SystemExit(f"pgbench failed:\n{done.stderr[-4000:]}\nThe script began:\n{script.text[:2000]}")
        transactions = int(re.search(r"transactions actually processed: (\d+)", done.stdout)[1])
        rate = float(re.search(r"^tps = ([\d.]+)", done.stdout, re.M)[1])
        return {"rate": rate * script.repeats, "postgres_us": 1e6 * (after - before) / (transactions * script.repeats)}

    def wrk(self, name, seconds, load=("-t2", "-c32")):
        stamp = f"{time.time_ns():x}"
        command = ["wrk", *load, f"-d{seconds}s", "-s", HERE / "wrk.lua", f"http://127.0.0.1:{self.kith.port}"]
        command += ["--", name, self.kith.key, self.ids, stamp]
        before = self.kith.cpu()
        done = subprocess.run(command, capture_output=True, text=True)
        after = self.kith.cpu()
        found = re.search(r"^RESULT (.+)$", done.stdout, re.M)
        if not found:
            raise SystemExit(f"wrk failed:\n{done.stdout}{done.stderr}")
        result = json.loads(found[1])
        if result["refused"] or result["broken"]:
            say(f"  NOTE: of {result['requests']} requests {result['refused']} were refused and {result['broken']} broke")
        kith_us, postgres_us = (1e6 * (late - early) / max(1, result["requests"]) for early, late in zip(before, after))
        return {"rate": result["requests"] / result["seconds"], "kith_us": kith_us, "postgres_us": postgres_us, **result}


class PgbenchScript:
    """A case's statements as pgbench runs them, with the variables that they need."""

    def __init__(self, name, statements, login):
        self.variables, self.login = {}, login
        statements = statements if isinstance(statements, list) else [statements]
        takes_id = any(":id" in self.params(statement) for statement in statements)
        # pgbench has numbers but no ids. It fetches fifty of them with one statement and then uses each once, so that
        # fetching them is a fiftieth of the work.
        self.repeats = IDS_A_PAGE if takes_id else 1
        lines = []
        if takes_id:
            self.variables["pages"] = CONTACTS // IDS_A_PAGE
            fields = ", ".join(f"ids[{n}] as id{n}" for n in range(1, IDS_A_PAGE + 1))
            lines += [r"\set page random(1, :pages)", rf"select {fields} from bench_ids where page = :page \gset"]
        for n in range(1, self.repeats + 1):
            lines.append(rf"\set number random(1, {2**62})")
            together = len(statements) > 1
            lines += [r"\startpipeline"] * together + [self.statement(one, n) for one in statements] + [r"\endpipeline"] * together
        if not any(":number" in line for line in lines):
            lines = [line for line in lines if not line.startswith(r"\set number")]
        self.text = "\n".join(lines) + "\n"
        self.variables.setdefault("salt", f"{random.getrandbits(48):x}")

    def params(self, statement):
        if isinstance(statement, str):
            return [":id"] if "$1" in statement else []
        return statement.get("params", [])

    def statement(self, statement, n):
        sql = statement if isinstance(statement, str) else statement["sql"]
        if mistaken := re.search(r"(?<!:):[A-Za-z_]\w*", sql):
            raise SystemExit(f"pgbench would take {mistaken[0]} for a variable in: {sql}")
        values = [self.value(param, n) for param in self.params(statement)]
        text = re.sub(r"\$(\d+)", lambda found: values[int(found[1]) - 1], sql)
        return " ".join(text.split()).rstrip("; ") + ";"

    def value(self, param, n):
        if param is None:
            return "null"
        if param == ":id":
            return f":id{n}"
        if param == ":email":
            return "('p' || :number || '-' || :salt || '@bench.example')"
        if isinstance(param, str) and param.startswith(":"):
            param = self.login[param[1:]]
        if isinstance(param, bool):
            param = "true" if param else "false"
        # Bound like the others, because a literal would get a better plan than Kith's statement.
        variable = next((name for name, value in self.variables.items() if value == param), f"value{len(self.variables)}")
        self.variables[variable] = param
        return f":{variable}"


# The table's columns: heading, width, and number format.
COLUMNS = [
    ("pgbench/s", 11, ",.0f"),
    ("kith/s", 9, ",.0f"),
    ("ratio", 7, ".2f"),
    ("wanted", 8, ".2f"),
    ("p50 ms", 8, ".2f"),
    ("p99 ms", 8, ".2f"),
    ("kith µs", 9, ".0f"),
    ("pg µs", 7, ".0f"),
    ("pg µs, pgbench", 16, ".0f"),
]


def print_results(results):
    print()
    print(" " * 18 + "".join(f"{heading:>{width}}" for heading, width, _ in COLUMNS))
    for name, rounds in results.items():
        title, wanted = CASES[name]

        def middle(side, key):
            return statistics.median(measured[side][key] for measured in rounds)

        row = [
            middle("pgbench", "rate"),
            middle("kith", "rate"),
            statistics.median(measured["kith"]["rate"] / measured["pgbench"]["rate"] for measured in rounds),
            wanted,
            middle("kith", "p50_ms"),
            middle("kith", "p99_ms"),
            middle("kith", "kith_us"),
            middle("kith", "postgres_us"),
            middle("pgbench", "postgres_us"),
        ]
        cells = ("" if number is None else format(number, form) for number, (_, _, form) in zip(row, COLUMNS))
        print(f"{title:18}" + "".join(f"{cell:>{width}}" for cell, (_, width, _) in zip(cells, COLUMNS)))
    rounds = len(next(iter(results.values())))
    print(f"medians of {rounds} rounds; µs are CPU per request; pgbench: 8 clients, prepared; kith: wrk -t2 -c32")


def print_mcp(bench, kith):
    """Compares one caller's calls over MCP and REST, in turn, and looks at the memory over many calls."""
    one, p50 = ("-t1", "-c1"), {"get": [], "mcp_alone": [], "mcp": []}
    for name in p50:
        bench.wrk(name, 2, one)
    for round in range(1, bench.options.rounds + 1):
        say(f"round {round}: MCP and REST")
        for name, measured in p50.items():
            measured.append(bench.wrk(name, bench.options.seconds, one)["p50_ms"])
    for name, what in {"mcp_alone": f"the same fields (wanted at most {MOST_TIMES_REST})", "mcp": "and activities and associations"}.items():
        ratio = statistics.median(mcp / rest for mcp, rest in zip(p50[name], p50["get"]))
        rest, mcp = statistics.median(p50["get"]), statistics.median(p50[name])
        print(f"get_contact over MCP: p50 {mcp:.3f} ms, GET over REST {rest:.3f} ms, ratio {ratio:.2f}: {what}")
    say(f"{MCP_CALLS} calls of MCP")
    before, calls = None, 0
    while calls < MCP_CALLS:
        calls += bench.wrk("mcp", bench.options.seconds)["requests"]
        if before is None:
            # The first calls fill pools and buffers.
            before, calls = kith.rss_mb(), 0
    growth = kith.rss_mb() - before
    print(f"RSS of kith over {calls:.0f} calls of MCP: {before:.1f} MB and then {growth:+.1f}, wanted at most +{MOST_GROWTH_MB}")


def print_workspaces(kith, count):
    kith.key, times = None, []
    for _ in range(count):
        started = time.monotonic()
        kith.post("/v1/workspaces", {})
        times.append(1e3 * (time.monotonic() - started))
        time.sleep(0.5)
    if times:
        print(f"workspace creation: {spread(times)}")


def print_cold_starts(kith, count):
    times = []
    for _ in range(count):
        kith.stop()
        times.append(1e3 * kith.start())
    print(f"cold start to /readyz 200 on existing data: {spread(times)}")


def spread(times_ms):
    median, best, worst = statistics.median(times_ms), min(times_ms), max(times_ms)
    return f"median {median:.1f} ms, best {best:.1f}, worst {worst:.1f}, of {len(times_ms)}"


def find_pgbench():
    bin = os.environ.get("KITH_PG_BIN")
    found = shutil.which("pgbench", path=bin) if bin else shutil.which("pgbench")
    return found or sys.exit("there is no pgbench in KITH_PG_BIN or on the PATH")


def library_path(program):
    return os.pathsep.join(filter(None, [str(pathlib.Path(program).parent.parent / "lib"), os.environ.get("LD_LIBRARY_PATH")]))


def free_port():
    with socket.socket() as any:
        any.bind(("127.0.0.1", 0))
        return any.getsockname()[1]


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
