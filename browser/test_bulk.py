"""What is done to several rows of a table at once: each act is shown by a dry run first, and is undone as a whole."""

import re

import pytest
from conftest import no_serious_fault
from playwright.sync_api import expect


def contacts(ada, *names, **fields):
    """Makes contacts. Returns their ids, by name."""
    return {name: ada.api("POST", "/v1/contacts", {"first_name": name, **fields})["data"]["id"] for name in names}


def pick(page, *names):
    for name in names:
        page.get_by_role("checkbox", name=f"Select {name}").check()


def toast(page, text):
    return page.get_by_role("status").filter(has_text=text)


def values(ada, table, column):
    rows = ada.api("GET", f"/v1/{table}?limit=200")["data"]
    return {row["first_name"] if table == "contacts" else row["name"]: row[column] for row in rows}


def set_field(page, column):
    """Opens the dialog for a field. Returns it."""
    page.get_by_role("button", name="Set field…").click()
    dialog = page.get_by_role("dialog", name="Set a field of the selected rows")
    dialog.get_by_label("Field").select_option(label=column)
    return dialog


def test_a_field_of_several_rows_is_shown_then_set_then_undone(ada):
    contacts(ada, "Ada", "Bob", "Cleo", title="Engineer")
    contacts(ada, "Dora", title="Director")
    page = ada.page
    page.goto("/contacts")
    pick(page, "Ada", "Bob", "Dora")
    expect(page.get_by_text("3 selected")).to_be_visible()
    dialog = set_field(page, "Title")
    dialog.get_by_label("New value").fill("Director")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("2 rows would change. 1 hold this value already.")).to_be_visible()
    items = dialog.get_by_role("list", name="What would change").get_by_role("listitem")
    expect(items).to_have_count(2)
    expect(items.filter(has_text="Ada")).to_have_text(re.compile("Title.*Engineer.*Director"))
    assert set(values(ada, "contacts", "title").values()) == {"Engineer", "Director"}, "a preview keeps nothing"
    assert values(ada, "contacts", "title")["Ada"] == "Engineer"
    no_serious_fault(page)
    # Another value asks for another preview.
    dialog.get_by_label("New value").fill("CEO")
    expect(items).to_have_count(0)
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Change 3 rows").click()
    expect(toast(page, "3 rows changed.")).to_be_visible()
    assert values(ada, "contacts", "title") == {"Ada": "CEO", "Bob": "CEO", "Dora": "CEO", "Cleo": "Engineer"}
    runs = ada.api("GET", "/v1/runs")["data"]
    assert [(run["affected"], run["requests"]) for run in runs] == [({"contacts": {"created": 0, "updated": 3, "deleted": 0, "restored": 0}}, 1)]
    page.get_by_role("button", name="Undo").click()
    expect(toast(page, "Undone.")).to_be_visible()
    assert values(ada, "contacts", "title") == {"Ada": "Engineer", "Bob": "Engineer", "Dora": "Director", "Cleo": "Engineer"}


def test_fields_of_every_kind_are_set(ada):
    company = ada.api("POST", "/v1/companies", {"name": "Halden Freight"})["data"]["id"]
    for key, kind, options in [("plan", "select", ["free", "pro"]), ("vip", "bool", None), ("seats", "number", None)]:
        ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": key, "label": key.title(), "type": kind, **({"options": options} if options else {})})
    for name, currency in [("Liners", "EUR"), ("Crates", "JPY")]:
        ada.api("POST", "/v1/deals", {"name": name, "currency": currency, "custom": {"kept": 1}})
    page = ada.page
    page.goto("/deals?view=table")

    def change(column, enter, shown=None):
        page.get_by_role("checkbox", name="Select all").check()
        dialog = set_field(page, column)
        enter(dialog.get_by_label("New value"), dialog)
        dialog.get_by_role("button", name="Preview").click()
        if shown:
            expect(dialog.get_by_role("list", name="What would change")).to_contain_text(shown)
        dialog.get_by_role("button", name="Change 2 rows").click()
        # The selection goes once the rows have come again.
        expect(page.get_by_role("group", name="Selected rows")).to_be_hidden()
        expect(toast(page, "2 rows changed.")).to_be_visible()

    change("Amount", lambda field, _: field.fill("1,500"), "1,500 JPY")
    change("Plan", lambda field, _: field.select_option("pro"), "pro")
    change("Vip", lambda field, _: field.check(), "yes")
    change("Seats", lambda field, _: field.fill("12"))
    change("Close date", lambda field, _: field.fill("2099-12-31"))
    change("Stage", lambda field, _: field.select_option(label="Proposal"), "Proposal")

    def halden(field, dialog):
        field.fill("halden")
        dialog.get_by_role("option", name="Halden Freight").click()

    change("Company", halden, "Halden Freight")
    for deal in ada.api("GET", "/v1/deals")["data"]:
        assert deal["amount_cents"] == {"EUR": 150000, "JPY": 1500}[deal["currency"]]
        assert deal["custom"] == {"kept": 1, "plan": "pro", "vip": True, "seats": 12}
        assert (deal["close_date"], deal["stage"], deal["company_id"]) == ("2099-12-31", "proposal", company)
    # Left empty, it is emptied.
    change("Company", lambda *_: None, "nothing")
    assert {deal["company_id"] for deal in ada.api("GET", "/v1/deals")["data"]} == {None}


def test_what_cant_be_set_is_told_in_words_and_left_as_it_is(ada):
    contacts(ada, "Ada", "Bob")
    page = ada.page
    page.goto("/contacts")
    pick(page, "Ada", "Bob")
    dialog = set_field(page, "E-mail")
    dialog.get_by_label("New value").fill("nobody")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_label("New value")).to_have_accessible_description(re.compile("not an e-mail address"))
    dialog.get_by_label("New value").fill("team@halden.example")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("1 row can’t be changed")).to_be_visible()
    expect(dialog.get_by_text("Another record has this value already.")).to_be_visible()
    dialog.get_by_role("button", name="Change 1 row").click()
    expect(toast(page, "1 row changed.")).to_be_visible()
    assert sorted(map(str, values(ada, "contacts", "email").values())) == ["None", "team@halden.example"]


def test_nothing_is_applied_if_more_would_change_than_was_shown(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, name text, weight int)"})
    ada.api("POST", "/v1/sql", {"sql": "insert into shipments values ('s1', 'First', 1), ('s2', 'Second', 2)"})
    page = ada.page
    page.goto("/tables/shipments")
    pick(page, "First", "Second")
    dialog = set_field(page, "weight")
    dialog.get_by_label("New value").fill("2")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("1 row would change. 1 hold this value already.")).to_be_visible()
    ada.api("PATCH", "/v1/shipments/s2", {"weight": 7})
    dialog.get_by_role("button", name="Change 1 row").click()
    expect(dialog.get_by_role("alert")).to_contain_text("nothing was changed")
    assert values(ada, "shipments", "weight") == {"First": 1, "Second": 7}
    dialog.get_by_role("button", name="Change 2 rows").click()
    expect(toast(page, "2 rows changed.")).to_be_visible()
    assert values(ada, "shipments", "weight") == {"First": 2, "Second": 2}


def test_stages_that_can_be_set_are_those_of_all_selected_pipelines(ada):
    pipeline = ada.api("POST", "/v1/pipelines", {"key": "renewals", "label": "Renewals"})["data"]["id"]
    for key in ["lead", "signed"]:
        ada.api("POST", f"/v1/pipelines/{pipeline}/stages", {"key": key, "label": key.title()})
    ada.api("POST", "/v1/deals", {"name": "Liners"})
    ada.api("POST", "/v1/deals", {"name": "Renewal", "pipeline": "renewals", "stage": "signed"})
    page = ada.page
    page.goto("/deals?view=table")
    options = lambda dialog: [it for it in dialog.get_by_label("New value").locator("option").all_inner_texts() if it]
    pick(page, "Liners", "Renewal")
    dialog = set_field(page, "Stage")
    assert options(dialog) == ["Lead"]
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_label("New value")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("checkbox", name="Select Liners").uncheck()
    assert options(set_field(page, "Stage")) == ["Lead", "Signed"]


def test_rows_are_added_to_a_list_that_is_there_or_new(ada):
    ids = contacts(ada, "Ada", "Bob", "Cleo")
    chosen = ada.api("POST", "/v1/lists", {"name": "Chosen", "target_table": "contacts", "kind": "static"})["data"]["id"]
    ada.api("POST", f"/v1/lists/{chosen}/members", {"member_id": ids["Ada"]})
    for name, table, kind in [("Firms", "companies", "static"), ("Everybody", "contacts", "dynamic")]:
        ada.api("POST", "/v1/lists", {"name": name, "target_table": table, "kind": kind, **({"filter_predicate": "true"} if kind == "dynamic" else {})})
    members = lambda of: {row["first_name"] for row in ada.api("GET", f"/v1/lists/{of}/rows")["data"]}
    page = ada.page
    page.goto("/contacts")
    pick(page, "Ada", "Bob")
    page.get_by_role("button", name="Add to list…").click()
    dialog = page.get_by_role("dialog", name="Add the selected rows to a list")
    expect(dialog.get_by_label("List").locator("option")).to_have_text(["Chosen", "New list"])
    expect(dialog.get_by_label("Name")).to_be_hidden()
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("1 row would be added to “Chosen”. 1 are on it already.")).to_be_visible()
    expect(dialog.get_by_role("list", name="What would change").get_by_role("listitem")).to_have_text(["Bob"])
    no_serious_fault(page)
    dialog.get_by_role("button", name="Add 1 row").click()
    expect(toast(page, "1 row added to “Chosen”.")).to_be_visible()
    assert members(chosen) == {"Ada", "Bob"}
    page.get_by_role("button", name="Undo").click()
    expect(toast(page, "Undone.")).to_be_visible()
    assert members(chosen) == {"Ada"}
    pick(page, "Bob", "Cleo")
    page.get_by_role("button", name="Add to list…").click()
    dialog.get_by_label("List").select_option(label="New list")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Name").fill("Newcomers")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("2 rows would be added to “Newcomers”.")).to_be_visible()
    dialog.get_by_role("button", name="Add 2 rows").click()
    expect(toast(page, "2 rows added to “Newcomers”.")).to_be_visible()
    made = next(row for row in ada.api("GET", "/v1/lists")["data"] if row["name"] == "Newcomers")
    assert members(made["id"]) == {"Bob", "Cleo"}


def test_the_bar_says_what_delete_would_take_before_it_does(ada):
    contacts(ada, "Ada", "Bob", "Cleo")
    page = ada.page
    page.goto("/contacts")
    pick(page, "Ada", "Bob")
    expect(page.get_by_text("Delete takes 2 rows")).to_be_visible()
    page.get_by_role("button", name="Preview").click()
    dialog = page.get_by_role("dialog", name="Delete the selected rows")
    expect(dialog.get_by_text("2 rows would be deleted. A deleted record can be restored.")).to_be_visible()
    expect(dialog.get_by_role("list", name="What would change").get_by_role("listitem")).to_have_text(["Bob", "Ada"])
    no_serious_fault(page)
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete").click()
    expect(toast(page, "2 rows deleted.")).to_be_visible()
    assert set(values(ada, "contacts", "id")) == {"Cleo"}


def test_a_deletion_that_takes_more_or_cant_be_is_shown_first(ada):
    ada.api("POST", "/v1/sql", {"sql": """create table crates (id text primary key, name text);
        create table labels (id text primary key, crate_id text references crates on delete cascade);
        create table seals (id text primary key, crate_id text references crates);
        insert into crates values ('k1', 'Plain'), ('k2', 'Labelled'), ('k3', 'Sealed');
        insert into labels values ('e1', 'k2'), ('e2', 'k2'); insert into seals values ('s1', 'k3')"""})
    page = ada.page
    page.goto("/tables/crates")
    pick(page, "Plain", "Labelled", "Sealed")
    expect(page.get_by_text("Delete takes 2 rows, 2 rows of labels deleted; 1 can’t be deleted")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete the selected rows")
    expect(dialog.get_by_text("With them: 2 rows of labels deleted.")).to_be_visible()
    expect(dialog.get_by_text("1 row can’t be deleted")).to_be_visible()
    assert ada.api("POST", "/v1/sql", {"sql": "select count(*) as n from labels"})["data"]["rows"] == [{"n": 2}]
    dialog.get_by_role("button", name="Delete 2 rows").click()
    expect(toast(page, "2 rows deleted.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Sealed")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(toast(page, "Undone.")).to_be_visible()
    assert ada.api("POST", "/v1/sql", {"sql": "select (select count(*) from crates) as crates, (select count(*) from labels) as labels"})["data"]["rows"] == [{"crates": 3, "labels": 2}]


def test_the_keyboard_alone_sets_a_field(ada):
    contacts(ada, "Ada", "Bob")
    page = ada.page
    page.goto("/contacts")
    for key in ["j", "x", "j", "x"]:
        page.keyboard.press(key)
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Set field…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Set a field of the selected rows")
    expect(dialog.get_by_label("Field")).to_be_focused()
    page.keyboard.type("Title")
    page.keyboard.press("Tab")
    expect(dialog.get_by_label("New value")).to_be_focused()
    page.keyboard.type("Captain")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Change 2 rows")).to_be_visible()
    page.keyboard.press("Enter")
    expect(toast(page, "2 rows changed.")).to_be_visible()
    assert set(values(ada, "contacts", "title").values()) == {"Captain"}


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 800}, "has_touch": True}], ids=["dark", "phone"])
def test_the_bar_and_its_dialogs_fit_and_are_accessible(ada, options):
    contacts(ada, "Ada", "Bob", title="An extraordinarily long title that no column and no dialog has the space for")
    page = ada.open(**options)
    page.goto("/contacts")
    pick(page, "Ada", "Bob")
    bar = page.get_by_role("group", name="Selected rows")
    expect(bar).to_contain_text("Delete takes 2 rows")
    width = page.viewport_size["width"]
    for button in bar.get_by_role("button").all():
        box = button.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width, button.inner_text()
    no_serious_fault(page)
    dialog = set_field(page, "Title")
    dialog.get_by_label("New value").fill("Captain")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_role("button", name="Change 2 rows")).to_be_visible()
    box = dialog.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= width
    no_serious_fault(page)


def test_a_viewer_has_no_bulk_actions(ada, people):
    contacts(ada, "Ada")
    vera = people(name="Vera", workspace=None)
    invited = ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": vera.email, "role": "viewer"}, ada.token)["data"]
    ada.kith.call("POST", f"/v1/members/accept/{invited['token']}", {}, vera.token)
    vera.page.goto("/contacts")
    expect(vera.page.get_by_role("link", name="Ada", exact=True)).to_be_visible()
    expect(vera.page.get_by_role("checkbox")).to_have_count(0)
    expect(vera.page.locator(".bulk, [data-bulk]")).to_have_count(0)
