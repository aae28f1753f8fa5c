"""The pages of automations: a rule is made, tested, fired and switched off."""

import re

from conftest import no_serious_fault
from playwright.sync_api import expect


def test_a_rule_is_made_and_runs(ada):
    page = ada.page
    page.goto("/automations")
    page.get_by_role("button", name="New automation").click()
    dialog = page.get_by_role("dialog", name="New automation")
    dialog.get_by_label("Name").fill("Follow up")
    dialog.get_by_label("Trigger").select_option("deal.stage_changed")
    dialog.get_by_role("button", name="Add condition").click()
    dialog.get_by_label("Field").fill("new_stage")
    dialog.get_by_label("Operator").select_option("eq")
    dialog.get_by_label("Value").fill("won")
    dialog.get_by_role("button", name="Add action").click()
    dialog.get_by_label("Action").select_option("create_activity")
    dialog.get_by_label("Activity type").select_option("task")
    dialog.get_by_label("Subject").fill("Send the contract")
    dialog.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Follow up").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Follow up")
    deal = ada.api("POST", "/v1/deals", {"name": "Liners"})["data"]["id"]
    ada.api("PATCH", f"/v1/deals/{deal}", {"stage": "won"})
    runs = page.get_by_role("table", name="Runs")
    expect(runs).to_contain_text("success")
    assert ada.api("GET", "/v1/activities")["data"][0]["subject"] == "Send the contract"
    expect(runs.get_by_role("link", name="Open the run")).to_be_visible()
    page.get_by_role("switch", name="Enabled").uncheck()
    expect(page.get_by_role("status")).to_contain_text("off")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/automations")
    expect(page.get_by_text("No rule yet")).to_be_visible()
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="Follow up")).to_be_visible()
    made = ada.api("GET", "/v1/automations")["data"][0]
    assert (made["enabled"], made["actions"][0]["subject"]) == (False, "Send the contract")


def test_a_rule_is_tested_and_edited(ada):
    ada.api("POST", "/v1/deals", {"name": "Liners", "stage": "lead"})
    body = {"name": "Won", "trigger_event": "deal.updated", "actions": [{"type": "move_deal_stage", "stage": "won"}]}
    id = ada.api("POST", "/v1/automations", body)["data"]["id"]
    page = ada.page
    page.goto(f"/automations/{id}")
    page.get_by_role("button", name="Test", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Event")).to_have_value(re.compile("Liners"))
    dialog.get_by_role("button", name="Try it").click()
    expect(dialog).to_contain_text("The rule would act")
    expect(dialog.locator("ins")).to_contain_text(["won"])
    no_serious_fault(page)
    dialog.get_by_role("button", name="Close").click()
    assert ada.api("GET", "/v1/deals")["data"][0]["stage"] == "lead"
    page.get_by_role("button", name="Edit").click()
    expect(dialog.get_by_label("Stage")).to_have_value("won")
    dialog.get_by_label("Stage").select_option("lost")
    no_serious_fault(page)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("saved")
    assert ada.api("GET", f"/v1/automations/{id}")["data"]["actions"] == [{"type": "move_deal_stage", "stage": "lost"}]


def test_a_refused_rule_says_why_and_keeps_what_was_typed(ada):
    page = ada.page
    page.goto("/automations")
    page.get_by_role("button", name="New automation").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Bad")
    dialog.get_by_label("Action").select_option("move_deal_stage")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("actions[0].stage")
    expect(dialog.get_by_label("Name")).to_have_value("Bad")


def test_the_pages_are_accessible(ada):
    body = {"name": "Won", "trigger_event": "deal.updated", "actions": [{"type": "move_deal_stage", "stage": "won"}]}
    id = ada.api("POST", "/v1/automations", body)["data"]["id"]
    for scheme in ["light", "dark"]:
        page = ada.open(color_scheme=scheme)
        for path in ["/automations", f"/automations/{id}"]:
            page.goto(path)
            no_serious_fault(page)
        page.goto("/automations")
        page.get_by_role("button", name="New automation").click()
        no_serious_fault(page)
