"""A stock MCP client connects by OAuth: it discovers Kith, registers itself, and a person agrees in the browser."""

import asyncio
import http.server
import queue
import threading
import urllib.parse

import httpx2
from conftest import no_serious_fault
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from playwright.sync_api import expect


class Memory:
    """Where the client keeps its tokens and its registration."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class App(threading.Thread):
    """A program on this machine that lists the tools of a Kith and reads a contact. Its address for codes is on a port of its
    own. It works beside the test, which is the person in the browser."""

    def __init__(self, base):
        super().__init__(daemon=True)
        self.base, self.memory = base, Memory()
        self.asks, self.codes, self.done = queue.Queue(), queue.Queue(), queue.Queue()
        app = self

        class Callback(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                app.codes.put(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)))
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>Connected</title><h1>Connected</h1>")

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Callback)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.redirect_uri = f"http://127.0.0.1:{self.server.server_port}/callback"

    async def ask(self, url):
        self.asks.put(url)

    async def answer(self):
        said = await asyncio.to_thread(self.codes.get, True, 60)
        if "error" in said:
            raise RuntimeError(said["error"])
        return AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss"))

    def run(self):
        try:
            self.done.put(asyncio.run(self.work()))
        except BaseException as error:
            self.done.put(error)

    async def work(self):
        metadata = OAuthClientMetadata(client_name="Stock client", redirect_uris=[self.redirect_uri])
        auth = OAuthClientProvider(f"{self.base}/mcp", metadata, self.memory, self.ask, self.answer)
        async with httpx2.AsyncClient(auth=auth, timeout=60) as client:
            async with streamable_http_client(f"{self.base}/mcp", http_client=client) as streams:
                async with ClientSession(streams[0], streams[1]) as session:
                    await session.initialize()
                    names = [tool.name for tool in (await session.list_tools()).tools]
                    found = await session.call_tool("list_contacts", {})
                    return names, found.structured_content


def test_a_stock_client_connects_and_is_disconnected(ada):
    ada.api("POST", "/v1/contacts", {"email": "ingrid@halden.example"})
    app = App(ada.kith.base)
    app.start()
    page = ada.page
    page.goto(app.asks.get(timeout=60))
    expect(page.get_by_role("heading", level=1, name="Connect an app")).to_be_visible()
    expect(page.get_by_text("Stock client")).to_be_visible()
    expect(page.get_by_label("Workspace")).to_have_value(ada.workspace)
    # The client asks for what the challenge names; the person gives less.
    expect(page.get_by_label("Run SQL")).not_to_be_checked()
    page.get_by_label("Create, change and delete records").uncheck()
    no_serious_fault(page)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    done = app.done.get(timeout=60)
    assert not isinstance(done, BaseException), repr(done)
    names, contacts = done
    assert "get_contact" in names and "create_contact" not in names and "query_sql" not in names
    assert "ingrid@halden.example" in str(contacts)
    apps = ada.kith.call("GET", f"/v1/auth/apps?ws={ada.workspace}", token=ada.token)["data"]
    assert [it["name"] for it in apps] == ["Stock client"]
    page.goto("/settings")
    table = page.get_by_role("table", name="Connected apps")
    expect(table).to_contain_text("Stock client")
    table.get_by_role("button", name="Disconnect").click()
    page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(table).to_have_count(0)
    assert ada.kith.call("GET", f"/v1/auth/apps?ws={ada.workspace}", token=ada.token)["data"] == []


def test_an_app_that_asks_for_nothing_reads_unless_the_person_ticks_more(ada):
    app = App(ada.kith.base)
    app.start()
    asked = urllib.parse.urlsplit(app.asks.get(timeout=60))
    fields = [(name, value) for name, value in urllib.parse.parse_qsl(asked.query) if name != "scope"]
    page = ada.page
    page.goto(asked._replace(query=urllib.parse.urlencode(fields)).geturl())
    expect(page.get_by_text("did not say what it needs")).to_be_visible()
    expect(page.get_by_label("Read all records")).to_be_checked()
    for right in ["Create, change and delete records", "Run SQL"]:
        expect(page.get_by_label(right)).not_to_be_checked()
    page.get_by_label("Create, change and delete records").check()
    no_serious_fault(page)
    page.get_by_role("button", name="Allow").click()
    done = app.done.get(timeout=60)
    assert not isinstance(done, BaseException), repr(done)
    assert "create_contact" in done[0] and "query_sql" not in done[0]


def test_a_person_who_is_not_signed_in_signs_in_first_and_may_refuse(ada):
    app = App(ada.kith.base)
    app.start()
    page = ada.open(signed_in=False)
    page.goto(app.asks.get(timeout=60))
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    assert "access_denied" in repr(app.done.get(timeout=60))
