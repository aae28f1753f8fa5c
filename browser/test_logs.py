"""/logs: the requests of the workspace, some seconds late, without secrets."""

import re

import pytest
from conftest import Refused
from playwright.sync_api import expect


def test_a_request_appears_with_method_path_status_and_duration(ada):
    page = ada.page
    page.goto("/logs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Logs")
    ada.api("POST", "/v1/contacts", {"email": "x@x.example"}, x_agent="scout")
    with pytest.raises(Refused):
        ada.api("GET", "/v1/contacts/c_none?token=secret-in-the-query")
    with pytest.raises(Refused):
        ada.api("GET", f"/v1/nothing/{ada.key}")
    table = page.get_by_role("table", name="Logs")
    row = table.get_by_role("row").filter(has_text="POST").filter(has_text="/v1/contacts")
    expect(row).to_be_visible(timeout=10000)
    for text in ["201", "ms", "scout"]:
        expect(row).to_contain_text(text)
    failed = table.get_by_role("row").filter(has_text="/v1/contacts/c_none")
    expect(failed).to_contain_text("400", timeout=10000)
    expect(table.get_by_text("/v1/nothing/***")).to_be_visible(timeout=10000)
    source = page.content()
    assert "secret-in-the-query" not in source and ada.key not in source


def test_a_phone_shows_the_duration_and_the_time_too(ada):
    ada.api("POST", "/v1/contacts", {"email": "x@x.example"}, x_agent="scout-with-a-very-long-name-that-fills-the-row")
    page = ada.open(viewport={"width": 375, "height": 800})
    page.goto("/logs")
    row = page.get_by_role("table", name="Logs").get_by_role("row").filter(has_text="/v1/contacts")
    expect(row).to_be_visible(timeout=10000)
    for text in ["POST", "201", re.compile(r"^[\d.]+ m?s$"), re.compile(r"\d\d:\d\d:\d\d$")]:
        cell = row.get_by_text(text)
        expect(cell).to_be_visible()
        box = cell.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= 375, (text, box)


def test_filters_are_in_the_address(ada):
    ada.api("POST", "/v1/contacts", {"email": "x@x.example"})
    ada.api("GET", "/v1/companies")
    page = ada.page
    page.goto("/logs")
    expect(page.get_by_text("/v1/companies")).to_be_visible(timeout=10000)
    page.get_by_label("Method").select_option("POST")
    page.wait_for_url("**/logs?method=POST")
    expect(page.get_by_text("/v1/contacts")).to_be_visible()
    expect(page.get_by_text("/v1/companies")).to_have_count(0)
    page.get_by_label("Status").select_option("4xx")
    expect(page.get_by_text("No request fits these filters")).to_be_visible()
    assert "status=4xx" in page.url and "method=POST" in page.url


def test_what_a_page_writes_is_logged_with_the_person_and_what_it_reads_is_not(ada):
    page = ada.page
    page.goto("/logs")
    sent = """async () => (await fetch("/app/v1/companies", {method: "POST", headers: {"content-type": "application/json",
        "x-kith-workspace": document.body.dataset.workspace, "x-csrf-token": document.body.dataset.csrf}, body: '{"name": "A"}'})).status"""
    assert page.evaluate(sent) == 201
    row = page.get_by_role("row").filter(has_text="/app/v1/companies")
    expect(row).to_contain_text("Ada Moreau", timeout=10000)
    expect(page.get_by_text("/app/v1/logs")).to_have_count(0)


def test_logs_have_pages_without_javascript(ada):
    for number in range(55):
        ada.api("GET", f"/v1/contacts?limit={number + 1}")
    ada.page.goto("/logs")
    expect(ada.page.get_by_role("link", name="Next")).to_be_visible(timeout=10000)
    page = ada.open(java_script_enabled=False)
    page.goto("/logs?method=GET")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("table", name="Logs").get_by_role("row")).to_have_count(6)
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_role("table", name="Logs").get_by_role("row")).to_have_count(51)
