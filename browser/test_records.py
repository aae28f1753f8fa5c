"""The page of a record: fields, form, relations, timeline, deletion and return, undo, messages, lists."""

import re

import pytest
from conftest import eventually, no_serious_fault
from playwright.sync_api import expect


def made(ada, table, **fields):
    return ada.api("POST", f"/v1/{table}", fields)["data"]["id"]


def timeline(page):
    return page.get_by_role("region", name="Timeline")


def toast(page):
    return page.get_by_role("status").filter(has_text=re.compile("."))


def test_a_record_has_its_name_as_heading_its_fields_and_relations(ada):
    company = made(ada, "companies", name="Halden Freight", domain="haldenfreight.example")
    ada.api("POST", "/v1/schema/fields", {"object_type": "contact", "key": "segment", "label": "Segment", "type": "select", "options": ["customer", "lead"]})
    contact = made(ada, "contacts", first_name="Ingrid", last_name="Halvorsen", email="ingrid@x.example", company_id=company, custom={"segment": "lead", "nps": 9})
    deal = made(ada, "deals", name="Liners", amount_cents=123450, currency="EUR", contact_id=contact, company_id=company)
    list_id = made(ada, "lists", name="Chosen", target_table="contacts", kind="static")
    ada.api("POST", f"/v1/lists/{list_id}/members", {"member_id": contact})
    ada.api("POST", "/v1/associations", {"from_type": "contact", "from_id": contact, "to_type": "company", "to_id": company, "label": "adviser"})
    ada.api("POST", "/v1/sql", {"sql": f"create table shipments (id text primary key, code text, contact_id text references contacts(id)); insert into shipments values ('s1', 'SH-1', '{contact}')"})
    page = ada.page
    page.goto(f"/contacts/{contact}")
    expect(page.get_by_role("heading", level=1, name="Ingrid Halvorsen")).to_have_count(1)
    assert page.title().startswith("Ingrid Halvorsen")
    fields = page.get_by_role("complementary", name="Fields")
    for text in ["Segment", "lead", "nps", "ingrid@x.example"]:
        expect(fields.get_by_text(text, exact=True).first).to_be_visible()
    for name in ["Liners", "Chosen", "SH-1"]:
        expect(fields.get_by_role("link", name=name)).to_be_visible()
    expect(fields.get_by_text("1,234.50 EUR")).to_be_visible()
    expect(fields.get_by_text("adviser")).to_be_visible()
    fields.get_by_role("link", name="Liners").click()
    page.wait_for_url(f"**/deals/{deal}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Liners")
    page.goto("/tables/shipments/s1")
    expect(page.get_by_role("heading", level=1)).to_have_text("SH-1")
    page.get_by_role("link", name="Ingrid Halvorsen").click()
    page.wait_for_url(f"**/contacts/{contact}")


def test_a_relation_is_added_and_removed(ada):
    contact = made(ada, "contacts", first_name="Ingrid")
    made(ada, "companies", name="Halden Freight")
    page = ada.page
    page.goto(f"/contacts/{contact}")
    page.get_by_role("button", name="Add relation").click()
    dialog = page.get_by_role("dialog", name="Add relation")
    dialog.get_by_label("Kind").select_option(label="Company")
    dialog.get_by_label("Record").fill("Nobody Ltd")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_label("Record")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Record").fill("halden")
    dialog.get_by_role("option", name="Halden Freight").click()
    dialog.get_by_label("Label").fill("adviser")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="Halden Freight")).to_be_visible()
    relation = ada.api("GET", "/v1/associations")["data"][0]
    assert (relation["from_type"], relation["to_type"], relation["label"]) == ("contact", "company", "adviser")
    no_serious_fault(page)
    page.get_by_role("button", name="Unrelate Halden Freight").click()
    expect(page.get_by_role("link", name="Halden Freight")).to_have_count(0)
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="Halden Freight")).to_be_visible()


def test_editing_saves_what_was_changed(ada):
    company = made(ada, "companies", name="Halden Freight")
    ada.api("POST", "/v1/schema/fields", {"object_type": "contact", "key": "score", "label": "Score", "type": "number"})
    contact = made(ada, "contacts", first_name="Ingrid", last_name="Halvorsen")
    page = ada.page
    page.goto(f"/contacts/{contact}")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("Title").fill("Head of Operations")
    page.get_by_label("Score").fill("7")
    page.get_by_label("Company", exact=True).fill("halden")
    page.get_by_role("option", name="Halden Freight").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(toast(page)).to_contain_text("Saved")
    saved = ada.api("GET", f"/v1/contacts/{contact}")["data"]
    assert (saved["title"], saved["company_id"], saved["custom"]) == ("Head of Operations", company, {"score": 7})
    assert saved["first_name"] == "Ingrid"
    toast(page).get_by_role("button", name="Undo").click()
    expect(toast(page)).to_contain_text("Undone")
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["title"] is None


def test_a_refused_field_says_why_and_keeps_what_was_typed(ada):
    made(ada, "contacts", email="taken@x.example")
    ada.api("POST", "/v1/schema/fields", {"object_type": "contact", "key": "since", "label": "Since", "type": "text", "required": False})
    contact = made(ada, "contacts", first_name="Ingrid", email="ingrid@x.example")
    page = ada.page
    page.goto(f"/contacts/{contact}")
    page.get_by_role("button", name="Edit", exact=True).click()
    field = page.get_by_label("E-mail")
    for typed, message in [("no address", "not an e-mail address"), ("taken@x.example", "Another record has this already")]:
        field.fill(typed)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_value(typed)
        expect(field).to_be_focused()
        described = page.locator("#" + field.get_attribute("aria-describedby").split()[-1].replace(".", "\\."))
        expect(described).to_contain_text(message)
    page.get_by_label("Company", exact=True).fill("Nobody Ltd")
    field.fill("ingrid@y.example")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("Company", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_label("E-mail")).to_have_count(0)
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["email"] == "ingrid@x.example"


def test_amounts_are_typed_and_shown_in_the_main_unit(ada):
    deal = made(ada, "deals", name="Liners", amount_cents=123450, currency="EUR")
    page = ada.page
    page.goto(f"/deals/{deal}")
    expect(page.get_by_role("complementary", name="Fields").get_by_text("1,234.50 EUR").first).to_be_visible()
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_label("Amount")).to_have_value("1,234.50")
    for typed in ["12,50", "1.234,50", "ten", "1.005"]:
        page.get_by_label("Amount").fill(typed)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_label("Amount")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Amount").fill("2,000,000.5")
    page.get_by_label("Stage").select_option(label="Won")
    page.get_by_label("Close date").fill("2026-12-31")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(toast(page)).to_contain_text("Saved")
    saved = ada.api("GET", f"/v1/deals/{deal}")["data"]
    assert (saved["amount_cents"], saved["stage"], saved["close_date"]) == (200000050, "won", "2026-12-31")
    diff = timeline(page).locator(".diff").first
    for mark, texts in [("del", ["1,234.50 EUR", "Lead"]), ("ins", ["2,000,000.50 EUR", "Won", "2026-12-31"])]:
        for text in texts:
            expect(diff.locator(mark).filter(has_text=text)).to_be_visible()


def test_an_amount_has_the_decimals_of_its_currency(ada):
    deal = made(ada, "deals", name="Liners", amount_cents=123400, currency="EUR")
    page = ada.page
    page.goto(f"/deals/{deal}")
    for currency, amount, saved, shown in [("JPY", "1,234.00", 1234, "1,234 JPY"), ("KWD", "1,234.567", 1234567, "1,234.567 KWD")]:
        page.get_by_role("button", name="Edit", exact=True).click()
        page.get_by_label("Currency").fill(currency)
        if page.get_by_label("Amount").input_value() != amount:
            page.get_by_label("Amount").fill(amount + "9")
            page.get_by_role("button", name="Save", exact=True).click()
            expect(page.get_by_label("Amount")).to_have_attribute("aria-invalid", "true")
            page.get_by_label("Amount").fill(amount)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("complementary", name="Fields").get_by_text(shown).first).to_be_visible()
        assert ada.api("GET", f"/v1/deals/{deal}")["data"]["amount_cents"] == saved
    newest, oldest = timeline(page).locator(".diff").first, timeline(page).locator(".diff").last
    expect(newest.locator("del").filter(has_text="1,234 JPY")).to_be_visible()
    expect(newest.locator("ins").filter(has_text="1,234.567 KWD")).to_be_visible()
    expect(oldest.locator("del").filter(has_text="1,234.00 EUR")).to_be_visible()
    page.get_by_role("button", name="Search").click()
    page.get_by_role("searchbox").fill("Liners")
    expect(page.get_by_role("option", name="Liners")).to_contain_text("1,234.567 KWD")


def test_undoing_a_run_shows_amounts_in_the_main_unit(ada):
    yen = made(ada, "deals", name="Liners", amount_cents=1200, currency="JPY")
    page = ada.page
    ada.api("PATCH", f"/v1/deals/{yen}", {"amount_cents": 345000}, x_agent="scout", x_run_id="price")
    page.goto(f"/deals/{yen}")
    page.get_by_role("button", name="Undo run").click()
    dialog = page.get_by_role("dialog", name="Undo run")
    expect(dialog.get_by_role("listitem")).to_contain_text("Liners")
    expect(dialog.locator("dt")).to_have_text("amount")
    expect(dialog.locator("del")).to_have_text("345,000 JPY")
    expect(dialog.locator("ins")).to_have_text("1,200 JPY")
    dialog.get_by_role("button", name="Cancel").click()
    ada.api("PATCH", f"/v1/deals/{yen}", {"amount_cents": 7})
    page.get_by_role("button", name="Undo run").click()
    for text in ["345,000 JPY", "7 JPY", "1,200 JPY"]:
        expect(page.get_by_role("alert")).to_contain_text(text)
    for address in ["/runs", "/activity"]:
        page.goto(address)
        page.get_by_role("link", name="price").first.click()
        diff = page.get_by_role("region", name="Changes").locator("dl.diff")
        expect(diff.locator("ins")).to_have_text("345,000 JPY")
    page.goto("/activity")
    expect(page.locator("ins").filter(has_text="345,000 JPY")).to_be_visible()


def test_a_record_is_deleted_and_restored(ada):
    company = made(ada, "companies", name="Halden Freight")
    page = ada.page
    page.goto(f"/companies/{company}")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("button", name="Restore", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_have_count(0)
    expect(page.get_by_text("This record was deleted")).to_be_visible()
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Restore", exact=True).click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    assert ada.api("GET", f"/v1/companies/{company}")["data"]["name"] == "Halden Freight"
    for words in ["created this company", "deleted this company", "restored this company"]:
        expect(timeline(page).get_by_text(words).first).to_be_visible()


def test_a_row_of_an_own_table_is_edited_and_its_deletion_is_undone(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text, weight_kg numeric, urgent boolean); insert into shipments values ('s1', 'SH-1', 1.50)"})
    page = ada.page
    page.goto("/tables/shipments/s1")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("weight_kg").fill("2.50")
    page.get_by_label("urgent").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(toast(page)).to_contain_text("Saved")
    assert ada.api("GET", "/v1/shipments/s1")["data"] == {"id": "s1", "code": "SH-1", "weight_kg": 2.5, "urgent": True}
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url("**/tables/shipments")
    assert ada.api("GET", "/v1/shipments")["data"] == []
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="SH-1")).to_be_visible()


def test_the_timeline_tells_who_did_what_and_why(ada):
    contact = made(ada, "contacts", first_name="Ingrid", email="ingrid@x.example", title="Clerk")
    agent = {"x_agent": "scout", "x_run_id": "enrich", "x_reason": "Her profile says so"}
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Head of Operations"}, **agent)
    ada.api("PATCH", f"/v1/contacts/{contact}", {"custom": {"region": "Nordics"}}, **agent)
    ada.api("POST", "/v1/emails", {"direction": "inbound", "from_addr": "ingrid@x.example", "to_addrs": ["me@x.example"], "subject": "Drawings", "body_text": "Could you send them?"}, x_agent="quill")
    page = ada.page
    page.goto(f"/contacts/{contact}")
    run = timeline(page).locator(".entry.run")
    expect(run).to_have_count(1)
    for text in ["scout", "Her profile says so", "Clerk", "Head of Operations", "region", "Nordics", "2 changes"]:
        expect(run).to_contain_text(text)
    expect(timeline(page).get_by_role("link", name="Drawings")).to_be_visible()
    expect(timeline(page).get_by_text("Could you send them?")).to_be_visible()
    page.get_by_label("What happened").fill("Asked about lead times\nWants an answer by Friday")
    page.get_by_label("Kind of activity").select_option("call")
    page.get_by_role("button", name="Log it").click()
    entry = timeline(page).locator(".entry").first
    for text in ["Ada Moreau", "logged a call", "Asked about lead times", "Wants an answer by Friday"]:
        expect(entry).to_contain_text(text)


def test_undo_run_lists_the_changes_first_and_reports_a_conflict(ada):
    contact = made(ada, "contacts", first_name="Ingrid", title="Clerk")
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Head"}, x_agent="scout", x_run_id="enrich")
    page = ada.page
    page.goto(f"/contacts/{contact}")
    page.get_by_role("button", name="Undo run").click()
    dialog = page.get_by_role("dialog", name="Undo run")
    expect(dialog.locator("ins")).to_have_text("Clerk")
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["title"] == "Head"
    dialog.get_by_role("button", name="Undo run").click()
    expect(toast(page)).to_contain_text("Undone")
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["title"] == "Clerk"
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Other"}, x_agent="scout", x_run_id="again")
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Chief"})
    page.reload()
    timeline(page).locator(".run").filter(has_text="again").get_by_role("button", name="Undo run").click()
    expect(page.get_by_role("alert").filter(has_text="changed since")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["title"] == "Chief"
    timeline(page).get_by_role("button", name="Undo change").first.click()
    expect(toast(page)).to_contain_text("Undone")
    assert ada.api("GET", f"/v1/contacts/{contact}")["data"]["title"] == "Other"


def test_older_entries_follow_without_a_gap(ada):
    contact = made(ada, "contacts", first_name="Ingrid")
    ada.api("POST", "/v1/sql", {"sql": f"insert into activities (type, subject, contact_id, occurred_at) select 'note', 'Note ' || lpad(g::text, 3, '0'), '{contact}', now() - g / 3 * interval '1 hour' from generate_series(1, 120) g"})
    page, seen = ada.page, []
    page.goto(f"/contacts/{contact}")
    while True:
        seen += timeline(page).get_by_role("link", name=re.compile(r"^Note \d+$")).all_inner_texts()
        older = page.get_by_role("link", name="Older entries")
        if not older.count():
            break
        page.goto(older.get_attribute("href"))
    assert sorted(seen) == [f"Note {g:03}" for g in range(1, 121)]


def test_a_message_is_shown_in_a_sandbox_without_what_it_would_load(ada):
    asked = []
    html = '<p onclick="x()">Could you send the <b>drawings</b>?</p><img src="https://track.example/x.gif"><script>parent.document.title = "taken"</script><form action="/x"><input name="p"></form>'
    email = made(ada, "emails", direction="inbound", from_addr="a@x.example", to_addrs=["b@x.example"], subject="Re: liners", body_html=html, body_text="Could you send the drawings?")
    page = ada.page
    page.route("https://track.example/**", lambda route: (asked.append(1), route.fulfill(body=b"", content_type="image/gif")))
    page.goto(f"/emails/{email}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Re: liners")
    frame = page.locator("iframe")
    assert "allow-scripts" not in frame.get_attribute("sandbox") and "allow-same-origin" not in frame.get_attribute("sandbox")
    expect(page.frame_locator("iframe").get_by_text("drawings")).to_be_visible()
    expect(page.frame_locator("iframe").locator("img[src], script, form, input")).to_have_count(0)
    assert not asked and page.title().startswith("Re: liners")
    page.get_by_role("button", name="Show images").click()
    expect(page.frame_locator("iframe").locator("img[src]")).to_have_count(1)
    assert asked


def test_a_list_shows_its_rows(ada):
    for number in range(60):
        made(ada, "contacts", first_name="Person", last_name=f"{number:02}", title="CTO")
    list_id = made(ada, "lists", name="CTOs", target_table="contacts", kind="dynamic", filter_predicate="title = $1", filter_params=["CTO"])
    page = ada.page
    page.goto(f"/lists/{list_id}")
    rows = page.get_by_role("region", name="Rows of the list").get_by_role("row")
    expect(rows).to_have_count(51)
    page.get_by_role("link", name="Next", exact=True).click()
    expect(rows).to_have_count(11)
    rows.nth(1).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Person")


def test_what_is_elsewhere_is_not_found(ada, people):
    bob = people(name="Bob")
    other = made(bob, "contacts", first_name="Theirs")
    for address in [f"/contacts/{other}", "/contacts/nothing", "/deals/d_01m8j8s1e4ctf0qbkv1eg5rwfv", "/tables/nothing/1", "/pipelines/sales", "/tables/custom_fields/x"]:
        assert ada.page.goto(address).status == 404, address
        expect(ada.page.get_by_role("heading", level=1)).to_be_visible()
    assert ada.page.request.get(f"/app/mail/{other}").status == 404


def test_a_viewer_sees_the_page_and_no_control_that_writes(ada, people):
    contact = made(ada, "contacts", first_name="Ingrid")
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Head"}, x_agent="scout", x_run_id="enrich")
    vera = people(name="Vera", workspace=None)
    invited = ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": vera.email, "role": "viewer"}, ada.token)["data"]
    ada.kith.call("POST", f"/v1/members/accept/{invited['token']}", {}, vera.token)
    page = vera.page
    page.goto(f"/contacts/{contact}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ingrid")
    expect(timeline(page)).to_contain_text("scout")
    for name in ["Edit", "Delete", "Undo", "Log it", "Add relation"]:
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    ada.api("DELETE", f"/v1/contacts/{contact}")
    page.reload()
    expect(page.get_by_role("button", name="Restore")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_records_are_accessible(ada, scheme):
    contact = made(ada, "contacts", first_name="Ingrid", email="ingrid@x.example", custom={"a": {"b": 1}})
    deal = made(ada, "deals", name="Liners", amount_cents=123450, currency="EUR", contact_id=contact)
    email = made(ada, "emails", direction="inbound", from_addr="ingrid@x.example", to_addrs=["b@x.example"], subject="Re", body_html="<p>Hi</p><img src=https://x.example/a.gif>")
    list_id = made(ada, "lists", name="All", target_table="contacts", kind="dynamic", filter_predicate="true")
    ada.api("PATCH", f"/v1/contacts/{contact}", {"title": "Head"}, x_agent="scout", x_run_id="enrich", x_reason="So")
    page = ada.open(color_scheme=scheme)
    for address in [f"/contacts/{contact}", f"/deals/{deal}", f"/emails/{email}", f"/lists/{list_id}"]:
        page.goto(address)
        no_serious_fault(page)
    page.goto(f"/deals/{deal}")
    page.get_by_role("button", name="Edit", exact=True).click()
    no_serious_fault(page)


def test_a_record_fits_a_phone(ada):
    contact = made(ada, "contacts", first_name="Ingrid", email="ingrid.with.a.rather.long.name@haldenfreight.example")
    page = ada.open(viewport={"width": 375, "height": 800})
    page.goto(f"/contacts/{contact}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    no_serious_fault(page)


def test_a_timeline_names_the_records_of_changed_references(ada):
    first, second = made(ada, "companies", name="Halden Freight"), made(ada, "companies", name="Nordlys")
    contact = made(ada, "contacts", first_name="Ingrid", email="ingrid+crm@x.example", phone="+47 22 11", company_id=first)
    ada.api("PATCH", f"/v1/contacts/{contact}", {"company_id": second})
    page = ada.page
    page.goto(f"/contacts/{contact}")
    expect(timeline(page).locator("del")).to_have_text("Halden Freight")
    expect(timeline(page).locator("ins")).to_have_text("Nordlys")
    fields = page.get_by_role("complementary", name="Fields")
    expect(fields.get_by_role("link", name="ingrid+crm@x.example")).to_have_attribute("href", "mailto:ingrid+crm@x.example")
    expect(fields.get_by_role("link", name="+47 22 11")).to_have_attribute("href", "tel:+472211")


def test_the_timeline_of_a_table_of_ones_own_shows_who_changed_what_and_why(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text, weight int, contact_id text references contacts)"})
    contact = made(ada, "contacts", first_name="Ingrid")
    ada.api("POST", "/v1/shipments", {"id": "s1", "code": "SH-1", "weight": 5})
    ada.api("PATCH", "/v1/shipments/s1", {"weight": 7, "contact_id": contact}, x_agent="scout", x_reason="The label says so")
    ada.api("PATCH", "/v1/shipments/s1", {"code": "SH-2"}, x_agent="scout", x_run_id="relabel", x_reason="A new label")
    ada.api("PATCH", "/v1/shipments/s1", {"weight": 8}, x_agent="scout", x_run_id="relabel", x_reason="A new label")
    page = ada.page
    page.goto("/tables/shipments/s1")
    entries = timeline(page).locator(".entry")
    expect(entries).to_have_count(3)
    run = entries.nth(0)
    expect(run).to_contain_text("relabel")
    expect(run).to_contain_text("A new label")
    expect(run).to_contain_text(re.compile("weight.*7.*8"))
    expect(run).to_contain_text(re.compile("code.*SH-1.*SH-2"))
    change = entries.nth(1)
    expect(change).to_contain_text("scout changed 2 fields")
    expect(change).to_contain_text("The label says so")
    expect(change).to_contain_text(re.compile("weight.*5.*7"))
    expect(change).to_contain_text(re.compile("contact_id.*Ingrid"))
    expect(entries.nth(2)).to_contain_text("created this row")
    no_serious_fault(page)
    # What no run and no entry of the feed names is undone with its request, which a dialog shows first.
    change.get_by_role("button", name="Undo change").click()
    dialog = page.get_by_role("dialog", name="Undo change")
    expect(dialog.get_by_role("alert")).to_contain_text("nothing is undone")
    dialog.get_by_role("button", name="Cancel").click()
    run.get_by_role("button", name="Undo run").click()
    page.get_by_role("dialog").locator("[data-undo-now]").click()
    expect(toast(page)).to_contain_text("Undone")
    expect(page.get_by_role("heading", level=1, name="SH-1")).to_be_visible()
    page.get_by_role("button", name="Undo change").last.click()
    expect(dialog.get_by_role("list", name="What goes back")).to_contain_text(re.compile("weight.*7.*5"))
    dialog.locator("[data-undo-now]").click()
    expect(toast(page)).to_contain_text("Undone")
    eventually(lambda: ada.api("GET", "/v1/shipments/s1")["data"]["weight"], 5)


def test_a_table_that_writes_the_feed_shows_each_change_once(ada):
    ada.api("POST", "/v1/sql", {"sql": "create table shipments (id text primary key, code text)"})
    ada.api("POST", "/v1/shipments", {"id": "s1", "code": "SH-1"})
    ada.api("POST", "/v1/sql", {"sql": "create trigger activity after insert or update or delete on shipments for each row execute function record_activity()"})
    ada.api("PATCH", "/v1/shipments/s1", {"code": "SH-2"})
    ada.page.goto("/tables/shipments/s1")
    entries = timeline(ada.page).locator(".entry")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text(re.compile("SH-1.*SH-2"))
    expect(entries.last).to_contain_text("created this row")
