"""The search: Ctrl-K or the button, results by kind, the keyboard, pages."""

import pytest
from conftest import no_serious_fault
from playwright.sync_api import expect


@pytest.fixture
def halden(ada):
    ada.api("POST", "/v1/companies", {"name": "Halden Freight"})
    ada.halden = ada.api("POST", "/v1/contacts", {"first_name": "Ingrid", "last_name": "Halvorsen", "email": "ingrid@x.example"})["data"]["id"]
    ada.api("POST", "/v1/deals", {"name": "Liners for Ingrid", "amount_cents": 123450, "currency": "EUR"})
    ada.api("POST", "/v1/emails", {"direction": "inbound", "from_addr": "z@x.example", "to_addrs": ["y@x.example"], "subject": "Reefer drawings"})
    return ada


def opened(page):
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="Search")
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    return dialog


def test_enter_opens_the_first_result(halden):
    page = halden.page
    page.goto("/")
    dialog = opened(page)
    # The results may not have come when Enter is pressed.
    dialog.get_by_role("searchbox").fill("halvorsen")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/contacts/{halden.halden}")


def test_results_are_grouped_by_kind_and_arrows_move(halden):
    page = halden.page
    page.goto("/")
    page.get_by_role("button", name="Search").click()
    dialog = page.get_by_role("dialog", name="Search")
    dialog.get_by_role("searchbox").fill("ingrid")
    expect(dialog.get_by_role("group", name="Contacts").get_by_role("option", name="Ingrid Halvorsen")).to_be_visible()
    expect(dialog.get_by_role("group", name="Deals").get_by_role("option", name="Liners for Ingrid")).to_contain_text("1,234.50 EUR")
    options = dialog.get_by_role("option")
    expect(options.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    expect(dialog.get_by_role("searchbox")).to_have_attribute("aria-activedescendant", options.nth(1).get_attribute("id"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/*_*")
    dialog = opened(page)
    dialog.get_by_role("searchbox").fill("reefer")
    dialog.get_by_role("option", name="Reefer drawings").click()
    page.wait_for_url("**/emails/e_*")


def test_it_leads_to_pages(ada):
    page = ada.page
    page.goto("/")
    dialog = opened(page)
    expect(dialog.get_by_role("group", name="Go to").get_by_role("option", name="Contacts")).to_be_visible()
    dialog.get_by_role("searchbox").fill("automat")
    expect(dialog.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/automations")


def test_nothing_is_found_in_words_and_escape_closes(ada):
    page = ada.page
    page.goto("/")
    dialog = opened(page)
    dialog.get_by_role("searchbox").fill("qqqqqq")
    expect(dialog.get_by_text("Nothing is found")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_late_answer_is_dropped(halden):
    page = halden.page
    page.goto("/")
    held = []
    page.route("**/app/v1/search?*q=hal", lambda route: held.append(route))
    dialog = opened(page)
    with page.expect_request("**/app/v1/search?*q=hal"):
        dialog.get_by_role("searchbox").fill("hal")
    dialog.get_by_role("searchbox").fill("ingrid")
    expect(dialog.get_by_role("option", name="Ingrid Halvorsen")).to_be_visible()
    with page.expect_response("**/app/v1/search?*q=hal"):
        held[0].continue_()
    expect(dialog.get_by_role("option", name="Halden Freight")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_search_is_accessible(halden, scheme):
    page = halden.open(color_scheme=scheme)
    page.goto("/")
    dialog = opened(page)
    no_serious_fault(page)
    dialog.get_by_role("searchbox").fill("ingrid")
    expect(dialog.get_by_role("option", name="Ingrid Halvorsen")).to_be_visible()
    no_serious_fault(page)
