"""The pages of webhooks: an endpoint is made, its secret is shown once, deliveries arrive and are replayed."""

import http.server
import re
import threading

import pytest
from conftest import eventually, no_serious_fault
from playwright.sync_api import expect


@pytest.fixture
def receiver():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(b"as told")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status = 200
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_a_webhook_is_made_and_its_secret_is_shown_once(ada, receiver):
    page = ada.page
    page.goto("/webhooks")
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog", name="New webhook")
    dialog.get_by_label("URL").fill("no address")
    dialog.get_by_label("All events").check()
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_label("URL")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("URL").fill(receiver.url)
    dialog.get_by_label("All events").uncheck()
    dialog.get_by_label("contact.created").check()
    dialog.get_by_label("deal.updated").check()
    dialog.get_by_label("Description").fill("Warehouse")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_contain_text("whsec_")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("table", name="Webhooks")).to_contain_text("contact.created")
    assert "whsec_" not in page.content()
    page.get_by_role("link", name=receiver.url).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(receiver.url)
    assert "whsec_" not in page.content()
    assert ada.api("GET", "/v1/webhooks")["data"][0]["events"] == ["contact.created", "deal.updated"]


def test_deliveries_arrive_and_are_replayed(ada, receiver):
    made = ada.api("POST", "/v1/webhooks", {"url": receiver.url, "events": ["*"]})["data"]
    page = ada.page
    page.goto(f"/webhooks/{made['id']}")
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    row = page.get_by_role("row").filter(has_text="contact.created")
    expect(row).to_contain_text("delivered")
    expect(row).to_contain_text("200")
    receiver.status = 500
    row.get_by_role("button", name="Replay").click()
    expect(row).to_contain_text("500")
    receiver.status = 200
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_role("row").filter(has_text="webhook.test")).to_contain_text("delivered")
    page.get_by_role("button", name="Send the failed ones again").click()
    expect(page.get_by_role("status").filter(has_text=re.compile("again|No delivery"))).to_be_visible()
    page.get_by_role("button", name="Rotate secret").click()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("dialog", name="The new secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="Done").click()
    page.get_by_label("Enabled").uncheck()
    expect(page.get_by_label("Enabled")).not_to_be_checked()
    expect(page.get_by_role("status")).to_contain_text("No more events")
    assert ada.api("GET", f"/v1/webhooks/{made['id']}")["data"]["enabled"] is False
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/webhooks")
    expect(page.get_by_text("No webhook yet")).to_be_visible()


def test_the_pages_are_accessible(ada, receiver):
    made = ada.api("POST", "/v1/webhooks", {"url": receiver.url, "events": ["*"]})["data"]
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    for scheme in ["light", "dark"]:
        page = ada.open(color_scheme=scheme)
        for path in ["/webhooks", f"/webhooks/{made['id']}"]:
            page.goto(path)
            no_serious_fault(page)
        page.goto("/webhooks")
        page.get_by_role("button", name="New webhook").click()
        no_serious_fault(page)


def test_a_viewer_sees_no_control_that_writes(ada, people, receiver):
    webhook = ada.api("POST", "/v1/webhooks", {"url": receiver.url, "events": ["*"]})["data"]["id"]
    rule = {"name": "Won", "trigger_event": "contact.created", "actions": [{"type": "create_activity", "activity_type": "note"}]}
    automation = ada.api("POST", "/v1/automations", rule)["data"]["id"]
    ada.api("POST", "/v1/schema/fields", {"object_type": "contact", "key": "segment", "label": "Segment", "type": "text"})
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    bob = people(name="Bob", workspace=None)
    body = {"workspace_id": ada.workspace, "email": bob.email, "role": "viewer"}
    token = ada.kith.call("POST", "/v1/members/invite", body, ada.token)["data"]["token"]
    ada.kith.call("POST", f"/v1/members/accept/{token}", {}, bob.token)
    page = bob.page
    for path in ["/webhooks", f"/webhooks/{webhook}", "/automations", f"/automations/{automation}", "/schema", "/sql"]:
        assert page.goto(path).status == 200
        main = page.locator("main, .page > .top")
        for name in ["New", "Delete", "Rename", "Replay", "Rotate", "Send", "Edit", "Test", "Move"]:
            # Not the button that inserts `deleted_at` into the editor.
            expect(main.get_by_role("button", name=re.compile(rf"^{name}\b"))).to_have_count(0)
        expect(main.get_by_role("switch")).to_have_count(0)
    page.goto("/sql")
    expect(page.get_by_text("Read-only")).to_be_visible()
    page.get_by_label("SQL").fill("delete from contacts")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(ada.api("GET", "/v1/contacts")["data"]) == 1


def test_a_webhook_without_events_is_refused_in_words_for_people(ada):
    page = ada.page
    page.goto("/webhooks")
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog", name="New webhook")
    dialog.get_by_label("URL").fill("http://127.0.0.1:9/hook")
    for box in dialog.get_by_role("checkbox").all():
        box.uncheck()
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose at least one event, or “All events”.")


def test_a_delivery_on_a_phone_has_what_the_receiver_answered(ada, receiver):
    hook = ada.api("POST", "/v1/webhooks", {"url": receiver.url, "events": ["*"]})["data"]["id"]
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    page = ada.open(viewport={"width": 375, "height": 800})
    page.goto(f"/webhooks/{hook}")
    row = page.get_by_role("row").filter(has_text="contact.created")
    for name in ["delivered", "200"]:
        expect(row.get_by_text(name, exact=True)).to_be_visible()
    expect(row.get_by_role("button", name="Replay")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 800])
def test_replay_is_whole_in_its_row(ada, width):
    hook = ada.api("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["*"]})["data"]["id"]
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    page = ada.open(viewport={"width": width, "height": 800})
    eventually(lambda: len(ada.api("GET", f"/v1/webhooks/{hook}/deliveries")["data"]), 1)
    page.goto(f"/webhooks/{hook}")
    box = page.get_by_role("button", name="Replay").bounding_box()
    assert box["x"] + box["width"] <= width, box
