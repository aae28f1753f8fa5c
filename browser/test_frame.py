"""The frame of all pages: navigation, workspace and mode, sign-out, addresses that lead nowhere."""

from conftest import PASSWORD
from playwright.sync_api import expect

LINKS = "Home Contacts Companies Deals Activities Emails Lists Activity Runs Webhooks Automations Schema SQL Logs Members Settings".split()


def test_the_navigation_names_all_pages_and_custom_tables(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text)"})
    ada.page.goto("/")
    navigation = ada.page.get_by_role("navigation", name="Main")
    for name in [*LINKS, "API keys", "shipments"]:
        expect(navigation.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(navigation.get_by_role("link", name="Home", exact=True)).to_have_attribute("aria-current", "page")
    assert ada.page.title().startswith("Home")


def test_without_a_session_a_page_leads_to_the_login_and_back(ada):
    page = ada.open(signed_in=False)
    page.goto("/members?a=b%20c")
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/members?a=b%20c")


def test_test_mode_shows_other_data(ada):
    ada.page.goto("/")
    ada.page.get_by_label("Test mode").check()
    expect(ada.page.locator("body")).to_have_attribute("data-mode", "test")
    expect(ada.page.get_by_label("Test mode")).to_be_checked()
    ada.page.get_by_label("Test mode").uncheck()
    expect(ada.page.locator("body")).to_have_attribute("data-mode", "live")


def test_a_person_without_a_workspace_makes_one_and_switches(people):
    bob = people(name="Bob", workspace=None)
    bob.page.goto("/")
    for name in ["First", "Second"]:
        if name == "First":
            bob.page.get_by_role("button", name="New workspace").click()
        else:
            bob.page.get_by_label("Workspace").select_option(label="New workspace…")
        dialog = bob.page.get_by_role("dialog", name="New workspace")
        dialog.get_by_label("Name").fill(name)
        dialog.get_by_role("button", name="Create").click()
        expect(bob.page.get_by_label("Workspace").locator("option:checked")).to_have_text(name)
    bob.page.get_by_label("Workspace").select_option(label="First")
    expect(bob.page.get_by_label("Workspace").locator("option:checked")).to_have_text("First")


def test_logging_out_ends_the_session(ada):
    ada.page.goto("/")
    ada.page.get_by_role("button", name="Account", exact=True).click()
    ada.page.get_by_role("menuitem", name="Log out").click()
    ada.page.wait_for_url("**/login")
    ada.page.goto("/members")
    assert "/login?next=" in ada.page.url


def test_an_unknown_address_is_a_page_with_a_way_back(ada):
    for page in [ada.page, ada.open(signed_in=False)]:
        assert page.goto("/nowhere").status == 404
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Go to Home").first).to_be_visible()
    assert ada.page.goto("/contacts/c_01m8j8s1e4ctf0qbkv1eg5rwfv").status == 404


def test_an_unknown_address_is_one_without_a_workspace_too(people):
    page = people(workspace=None).page
    assert page.goto("/nowhere").status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    assert page.goto("/contacts").status == 200
    expect(page.get_by_role("button", name="New workspace")).to_be_visible()


def test_the_menu_of_the_account_has_its_name(ada):
    ada.page.goto("/")
    ada.page.get_by_role("button", name="Account").click()
    expect(ada.page.get_by_role("menu", name="Account").get_by_role("menuitem", name="Log out")).to_be_visible()


def test_what_is_not_the_page_is_refused(ada):
    ada.page.goto("/")
    sent = """async (headers) => (await fetch("/app/v1/contacts", {method: "POST", headers: {"content-type": "application/json",
        "x-kith-workspace": document.body.dataset.workspace, ...headers}, body: "{}"})).status"""
    assert ada.page.evaluate(sent, {}) == 403
    assert ada.page.evaluate(sent, {"x-csrf-token": "0" * 64}) == 403
    token = ada.page.locator("body").get_attribute("data-csrf")
    for origin in ["https://evil.example", "null"]:
        headers = {"x-csrf-token": token, "origin": origin, "cookie": f"kith_session={ada.token}", "x-kith-workspace": ada.workspace}
        assert ada.page.context.request.post("/app/v1/contacts", headers=headers, data={}).status == 403
    assert ada.page.evaluate(sent, {"x-csrf-token": token}) == 201
