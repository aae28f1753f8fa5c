"""Import and export of CSV files."""

import csv
import io

from conftest import no_serious_fault
from playwright.sync_api import expect


def choose(page, name, text, encoding="utf-8"):
    page.get_by_label("File").set_input_files({"name": name, "mimeType": "text/csv", "buffer": text.encode(encoding)})


def test_5000_rows_are_imported_with_progress_errors_and_undo(ada):
    page = ada.page
    page.goto("/import?table=contacts")
    expect(page.get_by_role("heading", level=1, name="Import contacts")).to_be_visible()
    rows = [f"p{at}@many.example,Person {at},{'2026-01-01' if at else ''}" for at in range(4998)]
    rows += ["p1@many.example,Again,", '=bad,"x","y"']
    choose(page, "people.csv", "E-mail,First name,Since\n" + "\n".join(rows) + "\n")
    expect(page.get_by_role("combobox", name="E-mail")).to_have_value("email")
    expect(page.get_by_role("combobox", name="First name")).to_have_value("first_name")
    expect(page.get_by_role("combobox", name="Since")).to_have_value("")
    expect(page.get_by_role("table", name="Preview").get_by_role("row")).to_have_count(6)
    expect(page.get_by_role("status").filter(has_text="are new")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="4,998 records created")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("status").filter(has_text="1 updated, 1 refused")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download errors").click()
    with open(download.value.path(), encoding="utf-8-sig") as file:
        errors = list(csv.reader(file))
    assert errors[0] == ["E-mail", "First name", "Since", "reason"]
    assert errors[1][0] == "'=bad" and errors[1][3]
    assert ada.api("POST", "/v1/sql", {"sql": "select count(*) as n from contacts"})["data"]["rows"] == [{"n": 4998}]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status").filter(has_text="taken back")).to_be_visible(timeout=120_000)
    assert ada.api("GET", "/v1/contacts")["data"] == []


def test_the_same_file_doubles_nobody(ada):
    page = ada.page
    for times in range(2):
        page.goto("/import?table=contacts")
        choose(page, "people.csv", "Mail;Nachname\r\nañn@b.example;Müller\r\n", "utf-16" if times else "windows-1252")
        expect(page.get_by_role("combobox", name="Mail")).to_have_value("email")
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="0 refused")).to_be_visible()
    people = ada.api("GET", "/v1/contacts")["data"]
    assert [(it["email"], it["last_name"]) for it in people] == [("añn@b.example", "Müller")]


def test_custom_tables_and_fields_are_imported(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table parts (id text primary key, weight numeric)"})
    ada.api("POST", "/v1/schema/fields", {"object_type": "deal", "key": "seats", "label": "Seats", "type": "number"})
    page = ada.page
    page.goto("/import?table=parts")
    choose(page, "parts.csv", "id,weight\nx,1.5\n")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="1 record created")).to_be_visible()
    page.goto("/import?table=deals")
    choose(page, "deals.csv", 'Name,Amount,Currency,Seats\nRollout,"1,234.50",EUR,12\n')
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="1 record created")).to_be_visible()
    deal = ada.api("GET", "/v1/deals")["data"][0]
    assert (deal["amount_cents"], deal["custom"]) == (123450, {"seats": 12})


def test_an_amount_that_may_mean_another_one_is_refused(ada):
    page = ada.page
    page.goto("/import?table=deals")
    good, bad = ["1,234.50", "1234.5", "1234"], ["1.005", "12.345", "1e3", "1,5", "$7", "7 EUR"]
    choose(page, "deals.csv", "Name,Amount\n" + "".join(f'D{at},"{text}"\n' for at, text in enumerate([*bad, *good])))
    expect(page.get_by_role("status").filter(has_text="3 are new")).to_contain_text("6 would be refused")
    expect(page.get_by_role("status").filter(has_text="3 are new")).to_contain_text('"1.005" is not an amount. An amount is written like 1,234.50.')
    page.get_by_role("button", name="Import", exact=True).click()
    reasons = page.get_by_role("table", name="Refused rows").get_by_role("row")
    expect(reasons).to_have_count(len(bad) + 1)
    for text in bad:
        expect(reasons.filter(has_text=f'"{text}" is not an amount')).to_have_count(1)
    expect(page.get_by_text("amount_cents")).to_have_count(0)
    assert sorted(it["amount_cents"] for it in ada.api("GET", "/v1/deals")["data"]) == [123400, 123450, 123450]


def test_the_export_has_the_live_rows_and_no_formulas(ada):
    for name in ["=1+1", "+47", "-x", "@me", "\tt", "plain"]:
        ada.api("POST", "/v1/contacts", {"first_name": "'" + name if name == "never" else name, "last_name": "L"})
    gone = ada.api("POST", "/v1/contacts", {"first_name": "gone", "last_name": "L"})["data"]["id"]
    ada.api("DELETE", f"/v1/contacts/{gone}")
    ada.api("POST", "/v1/contacts", {"first_name": "other", "last_name": "M"})
    reply = ada.page.request.get("/export/contacts.csv?last_name=L&include_deleted=true")
    assert reply.headers["content-type"].startswith("text/csv")
    assert 'filename="contacts.csv"' in reply.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(reply.text())))
    assert sorted(row["first_name"] for row in rows) == sorted(["'=1+1", "'+47", "'-x", "'@me", "'\tt", "plain"])
    assert ada.page.request.get("/export/nothing.csv").status == 404
    page = ada.open(signed_in=False)
    page.goto("/export/contacts.csv")
    assert "/login?next=" in page.url


def test_the_import_is_accessible(ada):
    for scheme in ["light", "dark"]:
        page = ada.open(color_scheme=scheme)
        page.goto("/import?table=contacts")
        choose(page, "people.csv", "E-mail,,x\na@b.example,1,2\n")
        expect(page.get_by_role("status").filter(has_text="are")).to_be_visible()
        no_serious_fault(page)


def test_a_stage_that_is_not_there_is_refused_with_those_that_are(ada, tmp_path):
    (tmp_path / "deals.csv").write_text("name,stage\nLiners,won\nCrates,nope\n")
    page = ada.page
    page.goto("/import?table=deals")
    page.get_by_label("File").set_input_files(tmp_path / "deals.csv")
    expect(page.get_by_text("1 would be refused")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    refused = page.get_by_role("table", name="Refused rows").locator("tbody tr")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("nope")
    expect(refused).to_contain_text("lead, qualified, proposal, won, lost")
    assert [row["key"] for row in ada.api("GET", "/v1/pipelines/sales/stages")["data"]] == ["lead", "qualified", "proposal", "won", "lost"]
