"""Members, invitations and API keys."""

import pytest
from conftest import Refused, no_serious_fault
from playwright.sync_api import expect


def test_an_invited_viewer_joins_and_is_offered_nothing_that_writes(ada, people):
    bob = people(name="Bob Stone", workspace=None)
    page = ada.page
    page.goto("/members")
    page.get_by_role("button", name="Invite").click()
    dialog = page.get_by_role("dialog", name="Invite")
    dialog.get_by_role("button", name="Invite").click()
    expect(dialog.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("E-mail").fill(bob.email)
    dialog.get_by_label("Role").select_option("viewer")
    dialog.get_by_role("button", name="Invite").click()
    link = dialog.get_by_role("link").get_attribute("href")
    assert "/invite/inv_" in link
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_role("table", name="Invitations").get_by_role("row", name=bob.email)).to_be_visible()

    stranger = bob.open(signed_in=False)
    stranger.goto(link)
    stranger.wait_for_url("**/login?next=/invite/**")
    bob.page.goto(link)
    bob.page.get_by_role("button", name="Accept").click()
    key = bob.page.get_by_text("acrm_live_").inner_text()
    with pytest.raises(Refused) as refused:
        ada.kith.call("POST", "/v1/contacts", {}, key)
    assert refused.value.status == 403
    bob.page.get_by_role("link", name="Open the workspace").click()
    expect(bob.page.get_by_label("Workspace").locator("option:checked")).to_have_text("Fernhill Supply")
    bob.page.goto("/members")
    expect(bob.page.get_by_role("table", name="Members").get_by_role("row", name="Ada Moreau")).to_be_visible()
    expect(bob.page.get_by_role("button", name="Invite")).to_have_count(0)
    expect(bob.page.get_by_role("button", name="Remove")).to_have_count(0)
    bob.page.goto("/settings")
    expect(bob.page.get_by_label("API key")).to_have_count(0)
    expect(bob.page.get_by_role("button", name="Delete workspace")).to_have_count(0)

    page.reload()
    row = page.get_by_role("table", name="Members").get_by_role("row", name="Bob Stone")
    row.get_by_label("Access of Bob Stone").select_option("member")
    expect(page.get_by_role("status").filter(has_text="role is changed")).to_be_visible()
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    with pytest.raises(Refused):
        ada.kith.call("GET", "/v1/contacts", None, key)


def test_the_last_owner_stays(ada):
    ada.page.goto("/members")
    ada.page.get_by_label("Access of Ada Moreau").select_option("viewer")
    expect(ada.page.get_by_role("alert").filter(has_text="last owner")).to_be_visible()
    expect(ada.page.get_by_label("Access of Ada Moreau")).to_have_value("owner")


def test_an_invitation_is_withdrawn(ada):
    ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": "x@y.example"}, ada.token)
    ada.page.goto("/members")
    ada.page.get_by_role("row", name="x@y.example").get_by_role("button", name="Withdraw").click()
    expect(ada.page.get_by_role("table", name="Invitations")).to_have_count(0)


def test_a_key_is_made_shown_once_and_revoked(ada):
    page = ada.page
    page.goto("/api-keys")
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New key")
    dialog.get_by_label("Name").fill("scout")
    dialog.get_by_label("Mode").select_option("test")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert").filter(has_text="relm")).to_be_visible()
    dialog.get_by_label("Dialect").select_option(label="Relm")
    dialog.get_by_label("Role").select_option("viewer")
    dialog.get_by_role("button", name="Create").click()
    key = dialog.get_by_text("sk_test_").inner_text()
    assert ada.kith.call("GET", "/v1/contacts", None, key)["data"] == []
    dialog.get_by_role("button", name="Copy").click()
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_have_count(0)
    assert key not in page.content()
    row = page.get_by_role("table", name="API keys").get_by_role("row", name="scout")
    expect(row).to_contain_text("viewer")
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    with pytest.raises(Refused):
        ada.kith.call("GET", "/v1/contacts", None, key)
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    assert ada.kith.call("GET", "/v1/contacts", None, key)["data"] == []


def test_the_pages_of_people_are_accessible(ada, people):
    ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": "x@y.example"}, ada.token)
    for scheme in ["light", "dark"]:
        page = ada.open(color_scheme=scheme)
        for path, button in [("/members", "Invite"), ("/api-keys", "New key")]:
            page.goto(path)
            no_serious_fault(page)
            page.get_by_role("button", name=button).click()
            no_serious_fault(page)
