"""Home and /activity: who did what, live, with a way back."""

from conftest import eventually
from playwright.sync_api import expect


def scout(ada, method, path, body, run=None, reason=None):
    headers = {"x_agent": "scout"}
    if run:
        headers["x_run_id"] = run
    if reason:
        headers["x_reason"] = reason
    return ada.api(method, path, body, **headers)["data"]


def test_activity_says_who_did_what_to_which_record_and_why(ada):
    contact = scout(ada, "POST", "/v1/contacts", {"first_name": "Ingrid", "last_name": "Halvorsen", "title": "Manager"})
    scout(ada, "PATCH", f"/v1/contacts/{contact['id']}", {"title": "Head of Operations"}, reason="Her profile says so")
    page = ada.page
    page.goto("/activity")
    expect(page.get_by_role("heading", level=1)).to_have_text("Activity")
    assert page.title().startswith("Activity")
    entries = page.get_by_role("list", name="Activity, newest first").get_by_role("listitem")
    changed = entries.filter(has_text="changed Ingrid Halvorsen")
    expect(changed).to_contain_text("scout")
    expect(changed).to_contain_text("Her profile says so")
    expect(changed.locator("del")).to_have_text("Manager")
    expect(changed.locator("ins")).to_have_text("Head of Operations")
    expect(changed.get_by_role("link", name="Ingrid Halvorsen")).to_have_attribute("href", f"/contacts/{contact['id']}")
    expect(entries.filter(has_text="created Ingrid Halvorsen")).to_be_visible()


def test_an_agents_change_arrives_while_the_page_is_open(ada):
    page = ada.page
    page.goto("/activity")
    expect(page.get_by_text("Nothing has happened yet")).to_be_visible()
    scout(ada, "POST", "/v1/companies", {"name": "Brightwater Foods"})
    expect(page.get_by_role("link", name="Brightwater Foods")).to_be_visible(timeout=8000)
    scout(ada, "POST", "/v1/companies", {"name": "Oakline Dairy"})
    expect(page.get_by_role("link", name="Oakline Dairy")).to_be_visible(timeout=8000)


def test_new_entries_wait_while_the_reader_is_further_down(ada):
    for number in range(30):
        ada.api("POST", "/v1/companies", {"name": f"Company {number}"})
    page = ada.page
    page.goto("/activity")
    page.locator(".stream").evaluate("it => it.scrollTop = 400")
    scout(ada, "POST", "/v1/companies", {"name": "Waits"})
    fresh = page.get_by_role("button", name="1 new")
    expect(fresh).to_be_visible(timeout=8000)
    expect(page.get_by_role("link", name="Waits")).to_have_count(0)
    fresh.click()
    expect(page.get_by_role("link", name="Waits")).to_be_visible()
    expect(page.get_by_role("button", name="1 new")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")


def test_an_entry_can_be_undone_and_that_too(ada):
    contact = scout(ada, "POST", "/v1/contacts", {"first_name": "Ingrid", "title": "Manager"})
    scout(ada, "PATCH", f"/v1/contacts/{contact['id']}", {"title": "Boss"})
    page = ada.page
    page.goto("/activity")
    page.get_by_role("listitem").filter(has_text="changed Ingrid").get_by_role("button", name="Undo").click()
    toast = page.get_by_role("status")
    expect(toast).to_contain_text("Undone.")
    title = lambda: ada.api("GET", f"/v1/contacts/{contact['id']}")["data"]["title"]
    assert title() == "Manager"
    toast.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("listitem").filter(has_text="put back").first).to_be_visible()
    eventually(title, "Boss")


def test_a_run_is_one_block_whose_undo_shows_a_preview(ada):
    for name in ["A", "B", "C"]:
        scout(ada, "POST", "/v1/companies", {"name": name}, run="import", reason="From the fair")
    page = ada.page
    page.goto("/activity")
    block = page.get_by_role("list", name="Activity").get_by_role("listitem").filter(has_text="created 3 companies")
    expect(block).to_contain_text("From the fair")
    expect(block.get_by_role("link", name="run import")).to_be_visible()
    block.get_by_role("button", name="Undo run").click()
    dialog = page.get_by_role("dialog", name="Undo run")
    expect(dialog.get_by_role("listitem")).to_have_count(3)
    dialog.get_by_role("button", name="Undo run").click()
    expect(page.get_by_role("status")).to_contain_text("3 records put back")
    assert ada.api("GET", "/v1/companies")["data"] == []
    page.goto("/activity")
    page.get_by_role("link", name="run import").click()
    expect(page.get_by_text("This run is undone")).to_be_visible()


def test_filters_and_pages_are_in_the_address(ada):
    for number in range(60):
        ada.api("POST", "/v1/companies", {"name": f"Company {number:02}"})
    contact = ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})["data"]
    ada.api("DELETE", f"/v1/contacts/{contact['id']}")
    for page in [ada.page, ada.open(java_script_enabled=False)]:
        page.goto("/activity?kind=company")
        expect(page.get_by_role("link", name="Company 59", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="Company 05", exact=True)).to_have_count(0)
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_role("link", name="Company 05", exact=True)).to_be_visible()
        assert "kind=company" in page.url and "cursor=" in page.url
        expect(page.get_by_role("link", name="Next")).to_have_count(0)
        page.get_by_role("link", name="Previous").click()
        expect(page.get_by_role("link", name="Company 59", exact=True)).to_be_visible()
        page.goto("/activity?verb=deleted")
        expect(page.get_by_role("listitem").filter(has_text="deleted Ingrid")).to_be_visible()
        expect(page.get_by_role("list", name="Activity").get_by_role("listitem").filter(has_text="created")).to_have_count(0)
    ada.page.goto("/activity")
    ada.page.get_by_label("Actor").select_option(label="People")
    ada.page.wait_for_url("**/activity?actor=people")
    expect(ada.page.get_by_text("Nothing fits these filters")).to_be_visible()


def test_home_shows_open_deals_new_records_and_the_latest_activity(ada):
    for stage, amount, currency in [("lead", 100050, "EUR"), ("proposal", 23400, "EUR"), ("won", 500000, "EUR"), ("lead", 700, "USD")]:
        scout(ada, "POST", "/v1/deals", {"name": f"Deal {stage}", "stage": stage, "amount_cents": amount, "currency": currency})
    scout(ada, "POST", "/v1/contacts", {"first_name": "Ingrid"})
    for page in [ada.page, ada.open(java_script_enabled=False)]:
        response = page.goto("/")
        assert response.headers["cache-control"] == "no-store"
        expect(page.get_by_role("heading", level=1)).to_have_text("Home")
        expect(page.get_by_text("1,234.50 EUR")).to_be_visible()
        expect(page.get_by_text("7.00 USD")).to_be_visible()
        latest = page.get_by_role("list", name="Latest activity")
        expect(latest.get_by_role("listitem").filter(has_text="Ingrid")).to_contain_text("scout")
        chart = page.get_by_role("img", name="Writes a day")
        expect(chart).to_be_visible()
        page.get_by_text("The numbers").click()
        expect(page.get_by_role("table", name="Writes by source").get_by_role("row").last).to_contain_text("5")
    page = ada.page
    page.goto("/")
    scout(ada, "POST", "/v1/contacts", {"first_name": "Mateus"})
    expect(page.get_by_role("link", name="Mateus")).to_be_visible(timeout=12000)


def test_a_viewer_sees_all_and_can_undo_nothing(ada, people):
    scout(ada, "POST", "/v1/companies", {"name": "Oakline Dairy"}, run="first")
    scout(ada, "POST", "/v1/companies", {"name": "Brightwater Foods"})
    bob = people(name="Bob", workspace=None)
    invite = {"workspace_id": ada.workspace, "email": bob.email, "role": "viewer"}
    token = ada.kith.call("POST", "/v1/members/invite", invite, ada.token)["data"]["token"]
    ada.kith.call("POST", f"/v1/members/accept/{token}", {}, bob.token)
    for path in ["/", "/activity", "/runs", "/logs"]:
        bob.page.goto(path)
        expect(bob.page.get_by_role("heading", level=1)).to_be_visible()
        expect(bob.page.get_by_role("button", name="Undo")).to_have_count(0)
    bob.page.goto("/activity")
    expect(bob.page.get_by_role("link", name="Brightwater Foods")).to_be_visible()
    bob.page.goto("/runs")
    bob.page.get_by_role("link", name="first").click()
    expect(bob.page.get_by_role("link", name="Oakline Dairy")).to_be_visible()
    expect(bob.page.get_by_role("button", name="Undo run")).to_have_count(0)


def test_names_are_never_read_as_html(ada):
    scout(ada, "POST", "/v1/companies", {"name": "<img src=x onerror=alert(1)>"}, reason="<b>bold</b>")
    for path in ["/", "/activity"]:
        ada.page.goto(path)
        expect(ada.page.get_by_role("link", name="<img src=x onerror=alert(1)>")).to_be_visible()
        expect(ada.page.get_by_text("<b>bold</b>")).to_be_visible()
