"""Tables of records: order, filters, pages, columns, cells, picked rows, new records."""

import csv
import re

import pytest
from playwright.sync_api import expect


def table(page, name="Contacts"):
    return page.get_by_role("table", name=name)


def test_rows_are_the_newest_first_and_lead_to_their_records(ada):
    for name in ["Ada", "Bob"]:
        ada.api("POST", "/v1/contacts", {"first_name": name, "email": f"{name.lower()}@a.example"})
    ada.page.goto("/contacts")
    rows = table(ada.page).locator("tbody tr")
    expect(rows.first).to_contain_text("Bob")
    rows.first.get_by_role("link").first.click()
    expect(ada.page.get_by_role("heading", level=1, name="Bob")).to_be_visible()


def test_heads_sort_and_filters_are_kept_in_the_address(ada):
    for name in ["Carl", "Ada", "Bob"]:
        ada.api("POST", "/v1/contacts", {"first_name": name, "email": f"{name.lower()}@a.example"})
    page = ada.page
    page.goto("/contacts")
    page.get_by_role("button", name="E-mail", exact=True).click()
    expect(page).to_have_url(re.compile("sort=email"))
    expect(page.get_by_role("columnheader", name="E-mail")).to_have_attribute("aria-sort", "ascending")
    expect(table(page).locator("tbody tr").first).to_contain_text("Ada")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Column", exact=True).select_option(label="E-mail")
    page.get_by_label("Condition").select_option(label="contains")
    page.get_by_label("Value").fill("bob")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("email_contains=bob"))
    expect(table(page).locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(table(page).locator("tbody tr")).to_have_count(1)


def test_an_amount_is_sought_in_the_main_unit(ada):
    for name, cents in [("Small", 1234), ("Exact", 123450), ("Large", 500000)]:
        ada.api("POST", "/v1/deals", {"name": name, "amount_cents": cents})
    page = ada.page
    page.goto("/deals?view=table")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Column", exact=True).select_option(label="Amount")
    page.get_by_label("Condition").select_option(label="is at least")
    value = page.get_by_label("Value")
    value.fill("12.345")
    page.get_by_role("button", name="Apply").click()
    expect(value).to_have_attribute("aria-invalid", "true")
    expect(value).to_have_accessible_description("An amount is written like 1,234.50.")
    value.fill("1,234.50")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("amount_cents_gte=123450"))
    expect(table(page, "Deals").locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("link", name="Amount is at least 1,234.50")).to_be_visible()


def test_a_filter_offers_what_fits_its_column(ada):
    ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": "seats", "label": "Seats", "type": "number"})
    ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": "vip", "label": "VIP", "type": "bool"})
    ada.api("POST", "/v1/deals", {"name": "Halden, renewal", "stage": "won", "close_date": "2026-12-04", "custom": {"seats": 9, "vip": True}})
    ada.api("POST", "/v1/deals", {"name": "Brightwater", "stage": "proposal", "close_date": "2026-11-04", "custom": {"seats": 120, "vip": False}})
    page = ada.page
    names = table(page, "Deals").locator("tbody a.name")

    def sought(column, condition, value=None):
        page.goto("/deals?view=table")
        page.get_by_role("button", name="Filter", exact=True).click()
        page.get_by_label("Column", exact=True).select_option(label=column)
        offered = page.get_by_label("Condition").locator("option:not([disabled])").all_inner_texts()
        page.get_by_label("Condition").select_option(label=condition)
        if value is None:
            expect(page.get_by_label("Value")).to_be_hidden()
        else:
            page.get_by_label("Value").fill(value)
        page.get_by_role("button", name="Apply").click()
        return offered

    # A stage is named by its label, and by its key.
    for stage in ["Won", "won"]:
        sought("Stage", "is", stage)
        expect(names).to_have_text(["Halden, renewal"])
        expect(page.get_by_role("link", name="Stage is Won Remove this filter")).to_be_visible()
    sought("Stage", "is", "Wonn")
    expect(page.get_by_label("Value")).to_have_accessible_description("There is no “Wonn”. There are Lead, Qualified, Proposal, Won, Lost.")
    # A comma is a part of the text.
    sought("Name", "is", "Halden, renewal")
    expect(names).to_have_text(["Halden, renewal"])
    expect(page.get_by_role("link", name="Name is Halden, renewal Remove this filter")).to_be_visible()
    # The workspace's own fields compare as their types.
    assert sought("Seats", "is at least", "100") == ["is", "is at least", "is at most", "is filled", "is empty"]
    expect(names).to_have_text(["Brightwater"])
    sought("VIP", "is", "yes")
    expect(names).to_have_text(["Halden, renewal"])
    expect(page.get_by_role("link", name="VIP is yes Remove this filter")).to_be_visible()
    sought("Contact", "is empty")
    expect(page).to_have_url(re.compile("contact_id_present=false"))
    expect(names).to_have_count(2)
    expect(page.get_by_role("link", name="Contact is empty Remove this filter")).to_be_visible()
    sought("Close date", "is after", "2026-12-01")
    expect(names).to_have_text(["Halden, renewal"])
    sought("Close date", "is after", "next week")
    expect(page.get_by_label("Value")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Value")).to_have_accessible_description("This is not a date. A date is written like 2026-12-31.")
    assert page.get_by_label("Value").input_value() == "next week"
    sought("Created", "is before", "soon")
    expect(page.get_by_label("Value")).to_have_accessible_description("This is not a time. A time is written like 2026-12-31 or 2026-12-31 09:30.")
    sought("Created", "is after", "2020-01-01 09:30")
    expect(page).to_have_url(re.compile("created_at_after=20"))
    expect(names).to_have_count(2)
    sought("Seats", "is", "many")
    expect(page.get_by_label("Value")).to_have_accessible_description("This is not a number.")


def test_a_filter_of_several_values_names_one_of_them(ada):
    ingrid = ada.api("POST", "/v1/contacts", {"first_name": "Ingrid", "email": "ingrid@halden.example"})["data"]["id"]
    for sender in ["ingrid@halden.example", "else@x.example"]:
        ada.api("POST", "/v1/emails", {"direction": "inbound", "from_addr": sender, "to_addrs": ["me@x.example", f"copy-of-{sender}"], "subject": f"From {sender}"})
    page = ada.page
    for column, value in [("To", "copy-of-ingrid@halden.example"), ("Contact", "ingrid"), ("Contact", ingrid)]:
        page.goto("/emails")
        page.get_by_role("button", name="Filter", exact=True).click()
        page.get_by_label("Column", exact=True).select_option(label=column)
        page.get_by_label("Condition").select_option(label="includes")
        page.get_by_label("Value").fill(value)
        page.get_by_role("button", name="Apply").click()
        expect(table(page, "Emails").locator("tbody a.name")).to_have_text(["From ingrid@halden.example"])


@pytest.mark.parametrize("query", ["gone=1", "sort=gone", "cursor=zz", "close_date_after=soon"])
def test_an_address_that_fits_no_longer_says_so_and_leads_back(ada, query):
    ada.api("POST", "/v1/deals", {"name": "Liners"})
    page = ada.page
    page.goto(f"/deals?view=table&{query}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deals")
    expect(page.get_by_role("alert")).to_contain_text("These rows can’t be shown")
    page.get_by_role("link", name="Show all rows").click()
    expect(table(page, "Deals")).to_contain_text("Liners")
    expect(page).to_have_url(re.compile(r"view=table$"))


def test_rows_are_sorted_and_all_selected_on_a_phone(ada):
    for name in ["Carl", "Ada", "Bob"]:
        ada.api("POST", "/v1/contacts", {"first_name": name, "email": f"{name.lower()}@a.example"})
    page = ada.open(viewport={"width": 375, "height": 800}, has_touch=True)
    page.goto("/contacts")
    rows = table(page).locator("tbody tr")
    page.get_by_role("columnheader", name="E-mail").get_by_role("button").click()
    expect(page.get_by_role("columnheader", name="E-mail")).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("Ada")
    page.get_by_role("checkbox", name="Select all").check()
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="3 rows deleted")).to_be_visible()
    expect(rows).to_have_count(0)


def test_pages_lead_forth_and_back(ada):
    ada.api("POST", "/v1/sql", {"sql": "insert into contacts (first_name) select 'n' || g from generate_series(1, 60) g"})
    page = ada.page
    page.goto("/contacts")
    first = table(page).locator("tbody tr a").first.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(table(page).locator("tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Previous").click()
    expect(table(page).locator("tbody tr a").first).to_have_text(first)


def test_the_way_back_is_whole_however_long_it_is(ada):
    ada.api("POST", "/v1/sql", {"sql": "insert into contacts (first_name, created_at) select 'n' || g, now() - g * interval '1 minute' from generate_series(1, 2000) g"})
    page = ada.page
    page.goto("/contacts")
    firsts = []
    for at in range(36):
        firsts.append(table(page).locator("tbody tr a").first.inner_text())
        page.get_by_role("link", name="Next").click()
        expect(table(page).locator("tbody tr a").first).not_to_have_text(firsts[-1])
    for first in reversed(firsts):
        page.get_by_role("link", name="Previous").click()
        expect(table(page).locator("tbody tr a").first).to_have_text(first)
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)


def test_a_cell_is_edited_and_left(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ada", "title": "Engineer"})
    page = ada.page
    page.goto("/contacts")
    page.get_by_role("cell", name="Engineer").dblclick()
    page.keyboard.type("Ignored")
    page.keyboard.press("Escape")
    expect(page.get_by_role("cell", name="Engineer")).to_be_visible()
    page.get_by_role("cell", name="Engineer").dblclick()
    page.keyboard.type("Director")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_role("cell", name="Director")).to_be_visible()
    assert ada.api("GET", "/v1/contacts")["data"][0]["title"] == "Director"


def open_cell(page, name, label):
    cell = page.get_by_role("row").filter(has_text=name).get_by_role("cell").and_(page.locator(f'[data-label="{label}"]'))
    box = cell.bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] - 6, box["y"] + box["height"] / 2)
    return cell


def test_cells_of_every_kind_have_a_field_that_fits(ada):
    company = ada.api("POST", "/v1/companies", {"name": "Halden Freight"})["data"]["id"]
    for key, kind, options in [("plan", "select", ["free", "pro"]), ("vip", "bool", None)]:
        ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": key, "label": key.title(), "type": kind, **({"options": options} if options else {})})
    deal = ada.api("POST", "/v1/deals", {"name": "Liners", "stage": "lead", "currency": "EUR", "amount_cents": 100})["data"]["id"]
    read = lambda: ada.api("GET", f"/v1/deals/{deal}")["data"]
    page = ada.page
    page.goto("/deals?view=table")
    open_cell(page, "Liners", "Name")
    page.get_by_role("textbox", name="Name").fill("Liners 2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Liners 2")).to_be_visible()
    open_cell(page, "Liners", "Stage")
    page.get_by_role("combobox", name="Stage").select_option(label="Won")
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="Won", exact=True)).to_be_focused()
    open_cell(page, "Liners", "Company")
    page.get_by_role("combobox", name="Company").fill("Halden")
    page.get_by_role("option", name="Halden Freight").click()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Halden Freight")).to_be_visible()
    open_cell(page, "Liners", "Plan")
    page.get_by_role("combobox", name="Plan").select_option("pro")
    # A choice is kept where the focus goes elsewhere, a text is not.
    page.get_by_role("heading", level=1).click()
    expect(page.get_by_role("cell", name="pro", exact=True)).to_be_visible()
    open_cell(page, "Liners", "Vip")
    page.get_by_role("checkbox", name="Vip").check()
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="yes", exact=True)).to_be_focused()
    open_cell(page, "Liners", "Amount")
    page.get_by_role("textbox", name="Amount").fill("2.50")
    page.keyboard.press("Escape")
    expect(page.get_by_role("cell", name="1.00 EUR")).to_be_focused()
    found = read()
    assert (found["name"], found["stage"], found["company_id"], found["amount_cents"]) == ("Liners 2", "won", company, 100)
    assert found["custom"] == {"plan": "pro", "vip": True}


def test_a_contacts_name_is_edited_in_its_cell(ada):
    contact = ada.api("POST", "/v1/contacts", {"first_name": "Ada", "last_name": "Moreau"})["data"]["id"]
    page = ada.page
    page.goto("/contacts")
    cell = page.get_by_role("cell", name="Ada Moreau", exact=True)
    cell.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="First name")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("Lovelace")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Ada Lovelace")).to_be_visible()
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["last_name"] == "Lovelace"
    page.get_by_role("link", name="Ada Lovelace").focus()
    page.keyboard.press("F2")
    expect(page.get_by_role("textbox", name="First name")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Ada Lovelace").click()
    page.wait_for_url(f"**/contacts/{contact}")


def test_a_refused_cell_says_why_until_it_is_left(ada):
    ada.api("POST", "/v1/deals", {"name": "Liners", "amount_cents": 100, "currency": "EUR"})
    page = ada.page
    page.goto("/deals?view=table")
    cell = open_cell(page, "Liners", "Amount")
    field = page.get_by_role("textbox", name="Amount")
    field.fill("12.345")
    page.keyboard.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("An amount is written like 1,234.50."))
    expect(page.get_by_role("alert")).to_contain_text("An amount is written like 1,234.50.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(cell).to_be_focused()
    open_cell(page, "Liners", "Amount")
    field.fill("x")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(1)
    field.fill("12.34")
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="12.34 EUR")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_new_row_needs_no_value_that_postgres_makes(ada):
    ada.api("POST", "/v1/sql", {"sql": """create table visits (id bigint generated always as identity primary key, place text not null, paid boolean not null,
        seat int generated by default as identity, kind text not null default 'plain', twice text generated always as (place || place) stored)"""})
    page = ada.page
    page.goto("/tables/visits")
    page.get_by_role("button", name="New visits").click()
    dialog = page.get_by_role("dialog", name="New visits")
    for label in ["id", "twice"]:
        expect(dialog.get_by_label(label, exact=True)).to_have_count(0)
    for label in ["seat", "kind"]:
        expect(dialog.get_by_label(label, exact=True)).to_be_visible()
    dialog.get_by_label("place").fill("Oslo")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_have_count(0)
    expect(table(page, "visits").locator("tbody tr")).to_have_count(1)
    rows = ada.api("POST", "/v1/sql", {"sql": "select * from visits"})["data"]["rows"]
    assert rows == [{"id": 1, "place": "Oslo", "paid": False, "seat": 1, "kind": "plain", "twice": "OsloOslo"}]
    open_cell(page, "Oslo", "place")
    page.get_by_role("textbox", name="place").fill("Bergen")
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="Bergen", exact=True)).to_be_focused()


def test_a_table_without_a_key_says_why_its_rows_are_not_shown(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table readings (at timestamptz, value numeric); insert into readings values (now(), 1)"})
    page = ada.page
    assert page.goto("/tables/readings").status == 200
    expect(page.get_by_role("heading", level=1, name="readings")).to_be_visible()
    expect(page.get_by_text("primary key")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Open it in SQL").click()
    expect(page.get_by_label("SQL", exact=True)).to_have_value('select * from "readings" limit 50')


def test_picked_rows_are_deleted_and_come_back(ada):
    for name in ["Ada", "Bob", "Carl"]:
        ada.api("POST", "/v1/contacts", {"first_name": name})
    page = ada.page
    page.goto("/contacts")
    page.get_by_label("Select Ada").check()
    page.get_by_label("Select Bob").check()
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="2 rows deleted")).to_be_visible()
    expect(table(page).locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(table(page).locator("tbody tr")).to_have_count(3)


def test_new_records_of_every_kind(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key default gen_random_uuid()::text, code text not null)"})
    page = ada.page
    page.goto("/contacts")
    page.get_by_role("button", name="New contact").click()
    page.get_by_label("First name").fill("Ada")
    page.get_by_label("E-mail").fill("not an address")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("First name")).to_have_value("Ada")
    page.get_by_label("E-mail").fill("ada@a.example")
    page.get_by_role("button", name="Create").click()
    expect(table(page).get_by_role("link", name="Ada", exact=True)).to_be_visible()
    page.goto("/deals?view=table")
    page.get_by_role("button", name="New deal").click()
    page.get_by_label("Name").fill("Pallets")
    page.get_by_label("Amount").fill("1,234.50")
    page.get_by_role("button", name="Create").click()
    expect(table(page, "Deals").get_by_text("1,234.50")).to_be_visible()
    page.goto("/tables/shipments")
    page.get_by_role("button", name="New shipments").click()
    page.get_by_label("code").fill("SH-1")
    page.get_by_role("button", name="Create").click()
    expect(table(page, "shipments").get_by_text("SH-1")).to_be_visible()
    page.goto("/lists")
    page.get_by_role("button", name="New list").click()
    page.get_by_label("Name").fill("On their way")
    page.get_by_label("Table").select_option("shipments")
    page.get_by_label("Kind").select_option("dynamic")
    page.get_by_label("Condition").fill("code like 'SH%'")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="On their way").click()
    expect(page.get_by_role("main")).to_contain_text("SH-1")


def test_columns_are_chosen_and_remembered(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ada", "phone": "+47 22"})
    page = ada.page
    page.goto("/contacts")
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Phone").uncheck()
    expect(page.get_by_role("columnheader", name="Phone")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("columnheader", name="Title")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Phone")).to_have_count(0)


TABLES = {"contacts": {"first_name": "Ada"}, "companies": {"name": "Acme"}, "deals": {"name": "Rollout"},
          "activities": {"type": "note", "subject": "Hello"}, "emails": {"direction": "inbound", "from_addr": "a@a.example", "to_addrs": ["b@b.example"], "subject": "Hello"},
          "lists": {"name": "All", "target_table": "contacts", "kind": "static"}}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_exported_as_it_is_filtered(ada, name):
    ids = [ada.api("POST", f"/v1/{name}", TABLES[name])["data"]["id"] for _ in range(2)]
    page = ada.page
    view = "view=table&" if name == "deals" else ""
    for address, expected in [(f"/{name}?{view}limit=1&sort=id", ids), (f"/{name}?{view}id={ids[0]}", ids[:1])]:
        page.goto(address)
        with page.expect_download() as download:
            page.get_by_role("link", name="Export").click()
        with open(download.value.path(), encoding="utf-8") as file:
            assert sorted(row["id"] for row in csv.DictReader(file)) == sorted(expected)
    # Addresses of earlier versions had the page's own parameters.
    assert ada.page.request.get(f"/export/{name}.csv?view=table&back=-&limit=1&columns=id").ok


def test_names_of_tables_are_encoded_in_addresses(ada):
    names = ["a/b", "x#y", "50%", "?q=1", "Ünïcode table"]
    for name in names:
        ada.api("POST", "/v1/sql", {"sql": f'create table "{name}" (id text primary key); insert into "{name}" values (\'one\')'})
    page = ada.page
    for name in names:
        page.goto("/")
        page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible()
        current = page.locator("nav[aria-label=Main] [aria-current=page]")
        expect(current).to_have_text(name)
        page.get_by_role("link", name="Import").click()
        expect(page.get_by_role("heading", level=1, name=f"Import {name}", exact=True)).to_be_visible()
        expect(current).to_have_text(name)
        page.go_back()
        with page.expect_download():
            page.get_by_role("link", name="Export").click()
        page.get_by_role("link", name="one", exact=True).click()
        expect(page.get_by_role("heading", level=1, name="one")).to_be_visible()
        expect(current).to_have_text(name)


def test_an_amount_in_a_cell_has_the_decimals_of_its_currency(ada):
    deals = {code: ada.api("POST", "/v1/deals", {"name": code, "amount_cents": 1234500, "currency": code})["data"]["id"] for code in ["EUR", "JPY", "KWD"]}
    page = ada.page
    page.goto("/deals?view=table")
    for code, shown, refused, typed, saved in [("EUR", "12,345.00", "1.005", "0.5", 50), ("JPY", "1,234,500", "7.5", "2,000", 2000), ("KWD", "1,234.500", "1.0005", "7.25", 7250)]:
        cell = page.get_by_role("cell", name=f"{shown} {code}", exact=True)
        cell.dblclick()
        field = page.get_by_role("textbox", name="Amount")
        expect(field).to_have_value(shown)
        field.fill(refused)
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("An amount")
        field.fill(typed)
        field.press("Enter")
        expect(field).to_have_count(0)
        assert ada.api("GET", f"/v1/deals/{deals[code]}")["data"]["amount_cents"] == saved


def test_cells_are_reached_and_edited_by_key(ada):
    for name in ["Bob", "Ada"]:
        ada.api("POST", "/v1/contacts", {"first_name": name, "email": f"{name.lower()}@a.example", "title": "Engineer"})
    page = ada.page
    page.goto("/contacts")
    press = page.keyboard.press
    press("j")
    expect(page.get_by_role("link", name="Ada", exact=True)).to_be_focused()
    press("ArrowRight")
    cell = page.get_by_role("cell", name="ada@a.example")
    expect(cell).to_be_focused()
    press("Enter")
    page.keyboard.type("ignored@a.example")
    press("Escape")
    expect(cell).to_be_focused()
    press("Enter")
    page.keyboard.type("new@a.example")
    press("Enter")
    expect(page.get_by_text("Saved.")).to_be_visible()
    saved = page.get_by_role("cell", name="new@a.example")
    expect(saved).to_be_focused()
    assert [it["email"] for it in ada.api("GET", "/v1/contacts")["data"]] == ["new@a.example", "bob@a.example"]
    # The keys go on from there.
    press("ArrowDown")
    expect(page.get_by_role("cell", name="bob@a.example")).to_be_focused()
    press("ArrowDown")
    expect(page.get_by_role("cell", name="bob@a.example")).to_be_focused()
    press("ArrowLeft")
    expect(page.get_by_role("link", name="Bob", exact=True)).to_be_focused()
    press("ArrowUp")
    press("ArrowRight")
    expect(saved).to_be_focused()
    # Tab leads to one cell, whichever had the focus last.
    expect(page.locator("td[tabindex='0']")).to_have_count(1)
    press("Shift+Tab")
    press("Tab")
    expect(saved).to_be_focused()
    press("k")
    expect(page.get_by_role("link", name="Ada", exact=True)).to_be_focused()
    press("x")
    expect(page.get_by_label("Select Ada")).to_be_checked()


def test_keys_pass_over_cells_that_a_phone_leaves_out(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ada", "email": "ada@a.example", "phone": "+47 22", "title": "Engineer"})
    page = ada.open(viewport={"width": 390, "height": 844})
    page.goto("/contacts")
    page.keyboard.press("j")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("cell", name="+47 22")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("cell", name="ada@a.example")).to_be_focused()


def test_chosen_columns_are_in_the_address_and_of_the_workspace(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ada", "phone": "+47 22"})
    page, headers = ada.page, ada.page.get_by_role("columnheader")
    page.goto("/contacts")
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Phone").uncheck()
    expect(page).to_have_url(re.compile("columns="))
    chosen = page.url
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="E-mail", exact=True).click()
    expect(page).to_have_url(re.compile("columns=.*sort=email|sort=email.*columns="))
    expect(page.get_by_role("columnheader", name="Phone")).to_have_count(0)
    # The address wins over what the browser remembers, and another browser shows the same.
    page.goto("/contacts?columns=phone~created_at")
    expect(headers).to_have_text(["", "Name", "Phone", "Created"])
    page.goto("/contacts")
    expect(page.get_by_role("columnheader", name="Title")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Phone")).to_have_count(0)
    other = ada.open()
    other.goto(chosen)
    expect(other.get_by_role("columnheader", name="Title")).to_be_visible()
    expect(other.get_by_role("columnheader", name="Phone")).to_have_count(0)
    page.goto("/contacts?columns=~")
    expect(headers).to_have_text(["", "Name"])
    # Another workspace has its own.
    ada.kith.call("POST", "/v1/workspaces", {"name": "Second"}, ada.token)
    page.goto("/contacts")
    page.get_by_label("Workspace").select_option(label="Second")
    page.wait_for_url("**/contacts")
    page.get_by_role("button", name="New contact").click()
    page.get_by_label("First name").fill("Bob")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("columnheader", name="Phone")).to_be_visible()


def test_columns_of_a_table_of_any_name_are_remembered(ada):
    ada.api("POST", "/v1/sql", {"sql": 'create table "a;b=c" (id text primary key, "my column" text, other text); insert into "a;b=c" values (\'one\')'})
    page = ada.page
    page.goto("/tables/a%3Bb%3Dc")
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("other").uncheck()
    expect(page.get_by_role("columnheader", name="other")).to_have_count(0)
    page.goto("/tables/a%3Bb%3Dc")
    expect(page.get_by_role("columnheader", name="my column")).to_be_visible()
    expect(page.get_by_role("columnheader", name="other")).to_have_count(0)


def test_a_filter_and_an_order_of_a_reference_are_by_its_name(ada):
    for name in ["Halden Freight", "Fernhill Supply", "Halden Rail"]:
        company = ada.api("POST", "/v1/companies", {"name": name})["data"]["id"]
        ada.api("POST", "/v1/contacts", {"first_name": f"Ann of {name}", "company_id": company})
    ada.api("POST", "/v1/contacts", {"first_name": "Nobody’s"})
    page = ada.page
    page.goto("/contacts")
    names = table(page).locator("tbody a.name")
    page.get_by_role("button", name="Company", exact=True).click()
    expect(page.get_by_role("columnheader", name="Company")).to_have_attribute("aria-sort", "ascending")
    expect(names).to_have_text(["Ann of Fernhill Supply", "Ann of Halden Freight", "Ann of Halden Rail", "Nobody’s"])

    def sought(condition, value):
        page.get_by_role("button", name="Filter", exact=True).click()
        page.get_by_label("Column", exact=True).select_option(label="Company")
        page.get_by_label("Condition").select_option(label=condition)
        page.get_by_label("Value").fill(value)
        page.get_by_role("button", name="Apply").click()

    sought("contains", "halden")
    expect(names).to_have_text(["Ann of Halden Freight", "Ann of Halden Rail"])
    chip = page.get_by_role("link", name="Remove this filter")
    expect(chip).to_contain_text("Company is Halden")
    expect(chip).to_contain_text("Halden Rail")
    chip.click()
    expect(names).to_have_count(4)
    sought("is", "halden rail")
    expect(names).to_have_text(["Ann of Halden Rail"])
    page.get_by_role("link", name="Remove this filter").click()
    sought("is", "Halden Ra")
    expect(page.get_by_label("Value")).to_have_accessible_description("No record has this name.")
    # Suggestions come while a name is typed.
    page.get_by_label("Value").fill("")
    page.get_by_label("Value").press_sequentially("fernh")
    page.get_by_role("listbox", name="Suggestions").get_by_role("option", name="Fernhill Supply").click()
    page.get_by_role("button", name="Apply").click()
    expect(names).to_have_text(["Ann of Fernhill Supply"])


@pytest.mark.parametrize("path", ["/contacts", "/deals", "/deals?view=table", "/lists", "/activities"])
def test_a_form_in_which_nothing_is_filled_makes_no_record(ada, path):
    page = ada.page
    page.goto(path)
    page.locator("[data-new]").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[required]").evaluate_all("(all) => all.forEach((it) => { it.required = false; })")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_have_text("Nothing is filled in. Fill in at least one field.")
    name = path.split("?")[0]
    assert ada.api("GET", f"/v1{name}")["data"] == []


def test_what_the_export_has_guarded_comes_back_as_it_was(ada, tmp_path):
    ada.api("POST", "/v1/contacts", {"first_name": "=1+1", "last_name": "'=kept", "phone": "+47 22 33", "email": "ann@x.example"})
    page = ada.page
    page.goto("/contacts")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    download.value.save_as(tmp_path / "contacts.csv")
    text = (tmp_path / "contacts.csv").read_text()
    assert "'+47 22 33" in text and "'=1+1" in text and "''=kept" in text
    ada.api("POST", "/v1/sql", {"sql": "delete from contacts"})
    page.goto("/import?table=contacts")
    page.get_by_label("File").set_input_files(tmp_path / "contacts.csv")
    expect(page.get_by_role("table", name="Preview")).to_contain_text("+47 22 33")
    expect(page.get_by_role("table", name="Preview")).not_to_contain_text("'+47")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("1 record created")).to_be_visible()
    row = ada.api("GET", "/v1/contacts")["data"][0]
    assert (row["first_name"], row["last_name"], row["phone"]) == ("=1+1", "'=kept", "+47 22 33")
