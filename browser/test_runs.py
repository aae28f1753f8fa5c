"""/runs and /runs/:id: what a run did, its undo with a preview, conflicts, and the undo of an undo."""

from conftest import no_serious_fault
from playwright.sync_api import expect


def two_contacts_changed_by_a_run(ada, run="enrich"):
    """Two contacts whose titles a run of an agent has changed."""
    ids = [ada.api("POST", "/v1/contacts", {"first_name": name, "title": "Old"})["data"]["id"] for name in ["Ingrid", "Mateus"]]
    for id in ids:
        ada.api("PATCH", f"/v1/contacts/{id}", {"title": "New"}, x_agent="scout", x_run_id=run, x_reason="The web knows")
    return ids


def titles(ada, ids):
    return [ada.api("GET", f"/v1/contacts/{id}")["data"]["title"] for id in ids]


def test_runs_are_listed_with_who_why_and_what(ada):
    two_contacts_changed_by_a_run(ada)
    page = ada.page
    page.goto("/runs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    row = page.get_by_role("table", name="Runs").get_by_role("row").filter(has_text="enrich")
    for text in ["scout", "The web knows", "open", "changed 2 contacts"]:
        expect(row).to_contain_text(text)
    ada.api("POST", "/v1/runs/enrich/finish", {"status": "complete"})
    expect(row).to_contain_text("complete", timeout=12000)
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_text("No run fits these filters")).to_be_visible()
    assert "status=failed" in page.url
    page.goto("/runs?agent=scout")
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("enrich")


def test_a_run_is_undone_after_a_preview_and_stands_again(ada):
    ids = two_contacts_changed_by_a_run(ada)
    page = ada.page
    page.goto("/runs")
    page.get_by_role("link", name="enrich").click()
    expect(page.locator("dl.facts")).to_contain_text("The web knows")
    changes = page.get_by_role("region", name="Changes").get_by_role("listitem")
    expect(changes).to_have_count(2)
    expect(changes.first.locator("del")).to_have_text("Old")
    expect(changes.first.locator("ins")).to_have_text("New")
    page.get_by_role("button", name="Undo run").click()
    dialog = page.get_by_role("dialog", name="Undo run")
    for name in ["Ingrid", "Mateus"]:
        item = dialog.get_by_role("listitem").filter(has_text=name)
        expect(item.locator("del")).to_have_text("New")
        expect(item.locator("ins")).to_have_text("Old")
    assert titles(ada, ids) == ["New", "New"], "the preview changes nothing"
    dialog.get_by_role("button", name="Undo run").click()
    expect(page.get_by_role("status")).to_contain_text("2 records put back")
    assert titles(ada, ids) == ["Old", "Old"]
    expect(page.get_by_text("This run is undone")).to_be_visible()
    expect(page.get_by_role("button", name="Undo run")).to_have_count(0)
    page.get_by_role("button", name="Undo the undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo the undo").click()
    expect(page.get_by_role("button", name="Undo run")).to_be_visible()
    assert titles(ada, ids) == ["New", "New"]


def test_a_conflict_is_reported_and_nothing_is_undone_unless_it_is_skipped(ada):
    ids = two_contacts_changed_by_a_run(ada)
    ada.api("PATCH", f"/v1/contacts/{ids[0]}", {"title": "Newer"})
    page = ada.page
    page.goto("/runs")
    page.get_by_role("link", name="enrich").click()
    page.get_by_role("button", name="Undo run").click()
    alert = page.get_by_role("alert")
    for text in ["Ingrid", "title", "New", "Newer", "Old"]:
        expect(alert).to_contain_text(text)
    dialog = page.get_by_role("dialog", name="Undo run")
    dialog.get_by_role("button", name="Undo run").click()
    expect(alert).to_contain_text("nothing is undone")
    assert titles(ada, ids) == ["Newer", "New"]
    dialog.get_by_role("button", name="Leave those, put back the rest").click()
    expect(page.get_by_role("status")).to_contain_text("1 left as they are")
    assert titles(ada, ids) == ["Newer", "Old"]


def test_a_run_is_found_by_the_name_that_its_actor_gave_it(ada):
    two_contacts_changed_by_a_run(ada, run="a/b ?c")
    page = ada.page
    page.goto("/activity")
    page.get_by_role("link", name="run a/b ?c").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run a/b ?c")
    assert page.goto("/runs/run_01m8j8s1e4ctf0qbkv1eg5rwfv").status == 404
    assert page.goto("/runs/nothing?actor=api_key:x").status == 404


def test_runs_are_accessible(ada):
    ids = two_contacts_changed_by_a_run(ada)
    ada.api("PATCH", f"/v1/contacts/{ids[0]}", {"title": "Newer"})
    for options in [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 812}}]:
        page = ada.open(**options)
        page.goto("/runs")
        no_serious_fault(page)
        page.get_by_role("link", name="enrich").click()
        no_serious_fault(page)
        page.get_by_role("button", name="Undo run").click()
        expect(page.get_by_role("alert")).to_be_visible()
        no_serious_fault(page)
