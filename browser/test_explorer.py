"""The API explorer, which works without the internet."""

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
    page.goto("/docs/api")
    page.get_by_role("navigation", name="Dialect").get_by_role("link", name="Relm").click()
    page.wait_for_url("**/docs/api?dialect=relm")
    expect(page.get_by_role("navigation", name="Dialect").get_by_role("link", name="Relm")).to_have_attribute("aria-current", "page")
    expect(page.locator(".opblock-tag").first).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
