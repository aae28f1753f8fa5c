"""Settings of a workspace."""

import subprocess

import pytest
from conftest import Refused
from playwright.sync_api import expect


def test_a_connection_url_works_and_is_shown_once(ada):
    page = ada.page
    page.goto("/settings")
    page.get_by_role("button", name="Show a connection URL").click()
    url = page.get_by_text("postgres://").inner_text()
    done = subprocess.run(["psql", url, "-Atc", "select 41 + 1"], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "42", done.stderr
    page.reload()
    assert "postgres://" not in page.content()


def test_a_workspace_is_deleted_only_once_its_name_is_typed(ada):
    page = ada.page
    page.goto("/settings")
    zone = page.get_by_role("region", name="Danger zone")
    button = zone.get_by_role("button", name="Delete workspace")
    expect(button).to_be_disabled()
    zone.get_by_role("textbox").fill("Fernhill")
    expect(button).to_be_disabled()
    zone.get_by_role("textbox").fill("Fernhill Supply")
    button.click()
    expect(page.get_by_role("button", name="New workspace")).to_be_visible()
    with pytest.raises(Refused) as refused:
        ada.api("GET", "/v1/contacts")
    assert refused.value.status == 401


def hold_an_event(ada):
    """Has one test event of a webhook wait."""
    made = ada.api("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/x", "events": ["contact.*"]})["data"]
    ada.api("POST", f"/v1/webhooks/{made['id']}/test", {})
    return lambda: ada.api("GET", f"/v1/webhooks/{made['id']}/deliveries")["data"][0]


def test_what_was_held_is_released_or_dropped_when_sending_is_switched_on(ada):
    page = ada.page
    page.goto("/settings")
    switch = page.get_by_role("switch", name="Send e-mail and webhooks")
    switch.uncheck()
    expect(page.get_by_text("Nothing leaves any more.")).to_be_visible()
    delivery = hold_an_event(ada)
    switch.click()
    dialog = page.get_by_role("dialog", name="Switch sending on")
    expect(dialog).to_contain_text("Held: 1 webhook event.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(switch).not_to_be_checked()
    assert delivery()["status"] == "pending"
    switch.click()
    dialog.get_by_role("button", name="Drop").click()
    expect(page.get_by_text("Dropped: 1 webhook event.")).to_be_visible()
    expect(switch).to_be_checked()
    assert delivery()["status"] == "failed" and "dropped" in delivery()["error"]
    # Without anything that waits there is nothing to ask.
    switch.uncheck()
    expect(page.get_by_text("Nothing leaves any more.")).to_be_visible()
    switch.check()
    expect(page.get_by_text("E-mail and webhooks leave again.")).to_be_visible()
    # What is released is tried.
    switch.uncheck()
    expect(page.get_by_text("Nothing leaves any more.")).to_be_visible()
    delivery = hold_an_event(ada)
    switch.click()
    dialog.get_by_role("button", name="Release").click()
    expect(page.get_by_text("Released: 1 webhook event.")).to_be_visible()
    expect(switch).to_be_checked()
    page.reload()
    expect(switch).to_be_checked()
    assert "dropped" not in (delivery()["error"] or "")


def test_an_owner_renames_the_workspace(ada):
    page = ada.page
    page.goto("/settings")
    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename")
    dialog.get_by_label("Name").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Name").fill("Fernhill & Sons")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Workspace").locator("option:checked")).to_have_text("Fernhill & Sons")
    page.reload()
    expect(page.get_by_label("Workspace").locator("option:checked")).to_have_text("Fernhill & Sons")


def test_settings_are_found_by_their_names(ada):
    page = ada.page
    page.goto("/settings")
    for name in ["General", "E-mail", "Mailbox", "Direct connection", "Usage and plan", "Danger zone"]:
        expect(page.get_by_role("region", name=name)).to_be_visible()
    for name in ["API key", "From", "Webhook secret", "IMAP server", "Port", "User name", "Mailbox password", "Folder", "Workspace"]:
        expect(page.get_by_label(name, exact=True)).to_have_count(1)
    expect(page.get_by_role("button", name="Save")).to_have_count(1)


def test_a_mailbox_that_cannot_be_reached_is_refused_at_its_field(ada):
    page = ada.page
    page.goto("/settings")
    zone = page.get_by_role("region", name="Mailbox")
    zone.get_by_label("IMAP server").fill("no-such-host.invalid")
    zone.get_by_label("User name").fill("ada@example.com")
    zone.get_by_label("Mailbox password").fill("secret")
    zone.get_by_role("button", name="Connect mailbox").click()
    expect(zone.get_by_label("IMAP server")).to_have_attribute("aria-invalid", "true")
    expect(zone.get_by_label("IMAP server")).to_have_value("no-such-host.invalid")
    expect(zone.get_by_role("button", name="Disconnect mailbox")).to_have_count(0)
    zone.get_by_label("Port").fill("many")
    zone.get_by_role("button", name="Connect mailbox").click()
    expect(zone.get_by_label("Port")).to_have_attribute("aria-invalid", "true")
