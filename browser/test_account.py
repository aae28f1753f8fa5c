"""The landing page, the forms of accounts, claims and invitations."""

import re

from conftest import PASSWORD, no_serious_fault
from playwright.sync_api import expect


def test_the_landing_page_makes_a_workspace_that_can_be_claimed(ada, kith):
    page = ada.open(signed_in=False)
    response = page.goto("/")
    assert response.headers["cache-control"] == "no-store"
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_count(1)
    assert page.title().startswith(heading.inner_text().replace("\n", " "))
    for path in ["/login", "/signup", "/docs"]:
        expect(page.locator(f"a[href='{path}']").first).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Make me a workspace").click()
    dialog = page.get_by_role("dialog", name="Your workspace is made")
    key = dialog.get_by_text("acrm_dev_").inner_text()
    assert kith.call("GET", "/v1/contacts", token=key)["data"] == []
    claim = dialog.get_by_role("link", name="Claim it")
    assert "/claim/ws_" in claim.get_attribute("href")
    claim.click()
    page.wait_for_url("**/login?next=**")
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/claim/ws_*")
    expect(page.get_by_role("heading", level=1, name="Claim this workspace")).to_be_visible()
    page.get_by_role("button", name="Claim").click()
    live = page.get_by_text("acrm_live_").inner_text()
    assert kith.call("GET", "/v1/contacts", token=live)["data"] == []
    page.get_by_role("link", name="Open the workspace").click()
    expect(page.get_by_role("heading", level=1, name="Home")).to_be_visible()


def test_tabs_of_code_are_chosen_by_key(ada):
    page = ada.open(signed_in=False)
    page.goto("/")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="JavaScript")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="JavaScript")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="curl")).to_be_hidden()


def test_a_person_signs_up_and_makes_a_workspace(ada):
    page = ada.open(signed_in=False)
    page.goto("/signup")
    assert page.title().startswith("Sign up")
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("alert").filter(has_text="needed")).to_be_visible()
    page.get_by_label("E-mail address").fill("new@fernhill.example")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("alert").filter(has_text="10 to 256 characters")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value("new@fernhill.example")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("button", name="New workspace").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Mine")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_label("Workspace").locator("option:checked")).to_have_text("Mine")


def test_a_wrong_password_is_an_alert_and_what_was_typed_stays(ada):
    page = ada.open(signed_in=False)
    page.goto("/login")
    assert page.title().startswith("Sign in")
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="password")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(ada.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Home")).to_be_visible()


def test_no_address_leads_out_of_kith(ada):
    for target in ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"]:
        page = ada.open(signed_in=False)
        page.goto("/login?next=" + target.replace("\\", "%5C").replace("\t", "%09"))
        page.get_by_label("E-mail address").fill(ada.email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
        assert page.url.startswith(ada.kith.base + "/"), page.url


def test_a_claimed_workspace_is_refused_in_words(ada, people):
    bob = people(name="Bob")
    ada.page.goto(f"/claim/{bob.workspace}")
    ada.page.get_by_role("button", name="Claim").click()
    expect(ada.page.get_by_role("alert").filter(has_text="owner already")).to_be_visible()


def test_a_refused_field_of_the_sign_up_names_its_message(ada):
    page = ada.open(signed_in=False)
    page.goto("/signup")
    email, password = page.get_by_label("E-mail address"), page.get_by_label("Password", exact=True)
    page.get_by_role("button", name="Sign up").click()
    for field in [email, password]:
        expect(field).to_have_accessible_description(re.compile("This is needed."))
    email.fill("new@fernhill.example")
    expect(email).not_to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("This is needed.")).to_have_count(1)
    password.fill("short")
    page.get_by_role("button", name="Sign up").click()
    expect(password).to_have_attribute("aria-invalid", "true")
    expect(password).to_have_accessible_description(re.compile("10 characters or more.*password", re.S))
    expect(email).not_to_have_attribute("aria-invalid", "true")
    email.fill(ada.email)
    password.fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(email).to_have_attribute("aria-invalid", "true")
    expect(email).to_have_accessible_description(re.compile("There is an account with this e-mail address already."))
    expect(page.get_by_text("/v1/")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(1)


def test_what_can_not_be_accepted_is_said_at_once(ada, people):
    for path in ["/invite/nonsense", "/invite/inv_nonsense", "/claim/ws_nonsense", "/claim/ws_01m8kax9d8z0j37x9yfdcd9cam"]:
        assert ada.page.goto(path).status == 404, path
        expect(ada.page.get_by_role("heading", level=1)).to_have_text("Not found")
        expect(ada.page.get_by_role("alert")).to_be_visible()
        expect(ada.page.get_by_role("link", name="Go to Home")).to_be_visible()
    bob, eve = people(name="Bob", workspace=None), people(name="Eve", workspace=None)
    invited = ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": bob.email, "role": "viewer"}, ada.token)["data"]
    bob.page.goto(f"/invite/{invited['token']}")
    expect(bob.page.get_by_text("You are invited to the workspace Fernhill Supply as a viewer.")).to_be_visible()
    eve.page.goto(f"/invite/{invited['token']}")
    expect(eve.page.get_by_role("alert")).to_contain_text("another e-mail address")
    expect(eve.page.get_by_text("Fernhill Supply")).to_have_count(0)
    eve.page.goto(f"/claim/{ada.workspace}")
    expect(eve.page.get_by_role("alert")).to_contain_text("owner already")


def test_a_session_that_has_ended_is_said_with_the_way_to_the_sign_in(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ada", "title": "Engineer"})
    page = ada.page
    page.goto("/contacts")
    ada.kith.call("POST", "/v1/auth/logout", {}, ada.token)
    page.get_by_role("cell", name="Engineer").dblclick()
    page.keyboard.type("Director")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out")
    page.get_by_role("alert").get_by_role("link", name="Sign in").click()
    page.wait_for_url("**/login?next=%2Fcontacts")


def test_a_token_leaves_the_address_and_a_form_without_one_waits(ada):
    page = ada.open(signed_in=False)
    page.goto("/reset-password")
    expect(page.get_by_role("button", name="Change the password")).to_be_disabled()
    page.goto("/reset-password?token=kmt_wrong")
    page.wait_for_url("**/reset-password")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert").filter(has_text="link")).to_be_visible()


def test_the_pages_on_the_way_are_accessible(ada):
    for scheme in ["light", "dark"]:
        page = ada.open(signed_in=False, color_scheme=scheme)
        page.goto("/login?next=/claim/ws_1")
        no_serious_fault(page)
        signed_in = ada.open(color_scheme=scheme)
        signed_in.goto("/claim/ws_1")
        no_serious_fault(signed_in)
