"""Every page of a workspace that has one of everything: in both colour schemes and on a phone, without JavaScript, and for a viewer."""

import re

import pytest
from conftest import no_serious_fault
from playwright.sync_api import expect

PUBLIC = ["/", "/login", "/signup", "/forgot-password", "/docs", "/docs/reference", "/docs/errors", "/changelog"]


# Buttons of the bars that stand beyond the window's edge, and a heading of one word that is cut.
CUT = """[...document.querySelectorAll(".page > .top :is(a, button), .tools > .slim")].filter((it) => it.checkVisibility() && it.getBoundingClientRect().right > innerWidth + 0.5)
    .map((it) => it.textContent.trim()).concat([...document.querySelectorAll(".page > .top > h1")].filter((it) => !it.textContent.includes(" ") && it.textContent.length < 12 && it.scrollWidth > it.clientWidth).map((it) => it.textContent))"""


@pytest.fixture
def whole(ada):
    """Ada's workspace with one of everything. `ada.pages` has each page and a text on it."""
    agent = {"x_agent": "scout", "x_run_id": "enrich", "x_reason": "Her profile says so"}
    made = lambda path, body, **headers: ada.api("POST", path, body, **headers)["data"]["id"]
    long = "An extraordinarily long name of a company that no column, card or heading has the space for"
    ada.api("POST", "/v1/schema/fields", {"object_type": "contact", "key": "segment", "label": "Segment", "type": "select", "options": ["lead", "customer"]})
    company = made("/v1/companies", {"name": long, "domain": "halden.example"}, **agent)
    contact = made("/v1/contacts", {"first_name": "Ingrid", "last_name": "Halvorsen", "email": "ingrid@halden.example", "company_id": company, "custom": {"segment": "lead"}}, **agent)
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Head of Operations"}, **agent)
    deal = made("/v1/deals", {"name": f"Liners for {long}", "amount_cents": 4820000, "currency": "EUR", "contact_id": contact, "close_date": "2099-12-31"}, **agent)
    ada.api("POST", "/v1/deals", {"name": "In dollars", "amount_cents": 100, "currency": "USD"})
    activity = made("/v1/activities", {"type": "call", "subject": "Asked about lead times", "contact_id": contact}, **agent)
    email = made("/v1/emails", {"direction": "inbound", "from_addr": "ingrid@halden.example", "to_addrs": ["me@x.example"], "subject": "Re: liners", "body_html": "<p>Hello</p><img src=https://x.example/a.gif>"})
    listed = made("/v1/lists", {"name": "Everybody", "target_table": "contacts", "kind": "dynamic", "filter_predicate": "true"})
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text); insert into shipments values ('s1', 'SH-1')"})
    webhook = made("/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["*"], "description": "Warehouse"})
    rule = made("/v1/automations", {"name": "Chase", "trigger_event": "deal.updated", "actions": [{"type": "create_activity", "activity_type": "task"}]})
    ada.api("PATCH", f"/v1/deals/{deal}", {"stage": "proposal"}, **agent)
    run = ada.api("GET", "/v1/runs?run_id=enrich")["data"][0]["id"]
    ada.pages = {
        "/": "scout", "/contacts": "Ingrid Halvorsen", f"/contacts/{contact}": "Her profile says so", "/companies": "halden.example", f"/companies/{company}": long,
        "/deals": "48,200.00 EUR", "/deals?view=table": "48,200.00 EUR", f"/deals/{deal}": "48,200.00 EUR", "/activities": "Asked about lead times",
        f"/activities/{activity}": "Asked about lead times", "/emails": "Re: liners", f"/emails/{email}": "Re: liners", "/lists": "Everybody", f"/lists/{listed}": "Ingrid",
        "/tables/shipments": "SH-1", "/tables/shipments/s1": "SH-1", "/activity": "scout", "/runs": "enrich", f"/runs/{run}": "Her profile says so",
        "/webhooks": "Warehouse", f"/webhooks/{webhook}": "Warehouse", "/automations": "Chase", f"/automations/{rule}": "create_activity", "/schema": "Segment",
        "/sql": "contacts", "/logs": "All methods", "/api-keys": "owner", "/members": "Ada Moreau", "/settings": "Danger zone", "/import?table=contacts": "CSV",
        "/nowhere": "Nothing is at this address",
    }
    return ada


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 800}, "has_touch": True}], ids=["light", "dark", "phone"])
def test_every_page_is_accessible_and_fits(whole, options):
    for signed_in, paths in [(True, whole.pages), (False, PUBLIC)]:
        page = whole.open(signed_in=signed_in, **options)
        for path in paths:
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            assert page.title().startswith(page.get_by_role("heading", level=1).inner_text().replace("\n", " ")), path
            wide, width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide <= width, f"{path} is {wide} pixels wide on a screen of {width}"
            assert page.evaluate(CUT) == [], path
            if "color_scheme" in options:
                no_serious_fault(page)


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_long_words_widen_no_page(people, width):
    ada = people(name="Wolfeschlegelsteinhausenbergerdorff " * 2, workspace="w" * 60)
    company = ada.api("POST", "/v1/companies", {"name": "W" * 180})["data"]["id"]
    contact = ada.api("POST", "/v1/contacts", {"first_name": "I" * 90, "title": "M" * 180, "company_id": company, "custom": {"k" * 60: "V" * 180}})["data"]["id"]
    for at, currency in enumerate(["EUR", "USD", "KWD", "JPY"]):
        ada.api("POST", "/v1/deals", {"name": "D" * 120, "amount_cents": 123456789012, "currency": currency, "company_id": company, "stage": "lead"})
    page = ada.open(viewport={"width": width, "height": 844})
    for path in ["/", "/settings", "/contacts", f"/contacts/{contact}", f"/companies/{company}", "/deals", "/members", "/activity"]:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        wide = page.evaluate("Math.max(...[document.documentElement, document.querySelector('main')].map((it) => it.scrollWidth - it.clientWidth))")
        assert wide <= 0, f"{path} scrolls {wide} pixels sideways on a screen of {width}"
        assert page.evaluate(CUT) == [], path
    page.goto("/")
    boxes = [it.bounding_box() for it in page.locator(".figures dd a").all()]
    for at, one in enumerate(boxes):
        for other in boxes[at + 1:]:
            apart = one["x"] + one["width"] + 4 <= other["x"] or other["x"] + other["width"] + 4 <= one["x"]
            assert apart or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"], (one, other)


def test_every_page_is_read_without_javascript(whole):
    page = whole.open(java_script_enabled=False)
    for path, text in whole.pages.items():
        page.goto(path)
        expect(page.locator("main")).to_contain_text(text)


def test_a_viewer_sees_every_page_and_can_write_on_none(whole, people):
    vera = people(name="Vera", workspace=None)
    invited = whole.kith.call("POST", "/v1/members/invite", {"workspace_id": whole.workspace, "email": vera.email, "role": "viewer"}, whole.token)["data"]
    whole.kith.call("POST", f"/v1/members/accept/{invited['token']}", {}, vera.token)
    page = vera.page
    writes = re.compile(r"^(New (?!key)|Edit|Delete|Restore|Undo|Move|Log it|Add|Unrelate|Rename|Replay|Rotate|Send|Save|Import|Invite|Remove|Test$)")
    for path, text in whole.pages.items():
        page.goto(path)
        expect(page.locator("main")).to_contain_text(text if path != "/import?table=contacts" and path != "/settings" else "")
        # Not what the console's sidebar inserts, nor the person's own membership.
        expect(page.locator("main, .page > .top").get_by_role("button", name=writes)).to_have_count(0)
    page.goto("/contacts")
    before = whole.api("GET", "/v1/contacts")["data"]
    forged = """async ([method, path, body]) => (await fetch("/app/v1/" + path, {method, headers: {"content-type": "application/json",
        "x-csrf-token": document.body.dataset.csrf, "x-kith-workspace": document.body.dataset.workspace, "x-kith-mode": "live"}, body: JSON.stringify(body)})).status"""
    contact = before[0]["id"]
    for call in [
        ["POST", "contacts", {"first_name": "Forged"}], ["PATCH", f"contacts/{contact}", {"title": "Forged"}], ["DELETE", f"contacts/{contact}", {}],
        ["POST", "batch", {"operations": [{"method": "DELETE", "path": f"/v1/contacts/{contact}"}]}], ["POST", "sql", {"sql": "delete from contacts"}],
        ["POST", "runs/enrich/undo", {}], ["POST", "webhooks", {"url": "https://x.example", "events": ["*"]}],
        ["POST", "schema/fields", {"object_type": "contact", "key": "x", "label": "X", "type": "text"}], ["PATCH", f"workspaces/{whole.workspace}", {"name": "Forged"}],
        ["DELETE", f"workspaces/{whole.workspace}", {"name": "Fernhill Supply"}],
    ]:
        assert 400 <= page.evaluate(forged, call) < 500, call
    assert whole.api("GET", "/v1/contacts")["data"] == before


@pytest.mark.parametrize("path", ["/contacts", "/companies", "/activities", "/emails", "/lists", "/activity", "/runs", "/webhooks", "/automations", "/logs", "/nowhere"])
def test_an_empty_page_teaches_and_is_accessible(ada, path):
    page = ada.page
    page.goto(path)
    expect(page.locator("main").get_by_role("heading", level=2).first).to_be_visible()
    no_serious_fault(page)
