"""The schema: custom fields, pipelines and stages, tables."""

from playwright.sync_api import expect


def test_a_field_is_made_and_deleted(ada):
    page = ada.page
    page.goto("/schema")
    page.get_by_role("button", name="New field").click()
    dialog = page.get_by_role("dialog", name="New field")
    dialog.get_by_label("Object").select_option("contact")
    dialog.get_by_label("Key").fill("segment")
    dialog.get_by_label("Label").fill("Segment")
    dialog.get_by_label("Options").fill("lead\ncustomer\n")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_label("Options")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Type").select_option("select")
    dialog.get_by_label("Required").check()
    dialog.get_by_role("button", name="Create").click()
    row = page.get_by_role("table", name="Custom fields").get_by_role("row").filter(has_text="Segment")
    expect(row).to_contain_text("customer")
    expect(row).to_contain_text("required")
    made = ada.api("GET", "/v1/schema/fields")["data"][0]
    assert (made["options"], made["required"]) == (["lead", "customer"], True)
    page.get_by_role("button", name="New field").click()
    dialog.get_by_label("Object").select_option("contact")
    dialog.get_by_label("Key").fill("segment")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert").or_(dialog.locator("[aria-invalid]")).first).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No field of your own yet")).to_be_visible()


def test_stages_are_added_renamed_moved_and_deleted(ada):
    page = ada.page
    page.goto("/schema")
    stages = page.get_by_role("list", name="Stages of Sales")
    page.get_by_role("button", name="New stage in Sales").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Label").fill("Legal review")
    expect(dialog.get_by_label("Key")).to_have_value("legal_review")
    dialog.get_by_role("button", name="Create").click()
    expect(stages.get_by_role("listitem").last).to_contain_text("Legal review")
    page.get_by_role("button", name="Move Legal review up").click()
    expect(stages.get_by_role("listitem").nth(4)).to_contain_text("Legal review")
    page.get_by_role("button", name="Rename Legal review").click()
    dialog.get_by_label("Label").fill("Legal")
    dialog.get_by_role("button", name="Save").click()
    expect(stages.get_by_role("listitem").nth(4)).to_contain_text("Legal")
    page.get_by_role("button", name="Delete Legal").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(stages.get_by_role("listitem")).to_have_count(5)
    page.get_by_role("button", name="New pipeline").click()
    dialog.get_by_label("Label").fill("Renewals")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Renewals")).to_be_visible()
    page.get_by_role("button", name="Delete Renewals").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Renewals")).to_have_count(0)


def test_the_tables_are_listed(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text, contact_id text references contacts(id))"})
    ada.page.goto("/schema")
    expect(ada.page.get_by_role("table", name="Columns of shipments")).to_contain_text("contacts.id")
    expect(ada.page.get_by_role("table", name="Columns of contacts")).to_contain_text("citext")
