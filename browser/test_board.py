"""The board of deals: columns with sums, pipelines, moves by mouse, keys and menu, a new deal."""

import re

import pytest
from conftest import no_serious_fault
from playwright.sync_api import expect


def made(ada, **fields):
    return ada.api("POST", "/v1/deals", {"currency": "EUR", **fields})["data"]["id"]


def column(page, label):
    return page.get_by_role("list", name=label, exact=True)


def card(page, label, name):
    return column(page, label).get_by_role("listitem").filter(has_text=name)


def stage(ada, deal):
    return ada.api("GET", f"/v1/deals/{deal}")["data"]["stage"]


def test_columns_are_lists_with_the_sums_of_their_stages(ada):
    made(ada, name="Liners", stage="lead", amount_cents=123450)
    made(ada, name="Crates", stage="lead", amount_cents=100000, currency="USD")
    made(ada, name="Pallets", stage="won", amount_cents=5)
    page = ada.page
    page.goto("/deals")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deals")
    for label in ["Lead", "Qualified", "Proposal", "Won", "Lost"]:
        expect(column(page, label)).to_be_visible()
    expect(column(page, "Lead").get_by_role("listitem")).to_have_count(2)
    expect(column(page, "Lead").get_by_role("listitem").first).to_contain_text("Crates")
    for sum in ["1,234.50 EUR", "1,000.00 USD"]:
        expect(column(page, "Lead").locator(".sums")).to_contain_text(sum)
    expect(column(page, "Won").locator(".sums")).to_have_text("0.05 EUR")
    card(page, "Lead", "Liners").get_by_role("link", name="Liners").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Liners")


def test_the_pipeline_is_chosen_and_kept_in_the_address(ada):
    ada.api("POST", "/v1/pipelines", {"key": "renewals", "label": "Renewals"})
    ada.api("POST", "/v1/pipelines/renewals/stages", {"key": "due", "label": "Due"})
    made(ada, name="Again", pipeline="renewals", stage="due", amount_cents=100)
    page = ada.page
    page.goto("/deals")
    page.get_by_label("Pipeline").select_option(label="Renewals")
    page.wait_for_url("**/deals?pipeline=renewals")
    expect(card(page, "Due", "Again")).to_be_visible()
    expect(page.get_by_role("list", name="Lead", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="Board", exact=True)).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("link", name="Table", exact=True)).to_have_attribute("href", re.compile(r"view=table"))
    assert page.goto("/deals?pipeline=nothing").status == 404


def test_the_table_and_the_board_keep_the_pipeline(ada):
    ada.api("POST", "/v1/pipelines", {"key": "partners", "label": "Partners"})
    ada.api("POST", "/v1/pipelines/partners/stages", {"key": "due", "label": "Due"})
    page = ada.page
    page.goto("/deals?view=table&pipeline=partners")
    page.get_by_role("link", name="Board", exact=True).click()
    page.wait_for_url("**/deals?pipeline=partners")
    expect(page.get_by_label("Pipeline")).to_have_value("partners")
    page.get_by_role("link", name="Table", exact=True).click()
    page.wait_for_url("**/deals?view=table&pipeline=partners")


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_the_sums_of_a_stage_stand_in_its_head(ada, width):
    for at in range(12):
        made(ada, name=f"Deal {at}", stage="lead", amount_cents=123456789, currency=["EUR", "USD", "NOK", "CHF"][at % 4])
    page = ada.open(viewport={"width": width, "height": 800})
    page.goto("/deals")
    head = page.locator(".lane .head").first.bounding_box()
    for sum in page.locator(".lane").first.locator(".sums .sum").all():
        box = sum.bounding_box()
        assert box["y"] >= head["y"] and box["y"] + box["height"] <= head["y"] + head["height"] + 1, (box, head)
        assert box["x"] + box["width"] <= head["x"] + head["width"], (box, head)


def test_a_card_is_moved_by_the_menu_and_keeps_the_focus(ada):
    deal = made(ada, name="Liners", stage="lead", amount_cents=123450)
    page = ada.page
    page.goto("/deals")
    card(page, "Lead", "Liners").get_by_role("button", name="Move to", exact=True).click()
    expect(page.get_by_role("menuitem")).to_have_text(["Lead", "Qualified", "Proposal", "Won", "Lost"])
    page.get_by_role("menuitem", name="Won", exact=True).click()
    expect(card(page, "Won", "Liners")).to_be_focused()
    expect(column(page, "Won").locator(".sums")).to_have_text("1,234.50 EUR")
    expect(page.locator(".lane", has_text="Lead").locator(".sums")).to_have_text("0.00")
    expect(column(page, "Lead").get_by_role("listitem")).to_have_count(0)
    assert stage(ada, deal) == "won"
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(card(page, "Lead", "Liners")).to_be_visible()
    assert stage(ada, deal) == "lead"


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_the_menu_of_a_card_opens_at_its_button_and_inside_the_window(ada, width):
    for at in range(9):
        made(ada, name=f"Deal {at}", stage="lost", amount_cents=100, close_date="2026-12-31")
    first = made(ada, name="Liners", stage="lead")
    page = ada.open(viewport={"width": width, "height": 900})
    page.goto("/deals")
    for label, name in [("Lead", "Liners"), ("Lost", "Deal 8"), ("Lost", "Deal 0")]:
        button = card(page, label, name).get_by_role("button", name="Move to", exact=True)
        button.click()
        expect(page.get_by_role("menuitem").first).to_be_focused()
        at, menu = button.bounding_box(), page.get_by_role("menu").bounding_box()
        assert 0 <= menu["x"] and menu["x"] + menu["width"] <= width, (label, name, menu)
        assert 0 <= menu["y"] and menu["y"] + menu["height"] <= 900, (label, name, menu)
        below, above = menu["y"] - at["y"] - at["height"], at["y"] - menu["y"] - menu["height"]
        assert 0 <= below <= 12 or 0 <= above <= 12, (label, name, at, menu)
        assert menu["x"] <= at["x"] + at["width"] and at["x"] <= menu["x"] + menu["width"], (label, name, at, menu)
        page.keyboard.press("Escape")
    card(page, "Lost", "Deal 0").get_by_role("button", name="Move to", exact=True).click()
    box = page.get_by_role("menuitem", name="Won", exact=True).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(card(page, "Won", "Deal 0")).to_be_focused()
    assert stage(ada, first) == "lead"


def test_a_card_is_moved_by_the_keyboard(ada):
    deal = made(ada, name="Liners", stage="lead")
    page = ada.page
    page.goto("/deals")
    card(page, "Lead", "Liners").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_role("status").filter(has_text="is in Proposal")).to_be_visible()
    expect(card(page, "Proposal", "Liners")).to_be_focused()
    assert stage(ada, deal) == "proposal"
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.get_by_role("status").filter(has_text="is in Qualified")).to_be_visible()
    assert stage(ada, deal) == "qualified"


def test_a_card_is_dragged(ada):
    deal = made(ada, name="Liners", stage="lead")
    page = ada.page
    page.goto("/deals")
    card(page, "Lead", "Liners").drag_to(column(page, "Proposal"))
    expect(card(page, "Proposal", "Liners")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="is in Proposal")).to_be_visible()
    assert stage(ada, deal) == "proposal"


def test_a_move_that_is_refused_goes_back(ada):
    made(ada, name="Liners", stage="lead")
    ada.api("POST", "/v1/sql", {"sql": "alter table deals add constraint never_won check (stage <> 'won') not valid"})
    page = ada.page
    page.goto("/deals")
    card(page, "Lead", "Liners").get_by_role("button", name="Move to").click()
    page.get_by_role("menuitem", name="Won").click()
    expect(page.get_by_role("alert").filter(has_text="never_won")).to_be_visible()
    expect(card(page, "Lead", "Liners")).to_be_visible()


def test_a_new_deal_is_made_in_a_dialog(ada):
    ada.api("POST", "/v1/companies", {"name": "Halden Freight"})
    ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": "plan", "label": "Plan", "type": "select", "options": ["free", "pro"]})
    page = ada.page
    page.goto("/deals")
    page.get_by_role("button", name="New deal").click()
    dialog = page.get_by_role("dialog", name="New deal")
    dialog.get_by_label("Name").fill("Liners")
    dialog.get_by_label("Amount").fill("1,234.5")
    dialog.get_by_label("Currency").fill("EUR")
    dialog.get_by_label("Stage").select_option(label="Qualified")
    dialog.get_by_label("Plan").select_option("pro")
    dialog.get_by_label("Company").fill("Halden Freight")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_have_count(0)
    expect(card(page, "Qualified", "Liners")).to_contain_text("1,234.50 EUR")
    expect(card(page, "Qualified", "Liners")).to_contain_text("Halden Freight")
    deal = ada.api("GET", "/v1/deals")["data"][0]
    assert (deal["amount_cents"], deal["currency"], deal["custom"]) == (123450, "EUR", {"plan": "pro"})


def test_a_stage_of_many_deals_shows_the_newest(ada):
    ada.api("POST", "/v1/sql", {"sql": "insert into deals (name, stage, amount_cents, currency) select 'Deal ' || g, 'lead', 100, 'EUR' from generate_series(1, 130) g"})
    page = ada.page
    page.goto("/deals")
    expect(column(page, "Lead").locator(".card")).to_have_count(100)
    expect(column(page, "Lead").locator(".sums")).to_have_text("130.00 EUR")
    expect(page.get_by_role("link", name="30 more in the table")).to_be_visible()


def test_a_viewer_moves_nothing(ada, people):
    made(ada, name="Liners", stage="lead")
    vera = people(name="Vera", workspace=None)
    invited = ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": vera.email, "role": "viewer"}, ada.token)["data"]
    ada.kith.call("POST", f"/v1/members/accept/{invited['token']}", {}, vera.token)
    page = vera.page
    page.goto("/deals")
    expect(card(page, "Lead", "Liners")).to_be_visible()
    for name in ["Move to", "New deal"]:
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    card(page, "Lead", "Liners").focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(card(page, "Lead", "Liners")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_board_is_accessible(ada, scheme):
    made(ada, name="Liners", stage="lead", amount_cents=123450, close_date="2026-12-31")
    page = ada.open(color_scheme=scheme)
    page.goto("/deals")
    no_serious_fault(page)
    card(page, "Lead", "Liners").get_by_role("button", name="Move to").click()
    no_serious_fault(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New deal").click()
    no_serious_fault(page)
