"""Fixtures of the tests of the pages: a Kith, a person with a workspace of their own, and a browser in which they are signed in.

A test that names `ada` gets a person who owns a new workspace: `ada.page` is their page in Chromium, `ada.api(...)` calls the
API with the workspace's key, as an agent would. A test fails if a page logged an error or was refused something by its
Content-Security-Policy.

One Kith serves all tests, those too that run in another process (`-n 2`)."""

import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import expect, sync_playwright

AXE = os.environ["AXE"]
PASSWORD = "correct horse battery"
numbers = itertools.count(1)
worker = os.environ.get("PYTEST_XDIST_WORKER", "one")
expect.set_options(timeout=15_000)


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {json.dumps(body)[:500]}")
        self.status, self.body = status, body


class Kith:
    def __init__(self, base):
        self.base = base

    def call(self, method, path, body=None, token=None, headers=None):
        """Calls the API. Returns the body of the response."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, method=method, data=data)
        request.add_header("content-type", "application/json")
        if token:
            request.add_header("authorization", f"Bearer {token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                raise Refused(error.code, json.loads(text)) from None
            except json.JSONDecodeError:
                raise Refused(error.code, text.decode(errors="replace")) from None


class Person:
    """A person, the workspace that they own, and their page in the browser."""

    def __init__(self, kith, browser, name="Ada Moreau", workspace="Fernhill Supply"):
        self.kith, self.browser, self.name = kith, browser, name
        self.email = f"person{next(numbers)}.{worker}@fernhill.example"
        signed_up = kith.call("POST", "/v1/auth/signup", {"email": self.email, "password": PASSWORD, "name": name})
        self.token, self.id = signed_up["data"]["session_token"], signed_up["data"]["user"]["id"]
        self.workspace = self.key = None
        if workspace:
            made = kith.call("POST", "/v1/workspaces", {"name": workspace}, self.token)["data"]
            self.workspace, self.key = made["workspace_id"], made["api_key"]
        self.contexts, self.faults = [], []
        self._page = None

    @property
    def page(self):
        if self._page is None:
            self._page = self.open()
        return self._page

    def open(self, signed_in=True, **options):
        """Another page in a browser of its own, for example with `viewport`, `color_scheme` or `java_script_enabled`."""
        context = self.browser.new_context(base_url=self.kith.base, **{"viewport": {"width": 1440, "height": 900}, **options})
        if signed_in:
            context.add_cookies([{"name": "kith_session", "value": self.token, "url": self.kith.base}])
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        # A refused call is logged by the browser itself, and a test may want one.
        page.on("console", lambda it: it.type == "error" and "status of 4" not in it.text and self.faults.append(f"{page.url}: {it.text}"))
        self.contexts.append(context)
        return page

    def api(self, method, path, body=None, **headers):
        """Calls the API with the workspace's key: `ada.api("POST", "/v1/contacts", {...}, x_agent="scout")`."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.kith.call(method, path, body, self.key, headers)

    def new_key(self, **wanted):
        return self.kith.call("POST", f"/v1/keys?ws={self.workspace}", wanted, self.token)["data"]["api_key"]

    def close(self):
        for context in self.contexts:
            context.close()


def no_serious_fault(page):
    """Asserts that axe-core finds nothing serious on the page, and that no heading skips a level, but for
    those of the explorer, which are Swagger UI's."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": open(AXE).read()})
    # A dialog that is fading in has other colours for a moment. Animations without an end are not waited for.
    still = """Promise.allSettled(document.getAnimations().filter((it) => it.effect.getComputedTiming().endTime !== Infinity)
               .map((it) => it.finished)).then(() => new Promise(requestAnimationFrame))"""
    session.send("Runtime.evaluate", {"expression": still, "awaitPromise": True})
    run = "axe.run(document, {resultTypes: ['violations']}).then((it) => JSON.stringify(it.violations))"
    answer = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    found = [it for it in json.loads(answer["result"]["value"]) if it["impact"] in ("serious", "critical") or it["id"] == "heading-order" and "/docs/api" not in page.url]
    told = [f"{it['id']}: {it['help']}: {[node['html'][:160] for node in it['nodes'][:3]]}" for it in found]
    assert not told, f"{page.url}\n" + "\n".join(told)


def eventually(read, expected, seconds=15):
    """Waits until `read()` is what is expected."""
    until = time.monotonic() + seconds
    while (found := read()) != expected and time.monotonic() < until:
        time.sleep(0.05)
    assert found == expected


def pytest_configure(config):
    """Starts Kith, once: the processes of pytest-xdist begin afterwards and inherit its address."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    work = tempfile.mkdtemp()
    # If root runs it, PostgreSQL runs as another user, which must be able to reach the data directory.
    os.chmod(work, 0o711)
    environment = {**os.environ, "KITH_RATE_LIMIT": "0", "KITH_ALLOW_PRIVATE_TARGETS": "1"}
    command = [os.environ["KITH_BIN"], "serve", "--data-dir", f"{work}/data", "--listen", "127.0.0.1:0"]
    with open(f"{work}/log", "w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    first = server.stdout.readline()
    assert first.startswith("kith listening on "), open(f"{work}/log").read()
    os.environ["KITH_URL"] = first.split()[-1]
    config.kith_process = (server, work)


def pytest_unconfigure(config):
    if not hasattr(config, "kith_process"):
        return
    server, work = config.kith_process
    # The data is thrown away, so PostgreSQL need not write hundreds of databases to the disk first.
    postmaster = int(pathlib.Path(f"{work}/data/pg/postmaster.pid").read_text().split()[0])
    server.kill()
    os.kill(postmaster, signal.SIGQUIT)
    server.wait(60)
    until = time.monotonic() + 10
    while pathlib.Path(f"/proc/{postmaster}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="session")
def kith():
    return Kith(os.environ["KITH_URL"])


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        # Chromium's sandbox does not work for root, nor in most containers.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def people(kith, browser):
    """Makes people: `people(name=…, workspace=None)`."""
    made = []

    def make(**options):
        made.append(Person(kith, browser, **options))
        return made[-1]

    yield make
    faults = [fault for person in made for fault in person.faults]
    for person in made:
        person.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def ada(people):
    return people()
