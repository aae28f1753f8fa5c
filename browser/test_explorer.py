"""The API explorer, which works without the internet, and the samples of the reference."""

import json
import os
import subprocess

from conftest import no_serious_fault
from playwright.sync_api import expect


def test_an_endpoint_is_tried_with_a_key(ada):
    ada.api("POST", "/v1/companies", {"name": "Halden Freight"})
    page, foreign = ada.open(signed_in=False), []
    page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith((ada.kith.base, "data:")) else None)
    page.goto("/docs/api")
    expect(page.locator(".opblock-tag").first).to_be_visible(timeout=60_000)
    for scheme in ["light", "dark"]:
        page.emulate_media(color_scheme=scheme)
        no_serious_fault(page)
    expect(page.get_by_role("main")).to_have_count(1)
    page.get_by_role("button", name="Authorize").click()
    page.locator(".auth-container input").first.fill(ada.key)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").first.click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").first.click()
    page.locator("#explorer").get_by_role("link", name="companies", exact=True).click()
    page.locator(".opblock").filter(has=page.get_by_text("/v1/companies", exact=True)).first.locator(".opblock-summary-control").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text("Halden Freight")
    assert foreign == []


def test_the_relm_dialect_is_chosen_in_the_address(ada):
    page = ada.open(signed_in=False, viewport={"width": 375, "height": 800})
    # Swagger UI keeps a busy machine's browser for long.
    page.set_default_timeout(60_000)
    page.goto("/docs/api")
    page.get_by_role("navigation", name="Dialect").get_by_role("link", name="Relm").click()
    page.wait_for_url("**/docs/api?dialect=relm")
    expect(page.get_by_role("navigation", name="Dialect").get_by_role("link", name="Relm")).to_have_attribute("aria-current", "page")
    expect(page.locator(".opblock-tag").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_samples_of_the_reference_work_in_both_dialects(ada):
    page = ada.open(signed_in=False)
    page.goto("/docs/reference")
    keys = {**os.environ, "KITH_KEY": ada.key, "RELM_KEY": ada.new_key(dialect="relm", mode="live", name="relm")}
    company = ada.api("POST", "/v1/companies", {"name": "Acme"})["data"]["id"]

    def run(anchor, tab):
        entry = page.locator(f"#{anchor}")
        entry.get_by_role("tab", name=tab, exact=True).click()
        text = entry.get_by_role("tabpanel", name=tab, exact=True).inner_text()
        # The samples' records are not in this workspace.
        text = text.replace("co_01kaqz3v5t8w9x2y4z6a8b0c1d", company).replace("cmp_01kaqz3v5t8w9x2y4z6a8b0c1d", company)
        done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=keys, check=True)
        return json.loads(done.stdout)

    assert run("get-table", "curl")["data"] == []
    assert run("get-table", "Relm: curl")["object"] == "list"
    assert "error" not in run("post-sql", "curl")
    assert run("post-contacts-batch", "Relm: curl")["created"] == 2
    assert "error" not in run("post-schema-fields", "curl")
    assert run("get-search", "Relm: curl")["object"] == "list"
    for tab in ["JavaScript", "Python", "Relm: JavaScript", "Relm: Python"]:
        page.locator("#post-table").get_by_role("tab", name=tab, exact=True).click()
        expect(page.locator("#post-table").get_by_role("tabpanel", name=tab, exact=True)).to_contain_text("title" if "Relm" in tab else "amount_cents")
